//! The driver's view of the media handlers: a task each, their tokens, and a
//! lane from every publisher to every handler.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use dt_ids::{Encoding, HandlerId, StreamId};
use dt_session_core::Config;
use tokio::{
    sync::{Mutex, mpsc, watch},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

use crate::{
    Dial, HandlerEndpoint, Secret,
    lane::{self, LANE_FRAMES_MAX, Outlet},
    media::{Context, MediaReport},
    publisher::Shared,
    receiving::Receiving,
};

/// Between two requests for the same handler's token.
const TOKEN_INTERVAL: Duration = Duration::from_secs(1);
/// Handlers that a client has sessions with; more are not taken from a server.
const HANDLERS_MAX: usize = 16;

struct Handler<D: Dial> {
    tokens: watch::Sender<Option<Secret>>,
    outlet: watch::Receiver<Option<Outlet<D::Session>>>,
    /// A fresh token is needed, and may be asked for from here on.
    token_due: Option<Instant>,
}

pub(super) struct MediaSide<D: Dial> {
    dial: Arc<D>,
    config: Config,
    receiving: Arc<Receiving>,
    reports: mpsc::Sender<MediaReport>,
    key_frames: Arc<Mutex<mpsc::Receiver<(StreamId, Encoding)>>>,
    publishers: watch::Sender<Vec<Arc<Shared>>>,
    handlers: HashMap<HandlerId, Handler<D>>,
    tasks: JoinSet<()>,
    over: CancellationToken,
}

impl<D: Dial> MediaSide<D> {
    pub(super) fn new(
        dial: Arc<D>,
        config: Config,
        receiving: Arc<Receiving>,
        reports: mpsc::Sender<MediaReport>,
        key_frames: Arc<Mutex<mpsc::Receiver<(StreamId, Encoding)>>>,
    ) -> Self {
        Self {
            dial,
            config,
            receiving,
            reports,
            key_frames,
            publishers: watch::Sender::new(Vec::new()),
            handlers: HashMap::new(),
            tasks: JoinSet::new(),
            over: CancellationToken::new(),
        }
    }

    /// Begins to connect to a handler, unless it is known.
    pub(super) fn ensure(&mut self, handler: HandlerEndpoint, publishers: &[Arc<Shared>]) {
        let id = handler.handler_id;
        if self.handlers.contains_key(&id) || self.handlers.len() >= HANDLERS_MAX {
            return;
        }
        let (tokens, tokens_out) = watch::channel(None);
        let (outlet, outlet_out) = watch::channel(None);
        let context = Context {
            handler,
            dial: Arc::clone(&self.dial),
            config: self.config,
            receiving: Arc::clone(&self.receiving),
            reports: self.reports.clone(),
            tokens: tokens_out,
            outlet,
            key_frames: Arc::clone(&self.key_frames),
            publishers: self.publishers.subscribe(),
            over: self.over.clone(),
        };
        self.tasks.spawn(context.run(rand::random()));
        self.handlers.insert(
            id,
            Handler {
                tokens,
                outlet: outlet_out,
                token_due: None,
            },
        );
        for publisher in publishers {
            self.add_lane(publisher, id);
        }
    }

    /// Closes all sessions and waits until the handlers know.
    pub(super) async fn end(&mut self) {
        self.over.cancel();
        while self.tasks.join_next().await.is_some() {}
    }

    pub(super) fn give_token(&mut self, handler: HandlerId, token: Secret) {
        if let Some(handler) = self.handlers.get_mut(&handler) {
            handler.token_due = None;
            handler.tokens.send_replace(Some(token));
        }
    }

    /// A handler's session was lost.
    pub(super) fn need_token(&mut self, handler: HandlerId, now: Instant) {
        if let Some(handler) = self.handlers.get_mut(&handler) {
            handler.token_due.get_or_insert(now);
        }
    }

    /// When a token is to be asked for.
    pub(super) fn token_due(&self) -> Option<Instant> {
        self.handlers.values().filter_map(|h| h.token_due).min()
    }

    /// The handlers whose token is to be asked for now, and again later.
    pub(super) fn take_token_due(&mut self, now: Instant) -> Vec<HandlerId> {
        let mut due = Vec::new();
        for (id, handler) in &mut self.handlers {
            if handler.token_due.is_some_and(|at| at <= now) {
                handler.token_due = Some(now + TOKEN_INTERVAL);
                due.push(*id);
            }
        }
        due
    }

    pub(super) fn add_publisher(&mut self, publisher: &Arc<Shared>, all: &[Arc<Shared>]) {
        let handlers: Vec<_> = self.handlers.keys().copied().collect();
        for handler in handlers {
            self.add_lane(publisher, handler);
        }
        self.show_publishers(all);
    }

    pub(super) fn show_publishers(&self, all: &[Arc<Shared>]) {
        self.publishers.send_replace(all.to_vec());
    }

    fn add_lane(&mut self, publisher: &Arc<Shared>, id: HandlerId) {
        let Some(handler) = self.handlers.get(&id) else {
            return;
        };
        let (frames, frames_out) = mpsc::channel(LANE_FRAMES_MAX);
        publisher.add_lane(id, frames);
        self.tasks.spawn(lane::run(
            Arc::clone(publisher),
            handler.outlet.clone(),
            frames_out,
        ));
    }
}
