//! Which streams get the slots of a layout.
//!
//! Two steps, so that nothing is shuffled needlessly. *Choosing* orders the
//! candidates (pinned, screen shares, active speakers, others) and takes as many
//! as there are slots; among equals whoever is visible already stays. *Placing*
//! leaves everybody who was chosen before where they are, and gives the free
//! slots to newcomers.
//!
//! Every change of the streams plans every subscriber, so candidates are
//! prepared once a round ([`Stage`]) and a plan works on their numbers.

use std::collections::{BTreeMap, HashMap};

use dt_ids::{Slot, StreamId, UserId};
use dt_wire::v1::StreamType;

use crate::{
    layout::{Layout, Slots},
    time::Time,
};

/// A published stream as layouts see it.
#[derive(Debug, Clone)]
pub(crate) struct Candidate {
    pub(crate) stream: StreamId,
    pub(crate) user: UserId,
    pub(crate) kind: StreamType,
    pub(crate) muted: bool,
    /// Place among all who speak now.
    pub(crate) rank: Option<usize>,
    /// Place among those who have spoken long enough to be shown.
    pub(crate) promoted_rank: Option<usize>,
    pub(crate) last_spoke: Option<Time>,
}

impl Candidate {
    fn is_audio(&self) -> bool {
        self.kind == StreamType::Audio
    }
}

/// All candidates of a round of planning, in the order of their people.
#[derive(Debug)]
pub(crate) struct Stage {
    candidates: Vec<Candidate>,
    numbers: HashMap<StreamId, usize>,
}

impl Stage {
    pub(crate) fn new(mut candidates: Vec<Candidate>) -> Self {
        candidates.sort_by_key(|c| (c.user, c.stream));
        let numbers = candidates.iter().map(|c| c.stream).zip(0..).collect();
        Self {
            candidates,
            numbers,
        }
    }

    pub(crate) fn get(&self, stream: StreamId) -> Option<&Candidate> {
        self.numbers
            .get(&stream)
            .map(|number| &self.candidates[*number])
    }

    pub(crate) fn is_video(&self, stream: StreamId) -> bool {
        self.get(stream).is_some_and(|c| !c.is_audio())
    }
}

/// One subscriber in a round of planning.
#[derive(Debug)]
pub(crate) struct View<'a> {
    stage: &'a Stage,
    me: UserId,
    /// By candidate: the slot it has now.
    slots: Vec<Option<Slot>>,
    /// By candidate: subscribed by name, so that no layout shows it as well.
    taken: Vec<bool>,
    /// Who last had each slot of the layout.
    tenants: &'a BTreeMap<Slot, (UserId, StreamType)>,
}

/// Order of choosing: smaller goes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Class {
    Pinned(usize),
    Screen,
    Speaker,
    Other,
    /// Behind everybody with a picture, when video is preferred.
    NoPicture,
}

impl<'a> View<'a> {
    pub(crate) fn new(
        stage: &'a Stage,
        me: UserId,
        assigned: &BTreeMap<Slot, StreamId>,
        by_name: impl Iterator<Item = StreamId>,
        tenants: &'a BTreeMap<Slot, (UserId, StreamType)>,
    ) -> Self {
        let mut slots = vec![None; stage.candidates.len()];
        for (slot, stream) in assigned {
            if let Some(number) = stage.numbers.get(stream) {
                slots[*number] = Some(*slot);
            }
        }
        let mut taken = vec![false; stage.candidates.len()];
        for stream in by_name {
            if let Some(number) = stage.numbers.get(&stream) {
                taken[*number] = true;
            }
        }
        Self {
            stage,
            me,
            slots,
            taken,
            tenants,
        }
    }

    /// Which stream gets which tile. At most `tiles_max` tiles are used.
    pub(crate) fn videos(&self, layout: &Layout, tiles_max: usize) -> Vec<(Slot, StreamId)> {
        let tiles = tiles_max.min(layout.tiles.len());
        let visible = |number: usize| {
            self.slots[number].is_some_and(|s| layout.tiles.place(s).is_some_and(|p| p < tiles))
        };
        let class = |c: &Candidate| match layout.pinned.get(&c.user) {
            Some(place) => Class::Pinned(*place),
            None if layout.prefer_video && c.muted => Class::NoPicture,
            None if c.kind == StreamType::VideoScreen => Class::Screen,
            None if c.promoted_rank.is_some() => Class::Speaker,
            None => Class::Other,
        };
        let eligible = |number: &usize| {
            let c = &self.stage.candidates[*number];
            !c.is_audio()
                && !self.taken[*number]
                && (layout.include_self || c.user != self.me)
                && !layout.excluded.contains(&c.user)
        };
        let key = |number: usize| {
            let c = &self.stage.candidates[number];
            let silent_ms = u64::MAX - c.last_spoke.map_or(0, |at| at.0);
            (class(c), !visible(number), c.promoted_rank, silent_ms)
        };
        let chosen = self.choose(eligible, tiles, key);
        self.place(&layout.tiles, tiles, &chosen)
    }

    /// Which stream gets which audio slot. Never one's own.
    pub(crate) fn audio(&self, layout: &Layout) -> Vec<(Slot, StreamId)> {
        let eligible = |number: &usize| {
            let c = &self.stage.candidates[*number];
            c.is_audio() && !self.taken[*number] && c.user != self.me
        };
        let key = |number: usize| {
            let c = &self.stage.candidates[number];
            (
                c.muted,
                c.rank.unwrap_or(usize::MAX),
                self.slots[number].is_none(),
            )
        };
        let chosen = self.choose(eligible, layout.audio.len(), key);
        self.place(&layout.audio, layout.audio.len(), &chosen)
    }

    /// The `count` candidates with the smallest keys, in the order of their
    /// keys; those with the same key in the order of their people.
    fn choose<K: Ord>(
        &self,
        eligible: impl Fn(&usize) -> bool,
        count: usize,
        key: impl Fn(usize) -> K,
    ) -> Vec<usize> {
        let numbers = (0..self.stage.candidates.len()).filter(eligible);
        let mut keyed: Vec<(K, usize)> = numbers.map(|number| (key(number), number)).collect();
        if keyed.len() > count {
            keyed.select_nth_unstable(count);
            keyed.truncate(count);
        }
        keyed.sort_unstable();
        keyed.into_iter().map(|(_, number)| number).collect()
    }

    /// Puts the chosen into the first `usable` slots.
    fn place(&self, slots: &Slots, usable: usize, chosen: &[usize]) -> Vec<(Slot, StreamId)> {
        let mut free = vec![true; usable];
        let mut placed = Vec::with_capacity(chosen.len());
        let mut newcomers = Vec::new();
        for &number in chosen {
            let kept = self.slots[number].and_then(|slot| slots.place(slot));
            match kept.filter(|place| free.get(*place) == Some(&true)) {
                Some(place) => {
                    free[place] = false;
                    placed.push((slots.at(place), self.stage.candidates[number].stream));
                }
                None => newcomers.push(number),
            }
        }
        for number in newcomers {
            let c = &self.stage.candidates[number];
            // Who comes back (a camera chosen anew, say) gets the old place.
            let theirs = |place: &usize| {
                free[*place] && self.tenants.get(&slots.at(*place)) == Some(&(c.user, c.kind))
            };
            let place = (0..usable)
                .find(theirs)
                .or_else(|| free.iter().position(|free| *free));
            let Some(place) = place else {
                break;
            };
            free[place] = false;
            placed.push((slots.at(place), c.stream));
        }
        placed
    }
}
