//! Why sessions and meetings end, and what is worth another attempt.

use std::time::Duration;

use dt_wire::{CloseCode, v1::ErrorCode};

/// How a session came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Closed {
    /// The peer closed it with a code.
    ByPeer(u32),
    /// It broke.
    Lost,
}

/// The answer to a join that is not a seat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal {
    /// What the server said.
    pub code: ErrorCode,
    /// Not before so long.
    pub retry_after: Option<Duration>,
}

/// Why it is over; nothing is tried any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum End {
    /// This participant left.
    #[error("left the meeting")]
    Left,
    /// The host removed this participant.
    #[error("removed by the host")]
    Removed,
    /// The meeting is over.
    #[error("the meeting has ended")]
    MeetingEnded,
    /// The same seat was taken from elsewhere.
    #[error("this seat was taken over by a newer session")]
    Replaced,
    /// The meeting takes no more people.
    #[error("the meeting is full")]
    Full,
    /// There is no such meeting.
    #[error("there is no such meeting")]
    NotFound,
    /// The token is not good, or not any more.
    #[error("the join token is not valid, or not any more")]
    Unauthorized,
    /// The server does not allow it.
    #[error("the server does not allow to join")]
    Forbidden,
    /// What this client said was not understood.
    #[error("the server and this client do not understand each other")]
    Protocol,
    /// The server could not be reached at all.
    #[error("the server cannot be reached")]
    Unreachable,
    /// The session was lost for longer than a seat is kept.
    #[error("the connection was lost for too long")]
    Lost,
}

/// What to make of an end of a session or an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Final(End),
    /// Try again, not before so long.
    Retry(Option<Duration>),
}

impl Closed {
    pub(crate) fn verdict(self) -> Verdict {
        let Self::ByPeer(code) = self else {
            return Verdict::Retry(None);
        };
        match CloseCode::from_u32(code) {
            Some(CloseCode::ProtocolError) => Verdict::Final(End::Protocol),
            Some(CloseCode::AuthenticationFailed) => Verdict::Final(End::Unauthorized),
            Some(CloseCode::Replaced) => Verdict::Final(End::Replaced),
            Some(CloseCode::Removed) => Verdict::Final(End::Removed),
            Some(CloseCode::MeetingEnded) => Verdict::Final(End::MeetingEnded),
            Some(
                CloseCode::Graceful
                | CloseCode::QuotaExceeded
                | CloseCode::InternalError
                | CloseCode::ShuttingDown,
            )
            | None => Verdict::Retry(None),
        }
    }
}

impl Refusal {
    pub(crate) fn verdict(self) -> Verdict {
        match self.code {
            ErrorCode::InvalidRequest | ErrorCode::Conflict | ErrorCode::StreamError => {
                Verdict::Final(End::Protocol)
            }
            ErrorCode::Unauthorized => Verdict::Final(End::Unauthorized),
            ErrorCode::Forbidden => Verdict::Final(End::Forbidden),
            ErrorCode::NotFound => Verdict::Final(End::NotFound),
            ErrorCode::CapacityExceeded => Verdict::Final(End::Full),
            ErrorCode::Unknown
            | ErrorCode::InternalError
            | ErrorCode::RateLimited
            | ErrorCode::Migrating => Verdict::Retry(self.retry_after),
        }
    }
}
