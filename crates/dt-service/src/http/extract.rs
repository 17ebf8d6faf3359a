//! Extractors whose refusals are in the error form.

use axum::{
    body::Bytes,
    extract::{FromRequest, FromRequestParts, Request},
};
use http::{StatusCode, header};
use serde::de::DeserializeOwned;

use super::ApiError;

/// A JSON body, which must be an object: what our requests are. (An array of
/// the fields' values would be read as a structure too.)
#[derive(Debug, Clone, Copy, Default)]
pub struct Json<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Json<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        match read(request, state).await? {
            Some(value) => Ok(Self(value)),
            None => Err(ApiError::invalid_request("a JSON object is expected")),
        }
    }
}

/// Parameters after the `?`.
#[derive(Debug, Clone, Copy, Default, FromRequestParts)]
#[from_request(via(axum::extract::Query), rejection(ApiError))]
pub struct Query<T>(pub T);

/// Parameters in the path.
#[derive(Debug, Clone, Copy, Default, FromRequestParts)]
#[from_request(via(axum::extract::Path), rejection(ApiError))]
pub struct Path<T>(pub T);

/// A JSON body, or none, which stands for the type's default: what a request
/// whose fields are all optional takes.
#[derive(Debug, Clone, Copy, Default)]
pub struct JsonOrDefault<T>(pub T);

impl<T, S> FromRequest<S> for JsonOrDefault<T>
where
    T: DeserializeOwned + Default,
    S: Send + Sync,
{
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        Ok(Self(read(request, state).await?.unwrap_or_default()))
    }
}

/// The body's object; `None` if there is no body.
async fn read<T, S>(request: Request, state: &S) -> Result<Option<T>, ApiError>
where
    T: DeserializeOwned,
    S: Send + Sync,
{
    let is_json = request
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|value| {
            let kind = value.as_bytes();
            let kind = kind
                .split(|b| *b == b';')
                .next()
                .unwrap_or(kind)
                .trim_ascii();
            kind.eq_ignore_ascii_case(b"application/json")
        });
    let body = Bytes::from_request(request, state)
        .await
        .map_err(|rejection| ApiError::from_status(rejection.status()))?;
    if body.is_empty() {
        return Ok(None);
    }
    if !is_json {
        return Err(ApiError::from_status(StatusCode::UNSUPPORTED_MEDIA_TYPE));
    }
    if !body.trim_ascii_start().starts_with(b"{") {
        return Err(ApiError::invalid_request("the body must be a JSON object"));
    }
    Ok(Some(axum::Json::from_bytes(&body)?.0))
}
