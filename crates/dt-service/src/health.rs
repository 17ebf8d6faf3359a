//! `/healthz` and `/readyz`.
//!
//! Healthy: the process answers; a supervisor that gets no answer restarts it.
//! Ready: it can do its work; a balancer that is told otherwise sends nobody.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{
    Json, Router,
    extract::State,
    response::{IntoResponse, Response},
    routing::get,
};
use http::StatusCode;
use serde_json::json;

/// A store that has not answered by then is not ready.
const CHECK_TIME_MAX: Duration = Duration::from_secs(2);

type Check =
    Box<dyn Fn() -> Pin<Box<dyn Future<Output = Result<(), String>> + Send>> + Send + Sync>;

/// Whether a process can do its work.
#[derive(Default)]
pub struct Readiness {
    checks: Vec<(&'static str, Check)>,
    is_draining: AtomicBool,
}

impl Readiness {
    /// Adds something that must work; `check` says in words why it does not.
    #[must_use]
    pub fn with<F, C>(mut self, name: &'static str, check: C) -> Self
    where
        C: Fn() -> F + Send + Sync + 'static,
        F: Future<Output = Result<(), String>> + Send + 'static,
    {
        self.checks
            .push((name, Box::new(move || Box::pin(check()))));
        self
    }

    /// From now on it is not ready: it is about to stop.
    pub fn drain(&self) {
        self.is_draining.store(true, Ordering::Relaxed);
    }

    /// What does not work, by name; empty when ready.
    pub async fn failures(&self) -> Vec<(&'static str, String)> {
        let mut failures = Vec::new();
        if self.is_draining.load(Ordering::Relaxed) {
            failures.push(("drain", "the server is shutting down".to_owned()));
        }
        for (name, check) in &self.checks {
            match tokio::time::timeout(CHECK_TIME_MAX, check()).await {
                Ok(Ok(())) => {}
                Ok(Err(why)) => failures.push((name, why)),
                Err(_) => failures.push((name, "no answer".to_owned())),
            }
        }
        failures
    }
}

/// The two endpoints.
pub fn router(readiness: Arc<Readiness>) -> Router {
    Router::new()
        .route(
            "/healthz",
            get(|| async { Json(json!({ "status": "ok" })) }),
        )
        .route("/readyz", get(readyz))
        .with_state(readiness)
}

async fn readyz(State(readiness): State<Arc<Readiness>>) -> Response {
    let failures = readiness.failures().await;
    if failures.is_empty() {
        return Json(json!({ "status": "ready" })).into_response();
    }
    for (name, why) in &failures {
        tracing::warn!(check = name, why, "not ready");
    }
    // What exactly is broken is for the operator's log, not for the network.
    let names: Vec<_> = failures.iter().map(|(name, _)| *name).collect();
    let body = json!({ "status": "not ready", "failing": names });
    (StatusCode::SERVICE_UNAVAILABLE, Json(body)).into_response()
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use tower::ServiceExt as _;

    use super::*;

    async fn status(readiness: &Arc<Readiness>, path: &str) -> u16 {
        let request = http::Request::get(path).body(Body::empty()).unwrap();
        let response = router(readiness.clone()).oneshot(request).await.unwrap();
        response.status().as_u16()
    }

    #[tokio::test]
    async fn a_draining_server_is_healthy_but_not_ready() {
        let readiness = Arc::new(Readiness::default().with("store", || async { Ok(()) }));
        assert_eq!(status(&readiness, "/readyz").await, 200);
        readiness.drain();
        assert_eq!(status(&readiness, "/readyz").await, 503);
        assert_eq!(status(&readiness, "/healthz").await, 200);
    }

    #[tokio::test(start_paused = true)]
    async fn a_store_that_does_not_answer_is_not_ready() {
        let readiness = Readiness::default().with("store", std::future::pending);
        assert_eq!(
            readiness.failures().await,
            [("store", "no answer".to_owned())]
        );
    }
}
