//! `POST /auth/token` and `POST /auth/service/token`: programs get a token by
//! OAuth 2.0 client credentials (RFC 6749 section 4.4).
//!
//! Form or JSON; the client authenticates by HTTP Basic or in the body, not
//! both. Errors have the form of RFC 6749 section 5.2 and its words; for a
//! server that can't answer now, which has none there, those of 4.1.2.1.

use std::sync::Arc;

use axum::{
    Form, Json,
    extract::{FromRequest, Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use dt_service::http::InErrorForm;
use dt_token::ScopeSet;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use zeroize::Zeroizing;

use super::{From, Secret};
use crate::{AuthController, grants::GrantError, throttle::Source};

const GRANT_TYPE: &str = "client_credentials";

/// What a program asks for. Members that are not named here are ignored, as RFC
/// 6749 section 3.2 asks.
#[derive(Deserialize, ToSchema)]
pub(super) struct TokenRequest {
    /// `client_credentials`.
    grant_type: Option<String>,
    /// The client's id, unless it stands in the `Authorization` header.
    client_id: Option<String>,
    /// The client's secret, unless it stands in the `Authorization` header.
    #[schema(value_type = Option<String>, format = Password)]
    client_secret: Option<Secret>,
    /// Some of the scopes it was registered with; all of them if left out.
    scope: Option<String>,
}

/// A token for a program (RFC 6749 section 5.1).
#[derive(Serialize, ToSchema)]
pub(super) struct TokenResponse {
    /// For `Authorization: Bearer`.
    access_token: String,
    /// Always `Bearer`.
    token_type: &'static str,
    /// Its life in seconds.
    expires_in: u64,
    /// What it allows, with spaces between scopes.
    scope: String,
}

/// Why there is no token (RFC 6749 section 5.2).
#[derive(Serialize, ToSchema)]
pub(super) struct OAuthError {
    /// One word that programs can rely on.
    error: &'static str,
    /// A sentence for people.
    error_description: String,
    #[serde(skip)]
    status: StatusCode,
    #[serde(skip)]
    retry_after_s: Option<u64>,
    /// The client used the `Authorization` header: the answer must name its scheme.
    #[serde(skip)]
    by_header: bool,
}

impl OAuthError {
    fn new(error: &'static str, description: impl Into<String>) -> Self {
        Self {
            error,
            error_description: description.into(),
            status: StatusCode::BAD_REQUEST,
            retry_after_s: None,
            by_header: false,
        }
    }

    fn with_status(self, status: StatusCode) -> Self {
        Self { status, ..self }
    }

    fn invalid_client() -> Self {
        Self::new("invalid_client", "the client's id or secret is wrong")
            .with_status(StatusCode::UNAUTHORIZED)
    }
}

impl IntoResponse for OAuthError {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(&self)).into_response();
        let headers = response.headers_mut();
        no_store(headers);
        if let Some(seconds) = self.retry_after_s {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.by_header && self.status == StatusCode::UNAUTHORIZED {
            let scheme = HeaderValue::from_static("Basic realm=\"darktower\"");
            headers.insert(header::WWW_AUTHENTICATE, scheme);
        }
        response.extensions_mut().insert(InErrorForm);
        response
    }
}

fn no_store(headers: &mut HeaderMap) {
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::PRAGMA, HeaderValue::from_static("no-cache"));
}

/// Get a token by client credentials
#[utoipa::path(
    post,
    path = "/auth/token",
    tag = "auth",
    request_body(content(
        (TokenRequest = "application/x-www-form-urlencoded"),
        (TokenRequest = "application/json"),
    )),
    responses(
        (status = 200, description = "A token", body = TokenResponse),
        (status = 400, description = "Not such a request", body = OAuthError),
        (status = 401, description = "Wrong client id or secret", body = OAuthError),
        (status = 429, description = "Too many attempts; `Retry-After` says when to come back", body = OAuthError),
        (status = 503, description = "Not available at the moment", body = OAuthError),
    )
)]
pub(super) async fn token(
    State(controller): State<Arc<AuthController>>,
    From(source): From,
    request: Request,
) -> Result<Response, OAuthError> {
    answer(&controller, source, request, true).await
}

/// Get a service token
///
/// The same as `/auth/token`; `grant_type` may be left out.
#[utoipa::path(
    post,
    path = "/auth/service/token",
    tag = "auth",
    request_body(content(
        (TokenRequest = "application/json"),
        (TokenRequest = "application/x-www-form-urlencoded"),
    )),
    responses(
        (status = 200, description = "A token", body = TokenResponse),
        (status = 400, description = "Not such a request", body = OAuthError),
        (status = 401, description = "Wrong client id or secret", body = OAuthError),
        (status = 429, description = "Too many attempts; `Retry-After` says when to come back", body = OAuthError),
        (status = 503, description = "Not available at the moment", body = OAuthError),
    )
)]
pub(super) async fn service_token(
    State(controller): State<Arc<AuthController>>,
    From(source): From,
    request: Request,
) -> Result<Response, OAuthError> {
    answer(&controller, source, request, false).await
}

async fn answer(
    controller: &AuthController,
    source: Source,
    request: Request,
    grant_type_required: bool,
) -> Result<Response, OAuthError> {
    let by_header = request.headers().contains_key(header::AUTHORIZATION);
    let response = answer_inner(controller, source, request, grant_type_required).await;
    response.map_err(|error| OAuthError { by_header, ..error })
}

async fn answer_inner(
    controller: &AuthController,
    source: Source,
    request: Request,
    grant_type_required: bool,
) -> Result<Response, OAuthError> {
    let basic = basic_credentials(request.headers())?;
    let body = read_body(request).await?;
    match body.grant_type.as_deref() {
        Some(GRANT_TYPE) => {}
        None if !grant_type_required => {}
        None => return Err(OAuthError::new("invalid_request", "grant_type is missing")),
        Some(_) => {
            let text = format!("grant_type must be {GRANT_TYPE}");
            return Err(OAuthError::new("unsupported_grant_type", text));
        }
    }
    let (client_id, client_secret) = match (basic, body.client_id, body.client_secret) {
        (Some((id, secret)), None, None) => (id, secret),
        // RFC 6749 section 2.3: one way to authenticate in a request. A bare id
        // beside the header is common and harmless if it is the same.
        (Some((id, secret)), Some(same), None) if id == same => (id, secret),
        (None, Some(id), Some(secret)) => (id, secret.0),
        (Some(_), ..) => {
            let text = "the client authenticates by header or by body, not both";
            return Err(OAuthError::new("invalid_request", text));
        }
        (None, ..) => return Err(OAuthError::invalid_client()),
    };
    // An empty scope is as good as none (RFC 6749 section 3.3 has at least one).
    let scopes = match body.scope.as_deref().filter(|scope| !scope.is_empty()) {
        None => None,
        Some(text) => Some(
            text.parse::<ScopeSet>()
                .map_err(|error| OAuthError::new("invalid_scope", error.to_string()))?,
        ),
    };
    let granted = controller
        .grant_service(&client_id, &client_secret, scopes, source)
        .await
        .map_err(oauth_error)?;
    let body = TokenResponse {
        access_token: granted.access_token,
        token_type: "Bearer",
        expires_in: granted.expires_in_s,
        scope: granted.scopes.to_string(),
    };
    let mut response = Json(body).into_response();
    no_store(response.headers_mut());
    Ok(response)
}

async fn read_body(request: Request) -> Result<TokenRequest, OAuthError> {
    let content_type = request.headers().get(header::CONTENT_TYPE);
    let content_type = content_type
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    let refused = |status: StatusCode, text: String| {
        let status = match status {
            // The body's size is worth telling apart; all else is 400.
            StatusCode::PAYLOAD_TOO_LARGE => status,
            _ => StatusCode::BAD_REQUEST,
        };
        OAuthError::new("invalid_request", text).with_status(status)
    };
    if essence.eq_ignore_ascii_case("application/json") {
        let Json(body) = Json::from_request(request, &())
            .await
            .map_err(|e| refused(e.status(), e.body_text()))?;
        Ok(body)
    } else {
        let Form(body) = Form::from_request(request, &())
            .await
            .map_err(|e| refused(e.status(), e.body_text()))?;
        Ok(body)
    }
}

/// Id and secret from `Authorization: Basic`, each form-encoded before they
/// were joined (RFC 6749 section 2.3.1).
fn basic_credentials(
    headers: &HeaderMap,
) -> Result<Option<(String, Zeroizing<String>)>, OAuthError> {
    let Some(value) = headers.get(header::AUTHORIZATION) else {
        return Ok(None);
    };
    let decoded = || {
        let (scheme, text) = value.to_str().ok()?.split_once(' ')?;
        if !scheme.eq_ignore_ascii_case("basic") {
            return None;
        }
        let bytes = Zeroizing::new(STANDARD.decode(text.trim()).ok()?);
        let (id, secret) = std::str::from_utf8(&bytes).ok()?.split_once(':')?;
        Some((form_decoded(id)?, Zeroizing::new(form_decoded(secret)?)))
    };
    decoded().map(Some).ok_or_else(OAuthError::invalid_client)
}

/// Undoes `application/x-www-form-urlencoded` for one text.
fn form_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let (high, low) = (char::from(rest.next()?), char::from(rest.next()?));
                u8::try_from(high.to_digit(16)? << 4 | low.to_digit(16)?).ok()?
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok()
}

fn oauth_error(error: GrantError) -> OAuthError {
    match error {
        GrantError::Credentials => OAuthError::invalid_client(),
        GrantError::Scope => OAuthError::new("invalid_scope", error.to_string()),
        GrantError::Throttled { retry_after_s } => OAuthError {
            retry_after_s: Some(retry_after_s),
            ..OAuthError::new("temporarily_unavailable", error.to_string())
                .with_status(StatusCode::TOO_MANY_REQUESTS)
        },
        error if error.is_passing() => OAuthError {
            retry_after_s: Some(1),
            ..OAuthError::new("temporarily_unavailable", "tokens are not available now")
                .with_status(StatusCode::SERVICE_UNAVAILABLE)
        },
        error => {
            tracing::error!(cause = %error, "request failed");
            OAuthError::new("server_error", "something went wrong on the server")
                .with_status(StatusCode::INTERNAL_SERVER_ERROR)
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn form_encoding_is_undone() {
        assert_eq!(form_decoded("a%3Ab+c%C3%A4").as_deref(), Some("a:b cä"));
        for text in ["%", "%4", "%zz", "%ff"] {
            assert_eq!(form_decoded(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_authorization_header_is_read_or_refused(value in "[ -~]{0,60}") {
            let headers =
                HeaderMap::from_iter([(header::AUTHORIZATION, value.parse().unwrap())]);
            let _ = basic_credentials(&headers);
        }
    }
}
