//! Facts about streams of messages, over the in-memory twin on the paused clock.

#![allow(clippy::unwrap_used)] // a test that cannot go on fails

mod hostile;

use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, timeout};

use super::*;
use crate::{
    Session, SessionError,
    memory::{self, MemorySession, pair},
};

const MS: Duration = Duration::from_millis(1);

fn link() -> memory::Config {
    memory::Config {
        seed: 3,
        latency: 20 * MS,
        ..memory::Config::default()
    }
}

fn both(link: memory::Config) -> (Messages<MemorySession>, Messages<MemorySession>) {
    let (a, b) = pair(link);
    (Messages::new(a), Messages::new(b))
}

fn numbered(number: u32, bytes: usize) -> Bytes {
    let mut message = vec![number as u8; bytes.max(4)];
    message[..4].copy_from_slice(&number.to_be_bytes());
    message.into()
}

fn number_of(message: &Bytes) -> u32 {
    u32::from_be_bytes(message[..4].try_into().unwrap())
}

async fn rest(receiver: &mut MessageReceiver<MemorySession>) -> Vec<u32> {
    let mut numbers = Vec::new();
    while let Some(message) = receiver.recv().await.unwrap() {
        let number = number_of(&message);
        assert!(message[4..].iter().all(|byte| *byte == number as u8));
        numbers.push(number);
    }
    numbers
}

const EVERY_RELIABILITY: [Reliability; 4] = [
    Reliability::Reliable,
    Reliability::Unreliable,
    Reliability::Deadline(Duration::from_millis(200)),
    Reliability::Retransmissions(5),
];

#[tokio::test(start_paused = true)]
async fn messages_of_all_sizes_arrive_by_every_reliability_and_the_stream_ends() {
    let (a, b) = both(link());
    for reliability in EVERY_RELIABILITY {
        for ordering in [Ordering::Ordered, Ordering::Unordered] {
            let config = StreamConfig::new(reliability, ordering);
            let sender = a.open(config.clone()).await.unwrap();
            let sending = async {
                for number in 0..40 {
                    let bytes = [4, 100, 1100, 1200, 5000, 60_000][number as usize % 6];
                    sender.send(numbered(number, bytes)).await.unwrap();
                    tokio::time::sleep(MS).await;
                }
                sender.finish().await.unwrap();
            };
            let receiving = async {
                let mut stream = b.accept().await.unwrap();
                assert_eq!(stream.config, config);
                assert!(stream.sender.is_none());
                rest(&mut stream.receiver).await
            };
            let (numbers, ()) = tokio::join!(receiving, sending);
            assert_eq!(numbers, (0..40).collect::<Vec<_>>(), "{config:?}");
        }
    }
    let totals = a.snapshot().connection.totals;
    assert_eq!(totals.messages_sent, 8 * 40);
    assert_eq!(totals.retransmissions, 0);
    let received = b.snapshot().connection;
    assert_eq!(received.totals.messages_received, 8 * 40);
    assert_eq!(received.totals.bytes_received, totals.bytes_sent);
    assert_eq!(received.streams, 0);
}

#[tokio::test(start_paused = true)]
async fn a_stream_both_ways_answers_by_every_reliability() {
    let (a, b) = both(link());
    let echo = tokio::spawn(async move {
        while let Ok(mut stream) = b.accept().await {
            let sender = stream.sender.unwrap();
            while let Some(message) = stream.receiver.recv().await.unwrap() {
                sender.send(message).await.unwrap();
            }
            sender.finish().await.unwrap();
        }
    });
    for reliability in EVERY_RELIABILITY {
        let config = StreamConfig::new(reliability, Ordering::Ordered);
        let (sender, mut receiver) = a.open_both_ways(config).await.unwrap();
        for number in 0..5 {
            let begun = Instant::now();
            sender.send(numbered(number, 3000)).await.unwrap();
            assert_eq!(number_of(&receiver.recv().await.unwrap().unwrap()), number);
            assert!(begun.elapsed() < 45 * MS, "{:?}", begun.elapsed());
        }
        sender.finish().await.unwrap();
        assert_eq!(receiver.recv().await, Ok(None));
        assert_eq!(receiver.recv().await, Ok(None));
    }
    a.close(0, "").await;
    echo.await.unwrap();
}

async fn lossy(reliability: Reliability, ordering: Ordering) -> (Vec<u32>, Snapshot) {
    let (a, b) = both(memory::Config {
        jitter: 10 * MS,
        loss: 0.05,
        reordering: 0.02,
        duplication: 0.02,
        ..link()
    });
    let config = StreamConfig::new(reliability, ordering);
    let sender = a.open(config).await.unwrap();
    let sending = async {
        for number in 0..2000 {
            sender.send(numbered(number, 800)).await.unwrap();
            tokio::time::sleep(5 * MS).await;
        }
        let snapshot = a.snapshot();
        sender.finish().await.unwrap();
        snapshot
    };
    let receiving = async {
        let mut stream = b.accept().await.unwrap();
        rest(&mut stream.receiver).await
    };
    tokio::join!(receiving, sending)
}

#[tokio::test(start_paused = true)]
async fn what_is_lost_is_sent_again_by_time_and_by_number_and_stays_lost_where_unreliable() {
    for reliability in [EVERY_RELIABILITY[2], EVERY_RELIABILITY[3]] {
        let (numbers, snapshot) = lossy(reliability, Ordering::Ordered).await;
        assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]));
        assert!(numbers.len() >= 1998, "{reliability:?}: {}", numbers.len());
        let stream = snapshot.streams[0];
        assert!((80..400).contains(&stream.totals.retransmissions));
        assert!((0.03..0.2).contains(&stream.loss()), "{}", stream.loss());
        assert!((40 * MS..60 * MS).contains(&stream.rtt), "{:?}", stream.rtt);
        assert!(stream.jitter > MS);

        let (mut numbers, _) = lossy(reliability, Ordering::Unordered).await;
        assert!(numbers.windows(2).any(|pair| pair[0] > pair[1]));
        let all = numbers.len();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), all, "nothing twice");
        assert!(all >= 1998, "{all}");
    }
    let (numbers, snapshot) = lossy(Reliability::Unreliable, Ordering::Unordered).await;
    assert!((1850..1950).contains(&numbers.len()), "{}", numbers.len());
    assert_eq!(snapshot.streams[0].totals.retransmissions, 0);
    let (ordered, _) = lossy(Reliability::Unreliable, Ordering::Ordered).await;
    assert!(ordered.windows(2).all(|pair| pair[0] < pair[1]));
    assert!(ordered.len() < numbers.len());
}

#[tokio::test(start_paused = true)]
async fn ordered_messages_go_on_in_time_without_one_that_never_arrives() {
    let (a, b) = both(memory::Config {
        datagram_bytes_max: 1200,
        ..link()
    });
    let config = StreamConfig::new(Reliability::Deadline(200 * MS), Ordering::Ordered);
    let sender = a.open(config).await.unwrap();
    let mut stream = b.accept().await.unwrap();
    sender.send(numbered(0, 10)).await.unwrap();
    assert_eq!(
        number_of(&stream.receiver.recv().await.unwrap().unwrap()),
        0
    );
    // The first one's acknowledgement arrives.
    tokio::time::sleep(100 * MS).await;
    // The second message is lost, and so is everything for 150 ms.
    a.session().lose_datagrams(true);
    let begun = Instant::now();
    sender.send(numbered(1, 10)).await.unwrap();
    tokio::time::sleep(185 * MS).await;
    a.session().lose_datagrams(false);
    sender.send(numbered(2, 10)).await.unwrap();
    let next = stream.receiver.recv().await.unwrap().unwrap();
    assert_eq!(number_of(&next), 2);
    assert!(begun.elapsed() <= 185 * MS + 200 * MS);
    assert_eq!(a.snapshot().streams[0].totals.messages_expired, 1);
}

#[tokio::test(start_paused = true)]
async fn datagrams_of_others_are_handed_on() {
    let (a, b) = both(link());
    let mut others = b.other_datagrams().unwrap();
    assert!(b.other_datagrams().is_none());
    for datagram in [&b"ping"[..], b"\x02media", b"\x03rtt", b""] {
        let datagram = Bytes::from_static(datagram);
        a.session().send_datagram(datagram.clone()).unwrap();
        assert_eq!(others.recv().await, Some(datagram));
    }
}

#[tokio::test(start_paused = true)]
async fn a_stop_reaches_the_sender_and_a_reset_the_receiver_with_their_codes() {
    let (a, b) = both(link());
    for reliability in EVERY_RELIABILITY {
        let config = StreamConfig::new(reliability, Ordering::Ordered);
        let sender = a.open(config.clone()).await.unwrap();
        let stream = b.accept().await.unwrap();
        stream.receiver.stop(7);
        let stopped = timeout(Duration::from_secs(5), async {
            loop {
                if let Err(error) = sender.send(numbered(0, 10)).await {
                    return error;
                }
                tokio::time::sleep(10 * MS).await;
            }
        });
        let error = stopped.await.unwrap();
        assert_eq!(error, SendError::Stopped { code: 7 }, "{reliability:?}");

        let sender = a.open(config).await.unwrap();
        sender.send(numbered(0, 10)).await.unwrap();
        let mut stream = b.accept().await.unwrap();
        assert!(stream.receiver.recv().await.unwrap().is_some());
        sender.reset(9);
        let error = stream.receiver.recv().await.unwrap_err();
        assert_eq!(error, RecvError::Reset { code: 9 }, "{reliability:?}");
        assert_eq!(stream.receiver.recv().await, Err(error));
    }
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_makes_send_wait_and_try_send_say_so() {
    let (session, peer) = pair(link());
    let a = Messages::with_config(
        session,
        Config {
            send_queue_bytes_max: 10_000,
            ..Config::default()
        },
    );
    // Nobody accepts, and the window is soon full.
    let b = Messages::new(peer);
    for reliability in [Reliability::Reliable, Reliability::Retransmissions(1000)] {
        let config = StreamConfig::new(reliability, Ordering::Ordered);
        let sender = a.open(config).await.unwrap();
        let full = async {
            loop {
                match sender.try_send(numbered(0, 2000)) {
                    Ok(()) => tokio::task::yield_now().await,
                    Err(error) => return error,
                }
            }
        };
        assert_eq!(
            timeout(Duration::from_secs(9), full).await.unwrap(),
            SendError::Full
        );
        assert!(
            a.snapshot()
                .streams
                .iter()
                .all(|s| s.send_queue_bytes <= 12_000)
        );
        let mut stream = b.accept().await.unwrap();
        let reading = async { while let Ok(Some(_)) = stream.receiver.recv().await {} };
        tokio::select! {
            () = reading => panic!("the stream goes on"),
            sent = timeout(Duration::from_secs(9), sender.send(numbered(1, 2000))) => {
                sent.unwrap().unwrap();
            }
        }
        assert_eq!(
            sender.try_send(Bytes::from(vec![0; 70_000])),
            Err(SendError::TooLarge {
                bytes: 70_000,
                limit: 65_536
            })
        );
    }
}

#[tokio::test(start_paused = true)]
async fn when_there_is_little_room_the_higher_priority_goes_first() {
    let (a, b) = both(memory::Config {
        // Four datagrams may be in flight.
        session_window_bytes_max: 4800,
        ..link()
    });
    let config = |priority| StreamConfig {
        priority,
        ..StreamConfig::new(Reliability::Deadline(10_000 * MS), Ordering::Ordered)
    };
    let low = a.open(config(1)).await.unwrap();
    let high = a.open(config(2)).await.unwrap();
    let (mut first, mut second) = (b.accept().await.unwrap(), b.accept().await.unwrap());
    for number in 0..40 {
        low.try_send(numbered(number, 1100)).unwrap();
        high.try_send(numbered(number, 1100)).unwrap();
    }
    let ends = async |receiver: &mut MessageReceiver<_>| {
        for _ in 0..40 {
            receiver.recv().await.unwrap().unwrap();
        }
        Instant::now()
    };
    assert_eq!(first.config.priority, 1);
    let (low, high) = tokio::join!(ends(&mut first.receiver), ends(&mut second.receiver));
    // Each takes ten round trips of 40 ms alone.
    assert!(high + 300 * MS < low, "{:?}", low - high);
}

#[tokio::test(start_paused = true)]
async fn figures_come_at_every_interval_with_rates_and_ages() {
    let (a, b) = both(link());
    let sender = a.open(StreamConfig::default()).await.unwrap();
    let mut stream = b.accept().await.unwrap();
    let sending = tokio::spawn(async move {
        for number in 0..1000 {
            sender.send(numbered(number, 100)).await.unwrap();
            tokio::time::sleep(10 * MS).await;
        }
    });
    let reading =
        tokio::spawn(async move { while let Ok(Some(_)) = stream.receiver.recv().await {} });
    let (mut ours, mut theirs) = (a.watch(), b.watch());
    for _ in 0..3 {
        ours.changed().await.unwrap();
        theirs.changed().await.unwrap();
    }
    let (ours, theirs) = (ours.borrow().clone(), theirs.borrow().clone());
    assert!((80.0..=101.0).contains(&ours.streams[0].rates.messages_sent));
    assert!((8_000.0..=10_100.0).contains(&ours.connection.rates.bytes_sent));
    assert!((80.0..=101.0).contains(&theirs.streams[0].rates.messages_received));
    assert_eq!(ours.connection.path.rtt, 40 * MS);
    sending.await.unwrap();
    reading.abort();
}

#[tokio::test(start_paused = true)]
async fn the_end_of_the_session_ends_every_stream() {
    let (a, b) = both(link());
    let mut senders = Vec::new();
    let mut receivers = Vec::new();
    for reliability in EVERY_RELIABILITY {
        let config = StreamConfig::new(reliability, Ordering::Ordered);
        senders.push(a.open(config).await.unwrap());
        receivers.push(b.accept().await.unwrap().receiver);
    }
    a.session().close(6, "over");
    let end = SessionError::ClosedByPeer {
        code: 6,
        reason: "over".into(),
    };
    for receiver in &mut receivers {
        assert_eq!(receiver.recv().await, Err(RecvError::Session(end.clone())));
    }
    assert_eq!(b.accept().await.unwrap_err(), AcceptError::Session(end));
    for sender in senders {
        let failed = timeout(Duration::from_secs(1), async {
            while sender.send(numbered(0, 10)).await.is_ok() {
                tokio::time::sleep(MS).await;
            }
        });
        failed.await.unwrap();
    }
    let opened = a.open(StreamConfig::default()).await;
    assert!(matches!(opened, Err(OpenError::Session(_))));
    timeout(Duration::from_secs(1), a.close(0, ""))
        .await
        .unwrap();
}

#[tokio::test(start_paused = true)]
async fn dropping_everything_ends_the_tasks_and_closes_the_session() {
    let (a, b) = both(link());
    let sender = a.open(StreamConfig::default()).await.unwrap();
    drop(a);
    sender.send(numbered(5, 10)).await.unwrap();
    let mut stream = b.accept().await.unwrap();
    let message = stream.receiver.recv().await.unwrap().unwrap();
    assert_eq!(
        number_of(&message),
        5,
        "a stream outlives the one who opened it"
    );
    drop(sender);
    timeout(Duration::from_secs(1), b.session().closed())
        .await
        .unwrap();
}
