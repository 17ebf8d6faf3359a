//! The certificate of the public port: given by file, or made here.
//!
//! [`CertificateStore`] is what TLS and QUIC ask for the certificate at every
//! handshake, so that a new one takes effect without a restart. Its owner runs
//! [`CertificateStore::maintain`], and whoever tells clients which certificate
//! to expect watches [`CertificateStore::subscribe`].

mod files;
mod self_signed;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use rustls::{
    ServerConfig,
    crypto::CryptoProvider,
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use sha2::{Digest as _, Sha256};
use time::OffsetDateTime;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use files::GivenFiles;
use self_signed::SelfSigned;

/// How often [`CertificateStore::maintain`] looks whether something is to do.
const MAINTENANCE_EVERY: Duration = Duration::from_secs(30);

/// SHA-256 of a certificate's DER form, as `serverCertificateHashes` wants it.
pub type CertificateHash = [u8; 32];

/// Why there is no usable certificate.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// A file can't be read.
    #[error("can't read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A file can't be written.
    #[error("can't write {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A file holds no certificate or key in PEM form.
    #[error("{} holds no {what} in PEM form", path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// `certificate` or `private key`.
        what: &'static str,
    },
    /// The key and the certificate don't belong together, or are of a kind that
    /// TLS does not know.
    #[error("the certificate and key can't be used")]
    Unusable(#[source] rustls::Error),
    /// A self-signed certificate could not be made.
    #[error("a certificate can't be made")]
    Make(#[source] rcgen::Error),
}

/// The certificate as it is now.
#[derive(Debug, Clone)]
pub struct Certificates {
    key: Arc<CertifiedKey>,
    /// Of the certificate in use.
    pub fingerprint: CertificateHash,
    /// What clients are to accept besides what their system trusts: the
    /// self-signed certificate in use and, during a renewal, the other one.
    /// Empty for a given certificate, which clients check as usual.
    pub pinned: Vec<CertificateHash>,
}

impl Certificates {
    fn new(key: CertifiedKey) -> Self {
        let fingerprint = hash(&key);
        Self {
            key: Arc::new(key),
            fingerprint,
            pinned: Vec::new(),
        }
    }
}

fn hash(key: &CertifiedKey) -> CertificateHash {
    key.cert
        .first()
        .map(|certificate| Sha256::digest(certificate).into())
        .unwrap_or_default()
}

enum Source {
    Given(GivenFiles),
    SelfSigned(SelfSigned),
}

/// Holds the current certificate and replaces it when its time has come.
pub struct CertificateStore {
    source: tokio::sync::Mutex<Source>,
    current: watch::Sender<Certificates>,
}

impl CertificateStore {
    /// The certificate chain and key in these PEM files, read again when they
    /// change.
    ///
    /// # Errors
    /// When they can't be read or used.
    pub fn given(certificate: &Path, key: &Path) -> Result<Self, CertificateError> {
        let (files, certificates) = GivenFiles::open(certificate, key)?;
        Ok(Self::new(Source::Given(files), certificates))
    }

    /// A self-signed certificate for this machine and `names` (host names or
    /// addresses), kept in the folder `data` so that a restart keeps its hash.
    ///
    /// # Errors
    /// When it can't be made or kept.
    pub fn self_signed(data: &Path, names: &[String]) -> Result<Self, CertificateError> {
        let (source, certificates) = SelfSigned::open(data, names, OffsetDateTime::now_utc())?;
        Ok(Self::new(Source::SelfSigned(source), certificates))
    }

    fn new(source: Source, certificates: Certificates) -> Self {
        Self {
            source: tokio::sync::Mutex::new(source),
            current: watch::Sender::new(certificates),
        }
    }

    /// The certificate as it is now.
    #[must_use]
    pub fn current(&self) -> Certificates {
        self.current.borrow().clone()
    }

    /// Tells of every change.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<Certificates> {
        self.current.subscribe()
    }

    /// Settings of a TLS server that uses this certificate: TLS 1.3 alone, with
    /// these application protocols in order of preference.
    #[must_use]
    pub fn server_config(self: &Arc<Self>, protocols: &[&[u8]]) -> ServerConfig {
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("the provider has cipher suites of TLS 1.3")
            .with_no_client_auth()
            .with_cert_resolver(self.clone());
        config.alpn_protocols = protocols.iter().map(|p| p.to_vec()).collect();
        config
    }

    /// Reads changed files and renews a self-signed certificate in time, until
    /// `stop`. A failure is logged and tried again: the old one stays in use.
    pub async fn maintain(&self, stop: CancellationToken) {
        let mut every = tokio::time::interval(MAINTENANCE_EVERY);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = every.tick() => {}
            }
            if let Err(error) = self.refresh(OffsetDateTime::now_utc()).await {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "the certificate can't be renewed"
                );
            }
        }
    }

    /// Does what is due at `now`. Whether the certificate or its hashes changed.
    ///
    /// # Errors
    /// When files can't be read, made or kept.
    pub async fn refresh(&self, now: OffsetDateTime) -> Result<bool, CertificateError> {
        let changed = match &mut *self.source.lock().await {
            Source::Given(files) => files.reload_if_changed()?,
            Source::SelfSigned(source) => source.renew_if_due(now)?,
        };
        let Some(certificates) = changed else {
            return Ok(false);
        };
        tracing::info!("the certificate changed");
        self.current.send_replace(certificates);
        Ok(true)
    }
}

impl ResolvesServerCert for CertificateStore {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current.borrow().key.clone())
    }
}

impl std::fmt::Debug for CertificateStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CertificateStore").finish_non_exhaustive()
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}
