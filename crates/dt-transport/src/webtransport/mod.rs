//! WebTransport over HTTP/3 and QUIC: a [`Listener`] for servers, a
//! [`Connector`] for clients, and the [`WebTransportSession`] both give.
//!
//! Owns the QUIC endpoint's limits and the checks before a session exists:
//! certificate, handshake deadline, Origin. Paths, tokens and what is said over
//! a session belong to whoever accepts it. Browsers and this connector look the
//! same from the server.

mod connector;
mod limits;
mod listener;
mod session;
mod trust;

pub use connector::{ConnectError, Connector, ConnectorConfig};
pub use limits::Limits;
pub use listener::{BindError, Incoming, Listener, ListenerConfig, RefuseError};
pub use session::{WebTransportRecvStream, WebTransportSendStream, WebTransportSession};
pub use trust::Trust;

/// The application protocol that TLS agrees on for HTTP/3.
const ALPN_H3: &[u8] = b"h3";
/// HTTP/3 application error codes (RFC 9114 section 8.1).
const H3_NO_ERROR: quinn::VarInt = quinn::VarInt::from_u32(0x100);
const H3_REQUEST_INCOMPLETE: quinn::VarInt = quinn::VarInt::from_u32(0x10d);
