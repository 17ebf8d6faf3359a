//! Sound over links that lose packets by chance: what of it is heard, and that
//! nothing is sent twice where nothing is lost.

#![allow(clippy::unwrap_used, clippy::cast_precision_loss)] // a panic is how a test fails

mod support;

use std::{collections::BTreeMap, time::Duration};

use dt_frame::DatagramHeader;
use dt_transport::{Session, memory::Config};
use support::{Client, World, soon};
use tokio::time::{Instant, interval, timeout};

const PACKET: Duration = Duration::from_millis(20);
/// Three minutes, so that chance evens out.
const PACKETS: u64 = 9000;
/// Until losses are known; a second and a half.
const LEARNING: u64 = 75;
/// What comes later was not played: a jitter buffer begins with 40 ms, and has
/// grown by what it saw.
const IN_TIME: Duration = Duration::from_millis(60);

/// What one receiver got.
#[derive(Debug)]
struct Heard {
    /// Of a hundred packets that were said after the first while.
    lost_percent: f64,
    /// Of a hundred packets, so many were not there but the next one was: what
    /// in-band FEC would make up for.
    next_only_percent: f64,
    /// Copies that went out for each packet.
    repeats: f64,
}

/// Somebody speaks to somebody over a link that loses so much.
async fn over(loss: f64, seed: u64) -> Heard {
    let mut world = World::new().await;
    let (a, b) = (world.person(1).await, world.person(2).await);
    world.route_sound(&a, &[b]).await;
    let token = world.token(&a);
    let mut sender = Client::enter(world.dial(), a, token).await.unwrap();
    let lossy = Config {
        seed,
        latency: Duration::from_millis(20),
        loss,
        ..Config::default()
    };
    let token = world.token(&b);
    let session = world.dial_with(lossy);
    let mut receiver = Client::enter(session, b, token).await.unwrap();
    receiver.sync().await;

    let begun = Instant::now();
    let session = receiver.session.clone();
    let hearing = tokio::spawn(async move {
        let mut heard: BTreeMap<u64, Duration> = BTreeMap::new();
        let mut copies = 0;
        while let Ok(Ok(datagram)) = timeout(4 * PACKET * 25, session.recv_datagram()).await {
            if datagram[0] == b'p' {
                continue;
            }
            let (header, _) = DatagramHeader::split(datagram).unwrap();
            copies += 1;
            heard.entry(header.sequence).or_insert(begun.elapsed());
        }
        (heard, copies)
    });
    let mut ticks = interval(PACKET);
    for _ in 0..PACKETS {
        ticks.tick().await;
        sender.say();
    }
    let (heard, copies) = soon(hearing).await.unwrap();
    // Said at 0, 20, 40 … ms, and under way for 20 ms.
    let in_time = |n: &u64| {
        let said = PACKET * u32::try_from(n - 1).unwrap();
        heard
            .get(n)
            .is_some_and(|at| *at < said + Duration::from_millis(20) + IN_TIME)
    };
    let after = LEARNING..PACKETS;
    let all = (PACKETS - LEARNING) as f64;
    let lost: Vec<u64> = after.filter(|n| !in_time(n)).collect();
    let next_only = lost.iter().filter(|n| in_time(&(*n + 1))).count();
    // Each copy that went out arrived with this chance.
    let sent = f64::from(copies) / (1.0 - loss);
    Heard {
        lost_percent: lost.len() as f64 * 100.0 / all,
        next_only_percent: next_only as f64 * 100.0 / all,
        repeats: sent / PACKETS as f64 - 1.0,
    }
}

#[tokio::test(start_paused = true)]
async fn less_than_a_hundredth_of_the_sound_is_lost_where_a_tenth_of_the_packets_is() {
    for (loss, most, repeats) in [
        (0.02, 0.2, 0.8..1.6),
        (0.05, 0.3, 0.9..2.1),
        (0.1, 0.5, 1.8..2.1),
        (0.2, 1.5, 1.8..2.1),
    ] {
        for seed in 1..4 {
            let heard = over(loss, seed).await;
            println!("{loss}: {heard:?}");
            assert!(heard.lost_percent < most, "{loss}: {heard:?}");
            assert!(heard.next_only_percent <= heard.lost_percent);
            assert!(repeats.contains(&heard.repeats), "{loss}: {heard:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn where_nothing_is_lost_nothing_is_sent_again() {
    let heard = over(0.0, 1).await;
    assert_eq!((heard.lost_percent, heard.repeats), (0.0, 0.0));
}
