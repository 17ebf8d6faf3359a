//! Who commits: the one who did last time, while that goes well, and two who
//! stand by.

use std::collections::{BTreeMap, BTreeSet};

use dt_ids::UserId;

use super::people::Person;
use crate::time::Time;

/// Members that are asked at once.
const ASKED_MAX: usize = 3;
/// For whom nothing was measured yet: between a near and a far client.
const DELAY_DEFAULT_MS: u64 = 150;

/// The elections of one group. All but the committer is forgotten with an epoch.
#[derive(Debug, Default)]
pub(super) struct Election {
    /// The member that committed last.
    pub(super) committer: Option<UserId>,
    /// Those who are asked now, and since when.
    pub(super) round: Option<Time>,
    asked: Vec<UserId>,
    /// Asked before, without a commit.
    in_vain: BTreeSet<UserId>,
    /// Those whose commit was voided: they may not commit in this epoch.
    barred: BTreeSet<UserId>,
    /// How often everybody was asked.
    pub(super) sweeps: u32,
    /// Commits that somebody alone could not process.
    accusations: BTreeMap<UserId, u32>,
}

impl Election {
    /// Names those who are asked now, first choice first; empty when nobody is
    /// left to ask in this sweep.
    pub(super) fn ask<'a>(
        &mut self,
        people: impl Iterator<Item = (&'a UserId, &'a Person)>,
        now: Time,
    ) -> &[UserId] {
        let mut candidates: Vec<_> = people
            .filter(|(user, person)| {
                person.works() && !self.barred.contains(user) && !self.in_vain.contains(user)
            })
            .map(|(user, person)| {
                let other = self.committer != Some(*user);
                let delay_ms = person.delay_ms.unwrap_or(DELAY_DEFAULT_MS);
                // A lower number joined earlier.
                (other, delay_ms, *user)
            })
            .collect();
        candidates.sort_unstable();
        self.asked = candidates
            .into_iter()
            .take(ASKED_MAX)
            .map(|(_, _, user)| user)
            .collect();
        self.round = (!self.asked.is_empty()).then_some(now);
        &self.asked
    }

    /// Those who were asked did not commit.
    pub(super) fn give_up_round(&mut self) {
        self.in_vain.extend(self.asked.drain(..));
        self.round = None;
    }

    /// Everybody may be asked again.
    pub(super) fn sweep(&mut self) {
        self.sweeps += 1;
        self.in_vain.clear();
        self.barred.clear();
        self.round = None;
    }

    pub(super) fn bar(&mut self, committer: UserId) {
        self.barred.insert(committer);
        self.round = None;
    }

    pub(super) fn is_barred(&self, user: UserId) -> bool {
        self.barred.contains(&user)
    }

    /// Counts a commit that this member could not process; true when it is not
    /// the first of the epoch.
    pub(super) fn accuse(&mut self, user: UserId) -> bool {
        let count = self.accusations.entry(user).or_default();
        *count += 1;
        *count > 1
    }

    /// An epoch began for good.
    pub(super) fn begin_epoch(&mut self) {
        let committer = self.committer;
        *self = Self {
            committer,
            ..Self::default()
        };
    }

    pub(super) fn asked(&self) -> &[UserId] {
        &self.asked
    }
}

#[cfg(test)]
mod tests {
    use dt_ids::ParticipantId;

    use super::*;
    use crate::encryption::people::Place;

    fn people(delays: &[Option<u64>]) -> BTreeMap<UserId, Person> {
        let person = |(number, delay): (usize, &Option<u64>)| {
            let mut person = Person::new(ParticipantId::from_bytes([0; 16]), Time(0));
            let leaf = u32::try_from(number).unwrap();
            person.place = Place::Inside { leaf };
            person.delay_ms = *delay;
            (UserId(u64::from(leaf) + 1), person)
        };
        delays.iter().enumerate().map(person).collect()
    }

    fn asked(election: &mut Election, people: &BTreeMap<UserId, Person>) -> Vec<u64> {
        let asked = election.ask(people.iter(), Time(0));
        asked.iter().map(|user| user.0).collect()
    }

    #[test]
    fn the_one_who_committed_last_is_asked_first_then_who_answers_fast() {
        let people = people(&[None, Some(300), Some(20), Some(90), None]);
        let mut election = Election::default();
        assert_eq!(asked(&mut election, &people), [3, 4, 1]);
        election.committer = Some(UserId(2));
        assert_eq!(asked(&mut election, &people), [2, 3, 4]);
    }

    #[test]
    fn who_does_not_commit_or_was_voided_is_asked_last_of_all() {
        let mut people = people(&[Some(1), Some(2), Some(3), Some(4), Some(5)]);
        people.get_mut(&UserId(5)).unwrap().away_since = Some(Time(0));
        let mut election = Election::default();
        election.bar(UserId(1));
        assert_eq!(asked(&mut election, &people), [2, 3, 4]);
        election.give_up_round();
        assert!(asked(&mut election, &people).is_empty());
        election.sweep();
        assert_eq!(asked(&mut election, &people), [1, 2, 3]);
    }
}
