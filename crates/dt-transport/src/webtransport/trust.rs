//! Which servers a client believes.

use std::sync::{Arc, OnceLock};

use rustls::{
    CertificateError, CipherSuite, ClientConfig, DigitallySignedStruct, RootCertStore,
    SignatureScheme,
    client::{
        ResolvesClientCert,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::CryptoProvider,
    server::{WebPkiClientVerifier, danger::ClientCertVerifier},
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use sha2::{Digest, Sha256};

/// How a client knows that a server is the right one.
#[derive(Debug, Clone)]
pub enum Trust {
    /// Certificates that the system's roots vouch for.
    SystemRoots,
    /// Certificates that one of these roots vouches for.
    Roots(Vec<CertificateDer<'static>>),
    /// The certificate whose SHA-256 (of its DER form) is one of these, whatever
    /// name it bears: what browsers call `serverCertificateHashes`.
    CertificateHashes(Vec<[u8; 32]>),
}

/// TLS for a client, and where the hash of an unexpected certificate is found.
pub(super) struct ClientTls {
    pub(super) config: ClientConfig,
    pub(super) unexpected: Arc<OnceLock<[u8; 32]>>,
}

/// AES with 128 bits goes first, as with browsers: who forwards media seals every
/// packet, and a third of the rounds less is felt.
pub(super) fn provider() -> Arc<CryptoProvider> {
    let mut provider = rustls::crypto::ring::default_provider();
    provider
        .cipher_suites
        .sort_by_key(|suite| suite.suite() != CipherSuite::TLS13_AES_128_GCM_SHA256);
    Arc::new(provider)
}

impl Trust {
    /// TLS 1.3 for a client that believes these servers and offers these
    /// application protocols; for HTTPS beside a session for example.
    ///
    /// # Errors
    /// When no root can be used.
    pub fn client_config(&self, protocols: &[&[u8]]) -> Result<ClientConfig, rustls::Error> {
        self.client_tls(protocols, None).map(|tls| tls.config)
    }

    /// With what the client shows of itself, when it is asked.
    ///
    /// # Errors
    /// When no root can be used.
    pub(super) fn client_tls(
        &self,
        protocols: &[&[u8]],
        identity: Option<Arc<dyn ResolvesClientCert>>,
    ) -> Result<ClientTls, rustls::Error> {
        let unexpected = Arc::new(OnceLock::new());
        let provider = provider();
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&rustls::version::TLS13])?;
        let builder = match self {
            Self::CertificateHashes(hashes) => builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(HashVerifier {
                    provider,
                    hashes: hashes.clone(),
                    unexpected: Arc::clone(&unexpected),
                })),
            Self::Roots(certificates) => builder.with_root_certificates(root_store(certificates)?),
            Self::SystemRoots => {
                let mut roots = RootCertStore::empty();
                // Some systems hold roots that nobody can read; the rest counts.
                roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
                builder.with_root_certificates(roots)
            }
        };
        let mut config = match identity {
            Some(identity) => builder.with_client_cert_resolver(identity),
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
        Ok(ClientTls { config, unexpected })
    }
}

fn root_store(certificates: &[CertificateDer<'static>]) -> Result<RootCertStore, rustls::Error> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates {
        roots.add(certificate.clone())?;
    }
    Ok(roots)
}

/// Lets in only clients that show a certificate for which one of these roots
/// vouches.
///
/// # Errors
/// When no root can be used.
pub(super) fn client_verifier(
    roots: &[CertificateDer<'static>],
) -> Result<Arc<dyn ClientCertVerifier>, rustls::Error> {
    let roots = Arc::new(root_store(roots)?);
    let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider());
    verifier
        .build()
        .map(|verifier| verifier as _)
        .map_err(|error| rustls::Error::General(error.to_string()))
}

/// Accepts exactly the certificates with given hashes. The handshake's signature
/// is checked as always, so that the server holds the certificate's key.
#[derive(Debug)]
struct HashVerifier {
    provider: Arc<CryptoProvider>,
    hashes: Vec<[u8; 32]>,
    unexpected: Arc<OnceLock<[u8; 32]>>,
}

impl ServerCertVerifier for HashVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let hash: [u8; 32] = Sha256::digest(end_entity).into();
        if self.hashes.contains(&hash) {
            return Ok(ServerCertVerified::assertion());
        }
        let _ = self.unexpected.set(hash);
        Err(CertificateError::ApplicationVerificationFailure.into())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("QUIC needs TLS 1.3".into()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(
            message,
            cert,
            dss,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}
