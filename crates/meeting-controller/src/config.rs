//! What a controller is started with.

use dt_ids::ControllerId;
use dt_service::master_key::MasterKey;
use dt_wire::internal::Endpoint;

/// Settings of a controller; [`Config::new`] has the specified defaults.
#[derive(Debug, Clone)]
pub struct Config {
    /// New at every start.
    pub controller_id: ControllerId,
    /// Where it runs, for placement.
    pub region: String,
    /// Where clients dial it.
    pub endpoint: Endpoint,
    /// Meetings at most; one more is refused.
    pub meetings_max: usize,
    /// People in all of them at most; one more is refused.
    pub participants_max: usize,
    /// Times and sizes of each meeting.
    pub meeting: dt_meeting_core::Limits,
    /// Sessions that wait for their control stream; one more closes the oldest.
    pub warm_sessions_max: usize,
    /// How long they may wait.
    pub warm_ms_max: u64,
    /// From the control stream's opening to its first whole message.
    pub first_message_ms_max: u64,
    /// Messages of a participant in a minute; one more is refused.
    pub messages_per_minute: u32,
    /// Messages that wait to be written to one client; one more and it is
    /// disconnected.
    pub outbox_messages_max: usize,
    /// Commands that wait for one meeting's task; more wait at their senders.
    pub inbox_messages_max: usize,
    /// How long a meeting's lease lasts without being renewed.
    pub lease_ms: u64,
    /// Between two heartbeats to the registry.
    pub heartbeat_ms: u64,
    /// How long a shutdown may take.
    pub shutdown_ms_max: u64,
    /// Seals the signing keys of encrypted meetings; without it there are none.
    pub master_key: Option<MasterKey>,
}

impl Config {
    /// The defaults.
    #[must_use]
    pub fn new(controller_id: ControllerId, endpoint: Endpoint) -> Self {
        Self {
            controller_id,
            region: "default".to_owned(),
            endpoint,
            meetings_max: 10_000,
            participants_max: 10_000,
            meeting: dt_meeting_core::Limits::default(),
            warm_sessions_max: 1024,
            warm_ms_max: 5 * 60 * 1000,
            first_message_ms_max: 3000,
            messages_per_minute: 1000,
            outbox_messages_max: 1024,
            inbox_messages_max: 1024,
            // Three renewals fit into it.
            lease_ms: 15_000,
            heartbeat_ms: 5000,
            shutdown_ms_max: 5000,
            master_key: None,
        }
    }
}
