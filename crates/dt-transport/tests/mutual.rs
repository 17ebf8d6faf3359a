//! Certificates on both sides: who is let in, and how a refusal reads.

#![allow(clippy::unwrap_used)] // a panic is how a test fails

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use dt_transport::{
    Session,
    webtransport::{ConnectError, Connector, ConnectorConfig, Listener, ListenerConfig, Trust},
};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls_pki_types::CertificateDer;
use tokio::time::timeout;

const DEADLINE: Duration = Duration::from_secs(20);

/// A private root.
struct Root(CertifiedIssuer<'static, KeyPair>);

impl Root {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap());
        Self(issuer.unwrap())
    }

    fn certificate(&self) -> CertificateDer<'static> {
        self.0.der().clone()
    }

    /// Something that a handler shows, as a server and as a client.
    fn identity(&self) -> Arc<SingleCertAndKey> {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["localhost".into()]).unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        let der = key.serialize_der().try_into().unwrap();
        let key = rustls::crypto::ring::sign::any_supported_type(&der).unwrap();
        let certified = CertifiedKey::new(vec![certificate.der().clone()], key);
        Arc::new(SingleCertAndKey::from(certified))
    }
}

/// Dials a server that lets in those for whom `root` vouches.
async fn dial(root: &Root, config: ConnectorConfig) -> Result<Bytes, ConnectError> {
    let mut listen = ListenerConfig::new("127.0.0.1:0".parse().unwrap(), root.identity());
    listen.client_roots = Some(vec![root.certificate()]);
    let listener = Listener::bind(listen).unwrap();
    let url = format!("https://localhost:{}/link", listener.local_addr().port());
    let serve = async {
        let session = listener.accept().await.unwrap().accept().await.unwrap();
        let datagram = session.recv_datagram().await.unwrap();
        session.send_datagram(datagram).unwrap();
        session.closed().await;
    };
    let call = async {
        let session = Connector::new(config)
            .connect(&url.parse().unwrap())
            .await?;
        let echo = Bytes::from_static(b"echo");
        session.send_datagram(echo).unwrap();
        Ok(session.recv_datagram().await.unwrap())
    };
    timeout(DEADLINE, async {
        tokio::select! {
            called = call => called,
            () = serve => unreachable!("the client has the last word"),
        }
    })
    .await
    .unwrap()
}

fn config(root: &Root) -> ConnectorConfig {
    ConnectorConfig {
        trust: Trust::Roots(vec![root.certificate()]),
        ..ConnectorConfig::default()
    }
}

#[tokio::test]
async fn who_shows_a_certificate_of_the_root_gets_in() {
    let root = Root::new();
    let identity = root.identity();
    let echo = dial(
        &root,
        ConnectorConfig {
            identity: Some(identity),
            ..config(&root)
        },
    )
    .await;
    assert_eq!(echo.unwrap(), Bytes::from_static(b"echo"));
}

#[tokio::test]
async fn who_shows_none_does_not() {
    let root = Root::new();
    let refused = dial(&root, config(&root)).await.unwrap_err();
    assert!(matches!(refused, ConnectError::Tls(_)), "{refused:?}");
}

#[tokio::test]
async fn nor_who_shows_one_of_another_root() {
    let (root, other) = (Root::new(), Root::new());
    let refused = dial(
        &root,
        ConnectorConfig {
            identity: Some(other.identity()),
            ..config(&root)
        },
    )
    .await
    .unwrap_err();
    assert!(matches!(refused, ConnectError::Tls(_)), "{refused:?}");
}

#[tokio::test]
async fn and_a_client_refuses_a_server_of_another_root() {
    let (root, other) = (Root::new(), Root::new());
    let refused = dial(
        &root,
        ConnectorConfig {
            identity: Some(root.identity()),
            ..config(&other)
        },
    )
    .await
    .unwrap_err();
    assert!(matches!(refused, ConnectError::Tls(_)), "{refused:?}");
}
