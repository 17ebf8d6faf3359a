//! The meeting, the forwarder and the simple model beside it.

use super::*;

/// A stream on its way to a receiver, as the model saw it.
#[derive(Debug)]
pub(super) struct Out {
    pub(super) session: SessionKey,
    pub(super) source: StreamId,
    pub(super) last: Option<u64>,
    /// When each frame was given to it, and its bytes.
    pub(super) waiting: Vec<(Instant, usize)>,
    pub(super) finished: bool,
    /// The receiver refused it; the forwarder says nothing more about it.
    pub(super) refused: bool,
}

#[derive(Debug, Default)]
pub(super) struct Person {
    /// Mask of streams, when it is registered.
    pub(super) streams: Option<u8>,
    pub(super) muted: bool,
    pub(super) session: Option<SessionKey>,
    pub(super) groups: Vec<(GroupKey, u8)>,
}

pub(super) struct World {
    pub(super) forwarder: Forwarder,
    pub(super) start: Instant,
    pub(super) now: Instant,
    pub(super) people: Vec<Person>,
    pub(super) routes: HashMap<StreamId, BTreeSet<u8>>,
    pub(super) outs: BTreeMap<OutGroup, Out>,
    pub(super) closed: BTreeSet<SessionKey>,
    /// When the sender was last asked for a key frame; forgotten when it begins
    /// anew, for then it may be asked at once.
    pub(super) asked: HashMap<StreamId, Instant>,
    pub(super) counter: u64,
    pub(super) next: u64,
    pub(super) sequence: u64,
}

impl World {
    pub(super) fn new() -> Self {
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

    pub(super) fn generation(&mut self, stale: bool) -> Generation {
        if stale {
            return Generation::default();
        }
        self.counter += 1;
        Generation {
            lease: 1,
            counter: self.counter,
        }
    }

    pub(super) fn run(&mut self, step: Step) -> Result<(), TestCaseError> {
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

    pub(super) fn frame(&mut self, who: u8, index: prop::sample::Index, key: bool, bytes: usize) {
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
    pub(super) fn may_get(&self, session: SessionKey, source: StreamId) -> bool {
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
}
