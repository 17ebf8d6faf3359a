//! Bytes 10–13 of a datagram on its way to a receiver.

use dt_ids::Slot;

const SLOT_BITS: u32 = 24;

/// Which of its slots a datagram is for, and in which of its assignments: the
/// map from slots to streams changes while datagrams are under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SlotLabel {
    /// Low 8 bits of the generation of `StreamAssignments`.
    pub generation: u8,
    /// The subscriber's own number.
    pub slot: Slot,
}

impl SlotLabel {
    /// A label from a whole generation, of which the low 8 bits travel.
    #[must_use]
    pub const fn new(generation: u32, slot: Slot) -> Self {
        Self {
            #[allow(clippy::cast_possible_truncation)] // that is the format
            generation: generation as u8,
            slot,
        }
    }

    /// High 8 bits the generation, low 24 bits the slot.
    #[must_use]
    pub const fn to_bits(self) -> u32 {
        (self.generation as u32) << SLOT_BITS | self.slot.get()
    }

    /// Reads the 32 bits; `None` when the slot is 0, which nobody has.
    #[must_use]
    pub fn from_bits(bits: u32) -> Option<Self> {
        let slot = Slot::try_from(bits & ((1 << SLOT_BITS) - 1)).ok()?;
        Some(Self {
            #[allow(clippy::cast_possible_truncation)] // 8 bits are left
            generation: (bits >> SLOT_BITS) as u8,
            slot,
        })
    }

    /// How much newer this label's generation is than `current`'s low 8 bits:
    /// 0 the same, positive newer, negative older. Half of the ring lies on each
    /// side, so at most 127 changes may be under way.
    #[must_use]
    pub const fn newer_by(self, current: u32) -> i8 {
        #[allow(clippy::cast_possible_truncation, clippy::cast_possible_wrap)]
        {
            self.generation.wrapping_sub(current as u8) as i8
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn generation_and_slot_stand_in_8_and_24_bits() {
        let slot = Slot::try_from(0x00ab_cdef).unwrap();
        let label = SlotLabel::new(0x0000_0112, slot);
        assert_eq!(label.to_bits(), 0x12ab_cdef);
        assert_eq!(SlotLabel::from_bits(0x12ab_cdef), Some(label));
        assert_eq!(SlotLabel::from_bits(0x1200_0000), None);
    }

    #[test]
    fn a_generation_is_compared_around_the_ring() {
        let label = |g| SlotLabel::new(g, Slot::MAX);
        assert_eq!(label(5).newer_by(5), 0);
        assert_eq!(label(256).newer_by(255), 1);
        assert_eq!(label(255).newer_by(256), -1);
    }

    proptest! {
        #[test]
        fn any_bits_are_read_back_or_refused(bits: u32) {
            if let Some(label) = SlotLabel::from_bits(bits) {
                prop_assert_eq!(label.to_bits(), bits);
            }
        }
    }
}
