//! Connections with streams and datagrams, behind one trait.
//!
//! [`Session`] is the shape; [`webtransport`] carries it over QUIC and
//! [`memory`] inside one process, with seeded delay and loss, for tests. What is
//! said over a session (envelopes, media headers, tokens) is not known here.
//! [`messages`] cuts a session into streams of whole messages, and [`reconnect`]
//! says when to connect, give up and come back.

#![deny(missing_docs)]

mod either;
pub mod memory;
pub mod messages;
mod session;
pub mod webtransport;

pub use dt_reconnect as reconnect;
pub use either::Either;
pub use session::{
    Carrier, PathStats, RecvStream, SendStream, Session, SessionError, SessionInfo, StreamError,
};
pub use webtransport::connect;

/// The examples of the README are tests too.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
