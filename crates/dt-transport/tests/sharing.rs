//! Several listeners on one port, each on a runtime of its own: every connection has
//! one of them and keeps it, wherever its client goes.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)] // a test that cannot go on fails

#[path = "support/link.rs"]
mod link;
#[path = "support/pair.rs"]
mod pair;
#[path = "support/raw.rs"]
mod raw;

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use bytes::Bytes;
use dt_transport::{
    RecvStream, SendStream, Session,
    webtransport::{
        Connector, ConnectorConfig, Listener, ListenerConfig, PortShare, SharedPort, Trust,
        WebTransportSession,
    },
};
use link::{Link, LinkConfig};
use pair::{Certificate, url_of};
use raw::{GOOD, HEADERS, Raw, frame, section, varint};
use tokio::{task::JoinSet, time::timeout};
use tokio_util::sync::CancellationToken;
use web_transport_proto::{ConnectError, ConnectResponse};

const DEADLINE: Duration = Duration::from_secs(30);
/// The type of a session's stream both ways.
const WEBTRANSPORT_STREAM: u64 = 0x41;

/// Listeners on one port, a thread each, which answer every message with itself.
struct Servers {
    address: SocketAddr,
    certificate: Arc<Certificate>,
    /// Sessions that each has begun.
    begun: Vec<Arc<AtomicUsize>>,
    stop: CancellationToken,
    threads: Vec<JoinHandle<()>>,
}

impl Servers {
    fn start(count: usize) -> Self {
        let any = "127.0.0.1:0".parse().unwrap();
        let shares = SharedPort::bind(any, count).unwrap();
        let address = shares[0].local_addr().unwrap();
        let certificate = Arc::new(Certificate::new());
        let stop = CancellationToken::new();
        let begun: Vec<_> = (0..count).map(|_| Arc::default()).collect();
        let threads = shares.into_iter().zip(&begun).map(|(share, begun)| {
            let mut config = ListenerConfig::new(address, Arc::clone(&certificate) as _);
            config.half_open_max = 1000;
            let (begun, stop) = (Arc::clone(begun), stop.clone());
            std::thread::spawn(move || listen(config, share, &begun, &stop))
        });
        Self {
            threads: threads.collect(),
            address,
            certificate,
            begun,
            stop,
        }
    }

    fn connector(&self) -> Connector {
        Connector::new(ConnectorConfig {
            trust: Trust::CertificateHashes(vec![self.certificate.hash]),
            connect_timeout: DEADLINE,
            ..ConnectorConfig::default()
        })
    }

    fn begun(&self) -> Vec<usize> {
        let counts = self.begun.iter();
        counts.map(|begun| begun.load(Ordering::Relaxed)).collect()
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        self.stop.cancel();
        for thread in self.threads.drain(..) {
            let ended = thread.join();
            assert!(ended.is_ok() || std::thread::panicking());
        }
    }
}

fn listen(config: ListenerConfig, share: PortShare, begun: &AtomicUsize, stop: &CancellationToken) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let listener = Listener::bind_share(config, share).unwrap();
        let mut sessions = JoinSet::new();
        while let Some(Some(incoming)) = stop.run_until_cancelled(listener.accept()).await {
            begun.fetch_add(1, Ordering::Relaxed);
            sessions.spawn(async move { echo(incoming.accept().await.unwrap()).await });
        }
        sessions.shutdown().await;
        listener.shutdown().await;
    });
}

/// Answers every stream with what it says, until the session ends.
async fn echo(session: WebTransportSession) {
    while let Ok((mut send, mut recv)) = session.accept_bi().await {
        while let Ok(Some(chunk)) = recv.read_chunk(1 << 16).await {
            send.write(chunk).await.unwrap();
        }
        send.finish().unwrap();
    }
}

/// Says this and hears it.
async fn say(session: &WebTransportSession, message: &Bytes) {
    let (mut send, mut recv) = session.open_bi().await.unwrap();
    let saying = async {
        send.write(message.clone()).await.unwrap();
        send.finish().unwrap();
    };
    let hearing = async {
        let mut heard = Vec::new();
        while let Some(chunk) = recv.read_chunk(1 << 16).await.unwrap() {
            heard.extend_from_slice(&chunk);
        }
        heard
    };
    assert_eq!(tokio::join!(saying, hearing).1, message[..]);
}

async fn in_time<T: 'static>(mut all: JoinSet<T>) -> Vec<T> {
    let mut done = Vec::new();
    timeout(DEADLINE, async {
        while let Some(one) = all.join_next().await {
            done.push(one.unwrap());
        }
    })
    .await
    .expect("all in time");
    done
}

#[tokio::test]
async fn connections_are_spread_over_the_listeners_of_a_port_and_each_is_whole() {
    let servers = Servers::start(3);
    let mut clients = JoinSet::new();
    // Half of them have a socket each, the others share one among three.
    for number in 0..40_u8 {
        let (connector, url) = (servers.connector(), url_of(servers.address));
        let sessions = if number < 30 { 1 } else { 3 };
        for session in 0..sessions {
            let (connector, url) = (connector.clone(), url.clone());
            clients.spawn(async move {
                let client = connector.connect(&url).await.unwrap();
                let length = if sessions > 1 { 200_000 } else { 1000 };
                say(&client, &vec![number + session; length].into()).await;
            });
        }
    }
    in_time(clients).await;
    let begun = servers.begun();
    println!("sessions of each listener: {begun:?}");
    assert_eq!(begun.iter().sum::<usize>(), 60);
    assert!(begun.iter().all(|count| *count > 0), "{begun:?}");
}

/// A session whose client can go to another socket.
struct Mover {
    raw: Raw,
    /// Ends the session when it goes.
    _open: (quinn::SendStream, quinn::SendStream, quinn::RecvStream),
}

impl Mover {
    async fn begin(address: SocketAddr, certificate: &Certificate) -> Self {
        let raw = Raw::connect_to(address, certificate).await;
        let control = raw.settings().await;
        let (send, mut recv) = raw.bi(&frame(HEADERS, &section(&GOOD))).await;
        let answer: Result<_, ConnectError> = ConnectResponse::read(&mut recv).await;
        answer.unwrap();
        Self {
            raw,
            _open: (control, send, recv),
        }
    }

    async fn say(&self, message: &[u8]) {
        let begin = [varint(WEBTRANSPORT_STREAM), varint(0), message.to_vec()].concat();
        let (mut send, mut recv) = self.raw.bi(&begin).await;
        send.finish().unwrap();
        assert_eq!(recv.read_to_end(1 << 16).await.unwrap(), message);
    }
}

#[tokio::test]
async fn a_client_that_moves_to_another_socket_goes_on_with_its_session() {
    let servers = Servers::start(3);
    let mut clients = JoinSet::new();
    // By chance alone a third would be at the right listener after each move.
    for _ in 0..12 {
        let (address, certificate) = (servers.address, Arc::clone(&servers.certificate));
        clients.spawn(async move {
            let client = Mover::begin(address, &certificate).await;
            client.say(b"here").await;
            client.raw.change_socket();
            client.say(b"there").await;
            client.raw.change_socket();
            client.say(b"elsewhere").await;
        });
    }
    in_time(clients).await;
    assert_eq!(servers.begun().iter().sum::<usize>(), 12);
}

#[tokio::test]
async fn a_client_whose_address_changes_behind_its_back_goes_on_with_its_session() {
    let servers = Servers::start(3);
    let link = Link::start(servers.address, LinkConfig::default());
    let mut opening = JoinSet::new();
    for _ in 0..12 {
        let (connector, url) = (servers.connector(), url_of(link.address()));
        opening.spawn(async move { connector.connect(&url).await.unwrap() });
    }
    let clients = in_time(opening).await;
    for _ in 0..3 {
        for client in &clients {
            timeout(DEADLINE, say(client, &vec![1; 5000].into()))
                .await
                .expect("an answer in time");
        }
        link.forget_clients();
    }
    assert_eq!(servers.begun().iter().sum::<usize>(), 12);
}
