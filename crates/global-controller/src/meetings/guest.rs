//! `POST /meetings/{meeting}/guest-token`

use std::sync::Arc;

use axum::{Json, extract::State};
use dt_service::http::{ApiError, Caller, ErrorBody, JsonOrDefault, Origin, Path};
use dt_token::Role;

use super::{
    access::{self, Standing},
    answer::MeetingAccess,
    request::GuestToken,
};
use crate::{GlobalController, error::Failure};

/// All that somebody with the link needs to join.
///
/// Who has signed in comes in under that account. A host or a program may ask
/// for several tokens at once, for as many guests.
#[utoipa::path(
    post,
    path = "/meetings/{meeting}/guest-token",
    tag = "meetings",
    params(("meeting" = String, Path, description = "The meeting's id or code")),
    request_body(content = GuestToken, description = "May be left out"),
    responses(
        (status = 200, description = "What a join needs", body = MeetingAccess),
        (status = 400, description = "A field is wrong", body = ErrorBody),
        (status = 401, description = "The meeting takes no guests", body = ErrorBody),
        (status = 403, description = "Several tokens are for hosts", body = ErrorBody),
        (status = 404, description = "No such meeting, or it is over", body = ErrorBody),
        (status = 409, description = "No server has room", body = ErrorBody),
        (status = 429, description = "Too many requests", body = ErrorBody),
        (status = 503, description = "A part of the service can't be reached", body = ErrorBody),
    ),
    security((), ("token" = [])),
)]
pub(crate) async fn guest_token(
    State(gc): State<Arc<GlobalController>>,
    caller: Caller,
    origin: Origin,
    Path(name): Path<String>,
    JsonOrDefault(body): JsonOrDefault<GuestToken>,
) -> Result<Json<MeetingAccess>, Failure> {
    let count = body.count()?;
    let meeting = gc.find_open(&name).await?;
    let standing = access::standing(&caller, &meeting)?;
    if count > 1 && standing != Standing::Host {
        return Err(ApiError::forbidden(
            "only a host of the meeting or a program may ask for several tokens",
        )
        .into());
    }
    if meeting.settings.require_auth && standing == Standing::Guest {
        return Err(match caller {
            Caller::Anonymous => {
                ApiError::unauthorized("this meeting takes no guests; sign in to join it")
            }
            _ => ApiError::forbidden("the token does not open this meeting"),
        }
        .into());
    }
    // A host's own role is not for its guests.
    let (role, account) = match (standing, &caller) {
        (Standing::Guest, _) | (Standing::Host, Caller::Host(_)) => (Role::Guest, None),
        _ if count > 1 || caller.is_service() => (Role::Guest, None),
        _ => (Role::Participant, access::account(&caller)),
    };
    let place = gc.place(&meeting).await?;
    let tokens = gc.join_tokens(meeting.id, account, role, count).await?;
    let answer = gc.access(&meeting, &place, &origin, tokens).await?;
    Ok(Json(if body.count.is_some() {
        answer.with_token_list()
    } else {
        answer
    }))
}
