//! `GET /.well-known/jwks.json`: the keys that tokens are checked against.

use std::sync::Arc;

use axum::{
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use dt_service::http::{ApiError, ErrorBody};
use sha2::{Digest as _, Sha256};

use crate::AuthController;

/// Short: who meets an unknown key asks again at once, and must not get an
/// answer from before the key was made.
const CACHE_CONTROL: HeaderValue = HeaderValue::from_static("public, max-age=10, must-revalidate");

/// The public keys that tokens are checked against
///
/// RFC 7517, with Ed25519 keys as in RFC 8037. Keep them for an hour; ask again
/// when a token names a key that is not there, at most every ten seconds.
#[utoipa::path(
    get,
    path = "/.well-known/jwks.json",
    tag = "auth",
    responses(
        (status = 200, description = "The keys", body = serde_json::Value, content_type = "application/json"),
        (status = 304, description = "They are as the client knows them"),
        (status = 503, description = "Not available at the moment", body = ErrorBody),
    )
)]
pub(super) async fn jwks(
    State(controller): State<Arc<AuthController>>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let keys = controller.keys.current().await.map_err(|error| {
        tracing::error!(cause = %error, "the key set can't be read");
        ApiError::unavailable("the keys can't be read now")
    })?;
    let json = keys.jwks((controller.config.clock)()).to_json();
    let tag = format!(
        "\"{}\"",
        URL_SAFE_NO_PAD.encode(&Sha256::digest(&json)[..16])
    );
    let known = headers
        .get(header::IF_NONE_MATCH)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| value.split(',').any(|known| known.trim() == tag));
    let mut response = if known {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        ([(header::CONTENT_TYPE, "application/json")], json).into_response()
    };
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, CACHE_CONTROL);
    headers.insert(
        header::ETAG,
        tag.parse().expect("base64url is a header value"),
    );
    Ok(response)
}
