//! Streams, speakers, sessions and time.

use super::*;

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
    let routed = |room: &Room| room.meeting.is_routed(camera.parse().unwrap());
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
        room.meeting
            .handle_applied(room.handler, None, applied, room.now),
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
