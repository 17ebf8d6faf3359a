//! The client's side: from a URL to a session.
//!
//! One [`Connector`] holds one UDP socket an address family and may open many
//! sessions at once. Certificate trust is given for each of its connections.

use std::{
    fmt, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use http::{HeaderMap, HeaderValue, StatusCode, header::ORIGIN};
use quinn::crypto::rustls::QuicClientConfig;
use rustls::client::ResolvesClientCert;
use tokio::task::JoinSet;
use url::{Host, Url};
use web_transport_proto::{ConnectRequest, SettingsError};

use super::{
    ALPN_H3,
    http3::{self, Control, H3_NO_ERROR, HandshakeError},
    limits::{Limits, udp_socket},
    session::WebTransportSession,
    trust::Trust,
    udp::QuicRuntime,
};
use crate::{Carrier, SessionInfo};

/// How long one address of a name is tried alone before the next joins in
/// (RFC 8305 section 5).
const NEXT_ADDRESS_AFTER: Duration = Duration::from_millis(250);
/// Addresses of one name that are tried.
const ADDRESSES_MAX: usize = 8;
/// Headers of a request, and their bytes with 32 for each (as RFC 9114 section
/// 4.2.2 counts them), at most: half of what our own listener takes.
const HEADERS_MAX: usize = 64;
const HEADER_BYTES_MAX: usize = 8 << 10;
/// Sub-protocols offered, and bytes of each one's name.
const PROTOCOLS_MAX: usize = 16;
const PROTOCOL_BYTES_MAX: usize = 64;

/// What a connector needs to know.
#[derive(Debug, Clone)]
pub struct ConnectorConfig {
    /// Which servers are believed.
    pub trust: Trust,
    /// The certificate that is shown to servers that ask for one; asked anew for
    /// each connection, so that it can change meanwhile.
    pub identity: Option<Arc<dyn ResolvesClientCert>>,
    /// From the name's look-up to the server's yes.
    pub connect_timeout: Duration,
    /// Sent as `Origin`, where a program stands in for a web page.
    pub origin: Option<String>,
    /// Sent with every request; at most 64 and 8 KiB of them, one a name.
    pub headers: HeaderMap,
    /// Sub-protocols that this side speaks, the one it likes best first: at most
    /// 16, of up to 64 visible ASCII characters.
    pub protocols: Vec<String>,
    /// Bounds of each connection.
    pub limits: Limits,
}

impl Default for ConnectorConfig {
    fn default() -> Self {
        Self {
            trust: Trust::SystemRoots,
            identity: None,
            connect_timeout: Duration::from_secs(5),
            origin: None,
            headers: HeaderMap::new(),
            protocols: Vec::new(),
            limits: Limits::default(),
        }
    }
}

/// Why a session could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// WebTransport runs over TLS only.
    #[error("WebTransport needs an https:// URL, not {0}://")]
    NotHttps(String),
    /// It is no URL at all.
    #[error("not a URL")]
    Url(#[from] url::ParseError),
    /// The URL names no host, or a user.
    #[error("the URL must name a host and no user")]
    BadUrl,
    /// The name has no address.
    #[error("cannot find the address of {host}")]
    Name {
        /// What was looked up.
        host: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The server's certificate is none of those that were named.
    #[error(
        "the server's certificate (SHA-256 {}) is not one of the expected ones",
        Hex(.sha256)
    )]
    UnexpectedCertificate {
        /// Hash of the certificate that it showed.
        sha256: [u8; 32],
    },
    /// TLS failed in another way; an untrusted certificate for example.
    #[error("the secure connection failed: {0}")]
    Tls(String),
    /// The server answered no.
    #[error("the server refused the session with status {0}")]
    Refused(StatusCode),
    /// Nobody answered in time.
    #[error("no answer within {0:?}")]
    TimedOut(Duration),
    /// The connection broke while it was made.
    #[error("the connection failed: {0}")]
    Failed(String),
    /// No socket could be opened.
    #[error("cannot open a UDP socket")]
    Socket(#[source] io::Error),
    /// The configured origin cannot stand in a header.
    #[error("the origin is not valid in a header")]
    BadOrigin,
    /// A header that cannot be sent: not visible ASCII, twice the same name, or a
    /// name that belongs to the connection itself.
    #[error("the header {0} cannot be sent")]
    BadHeader(String),
    /// There are too many headers, or they are too long.
    #[error("the headers are more than 64 or larger than 8 KiB")]
    HeadersTooLarge,
    /// A sub-protocol's name, or their number.
    #[error("sub-protocols are at most 16, of 1 to 64 visible ASCII characters")]
    BadProtocol,
}

struct Hex<'a>(&'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Opens WebTransport sessions. Cheap to clone; clones share their sockets.
#[derive(Debug, Clone)]
pub struct Connector {
    config: Arc<ConnectorConfig>,
    transport: Arc<quinn::TransportConfig>,
    endpoints: Arc<Mutex<Endpoints>>,
}

/// Opened when first needed, so that a machine without IPv6 needs none.
#[derive(Debug, Default)]
struct Endpoints {
    v4: Option<quinn::Endpoint>,
    v6: Option<quinn::Endpoint>,
}

impl Connector {
    /// A connector; its sockets open with its first session.
    #[must_use]
    pub fn new(config: ConnectorConfig) -> Self {
        Self {
            transport: Arc::new(config.limits.transport()),
            config: Arc::new(config),
            endpoints: Arc::default(),
        }
    }

    /// Opens a session. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// See [`ConnectError`]; nothing is left behind.
    pub async fn connect(&self, url: &Url) -> Result<WebTransportSession, ConnectError> {
        self.connect_trusting(url, &self.config.trust).await
    }

    /// Opens a session to a server known in another way than the configured one.
    ///
    /// # Errors
    /// As [`connect`](Self::connect).
    pub async fn connect_trusting(
        &self,
        url: &Url,
        trust: &Trust,
    ) -> Result<WebTransportSession, ConnectError> {
        if url.scheme() != "https" {
            return Err(ConnectError::NotHttps(url.scheme().to_owned()));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(ConnectError::BadUrl);
        }
        let timeout = self.config.connect_timeout;
        tokio::time::timeout(timeout, self.open(url, trust))
            .await
            .unwrap_or(Err(ConnectError::TimedOut(timeout)))
    }

    async fn open(&self, url: &Url, trust: &Trust) -> Result<WebTransportSession, ConnectError> {
        let request = self.request(url)?;
        let connection = self.race(url, trust).await?;
        let asked = async {
            let control = Control::exchange(&connection).await?;
            let (stream, protocol) = http3::ask(&connection, &request).await?;
            Ok((control, stream, protocol))
        };
        let (control, stream, protocol) = asked.await.map_err(|error| {
            connection.close(H3_NO_ERROR, b"");
            handshake_failed(error)
        })?;
        let info = SessionInfo {
            carrier: Carrier::WebTransport,
            path: url.path().to_owned(),
            authority_host: url.host_str().unwrap_or_default().to_owned(),
            remote_address: Some(connection.remote_address()),
            protocol,
        };
        Ok(WebTransportSession::new(connection, control, stream, info))
    }

    /// The CONNECT request, checked.
    fn request(&self, url: &Url) -> Result<ConnectRequest, ConnectError> {
        let mut headers = self.config.headers.clone();
        if let Some(origin) = &self.config.origin {
            let origin = HeaderValue::from_str(origin).map_err(|_| ConnectError::BadOrigin)?;
            headers.insert(ORIGIN, origin);
        }
        check_headers(&headers)?;
        check_protocols(&self.config.protocols)?;
        Ok(ConnectRequest::new(url.clone())
            .with_headers(headers)
            .with_protocols(self.config.protocols.iter().cloned()))
    }

    /// Connects to whichever address of the host answers first.
    async fn race(&self, url: &Url, trust: &Trust) -> Result<quinn::Connection, ConnectError> {
        let (name, addresses) = resolve(url).await?;
        let mut attempts = JoinSet::new();
        for (place, address) in (0u32..).zip(addresses) {
            let attempt = self.attempt(address, &name, trust)?;
            attempts.spawn(async move {
                tokio::time::sleep(NEXT_ADDRESS_AFTER * place).await;
                attempt.run().await
            });
        }
        let mut last = ConnectError::BadUrl;
        while let Some(attempt) = attempts.join_next().await {
            match attempt {
                Ok(Ok(connection)) => return Ok(connection),
                Ok(Err(error)) => last = error,
                Err(panic) => last = ConnectError::Failed(panic.to_string()),
            }
        }
        Err(last)
    }

    fn attempt(
        &self,
        address: SocketAddr,
        name: &str,
        trust: &Trust,
    ) -> Result<Attempt, ConnectError> {
        let tls = trust
            .client_tls(&[ALPN_H3], self.config.identity.clone())
            .map_err(|error| ConnectError::Tls(error.to_string()))?;
        let crypto = QuicClientConfig::try_from(tls.config)
            .map_err(|error| ConnectError::Tls(error.to_string()))?;
        let mut config = quinn::ClientConfig::new(Arc::new(crypto));
        config.transport_config(Arc::clone(&self.transport));
        Ok(Attempt {
            endpoint: self.endpoint(address.ip()).map_err(ConnectError::Socket)?,
            config,
            address,
            name: name.to_owned(),
            unexpected: tls.unexpected,
        })
    }

    fn endpoint(&self, remote: IpAddr) -> io::Result<quinn::Endpoint> {
        let mut endpoints = self
            .endpoints
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let (endpoint, any) = match remote {
            IpAddr::V4(_) => (&mut endpoints.v4, IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
            IpAddr::V6(_) => (&mut endpoints.v6, IpAddr::V6(Ipv6Addr::UNSPECIFIED)),
        };
        if let Some(endpoint) = endpoint {
            return Ok(endpoint.clone());
        }
        let opened = quinn::Endpoint::new(
            quinn::EndpointConfig::default(),
            None,
            udp_socket(SocketAddr::new(any, 0))?,
            Arc::new(QuicRuntime),
        )?;
        Ok(endpoint.insert(opened).clone())
    }
}

/// One try at one address.
struct Attempt {
    endpoint: quinn::Endpoint,
    config: quinn::ClientConfig,
    address: SocketAddr,
    name: String,
    unexpected: Arc<std::sync::OnceLock<[u8; 32]>>,
}

impl Attempt {
    async fn run(self) -> Result<quinn::Connection, ConnectError> {
        let connecting = self
            .endpoint
            .connect_with(self.config, self.address, &self.name)
            .map_err(|error| ConnectError::Failed(error.to_string()))?;
        connecting.await.map_err(|error| {
            if let Some(sha256) = self.unexpected.get() {
                return ConnectError::UnexpectedCertificate { sha256: *sha256 };
            }
            connection_failed(&error)
        })
    }
}

async fn resolve(url: &Url) -> Result<(String, Vec<SocketAddr>), ConnectError> {
    let port = url.port_or_known_default().unwrap_or(443);
    match url.host().ok_or(ConnectError::BadUrl)? {
        Host::Ipv4(ip) => Ok((ip.to_string(), vec![SocketAddr::new(ip.into(), port)])),
        Host::Ipv6(ip) => Ok((ip.to_string(), vec![SocketAddr::new(ip.into(), port)])),
        Host::Domain(host) => {
            let found = tokio::net::lookup_host((host, port))
                .await
                .map_err(|source| ConnectError::Name {
                    host: host.to_owned(),
                    source,
                })?;
            let mut addresses: Vec<_> = found.take(ADDRESSES_MAX).collect();
            // Servers for one machine listen on 127.0.0.1.
            if host == "localhost" {
                addresses.sort_by_key(SocketAddr::is_ipv6);
            }
            Ok((host.to_owned(), addresses))
        }
    }
}

fn connection_failed(error: &quinn::ConnectionError) -> ConnectError {
    // TLS alerts travel as QUIC errors 0x100 to 0x1ff (RFC 9001 section 4.8).
    if let quinn::ConnectionError::TransportError(transport) = error
        && (0x100..0x200).contains(&u64::from(transport.code))
    {
        return ConnectError::Tls(transport.reason.clone());
    }
    // So does the server say what is wrong with this side's certificate.
    if let quinn::ConnectionError::ConnectionClosed(close) = error
        && (0x100..0x200).contains(&u64::from(close.error_code))
    {
        return ConnectError::Tls(String::from_utf8_lossy(&close.reason).into_owned());
    }
    ConnectError::Failed(error.to_string())
}

/// Names that HTTP/3 forbids, or that are written by this crate.
const RESERVED_HEADERS: [&str; 8] = [
    "connection",
    "host",
    "keep-alive",
    "proxy-connection",
    "transfer-encoding",
    "upgrade",
    "wt-available-protocols",
    "wt-protocol",
];

fn check_headers(headers: &HeaderMap) -> Result<(), ConnectError> {
    let bytes: usize = headers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len() + 32)
        .sum();
    if headers.len() > HEADERS_MAX || bytes > HEADER_BYTES_MAX {
        return Err(ConnectError::HeadersTooLarge);
    }
    for (name, value) in headers {
        // The codec below keeps one value a name.
        let twice = headers.get_all(name).iter().nth(1).is_some();
        if twice || value.to_str().is_err() || RESERVED_HEADERS.contains(&name.as_str()) {
            return Err(ConnectError::BadHeader(name.to_string()));
        }
    }
    Ok(())
}

fn check_protocols(protocols: &[String]) -> Result<(), ConnectError> {
    let good = |name: &String| {
        (1..=PROTOCOL_BYTES_MAX).contains(&name.len())
            && name.bytes().all(|byte| byte.is_ascii_graphic())
    };
    if protocols.len() > PROTOCOLS_MAX || !protocols.iter().all(good) {
        return Err(ConnectError::BadProtocol);
    }
    Ok(())
}

fn handshake_failed(error: HandshakeError) -> ConnectError {
    match error {
        HandshakeError::Status(status) => ConnectError::Refused(status),
        HandshakeError::Connection(error) => connection_failed(&error),
        HandshakeError::Unsupported | HandshakeError::Settings(SettingsError::UnexpectedEnd) => {
            ConnectError::Failed("the server does not offer WebTransport".to_owned())
        }
        HandshakeError::Settings(error) => ConnectError::Failed(error.to_string()),
        HandshakeError::Connect(error) => ConnectError::Failed(error.to_string()),
        error @ HandshakeError::Protocol(_) => ConnectError::Failed(error.to_string()),
    }
}
