//! A WebTransport server with a certificate of its own, and sessions to it, over
//! a [`Link`](super::link::Link) where asked.

#![allow(dead_code)] // each test and example uses another part of it
#![allow(clippy::unwrap_used)] // a test that cannot go on fails

use std::{net::SocketAddr, sync::Arc};

use dt_transport::webtransport::{
    Connector, ConnectorConfig, Limits, Listener, ListenerConfig, Trust, WebTransportSession,
};
use rustls::{
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use sha2::{Digest, Sha256};
use url::Url;

/// A self-signed certificate for `localhost`.
#[derive(Debug)]
pub(crate) struct Certificate {
    key: Arc<CertifiedKey>,
    pem: [String; 2],
    /// What clients pin.
    pub(crate) hash: [u8; 32],
}

impl Certificate {
    pub(crate) fn new() -> Self {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
        let der = made.cert.der().clone();
        let hash = Sha256::digest(&der).into();
        let pem = [made.cert.pem(), made.signing_key.serialize_pem()];
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let key = rustls::crypto::ring::sign::any_supported_type(&key).unwrap();
        let key = Arc::new(CertifiedKey::new(vec![der], key));
        Self { key, pem, hash }
    }

    /// Writes certificate and key as PEM, and gives their paths.
    pub(crate) fn write_to(&self, folder: &std::path::Path) -> (String, String) {
        let [certificate, key] = ["certificate.pem", "key.pem"].map(|name| folder.join(name));
        std::fs::write(&certificate, &self.pem[0]).unwrap();
        std::fs::write(&key, &self.pem[1]).unwrap();
        let text = |path: std::path::PathBuf| path.to_str().unwrap().to_owned();
        (text(certificate), text(key))
    }

    /// For clients that believe roots.
    pub(crate) fn der(&self) -> CertificateDer<'static> {
        self.key.cert[0].clone()
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.key))
    }
}

/// A listener on loopback.
pub(crate) struct Server {
    pub(crate) listener: Arc<Listener>,
    pub(crate) certificate: Arc<Certificate>,
}

impl Server {
    pub(crate) fn new(limits: Limits) -> Self {
        Self::with(|config| config.limits = limits)
    }

    pub(crate) fn with(change: impl FnOnce(&mut ListenerConfig)) -> Self {
        let certificate = Arc::new(Certificate::new());
        let mut config = ListenerConfig::new(
            "127.0.0.1:0".parse().unwrap(),
            Arc::clone(&certificate) as Arc<dyn ResolvesServerCert>,
        );
        change(&mut config);
        Self {
            listener: Arc::new(Listener::bind(config).unwrap()),
            certificate,
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.listener.local_addr()
    }

    /// A connector that believes this server.
    pub(crate) fn connector(&self, limits: Limits) -> Connector {
        Connector::new(ConnectorConfig {
            trust: Trust::CertificateHashes(vec![self.certificate.hash]),
            limits,
            ..ConnectorConfig::default()
        })
    }

    /// Both ends of a session whose client reaches the server at this address:
    /// its own, or a link's. The client's end comes first.
    pub(crate) async fn session_at(
        &self,
        address: SocketAddr,
        limits: Limits,
    ) -> (WebTransportSession, WebTransportSession) {
        let (connector, url) = (self.connector(limits), url_of(address));
        let (client, server) = tokio::join!(connector.connect(&url), async {
            self.listener.accept().await.unwrap().accept().await
        });
        (client.unwrap(), server.unwrap())
    }

    /// Both ends of a session; the client's comes first.
    pub(crate) async fn session(&self) -> (WebTransportSession, WebTransportSession) {
        self.session_at(self.address(), Limits::default()).await
    }
}

/// `https://` at this address.
pub(crate) fn url_of(address: SocketAddr) -> Url {
    format!("https://{address}/").parse().unwrap()
}
