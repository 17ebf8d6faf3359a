//! What the HTTP entrances answer: the API, the key set, health, the web app, and
//! upgrades to WebSockets.

use std::sync::Arc;

use auth_controller::AuthController;
use axum::{Router, http::header, routing::get};
use dt_service::{
    health::{self, Readiness},
    http::{Quota, RateLimit, api},
};
use dt_telemetry::Metrics;
use global_controller::{GlobalController, mount, openapi_router, web};

use super::{app::App, roles::Roles, settings::Settings};

/// Requests for tokens a minute. Failed ones are throttled far below this by
/// the auth controller itself.
const TOKENS: Quota = Quota {
    per_minute: 600,
    service_per_minute: 6000,
};

/// Both entrances answer the same.
pub(super) fn router(
    roles: &Roles,
    settings: &Settings,
    readiness: &Arc<Readiness>,
    websockets: Router,
) -> Router {
    let proxies = Arc::new(settings.global.trusted_proxies.clone());
    let tokens = RateLimit::new(Arc::clone(&roles.state), "auth", TOKENS, proxies);
    let endpoints = Router::new()
        .merge(roles.global.router())
        .merge(tokens.apply(roles.auth.router()))
        .merge(openapi_router(document()));
    mount(endpoints)
        .merge(api(roles.auth.jwks_router()))
        .merge(api(health::router(Arc::clone(readiness))))
        .merge(websockets)
        .merge(web::router(Arc::new(App)))
}

/// What the loopback port for operators answers.
pub(super) fn internal(metrics: Metrics, readiness: &Arc<Readiness>) -> Router {
    let text = [(header::CONTENT_TYPE, "text/plain; version=0.0.4")];
    let rendered = get(move || async move { (text, metrics.render()) });
    api(Router::new()
        .route("/metrics", rendered)
        .merge(health::router(Arc::clone(readiness))))
}

fn document() -> utoipa::openapi::OpenApi {
    let mut document = GlobalController::openapi();
    document.merge(AuthController::openapi());
    document
}
