//! The OpenAPI 3.1 document, and where the API is mounted.

use std::sync::Arc;

use axum::{
    Json, Router,
    routing::{any, get},
};
use dt_service::http::{self, ApiError};
use utoipa::{
    Modify, OpenApi,
    openapi::security::{Http, HttpAuthScheme, SecurityScheme},
};

use crate::meetings::{change, create, guest, health, read};

/// Under these the same API answers.
const PREFIXES: [&str; 2] = ["/api/v1", "/v1"];

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Dark Tower",
        description = "Meetings: create them, let people in, change and end them. \
            Who has joined speaks to the meeting controller over WebTransport."
    ),
    servers((url = "/api/v1"), (url = "/v1", description = "The same")),
    paths(
        create::create,
        read::get,
        read::list,
        change::change,
        change::end,
        guest::guest_token,
        health::health,
    ),
    modifiers(&Token),
    tags(
        (name = "meetings", description = "Meetings and ways into them"),
        (name = "health", description = "Whether the service works"),
    ),
)]
struct Document;

struct Token;

impl Modify for Token {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let scheme = SecurityScheme::Http(
            Http::builder()
                .scheme(HttpAuthScheme::Bearer)
                .bearer_format("JWT")
                .description(Some("An access token, or a meeting's host token"))
                .build(),
        );
        document
            .components
            .get_or_insert_default()
            .security_schemes
            .insert("token".to_owned(), scheme.into());
    }
}

pub(crate) fn document() -> utoipa::openapi::OpenApi {
    Document::openapi()
}

/// Serves a document at `/openapi.json`.
pub fn openapi_router(document: utoipa::openapi::OpenApi) -> Router {
    let document = Arc::new(document);
    Router::new().route("/openapi.json", get(move || async move { Json(document) }))
}

/// The API under its two prefixes, with the conventions of HTTP interfaces.
pub fn mount(api: Router) -> Router {
    // Routes and no fallback: those of the web app begin where routes end.
    let nothing = any(|| async { ApiError::not_found("there is no such endpoint") });
    let api = http::api(
        api.route("/", nothing.clone())
            .route("/{*elsewhere}", nothing),
    );
    PREFIXES.iter().fold(Router::new(), |router, prefix| {
        router.nest(prefix, api.clone())
    })
}
