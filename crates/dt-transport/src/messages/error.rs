//! What can go wrong, one enum an operation.

use super::{ConfigError, wire::WireError};
use crate::{SessionError, StreamError};

/// A message was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// It is longer than the stream's configuration says.
    #[error("a message of {bytes} bytes is longer than the stream's {limit}")]
    TooLarge {
        /// Its length.
        bytes: usize,
        /// The stream's `max_message_bytes`.
        limit: u32,
    },
    /// So much waits to be sent that this one would have to wait; only
    /// `try_send` says so.
    #[error("the send queue is full")]
    Full,
    /// The receiver wants no more.
    #[error("the receiver stopped the stream (code {code})")]
    Stopped {
        /// Its reason.
        code: u32,
    },
    /// The stream under it broke.
    #[error("the stream broke")]
    Stream(#[source] StreamError),
    /// The session is gone.
    #[error("the session is over")]
    Session(#[source] SessionError),
}

/// No message can be received any more.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecvError {
    /// The sender gave the stream up.
    #[error("the sender gave the stream up (code {code})")]
    Reset {
        /// Its reason.
        code: u32,
    },
    /// What came is no message.
    #[error("the peer broke the protocol")]
    Protocol(#[source] WireError),
    /// The stream under it broke.
    #[error("the stream broke")]
    Stream(#[source] StreamError),
    /// The session is gone.
    #[error("the session is over")]
    Session(#[source] SessionError),
}

/// A stream could not be opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// There is no such stream.
    #[error("the stream's configuration is not possible")]
    Config(#[source] ConfigError),
    /// The peer refused the stream at once.
    #[error("the stream broke")]
    Stream(#[source] StreamError),
    /// The session is gone.
    #[error("the session is over")]
    Session(#[source] SessionError),
}

/// No stream will be accepted any more.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AcceptError {
    /// The session is gone.
    #[error("the session is over")]
    Session(#[source] SessionError),
}

impl SendError {
    pub(super) fn of_stream(error: StreamError) -> Self {
        match error {
            StreamError::Reset(code) => Self::Stopped { code },
            StreamError::Session(error) => Self::Session(error),
            error @ StreamError::Closed => Self::Stream(error),
        }
    }
}

impl RecvError {
    pub(super) fn of_stream(error: StreamError) -> Self {
        match error {
            StreamError::Reset(code) => Self::Reset { code },
            StreamError::Session(error) => Self::Session(error),
            error @ StreamError::Closed => Self::Stream(error),
        }
    }
}

impl OpenError {
    pub(super) fn of_stream(error: StreamError) -> Self {
        match error {
            StreamError::Session(error) => Self::Session(error),
            error => Self::Stream(error),
        }
    }
}
