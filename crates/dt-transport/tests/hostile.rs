//! Peers that stop half-way, write nonsense, or open and send without end: they
//! end their own connection or cost a bounded amount, and nobody else notices.

#![allow(clippy::unwrap_used)] // a test that cannot go on fails

#[path = "support/pair.rs"]
mod pair;
#[path = "support/raw.rs"]
mod raw;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use dt_transport::{
    RecvStream, SendStream, Session, SessionError,
    webtransport::{Limits, WebTransportSession},
};
use futures::FutureExt as _;
use pair::Server;
use raw::{DATA, GOOD, HEADERS, Raw, RawSession, frame, section, varint};
use tokio::time::timeout;
use web_transport_proto::{ConnectError, ConnectResponse};

const DEADLINE: Duration = Duration::from_secs(10);
/// From a handshake's beginning; the listener's own deadline is 3 s.
const HANDSHAKE_MOST: Duration = Duration::from_secs(5);
const H3_REQUEST_INCOMPLETE: u64 = 0x10d;
const H3_MESSAGE_ERROR: u64 = 0x10e;

/// Sends a message and takes it back.
async fn echo_once(client: &WebTransportSession, number: u64) {
    let (mut send, mut recv) = client.open_bi().await.unwrap();
    let message = Bytes::copy_from_slice(&number.to_be_bytes());
    send.write(message.clone()).await.unwrap();
    send.finish().unwrap();
    assert_eq!(recv.read_chunk(64).await.unwrap().unwrap(), message);
}

/// Echoes what comes, until the session ends.
async fn serve_echoes(served: WebTransportSession) {
    while let Ok((mut send, mut recv)) = served.accept_bi().await {
        let message = recv.read_chunk(64).await.unwrap().unwrap();
        send.write(message).await.unwrap();
        send.finish().unwrap();
    }
}

#[tokio::test]
async fn a_handshake_that_stops_half_way_is_closed_within_its_deadline() {
    let server = Arc::new(Server::with(|_| {}));
    let request = frame(HEADERS, &section(&GOOD));
    let mut stopped = tokio::task::JoinSet::new();
    for stage in 0..6 {
        let (server, request) = (Arc::clone(&server), request.clone());
        stopped.spawn(async move {
            let raw = Raw::connect(&server).await;
            let mut kept = Vec::new();
            match stage {
                0 => {}
                1 => kept.push(raw.uni(&[0x00, 0x04]).await),
                2 => kept.push(raw.settings().await),
                3 => kept.push(raw.bi(&request).await.0),
                4 => {
                    kept.push(raw.settings().await);
                    kept.push(raw.bi(&request[..request.len() - 1]).await.0);
                }
                // Frames that mean nothing, one after the other.
                _ => {
                    kept.push(raw.settings().await);
                    let (mut send, _recv) = raw.bi(&frame(0x21, b"grease")).await;
                    while send.write_all(&frame(0x21, &[0; 999])).await.is_ok() {}
                }
            }
            assert_eq!(
                raw.closed_with(HANDSHAKE_MOST).await,
                H3_REQUEST_INCOMPLETE,
                "{stage}"
            );
        });
    }
    // Meanwhile others come in.
    server.session().await;
    while let Some(done) = stopped.join_next().await {
        done.unwrap();
    }
}

#[tokio::test]
async fn a_request_that_is_none_of_webtransport_s_is_refused_at_once() {
    let server = Server::with(|_| {});
    let without = |name: &str| {
        let left: Vec<_> = GOOD.into_iter().filter(|(n, _)| *n != name).collect();
        left
    };
    let with = |name: &'static str, value: &'static str| {
        let mut fields = without(name);
        fields.insert(0, (name, value));
        fields
    };
    let mut requests: Vec<Vec<(&str, &str)>> = GOOD.iter().map(|(name, _)| without(name)).collect();
    requests.extend([
        with(":method", "GET"),
        with(":method", "no method at all"),
        with(":scheme", "http"),
        with(":authority", "[::1"),
        with(":protocol", "websocket"),
        with("wt-available-protocols", "not a list of strings ("),
        with("bad name", "x"),
    ]);
    for fields in requests {
        let raw = Raw::connect(&server).await;
        let _control = raw.settings().await;
        let _request = raw.bi(&frame(HEADERS, &section(&fields))).await;
        assert_eq!(
            raw.closed_with(Duration::from_secs(2)).await,
            H3_REQUEST_INCOMPLETE,
            "{fields:?}"
        );
    }
    // Frames that may not stand there, and a header section that is none.
    for bytes in [
        frame(DATA, b"data"),
        frame(0x41, b""),
        frame(HEADERS, &[0, 0, 0x80]),
        frame(HEADERS, &[0, 0, 0x27, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
    ] {
        let raw = Raw::connect(&server).await;
        let _control = raw.settings().await;
        let _request = raw.bi(&bytes).await;
        let code = raw.closed_with(Duration::from_secs(2)).await;
        assert_eq!(code, H3_REQUEST_INCOMPLETE, "{bytes:?}");
    }
}

#[tokio::test]
async fn what_is_announced_or_unfolds_larger_than_the_limit_is_refused_before_it_came() {
    let server = Server::with(|_| {});
    // One byte each on the wire, 40 and more when decoded.
    let unfolding = [vec![0, 0], vec![0xd1; 1000]].concat();
    let long = "x".repeat(17 << 10);
    let mut large = GOOD.to_vec();
    large.push(("x-large", &long));
    for bytes in [
        [varint(HEADERS), varint((16 << 10) + 1)].concat(),
        [varint(HEADERS), varint((1 << 62) - 1)].concat(),
        frame(HEADERS, &unfolding),
        frame(HEADERS, &section(&large)),
    ] {
        let raw = Raw::connect(&server).await;
        let _control = raw.settings().await;
        let _request = raw.bi(&bytes).await;
        let code = raw.closed_with(Duration::from_secs(2)).await;
        assert_eq!(code, H3_REQUEST_INCOMPLETE);
    }
    for settings in [
        [varint(0), varint(4), varint((64 << 10) + 1)].concat(),
        // Another stream in the place of the control stream; SETTINGS without
        // WebTransport; nothing but QPACK.
        varint(0x54),
        [varint(0), frame(4, b"")].concat(),
    ] {
        let raw = Raw::connect(&server).await;
        let _control = raw.uni(&settings).await;
        let code = raw.closed_with(Duration::from_secs(2)).await;
        assert_eq!(code, H3_REQUEST_INCOMPLETE, "{settings:?}");
    }
}

#[tokio::test]
async fn a_page_of_a_wrong_origin_reads_403() {
    let server = Server::with(|_| {});
    for origin in ["null", "https://evil.example", "https://localhost:1", ""] {
        let raw = Raw::connect(&server).await;
        let _control = raw.settings().await;
        let fields = [&GOOD[..], &[("origin", origin)]].concat();
        let (_send, mut recv) = raw.bi(&frame(HEADERS, &section(&fields))).await;
        let answer = timeout(DEADLINE, ConnectResponse::read(&mut recv)).await;
        assert!(
            matches!(&answer, Ok(Err(ConnectError::WrongStatus(Some(status)))) if *status == 403),
            "{origin}: {answer:?}"
        );
    }
}

#[tokio::test]
async fn capsules_that_mean_nothing_are_skipped_and_the_session_goes_on() {
    let server = Server::with(|_| {});
    let (mut hostile, served) = RawSession::open(&server).await;
    let echoing = tokio::spawn(serve_echoes(served));
    // Larger than any window, in capsules and in frames that nobody knows.
    let junk = [
        frame(DATA, &frame(0x17, &[1; 60_000])),
        frame(DATA, &frame(0x3fff, &[2; 60_000])),
        frame(0x21, &[3; 60_000]),
        frame(0x0123_4567, &[4; 60_000]),
    ]
    .concat();
    for _ in 0..40 {
        let written = timeout(DEADLINE, hostile.request.0.write_all(&junk)).await;
        written.unwrap().unwrap();
    }
    let (mut send, mut recv) = hostile.raw.bi(&[0x40, 0x41, 0x00]).await;
    send.write_all(b"still here").await.unwrap();
    let echo = timeout(DEADLINE, recv.read_chunk(64, true)).await.unwrap();
    assert_eq!(&echo.unwrap().unwrap().bytes[..], b"still here");
    echoing.abort();
}

#[tokio::test]
async fn a_malformed_close_ends_its_own_session_at_once() {
    let server = Server::with(|_| {});
    let too_long = [&[0; 4][..], &[b'x'; 1025]].concat();
    for capsule in [
        frame(0x2843, b""),
        frame(0x2843, b"abc"),
        frame(0x2843, &too_long),
        frame(0x2843, b"\0\0\0\x01\xff\xfe"),
    ] {
        let (mut hostile, served) = RawSession::open(&server).await;
        let bytes = frame(DATA, &capsule);
        hostile.request.0.write_all(&bytes).await.unwrap();
        let code = hostile.raw.closed_with(Duration::from_secs(2)).await;
        assert_eq!(code, H3_MESSAGE_ERROR, "{capsule:?}");
        assert!(matches!(served.closed().await, SessionError::Lost(_)));
    }
}

#[tokio::test]
async fn a_strict_peer_reads_why_a_session_ends_before_anything_of_http3_is_taken_away() {
    let server = Server::with(|_| {});
    let (mut strict, served) = RawSession::open(&server).await;
    served.close(6, "removed by the host");
    drop(served);
    let said = timeout(DEADLINE, strict.request.1.read_to_end(1 << 10)).await;
    let close = [&6u32.to_be_bytes()[..], b"removed by the host"].concat();
    assert_eq!(said.unwrap().unwrap(), frame(DATA, &frame(0x2843, &close)));
    // A client must end the connection when its control stream is stopped.
    assert_eq!(strict.control.stopped().now_or_never(), None);
}

#[tokio::test]
async fn what_nobody_takes_is_bounded_in_streams_and_in_bytes() {
    let limits = Limits {
        unidirectional_streams_max: 20,
        bidirectional_streams_max: 10,
        datagram_receive_buffer_bytes: 32 << 10,
        ..Limits::default()
    };
    let server = Server::new(limits);
    let (hostile, served) = RawSession::open(&server).await;
    let connection = &hostile.raw.connection;

    let mut opened = Vec::new();
    while let Ok(stream) = timeout(Duration::from_millis(300), connection.open_uni()).await {
        let mut stream = stream.unwrap();
        stream.write_all(&[0x40, 0x54, 0x00, b'x']).await.unwrap();
        opened.push(stream);
        assert!(opened.len() <= 20);
    }
    assert_eq!(opened.len(), 19, "beside the control stream");
    let mut both = Vec::new();
    while let Ok(stream) = timeout(Duration::from_millis(300), connection.open_bi()).await {
        both.push(stream.unwrap());
        assert!(both.len() <= 10);
    }
    assert_eq!(both.len(), 9, "beside the request");

    // Far more than is kept.
    for _ in 0..2000 {
        let datagram = Bytes::from([&[0][..], &[7; 1000]].concat());
        connection.send_datagram_wait(datagram).await.unwrap();
    }
    let received = || served.path_stats().received_bytes;
    timeout(DEADLINE, async {
        while received() < 2000 * 1000 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await
    .unwrap();
    let mut kept = 0;
    while let Ok(datagram) = timeout(Duration::from_millis(300), served.recv_datagram()).await {
        kept += datagram.unwrap().len();
    }
    assert!(kept > 0 && kept <= 32 << 10, "{kept}");
}

/// Opens, resets, writes nonsense and sends datagrams as fast as it can.
async fn rage(hostile: RawSession, stop: Arc<AtomicBool>, done: Arc<AtomicU64>) {
    let connection = hostile.raw.connection.clone();
    let junk = Bytes::from(vec![0; 1000]);
    while !stop.load(Ordering::Relaxed) {
        let Ok(Ok(mut uni)) = timeout(DEADLINE, connection.open_uni()).await else {
            return;
        };
        let beginnings: [&[u8]; 4] = [&[0x40, 0x54, 0x00], &[0x40, 0x54, 0x3c], &[0x21], &[0x40]];
        let beginning = beginnings[done.load(Ordering::Relaxed) as usize % 4];
        // The server may have stopped it already.
        let _ = uni.write_all(beginning).await;
        let _ = uni.reset(7u32.into());
        let Ok(Ok((mut send, _recv))) = timeout(DEADLINE, connection.open_bi()).await else {
            return;
        };
        let _ = send.write_all(beginning).await;
        let _ = send.reset(7u32.into());
        for _ in 0..10 {
            connection.send_datagram(junk.clone()).unwrap();
        }
        done.fetch_add(1, Ordering::Relaxed);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_opens_resets_and_sends_without_end_holds_up_nobody_else() {
    let server = Server::with(|_| {});
    let (hostile, raged_at) = RawSession::open(&server).await;
    let (client, served) = server.session().await;
    let echoing = tokio::spawn(serve_echoes(served));
    // Its application takes what comes, and drops it.
    let taking = tokio::spawn(async move {
        loop {
            tokio::select! {
                Ok(_) = raged_at.accept_uni() => {}
                Ok(_) = raged_at.accept_bi() => {}
                Ok(_) = raged_at.recv_datagram() => {}
                else => return,
            }
        }
    });
    let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::default());
    let raging = tokio::spawn(rage(hostile, Arc::clone(&stop), Arc::clone(&done)));
    let mut number = 0;
    // Until both have done plenty.
    while number < 300 || done.load(Ordering::Relaxed) < 1000 {
        timeout(DEADLINE, echo_once(&client, number)).await.unwrap();
        number += 1;
        assert!(!raging.is_finished(), "the flood ended by itself");
    }
    stop.store(true, Ordering::Relaxed);
    raging.await.unwrap();
    timeout(DEADLINE, taking).await.unwrap().unwrap();
    echoing.abort();
}
