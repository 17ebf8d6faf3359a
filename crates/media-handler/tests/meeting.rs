//! What clients of a handler see when all goes well.

#![allow(clippy::unwrap_used)] // a panic is how a test fails

mod support;

use bytes::Bytes;
use dt_frame::{FrameType, SlotLabel};
use dt_rpc::MediaHandler as _;
use dt_transport::{Session, StreamError};
use dt_wire::{
    CloseCode,
    internal::{HandlerEvent, TelemetryRequest, handler_event::Event},
    v1::media_server_message::Body,
};
use support::{Client, World, closed, label, soon};

#[tokio::test(start_paused = true)]
async fn two_people_hear_and_see_each_other() {
    let mut world = World::new().await;
    let (mut a, mut b) = world.pair().await;
    let said = a.say();
    let heard = b.hear().await;
    assert_eq!(heard.label(), Some(label(11)));
    assert_eq!(
        dt_frame::DatagramHeader { stream: 2, ..heard },
        said,
        "no other byte changed"
    );
    let said = b.say();
    assert_eq!(a.hear().await.sequence, said.sequence);

    let mut group = a.open_group(3).await;
    let sent = a.show(&mut group, FrameType::VideoKey, 20_000).await;
    let mut seen = b.watch().await;
    assert_eq!(seen.header().await, a.group_header(3));
    let (header, payload) = seen.frame().await;
    assert_eq!((header, payload.len()), (sent, 20_000));
    let sent = a.show(&mut group, FrameType::VideoDelta, 300).await;
    assert_eq!(seen.frame().await.0, sent);
    dt_transport::SendStream::finish(&mut group).unwrap();
    assert_eq!(seen.next().await, Ok(None));
}

#[tokio::test(start_paused = true)]
async fn a_new_receiver_starts_with_the_kept_group() {
    let mut world = World::new().await;
    let (a, b) = (world.person(1).await, world.person(2).await);
    world.route(&a, &[b]).await;
    let mut a = world.join(&a).await;
    let mut group = a.open_group(1).await;
    let first = a.show(&mut group, FrameType::VideoKey, 5000).await;
    let second = a.show(&mut group, FrameType::VideoDelta, 100).await;
    // The datagram echo comes after the frames were taken.
    echo(&a).await;
    let mut b = world.join(&b).await;
    let mut seen = b.watch().await;
    seen.header().await;
    assert_eq!(seen.frame().await.0, first);
    assert_eq!(seen.frame().await.0, second);
    let third = a.show(&mut group, FrameType::VideoDelta, 100).await;
    assert_eq!(seen.frame().await.0, third);
    world.route(&a.person, &[]).await;
    assert_eq!(seen.next().await, Err(StreamError::Reset(0)));
}

/// Waits for the echo of an RTT datagram.
async fn echo(client: &Client) {
    for n in 0..4 {
        let packet = Bytes::from(vec![3, n]);
        client.session.send_datagram(packet.clone()).unwrap();
        assert_eq!(soon(client.session.recv_datagram()).await, Ok(packet));
    }
}

#[tokio::test(start_paused = true)]
async fn a_wish_for_a_key_frame_reaches_the_sender() {
    let mut world = World::new().await;
    let (mut a, mut b) = world.pair().await;
    b.ask(a.person.camera).await;
    let (id, body) = a.control.message().await.unwrap();
    let Body::RequestKeyframe(request) = body else {
        panic!("a request is expected, not {body:?}");
    };
    assert_eq!((id, request.stream_id), (0, a.person.camera.to_string()));
    // Its own camera is not sent to it.
    b.ask(b.person.camera).await;
    assert!(matches!(
        b.control.message().await,
        Some((9, Body::Error(_)))
    ));
}

#[tokio::test(start_paused = true)]
async fn rtt_packets_are_echoed_on_their_channel_and_pings_are_swallowed() {
    let mut world = World::new().await;
    let (mut a, mut b) = world.pair().await;
    a.sync().await;
    a.session
        .send_datagram(Bytes::from_static(b"ping"))
        .unwrap();
    a.session
        .send_datagram(Bytes::from_static(b"\x04what"))
        .unwrap();
    a.session.send_datagram(Bytes::from(vec![3; 65])).unwrap();
    a.session.send_datagram(Bytes::from(vec![3; 64])).unwrap();
    assert_eq!(
        soon(a.session.recv_datagram()).await,
        Ok(Bytes::from(vec![3; 64]))
    );
    let said = a.say();
    assert_eq!(b.hear().await.sequence, said.sequence, "and not the ping");
}

#[tokio::test(start_paused = true)]
async fn unregistering_closes_the_session_at_once() {
    let mut world = World::new().await;
    let (mut a, b) = world.pair().await;
    let person = b.person;
    world.unregister(&person).await;
    assert_eq!(closed(&b.session).await, CloseCode::Removed.code());
    a.say();
    a.sync().await;
    assert_eq!(world.handler.session_count(), 1);
    // Its tokens are worth nothing any more.
    let (session, token) = (world.dial(), world.token(&person));
    assert!(Client::enter(session.clone(), person, token).await.is_err());
    assert_eq!(
        closed(&session).await,
        CloseCode::AuthenticationFailed.code()
    );
}

#[tokio::test(start_paused = true)]
async fn a_newer_session_replaces_the_older_one() {
    let mut world = World::new().await;
    let (mut a, old) = world.pair().await;
    let mut new = world.join(&old.person).await;
    assert_eq!(closed(&old.session).await, CloseCode::Replaced.code());
    let said = a.say();
    assert_eq!(new.hear().await.sequence, said.sequence);
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_does_not_read_delays_nobody_else() {
    let mut world = World::new().await;
    let people = [
        world.person(1).await,
        world.person(2).await,
        world.person(3).await,
    ];
    world.route(&people[0], &people[1..]).await;
    let mut a = world.join(&people[0]).await;
    let _stuck = world.join(&people[1]).await;
    let mut b = world.join(&people[2]).await;
    for group in 0..30 {
        let mut stream = a.open_group(group).await;
        let sent = a.show(&mut stream, FrameType::VideoKey, 300_000).await;
        let mut seen = b.watch().await;
        seen.header().await;
        assert_eq!(seen.frame().await.0, sent);
        dt_transport::SendStream::finish(&mut stream).unwrap();
        tokio::time::advance(std::time::Duration::from_millis(300)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn controllers_are_told_sessions_speakers_and_figures() {
    let mut world = World::new().await;
    let request = TelemetryRequest {
        controller_id: world.controller.to_string(),
    };
    let mut events = world.handler.telemetry(request).await.unwrap();
    let (mut a, b) = world.pair().await;
    let participant = a.person.participant.to_string();
    let (mut up, mut speaks, mut figures) = (0, false, false);
    while !(up == 2 && speaks && figures) {
        a.say();
        tokio::time::advance(std::time::Duration::from_millis(20)).await;
        while let Ok(HandlerEvent { meeting_id, event }) = events.try_recv() {
            let event = event.unwrap();
            if let Event::Load(load) = &event {
                // Of the whole handler.
                assert!(meeting_id.is_empty() && load.load_permille <= 1000);
                continue;
            }
            assert_eq!(meeting_id, world.meeting.to_string());
            match event {
                Event::Session(state) => up += i32::from(state.connected),
                Event::Speakers(list) => speaks = list.participant_ids == [participant.clone()],
                Event::Telemetry(of) => {
                    figures = of.stream_id == a.person.microphone.to_string()
                        && of.bytes_received > 0
                        && of.bytes_sent > 0;
                }
                // Of no matter here.
                Event::Demand(_) | Event::Flow(_) | Event::Load(_) => {}
            }
        }
    }
    // Who begins to listen later is told what is the case.
    let request = TelemetryRequest {
        controller_id: dt_ids::ControllerId::random().to_string(),
    };
    let mut later = world.handler.telemetry(request).await.unwrap();
    let load = soon(later.recv()).await.unwrap().event;
    assert!(matches!(load, Some(Event::Load(load)) if !load.draining));
    for _ in 0..2 {
        let event = soon(later.recv()).await.unwrap().event;
        assert!(matches!(event, Some(Event::Session(state)) if state.connected));
    }
    b.session.close(0, "bye");
    loop {
        let event = soon(events.recv()).await.unwrap().event;
        if let Some(Event::Session(state)) = event {
            assert!(!state.connected);
            assert_eq!(state.participant_id, b.person.participant.to_string());
            break;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_closes_all_sessions() {
    let mut world = World::new().await;
    let (a, b) = world.pair().await;
    let warm = world.dial();
    tokio::task::yield_now().await;
    world.handler.shutdown();
    for session in [&a.session, &b.session, &warm] {
        assert_eq!(closed(session).await, CloseCode::ShuttingDown.code());
    }
    world.all_served().await;
    assert_eq!(world.handler.session_count(), 0);
}

#[tokio::test(start_paused = true)]
async fn who_drains_tells_it_and_waits_for_those_who_leave_up_to_the_grace() {
    let mut world = World::new().await;
    let (a, b) = world.pair().await;
    let request = TelemetryRequest {
        controller_id: world.controller.to_string(),
    };
    let mut events = world.handler.telemetry(request).await.unwrap();
    let grace = std::time::Duration::from_secs(10);
    let handler = std::sync::Arc::clone(&world.handler);
    let draining = tokio::spawn(async move { handler.drain(grace).await });
    loop {
        let event = soon(events.recv()).await.unwrap().event;
        if matches!(event, Some(Event::Load(load)) if load.draining) {
            break;
        }
    }
    a.session.close(0, "moved");
    let began = tokio::time::Instant::now();
    assert_eq!(closed(&b.session).await, CloseCode::ShuttingDown.code());
    assert!(
        began.elapsed() > grace * 9 / 10,
        "not before the grace has passed"
    );
    soon(draining).await.unwrap();
    world.all_served().await;
}

#[tokio::test(start_paused = true)]
async fn an_order_without_a_slot_is_refused() {
    let mut world = World::new().await;
    let person = world.person(1).await;
    let request = dt_wire::internal::RouteMediaCommand {
        source_stream_id: person.camera.to_string(),
        meeting_id: world.meeting.to_string(),
        generation: world.generation(),
        destinations: vec![dt_wire::internal::Destination {
            participant_id: person.participant.to_string(),
            stream_number: 0,
            ..dt_wire::internal::Destination::default()
        }],
        ..dt_wire::internal::RouteMediaCommand::default()
    };
    assert_eq!(SlotLabel::from_bits(0), None);
    assert!(matches!(
        world.handler.route_media(request).await,
        Err(dt_rpc::RpcError::Invalid(_))
    ));
}
