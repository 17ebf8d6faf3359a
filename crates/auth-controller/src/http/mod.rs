//! The HTTP endpoints and their OpenAPI description.

mod device;
mod jwks;
mod oauth;
mod services;
mod user;

use std::{net::IpAddr, sync::Arc};

use axum::{
    Router,
    extract::{DefaultBodyLimit, FromRequestParts},
    routing::{get, post},
};
use dt_service::http::ApiError;
use utoipa::OpenApi as _;
use zeroize::Zeroizing;

use crate::{AuthController, throttle::Source};

const JWKS_PATH: &str = "/.well-known/jwks.json";
/// Credentials are short; a longer body is refused before it is read.
const BODY_BYTES_MAX: usize = 16 * 1024;

#[derive(utoipa::OpenApi)]
#[openapi(
    paths(user::token, device::statement, oauth::token, oauth::service_token, services::register, jwks::jwks),
    components(schemas(oauth::OAuthError)),
    tags((name = "auth", description = "Who people and programs are")),
    modifiers(&BearerAuth, &KeySetAtRoot)
)]
struct Description;

/// How administrators authenticate.
struct BearerAuth;

impl utoipa::Modify for BearerAuth {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
        let scheme = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .bearer_format("JWT")
            .build();
        openapi
            .components
            .get_or_insert_default()
            .add_security_scheme("bearer", SecurityScheme::Http(scheme));
    }
}

/// The key set is not under the API's prefix.
struct KeySetAtRoot;

impl utoipa::Modify for KeySetAtRoot {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        if let Some(path) = openapi.paths.paths.get_mut(JWKS_PATH) {
            path.servers = Some(vec![utoipa::openapi::Server::new("/")]);
        }
    }
}

impl AuthController {
    /// The endpoints that stand under the API's prefix: `/auth/user/token`,
    /// `/auth/device-statement`, `/auth/service/token`, `/auth/token`, `/admin/services/register`.
    pub fn router(self: &Arc<Self>) -> Router {
        Router::new()
            .route("/auth/user/token", post(user::token))
            .route("/auth/device-statement", post(device::statement))
            .route("/auth/service/token", post(oauth::service_token))
            .route("/auth/token", post(oauth::token))
            .route("/admin/services/register", post(services::register))
            .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
            .with_state(Arc::clone(self))
    }

    /// `/.well-known/jwks.json`, which stands at the root.
    pub fn jwks_router(self: &Arc<Self>) -> Router {
        Router::new()
            .route(JWKS_PATH, get(jwks::jwks))
            .with_state(Arc::clone(self))
    }

    /// The OpenAPI description of all of them. Paths are without the prefix,
    /// which belongs into `servers`; the key set has a server of its own.
    #[must_use]
    pub fn openapi() -> utoipa::openapi::OpenApi {
        Description::openapi()
    }
}

/// A password or secret in a body; wiped when dropped.
struct Secret(Zeroizing<String>);

impl<'de> serde::Deserialize<'de> for Secret {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Self(Zeroizing::new(text)))
    }
}

/// Where a request comes from.
struct From(Source);

impl FromRequestParts<Arc<AuthController>> for From {
    type Rejection = ApiError;

    async fn from_request_parts(
        parts: &mut axum::http::request::Parts,
        controller: &Arc<AuthController>,
    ) -> Result<Self, ApiError> {
        // The proxies' rules want a whole request; its body does not matter.
        let mut request = axum::http::Request::new(());
        *request.headers_mut() = parts.headers.clone();
        *request.extensions_mut() = parts.extensions.clone();
        let address: Option<IpAddr> = controller.config.trusted_proxies.client_address(&request);
        Ok(Self(Source(address)))
    }
}

#[cfg(test)]
mod tests;
