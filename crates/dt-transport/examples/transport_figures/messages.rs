//! Streams of messages: how soon one answers, how many messages one carries, and
//! what partial reliability delivers and costs on a lossy link.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use dt_transport::{
    messages::{MessageReceiver, Messages, Ordering, Reliability, StreamConfig},
    webtransport::{Congestion, Limits, WebTransportSession},
};

use super::{
    link::{Link, LinkConfig, Way},
    pair::Server,
};

type Both = (Messages<WebTransportSession>, Messages<WebTransportSession>);

async fn messages_over(server: &Server, link: Option<&Link>) -> Both {
    messages_with(server, link, Limits::default()).await
}

async fn messages_with(server: &Server, link: Option<&Link>, limits: Limits) -> Both {
    let address = link.map_or(server.address(), Link::address);
    let (client, served) = server.session_at(address, limits).await;
    (Messages::new(client), Messages::new(served))
}

fn at(times: &[Duration], share: f64) -> f64 {
    let place = ((times.len() - 1) as f64 * share).round() as usize;
    times[place].as_secs_f64() * 1e3
}

/// A stream both ways is opened, and its first message comes back.
pub(crate) async fn opening() {
    println!("\nStream opened to its first message of 100 bytes echoed, one after the other");
    println!("| link | reliability | streams | p50 ms | p99 ms | max ms |");
    println!("|---|---|---:|---:|---:|---:|");
    let rtt = Duration::from_millis(20);
    for (name, link, count) in [
        ("loopback", None, 2000),
        ("20 ms RTT", Some(LinkConfig::clean(rtt)), 500),
    ] {
        for (kind, reliability) in [
            ("reliable", Reliability::Reliable),
            ("deadline 200 ms", Reliability::Deadline(10 * rtt)),
        ] {
            let times = open_and_echo(link, reliability, count).await;
            let (p50, p99, max) = (at(&times, 0.5), at(&times, 0.99), at(&times, 1.0));
            println!("| {name} | {kind} | {count} | {p50:.2} | {p99:.2} | {max:.2} |");
        }
    }
}

async fn open_and_echo(
    link: Option<LinkConfig>,
    reliability: Reliability,
    count: usize,
) -> Vec<Duration> {
    let server = Server::new(Limits::default());
    let link = link.map(|config| Link::start(server.address(), config));
    let (client, served) = messages_over(&server, link.as_ref()).await;
    let echo = tokio::spawn(async move {
        while let Ok(mut stream) = served.accept().await {
            tokio::spawn(async move {
                let Some(sender) = stream.sender else { return };
                while let Ok(Some(message)) = stream.receiver.recv().await {
                    if sender.send(message).await.is_err() {
                        return;
                    }
                }
                // The client may have left.
                let _ = sender.finish().await;
            });
        }
    });
    let mut times = Vec::with_capacity(count);
    for _ in 0..count {
        let begun = Instant::now();
        let config = StreamConfig::new(reliability, Ordering::Ordered);
        let (sender, mut receiver) = client.open_both_ways(config).await.expect("a stream");
        let message = Bytes::from_static(&[7; 100]);
        sender.send(message).await.expect("a message");
        receiver.recv().await.expect("its echo");
        times.push(begun.elapsed());
        sender.finish().await.expect("the end");
        while receiver.recv().await.expect("its end").is_some() {}
    }
    client.close(0, "").await;
    echo.await.expect("the echo");
    times.sort();
    times
}

/// As many messages as one stream carries.
pub(crate) async fn rate() {
    println!("\nMessages of one stream on loopback in 3 s, sender and receiver in one process");
    println!("| reliability | bytes | sent/s | received/s | received Mbit/s |");
    println!("|---|---:|---:|---:|---:|");
    for (kind, reliability) in [
        ("reliable", Reliability::Reliable),
        (
            "deadline 200 ms",
            Reliability::Deadline(Duration::from_millis(200)),
        ),
        ("unreliable", Reliability::Unreliable),
    ] {
        for bytes in [100, 1000] {
            let server = Server::new(Limits::default());
            let (client, served) = messages_over(&server, None).await;
            let config = StreamConfig::new(reliability, Ordering::Ordered);
            let sender = client.open(config).await.expect("a stream");
            let begun = Instant::now();
            let sending = tokio::spawn(async move {
                let message = Bytes::from(vec![7; bytes]);
                let mut sent = 0u64;
                while begun.elapsed() < Duration::from_secs(3) {
                    for _ in 0..100 {
                        sender.send(message.clone()).await.expect("a message");
                        sent += 1;
                    }
                    // What never waits must not keep the others from running.
                    tokio::task::yield_now().await;
                }
                sender.finish().await.expect("the end");
                sent
            });
            let mut stream = served.accept().await.expect("the stream");
            let mut received = 0u64;
            while let Ok(Some(_)) = stream.receiver.recv().await {
                received += 1;
            }
            let seconds = begun.elapsed().as_secs_f64();
            let sent = sending.await.expect("the sender") as f64 / 3.0;
            let received = received as f64 / seconds;
            let mbit = received * bytes as f64 * 8.0 / 1e6;
            println!("| {kind} | {bytes} | {sent:.0} | {received:.0} | {mbit:.0} |");
            client.close(0, "").await;
        }
    }
}

/// What arrived of numbered messages, and how.
#[derive(Default)]
struct Arrived {
    in_time: u64,
    all: u64,
    twice: u64,
    out_of_order: u64,
}

const DEADLINE: Duration = Duration::from_millis(200);
const MESSAGES: u64 = 6000;
const INTERVAL: Duration = Duration::from_millis(5);

/// Partial reliability at 5 % loss and 40 ms round trip.
pub(crate) async fn partial() {
    println!(
        "\nPartial reliability: WebTransport over an emulated link with 40 ms RTT and 5 % loss \
         each way (seed 1), {MESSAGES} messages, one each {INTERVAL:?}, deadline {DEADLINE:?}. \
         Bytes are those of datagrams as handed to QUIC; needed: messages with their headers \
         once, and once more for each datagram lost."
    );
    println!(
        "| order | controller | bytes | in time | arrived | twice | out of order | lost | sent again \
         | needless | acks | ack bytes | extra bytes |"
    );
    println!("|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|");
    for ordering in [Ordering::Ordered, Ordering::Unordered] {
        // At 5 % loss, controllers that take each loss for congestion carry about
        // 1.3 Mbit/s over this link; 1000 bytes each 5 ms are 1.6 Mbit/s.
        for (congestion, bytes) in [
            (Congestion::LowDelay, 1000),
            (Congestion::LowDelay, 200),
            (Congestion::Bbr, 1000),
            (Congestion::Cubic, 500),
            (Congestion::Cubic, 200),
        ] {
            partial_run(ordering, congestion, bytes).await;
        }
    }
}

async fn partial_run(ordering: Ordering, congestion: Congestion, bytes: usize) {
    let way = Way {
        delay: Duration::from_millis(20),
        loss: 0.05,
        ..Way::default()
    };
    let limits = Limits {
        congestion,
        ..Limits::default()
    };
    let server = Server::new(limits.clone());
    let link = Link::start(server.address(), LinkConfig::both(way, 1));
    let (client, served) = messages_with(&server, Some(&link), limits).await;
    let config = StreamConfig::new(Reliability::Deadline(DEADLINE), ordering);
    let sender = client.open(config).await.expect("a stream");
    let mut stream = served.accept().await.expect("the stream");
    let begun = Instant::now();
    let sent_at: Arc<Vec<std::sync::OnceLock<Duration>>> =
        Arc::new((0..MESSAGES).map(|_| std::sync::OnceLock::new()).collect());
    let noted = Arc::clone(&sent_at);
    let sending = tokio::spawn(async move {
        let mut tick = tokio::time::interval(INTERVAL);
        for number in 0..MESSAGES {
            tick.tick().await;
            let mut message = vec![0; bytes];
            message[..8].copy_from_slice(&number.to_be_bytes());
            noted[number as usize].get_or_init(|| begun.elapsed());
            sender.send(message.into()).await.expect("a message");
        }
        sender.finish().await.expect("the end");
    });
    let arrived = count(&mut stream.receiver, begun, &sent_at).await;
    sending.await.expect("the sender");
    drop(stream);
    let (ours, theirs) = (client.snapshot().connection, served.snapshot().connection);
    let (ours, theirs) = (ours.totals, theirs.totals);
    // Datagrams that did not arrive were lost; the rest came, once or more.
    let lost = ours.datagrams_sent - theirs.datagrams_received;
    let one = ours.data_datagram_bytes as f64 / ours.datagrams_sent as f64;
    let acks = theirs.control_datagram_bytes;
    let sent = ours.data_datagram_bytes + ours.control_datagram_bytes + acks;
    let extra = sent as f64 / ((MESSAGES + lost) as f64 * one) - 1.0;
    println!(
        "| {ordering:?} | {congestion} | {bytes} | {:.3} % | {:.3} % | {} | {} | {lost} | {} | {} | {} | {acks} \
         | {:.2} % |",
        100.0 * arrived.in_time as f64 / MESSAGES as f64,
        100.0 * arrived.all as f64 / MESSAGES as f64,
        arrived.twice,
        arrived.out_of_order,
        ours.retransmissions,
        theirs.duplicates,
        theirs.acks_sent,
        100.0 * extra,
    );
    client.close(0, "").await;
}

async fn count(
    receiver: &mut MessageReceiver<WebTransportSession>,
    begun: Instant,
    sent_at: &[std::sync::OnceLock<Duration>],
) -> Arrived {
    let mut arrived = Arrived::default();
    let mut seen = vec![false; sent_at.len()];
    let mut last = None;
    while let Some(message) = receiver.recv().await.expect("a message") {
        let number = message.first_chunk::<8>().map(|n| u64::from_be_bytes(*n));
        let number = number.expect("a number") as usize;
        let took = sent_at[number].get().map(|at| begun.elapsed() - *at);
        arrived.all += 1;
        arrived.in_time += u64::from(took.is_some_and(|took| took <= DEADLINE));
        arrived.twice += u64::from(std::mem::replace(&mut seen[number], true));
        arrived.out_of_order += u64::from(last > Some(number));
        last = last.max(Some(number));
    }
    arrived
}
