//! Numbers by which links between media handlers know streams: one space a
//! receiving handler, shared by all meetings of this controller.

use std::{
    collections::{HashMap, HashSet},
    sync::Mutex,
};

use dt_ids::HandlerId;
use dt_meeting_core::RouteIds;

use crate::lock;

/// The low bits are ours to give, the high ones say whose they are.
const OWN_BITS: u32 = 20;
/// As many as fit into them; 0 is no number.
const NUMBERS: u32 = (1 << OWN_BITS) - 1;

#[derive(Debug, Default)]
pub(crate) struct RouteNumbers(Mutex<HashMap<HandlerId, Space>>);

#[derive(Debug, Default)]
struct Space {
    high: u32,
    /// Low halves in use.
    used: HashSet<u32>,
    last: u32,
}

impl RouteNumbers {
    /// The high 12 bits that a handler gave this controller. Numbers of a space
    /// before are not in use any more: it was started anew.
    pub(crate) fn set_space(&self, handler: HandlerId, space: u32) {
        let mut spaces = lock(&self.0);
        let high = space << OWN_BITS;
        let known = spaces.entry(handler).or_default();
        if known.high != high {
            known.high = high;
            known.used.clear();
        }
    }
}

impl RouteIds for RouteNumbers {
    /// In a circle: one that was given back is not given again for long.
    fn take(&self, receiving: HandlerId) -> Option<u32> {
        let mut spaces = lock(&self.0);
        let space = spaces.get_mut(&receiving)?;
        if space.used.len() >= NUMBERS as usize {
            return None;
        }
        loop {
            space.last = space.last % NUMBERS + 1;
            if space.used.insert(space.last) {
                return Some(space.high | space.last);
            }
        }
    }

    fn give_back(&self, receiving: HandlerId, id: u32) {
        if let Some(space) = lock(&self.0).get_mut(&receiving)
            && id & !NUMBERS == space.high
        {
            space.used.remove(&(id & NUMBERS));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_used_once_at_a_time_and_given_again_late() {
        let numbers = RouteNumbers::default();
        let (a, b) = (HandlerId::random(), HandlerId::random());
        assert_eq!(numbers.take(a), None, "it said nothing of numbers");
        numbers.set_space(a, 0xabc);
        numbers.set_space(b, 1);
        assert_eq!(numbers.take(a), Some(0xabc0_0001));
        assert_eq!(numbers.take(b), Some(0x0010_0001));
        numbers.give_back(a, 0xabc0_0001);
        let given: HashSet<u32> = (1..NUMBERS).filter_map(|_| numbers.take(a)).collect();
        assert_eq!(given.len(), NUMBERS as usize - 1);
        assert!(!given.contains(&0xabc0_0001));
        assert_eq!(numbers.take(a), Some(0xabc0_0001));
        assert_eq!(numbers.take(a), None, "all are in use");
        numbers.give_back(a, 0xabc0_0007);
        assert_eq!(numbers.take(a), Some(0xabc0_0007));
    }

    #[test]
    fn a_handler_that_was_started_anew_has_all_its_numbers() {
        let numbers = RouteNumbers::default();
        let handler = HandlerId::random();
        numbers.set_space(handler, 3);
        let old = numbers.take(handler).unwrap();
        numbers.set_space(handler, 4);
        let new = numbers.take(handler).unwrap();
        numbers.give_back(handler, old);
        assert!(lock(&numbers.0)[&handler].used.contains(&(new & NUMBERS)));
    }
}
