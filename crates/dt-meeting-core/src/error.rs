//! Why a request is refused, and what the wire says about it: one enum an
//! operation, one place that maps them to error codes.

use dt_wire::v1::{ErrorCode, ErrorMessage};

/// A refused request as it goes over the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    /// What kind of refusal.
    pub code: ErrorCode,
    /// What happened and what to do, for a person.
    pub message: String,
    /// With `RateLimited`: when to try again.
    pub retry_after_ms: Option<u32>,
}

impl From<Rejection> for ErrorMessage {
    fn from(rejection: Rejection) -> Self {
        Self {
            retry_after_ms: rejection.retry_after_ms,
            ..Self::with(rejection.code, rejection.message)
        }
    }
}

/// Why somebody can't come in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JoinError {
    /// The name is empty, too long or has characters that are not shown.
    #[error("the name must have 1 to 64 characters and no control characters")]
    Name,
    /// No seat is free.
    #[error("The meeting is full ({0} participants)")]
    Full(usize),
    /// It is over.
    #[error("Meeting has ended")]
    Ended,
    /// A host removed whoever came with this token.
    #[error("You were removed from this meeting by the host")]
    Removed,
    /// The seat is gone, or the token was used before.
    #[error("the seat is no longer kept: join again with a join token")]
    SeatLost,
    /// No media handler was assigned to the meeting.
    #[error("no media handler is available for this meeting: try again")]
    NoHandler,
    /// The session sits in a seat already.
    #[error("this session has joined before")]
    Joined,
    /// The meeting is encrypted and the client can't do that.
    #[error(
        "this meeting is end-to-end encrypted and this client can't encrypt: join with a newer one"
    )]
    CantEncrypt,
}

/// Why a stream is not published.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// Something in it makes no sense.
    #[error("{0}")]
    Invalid(&'static str),
    /// The stream's UUID is in use in this meeting.
    #[error("stream id {0} is taken: choose another UUID")]
    IdTaken(dt_ids::StreamId),
    /// The sender uses the number for another stream.
    #[error("stream number {0} is taken: choose another")]
    NumberTaken(dt_ids::StreamNumber),
    /// The sender has as many streams as it may.
    #[error("at most {0} streams a participant: unpublish one first")]
    TooMany(usize),
}

/// Why nothing happens to a stream of one's own.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StreamError {
    /// The text names no stream.
    #[error("stream_id must be a UUID")]
    Invalid,
    /// No such stream, or it is somebody else's.
    #[error("no stream of yours has this id")]
    NotYours,
}

/// Why a layout is not used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LayoutError {
    /// Something in it makes no sense.
    #[error("{0}")]
    Invalid(&'static str),
    /// A slot number stands in it twice.
    #[error("slot {0} is given twice: all slots of a subscriber are distinct")]
    SlotTwice(dt_ids::Slot),
    /// A slot number is used by a stream subscribed by name.
    #[error("slot {0} is used by a subscribed stream")]
    SlotTaken(dt_ids::Slot),
    /// The server can't hear what it would have to mix.
    #[error(
        "this meeting is encrypted from end to end, and the server can't mix what it can't hear: \
         leave mix_audio out, or create a meeting with enable_e2e_encryption false"
    )]
    Encrypted,
    /// There is a layout: it can be updated.
    #[error("there is a layout already: update it instead")]
    Exists,
    /// There is none that could be updated.
    #[error("there is no layout: subscribe one first")]
    None,
}

/// Why a stream is not subscribed by name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SubscribeError {
    /// Something in it makes no sense.
    #[error("{0}")]
    Invalid(&'static str),
    /// The server can't read what it would have to encode anew.
    #[error(
        "this meeting is encrypted from end to end, and the server can't encode anew what it can't \
         read: leave transcoding out, or create a meeting with enable_e2e_encryption false"
    )]
    Encrypted,
    /// Nobody publishes it.
    #[error("no such stream in this meeting")]
    NoStream,
    /// It was not subscribed.
    #[error("this stream is not subscribed")]
    NotSubscribed,
    /// The slot is used for something else.
    #[error("slot {0} is taken: choose another")]
    SlotTaken(dt_ids::Slot),
    /// As many as the subscriber decodes, or as the server allows.
    #[error("at most {0} streams can be subscribed")]
    TooMany(usize),
}

/// Why no key frame is asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyframeError {
    /// Something in it makes no sense.
    #[error("{0}")]
    Invalid(&'static str),
    /// The one who asks does not receive the stream.
    #[error("you do not receive this stream")]
    NotReceived,
}

/// Why a report of quality is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QualityError {
    /// Something in it makes no sense.
    #[error("{0}")]
    Invalid(&'static str),
    /// The one who reports does not receive the stream.
    #[error("you do not receive this stream")]
    NotReceived,
}

/// Why there is no media token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MediaTokenError {
    /// The text names no handler.
    #[error("handler_id must be a UUID")]
    Invalid,
    /// Not one of those that the participant was given.
    #[error("this media handler does not serve you")]
    NotYours,
    /// It does not answer at the moment.
    #[error("this media handler can't be reached now: try again")]
    NotThere,
}

/// Why a step of the encryption is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EncryptionError {
    /// Its creator said so.
    #[error("this meeting is not end-to-end encrypted")]
    NotEncrypted,
    /// Something in it makes no sense or breaks the rules of the group.
    #[error("{0}")]
    Invalid(&'static str),
    /// Another commit or group was first.
    #[error("another step of the encryption was first")]
    Overtaken,
    /// Everybody would have new keys once more.
    #[error("the keys were renewed just now")]
    TooSoon {
        /// When it can be asked again.
        retry_after_ms: u64,
    },
}

/// Why settings are not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// Somebody has joined: what they were told of it stays true.
    #[error("the encryption of a meeting can't be changed once somebody has joined")]
    Begun,
    /// There is nothing to keep groups with.
    #[error("this server can't run an encrypted meeting")]
    NoKeepers,
}

/// Why a host's wish is not done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ModerationError {
    /// Only hosts may.
    #[error("only a host may do this")]
    NotHost,
    /// The text names no participant.
    #[error("participant_id must be a UUID")]
    Invalid,
    /// Nobody here has this id.
    #[error("no such participant in this meeting")]
    NoParticipant,
    /// More than can be in the spotlight.
    #[error("at most {0} people can be in the spotlight")]
    TooMany(usize),
    /// A host leaves by leaving.
    #[error("you can't remove yourself: leave instead")]
    Yourself,
}

macro_rules! rejects {
    ($($error:ident { $($pattern:pat => $code:ident),+ $(,)? })+) => {$(
        impl From<$error> for Rejection {
            fn from(error: $error) -> Self {
                use $error::*;
                #[allow(clippy::enum_glob_use)]
                let code = match &error {
                    $($pattern => ErrorCode::$code,)+
                };
                Self { code, message: error.to_string(), retry_after_ms: Option::None }
            }
        }
    )+};
}

impl EncryptionError {
    /// As it goes over the wire.
    pub(crate) fn rejection(self) -> Rejection {
        let retry_after_ms = match self {
            Self::TooSoon { retry_after_ms } => u32::try_from(retry_after_ms).ok(),
            _ => None,
        };
        Rejection {
            retry_after_ms,
            ..self.into()
        }
    }
}

rejects! {
    EncryptionError {
        NotEncrypted => Forbidden,
        Invalid(_) => InvalidRequest,
        Overtaken => Conflict,
        TooSoon { .. } => RateLimited,
    }
    JoinError {
        Name => InvalidRequest,
        Full(_) => CapacityExceeded,
        Ended => NotFound,
        Removed => Forbidden,
        SeatLost => Unauthorized,
        NoHandler => CapacityExceeded,
        Joined => InvalidRequest,
        CantEncrypt => Forbidden,
    }
    PublishError {
        Invalid(_) => InvalidRequest,
        IdTaken(_) | NumberTaken(_) => Conflict,
        TooMany(_) => CapacityExceeded,
    }
    StreamError {
        Invalid => InvalidRequest,
        NotYours => NotFound,
    }
    LayoutError {
        Invalid(_) | SlotTwice(_) => InvalidRequest,
        Encrypted => Forbidden,
        SlotTaken(_) | Exists => Conflict,
        None => NotFound,
    }
    SubscribeError {
        Invalid(_) => InvalidRequest,
        Encrypted => Forbidden,
        NoStream | NotSubscribed => NotFound,
        SlotTaken(_) => Conflict,
        TooMany(_) => CapacityExceeded,
    }
    KeyframeError {
        Invalid(_) => InvalidRequest,
        NotReceived => NotFound,
    }
    QualityError {
        Invalid(_) => InvalidRequest,
        NotReceived => NotFound,
    }
    MediaTokenError {
        Invalid => InvalidRequest,
        NotYours => NotFound,
        NotThere => InternalError,
    }
    ModerationError {
        NotHost => Forbidden,
        Invalid | TooMany(_) | Yourself => InvalidRequest,
        NoParticipant => NotFound,
    }
}
