//! One fact a test, for what random schedules can't name.

mod codecs;
mod handlers;
mod layouts;
mod mixing;
mod schedules;
mod speaker_view;
mod spotlight;
mod streams;

use std::{collections::BTreeMap, sync::Arc};

use dt_ids::{HandlerId, MeetingId, StreamId};
use dt_wire::{
    CloseCode,
    v1::{
        self, ErrorCode, GridLayout, PublishStream, Role, SetMute, StreamAssignments,
        StreamMetadata, StreamType, SubscribeLayout, SubscribeStream, UnpublishStream,
        UpdateLayout, client_message::Body as Request, layout::Kind, server_message::Body,
    },
};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

use super::{Join, Meeting};
use crate::{
    Codecs, Config, Credential, Effect, Limits, SessionId, Settings, Time,
    routing::{Numbers, Wanted},
};

/// A meeting whose handler confirms at once.
struct Room {
    meeting: Meeting,
    /// The first one.
    handler: HandlerId,
    /// Those that confirm nothing.
    silent: Vec<HandlerId>,
    numbers: Arc<Numbers>,
    now: Time,
    rng: StdRng,
    last_stream: u32,
    /// What each session was told, in order.
    told: BTreeMap<SessionId, Vec<(u64, Body)>>,
    effects: Vec<Effect>,
}

/// Somebody in it: session and participant id.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Person(u64);

impl Room {
    fn new(participants_max: usize) -> Self {
        Self::at(&[HandlerId::from_bytes([9; 16])], participants_max, 100)
    }

    fn at(handlers: &[HandlerId], participants_max: usize, handler_participants: usize) -> Self {
        let now = Time(1_700_000_000_000);
        let numbers = Arc::new(Numbers::default());
        let config = Config {
            meeting: MeetingId::from_bytes([1; 16]),
            lease: 5,
            handlers: handlers.to_vec(),
            route_ids: Some(Arc::clone(&numbers) as _),
            settings: Settings {
                display_name: "room".into(),
                participants_max,
                encryption: None,
                hide_audio_levels: false,
            },
            keepers: None,
            limits: Limits {
                handler_participants,
                ..Limits::default()
            },
        };
        Self {
            meeting: Meeting::new(config, now),
            handler: handlers[0],
            silent: Vec::new(),
            numbers,
            now,
            rng: StdRng::seed_from_u64(1),
            last_stream: 0,
            told: BTreeMap::new(),
            effects: Vec::new(),
        }
    }

    fn apply(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match &effect {
                Effect::Send { sessions, message } => {
                    for session in sessions {
                        let body = message.body.clone().unwrap();
                        self.told
                            .entry(*session)
                            .or_default()
                            .push((message.request_id, body));
                    }
                }
                Effect::SendWithMediaAccess {
                    session, message, ..
                } => {
                    let body = message.body.clone().unwrap();
                    self.told
                        .entry(*session)
                        .or_default()
                        .push((message.request_id, body));
                }
                Effect::Register { handler, command } if !self.silent.contains(handler) => {
                    let participant = command.participant_id.parse().unwrap();
                    let generation = command.generation.unwrap();
                    let more =
                        self.meeting
                            .handle_registered(*handler, participant, generation, self.now);
                    self.apply(more);
                }
                Effect::Route { handler, command } if !self.silent.contains(handler) => {
                    let stream = command.source_stream_id.parse().ok();
                    let generation = command.generation.unwrap();
                    let more = self
                        .meeting
                        .handle_applied(*handler, stream, generation, self.now);
                    self.apply(more);
                }
                _ => {}
            }
            self.effects.push(effect);
        }
    }

    /// What a handler was told of a stream; nothing if it has nothing to do with it.
    fn way(&self, handler: HandlerId, stream: &str) -> Wanted {
        let all = self.meeting.routes.all_sent();
        let way = all.get(&(handler, stream.parse().unwrap()));
        way.cloned().unwrap_or_default()
    }

    fn join(&mut self, number: u64, max_video_streams: u32) -> Person {
        self.enter(
            number,
            max_video_streams,
            Role::Participant,
            Codecs::default(),
        )
    }

    fn enter(&mut self, number: u64, max_video_streams: u32, role: Role, codecs: Codecs) -> Person {
        let join = Join {
            role,
            credential: Credential::of(&number.to_string()),
            name: format!("person {number}"),
            max_video_streams,
            codecs,
            e2ee: None,
        };
        let session = SessionId(number);
        let effects = self
            .meeting
            .handle_join(session, 1, join, self.now, &mut self.rng)
            .unwrap();
        self.apply(effects);
        Person(number)
    }

    fn people(&mut self, count: u64) -> Vec<Person> {
        (1..=count).map(|n| self.join(n, 0)).collect()
    }

    fn ask(&mut self, who: Person, request: Request) -> Body {
        let effects = self
            .meeting
            .handle_request(SessionId(who.0), 77, request, self.now);
        self.apply(effects);
        let told = &self.told[&SessionId(who.0)];
        told.iter()
            .rev()
            .find(|(id, _)| *id == 77)
            .expect("an answer")
            .1
            .clone()
    }

    fn refused(&mut self, who: Person, request: Request) -> ErrorCode {
        match self.ask(who, request) {
            Body::Error(error) => error.code(),
            other => panic!("not refused: {other:?}"),
        }
    }

    fn publish(&mut self, who: Person, kind: StreamType) -> String {
        let stream_id = StreamId::from_bytes(self.rng.random()).to_string();
        self.last_stream += 1;
        let codec = if kind == StreamType::Audio {
            "opus"
        } else {
            "vp08"
        };
        let request = PublishStream {
            stream_id: stream_id.clone(),
            stream_type: kind.into(),
            metadata: Some(StreamMetadata {
                codec: codec.into(),
                ..Default::default()
            }),
            stream_number: self.last_stream % 255 + 1,
            ..PublishStream::default()
        };
        let answer = self.ask(who, Request::PublishStream(request));
        assert!(matches!(answer, Body::StreamPublished(_)), "{answer:?}");
        stream_id
    }

    fn camera(&mut self, who: Person) -> String {
        self.publish(who, StreamType::VideoCamera)
    }

    fn mute(&mut self, who: Person, stream_id: &str, muted: bool) {
        self.ask(
            who,
            Request::SetMute(SetMute {
                stream_id: stream_id.into(),
                muted,
            }),
        );
    }

    fn subscribe(&mut self, who: Person, layout: v1::Layout) -> BTreeMap<u32, String> {
        let request = Request::SubscribeLayout(SubscribeLayout {
            layout: Some(layout),
        });
        match self.ask(who, request) {
            Body::StreamAssignments(assignments) => slots(&assignments),
            other => panic!("{other:?}"),
        }
    }

    /// What stands in somebody's slots now, as it was told.
    fn seen(&self, who: Person) -> BTreeMap<u32, String> {
        let told = self.told[&SessionId(who.0)].iter().rev();
        let mut assignments = told.filter_map(|(_, body)| match body {
            Body::StreamAssignments(assignments) => Some(slots(assignments)),
            _ => None,
        });
        assignments.next().expect("it was told")
    }

    fn speak(&mut self, people: &[Person]) {
        let ids: Vec<_> = people
            .iter()
            .map(|who| {
                let user = self.meeting.roster.by_session(SessionId(who.0)).unwrap();
                self.meeting.roster.get(user).unwrap().participant
            })
            .collect();
        let effects = self.meeting.handle_speakers(self.handler, &ids, self.now);
        self.apply(effects);
    }

    fn pass(&mut self, ms: u64) {
        self.now = self.now.plus_ms(ms);
        for session in self.told.keys() {
            self.meeting.handle_alive(*session, self.now);
        }
        let effects = self.meeting.handle_timeout(self.now);
        self.apply(effects);
    }

    fn leave(&mut self, who: Person) {
        let request = Request::Leave(v1::Leave {});
        let effects = self
            .meeting
            .handle_request(SessionId(who.0), 1, request, self.now);
        self.apply(effects);
    }
}

fn slots(assignments: &StreamAssignments) -> BTreeMap<u32, String> {
    assignments
        .assignments
        .iter()
        .map(|a| (a.slot, a.stream_id.clone()))
        .collect()
}

fn grid(rows: u32, columns: u32) -> v1::Layout {
    v1::Layout {
        kind: Some(Kind::Grid(GridLayout { rows, columns })),
        video_slots: (1..=rows * columns).collect(),
        audio_slots: vec![1001, 1002],
        ..v1::Layout::default()
    }
}
