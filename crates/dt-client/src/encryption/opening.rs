//! The keys with which received frames are opened, and who may have sealed them.
//!
//! Part of the [inbox](crate::inbox), which holds what can't be opened yet. The
//! [task](super::task) gives epochs, the driver says whose a stream is.

use std::{
    collections::{HashMap, VecDeque},
    time::Instant,
};

use bytes::Bytes;
use dt_e2ee::{OpenError, Opener};
use dt_ids::{ParticipantId, StreamId};

use super::{Seal, behind::Behind, group::Keys};

/// Epochs whose members are known; as many as an opener keeps.
const EPOCHS_MAX: usize = 16;

/// What becomes of a frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    Opened(Bytes),
    /// Whose stream it is was not said yet, or there are no keys.
    Early,
    /// Its epoch has not begun here.
    NewerEpoch,
    /// Sealed before this client came in; never to be opened, and no failure.
    BeforeUs,
    Failed(Failure),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failure {
    /// Forged, replayed, cut off, or of an epoch that is over.
    Unopened,
    /// A member sealed it whose stream this is not, or who can't be trusted.
    Reattributed,
}

#[derive(Debug)]
pub(crate) struct Opening {
    opener: Option<Opener>,
    /// The leaves of each epoch, newest last.
    leaves: VecDeque<(u64, HashMap<u32, ParticipantId>)>,
    owners: HashMap<StreamId, ParticipantId>,
    behind: Behind,
    begun: Instant,
}

impl Opening {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            opener: None,
            leaves: VecDeque::new(),
            owners: HashMap::new(),
            behind: Behind::default(),
            begun: now,
        }
    }

    /// Whether this client has been in the group.
    pub(crate) fn has_keys(&self) -> bool {
        self.opener.is_some()
    }

    pub(crate) fn set_epoch(&mut self, keys: &Keys, now: Instant) {
        let now_ms = self.ms(now);
        if keys.fresh {
            self.opener = None;
            self.leaves.clear();
        }
        self.opener
            .get_or_insert_with(|| Opener::new(keys.suite))
            .add_epoch(&keys.epoch, now_ms);
        let number = keys.epoch.epoch;
        self.leaves.retain(|(epoch, _)| *epoch != number);
        self.leaves.push_back((number, keys.leaves.clone()));
        if self.leaves.len() > EPOCHS_MAX {
            self.leaves.pop_front();
        }
    }

    /// What these sealed is not opened any more, of whatever epoch it is.
    pub(crate) fn distrust(&mut self, members: &[(u32, ParticipantId)]) {
        for (_, leaves) in &mut self.leaves {
            leaves.retain(|leaf, participant| !members.contains(&(*leaf, *participant)));
        }
    }

    /// Whose streams are whose is told anew.
    pub(crate) fn forget_owners(&mut self) {
        self.owners.clear();
    }

    pub(crate) fn set_owner(&mut self, stream: StreamId, owner: ParticipantId) {
        self.owners.insert(stream, owner);
    }

    pub(crate) fn forget_stream(&mut self, stream: StreamId) {
        self.owners.remove(&stream);
    }

    pub(crate) fn open(&mut self, seal: &Seal, sealed: &[u8], now: Instant) -> Verdict {
        let now_ms = self.ms(now);
        let (Some(opener), Some(owner)) = (&mut self.opener, self.owners.get(&seal.stream_id))
        else {
            return Verdict::Early;
        };
        let mut out = Vec::new();
        match opener.open(&seal.aad(), sealed, &mut out, now_ms) {
            Ok(opened) => {
                let mut epochs = self.leaves.iter().rev();
                let leaves = epochs.find(|(epoch, _)| *epoch == opened.epoch);
                let sealer = leaves.and_then(|(_, leaves)| leaves.get(&opened.leaf));
                self.behind.opened();
                if sealer == Some(owner) {
                    Verdict::Opened(out.into())
                } else {
                    Verdict::Failed(Failure::Reattributed)
                }
            }
            Err(OpenError::NewerEpoch) => Verdict::NewerEpoch,
            Err(OpenError::OlderThanJoin) => Verdict::BeforeUs,
            Err(
                OpenError::UnknownEpoch
                | OpenError::Replayed
                | OpenError::Forged
                | OpenError::Malformed,
            ) => Verdict::Failed(Failure::Unopened),
        }
    }

    /// A frame of an epoch that did not begin here was given up. `true`: a step
    /// of the group was missed.
    pub(crate) fn in_vain(&mut self, now: Instant) -> bool {
        self.behind.in_vain(now)
    }

    fn ms(&self, now: Instant) -> u64 {
        let since = now.saturating_duration_since(self.begun);
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }
}
