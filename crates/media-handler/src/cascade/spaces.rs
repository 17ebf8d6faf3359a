//! Route ids for controllers: each may give away those with its own high 12 bits,
//! so that no two give the same one away.

use std::collections::VecDeque;

use dt_ids::ControllerId;

/// Spaces that there are; 0 is given to nobody.
const SPACES: u32 = 1 << 12;

/// Who has which.
#[derive(Debug, Default)]
pub(crate) struct Spaces {
    /// Who asked least recently first.
    given: VecDeque<(ControllerId, u32)>,
}

impl Spaces {
    /// The one of a controller. When all are given, that of the one that has not
    /// asked for longest: controllers come and go, and each asks when it begins.
    pub(crate) fn of(&mut self, controller: ControllerId) -> u32 {
        let known = self.given.iter().position(|(of, _)| *of == controller);
        let space = match known.and_then(|place| self.given.remove(place)) {
            Some((_, space)) => space,
            None => self.free(),
        };
        self.given.push_back((controller, space));
        space
    }

    fn free(&mut self) -> u32 {
        let next = u32::try_from(self.given.len() + 1).unwrap_or(SPACES);
        if next < SPACES {
            // As none is ever given back, they are given in their order.
            return next;
        }
        self.given.pop_front().map_or(1, |(_, space)| space)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn each_controller_has_one_of_its_own_and_keeps_it() {
        let mut spaces = Spaces::default();
        let first = ControllerId::random();
        let space = spaces.of(first);
        let others: HashSet<_> = (0..5000)
            .map(|_| {
                assert_eq!(spaces.of(first), space);
                spaces.of(ControllerId::random())
            })
            .collect();
        assert!(!others.contains(&space));
        assert_eq!(others.len(), SPACES as usize - 2);
        assert!(others.iter().all(|space| (1..SPACES).contains(space)));
        assert_eq!(spaces.given.len(), SPACES as usize - 1);
    }
}
