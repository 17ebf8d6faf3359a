//! A real TCP connection that takes less than is sent: sound goes on, pictures
//! are left out group by group, and the delay does not grow.

#![allow(clippy::unwrap_used)]

mod support;

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    time::{Duration, Instant},
};

use bytes::Bytes;
use dt_frame::{GroupItem, GroupParser, PAYLOAD_BYTES_MAX};
use dt_transport::{RecvStream, SendStream, Session};
use dt_websocket::{Kind, Limits, WebSocketSession};
use support::{connect, frame, header, listener, serve, soon};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpSocket},
    sync::mpsc,
    task::JoinSet,
    time::{interval, sleep_until},
};

/// What gets through: 800 kbit/s.
const LINK_BYTES_PER_S: u64 = 100_000;
/// What the network holds on the way, apart from what the sender's system does.
const LINK_BUFFER_BYTES: u32 = 8 << 10;
/// What is sent: 50 sounds of 100 bytes and 25 pictures a second, a new group each
/// second; 2 Mbit/s in all.
const SOUND_EVERY: Duration = Duration::from_millis(20);
const SOUND_BYTES: usize = 100;
const PICTURE_EVERY: Duration = Duration::from_millis(40);
const KEY_BYTES: usize = 20_000;
const DELTA_BYTES: usize = 10_000;
const GROUP: u64 = 25;
/// A group that is later than this is given up, as a media handler does.
const LATE_MAX: Duration = Duration::from_millis(500);
const RUN: Duration = Duration::from_secs(8);

/// A way to `server` that is slow from there to whoever connects.
async fn slow_link(server: SocketAddr, tasks: &mut JoinSet<()>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tasks.spawn(async move {
        let (client, _) = listener.accept().await.unwrap();
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(LINK_BUFFER_BYTES).unwrap();
        let server = socket.connect(server).await.unwrap();
        let (mut from_client, mut to_client) = client.into_split();
        let (mut from_server, mut to_server) = server.into_split();
        let up = tokio::io::copy(&mut from_client, &mut to_server);
        let down = async {
            let mut piece = [0; 1000];
            let mut free_at = tokio::time::Instant::now();
            loop {
                let bytes = from_server.read(&mut piece).await.unwrap_or(0);
                if bytes == 0 || to_client.write_all(&piece[..bytes]).await.is_err() {
                    return;
                }
                let takes = Duration::from_micros(bytes as u64 * 1_000_000 / LINK_BYTES_PER_S);
                free_at = free_at.max(tokio::time::Instant::now()) + takes;
                sleep_until(free_at).await;
            }
        };
        tokio::select! {
            _ = up => {}
            () = down => {}
        }
    });
    address
}

/// Sends a group's pictures as they come; gives it up when they are late.
async fn send_group(
    session: WebSocketSession,
    group: u32,
    mut pictures: mpsc::UnboundedReceiver<(Instant, Bytes)>,
) -> bool {
    let mut stream = session.open_uni().await.unwrap();
    stream.set_priority(i32::try_from(group).unwrap());
    let mut chunks = vec![header(1, group)];
    while let Some((since, picture)) = pictures.recv().await {
        chunks.push(picture);
        let left = LATE_MAX.saturating_sub(since.elapsed());
        let written = tokio::time::timeout(left, stream.write_chunks(&mut chunks)).await;
        if !matches!(written, Ok(Ok(()))) {
            stream.reset(0);
            return false;
        }
        chunks.clear();
    }
    stream.finish().is_ok()
}

async fn send_pictures(session: WebSocketSession, begun: Instant) -> usize {
    let mut tick = interval(PICTURE_EVERY);
    let mut groups = JoinSet::new();
    let mut current = None;
    for number in 0.. {
        tick.tick().await;
        if begun.elapsed() > RUN {
            break;
        }
        let (group, key) = (u32::try_from(number / GROUP).unwrap(), number % GROUP == 0);
        if key {
            let (pictures, waiting) = mpsc::unbounded_channel();
            groups.spawn(send_group(session.clone(), group, waiting));
            current = Some(pictures);
        }
        let payload = stamped(begun, if key { KEY_BYTES } else { DELTA_BYTES });
        if let Some(pictures) = &current {
            // The group may have been given up; the next begins with a key frame.
            let _ = pictures.send((Instant::now(), frame(1, group, number, &payload)));
        }
    }
    drop(current);
    let mut given_up = 0;
    while let Some(whole) = groups.join_next().await {
        given_up += usize::from(!whole.unwrap());
    }
    given_up
}

fn stamped(begun: Instant, bytes: usize) -> Vec<u8> {
    let mut payload = vec![0; bytes];
    let now = u64::try_from(begun.elapsed().as_micros()).unwrap();
    payload[..8].copy_from_slice(&now.to_be_bytes());
    payload
}

fn age(begun: Instant, payload: &[u8]) -> Duration {
    let sent = u64::from_be_bytes(payload[..8].try_into().unwrap());
    begun.elapsed().saturating_sub(Duration::from_micros(sent))
}

fn percentile(delays: &mut [Duration], share: f64) -> Duration {
    delays.sort_unstable();
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let place = (delays.len() as f64 * share) as usize;
    delays[place.min(delays.len() - 1)]
}

/// Sequence numbers and delays of the pictures of each group that arrived.
async fn receive_group<R: RecvStream>(
    mut stream: R,
    begun: Instant,
    seen: mpsc::UnboundedSender<(u32, u64, Duration)>,
) {
    let mut parser = GroupParser::new(PAYLOAD_BYTES_MAX);
    while let Ok(Some(mut chunk)) = stream.read_chunk(1 << 16).await {
        while let Some(item) = parser.next(&mut chunk).unwrap() {
            if let GroupItem::Frame(header, payload) = item {
                let group = parser.stream().unwrap().group;
                let _ = seen.send((group, header.sequence, age(begun, &payload)));
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_slow_connection_sound_goes_on_and_pictures_are_left_out_in_groups() {
    let mut tasks = JoinSet::new();
    let (listener, address) = listener().await;
    let link = slow_link(address, &mut tasks).await;
    let (receiver, sender) = soon(async {
        tokio::join!(
            connect(link, Kind::Media, Limits::default()),
            serve(&listener, Kind::Media, Limits::default())
        )
    })
    .await;
    let begun = Instant::now();

    let (seen, mut pictures) = mpsc::unbounded_channel();
    let accepting = receiver.clone();
    tasks.spawn(async move {
        let mut groups = JoinSet::new();
        while let Ok(stream) = accepting.accept_uni().await {
            groups.spawn(receive_group(stream, begun, seen.clone()));
        }
    });
    let sending = tokio::spawn(send_pictures(sender.clone(), begun));
    let sounding = sender.clone();
    let sounds = tokio::spawn(async move {
        let mut tick = interval(SOUND_EVERY);
        let mut sent = 0;
        while begun.elapsed() < RUN {
            tick.tick().await;
            let sound = stamped(begun, SOUND_BYTES);
            sounding.send_datagram(sound.into()).unwrap();
            sent += 1;
        }
        sent
    });
    let mut halves = [Vec::new(), Vec::new()];
    while let Ok(Ok(sound)) =
        tokio::time::timeout(Duration::from_secs(1), receiver.recv_datagram()).await
    {
        halves[usize::from(begun.elapsed() > RUN / 2)].push(age(begun, &sound));
    }
    let sent = sounds.await.unwrap();
    let given_up = soon(sending).await.unwrap();
    receiver.close(0, "");
    soon(receiver.closed()).await;

    let arrived = halves[0].len() + halves[1].len();
    let figures = halves.each_mut().map(|half| {
        (
            percentile(half, 0.5),
            percentile(half, 0.95),
            percentile(half, 1.0),
        )
    });
    let mut groups: BTreeMap<u32, Vec<u64>> = BTreeMap::new();
    let mut delays = Vec::new();
    while let Ok((group, sequence, delay)) = pictures.try_recv() {
        groups.entry(group).or_default().push(sequence);
        delays.push(delay);
    }
    println!(
        "{arrived} of {sent} sounds arrived; delays of each half (p50, p95, max): {figures:?}"
    );
    println!(
        "{} pictures of {} groups arrived, p95 after {:?}; {given_up} groups were given up",
        delays.len(),
        groups.len(),
        percentile(&mut delays, 0.95),
    );

    // Far more was sent than got through, and some of the sound was too late.
    assert!(given_up > 0);
    assert!(arrived * 10 >= sent * 8, "{arrived} of {sent} sounds");
    // What is on its way is a bounded number of bytes: the queue of sound, a
    // picture, and what the systems hold; a second at this rate is far more.
    for (_, p95, max) in figures {
        assert!(p95 < Duration::from_millis(700) && max < Duration::from_secs(1));
    }
    assert!(
        figures[1].1 < figures[0].1 + Duration::from_millis(200),
        "the delay grows: {figures:?}"
    );
    assert!(percentile(&mut delays, 0.95) < LATE_MAX + Duration::from_secs(1));
    // Of each group its beginning arrived and nothing is missing in between: what
    // is left out is its end.
    assert!(groups.len() >= 3, "{groups:?}");
    for (group, sequences) in &groups {
        for (place, sequence) in (0..).zip(sequences) {
            assert_eq!(*sequence, u64::from(*group) * GROUP + place, "{groups:?}");
        }
    }
}
