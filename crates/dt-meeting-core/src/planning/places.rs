//! The slots of a layout while they are filled.

use dt_ids::{Slot, StreamId};

use crate::layout::Slots;

#[derive(Debug)]
pub(super) struct Places<'a> {
    slots: &'a Slots,
    filled: Vec<Option<StreamId>>,
}

impl<'a> Places<'a> {
    /// The first `usable` of the slots, empty.
    pub(super) fn new(slots: &'a Slots, usable: usize) -> Self {
        Self {
            slots,
            filled: vec![None; usable],
        }
    }

    /// How many are empty.
    pub(super) fn free(&self) -> usize {
        self.filled.iter().filter(|place| place.is_none()).count()
    }

    pub(super) fn put(&mut self, place: usize, stream: StreamId) {
        self.filled[place] = Some(stream);
    }

    /// Leaves a stream in its slot; false when that is not one of these, or full.
    pub(super) fn keep(&mut self, slot: Slot, stream: StreamId) -> bool {
        let place = self.slots.place(slot);
        match place.and_then(|place| self.filled.get_mut(place)) {
            Some(place @ None) => {
                *place = Some(stream);
                true
            }
            Some(Some(_)) | None => false,
        }
    }

    /// The first empty place that is as wanted.
    pub(super) fn find(&self, wanted: impl Fn(Slot) -> bool) -> Option<usize> {
        (0..self.filled.len())
            .find(|place| self.filled[*place].is_none() && wanted(self.slots.at(*place)))
    }

    pub(super) fn done(self) -> Vec<(Slot, StreamId)> {
        let slots = self.slots;
        let filled = self.filled.into_iter().enumerate();
        filled
            .filter_map(|(place, stream)| Some((slots.at(place), stream?)))
            .collect()
    }
}
