//! What each media handler was told of each stream, and what it said to that.
//!
//! It follows the assignments: for every stream the slots of its receivers are
//! kept, and what was last sent of that to whom.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use dt_ids::{HandlerId, Slot, StreamId, UserId};
use dt_wire::internal::{Destination, Generation, Inlet};

use super::{
    Counter, RouteIds,
    links::{Link, Links},
    plan::{Hop, Stop},
};
use crate::subscription::Subscriber;

/// What a handler is to do with a stream.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Wanted {
    pub(crate) inlet: Option<Inlet>,
    /// Never empty, or the stream has nothing to do there.
    pub(crate) destinations: Vec<Destination>,
    /// Whom of the destinations are people, and their numbers.
    pub(crate) people: Vec<UserId>,
}

#[derive(Debug, Default)]
struct Sent {
    wanted: Wanted,
    /// The counter of the last command.
    last: u64,
    /// Of the last one that the handler has applied.
    applied: u64,
    /// Of the first one that named this receiver, without a break since.
    since: BTreeMap<UserId, u64>,
    /// The stream arrives there, as the handler says.
    arriving: bool,
    /// The handler may have forgotten it.
    unsure: bool,
}

#[derive(Debug)]
pub(crate) struct Routes {
    receivers: BTreeMap<StreamId, BTreeMap<UserId, Slot>>,
    /// Handlers that have nothing to do with a stream are left out.
    sent: BTreeMap<StreamId, BTreeMap<HandlerId, Sent>>,
    links: Links,
    /// Streams whose ways may have changed.
    stale: BTreeSet<StreamId>,
}

impl Routes {
    pub(crate) fn new(ids: Option<Arc<dyn RouteIds>>) -> Self {
        Self {
            receivers: BTreeMap::new(),
            sent: BTreeMap::new(),
            links: Links::new(ids),
            stale: BTreeSet::new(),
        }
    }

    /// The meeting is over.
    pub(crate) fn clear(&mut self) {
        self.receivers.clear();
        self.sent.clear();
        self.links.clear();
        self.stale.clear();
    }

    /// The assignments of `user` changed; `lost` it received before and no more.
    pub(crate) fn reassign(&mut self, user: UserId, subscriber: &Subscriber, lost: &[StreamId]) {
        for stream in lost {
            self.drop_receiver(*stream, user);
        }
        for (slot, stream) in subscriber.received() {
            self.receivers.entry(stream).or_default().insert(user, slot);
            self.stale.insert(stream);
        }
    }

    /// `user` receives nothing any more.
    pub(crate) fn forget_receiver(&mut self, user: UserId, subscriber: &Subscriber) {
        for (_, stream) in subscriber.received() {
            self.drop_receiver(stream, user);
        }
    }

    fn drop_receiver(&mut self, stream: StreamId, user: UserId) {
        if let Some(receivers) = self.receivers.get_mut(&stream) {
            receivers.remove(&user);
            if receivers.is_empty() {
                self.receivers.remove(&stream);
            }
        }
        self.stale.insert(stream);
    }

    pub(crate) fn touch(&mut self, stream: StreamId) {
        self.stale.insert(stream);
    }

    /// Whether `user` receives media, or where, may have changed.
    pub(crate) fn touch_receiver(&mut self, subscriber: &Subscriber) {
        self.stale
            .extend(subscriber.received().map(|(_, stream)| stream));
    }

    pub(crate) fn take_stale(&mut self) -> BTreeSet<StreamId> {
        std::mem::take(&mut self.stale)
    }

    pub(crate) fn receivers(&self, stream: StreamId) -> impl Iterator<Item = (UserId, Slot)> {
        let receivers = self.receivers.get(&stream);
        receivers
            .into_iter()
            .flatten()
            .map(|(user, slot)| (*user, *slot))
    }

    /// Gives every link of a stream's way its number and takes back those of
    /// others. A link that gets none is left out.
    pub(crate) fn number(
        &mut self,
        stream: StreamId,
        stops: &BTreeMap<HandlerId, Stop>,
    ) -> BTreeMap<(HandlerId, HandlerId), u32> {
        let hops = |(at, stop): (&HandlerId, &Stop)| {
            let at = *at;
            let to: Vec<_> = stop.onward.iter().map(|hop| (at, hop.peer)).collect();
            to
        };
        let used: BTreeSet<(HandlerId, HandlerId)> = stops.iter().flat_map(hops).collect();
        self.links
            .retain(stream, |from, to| used.contains(&(from, to)));
        let id = |(from, to)| {
            let id = self.links.id(Link { stream, from, to })?;
            Some(((from, to), id))
        };
        used.into_iter().filter_map(id).collect()
    }

    /// Remembers what is wanted now of a handler that is there; the command's
    /// generation when it must be told.
    pub(crate) fn update(
        &mut self,
        stream: StreamId,
        handler: HandlerId,
        wanted: &Wanted,
        counter: &mut Counter,
    ) -> Option<Generation> {
        let at = self.sent.entry(stream).or_default();
        if wanted.destinations.is_empty() {
            let told = at.remove(&handler);
            if at.is_empty() {
                self.sent.remove(&stream);
            }
            return told.map(|_| counter.next());
        }
        let sent = at.entry(handler).or_default();
        if sent.last > 0 && !sent.unsure && sent.wanted == *wanted {
            return None;
        }
        let generation = counter.next();
        sent.unsure = false;
        sent.last = generation.counter;
        sent.since.retain(|user, _| wanted.people.contains(user));
        for user in &wanted.people {
            sent.since.entry(*user).or_insert(sent.last);
        }
        sent.wanted = wanted.clone();
        Some(generation)
    }

    /// Handlers that were told something of this stream.
    pub(crate) fn told(&self, stream: StreamId) -> Vec<HandlerId> {
        let at = self.sent.get(&stream);
        at.into_iter().flat_map(BTreeMap::keys).copied().collect()
    }

    /// Whether anybody gets this stream now.
    pub(crate) fn is_routed(&self, stream: StreamId, is_there: impl Fn(HandlerId) -> bool) -> bool {
        let at = self.sent.get(&stream);
        at.is_some_and(|at| at.keys().any(|handler| is_there(*handler)))
    }

    pub(crate) fn is_routed_at(&self, handler: HandlerId, stream: StreamId) -> bool {
        self.sent(handler, stream).is_some()
    }

    /// Whether the way to a handler goes on to others.
    pub(crate) fn passed_on(&self, stream: StreamId, from: HandlerId, to: HandlerId) -> bool {
        self.sent(from, stream).is_some_and(|sent| {
            let to = to.to_string();
            sent.wanted.destinations.iter().any(|d| d.handler_id == to)
        })
    }

    /// Whether the stream arrives at the handler and the handler passes it to this
    /// one.
    pub(crate) fn brings(&self, handler: HandlerId, stream: StreamId, user: UserId) -> bool {
        self.sent(handler, stream).is_some_and(|sent| {
            let since = sent.since.get(&user);
            sent.arriving && since.is_some_and(|since| sent.applied >= *since)
        })
    }

    pub(crate) fn arrives(&self, handler: HandlerId, stream: StreamId) -> bool {
        self.sent(handler, stream).is_some_and(|sent| sent.arriving)
    }

    fn sent(&self, handler: HandlerId, stream: StreamId) -> Option<&Sent> {
        self.sent.get(&stream)?.get(&handler)
    }

    /// The handler has applied a command, or says whether a stream arrives. What
    /// it says of streams that it was told nothing of does not matter.
    pub(crate) fn applied(&mut self, handler: HandlerId, stream: StreamId, counter: u64) {
        let at = self.sent.get_mut(&stream);
        if let Some(sent) = at.and_then(|at| at.get_mut(&handler)) {
            sent.applied = sent.applied.max(counter.min(sent.last));
            self.stale.insert(stream);
        }
    }

    pub(crate) fn flow(&mut self, handler: HandlerId, stream: StreamId, arriving: bool) {
        let at = self.sent.get_mut(&stream);
        if let Some(sent) = at.and_then(|at| at.get_mut(&handler)) {
            sent.arriving = arriving;
            self.stale.insert(stream);
        }
    }

    /// The handler came or went: all ways through it, and all that could go
    /// through it, are looked at anew. What it was told before it may have
    /// forgotten.
    pub(crate) fn doubt(&mut self, handler: HandlerId) {
        self.stale.extend(self.receivers.keys());
        for (stream, at) in &mut self.sent {
            if let Some(sent) = at.get_mut(&handler) {
                sent.unsure = true;
                sent.arriving = false;
                sent.applied = 0;
                self.stale.insert(*stream);
            }
        }
    }

    #[cfg(test)]
    pub(crate) fn all_sent(&self) -> BTreeMap<(HandlerId, StreamId), Wanted> {
        let all = self.sent.iter().flat_map(|(stream, at)| {
            at.iter()
                .map(|(handler, sent)| ((*handler, *stream), sent.wanted.clone()))
        });
        all.collect()
    }
}

/// One end of a link as a handler is told it.
pub(crate) fn outlet(hop: &Hop, route_id: u32) -> Destination {
    Destination {
        handler_id: hop.peer.to_string(),
        route_id,
        origin_handler_id: hop.origin.to_string(),
        hops: hop.hops,
        ..Destination::default()
    }
}
