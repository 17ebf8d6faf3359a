//! The interfaces between the roles.
//!
//! A service implements the trait of its role; who calls it holds an
//! `Arc<dyn …>`. In one process that is the service itself; between processes a
//! gRPC carrier will implement the same traits, so that no caller knows the
//! difference. Requests and answers are the messages of
//! `proto/darktower/internal/v1`.
//!
//! Deliberately absent: any rule about meetings, media or tokens.

mod jwks;

use std::{collections::HashMap, sync::Arc};

use async_trait::async_trait;
use dt_ids::HandlerId;
use dt_wire::internal::{
    AssignMeeting, AssignMeetingResponse, ControllerHeartbeat, ControllerHeartbeatResponse,
    EndMeetingCall, EndMeetingCallResponse, GetJwks, GetJwksResponse, HandlerEvent,
    HandlerHeartbeat, HandlerHeartbeatResponse, IssueMeetingToken, IssueMeetingTokenResponse,
    RegisterController, RegisterControllerResponse, RegisterMediaHandler,
    RegisterMediaHandlerResponse, RegisterMeetingController, RegisterMeetingControllerResponse,
    RegisterParticipant, RegisterParticipantResponse, RouteMediaCommand, RouteMediaResponse,
    TelemetryRequest, UnregisterParticipant, UnregisterParticipantResponse, UpdateMeeting,
    UpdateMeetingResponse,
};
use tokio::sync::mpsc;

pub use jwks::AuthJwks;

/// Why a call was not carried out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RpcError {
    /// The request makes no sense; sending it again will not help.
    #[error("invalid request: {0}")]
    Invalid(String),
    /// What the request names does not exist (any more).
    #[error("not found: {0}")]
    NotFound(String),
    /// The server is full or draining; another one may take it.
    #[error("no capacity: {0}")]
    Capacity(String),
    /// A newer lease on the meeting exists; the caller must stop acting for it.
    #[error("fenced off: {0}")]
    Fenced(String),
    /// The server or a store behind it can't be reached; later it may.
    #[error("unavailable: {0}")]
    Unavailable(String),
    /// A bug on the other side.
    #[error("internal error: {0}")]
    Internal(String),
}

/// Answer of a call.
pub type RpcResult<T> = Result<T, RpcError>;

/// The auth controller as other roles see it.
#[async_trait]
pub trait AuthController: Send + Sync {
    /// Signs join or host tokens for one meeting.
    async fn issue_meeting_token(
        &self,
        request: IssueMeetingToken,
    ) -> RpcResult<IssueMeetingTokenResponse>;

    /// The public keys that tokens are checked against.
    async fn get_jwks(&self, request: GetJwks) -> RpcResult<GetJwksResponse>;
}

/// The global controller's registry as controllers and handlers see it.
#[async_trait]
pub trait Registry: Send + Sync {
    /// A meeting controller says that it is there and where clients dial it.
    async fn register_meeting_controller(
        &self,
        request: RegisterMeetingController,
    ) -> RpcResult<RegisterMeetingControllerResponse>;

    /// It lives, and this is its load. Every 5 s; after 15 s it is not chosen.
    async fn controller_heartbeat(
        &self,
        request: ControllerHeartbeat,
    ) -> RpcResult<ControllerHeartbeatResponse>;

    /// A media handler says that it is there and where clients dial it.
    async fn register_media_handler(
        &self,
        request: RegisterMediaHandler,
    ) -> RpcResult<RegisterMediaHandlerResponse>;

    /// It lives, and this is its load. Every 5 s; after 15 s it is not chosen.
    async fn handler_heartbeat(
        &self,
        request: HandlerHeartbeat,
    ) -> RpcResult<HandlerHeartbeatResponse>;
}

/// A meeting controller as the global controller sees it.
#[async_trait]
pub trait MeetingController: Send + Sync {
    /// Take this meeting: from now on people may join it here. Asking again for
    /// a meeting that runs here changes nothing.
    async fn assign_meeting(&self, request: AssignMeeting) -> RpcResult<AssignMeetingResponse>;

    /// Its settings changed.
    async fn update_meeting(&self, request: UpdateMeeting) -> RpcResult<UpdateMeetingResponse>;

    /// End it for everybody.
    async fn end_meeting(&self, request: EndMeetingCall) -> RpcResult<EndMeetingCallResponse>;
}

/// A media handler as a meeting controller sees it.
#[async_trait]
pub trait MediaHandler: Send + Sync {
    /// The first call of a controller: fetches the key of connection tokens.
    async fn register_controller(
        &self,
        request: RegisterController,
    ) -> RpcResult<RegisterControllerResponse>;

    /// Who may open a media session, and what it may send.
    async fn register_participant(
        &self,
        request: RegisterParticipant,
    ) -> RpcResult<RegisterParticipantResponse>;

    /// Closes the participant's media session at once.
    async fn unregister_participant(
        &self,
        request: UnregisterParticipant,
    ) -> RpcResult<UnregisterParticipantResponse>;

    /// The whole wanted set of receivers of one source.
    async fn route_media(&self, request: RouteMediaCommand) -> RpcResult<RouteMediaResponse>;

    /// What the handler notices, as it happens. The channel is bounded: a
    /// controller that does not read loses telemetry, never the handler its time.
    async fn telemetry(&self, request: TelemetryRequest)
    -> RpcResult<mpsc::Receiver<HandlerEvent>>;
}

/// Where a meeting controller finds the media handlers that were picked for its
/// meetings.
pub trait HandlerDirectory: Send + Sync {
    /// The handler with this id; `None` when nobody knows it (any more).
    fn handler(&self, handler: HandlerId) -> Option<Arc<dyn MediaHandler>>;
}

/// Handlers that are known once and for all, as in one process.
impl HandlerDirectory for HashMap<HandlerId, Arc<dyn MediaHandler>> {
    fn handler(&self, handler: HandlerId) -> Option<Arc<dyn MediaHandler>> {
        self.get(&handler).cloned()
    }
}
