//! The little that this crate needs of a WebSocket library.

use std::future::Future;

use bytes::Bytes;

/// What travels on a WebSocket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// The only kind that carries anything here.
    Binary(Bytes),
    /// A peer that sends text is closed; what it said is of no interest.
    Text,
    /// The library below answers it by itself.
    Ping(Bytes),
    /// The answer to our ping.
    Pong(Bytes),
    /// The code, 1005 where there was none, and the reason.
    Close(u16, String),
}

/// A socket is of no use any more.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SocketError {
    /// A message is longer than the socket was told to take.
    #[error("a message is too long")]
    TooLong,
    /// The peer broke the WebSocket protocol.
    #[error("the peer broke the WebSocket protocol: {0}")]
    Protocol(String),
    /// The connection under it broke.
    #[error("{0}")]
    Broken(String),
}

/// The receiving half of a socket.
pub trait SocketReader: Send + 'static {
    /// The next message; `None` once both sides have closed or the connection has
    /// ended. Cancel-safe.
    fn next(&mut self) -> impl Future<Output = Option<Result<Message, SocketError>>> + Send;
}

/// The sending half of a socket.
pub trait SocketWriter: Send + 'static {
    /// Gives a message to the system, whole; waits while its queue is full. Not
    /// cancel-safe: what was begun must be finished or the socket given up.
    fn send(&mut self, message: Message) -> impl Future<Output = Result<(), SocketError>> + Send;
}
