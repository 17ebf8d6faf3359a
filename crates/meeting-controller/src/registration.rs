//! Saying at the registry that this controller is there, and how full it is.

use std::{sync::Arc, time::Duration};

use dt_rpc::RpcError;
use dt_wire::internal::{
    ControllerCapacity, ControllerHeartbeat, HealthStatus, RegisterMeetingController,
};
use tokio::time::{MissedTickBehavior, interval};

use crate::{Inner, lock};

/// Registers once; false when it must be tried again.
pub(crate) async fn register(inner: &Inner) -> bool {
    let request = RegisterMeetingController {
        controller_id: inner.config.controller_id.to_string(),
        region: inner.config.region.clone(),
        endpoint: Some(lock(&inner.endpoint).clone()),
        capacity: Some(capacity(inner)),
    };
    match inner.registry.register_meeting_controller(request).await {
        Ok(_) => true,
        Err(error) => {
            tracing::warn!(%error, "the registry does not take the controller; trying again");
            false
        }
    }
}

/// Heartbeats until the controller stops.
pub(crate) async fn keep(inner: Arc<Inner>, mut registered: bool) {
    let mut ticks = interval(Duration::from_millis(inner.config.heartbeat_ms));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // The first tick comes at once; the registration was just made.
    ticks.tick().await;
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = inner.stop.cancelled() => break,
        }
        registered = registered && heartbeat(&inner).await;
        if !registered {
            registered = register(&inner).await;
        }
    }
}

/// False when the registry has forgotten this controller.
async fn heartbeat(inner: &Inner) -> bool {
    let request = ControllerHeartbeat {
        controller_id: inner.config.controller_id.to_string(),
        capacity: Some(capacity(inner)),
        health: HealthStatus::Healthy.into(),
    };
    match inner.registry.controller_heartbeat(request).await {
        Ok(response) => !response.unknown,
        Err(RpcError::NotFound(_)) => false,
        Err(error) => {
            tracing::warn!(%error, "a heartbeat did not reach the registry");
            true
        }
    }
}

fn capacity(inner: &Inner) -> ControllerCapacity {
    let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    ControllerCapacity {
        max_meetings: number(inner.config.meetings_max),
        current_meetings: number(inner.meetings.len()),
        max_participants: number(inner.config.participants_max),
        current_participants: number(inner.meetings.participants()),
    }
}
