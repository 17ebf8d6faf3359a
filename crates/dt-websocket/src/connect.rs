//! The client's way from a URL to a session.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use dt_transport::{Carrier, SessionInfo, webtransport::Trust};
use http::{HeaderValue, StatusCode, header::ORIGIN};
use rustls_pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    task::JoinSet,
    time::timeout,
};
use tokio_rustls::TlsConnector;
use tokio_tungstenite::{
    client_async_with_config,
    tungstenite::{self, client::IntoClientRequest as _},
};
use url::{Host, Url};

use crate::{Kind, Limits, WebSocketSession, keep_queue_short, tungstenite as socket};

/// How long one address of a name is tried alone before the next joins in
/// (RFC 8305 section 5).
const NEXT_ADDRESS_AFTER: Duration = Duration::from_millis(250);
/// Addresses of one name that are tried.
const ADDRESSES_MAX: usize = 8;

/// Why a session could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The URL is not `wss://` or `ws://`, or names no host, or a user.
    #[error("a WebSocket needs a wss:// URL with a host and no user")]
    BadUrl,
    /// Plain text leaves this machine by no way.
    #[error("a plain ws:// URL is good on this machine only; use https:// for the API")]
    Plain,
    /// The name has no address.
    #[error("cannot find the address of {host}")]
    Name {
        /// What was looked up.
        host: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// No address of the host took the connection.
    #[error("cannot connect")]
    Tcp(#[source] io::Error),
    /// TLS failed; an untrusted certificate for example.
    #[error("the secure connection failed")]
    Tls(#[source] io::Error),
    /// No root can be used.
    #[error("cannot set up TLS")]
    Roots(#[from] rustls::Error),
    /// The server answered no.
    #[error("the server refused the WebSocket with status {0}")]
    Refused(StatusCode),
    /// The connection broke while it was made.
    #[error("the connection failed")]
    Failed(#[source] Box<tungstenite::Error>),
    /// Nobody answered in time.
    #[error("no answer within {0:?}")]
    TimedOut(Duration),
}

/// Opens sessions.
#[derive(Debug, Clone)]
pub struct Connector {
    /// From the name's look-up to the server's yes.
    pub connect_timeout: Duration,
    /// Sent as `Origin`, where a program stands in for a web page.
    pub origin: Option<HeaderValue>,
    /// Bounds of each session.
    pub limits: Limits,
}

impl Default for Connector {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(5),
            origin: None,
            limits: Limits::default(),
        }
    }
}

impl Connector {
    /// Opens a session to a `wss://` URL, or on this machine to a `ws://` one. Its
    /// work runs on a task of its own that ends with it.
    ///
    /// # Errors
    /// See [`ConnectError`].
    pub async fn connect(
        &self,
        url: &Url,
        trust: &Trust,
        kind: Kind,
    ) -> Result<WebSocketSession, ConnectError> {
        let secure = check(url)?;
        timeout(self.connect_timeout, self.open(url, trust, kind, secure))
            .await
            .unwrap_or(Err(ConnectError::TimedOut(self.connect_timeout)))
    }

    async fn open(
        &self,
        url: &Url,
        trust: &Trust,
        kind: Kind,
        secure: bool,
    ) -> Result<WebSocketSession, ConnectError> {
        let tcp = race(resolve(url).await?).await?;
        // A system that refuses is slower, not wrong.
        let _ = keep_queue_short(&tcp);
        let remote = tcp.peer_addr().ok();
        if !secure {
            return self.upgrade(url, kind, remote, tcp).await;
        }
        let config = trust.client_config(&[b"http/1.1"])?;
        let name = server_name(url)?;
        let tls = TlsConnector::from(Arc::new(config)).connect(name, tcp);
        let tls = tls.await.map_err(ConnectError::Tls)?;
        self.upgrade(url, kind, remote, tls).await
    }

    async fn upgrade<S>(
        &self,
        url: &Url,
        kind: Kind,
        remote_address: Option<SocketAddr>,
        stream: S,
    ) -> Result<WebSocketSession, ConnectError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let failed = |error| ConnectError::Failed(Box::new(error));
        let mut request = url.as_str().into_client_request().map_err(failed)?;
        if let Some(origin) = &self.origin {
            request.headers_mut().insert(ORIGIN, origin.clone());
        }
        let config = Some(socket::config(kind));
        let (opened, _) = client_async_with_config(request, stream, config)
            .await
            .map_err(|error| match error {
                tungstenite::Error::Http(answer) => ConnectError::Refused(answer.status()),
                other => failed(other),
            })?;
        let info = SessionInfo {
            carrier: Carrier::WebSocket,
            path: url.path().to_owned(),
            authority_host: url.host_str().unwrap_or_default().to_owned(),
            remote_address,
            protocol: None,
        };
        let (reader, writer) = socket::split(opened);
        let limits = self.limits.clone();
        let (session, carrying) = WebSocketSession::new(kind, limits, info, reader, writer);
        tokio::spawn(carrying);
        Ok(session)
    }
}

/// Whether it is to be encrypted.
fn check(url: &Url) -> Result<bool, ConnectError> {
    if !url.username().is_empty() || url.password().is_some() {
        return Err(ConnectError::BadUrl);
    }
    let host = url.host().ok_or(ConnectError::BadUrl)?;
    match url.scheme() {
        "wss" => Ok(true),
        "ws" if is_this_machine(&host) => Ok(false),
        "ws" => Err(ConnectError::Plain),
        _ => Err(ConnectError::BadUrl),
    }
}

fn is_this_machine(host: &Host<&str>) -> bool {
    match host {
        Host::Domain(name) => name.eq_ignore_ascii_case("localhost"),
        Host::Ipv4(ip) => ip.is_loopback(),
        Host::Ipv6(ip) => ip.is_loopback(),
    }
}

fn server_name(url: &Url) -> Result<ServerName<'static>, ConnectError> {
    match url.host().ok_or(ConnectError::BadUrl)? {
        Host::Domain(name) => {
            ServerName::try_from(name.to_owned()).map_err(|_| ConnectError::BadUrl)
        }
        Host::Ipv4(ip) => Ok(ServerName::from(std::net::IpAddr::V4(ip))),
        Host::Ipv6(ip) => Ok(ServerName::from(std::net::IpAddr::V6(ip))),
    }
}

async fn resolve(url: &Url) -> Result<Vec<SocketAddr>, ConnectError> {
    let port = url.port_or_known_default().unwrap_or(443);
    match url.host().ok_or(ConnectError::BadUrl)? {
        Host::Ipv4(ip) => Ok(vec![SocketAddr::new(ip.into(), port)]),
        Host::Ipv6(ip) => Ok(vec![SocketAddr::new(ip.into(), port)]),
        Host::Domain(host) => {
            let found = tokio::net::lookup_host((host, port)).await;
            let found = found.map_err(|source| ConnectError::Name {
                host: host.to_owned(),
                source,
            })?;
            Ok(found.take(ADDRESSES_MAX).collect())
        }
    }
}

/// Connects to whichever address answers first.
async fn race(addresses: Vec<SocketAddr>) -> Result<TcpStream, ConnectError> {
    let mut attempts = JoinSet::new();
    for (place, address) in (0u32..).zip(addresses) {
        attempts.spawn(async move {
            tokio::time::sleep(NEXT_ADDRESS_AFTER * place).await;
            TcpStream::connect(address).await
        });
    }
    let mut last = io::ErrorKind::AddrNotAvailable.into();
    while let Some(attempt) = attempts.join_next().await {
        match attempt {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => last = error,
            Err(panic) => last = io::Error::other(panic),
        }
    }
    Err(ConnectError::Tcp(last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_text_goes_to_this_machine_only() {
        let secure = |url: &str| check(&url.parse().unwrap());
        assert!(matches!(secure("wss://meet.example/ws"), Ok(true)));
        for url in ["ws://127.0.0.1:8080/ws", "ws://localhost/ws", "ws://[::1]/"] {
            assert!(matches!(secure(url), Ok(false)), "{url}");
        }
        for url in ["ws://192.0.2.7/ws", "ws://meet.example/ws"] {
            assert!(matches!(secure(url), Err(ConnectError::Plain)), "{url}");
        }
        for url in ["https://meet.example/ws", "wss://user@meet.example/"] {
            assert!(matches!(secure(url), Err(ConnectError::BadUrl)), "{url}");
        }
    }
}
