//! Several media handlers: what they are told, and what clients hear of them.

use std::time::Duration;

use dt_token::Role;
use dt_wire::{
    internal::{
        EncodingDemand, HandlerLoad, MediaSessionState, WantedEncoding, handler_event::Event,
    },
    v1::{
        ErrorCode, RequestMediaToken, SendDirective, StreamType, client_message::Body as Request,
        server_message::Body,
    },
};

use tokio::time::Instant;

use crate::bench::{Bench, Client, code, eventually};

async fn directive(client: &mut Client) -> SendDirective {
    let directive = |b| match b {
        Body::SendDirective(directive) => Some(directive),
        _ => None,
    };
    client.push(directive).await
}

/// Waits until the first stream is to be sent to these.
async fn sends_to(client: &mut Client, bench: &Bench, handlers: &[usize]) {
    let ids: Vec<String> = handlers
        .iter()
        .map(|n| bench.handlers[*n].id.to_string())
        .collect();
    loop {
        let encodings = directive(client).await.encodings;
        if encodings.first().is_some_and(|e| e.handler_ids == ids) {
            return;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_newcomer_is_told_of_two_handlers_and_waits_for_one() {
    let bench = Bench::at(3, 10, |_| {}).await;
    bench.handlers[1].answer(false);
    let (mut ana, welcome) = bench.join("Ana", Role::Host).await;
    let urls: Vec<_> = welcome
        .media_servers
        .iter()
        .map(|server| server.media_handler_url.as_str())
        .collect();
    assert_eq!(
        urls,
        [
            "https://meet.example:8443/mh/0",
            "https://meet.example:8443/mh/1"
        ]
    );
    assert_eq!(welcome.media_server.as_ref(), welcome.media_servers.first());
    assert_ne!(
        welcome.media_servers[0].connection_token,
        welcome.media_servers[1].connection_token
    );
    assert!(bench.handlers[2].registered.lock().unwrap().is_empty());

    let token = Request::RequestMediaToken(RequestMediaToken {
        handler_id: bench.handlers[1].id.to_string(),
    });
    let early = ana.refused(token.clone()).await;
    assert_eq!(code(&early), ErrorCode::InternalError);
    bench.handlers[1].answer(true);
    eventually("the second knows her too", || {
        bench.handlers[1].registered.lock().unwrap().len() == 1
    })
    .await;
    assert!(matches!(ana.ask(token).await, Body::MediaToken(_)));
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_goes_is_left_at_once_and_told_everything_when_it_is_back() {
    let bench = Bench::at(2, 10, |_| {}).await;
    let (mut ana, _) = bench.join("Ana", Role::Host).await;
    let (mut ben, _) = bench.join("Ben", Role::Guest).await;
    ben.subscribe().await;
    let voice = ana.publish(StreamType::Audio, 1).await;
    sends_to(&mut ana, &bench, &[0, 1]).await;
    for handler in &bench.handlers {
        eventually("both pass sound on", || {
            handler.receivers(&voice).len() == 1
        })
        .await;
    }

    bench.handlers[0].go_away();
    sends_to(&mut ana, &bench, &[1]).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(bench.handlers[0].registered.lock().unwrap().is_empty());
    let (_cem, welcome) = bench.join("Cem", Role::Guest).await;
    assert_eq!(
        welcome.media_servers[0].handler_id,
        bench.handlers[1].id.to_string()
    );

    bench.handlers[0].come_back();
    sends_to(&mut ana, &bench, &[1, 0]).await;
    eventually("it knows everybody again", || {
        bench.handlers[0].registered.lock().unwrap().len() == 3
    })
    .await;
    eventually("and what it passes on", || {
        bench.handlers[0].receivers(&voice).len() == 1
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_falls_silent_is_left_within_two_seconds_and_holds_up_no_other() {
    let bench = Bench::at(3, 10, |_| {}).await;
    let (mut ana, _) = bench.join("Ana", Role::Host).await;
    ana.publish(StreamType::Audio, 1).await;
    sends_to(&mut ana, &bench, &[0, 1]).await;
    // Two at once, so that whoever waits for the one would hold up the other.
    bench.handlers[0].fall_silent();
    bench.handlers[1].fall_silent();
    let silent_at = Instant::now();
    sends_to(&mut ana, &bench, &[2]).await;
    let noticed = silent_at.elapsed();
    assert!(noticed <= Duration::from_millis(2100), "{noticed:?}");
    // Nothing is noticed where everything is well.
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(bench.handlers[2].unregistered.lock().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_link_has_a_number_of_those_that_its_receiver_gave() {
    let one_each = |config: &mut meeting_controller::Config| {
        config.meeting.handler_participants = 1;
    };
    let bench = Bench::at(2, 10, one_each).await;
    let (mut ana, _) = bench.join("Ana", Role::Host).await;
    let (mut ben, ben_is) = bench.join("Ben", Role::Guest).await;
    ben.subscribe().await;
    let camera = ana.publish(StreamType::VideoCamera, 1).await;
    let [near, far] = &bench.handlers[..] else {
        panic!()
    };
    eventually("both ends know it", || {
        far.receivers(&camera) == [ben_is.participant_id.clone()]
            && near.routes.lock().unwrap().contains_key(&camera)
    })
    .await;
    let out = near.routes.lock().unwrap()[&camera].destinations[0].clone();
    let inlet = far.routes.lock().unwrap()[&camera].inlet.clone().unwrap();
    assert_eq!(out.handler_id, far.id.to_string());
    assert_eq!(inlet.handler_id, near.id.to_string());
    assert_eq!(out.route_id, inlet.route_id);
    assert_eq!(inlet.route_id >> 20, far.route_space());
    assert_eq!(inlet.origin_handler_id, near.id.to_string());
    assert_eq!((inlet.hops, inlet.user_id), (1, 1));
    assert_eq!(inlet.stream.unwrap().stream_id, camera);
}

#[tokio::test(start_paused = true)]
async fn nothing_that_is_said_once_is_lost_while_a_meeting_is_busy() {
    let small = |config: &mut meeting_controller::Config| config.inbox_messages_max = 1;
    let bench = Bench::with(10, small).await;
    let (mut ana, _) = bench.join("Ana", Role::Host).await;
    let camera = ana.publish(StreamType::VideoCamera, 1).await;
    let (mut ben, _) = bench.join("Ben", Role::Guest).await;
    ben.subscribe().await;
    while !directive(&mut ana).await.encodings[0].active {}
    let said: Vec<u32> = (1..60).map(|n| n * 1000).collect();
    for max_bitrate in &said {
        let demand = EncodingDemand {
            stream_id: camera.clone(),
            encodings: vec![WantedEncoding {
                encoding: 0,
                max_bitrate: *max_bitrate,
            }],
        };
        bench
            .handler
            .tell(bench.meeting, Event::Demand(demand))
            .await;
    }
    for max_bitrate in said {
        let told = directive(&mut ana).await.encodings[0].max_bitrate;
        assert_eq!(told, max_bitrate);
    }
}

#[tokio::test(start_paused = true)]
async fn people_are_moved_away_from_a_handler_that_is_going_to_stop() {
    let bench = Bench::at(3, 10, |_| {}).await;
    let (mut ana, ana_is) = bench.join("Ana", Role::Host).await;
    ana.publish(StreamType::VideoCamera, 1).await;
    for handler in &bench.handlers[..2] {
        let connected = MediaSessionState {
            participant_id: ana_is.participant_id.clone(),
            connected: true,
        };
        handler.tell(bench.meeting, Event::Session(connected)).await;
    }
    let draining = HandlerLoad {
        load_permille: 100,
        draining: true,
    };
    bench.handlers[0].say(draining).await;
    sends_to(&mut ana, &bench, &[1, 0]).await;
    // Nothing flows that could shorten the steps of the move.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let (mut removed, mut more) = (None, None);
    while removed.is_none() || more.is_none() {
        let told = ana.push(Some).await;
        match told {
            Body::HandlerRemoved(told) => removed = Some(told.handler_id),
            Body::HandlerAssigned(told) => more = told.media_server,
            _ => {}
        }
    }
    assert_eq!(removed, Some(bench.handlers[0].id.to_string()));
    let more = more.unwrap();
    assert_eq!(more.handler_id, bench.handlers[2].id.to_string());
    assert!(!more.connection_token.is_empty());
    let handler_id = more.handler_id;
    let token = Request::RequestMediaToken(RequestMediaToken { handler_id });
    assert!(matches!(ana.ask(token).await, Body::MediaToken(_)));
    eventually("it does not know her any more", || {
        bench.handlers[0].registered.lock().unwrap().is_empty()
    })
    .await;
    let (_ben, welcome) = bench.join("Ben", Role::Guest).await;
    assert_eq!(welcome.media_servers.len(), 2);
    assert!(
        welcome
            .media_servers
            .iter()
            .all(|server| server.handler_id != bench.handlers[0].id.to_string())
    );
}
