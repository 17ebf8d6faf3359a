//! The media handlers of a meeting: how they are, and which of them a newcomer
//! gets.
//!
//! People are kept together while one handler can have them all: what they send
//! each other crosses no link then. Nobody is moved to even things out; only who
//! comes, or must move, goes where there is room.

use std::collections::BTreeMap;

use dt_ids::HandlerId;
use dt_wire::internal::HandlerLoad;

use super::Place;

/// From here on a handler gets nobody new and its people move away.
const OVERLOADED_PERMILLE: u32 = 900;
/// Below this it is well again. Between the two it stays as it was, so that those
/// who have gone do not make it look well at once.
const WELL_PERMILLE: u32 = 750;

/// How a handler is, best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Health {
    Well,
    Overloaded,
    Draining,
    /// It tells nothing any more.
    Gone,
}

/// First choice first.
#[derive(Debug, Default)]
pub(crate) struct Fleet(Vec<(HandlerId, Health)>);

impl Fleet {
    pub(crate) fn new(handlers: &[HandlerId]) -> Self {
        let mut fleet = Self::default();
        fleet.prefer(handlers);
        fleet
    }

    /// A new order of preference. Those that are not named stay, behind the others.
    pub(crate) fn prefer(&mut self, handlers: &[HandlerId]) {
        let mut order = Vec::new();
        for id in handlers.iter().chain(self.0.iter().map(|(id, _)| id)) {
            if !order.iter().any(|(known, _)| known == id) {
                let health = self.health(*id).unwrap_or(Health::Well);
                order.push((*id, health));
            }
        }
        self.0 = order;
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// `None`: it is none of this meeting's.
    pub(crate) fn health(&self, handler: HandlerId) -> Option<Health> {
        self.0
            .iter()
            .find(|(id, _)| *id == handler)
            .map(|(_, h)| *h)
    }

    pub(crate) fn is_there(&self, handler: HandlerId) -> bool {
        self.health(handler)
            .is_some_and(|health| health != Health::Gone)
    }

    pub(crate) fn is_well(&self, handler: HandlerId) -> bool {
        self.health(handler) == Some(Health::Well)
    }

    pub(crate) fn has_well_beside(&self, handler: HandlerId) -> bool {
        let well = |(id, health): &(HandlerId, Health)| *id != handler && *health == Health::Well;
        self.0.iter().any(well)
    }

    /// True when that is news.
    pub(crate) fn set(&mut self, handler: HandlerId, health: Health) -> bool {
        let entry = self.0.iter_mut().find(|(id, _)| *id == handler);
        entry.is_some_and(|(_, now)| std::mem::replace(now, health) != health)
    }

    /// What a handler says of itself; true when it is better or worse for it.
    pub(crate) fn load(&mut self, handler: HandlerId, load: &HandlerLoad) -> bool {
        let health = match self.health(handler) {
            None | Some(Health::Gone) => return false,
            _ if load.draining => Health::Draining,
            _ if load.load_permille > OVERLOADED_PERMILLE => Health::Overloaded,
            Some(Health::Overloaded) if load.load_permille >= WELL_PERMILLE => Health::Overloaded,
            Some(_) => Health::Well,
        };
        self.set(handler, health)
    }

    /// The handler that somebody's pictures go to and come from, none of
    /// `except`. Those that are not well only when none is.
    pub(crate) fn home(
        &self,
        usage: &Usage,
        people_per_handler: usize,
        except: &[HandlerId],
    ) -> Option<HandlerId> {
        let usable = self.usable(usage, people_per_handler, except);
        let room = |id: &&HandlerId| usage.homes(**id) < people_per_handler;
        let emptiest = || usable.iter().min_by_key(|id| usage.homes(**id));
        usable.iter().find(room).or_else(emptiest).copied()
    }

    /// One that is well, for the sound of somebody whose home is elsewhere.
    pub(crate) fn spare(
        &self,
        usage: &Usage,
        people_per_handler: usize,
        except: &[HandlerId],
    ) -> Option<HandlerId> {
        let mut usable = self.usable(usage, people_per_handler, except);
        usable.retain(|id| self.is_well(*id));
        // Whose people are here too is preferred, so that their sound needs no link.
        let crowd = |id: &&HandlerId| usage.seats(**id) / people_per_handler.max(1);
        usable.iter().min_by_key(crowd).copied()
    }

    /// As many as the meeting's size needs, first choice first, of the best health
    /// there is.
    fn usable(
        &self,
        usage: &Usage,
        people_per_handler: usize,
        except: &[HandlerId],
    ) -> Vec<HandlerId> {
        let there = |(_, health): &&(HandlerId, Health)| *health != Health::Gone;
        let free = |(id, _): &&(HandlerId, Health)| !except.contains(id);
        let best = self.0.iter().filter(there).filter(free);
        let Some(best) = best.map(|(_, health)| *health).min() else {
            return Vec::new();
        };
        let mut usable: Vec<HandlerId> = self
            .0
            .iter()
            .filter(|(_, health)| *health == best)
            .map(|(id, _)| *id)
            .take(needed(usage.people, people_per_handler))
            .filter(|id| !except.contains(id))
            .collect();
        if usable.is_empty() {
            usable.extend(
                self.0
                    .iter()
                    .find(|(id, health)| *health == best && !except.contains(id))
                    .map(|(id, _)| *id),
            );
        }
        usable
    }
}

/// Handlers for so many people: two, and another for each further full one.
fn needed(people: usize, people_per_handler: usize) -> usize {
    1 + people.div_ceil(people_per_handler.max(1)).max(1)
}

/// Who is where.
#[derive(Debug, Default)]
pub(crate) struct Usage {
    people: usize,
    homes: BTreeMap<HandlerId, usize>,
    seats: BTreeMap<HandlerId, usize>,
}

impl Usage {
    /// Of these and one more.
    pub(crate) fn with_one_more<'a>(places: impl Iterator<Item = &'a Place>) -> Self {
        let mut usage = Self {
            people: 1,
            ..Self::default()
        };
        for place in places {
            usage.people += 1;
            *usage.homes.entry(place.home()).or_default() += 1;
            for handler in place.handlers() {
                *usage.seats.entry(handler).or_default() += 1;
            }
        }
        usage
    }

    fn homes(&self, handler: HandlerId) -> usize {
        self.homes.get(&handler).copied().unwrap_or(0)
    }

    fn seats(&self, handler: HandlerId) -> usize {
        self.seats.get(&handler).copied().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u8) -> HandlerId {
        HandlerId::from_bytes([n; 16])
    }

    fn load(load_permille: u32, draining: bool) -> HandlerLoad {
        HandlerLoad {
            load_permille,
            draining,
        }
    }

    /// Where so many people go, one after the other.
    fn fill(fleet: &Fleet, people: usize, per_handler: usize) -> Vec<Place> {
        let mut places: Vec<Place> = Vec::new();
        for _ in 0..people {
            let usage = Usage::with_one_more(places.iter());
            let home = fleet.home(&usage, per_handler, &[]).unwrap();
            let spare = fleet.spare(&usage, per_handler, &[home]);
            places.push(Place::new(home, spare));
        }
        places
    }

    fn homes(places: &[Place], handler: u8) -> usize {
        places.iter().filter(|p| p.home() == id(handler)).count()
    }

    #[test]
    fn a_small_meeting_is_at_two_handlers_and_all_pictures_at_one() {
        let fleet = Fleet::new(&[id(3), id(1), id(2)]);
        for place in fill(&fleet, 100, 100) {
            assert_eq!((place.home(), place.spare()), (id(3), Some(id(1))));
        }
        let alone = Fleet::new(&[id(3)]);
        for place in fill(&alone, 300, 100) {
            assert_eq!((place.home(), place.spare()), (id(3), None));
        }
    }

    #[test]
    fn a_meeting_grows_onto_one_more_handler_for_each_full_one() {
        let fleet = Fleet::new(&[id(1), id(2), id(3), id(4)]);
        let places = fill(&fleet, 250, 100);
        let counts = [1, 2, 3, 4].map(|n| homes(&places, n));
        assert_eq!(counts, [100, 100, 50, 0]);
        let places = fill(&fleet, 1000, 100);
        assert_eq!([1, 2, 3, 4].map(|n| homes(&places, n)), [250; 4]);
        assert!(
            places
                .iter()
                .all(|p| p.spare().is_some_and(|s| s != p.home()))
        );
    }

    #[test]
    fn nobody_new_comes_to_a_sick_handler_unless_all_are() {
        let mut fleet = Fleet::new(&[id(1), id(2), id(3)]);
        assert!(!fleet.load(id(1), &load(900, false)));
        assert!(fleet.load(id(1), &load(901, false)));
        assert!(
            !fleet.load(id(1), &load(800, false)),
            "not well at once, when it has got rid of a few"
        );
        let places = fill(&fleet, 10, 100);
        assert_eq!((homes(&places, 1), homes(&places, 2)), (0, 10));
        assert!(places.iter().all(|p| p.spare() == Some(id(3))));
        assert!(fleet.load(id(1), &load(700, false)));
        assert_eq!(homes(&fill(&fleet, 10, 100), 1), 10);
        for n in 1..=3 {
            assert!(fleet.load(id(n), &load(0, true)));
        }
        assert_eq!(fill(&fleet, 1, 100)[0], Place::new(id(1), None));
        for n in 1..=3 {
            assert!(fleet.set(id(n), Health::Gone));
            assert!(!fleet.load(id(n), &load(0, false)), "it tells nothing");
        }
        assert!(
            fleet
                .home(&Usage::with_one_more([].iter()), 100, &[])
                .is_none()
        );
    }

    #[test]
    fn a_new_order_of_preference_forgets_nobody() {
        let mut fleet = Fleet::new(&[id(1), id(2)]);
        fleet.set(id(1), Health::Gone);
        fleet.prefer(&[id(3), id(2)]);
        let order: Vec<_> = fleet.0.iter().map(|(id, _)| *id).collect();
        assert_eq!(order, [id(3), id(2), id(1)]);
        assert_eq!(fleet.health(id(1)), Some(Health::Gone));
    }
}
