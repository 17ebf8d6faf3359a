//! `GET /health`

use std::sync::Arc;

use axum::{Json, extract::State};
use dt_service::http::ErrorBody;
use dt_store::keys;
use serde::Serialize;
use utoipa::ToSchema;

use crate::{GlobalController, error::Failure};

/// How the service is.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Health {
    /// `ok`
    status: &'static str,
    /// The program's version.
    version: &'static str,
}

/// Whether meetings can be created and joined.
#[utoipa::path(
    get,
    path = "/health",
    tag = "health",
    responses(
        (status = 200, description = "They can", body = Health),
        (status = 503, description = "They can't at the moment", body = ErrorBody),
    ),
)]
pub(crate) async fn health(
    State(gc): State<Arc<GlobalController>>,
) -> Result<Json<Health>, Failure> {
    gc.deps.database.ping().await?;
    gc.deps.state.list(keys::REGISTRY_CONTROLLERS).await?;
    Ok(Json(Health {
        status: "ok",
        version: env!("CARGO_PKG_VERSION"),
    }))
}
