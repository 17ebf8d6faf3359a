//! WebTransport over real loopback sockets: what arrives, what is refused, and
//! with which codes it ends.

#![allow(clippy::unwrap_used)] // a test that cannot go on fails

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use dt_transport::{
    RecvStream, SendStream, Session, SessionError, StreamError,
    webtransport::{
        ConnectError, Connector, ConnectorConfig, Limits, Listener, ListenerConfig, Trust,
        WebTransportSession,
    },
};
use http::StatusCode;
use rustls::{
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use sha2::{Digest, Sha256};
use tokio::time::timeout;
use url::Url;

const DEADLINE: Duration = Duration::from_secs(10);

/// A self-signed certificate, and its hash.
fn certificate() -> (Arc<CertifiedKey>, [u8; 32]) {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
    let der = made.cert.der().clone();
    let hash = Sha256::digest(&der).into();
    let key = rustls_pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let key = rustls::crypto::ring::sign::any_supported_type(&key).unwrap();
    (Arc::new(CertifiedKey::new(vec![der], key)), hash)
}

#[derive(Debug)]
struct Swappable(std::sync::Mutex<Arc<CertifiedKey>>);

impl ResolvesServerCert for Swappable {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.lock().unwrap()))
    }
}

struct Server {
    listener: Arc<Listener>,
    certificates: Arc<Swappable>,
    hash: [u8; 32],
}

fn server_with(change: impl FnOnce(&mut ListenerConfig)) -> Server {
    let (key, hash) = certificate();
    let certificates = Arc::new(Swappable(std::sync::Mutex::new(key)));
    let mut config = ListenerConfig::new(
        "127.0.0.1:0".parse().unwrap(),
        Arc::clone(&certificates) as Arc<dyn ResolvesServerCert>,
    );
    config.allowed_origins = vec!["http://127.0.0.1:8080".into()];
    change(&mut config);
    Server {
        listener: Arc::new(Listener::bind(config).unwrap()),
        certificates,
        hash,
    }
}

impl Server {
    fn url(&self, path: &str) -> Url {
        let port = self.listener.local_addr().port();
        format!("https://127.0.0.1:{port}{path}").parse().unwrap()
    }

    fn connector(&self) -> Connector {
        self.connector_from(None)
    }

    fn connector_from(&self, origin: Option<&str>) -> Connector {
        Connector::new(ConnectorConfig {
            trust: Trust::CertificateHashes(vec![self.hash]),
            origin: origin.map(Into::into),
            ..ConnectorConfig::default()
        })
    }

    /// Both ends of a session.
    async fn session(&self) -> (WebTransportSession, WebTransportSession) {
        let (connector, url) = (self.connector(), self.url("/mc"));
        let (client, server) = tokio::join!(connector.connect(&url), async {
            self.listener.accept().await.unwrap().accept().await
        });
        (client.unwrap(), server.unwrap())
    }
}

async fn read_all(recv: &mut impl RecvStream) -> Vec<u8> {
    let mut all = Vec::new();
    while let Some(chunk) = recv.read_chunk(1 << 16).await.unwrap() {
        all.extend_from_slice(&chunk);
    }
    all
}

#[tokio::test]
async fn streams_of_both_kinds_carry_bytes_both_ways() {
    let server = server_with(|_| {});
    let (client, served) = server.session().await;
    assert_eq!(served.info().path, "/mc");
    assert_eq!(served.info().authority_host, "127.0.0.1");
    for (here, there) in [(&client, &served), (&served, &client)] {
        let big = vec![7u8; 3 << 20];
        let mut uni = here.open_uni().await.unwrap();
        let written = big.clone();
        let writer = tokio::spawn(async move {
            uni.write_chunks(&mut [Bytes::from_static(b"head"), written.into()])
                .await
                .unwrap();
            uni.finish().unwrap();
            assert_eq!(uni.finish(), Err(StreamError::Closed));
        });
        let read = read_all(&mut there.accept_uni().await.unwrap()).await;
        writer.await.unwrap();
        assert_eq!((&read[..4], read.len()), (&b"head"[..], 4 + big.len()));

        let (mut send, mut recv) = here.open_bi().await.unwrap();
        send.write(Bytes::from_static(b"question")).await.unwrap();
        send.finish().unwrap();
        let (mut back, mut asked) = there.accept_bi().await.unwrap();
        assert_eq!(read_all(&mut asked).await, b"question");
        back.write(Bytes::from_static(b"answer")).await.unwrap();
        back.finish().unwrap();
        assert_eq!(read_all(&mut recv).await, b"answer");
    }
}

#[tokio::test]
async fn a_reset_and_a_stop_arrive_with_their_codes_and_a_dropped_stream_is_reset() {
    let server = server_with(|_| {});
    let (client, served) = server.session().await;

    let mut send = client.open_uni().await.unwrap();
    send.write(Bytes::from_static(b"x")).await.unwrap();
    let mut recv = served.accept_uni().await.unwrap();
    assert_eq!(recv.read_chunk(9).await, Ok(Some(Bytes::from_static(b"x"))));
    send.reset(3);
    assert_eq!(recv.read_chunk(9).await, Err(StreamError::Reset(3)));

    let mut send = client.open_uni().await.unwrap();
    send.write(Bytes::from_static(b"x")).await.unwrap();
    let mut recv = served.accept_uni().await.unwrap();
    recv.stop(4);
    let stopped = timeout(DEADLINE, async {
        loop {
            if let Err(error) = send.write(Bytes::from_static(b"more")).await {
                return error;
            }
            tokio::task::yield_now().await;
        }
    });
    assert_eq!(stopped.await.unwrap(), StreamError::Reset(4));

    let mut send = served.open_uni().await.unwrap();
    send.write(Bytes::from_static(b"x")).await.unwrap();
    let mut recv = client.accept_uni().await.unwrap();
    recv.read_chunk(9).await.unwrap();
    drop(send);
    assert_eq!(recv.read_chunk(9).await, Err(StreamError::Reset(0)));
}

#[tokio::test]
async fn datagrams_go_both_ways_and_an_oversize_one_is_an_error() {
    let server = server_with(|_| {});
    let (client, served) = server.session().await;
    assert!(client.max_datagram_bytes() >= 1100);
    client.send_datagram(Bytes::from(vec![1; 1100])).unwrap();
    assert_eq!(served.recv_datagram().await.unwrap(), vec![1; 1100]);
    served.send_datagram(Bytes::from_static(b"back")).unwrap();
    assert_eq!(&client.recv_datagram().await.unwrap()[..], b"back");
    assert!(matches!(
        client.send_datagram(Bytes::from(vec![1; 2000])),
        Err(SessionError::DatagramTooLarge { bytes: 2000, .. })
    ));
}

#[tokio::test]
async fn close_codes_and_reasons_arrive_on_either_side() {
    let server = server_with(|_| {});
    for close_by_client in [true, false] {
        let (client, served) = server.session().await;
        let (closer, other) = if close_by_client {
            (client, served)
        } else {
            (served, client)
        };
        closer.close(6, "removed by the host");
        closer.close(7, "too late");
        assert_eq!(
            closer.accept_uni().await.unwrap_err(),
            SessionError::ClosedLocally
        );
        let end = SessionError::ClosedByPeer {
            code: 6,
            reason: "removed by the host".into(),
        };
        assert_eq!(timeout(DEADLINE, other.closed()).await.unwrap(), end);
        assert_eq!(other.recv_datagram().await.unwrap_err(), end);
        assert_eq!(
            timeout(DEADLINE, closer.closed()).await.unwrap(),
            SessionError::ClosedLocally
        );
    }
}

#[tokio::test]
async fn streams_that_are_open_when_a_session_is_closed_are_reset_before_the_peer_is_told() {
    let server = server_with(|_| {});
    let (client, served) = server.session().await;
    let mut streams = Vec::new();
    for _ in 0..2 {
        let mut send = served.open_uni().await.unwrap();
        send.write(Bytes::from_static(b"x")).await.unwrap();
        let mut recv = client.accept_uni().await.unwrap();
        recv.read_chunk(9).await.unwrap();
        streams.push((send, recv));
    }
    let (dropped, finished) = (streams.pop().unwrap(), streams.pop().unwrap());
    served.close(6, "removed by the host");
    // Its owners learn of it a little later, and one thinks that all was well.
    tokio::time::sleep(Duration::from_millis(10)).await;
    let (mut send, mut end_of_finished) = finished;
    assert_eq!(send.finish(), Err(StreamError::Closed));
    let (send, mut end_of_dropped) = dropped;
    drop(send);
    let told = timeout(DEADLINE, client.closed()).await.unwrap();
    assert!(matches!(told, SessionError::ClosedByPeer { code: 6, .. }));
    for recv in [&mut end_of_finished, &mut end_of_dropped] {
        assert_eq!(recv.read_chunk(9).await, Err(StreamError::Reset(0)));
    }
}

#[tokio::test]
async fn an_owner_that_keeps_its_stream_does_not_keep_the_session_from_closing() {
    let server = server_with(|_| {});
    let (client, served) = server.session().await;
    let _kept = served.open_uni().await.unwrap();
    served.close(6, "removed by the host");
    let told = timeout(DEADLINE, client.closed()).await.unwrap();
    assert!(matches!(told, SessionError::ClosedByPeer { code: 6, .. }));
}

#[tokio::test]
async fn dropping_the_last_handle_closes_the_session_gracefully() {
    let server = server_with(|_| {});
    let (client, served) = server.session().await;
    let clone = client.clone();
    drop(client);
    clone.send_datagram(Bytes::from_static(b"alive")).unwrap();
    drop(clone);
    assert!(matches!(
        timeout(DEADLINE, served.closed()).await.unwrap(),
        SessionError::ClosedByPeer { code: 0, .. }
    ));
}

#[tokio::test]
async fn only_allowed_origins_and_programs_may_connect() {
    let server = server_with(|_| {});
    let listener = Arc::clone(&server.listener);
    let accepting = tokio::spawn(async move {
        let mut sessions = Vec::new();
        while let Some(incoming) = listener.accept().await {
            sessions.push(incoming.accept().await.unwrap());
        }
    });
    let same_origin = server.url("").origin().ascii_serialization();
    for origin in [None, Some("http://127.0.0.1:8080"), Some(&same_origin[..])] {
        let connector = server.connector_from(origin);
        assert!(connector.connect(&server.url("/mc")).await.is_ok());
    }
    for origin in ["null", "https://evil.example", "http://127.0.0.1:80800"] {
        let connector = server.connector_from(Some(origin));
        assert!(matches!(
            connector.connect(&server.url("/mc")).await,
            Err(ConnectError::Refused(StatusCode::FORBIDDEN))
        ));
    }
    accepting.abort();
}

#[tokio::test]
async fn a_rejected_session_reads_its_status() {
    let server = server_with(|_| {});
    let connector = server.connector();
    let url = server.url("/nowhere");
    let (client, ()) = tokio::join!(connector.connect(&url), async {
        let incoming = server.listener.accept().await.unwrap();
        incoming.reject(StatusCode::NOT_FOUND).await.unwrap();
    });
    assert!(matches!(
        client,
        Err(ConnectError::Refused(StatusCode::NOT_FOUND))
    ));
}

#[tokio::test]
async fn a_certificate_of_another_hash_is_refused_and_named() {
    let server = server_with(|_| {});
    let (_, other) = certificate();
    let connector = Connector::new(ConnectorConfig {
        trust: Trust::CertificateHashes(vec![other]),
        ..ConnectorConfig::default()
    });
    let error = connector.connect(&server.url("/mc")).await.unwrap_err();
    assert!(
        matches!(error, ConnectError::UnexpectedCertificate { sha256 } if sha256 == server.hash),
        "{error}"
    );
    let connector = Connector::new(ConnectorConfig::default());
    let error = connector.connect(&server.url("/mc")).await.unwrap_err();
    assert!(matches!(error, ConnectError::Tls(_)), "{error}");
}

#[tokio::test]
async fn a_certificate_can_be_swapped_while_the_listener_runs() {
    let server = server_with(|_| {});
    let _first = server.session().await;
    let (key, hash) = certificate();
    *server.certificates.0.lock().unwrap() = key;
    let old = server.connector().connect(&server.url("/mc")).await;
    assert!(matches!(
        old,
        Err(ConnectError::UnexpectedCertificate { .. })
    ));
    let server = Server { hash, ..server };
    server.session().await;
}

#[tokio::test]
async fn urls_that_cannot_carry_webtransport_are_refused_with_the_reason() {
    let connector = Connector::new(ConnectorConfig::default());
    let plain = "http://127.0.0.1:1/mc".parse().unwrap();
    assert_eq!(
        connector.connect(&plain).await.unwrap_err().to_string(),
        "WebTransport needs an https:// URL, not http://"
    );
    let user = "https://me@127.0.0.1:1/mc".parse().unwrap();
    assert!(matches!(
        connector.connect(&user).await,
        Err(ConnectError::BadUrl)
    ));
}

/// A QUIC connection that never asks for a session.
async fn half_open(server: &Server) -> (quinn::Endpoint, quinn::Connection) {
    let mut roots = rustls::RootCertStore::empty();
    roots
        .add(server.certificates.0.lock().unwrap().cert[0].clone())
        .unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    tls.alpn_protocols = vec![b"h3".to_vec()];
    let crypto = quinn::crypto::rustls::QuicClientConfig::try_from(tls).unwrap();
    let endpoint = quinn::Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
    let connection = endpoint
        .connect_with(
            quinn::ClientConfig::new(Arc::new(crypto)),
            server.listener.local_addr(),
            "localhost",
        )
        .unwrap()
        .await
        .unwrap();
    (endpoint, connection)
}

#[tokio::test]
async fn a_half_open_handshake_is_closed_at_its_deadline_and_holds_up_nobody() {
    let server = server_with(|config| config.handshake_timeout = Duration::from_millis(700));
    let (_endpoint, idle) = half_open(&server).await;
    // It is let in while the other one still waits.
    server.session().await;
    assert!(idle.close_reason().is_none());
    let reason = timeout(DEADLINE, idle.closed()).await.unwrap();
    assert!(
        matches!(&reason, quinn::ConnectionError::ApplicationClosed(close)
            if close.error_code == quinn::VarInt::from_u32(0x10d)),
        "{reason}"
    );
}

#[tokio::test]
async fn handshakes_above_the_bound_are_refused_until_others_end() {
    let server = server_with(|config| config.half_open_max = 4);
    let mut idle = Vec::new();
    for _ in 0..4 {
        idle.push(half_open(&server).await);
    }
    let refused = server.connector().connect(&server.url("/mc")).await;
    assert!(
        matches!(refused, Err(ConnectError::Failed(_))),
        "{refused:?}"
    );
    for (_, connection) in &idle {
        connection.close(0u32.into(), b"");
        timeout(DEADLINE, connection.closed()).await.unwrap();
    }
    timeout(DEADLINE, async {
        loop {
            let (connector, url) = (server.connector(), server.url("/mc"));
            let accepted = async { server.listener.accept().await.unwrap().accept().await };
            tokio::select! {
                // Drops the other side when the client is refused once more.
                result = async { tokio::join!(connector.connect(&url), accepted) } => {
                    if result.0.is_ok() { break }
                }
                () = tokio::time::sleep(Duration::from_millis(300)) => {}
            }
        }
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn a_slow_reader_bounds_the_writer() {
    let server = server_with(|config| {
        config.limits = Limits {
            stream_window_bytes: 64 << 10,
            ..Limits::default()
        };
    });
    let (client, served) = server.session().await;
    let mut send = client.open_uni().await.unwrap();
    let mut chunks = [Bytes::from(vec![0; 8 << 20])];
    let written = timeout(Duration::from_millis(500), send.write_chunks(&mut chunks));
    assert!(written.await.is_err());
    let mut recv = served.accept_uni().await.unwrap();
    assert!(recv.read_chunk(1 << 20).await.unwrap().unwrap().len() <= 64 << 10);
}

#[tokio::test]
async fn shutdown_tells_the_peers_and_ends_the_accepting() {
    let server = server_with(|_| {});
    let (client, served) = server.session().await;
    let listener = Arc::try_unwrap(server.listener).unwrap();
    served.close(8, "server shutting down");
    assert!(matches!(
        timeout(DEADLINE, client.closed()).await.unwrap(),
        SessionError::ClosedByPeer { code: 8, .. }
    ));
    timeout(DEADLINE, listener.shutdown()).await.unwrap();
}
