//! The global controller: the HTTP API of meetings, the registry of meeting
//! controllers and media handlers, the choice among them, and the web app.
//!
//! It holds no live meeting. What was agreed about a meeting stands in the
//! database, who runs it and how many are in it in the state store, and both
//! are read at each request, so that any instance answers any of them.
//!
//! The binary makes one [`GlobalController`], serves [`GlobalController::router`]
//! and [`web::router`], and gives it to controllers and handlers as their
//! [`dt_rpc::Registry`].

mod config;
mod error;
mod meetings;
mod openapi;
mod placement;
mod registry;
pub mod web;

use std::sync::Arc;

use async_trait::async_trait;
use axum::Router;
use dt_ids::ControllerId;
use dt_rpc::{AuthController, MeetingController};
use dt_service::http::{Authenticator, RateLimit};
use dt_store::{Database, StateStore};

pub use config::Config;
pub use openapi::{mount, openapi_router};

/// How the global controller reaches a meeting controller of its registry.
#[async_trait]
pub trait ControllerDirectory: Send + Sync {
    /// The controller of this id; `None` if there is no way to it.
    async fn controller(&self, id: ControllerId) -> Option<Arc<dyn MeetingController>>;
}

/// What it works with.
#[derive(Clone)]
pub struct Dependencies {
    /// Meetings and who made them.
    pub database: Arc<dyn Database>,
    /// Registry, assignments, live numbers and counters.
    pub state: Arc<dyn StateStore>,
    /// Signs join and host tokens.
    pub auth: Arc<dyn AuthController>,
    /// Ways to the meeting controllers.
    pub controllers: Arc<dyn ControllerDirectory>,
    /// Checks the tokens that requests carry.
    pub authenticator: Authenticator,
}

/// See the crate's documentation.
pub struct GlobalController {
    config: Config,
    deps: Dependencies,
}

impl GlobalController {
    /// A global controller; it has no tasks of its own.
    #[must_use]
    pub fn new(config: Config, deps: Dependencies) -> Arc<Self> {
        Arc::new(Self { config, deps })
    }

    /// The routes of its API, without prefix: mount it with [`mount`].
    pub fn router(self: &Arc<Self>) -> Router {
        let limit = |bucket, quota| {
            let proxies = Arc::new(self.config.trusted_proxies.clone());
            RateLimit::new(self.deps.state.clone(), bucket, quota, proxies)
        };
        let general = limit("api", self.config.requests);
        let guests = limit("guest-token", self.config.guest_tokens);
        let limited = general
            .apply(meetings::router())
            .merge(guests.apply(meetings::guest_router()));
        let authenticated = self.deps.authenticator.apply(limited);
        authenticated
            .merge(meetings::health_router())
            .with_state(self.clone())
    }

    /// What [`router`](Self::router) offers, as an OpenAPI 3.1 document.
    #[must_use]
    pub fn openapi() -> utoipa::openapi::OpenApi {
        openapi::document()
    }
}

impl std::fmt::Debug for GlobalController {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GlobalController")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}
