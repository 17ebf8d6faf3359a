//! `POST /auth/user/token`: people sign in.

use std::sync::Arc;

use axum::{
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};
use dt_service::http::{ApiError, ErrorBody, Json};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{From, Secret};
use crate::{AuthController, grants::GrantError};

/// Who signs in.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct UserTokenRequest {
    /// The login of the account.
    username: String,
    /// Its password.
    #[schema(value_type = String, format = Password)]
    password: Secret,
}

/// A token for a person.
#[derive(Serialize, ToSchema)]
pub(super) struct UserTokenResponse {
    /// For `Authorization: Bearer`.
    access_token: String,
    /// Always `Bearer`.
    token_type: &'static str,
    /// Its life in seconds.
    expires_in: u64,
    /// What it allows, with spaces between scopes.
    scope: String,
    /// The account.
    account_id: String,
    /// What others see.
    display_name: String,
}

/// Sign in
#[utoipa::path(
    post,
    path = "/auth/user/token",
    tag = "auth",
    request_body = UserTokenRequest,
    responses(
        (status = 200, description = "A token", body = UserTokenResponse),
        (status = 400, description = "Not such a request", body = ErrorBody),
        (status = 401, description = "Wrong login or password", body = ErrorBody),
        (status = 429, description = "Too many attempts; `Retry-After` says when to come back", body = ErrorBody),
        (status = 503, description = "Not available at the moment", body = ErrorBody),
    )
)]
pub(super) async fn token(
    State(controller): State<Arc<AuthController>>,
    From(source): From,
    Json(request): Json<UserTokenRequest>,
) -> Result<Response, ApiError> {
    let (granted, account) = controller
        .grant_user(&request.username, request.password.0, source)
        .await
        .map_err(api_error)?;
    let body = UserTokenResponse {
        access_token: granted.access_token,
        token_type: "Bearer",
        expires_in: granted.expires_in_s,
        scope: granted.scopes.to_string(),
        account_id: account.id.to_string(),
        display_name: account.display_name,
    };
    Ok(([(header::CACHE_CONTROL, "no-store")], axum::Json(body)).into_response())
}

fn api_error(error: GrantError) -> ApiError {
    match error {
        GrantError::Credentials => ApiError::unauthorized("the login or the password is wrong"),
        GrantError::Throttled { retry_after_s } => ApiError::rate_limited(retry_after_s),
        error if error.is_passing() => ApiError::unavailable("signing in is not possible now"),
        error => ApiError::internal(&error),
    }
}
