//! Random meetings on a virtual clock, checked after every step against a
//! simple model. A failing case is shrunk, printed and kept for replay.

#![allow(clippy::unwrap_used)] // a panic is how a test fails

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::{Duration, Instant},
};

use bytes::Bytes;
use dt_forward_core::{
    CloseReason, Config, ENCODINGS_MAX, EncodingSpec, Forwarder, Generation, GroupKey, OutGroup,
    Output, QueueLimits, Quota, SessionKey, StreamOp, StreamSpec,
};
use dt_frame::{
    AudioLevel, DatagramHeader, Extension, Flags, FourCc, FrameHeader, FrameType, MediaKind,
    SlotLabel, StreamHeader,
};
use dt_ids::{Encoding, ParticipantId, Slot, StreamId, StreamNumber, UserId};
use proptest::prelude::*;

const PEOPLE: u8 = 4;
const QUEUE: QueueLimits = QueueLimits {
    late_max: Duration::from_millis(500),
    session_bytes_max: 8_000,
    session_streams_max: 3,
};

#[derive(Debug, Clone)]
enum Step {
    /// With which of its two streams, and whether they are muted.
    Register {
        who: u8,
        streams: u8,
        muted: bool,
        stale: bool,
    },
    Unregister {
        who: u8,
    },
    Route {
        source: u8,
        to: u8,
        stale: bool,
    },
    Up {
        who: u8,
    },
    Down {
        who: u8,
    },
    Datagram {
        who: u8,
        source: u8,
    },
    Open {
        who: u8,
        source: u8,
    },
    Frame {
        who: u8,
        group: prop::sample::Index,
        key: bool,
        bytes: usize,
    },
    Finish {
        who: u8,
        group: prop::sample::Index,
    },
    Reset {
        who: u8,
        group: prop::sample::Index,
    },
    Ask {
        who: u8,
        source: u8,
    },
    Written {
        out: prop::sample::Index,
        frames: usize,
    },
    Refused {
        out: prop::sample::Index,
    },
    Wait {
        ms: u64,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let who = || 0..PEOPLE;
    let any_index = any::<prop::sample::Index>;
    let rarely = prop::bool::weighted;
    // Mostly what a meeting is like, so that media flows; sometimes not.
    let streams = prop_oneof![5 => Just(3u8), 1 => 0u8..3];
    let receivers = || prop_oneof![2 => Just(15u8), 1 => 0u8..16];
    let own = || {
        (who(), who(), rarely(0.15)).prop_map(|(who, other, foreign)| {
            let source = if foreign { other } else { who };
            (who, source)
        })
    };
    prop_oneof![
        2 => (who(), streams, rarely(0.1), rarely(0.1))
            .prop_map(|(who, streams, muted, stale)| Step::Register { who, streams, muted, stale }),
        1 => who().prop_map(|who| Step::Unregister { who }),
        3 => (who(), receivers(), rarely(0.1))
            .prop_map(|(source, to, stale)| Step::Route { source, to, stale }),
        3 => who().prop_map(|who| Step::Up { who }),
        1 => who().prop_map(|who| Step::Down { who }),
        4 => own().prop_map(|(who, source)| Step::Datagram { who, source }),
        10 => own().prop_map(|(who, source)| Step::Open { who, source }),
        60 => (who(), any_index(), rarely(0.3), 0usize..2000)
            .prop_map(|(who, group, key, bytes)| Step::Frame { who, group, key, bytes }),
        4 => (who(), any_index()).prop_map(|(who, group)| Step::Finish { who, group }),
        1 => (who(), any_index()).prop_map(|(who, group)| Step::Reset { who, group }),
        1 => (who(), who()).prop_map(|(who, source)| Step::Ask { who, source }),
        30 => (any_index(), 1usize..5).prop_map(|(out, frames)| Step::Written { out, frames }),
        1 => any_index().prop_map(|out| Step::Refused { out }),
        4 => (0u64..300).prop_map(|ms| Step::Wait { ms }),
    ]
}

fn person(n: u8) -> ParticipantId {
    ParticipantId::from_bytes([n + 1; 16])
}

fn video(n: u8) -> StreamId {
    StreamId::from_bytes([0x80 + n; 16])
}

fn audio(n: u8) -> StreamId {
    StreamId::from_bytes([0xc0 + n; 16])
}

/// A stream on its way to a receiver, as the model saw it.
#[derive(Debug)]
struct Out {
    session: SessionKey,
    source: StreamId,
    last: Option<u64>,
    /// When each frame was given to it, and its bytes.
    waiting: Vec<(Instant, usize)>,
    finished: bool,
    /// The receiver refused it; the forwarder says nothing more about it.
    refused: bool,
}

#[derive(Debug, Default)]
struct Person {
    /// Mask of streams, when it is registered.
    streams: Option<u8>,
    muted: bool,
    session: Option<SessionKey>,
    groups: Vec<(GroupKey, u8)>,
}

struct World {
    forwarder: Forwarder,
    start: Instant,
    now: Instant,
    people: Vec<Person>,
    routes: HashMap<StreamId, BTreeSet<u8>>,
    outs: BTreeMap<OutGroup, Out>,
    closed: BTreeSet<SessionKey>,
    /// When the sender was last asked for a key frame; forgotten when it begins
    /// anew, for then it may be asked at once.
    asked: HashMap<StreamId, Instant>,
    counter: u64,
    next: u64,
    sequence: u64,
}

impl World {
    fn new() -> Self {
        let config = Config {
            queue: QUEUE,
            session_groups_max: 6,
            kept_bytes_max: 5_000,
            ingest: Quota {
                bytes_per_s: 200_000,
                burst_bytes: 200_000,
            },
            ..Config::default()
        };
        let now = Instant::now();
        Self {
            forwarder: Forwarder::new(config),
            start: now,
            now,
            people: (0..PEOPLE).map(|_| Person::default()).collect(),
            routes: HashMap::new(),
            outs: BTreeMap::new(),
            closed: BTreeSet::new(),
            asked: HashMap::new(),
            counter: 0,
            next: 1,
            sequence: 0,
        }
    }

    fn person_mut(&mut self, who: u8) -> &mut Person {
        &mut self.people[usize::from(who)]
    }

    fn generation(&mut self, stale: bool) -> Generation {
        if stale {
            return Generation::default();
        }
        self.counter += 1;
        Generation {
            lease: 1,
            counter: self.counter,
        }
    }

    fn run(&mut self, step: Step) -> Result<(), TestCaseError> {
        match step {
            Step::Register {
                who,
                streams,
                muted,
                stale,
            } => self.register(who, streams, muted, stale),
            Step::Unregister { who } => {
                let generation = self.generation(false);
                self.forwarder
                    .unregister(person(who), generation, 0, self.now);
                if let Some(mask) = self.people[usize::from(who)].streams {
                    self.forget_routes(who, mask);
                }
                *self.person_mut(who) = Person::default();
                self.asked.remove(&video(who));
            }
            Step::Route { source, to, stale } => {
                let generation = self.generation(stale);
                let wanted: BTreeSet<_> = (0..PEOPLE).filter(|p| to & (1 << p) != 0).collect();
                for id in [video(source), audio(source)] {
                    let destinations = wanted.iter().map(|p| (person(*p), label(*p)));
                    let applied = self.forwarder.route(id, destinations, generation, self.now);
                    if applied == Ok(generation) {
                        self.routes.insert(id, wanted.clone());
                    }
                }
            }
            Step::Up { who } => self.up(who),
            Step::Down { who } => {
                if let Some(session) = self.person_mut(who).session.take() {
                    self.asked.remove(&video(who));
                    self.person_mut(who).groups.clear();
                    self.forwarder.session_down(session, self.now);
                    self.closed.insert(session);
                    self.outs.retain(|_, out| out.session != session);
                }
            }
            Step::Datagram { who, source } => self.datagram(who, source),
            Step::Open { who, source } => self.open(who, source),
            Step::Frame {
                who,
                group,
                key,
                bytes,
            } => self.frame(who, group, key, bytes),
            Step::Finish { who, group } => {
                if let Some((session, group)) = self.take_group(who, group) {
                    self.forwarder.group_finished(session, group, self.now);
                }
            }
            Step::Reset { who, group } => {
                if let Some((session, group)) = self.take_group(who, group) {
                    self.forwarder.group_reset(session, group);
                }
            }
            Step::Ask { who, source } => {
                if let Some(session) = self.people[usize::from(who)].session {
                    let (id, now) = (video(source), self.now);
                    let _ = self
                        .forwarder
                        .keyframe_request(session, id, Encoding::MIN, now);
                }
            }
            Step::Written { out, frames } => self.written(out, frames),
            Step::Refused { out } => self.refused(out),
            Step::Wait { ms } => {
                self.now += Duration::from_millis(ms);
                self.forwarder.tick(self.now);
                self.check_outputs()?;
                self.check_lateness()?;
            }
        }
        self.check_outputs()?;
        self.check_bounds()
    }

    fn register(&mut self, who: u8, mask: u8, muted: bool, stale: bool) {
        let spec = |id, number: u32, kind, codec| StreamSpec {
            stream_id: id,
            number: StreamNumber::try_from(number).unwrap(),
            kind,
            codec: Some(codec),
            encodings: 1,
            layers: [EncodingSpec::default(); ENCODINGS_MAX],
            muted,
        };
        let all = [
            spec(video(who), 1, MediaKind::Video, FourCc::Vp8),
            spec(audio(who), 2, MediaKind::Audio, FourCc::Opus),
        ];
        let streams: Vec<_> = (0..2)
            .filter(|n| mask & (1 << n) != 0)
            .map(|n| all[n])
            .collect();
        let generation = self.generation(stale);
        let user = UserId(u64::from(who));
        let applied = self
            .forwarder
            .register(person(who), user, &streams, generation, self.now)
            .unwrap();
        if applied != generation || (stale && !self.forwarder.is_registered(person(who))) {
            return;
        }
        let before = self.people[usize::from(who)].streams.unwrap_or(0);
        self.forget_routes(who, before & !mask);
        if muted || mask & 1 == 0 {
            self.asked.remove(&video(who));
        }
        let entry = self.person_mut(who);
        entry.streams = Some(mask);
        entry.muted = muted;
    }

    fn forget_routes(&mut self, who: u8, mask: u8) {
        if mask & 1 != 0 {
            self.routes.remove(&video(who));
        }
        if mask & 2 != 0 {
            self.routes.remove(&audio(who));
        }
    }

    fn up(&mut self, who: u8) {
        let session = SessionKey(self.next);
        self.next += 1;
        let up = self.forwarder.session_up(person(who), session, self.now);
        assert_eq!(up.is_ok(), self.people[usize::from(who)].streams.is_some());
        if up.is_ok() {
            self.asked.remove(&video(who));
            let entry = self.person_mut(who);
            entry.session = Some(session);
            entry.groups.clear();
        }
    }

    fn datagram(&mut self, who: u8, source: u8) {
        let Some(session) = self.people[usize::from(who)].session else {
            return;
        };
        self.sequence += 1;
        let level = AudioLevel {
            voice: true,
            below_overload_db: 20,
        };
        let header = DatagramHeader {
            frame_type: FrameType::Audio,
            // Perhaps another one's.
            user_id: UserId(u64::from(source)),
            stream: 2,
            timestamp_us: self.timestamp(),
            sequence: self.sequence,
            payload_bytes: 0,
            flags: Flags::WHOLE,
            extension: Extension::audio(level, 0),
        };
        let datagram = Bytes::copy_from_slice(&header.write());
        let taken = self.forwarder.datagram(session, datagram, self.now);
        assert!(who == source || taken.is_err());
    }

    fn open(&mut self, who: u8, source: u8) {
        let Some(session) = self.people[usize::from(who)].session else {
            return;
        };
        let group = GroupKey(self.next);
        self.next += 1;
        let header = StreamHeader {
            stream_id: video(source),
            codec: FourCc::Vp8,
            encoding: Encoding::MIN,
            screen: false,
            group: u32::try_from(group.0).unwrap(),
        };
        let opened = self.forwarder.group_opened(session, group, header);
        assert!(who == source || opened.is_err());
        if opened.is_ok() {
            self.person_mut(who).groups.push((group, source));
        }
    }

    fn frame(&mut self, who: u8, index: prop::sample::Index, key: bool, bytes: usize) {
        let entry = &self.people[usize::from(who)];
        let (Some(session), false) = (entry.session, entry.groups.is_empty()) else {
            return;
        };
        let (group, source) = *index.get(&entry.groups);
        self.sequence += 1;
        let header = FrameHeader {
            frame_type: if key { FrameType::VideoKey } else { FrameType::VideoDelta },
            stream_id: video(source),
            timestamp_us: self.timestamp(),
            sequence: self.sequence,
            payload_bytes: u32::try_from(bytes).unwrap(),
            flags: Flags::WHOLE,
            #[allow(clippy::cast_possible_truncation)] // low 16 bits
            extension: Extension::video(Encoding::MIN, 0, 0, group.0 as u16),
        };
        let payload = Bytes::from(vec![0; bytes]);
        let taken = self
            .forwarder
            .group_frame(session, group, &header, payload, self.now);
        if taken.is_err() {
            self.person_mut(who).groups.retain(|(g, _)| *g != group);
        }
    }

    fn take_group(
        &mut self,
        who: u8,
        index: prop::sample::Index,
    ) -> Option<(SessionKey, GroupKey)> {
        let entry = self.person_mut(who);
        let session = entry.session?;
        let place = index.index(entry.groups.len().max(1));
        if entry.groups.is_empty() {
            return None;
        }
        Some((session, entry.groups.remove(place).0))
    }

    fn written(&mut self, index: prop::sample::Index, frames: usize) {
        if self.outs.is_empty() {
            return;
        }
        let key = *index.get(&self.outs.keys().copied().collect::<Vec<_>>());
        let out = self.outs.get_mut(&key).unwrap();
        let frames = frames.min(out.waiting.len());
        out.waiting.drain(..frames);
        let session = out.session;
        if out.finished && out.waiting.is_empty() {
            self.outs.remove(&key);
        }
        self.forwarder.written(session, key, frames);
    }

    fn refused(&mut self, index: prop::sample::Index) {
        if self.outs.is_empty() {
            return;
        }
        let key = *index.get(&self.outs.keys().copied().collect::<Vec<_>>());
        let out = self.outs.get_mut(&key).unwrap();
        out.refused = true;
        out.waiting.clear();
        self.forwarder.refused(out.session, key);
    }

    fn timestamp(&self) -> u64 {
        let elapsed = self.now.duration_since(self.start).as_micros();
        u64::try_from(elapsed).unwrap() + self.sequence
    }

    /// Whether a session may get a source now.
    fn may_get(&self, session: SessionKey, source: StreamId) -> bool {
        let sends = |n: u8| {
            let p = &self.people[usize::from(n)];
            let mask = p.streams.unwrap_or(0);
            !p.muted
                && p.session.is_some()
                && ((source == video(n) && mask & 1 != 0) || (source == audio(n) && mask & 2 != 0))
        };
        let wanted = self.routes.get(&source);
        let receives = |n: &u8| self.people[usize::from(*n)].session == Some(session);
        (0..PEOPLE).any(sends) && wanted.is_some_and(|w| w.iter().any(receives))
    }

    fn check_outputs(&mut self) -> Result<(), TestCaseError> {
        while let Some(output) = self.forwarder.poll_output() {
            match output {
                Output::Datagram { datagram, targets } => {
                    let header = DatagramHeader::parse(&datagram).unwrap();
                    let source = audio(u8::try_from(header.user_id.0).unwrap());
                    for target in &*targets {
                        prop_assert!(self.may_get(target.session, source));
                        let who = (0..PEOPLE)
                            .find(|n| self.people[usize::from(*n)].session == Some(target.session));
                        prop_assert_eq!(Some(target.label), who.map(|who| label(who).into()));
                    }
                }
                Output::Stream { session, out, op } => self.check_stream(session, out, op)?,
                Output::RequestKeyframe {
                    session, stream_id, ..
                } => {
                    let who = (0..PEOPLE).find(|n| video(*n) == stream_id).unwrap();
                    let sender = self.people[usize::from(who)].session;
                    prop_assert_eq!(sender, Some(session));
                    if let Some(before) = self.asked.insert(stream_id, self.now) {
                        prop_assert!(self.now.duration_since(before) >= Duration::from_secs(1));
                    }
                }
                Output::StopGroup { session, group, .. } => {
                    let owner = self.people.iter_mut().find(|p| p.session == Some(session));
                    // The stream is read no further; the handler says so.
                    if let Some(owner) = owner {
                        owner.groups.retain(|(g, _)| *g != group);
                        self.forwarder.group_reset(session, group);
                    }
                }
                Output::Close { session, reason } => {
                    self.closed.insert(session);
                    self.outs.retain(|_, out| out.session != session);
                    let in_use = self.people.iter().any(|p| p.session == Some(session));
                    prop_assert!(!in_use, "{reason:?}");
                    let known = match reason {
                        CloseReason::Unregistered { close_code } => close_code == 0,
                        CloseReason::Replaced => true,
                    };
                    prop_assert!(known);
                }
                Output::Speakers(list) => {
                    prop_assert!(list.len() <= usize::from(PEOPLE));
                }
                Output::Demand {
                    stream_id,
                    encodings,
                } => {
                    prop_assert!((0..PEOPLE).any(|n| video(n) == stream_id));
                    prop_assert!(encodings.len() <= 1);
                }
                Output::SenderReport { session, report } => {
                    let sends = self.people.iter().any(|p| p.session == Some(session));
                    prop_assert!(sends && report.lost_ppm <= 1_000_000);
                }
                Output::Padding { .. } => prop_assert!(false, "no path was told"),
                Output::Flow { stream_id, .. } => {
                    prop_assert!((0..PEOPLE).any(|n| [video(n), audio(n)].contains(&stream_id)));
                }
                Output::LinkKeyframe { .. }
                | Output::LinkDemand { .. }
                | Output::LinkRoute { .. } => {
                    prop_assert!(false, "there are no links");
                }
            }
        }
        Ok(())
    }

    fn check_stream(
        &mut self,
        session: SessionKey,
        key: OutGroup,
        op: StreamOp,
    ) -> Result<(), TestCaseError> {
        prop_assert!(
            !self.closed.contains(&session),
            "nothing goes to a closed session"
        );
        match op {
            StreamOp::Open { header, .. } => {
                prop_assert!(self.may_get(session, header.stream_id));
                let out = Out {
                    session,
                    source: header.stream_id,
                    last: None,
                    waiting: Vec::new(),
                    finished: false,
                    refused: false,
                };
                prop_assert!(self.outs.insert(key, out).is_none());
            }
            StreamOp::Frame(frame) => {
                let header = FrameHeader::parse(&frame.header).unwrap();
                prop_assert_eq!(header.payload_bytes as usize, frame.payload.len());
                let out = self.outs.get(&key).expect("it was opened and lives");
                prop_assert!(!out.finished && !out.refused && out.session == session);
                prop_assert_eq!(out.source, header.stream_id);
                prop_assert!(self.may_get(session, out.source));
                match out.last {
                    None => prop_assert_eq!(header.frame_type, FrameType::VideoKey),
                    Some(last) => prop_assert!(header.timestamp_us > last, "in order"),
                }
                let out = self.outs.get_mut(&key).expect("as before");
                out.last = Some(header.timestamp_us);
                out.waiting.push((self.now, frame.len()));
            }
            StreamOp::Finish => {
                let out = self.outs.get_mut(&key).expect("it was opened and lives");
                prop_assert!(!out.finished && !out.refused);
                out.finished = true;
                if out.waiting.is_empty() {
                    self.outs.remove(&key);
                }
            }
            StreamOp::Reset(_) => {
                let out = self.outs.remove(&key).expect("it was opened and lives");
                prop_assert!(!out.refused);
            }
        }
        Ok(())
    }

    /// After the timers ran, nothing has waited for too long.
    fn check_lateness(&self) -> Result<(), TestCaseError> {
        for out in self.outs.values() {
            if let Some((since, _)) = out.waiting.first() {
                prop_assert!(self.now.duration_since(*since) <= QUEUE.late_max);
            }
        }
        Ok(())
    }

    fn check_bounds(&mut self) -> Result<(), TestCaseError> {
        let mut load: HashMap<SessionKey, (usize, usize)> = HashMap::new();
        for out in self.outs.values().filter(|out| !out.refused) {
            let (bytes, streams) = load.entry(out.session).or_default();
            *bytes += out.waiting.iter().map(|(_, bytes)| bytes).sum::<usize>();
            *streams += 1;
        }
        for out in self
            .outs
            .values()
            .filter(|out| !out.finished && !out.refused)
        {
            prop_assert!(
                self.may_get(out.session, out.source),
                "a stream that goes nowhere was reset"
            );
        }
        for (bytes, streams) in load.values() {
            prop_assert!(*bytes <= QUEUE.session_bytes_max, "{bytes}");
            prop_assert!(*streams <= QUEUE.session_streams_max, "{streams}");
        }
        Ok(())
    }
}

fn label(who: u8) -> SlotLabel {
    SlotLabel::new(3, Slot::try_from(u32::from(who) + 1).unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn no_frame_reaches_whom_it_is_not_routed_to_and_all_is_bounded(
        steps in prop::collection::vec(step(), 0..250),
    ) {
        let mut world = World::new();
        // Everybody is there to begin with, and sees everybody.
        for who in 0..PEOPLE {
            world.run(Step::Register { who, streams: 3, muted: false, stale: false })?;
            world.run(Step::Up { who })?;
            world.run(Step::Route { source: who, to: 15, stale: false })?;
        }
        for step in steps {
            world.run(step)?;
        }
    }

    #[test]
    fn a_receiver_gets_the_kept_group_and_all_that_follows_without_a_gap(
        before in 1usize..20,
        after in 1usize..30,
        bytes in 0usize..400,
        group: prop::sample::Index,
    ) {
        let mut world = World::new();
        for who in [0, 1] {
            world.run(Step::Register { who, streams: 1, muted: false, stale: false })?;
            world.run(Step::Up { who })?;
        }
        world.run(Step::Open { who: 0, source: 0 })?;
        let first = world.sequence + 1;
        let mut got = Vec::new();
        for n in 0..before + after {
            if n == before {
                let wanted = [(person(1), label(1))];
                let generation = world.generation(false);
                world.forwarder.route(video(0), wanted, generation, world.now).unwrap();
            }
            world.frame(0, group, n == 0, bytes);
            world.now += Duration::from_millis(33);
            let mut wrote = Vec::new();
            while let Some(output) = world.forwarder.poll_output() {
                if let Output::Stream { session, out, op: StreamOp::Frame(frame) } = output {
                    got.push(FrameHeader::parse(&frame.header).unwrap().sequence);
                    wrote.push((session, out));
                }
            }
            for (session, out) in wrote {
                world.forwarder.written(session, out, 1);
            }
            world.forwarder.tick(world.now);
        }
        let kept = before as u64 * (bytes as u64 + 46) <= 5_000;
        if kept {
            let all: Vec<_> = (first..first + (before + after) as u64).collect();
            prop_assert_eq!(got, all);
        }
    }
}
