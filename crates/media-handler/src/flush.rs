//! The task that sends datagrams on, in rounds: whatever all meetings have when
//! a round is due goes out together.

use std::sync::{Arc, Mutex, Weak};

use tokio::{sync::Notify, task::yield_now};

use crate::{
    gather::{Gather, GatherConfig},
    lock,
    meeting::Meeting,
    now,
};

/// Meetings that have something to send.
#[derive(Default)]
pub(crate) struct Flush {
    waiting: Mutex<Vec<Weak<Meeting>>>,
    filled: Notify,
}

impl Flush {
    /// A meeting has something from now on, until its round was sent.
    pub(crate) fn add(&self, meeting: Weak<Meeting>) {
        lock(&self.waiting).push(meeting);
        self.filled.notify_one();
    }

    fn take(&self) -> Vec<Weak<Meeting>> {
        std::mem::take(&mut lock(&self.waiting))
    }
}

/// Sends rounds until it is aborted.
pub(crate) async fn run(flush: Arc<Flush>, config: GatherConfig) {
    let mut gather = Gather::new(config);
    loop {
        flush.filled.notified().await;
        // Whatever else is ready now joins the round: the rest of a burst first
        // of all.
        yield_now().await;
        let due = gather.due(now());
        if due > now() {
            tokio::time::sleep_until(due.into()).await;
        }
        let began = now();
        for meeting in flush.take() {
            if let Some(meeting) = meeting.upgrade() {
                meeting.send_round(began);
            }
        }
        // The connections seal and send before this goes on; it is part of what a
        // round costs.
        yield_now().await;
        gather.sent(began, now());
    }
}
