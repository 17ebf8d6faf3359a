//! Keeps the media handlers in the registry, and the certificate hashes there
//! up to date. The meeting controller sends its own heartbeats.

use std::{sync::Arc, time::Duration};

use dt_rpc::{Registry as _, RpcResult};
use dt_service::{
    supervise::Tasks,
    tls::{CertificateStore, Certificates},
};
use dt_wire::internal::{
    ControllerCapacity, HandlerHeartbeat, HealthStatus, RegisterMediaHandler,
    RegisterMeetingController,
};
use tokio::time::MissedTickBehavior;

use super::roles::{Roles, controller_endpoint, handler_endpoint};

/// The registry forgets who is silent for 15 s.
const EVERY: Duration = Duration::from_secs(5);
/// All roles of one process stand in one place.
const REGION: &str = "default";

/// Says at the registry that all handlers are there.
pub(super) async fn register_handlers(roles: &Roles, now: &Certificates) -> RpcResult<()> {
    for (number, (id, handler)) in roles.handlers.iter().enumerate() {
        let request = RegisterMediaHandler {
            handler_id: id.to_string(),
            region: REGION.to_owned(),
            endpoint: Some(handler_endpoint(roles.public, number, now)),
            capacity: Some(handler.capacity()),
        };
        roles.global.register_media_handler(request).await?;
    }
    Ok(())
}

/// Starts the task that keeps them there.
pub(super) fn spawn(tasks: &mut Tasks, roles: &Arc<Roles>, certificates: &CertificateStore) {
    let roles = Arc::clone(roles);
    let mut certificates = certificates.subscribe();
    tasks.spawn("heartbeats", |stop| async move {
        let mut ticks = tokio::time::interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let outcome = tokio::select! {
                () = stop.cancelled() => return Ok(()),
                Ok(()) = certificates.changed() => {
                    let now = certificates.borrow_and_update().clone();
                    announce(&roles, &now).await
                }
                _ = ticks.tick() => {
                    let now = certificates.borrow().clone();
                    beat(&roles, &now).await
                }
            };
            if let Err(error) = outcome {
                tracing::warn!(%error, "the registry does not answer; trying again");
            }
        }
    });
}

async fn beat(roles: &Roles, now: &Certificates) -> RpcResult<()> {
    for (id, handler) in &roles.handlers {
        let request = HandlerHeartbeat {
            handler_id: id.to_string(),
            capacity: Some(handler.capacity()),
            health: HealthStatus::Healthy.into(),
        };
        if roles.global.handler_heartbeat(request).await?.unknown {
            return register_handlers(roles, now).await;
        }
    }
    Ok(())
}

/// Tells every role and the registry by which certificates clients know these
/// servers from now on.
async fn announce(roles: &Roles, now: &Certificates) -> RpcResult<()> {
    for (number, (_, handler)) in roles.handlers.iter().enumerate() {
        handler.set_endpoint(handler_endpoint(roles.public, number, now));
    }
    let endpoint = controller_endpoint(roles.public, now);
    roles.meeting.set_endpoint(endpoint.clone());
    let (meetings, participants) = roles.meeting.load();
    let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    let request = RegisterMeetingController {
        controller_id: roles.meeting_id.to_string(),
        region: REGION.to_owned(),
        endpoint: Some(endpoint),
        // Its next heartbeat says how much it can hold.
        capacity: Some(ControllerCapacity {
            current_meetings: number(meetings),
            current_participants: number(participants),
            ..ControllerCapacity::default()
        }),
    };
    roles.global.register_meeting_controller(request).await?;
    register_handlers(roles, now).await
}
