//! What happens in a meeting, and what becomes of requests.

use dt_ids::{HandlerId, ParticipantId, StreamId, UserId};
use dt_session_core::Phase;
use dt_wire::v1::{ErrorCode, ErrorMessage, LeaveReason};

use crate::Alarm;

/// A request was not granted.
#[derive(Debug, Clone, thiserror::Error)]
pub enum RequestError {
    /// The server said no.
    #[error("{message}")]
    Refused {
        /// The kind of error.
        code: ErrorCode,
        /// For a person.
        message: String,
    },
    /// The seat is over, or the session was lost before an answer came.
    #[error("the session ended before the answer came")]
    SessionLost,
    /// All 255 numbers of streams are in use.
    #[error("at most 255 streams can be published")]
    TooManyStreams,
    /// The meeting is not encrypted, or this client is on its way into the group.
    #[error("there are no keys now")]
    NoKeys,
}

impl RequestError {
    pub(crate) fn from_wire(error: ErrorMessage) -> Self {
        Self::Refused {
            code: error.code(),
            message: error.message,
        }
    }
}

/// Something happened in the meeting. What it means for the roster is in
/// [`Meeting::roster`] already.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// Connecting, joined, reconnecting or over.
    Phase(Phase),
    /// Somebody came.
    Joined(ParticipantId),
    /// Somebody left.
    Left(ParticipantId, LeaveReason),
    /// Mutes, role or connection of somebody changed.
    Updated(ParticipantId),
    /// Somebody publishes a stream.
    Published(ParticipantId, StreamId),
    /// Somebody publishes a stream no more.
    Unpublished(ParticipantId, StreamId),
    /// The host put others into the spotlight: see [`Roster::spotlight`].
    Spotlight(Vec<UserId>),
    /// Who speaks, loudest first.
    Speakers(Vec<ParticipantId>),
    /// Other streams are assigned to this participant's slots: those in view.
    Assigned(Vec<StreamId>),
    /// Media goes both ways with the home, the handler that pictures come from
    /// and go to.
    MediaReady,
    /// The session with the home was lost; another one is being opened. Sound
    /// goes on by the spare, where there is one.
    MediaLost,
    /// Sound goes both ways with a spare too.
    SpareReady(HandlerId),
    /// The session with a spare was lost; another one is being opened.
    SpareLost(HandlerId),
    /// Keys, members or codes are others: see [`Meeting::encryption`].
    EncryptionChanged,
    /// Something is wrong with who holds the keys; a person should be told.
    EncryptionAlarm(Alarm),
    /// The server said no to something that nobody waits for.
    Refused(ErrorCode, String),
}
