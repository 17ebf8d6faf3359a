//! Who is loud: what media handlers report, what clients are told (not too
//! often), who has spoken long enough to be shown, and who has the floor.
//!
//! One person has the *floor*: whoever took it last by being louder than the one
//! who had it, without a pause, for as long as it takes to be shown. Views that
//! show one person large show that one. It is not lost by falling silent.

use std::collections::BTreeMap;

use dt_ids::{HandlerId, UserId};

use crate::time::Time;

/// Active speakers at most, as media handlers pick them.
pub const SPEAKERS_MAX: usize = 5;

#[derive(Debug, Default)]
pub(crate) struct Speakers {
    /// Loudest first, as each handler says. Bounded by [`SPEAKERS_MAX`] a handler.
    reported: BTreeMap<HandlerId, Vec<UserId>>,
    /// All handlers together, loudest first.
    current: Vec<UserId>,
    /// Since when each of `current` speaks without a pause.
    since: BTreeMap<UserId, Time>,
    /// What clients were told, and when.
    told: Vec<UserId>,
    told_at: Time,
    /// Those of `current` that have spoken long enough to be shown.
    promoted: Vec<UserId>,
    /// When each one last was promoted; whoever spoke last is shown before
    /// others. Only people in the meeting.
    last_spoke: BTreeMap<UserId, Time>,
    floor: Option<UserId>,
    /// Since when each of `current` is louder than whoever has the floor.
    ahead: BTreeMap<UserId, Time>,
}

impl Speakers {
    /// A handler's whole list, already limited to people who can be heard.
    /// True when it changes who speaks, or their order.
    pub(crate) fn report(&mut self, handler: HandlerId, mut users: Vec<UserId>, now: Time) -> bool {
        users.truncate(SPEAKERS_MAX);
        if users.is_empty() {
            self.reported.remove(&handler);
        } else {
            self.reported.insert(handler, users);
        }
        self.merge(now)
    }

    /// Nobody hears this one now (muted, gone).
    /// The floor stays with them until somebody takes it.
    pub(crate) fn silence(&mut self, user: UserId, now: Time) {
        for users in self.reported.values_mut() {
            users.retain(|u| *u != user);
        }
        self.reported.retain(|_, users| !users.is_empty());
        self.merge(now);
    }

    /// This one has left.
    pub(crate) fn forget(&mut self, user: UserId, now: Time) {
        self.silence(user, now);
        self.promoted.retain(|u| *u != user);
        self.last_spoke.remove(&user);
        if self.floor == Some(user) {
            self.floor = None;
            self.compare(now);
        }
    }

    /// The loudest of each handler, then the second of each, and so on.
    fn merge(&mut self, now: Time) -> bool {
        let longest = self.reported.values().map(Vec::len).max().unwrap_or(0);
        let by_rank = (0..longest).flat_map(|rank| {
            self.reported
                .values()
                .filter_map(move |users| users.get(rank).copied())
        });
        let mut current = Vec::with_capacity(SPEAKERS_MAX);
        for user in by_rank {
            if !current.contains(&user) && current.len() < SPEAKERS_MAX {
                current.push(user);
            }
        }
        self.since.retain(|user, _| current.contains(user));
        for user in &current {
            self.since.entry(*user).or_insert(now);
        }
        let changed = self.current != current;
        self.current = current;
        self.compare(now);
        changed
    }

    /// Who is ahead of whoever has the floor.
    fn compare(&mut self, now: Time) {
        let behind = self.current.iter().position(|u| Some(*u) == self.floor);
        let ahead = &self.current[..behind.unwrap_or(self.current.len())];
        self.ahead.retain(|user, _| ahead.contains(user));
        for user in ahead {
            self.ahead.entry(*user).or_insert(now);
        }
    }

    /// Gives the floor to the loudest of those who took it; true when somebody
    /// did.
    fn pass_floor(&mut self, now: Time, after_ms: u64) -> bool {
        let took = |user: &&UserId| {
            let since = self.ahead.get(user);
            since.is_some_and(|since| now.ms_since(*since) >= after_ms)
        };
        let Some(user) = self.current.iter().find(took).copied() else {
            return false;
        };
        self.floor = Some(user);
        self.compare(now);
        true
    }

    /// What everybody must be told now, if anything.
    pub(crate) fn take_push(&mut self, now: Time, interval_ms: u64) -> Option<Vec<UserId>> {
        if self.current == self.told || now < self.told_at.plus_ms(interval_ms) {
            return None;
        }
        self.told.clone_from(&self.current);
        self.told_at = now;
        Some(self.told.clone())
    }

    /// Brings those who may be shown, and who has the floor, up to date; true when
    /// they changed.
    pub(crate) fn promote(&mut self, now: Time, after_ms: u64) -> bool {
        let long_enough = |user: &&UserId| {
            self.since
                .get(user)
                .is_some_and(|since| now.ms_since(*since) >= after_ms)
        };
        let promoted: Vec<UserId> = self.current.iter().filter(long_enough).copied().collect();
        for user in self.promoted.iter().chain(&promoted) {
            // Those who just fell silent were heard until now.
            self.last_spoke.insert(*user, now);
        }
        // A change of order alone moves no tile.
        let same = promoted.len() == self.promoted.len()
            && promoted.iter().all(|user| self.promoted.contains(user));
        if !same {
            self.promoted = promoted;
        }
        let passed = self.pass_floor(now, after_ms);
        !same || passed
    }

    /// When something is due without any further report.
    pub(crate) fn next_timeout(&self, interval_ms: u64, promotion_ms: u64) -> Option<Time> {
        let push = (self.current != self.told).then(|| self.told_at.plus_ms(interval_ms));
        let promotion = self
            .since
            .iter()
            .filter(|(user, _)| !self.promoted.contains(user))
            .map(|(_, since)| since);
        let steps = promotion.chain(self.ahead.values());
        let step = steps.map(|since| since.plus_ms(promotion_ms)).min();
        push.into_iter().chain(step).min()
    }

    /// Loudest first, as clients were told last.
    pub(crate) fn told(&self) -> &[UserId] {
        &self.told
    }

    /// Place among all who speak now, 0 the loudest.
    pub(crate) fn rank(&self, user: UserId) -> Option<usize> {
        self.current.iter().position(|u| *u == user)
    }

    /// Place among those who have spoken long enough.
    pub(crate) fn promoted_rank(&self, user: UserId) -> Option<usize> {
        self.promoted.iter().position(|u| *u == user)
    }

    pub(crate) fn floor(&self) -> Option<UserId> {
        self.floor
    }

    pub(crate) fn last_spoke(&self, user: UserId) -> Option<Time> {
        self.last_spoke.get(&user).copied()
    }

    #[cfg(test)]
    pub(crate) fn check_bounds(&self, present: impl Fn(UserId) -> bool) {
        assert!(self.current.len() <= SPEAKERS_MAX);
        assert!(self.promoted.iter().all(|u| present(*u)));
        assert!(self.current.iter().all(|u| present(*u)));
        assert!(self.last_spoke.keys().all(|u| present(*u)));
        assert_eq!(self.since.len(), self.current.len());
        assert!(self.floor.is_none_or(&present));
        assert!(self.ahead.keys().all(|u| self.current.contains(u)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AFTER_MS: u64 = 1000;

    struct Room(Speakers, Time, HandlerId);

    impl Room {
        fn new() -> Self {
            let at = Time(1_000_000);
            Self(Speakers::default(), at, HandlerId::from_bytes([1; 16]))
        }

        /// These speak, loudest first, for so long.
        fn hear(&mut self, users: &[u64], ms: u64) {
            let users = users.iter().copied().map(UserId).collect();
            self.0.report(self.2, users, self.1);
            self.0.promote(self.1, AFTER_MS);
            self.1 = self.1.plus_ms(ms);
            self.0.promote(self.1, AFTER_MS);
        }

        fn floor(&self) -> Option<u64> {
            self.0.floor().map(|user| user.0)
        }
    }

    #[test]
    fn who_speaks_long_enough_gets_the_floor_and_keeps_it_in_silence() {
        let mut room = Room::new();
        room.hear(&[1], 999);
        assert_eq!(room.floor(), None);
        room.hear(&[1], 1);
        assert_eq!(room.floor(), Some(1));
        room.hear(&[], 60_000);
        assert_eq!(room.floor(), Some(1));
    }

    #[test]
    fn a_cough_and_one_who_is_less_loud_do_not_take_the_floor() {
        let mut room = Room::new();
        room.hear(&[1], 5000);
        for _ in 0..20 {
            room.hear(&[2, 1], 900);
            room.hear(&[1, 2], 300);
        }
        room.hear(&[1, 3], 60_000);
        assert_eq!(room.floor(), Some(1));
        room.hear(&[3, 1], 1000);
        assert_eq!(room.floor(), Some(3), "though the other still speaks");
    }

    #[test]
    fn a_timer_is_due_when_the_floor_may_be_taken() {
        let mut room = Room::new();
        room.hear(&[1], 5000);
        room.hear(&[1, 2], 3000);
        room.0.take_push(room.1, 0);
        room.hear(&[2, 1], 0);
        room.0.take_push(room.1, 0);
        let due = room.0.next_timeout(0, AFTER_MS);
        assert_eq!(due, Some(room.1.plus_ms(AFTER_MS)));
    }

    #[test]
    fn the_floor_of_somebody_who_leaves_is_free() {
        let mut room = Room::new();
        room.hear(&[1], 5000);
        room.0.forget(UserId(1), room.1);
        assert_eq!(room.floor(), None);
        room.hear(&[2], 1000);
        assert_eq!(room.floor(), Some(2));
    }
}
