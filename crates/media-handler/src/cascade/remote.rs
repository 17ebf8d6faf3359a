//! Links between processes: QUIC with certificates of a private root on both
//! sides. The session on it is the one that clients have, too; its path is
//! [`LINK_PATH`].

use std::sync::Arc;

use async_trait::async_trait;
use dt_ids::HandlerId;
use dt_transport::webtransport::{Connector, WebTransportSession};
use url::Url;

use super::{DialError, LinkDialer};

/// The path that links are opened with.
pub const LINK_PATH: &str = "/link";

/// Knows where handlers take links.
#[async_trait]
pub trait LinkDirectory: Send + Sync + 'static {
    /// `https://HOST:PORT`; the path is of no matter.
    async fn find(&self, handler: HandlerId) -> Option<Url>;
}

/// Dials whom a directory knows.
pub struct RemoteLinks {
    connector: Connector,
    directory: Arc<dyn LinkDirectory>,
}

impl RemoteLinks {
    /// The connector must show a certificate and trust the private root alone.
    #[must_use]
    pub const fn new(connector: Connector, directory: Arc<dyn LinkDirectory>) -> Self {
        Self {
            connector,
            directory,
        }
    }
}

#[async_trait]
impl LinkDialer for RemoteLinks {
    type Session = WebTransportSession;

    async fn dial(&self, handler: HandlerId) -> Result<WebTransportSession, DialError> {
        let failed = |reason: String| DialError { handler, reason };
        let found = self.directory.find(handler).await;
        let mut url = found.ok_or_else(|| failed("nobody knows where it is".into()))?;
        url.set_path(LINK_PATH);
        let connected = self.connector.connect(&url).await;
        connected.map_err(|error| failed(error.to_string()))
    }
}
