//! The media handler: lets media sessions in and forwards what they send.
//!
//! A meeting controller drives it through [`dt_rpc::MediaHandler`]; whoever
//! accepts connections hands each to [`MediaHandler::serve`]. The rules are in
//! `dt-forward-core`; here are the sessions, their tasks, and the carrying out
//! of what the rules say. Nothing is kept over a restart.
//!
//! With other handlers it exchanges the media of meetings over links (`cascade`).
//!
//! Deliberately absent: accepting connections, and keys of media (payloads are
//! sealed between clients).

mod backlog;
mod cascade;
mod config;
mod control;
mod events;
mod fan_out;
mod flush;
mod gather;
mod lane;
mod meeting;
mod port;
mod processing;
mod rate;
mod rpc;
mod session;
mod streams;
mod warm;

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use dt_forward_core::Forwarder;
use dt_ids::{HandlerId, MeetingId};
use dt_token::{UsedIds, connection::ConnectionKey};
use dt_transport::Session;
use dt_wire::{
    CloseCode,
    internal::{Endpoint, HandlerCapacity, HandlerEvent},
};
use tokio::{runtime::Handle, sync::Notify, task::JoinHandle};

use cascade::{Cascade, Load, Spaces};
pub use cascade::{
    DialError, LINK_PATH, LinkDialer, LinkDirectory, LinkPass, LocalLinks, RemoteLinks,
    SharedSecret,
};
pub use config::Config;
use events::Events;
use flush::Flush;
pub use gather::GatherConfig;
use meeting::{Meeting, State};
use port::SessionKeys;
use processing::Threads;
pub use processing::{Opus, ProcessingConfig};
use warm::Warm;

/// A media handler. Dropping the last handle ends its timers; sessions are ended
/// by [`shutdown`](Self::shutdown) or by their clients.
pub struct MediaHandler {
    inner: Arc<Inner>,
    /// Its timers, its sending of datagrams, and its dialling.
    tasks: Mutex<Option<Tasks>>,
}

type Tasks = [JoinHandle<()>; 3];

pub(crate) struct Inner {
    pub(crate) config: Config,
    /// Begins as the configured one; its certificates change while it runs.
    pub(crate) endpoint: Mutex<Endpoint>,
    /// New at every start, so that no connection token of before is good.
    pub(crate) key: ConnectionKey,
    pub(crate) used_tokens: Mutex<UsedIds>,
    meetings: Mutex<HashMap<MeetingId, Arc<Meeting>>>,
    pub(crate) events: Arc<Events>,
    pub(crate) flush: Arc<Flush>,
    pub(crate) session_keys: SessionKeys,
    pub(crate) threads: Threads,
    pub(crate) warm: Warm,
    pub(crate) sessions: AtomicUsize,
    pub(crate) cascade: Cascade,
    pub(crate) route_spaces: Mutex<Spaces>,
    load: Load,
    /// When its timers ran last.
    pub(crate) ticked_at: Mutex<Instant>,
    /// A session has ended.
    pub(crate) left: Notify,
    me: Weak<Inner>,
}

impl MediaHandler {
    /// A handler with a fresh key for connection tokens.
    #[must_use]
    pub fn new(config: Config) -> Arc<Self> {
        let cascade = Cascade::none(config.handler_id, config.forward.routes_max);
        Self::with_cascade(config, cascade)
    }

    /// One that has links to others: it dials by `dialer`, and shows and checks
    /// what `pass` says.
    #[must_use]
    pub fn with_links<D: LinkDialer>(
        config: Config,
        dialer: Arc<D>,
        pass: Arc<dyn LinkPass>,
    ) -> Arc<Self> {
        let (here, routes_max) = (config.handler_id, config.forward.routes_max);
        let cascade = Cascade::new(here, routes_max, dialer, pass);
        Self::with_cascade(config, cascade)
    }

    fn with_cascade(mut config: Config, cascade: Cascade) -> Arc<Self> {
        config.forward.handler = Some(config.handler_id);
        let inner = |me: &Weak<Inner>| Inner {
            key: ConnectionKey::random(),
            used_tokens: Mutex::new(UsedIds::new(config.used_tokens_max)),
            meetings: Mutex::default(),
            events: Arc::new(Events::new(config.controllers_max)),
            flush: Arc::new(Flush::new(config.gather)),
            session_keys: SessionKeys::default(),
            threads: Threads::new(config.processing),
            warm: Warm::new(config.warm_sessions_max),
            sessions: AtomicUsize::new(0),
            endpoint: Mutex::new(config.endpoint.clone()),
            cascade,
            route_spaces: Mutex::default(),
            load: Load::default(),
            ticked_at: Mutex::new(now()),
            left: Notify::new(),
            me: Weak::clone(me),
            config,
        };
        Arc::new(Self {
            inner: Arc::new_cyclic(inner),
            tasks: Mutex::default(),
        })
    }

    /// Clients dial it here from now on, or meet other certificates: what
    /// controllers are told when they ask next.
    pub fn set_endpoint(&self, endpoint: Endpoint) {
        *lock(&self.inner.endpoint) = endpoint;
    }

    /// Makes this runtime its home: its timers, its sending of datagrams and its
    /// dialling run there, whatever runtimes its sessions are on. When to gather
    /// follows how busy the home is. Of no effect where it has a home that runs.
    ///
    /// Without it, its home is where its first session is served.
    pub fn start(&self, home: &Handle) {
        let mut tasks = lock(&self.tasks);
        let run = |tasks: &Tasks| !tasks.iter().any(JoinHandle::is_finished);
        // The runtime of the first ones may have been shut down.
        if !tasks.as_ref().is_some_and(run) {
            abort(tasks.take());
            let flush = Arc::clone(&self.inner.flush);
            *tasks = Some([
                home.spawn(tick(Arc::downgrade(&self.inner))),
                home.spawn(flush::run(flush)),
                home.spawn(cascade::keep(Arc::downgrade(&self.inner))),
            ]);
        }
    }

    /// Runs one session to its end. All of its tasks run on the runtime that
    /// polls this and end with it. Sessions may be on runtimes of different threads.
    pub async fn serve<S: Session>(&self, session: S) {
        self.start(&Handle::current());
        session::serve(Arc::clone(&self.inner), session).await;
    }

    /// Runs a link that another handler dialled, to its end; as
    /// [`serve`](Self::serve) otherwise.
    pub async fn serve_link<S: Session>(&self, session: S) {
        self.start(&Handle::current());
        cascade::accepted(&self.inner, session).await;
    }

    /// Who it is.
    #[must_use]
    pub fn id(&self) -> HandlerId {
        self.inner.config.handler_id
    }

    /// Links to other handlers that are up now.
    #[must_use]
    pub fn link_count(&self) -> usize {
        self.inner.cascade.peers.up_count()
    }

    /// Tells controllers that it will stop, waits until its participants have left
    /// for other handlers, `grace` at most, and [shuts down](Self::shutdown).
    pub async fn drain(&self, grace: Duration) {
        self.inner.load.drain();
        self.inner.events.tell(&self.inner.load());
        let left = async {
            loop {
                // Before the look: the last one may leave on another thread meanwhile.
                let next = self.inner.left.notified();
                if self.session_count() == 0 {
                    break;
                }
                next.await;
            }
        };
        // Who has not left by then finds its way by itself.
        let _ = tokio::time::timeout(grace, left).await;
        self.shutdown();
    }

    /// What a registration and a heartbeat at the registry say.
    #[must_use]
    pub fn capacity(&self) -> HandlerCapacity {
        let meetings = self.inner.all_meetings();
        let streams: usize = meetings.iter().map(|m| m.stream_count()).sum();
        HandlerCapacity {
            max_streams: self.inner.config.streams_max,
            current_streams: u32::try_from(streams).unwrap_or(u32::MAX),
        }
    }

    /// Media sessions that are let in now.
    #[must_use]
    pub fn session_count(&self) -> usize {
        self.inner.session_count()
    }

    /// Closes all sessions with code 8; each call of [`serve`](Self::serve)
    /// returns soon after.
    pub fn shutdown(&self) {
        self.inner.warm.close_all();
        let code = CloseCode::ShuttingDown.code();
        let peers = &self.inner.cascade.peers;
        peers.close_all(code, "the server shuts down");
        for meeting in self.inner.all_meetings() {
            meeting.close_all(CloseCode::ShuttingDown, "the server shuts down");
        }
    }
}

fn abort(tasks: Option<Tasks>) {
    for task in tasks.into_iter().flatten() {
        task.abort();
    }
}

impl Drop for MediaHandler {
    fn drop(&mut self) {
        abort(lock(&self.tasks).take());
    }
}

impl Inner {
    pub(crate) fn meeting(&self, id: MeetingId) -> Option<Arc<Meeting>> {
        lock(&self.meetings).get(&id).cloned()
    }

    /// The meeting, made if it is not known; `None` when there are too many.
    pub(crate) fn meeting_or_new(&self, id: MeetingId) -> Option<Arc<Meeting>> {
        self.entry(&mut lock(&self.meetings), id)
    }

    /// Gives a meeting an input that makes somebody be registered. The meeting
    /// can't be forgotten meanwhile.
    pub(crate) fn in_meeting<T>(
        &self,
        id: MeetingId,
        input: impl FnOnce(&mut State) -> T,
    ) -> Option<T> {
        let mut meetings = lock(&self.meetings);
        Some(self.entry(&mut meetings, id)?.with(input))
    }

    fn entry(
        &self,
        meetings: &mut HashMap<MeetingId, Arc<Meeting>>,
        id: MeetingId,
    ) -> Option<Arc<Meeting>> {
        if let Some(meeting) = meetings.get(&id) {
            return Some(Arc::clone(meeting));
        }
        if meetings.len() >= self.config.meetings_max {
            return None;
        }
        let (events, flush) = (Arc::clone(&self.events), Arc::clone(&self.flush));
        let me = Weak::clone(&self.me);
        let meeting = Meeting::new(id, self.config.forward, events, flush, me);
        meetings.insert(id, Arc::clone(&meeting));
        Some(meeting)
    }

    pub(crate) fn all_meetings(&self) -> Vec<Arc<Meeting>> {
        lock(&self.meetings).values().cloned().collect()
    }

    pub(crate) fn session_count(&self) -> usize {
        self.sessions.load(Ordering::Relaxed)
    }

    /// How full it is now.
    pub(crate) fn load(&self) -> HandlerEvent {
        let meetings = self.all_meetings();
        let streams: usize = meetings.iter().map(|m| m.stream_count()).sum();
        let sessions = self.session_count();
        let streams_max = usize::try_from(self.config.streams_max).unwrap_or(usize::MAX);
        self.load
            .event((sessions, self.config.sessions_max), (streams, streams_max))
    }

    fn forget_abandoned(&self) {
        let for_long = self.config.empty_meeting_max;
        lock(&self.meetings).retain(|_, meeting| !meeting.is_abandoned(for_long));
    }
}

/// Drives the timers of all meetings.
async fn tick(inner: Weak<Inner>) {
    let mut ticks = tokio::time::interval(Forwarder::TICK);
    // After a stall the present counts, not the ticks that were missed.
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut reported_at = now();
    loop {
        ticks.tick().await;
        let Some(inner) = inner.upgrade() else {
            return;
        };
        *lock(&inner.ticked_at) = now();
        let meetings = inner.all_meetings();
        for meeting in &meetings {
            meeting.tick();
        }
        if now().saturating_duration_since(reported_at) >= inner.config.telemetry_interval {
            reported_at = now();
            for meeting in &meetings {
                meeting.report();
            }
            drop(meetings);
            inner.forget_abandoned();
            inner.cascade.peers.sweep(now());
            metrics::gauge!("media_sessions").set(inner.session_count() as f64);
        }
    }
}

/// The runtime's clock, so that tests can pause it.
pub(crate) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// A panic under a lock is our own bug and has been reported; what it left is
/// consistent enough to go on for the other sessions.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
