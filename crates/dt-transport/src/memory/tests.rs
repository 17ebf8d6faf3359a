//! Facts about the in-memory twin, on the paused clock.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::{Config, MemorySession, pair};
use crate::{RecvStream, SendStream, Session, SessionError, StreamError};

fn config() -> Config {
    Config {
        latency: Duration::from_millis(20),
        ..Config::default()
    }
}

async fn read_all(recv: &mut impl RecvStream) -> Result<Vec<u8>, StreamError> {
    let mut all = Vec::new();
    while let Some(chunk) = recv.read_chunk(7).await? {
        all.extend_from_slice(&chunk);
    }
    Ok(all)
}

/// Numbers of the datagrams that arrive of `count` sent at one a millisecond.
async fn arrivals(config: Config, count: u32) -> Vec<u32> {
    let (a, b) = pair(config);
    let sender = tokio::spawn(async move {
        for number in 0..count {
            a.send_datagram(Bytes::copy_from_slice(&number.to_be_bytes()))
                .unwrap();
            tokio::time::advance(Duration::from_millis(1)).await;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        a.close(0, "");
    });
    let mut seen = Vec::new();
    while let Ok(datagram) = b.recv_datagram().await {
        seen.push(u32::from_be_bytes(datagram[..].try_into().unwrap()));
    }
    sender.await.unwrap();
    seen
}

#[tokio::test(start_paused = true)]
async fn a_stream_arrives_whole_and_in_order_one_latency_later_despite_loss_and_jitter() {
    let (a, b) = pair(Config {
        seed: 7,
        jitter: Duration::from_millis(15),
        loss: 0.3,
        ..config()
    });
    let begun = Instant::now();
    let mut send = a.open_uni().await.unwrap();
    let mut expected = Vec::new();
    for number in 0..200u32 {
        expected.extend_from_slice(&number.to_be_bytes());
        send.write(Bytes::copy_from_slice(&number.to_be_bytes()))
            .await
            .unwrap();
    }
    send.finish().unwrap();
    let mut recv = b.accept_uni().await.unwrap();
    assert!(begun.elapsed() >= Duration::from_millis(20));
    assert_eq!(read_all(&mut recv).await.unwrap(), expected);
    assert_eq!(recv.read_chunk(1).await, Ok(None));
}

#[tokio::test(start_paused = true)]
async fn datagrams_are_lost_and_reordered_as_the_seed_says() {
    let lossy = |seed| Config {
        seed,
        loss: 0.1,
        reordering: 0.1,
        ..config()
    };
    let first = arrivals(lossy(1), 1000).await;
    assert!((850..950).contains(&first.len()), "{}", first.len());
    assert!(first.windows(2).any(|pair| pair[0] > pair[1]));
    assert_eq!(first, arrivals(lossy(1), 1000).await);
    assert_ne!(first, arrivals(lossy(2), 1000).await);
    let all = arrivals(config(), 100).await;
    assert_eq!(all, (0..100).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn both_halves_of_a_bidirectional_stream_work_at_once() {
    let (a, b) = pair(config());
    let (mut send, mut recv) = a.open_bi().await.unwrap();
    send.write_chunks(&mut [Bytes::from_static(b"qu"), Bytes::from_static(b"estion")])
        .await
        .unwrap();
    send.finish().unwrap();
    assert_eq!(send.finish(), Err(StreamError::Closed));
    let (mut back, mut question) = b.accept_bi().await.unwrap();
    assert_eq!(read_all(&mut question).await.unwrap(), b"question");
    back.write(Bytes::from_static(b"answer")).await.unwrap();
    back.finish().unwrap();
    assert_eq!(read_all(&mut recv).await.unwrap(), b"answer");
}

#[tokio::test(start_paused = true)]
async fn a_reset_reaches_the_reader_and_a_stop_the_writer_with_their_codes() {
    let (a, b) = pair(config());
    let mut send = a.open_uni().await.unwrap();
    send.write(Bytes::from_static(b"x")).await.unwrap();
    send.reset(3);
    let mut recv = b.accept_uni().await.unwrap();
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(recv.read_chunk(9).await, Err(StreamError::Reset(3)));

    let mut send = a.open_uni().await.unwrap();
    let mut recv = b.accept_uni().await.unwrap();
    recv.stop(4);
    tokio::time::sleep(Duration::from_millis(21)).await;
    assert_eq!(
        send.write(Bytes::from_static(b"x")).await,
        Err(StreamError::Reset(4))
    );
    drop(a.open_uni().await.unwrap());
    let mut dropped = b.accept_uni().await.unwrap();
    assert_eq!(dropped.read_chunk(9).await, Err(StreamError::Reset(0)));
}

#[tokio::test(start_paused = true)]
async fn close_codes_and_reasons_arrive_and_only_the_first_counts() {
    let (a, b) = pair(config());
    a.close(6, "removed by the host");
    a.close(7, "too late");
    assert_eq!(a.closed().await, SessionError::ClosedLocally);
    assert!(a.send_datagram(Bytes::new()).is_err());
    let end = SessionError::ClosedByPeer {
        code: 6,
        reason: "removed by the host".into(),
    };
    assert_eq!(b.closed().await, end);
    assert_eq!(b.accept_bi().await.unwrap_err(), end);
    assert_eq!(b.recv_datagram().await.unwrap_err(), end);
}

#[tokio::test(start_paused = true)]
async fn dropping_the_last_handle_closes_the_session() {
    let (a, b) = pair(config());
    let clone = a.clone();
    drop(a);
    assert!(clone.send_datagram(Bytes::from_static(b"alive")).is_ok());
    drop(clone);
    assert!(matches!(
        b.closed().await,
        SessionError::ClosedByPeer { code: 0, .. }
    ));
}

#[tokio::test(start_paused = true)]
async fn a_writer_waits_for_its_window_and_an_opener_for_its_stream_limit() {
    let (a, b) = pair(Config {
        stream_window_bytes_max: 10,
        streams_max: 1,
        ..config()
    });
    let mut send = a.open_uni().await.unwrap();
    let short = Duration::from_secs(1);
    let mut chunks = [Bytes::from(vec![1; 25])];
    assert!(
        tokio::time::timeout(short, send.write_chunks(&mut chunks))
            .await
            .is_err()
    );
    assert!(tokio::time::timeout(short, a.open_uni()).await.is_err());
    let mut recv = b.accept_uni().await.unwrap();
    let reader = tokio::spawn(async move { read_all(&mut recv).await });
    // What the first attempt could not write stayed in its chunk.
    send.write_chunks(&mut chunks).await.unwrap();
    send.finish().unwrap();
    assert_eq!(reader.await.unwrap().unwrap().len(), 25);
    a.open_uni().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_full_datagram_queue_drops_the_oldest_and_an_oversize_one_is_an_error() {
    let (a, b) = pair(Config {
        datagram_queue_bytes_max: 30,
        datagram_bytes_max: 10,
        ..Config::default()
    });
    assert_eq!(
        a.send_datagram(Bytes::from(vec![0; 11])),
        Err(SessionError::DatagramTooLarge {
            bytes: 11,
            limit: 10
        })
    );
    for number in 0..5u8 {
        a.send_datagram(Bytes::from(vec![number; 10])).unwrap();
    }
    for number in 2..5u8 {
        assert_eq!(b.recv_datagram().await.unwrap()[0], number);
    }
    assert_eq!(a.path_stats().lost_packets, 2);
}

#[tokio::test(start_paused = true)]
async fn a_severed_link_is_lost_on_both_sides_and_a_silent_one_times_out() {
    let (a, b) = pair(config());
    a.sever();
    assert!(matches!(a.closed().await, SessionError::Lost(_)));
    assert!(matches!(b.closed().await, SessionError::Lost(_)));

    let (a, b): (MemorySession, MemorySession) = pair(config());
    let begun = Instant::now();
    a.silence();
    a.send_datagram(Bytes::from_static(b"into the void"))
        .unwrap();
    assert_eq!(b.recv_datagram().await, Err(SessionError::TimedOut));
    assert_eq!(begun.elapsed().as_secs(), 30);
}
