//! Who has a seat, seen from the group: connected or not, in it or on the way.

use bytes::Bytes;
use dt_ids::ParticipantId;
use dt_wire::v1::EntryWay;

use super::{Position, keeper::Leaf};
use crate::time::Time;

/// Somebody with a seat.
#[derive(Debug)]
pub(super) struct Person {
    pub(super) participant: ParticipantId,
    /// Since when its client is gone.
    pub(super) away_since: Option<Time>,
    pub(super) place: Place,
    /// How long its client takes from a commit to its answer, smoothed.
    pub(super) delay_ms: Option<u64>,
    /// The last position that its client said it stands in.
    pub(super) stands: Option<Position>,
    /// Since when it owes the answer to a commit.
    pub(super) behind_since: Option<Time>,
    /// Ways into the group that failed since it was last in it.
    pub(super) failed_entries: u32,
    strandings: u32,
    strandings_since: Time,
}

/// Where somebody stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// It was shown this way in last, and has not gone it yet.
    Outside {
        shown: Option<(EntryWay, Position)>,
        since: Time,
    },
    /// Its key package waits to be proposed.
    Waiting { key_package: Bytes, since: Time },
    /// It is proposed, and not committed yet.
    Proposed,
    /// Its client follows the group at this leaf.
    Inside { leaf: Leaf },
}

impl Person {
    pub(super) fn new(participant: ParticipantId, now: Time) -> Self {
        Self {
            participant,
            away_since: None,
            place: Place::Outside {
                shown: None,
                since: now,
            },
            delay_ms: None,
            stands: None,
            behind_since: None,
            failed_entries: 0,
            strandings: 0,
            strandings_since: now,
        }
    }

    pub(super) fn connected(&self) -> bool {
        self.away_since.is_none()
    }

    /// The leaf at which its client follows the group.
    pub(super) fn leaf(&self) -> Option<Leaf> {
        match self.place {
            Place::Inside { leaf } => Some(leaf),
            _ => None,
        }
    }

    /// A member whose client is there: it can commit and judge commits.
    pub(super) fn works(&self) -> bool {
        self.connected() && self.leaf().is_some()
    }

    /// It is not in the group any more, or not yet.
    pub(super) fn send_out(&mut self, now: Time) {
        self.behind_since = None;
        self.place = Place::Outside {
            shown: None,
            since: now,
        };
    }

    /// It is shown this way in, from a group that stands here.
    pub(super) fn show(&mut self, way: EntryWay, at: Position, now: Time) {
        self.behind_since = None;
        self.place = Place::Outside {
            shown: Some((way, at)),
            since: now,
        };
    }

    /// Whether it was shown a way in and did not come yet.
    pub(super) fn is_shown_in(&self) -> bool {
        matches!(self.place, Place::Outside { shown: Some(_), .. })
    }

    /// Whether it goes the way that it was shown last, not one before it: a
    /// client that was shown two goes the later one only.
    pub(super) fn follows(&self, way: EntryWay, from: Position) -> bool {
        match &self.place {
            Place::Outside {
                shown: Some((shown, at)),
                ..
            } => {
                // A key package is good for every epoch.
                let same = match way {
                    EntryWay::BeAdded => at.group == from.group,
                    _ => *at == from,
                };
                *shown == way && same
            }
            _ => false,
        }
    }

    /// Its client answered a commit after so long.
    pub(super) fn measure(&mut self, ms: u64) {
        self.delay_ms = Some(match self.delay_ms {
            Some(before) => (3 * before + ms) / 4,
            None => ms,
        });
    }

    /// Its client says that its group is of no use; true when it said so too
    /// often.
    pub(super) fn strand(&mut self, max: u32, window_ms: u64, now: Time) -> bool {
        if now.ms_since(self.strandings_since) > window_ms {
            self.strandings = 0;
            self.strandings_since = now;
        }
        self.strandings += 1;
        self.strandings > max
    }
}
