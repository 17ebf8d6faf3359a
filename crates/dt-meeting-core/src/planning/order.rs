//! Who goes before whom.

use std::collections::{HashMap, hash_map::Entry};

use dt_ids::UserId;
use dt_wire::v1::StreamType;

use super::{Candidate, Stage, View};
use crate::layout::Layout;

/// Why somebody is shown: smaller goes first. Who is pinned or in the spotlight
/// comes with one picture; further ones of theirs count as anybody's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Class {
    Pinned(usize),
    Spotlight(usize),
    Screen,
    /// Has spoken long enough; in the large tile, has the floor.
    Speaker,
    Other,
    /// Behind everybody with a picture, when video is preferred.
    NoPicture,
    /// In the large tile oneself comes last.
    Myself,
}

/// The class of a picture in tiles of a size; `first` says whether it is the one
/// with which its person is shown if pinned or in the spotlight.
fn class(layout: &Layout, stage: &Stage, c: &Candidate, first: bool) -> Class {
    if let Some(place) = layout.pinned.get(&c.user).filter(|_| first) {
        return Class::Pinned(*place);
    }
    if let Some(place) = stage.spotlight.get(&c.user).filter(|_| first) {
        return Class::Spotlight(*place);
    }
    if layout.prefer_video && c.muted {
        Class::NoPicture
    } else if c.kind == StreamType::VideoScreen {
        Class::Screen
    } else if c.promoted_rank.is_some() {
        Class::Speaker
    } else {
        Class::Other
    }
}

impl View<'_> {
    /// The pictures that may be shown.
    pub(super) fn pictures(&self, layout: &Layout) -> Vec<usize> {
        let numbers = 0..self.stage.candidates.len();
        let eligible = numbers.filter(|number| {
            let c = self.candidate(*number);
            !c.is_audio()
                && !self.taken[*number]
                && (layout.include_self || c.user != self.me)
                && !layout.excluded.contains(&c.user)
                && self.codecs.knows(c.codec)
        });
        eligible.collect()
    }

    /// Whose picture is large: who is pinned, else in the spotlight, else a
    /// screen, else who has the floor; else whoever is large already, or spoke
    /// last.
    pub(super) fn large(&self, layout: &Layout, eligible: &[usize]) -> Option<usize> {
        let slot = layout.large();
        let key = |number: usize| {
            let c = self.candidate(number);
            let class = match class(layout, self.stage, c, true) {
                Class::Pinned(place) => Class::Pinned(place),
                _ if c.user == self.me => Class::Myself,
                Class::Speaker | Class::Other if self.stage.floor == Some(c.user) => Class::Speaker,
                Class::Speaker => Class::Other,
                class => class,
            };
            // Of one person a screen says more than a face.
            let face = c.kind != StreamType::VideoScreen;
            let elsewhere = self.slots[number] != slot;
            (class, face, elsewhere, silence(c), number)
        };
        eligible.iter().copied().min_by_key(|number| key(*number))
    }

    /// The pictures of as many tiles of one size.
    pub(super) fn tiles(&self, layout: &Layout, eligible: &[usize], count: usize) -> Vec<usize> {
        let shown =
            |number: usize| self.slots[number].is_some_and(|s| layout.tiles.place(s).is_some());
        let first = self.first_pictures(layout, eligible, shown);
        let key = |number: usize| {
            let c = self.candidate(number);
            let first = first.get(&c.user) == Some(&number);
            let class = class(layout, self.stage, c, first);
            let rank = c.promoted_rank.unwrap_or(usize::MAX);
            (class, !shown(number), rank, silence(c))
        };
        choose(eligible.iter().copied(), count, key)
    }

    /// With which picture each of those who are pinned or in the spotlight is
    /// shown: one that is on, the face, the one that is visible.
    fn first_pictures(
        &self,
        layout: &Layout,
        eligible: &[usize],
        shown: impl Fn(usize) -> bool,
    ) -> HashMap<UserId, usize> {
        let rank = |number: usize| {
            let c = self.candidate(number);
            (c.muted, c.kind == StreamType::VideoScreen, !shown(number))
        };
        let mut first = HashMap::new();
        for &number in eligible {
            let user = self.candidate(number).user;
            if !layout.pinned.contains_key(&user) && !self.stage.spotlight.contains_key(&user) {
                continue;
            }
            match first.entry(user) {
                Entry::Vacant(entry) => {
                    entry.insert(number);
                }
                Entry::Occupied(mut entry) if rank(number) < rank(*entry.get()) => {
                    entry.insert(number);
                }
                Entry::Occupied(_) => {}
            }
        }
        first
    }

    /// The voices of as many audio slots: whoever speaks now, and whoever is
    /// heard already stays. A voice that is louder than another one takes no slot
    /// from it, for in a slot that changes hands a word is lost.
    pub(super) fn voices(&self, count: usize) -> Vec<usize> {
        let numbers = 0..self.stage.candidates.len();
        let eligible = numbers.filter(|number| {
            let c = self.candidate(*number);
            c.is_audio() && !self.taken[*number] && c.user != self.me && self.codecs.knows(c.codec)
        });
        let key = |number: usize| {
            let c = self.candidate(number);
            let unheard = self.slots[number].is_none();
            (c.muted, c.rank.is_none(), unheard, c.rank)
        };
        choose(eligible, count, key)
    }
}

/// Whoever spoke last is the smallest.
fn silence(c: &Candidate) -> u64 {
    u64::MAX - c.last_spoke.map_or(0, |at| at.0)
}

/// The `count` with the smallest keys, in the order of their keys; those with
/// the same key in the order of their people.
fn choose<K: Ord>(
    eligible: impl Iterator<Item = usize>,
    count: usize,
    key: impl Fn(usize) -> K,
) -> Vec<usize> {
    let mut keyed: Vec<(K, usize)> = eligible.map(|number| (key(number), number)).collect();
    if keyed.len() > count {
        keyed.select_nth_unstable(count);
        keyed.truncate(count);
    }
    keyed.sort_unstable();
    keyed.into_iter().map(|(_, number)| number).collect()
}
