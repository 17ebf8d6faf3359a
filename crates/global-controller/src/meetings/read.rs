//! `GET /meetings/{meeting}` and `GET /meetings`

use std::sync::Arc;

use axum::{Json, extract::State};
use dt_service::http::{ApiError, Caller, ErrorBody, Origin, Path, Query};
use dt_store::MeetingFilter;
use dt_token::{AccessClaims, Component, Operation};
use time::OffsetDateTime;

use super::{
    access::{self, Standing},
    answer::{MeetingAccess, MeetingList},
    request::ListMeetings,
};
use crate::{GlobalController, error::Failure};

/// A meeting, and all that the caller needs to join it.
///
/// With the meeting's host token or its maker's access token the join token has
/// the role of host. Guests use `POST /meetings/{meeting}/guest-token`.
#[utoipa::path(
    get,
    path = "/meetings/{meeting}",
    tag = "meetings",
    params(("meeting" = String, Path, description = "The meeting's id or code")),
    responses(
        (status = 200, description = "The meeting", body = MeetingAccess),
        (status = 401, description = "A token is needed", body = ErrorBody),
        (status = 403, description = "The token does not allow this", body = ErrorBody),
        (status = 404, description = "No such meeting, or it is over", body = ErrorBody),
        (status = 429, description = "Too many requests", body = ErrorBody),
        (status = 503, description = "A part of the service can't be reached", body = ErrorBody),
    ),
    security(("token" = [])),
)]
pub(crate) async fn get(
    State(gc): State<Arc<GlobalController>>,
    caller: Caller,
    origin: Origin,
    Path(name): Path<String>,
) -> Result<Json<MeetingAccess>, Failure> {
    if *caller.accepted()? == Caller::Anonymous {
        return Err(ApiError::unauthorized(
            "a host token or access token is needed; guests ask for a guest-token",
        )
        .into());
    }
    let meeting = gc.find_open(&name).await?;
    let standing = access::standing(&caller, &meeting)?;
    if standing == Standing::Guest {
        return Err(ApiError::forbidden("the token does not open this meeting").into());
    }
    let place = gc.place(&meeting).await?;
    let account = access::account(&caller);
    let tokens = gc
        .join_tokens(meeting.id, account, standing.role(), 1)
        .await?;
    Ok(Json(gc.access(&meeting, &place, &origin, tokens).await?))
}

/// Meetings that the caller may see: a person's own, a program's all.
#[utoipa::path(
    get,
    path = "/meetings",
    tag = "meetings",
    params(ListMeetings),
    responses(
        (status = 200, description = "The meetings, newest first", body = MeetingList),
        (status = 400, description = "A parameter is wrong", body = ErrorBody),
        (status = 401, description = "An access token is needed", body = ErrorBody),
        (status = 403, description = "Another account's meetings", body = ErrorBody),
        (status = 429, description = "Too many requests", body = ErrorBody),
        (status = 503, description = "A part of the service can't be reached", body = ErrorBody),
    ),
    security(("token" = [])),
)]
pub(crate) async fn list(
    State(gc): State<Arc<GlobalController>>,
    caller: Caller,
    origin: Origin,
    Query(query): Query<ListMeetings>,
) -> Result<Json<MeetingList>, Failure> {
    let filter = filter(&caller, &query)?;
    let page = gc.deps.database.meetings(&filter).await?;
    let mut meetings = Vec::with_capacity(page.meetings.len());
    for meeting in &page.meetings {
        meetings.push(gc.describe(meeting, &origin).await?);
    }
    Ok(Json(MeetingList {
        meetings,
        total: page.total,
    }))
}

/// What of the wished list the caller may see.
fn filter(caller: &Caller, query: &ListMeetings) -> Result<MeetingFilter, ApiError> {
    // Whoever administers may read.
    let admin = caller.require(Operation::Admin, Component::Gc).ok();
    let claims = match admin {
        Some(claims) => claims,
        None => caller.require(Operation::Read, Component::Gc)?,
    };
    let (created_by, organisation) = match claims {
        AccessClaims::Service(_) => (query.user_id, None),
        AccessClaims::User(user) if admin.is_some() && user.organisation.is_some() => {
            (query.user_id, user.organisation)
        }
        AccessClaims::User(user) => match query.user_id {
            Some(asked) if asked != user.account => {
                return Err(ApiError::forbidden("these are another account's meetings"));
            }
            _ => (Some(user.account), None),
        },
    };
    Ok(MeetingFilter {
        created_by,
        organisation,
        active_at: query.active.unwrap_or(false).then(OffsetDateTime::now_utc),
        limit: query.limit()?,
        offset: query.offset.unwrap_or(0),
    })
}
