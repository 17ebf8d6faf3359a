//! The server's side: one UDP socket, alone on its port or one of several, many
//! handshakes at once, and out of them the sessions that may begin.
//!
//! A task owned by the [`Listener`] takes connections in; each handshake is a
//! task of its own with a deadline, so that a slow one holds up nobody. Their
//! number is bounded: from a quarter of the bound on, an address must prove
//! itself by a retry, and above the bound connections are refused.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use http::{HeaderMap, StatusCode, header::ORIGIN};
use quinn::crypto::rustls::{NoInitialCipherSuite, QuicServerConfig};
use rustls::server::ResolvesServerCert;
use rustls_pki_types::CertificateDer;
use tokio::{
    sync::{Mutex, mpsc},
    task::{JoinHandle, JoinSet},
};
use tokio_util::sync::CancellationToken;
use web_transport_proto::ConnectRequest;

use super::{
    ALPN_H3,
    http3::{self, Control, H3_NO_ERROR, H3_REQUEST_INCOMPLETE, HandshakeError, RequestStream},
    limits::Limits,
    session::WebTransportSession,
    trust::{client_verifier, provider},
    udp::{QuicRuntime, shared::PortShare},
};
use crate::{Carrier, SessionInfo};

/// How long a refused client is given to read the answer.
const REFUSAL_LINGER: Duration = Duration::from_secs(1);
/// Sessions that are ready and that nobody has accepted; handshakes wait above it.
const READY_MAX: usize = 256;

/// What a listener needs to know.
#[derive(Debug, Clone)]
pub struct ListenerConfig {
    /// Where to listen; port 0 asks for a free one. Of no matter where there is a
    /// [`PortShare`].
    pub address: SocketAddr,
    /// Gives the certificate for each handshake, so that it can change while
    /// the listener runs.
    pub certificates: Arc<dyn ResolvesServerCert>,
    /// Roots that vouch for clients: only those get in that show a certificate.
    /// `None`: clients are not asked for one.
    pub client_roots: Option<Vec<CertificateDer<'static>>>,
    /// Web pages that may connect, `https://meet.example.org` for example.
    /// Programs send no origin and may connect always.
    pub allowed_origins: Vec<String>,
    /// Whether a page from the very host and port that it connects to may.
    pub allow_same_origin: bool,
    /// From the first packet to the whole request.
    pub handshake_timeout: Duration,
    /// Handshakes under way at once.
    pub half_open_max: usize,
    /// Bounds of each connection.
    pub limits: Limits,
}

impl ListenerConfig {
    /// The defaults: pages of the same origin only, 3 s for a handshake, 1024
    /// of them at once.
    #[must_use]
    pub fn new(address: SocketAddr, certificates: Arc<dyn ResolvesServerCert>) -> Self {
        Self {
            address,
            certificates,
            client_roots: None,
            allowed_origins: Vec::new(),
            allow_same_origin: true,
            handshake_timeout: Duration::from_secs(3),
            half_open_max: 1024,
            limits: Limits::default(),
        }
    }
}

/// A listener could not begin.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The socket.
    #[error("cannot listen on UDP {address}")]
    Socket {
        /// The address that was asked for.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A port can't have so many sockets on this system.
    #[error("a UDP port can have 1 to {most} sockets here, not {asked}")]
    Shares {
        /// How many were asked for.
        asked: usize,
        /// How many it can have.
        most: usize,
    },
    /// TLS.
    #[error("cannot set up TLS")]
    Tls(#[from] rustls::Error),
    /// The crypto provider lacks what every QUIC handshake begins with.
    #[error("cannot set up QUIC")]
    Quic(#[from] NoInitialCipherSuite),
}

/// A session could not be answered.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RefuseError {
    /// Its connection is gone.
    #[error("the client left before it was answered")]
    Gone(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The client did not offer the sub-protocol that was chosen.
    #[error("the client did not offer the sub-protocol {0:?}")]
    NotOffered(String),
}

fn gone(error: HandshakeError) -> RefuseError {
    RefuseError::Gone(Box::new(error))
}

/// A QUIC endpoint that accepts WebTransport sessions. Dropped, it closes all of
/// them; [`shutdown`](Self::shutdown) does so and waits.
#[derive(Debug)]
pub struct Listener {
    endpoint: quinn::Endpoint,
    local_address: SocketAddr,
    ready: Mutex<mpsc::Receiver<Incoming>>,
    stop: CancellationToken,
    driver: JoinHandle<()>,
}

impl Listener {
    /// Begins to listen. Must be called inside the tokio runtime on which all
    /// connections are to live.
    ///
    /// # Errors
    /// When the address is taken or TLS cannot be set up.
    pub fn bind(config: ListenerConfig) -> Result<Self, BindError> {
        let share = PortShare::alone(config.address)?;
        Self::bind_share(config, share)
    }

    /// Begins to listen on a share of a port that several listeners have, on another
    /// runtime each. A connection lives with one of them, on its runtime: whichever
    /// its client's first packet came to, at random.
    ///
    /// # Errors
    /// When TLS cannot be set up, or the system refuses the socket.
    pub fn bind_share(config: ListenerConfig, share: PortShare) -> Result<Self, BindError> {
        let socket = |source| BindError::Socket {
            address: config.address,
            source,
        };
        let tls = rustls::ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])?;
        let tls = match &config.client_roots {
            Some(roots) => tls.with_client_cert_verifier(client_verifier(roots)?),
            None => tls.with_no_client_auth(),
        };
        let mut tls = tls.with_cert_resolver(Arc::clone(&config.certificates));
        tls.alpn_protocols = vec![ALPN_H3.to_vec()];
        let mut server =
            quinn::ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls)?));
        server.transport_config(Arc::new(config.limits.transport()));
        let (udp, ids) = share.open().map_err(socket)?;
        let endpoint = quinn::Endpoint::new_with_abstract_socket(
            ids,
            Some(server),
            udp,
            Arc::new(QuicRuntime),
        )
        .map_err(socket)?;
        let local_address = endpoint.local_addr().map_err(socket)?;

        let (sender, ready) = mpsc::channel(READY_MAX);
        let stop = CancellationToken::new();
        let driver = tokio::spawn(drive(
            endpoint.clone(),
            Arc::new(Admission::from(&config)),
            config.half_open_max,
            sender,
            stop.clone(),
        ));
        Ok(Self {
            endpoint,
            local_address,
            ready: Mutex::new(ready),
            stop,
            driver,
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.local_address
    }

    /// The next session that wants to begin, `None` once the listener is shut
    /// down. Cancel-safe.
    pub async fn accept(&self) -> Option<Incoming> {
        self.ready.lock().await.recv().await
    }

    /// Takes no more connections; those there are go on.
    pub fn stop_accepting(&self) {
        self.stop.cancel();
    }

    /// Closes every connection that is still open and waits until the peers were
    /// told. Sessions should be closed with their reason before.
    pub async fn shutdown(mut self) {
        self.stop.cancel();
        self.endpoint.close(H3_NO_ERROR, b"server shutting down");
        self.endpoint.wait_idle().await;
        // It ends when told to; a panic in it was reported where it happened.
        let _ = (&mut self.driver).await;
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.stop.cancel();
        self.endpoint.close(H3_NO_ERROR, b"server shutting down");
    }
}

/// Takes connections in until told to stop.
async fn drive(
    endpoint: quinn::Endpoint,
    admission: Arc<Admission>,
    half_open_max: usize,
    ready: mpsc::Sender<Incoming>,
    stop: CancellationToken,
) {
    let mut handshakes = JoinSet::new();
    loop {
        let incoming = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            Some(_) = handshakes.join_next() => continue,
            incoming = endpoint.accept() => incoming,
        };
        let Some(incoming) = incoming else { break };
        if handshakes.len() >= half_open_max {
            incoming.refuse();
            continue;
        }
        if handshakes.len() >= half_open_max / 4 && incoming.may_retry() {
            // The check above makes this the only way it can go.
            let _ = incoming.retry();
            continue;
        }
        let (admission, ready) = (Arc::clone(&admission), ready.clone());
        handshakes.spawn(async move { admission.handshake(incoming, &ready).await });
    }
    handshakes.shutdown().await;
}

/// Who may come in, and how long it may take.
#[derive(Debug)]
struct Admission {
    allowed_origins: Vec<String>,
    allow_same_origin: bool,
    handshake_timeout: Duration,
}

impl From<&ListenerConfig> for Admission {
    fn from(config: &ListenerConfig) -> Self {
        Self {
            allowed_origins: config.allowed_origins.clone(),
            allow_same_origin: config.allow_same_origin,
            handshake_timeout: config.handshake_timeout,
        }
    }
}

impl Admission {
    async fn handshake(&self, incoming: quinn::Incoming, ready: &mpsc::Sender<Incoming>) {
        let deadline = tokio::time::Instant::now() + self.handshake_timeout;
        let connected = tokio::time::timeout_at(deadline, async { incoming.await }).await;
        // Without a finished TLS handshake there is nobody to tell anything.
        let Ok(Ok(connection)) = connected else {
            return;
        };
        let asked = tokio::time::timeout_at(deadline, Incoming::read(connection.clone())).await;
        let incoming = match asked {
            Ok(Ok(incoming)) => incoming,
            Ok(Err(error)) => {
                let error: &dyn std::error::Error = &error;
                tracing::debug!(error, "a connection asked for no session");
                connection.close(H3_REQUEST_INCOMPLETE, b"not a WebTransport request");
                return;
            }
            Err(_) => {
                connection.close(H3_REQUEST_INCOMPLETE, b"the request came too late");
                return;
            }
        };
        if !self.admits(&incoming.request) {
            tracing::debug!("a page of another origin was refused");
            // Gone is as good as refused.
            let _ = incoming.reject(StatusCode::FORBIDDEN).await;
            return;
        }
        if let Ok(Err(_)) = tokio::time::timeout_at(deadline, ready.send(incoming)).await {
            connection.close(H3_NO_ERROR, b"server shutting down");
        }
    }

    fn admits(&self, request: &ConnectRequest) -> bool {
        match one_origin(&request.headers) {
            Origin::None => true,
            Origin::Bad => false,
            Origin::Some(origin) => {
                self.allowed_origins.iter().any(|allowed| allowed == origin)
                    || self.allow_same_origin
                        && request.url.origin().ascii_serialization() == origin
            }
        }
    }
}

enum Origin<'a> {
    None,
    Some(&'a str),
    /// More than one, or one that is no text.
    Bad,
}

fn one_origin(headers: &HeaderMap) -> Origin<'_> {
    let mut origins = headers.get_all(ORIGIN).iter();
    match (origins.next(), origins.next()) {
        (None, _) => Origin::None,
        (Some(origin), None) => origin.to_str().map_or(Origin::Bad, Origin::Some),
        (Some(_), Some(_)) => Origin::Bad,
    }
}

/// A session that wants to begin. Dropped, its connection is closed.
pub struct Incoming {
    connection: quinn::Connection,
    control: Control,
    stream: RequestStream,
    request: ConnectRequest,
    info: SessionInfo,
}

impl std::fmt::Debug for Incoming {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Incoming")
            .field("path", &self.info.path)
            .finish_non_exhaustive()
    }
}

impl Incoming {
    async fn read(connection: quinn::Connection) -> Result<Self, HandshakeError> {
        let control = Control::exchange(&connection).await?;
        let (stream, request) = http3::asked(&connection).await?;
        let info = SessionInfo {
            carrier: Carrier::WebTransport,
            path: request.url.path().to_owned(),
            authority_host: request.url.host_str().unwrap_or_default().to_owned(),
            remote_address: Some(connection.remote_address()),
            protocol: None,
        };
        Ok(Self {
            connection,
            control,
            stream,
            request,
            info,
        })
    }

    /// What it asks for.
    #[must_use]
    pub fn info(&self) -> &SessionInfo {
        &self.info
    }

    /// The request's headers, at most 16 KiB of them; of a name that stands there
    /// more than once, the last one.
    #[must_use]
    pub fn headers(&self) -> &HeaderMap {
        &self.request.headers
    }

    /// What follows the `?` in its URL.
    #[must_use]
    pub fn query(&self) -> Option<&str> {
        self.request.url.query()
    }

    /// Sub-protocols that the client speaks, the one it likes best first.
    #[must_use]
    pub fn protocols(&self) -> &[String] {
        &self.request.protocols
    }

    /// Lets it begin, with no sub-protocol.
    ///
    /// # Errors
    /// When the client is gone.
    pub async fn accept(self) -> Result<WebTransportSession, RefuseError> {
        self.begin(None).await
    }

    /// Lets it begin with one of the sub-protocols that the client offers.
    ///
    /// # Errors
    /// When it was not offered, or the client is gone.
    pub async fn accept_protocol(self, protocol: &str) -> Result<WebTransportSession, RefuseError> {
        if !self.protocols().iter().any(|offered| offered == protocol) {
            return Err(RefuseError::NotOffered(protocol.to_owned()));
        }
        self.begin(Some(protocol)).await
    }

    async fn begin(mut self, protocol: Option<&str>) -> Result<WebTransportSession, RefuseError> {
        http3::answer(&mut self.stream, StatusCode::OK, protocol)
            .await
            .map_err(gone)?;
        self.info.protocol = protocol.map(str::to_owned);
        Ok(WebTransportSession::new(
            self.connection,
            self.control,
            self.stream,
            self.info,
        ))
    }

    /// Refuses it and waits, at most a second, until the client has read why.
    ///
    /// # Errors
    /// When the client is gone.
    pub async fn reject(mut self, status: StatusCode) -> Result<(), RefuseError> {
        http3::answer(&mut self.stream, status, None)
            .await
            .map_err(gone)?;
        // Fails when the client has stopped the stream, which is as good.
        let _ = self.stream.send.finish();
        let _ = tokio::time::timeout(REFUSAL_LINGER, self.connection.closed()).await;
        self.connection.close(H3_NO_ERROR, b"refused");
        Ok(())
    }
}
