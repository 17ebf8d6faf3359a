//! Letting a client in: the checks before a meeting is asked.

use dt_ids::{MeetingCode, MeetingId};
use dt_meeting_core::{Codecs, Credential, Join, JoinError, Offer, Rejection, Resume, resume_hash};
use dt_token::{JoinClaims, TokenError};
use dt_wire::{
    CloseCode,
    v1::{E2eeOffer, ErrorCode, ErrorMessage, JoinRequest},
};
use tokio::sync::oneshot;

use super::Context;
use crate::{
    meeting::{Command, Handle, Outbox, Way},
    meetings::Found,
};

/// Bytes of a resume token.
const RESUME_TOKEN_BYTES: usize = 32;
/// Streams a client can name as kept: more than it may have is a mistake.
const KEPT_STREAMS_MAX: usize = 64;

/// Why a client is not let in.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refused {
    /// Something in the request makes no sense.
    #[error("{0}")]
    Invalid(&'static str),
    /// Neither token is there.
    #[error("a join token is needed")]
    NoToken,
    /// The join token is not valid.
    #[error("the join token is not accepted: {0}")]
    Token(TokenError),
    /// It is valid, for another meeting.
    #[error("the join token is for another meeting")]
    OtherMeeting,
    /// Keys to check tokens with can't be reached.
    #[error("tokens can't be checked now: try again")]
    KeysUnavailable,
    /// Not assigned to this controller.
    #[error("this meeting does not run here: ask for a new join token and follow its answer")]
    NotHere,
    /// The controller has no room.
    #[error("this server is full: try again later")]
    ServerFull,
    /// The meeting says no.
    #[error("{0}")]
    Meeting(#[from] JoinError),
}

impl Refused {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Invalid(_) => ErrorCode::InvalidRequest,
            Self::NoToken | Self::Token(_) | Self::OtherMeeting => ErrorCode::Unauthorized,
            Self::KeysUnavailable => ErrorCode::InternalError,
            Self::NotHere => ErrorCode::NotFound,
            Self::ServerFull => ErrorCode::CapacityExceeded,
            Self::Meeting(error) => Rejection::from(error.clone()).code,
        }
    }

    /// What the session is closed with.
    pub(super) fn close_code(&self) -> CloseCode {
        match self.code() {
            ErrorCode::Unauthorized => CloseCode::AuthenticationFailed,
            ErrorCode::CapacityExceeded => CloseCode::QuotaExceeded,
            ErrorCode::InternalError => CloseCode::InternalError,
            ErrorCode::InvalidRequest => CloseCode::ProtocolError,
            _ => CloseCode::Graceful,
        }
    }
}

impl From<Refused> for ErrorMessage {
    fn from(refused: Refused) -> Self {
        Self::with(refused.code(), refused.to_string())
    }
}

/// Asks the meeting; its answer goes out by the outbox.
pub(super) async fn join(
    context: &Context,
    outbox: &Outbox,
    request_id: u64,
    request: JoinRequest,
) -> Result<Handle, Refused> {
    let (meeting, how) = check(context, request).await?;
    let handle = match context.inner.meetings.find(meeting) {
        Found::Running(handle) => handle,
        Found::Ended => return Err(JoinError::Ended.into()),
        Found::Unknown => return Err(Refused::NotHere),
    };
    let full = context.inner.meetings.participants() >= context.inner.config.participants_max;
    if full && matches!(how, Way::Join(_)) {
        return Err(Refused::ServerFull);
    }
    let (reply, answer) = oneshot::channel();
    let outbox = outbox.clone();
    let session = context.id;
    handle
        .send(Command::Join {
            session,
            outbox,
            request_id,
            how,
            reply,
        })
        .await;
    match answer.await {
        Ok(Ok(())) => Ok(handle),
        Ok(Err(error)) => Err(error.into()),
        // Its task stopped in between.
        Err(_) => match context.inner.meetings.find(meeting) {
            Found::Ended => Err(JoinError::Ended.into()),
            Found::Running(_) | Found::Unknown => Err(Refused::NotHere),
        },
    }
}

async fn check(context: &Context, request: JoinRequest) -> Result<(MeetingId, Way), Refused> {
    let named = named(context, &request.meeting_id)?;
    let wish = request.capabilities.as_ref().map(|c| c.max_video_streams);
    let codecs = request.capabilities.as_ref();
    let codecs = codecs.map(|c| Codecs::parse(&c.video_codecs, &c.audio_codecs));
    let e2ee = request.e2ee.map(offer).transpose()?;
    if !request.resume_token.is_empty() {
        if request.resume_token.len() != RESUME_TOKEN_BYTES {
            return Err(Refused::Invalid("resume_token must have 32 bytes"));
        }
        if request.kept_stream_ids.len() > KEPT_STREAMS_MAX {
            return Err(Refused::Invalid("too many kept_stream_ids"));
        }
        let resume = Resume {
            hash: resume_hash(&request.resume_token),
            kept_streams: request.kept_stream_ids,
            max_video_streams: wish,
            codecs,
            e2ee,
        };
        return Ok((named.ok_or(Refused::NotHere)?, Way::Resume(resume)));
    }
    if request.join_token.is_empty() {
        return Err(Refused::NoToken);
    }
    let now = context.inner.clock.unix();
    let verified = context
        .inner
        .verifier
        .verify::<JoinClaims>(&request.join_token, now)
        .await;
    let claims = verified.map_err(|error| match error {
        TokenError::KeysUnavailable => Refused::KeysUnavailable,
        error => Refused::Token(error),
    })?;
    if named.ok_or(Refused::NotHere)? != claims.meeting_id {
        return Err(Refused::OtherMeeting);
    }
    let join = Join {
        role: claims.role.into(),
        credential: Credential::of(&request.join_token),
        name: request.participant_name,
        max_video_streams: wish.unwrap_or(0),
        codecs: codecs.unwrap_or_default(),
        e2ee,
    };
    Ok((claims.meeting_id, Way::Join(join)))
}

fn offer(offer: E2eeOffer) -> Result<Offer, Refused> {
    if offer.version != 1 {
        return Err(Refused::Invalid("e2ee.version must be 1"));
    }
    Ok(Offer {
        position: offer.position.map(Into::into),
    })
}

/// The meeting that the text names, by UUID or by code; `None` for a code that
/// is not known here.
fn named(context: &Context, text: &str) -> Result<Option<MeetingId>, Refused> {
    if let Ok(id) = text.parse::<MeetingId>() {
        return Ok(Some(id));
    }
    match text.parse::<MeetingCode>() {
        Ok(code) => Ok(context.inner.meetings.by_code(&code)),
        Err(_) => Err(Refused::Invalid(
            "meeting_id must be a UUID or a meeting code",
        )),
    }
}
