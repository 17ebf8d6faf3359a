//! Which streams get the slots of a layout.
//!
//! Two steps, so that nothing is shuffled needlessly. *Choosing* (`order`) sorts
//! the candidates and takes as many as there are slots; among equals whoever is
//! visible already stays. *Placing* (`places`) leaves everybody who was chosen
//! before where they are, and gives the free slots to newcomers. A speaker view
//! chooses for its large tile first, and then for the others without that one.
//!
//! Every change of the streams plans every subscriber, so candidates are
//! prepared once a round ([`Stage`]) and a plan works on their numbers.

mod order;
mod places;

use std::collections::{BTreeMap, HashMap};

use dt_frame::FourCc;
use dt_ids::{Slot, StreamId, UserId};
use dt_wire::v1::StreamType;

use self::places::Places;
use crate::{
    codecs::Codecs,
    layout::{Layout, Shape},
    time::Time,
};

/// A published stream as layouts see it.
#[derive(Debug, Clone)]
pub(crate) struct Candidate {
    pub(crate) stream: StreamId,
    pub(crate) user: UserId,
    pub(crate) kind: StreamType,
    pub(crate) muted: bool,
    /// What it is encoded with now.
    pub(crate) codec: FourCc,
    /// A handler could mix it.
    pub(crate) mixable: bool,
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
    /// Whom the host put before everybody, with their place.
    spotlight: HashMap<UserId, usize>,
    /// Who speaks, for views that show one person large.
    floor: Option<UserId>,
}

impl Stage {
    pub(crate) fn new(
        mut candidates: Vec<Candidate>,
        spotlight: &[UserId],
        floor: Option<UserId>,
    ) -> Self {
        candidates.sort_by_key(|c| (c.user, c.stream));
        let numbers = candidates.iter().map(|c| c.stream).zip(0..).collect();
        Self {
            candidates,
            numbers,
            spotlight: spotlight.iter().copied().zip(0..).collect(),
            floor,
        }
    }

    pub(crate) fn get(&self, stream: StreamId) -> Option<&Candidate> {
        self.numbers
            .get(&stream)
            .map(|number| &self.candidates[*number])
    }

    /// All voices that can be mixed for somebody.
    pub(crate) fn voices_for(
        &self,
        (me, codecs): (UserId, &Codecs),
    ) -> impl Iterator<Item = StreamId> {
        let decodes = codecs.knows(FourCc::Opus);
        let voices = self.candidates.iter();
        let voices = voices.filter(move |c| decodes && c.mixable && c.user != me);
        voices.map(|c| c.stream)
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
    codecs: &'a Codecs,
    /// What stands in its slots now.
    assigned: &'a BTreeMap<Slot, StreamId>,
    /// By candidate: the slot it has now.
    slots: Vec<Option<Slot>>,
    /// By candidate: subscribed by name, so that no layout shows it as well.
    taken: Vec<bool>,
    /// Who last had each slot of the layout.
    tenants: &'a BTreeMap<Slot, (UserId, StreamType)>,
}

impl<'a> View<'a> {
    pub(crate) fn new(
        stage: &'a Stage,
        (me, codecs): (UserId, &'a Codecs),
        assigned: &'a BTreeMap<Slot, StreamId>,
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
            codecs,
            assigned,
            slots,
            taken,
            tenants,
        }
    }

    fn candidate(&self, number: usize) -> &'a Candidate {
        &self.stage.candidates[number]
    }

    /// Which stream gets which tile. At most `tiles_max` tiles are used.
    pub(crate) fn videos(&self, layout: &Layout, tiles_max: usize) -> Vec<(Slot, StreamId)> {
        let tiles = tiles_max.min(layout.tiles.len());
        let mut eligible = self.pictures(layout);
        let mut places = Places::new(&layout.tiles, tiles);
        if layout.shape == Shape::Speaker
            && tiles > 0
            && let Some(large) = self.large(layout, &eligible)
        {
            eligible.retain(|number| *number != large);
            places.put(0, self.candidate(large).stream);
        }
        let chosen = self.tiles(layout, &eligible, places.free());
        self.place(places, &chosen)
    }

    /// Which stream gets which audio slot. Never one's own.
    pub(crate) fn audio(&self, layout: &Layout) -> Vec<(Slot, StreamId)> {
        let places = Places::new(&layout.audio, layout.audio.len());
        let chosen = self.voices(places.free());
        self.place(places, &chosen)
    }

    /// Puts the chosen into the places that are free.
    fn place(&self, mut places: Places<'_>, chosen: &[usize]) -> Vec<(Slot, StreamId)> {
        let mut newcomers = Vec::new();
        for &number in chosen {
            let stream = self.candidate(number).stream;
            if !self.slots[number].is_some_and(|slot| places.keep(slot, stream)) {
                newcomers.push(number);
            }
        }
        for number in newcomers {
            let c = self.candidate(number);
            // Who comes back (a camera chosen anew, say) gets the old place; then
            // go places that somebody has just left, so that few slots change. Who
            // makes room in the large tile comes back from nowhere.
            let away = self.slots[number].is_none();
            let tenant = Some(&(c.user, c.kind));
            let theirs = |slot: Slot| away && self.tenants.get(&slot) == tenant;
            let left = |slot: Slot| self.assigned.contains_key(&slot);
            let place = places
                .find(theirs)
                .or_else(|| places.find(left))
                .or_else(|| places.find(|_| true));
            let Some(place) = place else {
                break;
            };
            places.put(place, c.stream);
        }
        places.done()
    }
}
