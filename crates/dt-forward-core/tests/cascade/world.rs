//! The handlers, their links, one sender and a receiver at each handler.

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

    /// The sender registers at a handler, if it did not yet, and sends there, too.
    pub(crate) fn send_at(&mut self, node: usize) {
        self.counter += 1;
        let order = Generation {
            lease: 1,
            counter: self.counter,
        };
        let forwarder = &mut self.nodes[node].forwarder;
        let streams = [spec(VIDEO), spec(AUDIO)];
        forwarder
            .register(SENDER, UserId(1), &streams, order, self.now)
            .unwrap();
        forwarder
            .session_up(SENDER, sender(node), self.now)
            .unwrap();
        self.nodes[node].upstream = None;
        self.sending_at.insert(node);
        // It begins there with a group.
        self.key_wanted = true;
        self.carry_out(node);
    }

    /// It leaves all others.
    pub(crate) fn send_only_at(&mut self, node: usize) {
        for other in std::mem::take(&mut self.sending_at) {
            if other != node {
                let now = self.now;
                self.nodes[other].forwarder.session_down(sender(other), now);
                self.carry_out(other);
            }
        }
        self.sending_at.insert(node);
    }

    pub(crate) fn stop(&mut self) {
        self.sending_at.clear();
    }

    pub(crate) const fn sent(&self) -> u64 {
        self.sequence * 10_000
    }

    fn order(&mut self, node: usize, stream: StreamId, links: Links) {
        self.counter += 1;
        let generation = Generation {
            lease: 1,
            counter: self.counter,
        };
        self.later(300, Event::Order(node, stream, Box::new(links), generation));
    }

    fn route_id(&mut self) -> RouteId {
        self.counter += 1;
        RouteId(self.counter as u32)
    }

    fn inlet(stream: StreamId, from: usize, origin: usize, route: RouteId, hops: u8) -> Inlet {
        Inlet {
            handler: handler(from),
            route,
            origin: handler(origin),
            hops,
            spec: spec(stream),
            participant: SENDER,
            user_id: UserId(1),
        }
    }

    fn outlet(to: usize, origin: usize, route: RouteId, hops: u8) -> Outlet {
        Outlet {
            handler: handler(to),
            route,
            origin: handler(origin),
            hops,
        }
    }

    /// From the first one along a tree.
    pub(crate) fn route_tree(&mut self, parents: &[usize]) {
        let size = parents.len() + 1;
        let mut depth = vec![0u8; size];
        for child in 1..size {
            depth[child] = depth[parents[child - 1]] + 1;
        }
        for stream in [VIDEO, AUDIO] {
            let routes: Vec<_> = (0..size).map(|_| self.route_id()).collect();
            for node in 0..size {
                let inlet = (node > 0)
                    .then(|| Self::inlet(stream, parents[node - 1], 0, routes[node], depth[node]));
                let children = (1..size).filter(|child| parents[child - 1] == node);
                let outlets = children
                    .map(|child| Self::outlet(child, 0, routes[child], depth[child]))
                    .collect();
                self.order(node, stream, Links { inlet, outlets });
            }
        }
    }

    /// From one to all others.
    pub(crate) fn route_star(&mut self, center: usize) {
        let others: Vec<_> = (0..self.nodes.len()).filter(|n| *n != center).collect();
        self.star(center, &others);
    }

    fn star(&mut self, center: usize, others: &[usize]) {
        self.star.clear();
        for stream in [VIDEO, AUDIO] {
            let mut outlets = Vec::new();
            for node in others {
                let route = self.route_id();
                outlets.push(Self::outlet(*node, center, route, 1));
                let inlet = Some(Self::inlet(stream, center, center, route, 1));
                let outlets = Vec::new();
                self.order(*node, stream, Links { inlet, outlets });
            }
            let inlet = None;
            self.star.push((stream, outlets.clone()));
            self.order(center, stream, Links { inlet, outlets });
        }
    }

    /// As a controller does it: the new ways beside the old ones, and the old ones
    /// go when all say that the new ones have taken over.
    pub(crate) fn move_to(&mut self, from: usize, to: usize) {
        let others: Vec<_> = (0..self.nodes.len())
            .filter(|n| *n != from && *n != to)
            .collect();
        let before = self.nodes.iter().map(|node| node.arrives).collect();
        self.star(to, &others);
        self.moving = Some((from, to, before));
    }

    /// All have said that it arrives the new way.
    pub(crate) const fn has_moved(&self) -> bool {
        self.moving.is_none()
    }

    fn look_after_move(&mut self) {
        let Some((from, to, before)) = &self.moving else {
            return;
        };
        let (from, to) = (*from, *to);
        let arrived = |node: &usize| {
            let (now, before) = (self.nodes[*node].arrives, before[*node]);
            now[0] > before[0] && now[1] > before[1]
        };
        if !(0..self.nodes.len())
            .filter(|n| *n != from)
            .all(|n| arrived(&n))
        {
            return;
        }
        self.moving = None;
        // The last one gets it from there, too; nothing changes for the others.
        for (stream, mut outlets) in self.star.clone() {
            let route = self.route_id();
            outlets.push(Self::outlet(from, to, route, 1));
            let links = Links {
                inlet: Some(Self::inlet(stream, to, to, route, 1)),
                outlets: Vec::new(),
            };
            self.order(from, stream, links);
            let inlet = None;
            self.order(to, stream, Links { inlet, outlets });
        }
    }

    /// The link between two breaks, and comes back.
    pub(crate) fn sever(&mut self, a: usize, b: usize) {
        let key = self.link(a, b).unwrap();
        for (node, peer) in [(a, b), (b, a)] {
            self.nodes[node].links.remove(&key);
            self.nodes[node].early.retain(|(of, _), _| *of != key);
            let now = self.now;
            self.nodes[node].forwarder.session_down(key, now);
            self.carry_out(node);
            let _ = peer;
        }
        self.later(500, Event::LinkUp(a, b));
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

    fn speak(&mut self) {
        let header = DatagramHeader {
            frame_type: FrameType::Audio,
            user_id: UserId(1),
            stream: 2,
            timestamp_us: self.sent(),
            sequence: self.sequence,
            payload_bytes: 3,
            flags: Flags::WHOLE,
            extension: Extension::audio(
                AudioLevel {
                    voice: true,
                    below_overload_db: 20,
                },
                0,
            ),
        };
        self.sounds.push(self.sent());
        let datagram: Bytes = [&header.write()[..], b"abc"].concat().into();
        for node in self.sending_at.clone() {
            self.later(15, Event::Sound(node, datagram.clone()));
        }
    }

    fn show(&mut self) {
        let place = self.frames.len() as u64 % GROUP;
        let key = std::mem::take(&mut self.key_wanted) || place == 0;
        self.group += u32::from(key);
        let header = FrameHeader {
            frame_type: if key {
                FrameType::VideoKey
            } else {
                FrameType::VideoDelta
            },
            stream_id: VIDEO,
            timestamp_us: self.sent(),
            sequence: self.sequence,
            payload_bytes: 100,
            flags: Flags::WHOLE,
            extension: Extension::video(Encoding::MIN, 0, 0, self.group as u16),
        };
        self.frames.push(self.sent());
        for node in self.sending_at.clone() {
            let event = Event::Frame(node, header, vec![0; 100].into());
            self.in_order(node, sender(node), None, event);
        }
    }

    fn take(&mut self, event: Event) {
        let now = self.now;
        match event {
            Event::Order(node, stream, links, generation) => {
                let to = [(receiver(node), label(stream))];
                self.nodes[node]
                    .forwarder
                    .route_over(stream, to, *links, generation, now)
                    .unwrap();
                self.carry_out(node);
            }
            Event::LinkUp(a, b) => {
                self.counter += 1;
                let key = SessionKey(10_000 + self.counter);
                for (node, peer) in [(a, b), (b, a)] {
                    self.nodes[node].links.insert(key, peer);
                    self.nodes[node].forwarder.link_up(handler(peer), key, now);
                    self.carry_out(node);
                }
            }
            Event::Demand(node, key, route, wanted) => {
                let at = &mut self.nodes[node];
                if at.links.contains_key(&key)
                    && at.forwarder.link_demand(key, route, &wanted, now).is_err()
                {
                    at.early.insert((key, route), wanted);
                }
                self.carry_out(node);
            }
            Event::Keyframe(node, key, route, encoding) => {
                let forwarder = &mut self.nodes[node].forwarder;
                // Its order may not have come yet.
                let _ = forwarder.link_keyframe(key, route, encoding, now);
                self.carry_out(node);
            }
            Event::Datagram(node, key, datagram) => {
                // Its order may not have come yet, or it came another way.
                let forwarder = &mut self.nodes[node].forwarder;
                let _ = forwarder.link_datagram(key, datagram, now);
                self.carry_out(node);
            }
            Event::Stream(node, key, group, piece) => self.piece(node, key, group, piece),
            Event::Frame(node, header, payload) => self.sent_frame(node, header, payload),
            Event::Sound(node, datagram) => {
                let forwarder = &mut self.nodes[node].forwarder;
                let _ = forwarder.datagram(sender(node), datagram, now);
                self.carry_out(node);
            }
        }
    }

    fn piece(&mut self, node: usize, key: SessionKey, group: GroupKey, piece: Piece) {
        let now = self.now;
        if !self.nodes[node].links.contains_key(&key) {
            return;
        }
        let forwarder = &mut self.nodes[node].forwarder;
        let refused = match piece {
            Piece::Open(prefix, header) => {
                let opened = forwarder.link_group_opened(key, group, prefix, header);
                opened.is_err()
            }
            Piece::Frame(frame) => {
                let header = FrameHeader::parse(&frame.header).unwrap();
                let taken = forwarder.group_frame(key, group, &header, frame.payload, now);
                taken.is_err()
            }
            Piece::Finish => {
                forwarder.group_finished(key, group, now);
                false
            }
            Piece::Reset => {
                forwarder.group_reset(key, group);
                false
            }
        };
        self.carry_out(node);
        if refused {
            // STOP_SENDING: the other end hears of it at once here.
            self.stop_sending(node, key, group);
        }
    }

    fn stop_sending(&mut self, node: usize, key: SessionKey, group: GroupKey) {
        if let Some(peer) = self.nodes[node].links.get(&key).copied() {
            let out = OutGroup(group.0);
            self.nodes[peer].forwarder.refused(key, out);
            self.carry_out(peer);
        }
    }

    fn sent_frame(&mut self, node: usize, header: FrameHeader, payload: Bytes) {
        let (now, session) = (self.now, sender(node));
        let key = header.frame_type == FrameType::VideoKey;
        let at = &mut self.nodes[node];
        if key {
            if let Some(before) = at.upstream.take() {
                at.forwarder.group_finished(session, before, now);
            }
            let group = GroupKey(u64::from(header.extension.group));
            let opened = StreamHeader {
                stream_id: VIDEO,
                codec: FourCc::Vp8,
                encoding: Encoding::MIN,
                screen: false,
                group: u32::from(header.extension.group),
            };
            if at.forwarder.group_opened(session, group, opened).is_ok() {
                at.upstream = Some(group);
            }
        }
        if let Some(group) = at.upstream {
            let taken = at
                .forwarder
                .group_frame(session, group, &header, payload, now);
            if taken.is_err() {
                at.upstream = None;
            }
        }
        self.carry_out(node);
    }

    fn carry_out(&mut self, node: usize) {
        while let Some(output) = self.nodes[node].forwarder.poll_output() {
            self.output(node, output);
        }
    }

    fn output(&mut self, node: usize, output: Output) {
        match output {
            Output::Datagram { datagram, targets } => {
                let (header, _) = DatagramHeader::split(datagram.clone()).unwrap();
                for target in targets.iter() {
                    if target.session == client(node) {
                        assert_eq!(target.label, label(AUDIO).into());
                        self.nodes[node].got.sounds.push(header.timestamp_us);
                        continue;
                    }
                    let peer = self.nodes[node].links[&target.session];
                    let bits = target.label.to_bits();
                    let mut bytes = datagram.to_vec();
                    DatagramHeader::rewrite_label(&mut bytes, bits);
                    self.cross(
                        target.session,
                        peer,
                        RouteId(bits),
                        header.timestamp_us,
                        true,
                    );
                    self.later(40, Event::Datagram(peer, target.session, bytes.into()));
                }
            }
            Output::Stream { session, out, op } if session == client(node) => {
                self.receive(node, out, op);
            }
            Output::Stream { session, out, op } => {
                let peer = self.nodes[node].links[&session];
                let group = GroupKey(out.0);
                let piece = match op {
                    StreamOp::Open { header, prefix, .. } => Piece::Open(prefix.unwrap(), header),
                    StreamOp::Frame(frame) => {
                        self.nodes[node].forwarder.written(session, out, 1);
                        let header = FrameHeader::parse(&frame.header).unwrap();
                        let route = RouteId(u32::try_from(out.0).unwrap());
                        self.cross(session, peer, route, header.timestamp_us, false);
                        Piece::Frame(frame)
                    }
                    StreamOp::Finish => Piece::Finish,
                    StreamOp::Reset(_) => Piece::Reset,
                };
                let event = Event::Stream(peer, session, group, piece);
                self.in_order(peer, session, Some(group), event);
            }
            Output::RequestKeyframe { .. } => self.key_wanted = true,
            Output::StopGroup { session, group, .. } => {
                if session == sender(node) {
                    if self.nodes[node].upstream == Some(group) {
                        self.nodes[node].upstream = None;
                    }
                    self.nodes[node].forwarder.group_reset(session, group);
                } else {
                    self.nodes[node].forwarder.group_reset(session, group);
                    self.stop_sending(node, session, group);
                }
            }
            Output::LinkKeyframe {
                session,
                route,
                encoding,
            } => {
                let peer = self.nodes[node].links[&session];
                let event = Event::Keyframe(peer, session, route, encoding);
                self.in_order(peer, session, None, event);
            }
            Output::LinkDemand {
                session,
                route,
                encodings,
            } => {
                let peer = self.nodes[node].links[&session];
                let event = Event::Demand(peer, session, route, encodings);
                self.in_order(peer, session, None, event);
            }
            Output::LinkRoute {
                handler: to,
                route,
                incoming,
                known,
            } => {
                let peer = (0..self.nodes.len()).find(|n| handler(*n) == to).unwrap();
                if let (Some(key), false, true) = (self.link(node, peer), incoming, known)
                    && let Some(wanted) = self.nodes[node].early.remove(&(key, route))
                {
                    let now = self.now;
                    let forwarder = &mut self.nodes[node].forwarder;
                    forwarder.link_demand(key, route, &wanted, now).unwrap();
                }
            }
            Output::Flow {
                stream_id,
                arriving,
            } => {
                if arriving {
                    self.nodes[node].arrives[usize::from(stream_id == AUDIO)] += 1;
                }
            }
            Output::Close { .. } => panic!("nobody is closed"),
            Output::Padding { .. }
            | Output::Speakers(_)
            | Output::Demand { .. }
            | Output::SenderReport { .. } => {}
        }
    }

    fn cross(&mut self, key: SessionKey, to: usize, route: RouteId, at: u64, sound: bool) {
        *self.crossed.entry((key, to, route, at, sound)).or_default() += 1;
    }

    fn receive(&mut self, node: usize, out: OutGroup, op: StreamOp) {
        if let StreamOp::Frame(frame) = op {
            let header = FrameHeader::parse(&frame.header).unwrap();
            let got = &mut self.nodes[node].got;
            let before = got.newest.insert(out, header.timestamp_us);
            assert!(before.is_none_or(|before| before < header.timestamp_us));
            assert!(before.is_some() || header.frame_type == FrameType::VideoKey);
            got.frames.push(header.timestamp_us);
            self.nodes[node].forwarder.written(client(node), out, 1);
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
    pub(crate) fn check_all(
        &self,
        node: usize,
        _frames: &[u64],
        sounds: &[u64],
    ) -> Result<(), TestCaseError> {
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
