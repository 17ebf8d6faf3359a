//! What clients send, and the order that it gets: the first valid commit of an
//! epoch is the commit.

use std::collections::BTreeSet;

use bytes::Bytes;
use dt_ids::UserId;
use dt_wire::v1::{EntryWay, Mls, MlsKind, server_message::Body};

use super::{
    Encryption, Out, Position,
    group::{self, Group},
    keeper::{Leaf, Refused},
    people::Place,
    trial::Trial,
};
use crate::{error::EncryptionError, time::Time};

type Done = Result<(), EncryptionError>;

/// A commit as a client sends it.
struct Commit {
    position: Position,
    data: Bytes,
    group_info: Bytes,
    welcome: Bytes,
}

impl Encryption {
    /// A message of somebody connected. Pushes that belong to a refusal are
    /// meant to follow it.
    pub(crate) fn handle(&mut self, user: UserId, message: Mls, now: Time) -> Done {
        if !self.people.get(&user).is_some_and(|p| p.connected()) {
            return Ok(());
        }
        let kind = message.kind();
        if kind == MlsKind::MlsStranded {
            self.strand(user, now);
            return Ok(());
        }
        let position = message
            .position
            .ok_or(EncryptionError::Invalid("position is missing"))?;
        let position = Position::from(position);
        let limits = &self.limits;
        fits(&message.group_info, limits.group_info_bytes_max)?;
        fits(&message.welcome, limits.welcome_bytes_max)?;
        match kind {
            MlsKind::MlsFounded => self.founded(user, position, &message.group_info, now),
            MlsKind::MlsKeyPackage => {
                fits(&message.data, limits.key_package_bytes_max)?;
                self.key_package(user, position, message.data, now)
            }
            MlsKind::MlsCommit => {
                fits(&message.data, limits.commit_bytes_max)?;
                let commit = Commit {
                    position,
                    data: message.data,
                    group_info: message.group_info,
                    welcome: message.welcome,
                };
                self.commit(user, commit, now)
            }
            MlsKind::MlsApplied => {
                self.applied(user, position, now);
                Ok(())
            }
            MlsKind::MlsFailed => {
                self.failed(user, position, now);
                Ok(())
            }
            MlsKind::MlsRotate => self.rotate(user, now),
            _ => Err(EncryptionError::Invalid(
                "this kind of message is not for clients to send",
            )),
        }
    }

    fn founded(&mut self, user: UserId, position: Position, info: &Bytes, now: Time) -> Done {
        self.require(user, EntryWay::Found, position)?;
        if self.group.is_some() {
            return self.overtaken(user, now);
        }
        let id = group::id(self.meeting, self.next_group);
        let participant = self.people.get(&user).map(|person| person.participant);
        let keeper = match self.keepers.found(&id, info) {
            Ok(keeper) => keeper,
            Err(_) => return self.refuse_entry(user, "this is no new group of this meeting", now),
        };
        let leaf = match keeper.members()[..] {
            [(leaf, founder)] if Some(founder) == participant => leaf,
            _ => return self.refuse_entry(user, "the group is not founded by you", now),
        };
        let group = Group::new(self.next_group, keeper, (leaf, user), &self.limits, now);
        let position = group.position();
        self.group = Some(group);
        self.take_in(user, leaf, Some(position), now);
        Ok(())
    }

    fn key_package(&mut self, user: UserId, position: Position, data: Bytes, now: Time) -> Done {
        self.require(user, EntryWay::BeAdded, position)?;
        let Some(person) = self.people.get(&user) else {
            return Ok(());
        };
        match self.keepers.owner(&data) {
            Ok(owner) if owner == person.participant => {}
            Ok(_) => return self.refuse_entry(user, "the key package is not yours", now),
            Err(_) => return self.refuse_entry(user, "the key package is not good", now),
        }
        if let Some(person) = self.people.get_mut(&user) {
            person.place = Place::Waiting {
                key_package: data,
                since: now,
            };
        }
        Ok(())
    }

    fn commit(&mut self, user: UserId, commit: Commit, now: Time) -> Done {
        let leaf = self.people.get(&user).and_then(|person| person.leaf());
        if leaf.is_none() {
            self.require(user, EntryWay::Commit, commit.position)?;
        }
        let Some(group) = &mut self.group else {
            return self.overtaken(user, now);
        };
        if commit.position != group.position() {
            return self.overtaken(user, now);
        }
        if let (Some(trial), Some(_)) = (&mut group.trial, leaf)
            && trial.committer != user
        {
            // Who commits on top of a commit could process it.
            trial.proved = true;
            self.settle_trial(now);
        }
        match leaf {
            Some(leaf) => self.member_commit(user, leaf, commit, now),
            None => self.external_commit(user, commit, now),
        }
    }

    fn member_commit(&mut self, user: UserId, leaf: Leaf, commit: Commit, now: Time) -> Done {
        let wait_ms = self.rotation_wait_ms(now);
        let Some(group) = &mut self.group else {
            return Err(EncryptionError::Overtaken);
        };
        if group.trial.is_some() || group.election.is_barred(user) {
            return Err(EncryptionError::Overtaken);
        }
        let unasked = group.open.is_empty() && !group.rotation_wanted;
        if let (true, Some(retry_after_ms)) = (unasked, wait_ms) {
            return Err(EncryptionError::TooSoon { retry_after_ms });
        }
        let adds = group
            .open
            .iter()
            .any(|open| matches!(open, group::Open::Add(..)));
        if adds == commit.welcome.is_empty() {
            return Err(EncryptionError::Invalid(
                "a commit has a welcome exactly when it adds somebody",
            ));
        }
        let applied = match group.judge(Ok(leaf), &commit.data, &commit.group_info) {
            Ok(applied) => applied,
            Err(Refused::Stale | Refused::Incomplete) => return Err(EncryptionError::Overtaken),
            Err(Refused::Invalid(_)) => {
                self.note_nonsense(user, now);
                return Err(EncryptionError::Invalid("the commit is not good"));
            }
        };
        if unasked {
            self.rotated_at = Some(now);
        }
        let to: Vec<UserId> = self.working().collect();
        let added = self.put_in_force(user, false, &applied, commit.data, to, now);
        self.welcome(added, commit.welcome, now);
        Ok(())
    }

    fn external_commit(&mut self, user: UserId, commit: Commit, now: Time) -> Done {
        let (Some(group), Some(person)) = (&mut self.group, self.people.get(&user)) else {
            return self.overtaken(user, now);
        };
        if group.trial.is_some() || !group.open.is_empty() {
            return self.overtaken(user, now);
        }
        let participant = person.participant;
        let applied = match group.judge(Err(participant), &commit.data, &commit.group_info) {
            Ok(applied) => applied,
            Err(Refused::Stale | Refused::Incomplete) => return self.overtaken(user, now),
            Err(Refused::Invalid(_)) => {
                return self.refuse_entry(user, "the commit is not good", now);
            }
        };
        let mut to: Vec<UserId> = self.working().collect();
        to.push(user);
        self.put_in_force(user, true, &applied, commit.data, to, now);
        let leaf = applied.added.first().map(|(leaf, _)| *leaf);
        if let Some(leaf) = leaf {
            self.take_in(user, leaf, None, now);
        }
        Ok(())
    }

    /// The commit counts: `to` are told, and it is on trial. Gives those whom it
    /// added and whose clients wait for that, with their leaves.
    fn put_in_force(
        &mut self,
        committer: UserId,
        external: bool,
        applied: &super::Applied,
        data: Bytes,
        to: Vec<UserId>,
        now: Time,
    ) -> Vec<(UserId, Leaf)> {
        let Some(group) = &mut self.group else {
            return Vec::new();
        };
        let mut trial = Trial {
            committer,
            external,
            since: now,
            proved: false,
            failed: BTreeSet::new(),
            failed_since: None,
            added: BTreeSet::new(),
            leaves: group.leaves.clone(),
            open: group.open.clone(),
            rotation_wanted: group.rotation_wanted,
        };
        let proposed: Vec<UserId> = self
            .people
            .iter()
            .filter(|(user, person)| person.place == Place::Proposed && group.is_adding(**user))
            .map(|(user, _)| *user)
            .collect();
        trial.added.extend(&proposed);
        let message = group.advance(applied, data, trial, &self.limits, now);
        if !external {
            group.election.committer = Some(committer);
        }
        group.election.round = None;
        let leaves = &group.leaves;
        let added = leaves
            .iter()
            .filter(|(_, user)| proposed.contains(user))
            .map(|(leaf, user)| (*user, *leaf))
            .filter(|(_, leaf)| applied.added.iter().any(|(added, _)| added == leaf))
            .collect();
        for user in &to {
            if let Some(person) = self.people.get_mut(user) {
                person.behind_since.get_or_insert(now);
            }
        }
        self.tell(to, Body::Mls(message));
        added
    }

    fn welcome(&mut self, added: Vec<(UserId, Leaf)>, data: Bytes, now: Time) {
        let Some(position) = self.group.as_ref().map(Group::position) else {
            return;
        };
        for (user, leaf) in &added {
            self.take_in(*user, *leaf, None, now);
        }
        let users = added.into_iter().map(|(user, _)| user).collect();
        let message = group::message(MlsKind::MlsWelcome, position, data);
        self.tell(users, Body::Mls(message));
    }

    fn take_in(&mut self, user: UserId, leaf: Leaf, stands: Option<Position>, now: Time) {
        if let Some(person) = self.people.get_mut(&user) {
            person.place = Place::Inside { leaf };
            person.stands = stands;
            person.behind_since = stands.is_none().then_some(now);
        }
    }

    fn applied(&mut self, user: UserId, position: Position, now: Time) {
        let (Some(group), Some(person)) = (&mut self.group, self.people.get_mut(&user)) else {
            return;
        };
        if person.leaf().is_none() || position != group.position() {
            return;
        }
        person.behind_since = None;
        if person.stands != Some(position) {
            person.stands = Some(position);
            person.measure(now.ms_since(group.epoch_since));
        }
        match &mut group.trial {
            Some(trial) if trial.committer == user => {}
            Some(trial) => {
                trial.proved = true;
                trial.failed.remove(&user);
                person.failed_entries = 0;
            }
            None => person.failed_entries = 0,
        }
    }

    fn failed(&mut self, user: UserId, position: Position, now: Time) {
        let (Some(group), Some(person)) = (&mut self.group, self.people.get(&user)) else {
            return;
        };
        let here = group.position();
        // Where it ends nothing in force any more, it was rolled back meanwhile.
        if person.leaf().is_none() || position.group != here.group || position >= here {
            return;
        }
        match &mut group.trial {
            Some(trial)
                if position.epoch + 1 == here.epoch
                    && trial.committer != user
                    && !trial.added.contains(&user) =>
            {
                trial.fail(user, now);
            }
            _ => self.strand(user, now),
        }
    }

    fn rotate(&mut self, user: UserId, now: Time) -> Done {
        if let Some(retry_after_ms) = self.rotation_wait_ms(now) {
            return Err(EncryptionError::TooSoon { retry_after_ms });
        }
        let inside = self.people.get(&user).is_some_and(|p| p.leaf().is_some());
        match &mut self.group {
            Some(group) if inside => {
                group.rotation_wanted = true;
                self.rotated_at = Some(now);
                Ok(())
            }
            _ => Err(EncryptionError::Invalid("you are not in the group")),
        }
    }

    fn rotation_wait_ms(&self, now: Time) -> Option<u64> {
        let next = self.rotated_at?.plus_ms(self.limits.rotation_interval_ms);
        (now < next).then(|| next.ms_since(now))
    }

    /// What answers an older way in than the last is void: the newer one is on its
    /// way, or gone already.
    fn require(&self, user: UserId, way: EntryWay, from: Position) -> Done {
        let person = self.people.get(&user);
        if person.is_some_and(|person| person.follows(way, from)) {
            return Ok(());
        }
        Err(EncryptionError::Overtaken)
    }

    /// Somebody was faster. Whoever is not in the group is shown the way anew;
    /// a member has heard, or will hear, the commit that won.
    fn overtaken(&mut self, user: UserId, now: Time) -> Done {
        let outside = |place: &Place| matches!(place, Place::Outside { .. });
        if self.people.get(&user).is_some_and(|p| outside(&p.place)) {
            self.show_in(user, now);
        }
        Err(EncryptionError::Overtaken)
    }

    /// What it sent to come in is not good: it may try again, not for ever.
    fn refuse_entry(&mut self, user: UserId, why: &'static str, now: Time) -> Done {
        self.fail_entry(user, now);
        Err(EncryptionError::Invalid(why))
    }

    /// Judging a commit costs the meeting's task milliseconds: whoever sends bad
    /// ones again and again goes.
    fn note_nonsense(&mut self, user: UserId, now: Time) {
        let (max, window_ms) = (self.limits.strandings_max, self.limits.strandings_ms);
        let person = self.people.get_mut(&user);
        if person.is_some_and(|person| person.strand(max, window_ms, now)) {
            self.out.push(Out::Expel(user));
        }
    }

    pub(super) fn fail_entry(&mut self, user: UserId, now: Time) {
        let Some(person) = self.people.get_mut(&user) else {
            return;
        };
        person.failed_entries += 1;
        if person.failed_entries >= self.limits.failed_entries_max {
            self.out.push(Out::Expel(user));
        }
        self.show_in(user, now);
    }
}

fn fits(bytes: &Bytes, max: usize) -> Done {
    if bytes.len() <= max {
        return Ok(());
    }
    Err(EncryptionError::Invalid(
        "a part of the message is too long",
    ))
}
