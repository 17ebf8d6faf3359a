//! Settings of a media handler.

use std::time::Duration;

use dt_ids::HandlerId;
use dt_wire::internal::Endpoint;

use crate::{GatherConfig, ProcessingConfig};

/// Everything that can be set; [`Config::new`] gives the defaults.
#[derive(Debug, Clone)]
pub struct Config {
    /// New at every start.
    pub handler_id: HandlerId,
    /// Where clients dial it; handed to controllers.
    pub endpoint: Endpoint,
    /// Media sessions that are let in at once; with more a client is refused
    /// with close code 3.
    pub sessions_max: usize,
    /// Sessions that wait for their client to open the control stream; with
    /// more the oldest is closed.
    pub warm_sessions_max: usize,
    /// How long a session may stay warm.
    pub warm_max: Duration,
    /// From the opening of the control stream to the whole `MediaHello`.
    pub hello_max: Duration,
    /// Meetings at once; with more a controller is refused.
    pub meetings_max: usize,
    /// Streams of all meetings that the handler says it can take.
    pub streams_max: u32,
    /// Controllers that follow its events at once.
    pub controllers_max: usize,
    /// Connection tokens that are remembered as used.
    pub used_tokens_max: usize,
    /// Control messages of one session in a minute, RTT packets included; more
    /// are answered with `RATE_LIMITED`.
    pub control_per_minute: u32,
    /// RTT datagrams of one session in a minute that are echoed; more are
    /// dropped.
    pub rtt_datagrams_per_minute: u32,
    /// Streams of one session that are not media before it is closed with code 1.
    pub violations_max: u32,
    /// Payload of one frame at most.
    pub frame_bytes_max: usize,
    /// How often controllers are told figures of each stream.
    pub telemetry_interval: Duration,
    /// How long a meeting without participants is remembered, so that orders
    /// that were overtaken stay without effect.
    pub empty_meeting_max: Duration,
    /// How datagrams are gathered into rounds of sending.
    pub gather: GatherConfig,
    /// How much sound is mixed and encoded anew.
    pub processing: ProcessingConfig,
    /// Limits of forwarding.
    pub forward: dt_forward_core::Config,
}

impl Config {
    /// The defaults.
    #[must_use]
    pub fn new(handler_id: HandlerId, endpoint: Endpoint) -> Self {
        Self {
            handler_id,
            endpoint,
            sessions_max: 10_000,
            warm_sessions_max: 1024,
            warm_max: Duration::from_secs(300),
            hello_max: Duration::from_secs(3),
            meetings_max: 4096,
            streams_max: 10_000,
            controllers_max: 64,
            used_tokens_max: dt_token::UsedIds::CAPACITY_DEFAULT,
            control_per_minute: 1000,
            rtt_datagrams_per_minute: 600,
            violations_max: 32,
            frame_bytes_max: dt_frame::PAYLOAD_BYTES_MAX,
            telemetry_interval: Duration::from_secs(2),
            empty_meeting_max: Duration::from_secs(60),
            gather: GatherConfig::default(),
            processing: ProcessingConfig::default(),
            forward: dt_forward_core::Config::default(),
        }
    }
}
