//! How sessions are opened: by WebTransport or WebSocket, whichever gets
//! through, or in tests inside one process.
//!
//! Which carrier is tried when is decided in [`race`], without a clock and a
//! socket; [`racing`] does it.

mod race;
mod racing;

use std::future::Future;

use dt_transport::{
    Carrier, Session,
    webtransport::{ConnectError, Connector, ConnectorConfig, Limits, Trust, WebTransportSession},
};

use crate::Endpoint;

pub use dt_websocket::Kind as SessionKind;
pub use race::Transport;
pub use racing::{Network, RacingDial, RacingSession};

/// A session could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// By WebTransport.
    #[error(transparent)]
    WebTransport(#[from] ConnectError),
    /// By WebSocket.
    #[error(transparent)]
    WebSocket(#[from] dt_websocket::ConnectError),
    /// In neither way.
    #[error("{webtransport}; nor by a WebSocket: {websocket}")]
    Both {
        /// By WebTransport.
        webtransport: Box<DialError>,
        /// By WebSocket.
        websocket: Box<DialError>,
    },
    /// The server has no way in of the only kind that may be used.
    #[error("the server offers no WebSocket")]
    NoWebSocket,
    /// In another way.
    #[error("{0}")]
    Other(String),
}

/// Opens sessions to servers.
pub trait Dial: Send + Sync + 'static {
    /// What comes out.
    type Session: Session;

    /// Opens one session.
    fn dial(
        &self,
        endpoint: &Endpoint,
        kind: SessionKind,
    ) -> impl Future<Output = Result<Self::Session, DialError>> + Send;

    /// A session over this carrier broke or fell silent, though nobody closed it.
    fn died(&self, carrier: Carrier) {
        let _ = carrier;
    }
}

/// Bytes of datagrams that wait to be sent: a key frame of half a megabyte goes
/// at once, and no more than one does.
const DATAGRAM_SEND_BUFFER_BYTES: usize = 512 << 10;

/// Opens WebTransport sessions, all from one UDP socket.
#[derive(Debug, Clone)]
pub struct WebTransportDial {
    connector: Connector,
    trust: Trust,
}

impl WebTransportDial {
    /// Believes `trust` where an endpoint names no certificate hashes.
    #[must_use]
    pub fn new(trust: Trust) -> Self {
        let connector = Connector::new(ConnectorConfig {
            limits: Limits {
                datagram_send_buffer_bytes: DATAGRAM_SEND_BUFFER_BYTES,
                ..Limits::default()
            },
            ..ConnectorConfig::default()
        });
        Self { connector, trust }
    }
}

impl Default for WebTransportDial {
    fn default() -> Self {
        Self::new(Trust::SystemRoots)
    }
}

impl Dial for WebTransportDial {
    type Session = WebTransportSession;

    async fn dial(
        &self,
        endpoint: &Endpoint,
        _: SessionKind,
    ) -> Result<WebTransportSession, DialError> {
        let pinned;
        let trust = if endpoint.certificate_hashes.is_empty() {
            &self.trust
        } else {
            pinned = Trust::CertificateHashes(endpoint.certificate_hashes.clone());
            &pinned
        };
        Ok(self
            .connector
            .connect_trusting(&endpoint.url, trust)
            .await?)
    }
}
