//! A meeting of people who send a camera of three encodings and a microphone,
//! and of receivers behind links.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::{Duration, Instant},
};

use bytes::Bytes;
use dt_forward_core::{
    Config, ENCODINGS_MAX, EncodingSpec, Forwarder, Generation, OutGroup, Output, ReceiverReport,
    SessionKey, StreamOp, StreamSpec, Tile,
};
use dt_frame::{FourCc, FrameType, MediaKind, SlotLabel};
use dt_ids::{Encoding, ParticipantId, Slot, StreamId, StreamNumber, UserId};
use rand::{RngExt, SeedableRng, rngs::StdRng};

use super::{
    link::{Link, Shape},
    screen::Receiver,
    sending::{Layer, Sender},
};

pub(crate) const STEP: Duration = Duration::from_millis(5);
/// Frames a second, every other one of the upper layer.
pub(crate) const FPS: u64 = 20;
/// From a demand to what the sender does.
const CONTROL: Duration = Duration::from_millis(60);
pub(crate) const LAYERS: [(u32, u32, u32); 3] = [
    (320, 180, 100_000),
    (640, 360, 400_000),
    (1280, 720, 1_500_000),
];

pub(crate) struct World {
    pub(crate) forwarder: Forwarder,
    pub(crate) start: Instant,
    pub(crate) now: Instant,
    pub(crate) senders: Vec<Sender>,
    pub(crate) receivers: Vec<Receiver>,
    pub(crate) step: u64,
    pub(crate) rng: StdRng,
    pub(crate) datagrams: bool,
}

fn person(n: u8) -> ParticipantId {
    ParticipantId::from_bytes([n + 1; 16])
}

pub(crate) fn video(n: u8) -> StreamId {
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
            for receiver in &mut self.receivers {
                let (session, sample) = (receiver.session, receiver.link.look());
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
                    for piece in padding(if receiver.link.is_idle() { bytes } else { 0 }) {
                        receiver.link.queue(piece);
                    }
                }
                Output::StopGroup { .. }
                | Output::SenderReport { .. }
                | Output::Flow { .. }
                | Output::Speakers(_) => {}
                Output::LinkKeyframe { .. }
                | Output::LinkDemand { .. }
                | Output::LinkRoute { .. } => panic!("there are no links"),
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
            StreamOp::Open {
                header, priority, ..
            } => {
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

/// As the handler makes it: no more than was asked for.
fn padding(bytes: usize) -> impl Iterator<Item = Bytes> {
    (0..bytes).step_by(1060).map(move |from| {
        let whole = (bytes - from).min(1060);
        let mut piece = vec![0; whole.saturating_sub(60).max(1)];
        piece[0] = b'p';
        piece.into()
    })
}
