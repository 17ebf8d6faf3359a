//! The one error form of the HTTP interfaces (WIRE section 4).
//!
//! Handlers return [`ApiError`]; nothing else turns a failure into an answer.
//! The RFC 6749 form of the OAuth endpoints is the auth controller's own.

use axum::{
    Json,
    extract::rejection::{JsonRejection, PathRejection, QueryRejection},
    response::{IntoResponse, Response},
};
use http::{HeaderValue, StatusCode, header};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

/// What went wrong, in one word that programs can rely on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Code {
    /// The request makes no sense; sending it again will not help. 400, or the
    /// 4xx status that says it better (405, 413, 415).
    InvalidRequest,
    /// No token, or one that does not hold. 401
    Unauthorized,
    /// The token holds but does not allow this. 403
    Forbidden,
    /// There is no such resource. 404
    NotFound,
    /// There is no such meeting, or it is over. 404
    MeetingNotFound,
    /// The resource is in a state that does not allow this. 409
    Conflict,
    /// No server has room for it. 409
    CapacityExceeded,
    /// Too many requests; `Retry-After` says when to come back. 429
    RateLimited,
    /// A bug on this side. 500
    InternalError,
    /// Something this depends on can't be reached now. 503
    Unavailable,
}

impl Code {
    /// The HTTP status it is sent with, unless the error has a closer one.
    #[must_use]
    pub const fn status(self) -> StatusCode {
        match self {
            Self::InvalidRequest => StatusCode::BAD_REQUEST,
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::Forbidden => StatusCode::FORBIDDEN,
            Self::NotFound | Self::MeetingNotFound => StatusCode::NOT_FOUND,
            Self::Conflict | Self::CapacityExceeded => StatusCode::CONFLICT,
            Self::RateLimited => StatusCode::TOO_MANY_REQUESTS,
            Self::InternalError => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

/// An error answer: `{"error":{"code","message","details"}}`.
#[derive(Debug, Clone, PartialEq)]
pub struct ApiError {
    code: Code,
    status: StatusCode,
    message: String,
    details: Map<String, Value>,
    retry_after_s: Option<u64>,
}

impl ApiError {
    /// An error with the status of its code and no details.
    #[must_use]
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            status: code.status(),
            message: message.into(),
            details: Map::new(),
            retry_after_s: None,
        }
    }

    /// 400: the request makes no sense.
    #[must_use]
    pub fn invalid_request(message: impl Into<String>) -> Self {
        Self::new(Code::InvalidRequest, message)
    }

    /// 400: one field of the request is wrong; `details.field` names it.
    #[must_use]
    pub fn invalid_field(field: &str, message: impl Into<String>) -> Self {
        Self::invalid_request(message).with_detail("field", field)
    }

    /// 401: no token, or one that does not hold.
    #[must_use]
    pub fn unauthorized(message: impl Into<String>) -> Self {
        Self::new(Code::Unauthorized, message)
    }

    /// 403: the token does not allow this.
    #[must_use]
    pub fn forbidden(message: impl Into<String>) -> Self {
        Self::new(Code::Forbidden, message)
    }

    /// 404: no such resource.
    #[must_use]
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(Code::NotFound, message)
    }

    /// 404: no such meeting.
    #[must_use]
    pub fn meeting_not_found(message: impl Into<String>) -> Self {
        Self::new(Code::MeetingNotFound, message)
    }

    /// 409: the resource's state does not allow this.
    #[must_use]
    pub fn conflict(message: impl Into<String>) -> Self {
        Self::new(Code::Conflict, message)
    }

    /// 409: no room.
    #[must_use]
    pub fn capacity_exceeded(message: impl Into<String>) -> Self {
        Self::new(Code::CapacityExceeded, message)
    }

    /// 429: come back in `retry_after_s` seconds.
    #[must_use]
    pub fn rate_limited(retry_after_s: u64) -> Self {
        Self::new(
            Code::RateLimited,
            format!("too many requests; try again in {retry_after_s} s"),
        )
        .with_retry_after(retry_after_s)
    }

    /// 500, with a message that tells nothing of the inside; the cause is
    /// logged here, where the request's span is still entered.
    #[must_use]
    pub fn internal(cause: &dyn std::fmt::Display) -> Self {
        tracing::error!(cause = %cause, "request failed");
        Self::new(Code::InternalError, "something went wrong on the server")
    }

    /// 503: a part of the service can't be reached now.
    #[must_use]
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(Code::Unavailable, message).with_retry_after(1)
    }

    /// Adds a fact for programs to `details`.
    #[must_use]
    pub fn with_detail(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.details.insert(key.to_owned(), value.into());
        self
    }

    /// Sends this status instead of the code's own.
    #[must_use]
    pub fn with_status(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }

    /// Sends `Retry-After` with this many seconds.
    #[must_use]
    pub fn with_retry_after(mut self, seconds: u64) -> Self {
        self.retry_after_s = Some(seconds);
        self
    }

    /// What went wrong.
    #[must_use]
    pub const fn code(&self) -> Code {
        self.code
    }

    /// The HTTP status it is sent with.
    #[must_use]
    pub const fn status(&self) -> StatusCode {
        self.status
    }

    /// The sentence for people.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The answer to a request whose answer had only a status: what a router or
    /// a layer made without knowing the error form.
    #[must_use]
    pub fn from_status(status: StatusCode) -> Self {
        let (code, message) = match status {
            StatusCode::UNAUTHORIZED => (Code::Unauthorized, "a token is needed"),
            StatusCode::FORBIDDEN => (Code::Forbidden, "this is not allowed"),
            StatusCode::NOT_FOUND => (Code::NotFound, "there is nothing here"),
            StatusCode::METHOD_NOT_ALLOWED => (
                Code::InvalidRequest,
                "this method is not allowed here; see the Allow header",
            ),
            StatusCode::PAYLOAD_TOO_LARGE => (Code::InvalidRequest, "the body is too large"),
            StatusCode::UNSUPPORTED_MEDIA_TYPE => (
                Code::InvalidRequest,
                "the body's Content-Type is not one that is understood here",
            ),
            StatusCode::REQUEST_TIMEOUT => (Code::InvalidRequest, "the request took too long"),
            StatusCode::CONFLICT => (Code::Conflict, "the resource's state does not allow this"),
            StatusCode::TOO_MANY_REQUESTS => (Code::RateLimited, "too many requests"),
            StatusCode::SERVICE_UNAVAILABLE => (Code::Unavailable, "not available now"),
            status if status.is_client_error() => {
                (Code::InvalidRequest, "the request is not understood")
            }
            _ => (Code::InternalError, "something went wrong on the server"),
        };
        Self::new(code, message).with_status(status)
    }

    /// The body as it is sent.
    #[must_use]
    pub fn body(&self) -> ErrorBody {
        ErrorBody {
            error: ErrorDetail {
                code: self.code,
                message: self.message.clone(),
                details: self.details.clone(),
            },
        }
    }
}

impl std::fmt::Display for ApiError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.status, self.message)
    }
}

impl std::error::Error for ApiError {}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(self.body())).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(seconds) = self.retry_after_s {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            // RFC 6750 section 3: how to authenticate.
            headers.insert(
                header::WWW_AUTHENTICATE,
                HeaderValue::from_static("Bearer realm=\"darktower\""),
            );
        }
        // The conventions' layer leaves this answer's body as it is.
        response.extensions_mut().insert(InErrorForm);
        response
    }
}

impl From<JsonRejection> for ApiError {
    fn from(rejection: JsonRejection) -> Self {
        Self::invalid_request(rejection.body_text()).with_status(match rejection.status() {
            // A well-formed body with wrong fields is an invalid request too.
            StatusCode::UNPROCESSABLE_ENTITY => StatusCode::BAD_REQUEST,
            status => status,
        })
    }
}

impl From<QueryRejection> for ApiError {
    fn from(rejection: QueryRejection) -> Self {
        Self::invalid_request(rejection.body_text())
    }
}

impl From<PathRejection> for ApiError {
    fn from(rejection: PathRejection) -> Self {
        Self::invalid_request(rejection.body_text())
    }
}

/// Marks a response whose body already is in the error form.
#[derive(Debug, Clone, Copy)]
pub struct InErrorForm;

/// The body of an error answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ErrorBody {
    /// What went wrong.
    pub error: ErrorDetail,
}

/// What went wrong, for programs and for people.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ErrorDetail {
    /// One word that programs can rely on.
    pub code: Code,
    /// A sentence for people; its wording may change.
    pub message: String,
    /// More facts, depending on the code.
    #[serde(default)]
    pub details: Map<String, Value>,
}

#[cfg(test)]
mod tests {
    use axum::body::to_bytes;

    use super::*;

    #[tokio::test]
    async fn an_error_has_the_form_of_the_wire_document() {
        let response = ApiError::invalid_field("count", "count must be 1 to 100").into_response();
        assert_eq!(response.status(), 400);
        let body = to_bytes(response.into_body(), 4096).await.unwrap();
        assert_eq!(
            serde_json::from_slice::<Value>(&body).unwrap(),
            serde_json::json!({"error": {
                "code": "INVALID_REQUEST",
                "message": "count must be 1 to 100",
                "details": {"field": "count"},
            }})
        );
    }

    #[test]
    fn every_code_has_the_status_of_the_wire_document() {
        for (code, text, status) in [
            (Code::InvalidRequest, "INVALID_REQUEST", 400),
            (Code::Unauthorized, "UNAUTHORIZED", 401),
            (Code::Forbidden, "FORBIDDEN", 403),
            (Code::NotFound, "NOT_FOUND", 404),
            (Code::MeetingNotFound, "MEETING_NOT_FOUND", 404),
            (Code::Conflict, "CONFLICT", 409),
            (Code::CapacityExceeded, "CAPACITY_EXCEEDED", 409),
            (Code::RateLimited, "RATE_LIMITED", 429),
            (Code::InternalError, "INTERNAL_ERROR", 500),
            (Code::Unavailable, "UNAVAILABLE", 503),
        ] {
            assert_eq!(code.status(), status);
            assert_eq!(serde_json::to_value(code).unwrap(), text);
        }
    }

    #[test]
    fn a_rate_limited_client_is_told_when_to_come_back() {
        let response = ApiError::rate_limited(7).into_response();
        assert_eq!(response.status(), 429);
        assert_eq!(response.headers()["retry-after"], "7");
    }

    #[test]
    fn an_unauthorized_client_is_told_the_scheme() {
        let response = ApiError::unauthorized("no token").into_response();
        assert!(response.headers().contains_key("www-authenticate"));
    }
}
