//! Connections with streams and datagrams, behind one trait.
//!
//! [`Session`] is the shape; [`webtransport`] carries it over QUIC and
//! [`memory`] inside one process, with seeded delay and loss, for tests. What is
//! said over a session (envelopes, media headers, tokens) is not known here.

pub mod memory;
mod session;
pub mod webtransport;

pub use session::{
    PathStats, RecvStream, SendStream, Session, SessionError, SessionInfo, StreamError,
};
