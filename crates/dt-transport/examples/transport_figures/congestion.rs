//! What each congestion controller costs on a clean link, and how long it lets
//! the queue grow before a narrow one.

use std::time::{Duration, Instant};

use bytes::Bytes;
use dt_transport::{
    RecvStream, SendStream, Session,
    webtransport::{Congestion, Limits},
};

use super::{
    link::{Link, LinkConfig, Way},
    pair::Server,
};

/// What one saturated stream did.
struct Run {
    mbit_per_s: f64,
    rtt_p50: Duration,
    rtt_p95: Duration,
    rtt_max: Duration,
    lost: u64,
    sent: u64,
}

/// One stream from the client to the server, as fast as it goes; what came in
/// after `warm_up` counts. The round-trip times are the session's own smoothed
/// ones, looked at every 10 ms from the very beginning.
async fn saturate(
    congestion: Congestion,
    link: Option<LinkConfig>,
    warm_up: Duration,
    measured: Duration,
) -> Run {
    let limits = Limits {
        congestion,
        // Large enough not to be the bound on the paths measured here.
        stream_window_bytes: 8 << 20,
        send_window_bytes: 8 << 20,
        ..Limits::default()
    };
    let server = Server::new(limits.clone());
    let link = link.map(|config| Link::start(server.address(), config));
    let address = link.as_ref().map_or(server.address(), Link::address);
    let (client, served) = server.session_at(address, limits).await;

    let mut send = client.open_uni().await.expect("a stream");
    let chunk = Bytes::from(vec![0; 64 << 10]);
    let writer = tokio::spawn(async move { while send.write(chunk.clone()).await.is_ok() {} });
    let watched = client.clone();
    let watcher = tokio::spawn(async move {
        let mut rtts = Vec::new();
        let mut tick = tokio::time::interval(Duration::from_millis(10));
        loop {
            tokio::select! {
                _ = tick.tick() => rtts.push(watched.path_stats().rtt),
                _ = watched.closed() => return rtts,
            }
        }
    });

    let mut recv = served.accept_uni().await.expect("the stream");
    let begin = Instant::now();
    let mut bytes = 0;
    while begin.elapsed() < warm_up + measured {
        let chunk = recv.read_chunk(1 << 20).await.expect("bytes");
        if begin.elapsed() >= warm_up {
            bytes += chunk.map_or(0, |chunk| chunk.len());
        }
    }
    let stats = client.path_stats();
    client.close(0, "");
    writer.abort();
    let mut rtts = watcher.await.expect("round-trip times");
    rtts.sort();
    let at = |share: f64| rtts[((rtts.len() - 1) as f64 * share) as usize];
    Run {
        mbit_per_s: bytes as f64 * 8.0 / measured.as_secs_f64() / 1e6,
        rtt_p50: at(0.5),
        rtt_p95: at(0.95),
        rtt_max: at(1.0),
        lost: stats.lost_packets,
        sent: stats.sent_packets,
    }
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// Throughput where there is no queue to speak of.
pub(crate) async fn throughput() {
    clean("loopback", None, 5).await;
    let rtt = Duration::from_millis(20);
    let way = Way {
        delay: rtt / 2,
        rate_bits_per_s: 200_000_000,
        queue_max: Duration::from_millis(100),
        ..Way::default()
    };
    let link = Some(LinkConfig::both(way, 1));
    clean("200 Mbit/s, 20 ms RTT, 100 ms queue", link, 5).await;
    let link = Some(LinkConfig::clean(rtt));
    clean("as much as this machine relays, 20 ms RTT", link, 5).await;
}

async fn clean(name: &str, link: Option<LinkConfig>, seconds: u64) {
    println!("\nThroughput of one stream, {name}, {seconds} s each after 3 s, best of 2");
    println!("| controller | Mbit/s | of Cubic's | RTT p50 ms | p95 ms | lost packets |");
    println!("|---|---:|---:|---:|---:|---:|");
    let mut runs: [Option<Run>; Congestion::ALL.len()] = Default::default();
    // In turn, so that a busy moment of the machine does not hit one alone.
    for _ in 0..2 {
        for (congestion, best) in Congestion::ALL.into_iter().zip(&mut runs) {
            let (warm_up, measured) = (Duration::from_secs(3), Duration::from_secs(seconds));
            let run = saturate(congestion, link, warm_up, measured).await;
            let better = |best: &Run| best.mbit_per_s < run.mbit_per_s;
            if best.as_ref().is_none_or(better) {
                *best = Some(run);
            }
        }
    }
    let of = |wanted: Congestion| Congestion::ALL.iter().position(|one| *one == wanted);
    let cubic = of(Congestion::Cubic).and_then(|place| runs[place].as_ref());
    let cubic = cubic.map_or(1.0, |run| run.mbit_per_s);
    for (congestion, run) in Congestion::ALL.into_iter().zip(&runs) {
        let Some(run) = run else { continue };
        println!(
            "| {congestion} | {:.0} | {:.0} % | {:.1} | {:.1} | {:.2} % |",
            run.mbit_per_s,
            100.0 * run.mbit_per_s / cubic,
            ms(run.rtt_p50),
            ms(run.rtt_p95),
            100.0 * run.lost as f64 / run.sent as f64,
        );
    }
}

/// Round-trip times where there is a long one.
pub(crate) async fn queue() {
    println!("\nA saturated stream before 10 Mbit/s with a 500 ms queue, 100 ms RTT, 30 s");
    println!("| controller | Mbit/s | RTT p50 ms | p95 ms | max ms | lost packets |");
    println!("|---|---:|---:|---:|---:|---:|");
    let way = Way {
        delay: Duration::from_millis(50),
        rate_bits_per_s: 10_000_000,
        queue_max: Duration::from_millis(500),
        ..Way::default()
    };
    for congestion in Congestion::ALL {
        let link = Some(LinkConfig::both(way, 1));
        let run = saturate(congestion, link, Duration::ZERO, Duration::from_secs(30)).await;
        println!(
            "| {congestion} | {:.2} | {:.0} | {:.0} | {:.0} | {:.1} % |",
            run.mbit_per_s,
            ms(run.rtt_p50),
            ms(run.rtt_p95),
            ms(run.rtt_max),
            100.0 * run.lost as f64 / run.sent as f64,
        );
    }
}
