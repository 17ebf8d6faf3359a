//! One fact a test: what a grid shows, who is heard, what time does.

use std::collections::BTreeMap;

use dt_ids::{HandlerId, MeetingId, StreamId};
use dt_wire::v1::{
    self, ErrorCode, GridLayout, PublishStream, Role, SetMute, StreamAssignments, StreamMetadata,
    StreamType, SubscribeLayout, SubscribeStream, UnpublishStream, UpdateLayout,
    client_message::Body as Request, layout::Kind, server_message::Body,
};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

use super::{Join, Meeting};
use crate::{CloseCode, Config, Credential, Effect, Limits, SessionId, Settings, Time};

/// A meeting whose handler confirms at once.
struct Room {
    meeting: Meeting,
    handler: HandlerId,
    now: Time,
    rng: StdRng,
    /// What each session was told, in order.
    told: BTreeMap<SessionId, Vec<(u64, Body)>>,
    effects: Vec<Effect>,
}

/// Somebody in it: session and participant id.
#[derive(Clone, Copy)]
struct Person(u64);

impl Room {
    fn new(participants_max: usize) -> Self {
        let handler = HandlerId::from_bytes([9; 16]);
        let now = Time(1_700_000_000_000);
        let config = Config {
            meeting: MeetingId::from_bytes([1; 16]),
            lease: 5,
            handlers: vec![handler],
            settings: Settings {
                display_name: "room".into(),
                participants_max,
                enable_e2e_encryption: false,
                hide_audio_levels: false,
            },
            limits: Limits::default(),
        };
        Self {
            meeting: Meeting::new(config, now),
            handler,
            now,
            rng: StdRng::seed_from_u64(1),
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
                Effect::Register { command, .. } => {
                    let participant = command.participant_id.parse().unwrap();
                    let generation = command.generation.unwrap();
                    let more = self.meeting.handle_registered(
                        self.handler,
                        participant,
                        generation,
                        self.now,
                    );
                    self.apply(more);
                }
                _ => {}
            }
            self.effects.push(effect);
        }
    }

    fn join(&mut self, number: u64, max_video_streams: u32) -> Person {
        let join = Join {
            role: Role::Participant,
            credential: Credential::of(&number.to_string()),
            name: format!("person {number}"),
            max_video_streams,
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
            stream_number: self.rng.random_range(1..=255),
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

#[test]
fn pinned_people_come_before_screens_and_screens_before_others() {
    let mut room = Room::new(10);
    let people = room.people(5);
    let cameras: Vec<_> = people[1..].iter().map(|p| room.camera(*p)).collect();
    let screen = room.publish(people[1], StreamType::VideoScreen);
    let pinned_user_ids = vec![5];
    let seen = room.subscribe(
        people[0],
        v1::Layout {
            pinned_user_ids,
            ..grid(1, 3)
        },
    );
    assert_eq!(
        seen,
        [
            (1, cameras[3].clone()),
            (2, screen),
            (3, cameras[0].clone())
        ]
        .into()
    );
}

#[test]
fn excluded_people_and_oneself_are_not_shown_unless_asked_for() {
    let mut room = Room::new(10);
    let people = room.people(3);
    let cameras: Vec<_> = people.iter().map(|p| room.camera(*p)).collect();
    let excluded_user_ids = vec![2];
    let layout = v1::Layout {
        excluded_user_ids,
        ..grid(2, 2)
    };
    let seen = room.subscribe(people[0], layout.clone());
    assert_eq!(seen, [(1, cameras[2].clone())].into());
    let layout = v1::Layout {
        include_self: true,
        ..layout
    };
    room.ask(
        people[0],
        Request::UpdateLayout(UpdateLayout {
            layout: Some(layout),
        }),
    );
    let seen = room.seen(people[0]);
    assert_eq!(
        seen,
        [(1, cameras[2].clone()), (2, cameras[0].clone())].into()
    );
}

#[test]
fn a_tile_keeps_its_place_when_others_come_and_go() {
    let mut room = Room::new(10);
    let people = room.people(5);
    let cameras: Vec<_> = people[1..].iter().map(|p| room.camera(*p)).collect();
    room.subscribe(people[0], grid(2, 2));
    room.leave(people[2]);
    let seen = room.seen(people[0]);
    assert_eq!(seen.keys().copied().collect::<Vec<_>>(), vec![1, 3, 4]);
    let late = room.join(6, 0);
    let camera = room.camera(late);
    let seen = room.seen(people[0]);
    assert_eq!(seen[&2], camera, "a newcomer takes the empty place");
    assert_eq!(
        (&seen[&1], &seen[&3], &seen[&4]),
        (&cameras[0], &cameras[2], &cameras[3])
    );
}

#[test]
fn a_camera_that_is_chosen_anew_comes_back_to_its_place() {
    let mut room = Room::new(10);
    let people = room.people(4);
    let cameras: Vec<_> = people[1..].iter().map(|p| room.camera(*p)).collect();
    room.subscribe(people[0], grid(2, 2));
    for (who, stream_id) in [(people[1], &cameras[0]), (people[2], &cameras[1])] {
        let stream_id = stream_id.clone();
        room.ask(who, Request::UnpublishStream(UnpublishStream { stream_id }));
    }
    let camera = room.camera(people[2]);
    assert_eq!(room.seen(people[0])[&2], camera);
}

#[test]
fn who_speaks_for_a_second_takes_the_tile_of_somebody_silent() {
    let mut room = Room::new(10);
    let people = room.people(5);
    let cameras: Vec<_> = people[1..].iter().map(|p| room.camera(*p)).collect();
    for who in &people {
        room.publish(*who, StreamType::Audio);
    }
    room.subscribe(people[0], grid(1, 2));
    let seen = room.seen(people[0]);
    assert_eq!((&seen[&1], &seen[&2]), (&cameras[0], &cameras[1]));
    room.speak(&[people[4], people[1]]);
    room.pass(900);
    assert_eq!(room.seen(people[0])[&2], cameras[1], "a cough moves nobody");
    room.pass(100);
    let seen = room.seen(people[0]);
    assert_eq!(seen[&1], cameras[0], "who speaks and is seen stays");
    assert_eq!(seen[&2], cameras[3]);
    room.speak(&[]);
    room.pass(60_000);
    assert_eq!(room.seen(people[0])[&2], cameras[3], "silence moves nobody");
}

#[test]
fn a_grid_shows_no_more_than_the_client_decodes() {
    let mut room = Room::new(10);
    let viewer = room.join(1, 2);
    let others: Vec<_> = (2..=5).map(|n| room.join(n, 0)).collect();
    let cameras: Vec<_> = others.iter().map(|p| room.camera(*p)).collect();
    let seen = room.subscribe(viewer, grid(3, 3));
    assert_eq!(seen.len(), 2);
    let request = SubscribeStream {
        stream_id: cameras[3].clone(),
        options: None,
        slot: 50,
    };
    let answer = room.ask(viewer, Request::SubscribeStream(request));
    assert!(matches!(answer, Body::SubscriptionAck(_)));
    let seen = room.seen(viewer);
    assert_eq!(
        seen,
        [(1, cameras[0].clone()), (50, cameras[3].clone())].into()
    );
}

#[test]
fn preferring_video_puts_muted_cameras_last() {
    let mut room = Room::new(10);
    let people = room.people(4);
    let cameras: Vec<_> = people[1..].iter().map(|p| room.camera(*p)).collect();
    room.mute(people[1], &cameras[0], true);
    let seen = room.subscribe(people[0], grid(1, 2));
    assert_eq!(
        seen.into_values().collect::<Vec<_>>(),
        vec![cameras[0].clone(), cameras[1].clone()]
    );
    let layout = Some(v1::Layout {
        prefer_video_over_audio: true,
        ..grid(1, 2)
    });
    room.ask(people[0], Request::UpdateLayout(UpdateLayout { layout }));
    let seen = room.seen(people[0]);
    assert_eq!(
        seen,
        [(1, cameras[2].clone()), (2, cameras[1].clone())].into()
    );
}

#[test]
fn with_more_voices_than_slots_those_who_speak_are_heard() {
    let mut room = Room::new(10);
    let people = room.people(5);
    let voices: Vec<_> = people
        .iter()
        .map(|p| room.publish(*p, StreamType::Audio))
        .collect();
    let seen = room.subscribe(people[0], grid(1, 1));
    assert_eq!(
        seen,
        [(1001, voices[1].clone()), (1002, voices[2].clone())].into()
    );
    room.speak(&[people[4]]);
    let seen = room.seen(people[0]);
    assert_eq!(seen[&1001], voices[1], "one of the silent keeps its slot");
    assert_eq!(seen[&1002], voices[4]);
}

#[test]
fn layouts_with_bad_numbers_are_refused() {
    let mut room = Room::new(10);
    let who = room.join(1, 0);
    let bad = [
        v1::Layout {
            kind: None,
            ..grid(1, 1)
        },
        grid(0, 1),
        v1::Layout {
            kind: Some(Kind::Grid(GridLayout {
                rows: 1,
                columns: 257,
            })),
            ..grid(1, 1)
        },
        v1::Layout {
            video_slots: vec![0],
            ..grid(1, 1)
        },
        v1::Layout {
            video_slots: vec![1 << 24],
            ..grid(1, 1)
        },
        v1::Layout {
            video_slots: vec![3, 3],
            ..grid(1, 2)
        },
        v1::Layout {
            audio_slots: vec![1],
            ..grid(1, 1)
        },
        v1::Layout {
            audio_slots: (1..2000).collect(),
            ..grid(1, 1)
        },
        v1::Layout {
            pinned_user_ids: vec![1; 2000],
            ..grid(1, 1)
        },
    ];
    for layout in bad {
        let request = SubscribeLayout {
            layout: Some(layout.clone()),
        };
        let code = room.refused(who, Request::SubscribeLayout(request));
        assert_eq!(code, ErrorCode::InvalidRequest, "{layout:?}");
    }
    let update = || {
        Request::UpdateLayout(UpdateLayout {
            layout: Some(grid(1, 1)),
        })
    };
    assert_eq!(room.refused(who, update()), ErrorCode::NotFound);
    let video_slots = (2000..2000 + 256 * 256).collect();
    room.subscribe(who, v1::Layout { video_slots, ..grid(256, 256) });
    let second = Request::SubscribeLayout(SubscribeLayout {
        layout: Some(grid(1, 1)),
    });
    assert_eq!(room.refused(who, second), ErrorCode::Conflict);
}

#[test]
fn streams_that_make_no_sense_are_refused() {
    let mut room = Room::new(10);
    let who = room.join(1, 0);
    let good = PublishStream {
        stream_id: StreamId::from_bytes([3; 16]).to_string(),
        stream_type: StreamType::VideoCamera.into(),
        metadata: Some(StreamMetadata {
            codec: "vp08".into(),
            ..Default::default()
        }),
        stream_number: 1,
        ..PublishStream::default()
    };
    let metadata = |codec: &str, max_bitrate, video| {
        Some(StreamMetadata {
            codec: codec.into(),
            max_bitrate,
            video,
        })
    };
    let wide = v1::VideoMetadata {
        width: 100_000,
        ..Default::default()
    };
    let layers = v1::VideoMetadata {
        simulcast_layers: vec![Default::default(); 17],
        ..Default::default()
    };
    let bad = [
        PublishStream {
            stream_id: "1".into(),
            ..good.clone()
        },
        PublishStream {
            stream_number: 0,
            ..good.clone()
        },
        PublishStream {
            stream_number: 256,
            ..good.clone()
        },
        PublishStream {
            stream_type: 9,
            ..good.clone()
        },
        PublishStream {
            carrier: 9,
            ..good.clone()
        },
        PublishStream {
            metadata: None,
            ..good.clone()
        },
        PublishStream {
            metadata: metadata("opus", 0, None),
            ..good.clone()
        },
        PublishStream {
            metadata: metadata("vp08", u32::MAX, None),
            ..good.clone()
        },
        PublishStream {
            metadata: metadata("vp08", 0, Some(wide)),
            ..good.clone()
        },
        PublishStream {
            metadata: metadata("vp08", 0, Some(layers)),
            ..good.clone()
        },
    ];
    for request in bad {
        let code = room.refused(who, Request::PublishStream(request.clone()));
        assert_eq!(code, ErrorCode::InvalidRequest, "{request:?}");
    }
    assert!(matches!(
        room.ask(who, Request::PublishStream(good)),
        Body::StreamPublished(_)
    ));
}

#[test]
fn a_participant_has_at_most_eight_streams() {
    let mut room = Room::new(10);
    let who = room.join(1, 0);
    let request = |n: u8| PublishStream {
        stream_id: StreamId::from_bytes([n; 16]).to_string(),
        stream_type: StreamType::Audio.into(),
        metadata: Some(StreamMetadata {
            codec: "opus".into(),
            ..Default::default()
        }),
        stream_number: n.into(),
        ..PublishStream::default()
    };
    for n in 1..=8 {
        let answer = room.ask(who, Request::PublishStream(request(n)));
        assert!(matches!(answer, Body::StreamPublished(_)));
    }
    let code = room.refused(who, Request::PublishStream(request(9)));
    assert_eq!(code, ErrorCode::CapacityExceeded);
}

#[test]
fn speakers_are_told_at_once_and_then_not_too_often() {
    let mut room = Room::new(10);
    let people = room.people(3);
    for who in &people {
        room.publish(*who, StreamType::Audio);
    }
    let told = |room: &Room| {
        let told = &room.told[&SessionId(1)];
        told.iter()
            .filter(|(_, body)| matches!(body, Body::ActiveSpeakers(_)))
            .count()
    };
    room.speak(&[people[1]]);
    assert_eq!(told(&room), 1);
    for turn in 0..10 {
        room.speak(&[people[turn % 2 + 1]]);
    }
    assert_eq!(told(&room), 1);
    room.speak(&[people[2]]);
    room.pass(200);
    assert_eq!(told(&room), 2, "the last word counts");
}

#[test]
fn a_muted_person_is_no_speaker() {
    let mut room = Room::new(10);
    let people = room.people(2);
    let voice = room.publish(people[1], StreamType::Audio);
    room.speak(&[people[1]]);
    room.pass(1000);
    room.mute(people[1], &voice, true);
    let told = &room.told[&SessionId(1)];
    let last = told.iter().rev().find_map(|(_, body)| match body {
        Body::ActiveSpeakers(speakers) => Some(speakers.participant_ids.clone()),
        _ => None,
    });
    assert_eq!(last, Some(vec![]));
    room.speak(&[people[1]]);
    assert!(
        room.meeting.speakers.told().is_empty(),
        "nor is one who can't be heard"
    );
}

#[test]
fn routes_to_a_client_whose_signaling_broke_go_on_while_its_media_session_lives() {
    let mut room = Room::new(10);
    let people = room.people(2);
    let camera = room.camera(people[1]);
    room.subscribe(people[0], grid(1, 1));
    let viewer = room.meeting.roster.by_session(SessionId(1)).unwrap();
    let viewer = room.meeting.roster.get(viewer).unwrap().participant;
    let media = |room: &mut Room, connected| {
        let effects = room
            .meeting
            .handle_media_session(room.handler, viewer, connected, room.now);
        room.apply(effects);
    };
    let routed = |room: &Room| room.meeting.routes.is_routed(camera.parse().unwrap());
    media(&mut room, true);
    let effects = room.meeting.handle_session_lost(SessionId(1), room.now);
    room.apply(effects);
    assert!(routed(&room));
    media(&mut room, false);
    assert!(!routed(&room));
}

#[test]
fn a_newer_lease_elsewhere_stops_everything() {
    let mut room = Room::new(10);
    let people = room.people(1);
    let applied = dt_wire::internal::Generation {
        lease: 6,
        counter: 1,
    };
    assert_eq!(
        room.meeting.handle_applied(applied, room.now),
        vec![Effect::Fenced]
    );
    let request = Request::Heartbeat(v1::Heartbeat {});
    let session = SessionId(people[0].0);
    assert!(
        room.meeting
            .handle_request(session, 1, request, room.now)
            .is_empty()
    );
}

#[test]
fn a_silent_session_is_closed_when_its_seat_counts_as_disconnected() {
    let mut room = Room::new(10);
    room.people(1);
    let due = room.meeting.next_timeout().unwrap();
    assert_eq!(due, room.now.plus_ms(30_000));
    assert!(
        room.meeting
            .handle_timeout(due.plus_ms(0))
            .contains(&Effect::Close {
                session: SessionId(1),
                code: CloseCode::Graceful
            })
    );
}
