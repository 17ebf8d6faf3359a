//! The controller as the global controller sees it.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use dt_ids::{HandlerId, MeetingCode, MeetingId};
use dt_meeting_core::{Config as Core, Meeting, RouteIds, Settings, SframeSuite};
use dt_rpc::{RpcError, RpcResult};
use dt_store::{AcquireError, Lease, keys};
use dt_wire::internal::{
    AssignMeeting, AssignMeetingResponse, EndMeetingCall, EndMeetingCallResponse, MeetingConfig,
    UpdateMeeting, UpdateMeetingResponse,
};
use tokio::sync::oneshot;

use crate::{
    Inner, MeetingController,
    handler::{self, Link},
    lease,
    meeting::{self, Command},
};

/// Media handlers of one meeting at most; those named last are left out.
const HANDLERS_MAX: usize = 8;

#[async_trait]
impl dt_rpc::MeetingController for MeetingController {
    async fn assign_meeting(&self, request: AssignMeeting) -> RpcResult<AssignMeetingResponse> {
        let meeting = parse(&request.meeting_id)?;
        let config = request
            .config
            .ok_or_else(|| RpcError::Invalid("no config".into()))?;
        let settings = settings(&config)?;
        let handlers = request.handler_ids.iter().map(|id| {
            id.parse()
                .map_err(|_| RpcError::Invalid("handler_ids must be UUIDs".into()))
        });
        let mut handlers: Vec<HandlerId> = handlers.collect::<RpcResult<_>>()?;
        handlers.truncate(HANDLERS_MAX);
        let _assigning = self.inner.meetings.assigning(meeting).await;
        if let Some(running) = self.inner.meetings.get(meeting) {
            let keepers = self.inner.keepers_for(&running, &settings).await?;
            let links = self.inner.links_to(&handlers);
            let (reply, answer) = oneshot::channel();
            running
                .send(Command::Assigned(settings.clone(), keepers, links, reply))
                .await;
            if answer.await.is_ok() {
                return Ok(AssignMeetingResponse {});
            }
            // It stopped just now: it is started anew.
        }
        self.inner
            .begin(meeting, settings, &config.meeting_code, handlers)
            .await?;
        Ok(AssignMeetingResponse {})
    }

    async fn update_meeting(&self, request: UpdateMeeting) -> RpcResult<UpdateMeetingResponse> {
        let meeting = parse(&request.meeting_id)?;
        let config = request
            .config
            .ok_or_else(|| RpcError::Invalid("no config".into()))?;
        let settings = settings(&config)?;
        let running = self.inner.meetings.get(meeting);
        let running = running.ok_or_else(|| RpcError::NotFound("not running here".into()))?;
        let keepers = self.inner.keepers_for(&running, &settings).await?;
        let (reply, answer) = oneshot::channel();
        running
            .send(Command::Settings(settings, keepers, reply))
            .await;
        match answer.await {
            Ok(Ok(())) => Ok(UpdateMeetingResponse {}),
            Ok(Err(error)) => Err(RpcError::Invalid(error.to_string())),
            Err(_) => Err(RpcError::NotFound("not running here".into())),
        }
    }

    async fn end_meeting(&self, request: EndMeetingCall) -> RpcResult<EndMeetingCallResponse> {
        let meeting = parse(&request.meeting_id)?;
        let _assigning = self.inner.meetings.assigning(meeting).await;
        if let Some(running) = self.inner.meetings.get(meeting) {
            let (reply, answer) = oneshot::channel();
            running.send(Command::End(reply)).await;
            let _ = answer.await;
        }
        // Also when it does not run: nobody starts it again.
        lease::mark_ended(&*self.inner.state, meeting).await;
        self.inner.meetings.remove(meeting, true);
        Ok(EndMeetingCallResponse {})
    }
}

impl Inner {
    /// The links there are to these handlers. Nobody who joins waits for another
    /// one: it is made meanwhile, for the next time.
    fn links_to(self: &Arc<Self>, handlers: &[HandlerId]) -> Vec<Arc<Link>> {
        let mut links = Vec::new();
        for id in handlers.iter().copied() {
            match self.links.get(id) {
                Some(link) => links.push(link),
                None => {
                    let inner = Arc::clone(self);
                    self.tasks.spawn(async move {
                        if let Err(error) = handler::connect(&inner, id).await {
                            tracing::warn!(handler_id = %id, %error, "no media handler");
                        }
                    });
                }
            }
        }
        links
    }

    /// Starts a meeting's task under a new lease.
    async fn begin(
        self: &Arc<Self>,
        meeting: MeetingId,
        settings: Settings,
        code: &str,
        handlers: Vec<HandlerId>,
    ) -> RpcResult<()> {
        if self.stop.is_cancelled() {
            return Err(RpcError::Capacity(
                "this controller is shutting down".into(),
            ));
        }
        if self.meetings.len() >= self.config.meetings_max
            || self.meetings.participants() >= self.config.participants_max
        {
            return Err(RpcError::Capacity("this controller is full".into()));
        }
        if handlers.is_empty() {
            return Err(RpcError::Invalid("a meeting needs a media handler".into()));
        }
        match self.state.get(&keys::meeting_ended(meeting)).await {
            Ok(None) => {}
            Ok(Some(_)) => return Err(RpcError::NotFound("Meeting has ended".into())),
            Err(error) => return Err(RpcError::Unavailable(error.to_string())),
        }
        // Those that can't be reached are left out; one is enough.
        let mut reachable = Vec::new();
        let mut failure = None;
        for id in handlers {
            match handler::connect(self, id).await {
                Ok(link) => reachable.push(link),
                Err(error) => {
                    tracing::warn!(meeting_id = %meeting, handler_id = %id, %error, "no media handler");
                    failure = Some(error);
                }
            }
        }
        if let (true, Some(error)) = (reachable.is_empty(), failure) {
            return Err(RpcError::Unavailable(format!("no media handler: {error}")));
        }
        let lease = self.acquire(meeting).await?;
        let keepers = match self.keepers(&lease, meeting, &settings).await {
            Ok(keepers) => keepers,
            Err(error) => {
                let _ = self.state.release(&lease).await;
                return Err(error);
            }
        };
        let core = Meeting::new(
            Core {
                meeting,
                lease: lease.generation,
                handlers: reachable.iter().map(|link| link.id).collect(),
                route_ids: Some(Arc::clone(&self.links.numbers) as Arc<dyn RouteIds>),
                settings,
                keepers,
                limits: self.config.meeting.clone(),
            },
            self.clock.now(),
        );
        let code: Option<MeetingCode> = code.parse().ok();
        meeting::start(self, core, meeting, reachable, lease, code);
        Ok(())
    }

    async fn acquire(&self, meeting: MeetingId) -> RpcResult<Lease> {
        let ttl = Duration::from_millis(self.config.lease_ms);
        let owner = self.config.controller_id.to_string();
        match self
            .state
            .acquire(&keys::meeting_lease(meeting), &owner, ttl)
            .await
        {
            Ok(lease) => Ok(lease),
            Err(AcquireError::Held(_)) => Err(RpcError::Fenced(
                "another controller runs the meeting".into(),
            )),
            Err(AcquireError::Store(error)) => Err(RpcError::Unavailable(error.to_string())),
        }
    }
}

fn parse(meeting: &str) -> RpcResult<MeetingId> {
    meeting
        .parse()
        .map_err(|_| RpcError::Invalid("meeting_id must be a UUID".into()))
}

fn settings(config: &MeetingConfig) -> RpcResult<Settings> {
    if config.recording_enabled {
        return Err(RpcError::Invalid("recording is not available yet".into()));
    }
    if config.max_participants == 0 {
        return Err(RpcError::Invalid(
            "max_participants must be at least 1".into(),
        ));
    }
    let suite = match config.sframe_suite {
        0 => SframeSuite::default(),
        number => SframeSuite::from_u32(number)
            .ok_or_else(|| RpcError::Invalid("sframe_suite must be 4 or 5".into()))?,
    };
    Ok(Settings {
        display_name: config.display_name.clone(),
        participants_max: config.max_participants as usize,
        encryption: config.enable_e2e_encryption.then_some(suite),
        hide_audio_levels: config.hide_audio_levels,
    })
}
