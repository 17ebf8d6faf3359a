//! WebTransport over HTTP/3 and QUIC: a [`Listener`] for servers, a
//! [`Connector`] for clients, and the [`WebTransportSession`] both give.
//!
//! Owns the QUIC endpoint's limits and the checks before a session exists:
//! certificate, handshake deadline, Origin. Paths, tokens and what is said over
//! a session belong to whoever accepts it. Browsers and this connector look the
//! same from the server. A server with several runtimes has a listener on each, on
//! one port ([`SharedPort`]).

mod arrivals;
mod capsules;
mod congestion;
mod connect;
mod connector;
mod http3;
mod limits;
mod listener;
mod low_delay;
mod session;
mod streams;
mod trust;
mod udp;

pub use congestion::{Congestion, UnknownCongestion};
pub use connect::{Connect, connect};
pub use connector::{ConnectError, Connector, ConnectorConfig};
pub use limits::Limits;
pub use listener::{BindError, Incoming, Listener, ListenerConfig, RefuseError};
pub use session::WebTransportSession;
pub use streams::{WebTransportRecvStream, WebTransportSendStream};
pub use trust::Trust;
pub use udp::shared::{PortShare, SharedPort};

/// The application protocol that TLS agrees on for HTTP/3.
const ALPN_H3: &[u8] = b"h3";

/// What reads a peer's bytes, for fuzzing. No part of the interface.
#[doc(hidden)]
pub mod fuzzing {
    use futures::FutureExt;

    /// The stream of a session's request behind the request.
    pub fn capsules(stream: &[u8]) {
        let read = super::capsules::until_close(stream).now_or_never();
        assert!(read.is_some(), "bytes in memory are always ready");
    }
}
