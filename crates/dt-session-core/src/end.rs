//! Why sessions and meetings end, and what is worth another attempt.

use std::time::Duration;

use dt_wire::v1::ErrorCode;

/// The application's close codes of sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum CloseCode {
    /// All was said.
    Graceful = 0,
    /// A message or frame broke the rules.
    ProtocolError = 1,
    /// A token was not good.
    AuthenticationFailed = 2,
    /// Too much was sent.
    QuotaExceeded = 3,
    /// A fault of the server.
    InternalError = 4,
    /// A newer session took the seat.
    Replaced = 5,
    /// The host removed this participant.
    Removed = 6,
    /// The meeting is over.
    MeetingEnded = 7,
    /// The server goes away; another or the same will take over.
    ShuttingDown = 8,
}

impl CloseCode {
    /// Reads a code; `None` when there is no such one.
    #[must_use]
    pub const fn from_u32(code: u32) -> Option<Self> {
        Some(match code {
            0 => Self::Graceful,
            1 => Self::ProtocolError,
            2 => Self::AuthenticationFailed,
            3 => Self::QuotaExceeded,
            4 => Self::InternalError,
            5 => Self::Replaced,
            6 => Self::Removed,
            7 => Self::MeetingEnded,
            8 => Self::ShuttingDown,
            _ => return None,
        })
    }
}

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
