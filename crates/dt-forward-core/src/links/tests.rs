//! One handler in the middle: what comes over a link, and what goes over another.

#![allow(clippy::unwrap_used)] // a panic is how a test fails

use std::time::{Duration, Instant};

use bytes::Bytes;
use dt_frame::{
    AudioLevel, DatagramHeader, Extension, Flags, FourCc, FrameHeader, FrameType, LinkPrefix,
    MediaKind, RouteId, SlotLabel, StreamHeader,
};
use dt_ids::{Encoding, HandlerId, ParticipantId, Slot, StreamId, StreamNumber, UserId};

use super::{Inlet, Links, Outlet};
use crate::{
    Config, DropReason, ENCODINGS_MAX, EncodingSpec, Forwarder, Generation, GroupKey, Output,
    RouteError, SessionKey, StreamOp, StreamSpec, Wanted,
};

const FROM: HandlerId = HandlerId::from_bytes([1; 16]);
const HERE: HandlerId = HandlerId::from_bytes([2; 16]);
const TO: HandlerId = HandlerId::from_bytes([3; 16]);
const UP: SessionKey = SessionKey(100);
const DOWN: SessionKey = SessionKey(200);
const CLIENT: SessionKey = SessionKey(300);
const SENDER: ParticipantId = ParticipantId::from_bytes([7; 16]);
const RECEIVER: ParticipantId = ParticipantId::from_bytes([8; 16]);
const IN: RouteId = RouteId(0x0010_0001);
const OUT: RouteId = RouteId(0x0020_0002);
const PREFIX: LinkPrefix = LinkPrefix { route: IN, hops: 1 };

fn spec(kind: MediaKind) -> StreamSpec {
    StreamSpec {
        stream_id: StreamId::from_bytes([if kind == MediaKind::Video { 9 } else { 10 }; 16]),
        number: StreamNumber::try_from(1).unwrap(),
        kind,
        codec: None,
        encodings: if kind == MediaKind::Video { 3 } else { 1 },
        layers: [EncodingSpec::default(); ENCODINGS_MAX],
        muted: false,
    }
}

fn encoding(number: u32) -> Encoding {
    number.try_into().unwrap()
}

struct World {
    forwarder: Forwarder,
    now: Instant,
    counter: u64,
    sequence: u64,
    kind: MediaKind,
}

impl World {
    /// A source of this kind comes over one link and goes over another.
    fn new(kind: MediaKind) -> Self {
        let config = Config {
            handler: Some(HERE),
            ..Config::default()
        };
        let mut world = Self {
            forwarder: Forwarder::new(config),
            now: Instant::now(),
            counter: 0,
            sequence: 0,
            kind,
        };
        world.forwarder.link_up(FROM, UP, world.now);
        world.forwarder.link_up(TO, DOWN, world.now);
        world
            .route(Some(world.inlet()), vec![world.outlet()])
            .unwrap();
        world.outputs();
        world
    }

    fn inlet(&self) -> Inlet {
        Inlet {
            handler: FROM,
            route: IN,
            origin: FROM,
            hops: 1,
            spec: spec(self.kind),
            participant: SENDER,
            user_id: UserId(5),
        }
    }

    fn outlet(&self) -> Outlet {
        Outlet {
            handler: TO,
            route: OUT,
            origin: FROM,
            hops: 2,
        }
    }

    fn order(&mut self) -> Generation {
        self.counter += 1;
        Generation {
            lease: 1,
            counter: self.counter,
        }
    }

    fn route(&mut self, inlet: Option<Inlet>, outlets: Vec<Outlet>) -> Result<(), RouteError> {
        let (order, stream) = (self.order(), spec(self.kind).stream_id);
        let slot = SlotLabel::new(1, Slot::try_from(4).unwrap());
        let links = Links { inlet, outlets };
        let to = [(RECEIVER, slot)];
        let routed = self
            .forwarder
            .route_over(stream, to, links, order, self.now);
        routed.map(|_| ())
    }

    fn receive(&mut self) {
        let order = self.order();
        self.forwarder
            .register(RECEIVER, UserId(6), &[], order, self.now)
            .unwrap();
        self.forwarder
            .session_up(RECEIVER, CLIENT, self.now)
            .unwrap();
    }

    fn outputs(&mut self) -> Vec<Output> {
        std::iter::from_fn(|| self.forwarder.poll_output()).collect()
    }

    fn sound(&mut self, route: RouteId, user: u64) -> Bytes {
        self.sequence += 1;
        let level = AudioLevel {
            voice: true,
            below_overload_db: 20,
        };
        let header = DatagramHeader {
            frame_type: FrameType::Audio,
            user_id: UserId(user),
            stream: route.0,
            timestamp_us: self.sequence * 20_000,
            sequence: self.sequence,
            payload_bytes: 3,
            flags: Flags::WHOLE,
            extension: Extension::audio(level, 0),
        };
        [&header.write()[..], b"abc"].concat().into()
    }

    fn open(&mut self, session: SessionKey, group: u64, number: u32) {
        let header = self.header(number);
        self.forwarder
            .link_group_opened(session, GroupKey(group), PREFIX, header)
            .unwrap();
    }

    fn header(&self, number: u32) -> StreamHeader {
        StreamHeader {
            stream_id: spec(self.kind).stream_id,
            codec: FourCc::Vp8,
            encoding: encoding(number),
            screen: false,
            group: 1,
        }
    }

    fn frame(&mut self, group: u64, number: u32, frame_type: FrameType) {
        self.sequence += 1;
        self.frame_at(UP, group, number, frame_type, self.sequence);
    }

    fn frame_at(&mut self, by: SessionKey, group: u64, number: u32, kind: FrameType, at: u64) {
        let header = FrameHeader {
            frame_type: kind,
            stream_id: spec(self.kind).stream_id,
            timestamp_us: at * 33_333,
            sequence: at,
            payload_bytes: 4,
            flags: Flags::WHOLE,
            extension: Extension::video(encoding(number), 0, 0, 1),
        };
        let payload = Bytes::from_static(b"view");
        self.forwarder
            .group_frame(by, GroupKey(group), &header, payload, self.now)
            .unwrap();
    }

    fn want(&mut self, numbers: &[u32]) {
        let wanted: Vec<_> = numbers
            .iter()
            .map(|number| Wanted {
                encoding: encoding(*number),
                max_bitrate_bps: 0,
            })
            .collect();
        self.forwarder
            .link_demand(DOWN, OUT, &wanted, self.now)
            .unwrap();
    }

    fn dropped(&self, reason: DropReason) -> u64 {
        self.forwarder.counters().dropped(reason)
    }
}

/// Frames on streams to a session.
fn frames(outputs: &[Output], to: SessionKey) -> usize {
    let of = |output: &&Output| matches!(output, Output::Stream { session, op: StreamOp::Frame(_), .. } if *session == to);
    outputs.iter().filter(of).count()
}

#[test]
fn sound_that_comes_over_a_link_goes_on_with_the_next_number_and_with_a_slot() {
    let mut world = World::new(MediaKind::Audio);
    world.receive();
    world.outputs();
    let sound = world.sound(IN, 5);
    world.forwarder.link_datagram(UP, sound, world.now).unwrap();
    let outputs = world.outputs();
    let targets = outputs.iter().find_map(|output| match output {
        Output::Datagram { targets, .. } => Some(targets),
        _ => None,
    });
    let labels: Vec<_> = targets
        .unwrap()
        .iter()
        .map(|target| (target.session, target.label.to_bits()))
        .collect();
    assert_eq!(labels, [(CLIENT, 0x0100_0004), (DOWN, OUT.0)]);
    world.now += Duration::from_millis(300);
    world.forwarder.tick(world.now);
    assert!(world.outputs().contains(&Output::Speakers(vec![SENDER])) || world.sequence == 1);
}

#[test]
fn exactly_the_encodings_that_are_wanted_beyond_go_there_and_the_next_one_is_told() {
    let mut world = World::new(MediaKind::Video);
    world.want(&[0, 2]);
    let said = world.outputs();
    let told = |output: &Output| {
        matches!(output, Output::LinkDemand { session: UP, route: IN, encodings }
            if encodings.len() == 2)
    };
    assert!(said.iter().any(told), "{said:?}");
    assert!(
        !said.iter().any(|o| matches!(o, Output::Demand { .. })),
        "the controller hears of it where it is sent"
    );
    for number in 0..3 {
        world.open(UP, u64::from(number), number);
        world.frame(u64::from(number), number, FrameType::VideoKey);
        world.frame(u64::from(number), number, FrameType::VideoDelta);
        let outputs = world.outputs();
        let expected = if number == 1 { 0 } else { 2 };
        assert_eq!(frames(&outputs, DOWN), expected, "{number}");
        let prefixes = outputs.iter().filter_map(|output| match output {
            Output::Stream {
                op: StreamOp::Open { prefix, .. },
                ..
            } => *prefix,
            _ => None,
        });
        let next = LinkPrefix {
            route: OUT,
            hops: 2,
        };
        assert!(prefixes.into_iter().all(|prefix| prefix == next));
    }
    // Later the kept group goes there at once.
    world.want(&[0, 1, 2]);
    assert_eq!(frames(&world.outputs(), DOWN), 2);
    world.want(&[]);
    let ends = world.outputs();
    let finished = |o: &&Output| {
        matches!(
            o,
            Output::Stream {
                op: StreamOp::Finish,
                ..
            }
        )
    };
    assert_eq!(ends.iter().filter(finished).count(), 3);
}

#[test]
fn a_wish_for_a_key_frame_goes_up_the_link_once_a_second() {
    let mut world = World::new(MediaKind::Video);
    let mut asked = 0;
    for _ in 0..40 {
        world
            .forwarder
            .link_keyframe(DOWN, OUT, encoding(1), world.now)
            .unwrap();
        let up = |o: &&Output| {
            matches!(
                o,
                Output::LinkKeyframe {
                    session: UP,
                    route: IN,
                    ..
                }
            )
        };
        asked += world.outputs().iter().filter(up).count();
        world.now += Duration::from_millis(50);
        world.forwarder.tick(world.now);
    }
    assert_eq!(asked, 2);
    let unknown = world
        .forwarder
        .link_keyframe(DOWN, IN, encoding(1), world.now);
    assert_eq!(unknown, Err(DropReason::NotRouted));
}

#[test]
fn what_has_no_route_too_many_hops_or_began_here_is_dropped_and_counted() {
    let mut world = World::new(MediaKind::Video);
    let sound = world.sound(RouteId(99), 5);
    let now = world.now;
    let refused = world.forwarder.link_datagram(UP, sound.clone(), now);
    assert_eq!(refused, Err(DropReason::UnknownRoute));
    // Nor has another link that one.
    let sound = world.sound(IN, 5);
    let refused = world.forwarder.link_datagram(DOWN, sound, now);
    assert_eq!(refused, Err(DropReason::UnknownRoute));
    let foreign = world.sound(IN, 6);
    let refused = world.forwarder.link_datagram(UP, foreign, now);
    assert_eq!(refused, Err(DropReason::ForeignUser));
    let header = world.header(0);
    for (route, hops, reason) in [
        (RouteId(99), 1, DropReason::UnknownRoute),
        (IN, 0, DropReason::TooManyHops),
        (IN, 5, DropReason::TooManyHops),
    ] {
        let prefix = LinkPrefix { route, hops };
        let opened = world
            .forwarder
            .link_group_opened(UP, GroupKey(0), prefix, header);
        assert_eq!(opened.map_err(|stop| stop.reason), Err(reason));
    }
    let returning = Inlet {
        origin: HERE,
        ..world.inlet()
    };
    world.route(Some(returning), vec![]).unwrap();
    let sound = world.sound(IN, 5);
    let refused = world.forwarder.link_datagram(UP, sound, now);
    assert_eq!(refused, Err(DropReason::Returning));
    let opened = world
        .forwarder
        .link_group_opened(UP, GroupKey(0), PREFIX, header);
    assert_eq!(
        opened.map_err(|stop| stop.reason),
        Err(DropReason::Returning)
    );
    assert_eq!(world.dropped(DropReason::UnknownRoute), 3);
    assert_eq!(world.dropped(DropReason::TooManyHops), 2);
    assert_eq!(world.dropped(DropReason::Returning), 2);
}

#[test]
fn a_route_that_leads_back_or_too_far_is_refused_and_changes_nothing() {
    let mut world = World::new(MediaKind::Audio);
    let good = world.outlet();
    for bad in [
        Outlet {
            handler: FROM,
            ..good
        },
        Outlet {
            handler: HERE,
            ..good
        },
        Outlet { origin: TO, ..good },
        Outlet { hops: 5, ..good },
        Outlet { hops: 0, ..good },
    ] {
        let inlet = Some(world.inlet());
        assert_eq!(world.route(inlet, vec![bad]), Err(RouteError::Loop));
    }
    let sound = world.sound(IN, 5);
    world.forwarder.link_datagram(UP, sound, world.now).unwrap();
    let outputs = world.outputs();
    assert!(outputs.iter().any(|o| matches!(o, Output::Datagram { .. })));
}

#[test]
fn when_the_feeder_changes_both_bring_the_same_and_nothing_is_missed_or_comes_twice() {
    let mut world = World::new(MediaKind::Video);
    world.want(&[0]);
    world.open(UP, 1, 0);
    world.frame_at(UP, 1, 0, FrameType::VideoKey, 1);
    world.frame_at(UP, 1, 0, FrameType::VideoDelta, 2);
    assert_eq!(frames(&world.outputs(), DOWN), 2);
    // Its sender comes here.
    let order = world.order();
    let video = spec(MediaKind::Video);
    world
        .forwarder
        .register(SENDER, UserId(5), &[video], order, world.now)
        .unwrap();
    world
        .forwarder
        .session_up(SENDER, CLIENT, world.now)
        .unwrap();
    let outlet = world.outlet();
    world.route(None, vec![outlet]).unwrap();
    world.outputs();
    let header = world.header(0);
    world
        .forwarder
        .group_opened(CLIENT, GroupKey(1), header)
        .unwrap();
    let mut sent = 0;
    // The new one is behind, then ahead, and the old one ends.
    for (by, kind, at) in [
        (CLIENT, FrameType::VideoKey, 1),
        (UP, FrameType::VideoDelta, 3),
        (CLIENT, FrameType::VideoDelta, 2),
        (CLIENT, FrameType::VideoDelta, 3),
        (CLIENT, FrameType::VideoDelta, 4),
        (UP, FrameType::VideoDelta, 4),
        (CLIENT, FrameType::VideoDelta, 5),
    ] {
        world.frame_at(by, 1, 0, kind, at);
        let outputs = world.outputs();
        sent += frames(&outputs, DOWN);
        let took_over = outputs
            .iter()
            .any(|o| matches!(o, Output::Flow { arriving: true, .. }));
        assert_eq!(took_over, at == 1);
    }
    assert_eq!(sent, 3);
    world.forwarder.session_down(UP, world.now);
    world.frame_at(CLIENT, 1, 0, FrameType::VideoDelta, 6);
    assert_eq!(frames(&world.outputs(), DOWN), 1);
    assert_eq!(world.dropped(DropReason::Repeated), 4);
}

#[test]
fn a_link_that_ends_stops_what_it_brought_and_the_controller_hears_of_it() {
    let mut world = World::new(MediaKind::Video);
    world.want(&[0]);
    world.open(UP, 1, 0);
    world.frame(1, 0, FrameType::VideoKey);
    world.outputs();
    world.forwarder.session_down(UP, world.now);
    let outputs = world.outputs();
    let reset = |o: &Output| {
        matches!(
            o,
            Output::Stream {
                op: StreamOp::Reset(_),
                ..
            }
        )
    };
    assert!(outputs.iter().any(reset), "{outputs:?}");
    world.now += Duration::from_secs(2);
    world.forwarder.tick(world.now);
    let ended = |o: &Output| {
        matches!(
            o,
            Output::Flow {
                arriving: false,
                ..
            }
        )
    };
    assert!(world.outputs().iter().any(ended));
    // When it comes back it is asked for the same.
    world.forwarder.link_up(FROM, SessionKey(101), world.now);
    let asks = |o: &Output| {
        matches!(o, Output::LinkDemand { session: SessionKey(101), encodings, .. }
            if encodings.len() == 1)
    };
    assert!(world.outputs().iter().any(asks));
}
