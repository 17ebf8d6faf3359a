//! Layouts: what a subscriber asks for, and which streams get its slots.
//!
//! Two steps, so that nothing is shuffled needlessly. *Choosing* orders the
//! candidates (pinned, screen shares, active speakers, others) and takes as many
//! as there are slots; among equals whoever is visible already stays. *Placing*
//! leaves everybody who was chosen before where they are, and gives the free
//! slots to newcomers.

use std::collections::{BTreeMap, BTreeSet};

use dt_ids::{Slot, StreamId, UserId};
use dt_wire::v1::{self, StreamType, layout::Kind};

use crate::{error::LayoutError, time::Time};

/// Audio slots of one layout at most.
pub const AUDIO_SLOTS_MAX: usize = 1024;
/// Pinned, and excluded, people of one layout at most.
pub const USER_LIST_MAX: usize = 1024;
/// Rows, and columns, of a grid at most.
const SIDE_MAX: u32 = 256;

/// A checked layout: a grid and its slots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// Slots of the tiles in reading order, at most rows × columns.
    pub(crate) tiles: Vec<Slot>,
    pub(crate) audio: Vec<Slot>,
    pinned: Vec<UserId>,
    excluded: BTreeSet<UserId>,
    prefer_video: bool,
    include_self: bool,
}

impl Layout {
    /// Reads and checks a layout; keeps at most `tiles_max` tiles of it.
    ///
    /// # Errors
    /// When a number is out of its range or given twice.
    pub fn parse(layout: v1::Layout, tiles_max: usize) -> Result<Self, LayoutError> {
        let invalid = LayoutError::Invalid;
        let Some(Kind::Grid(grid)) = layout.kind else {
            return Err(invalid("the layout has no kind that this version knows"));
        };
        let sides = 1..=SIDE_MAX;
        if !sides.contains(&grid.rows) || !sides.contains(&grid.columns) {
            return Err(invalid("rows and columns must be 1 to 256"));
        }
        let cells = (grid.rows * grid.columns) as usize;
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
        let mut seen = BTreeSet::new();
        let mut tiles = slots(&layout.video_slots, &mut seen)?;
        let audio = slots(&layout.audio_slots, &mut seen)?;
        tiles.truncate(cells.min(tiles_max));
        Ok(Self {
            tiles,
            audio,
            pinned: layout.pinned_user_ids.into_iter().map(UserId).collect(),
            excluded: layout.excluded_user_ids.into_iter().map(UserId).collect(),
            prefer_video: layout.prefer_video_over_audio,
            include_self: layout.include_self,
        })
    }

    /// Every slot that it may use.
    pub(crate) fn slots(&self) -> impl Iterator<Item = Slot> {
        self.tiles.iter().chain(&self.audio).copied()
    }
}

fn slots(numbers: &[u32], seen: &mut BTreeSet<Slot>) -> Result<Vec<Slot>, LayoutError> {
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

/// What slots hold now, and held last.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Before<'a> {
    pub(crate) slot_of: &'a BTreeMap<StreamId, Slot>,
    pub(crate) tenants: &'a BTreeMap<Slot, (UserId, StreamType)>,
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

/// Which candidate gets which tile. At most `tiles_max` tiles are used.
pub(crate) fn place_videos(
    layout: &Layout,
    me: UserId,
    candidates: &[Candidate],
    tiles_max: usize,
    before: Before<'_>,
) -> Vec<(Slot, StreamId)> {
    let tiles = &layout.tiles[..layout.tiles.len().min(tiles_max)];
    let visible = |c: &Candidate| {
        before
            .slot_of
            .get(&c.stream)
            .is_some_and(|s| tiles.contains(s))
    };
    let class = |c: &Candidate| {
        if let Some(place) = layout.pinned.iter().position(|user| *user == c.user) {
            Class::Pinned(place)
        } else if layout.prefer_video && c.muted {
            Class::NoPicture
        } else if c.kind == StreamType::VideoScreen {
            Class::Screen
        } else if c.promoted_rank.is_some() {
            Class::Speaker
        } else {
            Class::Other
        }
    };
    let eligible = candidates.iter().filter(|c| {
        !c.is_audio() && (layout.include_self || c.user != me) && !layout.excluded.contains(&c.user)
    });
    let chosen = choose(eligible, tiles.len(), |c| {
        let silent_ms = u64::MAX - c.last_spoke.map_or(0, |at| at.0);
        (
            class(c),
            !visible(c),
            c.promoted_rank,
            silent_ms,
            c.user,
            c.stream,
        )
    });
    place(tiles, &chosen, before)
}

/// Which candidate gets which audio slot. Never one's own.
pub(crate) fn place_audio(
    layout: &Layout,
    me: UserId,
    candidates: &[Candidate],
    before: Before<'_>,
) -> Vec<(Slot, StreamId)> {
    let eligible = candidates.iter().filter(|c| c.is_audio() && c.user != me);
    let chosen = choose(eligible, layout.audio.len(), |c| {
        let heard = before.slot_of.contains_key(&c.stream);
        (
            c.muted,
            c.rank.unwrap_or(usize::MAX),
            !heard,
            c.user,
            c.stream,
        )
    });
    place(&layout.audio, &chosen, before)
}

/// The `count` candidates with the smallest keys, in the order of their keys.
fn choose<'a, K: Ord>(
    candidates: impl Iterator<Item = &'a Candidate>,
    count: usize,
    key: impl Fn(&Candidate) -> K,
) -> Vec<&'a Candidate> {
    let mut chosen: Vec<_> = candidates.collect();
    chosen.sort_by_cached_key(|c| key(c));
    chosen.truncate(count);
    chosen
}

fn place(slots: &[Slot], chosen: &[&Candidate], before: Before<'_>) -> Vec<(Slot, StreamId)> {
    let mut free: BTreeSet<usize> = (0..slots.len()).collect();
    let index: BTreeMap<Slot, usize> = slots.iter().copied().zip(0..).collect();
    let mut placed = Vec::with_capacity(chosen.len());
    let mut newcomers = Vec::new();
    for candidate in chosen {
        let slot = before.slot_of.get(&candidate.stream);
        match slot.and_then(|slot| index.get(slot)) {
            Some(kept) if free.remove(kept) => placed.push((slots[*kept], candidate.stream)),
            _ => newcomers.push(candidate),
        }
    }
    for candidate in newcomers {
        // Who comes back (a camera chosen anew, say) gets the old place.
        let theirs =
            |i: &usize| before.tenants.get(&slots[*i]) == Some(&(candidate.user, candidate.kind));
        let index = free
            .iter()
            .copied()
            .find(theirs)
            .or_else(|| free.first().copied());
        let Some(index) = index else {
            break;
        };
        free.remove(&index);
        placed.push((slots[index], candidate.stream));
    }
    placed
}
