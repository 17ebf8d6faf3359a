//! Publishing, receiving, and what media handlers are told.

use std::time::Duration;

use dt_token::Role;
use dt_wire::{
    internal::{
        DestinationClass, EncodingDemand, MediaTelemetry, SpeakerLevels, WantedEncoding,
        handler_event::Event,
    },
    v1::{
        ErrorCode, JoinRequest, ParticipantCapabilities, RequestKeyframe, RequestMediaToken,
        SetMute, StreamType, SubscribeStream, SubscriptionOptions, UnpublishStream,
        client_message::Body as Request, server_message::Body,
    },
};

use crate::bench::{Bench, code, eventually, stream};

#[tokio::test(start_paused = true)]
async fn a_published_stream_reaches_who_asked_for_a_layout() {
    let bench = Bench::new().await;
    let (mut ana, _) = bench.join("Ana", Role::Host).await;
    let (mut ben, ben_is) = bench.join("Ben", Role::Guest).await;
    assert!(ben.subscribe().await.assignments.is_empty());

    let camera = ana.publish(StreamType::VideoCamera, 1).await;
    let published = |b| {
        if let Body::StreamPublished(p) = b {
            p.stream
        } else {
            None
        }
    };
    assert_eq!(ben.push(published).await.stream_id, camera);
    let assignments = |b| {
        if let Body::StreamAssignments(a) = b {
            Some(a)
        } else {
            None
        }
    };
    let assigned = ben.push(assignments).await;
    assert_eq!(assigned.generation, 1);
    let [tile] = &assigned.assignments[..] else {
        panic!("{assigned:?}")
    };
    assert_eq!(
        (tile.slot, tile.stream_id.as_str(), tile.stream_number),
        (1, &*camera, 1)
    );

    let directive = |b| {
        if let Body::SendDirective(d) = b {
            Some(d)
        } else {
            None
        }
    };
    loop {
        let directive = ana.push(directive).await;
        if directive.encodings.iter().any(|e| e.active) {
            assert_eq!(
                directive.encodings[0].handler_ids,
                vec![bench.handler.id.to_string()]
            );
            break;
        }
    }
    eventually("the route is set", || {
        bench.handler.receivers(&camera) == [ben_is.participant_id.clone()]
    })
    .await;
    let label = bench.handler.routes.lock().unwrap()[&camera].destinations[0].stream_number;
    assert_eq!(label, 1 << 24 | 1);
}

#[tokio::test(start_paused = true)]
async fn a_muted_stream_is_neither_sent_nor_forwarded() {
    let bench = Bench::new().await;
    let (mut ana, _) = bench.join("Ana", Role::Host).await;
    let (mut ben, _) = bench.join("Ben", Role::Guest).await;
    ben.subscribe().await;
    let microphone = ana.publish(StreamType::Audio, 1).await;
    eventually("it is routed", || {
        bench.handler.receivers(&microphone).len() == 1
    })
    .await;

    let mute = |muted| {
        Request::SetMute(SetMute {
            stream_id: microphone.clone(),
            muted,
        })
    };
    assert!(matches!(ana.ask(mute(true)).await, Body::Ack(_)));
    let updated = |b| {
        if let Body::ParticipantUpdated(u) = b {
            u.mutes.first().cloned()
        } else {
            None
        }
    };
    let heard = ben.push(updated).await;
    assert_eq!(
        (heard.stream_id.as_str(), heard.muted),
        (&*microphone, true)
    );
    let directive = |b| {
        if let Body::SendDirective(d) = b {
            Some(d)
        } else {
            None
        }
    };
    while ana.push(directive).await.encodings.iter().any(|e| e.active) {}
    eventually("it is not routed", || {
        bench.handler.receivers(&microphone).is_empty()
    })
    .await;

    ana.ask(mute(false)).await;
    eventually("it is routed again", || {
        bench.handler.receivers(&microphone).len() == 1
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn stream_ids_and_numbers_are_given_once() {
    let bench = Bench::new().await;
    let (mut ana, _) = bench.join("Ana", Role::Host).await;
    let (mut ben, _) = bench.join("Ben", Role::Guest).await;
    let taken = ana.publish(StreamType::Audio, 1).await;
    let other = dt_ids::StreamId::random().to_string();
    for (client, id, number) in [(&mut ben, &taken, 1), (&mut ana, &other, 1)] {
        let request = Request::PublishStream(stream(id, StreamType::Audio, number));
        assert_eq!(code(&client.refused(request).await), ErrorCode::Conflict);
    }
    let request = Request::UnpublishStream(UnpublishStream {
        stream_id: taken.clone(),
    });
    assert_eq!(
        code(&ben.refused(request.clone()).await),
        ErrorCode::NotFound
    );
    assert!(matches!(ana.ask(request).await, Body::Ack(_)));
    let request = Request::PublishStream(stream(&taken, StreamType::Audio, 1));
    assert!(matches!(ben.ask(request).await, Body::StreamPublished(_)));
}

#[tokio::test(start_paused = true)]
async fn speakers_that_a_handler_hears_are_told_to_everybody() {
    let bench = Bench::new().await;
    let (mut ana, ana_is) = bench.join("Ana", Role::Host).await;
    ana.publish(StreamType::Audio, 1).await;
    let (mut ben, _) = bench.join("Ben", Role::Guest).await;
    let levels = SpeakerLevels {
        participant_ids: vec![ana_is.participant_id.clone()],
    };
    bench
        .handler
        .tell(bench.meeting, Event::Speakers(levels))
        .await;
    let speakers = |b| {
        if let Body::ActiveSpeakers(s) = b {
            Some(s.participant_ids)
        } else {
            None
        }
    };
    assert_eq!(ben.push(speakers).await, vec![ana_is.participant_id]);
    bench
        .handler
        .tell(bench.meeting, Event::Speakers(SpeakerLevels::default()))
        .await;
    assert!(ben.push(speakers).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_sender_hears_how_its_stream_arrives() {
    let bench = Bench::new().await;
    let (mut ana, _) = bench.join("Ana", Role::Host).await;
    let camera = ana.publish(StreamType::VideoCamera, 1).await;
    let report = MediaTelemetry {
        stream_id: camera.clone(),
        bitrate: 500_000,
        packet_loss: 0.25,
        ..MediaTelemetry::default()
    };
    bench
        .handler
        .tell(bench.meeting, Event::Telemetry(report))
        .await;
    let quality = |b| {
        if let Body::StreamQualityUpdate(q) = b {
            Some(q)
        } else {
            None
        }
    };
    let quality = ana.push(quality).await;
    assert_eq!(
        (quality.stream_id, quality.available_bitrate),
        (camera, 500_000)
    );
}

#[tokio::test(start_paused = true)]
async fn one_key_frame_request_a_second_reaches_the_sender() {
    let bench = Bench::new().await;
    let (mut ana, _) = bench.join("Ana", Role::Host).await;
    let camera = ana.publish(StreamType::VideoCamera, 1).await;
    let (mut ben, _) = bench.join("Ben", Role::Guest).await;
    let request = RequestKeyframe {
        stream_id: camera.clone(),
        encoding: 0,
    };
    let ask = Request::RequestKeyframe(request.clone());
    assert_eq!(
        code(&ben.refused(ask.clone()).await),
        ErrorCode::NotFound,
        "it is not received"
    );
    ben.subscribe().await;
    for _ in 0..5 {
        assert!(matches!(ben.ask(ask.clone()).await, Body::Ack(_)));
    }
    let wanted = |b| {
        if let Body::RequestKeyframe(r) = b {
            Some(r)
        } else {
            None
        }
    };
    assert_eq!(ana.push(wanted).await, request);
    let second = tokio::time::timeout(Duration::from_millis(900), ana.push(wanted)).await;
    assert!(second.is_err(), "five requests are one");
    tokio::time::sleep(Duration::from_millis(200)).await;
    ben.ask(ask).await;
    assert_eq!(ana.push(wanted).await, request);
}

#[tokio::test(start_paused = true)]
async fn a_fresh_media_token_is_given_for_ones_own_handler_only() {
    let bench = Bench::new().await;
    let (mut ana, welcome) = bench.join("Ana", Role::Host).await;
    let first = welcome.media_server.unwrap();
    let handler_id = first.handler_id.clone();
    let request = Request::RequestMediaToken(RequestMediaToken { handler_id });
    let Body::MediaToken(token) = ana.ask(request).await else {
        panic!("no token")
    };
    let second = token.media_server.unwrap();
    assert_eq!(second.media_handler_url, first.media_handler_url);
    assert_ne!(second.connection_token, first.connection_token);
    let handler_id = dt_ids::HandlerId::random().to_string();
    let request = Request::RequestMediaToken(RequestMediaToken { handler_id });
    assert_eq!(code(&ana.refused(request).await), ErrorCode::NotFound);
}

#[tokio::test(start_paused = true)]
async fn a_handlers_new_certificate_is_told_within_a_minute() {
    let bench = Bench::new().await;
    let (_ana, welcome) = bench.join("Ana", Role::Host).await;
    let hashes = welcome.media_server.unwrap().certificate_hashes;
    assert_eq!(hashes, vec![vec![1; 32]]);
    *bench.handler.certificate.lock().unwrap() = vec![2; 32].into();
    tokio::time::sleep(Duration::from_secs(61)).await;
    bench.assign(10).await.unwrap();
    let (_ben, welcome) = bench.join("Ben", Role::Guest).await;
    let hashes = welcome.media_server.unwrap().certificate_hashes;
    assert_eq!(hashes, vec![vec![2; 32]]);
}

#[tokio::test(start_paused = true)]
async fn what_a_handlers_receivers_want_is_what_the_sender_is_told() {
    let bench = Bench::new().await;
    let (mut ana, _) = bench.join("Ana", Role::Host).await;
    let camera = ana.publish(StreamType::VideoCamera, 1).await;
    let (mut ben, _) = bench.join("Ben", Role::Guest).await;
    ben.subscribe().await;
    let told = |b| {
        if let Body::SendDirective(d) = b {
            let [encoding] = &d.encodings[..] else {
                panic!("{d:?}")
            };
            Some((encoding.active, encoding.max_bitrate))
        } else {
            None
        }
    };
    while ana.push(told).await != (true, 0) {}
    for (encodings, directive) in [
        (
            vec![WantedEncoding {
                encoding: 0,
                max_bitrate: 200_000,
            }],
            (true, 200_000),
        ),
        (vec![], (false, 0)),
        (vec![WantedEncoding::default()], (true, 0)),
    ] {
        let demand = EncodingDemand {
            stream_id: camera.clone(),
            encodings,
        };
        bench
            .handler
            .tell(bench.meeting, Event::Demand(demand))
            .await;
        assert_eq!(ana.push(told).await, directive);
    }
}

#[tokio::test(start_paused = true)]
async fn a_handler_is_told_what_each_receiver_asked_for() {
    let bench = Bench::new().await;
    let (mut ana, _) = bench.join("Ana", Role::Host).await;
    let screen = ana.publish(StreamType::VideoScreen, 1).await;
    let (mut ben, _) = bench.join("Ben", Role::Guest).await;
    let request = SubscribeStream {
        stream_id: screen.clone(),
        options: Some(SubscriptionOptions {
            max_bitrate: 300_000,
            ..SubscriptionOptions::default()
        }),
        slot: 5,
    };
    ben.ask(Request::SubscribeStream(request)).await;
    eventually("it is routed", || {
        bench.handler.receivers(&screen).len() == 1
    })
    .await;
    let to = bench.handler.routes.lock().unwrap()[&screen].destinations[0].clone();
    assert_eq!(
        (to.class(), to.max_bitrate),
        (DestinationClass::Screen, 300_000)
    );
}

#[tokio::test(start_paused = true)]
async fn a_newcomer_without_a_common_codec_joins_and_is_told() {
    let bench = Bench::new().await;
    let (mut ana, welcome) = bench.join("Ana", Role::Host).await;
    assert!(!welcome.no_common_video_codec);
    ana.publish(StreamType::VideoCamera, 1).await;
    let mut eve = bench.connect().await;
    let request = JoinRequest {
        capabilities: Some(ParticipantCapabilities {
            video_codecs: vec!["AV1".into()],
            audio_codecs: vec!["Opus".into()],
            ..ParticipantCapabilities::default()
        }),
        ..bench.join_request("Eve", Role::Guest)
    };
    let welcome = eve.join(request).await;
    assert!(welcome.no_common_video_codec);
    assert!(!welcome.no_common_audio_codec);
    assert!(eve.subscribe().await.assignments.is_empty());
}
