//! Sessions that were opened ahead of a join and wait for their stream.

use std::{collections::BTreeMap, sync::Mutex};

use tokio_util::sync::CancellationToken;

use crate::lock;

/// All of them, oldest first. One more than `max` closes the oldest.
pub(crate) struct Warm {
    max: usize,
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    last: u64,
    sessions: BTreeMap<u64, CancellationToken>,
}

impl Warm {
    pub(crate) fn new(max: usize) -> Self {
        Self {
            max,
            waiting: Mutex::default(),
        }
    }

    pub(crate) fn enter(&self) -> Place<'_> {
        let mut waiting = lock(&self.waiting);
        waiting.last += 1;
        let number = waiting.last;
        let crowded = CancellationToken::new();
        waiting.sessions.insert(number, crowded.clone());
        if waiting.sessions.len() > self.max
            && let Some((_, oldest)) = waiting.sessions.pop_first()
        {
            oldest.cancel();
        }
        Place {
            warm: self,
            number,
            crowded,
        }
    }
}

/// One session's place; given up when dropped.
pub(crate) struct Place<'a> {
    warm: &'a Warm,
    number: u64,
    crowded: CancellationToken,
}

impl Place<'_> {
    /// Waits until the session must go because too many wait.
    pub(crate) async fn crowded(&self) {
        self.crowded.cancelled().await;
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        lock(&self.warm.waiting).sessions.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_session_gives_way_when_too_many_wait() {
        let warm = Warm::new(2);
        let first = warm.enter();
        let second = warm.enter();
        drop(second);
        let third = warm.enter();
        assert!(!first.crowded.is_cancelled());
        let _fourth = warm.enter();
        assert!(first.crowded.is_cancelled());
        assert!(!third.crowded.is_cancelled());
    }
}
