//! The endpoints of meetings (spec 001 section 1).

mod access;
pub(crate) mod answer;
pub(crate) mod change;
pub(crate) mod create;
pub(crate) mod guest;
pub(crate) mod health;
pub(crate) mod read;
pub(crate) mod request;

use std::sync::Arc;

use axum::{
    Router,
    routing::{get, post},
};

use crate::GlobalController;

/// A meeting is named by its id or by the code in its link.
const ONE: &str = "/meetings/{meeting}";

pub(crate) fn router() -> Router<Arc<GlobalController>> {
    Router::new()
        .route("/meetings", post(create::create).get(read::list))
        .route(
            ONE,
            get(read::get).patch(change::change).delete(change::end),
        )
}

/// Apart from the others for its own rate limit.
pub(crate) fn guest_router() -> Router<Arc<GlobalController>> {
    Router::new().route("/meetings/{meeting}/guest-token", post(guest::guest_token))
}

/// Neither limited nor asking who calls.
pub(crate) fn health_router() -> Router<Arc<GlobalController>> {
    Router::new().route("/health", get(health::health))
}
