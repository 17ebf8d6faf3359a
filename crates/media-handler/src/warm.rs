//! Sessions that were opened ahead of the join and wait for their client to
//! open the control stream.

use dt_wire::CloseCode;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use crate::{
    lock,
    port::{Carrier, SessionKeys},
};

/// All of them, oldest first; with more than `max` the oldest is closed.
pub(crate) struct Warm {
    sessions: Mutex<BTreeMap<u64, Arc<dyn Carrier>>>,
    keys: SessionKeys,
    max: usize,
}

impl Warm {
    pub(crate) fn new(max: usize) -> Self {
        Self {
            sessions: Mutex::default(),
            keys: SessionKeys::default(),
            max,
        }
    }

    /// The session is warm until the guard goes.
    pub(crate) fn enter(&self, carrier: Arc<dyn Carrier>) -> Guard<'_> {
        let key = self.keys.next().0;
        let mut sessions = lock(&self.sessions);
        sessions.insert(key, carrier);
        while sessions.len() > self.max {
            let Some((_, oldest)) = sessions.pop_first() else {
                break;
            };
            oldest.close(
                CloseCode::QuotaExceeded.code(),
                "too many sessions wait for a join",
            );
        }
        Guard { warm: self, key }
    }

    pub(crate) fn close_all(&self) {
        for session in lock(&self.sessions).values() {
            session.close(CloseCode::ShuttingDown.code(), "the server shuts down");
        }
    }
}

/// Takes a session out of the list when it is warm no more.
pub(crate) struct Guard<'a> {
    warm: &'a Warm,
    key: u64,
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        lock(&self.warm.sessions).remove(&self.key);
    }
}
