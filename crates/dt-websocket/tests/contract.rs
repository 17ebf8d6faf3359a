//! What whoever serves or drives a session relies on, run over the in-memory twin
//! and over WebSockets: one body each.

#![allow(clippy::unwrap_used)]

mod support;

use bytes::Bytes;
use dt_transport::{RecvStream, SendStream, Session, SessionError, StreamError, memory};
use dt_websocket::{Kind, WebSocketSession};
use dt_wire::framing::{Decoder, Framed, encode_bytes};
use support::{control, frame, header, pair, read, read_message, soon};

fn closed(code: u32, reason: &str) -> SessionError {
    SessionError::ClosedByPeer {
        code,
        reason: reason.into(),
    }
}

async fn control_messages_cross_whole_and_in_order<S: Session>(client: S, server: S) {
    let ((mut send, mut recv), (mut back, mut there)) = control(&client, &server).await;
    let long = vec![8; 200_000];
    let messages: [&[u8]; 4] = [b"\x08one", b"\x03rtt", &long, b"\x08"];
    // However it is cut, and several in one write.
    let all: Vec<u8> = messages.iter().flat_map(|m| encode_bytes(m)).collect();
    let mut chunks: Vec<_> = all.chunks(70_001).map(Bytes::copy_from_slice).collect();
    let writing = async {
        soon(send.write_chunks(&mut chunks)).await.unwrap();
    };
    let reading = async {
        let mut decoder = Decoder::default();
        for message in messages {
            let (Framed::Message(got) | Framed::Rtt(got)) =
                read_message(&mut there, &mut decoder).await;
            assert_eq!(got, message);
        }
    };
    tokio::join!(writing, reading);
    soon(back.write(encode_bytes(b"\x08answer"))).await.unwrap();
    let answer = read_message(&mut recv, &mut Decoder::default()).await;
    assert_eq!(answer, Framed::Message(Bytes::from_static(b"\x08answer")));
}

async fn a_group_arrives_as_it_was_written<S: Session>(client: S, server: S) {
    let mut stream = soon(client.open_uni()).await.unwrap();
    let payload = vec![5; 100_000];
    let parts = [
        header(1, 7),
        frame(1, 7, 0, &payload),
        frame(1, 7, 1, b""),
        frame(1, 7, 2, b"end"),
    ];
    let whole = parts.concat();
    let writing = async {
        // Cut where nothing ends.
        for cut in whole.chunks(33_333) {
            let chunk = Bytes::copy_from_slice(cut);
            soon(stream.write(chunk)).await.unwrap();
        }
        stream.finish().unwrap();
        assert_eq!(stream.write(Bytes::new()).await, Err(StreamError::Closed));
    };
    let reading = async {
        let mut stream = soon(server.accept_uni()).await.unwrap();
        assert_eq!(read(&mut stream, whole.len()).await, whole);
    };
    tokio::join!(writing, reading);
}

async fn groups_of_several_streams_cross_side_by_side<S: Session>(client: S, server: S) {
    let mut streams = Vec::new();
    for number in 0..5 {
        let mut stream = soon(client.open_uni()).await.unwrap();
        let mut chunks = [header(number, 1), frame(number, 1, 0, &[number; 5000])];
        soon(stream.write_chunks(&mut chunks)).await.unwrap();
        streams.push(stream);
    }
    let mut seen = Vec::new();
    for _ in 0..5 {
        let mut stream = soon(server.accept_uni()).await.unwrap();
        let got = read(&mut stream, 32 + 46 + 5000).await;
        let number = got[32 + 46];
        assert_eq!(got[..32], header(number, 1));
        assert_eq!(got[32..], frame(number, 1, 0, &[number; 5000]));
        seen.push(number);
    }
    seen.sort_unstable();
    assert_eq!(seen, [0, 1, 2, 3, 4]);
}

async fn datagrams_cross_and_have_a_limit<S: Session>(client: S, server: S) {
    for (from, to) in [(&client, &server), (&server, &client)] {
        from.send_datagram(Bytes::from_static(b"sound")).unwrap();
        assert_eq!(soon(to.recv_datagram()).await.unwrap(), "sound");
        let limit = from.max_datagram_bytes();
        let large = Bytes::from(vec![0; limit + 1]);
        let bytes = large.len();
        assert_eq!(
            from.send_datagram(large),
            Err(SessionError::DatagramTooLarge { bytes, limit })
        );
    }
}

async fn a_close_says_why_and_only_the_first_counts<S: Session>(client: S, server: S) {
    let ((mut send, _recv), (_back, mut there)) = control(&client, &server).await;
    server.close(6, "removed by the host");
    server.close(7, "too late");
    assert_eq!(
        soon(client.closed()).await,
        closed(6, "removed by the host")
    );
    assert_eq!(soon(server.closed()).await, SessionError::ClosedLocally);

    let over = closed(6, "removed by the host");
    client.close(0, "");
    assert_eq!(soon(client.closed()).await, over);
    assert_eq!(soon(client.accept_uni()).await.err(), Some(over.clone()));
    assert_eq!(soon(client.recv_datagram()).await.err(), Some(over.clone()));
    assert!(client.send_datagram(Bytes::from_static(b"x")).is_err());
    let written = soon(send.write(encode_bytes(b"\x08x"))).await;
    assert!(written.is_err(), "{written:?}");

    let local = Some(SessionError::ClosedLocally);
    assert_eq!(soon(server.accept_bi()).await.err(), local);
    assert_eq!(soon(server.open_uni()).await.err(), local);
    let read = soon(there.read_chunk(1)).await;
    assert_eq!(read, Err(SessionError::ClosedLocally.into()));
}

async fn the_last_handle_closes_gracefully<S: Session>(client: S, server: S) {
    let clone = client.clone();
    drop(client);
    clone.send_datagram(Bytes::from_static(b"alive")).unwrap();
    assert_eq!(soon(server.recv_datagram()).await.unwrap(), "alive");
    drop(clone);
    assert_eq!(soon(server.closed()).await, closed(0, ""));
}

async fn a_stopped_stream_harms_no_other<S: Session>(client: S, server: S) {
    let mut first = soon(client.open_uni()).await.unwrap();
    soon(first.write(header(1, 1))).await.unwrap();
    let mut stopped = soon(server.accept_uni()).await.unwrap();
    stopped.stop(1);
    drop(stopped);
    let mut second = soon(client.open_uni()).await.unwrap();
    let mut chunks = [header(2, 1), frame(2, 1, 0, b"frame")];
    soon(second.write_chunks(&mut chunks)).await.unwrap();
    let mut stream = soon(server.accept_uni()).await.unwrap();
    let whole = [header(2, 1), frame(2, 1, 0, b"frame")].concat();
    assert_eq!(read(&mut stream, whole.len()).await, whole);
}

fn twins() -> (memory::MemorySession, memory::MemorySession) {
    memory::pair(memory::Config::default())
}

async fn sockets() -> (WebSocketSession, WebSocketSession) {
    pair(Kind::Media).await
}

macro_rules! contract {
    ($($fact:ident),* $(,)?) => {
        mod in_memory {
            $(
                #[tokio::test]
                async fn $fact() {
                    let (client, server) = super::twins();
                    super::$fact(client, server).await;
                }
            )*
        }
        mod over_websockets {
            $(
                #[tokio::test]
                async fn $fact() {
                    let (client, server) = super::sockets().await;
                    super::$fact(client, server).await;
                }
            )*
        }
    };
}

contract! {
    control_messages_cross_whole_and_in_order,
    a_group_arrives_as_it_was_written,
    groups_of_several_streams_cross_side_by_side,
    datagrams_cross_and_have_a_limit,
    a_close_says_why_and_only_the_first_counts,
    the_last_handle_closes_gracefully,
    a_stopped_stream_harms_no_other,
}
