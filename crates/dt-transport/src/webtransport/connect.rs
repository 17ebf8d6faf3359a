//! A session in one expression, for programs that open few of them.

use std::{
    future::{Future, IntoFuture},
    pin::Pin,
    time::Duration,
};

use http::{HeaderName, HeaderValue};
use url::Url;

use super::{ConnectError, Connector, ConnectorConfig, Limits, Trust, WebTransportSession};

/// Begins to open a session: add what the request needs, then `.await` it.
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let session = dt_transport::connect("https://example.org/chat")
///     .header("authorization", "Bearer 1234")
///     .protocol("chat.2")
///     .protocol("chat.1")
///     .await?;
/// # drop(session);
/// # Ok(())
/// # }
/// ```
///
/// Each has a UDP socket of its own; a program that opens many sessions should
/// hold a [`Connector`].
#[must_use = "nothing happens until it is awaited"]
pub fn connect(url: impl AsRef<str>) -> Connect {
    Connect {
        url: Url::parse(url.as_ref()).map_err(ConnectError::from),
        config: ConnectorConfig::default(),
    }
}

/// A session that is about to be opened; see [`connect`].
#[derive(Debug)]
#[must_use = "nothing happens until it is awaited"]
pub struct Connect {
    /// The first mistake is told when it is awaited.
    url: Result<Url, ConnectError>,
    config: ConnectorConfig,
}

impl Connect {
    /// Adds a header to the request.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        match (name.parse::<HeaderName>(), HeaderValue::from_str(value)) {
            (Ok(name), Ok(value)) => {
                self.config.headers.append(name, value);
            }
            _ if self.url.is_ok() => self.url = Err(ConnectError::BadHeader(name.to_owned())),
            _ => {}
        }
        self
    }

    /// Offers a sub-protocol, after those offered before. Which one the server
    /// chose stands in [`SessionInfo::protocol`](crate::SessionInfo::protocol).
    pub fn protocol(mut self, name: impl Into<String>) -> Self {
        self.config.protocols.push(name.into());
        self
    }

    /// Believes these servers instead of those that the system's roots vouch for.
    pub fn trust(mut self, trust: Trust) -> Self {
        self.config.trust = trust;
        self
    }

    /// Believes the server whose certificate has this SHA-256 (of its DER form).
    pub fn certificate_hash(self, sha256: [u8; 32]) -> Self {
        self.trust(Trust::CertificateHashes(vec![sha256]))
    }

    /// Gives up after so long; 5 s unless told otherwise.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.config.connect_timeout = timeout;
        self
    }

    /// Bounds of the connection, and its congestion control.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.config.limits = limits;
        self
    }
}

impl IntoFuture for Connect {
    type Output = Result<WebTransportSession, ConnectError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let url = self.url?;
            Connector::new(self.config).connect(&url).await
        })
    }
}
