//! What follows from the state and from time: proposals, elections, the end of
//! trials and of groups. Nothing here is asked for; it can be called at any time.

use std::collections::BTreeSet;

use dt_ids::UserId;
use dt_wire::v1::{Mls, MlsKind, server_message::Body};

use super::{
    Encryption,
    group::{self, Group, Open},
    keeper::Leaf,
    people::{Person, Place},
    trial::Verdict,
};
use crate::time::Time;

/// After a rotation that nobody committed to.
const ROTATION_RETRY_MS: u64 = 60_000;

/// Proposed next.
enum Wanted {
    Remove(Leaf),
    Add(UserId),
}

impl Encryption {
    /// Brings everything up to date that follows from the last input and from
    /// `now`.
    pub(crate) fn drive(&mut self, now: Time) {
        self.settle_trial(now);
        self.strand_silent(now);
        if self.group.is_some() && !self.alive() && self.people.values().any(|p| p.connected()) {
            self.bury(None, now);
        }
        self.end_round(now);
        self.propose(now);
        self.elect(now);
    }

    /// When [`drive`](Self::drive) must be called at the latest.
    pub(crate) fn next_timeout(&self) -> Option<Time> {
        let group = self.group.as_ref()?;
        if !self.alive() {
            return None;
        }
        let silent = self.people.values().filter(|person| person.works());
        let silent = silent.filter_map(|p| p.behind_since);
        let silent = silent.min().map(|at| at.plus_ms(self.limits.answer_ms));
        if let Some(trial) = &group.trial {
            let decided = Some(trial.decided_at(&self.limits));
            return decided.into_iter().chain(silent).min();
        }
        let round = group
            .election
            .round
            .map(|at| at.plus_ms(self.limits.patience_ms));
        let room = group.open.len() < self.limits.open_proposals_max;
        let removals = group
            .leaves
            .iter()
            .filter(|(leaf, _)| room && !group.is_leaving(**leaf))
            .filter_map(|(leaf, user)| self.removal_at(*leaf, *user));
        let batch = self.batch_at(group).filter(|_| group.open.is_empty());
        let rotation = (!group.rotation_wanted).then_some(group.rotate_at);
        removals
            .chain(batch)
            .chain(round)
            .chain(rotation)
            .chain(silent)
            .min()
    }

    /// Members that say nothing to a commit don't follow the group any more.
    fn strand_silent(&mut self, now: Time) {
        let answer_ms = self.limits.answer_ms;
        let silent = |(user, person): (&UserId, &Person)| {
            let since = person.behind_since.filter(|_| person.works())?;
            (now >= since.plus_ms(answer_ms)).then_some(*user)
        };
        let silent: Vec<UserId> = self.people.iter().filter_map(silent).collect();
        for user in silent {
            self.strand(user, now);
        }
    }

    /// Decides about the last commit, if that can be done now.
    pub(super) fn settle_trial(&mut self, now: Time) {
        let Some(trial) = self.group.as_ref().and_then(|g| g.trial.as_ref()) else {
            return;
        };
        let mut witnesses: BTreeSet<UserId> = self.working().collect();
        witnesses.remove(&trial.committer);
        let verdict = match trial.verdict(&witnesses, &self.limits, now) {
            Verdict::Void if self.is_doubtful(&witnesses) => Verdict::Stands,
            verdict => verdict,
        };
        match verdict {
            Verdict::Open => {}
            Verdict::Void => self.roll_back(now),
            Verdict::Stands => {
                let Some(group) = &mut self.group else {
                    return;
                };
                group.election.begin_epoch();
                let failed = group.trial.take().map(|trial| trial.failed);
                for user in failed.into_iter().flatten() {
                    if self.people.get(&user).is_some_and(|p| p.leaf().is_some()) {
                        self.strand(user, now);
                    }
                }
            }
        }
    }

    /// Whether a single member accuses a second commit of the same epoch: then
    /// it is the one that does not work, or does not want to.
    fn is_doubtful(&mut self, witnesses: &BTreeSet<UserId>) -> bool {
        let Some(group) = &mut self.group else {
            return false;
        };
        let Some(trial) = &group.trial else {
            return false;
        };
        let accusers: Vec<UserId> = trial.failed.intersection(witnesses).copied().collect();
        let mut again = true;
        for user in &accusers {
            again &= group.election.accuse(*user);
        }
        again && accusers.len() == 1
    }

    /// The last commit is void: everybody goes back, its committer is barred, and
    /// whoever came in by it comes in anew.
    fn roll_back(&mut self, now: Time) {
        let told: Vec<UserId> = self.working().collect();
        let gone_back = self.group.as_mut().map(Group::go_back);
        let Some(Some(trial)) = gone_back else {
            self.bury(None, now);
            return;
        };
        let Some(group) = &mut self.group else {
            return;
        };
        if !trial.external {
            group.election.bar(trial.committer);
        }
        let message = group::message(MlsKind::MlsRolledBack, group.position(), Default::default());
        self.tell(told, Body::Mls(message));
        let Some(group) = &self.group else {
            return;
        };
        // An old leaf may have had the place of the one that never was.
        let came = |user: &UserId| {
            trial.added.contains(user) || (trial.external && trial.committer == *user)
        };
        let homeless: Vec<UserId> = self
            .people
            .iter()
            .filter(|(user, person)| match person.leaf() {
                Some(leaf) => came(user) || group.leaves.get(&leaf) != Some(user),
                None => false,
            })
            .map(|(user, _)| *user)
            .collect();
        for person in self.people.values_mut() {
            person.behind_since = None;
        }
        for user in &homeless {
            if let Some(person) = self.people.get_mut(user) {
                person.send_out(now);
            }
        }
        for user in homeless {
            if !self.people.get(&user).is_some_and(|p| p.connected()) {
                continue;
            }
            if trial.external && user == trial.committer {
                self.fail_entry(user, now);
            } else {
                self.show_in(user, now);
            }
        }
    }

    fn end_round(&mut self, now: Time) {
        let patience_ms = self.limits.patience_ms;
        if let Some(group) = &mut self.group
            && let Some(since) = group.election.round
            && (now >= since.plus_ms(patience_ms))
        {
            group.election.give_up_round();
        }
    }

    /// When this leaf has to go; `None`: not for what is known now.
    fn removal_at(&self, leaf: Leaf, user: UserId) -> Option<Time> {
        let Some(person) = self.people.get(&user) else {
            // Left or removed.
            return Some(Time(0));
        };
        match (&person.place, person.away_since) {
            (Place::Inside { leaf: followed }, _) if *followed != leaf => Some(Time(0)),
            (_, Some(since)) => Some(since.plus_ms(self.limits.removal_ms)),
            (Place::Inside { .. }, None) => None,
            // It goes with the new one's coming, or after the same while.
            (Place::Outside { since, .. }, None) => Some(since.plus_ms(self.limits.removal_ms)),
            (Place::Waiting { .. } | Place::Proposed, None) => None,
        }
    }

    /// Those whose key package can be proposed now.
    fn addable(&self, group: &Group) -> impl Iterator<Item = (UserId, Time)> {
        let waiting = self.people.iter().filter_map(|(user, person)| {
            let Place::Waiting { since, .. } = &person.place else {
                return None;
            };
            Some((*user, *since))
        });
        waiting.filter(|(user, _)| !group.is_adding(*user))
    }

    /// When the first batch of them is complete.
    fn batch_at(&self, group: &Group) -> Option<Time> {
        let first = self.addable(group).map(|(_, since)| since).min()?;
        Some(first.plus_ms(self.limits.batch_ms))
    }

    fn wanted(&self, now: Time) -> Vec<Wanted> {
        let Some(group) = &self.group else {
            return Vec::new();
        };
        if group.trial.is_some() || !self.alive() {
            return Vec::new();
        }
        let mut wanted: Vec<Wanted> = group
            .leaves
            .iter()
            .filter(|(leaf, _)| !group.is_leaving(**leaf))
            .filter(|(leaf, user)| self.removal_at(**leaf, **user).is_some_and(|at| at <= now))
            .map(|(leaf, _)| Wanted::Remove(*leaf))
            .collect();
        // What is proposed while somebody commits makes it commit again: for a
        // removal that is worth it.
        let calm = group.open.is_empty() || group.election.round.is_none();
        let complete = calm && self.batch_at(group).is_some_and(|at| at <= now);
        if complete || !wanted.is_empty() {
            for (user, _) in self.addable(group) {
                let old = group.old_leaves(user, None).into_iter();
                let old = old.filter(|leaf| !group.is_leaving(*leaf));
                wanted.extend(old.map(Wanted::Remove));
                wanted.push(Wanted::Add(user));
            }
        }
        wanted
    }

    fn propose(&mut self, now: Time) {
        for wanted in self.wanted(now) {
            let Some(group) = &mut self.group else {
                return;
            };
            if group.open.len() >= self.limits.open_proposals_max {
                return;
            }
            let message = match wanted {
                Wanted::Remove(leaf) => {
                    let Ok(data) = group.keeper.propose_remove(leaf) else {
                        // It stands otherwise than we thought: nothing to save.
                        return self.bury(None, now);
                    };
                    group.proposed(Open::Remove(leaf), data, &self.limits)
                }
                Wanted::Add(user) => match self.propose_add(user, now) {
                    Some(message) => message,
                    None => continue,
                },
            };
            self.propose_to_all(message, now);
        }
    }

    fn propose_add(&mut self, user: UserId, now: Time) -> Option<Mls> {
        let group = self.group.as_mut()?;
        let person = self.people.get_mut(&user)?;
        // Its old leaf must go with it, and there was no room to say so.
        let mut old = group.old_leaves(user, None).into_iter();
        if old.any(|leaf| !group.is_leaving(leaf)) {
            return None;
        }
        let Place::Waiting { key_package, .. } = &person.place else {
            return None;
        };
        let Ok(data) = group.keeper.propose_add(key_package) else {
            self.fail_entry(user, now);
            return None;
        };
        person.place = Place::Proposed;
        Some(group.proposed(Open::Add(user, person.participant), data, &self.limits))
    }

    fn propose_to_all(&mut self, message: Mls, now: Time) {
        if let Some(group) = &mut self.group {
            // Whoever commits now must cover this too: it is asked anew.
            group.election.round = None;
            if let Some(Open::Remove(leaf)) = group.open.last()
                && let Some(user) = group.leaves.get(leaf)
                && let Some(person) = self.people.get_mut(user)
                && person.leaf() == Some(*leaf)
            {
                person.send_out(now);
            }
        }
        let users = self.working().collect();
        self.tell(users, Body::Mls(message));
    }

    fn elect(&mut self, now: Time) {
        let Some(group) = &mut self.group else {
            return;
        };
        if now >= group.rotate_at {
            group.rotation_wanted = true;
        }
        let idle = group.open.is_empty() && !group.rotation_wanted;
        if idle || group.trial.is_some() || group.election.round.is_some() {
            return;
        }
        let position = group.position();
        if group.election.ask(self.people.iter(), now).is_empty() {
            group.election.sweep();
            if group.election.sweeps >= self.limits.sweeps_max {
                return self.give_up(now);
            }
        }
        let asked = match group.election.round {
            Some(_) => group.election.asked().to_vec(),
            None => group.election.ask(self.people.iter(), now).to_vec(),
        };
        for (rank, user) in (0..).zip(asked) {
            let message = Mls {
                rank,
                ..group::message(MlsKind::MlsCommitWanted, position, Default::default())
            };
            self.tell(vec![user], Body::Mls(message));
        }
    }

    /// Nobody commits, however often all are asked.
    fn give_up(&mut self, now: Time) {
        let Some(group) = &mut self.group else {
            return;
        };
        if !group.open.is_empty() {
            return self.bury(None, now);
        }
        // For fresh keys alone no group is given up.
        group.election.begin_epoch();
        group.rotation_wanted = false;
        group.rotate_at = now.plus_ms(ROTATION_RETRY_MS);
    }
}
