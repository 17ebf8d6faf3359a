//! A meeting of people who send a camera of three encodings and a microphone,
//! and of receivers behind links.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::{Duration, Instant},
};

use bytes::Bytes;
use dt_forward_core::{
    Config, ENCODINGS_MAX, EncodingSpec, Forwarder, Generation, GroupKey, OutGroup, Output,
    ReceiverReport, SessionKey, StreamOp, StreamSpec, Tile,
};
use dt_frame::{
    AudioLevel, DatagramHeader, Extension, Flags, FourCc, FrameHeader, FrameType, MediaKind,
    SlotLabel, StreamHeader,
};
use dt_ids::{Encoding, ParticipantId, Slot, StreamId, StreamNumber, UserId};
use rand::{RngExt, SeedableRng, rngs::StdRng};

use super::link::{Arrived, Link, Shape};

pub(crate) const STEP: Duration = Duration::from_millis(5);
/// Frames a second, every other one of the upper layer.
const FPS: u64 = 20;
/// From a demand to what the sender does.
const CONTROL: Duration = Duration::from_millis(60);
pub(crate) const LAYERS: [(u32, u32, u32); 3] = [
    (320, 180, 100_000),
    (640, 360, 400_000),
    (1280, 720, 1_500_000),
];

#[derive(Debug, Default, Clone)]
struct Layer {
    active: bool,
    key: bool,
    group: u64,
    base: u8,
    sequence: u64,
}

struct Sender {
    layers: Vec<Layer>,
    /// When which encodings are to be sent.
    demands: Vec<(Instant, BTreeSet<u8>)>,
    keys: Vec<(Instant, u8)>,
    audio: u64,
}

/// What a receiver has of one camera.
#[derive(Debug, Default)]
pub(crate) struct Screen {
    encoding: u8,
    counter: Option<u8>,
    /// When each picture was shown, and of which encoding.
    pub(crate) shown: Vec<(Instant, u8)>,
    newest: u64,
    /// When the group began that is shown.
    began: u64,
    /// It can't go on without a key frame.
    broken: bool,
    wanted: u8,
    asked: Option<Instant>,
    /// Pieces of the picture that arrives.
    pieces: BTreeMap<u64, u16>,
    /// The encoding that the handler sends.
    sent: Option<u8>,
    pub(crate) switches: Vec<Instant>,
}

pub(crate) struct Receiver {
    pub(crate) session: SessionKey,
    pub(crate) link: Link,
    pub(crate) screens: BTreeMap<u8, Screen>,
    pub(crate) heard: BTreeMap<u8, BTreeSet<u64>>,
    pub(crate) rtts: Vec<(Instant, f64)>,
    pub(crate) hidden: BTreeSet<u8>,
    hidden_since: Option<Instant>,
    outs: HashMap<OutGroup, (u8, u8)>,
    open: BTreeSet<OutGroup>,
}

pub(crate) struct World {
    pub(crate) forwarder: Forwarder,
    pub(crate) start: Instant,
    pub(crate) now: Instant,
    senders: Vec<Sender>,
    pub(crate) receivers: Vec<Receiver>,
    step: u64,
    rng: StdRng,
    pub(crate) datagrams: bool,
}

fn person(n: u8) -> ParticipantId {
    ParticipantId::from_bytes([n + 1; 16])
}

fn video(n: u8) -> StreamId {
    StreamId::from_bytes([0x40 + n; 16])
}

fn audio(n: u8) -> StreamId {
    StreamId::from_bytes([0xc0 + n; 16])
}

fn slot(n: u8, audio: bool) -> u32 {
    u32::from(n) + if audio { 101 } else { 1 }
}

impl World {
    /// `datagrams`: pictures go on that carrier.
    pub(crate) fn new(senders: u8, links: &[Shape], seed: u64, datagrams: bool) -> Self {
        let now = Instant::now();
        let mut rng = StdRng::seed_from_u64(seed);
        let mut world = Self {
            forwarder: Forwarder::new(Config::default()),
            start: now,
            now,
            senders: Vec::new(),
            receivers: Vec::new(),
            step: 0,
            rng: StdRng::seed_from_u64(rng.random()),
            datagrams,
        };
        for n in 0..senders {
            world.join_sender(n);
        }
        for (n, shape) in links.iter().enumerate() {
            let link = Link::new(*shape, StdRng::seed_from_u64(rng.random()), now);
            world.join_receiver(senders + u8::try_from(n).unwrap(), link);
        }
        let order = Generation {
            lease: 1,
            counter: 9,
        };
        for n in 0..senders {
            for (stream, is_audio) in [(video(n), false), (audio(n), true)] {
                let to = (0..links.len()).map(|r| {
                    let label = Slot::try_from(slot(n, is_audio)).unwrap();
                    let who = person(senders + u8::try_from(r).unwrap());
                    (who, SlotLabel::new(1, label))
                });
                world.forwarder.route(stream, to, order, now).unwrap();
            }
        }
        world
    }

    fn join(&mut self, n: u8, streams: &[StreamSpec]) {
        let order = Generation {
            lease: 1,
            counter: 1,
        };
        let user = UserId(u64::from(n) + 1);
        self.forwarder
            .register(person(n), user, streams, order, self.now)
            .unwrap();
        self.forwarder
            .session_up(person(n), SessionKey(u64::from(n)), self.now)
            .unwrap();
    }

    fn join_sender(&mut self, n: u8) {
        let mut layers = [EncodingSpec::default(); ENCODINGS_MAX];
        for (spec, (width, height, bps)) in layers.iter_mut().zip(LAYERS) {
            *spec = EncodingSpec::new(width, height, bps);
        }
        let camera = StreamSpec {
            stream_id: video(n),
            number: StreamNumber::try_from(1).unwrap(),
            kind: MediaKind::Video,
            codec: Some(FourCc::Vp8),
            encodings: 3,
            layers,
            muted: false,
        };
        let microphone = StreamSpec {
            stream_id: audio(n),
            number: StreamNumber::try_from(2).unwrap(),
            kind: MediaKind::Audio,
            codec: Some(FourCc::Opus),
            encodings: 1,
            layers: [EncodingSpec::default(); ENCODINGS_MAX],
            muted: false,
        };
        self.join(n, &[camera, microphone]);
        let layer = Layer {
            active: true,
            key: true,
            ..Layer::default()
        };
        self.senders.push(Sender {
            layers: vec![layer; 3],
            demands: Vec::new(),
            keys: Vec::new(),
            audio: 0,
        });
    }

    fn join_receiver(&mut self, n: u8, link: Link) {
        self.join(n, &[]);
        self.receivers.push(Receiver {
            session: SessionKey(u64::from(n)),
            link,
            screens: BTreeMap::new(),
            heard: BTreeMap::new(),
            rtts: Vec::new(),
            hidden: BTreeSet::new(),
            hidden_since: None,
            outs: HashMap::new(),
            open: BTreeSet::new(),
        });
    }

    /// A receiver shows all cameras but these.
    pub(crate) fn hide(&mut self, receiver: usize, hidden: &[u8], size: (u32, u32)) {
        let tiles = (0..u8::try_from(self.senders.len()).unwrap())
            .filter(|n| !hidden.contains(n))
            .map(|n| Tile {
                slot: slot(n, false),
                width: size.0,
                height: size.1,
                max_bitrate_bps: 0,
            })
            .collect();
        let report = ReceiverReport {
            tiles,
            ..ReceiverReport::default()
        };
        let at = &mut self.receivers[receiver];
        at.hidden = hidden.iter().copied().collect();
        at.hidden_since = Some(self.now);
        let session = at.session;
        self.forwarder.receiver_report(session, &report, self.now);
        self.carry_out();
    }

    pub(crate) fn seconds(&self) -> f64 {
        self.now.duration_since(self.start).as_secs_f64()
    }

    /// Until so many seconds after the start.
    pub(crate) fn run_to(&mut self, seconds: f64) {
        while self.seconds() < seconds {
            self.step();
        }
    }

    fn step(&mut self) {
        self.now += STEP;
        self.step += 1;
        let ms = self.step * 5;
        for n in 0..self.senders.len() {
            self.obey(n);
            if ms.is_multiple_of(20) {
                self.speak(u8::try_from(n).unwrap());
            }
            // Cameras are not in step.
            if (ms + 15 * n as u64).is_multiple_of(1000 / FPS) {
                self.picture(n);
            }
        }
        if ms.is_multiple_of(50) {
            for receiver in &self.receivers {
                let (session, sample) = (receiver.session, receiver.link.sample);
                self.forwarder.path(session, &sample, self.now);
            }
            self.forwarder.tick(self.now);
        }
        self.carry_out();
        let now = self.now;
        for receiver in &mut self.receivers {
            for arrived in receiver.link.run(now) {
                receiver.take(arrived, now);
            }
            for (n, screen) in &mut receiver.screens {
                let again = screen
                    .asked
                    .is_none_or(|at| now.duration_since(at) > Duration::from_secs(1));
                if screen.broken && again {
                    screen.asked = Some(now);
                    let encoding = Encoding::try_from(u32::from(screen.wanted)).unwrap();
                    let _ =
                        self.forwarder
                            .keyframe_request(receiver.session, video(*n), encoding, now);
                }
            }
            receiver.rtts.push((now, receiver.link.true_rtt()));
            if ms.is_multiple_of(1000) {
                receiver.link.forget(&receiver.open);
            }
        }
    }

    fn obey(&mut self, n: usize) {
        let now = self.now;
        let sender = &mut self.senders[n];
        while sender.demands.first().is_some_and(|(at, _)| *at <= now) {
            let (_, wanted) = sender.demands.remove(0);
            for (number, layer) in (0u8..).zip(&mut sender.layers) {
                let active = wanted.contains(&number);
                layer.key |= active && !layer.active;
                layer.active = active;
            }
        }
        while sender.keys.first().is_some_and(|(at, _)| *at <= now) {
            let (_, number) = sender.keys.remove(0);
            sender.layers[usize::from(number)].key = true;
        }
    }

    fn timestamp(&self) -> u64 {
        u64::try_from(self.now.duration_since(self.start).as_micros()).unwrap()
    }

    fn speak(&mut self, n: u8) {
        let timestamp_us = self.timestamp();
        let sender = &mut self.senders[usize::from(n)];
        sender.audio += 1;
        let level = AudioLevel {
            voice: true,
            below_overload_db: 20,
        };
        let header = DatagramHeader {
            frame_type: FrameType::Audio,
            user_id: UserId(u64::from(n) + 1),
            stream: 2,
            timestamp_us,
            sequence: sender.audio,
            payload_bytes: 80,
            flags: Flags::WHOLE,
            extension: Extension::audio(level, 0),
        };
        let datagram = [&header.write()[..], &[0; 80]].concat();
        let session = SessionKey(u64::from(n));
        self.forwarder
            .datagram(session, datagram.into(), self.now)
            .unwrap();
    }

    fn picture(&mut self, n: usize) {
        let timestamp_us = self.timestamp();
        let frame = self.step * 5 / (1000 / FPS);
        for number in 0..3u8 {
            let layer = &mut self.senders[n].layers[usize::from(number)];
            if !layer.active {
                continue;
            }
            let key = std::mem::take(&mut layer.key);
            let upper = !key && frame % 2 == 1;
            let new_group = key;
            if key {
                layer.group += 1;
            }
            layer.base = layer.base.wrapping_add(u8::from(!upper));
            layer.sequence += 1;
            let average = f64::from(LAYERS[usize::from(number)].2) / 8.0 / FPS as f64;
            let share = if key {
                4.0
            } else if upper {
                0.8
            } else {
                1.2
            };
            let noise = self.rng.random_range(0.7..1.3);
            let bytes = (average * share * noise) as usize;
            let layer = layer.clone();
            let picture = Picture {
                n: u8::try_from(n).unwrap(),
                number,
                key,
                upper,
                bytes,
                timestamp_us,
                layer,
            };
            if self.datagrams {
                self.as_datagrams(&picture);
            } else {
                self.on_stream(&picture, new_group);
            }
        }
    }

    fn on_stream(&mut self, picture: &Picture, new_group: bool) {
        let session = SessionKey(u64::from(picture.n));
        let key = |group: u64| GroupKey(group * 4 + u64::from(picture.number));
        let group = key(picture.layer.group);
        if new_group {
            let header = StreamHeader {
                stream_id: video(picture.n),
                codec: FourCc::Vp8,
                encoding: picture.encoding(),
                screen: false,
                group: u32::try_from(picture.layer.group).unwrap(),
            };
            if picture.layer.group > 1 {
                let before = key(picture.layer.group - 1);
                self.forwarder.group_finished(session, before);
            }
            self.forwarder.group_opened(session, group, header).unwrap();
        }
        let header = FrameHeader {
            frame_type: picture.frame_type(),
            stream_id: video(picture.n),
            timestamp_us: picture.timestamp_us,
            sequence: picture.layer.sequence,
            payload_bytes: u32::try_from(picture.bytes).unwrap(),
            flags: picture.flags(),
            extension: picture.extension(),
        };
        let payload = Bytes::from(vec![0; picture.bytes]);
        // It may have been stopped when a newer one took its place.
        let _ = self
            .forwarder
            .group_frame(session, group, &header, payload, self.now);
    }

    fn as_datagrams(&mut self, picture: &Picture) {
        let session = SessionKey(u64::from(picture.n));
        let pieces = picture.bytes.div_ceil(1000).max(1);
        for piece in 0..pieces {
            let layer =
                &mut self.senders[usize::from(picture.n)].layers[usize::from(picture.number)];
            layer.sequence += 1;
            let bytes = (picture.bytes - piece * 1000).min(1000);
            let mut extension = picture.extension();
            extension.fragment = u16::try_from(piece).unwrap();
            let header = DatagramHeader {
                frame_type: picture.frame_type(),
                user_id: UserId(u64::from(picture.n) + 1),
                stream: 1,
                timestamp_us: picture.timestamp_us,
                sequence: layer.sequence,
                payload_bytes: u32::try_from(bytes).unwrap(),
                flags: Flags {
                    start: piece == 0,
                    end: piece + 1 == pieces,
                    ..picture.flags()
                },
                extension,
            };
            let datagram = [&header.write()[..], &vec![0; bytes]].concat();
            self.forwarder
                .datagram(session, datagram.into(), self.now)
                .unwrap();
        }
    }

    fn carry_out(&mut self) {
        while let Some(output) = self.forwarder.poll_output() {
            match output {
                Output::Datagram { datagram, targets } => {
                    for target in &*targets {
                        let now = self.now;
                        let receiver = self.receiver(target.session);
                        receiver.sent_datagram(&datagram, now);
                        let sound = datagram[1] == FrameType::Audio.to_byte();
                        receiver.link.datagram(datagram.clone(), sound);
                    }
                }
                Output::Stream { session, out, op } => self.stream(session, out, op),
                Output::RequestKeyframe {
                    session, encoding, ..
                } => {
                    let at = self.now + CONTROL / 2;
                    let sender = &mut self.senders[usize::try_from(session.0).unwrap()];
                    sender.keys.push((at, encoding.get()));
                }
                Output::Demand {
                    stream_id,
                    encodings,
                } => {
                    let at = self.now + CONTROL;
                    let n = (0..).find(|n| video(*n) == stream_id).unwrap();
                    let wanted = encodings.iter().map(|w| w.encoding.get()).collect();
                    self.senders[usize::from(n)].demands.push((at, wanted));
                }
                Output::Padding { session, bytes } => {
                    let receiver = self.receiver(session);
                    for _ in 0..bytes.div_ceil(1050) {
                        let mut padding = vec![0; 1000];
                        padding[0] = b'p';
                        receiver.link.datagram(padding.into(), false);
                    }
                }
                Output::StopGroup { .. } | Output::SenderReport { .. } | Output::Speakers(_) => {}
                Output::Close { .. } => panic!("nobody leaves"),
            }
        }
    }

    fn receiver(&mut self, session: SessionKey) -> &mut Receiver {
        self.receivers
            .iter_mut()
            .find(|receiver| receiver.session == session)
            .unwrap()
    }

    fn stream(&mut self, session: SessionKey, out: OutGroup, op: StreamOp) {
        let now = self.now;
        let receiver = self.receiver(session);
        match op {
            StreamOp::Open { header, priority } => {
                let n = (0..).find(|n| video(*n) == header.stream_id).unwrap();
                receiver.outs.insert(out, (n, header.encoding.get()));
                receiver.open.insert(out);
                receiver.sends(n, header.encoding.get(), true, now);
                receiver.link.open(out, priority);
            }
            StreamOp::Frame(frame) => {
                let (n, encoding) = receiver.outs[&out];
                receiver.sends(n, encoding, false, now);
                receiver.link.frame(out, frame);
                self.forwarder.written(session, out, 1);
            }
            StreamOp::Finish => {
                receiver.open.remove(&out);
            }
            StreamOp::Reset(_) => {
                receiver.open.remove(&out);
                receiver.link.reset(out);
            }
        }
    }

    /// Sounds that were sent since, and how many of them a receiver heard.
    pub(crate) fn heard(&self, receiver: usize, from: f64, to: f64) -> f64 {
        let count = |at: f64| (at * 50.0) as u64;
        let mut least: f64 = 1.0;
        for n in 0..u8::try_from(self.senders.len()).unwrap() {
            let heard = self.receivers[receiver].heard.get(&n);
            let range = count(from)..count(to);
            let all = range.end - range.start;
            let came = heard.map_or(0, |heard| heard.range(range).count());
            least = least.min(came as f64 / all as f64);
        }
        least
    }
}

struct Picture {
    n: u8,
    number: u8,
    key: bool,
    upper: bool,
    bytes: usize,
    timestamp_us: u64,
    layer: Layer,
}

impl Picture {
    fn encoding(&self) -> Encoding {
        Encoding::try_from(u32::from(self.number)).unwrap()
    }

    fn frame_type(&self) -> FrameType {
        if self.key {
            FrameType::VideoKey
        } else {
            FrameType::VideoDelta
        }
    }

    fn flags(&self) -> Flags {
        Flags {
            discardable: self.upper,
            ..Flags::WHOLE
        }
    }

    fn extension(&self) -> Extension {
        #[allow(clippy::cast_possible_truncation)] // low 16 bits
        Extension::video(
            self.encoding(),
            u8::from(self.upper),
            self.layer.base,
            self.layer.group as u16,
        )
    }
}

impl Receiver {
    /// The handler sends a piece of a camera's encoding; `begins`: a key frame.
    fn sends(&mut self, n: u8, encoding: u8, begins: bool, now: Instant) {
        if let Some(since) = self.hidden_since {
            let shown = !self.hidden.contains(&n) || now == since;
            assert!(shown, "nothing is sent for a hidden tile");
        }
        let screen = self.screens.entry(n).or_default();
        if screen.sent != Some(encoding) {
            assert!(begins, "another encoding begins with a key frame");
            if screen.sent.is_some() {
                screen.switches.push(now);
            }
            screen.sent = Some(encoding);
        }
    }

    fn sent_datagram(&mut self, datagram: &Bytes, now: Instant) {
        let header = DatagramHeader::parse(datagram).unwrap();
        if header.frame_type != FrameType::Audio {
            let n = u8::try_from(header.user_id.0 - 1).unwrap();
            let key = header.frame_type == FrameType::VideoKey;
            self.sends(n, header.extension.encoding.get(), key, now);
        }
    }

    fn take(&mut self, arrived: Arrived, now: Instant) {
        match arrived {
            Arrived::Datagram(datagram) if datagram[0] == b'p' => {}
            Arrived::Datagram(datagram) => {
                let header = DatagramHeader::parse(&datagram).unwrap();
                let n = u8::try_from(header.user_id.0 - 1).unwrap();
                if header.frame_type == FrameType::Audio {
                    self.heard.entry(n).or_default().insert(header.sequence);
                } else {
                    let pieces = &mut self.screens.entry(n).or_default().pieces;
                    let came = pieces.entry(header.timestamp_us).or_default();
                    *came += 1;
                    let whole = header.flags.end && *came == header.extension.fragment + 1;
                    while pieces.len() > 8 {
                        pieces.pop_first();
                    }
                    if whole {
                        self.show(
                            n,
                            header.frame_type,
                            header.timestamp_us,
                            header.extension,
                            now,
                        );
                    }
                }
            }
            Arrived::Frame(out, frame) => {
                let (n, _) = self.outs[&out];
                let header = FrameHeader::parse(&frame.header).unwrap();
                self.show(
                    n,
                    header.frame_type,
                    header.timestamp_us,
                    header.extension,
                    now,
                );
            }
        }
    }

    fn show(
        &mut self,
        n: u8,
        frame_type: FrameType,
        timestamp_us: u64,
        extension: Extension,
        now: Instant,
    ) {
        let screen = self.screens.entry(n).or_default();
        let encoding = extension.encoding.get();
        let counter = extension.detail;
        if frame_type == FrameType::VideoKey {
            if timestamp_us < screen.began {
                return;
            }
            screen.began = timestamp_us;
            screen.broken = false;
            screen.encoding = encoding;
            screen.counter = Some(counter);
        } else if screen.encoding != encoding {
            // Its key frame did not come whole.
            if timestamp_us > screen.newest {
                screen.broken = true;
                screen.wanted = encoding;
            }
            return;
        } else if extension.temporal_layer > 0 {
            if screen.counter != Some(counter) {
                return;
            }
        } else if screen.counter.map(|c| c.wrapping_add(1)) == Some(counter) {
            screen.counter = Some(counter);
        } else {
            screen.broken = true;
            screen.wanted = encoding;
            return;
        }
        if timestamp_us > screen.newest {
            screen.newest = timestamp_us;
            screen.shown.push((now, encoding));
        }
    }
}
