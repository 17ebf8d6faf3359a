//! The order of a meeting's end-to-end encryption: who founds the group, who
//! enters it how, who commits, which commit counts, who is removed when.
//!
//! [`Encryption`] is a machine like the meeting that drives it: people come, go
//! and send [`Mls`] messages; it gives what is to be said as [`Out`]s. MLS itself
//! is a [`GroupKeeper`] given in, so that the rules are tested without it. One
//! idea a module: `people` who stands where, `entry` ways in, `requests` what
//! clients send, `driving` what follows from that and from time, `group` one
//! group and its epoch, `trial` whether a commit is good, `election` who commits.
//!
//! The course of one change: a proposal goes to all (`propose`), up to three
//! members are asked to commit to it, the first valid commit that covers all
//! that is proposed is in force for everybody (`requests`), and it stands once a
//! member other than its maker could process it (`Trial`). While it is on trial
//! nothing new is proposed or taken, so that there is one epoch to go back to.
//!
//! Deliberately absent: keys. Nothing here could open a frame.

mod driving;
mod election;
mod entry;
mod group;
mod keeper;
mod limits;
mod log;
#[cfg(test)]
pub(crate) mod model;
mod people;
mod requests;
#[cfg(test)]
mod tests;
mod trial;

use std::{collections::BTreeMap, sync::Arc};

use dt_ids::{MeetingId, ParticipantId, UserId};
use dt_wire::v1::{E2eeEntry, EntryWay, GroupPosition, Mls, MlsKind, server_message::Body};

pub use keeper::{Applied, GroupKeeper, KeeperFactory, Leaf, Refused};
pub use limits::EncryptionLimits;

use group::Group;
use people::Person;

use crate::time::Time;

/// SFrame cipher suite (RFC 9605 section 4.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(u32)]
pub enum SframeSuite {
    /// AES_128_GCM_SHA256_128
    #[default]
    Aes128Gcm = 4,
    /// AES_256_GCM_SHA512_128
    Aes256Gcm = 5,
}

impl SframeSuite {
    /// Reads its number.
    #[must_use]
    pub const fn from_u32(number: u32) -> Option<Self> {
        match number {
            4 => Some(Self::Aes128Gcm),
            5 => Some(Self::Aes256Gcm),
            _ => None,
        }
    }

    /// Its number.
    #[must_use]
    pub const fn number(self) -> u32 {
        self as u32
    }
}

/// A moment in a meeting's encryption.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// Counts the groups of a meeting.
    pub group: u32,
    /// The epoch in it.
    pub epoch: u64,
}

impl From<GroupPosition> for Position {
    fn from(position: GroupPosition) -> Self {
        Self {
            group: position.group,
            epoch: position.epoch,
        }
    }
}

impl From<Position> for GroupPosition {
    fn from(position: Position) -> Self {
        Self {
            group: position.group,
            epoch: position.epoch,
        }
    }
}

/// What a client can do of encryption.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Offer {
    /// The group that it still has in memory.
    pub position: Option<Position>,
}

/// What the machine wants done.
#[derive(Debug, Clone, PartialEq)]
#[expect(
    clippy::large_enum_variant,
    reason = "nearly all are of the large kind, and few at a time"
)]
pub(crate) enum Out {
    /// Push this to these, who are connected.
    Tell(Vec<UserId>, Body),
    /// Its client can't keep up with the group: remove it from the meeting.
    Expel(UserId),
}

/// The encryption of one meeting.
#[derive(Debug)]
pub(crate) struct Encryption {
    meeting: MeetingId,
    suite: SframeSuite,
    limits: EncryptionLimits,
    keepers: Arc<dyn KeeperFactory>,
    people: BTreeMap<UserId, Person>,
    group: Option<Group>,
    /// The number that the next group has.
    next_group: u32,
    /// When members last asked for new keys and got them.
    rotated_at: Option<Time>,
    out: Vec<Out>,
}

impl Encryption {
    pub(crate) fn new(
        meeting: MeetingId,
        suite: SframeSuite,
        limits: EncryptionLimits,
        keepers: Arc<dyn KeeperFactory>,
    ) -> Self {
        Self {
            meeting,
            suite,
            limits,
            next_group: keepers.first_group(),
            keepers,
            people: BTreeMap::new(),
            group: None,
            rotated_at: None,
            out: Vec::new(),
        }
    }

    /// Somebody has a seat from now on; its way into the group.
    pub(crate) fn enter(
        &mut self,
        user: UserId,
        participant: ParticipantId,
        now: Time,
    ) -> E2eeEntry {
        self.people.insert(user, Person::new(participant, now));
        self.way_in(user, now)
    }

    /// Somebody has its seat back, perhaps with its group in memory.
    pub(crate) fn resume(
        &mut self,
        user: UserId,
        position: Option<Position>,
        now: Time,
    ) -> E2eeEntry {
        if let Some(missed) = position.and_then(|position| self.missed(user, position)) {
            if let Some(person) = self.people.get_mut(&user) {
                person.away_since = None;
                let commit = |step: &Mls| step.kind() == MlsKind::MlsCommit;
                person.behind_since = missed.iter().any(commit).then_some(now);
            }
            return self.entry(EntryWay::CatchUp, missed);
        }
        if let Some(person) = self.people.get_mut(&user) {
            person.away_since = None;
            person.send_out(now);
        }
        self.way_in(user, now)
    }

    /// Its session is gone, its seat is not.
    pub(crate) fn disconnect(&mut self, user: UserId, now: Time) {
        if let Some(person) = self.people.get_mut(&user) {
            person.away_since.get_or_insert(now);
            person.behind_since = None;
            // What it sent for its entry, only that client had the keys for.
            if person.leaf().is_none() {
                person.send_out(now);
            }
        }
    }

    /// It has no seat any more: its leaf goes.
    pub(crate) fn leave(&mut self, user: UserId) {
        self.people.remove(&user);
    }

    /// What is to be done, in order.
    pub(crate) fn take_out(&mut self) -> Vec<Out> {
        std::mem::take(&mut self.out)
    }

    fn tell(&mut self, users: Vec<UserId>, body: Body) {
        if !users.is_empty() {
            self.out.push(Out::Tell(users, body));
        }
    }

    /// Connected members whose clients follow the group.
    fn working(&self) -> impl Iterator<Item = UserId> {
        self.people
            .iter()
            .filter(|(_, person)| person.works())
            .map(|(user, _)| *user)
    }

    /// Whether somebody is there who could go on with the group.
    fn alive(&self) -> bool {
        self.group.is_some() && self.working().next().is_some()
    }

    /// The group is of no use to anybody any more: the next one is founded.
    /// `except` is told in another way.
    fn bury(&mut self, except: Option<UserId>, now: Time) {
        let Some(group) = self.group.take() else {
            return;
        };
        self.next_group = group.number.saturating_add(1);
        let mut users = Vec::new();
        for (user, person) in &mut self.people {
            let at = Position {
                group: self.next_group,
                epoch: 0,
            };
            person.show(EntryWay::Found, at, now);
            if person.connected() && except != Some(*user) {
                users.push(*user);
            }
        }
        let entry = self.entry(EntryWay::Found, Vec::new());
        self.tell(users, Body::E2eeEntry(entry));
    }

    /// Its group in memory is of no use: it gets a new leaf, and the old one goes.
    fn strand(&mut self, user: UserId, now: Time) {
        let limits = &self.limits;
        let Some(person) = self.people.get_mut(&user) else {
            return;
        };
        if person.strand(limits.strandings_max, limits.strandings_ms, now) {
            self.out.push(Out::Expel(user));
        }
        if person.is_shown_in() {
            // It may be going that way still: the next must be another one.
            person.failed_entries += 1;
        }
        person.send_out(now);
        self.show_in(user, now);
    }
}

/// What tests look at.
#[cfg(test)]
pub(crate) struct View {
    pub(crate) position: Position,
    pub(crate) leaves: Vec<(Leaf, ParticipantId)>,
    pub(crate) open: usize,
    pub(crate) on_trial: bool,
    pub(crate) log: (usize, usize),
    pub(crate) alive: bool,
    pub(crate) asked: Vec<UserId>,
}

#[cfg(test)]
impl Encryption {
    pub(crate) fn view(&self) -> Option<View> {
        let group = self.group.as_ref()?;
        assert!(group.leaves.len() == group.keeper.members().len());
        Some(View {
            position: group.position(),
            leaves: group.keeper.members(),
            open: group.open.len(),
            on_trial: group.trial.is_some(),
            log: group.log.size(),
            alive: self.alive(),
            asked: group.election.asked().to_vec(),
        })
    }
}
