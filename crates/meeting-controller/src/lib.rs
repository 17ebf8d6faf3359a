//! The meeting controller: signaling sessions of clients, one task a meeting,
//! commands to media handlers.
//!
//! What happens in a meeting is decided by `dt-meeting-core`; here are the tasks
//! and channels around it:
//!
//! ```text
//! serve(session) ──▶ reader ──Command──▶ meeting task (drives the core) ──▶ links to media handlers
//!                    writer ◀──frames─── bounded outbox                 └─▶ lease keeper, live number
//! ```
//!
//! * [`MeetingController::start`] registers at the global controller's registry
//!   and sends heartbeats; [`MeetingController::serve`] runs one session to its
//!   end, whatever carries it; `dt_rpc::MeetingController` assigns, updates and
//!   ends meetings.
//! * A client that does not read is disconnected when its outbox is full; a
//!   client that sends too much is refused; neither holds up anybody else.
//! * Deliberately absent: any rule of a meeting (the core's), any knowledge of
//!   QUIC (the transport's), any durable state (the store's).

mod clock;
mod config;
mod encryption;
mod handler;
mod lease;
mod meeting;
mod meetings;
mod registration;
mod routes;
mod rpc;
mod session;

use std::sync::{Arc, Mutex};

use dt_meeting_core::SessionId;
use dt_rpc::{HandlerDirectory, Registry};
use dt_store::StateStore;
use dt_token::Verifier;
use dt_transport::Session;
use dt_wire::internal::Endpoint;
use tokio::time::timeout;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use clock::Clock;
pub use config::Config;
use handler::Links;
use meetings::Meetings;
use session::Warm;

/// What a controller needs of other roles.
#[derive(Clone)]
pub struct Dependencies {
    /// Where it says that it is there.
    pub registry: Arc<dyn Registry>,
    /// Where it finds media handlers.
    pub handlers: Arc<dyn HandlerDirectory>,
    /// Leases, live numbers, ended meetings.
    pub state: Arc<dyn StateStore>,
    /// Checks join tokens.
    pub verifier: Arc<Verifier>,
}

/// A running meeting controller. Cloning gives another handle.
#[derive(Clone)]
pub struct MeetingController {
    inner: Arc<Inner>,
}

pub(crate) struct Inner {
    config: Config,
    registry: Arc<dyn Registry>,
    state: Arc<dyn StateStore>,
    verifier: Arc<Verifier>,
    clock: Clock,
    meetings: Meetings,
    links: Links,
    warm: Warm,
    tasks: TaskTracker,
    stop: CancellationToken,
    endpoint: Mutex<Endpoint>,
}

impl MeetingController {
    /// Starts a controller: it is registered (or, when the registry does not
    /// answer, keeps trying) when this returns.
    pub async fn start(config: Config, dependencies: Dependencies) -> Arc<Self> {
        let Dependencies {
            registry,
            handlers,
            state,
            verifier,
        } = dependencies;
        session::health::describe();
        let inner = Arc::new(Inner {
            links: Links::new(config.controller_id, handlers),
            registry,
            state,
            verifier,
            clock: Clock::start(),
            meetings: Meetings::default(),
            warm: Warm::new(config.warm_sessions_max),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
            endpoint: Mutex::new(config.endpoint.clone()),
            config,
        });
        let registered = registration::register(&inner).await;
        inner
            .tasks
            .spawn(registration::keep(Arc::clone(&inner), registered));
        Arc::new(Self { inner })
    }

    /// Clients dial it here from now on, or meet other certificates: what it
    /// says when it registers again.
    pub fn set_endpoint(&self, endpoint: Endpoint) {
        *lock(&self.inner.endpoint) = endpoint;
    }

    /// Runs one signaling session to its end.
    pub async fn serve<S: Session>(&self, session: S) {
        self.inner
            .tasks
            .track_future(session::serve(Arc::clone(&self.inner), session))
            .await;
    }

    /// Stops: sessions are closed with code 8, leases are given back. Waits for
    /// that at most as long as [`Config::shutdown_ms_max`] says.
    pub async fn shutdown(&self) {
        self.inner.stop.cancel();
        self.inner.tasks.close();
        let deadline = std::time::Duration::from_millis(self.inner.config.shutdown_ms_max);
        if timeout(deadline, self.inner.tasks.wait()).await.is_err() {
            tracing::warn!("the controller did not stop in time");
        }
    }

    /// Meetings in memory, and people in them.
    #[must_use]
    pub fn load(&self) -> (usize, usize) {
        (
            self.inner.meetings.len(),
            self.inner.meetings.participants(),
        )
    }
}

impl Inner {
    fn next_session(&self) -> SessionId {
        self.meetings.next_session()
    }
}

/// A lock whose holder panicked holds a whole value all the same: nothing here
/// leaves one half changed.
pub(crate) fn lock<T>(mutex: &std::sync::Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}
