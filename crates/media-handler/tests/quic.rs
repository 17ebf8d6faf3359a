//! The handler behind real WebTransport on loopback: both carriers end to end,
//! and what forwarding costs in time (printed, not judged).

#![allow(clippy::unwrap_used)] // a panic is how a test fails

mod support;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use dt_frame::FrameType;
use dt_transport::{
    SendStream, Session, StreamError,
    webtransport::{
        Connector, ConnectorConfig, Listener, ListenerConfig, Trust, WebTransportSession,
    },
};
use rustls::{
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use sha2::{Digest as _, Sha256};
use support::{Client, Person, World, label, soon};
use tokio::task::JoinHandle;
use url::Url;

#[derive(Debug)]
struct Certificate(Arc<CertifiedKey>);

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }
}

/// A listener whose sessions the handler serves, and how to dial it.
struct Server {
    connector: Connector,
    url: Url,
    accepting: JoinHandle<()>,
}

impl Server {
    fn new(world: &World) -> Self {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
        let der = made.cert.der().clone();
        let hash = Sha256::digest(&der).into();
        let key = made.signing_key.serialize_der().try_into().unwrap();
        let key = rustls::crypto::ring::sign::any_supported_type(&key).unwrap();
        let certificate = Certificate(Arc::new(CertifiedKey::new(vec![der], key)));
        let address = "127.0.0.1:0".parse().unwrap();
        let listener = Listener::bind(ListenerConfig::new(address, Arc::new(certificate))).unwrap();
        let port = listener.local_addr().port();
        let handler = Arc::clone(&world.handler);
        let accepting = tokio::spawn(async move {
            let mut serving = tokio::task::JoinSet::new();
            while let Some(incoming) = listener.accept().await {
                let handler = Arc::clone(&handler);
                serving.spawn(async move {
                    if let Ok(session) = incoming.accept().await {
                        handler.serve(session).await;
                    }
                });
            }
        });
        Self {
            connector: Connector::new(ConnectorConfig {
                trust: Trust::CertificateHashes(vec![hash]),
                ..ConnectorConfig::default()
            }),
            url: format!("https://127.0.0.1:{port}/mh/0").parse().unwrap(),
            accepting,
        }
    }

    async fn join(&self, world: &World, person: &Person) -> Client<WebTransportSession> {
        let session = soon(self.connector.connect(&self.url)).await.unwrap();
        let token = world.token(person);
        Client::enter(session, *person, token).await.unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

#[tokio::test]
async fn both_carriers_work_over_real_sockets() {
    let mut world = World::new().await;
    let server = Server::new(&world);
    let (a, b) = (world.person(1).await, world.person(2).await);
    world.route(&a, &[b]).await;
    let mut sender = server.join(&world, &a).await;
    let mut receiver = server.join(&world, &b).await;
    // A new receiver that is let in is routed by then.
    receiver.sync().await;
    let said = sender.say();
    let heard = receiver.hear().await;
    assert_eq!(
        (heard.sequence, heard.label()),
        (said.sequence, Some(label(11)))
    );

    let mut group = sender.open_group(1).await;
    let sent = sender.show(&mut group, FrameType::VideoKey, 200_000).await;
    let mut seen = receiver.watch().await;
    assert_eq!(seen.header().await, sender.group_header(1));
    let (header, payload) = seen.frame().await;
    assert_eq!((header, payload.len()), (sent, 200_000));
    group.finish().unwrap();
    assert_eq!(seen.next().await, Ok(None));

    let mut group = sender.open_group(2).await;
    sender.show(&mut group, FrameType::VideoKey, 100).await;
    let mut seen = receiver.watch().await;
    seen.header().await;
    seen.frame().await;
    world.route(&a, &[]).await;
    assert_eq!(seen.next().await, Err(StreamError::Reset(0)));

    receiver.ask(b.camera).await;
    assert!(receiver.control.message().await.is_some());
    world.unregister(&b).await;
    assert_eq!(
        support::closed(&receiver.session).await,
        dt_wire::CloseCode::Removed.code()
    );
}

#[tokio::test]
async fn a_client_that_does_not_read_holds_up_nobody_over_real_sockets() {
    let mut world = World::new().await;
    let server = Server::new(&world);
    let (a, stuck, b) = (
        world.person(1).await,
        world.person(2).await,
        world.person(3).await,
    );
    world.route(&a, &[stuck, b]).await;
    let mut sender = server.join(&world, &a).await;
    let _stuck = server.join(&world, &stuck).await;
    let mut receiver = server.join(&world, &b).await;
    receiver.sync().await;
    // Six times the window of a connection.
    for number in 0..60 {
        let mut group = sender.open_group(number).await;
        let sent = sender.show(&mut group, FrameType::VideoKey, 100_000).await;
        group.finish().unwrap();
        let mut seen = receiver.watch().await;
        seen.header().await;
        assert_eq!(seen.frame().await.0, sent);
    }
}

#[tokio::test]
async fn every_frame_reaches_every_receiver_in_time() {
    const RECEIVERS: u64 = 20;
    const FRAMES: u32 = 90;
    let mut world = World::new().await;
    let server = Server::new(&world);
    let sender = world.person(1).await;
    let mut people = Vec::new();
    for user in 0..RECEIVERS {
        people.push(world.person(2 + user).await);
    }
    world.route(&sender, &people).await;
    let mut receiving = Vec::new();
    for person in &people {
        let mut client = server.join(&world, person).await;
        client.sync().await;
        receiving.push(tokio::spawn(receive(client, FRAMES)));
    }
    let mut sender = server.join(&world, &sender).await;
    // 1.5 Mbit/s at 30 frames a second, a group a second.
    let mut ticks = tokio::time::interval(Duration::from_millis(33));
    let (mut group, mut sent) = (None, Vec::new());
    for number in 0..FRAMES {
        ticks.tick().await;
        sent.push(Instant::now());
        sender.say();
        let key = number % 30 == 0;
        if key && let Some(mut before) = group.replace(sender.open_group(number / 30).await) {
            SendStream::finish(&mut before).unwrap();
        }
        let (frame_type, bytes) = if key {
            (FrameType::VideoKey, 30_000)
        } else {
            (FrameType::VideoDelta, 5_400)
        };
        let group = group.as_mut().unwrap();
        sender.show(group, frame_type, bytes).await;
    }
    group.unwrap().finish().unwrap();
    let mut latency = Vec::new();
    for receiving in receiving {
        let arrived = soon(receiving).await.unwrap();
        assert_eq!(arrived.len(), sent.len());
        latency.extend(
            arrived
                .iter()
                .zip(&sent)
                .map(|(at, from)| at.duration_since(*from)),
        );
    }
    latency.sort_unstable();
    let at = |share: usize| latency[(latency.len() - 1) * share / 100];
    println!(
        "video to {RECEIVERS} receivers, client to client: p50 {:?}, p99 {:?}",
        at(50),
        at(99)
    );
}

/// When each video frame came, in order and without a gap.
async fn receive(mut client: Client<WebTransportSession>, frames: u32) -> Vec<Instant> {
    let mut arrived = Vec::new();
    let mut last = 0;
    while arrived.len() < frames as usize {
        let mut group = client.watch().await;
        group.header().await;
        while let Some(item) = group.next().await.unwrap() {
            let dt_frame::GroupItem::Frame(header, _) = item else {
                panic!("a frame is expected");
            };
            // Audio and video of the sender count together.
            assert_eq!(header.sequence, last + 2);
            last = header.sequence;
            arrived.push(Instant::now());
        }
    }
    for _ in 0..frames {
        client.hear().await;
    }
    client.session.close(0, "");
    arrived
}
