//! What a peer that keeps no rules can do: nothing to others, and little to
//! memory.

use rand::{RngExt, SeedableRng, rngs::StdRng};

use super::*;
use crate::{
    RecvStream, SendStream, StreamError,
    messages::wire::{self, Body, Data, Datagram, Fragment, Header, write_datagram, write_header},
};

async fn opened_with(session: &MemorySession, bytes: &[u8]) -> memory::MemorySendStream {
    let mut send = session.open_uni().await.unwrap();
    send.write(Bytes::copy_from_slice(bytes)).await.unwrap();
    send
}

fn header(id: u32, reliability: Reliability) -> [u8; wire::HEADER_BYTES] {
    write_header(&Header {
        id,
        config: StreamConfig::new(reliability, Ordering::Ordered),
    })
}

#[tokio::test(start_paused = true)]
async fn streams_with_nonsense_or_silence_or_too_many_are_refused_and_others_go_on() {
    let (raw, peer) = pair(link());
    let messages = Messages::with_config(
        peer,
        Config {
            streams_max: 3,
            ..Config::default()
        },
    );
    let mut nonsense = opened_with(&raw, b"GET / HTTP/1.1\r\n\r\nmore").await;
    let mut large = header(0, Reliability::Reliable);
    large[12] = 0xff;
    let mut too_large = opened_with(&raw, &large).await;
    let mut silent = opened_with(&raw, b"M").await;
    tokio::time::sleep(Duration::from_secs(4)).await;
    for stream in [&mut nonsense, &mut too_large, &mut silent] {
        let refused = stream.write(Bytes::from_static(b"x")).await;
        assert_eq!(refused, Err(StreamError::Reset(2)));
    }
    let mut streams = Vec::new();
    let mut accepted = Vec::new();
    for id in 0..3 {
        streams.push(opened_with(&raw, &header(id, Reliability::Unreliable)).await);
        accepted.push(messages.accept().await.unwrap());
    }
    let mut fourth = opened_with(&raw, &header(3, Reliability::Unreliable)).await;
    tokio::time::sleep(100 * MS).await;
    let refused = fourth.write(Bytes::from_static(b"x")).await;
    assert_eq!(refused, Err(StreamError::Reset(1)));
    // A name twice.
    drop(accepted.pop());
    let mut again = opened_with(&raw, &header(0, Reliability::Unreliable)).await;
    tokio::time::sleep(100 * MS).await;
    assert!(again.write(Bytes::from_static(b"x")).await.is_err());
    assert_eq!(messages.snapshot().connection.refused_streams, 5);

    let _last = opened_with(&raw, &header(9, Reliability::Unreliable)).await;
    messages.accept().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn messages_longer_than_agreed_end_their_stream_alone() {
    let (raw, peer) = pair(link());
    let messages = Messages::new(peer);
    let mut send = opened_with(&raw, &header(0, Reliability::Reliable)).await;
    send.write(Bytes::from_static(&[0xbf, 0xff, 0xff, 0xff]))
        .await
        .unwrap();
    let mut stream = messages.accept().await.unwrap();
    let error = stream.receiver.recv().await.unwrap_err();
    assert!(matches!(
        error,
        RecvError::Protocol(wire::WireError::MessageTooLarge { .. })
    ));
    let mut short = opened_with(&raw, &header(1, Reliability::Reliable)).await;
    short.write(Bytes::from_static(b"\x09half")).await.unwrap();
    short.finish().unwrap();
    let mut stream = messages.accept().await.unwrap();
    let error = stream.receiver.recv().await.unwrap_err();
    assert_eq!(error, RecvError::Protocol(wire::WireError::Truncated));
}

#[tokio::test(start_paused = true)]
async fn random_datagrams_leave_the_connection_working_and_its_memory_bounded() {
    let (raw, peer) = pair(link());
    let messages = Messages::new(peer);
    let mut control = Vec::new();
    let mut receivers = Vec::new();
    for (id, reliability) in (0..).zip(EVERY_RELIABILITY) {
        control.push(opened_with(&raw, &header(id, reliability)).await);
        receivers.push(messages.accept().await.unwrap().receiver);
    }
    let mut rng = StdRng::seed_from_u64(5);
    for round in 0..20_000u64 {
        // Descending: each would be the first that the others wait for.
        let chunk = (1 << 50) - 3 * round;
        let body = match rng.random_range(0..3) {
            0 => Body::Data(Data {
                chunk,
                fragment: Fragment::WHOLE,
                attempt: 0,
                age: Duration::ZERO,
                floor: None,
                payload: vec![0; 500].into(),
            }),
            1 => Body::Data(Data {
                chunk,
                fragment: Fragment {
                    index: 1,
                    count: rng.random_range(2..60_000),
                },
                attempt: 0,
                age: Duration::ZERO,
                floor: None,
                payload: vec![0; 500].into(),
            }),
            _ => Body::Forward {
                floor: rng.random::<u64>() >> rng.random_range(24..64),
            },
        };
        let datagram = write_datagram(
            DEFAULT_TAG,
            &Datagram {
                id: rng.random_range(0..6),
                by_opener: true,
                body,
            },
        );
        let mut bytes = datagram.to_vec();
        if rng.random() {
            let place = rng.random_range(1..bytes.len());
            bytes[place] = rng.random();
        }
        raw.send_datagram(bytes.into()).unwrap();
        if round % 100 == 0 {
            tokio::time::sleep(MS).await;
        }
    }
    tokio::time::sleep(100 * MS).await;
    let snapshot = messages.snapshot();
    assert!(snapshot.connection.malformed_datagrams > 0);
    assert!(snapshot.connection.unknown_stream_datagrams > 1000);
    let held = messages.held_bytes();
    // Two megabytes for each of three streams, and what has no stream.
    assert!(held < 3 * (2 << 20) + (1 << 20), "{held} bytes");
    assert!(held > 100_000, "{held} bytes: nothing was held at all");

    let mut other = opened_with(&raw, &header(77, Reliability::Reliable)).await;
    other.write(Bytes::from_static(b"\x02ok")).await.unwrap();
    let mut stream = messages.accept().await.unwrap();
    assert_eq!(stream.receiver.recv().await.unwrap().unwrap(), "ok");
    drop(receivers);
}

#[tokio::test(start_paused = true)]
async fn acknowledgements_of_what_was_never_sent_change_nothing() {
    let (raw, peer) = pair(link());
    let messages = Messages::new(peer);
    let config = StreamConfig::new(Reliability::Retransmissions(3), Ordering::Ordered);
    let sender = messages.open(config).await.unwrap();
    let mut control = raw.accept_uni().await.unwrap();
    control.read_chunk(100).await.unwrap();
    for cumulative in [1, 1000, wire::VARINT_MAX] {
        let body = Body::Ack(wire::Ack {
            cumulative,
            newest: cumulative - 1,
            ..wire::Ack::default()
        });
        let datagram = Datagram {
            id: 0,
            by_opener: false,
            body,
        };
        raw.send_datagram(write_datagram(DEFAULT_TAG, &datagram))
            .unwrap();
    }
    tokio::time::sleep(50 * MS).await;
    let totals = messages.snapshot().streams[0].totals;
    assert_eq!(totals.datagrams_malformed, 3);
    sender.send(numbered(1, 10)).await.unwrap();
    let datagram = raw.recv_datagram().await.unwrap();
    assert!(wire::parse_datagram(&datagram).is_ok());
}
