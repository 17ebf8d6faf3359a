//! What mixing costs. Prints, and asserts nothing of time:
//! `cargo test --release -p media-handler --test processing -- --ignored --nocapture`

use std::time::{Duration, Instant};

use dt_transport::Session;

use crate::{
    MIX, TONES, join, mixed, people, route,
    support::{Client, World},
    talk,
    tones::Oddity,
};

/// Of the threads that mix, in hundredths of a second; 0 where the system does not
/// tell.
fn cpu_ticks() -> u64 {
    let Ok(threads) = std::fs::read_dir("/proc/self/task") else {
        return 0;
    };
    let ticks = threads.flatten().filter_map(|thread| {
        let stat = std::fs::read_to_string(thread.path().join("stat")).ok()?;
        let (_, fields) = stat.split_once("(mixing) ")?;
        let mut fields = fields.split(' ').skip(11);
        let mut next = || fields.next()?.parse::<u64>().ok();
        Some(next()? + next()?)
    });
    ticks.sum()
}

/// Takes all packets that are there; how many.
async fn taken(clients: &[Client]) -> u64 {
    let mut packets = 0;
    for client in clients {
        let soon = Duration::from_micros(10);
        while let Ok(Ok(_)) = tokio::time::timeout(soon, client.session.recv_datagram()).await {
            packets += 1;
        }
    }
    packets
}

#[tokio::test]
#[ignore = "prints figures"]
async fn figures() {
    const SPEAKERS: usize = 3;
    const MEASURED: Duration = Duration::from_secs(5);
    for listeners in [1, 10, 100] {
        let mut world = World::new().await;
        let people = people(&mut world, (SPEAKERS + listeners) as u64).await;
        let clients = join(&mut world, &people).await;
        for speaker in &people[..SPEAKERS] {
            route(&mut world, speaker, &people, MIX, mixed())
                .await
                .unwrap();
        }
        let _voices: Vec<_> = (0..SPEAKERS)
            .map(|n| talk(&clients[n], TONES[n], Oddity::default()))
            .collect();
        tokio::time::sleep(Duration::from_secs(1)).await;
        // What came before does not count.
        taken(&clients).await;
        let (began, before, mut packets) = (Instant::now(), cpu_ticks(), 0);
        while began.elapsed() < MEASURED {
            tokio::time::sleep(Duration::from_millis(10)).await;
            packets += taken(&clients).await;
        }
        let seconds = began.elapsed().as_secs_f64();
        let percent = (cpu_ticks() - before) as f64 / seconds;
        let receivers = (SPEAKERS + listeners) as f64;
        println!(
            "mixing {SPEAKERS} voices for {receivers} receivers: {percent:.1} % of a core, \
             {:.2} % a receiver, {:.1} packets/s each",
            percent / receivers,
            packets as f64 / seconds / receivers,
        );
    }
}
