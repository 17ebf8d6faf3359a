//! Which meetings have routes with which handlers, and the links that are up.
//!
//! Locks: a meeting calls this while it holds its own, so nothing here calls a
//! meeting.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, RwLock, Weak},
    time::{Duration, Instant},
};

use bytes::Bytes;
use dt_forward_core::{SessionKey, Wanted};
use dt_frame::RouteId;
use dt_ids::{HandlerId, MeetingId};
use tokio::sync::{Notify, mpsc};

use crate::{
    fan_out::Receiver,
    lock,
    meeting::Meeting,
    port::{Carrier, NewStream, Port},
};

/// The wait after the first link that failed; doubled for each one after it.
const RETRY_FIRST: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(5);
/// A link that nobody has a route over is closed after so long.
const UNUSED_MAX: Duration = Duration::from_secs(60);
/// Two that dial each other do so within this.
const AT_ONCE: Duration = Duration::from_secs(2);

/// The routes of a link in one direction, by their numbers: read for each
/// datagram, and changed seldom.
type Routes = Arc<RwLock<HashMap<RouteId, Weak<Meeting>>>>;

/// A meeting's streams to a link, for whoever writes them.
pub(crate) type Outgoing = (Weak<Meeting>, mpsc::Receiver<NewStream>);

/// A link that is up.
#[derive(Clone)]
pub(crate) struct Up {
    pub(crate) key: SessionKey,
    pub(crate) carrier: Arc<dyn Carrier>,
    pub(crate) receiver: Arc<Receiver>,
    pub(crate) control: mpsc::Sender<Bytes>,
    /// As many as there are meetings.
    pub(crate) writers: mpsc::UnboundedSender<Outgoing>,
    /// This side dialled it.
    pub(crate) own: bool,
    pub(crate) since: Instant,
}

/// What a meeting needs to use a link.
pub(crate) struct Attachment {
    pub(crate) key: SessionKey,
    pub(crate) port: Port,
}

/// What a meeting learns about a route of its own.
#[derive(Default)]
pub(crate) struct Known {
    /// The link, if that is up.
    pub(crate) key: Option<SessionKey>,
    /// And if the meeting does not have it yet.
    pub(crate) attachment: Option<Attachment>,
    /// What the other end has said that it wants of it.
    pub(crate) wanted: Vec<Wanted>,
}

/// A handler that there are routes with.
#[derive(Default)]
struct Peer {
    meetings: HashMap<MeetingId, Weak<Meeting>>,
    inlets: Routes,
    outlets: Routes,
    /// What the other end wants of routes to it, also of those that are not known
    /// yet; `routes_max` at most.
    demands: HashMap<RouteId, Vec<Wanted>>,
    up: Option<Up>,
    /// This side dials now.
    dialling: bool,
    failures: u32,
    next_at: Option<Instant>,
    unused_since: Option<Instant>,
}

impl Peer {
    fn is_wanted(&self) -> bool {
        let any = |routes: &Routes| !read(routes).is_empty();
        any(&self.inlets) || any(&self.outlets)
    }
}

fn read(routes: &Routes) -> std::sync::RwLockReadGuard<'_, HashMap<RouteId, Weak<Meeting>>> {
    routes.read().unwrap_or_else(PoisonError::into_inner)
}

/// All of them.
pub(crate) struct Peers {
    here: HandlerId,
    routes_max: usize,
    table: Mutex<HashMap<HandlerId, Peer>>,
    /// Somebody is to be dialled, perhaps.
    pub(super) changed: Notify,
}

impl Peers {
    pub(crate) fn new(here: HandlerId, routes_max: usize) -> Self {
        Self {
            here,
            routes_max,
            table: Mutex::default(),
            changed: Notify::new(),
        }
    }

    /// A meeting has a route with a handler, or not any more. `has`: whether it uses
    /// a link already.
    pub(crate) fn route(
        &self,
        meeting: (MeetingId, &Weak<Meeting>),
        (handler, route): (HandlerId, RouteId),
        incoming: bool,
        known: bool,
        has: impl Fn(SessionKey) -> bool,
    ) -> Known {
        let mut table = lock(&self.table);
        let peer = table.entry(handler).or_default();
        let (id, weak) = meeting;
        let routes = if incoming {
            &peer.inlets
        } else {
            &peer.outlets
        };
        let mut routes = routes.write().unwrap_or_else(PoisonError::into_inner);
        if !known {
            if routes.get(&route).is_some_and(|of| of.ptr_eq(weak)) {
                routes.remove(&route);
                if !incoming {
                    peer.demands.remove(&route);
                }
            }
            return Known::default();
        }
        routes.insert(route, Weak::clone(weak));
        drop(routes);
        peer.meetings.insert(id, Weak::clone(weak));
        let demand = (!incoming).then(|| peer.demands.get(&route).cloned());
        let up = peer.up.as_ref();
        if up.is_none() {
            self.changed.notify_one();
        }
        Known {
            key: up.map(|up| up.key),
            attachment: up.filter(|up| !has(up.key)).and_then(|up| attach(up, weak)),
            wanted: demand.flatten().unwrap_or_default(),
        }
    }

    /// The meeting that a route leads to.
    pub(crate) fn inlets(&self, handler: HandlerId) -> Inlets {
        let mut table = lock(&self.table);
        Inlets(Arc::clone(&table.entry(handler).or_default().inlets))
    }

    /// The other end wants this of a route to it. Gives the meeting that it comes
    /// from, if that is known.
    pub(crate) fn demand(
        &self,
        handler: HandlerId,
        route: RouteId,
        wanted: &[Wanted],
    ) -> Option<Arc<Meeting>> {
        let mut table = lock(&self.table);
        let peer = table.get_mut(&handler)?;
        if wanted.is_empty() {
            peer.demands.remove(&route);
        } else if peer.demands.len() < self.routes_max || peer.demands.contains_key(&route) {
            peer.demands.insert(route, wanted.to_vec());
        }
        read(&peer.outlets).get(&route).and_then(Weak::upgrade)
    }

    /// The meeting that a route to a handler comes from.
    pub(crate) fn outlet(&self, handler: HandlerId, route: RouteId) -> Option<Arc<Meeting>> {
        let table = lock(&self.table);
        read(&table.get(&handler)?.outlets)
            .get(&route)
            .and_then(Weak::upgrade)
    }

    /// Whether a link that the other one dialled is taken: not against one that
    /// this side dials or has just dialled, if its id is the lower one.
    pub(crate) fn takes(&self, handler: HandlerId, now: Instant) -> bool {
        let own = |peer: &Peer| {
            let up = peer.up.as_ref().filter(|up| up.own);
            let young = |up: &Up| now.saturating_duration_since(up.since) < AT_ONCE;
            peer.dialling || up.is_some_and(young)
        };
        handler < self.here || !lock(&self.table).get(&handler).is_some_and(own)
    }

    /// A link is up. Gives the meetings that may use it; one that was up before
    /// is closed.
    pub(crate) fn link_up(&self, handler: HandlerId, up: Up) -> Vec<(Arc<Meeting>, Attachment)> {
        let mut table = lock(&self.table);
        let peer = table.entry(handler).or_default();
        peer.failures = 0;
        // Said anew over this one.
        peer.demands.clear();
        if let Some(older) = peer.up.replace(up.clone()) {
            older.carrier.close(0, "replaced by a newer link");
        }
        let meetings = peer.meetings.values();
        let attached = meetings.filter_map(|weak| {
            let meeting = weak.upgrade()?;
            Some((meeting, attach(&up, weak)?))
        });
        attached.collect()
    }

    /// Whether this is the link with a handler that is up now.
    pub(crate) fn is_up(&self, handler: HandlerId, key: SessionKey) -> bool {
        let table = lock(&self.table);
        let up = table.get(&handler).and_then(|peer| peer.up.as_ref());
        up.is_some_and(|up| up.key == key)
    }

    /// A link has ended. Gives the meetings that may have used it.
    pub(crate) fn link_down(&self, handler: HandlerId, key: SessionKey) -> Vec<Arc<Meeting>> {
        let mut table = lock(&self.table);
        let Some(peer) = table.get_mut(&handler) else {
            return Vec::new();
        };
        if peer.up.as_ref().is_some_and(|up| up.key == key) {
            peer.up = None;
            peer.demands.clear();
        }
        self.changed.notify_one();
        peer.meetings.values().filter_map(Weak::upgrade).collect()
    }

    /// Whom to dial now; and when to ask again at the latest.
    pub(super) fn due(&self, now: Instant) -> (Vec<HandlerId>, Option<Instant>) {
        let mut due = Vec::new();
        let mut next: Option<Instant> = None;
        for (handler, peer) in lock(&self.table).iter_mut() {
            if peer.up.is_some() || peer.dialling || !peer.is_wanted() {
                continue;
            }
            match peer.next_at.filter(|at| *at > now) {
                Some(at) => next = Some(next.map_or(at, |next| next.min(at))),
                None => {
                    peer.dialling = true;
                    due.push(*handler);
                }
            }
        }
        (due, next)
    }

    /// A dial has ended: without a link, or with the link that it led to.
    pub(super) fn dial_ended(&self, handler: HandlerId, was_up: bool, now: Instant) {
        let mut table = lock(&self.table);
        let Some(peer) = table.get_mut(&handler) else {
            return;
        };
        peer.dialling = false;
        peer.failures = if was_up { 0 } else { peer.failures + 1 };
        let doublings = peer.failures.saturating_sub(1).min(10);
        peer.next_at = Some(now + (RETRY_FIRST * (1 << doublings)).min(RETRY_MAX));
        self.changed.notify_one();
    }

    /// This side's dial was answered. `false`: the other one's was taken meanwhile,
    /// and this one is of no use.
    pub(super) fn answered(&self, handler: HandlerId) -> bool {
        let mut table = lock(&self.table);
        let peer = table.entry(handler).or_default();
        peer.dialling = false;
        peer.up.is_none()
    }

    /// Forgets meetings that are gone, and closes links that nobody has used for
    /// long.
    pub(crate) fn sweep(&self, now: Instant) {
        lock(&self.table).retain(|_, peer| {
            peer.meetings
                .retain(|_, meeting| meeting.strong_count() > 0);
            for routes in [&peer.inlets, &peer.outlets] {
                let mut routes = routes.write().unwrap_or_else(PoisonError::into_inner);
                routes.retain(|_, meeting| meeting.strong_count() > 0);
            }
            if peer.is_wanted() {
                peer.unused_since = None;
                return true;
            }
            let since = *peer.unused_since.get_or_insert(now);
            let long = now.saturating_duration_since(since) >= UNUSED_MAX;
            if let Some(up) = peer.up.as_ref().filter(|_| long) {
                up.carrier.close(0, "nothing goes over this link");
            }
            !long || peer.up.is_some() || peer.dialling
        });
    }

    /// Closes all links.
    pub(crate) fn close_all(&self, code: u32, reason: &str) {
        for up in lock(&self.table).values().filter_map(|p| p.up.as_ref()) {
            up.carrier.close(code, reason);
        }
    }

    /// Links that are up.
    pub(crate) fn up_count(&self) -> usize {
        let table = lock(&self.table);
        table.values().filter(|peer| peer.up.is_some()).count()
    }
}

/// The routes that lead here over one link.
pub(crate) struct Inlets(Routes);

impl Inlets {
    pub(crate) fn meeting(&self, route: RouteId) -> Option<Arc<Meeting>> {
        read(&self.0).get(&route).and_then(Weak::upgrade)
    }
}

/// A port of one meeting to a link.
fn attach(up: &Up, meeting: &Weak<Meeting>) -> Option<Attachment> {
    let (port, streams) = Port::on_link(
        Arc::clone(&up.carrier),
        Arc::clone(&up.receiver),
        up.control.clone(),
    );
    up.writers.send((Weak::clone(meeting), streams)).ok()?;
    Some(Attachment { key: up.key, port })
}
