//! `POST /auth/device-statement`: a person's device is vouched for.

use std::sync::Arc;

use axum::{
    extract::State,
    http::{HeaderMap, header},
    response::{IntoResponse, Response},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use dt_service::http::{ApiError, Caller, ErrorBody, Json};
use dt_token::AccessClaims;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::From;
use crate::{AuthController, grants::GrantError};

/// Which device.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct StatementRequest {
    /// SHA-256 of the device's Ed25519 public key, base64url without padding.
    #[schema(min_length = 43, max_length = 43)]
    thumbprint: String,
}

/// What the device shows to those it meets.
#[derive(Serialize, ToSchema)]
pub(super) struct StatementResponse {
    /// A JWS of type `dt-device+jwt`; the keys are in `/.well-known/jwks.json`.
    statement: String,
    /// Its life in seconds; ask for a new one before.
    expires_in: u64,
}

/// State whose device it is
///
/// The caller is believed that the device is its own; a device proves in each
/// meeting that it has the key.
#[utoipa::path(
    post,
    path = "/auth/device-statement",
    tag = "auth",
    security(("bearer" = [])),
    request_body = StatementRequest,
    responses(
        (status = 200, description = "A statement", body = StatementResponse),
        (status = 400, description = "Not such a request", body = ErrorBody),
        (status = 401, description = "No token of a person", body = ErrorBody),
        (status = 429, description = "Too many requests; `Retry-After` says when to come back", body = ErrorBody),
        (status = 503, description = "Not available at the moment", body = ErrorBody),
    )
)]
pub(super) async fn statement(
    State(controller): State<Arc<AuthController>>,
    From(source): From,
    headers: HeaderMap,
    request: Result<Json<StatementRequest>, ApiError>,
) -> Result<Response, ApiError> {
    // Who may not do this learns nothing about what the body should be.
    let caller = controller.authenticator.identify(&headers).await;
    let account = match caller.accepted()? {
        Caller::Access(AccessClaims::User(user)) => user.account,
        _ => {
            return Err(ApiError::unauthorized(
                "sign in to have a device vouched for",
            ));
        }
    };
    let Json(request) = request?;
    let digest = URL_SAFE_NO_PAD.decode(&request.thumbprint);
    if !digest.is_ok_and(|digest| digest.len() == 32) {
        let form = "thumbprint must be 32 bytes in base64url without padding";
        return Err(ApiError::invalid_field("thumbprint", form));
    }
    let (statement, expires_in) = controller
        .state_device(account, request.thumbprint, source)
        .await
        .map_err(api_error)?;
    let body = StatementResponse {
        statement,
        expires_in,
    };
    Ok(([(header::CACHE_CONTROL, "no-store")], axum::Json(body)).into_response())
}

fn api_error(error: GrantError) -> ApiError {
    match error {
        GrantError::Credentials => ApiError::unauthorized("the account is no longer active"),
        GrantError::Throttled { retry_after_s } => ApiError::rate_limited(retry_after_s),
        error if error.is_passing() => ApiError::unavailable("this is not possible now"),
        error => ApiError::internal(&error),
    }
}
