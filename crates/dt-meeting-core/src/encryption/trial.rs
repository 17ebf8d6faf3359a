//! A commit that is in force and not proved yet: members say whether they can
//! process it, and until one could it may be voided.

use std::collections::{BTreeMap, BTreeSet};

use dt_ids::UserId;

use super::{group::Open, keeper::Leaf, limits::EncryptionLimits};
use crate::time::Time;

#[derive(Debug)]
pub(super) struct Trial {
    pub(super) committer: UserId,
    /// The committer entered by it.
    pub(super) external: bool,
    pub(super) since: Time,
    /// Another member could process it.
    pub(super) proved: bool,
    /// Those who could not, and since when there is one.
    pub(super) failed: BTreeSet<UserId>,
    pub(super) failed_since: Option<Time>,
    /// Those whom it added: they have nothing to compare it with.
    pub(super) added: BTreeSet<UserId>,
    /// What was before it.
    pub(super) leaves: BTreeMap<Leaf, UserId>,
    pub(super) open: Vec<Open>,
    pub(super) rotation_wanted: bool,
}

/// What becomes of a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Not known yet.
    Open,
    /// It stands for good.
    Stands,
    /// Nobody but its maker could process it.
    Void,
}

impl Trial {
    pub(super) fn fail(&mut self, user: UserId, now: Time) {
        self.failed.insert(user);
        self.failed_since.get_or_insert(now);
    }

    /// `witnesses` are the connected members but for the committer.
    pub(super) fn verdict(
        &self,
        witnesses: &BTreeSet<UserId>,
        limits: &EncryptionLimits,
        now: Time,
    ) -> Verdict {
        let failed = witnesses.intersection(&self.failed).count();
        if self.proved || witnesses.is_empty() {
            Verdict::Stands
        } else if failed == witnesses.len() {
            Verdict::Void
        } else if now < self.decided_at(limits) {
            Verdict::Open
        } else if failed > 0 {
            Verdict::Void
        } else {
            Verdict::Stands
        }
    }

    /// When it is decided at the latest.
    pub(super) fn decided_at(&self, limits: &EncryptionLimits) -> Time {
        match self.failed_since {
            Some(since) => since.plus_ms(limits.doubt_ms),
            None => self.since.plus_ms(limits.confirmation_ms),
        }
    }
}
