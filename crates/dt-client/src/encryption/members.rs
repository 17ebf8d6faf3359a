//! Who holds the keys, by their own credentials, and what is wrong with that.
//!
//! Driven by the [group](super::group). A credential is checked once, when its
//! leaf appears; an epoch of hundreds of members costs only what is new in it.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    time::{Duration, Instant},
};

use dt_e2ee::{CredentialError, MemberView, pair_code, read_credential};
use dt_ids::{MeetingId, ParticipantId};

use super::{Alarm, KeyHolder};

/// How long a leaf may have no participant: roster and group change by different
/// messages, and whoever leaves is removed by a commit that somebody has to make.
const WITHOUT_SEAT_MAX: Duration = Duration::from_secs(2);

#[derive(Debug)]
struct Leaf {
    signature_key: Vec<u8>,
    credential: Vec<u8>,
    who: Result<KeyHolder, CredentialError>,
    /// Since when its participant is not on the roster.
    without_seat: Option<Instant>,
    had_seat: bool,
}

#[derive(Debug)]
pub(super) struct Members {
    meeting_id: MeetingId,
    own_device: [u8; 32],
    own_seat: Option<ParticipantId>,
    roster: HashSet<ParticipantId>,
    leaves: BTreeMap<u32, Leaf>,
}

impl Members {
    pub(super) fn new(meeting_id: MeetingId, own_device: [u8; 32]) -> Self {
        Self {
            meeting_id,
            own_device,
            own_seat: None,
            roster: HashSet::new(),
            leaves: BTreeMap::new(),
        }
    }

    pub(super) fn set_own_seat(&mut self, seat: ParticipantId) {
        self.own_seat = Some(seat);
    }

    /// Everybody with a seat but oneself.
    pub(super) fn set_roster(&mut self, roster: HashSet<ParticipantId>, now: Instant) {
        self.roster = roster;
        self.look_for_seats(now);
    }

    /// The leaves of another epoch.
    pub(super) fn set_leaves(&mut self, views: Vec<MemberView>, now: Instant) {
        let mut old = std::mem::take(&mut self.leaves);
        for view in views {
            let known = old.remove(&view.leaf).filter(|leaf| {
                leaf.signature_key == view.signature_key && leaf.credential == view.identity
            });
            let leaf = known.unwrap_or_else(|| self.read(&view));
            self.leaves.insert(view.leaf, leaf);
        }
        self.look_for_seats(now);
    }

    fn read(&self, view: &MemberView) -> Leaf {
        Leaf {
            who: self.identify(view),
            signature_key: view.signature_key.clone(),
            credential: view.identity.clone(),
            without_seat: None,
            had_seat: false,
        }
    }

    fn identify(&self, view: &MemberView) -> Result<KeyHolder, CredentialError> {
        let identity = read_credential(&view.identity, &view.signature_key)?;
        if identity.meeting_id.parse() != Ok(self.meeting_id) {
            return Err(CredentialError::OtherMeeting);
        }
        let participant_id = identity
            .participant_id
            .parse()
            .map_err(|_| CredentialError::Malformed("the participant is no UUID"))?;
        Ok(KeyHolder {
            participant_id,
            name: identity.name,
            device_key: identity.device_key,
            pair_code: (identity.device_key != self.own_device)
                .then(|| pair_code(&self.own_device, &identity.device_key)),
            statement: identity.statement,
        })
    }

    fn look_for_seats(&mut self, now: Instant) {
        for leaf in self.leaves.values_mut() {
            let Ok(who) = &leaf.who else { continue };
            let id = who.participant_id;
            if self.own_seat == Some(id) || self.roster.contains(&id) {
                leaf.had_seat = true;
                leaf.without_seat = None;
            } else {
                leaf.without_seat.get_or_insert(now);
            }
        }
    }

    /// When [`alarms`](Self::alarms) may have something that it had not at `then`.
    pub(super) fn due(&self, then: Option<Instant>) -> Option<Instant> {
        let waiting = self.leaves.values().filter_map(|leaf| leaf.without_seat);
        let due = waiting.map(|since| since + WITHOUT_SEAT_MAX);
        due.filter(|due| Some(*due) > then).min()
    }

    /// Participants that more than one leaf claims.
    fn doubled(&self) -> HashSet<ParticipantId> {
        let mut seen = HashSet::new();
        let claimed = self
            .leaves
            .values()
            .filter_map(|leaf| leaf.who.as_ref().ok());
        claimed
            .filter(|who| !seen.insert(who.participant_id))
            .map(|who| who.participant_id)
            .collect()
    }

    /// Whose frames each leaf may seal; who can't be trusted is not in it.
    pub(super) fn trusted(&self) -> HashMap<u32, ParticipantId> {
        let doubled = self.doubled();
        let leaves = self.leaves.iter();
        leaves
            .filter_map(|(number, leaf)| Some((*number, leaf.who.as_ref().ok()?.participant_id)))
            .filter(|(_, participant)| !doubled.contains(participant))
            .collect()
    }

    pub(super) fn key_holders(&self) -> Vec<KeyHolder> {
        let leaves = self.leaves.values();
        leaves.filter_map(|leaf| leaf.who.clone().ok()).collect()
    }

    pub(super) fn alarms(&self, now: Instant) -> Vec<Alarm> {
        let doubled = self.doubled();
        let leaves = self.leaves.iter();
        leaves
            .filter_map(|(number, leaf)| {
                let not_trustworthy = |reason| Alarm::NotTrustworthy {
                    leaf: *number,
                    reason,
                };
                let who = match &leaf.who {
                    Err(reason) => return Some(not_trustworthy(*reason)),
                    Ok(who) if doubled.contains(&who.participant_id) => {
                        return Some(not_trustworthy(CredentialError::Doubled));
                    }
                    Ok(who) => who,
                };
                let since = leaf.without_seat?;
                if now.saturating_duration_since(since) < WITHOUT_SEAT_MAX {
                    return None;
                }
                let (participant_id, name) = (who.participant_id, who.name.clone());
                Some(if leaf.had_seat {
                    Alarm::StillThere {
                        participant_id,
                        name,
                    }
                } else {
                    Alarm::NotOnRoster {
                        participant_id,
                        name,
                    }
                })
            })
            .collect()
    }

    pub(super) fn clear(&mut self) {
        self.leaves.clear();
    }
}
