//! `PATCH /meetings/{meeting}` and `DELETE /meetings/{meeting}`

use std::sync::Arc;

use axum::{Json, extract::State};
use dt_rpc::{MeetingController, RpcError};
use dt_service::http::{ApiError, Caller, ErrorBody, Json as JsonBody, Origin, Path};
use dt_store::{MeetingChange, MeetingRecord, keys};
use dt_wire::internal::{EndMeetingCall, UpdateMeeting};
use http::StatusCode;
use time::OffsetDateTime;

use super::{
    access,
    answer::Meeting,
    request::{self, ChangeMeeting},
};
use crate::{GlobalController, error::Failure, placement};

/// Changes a meeting, also while it runs.
#[utoipa::path(
    patch,
    path = "/meetings/{meeting}",
    tag = "meetings",
    params(("meeting" = String, Path, description = "The meeting's id or code")),
    request_body = ChangeMeeting,
    responses(
        (status = 200, description = "The meeting as it is now", body = Meeting),
        (status = 400, description = "A field is wrong", body = ErrorBody),
        (status = 401, description = "A token is needed", body = ErrorBody),
        (status = 403, description = "Only a host may do this", body = ErrorBody),
        (status = 404, description = "No such meeting, or it is over", body = ErrorBody),
        (status = 429, description = "Too many requests", body = ErrorBody),
        (status = 503, description = "A part of the service can't be reached", body = ErrorBody),
    ),
    security(("token" = [])),
)]
pub(crate) async fn change(
    State(gc): State<Arc<GlobalController>>,
    caller: Caller,
    origin: Origin,
    Path(name): Path<String>,
    JsonBody(body): JsonBody<ChangeMeeting>,
) -> Result<Json<Meeting>, Failure> {
    let meeting = gc.find_open(&name).await?;
    access::require_host(&caller, &meeting)?;
    let change = MeetingChange {
        display_name: body
            .display_name
            .as_deref()
            .map(request::display_name)
            .transpose()?,
        max_participants: body
            .max_participants
            .map(|seats| request::max_participants(seats, &gc.config))
            .transpose()?,
        expires_at: None,
        settings: body.settings.accepted_for(&meeting.settings)?,
    };
    let changed = gc.deps.database.change_meeting(meeting.id, &change).await?;
    let meeting = changed.ok_or_else(|| {
        ApiError::meeting_not_found("the meeting has ended").with_detail("reason", "ended")
    })?;
    if let Some(controller) = gc.controller_of(&meeting).await? {
        let update = UpdateMeeting {
            meeting_id: meeting.id.to_string(),
            config: Some(placement::meeting_config(&meeting)),
        };
        match controller.update_meeting(update).await {
            // One that does not run is told its settings when it does.
            Ok(_) | Err(RpcError::NotFound(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(Json(gc.describe(&meeting, &origin).await?))
}

/// Ends a meeting for everybody. Doing it again changes nothing.
#[utoipa::path(
    delete,
    path = "/meetings/{meeting}",
    tag = "meetings",
    params(("meeting" = String, Path, description = "The meeting's id or code")),
    responses(
        (status = 204, description = "The meeting is over"),
        (status = 401, description = "A token is needed", body = ErrorBody),
        (status = 403, description = "Only a host may do this", body = ErrorBody),
        (status = 404, description = "No such meeting", body = ErrorBody),
        (status = 429, description = "Too many requests", body = ErrorBody),
        (status = 503, description = "A part of the service can't be reached", body = ErrorBody),
    ),
    security(("token" = [])),
)]
pub(crate) async fn end(
    State(gc): State<Arc<GlobalController>>,
    caller: Caller,
    Path(name): Path<String>,
) -> Result<StatusCode, Failure> {
    let meeting = gc.find(&name).await?;
    access::require_host(&caller, &meeting)?;
    // First the record, so that nobody new comes in while the others go.
    let ended_now = gc
        .deps
        .database
        .end_meeting(meeting.id, OffsetDateTime::now_utc())
        .await?;
    if let Some(controller) = gc.controller_of(&meeting).await? {
        let call = EndMeetingCall {
            meeting_id: meeting.id.to_string(),
        };
        match controller.end_meeting(call).await {
            Ok(_) | Err(RpcError::NotFound(_)) => {}
            // The client asks again, and it is tried again.
            Err(error) => return Err(error.into()),
        }
        gc.deps
            .state
            .delete(&keys::meeting_assignment(meeting.id))
            .await?;
    }
    if ended_now {
        tracing::info!(meeting_id = %meeting.id, "a meeting was ended");
    }
    Ok(StatusCode::NO_CONTENT)
}

impl GlobalController {
    /// The controller that runs this meeting, if one does.
    async fn controller_of(
        &self,
        meeting: &MeetingRecord,
    ) -> Result<Option<Arc<dyn MeetingController>>, Failure> {
        let Some(assigned) = self.assignment(meeting.id).await? else {
            return Ok(None);
        };
        Ok(self.deps.controllers.controller(assigned.controller).await)
    }
}
