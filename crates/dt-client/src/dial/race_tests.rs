//! Who is tried when, and what is remembered.

use super::*;

const MS: fn(u64) -> Duration = Duration::from_millis;

struct World {
    known: Known,
    memory: Memory,
    now: Instant,
}

impl World {
    fn new() -> Self {
        Self {
            known: Known::default(),
            memory: Memory::default(),
            now: Instant::now(),
        }
    }

    fn race(&self) -> Race {
        self.memory.race(&self.known, Transport::Auto, self.now)
    }

    /// Who is first, and when the other joins in.
    fn order(&self) -> (Way, Duration) {
        let mut race = self.race();
        let Step::Start(first) = race.poll(self.now) else {
            panic!("nobody is first");
        };
        match race.poll(self.now) {
            Step::Start(second) => {
                assert_eq!(second, first.other());
                (first, Duration::ZERO)
            }
            Step::WaitUntil(at) => (first, at - self.now),
            other => panic!("{other:?}"),
        }
    }

    fn won(&mut self, way: Way) {
        self.memory.won(&mut self.known, way, self.now);
    }

    /// Another meeting from the same network.
    fn joins_anew(&mut self) {
        self.memory = Memory::default();
    }
}

#[test]
fn the_websocket_joins_in_after_400_ms() {
    let world = World::new();
    let mut race = world.race();
    let at = world.now + MS(400);
    assert_eq!(race.poll(world.now), Step::Start(Way::WebTransport));
    assert_eq!(race.poll(world.now), Step::WaitUntil(at));
    assert_eq!(race.poll(at - MS(1)), Step::WaitUntil(at));
    assert_eq!(race.poll(at), Step::Start(Way::WebSocket));
    assert_eq!(race.poll(at), Step::Wait);
}

#[test]
fn the_websocket_goes_at_once_when_webtransport_fails_and_both_failing_is_the_end() {
    let world = World::new();
    let mut race = world.race();
    assert_eq!(race.poll(world.now), Step::Start(Way::WebTransport));
    race.handle_failed();
    let soon = world.now + MS(5);
    assert_eq!(race.poll(soon), Step::Start(Way::WebSocket));
    assert_eq!(race.poll(soon), Step::Wait);
    race.handle_failed();
    assert_eq!(race.poll(soon), Step::Over);
}

#[test]
fn one_that_fails_does_not_end_the_race_of_the_other() {
    let world = World::new();
    let mut race = world.race();
    assert_eq!(race.poll(world.now), Step::Start(Way::WebTransport));
    let later = world.now + MS(400);
    assert_eq!(race.poll(later), Step::Start(Way::WebSocket));
    race.handle_failed();
    assert_eq!(race.poll(later), Step::Wait);
}

#[test]
fn a_carrier_that_died_makes_way_for_the_other() {
    let mut world = World::new();
    world.won(Way::WebTransport);
    world.memory.died(Way::WebTransport);
    assert_eq!(world.order(), (Way::WebSocket, MS(400)));
    world.won(Way::WebSocket);
    world.memory.died(Way::WebSocket);
    assert_eq!(world.order(), (Way::WebTransport, MS(400)));
}

#[test]
fn when_nothing_gets_through_nothing_is_learned_from_the_death_before() {
    let mut world = World::new();
    world.won(Way::WebTransport);
    world.memory.died(Way::WebTransport);
    world.memory.lost();
    assert_eq!(world.order(), (Way::WebTransport, MS(400)));
}

#[test]
fn in_a_meeting_the_websocket_that_won_goes_first_for_ten_minutes() {
    let mut world = World::new();
    world.won(Way::WebSocket);
    assert_eq!(world.order(), (Way::WebSocket, MS(400)));
    world.now += REMEMBERED - MS(1);
    assert_eq!(world.order(), (Way::WebSocket, MS(400)));
    world.now += MS(1);
    assert_eq!(world.order(), (Way::WebTransport, MS(400)));
}

#[test]
fn the_next_join_tries_webtransport_again_with_the_websocket_beside_it() {
    let mut world = World::new();
    world.won(Way::WebSocket);
    world.joins_anew();
    assert_eq!(world.order(), (Way::WebTransport, Duration::ZERO));
    world.won(Way::WebTransport);
    world.joins_anew();
    assert_eq!(world.order(), (Way::WebTransport, MS(400)));
    world.won(Way::WebSocket);
    world.joins_anew();
    world.now += REMEMBERED;
    assert_eq!(world.order(), (Way::WebTransport, MS(400)));
}

#[test]
fn who_is_told_to_use_one_uses_no_other() {
    let mut world = World::new();
    world.won(Way::WebSocket);
    world.memory.died(Way::WebSocket);
    for (transport, way) in [
        (Transport::WebTransport, Way::WebTransport),
        (Transport::WebSocket, Way::WebSocket),
    ] {
        let mut race = world.memory.race(&world.known, transport, world.now);
        assert_eq!(race.poll(world.now), Step::Start(way));
        assert_eq!(race.poll(world.now + MS(5000)), Step::Wait);
        race.handle_failed();
        assert_eq!(race.poll(world.now), Step::Over);
    }
}
