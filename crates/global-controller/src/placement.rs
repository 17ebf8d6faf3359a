//! Where a meeting runs: found in the state store, or chosen and assigned.
//!
//! Asked for at every request that lets somebody join, so that a meeting whose
//! controller went is given to another one by whoever comes next. That two
//! instances choose at once does no harm: they find the same servers, and the
//! controller's lease on the meeting decides.

use std::time::Duration;

use dt_ids::{HandlerId, MeetingId};
use dt_placement_core::rank;
use dt_rpc::RpcError;
use dt_store::{MeetingRecord, keys, keys::MeetingAssignment};
use dt_wire::internal::{AssignMeeting, MeetingConfig};
use time::OffsetDateTime;

use crate::{
    GlobalController,
    error::Failure,
    registry::{self, ControllerEntry, HandlerEntry},
};

/// The servers of a meeting.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) controller: ControllerEntry,
    /// First choice first.
    pub(crate) handlers: Vec<HandlerEntry>,
}

impl GlobalController {
    /// The servers of this meeting; its controller is ready for participants.
    pub(crate) async fn place(&self, meeting: &MeetingRecord) -> Result<Place, Failure> {
        let state = &*self.deps.state;
        let assigned = self.assignment(meeting.id).await?;
        let controllers = self.rank_controllers(meeting.id, assigned.as_ref()).await?;
        let handlers = self.pick_handlers(meeting.id, assigned.as_ref()).await?;
        if handlers.is_empty() {
            return Err(RpcError::Unavailable("no media handler is there".to_owned()).into());
        }
        let mut last = RpcError::Unavailable("no meeting controller is there".to_owned());
        for controller in controllers {
            match self.assign(meeting, &controller, &handlers).await {
                Ok(()) => {
                    let chosen = MeetingAssignment {
                        controller: controller.id,
                        handlers: handlers.iter().map(|handler| handler.id).collect(),
                    };
                    if assigned.as_ref() != Some(&chosen) {
                        let lives = meeting.expires_at - OffsetDateTime::now_utc();
                        let lives = Duration::try_from(lives).unwrap_or_default();
                        let key = keys::meeting_assignment(meeting.id);
                        state.put(&key, chosen.to_bytes(), Some(lives)).await?;
                    }
                    return Ok(Place {
                        controller,
                        handlers,
                    });
                }
                Err(error) => {
                    tracing::info!(
                        meeting_id = %meeting.id, controller_id = %controller.id, %error,
                        "a controller did not take the meeting"
                    );
                    last = error;
                }
            }
        }
        Err(last.into())
    }

    /// Who was picked for a meeting, if anybody was.
    pub(crate) async fn assignment(
        &self,
        meeting: MeetingId,
    ) -> Result<Option<MeetingAssignment>, Failure> {
        let bytes = self
            .deps
            .state
            .get(&keys::meeting_assignment(meeting))
            .await?;
        Ok(bytes.and_then(|bytes| MeetingAssignment::from_bytes(&bytes)))
    }

    /// Controllers to try in this order. The one that has the meeting stays
    /// first whatever its load: it has room for those it let in.
    async fn rank_controllers(
        &self,
        meeting: MeetingId,
        assigned: Option<&MeetingAssignment>,
    ) -> Result<Vec<ControllerEntry>, Failure> {
        let mut left = registry::controllers(&*self.deps.state).await?;
        let mut order = Vec::new();
        let current = assigned.and_then(|a| left.iter().position(|c| c.id == a.controller));
        order.extend(current.map(|place| left.swap_remove(place)));
        let candidates: Vec<_> = left.iter().map(ControllerEntry::candidate).collect();
        for candidate in rank(meeting, self.config.region.as_deref(), &candidates) {
            let entry = left
                .iter()
                .find(|entry| entry.id.into_bytes() == candidate.id);
            order.extend(entry.cloned());
        }
        Ok(order)
    }

    /// All handlers that could serve the meeting, first choice first: those it has
    /// before others. How many it needs is its controller's to say.
    async fn pick_handlers(
        &self,
        meeting: MeetingId,
        assigned: Option<&MeetingAssignment>,
    ) -> Result<Vec<HandlerEntry>, Failure> {
        let there = registry::handlers(&*self.deps.state).await?;
        let entry = |id: HandlerId| there.iter().find(|entry| entry.id == id).cloned();
        let candidates: Vec<_> = there.iter().map(HandlerEntry::candidate).collect();
        let ranked = rank(meeting, self.config.region.as_deref(), &candidates);
        let ranked: Vec<HandlerId> = ranked
            .into_iter()
            .map(|candidate| HandlerId::from_bytes(candidate.id))
            .collect();
        let kept = assigned.map_or(&[][..], |assigned| &assigned.handlers);
        let kept = || kept.iter().copied();
        let mut order: Vec<HandlerId> = kept().filter(|id| ranked.contains(id)).collect();
        order.extend(ranked.iter().filter(|id| !kept().any(|kept| kept == **id)));
        if order.is_empty() {
            // None is well; those that have the meeting may still serve it.
            order.extend(kept());
        }
        let mut picked: Vec<_> = order.into_iter().filter_map(entry).collect();
        picked.truncate(self.config.handlers_per_meeting.max(1));
        Ok(picked)
    }

    async fn assign(
        &self,
        meeting: &MeetingRecord,
        controller: &ControllerEntry,
        handlers: &[HandlerEntry],
    ) -> Result<(), RpcError> {
        let there = self.deps.controllers.controller(controller.id).await;
        let there = there.ok_or_else(|| RpcError::Unavailable("no way to it".to_owned()))?;
        let request = AssignMeeting {
            meeting_id: meeting.id.to_string(),
            config: Some(meeting_config(meeting)),
            handler_ids: handlers
                .iter()
                .map(|handler| handler.id.to_string())
                .collect(),
        };
        there.assign_meeting(request).await.map(drop)
    }
}

/// What a controller is told of a meeting.
pub(crate) fn meeting_config(meeting: &MeetingRecord) -> MeetingConfig {
    MeetingConfig {
        display_name: meeting.display_name.clone(),
        max_participants: meeting.max_participants,
        enable_e2e_encryption: meeting.settings.enable_e2e_encryption,
        recording_enabled: meeting.settings.recording_enabled,
        hide_audio_levels: meeting.settings.hide_audio_levels,
        meeting_code: meeting.code.to_string(),
        sframe_suite: meeting.settings.sframe_cipher.suite(),
    }
}
