//! The order in which messages go, and what is dropped.

use dt_ids::{Encoding, StreamId};
use tokio::sync::Semaphore;

use super::*;

struct World {
    outbox: Outbox,
    places: Arc<Semaphore>,
    now: Instant,
}

const LAYER: Layer = Layer {
    stream_id: StreamId::from_bytes([7; 16]),
    encoding: Encoding::MIN,
};

fn message(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

impl World {
    fn new() -> Self {
        Self {
            outbox: Outbox::new(&Limits::default()),
            places: Arc::new(Semaphore::new(16)),
            now: Instant::now(),
        }
    }

    fn group(&mut self, priority: i32) -> GroupId {
        let place = Arc::clone(&self.places).try_acquire_owned().unwrap();
        let id = self.outbox.open_group(Arc::default(), place);
        self.outbox.set_priority(id, priority);
        id
    }

    fn put(&mut self, id: GroupId, text: &'static str) {
        assert_eq!(self.outbox.room(id), Room::Free);
        self.outbox.put_group(id, message(text), None);
    }

    /// Opens a group of the one layer with its header.
    fn open(&mut self, priority: i32, header: &'static str) -> GroupId {
        let id = self.group(priority);
        self.outbox.put_group(id, message(header), Some(LAYER));
        id
    }

    fn next(&mut self) -> Option<String> {
        let next = self.outbox.next(self.now)?;
        Some(String::from_utf8(next.to_vec()).unwrap())
    }

    fn all(&mut self) -> Vec<String> {
        std::iter::from_fn(|| self.next()).collect()
    }
}

#[test]
fn control_goes_before_sound_and_sound_before_groups_by_priority() {
    let mut world = World::new();
    let (low, high) = (world.group(1), world.group(2));
    world.put(low, "low");
    world.put(high, "high");
    world.outbox.put_datagram(message("sound"), world.now);
    assert!(world.outbox.put_control(&message("control")));
    assert_eq!(world.all(), ["control", "sound", "high", "low"]);
}

#[test]
fn of_a_group_one_message_waits_and_its_writer_the_rest() {
    let mut world = World::new();
    let group = world.group(0);
    world.put(group, "first");
    assert_eq!(world.outbox.room(group), Room::Taken);
    assert_eq!(world.next().unwrap(), "first");
    assert_eq!(world.outbox.room(group), Room::Free);
}

#[test]
fn a_group_that_is_reset_takes_its_waiting_message_and_its_place_with_it() {
    let mut world = World::new();
    let group = world.group(0);
    world.put(group, "late");
    world.outbox.reset_group(group);
    assert_eq!(world.all(), [""; 0]);
    assert_eq!(world.places.available_permits(), 16);
}

#[test]
fn a_datagram_that_waited_for_too_long_is_dropped_and_the_newer_ones_go() {
    let mut world = World::new();
    world.outbox.put_datagram(message("old"), world.now);
    world.now += Duration::from_millis(150);
    world.outbox.put_datagram(message("new"), world.now);
    world.now += Duration::from_millis(100);
    assert_eq!(world.all(), ["new"]);
    assert_eq!(world.outbox.dropped_datagrams, 1);
}

#[test]
fn of_too_many_datagrams_the_oldest_give_way() {
    let mut world = World::new();
    let limit = Limits::default().datagram_send_bytes_max;
    let big = Bytes::from(vec![0; limit / 4]);
    for _ in 0..6 {
        world.outbox.put_datagram(big.clone(), world.now);
    }
    world.outbox.put_datagram(message("newest"), world.now);
    assert!(world.outbox.datagram_bytes <= limit);
    assert_eq!(world.outbox.dropped_datagrams, 3);
    assert_eq!(world.all().last().unwrap(), "newest");
}

#[test]
fn control_messages_wait_for_room() {
    let mut world = World::new();
    let limit = Limits::default().control_bytes_max;
    let huge = Bytes::from(vec![0; limit * 2]);
    assert!(world.outbox.put_control(&huge), "one is always taken");
    assert!(!world.outbox.put_control(&message("more")));
    world.next();
    assert!(world.outbox.put_control(&message("more")));
}

#[test]
fn the_last_frame_of_a_finished_group_goes_before_the_next_group_s_header() {
    let mut world = World::new();
    let old = world.open(1, "header 1");
    assert_eq!(world.next().unwrap(), "header 1");
    world.put(old, "last frame");
    world.outbox.finish_group(old);
    world.open(2, "header 2");
    assert_eq!(world.all(), ["last frame", "header 2"]);
}

#[test]
fn an_unfinished_group_is_given_up_whole_when_a_newer_one_of_its_encoding_begins() {
    let mut world = World::new();
    let old = world.open(1, "header 1");
    assert_eq!(world.next().unwrap(), "header 1");
    world.put(old, "late frame");
    let unopened = world.open(2, "header 2");
    let new = world.open(3, "header 3");
    assert_eq!(world.all(), ["header 3"]);
    assert_eq!(world.outbox.room(old), Room::GivenUp);
    assert_eq!(world.outbox.room(unopened), Room::GivenUp);
    world.put(new, "frame");
    assert_eq!(world.all(), ["frame"]);
}

#[test]
fn groups_of_other_encodings_go_on() {
    let mut world = World::new();
    let other = Layer {
        encoding: Encoding::try_from(1).unwrap(),
        ..LAYER
    };
    let small = world.open(1, "small");
    world.next();
    let large = world.group(2);
    world.outbox.put_group(large, message("large"), Some(other));
    world.put(small, "frame");
    assert_eq!(world.all(), ["large", "frame"]);
}
