//! The handlers, their links, one sender and a receiver at each handler.

mod routing;
mod wire;

use std::{
    collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap},
    time::{Duration, Instant},
};

use bytes::Bytes;
use dt_forward_core::{
    Config, ENCODINGS_MAX, EncodingSpec, Forwarder, FrameBytes, Generation, GroupKey, Inlet, Links,
    OutGroup, Outlet, Output, SessionKey, StreamOp, StreamSpec, Wanted,
};
use dt_frame::{
    AudioLevel, DatagramHeader, Extension, Flags, FourCc, FrameHeader, FrameType, LinkPrefix,
    MediaKind, RouteId, SlotLabel, StreamHeader,
};
use dt_ids::{Encoding, HandlerId, ParticipantId, Slot, StreamId, StreamNumber, UserId};
use proptest::prelude::*;
use rand::{RngExt, SeedableRng, rngs::StdRng};

pub(crate) const MS: Duration = Duration::from_millis(1);

const SENDER: ParticipantId = ParticipantId::from_bytes([1; 16]);
const VIDEO: StreamId = StreamId::from_bytes([2; 16]);
const AUDIO: StreamId = StreamId::from_bytes([3; 16]);
/// Frames between two key frames that nobody asked for.
const GROUP: u64 = 25;

fn handler(node: usize) -> HandlerId {
    HandlerId::from_bytes([10 + node as u8; 16])
}

fn receiver(node: usize) -> ParticipantId {
    ParticipantId::from_bytes([100 + node as u8; 16])
}

fn client(node: usize) -> SessionKey {
    SessionKey(1000 + node as u64)
}

fn sender(node: usize) -> SessionKey {
    SessionKey(2000 + node as u64)
}

fn spec(stream_id: StreamId) -> StreamSpec {
    let video = stream_id == VIDEO;
    StreamSpec {
        stream_id,
        number: StreamNumber::try_from(if video { 1 } else { 2 }).unwrap(),
        kind: if video {
            MediaKind::Video
        } else {
            MediaKind::Audio
        },
        codec: None,
        encodings: 1,
        layers: [EncodingSpec::default(); ENCODINGS_MAX],
        muted: false,
    }
}

fn label(stream: StreamId) -> SlotLabel {
    let slot = if stream == VIDEO { 1u32 } else { 2 };
    SlotLabel::new(1, Slot::try_from(slot).unwrap())
}

/// What is under way. A link is named by its key, which is the same at both ends.
#[derive(Debug, Clone)]
enum Event {
    Order(usize, StreamId, Box<Links>, Generation),
    Demand(usize, SessionKey, RouteId, Vec<Wanted>),
    Keyframe(usize, SessionKey, RouteId, Encoding),
    Datagram(usize, SessionKey, Bytes),
    Stream(usize, SessionKey, GroupKey, Piece),
    LinkUp(usize, usize),
    /// The sender's handler takes a frame or a sound.
    Frame(usize, FrameHeader, Bytes),
    Sound(usize, Bytes),
}

#[derive(Debug, Clone)]
enum Piece {
    Open(LinkPrefix, StreamHeader),
    Frame(FrameBytes),
    Finish,
    Reset,
}

/// What one receiver got.
#[derive(Debug, Default)]
struct Got {
    frames: Vec<u64>,
    sounds: Vec<u64>,
    newest: HashMap<OutGroup, u64>,
}

struct Node {
    forwarder: Forwarder,
    got: Got,
    /// Link by link, who is at the other end.
    links: BTreeMap<SessionKey, usize>,
    /// Routes that the handler knows, and what was said of them before.
    early: HashMap<(SessionKey, RouteId), Vec<Wanted>>,
    /// How often pictures and sound were said to arrive.
    arrives: [u32; 2],
    /// The stream of the sender that is open here.
    upstream: Option<GroupKey>,
}

pub(crate) struct World {
    nodes: Vec<Node>,
    now: Instant,
    rng: StdRng,
    queue: BinaryHeap<std::cmp::Reverse<(Instant, u64)>>,
    events: HashMap<u64, Event>,
    /// When the last thing on each way that keeps its order arrives.
    ways: HashMap<(usize, SessionKey, Option<GroupKey>), Instant>,
    counter: u64,
    sending_at: BTreeSet<usize>,
    sequence: u64,
    group: u32,
    key_wanted: bool,
    /// Timestamps of all that was sent.
    frames: Vec<u64>,
    sounds: Vec<u64>,
    /// What crossed each link, from here to there: how often.
    crossed: HashMap<(SessionKey, usize, RouteId, u64, bool), u32>,
    moving: Option<(usize, usize, Vec<[u32; 2]>)>,
    /// The outlets of the star, stream by stream.
    star: Vec<(StreamId, Vec<Outlet>)>,
}

impl World {
    pub(crate) fn new(handlers: usize, seed: u64) -> Self {
        let now = Instant::now();
        let node = |node: usize| {
            let config = Config {
                handler: Some(handler(node)),
                ..Config::default()
            };
            let mut forwarder = Forwarder::new(config);
            let user = UserId(100 + node as u64);
            let order = Generation::default();
            forwarder
                .register(receiver(node), user, &[], order, now)
                .unwrap();
            forwarder
                .session_up(receiver(node), client(node), now)
                .unwrap();
            Node {
                forwarder,
                got: Got::default(),
                links: BTreeMap::new(),
                early: HashMap::new(),
                arrives: [0; 2],
                upstream: None,
            }
        };
        let mut world = Self {
            nodes: (0..handlers).map(node).collect(),
            now,
            rng: StdRng::seed_from_u64(seed),
            queue: BinaryHeap::new(),
            events: HashMap::new(),
            ways: HashMap::new(),
            counter: 0,
            sending_at: BTreeSet::new(),
            sequence: 0,
            group: 0,
            key_wanted: true,
            frames: Vec::new(),
            sounds: Vec::new(),
            crossed: HashMap::new(),
            moving: None,
            star: Vec::new(),
        };
        for a in 0..handlers {
            for b in a + 1..handlers {
                world.later(200, Event::LinkUp(a, b));
            }
        }
        world
    }

    pub(crate) fn stop(&mut self) {
        self.sending_at.clear();
    }

    pub(crate) const fn sent(&self) -> u64 {
        self.sequence * 10_000
    }

    fn link(&self, a: usize, b: usize) -> Option<SessionKey> {
        let to = |(_, peer): &(&SessionKey, &usize)| **peer == b;
        self.nodes[a].links.iter().find(to).map(|(key, _)| *key)
    }

    fn later(&mut self, ms_max: u64, event: Event) {
        let delay = Duration::from_micros(self.rng.random_range(0..=ms_max * 1000));
        self.at(self.now + delay, event);
    }

    fn at(&mut self, at: Instant, event: Event) {
        self.counter += 1;
        self.queue.push(std::cmp::Reverse((at, self.counter)));
        self.events.insert(self.counter, event);
    }

    /// In its order on a way.
    fn in_order(&mut self, to: usize, key: SessionKey, group: Option<GroupKey>, event: Event) {
        let delay = Duration::from_micros(self.rng.random_range(1000..=40_000));
        let last = self.ways.get(&(to, key, group)).copied();
        let at = last.map_or(self.now + delay, |last| last.max(self.now + delay));
        self.ways.insert((to, key, group), at);
        self.at(at, event);
    }

    pub(crate) fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.now += 10 * MS;
            while let Some(std::cmp::Reverse((at, number))) = self.queue.peek().copied() {
                if at > self.now {
                    break;
                }
                self.queue.pop();
                let event = self.events.remove(&number).unwrap();
                self.take(event);
            }
            if !self.sending_at.is_empty() {
                self.sequence += 1;
                self.speak();
                if self.sequence.is_multiple_of(3) {
                    self.show();
                }
            }
            if self.sequence.is_multiple_of(5) || self.sending_at.is_empty() {
                for node in 0..self.nodes.len() {
                    let now = self.now;
                    self.nodes[node].forwarder.tick(now);
                    self.carry_out(node);
                }
            }
            self.look_after_move();
        }
    }

    /// What arrived there: frames and sounds, sorted.
    pub(crate) fn got(&self, node: usize) -> (Vec<u64>, Vec<u64>) {
        let got = &self.nodes[node].got;
        let sorted = |list: &[u64]| {
            let mut list = list.to_vec();
            list.sort_unstable();
            list
        };
        (sorted(&got.frames), sorted(&got.sounds))
    }

    /// From the first frame on all came, each once.
    pub(crate) fn check_whole(&self, node: usize, frames: &[u64]) -> Result<(), TestCaseError> {
        let first = frames[0];
        let all: Vec<_> = self
            .frames
            .iter()
            .copied()
            .filter(|at| *at >= first)
            .collect();
        let missing: Vec<_> = all.iter().filter(|at| !frames.contains(at)).collect();
        prop_assert!(missing.is_empty(), "at {node} {missing:?} are missing");
        prop_assert_eq!(frames.len(), all.len(), "each once at {}", node);
        Ok(())
    }

    /// And of sounds, too, when the ways have been there for a while.
    pub(crate) fn check_all(&self, node: usize, sounds: &[u64]) -> Result<(), TestCaseError> {
        let mut once = sounds.to_vec();
        once.dedup();
        prop_assert_eq!(once.len(), sounds.len(), "no sound twice at {}", node);
        // Datagrams overtake each other while a way begins.
        let settled = sounds[0] + 1_000_000;
        let missing: Vec<_> = self
            .sounds
            .iter()
            .filter(|at| **at >= settled && sounds.binary_search(at).is_err())
            .collect();
        prop_assert!(missing.is_empty(), "at {node} {missing:?} are missing");
        Ok(())
    }

    /// One copy a link and route, and none goes round.
    pub(crate) fn check_links(&self) -> Result<(), TestCaseError> {
        for (crossing, times) in &self.crossed {
            prop_assert!(*times == 1, "{crossing:?} {times} times");
        }
        Ok(())
    }
}
