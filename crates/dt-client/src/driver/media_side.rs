//! The driver's view of the media handlers: a task each, their tokens, and a
//! lane from every encoding to every handler.
//!
//! The first handler is the home: pictures go there and come from there. The
//! others are spares, which sound goes by too; nobody waits for them.

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
    Dial, Event, HandlerEndpoint, Secret,
    lane::{self, LANE_FRAMES_MAX, Outlet},
    media::{Context, MediaReport},
    paths::Paths,
    publisher::Shared,
    receiving::{KeyFrameRequest, Receiving},
};

/// Between two requests for the same handler's token.
const TOKEN_INTERVAL: Duration = Duration::from_secs(1);
/// Handlers that a client has sessions with; more are not taken from a server.
const HANDLERS_MAX: usize = 16;
/// Handlers that are dialled ahead of the join: a seat has a home and a spare.
pub(super) const WARM_HANDLERS: usize = 2;
/// Key-frame requests that wait to be written to one handler.
const KEY_FRAMES_MAX: usize = 64;

struct Handler<D: Dial> {
    tokens: watch::Sender<Option<Secret>>,
    outlet: watch::Receiver<Option<Outlet<D::Session>>>,
    key_frames: mpsc::Sender<(StreamId, Encoding)>,
    /// A fresh token is needed, and may be asked for from here on.
    token_due: Option<Instant>,
    /// Media goes both ways.
    ready: bool,
    over: CancellationToken,
}

pub(super) struct MediaSide<D: Dial> {
    dial: Arc<D>,
    config: Config,
    receiving: Arc<Receiving>,
    reports: mpsc::Sender<MediaReport>,
    paths: Arc<Paths>,
    /// The home first.
    order: Vec<HandlerId>,
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
        paths: Arc<Paths>,
    ) -> Self {
        Self {
            dial,
            config,
            receiving,
            reports,
            paths,
            order: Vec::new(),
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
        let (key_frames, key_frames_out) = mpsc::channel(KEY_FRAMES_MAX);
        let over = self.over.child_token();
        let context = Context {
            handler,
            dial: Arc::clone(&self.dial),
            config: self.config,
            receiving: Arc::clone(&self.receiving),
            reports: self.reports.clone(),
            tokens: tokens_out,
            outlet,
            key_frames: Mutex::new(key_frames_out),
            paths: Arc::clone(&self.paths),
            over: over.clone(),
        };
        self.tasks.spawn(context.run(rand::random()));
        self.handlers.insert(
            id,
            Handler {
                tokens,
                outlet: outlet_out,
                key_frames,
                token_due: None,
                ready: false,
                over,
            },
        );
        self.order.push(id);
        self.paths.set_handlers(&self.order);
        for publisher in publishers {
            self.add_lanes(publisher, id);
        }
    }

    /// These are the handlers of the seat, the home first: all others are left.
    /// `true`: the home is another one than before, and ready.
    pub(super) fn settle(&mut self, seat: &[HandlerId], publishers: &[Arc<Shared>]) -> bool {
        let home = self.order.first().copied();
        let (kept, left): (Vec<_>, Vec<_>) = self.order.iter().partition(|id| seat.contains(id));
        self.order = seat.to_vec();
        self.order.retain(|id| kept.contains(id));
        for id in left {
            self.leave(id, publishers);
        }
        self.paths.set_handlers(&self.order);
        home != self.order.first().copied() && self.home_is_ready()
    }

    /// Pictures are wanted at this handler alone: it is the home now. `true` as of
    /// [`settle`](Self::settle).
    pub(super) fn set_home(&mut self, id: HandlerId) -> bool {
        let known = self.order.iter().position(|known| *known == id);
        let Some(place) = known.filter(|place| *place > 0) else {
            return false;
        };
        self.order[..=place].rotate_right(1);
        self.paths.set_handlers(&self.order);
        self.home_is_ready()
    }

    /// Closes the session with a handler, for good. `true` as of
    /// [`settle`](Self::settle).
    pub(super) fn remove(&mut self, id: HandlerId, publishers: &[Arc<Shared>]) -> bool {
        let rest: Vec<_> = self.order.iter().copied().filter(|h| *h != id).collect();
        self.settle(&rest, publishers)
    }

    fn leave(&mut self, id: HandlerId, publishers: &[Arc<Shared>]) {
        if let Some(handler) = self.handlers.remove(&id) {
            handler.over.cancel();
            for publisher in publishers {
                publisher.remove_lanes(id);
            }
        }
    }

    fn home_is_ready(&self) -> bool {
        let home = self.order.first().and_then(|id| self.handlers.get(id));
        home.is_some_and(|home| home.ready)
    }

    /// Media with a handler goes both ways, or does not any more: what there is
    /// to tell. `None` of a handler that was removed meanwhile.
    pub(super) fn set_ready(&mut self, id: HandlerId, ready: bool) -> Option<Event> {
        self.handlers.get_mut(&id)?.ready = ready;
        let home = self.order.first() == Some(&id);
        Some(match (home, ready) {
            (true, true) => Event::MediaReady,
            (true, false) => Event::MediaLost,
            (false, true) => Event::SpareReady(id),
            (false, false) => Event::SpareLost(id),
        })
    }

    /// Asks for a key frame where it can be had.
    pub(super) fn request_key_frame(&self, request: KeyFrameRequest) {
        let ready = |id: &HandlerId| self.handlers.get(id).filter(|handler| handler.ready);
        let handler = request.of.as_ref().and_then(ready);
        if let Some(handler) = handler.or_else(|| self.order.iter().find_map(ready)) {
            // When so many wait already, the next loss will ask again.
            let _ = handler
                .key_frames
                .try_send((request.stream_id, request.encoding));
        }
    }

    /// Closes all sessions and waits until the handlers know.
    pub(super) async fn end(&mut self) {
        self.over.cancel();
        while self.tasks.join_next().await.is_some() {}
    }

    /// A handler's task is done, of one that was removed.
    pub(super) fn reap(&mut self) {
        while self.tasks.try_join_next().is_some() {}
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

    pub(super) fn add_publisher(&mut self, publisher: &Arc<Shared>) {
        for handler in self.order.clone() {
            self.add_lanes(publisher, handler);
        }
    }

    fn add_lanes(&mut self, publisher: &Arc<Shared>, id: HandlerId) {
        let Some(handler) = self.handlers.get(&id) else {
            return;
        };
        for encoding in publisher.publication.encodings() {
            let (frames, frames_out) = mpsc::channel(LANE_FRAMES_MAX);
            publisher.add_lane(id, encoding, frames);
            self.tasks.spawn(lane::run(
                Arc::clone(publisher),
                handler.outlet.clone(),
                frames_out,
            ));
        }
    }
}
