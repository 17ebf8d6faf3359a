//! What media handlers must know: who receives which stream, and in which
//! order commands count.
//!
//! It follows the assignments: [`Routes`] keeps, for every stream, the slots of
//! its receivers, and what was last sent of that. Only this module and the seats'
//! registrations know that handlers exist.

use std::collections::{BTreeMap, BTreeSet};

use dt_frame::SlotLabel;
use dt_ids::{HandlerId, Slot, StreamId, UserId};
use dt_wire::internal::{Destination, Generation};

use crate::subscription::Subscriber;

/// Numbers every command to every handler of the meeting, rising.
#[derive(Debug)]
pub(crate) struct Counter {
    lease: u64,
    last: u64,
}

impl Counter {
    pub(crate) const fn new(lease: u64) -> Self {
        Self { lease, last: 0 }
    }

    pub(crate) fn next(&mut self) -> Generation {
        self.last += 1;
        Generation {
            lease: self.lease,
            counter: self.last,
        }
    }

    /// A lease never gets older; counters go on, so that either half alone orders.
    pub(crate) fn renew(&mut self, lease: u64) {
        self.lease = self.lease.max(lease);
    }

    pub(crate) const fn lease(&self) -> u64 {
        self.lease
    }
}

#[derive(Debug, Default)]
pub(crate) struct Routes {
    receivers: BTreeMap<StreamId, BTreeMap<UserId, Slot>>,
    /// What a handler has of each stream; streams without receivers are left out.
    sent: BTreeMap<StreamId, (HandlerId, Vec<Destination>)>,
    /// Streams whose receivers or muting may have changed.
    stale: BTreeSet<StreamId>,
}

impl Routes {
    /// The assignments of `user` changed; `lost` it received before and no more.
    pub(crate) fn reassign(&mut self, user: UserId, subscriber: &Subscriber, lost: &[StreamId]) {
        for stream in lost {
            self.drop_receiver(*stream, user);
        }
        for (slot, stream) in subscriber.assigned() {
            self.receivers
                .entry(*stream)
                .or_default()
                .insert(user, *slot);
            self.stale.insert(*stream);
        }
    }

    /// `user` receives nothing any more.
    pub(crate) fn forget_receiver(&mut self, user: UserId, subscriber: &Subscriber) {
        for stream in subscriber.assigned().values() {
            self.drop_receiver(*stream, user);
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

    /// Whether `user` receives media may have changed.
    pub(crate) fn touch_receiver(&mut self, subscriber: &Subscriber) {
        self.stale.extend(subscriber.assigned().values().copied());
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

    /// Remembers what is wanted now; `Some(handler)` when it must be told.
    pub(crate) fn update(
        &mut self,
        stream: StreamId,
        handler: Option<HandlerId>,
        wanted: &[Destination],
    ) -> Option<HandlerId> {
        let Some(handler) = handler.filter(|_| !wanted.is_empty()) else {
            return self.sent.remove(&stream).map(|(handler, _)| handler);
        };
        let same = self
            .sent
            .get(&stream)
            .is_some_and(|(h, d)| *h == handler && d == wanted);
        if same {
            return None;
        }
        self.sent.insert(stream, (handler, wanted.to_vec()));
        Some(handler)
    }

    /// Whether anybody gets this stream now.
    pub(crate) fn is_routed(&self, stream: StreamId) -> bool {
        self.sent.contains_key(&stream)
    }

    #[cfg(test)]
    pub(crate) fn sent(&self) -> &BTreeMap<StreamId, (HandlerId, Vec<Destination>)> {
        &self.sent
    }
}

/// Bytes 10–13 of datagrams to a slot of this subscriber.
pub(crate) fn label(subscriber: &Subscriber, slot: Slot) -> u32 {
    SlotLabel::new(subscriber.generation(), slot).to_bits()
}
