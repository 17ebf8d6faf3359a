//! What only a WebSocket does, and what a peer can't do to a session.

#![allow(clippy::unwrap_used)]

mod support;

use std::time::Duration;

use bytes::Bytes;
use dt_transport::{RecvStream, SendStream, Session, SessionError, StreamError};
use dt_websocket::{Kind, Limits, WebSocketSession, tungstenite};
use dt_wire::framing::{Decoder, Framed, encode_bytes};
use futures::{SinkExt as _, StreamExt as _};
use support::{control, frame, header, listener, pair, pair_with, read, read_message, serve, soon};
use tokio::{io::AsyncWriteExt as _, net::TcpStream};
use tokio_tungstenite::{WebSocketStream, client_async_with_config, tungstenite::Message};

/// A peer that keeps no rule, and the session it speaks to.
async fn raw(kind: Kind, limits: Limits) -> (WebSocketStream<TcpStream>, WebSocketSession) {
    let (listener, address) = listener().await;
    let dial = async {
        let tcp = TcpStream::connect(address).await.unwrap();
        let config = tungstenite::config(Kind::Media)
            .max_message_size(None)
            .max_frame_size(None);
        let url = format!("ws://{address}/");
        client_async_with_config(url, tcp, Some(config))
            .await
            .unwrap()
            .0
    };
    soon(async { tokio::join!(dial, serve(&listener, kind, limits)) }).await
}

/// The code with which the other side closes.
async fn close_code(socket: &mut WebSocketStream<TcpStream>) -> u16 {
    loop {
        match soon(socket.next()).await {
            Some(Ok(Message::Close(frame))) => return frame.expect("a code").code.into(),
            Some(Ok(_)) => {}
            other => panic!("no close: {other:?}"),
        }
    }
}

#[tokio::test]
async fn who_breaks_the_rules_is_closed_with_the_code_that_says_so() {
    let bytes = |channel: u8, bytes: usize| {
        let mut message = vec![8; bytes + 1];
        message[0] = channel;
        Message::Binary(message.into())
    };
    for (kind, message, code) in [
        (Kind::Media, Message::Text("hello".into()), 1003),
        (Kind::Signaling, Message::Text("hello".into()), 1003),
        (Kind::Media, bytes(4, 10), 1002),
        (Kind::Media, Message::Binary(Bytes::new()), 1002),
        (Kind::Media, bytes(1, 31), 1002),
        (Kind::Media, bytes(2, 100), 1002),
        (Kind::Media, bytes(3, 1201), 1009),
        (Kind::Media, bytes(0, (1 << 20) + 1), 1009),
        (
            Kind::Signaling,
            Message::Binary([3; 65].to_vec().into()),
            1009,
        ),
    ] {
        let (mut socket, session) = raw(kind, Limits::default()).await;
        let what = format!("{kind:?} {code} {} bytes", message.len());
        // The other side may close before it has taken all.
        let _ = soon(socket.send(message)).await;
        assert_eq!(close_code(&mut socket).await, code, "{what}");
        let over = soon(session.closed()).await;
        assert!(matches!(over, SessionError::Lost(_)), "{what}: {over:?}");
    }
}

#[tokio::test]
async fn a_length_above_the_limit_is_refused_before_the_message_arrives() {
    for (kind, limit) in [
        (Kind::Signaling, 1u64 << 20),
        (Kind::Media, (4 << 20) + 46 + 1),
    ] {
        let (mut socket, session) = raw(kind, Limits::default()).await;
        // A binary message that is masked (RFC 6455 section 5.2), and no more than
        // the beginning of it.
        let mut beginning = vec![0x82, 0xff];
        beginning.extend_from_slice(&(limit + 1).to_be_bytes());
        beginning.extend_from_slice(&[0; 4]);
        soon(socket.get_mut().write_all(&beginning)).await.unwrap();
        assert_eq!(close_code(&mut socket).await, 1009, "{kind:?}");
        let over = soon(session.closed()).await;
        assert!(matches!(over, SessionError::Lost(_)), "{over:?}");
    }
}

#[tokio::test]
async fn a_page_that_goes_away_ends_its_session_gracefully() {
    let (mut socket, session) = raw(Kind::Signaling, Limits::default()).await;
    soon(socket.close(None)).await.unwrap();
    let over = soon(session.closed()).await;
    assert!(
        matches!(over, SessionError::ClosedByPeer { code: 0, .. }),
        "{over:?}"
    );
}

#[tokio::test]
async fn a_connection_that_breaks_is_lost() {
    let (socket, session) = raw(Kind::Signaling, Limits::default()).await;
    drop(socket);
    let over = soon(session.closed()).await;
    assert!(matches!(over, SessionError::Lost(_)), "{over:?}");
}

#[tokio::test]
async fn who_is_silent_is_given_up() {
    let limits = Limits {
        idle_timeout: Duration::from_millis(200),
        ..Limits::default()
    };
    // It reads nothing, so that not even pings are answered.
    let (_socket, session) = raw(Kind::Signaling, limits).await;
    assert_eq!(soon(session.closed()).await, SessionError::TimedOut);
}

#[tokio::test]
async fn what_was_said_last_comes_before_the_close() {
    let (client, server) = pair(Kind::Signaling).await;
    let ((_send, mut recv), (mut back, _there)) = control(&client, &server).await;
    soon(back.write(encode_bytes(b"\x08why"))).await.unwrap();
    server.close(2, "not admitted");
    soon(client.closed()).await;
    let last = read_message(&mut recv, &mut Decoder::default()).await;
    assert_eq!(last, Framed::Message(Bytes::from_static(b"\x08why")));
    let end = soon(recv.read_chunk(1)).await;
    assert!(
        matches!(
            end,
            Err(StreamError::Session(SessionError::ClosedByPeer {
                code: 2,
                ..
            }))
        ),
        "{end:?}"
    );
}

#[tokio::test]
async fn a_signaling_session_has_no_datagrams_and_no_streams_one_way() {
    let (client, server) = pair(Kind::Signaling).await;
    assert_eq!(client.max_datagram_bytes(), 0);
    assert!(client.send_datagram(Bytes::from_static(b"x")).is_err());
    let (opening, accepting) = (client.clone(), server.clone());
    let opening = tokio::spawn(async move { opening.open_uni().await.err() });
    let accepting = tokio::spawn(async move { accepting.accept_uni().await.err() });
    control(&client, &server).await;
    assert!(!opening.is_finished() && !accepting.is_finished());
    server.close(0, "");
    assert!(soon(opening).await.unwrap().is_some());
    assert!(soon(accepting).await.unwrap().is_some());
}

#[tokio::test]
async fn the_round_trip_time_is_measured_by_pings() {
    let (client, server) = pair(Kind::Signaling).await;
    for session in [client, server] {
        soon(async {
            while session.path_stats().rtt == Duration::ZERO {
                tokio::task::yield_now().await;
            }
        })
        .await;
        assert!(session.path_stats().rtt < Duration::from_secs(5));
    }
}

#[tokio::test]
async fn the_next_group_ends_the_one_before_it() {
    let (client, server) = pair(Kind::Media).await;
    let mut first = soon(client.open_uni()).await.unwrap();
    let mut chunks = [header(1, 1), frame(1, 1, 0, b"first")];
    soon(first.write_chunks(&mut chunks)).await.unwrap();
    first.finish().unwrap();
    let mut second = soon(client.open_uni()).await.unwrap();
    let mut chunks = [header(1, 2), frame(1, 2, 1, b"second")];
    soon(second.write_chunks(&mut chunks)).await.unwrap();

    let mut stream = soon(server.accept_uni()).await.unwrap();
    let whole = [header(1, 1), frame(1, 1, 0, b"first")].concat();
    assert_eq!(read(&mut stream, whole.len()).await, whole);
    assert_eq!(soon(stream.read_chunk(1)).await, Ok(None));
    let mut stream = soon(server.accept_uni()).await.unwrap();
    let whole = [header(1, 2), frame(1, 2, 1, b"second")].concat();
    assert_eq!(read(&mut stream, whole.len()).await, whole);
}

#[tokio::test]
async fn frames_of_no_open_group_are_dropped_and_harm_nothing() {
    let (mut socket, session) = raw(Kind::Media, Limits::default()).await;
    let message =
        |channel: u8, bytes: &[u8]| Message::Binary([&[channel][..], bytes].concat().into());
    for message in [
        message(2, &frame(1, 1, 0, b"no group")),
        message(1, &header(1, 2)),
        message(2, &frame(1, 1, 0, b"the group before")),
        message(2, &frame(2, 2, 0, b"another stream")),
        message(2, &frame(1, 2, 0, b"right")),
    ] {
        soon(socket.send(message)).await.unwrap();
    }
    let mut stream = soon(session.accept_uni()).await.unwrap();
    let whole = [header(1, 2), frame(1, 2, 0, b"right")].concat();
    assert_eq!(read(&mut stream, whole.len()).await, whole);
}

#[tokio::test]
async fn a_group_that_nobody_reads_is_given_up_at_its_limit() {
    let limits = Limits {
        group_bytes_max: 10_000,
        ..Limits::default()
    };
    let (mut socket, session) = raw(Kind::Media, limits).await;
    let mut first = header(1, 1).to_vec();
    first.insert(0, 1);
    soon(socket.send(Message::Binary(first.into())))
        .await
        .unwrap();
    let mut stream = soon(session.accept_uni()).await.unwrap();
    for sequence in 0..20 {
        let mut message = frame(1, 1, sequence, &[0; 1000]).to_vec();
        message.insert(0, 2);
        soon(socket.send(Message::Binary(message.into())))
            .await
            .unwrap();
    }
    // What comes behind shows that all before was taken.
    soon(socket.send(Message::Binary(Bytes::from_static(b"\x03d"))))
        .await
        .unwrap();
    soon(session.recv_datagram()).await.unwrap();
    let end = loop {
        match soon(stream.read_chunk(1 << 20)).await {
            Ok(Some(_)) => {}
            end => break end,
        }
    };
    assert_eq!(end, Err(StreamError::Reset(3)));
}

#[tokio::test]
async fn one_group_too_many_ends_the_one_that_was_quiet_for_longest() {
    let limits = Limits {
        groups_in_max: 2,
        ..Limits::default()
    };
    let (client, server) = pair_with(Kind::Media, limits).await;
    let mut writers = Vec::new();
    let mut readers = Vec::new();
    for number in 1..=3 {
        let mut stream = soon(client.open_uni()).await;
        if number == 3 {
            // Places to send from are bounded too: the first one is over here.
            drop(writers.remove(0));
            stream = soon(client.open_uni()).await;
        }
        let mut stream = stream.unwrap();
        soon(stream.write(header(number, 1))).await.unwrap();
        let mut accepted = soon(server.accept_uni()).await.unwrap();
        read(&mut accepted, 32).await;
        writers.push(stream);
        readers.push(accepted);
    }
    assert_eq!(soon(readers[0].read_chunk(1)).await, Ok(None));
    soon(writers[0].write(frame(2, 1, 0, b"on"))).await.unwrap();
    assert_eq!(read(&mut readers[1], 48).await, frame(2, 1, 0, b"on"));
}

#[tokio::test]
async fn what_is_no_media_is_not_written_on_a_group() {
    let (client, _server) = pair(Kind::Media).await;
    let mut stream = soon(client.open_uni()).await.unwrap();
    let written = soon(stream.write(Bytes::from(vec![0; 64]))).await;
    assert_eq!(written, Err(StreamError::Reset(1)));
}

#[tokio::test]
async fn a_peer_that_reads_nothing_does_not_hold_up_the_close() {
    let (_socket, session) = raw(Kind::Media, Limits::default()).await;
    let mut stream = soon(session.open_uni()).await.unwrap();
    let flood = async {
        soon(stream.write(header(1, 1))).await.unwrap();
        let payload = vec![0; 1 << 20];
        for sequence in 0.. {
            if stream.write(frame(1, 1, sequence, &payload)).await.is_err() {
                return;
            }
        }
    };
    // The kernel's buffers are full when it waits for so long.
    let stuck = tokio::time::timeout(Duration::from_millis(500), flood).await;
    assert!(stuck.is_err());
    session.close(3, "too slow");
    assert_eq!(soon(session.closed()).await, SessionError::ClosedLocally);
}
