//! Clients that break the rules: they alone are affected.

#![allow(clippy::unwrap_used)] // a panic is how a test fails

mod support;

use bytes::Bytes;
use dt_frame::{FRAME_HEADER_BYTES, FrameType};
use dt_ids::{ParticipantId, StreamId, UserId};
use dt_transport::{SendStream, Session, memory};
use dt_wire::{
    CloseCode,
    framing::{self, Framed},
    v1::{ErrorCode, MediaServerMessage, media_server_message::Body},
};
use support::{Client, Control, Person, World, closed, hello, soon};

/// What `bad` did has not disturbed these two.
async fn still_works(a: &mut Client, b: &mut Client) {
    let said = a.say();
    assert_eq!(b.hear().await.sequence, said.sequence);
    let mut stream = a.open_group(1000).await;
    let sent = a.show(&mut stream, FrameType::VideoKey, 100).await;
    let mut seen = b.watch().await;
    assert_eq!(seen.header().await, a.group_header(1000));
    assert_eq!(seen.frame().await.0, sent);
}

/// A third person who is routed to both of the others.
async fn intruder(world: &mut World, a: &Client, b: &Client) -> Client {
    let person = world.person(3).await;
    world.route(&person, &[a.person, b.person]).await;
    world.join(&person).await
}

#[tokio::test(start_paused = true)]
async fn a_token_opens_one_session_only() {
    let mut world = World::new().await;
    let person = world.person(1).await;
    let token = world.token(&person);
    let first = Client::enter(world.dial(), person, token.clone())
        .await
        .unwrap();
    let session = world.dial();
    let Err(Some(Body::Error(error))) = Client::enter(session.clone(), person, token).await else {
        panic!("an error is expected");
    };
    assert_eq!(error.code, i32::from(ErrorCode::Unauthorized));
    assert_eq!(
        closed(&session).await,
        CloseCode::AuthenticationFailed.code()
    );
    assert_eq!(world.handler.session_count(), 1);
    drop(first);
}

#[tokio::test(start_paused = true)]
async fn tokens_of_others_are_refused() {
    let mut world = World::new().await;
    let person = world.person(1).await;
    let stranger = Person {
        participant: ParticipantId::random(),
        ..person
    };
    let unregistered = world.token(&stranger);
    let mut other = World::new().await;
    other.meeting = world.meeting;
    let of_another_handler = other.token(&person);
    for token in [
        unregistered,
        of_another_handler,
        "x".repeat(140),
        String::new(),
    ] {
        let session = world.dial();
        assert!(Client::enter(session.clone(), person, token).await.is_err());
        assert_eq!(
            closed(&session).await,
            CloseCode::AuthenticationFailed.code()
        );
    }
    world.all_served().await;
}

#[tokio::test(start_paused = true)]
async fn the_first_message_must_be_a_hello() {
    let mut world = World::new().await;
    let garbage = Bytes::from_static(&[0, 0, 0, 3, 0xff, 0xff, 0xff]);
    let too_long = Bytes::from_static(&[0x7f, 0xff, 0xff, 0xff]);
    let rtt = framing::encode_bytes(&[3, 1]);
    let server_message = framing::encode(&MediaServerMessage::default());
    for bytes in [garbage, too_long, rtt, server_message] {
        let session = world.dial();
        let (mut send, recv) = soon(session.open_bi()).await.unwrap();
        soon(send.write(bytes)).await.unwrap();
        let answer = Control::new(recv).message().await;
        assert!(matches!(answer, Some((0, Body::Error(_)))), "{answer:?}");
        assert_eq!(closed(&session).await, CloseCode::ProtocolError.code());
    }
    world.all_served().await;
}

#[tokio::test(start_paused = true)]
async fn a_hello_must_come_in_time() {
    let mut world = World::new().await;
    let session = world.dial();
    let (mut send, _recv) = soon(session.open_bi()).await.unwrap();
    soon(send.write(Bytes::from_static(&[0, 0, 0, 99])))
        .await
        .unwrap();
    let begun = tokio::time::Instant::now();
    assert_eq!(
        closed(&session).await,
        CloseCode::AuthenticationFailed.code()
    );
    assert!(begun.elapsed() <= std::time::Duration::from_secs(4));
}

#[tokio::test(start_paused = true)]
async fn warm_sessions_are_bounded_and_the_oldest_goes_first() {
    let mut world = World::with(|config| config.warm_sessions_max = 3).await;
    let mut sessions = Vec::new();
    for _ in 0..4 {
        sessions.push(world.dial());
        tokio::task::yield_now().await;
    }
    assert_eq!(closed(&sessions[0]).await, CloseCode::QuotaExceeded.code());
    let person = world.person(1).await;
    let token = world.token(&person);
    Client::enter(sessions[1].clone(), person, token)
        .await
        .unwrap();
    // A session that is never used ends by itself.
    let begun = tokio::time::Instant::now();
    let end = tokio::time::timeout(std::time::Duration::from_secs(301), sessions[2].closed()).await;
    assert!(end.is_ok(), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn media_before_the_hello_goes_nowhere() {
    let mut world = World::new().await;
    let (mut a, mut b) = world.pair().await;
    let person = world.person(3).await;
    world.route(&person, &[a.person, b.person]).await;
    let session = world.dial();
    let token = world.token(&person);
    let mut early = Client::enter(world.dial(), person, world.token(&person))
        .await
        .unwrap();
    let (_, datagram) = early.chunk();
    session.send_datagram(datagram).unwrap();
    let mut stream = soon(session.open_uni()).await.unwrap();
    let (header, _) = early.frame(FrameType::VideoKey, 0);
    let mut chunks = [
        Bytes::copy_from_slice(&early.group_header(1).write()),
        Bytes::copy_from_slice(&header.write()),
    ];
    // It may be stopped already.
    let _ = soon(stream.write_chunks(&mut chunks)).await;
    // What came before its hello was dropped before it was let in.
    let (mut send, recv) = soon(session.open_bi()).await.unwrap();
    soon(send.write(hello(token))).await.unwrap();
    assert!(matches!(
        Control::new(recv).message().await,
        Some((1, Body::Welcome(_)))
    ));
    still_works(&mut a, &mut b).await;
}

#[tokio::test(start_paused = true)]
async fn a_full_handler_says_so() {
    let mut world = World::with(|config| config.sessions_max = 1).await;
    let (a, b) = (world.person(1).await, world.person(2).await);
    let _a = world.join(&a).await;
    let (session, token) = (world.dial(), world.token(&b));
    let Err(Some(Body::Error(error))) = Client::enter(session.clone(), b, token).await else {
        panic!("an error is expected");
    };
    assert_eq!(error.code, i32::from(ErrorCode::CapacityExceeded));
    assert_eq!(closed(&session).await, CloseCode::QuotaExceeded.code());
}

#[tokio::test(start_paused = true)]
async fn forged_garbled_and_oversize_datagrams_reach_nobody() {
    let mut world = World::new().await;
    let (mut a, mut b) = world.pair().await;
    let bad = &mut intruder(&mut world, &a, &b).await;
    let (header, datagram) = bad.chunk();
    let mut forged = header;
    forged.user_id = a.person.user;
    bad.session
        .send_datagram([&forged.write()[..], b"sound"].concat().into())
        .unwrap();
    let mut unknown = header;
    unknown.user_id = UserId(99);
    bad.session
        .send_datagram([&unknown.write()[..], b"sound"].concat().into())
        .unwrap();
    for end in 0..datagram.len() {
        bad.session.send_datagram(datagram.slice(..end)).unwrap();
    }
    let mut long = header;
    long.payload_bytes = 1100;
    bad.session
        .send_datagram([&long.write()[..], &[0; 1100]].concat().into())
        .unwrap();
    bad.sync().await;
    still_works(&mut a, &mut b).await;
    // The next thing that its receivers hear of it is true.
    let said = bad.say();
    assert_eq!(a.hear().await.sequence, said.sequence);
}

#[tokio::test(start_paused = true)]
async fn streams_that_are_not_media_are_stopped_and_many_of_them_end_the_session() {
    let mut world = World::with(|config| config.violations_max = 8).await;
    let (mut a, mut b) = world.pair().await;
    let mut bad = intruder(&mut world, &a, &b).await;
    let mut foreign = bad.group_header(1);
    foreign.stream_id = a.person.camera;
    let header = bad.group_header(1);
    let (frame, _) = bad.frame(FrameType::VideoKey, 5 << 20);
    let unknown = dt_frame::StreamHeader {
        stream_id: StreamId::random(),
        ..header
    };
    let begins: [Vec<u8>; 5] = [
        vec![0x55; 200],
        header.write()[..31].to_vec(),
        foreign.write().to_vec(),
        unknown.write().to_vec(),
        [&header.write()[..], &frame.write()[..]].concat(),
    ];
    for begin in &begins {
        let mut stream = soon(bad.session.open_uni()).await.unwrap();
        soon(stream.write(Bytes::copy_from_slice(begin)))
            .await
            .unwrap();
        let _ = stream.finish();
    }
    bad.sync().await;
    still_works(&mut a, &mut b).await;
    let mut streams = Vec::new();
    for _ in 0..20 {
        let Ok(mut stream) = soon(bad.session.open_uni()).await else {
            break;
        };
        let _ = soon(stream.write(Bytes::from_static(&[0x55; 64]))).await;
        streams.push(stream);
    }
    assert_eq!(closed(&bad.session).await, CloseCode::ProtocolError.code());
    still_works(&mut a, &mut b).await;
}

#[tokio::test(start_paused = true)]
async fn endless_streams_are_stopped_beyond_the_limit() {
    let mut world = World::new().await;
    let (mut a, mut b) = world.pair().await;
    let bad = intruder(&mut world, &a, &b).await;
    let mut open = Vec::new();
    for _ in 0..200 {
        let mut stream = soon(bad.session.open_uni()).await.unwrap();
        // A header that never becomes whole.
        let _ = soon(stream.write(Bytes::from_static(b"DART"))).await;
        open.push(stream);
    }
    let mut stopped = 0;
    for stream in &mut open {
        tokio::task::yield_now().await;
        stopped += i32::from(stream.write(Bytes::from_static(b"\x01")).await.is_err());
    }
    assert_eq!(stopped, 200 - 64);
    still_works(&mut a, &mut b).await;
}

#[tokio::test(start_paused = true)]
async fn a_frame_whose_payload_never_comes_disturbs_nobody() {
    let mut world = World::new().await;
    let (mut a, mut b) = world.pair().await;
    let mut bad = intruder(&mut world, &a, &b).await;
    let mut streams = Vec::new();
    for group in 0..60 {
        let mut stream = bad.open_group(group).await;
        let (header, payload) = bad.frame(FrameType::VideoKey, 4 << 20);
        soon(stream.write(Bytes::copy_from_slice(&header.write())))
            .await
            .unwrap();
        soon(stream.write(payload.slice(..100))).await.unwrap();
        streams.push(stream);
    }
    bad.sync().await;
    still_works(&mut a, &mut b).await;
    for stream in &mut streams {
        stream.reset(0);
    }
    bad.sync().await;
    still_works(&mut a, &mut b).await;
}

#[tokio::test(start_paused = true)]
async fn a_sender_over_its_quota_is_cut_alone() {
    let mut world = World::with(|config| {
        config.forward.ingest.bytes_per_s = 10_000;
        config.forward.ingest.burst_bytes = 20_000;
    })
    .await;
    let (mut a, mut b) = world.pair().await;
    let mut bad = intruder(&mut world, &a, &b).await;
    let mut stream = bad.open_group(1).await;
    let (header, payload) = bad.frame(FrameType::VideoKey, 30_000);
    let mut chunks = [Bytes::copy_from_slice(&header.write()), payload];
    let _ = soon(stream.write_chunks(&mut chunks)).await;
    bad.sync().await;
    let code = loop {
        match soon(stream.write(Bytes::from_static(&[0; FRAME_HEADER_BYTES]))).await {
            Err(dt_transport::StreamError::Reset(code)) => break code,
            Err(other) => panic!("a stop is expected, not {other:?}"),
            Ok(()) => tokio::task::yield_now().await,
        }
    };
    assert_eq!(code, dt_forward_core::reset_code::QUOTA_EXCEEDED);
    still_works(&mut a, &mut b).await;
}

#[tokio::test(start_paused = true)]
async fn control_messages_are_checked_and_limited() {
    let mut world = World::with(|config| config.control_per_minute = 5).await;
    let (mut a, mut b) = world.pair().await;
    let bad = &mut intruder(&mut world, &a, &b).await;
    soon(
        bad.send
            .write(Bytes::from_static(&[0, 0, 0, 2, 0xff, 0xff])),
    )
    .await
    .unwrap();
    assert!(matches!(
        bad.control.message().await,
        Some((0, Body::Error(_)))
    ));
    soon(bad.send.write(hello(String::new()))).await.unwrap();
    assert!(matches!(
        bad.control.message().await,
        Some((1, Body::Error(_)))
    ));
    for _ in 0..4 {
        bad.ask(StreamId::random()).await;
    }
    let mut last = None;
    for _ in 0..4 {
        last = bad.control.message().await;
    }
    let Some((9, Body::Error(error))) = last else {
        panic!("an error is expected, not {last:?}");
    };
    assert_eq!(error.code, i32::from(ErrorCode::RateLimited));
    assert!(
        error
            .retry_after_ms
            .is_some_and(|ms| (1..=60_000).contains(&ms))
    );
    soon(bad.send.write(Bytes::from_static(&[0, 1, 0, 0])))
        .await
        .unwrap();
    assert_eq!(closed(&bad.session).await, CloseCode::ProtocolError.code());
    still_works(&mut a, &mut b).await;
}

#[tokio::test(start_paused = true)]
async fn further_streams_both_ways_are_reset() {
    let mut world = World::new().await;
    let (mut a, mut b) = world.pair().await;
    let (_send, mut recv) = soon(a.session.open_bi()).await.unwrap();
    let read = soon(dt_transport::RecvStream::read_chunk(&mut recv, 10)).await;
    assert_eq!(read, Err(dt_transport::StreamError::Reset(1)));
    still_works(&mut a, &mut b).await;
}

#[tokio::test(start_paused = true)]
async fn a_session_that_breaks_off_leaves_nothing_behind() {
    let mut world = World::new().await;
    let (mut a, mut b) = world.pair().await;
    let session = world.dial_with(memory::Config::default());
    let person = world.person(3).await;
    world.route(&person, &[a.person]).await;
    let token = world.token(&person);
    let mut bad = Client::enter(session, person, token).await.unwrap();
    let mut stream = bad.open_group(1).await;
    bad.show(&mut stream, FrameType::VideoKey, 10).await;
    let mut seen = a.watch().await;
    seen.header().await;
    seen.frame().await;
    bad.session.sever();
    // Its receivers are told that the group does not go on.
    assert_eq!(seen.next().await, Err(dt_transport::StreamError::Reset(0)));
    still_works(&mut a, &mut b).await;
    assert_eq!(world.handler.session_count(), 2);
    a.session.send_datagram(Bytes::from_static(&[3])).unwrap();
    assert!(matches!(
        framing::classify(soon(a.session.recv_datagram()).await.unwrap()),
        Ok(Framed::Rtt(_))
    ));
}
