//! `POST /admin/services/register`: a new program gets credentials.

use std::sync::Arc;

use axum::{
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use dt_service::http::{ApiError, ErrorBody, Json};
use dt_store::DatabaseError;
use dt_token::{Component, Operation, Scope};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{AuthController, NewService, RegisterServiceError};

/// The program to register.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RegisterRequest {
    /// What people call it, 1 to 100 characters.
    name: String,
    /// What it signs in with, 1 to 64 letters, digits, `-`, `.` and `_`; made
    /// from the name if left out.
    client_id: Option<String>,
    /// What its tokens may allow, like `service.read.mh`.
    #[schema(max_items = 24)]
    scopes: Vec<String>,
}

/// The program's credentials.
#[derive(Serialize, ToSchema)]
pub(super) struct RegisterResponse {
    /// What it signs in with.
    client_id: String,
    /// The secret for it, shown this once.
    client_secret: String,
    /// What people call it.
    name: String,
    /// What its tokens may allow.
    scopes: Vec<String>,
}

/// Register a service
#[utoipa::path(
    post,
    path = "/admin/services/register",
    tag = "auth",
    security(("bearer" = ["service.admin.ac"]), ("bearer" = ["user.admin.ac"])),
    request_body = RegisterRequest,
    responses(
        (status = 201, description = "Registered", body = RegisterResponse),
        (status = 400, description = "Not such a request", body = ErrorBody),
        (status = 401, description = "No access token", body = ErrorBody),
        (status = 403, description = "A token without service.admin.ac or user.admin.ac", body = ErrorBody),
        (status = 409, description = "The client id is taken", body = ErrorBody),
        (status = 503, description = "Not available at the moment", body = ErrorBody),
    )
)]
pub(super) async fn register(
    State(controller): State<Arc<AuthController>>,
    headers: HeaderMap,
    request: Result<Json<RegisterRequest>, ApiError>,
) -> Result<Response, ApiError> {
    // Who may not do this learns nothing about what the body should be.
    let caller = controller.authenticator.identify(&headers).await;
    let actor = caller.require(Operation::Admin, Component::Ac)?.subject();
    let Json(request) = request?;
    let scopes = request
        .scopes
        .iter()
        .map(|text| text.parse::<Scope>())
        .collect::<Result<_, _>>()
        .map_err(|error| ApiError::invalid_field("scopes", error.to_string()))?;
    let new = NewService {
        name: request.name,
        client_id: request.client_id,
        scopes,
    };
    let service = controller
        .directory
        .register_service(new, &actor)
        .await
        .map_err(api_error)?;
    let body = RegisterResponse {
        client_id: service.client_id,
        client_secret: service.client_secret.to_string(),
        name: service.name,
        scopes: service
            .scopes
            .iter()
            .map(|scope| scope.to_string())
            .collect(),
    };
    let headers = [(header::CACHE_CONTROL, "no-store")];
    Ok((StatusCode::CREATED, headers, axum::Json(body)).into_response())
}

fn api_error(error: RegisterServiceError) -> ApiError {
    let text = error.to_string();
    match error {
        RegisterServiceError::Name => ApiError::invalid_field("name", text),
        RegisterServiceError::ClientId => ApiError::invalid_field("client_id", text),
        RegisterServiceError::Scopes => ApiError::invalid_field("scopes", text),
        RegisterServiceError::Taken => ApiError::conflict(text),
        RegisterServiceError::Database(DatabaseError::Unavailable(_)) => {
            ApiError::unavailable("the service can't be stored now")
        }
        RegisterServiceError::Database(error) => ApiError::internal(&error),
    }
}
