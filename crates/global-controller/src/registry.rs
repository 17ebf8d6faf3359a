//! Who is there: meeting controllers and media handlers, as they say of
//! themselves.
//!
//! Each entry lives 15 s in the state store and is renewed by heartbeats, so
//! that a server which falls silent is not chosen any more, whichever instance
//! it spoke to.

use std::{fmt::Display, str::FromStr, time::Duration};

use async_trait::async_trait;
use base64::{Engine as _, prelude::BASE64_STANDARD};
use dt_ids::{ControllerId, HandlerId};
use dt_placement_core::Candidate;
use dt_rpc::{RpcError, RpcResult};
use dt_store::{StateError, StateStore, keys};
use dt_wire::internal::{
    ControllerCapacity, ControllerHeartbeat, ControllerHeartbeatResponse, Endpoint,
    HandlerCapacity, HandlerHeartbeat, HandlerHeartbeatResponse, HealthStatus,
    RegisterMediaHandler, RegisterMediaHandlerResponse, RegisterMeetingController,
    RegisterMeetingControllerResponse,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use url::Url;

use crate::GlobalController;

/// An entry that is not renewed for this long is gone: three heartbeats.
const ENTRY_LIVES: Duration = Duration::from_secs(15);
const REGION_BYTES_MAX: usize = 64;
/// Certificate hashes of an endpoint: the one in use and the next, with room.
const HASHES_MAX: usize = 8;

/// Where clients dial a server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Address {
    /// A host of `*` stands for the one by which the client came.
    pub(crate) url: String,
    pub(crate) websocket_url: Option<String>,
    /// Base64 of SHA-256.
    pub(crate) certificate_hashes: Vec<String>,
}

/// What the registry knows of a server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Entry<Id> {
    pub(crate) id: Id,
    pub(crate) region: String,
    pub(crate) address: Address,
    healthy: bool,
    /// Share of its capacity in use.
    load: f64,
}

pub(crate) type ControllerEntry = Entry<ControllerId>;
pub(crate) type HandlerEntry = Entry<HandlerId>;

impl ControllerEntry {
    pub(crate) fn candidate(&self) -> Candidate<[u8; 16]> {
        self.candidate_as(self.id.into_bytes())
    }
}

impl HandlerEntry {
    pub(crate) fn candidate(&self) -> Candidate<[u8; 16]> {
        self.candidate_as(self.id.into_bytes())
    }
}

impl<Id> Entry<Id> {
    fn candidate_as(&self, id: [u8; 16]) -> Candidate<[u8; 16]> {
        Candidate {
            id,
            region: self.region.clone(),
            healthy: self.healthy,
            load: self.load,
        }
    }
}

impl<Id: Serialize + DeserializeOwned> Entry<Id> {
    async fn store(&self, state: &dyn StateStore, key: &str) -> RpcResult<()> {
        let bytes = serde_json::to_vec(self).expect("texts and numbers are always JSON");
        state
            .put(key, bytes.into(), Some(ENTRY_LIVES))
            .await
            .map_err(unavailable)
    }

    /// Takes a heartbeat into the entry. Whether there is one.
    async fn beat(
        state: &dyn StateStore,
        key: &str,
        healthy: bool,
        load: Option<f64>,
    ) -> RpcResult<bool> {
        let Some(bytes) = state.get(key).await.map_err(unavailable)? else {
            return Ok(false);
        };
        let Ok(mut entry) = serde_json::from_slice::<Self>(&bytes) else {
            return Ok(false);
        };
        entry.healthy = healthy;
        entry.load = load.unwrap_or(entry.load);
        entry.store(state, key).await?;
        Ok(true)
    }

    async fn all(state: &dyn StateStore, prefix: &str) -> Result<Vec<Self>, StateError> {
        let entries = state.list(prefix).await?;
        // One of another version is passed over; it is written again in 5 s.
        Ok(entries
            .iter()
            .filter_map(|(_, bytes)| serde_json::from_slice(bytes).ok())
            .collect())
    }
}

/// All meeting controllers that are there.
pub(crate) async fn controllers(
    state: &dyn StateStore,
) -> Result<Vec<ControllerEntry>, StateError> {
    Entry::all(state, keys::REGISTRY_CONTROLLERS).await
}

/// All media handlers that are there.
pub(crate) async fn handlers(state: &dyn StateStore) -> Result<Vec<HandlerEntry>, StateError> {
    Entry::all(state, keys::REGISTRY_HANDLERS).await
}

#[async_trait]
impl dt_rpc::Registry for GlobalController {
    async fn register_meeting_controller(
        &self,
        request: RegisterMeetingController,
    ) -> RpcResult<RegisterMeetingControllerResponse> {
        let id: ControllerId = parse(&request.controller_id)?;
        let entry = Entry {
            id,
            region: region(request.region)?,
            address: address(request.endpoint)?,
            healthy: true,
            load: controller_load(request.capacity.as_ref()).unwrap_or(0.0),
        };
        entry
            .store(&*self.deps.state, &keys::registry_controller(id))
            .await?;
        tracing::info!(controller_id = %id, region = entry.region, "a meeting controller registered");
        Ok(RegisterMeetingControllerResponse {})
    }

    async fn controller_heartbeat(
        &self,
        request: ControllerHeartbeat,
    ) -> RpcResult<ControllerHeartbeatResponse> {
        let id: ControllerId = parse(&request.controller_id)?;
        let known = ControllerEntry::beat(
            &*self.deps.state,
            &keys::registry_controller(id),
            is_healthy(request.health()),
            controller_load(request.capacity.as_ref()),
        )
        .await?;
        Ok(ControllerHeartbeatResponse { unknown: !known })
    }

    async fn register_media_handler(
        &self,
        request: RegisterMediaHandler,
    ) -> RpcResult<RegisterMediaHandlerResponse> {
        let id: HandlerId = parse(&request.handler_id)?;
        let entry = Entry {
            id,
            region: region(request.region)?,
            address: address(request.endpoint)?,
            healthy: true,
            load: handler_load(request.capacity.as_ref()).unwrap_or(0.0),
        };
        entry
            .store(&*self.deps.state, &keys::registry_handler(id))
            .await?;
        tracing::info!(handler_id = %id, region = entry.region, "a media handler registered");
        Ok(RegisterMediaHandlerResponse {})
    }

    async fn handler_heartbeat(
        &self,
        request: HandlerHeartbeat,
    ) -> RpcResult<HandlerHeartbeatResponse> {
        let id: HandlerId = parse(&request.handler_id)?;
        let known = HandlerEntry::beat(
            &*self.deps.state,
            &keys::registry_handler(id),
            is_healthy(request.health()),
            handler_load(request.capacity.as_ref()),
        )
        .await?;
        Ok(HandlerHeartbeatResponse { unknown: !known })
    }
}

fn unavailable(error: StateError) -> RpcError {
    RpcError::Unavailable(error.to_string())
}

fn parse<Id: FromStr<Err: Display>>(text: &str) -> RpcResult<Id> {
    text.parse()
        .map_err(|error: Id::Err| RpcError::Invalid(error.to_string()))
}

fn region(region: String) -> RpcResult<String> {
    if region.len() > REGION_BYTES_MAX {
        return Err(RpcError::Invalid(
            "the region's name is too long".to_owned(),
        ));
    }
    Ok(region)
}

fn address(endpoint: Option<Endpoint>) -> RpcResult<Address> {
    let invalid = |message: &str| RpcError::Invalid(message.to_owned());
    let endpoint = endpoint.ok_or_else(|| invalid("an endpoint is needed"))?;
    // `*` is no host; any other one in its place shows whether the rest is a URL.
    let url = Url::parse(&endpoint.url.replacen("://*", "://any.invalid", 1))
        .map_err(|_| invalid("the endpoint's url is not a URL"))?;
    if url.scheme() != "https" {
        return Err(invalid("the endpoint's url must begin with https://"));
    }
    let hashes = &endpoint.certificate_hashes;
    if hashes.len() > HASHES_MAX || hashes.iter().any(|hash| hash.len() != 32) {
        return Err(invalid("certificate hashes are 32 bytes each"));
    }
    Ok(Address {
        certificate_hashes: hashes
            .iter()
            .map(|hash| BASE64_STANDARD.encode(hash))
            .collect(),
        websocket_url: Some(endpoint.websocket_url).filter(|url| !url.is_empty()),
        url: endpoint.url,
    })
}

const fn is_healthy(health: HealthStatus) -> bool {
    match health {
        HealthStatus::Healthy | HealthStatus::Degraded => true,
        HealthStatus::Unhealthy => false,
    }
}

fn controller_load(capacity: Option<&ControllerCapacity>) -> Option<f64> {
    let capacity = capacity?;
    let meetings = share(capacity.current_meetings, capacity.max_meetings);
    Some(meetings.max(share(
        capacity.current_participants,
        capacity.max_participants,
    )))
}

fn handler_load(capacity: Option<&HandlerCapacity>) -> Option<f64> {
    capacity.map(|capacity| share(capacity.current_streams, capacity.max_streams))
}

/// A maximum of 0 is none.
fn share(current: u32, max: u32) -> f64 {
    if max == 0 {
        0.0
    } else {
        f64::from(current) / f64::from(max)
    }
}
