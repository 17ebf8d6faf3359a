//! A client that speaks QUIC and writes HTTP/3 by hand, so that it can write it
//! wrong.

#![allow(dead_code)] // each test uses another part of it
#![allow(clippy::unwrap_used)] // a test that cannot go on fails

use std::{net::SocketAddr, sync::Arc, time::Duration};

use quinn::crypto::rustls::QuicClientConfig;
use tokio::time::timeout;
use web_transport_proto::{ConnectError, ConnectResponse, Settings, VarInt};

use super::pair::{Certificate, Server};

/// Frames and capsules are alike: a type, a length, and what is inside.
pub(crate) fn frame(kind: u64, payload: &[u8]) -> Vec<u8> {
    [varint(kind), varint(payload.len() as u64), payload.to_vec()].concat()
}

/// An integer of QUIC.
pub(crate) fn varint(value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    VarInt::from_u64(value).unwrap().encode(&mut bytes);
    bytes
}

pub(crate) const DATA: u64 = 0;
pub(crate) const HEADERS: u64 = 1;

/// A header section of literals (RFC 9204 section 4.5.6).
pub(crate) fn section(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut bytes = vec![0, 0];
    for (name, value) in fields {
        prefixed(&mut bytes, 0b0010_0000, 3, name.len());
        bytes.extend_from_slice(name.as_bytes());
        prefixed(&mut bytes, 0, 7, value.len());
        bytes.extend_from_slice(value.as_bytes());
    }
    bytes
}

/// An integer behind a prefix of some bits (RFC 7541 section 5.1).
fn prefixed(bytes: &mut Vec<u8>, flags: u8, bits: u32, mut value: usize) {
    let most = (1usize << bits) - 1;
    if value < most {
        bytes.push(flags | u8::try_from(value).unwrap());
        return;
    }
    bytes.push(flags | u8::try_from(most).unwrap());
    value -= most;
    while value >= 128 {
        bytes.push(u8::try_from(value % 128).unwrap() | 128);
        value /= 128;
    }
    bytes.push(u8::try_from(value).unwrap());
}

/// What a good client asks with.
pub(crate) const GOOD: [(&str, &str); 5] = [
    (":method", "CONNECT"),
    (":scheme", "https"),
    (":authority", "localhost"),
    (":path", "/"),
    (":protocol", "webtransport"),
];

/// A connection of such a client.
pub(crate) struct Raw {
    pub(crate) connection: quinn::Connection,
    endpoint: quinn::Endpoint,
}

impl Raw {
    pub(crate) async fn connect(server: &Server) -> Self {
        Self::connect_to(server.address(), &server.certificate).await
    }

    pub(crate) async fn connect_to(server: SocketAddr, certificate: &Certificate) -> Self {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(certificate.der()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        tls.alpn_protocols = vec![b"h3".to_vec()];
        let crypto = QuicClientConfig::try_from(tls).unwrap();
        let config = quinn::ClientConfig::new(Arc::new(crypto));
        let endpoint = quinn::Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
        let connecting = endpoint.connect_with(config, server, "localhost");
        Self {
            connection: connecting.unwrap().await.unwrap(),
            endpoint,
        }
    }

    /// Goes on from another UDP socket, as a program does whose network changes.
    pub(crate) fn change_socket(&self) {
        let before = self.endpoint.local_addr().unwrap();
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        self.endpoint.rebind(socket).unwrap();
        assert_ne!(self.endpoint.local_addr().unwrap(), before);
    }

    /// Says these bytes on a new stream one way, and leaves it open.
    pub(crate) async fn uni(&self, bytes: &[u8]) -> quinn::SendStream {
        let mut stream = self.connection.open_uni().await.unwrap();
        stream.write_all(bytes).await.unwrap();
        stream
    }

    /// Says these bytes on a new stream both ways, and leaves it open.
    pub(crate) async fn bi(&self, bytes: &[u8]) -> (quinn::SendStream, quinn::RecvStream) {
        let mut stream = self.connection.open_bi().await.unwrap();
        stream.0.write_all(bytes).await.unwrap();
        stream
    }

    /// A good control stream.
    pub(crate) async fn settings(&self) -> quinn::SendStream {
        let mut settings = Settings::default();
        settings.enable_webtransport(1);
        let mut bytes = Vec::new();
        settings.encode(&mut bytes);
        self.uni(&bytes).await
    }

    /// The application code with which the server closes the connection.
    pub(crate) async fn closed_with(&self, within: Duration) -> u64 {
        let why = timeout(within, self.connection.closed()).await;
        match why.expect("closed in time") {
            quinn::ConnectionError::ApplicationClosed(close) => close.error_code.into_inner(),
            other => panic!("{other}"),
        }
    }
}

/// A session whose client is raw: its request's stream stays in our hands.
pub(crate) struct RawSession {
    pub(crate) raw: Raw,
    pub(crate) request: (quinn::SendStream, quinn::RecvStream),
    pub(crate) control: quinn::SendStream,
}

impl RawSession {
    pub(crate) async fn open(
        server: &Server,
    ) -> (Self, dt_transport::webtransport::WebTransportSession) {
        let raw = Raw::connect(server).await;
        let control = raw.settings().await;
        let mut request = raw.bi(&frame(HEADERS, &section(&GOOD))).await;
        let served = server.listener.accept().await.unwrap().accept().await;
        let answer: Result<_, ConnectError> = ConnectResponse::read(&mut request.1).await;
        answer.unwrap();
        let session = Self {
            raw,
            request,
            control,
        };
        (session, served.unwrap())
    }
}
