//! Tests of single rules; `tests/simulation.rs` tests them all together.

mod forwarding;
mod made_here;
mod orders;
mod slowness;

use bytes::Bytes;
use dt_frame::SlotLabel;
use dt_frame::{
    AudioLevel, DatagramHeader, Extension, Flags, FourCc, FrameHeader, FrameType, MediaKind,
    StreamHeader,
};
use dt_ids::{Encoding, Slot};

use super::*;
use crate::{
    DropReason, ENCODINGS_MAX, EncodingSpec, FrameBytes, GroupKey, Quota, StopGroup, StreamOp,
    Target, reset_code,
};

const SENDER: SessionKey = SessionKey(100);
const RECEIVER: SessionKey = SessionKey(200);

fn person(n: u8) -> ParticipantId {
    ParticipantId::from_bytes([n; 16])
}

fn video() -> StreamSpec {
    StreamSpec {
        stream_id: StreamId::from_bytes([0xa1; 16]),
        number: StreamNumber::MIN,
        kind: MediaKind::Video,
        codec: Some(FourCc::Vp8),
        encodings: 1,
        layers: [EncodingSpec::default(); ENCODINGS_MAX],
        muted: false,
    }
}

fn audio() -> StreamSpec {
    StreamSpec {
        stream_id: StreamId::from_bytes([0xa2; 16]),
        number: StreamNumber::MAX,
        kind: MediaKind::Audio,
        codec: Some(FourCc::Opus),
        encodings: 1,
        layers: [EncodingSpec::default(); ENCODINGS_MAX],
        muted: false,
    }
}

fn order(counter: u64) -> Generation {
    Generation { lease: 1, counter }
}

fn label(slot: u32) -> SlotLabel {
    SlotLabel::new(1, Slot::try_from(slot).unwrap())
}

fn group_header(group: u32) -> StreamHeader {
    StreamHeader {
        stream_id: video().stream_id,
        codec: FourCc::Vp8,
        encoding: Encoding::MIN,
        screen: false,
        group,
    }
}

/// A meeting of one sender and one receiver and a clock.
struct World {
    forwarder: Forwarder,
    now: Instant,
    sequence: u64,
}

impl World {
    fn new(config: Config) -> Self {
        let mut world = Self {
            forwarder: Forwarder::new(config),
            now: Instant::now(),
            sequence: 0,
        };
        let streams = [video(), audio()];
        world.register(1, &streams, 1);
        world.register(2, &[], 1);
        world.up(1, SENDER);
        world.up(2, RECEIVER);
        world
    }

    fn routed() -> Self {
        let mut world = Self::new(Config::default());
        world.route(&[2], 2);
        world
    }

    fn register(&mut self, who: u8, streams: &[StreamSpec], counter: u64) {
        let user = UserId(u64::from(who));
        self.forwarder
            .register(person(who), user, streams, order(counter), self.now)
            .unwrap();
    }

    fn up(&mut self, who: u8, session: SessionKey) {
        self.forwarder
            .session_up(person(who), session, self.now)
            .unwrap();
    }

    /// Both streams of the sender go to these.
    fn route(&mut self, to: &[u8], counter: u64) {
        for (slot, spec) in [(1, video()), (2, audio())] {
            let destinations = to.iter().map(|who| (person(*who), label(slot)));
            self.forwarder
                .route(spec.stream_id, destinations, order(counter), self.now)
                .unwrap();
        }
    }

    fn outputs(&mut self) -> Vec<Output> {
        let all = std::iter::from_fn(|| self.forwarder.poll_output());
        // Of those `links` tells.
        all.filter(|output| !matches!(output, Output::Flow { .. }))
            .collect()
    }

    fn datagram(&mut self, spec: &StreamSpec, frame_type: FrameType) -> Result<(), DropReason> {
        let bytes = self.datagram_bytes(spec, frame_type, 1);
        self.forwarder.datagram(SENDER, bytes, self.now)
    }

    fn datagram_bytes(&mut self, spec: &StreamSpec, frame_type: FrameType, user: u64) -> Bytes {
        self.sequence += 1;
        let header = DatagramHeader {
            frame_type,
            user_id: UserId(user),
            stream: u32::from(spec.number.get()),
            timestamp_us: self.sequence * 20_000,
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
        [&header.write()[..], b"abc"].concat().into()
    }

    fn open(&mut self, group: u64) -> Result<(), StopGroup> {
        let header = group_header(u32::try_from(group).unwrap());
        self.forwarder.group_opened(SENDER, GroupKey(group), header)
    }

    fn frame(&mut self, group: u64, frame_type: FrameType, bytes: usize) -> Result<(), StopGroup> {
        self.sequence += 1;
        #[allow(clippy::cast_possible_truncation)] // the numbers of the tests are small
        let header = FrameHeader {
            frame_type,
            stream_id: video().stream_id,
            timestamp_us: self.sequence * 33_333,
            sequence: self.sequence,
            payload_bytes: bytes as u32,
            flags: Flags::WHOLE,
            extension: Extension::video(Encoding::MIN, 0, 0, group as u16),
        };
        let payload = Bytes::from(vec![0; bytes]);
        self.forwarder
            .group_frame(SENDER, GroupKey(group), &header, payload, self.now)
    }

    fn pass(&mut self, ms: u64) {
        self.now += Duration::from_millis(ms);
        self.forwarder.tick(self.now);
    }

    fn dropped(&self, reason: DropReason) -> u64 {
        self.forwarder.counters().dropped(reason)
    }
}

/// The operations on streams, in words.
fn ops(outputs: &[Output]) -> Vec<String> {
    let words = |output: &Output| match output {
        Output::Stream { session, out, op } => {
            let op = match op {
                StreamOp::Open { header, .. } => format!("open {}", header.group),
                StreamOp::Frame(frame) => {
                    format!(
                        "frame {}",
                        FrameHeader::parse(&frame.header).unwrap().sequence
                    )
                }
                StreamOp::Finish => "finish".to_owned(),
                StreamOp::Reset(code) => format!("reset {code}"),
            };
            Some(format!("{}/{} {op}", session.0, out.0))
        }
        _ => None,
    };
    outputs.iter().filter_map(words).collect()
}

fn asks(outputs: &[Output]) -> usize {
    let ask = |o: &&Output| {
        matches!(
            o,
            Output::RequestKeyframe {
                session: SENDER,
                ..
            }
        )
    };
    outputs.iter().filter(ask).count()
}
