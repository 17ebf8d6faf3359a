//! Who is loud: what media handlers report, what clients are told (not too
//! often), and who has spoken long enough to be shown.

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
        changed
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

    /// Brings those who may be shown up to date; true when they changed.
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
        !same
    }

    /// When something is due without any further report.
    pub(crate) fn next_timeout(&self, interval_ms: u64, promotion_ms: u64) -> Option<Time> {
        let push = (self.current != self.told).then(|| self.told_at.plus_ms(interval_ms));
        let promotion = self
            .since
            .iter()
            .filter(|(user, _)| !self.promoted.contains(user))
            .map(|(_, since)| since.plus_ms(promotion_ms))
            .min();
        push.into_iter().chain(promotion).min()
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
    }
}
