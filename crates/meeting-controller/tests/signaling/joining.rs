//! Coming in, coming back, staying out.

use std::time::Duration;

use dt_ids::{HandlerId, MeetingId, ParticipantId};
use dt_token::{
    Role, UnixTime,
    connection::{self, ConnectionKey},
};
use dt_transport::Session as _;
use dt_wire::v1::{
    ConnectionState, ErrorCode, JoinRequest, Leave, LeaveReason, StreamType,
    client_message::Body as Request, server_message::Body,
};

use crate::bench::{Bench, KEY, code};

#[tokio::test(start_paused = true)]
async fn two_people_see_each_other_come_and_go() {
    let bench = Bench::new().await;
    let (mut ana, welcome) = bench.join("  Ana ", Role::Host).await;
    assert!(welcome.existing_participants.is_empty());
    assert_eq!((welcome.user_id, welcome.resumed), (1, false));
    assert_eq!(welcome.resume_token.len(), 32);
    let me = welcome.self_.unwrap();
    assert_eq!(
        (me.name.as_str(), me.role),
        ("Ana", dt_wire::v1::Role::Host.into())
    );
    assert_eq!(welcome.meeting.unwrap().display_name, "Standup");

    let (mut ben, welcome) = bench.join("Ben", Role::Guest).await;
    assert_eq!(welcome.existing_participants, vec![me]);
    let joined = ana.push(|b| {
        if let Body::ParticipantJoined(j) = b {
            j.participant
        } else {
            None
        }
    });
    let joined = joined.await;
    assert_eq!((joined.name.as_str(), joined.user_id), ("Ben", 2));
    assert_eq!(bench.controller.load(), (1, 2));

    assert!(matches!(
        ben.ask(Request::Leave(Leave {})).await,
        Body::Ack(_)
    ));
    let left = ana
        .push(|b| {
            if let Body::ParticipantLeft(l) = b {
                Some(l)
            } else {
                None
            }
        })
        .await;
    assert_eq!(left.participant_id, joined.participant_id);
    assert_eq!(left.reason(), LeaveReason::Voluntary);
    assert_eq!(ben.close_code().await, 0);
}

#[tokio::test(start_paused = true)]
async fn the_connection_token_opens_the_named_handler_for_this_participant() {
    let bench = Bench::new().await;
    let (_ana, welcome) = bench.join("Ana", Role::Host).await;
    let server = welcome.media_server.unwrap();
    assert_eq!(welcome.media_servers, vec![server.clone()]);
    assert_eq!(server.media_handler_url, "https://meet.example:8443/mh/0");
    let handler: HandlerId = server.handler_id.parse().unwrap();
    let key = ConnectionKey::try_from(&KEY[..]).unwrap();
    let now = UnixTime::from(std::time::SystemTime::now());
    let claims = connection::verify(&key, &server.connection_token, handler, now).unwrap();
    assert_eq!(claims.meeting, bench.meeting);
    assert_eq!(
        claims.participant,
        welcome.participant_id.parse::<ParticipantId>().unwrap()
    );
}

#[tokio::test(start_paused = true)]
async fn the_welcome_waits_until_the_handler_knows_the_participant() {
    let bench = Bench::new().await;
    bench.handler.answer(false);
    let mut ana = bench.connect().await;
    let request = bench.join_request("Ana", Role::Host);
    let request_id = ana.send(Request::JoinRequest(request)).await;
    let early = tokio::time::timeout(Duration::from_millis(500), ana.message()).await;
    assert!(early.is_err(), "nothing is said before: {early:?}");
    bench.handler.answer(true);
    let Body::JoinResponse(welcome) = ana.answer(request_id).await else {
        panic!("not welcome");
    };
    assert!(
        bench
            .handler
            .registered
            .lock()
            .unwrap()
            .contains_key(&welcome.participant_id)
    );
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_never_answers_fails_the_join_and_frees_the_seat() {
    let bench = Bench::with(1, |config| config.meeting.registration_ms = 500).await;
    bench.handler.answer(false);
    let mut ana = bench.connect().await;
    let request = bench.join_request("Ana", Role::Host);
    let error = ana.refused(Request::JoinRequest(request)).await;
    assert_eq!(code(&error), ErrorCode::InternalError);
    assert_eq!(ana.close_code().await, 4);
    bench.handler.answer(true);
    bench.join("Ana", Role::Host).await;
}

#[tokio::test(start_paused = true)]
async fn a_meeting_is_found_by_its_code_too() {
    let bench = Bench::new().await;
    let mut ana = bench.connect().await;
    let meeting_id = bench.code.to_string().to_uppercase();
    let request = JoinRequest {
        meeting_id,
        ..bench.join_request("Ana", Role::Host)
    };
    ana.join(request).await;
}

#[tokio::test(start_paused = true)]
async fn a_full_meeting_takes_nobody_more() {
    let bench = Bench::with(2, |_| {}).await;
    let (_ana, _) = bench.join("Ana", Role::Host).await;
    let (mut ben, _) = bench.join("Ben", Role::Guest).await;
    let mut cem = bench.connect().await;
    let error = cem
        .refused(Request::JoinRequest(bench.join_request("Cem", Role::Guest)))
        .await;
    assert_eq!(code(&error), ErrorCode::CapacityExceeded);
    assert!(error.message.contains("full"));
    assert_eq!(cem.close_code().await, 3);
    ben.ask(Request::Leave(Leave {})).await;
    bench.join("Cem", Role::Guest).await;
}

#[tokio::test(start_paused = true)]
async fn without_a_valid_token_nobody_comes_in() {
    let bench = Bench::new().await;
    let good = bench.token(Role::Host);
    let elsewhere = bench.token_for(MeetingId::random(), Role::Host, 300);
    let forged = {
        let (head, signature) = good.rsplit_once('.').unwrap();
        format!("{head}.{}", signature.chars().rev().collect::<String>())
    };
    for join_token in ["", "nonsense", &elsewhere, &forged] {
        let mut client = bench.connect().await;
        let request = JoinRequest {
            join_token: join_token.into(),
            ..bench.join_request("Eve", Role::Host)
        };
        let error = client.refused(Request::JoinRequest(request)).await;
        assert_eq!(code(&error), ErrorCode::Unauthorized, "{join_token}");
        assert_eq!(client.close_code().await, 2);
    }
    assert_eq!(bench.controller.load(), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_name_must_be_fit_to_be_shown() {
    let bench = Bench::new().await;
    let long = "x".repeat(65);
    for name in ["", "  ", "a\nb", "a\u{202e}b", &long] {
        let mut client = bench.connect().await;
        let request = bench.join_request(name, Role::Guest);
        let error = client.refused(Request::JoinRequest(request)).await;
        assert_eq!(code(&error), ErrorCode::InvalidRequest, "{name:?}");
    }
    bench.join(&"é".repeat(64), Role::Guest).await;
}

#[tokio::test(start_paused = true)]
async fn a_meeting_that_does_not_run_here_is_not_found() {
    let bench = Bench::new().await;
    let other = MeetingId::random();
    let mut client = bench.connect().await;
    let request = JoinRequest {
        meeting_id: other.to_string(),
        join_token: bench.token_for(other, Role::Host, 300),
        ..bench.join_request("Ana", Role::Host)
    };
    let error = client.refused(Request::JoinRequest(request)).await;
    assert_eq!(code(&error), ErrorCode::NotFound);
}

#[tokio::test(start_paused = true)]
async fn who_comes_back_has_the_same_seat_and_the_streams_still_sent() {
    let bench = Bench::new().await;
    let (mut ana, _) = bench.join("Ana", Role::Host).await;
    let (mut ben, welcome) = bench.join("Ben", Role::Guest).await;
    let kept = ben.publish(StreamType::Audio, 1).await;
    let dropped = ben.publish(StreamType::VideoCamera, 2).await;
    ben.session.close(0, "gone");

    let updated = |b| {
        if let Body::ParticipantUpdated(u) = b {
            Some(u)
        } else {
            None
        }
    };
    let update = ana.push(updated).await;
    assert_eq!(update.connection(), ConnectionState::Disconnected);

    let mut back = bench.connect().await;
    let resume = JoinRequest {
        meeting_id: bench.meeting.to_string(),
        resume_token: welcome.resume_token.clone(),
        kept_stream_ids: vec![kept.clone()],
        ..JoinRequest::default()
    };
    let again = back.join(resume.clone()).await;
    assert!(again.resumed);
    assert_eq!(again.participant_id, welcome.participant_id);
    assert_eq!(again.user_id, welcome.user_id);
    let streams: Vec<_> = again
        .self_
        .unwrap()
        .streams
        .into_iter()
        .map(|s| s.stream_id)
        .collect();
    assert_eq!(streams, vec![kept]);

    let gone = |b| {
        if let Body::StreamUnpublished(u) = b {
            Some(u.stream_id)
        } else {
            None
        }
    };
    assert_eq!(ana.push(gone).await, dropped);
    let update = ana.push(updated).await;
    assert_eq!(
        (update.connection(), update.reconnected),
        (ConnectionState::Connected, true)
    );

    // The token was good once.
    let mut thief = bench.connect().await;
    let error = thief.refused(Request::JoinRequest(resume)).await;
    assert_eq!(code(&error), ErrorCode::Unauthorized);
    assert_eq!(thief.close_code().await, 2);
}

#[tokio::test(start_paused = true)]
async fn the_newest_session_wins_the_seat() {
    let bench = Bench::new().await;
    let (mut old, welcome) = bench.join("Ana", Role::Host).await;
    let mut new = bench.connect().await;
    let resume = JoinRequest {
        meeting_id: bench.meeting.to_string(),
        resume_token: welcome.resume_token,
        ..JoinRequest::default()
    };
    assert!(new.join(resume).await.resumed);
    assert_eq!(old.close_code().await, 5);
    assert_eq!(bench.controller.load(), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn requests_sent_behind_the_join_are_answered_in_order() {
    let bench = Bench::new().await;
    let mut ana = bench.connect().await;
    let join = ana
        .send(Request::JoinRequest(bench.join_request("Ana", Role::Host)))
        .await;
    let id = dt_ids::StreamId::random().to_string();
    let stream = crate::bench::stream(&id, StreamType::VideoCamera, 1);
    let publish = ana.send(Request::PublishStream(stream)).await;
    let layout = dt_wire::v1::SubscribeLayout {
        layout: Some(crate::bench::grid()),
    };
    let subscribe = ana.send(Request::SubscribeLayout(layout)).await;
    let mut answered = Vec::new();
    while answered.len() < 3 {
        let (request_id, body) = ana.message().await.unwrap();
        assert!(!matches!(body, Body::Error(_)), "{body:?}");
        if request_id != 0 {
            answered.push(request_id);
        }
    }
    assert_eq!(answered, vec![join, publish, subscribe]);
}
