//! Bad input: a clear error or a close with the right code, and nobody else
//! notices.

use std::time::Duration;

use bytes::Bytes;
use dt_token::Role;
use dt_transport::{SendStream as _, Session as _};
use dt_wire::{
    framing,
    v1::{
        ClientMessage, ErrorCode, Heartbeat, JoinRequest, StreamType,
        client_message::Body as Request, server_message::Body,
    },
};
use prost::Message as _;
use tokio::time::{sleep, timeout};

use crate::bench::{Bench, Client, code, stream};

/// Somebody whose meeting goes on whatever others do.
struct Bystander(Client);

impl Bystander {
    async fn new(bench: &Bench) -> Self {
        Self(bench.join("Ana", Role::Host).await.0)
    }

    async fn is_served(&mut self) {
        assert!(matches!(
            self.0.ask(Request::Heartbeat(Heartbeat {})).await,
            Body::Ack(_)
        ));
    }
}

async fn error_then_close(client: &mut Client) -> (ErrorCode, u32) {
    loop {
        let (_, body) = client
            .message()
            .await
            .expect("an error comes before the close");
        if let Body::Error(error) = body {
            return (code(&error), client.close_code().await);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_breaks_the_protocol_is_told_and_closed() {
    let bench = Bench::new().await;
    let mut bystander = Bystander::new(&bench).await;
    let garbage = framing::encode_bytes(&[0xff; 100]);
    let oversize = Bytes::copy_from_slice(&u32::MAX.to_be_bytes());
    let just_too_long = Bytes::copy_from_slice(&((1u32 << 20) + 1).to_be_bytes());
    let long_rtt = framing::encode_bytes(&[3; 65]);
    let mut newer = ClientMessage::new(1, Request::Heartbeat(Heartbeat {}));
    newer.version = 2;
    let newer = framing::encode(&newer);
    for bytes in [garbage, oversize, just_too_long, long_rtt, newer] {
        let mut eve = bench.connect().await;
        eve.write(bytes.clone()).await;
        assert_eq!(
            error_then_close(&mut eve).await,
            (ErrorCode::InvalidRequest, 1)
        );
        let (mut eve, _) = bench.join("Eve", Role::Guest).await;
        eve.write(bytes).await;
        assert_eq!(
            error_then_close(&mut eve).await,
            (ErrorCode::InvalidRequest, 1)
        );
        bystander.is_served().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_cut_off_by_the_streams_end_closes_the_session() {
    let bench = Bench::new().await;
    let mut bystander = Bystander::new(&bench).await;
    let (mut eve, _) = bench.join("Eve", Role::Guest).await;
    let whole = framing::encode(&ClientMessage::new(9, Request::Heartbeat(Heartbeat {})));
    eve.write(whole.slice(..whole.len() - 1)).await;
    eve.send.finish().unwrap();
    assert_eq!(eve.close_code().await, 1);
    bystander.is_served().await;
}

#[tokio::test(start_paused = true)]
async fn the_first_message_must_be_a_join_and_come_in_three_seconds() {
    let bench = Bench::new().await;
    let mut eve = bench.connect().await;
    eve.send(Request::Heartbeat(Heartbeat {})).await;
    assert_eq!(
        error_then_close(&mut eve).await,
        (ErrorCode::InvalidRequest, 1)
    );
    let mut slow = bench.connect().await;
    slow.write(Bytes::from_static(&[0, 0])).await;
    sleep(Duration::from_millis(2900)).await;
    assert!(
        timeout(Duration::from_millis(10), slow.session.closed())
            .await
            .is_err()
    );
    assert_eq!(
        error_then_close(&mut slow).await,
        (ErrorCode::InvalidRequest, 1)
    );
}

#[tokio::test(start_paused = true)]
async fn a_session_may_wait_five_minutes_for_its_stream() {
    let bench = Bench::new().await;
    let session = bench.session();
    // The path itself is kept alive by the transport.
    assert!(
        timeout(Duration::from_secs(299), session.closed())
            .await
            .is_err()
    );
    assert!(
        timeout(Duration::from_secs(2), session.closed())
            .await
            .is_ok()
    );
}

#[tokio::test(start_paused = true)]
async fn a_body_of_a_later_version_is_refused_and_the_session_kept() {
    let bench = Bench::new().await;
    let (mut ana, _) = bench.join("Ana", Role::Host).await;
    // Field 500, length 0: no body that this version knows.
    let mut bytes = ClientMessage {
        version: 1,
        request_id: 77,
        ..Default::default()
    }
    .encode_to_vec();
    bytes.extend([0xa2, 0x1f, 0x00]);
    ana.write(framing::encode_bytes(&bytes)).await;
    let Body::Error(error) = ana.answer(77).await else {
        panic!("not refused")
    };
    assert_eq!(code(&error), ErrorCode::InvalidRequest);
    Bystander(ana).is_served().await;
}

#[tokio::test(start_paused = true)]
async fn duplicated_and_reordered_messages_do_no_harm() {
    let bench = Bench::new().await;
    let mut bystander = Bystander::new(&bench).await;
    let mut eve = bench.connect().await;
    let join = bench.join_request("Eve", Role::Guest);
    eve.join(join.clone()).await;
    let error = eve.refused(Request::JoinRequest(join)).await;
    assert_eq!(
        code(&error),
        ErrorCode::InvalidRequest,
        "a second join of one session"
    );
    let id = dt_ids::StreamId::random().to_string();
    let unpublish = dt_wire::v1::UnpublishStream {
        stream_id: id.clone(),
    };
    let unpublish = Request::UnpublishStream(unpublish);
    let publish = Request::PublishStream(stream(&id, StreamType::Audio, 1));
    assert_eq!(
        code(&eve.refused(unpublish.clone()).await),
        ErrorCode::NotFound
    );
    assert!(matches!(
        eve.ask(publish.clone()).await,
        Body::StreamPublished(_)
    ));
    assert_eq!(code(&eve.refused(publish).await), ErrorCode::Conflict);
    assert!(matches!(eve.ask(unpublish.clone()).await, Body::Ack(_)));
    assert_eq!(code(&eve.refused(unpublish).await), ErrorCode::NotFound);
    bystander.is_served().await;
}

#[tokio::test(start_paused = true)]
async fn a_resume_token_of_the_wrong_size_is_refused() {
    let bench = Bench::new().await;
    let mut eve = bench.connect().await;
    let request = JoinRequest {
        resume_token: Bytes::from_static(&[1; 31]),
        ..bench.join_request("Eve", Role::Guest)
    };
    let error = eve.refused(Request::JoinRequest(request)).await;
    assert_eq!(code(&error), ErrorCode::InvalidRequest);
}

#[tokio::test(start_paused = true)]
async fn who_sends_too_much_is_asked_to_wait_and_kept() {
    let bench = Bench::new().await;
    let mut bystander = Bystander::new(&bench).await;
    let (mut eve, _) = bench.join("Eve", Role::Guest).await;
    let mut limited = None;
    for _ in 0..1100 {
        match eve.ask(Request::Heartbeat(Heartbeat {})).await {
            Body::Ack(_) => assert!(limited.is_none(), "no time has passed"),
            Body::Error(error) => limited = Some(error),
            other => panic!("{other:?}"),
        }
    }
    let error = limited.expect("1100 messages are too many");
    assert_eq!(code(&error), ErrorCode::RateLimited);
    let wait = error.retry_after_ms.expect("it says how long to wait");
    assert!((1..=60).contains(&wait), "{wait}");
    bystander.is_served().await;
    sleep(Duration::from_millis(wait.into())).await;
    assert!(matches!(
        eve.ask(Request::Heartbeat(Heartbeat {})).await,
        Body::Ack(_)
    ));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_read_is_disconnected_alone() {
    let bench = Bench::with(10, |config| {
        config.outbox_messages_max = 64;
        config.messages_per_minute = 1_000_000;
    })
    .await;
    let mut bystander = Bystander::new(&bench).await;
    let (mut noisy, _) = bench.join("Noisy", Role::Guest).await;
    let (deaf, _) = bench.join("Deaf", Role::Guest).await;
    let microphone = noisy.publish(StreamType::Audio, 1).await;
    let mut muted = false;
    let closed = deaf.session.clone();
    let closed = async move { closed.closed().await };
    tokio::pin!(closed);
    loop {
        muted = !muted;
        let mute = dt_wire::v1::SetMute {
            stream_id: microphone.clone(),
            muted,
        };
        tokio::select! {
            biased;
            _ = &mut closed => break,
            answer = noisy.ask(Request::SetMute(mute)) => {
                assert!(matches!(answer, Body::Ack(_)));
            }
        }
        bystander.is_served().await;
    }
    bystander.is_served().await;
}

#[tokio::test(start_paused = true)]
async fn any_bytes_on_the_stream_leave_others_in_peace() {
    use rand::{RngExt as _, SeedableRng as _};

    let bench = Bench::with(200, |_| {}).await;
    let mut bystander = Bystander::new(&bench).await;
    let mut rng = rand::rngs::StdRng::seed_from_u64(7);
    let seed = bench.join_request("Eve", Role::Guest);
    for round in 0..300 {
        let mut eve = bench.connect().await;
        let mut bytes = match round % 3 {
            0 => (0..rng.random_range(0..200))
                .map(|_| rng.random())
                .collect(),
            1 => {
                framing::encode(&ClientMessage::new(1, Request::JoinRequest(seed.clone()))).to_vec()
            }
            _ => {
                let publish = stream("not a uuid", StreamType::VideoCamera, rng.random());
                let mut both =
                    framing::encode(&ClientMessage::new(1, Request::JoinRequest(seed.clone())))
                        .to_vec();
                both.extend(framing::encode(&ClientMessage::new(
                    2,
                    Request::PublishStream(publish),
                )));
                both
            }
        };
        for _ in 0..rng.random_range(0..4) {
            if !bytes.is_empty() {
                let place = rng.random_range(0..bytes.len());
                bytes[place] = rng.random();
            }
        }
        eve.write(bytes).await;
        eve.session.close(0, "enough");
    }
    bystander.is_served().await;
}
