//! Tests of single rules; `tests/simulation.rs` tests them all together.

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
        std::iter::from_fn(|| self.forwarder.poll_output()).collect()
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

#[test]
fn a_datagram_goes_to_the_routed_receivers_with_their_labels() {
    let mut world = World::routed();
    world.outputs();
    world.datagram(&audio(), FrameType::Audio).unwrap();
    let outputs = world.outputs();
    let [Output::Datagram { targets, .. }] = &outputs[..] else {
        panic!("one datagram is expected, not {outputs:?}");
    };
    let target = Target {
        session: RECEIVER,
        label: label(2),
    };
    assert_eq!(targets[..], [target]);
}

#[test]
fn what_is_not_registered_to_its_session_is_dropped_and_counted() {
    let mut world = World::routed();
    world.outputs();
    let mut foreign = audio();
    foreign.number = StreamNumber::try_from(9).unwrap();
    assert_eq!(
        world.datagram(&foreign, FrameType::Audio),
        Err(DropReason::UnregisteredStream)
    );
    assert_eq!(
        world.datagram(&audio(), FrameType::VideoKey),
        Err(DropReason::WrongKind)
    );
    let forged = world.datagram_bytes(&audio(), FrameType::Audio, 2);
    let now = world.now;
    let result = world.forwarder.datagram(SENDER, forged.clone(), now);
    assert_eq!(result, Err(DropReason::ForeignUser));
    // The receiver has the user id, but not the stream.
    let result = world.forwarder.datagram(RECEIVER, forged, now);
    assert_eq!(result, Err(DropReason::UnregisteredStream));
    let other = GroupKey(1);
    let result = world
        .forwarder
        .group_opened(RECEIVER, other, group_header(1));
    assert_eq!(result.unwrap_err().code, reset_code::INVALID_FORMAT);
    let mut header = group_header(1);
    header.encoding = Encoding::MAX;
    let result = world.forwarder.group_opened(SENDER, other, header);
    assert_eq!(result.unwrap_err().reason, DropReason::UnregisteredEncoding);
    assert!(world.outputs().is_empty());
    assert_eq!(world.forwarder.counters().dropped_total(), 6);
}

#[test]
fn a_new_receiver_starts_with_the_kept_group_at_once() {
    let mut world = World::new(Config::default());
    world.open(5).unwrap();
    world.frame(5, FrameType::VideoKey, 1000).unwrap();
    world.frame(5, FrameType::VideoDelta, 100).unwrap();
    assert!(world.outputs().is_empty());
    world.route(&[2], 2);
    world.frame(5, FrameType::VideoDelta, 100).unwrap();
    world.forwarder.group_finished(SENDER, GroupKey(5));
    let outputs = world.outputs();
    assert_eq!(
        ops(&outputs),
        [
            "200/0 open 5",
            "200/0 frame 1",
            "200/0 frame 2",
            "200/0 frame 3",
            "200/0 finish"
        ]
    );
    assert_eq!(asks(&outputs), 0);
}

#[test]
fn when_the_group_is_too_old_or_too_large_a_key_frame_is_asked_for_instead() {
    for too_large in [false, true] {
        let mut world = World::new(Config::default());
        world.open(5).unwrap();
        world.frame(5, FrameType::VideoKey, 1000).unwrap();
        if too_large {
            world.frame(5, FrameType::VideoDelta, 1 << 20).unwrap();
        } else {
            world.pass(2001);
        }
        world.route(&[2], 2);
        let outputs = world.outputs();
        assert_eq!((ops(&outputs).len(), asks(&outputs)), (0, 1));
        world.frame(5, FrameType::VideoDelta, 10).unwrap();
        assert!(
            ops(&world.outputs()).is_empty(),
            "a delta frame alone is of no use"
        );
        world.open(6).unwrap();
        world.frame(6, FrameType::VideoKey, 10).unwrap();
        assert_eq!(ops(&world.outputs()).len(), 2);
    }
}

#[test]
fn wishes_for_key_frames_are_merged_to_one_a_second() {
    let mut world = World::routed();
    world.datagram(&video(), FrameType::VideoDelta).unwrap();
    world.outputs();
    let mut asked = 0;
    for _ in 0..59 {
        let (now, id) = (world.now, video().stream_id);
        world
            .forwarder
            .keyframe_request(RECEIVER, id, Encoding::MIN, now)
            .unwrap();
        world.pass(50);
        asked += asks(&world.outputs());
    }
    assert_eq!(asked, 3);
    let (now, id) = (world.now, video().stream_id);
    let result = world
        .forwarder
        .keyframe_request(SENDER, id, Encoding::MIN, now);
    assert_eq!(result, Err(DropReason::NotRouted));
}

#[test]
fn a_late_stream_is_reset_and_its_receiver_begins_with_the_next_key_frame() {
    let mut world = World::routed();
    world.open(1).unwrap();
    world.frame(1, FrameType::VideoKey, 100).unwrap();
    world.outputs();
    world.pass(500);
    assert!(ops(&world.outputs()).is_empty());
    world.pass(1);
    assert_eq!(ops(&world.outputs()), ["200/0 reset 0"]);
    world.frame(1, FrameType::VideoDelta, 100).unwrap();
    assert!(ops(&world.outputs()).is_empty());
    world.open(2).unwrap();
    world.frame(2, FrameType::VideoKey, 100).unwrap();
    assert_eq!(ops(&world.outputs()), ["200/1 open 2", "200/1 frame 3"]);
    assert_eq!(world.forwarder.counters().late_resets, 1);
}

#[test]
fn a_stream_whose_frames_are_written_is_never_late() {
    let mut world = World::routed();
    world.open(1).unwrap();
    world.frame(1, FrameType::VideoKey, 100).unwrap();
    for _ in 0..30 {
        world.forwarder.written(RECEIVER, OutGroup(0), 1);
        world.pass(400);
        world.frame(1, FrameType::VideoDelta, 100).unwrap();
    }
    assert_eq!(ops(&world.outputs()).len(), 32);
    assert_eq!(world.forwarder.outbox.load(RECEIVER), (146, 1));
}

#[test]
fn an_older_group_is_given_up_half_a_second_after_a_newer_one_began() {
    let mut world = World::routed();
    for group in [1, 2] {
        world.open(group).unwrap();
        world.frame(group, FrameType::VideoKey, 100).unwrap();
    }
    world.forwarder.written(RECEIVER, OutGroup(0), 1);
    world.forwarder.written(RECEIVER, OutGroup(1), 1);
    world.frame(1, FrameType::VideoDelta, 100).unwrap();
    world.forwarder.written(RECEIVER, OutGroup(0), 1);
    let outputs = world.outputs();
    assert_eq!(
        ops(&outputs),
        [
            "200/0 open 1",
            "200/0 frame 1",
            "200/1 open 2",
            "200/1 frame 2",
            "200/0 frame 3"
        ]
    );
    let priorities: Vec<_> = outputs
        .iter()
        .filter_map(|o| match o {
            Output::Stream {
                op: StreamOp::Open { priority, .. },
                ..
            } => Some(*priority),
            _ => None,
        })
        .collect();
    assert!(priorities[1] > priorities[0], "newer groups go first");
    world.pass(501);
    let outputs = world.outputs();
    assert_eq!(ops(&outputs), ["200/0 reset 0"]);
    let stop = Output::StopGroup {
        session: SENDER,
        group: GroupKey(1),
        code: reset_code::GRACEFUL,
    };
    assert!(outputs.contains(&stop));
}

#[test]
fn one_long_stream_is_given_to_receivers_a_group_at_a_time() {
    let mut world = World::routed();
    world
        .forwarder
        .group_opened(SENDER, GroupKey(1), group_header(1))
        .unwrap();
    let mut all = Vec::new();
    for group in [1u16, 2] {
        for frame_type in [FrameType::VideoKey, FrameType::VideoDelta] {
            world.sequence += 1;
            let header = FrameHeader {
                frame_type,
                stream_id: video().stream_id,
                timestamp_us: world.sequence,
                sequence: world.sequence,
                payload_bytes: 0,
                flags: Flags::WHOLE,
                extension: Extension::video(Encoding::MIN, 0, 0, group),
            };
            let now = world.now;
            world
                .forwarder
                .group_frame(SENDER, GroupKey(1), &header, Bytes::new(), now)
                .unwrap();
            all.extend(world.outputs());
        }
    }
    assert_eq!(
        ops(&all),
        [
            "200/0 open 1",
            "200/0 frame 1",
            "200/0 frame 2",
            "200/0 finish",
            "200/1 open 2",
            "200/1 frame 3",
            "200/1 frame 4"
        ]
    );
}

#[test]
fn a_receiver_that_stopped_a_stream_gets_the_next_group_and_causes_no_key_frame() {
    let mut world = World::routed();
    world.open(1).unwrap();
    world.frame(1, FrameType::VideoKey, 100).unwrap();
    world.outputs();
    world.forwarder.refused(RECEIVER, OutGroup(0));
    for _ in 0..40 {
        world.frame(1, FrameType::VideoDelta, 100).unwrap();
        world.pass(50);
    }
    let outputs = world.outputs();
    assert_eq!((ops(&outputs).len(), asks(&outputs)), (0, 0));
    world.forwarder.group_finished(SENDER, GroupKey(1));
    world.open(2).unwrap();
    world.frame(2, FrameType::VideoKey, 100).unwrap();
    assert_eq!(ops(&world.outputs()), ["200/1 open 2", "200/1 frame 42"]);
}

#[test]
fn a_receiver_that_is_always_late_causes_fewer_and_fewer_key_frames() {
    let mut world = World::routed();
    let mut asked = Vec::new();
    let (mut group, mut wish) = (0, true);
    for tick in 0..2400 {
        if wish {
            group += 1;
            world.open(group).unwrap();
            world.frame(group, FrameType::VideoKey, 100).unwrap();
            wish = false;
        } else {
            world.frame(group, FrameType::VideoDelta, 100).unwrap();
        }
        world.pass(50);
        let count = asks(&world.outputs());
        if count > 0 {
            asked.push(tick);
            wish = true;
        }
    }
    assert!(asked.len() < 12, "{asked:?}");
}

#[test]
fn a_session_over_its_quota_loses_its_own_frames_only() {
    let config = Config {
        ingest: Quota {
            bytes_per_s: 1000,
            burst_bytes: 5000,
        },
        ..Config::default()
    };
    let mut world = World::new(config);
    world.route(&[2], 2);
    world.open(1).unwrap();
    world.frame(1, FrameType::VideoKey, 4000).unwrap();
    let stop = world.frame(1, FrameType::VideoDelta, 4000).unwrap_err();
    assert_eq!(stop.code, reset_code::QUOTA_EXCEEDED);
    assert_eq!(
        ops(&world.outputs()),
        ["200/0 open 1", "200/0 frame 1", "200/0 reset 0"]
    );
    while world.datagram(&audio(), FrameType::Audio).is_ok() {}
    assert_eq!(world.dropped(DropReason::Quota), 2);
}

#[test]
fn a_slow_receiver_holds_no_more_than_its_limit() {
    let mut world = World::routed();
    for group in 1..40 {
        world.open(group).unwrap();
        world.frame(group, FrameType::VideoKey, 190_000).unwrap();
        world.forwarder.group_finished(SENDER, GroupKey(group));
        let (bytes, streams) = world.forwarder.outbox.load(RECEIVER);
        assert!(bytes <= world.forwarder.config.queue.session_bytes_max);
        assert!(streams <= world.forwarder.config.queue.session_streams_max);
        let source = &world.forwarder.sources[&video().stream_id];
        assert!(source.encodings[0].kept().1 <= world.forwarder.config.kept_bytes_max);
        world.outputs();
        world.now += Duration::from_millis(10);
    }
    assert!(world.dropped(DropReason::SlowReceiver) > 10);
}

#[test]
fn a_participant_that_was_removed_gets_and_sends_nothing_more() {
    let mut world = World::routed();
    world.open(1).unwrap();
    world.frame(1, FrameType::VideoKey, 100).unwrap();
    world.outputs();
    let now = world.now;
    world.forwarder.unregister(person(2), order(3), 6, now);
    let close = Output::Close {
        session: RECEIVER,
        reason: CloseReason::Unregistered { close_code: 6 },
    };
    assert_eq!(world.outputs(), [close]);
    world.frame(1, FrameType::VideoDelta, 100).unwrap();
    world.datagram(&audio(), FrameType::Audio).unwrap();
    world.route(&[2], 3);
    assert!(world.outputs().is_empty());
    // An order that was overtaken brings nobody back.
    world.register(2, &[], 2);
    assert!(!world.forwarder.is_registered(person(2)));
    assert_eq!(
        world.forwarder.session_up(person(2), SessionKey(201), now),
        Err(SessionUpError::UnknownParticipant)
    );
    world.forwarder.unregister(person(1), order(3), 0, now);
    world.outputs();
    assert_eq!(
        world.datagram(&audio(), FrameType::Audio),
        Err(DropReason::UnknownSession)
    );
    assert_eq!(world.forwarder.stream_count(), 0);
}

#[test]
fn older_orders_are_ignored_and_the_one_in_force_is_the_answer() {
    let mut world = World::routed();
    world.route(&[], 1);
    world.datagram(&audio(), FrameType::Audio).unwrap();
    assert!(matches!(&world.outputs()[..], [Output::Datagram { .. }]));
    let (now, id) = (world.now, audio().stream_id);
    let newer = Generation {
        lease: 2,
        counter: 0,
    };
    let no_one: [(ParticipantId, Subscription); 0] = [];
    let older = Generation {
        lease: 1,
        counter: 99,
    };
    assert_eq!(world.forwarder.route(id, no_one, newer, now), Ok(newer));
    assert_eq!(
        world
            .forwarder
            .route(id, [(person(2), label(1))], older, now),
        Ok(newer)
    );
    world.datagram(&audio(), FrameType::Audio).unwrap();
    assert!(world.outputs().is_empty());
}

#[test]
fn a_newer_session_of_a_participant_replaces_the_older_one() {
    let mut world = World::routed();
    world.open(1).unwrap();
    world.frame(1, FrameType::VideoKey, 100).unwrap();
    world.outputs();
    world.up(2, SessionKey(201));
    let outputs = world.outputs();
    let close = Output::Close {
        session: RECEIVER,
        reason: CloseReason::Replaced,
    };
    assert_eq!(outputs[0], close);
    assert_eq!(ops(&outputs), ["201/1 open 1", "201/1 frame 1"]);
    world.forwarder.session_down(RECEIVER, world.now);
    world.frame(1, FrameType::VideoDelta, 100).unwrap();
    assert_eq!(ops(&world.outputs()), ["201/1 frame 2"]);
}

#[test]
fn a_muted_stream_is_not_forwarded_and_begins_anew_when_it_is_not() {
    let mut world = World::routed();
    world.open(1).unwrap();
    world.frame(1, FrameType::VideoKey, 100).unwrap();
    let muted = |muted| {
        [
            StreamSpec { muted, ..video() },
            StreamSpec { muted, ..audio() },
        ]
    };
    world.outputs();
    world.register(1, &muted(true), 3);
    assert_eq!(ops(&world.outputs()), ["200/0 reset 0"]);
    assert_eq!(
        world.datagram(&audio(), FrameType::Audio),
        Err(DropReason::Muted)
    );
    world.open(2).unwrap();
    world.frame(2, FrameType::VideoKey, 100).unwrap();
    world.register(1, &muted(false), 4);
    world.frame(2, FrameType::VideoDelta, 100).unwrap();
    let outputs = world.outputs();
    assert_eq!((ops(&outputs).len(), asks(&outputs)), (0, 1));
    world.frame(2, FrameType::VideoKey, 100).unwrap();
    assert_eq!(ops(&world.outputs()).len(), 2);
}

#[test]
fn streams_and_numbers_are_not_taken_twice() {
    let mut world = World::routed();
    let now = world.now;
    let result = world
        .forwarder
        .register(person(3), UserId(3), &[video()], order(1), now);
    assert_eq!(result, Err(RegisterError::StreamTaken(video().stream_id)));
    let mut second = audio();
    second.number = video().number;
    let both = [video(), second];
    let result = world
        .forwarder
        .register(person(1), UserId(1), &both, order(9), now);
    assert_eq!(result, Err(RegisterError::StreamTaken(second.stream_id)));
    assert!(!world.forwarder.is_registered(person(3)));
}

#[test]
fn speakers_are_told_when_they_change() {
    let mut world = World::routed();
    let mut told = Vec::new();
    for _ in 0..100 {
        world.datagram(&audio(), FrameType::Audio).unwrap();
        world.pass(20);
        let outputs = world.outputs();
        told.extend(outputs.into_iter().filter_map(|o| match o {
            Output::Speakers(list) => Some(list),
            _ => None,
        }));
    }
    assert_eq!(told, [vec![person(1)]]);
}

#[test]
fn a_frame_is_shared_between_its_receivers() {
    let mut world = World::new(Config::default());
    world.register(3, &[], 1);
    world.up(3, SessionKey(300));
    world.route(&[2, 3], 2);
    world.open(1).unwrap();
    world.frame(1, FrameType::VideoKey, 100).unwrap();
    let frames: Vec<FrameBytes> = world
        .outputs()
        .into_iter()
        .filter_map(|o| match o {
            Output::Stream {
                op: StreamOp::Frame(frame),
                ..
            } => Some(frame),
            _ => None,
        })
        .collect();
    assert_eq!(frames.len(), 2);
    assert_eq!(frames[0].payload.as_ptr(), frames[1].payload.as_ptr());
    assert_eq!(frames[0].header.as_ptr(), frames[1].header.as_ptr());
}
