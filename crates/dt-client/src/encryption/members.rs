//! Who holds the keys, by their own credentials, and what is wrong with that.
//!
//! Driven by the [group](super::group). A credential is checked once, when its
//! leaf appears; an epoch of hundreds of members costs only what is new in it.
//! Statements of the auth controller are checked by others and ruled on here.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    time::{Duration, Instant},
};

use dt_e2ee::{CredentialError, MemberView, pair_code, read_credential};
use dt_ids::{MeetingId, ParticipantId};

use super::{
    Account, Alarm, BadStatement, Check, KeyHolder, KnownDevices, Mistrust, Ruling, Standing,
};

/// How long a leaf may have no participant: roster and group change by different
/// messages, and whoever leaves is removed by a commit that somebody has to make.
const WITHOUT_SEAT_MAX: Duration = Duration::from_secs(2);

/// When a statement that could not be checked is checked again; the wait doubles
/// each time. Keys are fetched no more often.
const CHECK_AGAIN_FIRST: Duration = Duration::from_secs(dt_token::JWKS_REFRESH_EVERY_S);
const CHECK_AGAIN_MAX: Duration = Duration::from_secs(300);

#[derive(Debug)]
struct Who {
    participant_id: ParticipantId,
    name: String,
    device_key: [u8; 32],
    pair_code: Option<String>,
    /// Nothing of guests.
    check: Option<Check>,
}

#[derive(Debug)]
struct Leaf {
    signature_key: Vec<u8>,
    credential: Vec<u8>,
    who: Result<Who, CredentialError>,
    /// Since when its participant is not on the roster.
    without_seat: Option<Instant>,
    had_seat: bool,
}

/// What is known of a statement that some leaf shows.
#[derive(Debug)]
struct Statement {
    ruling: Ruling,
    /// When to check it; `None` while that goes on, and after a ruling.
    check_at: Option<Instant>,
    pause: Duration,
}

#[derive(Debug)]
pub(super) struct Members {
    meeting_id: MeetingId,
    own_device: [u8; 32],
    known_devices: Option<KnownDevices>,
    own_seat: Option<ParticipantId>,
    roster: HashSet<ParticipantId>,
    leaves: BTreeMap<u32, Leaf>,
    /// Those that leaves show, or showed when there were leaves.
    statements: HashMap<Check, Statement>,
}

impl Members {
    pub(super) fn new(
        meeting_id: MeetingId,
        own_device: [u8; 32],
        known_devices: Option<KnownDevices>,
    ) -> Self {
        Self {
            meeting_id,
            own_device,
            known_devices,
            own_seat: None,
            roster: HashSet::new(),
            leaves: BTreeMap::new(),
            statements: HashMap::new(),
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
        let mut old = std::mem::take(&mut self.statements);
        for who in self
            .leaves
            .values()
            .filter_map(|leaf| leaf.who.as_ref().ok())
        {
            let Some(check) = &who.check else { continue };
            let statement = old.remove(check).unwrap_or(Statement {
                ruling: Ruling::Unknown,
                check_at: Some(now),
                pause: CHECK_AGAIN_FIRST,
            });
            self.statements.entry(check.clone()).or_insert(statement);
        }
        self.look_for_seats(now);
    }

    /// The statements that are to be checked now; each is given once.
    pub(super) fn take_checks(&mut self, now: Instant) -> Vec<Check> {
        let due = self.statements.iter_mut();
        due.filter_map(|(check, statement)| {
            statement.check_at.take_if(|at| *at <= now)?;
            Some(check.clone())
        })
        .collect()
    }

    pub(super) fn check_due(&self) -> Option<Instant> {
        let statements = self.statements.values();
        statements.filter_map(|statement| statement.check_at).min()
    }

    /// Says what became of a check; gives the leaves that are not trusted any more.
    pub(super) fn set_ruling(
        &mut self,
        check: &Check,
        ruling: Ruling,
        now: Instant,
    ) -> Vec<(u32, ParticipantId)> {
        let before = self.trusted();
        let Some(statement) = self.statements.get_mut(check) else {
            // Whoever showed it has gone.
            return Vec::new();
        };
        match &ruling {
            Ruling::Unknown => {
                statement.check_at = Some(now + statement.pause);
                statement.pause = (statement.pause * 2).min(CHECK_AGAIN_MAX);
            }
            Ruling::Good(account) => {
                if let Some(known) = &self.known_devices {
                    known.meet(account.subject, &check.device_key);
                }
            }
            Ruling::Bad(_) => {}
        }
        statement.ruling = ruling;
        let after = self.trusted();
        let lost = before.into_iter();
        lost.filter(|(leaf, _)| !after.contains_key(leaf)).collect()
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

    fn identify(&self, view: &MemberView) -> Result<Who, CredentialError> {
        let identity = read_credential(&view.identity, &view.signature_key)?;
        if identity.meeting_id.parse() != Ok(self.meeting_id) {
            return Err(CredentialError::OtherMeeting);
        }
        let participant_id = identity
            .participant_id
            .parse()
            .map_err(|_| CredentialError::Malformed("the participant is no UUID"))?;
        let device_key = identity.device_key;
        let statement = identity.statement;
        Ok(Who {
            participant_id,
            name: identity.name,
            device_key,
            pair_code: (device_key != self.own_device)
                .then(|| pair_code(&self.own_device, &device_key)),
            check: (!statement.is_empty()).then_some(Check {
                statement,
                device_key,
            }),
        })
    }

    fn ruling(&self, who: &Who) -> Option<&Ruling> {
        let statement = self.statements.get(who.check.as_ref()?);
        statement.map(|statement| &statement.ruling)
    }

    fn bad_statement(&self, who: &Who) -> Option<&BadStatement> {
        match self.ruling(who) {
            Some(Ruling::Bad(why)) => Some(why),
            _ => None,
        }
    }

    /// Why a leaf is not trusted although it can be read.
    fn mistrust(&self, who: &Who, doubled: &HashSet<ParticipantId>) -> Option<Mistrust> {
        if doubled.contains(&who.participant_id) {
            return Some(CredentialError::Doubled.into());
        }
        self.bad_statement(who).cloned().map(Mistrust::from)
    }

    /// The account of a known person who comes with another device.
    fn changed(&self, who: &Who) -> Option<&Account> {
        let Some(Ruling::Good(account)) = self.ruling(who) else {
            return None;
        };
        let known = self.known_devices.as_ref()?;
        let changed = !self.is_own(who) && known.is_changed(account.subject, &who.device_key);
        changed.then_some(account)
    }

    fn is_own(&self, who: &Who) -> bool {
        self.own_seat == Some(who.participant_id) && self.own_device == who.device_key
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
            .filter_map(|(number, leaf)| Some((*number, leaf.who.as_ref().ok()?)))
            .filter(|(_, who)| self.mistrust(who, &doubled).is_none())
            .map(|(number, who)| (number, who.participant_id))
            .collect()
    }

    pub(super) fn key_holders(&self) -> Vec<KeyHolder> {
        let doubled = self.doubled();
        let leaves = self.leaves.values();
        leaves
            .filter_map(|leaf| leaf.who.as_ref().ok())
            .map(|who| KeyHolder {
                participant_id: who.participant_id,
                name: who.name.clone(),
                device_key: who.device_key,
                pair_code: who.pair_code.clone(),
                standing: match (self.mistrust(who, &doubled), self.ruling(who)) {
                    (Some(why), _) => Standing::NotTrustworthy(why),
                    (None, None) => Standing::Guest,
                    (None, Some(Ruling::Good(account))) => Standing::Verified(account.clone()),
                    (None, Some(_)) => Standing::Unchecked,
                },
                changed_device: self.changed(who).is_some(),
            })
            .collect()
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
                    Err(reason) => return Some(not_trustworthy((*reason).into())),
                    Ok(who) => who,
                };
                match self.mistrust(who, &doubled) {
                    // One's own statement is nothing to be warned of.
                    Some(Mistrust::Statement(_)) if self.is_own(who) => return None,
                    Some(reason) => return Some(not_trustworthy(reason)),
                    None => {}
                }
                let Some(since) = leaf.without_seat else {
                    return self.changed(who).map(|account| Alarm::ChangedDevice {
                        participant_id: who.participant_id,
                        name: account.name.clone(),
                    });
                };
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

    /// There is no group; what was found out about statements stays true.
    pub(super) fn clear(&mut self) {
        self.leaves.clear();
    }
}
