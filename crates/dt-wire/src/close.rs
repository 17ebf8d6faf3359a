//! The codes with which both ends close sessions.

/// Why a signaling or media session is closed: the application's close code of
/// the WebTransport session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum CloseCode {
    /// All was said.
    Graceful = 0,
    /// A message or frame broke the rules.
    ProtocolError = 1,
    /// No token, or none that is good.
    AuthenticationFailed = 2,
    /// Too much was sent, there is no room, or the peer is too slow to be kept.
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
    /// The number on the wire.
    #[must_use]
    pub const fn code(self) -> u32 {
        self as u32
    }

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
