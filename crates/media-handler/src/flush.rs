//! The task that sends datagrams on, in rounds: whatever all meetings have when
//! a round is due goes out together.

use std::{
    sync::{Arc, Mutex, Weak},
    time::Duration,
};

use tokio::{runtime::Handle, sync::Notify, task::yield_now, time::sleep_until};

use crate::{
    gather::{Gather, GatherConfig},
    lock,
    meeting::Meeting,
    now,
};

/// When rounds are, and the meetings that have something to send in the next one.
pub(crate) struct Flush {
    gather: Mutex<Gather>,
    waiting: Mutex<Vec<Weak<Meeting>>>,
    filled: Notify,
}

impl Flush {
    pub(crate) fn new(config: GatherConfig) -> Self {
        Self {
            gather: Mutex::new(Gather::new(config)),
            waiting: Mutex::default(),
            filled: Notify::new(),
        }
    }

    /// A meeting has something from now on, until its round was sent.
    pub(crate) fn add(&self, meeting: Weak<Meeting>) {
        lock(&self.waiting).push(meeting);
        self.filled.notify_one();
    }

    /// Waits until what came now may be sent on, which is at once as a rule.
    async fn turn(&self) {
        let came = now();
        let due = lock(&self.gather).due(came);
        if due > came {
            sleep_until(due.into()).await;
        }
        lock(&self.gather).begins(now(), busy);
    }

    fn take(&self) -> Vec<Weak<Meeting>> {
        std::mem::take(&mut lock(&self.waiting))
    }
}

/// For how long this runtime, the handler's home, has been busy, a thread of it on
/// average.
fn busy() -> Duration {
    let metrics = Handle::current().metrics();
    let threads = metrics.num_workers().max(1);
    let busy = (0..threads).map(|thread| metrics.worker_total_busy_duration(thread));
    busy.sum::<Duration>() / u32::try_from(threads).unwrap_or(u32::MAX)
}

/// Sends rounds until it is aborted.
pub(crate) async fn run(flush: Arc<Flush>) {
    loop {
        flush.filled.notified().await;
        // Whatever else is ready now joins the round: the rest of a burst first
        // of all.
        yield_now().await;
        flush.turn().await;
        let now = now();
        for meeting in flush.take() {
            if let Some(meeting) = meeting.upgrade() {
                meeting.send_round(now);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// How long a turn takes right after another, with the core wholly busy for so
    /// long before.
    async fn turn_after(busy_for: Duration) -> Duration {
        let flush = Flush::new(GatherConfig::default());
        let start = now();
        while now() - start <= busy_for {
            tokio::time::advance(10 * MS).await;
            lock(&flush.gather).begins(now(), || now() - start);
        }
        let came = now();
        flush.turn().await;
        now() - came
    }

    #[tokio::test(start_paused = true)]
    async fn a_round_is_at_once_while_there_is_time_and_waits_while_there_is_much_to_do() {
        assert_eq!(turn_after(Duration::ZERO).await, Duration::ZERO);
        let waited = turn_after(Duration::from_secs(1)).await;
        assert!((2 * MS..=4 * MS).contains(&waited), "{waited:?}");
    }
}
