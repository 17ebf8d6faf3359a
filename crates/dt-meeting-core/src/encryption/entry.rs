//! Ways into the group: which one is open to whom.

use bytes::Bytes;
use dt_ids::UserId;
use dt_wire::v1::{E2eeEntry, EntryWay, Mls, server_message::Body};

use super::{
    Encryption, Position,
    group::{self},
    people::Place,
};
use crate::time::Time;

impl Encryption {
    /// The way in for somebody outside. A group that nobody works in is given up
    /// for it.
    pub(super) fn way_in(&mut self, user: UserId, now: Time) -> E2eeEntry {
        if !self.alive() {
            self.bury(Some(user), now);
        }
        let way = match &self.group {
            None => EntryWay::Found,
            Some(_) if self.is_quiet_for(user, now) => EntryWay::Commit,
            Some(_) => EntryWay::BeAdded,
        };
        let at = self.position();
        if let Some(person) = self.people.get_mut(&user) {
            person.show(way, at, now);
        }
        self.entry(way, Vec::new())
    }

    /// Pushes the way in.
    pub(super) fn show_in(&mut self, user: UserId, now: Time) {
        let entry = self.way_in(user, now);
        self.tell(vec![user], Body::E2eeEntry(entry));
    }

    /// Where the group stands, or the next one will begin.
    fn position(&self) -> Position {
        match &self.group {
            Some(group) => group.position(),
            None => Position {
                group: self.next_group,
                epoch: 0,
            },
        }
    }

    pub(super) fn entry(&self, way: EntryWay, missed: Vec<Mls>) -> E2eeEntry {
        let position = self.position();
        let group_info = match (&self.group, way) {
            (Some(group), EntryWay::Commit) => group.keeper.group_info(),
            _ => Bytes::new(),
        };
        E2eeEntry {
            way: way.into(),
            position: Some(position.into()),
            group_id: group::id(self.meeting, position.group),
            external_sender: self.keepers.external_sender(),
            sframe_suite: self.suite.number(),
            group_info,
            missed,
        }
    }

    /// Whether an external commit of this user has nothing to wait for and
    /// nobody to race with.
    fn is_quiet_for(&self, user: UserId, now: Time) -> bool {
        let Some(group) = &self.group else {
            return false;
        };
        let failed = self.people.get(&user).map_or(0, |p| p.failed_entries);
        let others = self.people.iter().filter(|(other, _)| **other != user);
        let mut busy = others.filter(|(_, person)| match &person.place {
            Place::Outside { shown, since } => {
                let enters = shown.is_some_and(|(way, _)| way == EntryWay::Commit);
                enters && now < since.plus_ms(self.limits.entering_ms)
            }
            Place::Waiting { .. } | Place::Proposed => true,
            Place::Inside { .. } => false,
        });
        group.open.is_empty()
            && group.trial.is_none()
            && failed == 0
            && group.old_leaves(user, None).is_empty()
            && busy.next().is_none()
    }

    /// What somebody missed who comes back as the same leaf; `None` when it
    /// can't, and needs a new one.
    pub(super) fn missed(&self, user: UserId, position: Position) -> Option<Vec<Mls>> {
        let group = self.group.as_ref()?;
        let leaf = self.people.get(&user)?.leaf()?;
        let here = group.position();
        let known = position.group == here.group && position.epoch <= here.epoch;
        if !known || group.leaves.get(&leaf) != Some(&user) || group.is_leaving(leaf) {
            return None;
        }
        group
            .log
            .since(position.epoch, self.limits.missed_bytes_max)
    }
}
