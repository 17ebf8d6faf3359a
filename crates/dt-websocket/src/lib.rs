//! Dark Tower's two kinds of sessions over one WebSocket (WIRE sections 1 and
//! 2), as a [`dt_transport::Session`] on either side.
//!
//! A network that blocks UDP, or a browser without WebTransport, gets the same
//! meeting: whoever serves or drives a session does not notice. What a WebSocket
//! can't do is said at [`WebSocketSession`].
//!
//! [`WebSocketSession::new`] takes a socket of any library by the small traits
//! [`SocketReader`] and [`SocketWriter`]; [`tungstenite`] is one such library and
//! [`connect`] the client's way from a URL to a session. Unlike `dt-transport`
//! this crate knows Dark Tower's framing and media headers: a message is one
//! frame, so that what is late can be left out. Deliberately absent: HTTP on the
//! server's side, origins, and what is said over a session.

mod close;
mod connect;
mod inbox;
mod limits;
mod message;
mod outbox;
mod pipe;
mod reading;
mod session;
mod socket;
mod streams;
pub mod tungstenite;
mod writing;

pub use connect::{ConnectError, Connector};
pub use limits::{Kind, Limits, keep_queue_short};
pub use message::{BadMessage, Incoming, parse};
pub use session::WebSocketSession;
pub use socket::{Message, SocketError, SocketReader, SocketWriter};
pub use streams::{WebSocketRecvStream, WebSocketSendStream};
