//! Links over QUIC with certificates on both sides, between handlers that know
//! nothing of each other but a directory.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use dt_frame::FrameType;
use dt_ids::{HandlerId, MeetingId};
use dt_transport::{
    SendStream,
    webtransport::{Connector, ConnectorConfig, Listener, ListenerConfig, Trust},
};
use dt_wire::internal::Endpoint;
use media_handler::{Config, LINK_PATH, LinkDirectory, MediaHandler, RemoteLinks, SharedSecret};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use tokio::task::JoinSet;
use url::Url;

use crate::{
    support::{World, soon},
    world::{Net, SECRET},
};

type Root = CertifiedIssuer<'static, KeyPair>;

fn root() -> Root {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

fn identity(root: &Root) -> Arc<SingleCertAndKey> {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["localhost".into()]).unwrap();
    let certificate = params.signed_by(&key, root).unwrap();
    let der = key.serialize_der().try_into().unwrap();
    let key = rustls::crypto::ring::sign::any_supported_type(&der).unwrap();
    let certified = CertifiedKey::new(vec![certificate.der().clone()], key);
    Arc::new(SingleCertAndKey::from(certified))
}

#[derive(Default)]
struct Directory(Mutex<HashMap<HandlerId, Url>>);

#[async_trait]
impl LinkDirectory for Directory {
    async fn find(&self, handler: HandlerId) -> Option<Url> {
        self.0.lock().unwrap().get(&handler).cloned()
    }
}

/// A handler, and the socket on which it takes links.
async fn handler(
    shows: &Root,
    trusts: &Root,
    directory: &Arc<Directory>,
    meeting: MeetingId,
    serving: &mut JoinSet<()>,
) -> World {
    let connector = Connector::new(ConnectorConfig {
        trust: Trust::Roots(vec![trusts.der().clone()]),
        identity: Some(identity(shows)),
        ..ConnectorConfig::default()
    });
    let dialer = Arc::new(RemoteLinks::new(connector, Arc::clone(directory) as _));
    let config = Config::new(HandlerId::random(), Endpoint::default());
    let pass = Arc::new(SharedSecret::new(SECRET.to_owned()));
    let handler = MediaHandler::with_links(config, dialer, pass);
    let address = "127.0.0.1:0".parse().unwrap();
    let mut listen = ListenerConfig::new(address, identity(shows));
    listen.client_roots = Some(vec![trusts.der().clone()]);
    let listener = Listener::bind(listen).unwrap();
    let port = listener.local_addr().port();
    let url = format!("https://localhost:{port}").parse().unwrap();
    directory.0.lock().unwrap().insert(handler.id(), url);
    let there = Arc::clone(&handler);
    serving.spawn(async move {
        let mut links = JoinSet::new();
        while let Some(incoming) = listener.accept().await {
            assert_eq!(incoming.info().path, LINK_PATH);
            let there = Arc::clone(&there);
            links.spawn(async move {
                if let Ok(session) = incoming.accept().await {
                    there.serve_link(session).await;
                }
            });
        }
    });
    World::of(handler, meeting).await
}

#[tokio::test]
async fn media_goes_over_quic_with_certificates_on_both_sides() {
    let root = root();
    let (directory, meeting) = (Arc::new(Directory::default()), MeetingId::random());
    let mut serving = JoinSet::new();
    let mut at = Vec::new();
    for _ in 0..2 {
        at.push(handler(&root, &root, &directory, meeting, &mut serving).await);
    }
    let mut net = Net::of(at);
    let (a, b) = (net.at[0].person(1).await, net.at[1].person(2).await);
    net.chain(&a, &[0, 1], &[b]).await;
    let (mut a, mut b) = (net.at[0].join(&a).await, net.at[1].join(&b).await);
    net.linked(1).await;
    loop {
        a.say();
        if b.hear_within(20).await.is_some() {
            break;
        }
    }
    let mut group = a.open_group(1).await;
    let sent = a.show(&mut group, FrameType::VideoKey, 300_000).await;
    let mut seen = b.watch().await;
    assert_eq!(seen.header().await, a.group_header(1));
    let (header, payload) = seen.frame().await;
    assert_eq!((header, payload.len()), (sent, 300_000));
    group.finish().unwrap();
    assert_eq!(seen.next().await, Ok(None));
}

#[tokio::test]
async fn a_handler_of_another_root_gets_no_link() {
    let (ours, theirs) = (root(), root());
    let (directory, meeting) = (Arc::new(Directory::default()), MeetingId::random());
    let mut serving = JoinSet::new();
    // The other one would take us; we do not take it.
    let here = handler(&ours, &ours, &directory, meeting, &mut serving).await;
    let foe = handler(&theirs, &ours, &directory, meeting, &mut serving).await;
    let mut net = Net::of(vec![here, foe]);
    let (a, b) = (net.at[0].person(1).await, net.at[1].person(2).await);
    net.chain(&a, &[0, 1], &[b]).await;
    let (mut a, mut b) = (net.at[0].join(&a).await, net.at[1].join(&b).await);
    // Both have dialled each other several times by then.
    for _ in 0..50 {
        a.say();
        assert!(soon(b.hear_within(20)).await.is_none());
    }
    assert_eq!(net.at[0].handler.link_count(), 0);
    assert_eq!(net.at[1].handler.link_count(), 0);
}
