//! Which way every stream takes through the media handlers, and what each of
//! them is told of it.
//!
//! `fleet` knows the handlers and who is well, `place` at which of them somebody
//! is, `plan` derives from both the whole way of one stream, `routes` remembers
//! what each handler was told and what it answered. Only these, the seats'
//! registrations and `meeting::placing`, which drives moves, know that handlers
//! exist.

mod fleet;
mod links;
mod place;
mod plan;
#[cfg(test)]
mod plan_tests;
mod routes;

use dt_frame::SlotLabel;
use dt_ids::Slot;
use dt_wire::internal::Generation;

pub(crate) use fleet::{Fleet, Health, Usage};
#[cfg(test)]
pub(crate) use links::Numbers;
pub use links::RouteIds;
pub(crate) use place::{Move, Place};
pub(crate) use plan::{Sender, Stop, plan};
pub(crate) use routes::{Routes, Wanted, outlet};

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

/// Bytes 10–13 of datagrams to a slot of this subscriber.
pub(crate) fn label(subscriber: &Subscriber, slot: Slot) -> u32 {
    SlotLabel::new(subscriber.generation(), slot).to_bits()
}
