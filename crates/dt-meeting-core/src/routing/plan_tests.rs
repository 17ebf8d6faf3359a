//! Ways of streams for thousands of random meetings: who should get a stream
//! does, over few links, and nothing goes in circles.

use std::collections::{BTreeMap, BTreeSet};

use dt_ids::{HandlerId, UserId};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

use super::{Move, Place, Sender, Stop, plan};
use crate::Time;

const MEETINGS: u64 = 20_000;
const HOPS_MAX: usize = 4;

fn id(n: usize) -> HandlerId {
    HandlerId::from_bytes([u8::try_from(n).unwrap() + 1; 16])
}

struct World {
    rng: StdRng,
    handlers: usize,
    gone: BTreeSet<HandlerId>,
    lost: BTreeSet<HandlerId>,
    /// Links that were there before.
    old: BTreeSet<(HandlerId, HandlerId)>,
    brings: BTreeSet<(HandlerId, UserId)>,
    audio: bool,
    sender: Place,
    receivers: BTreeMap<UserId, Place>,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let handlers = rng.random_range(1..=5);
        let some = |rng: &mut StdRng, ratio| -> BTreeSet<HandlerId> {
            let all = (0..handlers).map(id);
            all.filter(|_| rng.random_ratio(ratio, 10)).collect()
        };
        let (gone, lost) = (some(&mut rng, 1), some(&mut rng, 2));
        let mut world = Self {
            handlers,
            gone,
            lost,
            old: BTreeSet::new(),
            brings: BTreeSet::new(),
            audio: rng.random(),
            sender: Place::new(id(0), None),
            receivers: BTreeMap::new(),
            rng,
        };
        world.sender = world.place();
        for user in 0..world.rng.random_range(0..8) {
            let place = world.place();
            world.receivers.insert(UserId(user), place);
            for n in 0..handlers {
                if world.rng.random_ratio(1, 3) {
                    world.brings.insert((id(n), UserId(user)));
                }
            }
        }
        for _ in 0..world.rng.random_range(0..6) {
            let (from, to) = (world.handler(), world.handler());
            world.old.insert((from, to));
        }
        world
    }

    fn handler(&mut self) -> HandlerId {
        id(self.rng.random_range(0..self.handlers))
    }

    /// Somewhere, perhaps in the middle of a move.
    fn place(&mut self) -> Place {
        let home = self.handler();
        let spare = Some(self.handler()).filter(|spare| *spare != home);
        let to = self.handler();
        let mut place = Place::new(home, spare);
        let steps = self.rng.random_range(0..6);
        if to != home && steps > 2 {
            place.open(to, Time(1));
            if steps > 3 {
                place.go(to, Time(2));
            }
            if steps > 4 {
                place.hand_over(Time(3));
            }
        }
        place
    }

    fn is_there(&self, handler: HandlerId) -> bool {
        !self.gone.contains(&handler)
    }

    fn plan(&self) -> BTreeMap<HandlerId, Stop> {
        let sender = Sender {
            place: &self.sender,
            audio: self.audio,
            lost_at: &|handler| self.lost.contains(&handler),
            is_there: &|handler| self.is_there(handler),
            passed_on: &|from, to| self.old.contains(&(from, to)),
            brings: &|handler, user| self.brings.contains(&(handler, user)),
        };
        plan(&sender, self.receivers.iter().map(|(u, p)| (*u, p)))
    }

    fn check(&self, stops: &BTreeMap<HandlerId, Stop>) {
        let sends: BTreeSet<HandlerId> = self.sender.sends_to(self.audio).collect();
        let sends: BTreeSet<_> = sends.into_iter().filter(|h| self.is_there(*h)).collect();
        if sends.is_empty() {
            assert!(stops.is_empty(), "there is nothing to pass on");
            return;
        }
        for (at, stop) in stops {
            assert!(self.is_there(*at));
            assert!(!stop.receivers.is_empty() || !stop.onward.is_empty());
            self.check_origin(*at, stops, &sends);
            let peers: BTreeSet<_> = stop.onward.iter().map(|hop| hop.peer).collect();
            assert_eq!(peers.len(), stop.onward.len(), "one copy a link");
            for hop in &stop.onward {
                assert!(hop.peer != *at && hop.peer != hop.origin, "never back");
                assert!((1..=HOPS_MAX).contains(&(hop.hops as usize)));
                let far = &stops[&hop.peer];
                let taken = far.inlet.is_some_and(|i| i.peer == *at);
                let before =
                    self.sender.leaving() == Some(*at) && self.old.contains(&(*at, hop.peer));
                assert!(taken || before, "a link has two ends, or had");
                let back = stop.inlet.is_some_and(|i| i.peer == hop.peer);
                assert!(!back, "nothing goes both ways between two handlers");
            }
        }
        for (user, place) in &self.receivers {
            self.check_receiver(*user, place, stops);
        }
    }

    /// Follows the way back to where the sender sends.
    fn check_origin(
        &self,
        at: HandlerId,
        stops: &BTreeMap<HandlerId, Stop>,
        sends: &BTreeSet<HandlerId>,
    ) {
        let (mut at, mut passed) = (at, BTreeSet::new());
        while let Some(inlet) = stops[&at].inlet {
            assert!(passed.insert(at), "no loop");
            let up = stops.get(&inlet.peer).expect("a link begins somewhere");
            let out = up.onward.iter().find(|hop| hop.peer == at);
            let out = out.expect("and there it is known");
            assert_eq!((out.origin, out.hops), (inlet.origin, inlet.hops));
            at = inlet.peer;
        }
        assert!(passed.len() <= HOPS_MAX);
        assert!(sends.contains(&at), "it begins where the sender sends");
        let reached = sends.iter().any(|h| !self.lost.contains(h));
        assert!(
            !reached || !self.lost.contains(&at),
            "and where it is reached, if anywhere"
        );
    }

    fn check_receiver(&self, user: UserId, place: &Place, stops: &BTreeMap<HandlerId, Stop>) {
        let at: BTreeSet<HandlerId> = stops
            .iter()
            .filter(|(_, stop)| stop.receivers.contains(&user))
            .map(|(at, _)| *at)
            .collect();
        assert!(at.iter().all(|h| place.contains(*h)));
        let home = Some(place.home());
        let spare = place.spare().filter(|_| self.audio);
        for handler in home.into_iter().chain(spare).filter(|h| self.is_there(*h)) {
            assert!(at.contains(&handler), "it is reached where it is");
        }
        if let Some(from) = place.leaving().filter(|from| self.is_there(*from)) {
            let brings = self.brings.contains(&(place.home(), user));
            let kept = self.audio || !brings;
            assert_eq!(at.contains(&from), kept || spare == Some(from));
        }
    }
}

#[test]
fn in_every_meeting_who_should_get_a_stream_has_one_way_to_it() {
    for seed in 0..MEETINGS {
        let world = World::new(seed);
        let checked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            world.check(&world.plan());
        }));
        assert!(checked.is_ok(), "seed {seed}");
    }
}

#[test]
fn people_at_one_handler_need_no_link() {
    for seed in 0..1000 {
        let mut world = World::new(seed);
        (world.gone, world.lost) = Default::default();
        world.sender = Place::new(id(0), Some(id(1)));
        for place in world.receivers.values_mut() {
            *place = Place::new(id(0), Some(id(1)));
        }
        let stops = world.plan();
        assert!(
            stops
                .values()
                .all(|s| s.inlet.is_none() && s.onward.is_empty())
        );
        let handlers = if world.audio { 2 } else { 1 };
        assert!(stops.is_empty() || stops.len() == handlers);
    }
}

#[test]
fn the_fewest_links_are_one_for_each_handler_that_has_it_not_from_the_sender() {
    for seed in 0..MEETINGS {
        let mut world = World::new(seed);
        (world.gone, world.lost) = Default::default();
        world.sender = Place::new(id(0), None);
        let stops = world.plan();
        let links: usize = stops.values().map(|stop| stop.onward.len()).sum();
        let far = stops
            .iter()
            .filter(|(at, s)| **at != id(0) && !s.receivers.is_empty());
        assert_eq!(links, far.count());
    }
}

#[test]
fn a_step_of_a_move_is_one_of_three() {
    let mut place = Place::new(id(0), Some(id(1)));
    place.open(id(1), Time(5));
    assert_eq!((place.home(), place.leaving()), (id(0), None));
    place.go(id(1), Time(6));
    assert_eq!((place.home(), place.spare()), (id(1), None));
    assert_eq!(place.sends_to(false).collect::<Vec<_>>(), [id(0), id(1)]);
    place.hand_over(Time(7));
    assert_eq!(place.sends_to(false).collect::<Vec<_>>(), [id(1), id(0)]);
    assert!(matches!(place.moving(), Some(Move::Handing { .. })));
    place.stay();
    assert_eq!(place.handlers().collect::<Vec<_>>(), [id(1)]);
}
