//! Layouts as subscribers ask for them, checked.
//!
//! Which streams get the slots is decided in `planning`.

use std::collections::{HashMap, HashSet};

use dt_ids::{Slot, UserId};
use dt_wire::v1::{self, layout::Kind};

use crate::error::LayoutError;

/// Audio slots of one layout at most.
pub const AUDIO_SLOTS_MAX: usize = 1024;
/// Pinned, and excluded, people of one layout at most.
pub const USER_LIST_MAX: usize = 1024;
/// Rows, and columns, of a grid at most.
const SIDE_MAX: u32 = 256;
/// Tiles beside the large one of a speaker view at most.
const STRIP_MAX: u32 = 255;

/// A checked layout: its shape and its slots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    pub(crate) shape: Shape,
    /// Of the tiles in reading order, at most as many as the shape has.
    pub(crate) tiles: Slots,
    pub(crate) audio: Slots,
    /// With their place in the list.
    pub(crate) pinned: HashMap<UserId, usize>,
    pub(crate) excluded: HashSet<UserId>,
    pub(crate) prefer_video: bool,
    pub(crate) include_self: bool,
    /// All voices in one, on the first audio slot.
    mix_audio: bool,
}

/// How tiles differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// They don't.
    Grid,
    /// The first one is large.
    Speaker,
}

/// Distinct slots in an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Slots {
    order: Vec<Slot>,
    places: HashMap<Slot, usize>,
}

impl Slots {
    fn new(order: Vec<Slot>) -> Self {
        let places = order.iter().copied().zip(0..).collect();
        Self { order, places }
    }

    pub(crate) fn len(&self) -> usize {
        self.order.len()
    }

    pub(crate) fn at(&self, place: usize) -> Slot {
        self.order[place]
    }

    pub(crate) fn place(&self, slot: Slot) -> Option<usize> {
        self.places.get(&slot).copied()
    }
}

impl Layout {
    /// Reads and checks a layout; keeps at most `tiles_max` tiles of it.
    ///
    /// # Errors
    /// When a number is out of its range or given twice.
    pub fn parse(layout: v1::Layout, tiles_max: usize) -> Result<Self, LayoutError> {
        let invalid = LayoutError::Invalid;
        let (shape, cells) = match layout.kind {
            Some(Kind::Grid(grid)) => {
                let sides = 1..=SIDE_MAX;
                if !sides.contains(&grid.rows) || !sides.contains(&grid.columns) {
                    return Err(invalid("rows and columns must be 1 to 256"));
                }
                (Shape::Grid, grid.rows * grid.columns)
            }
            Some(Kind::Speaker(view)) if view.strip > STRIP_MAX => {
                return Err(invalid("the strip has at most 255 tiles"));
            }
            Some(Kind::Speaker(view)) => (Shape::Speaker, 1 + view.strip),
            None => return Err(invalid("the layout has no kind that this version knows")),
        };
        // One more than is used does no harm, a million do.
        if layout.video_slots.len() > (SIDE_MAX * SIDE_MAX) as usize {
            return Err(invalid("at most 65536 video slots"));
        }
        if layout.audio_slots.len() > AUDIO_SLOTS_MAX {
            return Err(invalid("at most 1024 audio slots"));
        }
        if layout.pinned_user_ids.len() > USER_LIST_MAX
            || layout.excluded_user_ids.len() > USER_LIST_MAX
        {
            return Err(invalid("at most 1024 pinned and 1024 excluded people"));
        }
        let mut seen = HashSet::new();
        let mut tiles = slots(&layout.video_slots, &mut seen)?;
        let audio = slots(&layout.audio_slots, &mut seen)?;
        if layout.mix_audio && audio.is_empty() {
            return Err(invalid("a mix needs an audio slot"));
        }
        tiles.truncate((cells as usize).min(tiles_max));
        let mut pinned = HashMap::new();
        for (place, user) in layout.pinned_user_ids.into_iter().enumerate() {
            pinned.entry(UserId(user)).or_insert(place);
        }
        Ok(Self {
            shape,
            tiles: Slots::new(tiles),
            audio: Slots::new(audio),
            pinned,
            excluded: layout.excluded_user_ids.into_iter().map(UserId).collect(),
            prefer_video: layout.prefer_video_over_audio,
            include_self: layout.include_self,
            mix_audio: layout.mix_audio,
        })
    }

    /// Each voice comes by itself.
    pub(crate) fn without_mix(&mut self) {
        self.mix_audio = false;
    }

    /// Where the mix goes, if all voices are to be mixed into one.
    pub(crate) fn mix_slot(&self) -> Option<Slot> {
        self.audio.order.first().copied().filter(|_| self.mix_audio)
    }

    /// The large tile, if it has one.
    pub(crate) fn large(&self) -> Option<Slot> {
        let first = self.tiles.order.first();
        first.copied().filter(|_| self.shape == Shape::Speaker)
    }

    /// Every slot that it may use.
    pub(crate) fn slots(&self) -> impl Iterator<Item = Slot> {
        self.tiles.order.iter().chain(&self.audio.order).copied()
    }
}

fn slots(numbers: &[u32], seen: &mut HashSet<Slot>) -> Result<Vec<Slot>, LayoutError> {
    let parse = |number: &u32| {
        let slot = Slot::try_from(*number)
            .map_err(|_| LayoutError::Invalid("slots must be 1 to 16777215"))?;
        if seen.insert(slot) {
            Ok(slot)
        } else {
            Err(LayoutError::SlotTwice(slot))
        }
    };
    numbers.iter().map(parse).collect()
}
