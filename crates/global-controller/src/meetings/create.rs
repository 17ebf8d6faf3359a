//! `POST /meetings`

use std::sync::Arc;

use axum::{Json, extract::State};
use dt_ids::{MeetingCode, MeetingId};
use dt_service::http::{ApiError, Caller, ErrorBody, JsonOrDefault, Origin};
use dt_store::{MeetingChange, MeetingRecord, MeetingSettings};
use dt_token::{AccessClaims, Component, Operation, Role};
use http::StatusCode;
use time::{Duration, OffsetDateTime};

use super::{
    access,
    answer::MeetingAccess,
    request::{self, CreateMeeting},
};
use crate::{GlobalController, error::Failure};

/// Makes a meeting and says all that its maker needs to join it.
#[utoipa::path(
    post,
    path = "/meetings",
    tag = "meetings",
    request_body(content = CreateMeeting, description = "May be left out"),
    responses(
        (status = 201, description = "The meeting is ready", body = MeetingAccess),
        (status = 400, description = "A field is wrong", body = ErrorBody),
        (status = 401, description = "Creating needs an account here", body = ErrorBody),
        (status = 403, description = "The token lacks the scope", body = ErrorBody),
        (status = 409, description = "No server has room", body = ErrorBody),
        (status = 429, description = "Too many requests", body = ErrorBody),
        (status = 503, description = "A part of the service can't be reached", body = ErrorBody),
    ),
    security((), ("token" = [])),
)]
pub(crate) async fn create(
    State(gc): State<Arc<GlobalController>>,
    caller: Caller,
    origin: Origin,
    JsonOrDefault(body): JsonOrDefault<CreateMeeting>,
) -> Result<(StatusCode, Json<MeetingAccess>), Failure> {
    let claims = may_create(&caller, gc.config.accounts)?;
    let meeting = record(&gc, claims, &body)?;
    gc.deps.database.add_meeting(&meeting).await?;
    let place = match gc.place(&meeting).await {
        Ok(place) => place,
        Err(failure) => {
            // Nobody knows of it yet; a link that never worked is not kept open.
            gc.deps
                .database
                .end_meeting(meeting.id, meeting.created_at)
                .await?;
            return Err(failure);
        }
    };
    let account = access::account(&caller);
    let tokens = gc.join_tokens(meeting.id, account, Role::Host, 1).await?;
    let host_token = gc.host_token(&meeting).await?;
    let answer = gc.access(&meeting, &place, &origin, tokens).await?;
    tracing::info!(
        meeting_id = %meeting.id, controller_id = %place.controller.id, "a meeting was created"
    );
    Ok((
        StatusCode::CREATED,
        Json(answer.with_host_token(host_token)),
    ))
}

/// Whose meeting it will be.
fn may_create(caller: &Caller, accounts: bool) -> Result<Option<&AccessClaims>, ApiError> {
    match caller.accepted()? {
        Caller::Access(_) => caller.require(Operation::Write, Component::Gc).map(Some),
        _ if accounts => Err(ApiError::unauthorized(
            "sign in to create a meeting; guests may join one by its link",
        )),
        _ => Ok(None),
    }
}

fn record(
    gc: &GlobalController,
    claims: Option<&AccessClaims>,
    body: &CreateMeeting,
) -> Result<MeetingRecord, ApiError> {
    let seats = body
        .max_participants
        .unwrap_or(gc.config.max_participants_default);
    // What is stored has milliseconds; the answer says the same.
    let now = OffsetDateTime::now_utc();
    let now = now.replace_millisecond(now.millisecond()).unwrap_or(now);
    let days = gc.config.meeting_days.clamp(1, 400);
    let change = MeetingChange {
        settings: body.settings.accepted(gc.config.e2e_encryption_default)?,
        ..MeetingChange::default()
    };
    let meeting = MeetingRecord {
        id: MeetingId::random(),
        code: MeetingCode::random(),
        display_name: request::display_name(body.display_name.as_deref().unwrap_or_default())?,
        organisation: match claims {
            Some(AccessClaims::User(user)) => user.organisation,
            _ => None,
        },
        created_by: claims.and_then(AccessClaims::account),
        created_at: now,
        expires_at: now + Duration::days(days.into()),
        ended_at: None,
        max_participants: request::max_participants(seats, &gc.config)?,
        settings: MeetingSettings {
            enable_e2e_encryption: gc.config.e2e_encryption_default,
            ..MeetingSettings::default()
        },
    };
    Ok(change.applied_to(meeting))
}
