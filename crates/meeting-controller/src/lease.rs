//! Keeping a meeting's lease, and its live number under it.
//!
//! One task a meeting. A store that does not answer changes nothing: the meeting
//! goes on, and whoever had the lease claims it again first. Only a newer lease
//! of somebody else stops the meeting.

use std::{sync::Arc, time::Duration};

use dt_ids::{ControllerId, MeetingId};
use dt_store::{AcquireError, FencedError, Lease, RenewError, StateStore, keys};
use tokio::{
    sync::watch,
    time::{MissedTickBehavior, interval},
};

use crate::meeting::{Command, Handle};

/// What the meeting's task says to its keeper.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Live {
    /// So many people are in it.
    Running(u32),
    /// It stops here.
    Stopped {
        /// For good.
        ended: bool,
    },
}

pub(crate) struct Keeper {
    pub(crate) meeting: MeetingId,
    pub(crate) controller: ControllerId,
    pub(crate) state: Arc<dyn StateStore>,
    pub(crate) lease: Lease,
    pub(crate) lease_ms: u64,
    pub(crate) handle: Handle,
}

enum Kept {
    Yes,
    /// Another controller has it.
    Lost,
}

impl Keeper {
    /// Until the meeting stops or is lost.
    pub(crate) async fn run(mut self, mut live: watch::Receiver<Live>) {
        let mut ticks = interval(Duration::from_millis((self.lease_ms / 3).max(1)));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks.tick().await;
        let first = *live.borrow_and_update();
        self.write(first).await;
        loop {
            let renew = tokio::select! {
                _ = ticks.tick() => true,
                changed = live.changed() => {
                    if changed.is_err() {
                        break;
                    }
                    false
                }
            };
            let now = *live.borrow_and_update();
            if let Live::Stopped { ended } = now {
                self.stop(ended).await;
                return;
            }
            if renew && matches!(self.renew().await, Kept::Lost) {
                self.handle.send(Command::Fenced).await;
                return;
            }
            self.write(now).await;
        }
    }

    fn ttl(&self) -> Duration {
        Duration::from_millis(self.lease_ms)
    }

    async fn renew(&mut self) -> Kept {
        match self.state.renew(&self.lease, self.ttl()).await {
            Ok(()) => Kept::Yes,
            Err(RenewError::Store(error)) => {
                tracing::warn!(meeting_id = %self.meeting, %error, "the lease can't be renewed now");
                Kept::Yes
            }
            Err(RenewError::Lost) => self.reclaim().await,
        }
    }

    /// The lease ran out, or the store was wiped: whoever asks first has it.
    async fn reclaim(&mut self) -> Kept {
        let owner = self.controller.to_string();
        match self
            .state
            .acquire(&self.lease.name, &owner, self.ttl())
            .await
        {
            Ok(lease) => {
                self.handle.send(Command::Lease(lease.generation)).await;
                self.lease = lease;
                Kept::Yes
            }
            Err(AcquireError::Held(_)) => Kept::Lost,
            Err(AcquireError::Store(_)) => Kept::Yes,
        }
    }

    async fn write(&self, live: Live) {
        let Live::Running(participant_count) = live else {
            return;
        };
        let live = keys::MeetingLive {
            controller: self.controller,
            participant_count,
        };
        let key = keys::meeting_live(self.meeting);
        let written = self
            .state
            .put_fenced(&self.lease, &key, live.to_bytes(), Some(self.ttl()));
        match written.await {
            Ok(()) => {}
            // The next renewal finds out.
            Err(FencedError::Stale) => {}
            Err(FencedError::Store(error)) => {
                tracing::warn!(meeting_id = %self.meeting, %error, "the live number can't be written");
            }
        }
    }

    async fn stop(&self, ended: bool) {
        if ended {
            mark_ended(&*self.state, self.meeting).await;
        }
        let _ = self
            .state
            .delete_fenced(&self.lease, &keys::meeting_live(self.meeting))
            .await;
        if let Err(error) = self.state.release(&self.lease).await {
            tracing::warn!(meeting_id = %self.meeting, %error, "the lease runs out by itself");
        }
    }
}

/// Remembers for all controllers that the meeting is over.
pub(crate) async fn mark_ended(state: &dyn StateStore, meeting: MeetingId) {
    let key = keys::meeting_ended(meeting);
    if let Err(error) = state.put(&key, bytes::Bytes::new(), None).await {
        tracing::error!(meeting_id = %meeting, %error, "the meeting's end can't be stored");
    }
    // Nobody signs for it any more; what could not be deleted runs out.
    let _ = state.delete(&keys::meeting_signer(meeting)).await;
    let _ = state.delete(&keys::meeting_begins(meeting)).await;
}
