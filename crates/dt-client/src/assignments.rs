//! The map from the subscriber's slots to streams, in two generations:
//! assignments travel by the controller and media by the handler, unordered.

use std::collections::HashMap;

use dt_frame::{FourCc, SlotLabel};
use dt_ids::{Slot, StreamId, UserId};
use dt_wire::v1::{StreamAssignment, StreamAssignments};

/// What everybody says, mixed into one by the server; see
/// [`Layout::mix_audio`](crate::Layout::mix_audio). No real stream has this id.
pub const MIXED_STREAM: StreamId = StreamId::from_bytes([0; 16]);

/// What a slot shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Assigned {
    pub(crate) stream_id: StreamId,
    pub(crate) user_id: UserId,
    pub(crate) codec: FourCc,
    /// Since which generation it has been in view without a break.
    pub(crate) since: u32,
}

#[derive(Debug, Default)]
struct Map {
    generation: u32,
    slots: HashMap<Slot, Assigned>,
}

/// Where a datagram belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Known(Assigned),
    /// Of assignments that have not arrived yet.
    Newer,
    /// Of none that are known any more, or of a slot that is not in them.
    Unknown,
}

/// The newest assignments and those before.
#[derive(Debug, Default)]
pub(crate) struct Assignments {
    current: Option<Map>,
    previous: Option<Map>,
    any_next: bool,
}

impl Assignments {
    /// Takes a newer map; `false` when it is older than the one there is.
    /// Entries that make no sense are left out.
    pub(crate) fn replace(&mut self, message: &StreamAssignments) -> bool {
        let newest = self.current.as_ref().map(|map| map.generation);
        let any = std::mem::take(&mut self.any_next);
        if !any && newest.is_some_and(|generation| message.generation <= generation) {
            return false;
        }
        let slots = message
            .assignments
            .iter()
            .filter_map(|entry| self.read(entry, message.generation))
            .collect();
        let map = Map {
            generation: message.generation,
            slots,
        };
        self.previous = self.current.replace(map);
        true
    }

    fn read(&self, entry: &StreamAssignment, generation: u32) -> Option<(Slot, Assigned)> {
        let stream_id: StreamId = match entry.mixed {
            true => MIXED_STREAM,
            false => entry.stream_id.parse().ok()?,
        };
        let assigned = Assigned {
            stream_id,
            user_id: UserId(entry.user_id),
            codec: entry.codec.parse().ok()?,
            since: self.stream(stream_id).map_or(generation, |was| was.since),
        };
        Some((Slot::try_from(entry.slot).ok()?, assigned))
    }

    /// The entry of a stream that is in view now.
    pub(crate) fn stream(&self, stream_id: StreamId) -> Option<Assigned> {
        let slots = &self.current.as_ref()?.slots;
        slots
            .values()
            .find(|assigned| assigned.stream_id == stream_id)
            .copied()
    }

    /// Where a datagram with this label belongs.
    pub(crate) fn place(&self, label: SlotLabel) -> Place {
        let Some(current) = &self.current else {
            return Place::Newer;
        };
        let map = match label.newer_by(current.generation) {
            0 => Some(current),
            1.. => return Place::Newer,
            _ => self
                .previous
                .as_ref()
                .filter(|previous| label.newer_by(previous.generation) == 0),
        };
        map.and_then(|map| map.slots.get(&label.slot))
            .map_or(Place::Unknown, |assigned| Place::Known(*assigned))
    }

    /// The next map counts whatever its number; until then this one does.
    pub(crate) fn take_any_next(&mut self) {
        self.any_next = true;
    }
}
