//! The layers around every router: [`api`] for programs, [`web`] for pages.

use std::{panic::AssertUnwindSafe, time::Duration};

use axum::{
    Router,
    extract::{DefaultBodyLimit, Request},
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use futures::FutureExt as _;
use http::{HeaderName, HeaderValue, StatusCode, header};
use tower_http::limit::RequestBodyLimitLayer;
use tracing::Instrument as _;

use super::{ApiError, Trace, error::InErrorForm};

/// Largest request body; ours have a few hundred bytes.
pub const BODY_BYTES_MAX: usize = 64 * 1024;
/// Longest that a request may take, its body's arrival included.
const REQUEST_TIME_MAX: Duration = Duration::from_secs(30);

/// What the web app may load and talk to. Scripts and styles come from this
/// server alone, never from the page's text; only style attributes are let
/// through, which no script can hide in. WebAssembly may be compiled: the
/// encryption is made of it. Controllers and handlers are other
/// hosts, and WebTransport counts as `https:`.
const CONTENT_SECURITY_POLICY: &str = "default-src 'self'; \
    script-src 'self' 'wasm-unsafe-eval'; \
    worker-src 'self' blob:; \
    connect-src 'self' https: wss: ws:; \
    img-src 'self' data: blob:; \
    media-src 'self' blob: mediastream:; \
    style-src 'self'; style-src-attr 'unsafe-inline'; \
    font-src 'self'; \
    object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

/// An API router with the conventions: the error form for every failure,
/// bounded bodies and times, headers that keep browsers from guessing, and a
/// trace on each request.
pub fn api(router: Router) -> Router {
    router
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(RequestBodyLimitLayer::new(BODY_BYTES_MAX))
        .layer(middleware::from_fn(in_error_form))
        .layer(middleware::from_fn(bounded))
        .layer(middleware::map_response(api_headers))
        .layer(middleware::from_fn(traced))
}

/// A router of pages with their security headers.
pub fn web(router: Router) -> Router {
    router
        .layer(middleware::from_fn(bounded))
        .layer(middleware::map_response(web_headers))
}

async fn traced(mut request: Request, next: Next) -> Response {
    let trace = Trace::of(request.headers());
    request.extensions_mut().insert(trace);
    let span = tracing::info_span!("request", trace_id = %trace.trace_id());
    async move {
        let mut response = next.run(request).await;
        tracing::debug!(status = response.status().as_u16(), "answered");
        let id =
            HeaderValue::try_from(trace.trace_id()).expect("hexadecimal digits are a header value");
        response.headers_mut().insert("x-request-id", id);
        response
    }
    .instrument(span)
    .await
}

/// A bug in an endpoint is that request's failure, and a client that sends its
/// body drop by drop does not hold the request open.
async fn bounded(request: Request, next: Next) -> Response {
    let answer = AssertUnwindSafe(next.run(request)).catch_unwind();
    match tokio::time::timeout(REQUEST_TIME_MAX, answer).await {
        Ok(Ok(response)) => response,
        Ok(Err(_)) => ApiError::internal(&"an endpoint panicked").into_response(),
        Err(_) => ApiError::from_status(StatusCode::REQUEST_TIMEOUT).into_response(),
    }
}

/// Gives every failure the error form: a router's own 404 and 405, a layer's
/// 413. What an endpoint answered on purpose, in whatever JSON, stays.
async fn in_error_form(request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    let status = response.status();
    let is_failure = status.is_client_error() || status.is_server_error();
    let is_json = response
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|value| value.as_bytes().starts_with(b"application/json"));
    if !is_failure || is_json || response.extensions().get::<InErrorForm>().is_some() {
        return response;
    }
    let mut replaced = ApiError::from_status(status).into_response();
    if let Some(allow) = response.headers().get(header::ALLOW) {
        replaced.headers_mut().insert(header::ALLOW, allow.clone());
    }
    replaced
}

fn set(response: &mut Response, headers: &[(HeaderName, &'static str)]) {
    for (name, value) in headers {
        response
            .headers_mut()
            .entry(name)
            .or_insert(HeaderValue::from_static(value));
    }
}

async fn api_headers(mut response: Response) -> Response {
    set(
        &mut response,
        &[
            (header::CACHE_CONTROL, "no-store"),
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (header::REFERRER_POLICY, "no-referrer"),
            (
                header::CONTENT_SECURITY_POLICY,
                "default-src 'none'; frame-ancestors 'none'",
            ),
        ],
    );
    response
}

async fn web_headers(mut response: Response) -> Response {
    set(
        &mut response,
        &[
            (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
            // A meeting's link admits people: it must not leak to other sites.
            (header::REFERRER_POLICY, "no-referrer"),
            (
                HeaderName::from_static("permissions-policy"),
                "camera=(self), microphone=(self), display-capture=(self), \
                 speaker-selection=(self), fullscreen=(self), autoplay=(self), \
                 picture-in-picture=(self), screen-wake-lock=(self), geolocation=(), \
                 payment=(), usb=()",
            ),
            // Isolation gives precise timers and shared memory between workers.
            (
                HeaderName::from_static("cross-origin-opener-policy"),
                "same-origin",
            ),
            (
                HeaderName::from_static("cross-origin-embedder-policy"),
                "require-corp",
            ),
            (
                HeaderName::from_static("cross-origin-resource-policy"),
                "same-origin",
            ),
        ],
    );
    response
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use axum::{
        body::{Body, to_bytes},
        routing::{get, post},
    };
    use serde_json::Value;
    use tower::ServiceExt as _;

    use super::*;
    use crate::http::Json;

    fn router() -> Router {
        #[allow(clippy::unused_async)]
        async fn bug() -> &'static str {
            panic!("a bug")
        }
        api(Router::new()
            .route(
                "/echo",
                post(|Json(body): Json<BTreeMap<String, u32>>| async move { axum::Json(body) }),
            )
            .route("/bug", get(bug)))
    }

    async fn error_of(request: http::Request<Body>) -> (u16, Value) {
        let response = router().oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        assert!(response.headers().contains_key("x-request-id"));
        let body = to_bytes(response.into_body(), 1 << 20).await.unwrap();
        (status, serde_json::from_slice(&body).unwrap())
    }

    fn post_json(body: impl Into<Body>) -> http::Request<Body> {
        http::Request::post("/echo")
            .header("content-type", "application/json")
            .body(body.into())
            .unwrap()
    }

    #[tokio::test]
    async fn every_failure_has_the_error_form() {
        let get = |path: &str| http::Request::get(path).body(Body::empty()).unwrap();
        let no_type = http::Request::post("/echo")
            .body(Body::from("[1]"))
            .unwrap();
        for (request, status, code) in [
            (get("/nowhere"), 404, "NOT_FOUND"),
            (get("/echo"), 405, "INVALID_REQUEST"),
            (post_json("{"), 400, "INVALID_REQUEST"),
            (post_json("[]"), 400, "INVALID_REQUEST"),
            (post_json(""), 400, "INVALID_REQUEST"),
            (post_json("{\"a\":\"b\"}"), 400, "INVALID_REQUEST"),
            (no_type, 415, "INVALID_REQUEST"),
            (
                post_json(vec![b' '; BODY_BYTES_MAX + 1]),
                413,
                "INVALID_REQUEST",
            ),
            (get("/bug"), 500, "INTERNAL_ERROR"),
        ] {
            let (got, body) = error_of(request).await;
            assert_eq!(got, status, "{body}");
            assert_eq!(body["error"]["code"], code);
            assert!(!body["error"]["message"].as_str().unwrap().is_empty());
            assert!(body["error"]["details"].is_object());
        }
    }

    #[tokio::test]
    async fn a_bug_s_text_does_not_reach_the_client() {
        let request = http::Request::get("/bug").body(Body::empty()).unwrap();
        assert!(!error_of(request).await.1.to_string().contains("a bug"));
    }

    #[tokio::test]
    async fn a_page_may_run_only_its_own_scripts() {
        let router = web(Router::new().route("/", get(|| async { "page" })));
        let response = router
            .oneshot(http::Request::new(Body::empty()))
            .await
            .unwrap();
        let policy = response.headers()["content-security-policy"]
            .to_str()
            .unwrap();
        assert!(policy.contains("script-src 'self' 'wasm-unsafe-eval';"));
        assert!(!policy.contains("'unsafe-eval'"));
    }
}
