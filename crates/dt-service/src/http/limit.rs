//! Limits on how many requests a client may send in a minute.
//!
//! Counters stand in the state store, so that they hold over all instances. A
//! router gets one by [`RateLimit::apply`]; what it counts by is the caller's
//! token, where an [`Authenticator`](super::Authenticator) is around it, else
//! the client's address. When the state store can't be reached requests pass:
//! a limit must not be what takes the service down.

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use axum::{
    Router,
    extract::{Request, State},
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use dt_store::{Counter, StateStore, keys};
use http::{HeaderName, HeaderValue};
use serde::Deserialize;

use super::{
    ApiError, Caller,
    client::{TrustedProxies, limit_key},
};

const WINDOW: Duration = Duration::from_secs(60);

const LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
const REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
const RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");

/// How many requests a minute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Quota {
    /// For a person, or for an address without a token.
    pub per_minute: u64,
    /// For a program with its own credentials.
    pub service_per_minute: u64,
}

impl Default for Quota {
    /// 100 a minute a client (spec 001), and sixty times that for a program.
    fn default() -> Self {
        Self {
            per_minute: 100,
            service_per_minute: 6000,
        }
    }
}

/// A limit on requests, counted in a bucket of its own.
#[derive(Clone)]
pub struct RateLimit {
    state: Arc<dyn StateStore>,
    bucket: &'static str,
    quota: Quota,
    proxies: Arc<TrustedProxies>,
}

impl RateLimit {
    /// A limit whose counters are kept under `bucket`.
    #[must_use]
    pub fn new(
        state: Arc<dyn StateStore>,
        bucket: &'static str,
        quota: Quota,
        proxies: Arc<TrustedProxies>,
    ) -> Self {
        Self {
            state,
            bucket,
            quota,
            proxies,
        }
    }

    /// The router with this limit on all its routes.
    pub fn apply<S: Clone + Send + Sync + 'static>(&self, router: Router<S>) -> Router<S> {
        router.layer(middleware::from_fn_with_state(self.clone(), check))
    }

    /// Whose request it is, and how many that one has.
    fn subject_and_limit(&self, request: &Request) -> (String, u64) {
        let caller = request.extensions().get::<Caller>();
        let limit = match caller {
            Some(caller) if caller.is_service() => self.quota.service_per_minute,
            _ => self.quota.per_minute,
        };
        let subject = caller.and_then(Caller::subject).or_else(|| {
            let address = self.proxies.client_address(request)?;
            Some(format!("address:{}", limit_key(address)))
        });
        // Without a connection (inside the process) all share one counter.
        (subject.unwrap_or_else(|| "address:none".to_owned()), limit)
    }

    /// Counts a request. `None`: it can't be counted now and passes.
    async fn count(&self, subject: &str, limit: u64) -> Option<Standing> {
        match self
            .state
            .incr(&keys::rate_limit(self.bucket, subject), WINDOW)
            .await
        {
            Ok(counter) => Some(Standing { limit, counter }),
            Err(error) => {
                tracing::warn!(%error, bucket = self.bucket, "requests are not counted");
                None
            }
        }
    }
}

/// How a client stands in its window.
struct Standing {
    limit: u64,
    counter: Counter,
}

impl Standing {
    fn is_over(&self) -> bool {
        self.counter.value > self.limit
    }

    /// Whole seconds until the window is over, at least 1.
    fn wait_s(&self) -> u64 {
        self.counter.expires_in.as_secs_f64().ceil().max(1.0) as u64
    }

    fn mark(&self, response: &mut Response) {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let reset = (now + self.counter.expires_in).as_secs_f64().ceil() as u64;
        let headers = response.headers_mut();
        headers.insert(LIMIT, HeaderValue::from(self.limit));
        let remaining = self.limit.saturating_sub(self.counter.value);
        headers.insert(REMAINING, HeaderValue::from(remaining));
        headers.insert(RESET, HeaderValue::from(reset));
    }
}

async fn check(State(limit): State<RateLimit>, request: Request, next: Next) -> Response {
    let (subject, per_minute) = limit.subject_and_limit(&request);
    let Some(standing) = limit.count(&subject, per_minute).await else {
        return next.run(request).await;
    };
    let mut response = if standing.is_over() {
        ApiError::rate_limited(standing.wait_s()).into_response()
    } else {
        next.run(request).await
    };
    standing.mark(&mut response);
    response
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use axum::{body::Body, extract::ConnectInfo, routing::get};
    use dt_store::MemoryState;
    use tower::ServiceExt as _;

    use super::*;

    fn router(per_minute: u64) -> Router {
        RateLimit::new(
            Arc::new(MemoryState::new()),
            "test",
            Quota {
                per_minute,
                service_per_minute: 1000,
            },
            Arc::default(),
        )
        .apply(Router::new().route("/", get(|| async { "ok" })))
    }

    fn request(address: &str) -> Request {
        let mut request = Request::new(Body::empty());
        let address: SocketAddr = address.parse().unwrap();
        request.extensions_mut().insert(ConnectInfo(address));
        request
    }

    #[tokio::test]
    async fn the_request_over_the_limit_is_refused_and_told_when_to_return() {
        let router = router(2);
        for remaining in ["1", "0"] {
            let response = router
                .clone()
                .oneshot(request("192.0.2.1:1"))
                .await
                .unwrap();
            assert_eq!(response.status(), 200);
            assert_eq!(response.headers()["x-ratelimit-limit"], "2");
            assert_eq!(response.headers()["x-ratelimit-remaining"], remaining);
        }
        let response = router
            .clone()
            .oneshot(request("192.0.2.1:2"))
            .await
            .unwrap();
        assert_eq!(response.status(), 429);
        assert_eq!(response.headers()["x-ratelimit-remaining"], "0");
        let wait: u64 = response.headers()["retry-after"]
            .to_str()
            .unwrap()
            .parse()
            .unwrap();
        assert!((1..=60).contains(&wait));
    }

    #[tokio::test]
    async fn one_client_does_not_use_up_the_limit_of_another() {
        let router = router(1);
        for address in ["192.0.2.1:1", "192.0.2.2:1", "[2001:db8::1]:1"] {
            let response = router.clone().oneshot(request(address)).await.unwrap();
            assert_eq!(response.status(), 200);
        }
    }
}
