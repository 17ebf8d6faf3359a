//! What a meeting is started with.

use std::sync::Arc;

use dt_ids::{HandlerId, MeetingId};

use crate::{
    encryption::{EncryptionLimits, KeeperFactory, SframeSuite},
    routing::RouteIds,
};

/// Everything a [`Meeting`](crate::Meeting) must know from outside.
#[derive(Debug, Clone)]
pub struct Config {
    /// The meeting.
    pub meeting: MeetingId,
    /// Fencing generation of the controller's lease: the high half of every
    /// generation that handlers compare.
    pub lease: u64,
    /// The media handlers picked for it, first choice first. It uses as many as
    /// its size needs.
    pub handlers: Vec<HandlerId>,
    /// Numbers of streams on links between them; without any, nothing is passed
    /// on between handlers.
    pub route_ids: Option<Arc<dyn RouteIds>>,
    /// What its owner chose.
    pub settings: Settings,
    /// Makes keepers of MLS groups; without it the meeting can't be encrypted.
    pub keepers: Option<Arc<dyn KeeperFactory>>,
    /// Times and sizes.
    pub limits: Limits,
}

/// What a meeting's owner chose; may change while it runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Shown to those who join.
    pub display_name: String,
    /// Seats at most. Lowering it sends nobody away.
    pub participants_max: usize,
    /// End-to-end encryption with this suite, or none. Stays as it is once
    /// somebody has joined.
    pub encryption: Option<SframeSuite>,
    /// Told to those who join: clients leave audio levels out of frame headers.
    pub hide_audio_levels: bool,
}

/// Times and sizes of a meeting. The defaults are the specified ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// How long a seat is kept without a session.
    pub seat_kept_ms: u64,
    /// How long a session may be silent before its seat counts as disconnected.
    pub silence_ms: u64,
    /// How long a media handler may take to confirm a registration that an
    /// answer waits for. After it the session that waits is closed.
    pub registration_ms: u64,
    /// How long a meeting without any seat stays in memory.
    pub empty_kept_ms: u64,
    /// Shortest time between two pushes of active speakers.
    pub speakers_interval_ms: u64,
    /// How long somebody must speak to get a tile that another one has.
    pub promotion_ms: u64,
    /// Shortest time between two key frame requests that are passed on for one
    /// encoding.
    pub keyframe_interval_ms: u64,
    /// How long all encodings are sent when somebody begins to watch a stream and
    /// no media handler has said what of it is wanted.
    pub demand_ms: u64,
    /// People whose home one media handler is at most, while others have room;
    /// also for how many people more a meeting takes another one.
    pub handler_participants: usize,
    /// How long a client may take to open a session at the handler it moves to;
    /// after it the move is given up for as long.
    pub move_open_ms: u64,
    /// How long the old way of a move waits for the new one to bring something.
    pub move_wait_ms: u64,
    /// How long a sender goes on at its old handler while others change over.
    pub move_handing_ms: u64,
    /// People that move away from a handler that is going to stop at once.
    pub moves_draining_max: usize,
    /// People that move away from a handler that is overloaded at once: few, for it
    /// may be well without them.
    pub moves_overloaded_max: usize,
    /// Streams of one participant. One more is refused.
    pub streams_per_participant: usize,
    /// Videos sent to a participant that did not say how many it decodes.
    pub video_streams_default: usize,
    /// Videos sent to any participant, whatever it says it decodes.
    pub video_streams_max: usize,
    /// Streams one participant may subscribe by name. One more is refused.
    pub overrides_max: usize,
    /// Messages kept for one session whose first answer waits for a media
    /// handler. One more and the session is closed.
    pub held_messages_max: usize,
    /// Join tokens of removed participants that are remembered, so that they
    /// open no new seat. The oldest is forgotten first.
    pub barred_max: usize,
    /// How long each of them is remembered: longer than a join token lives.
    pub barred_ms: u64,
    /// Of the encryption.
    pub encryption: EncryptionLimits,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            seat_kept_ms: 5 * 60 * 1000,
            silence_ms: 30 * 1000,
            registration_ms: 5 * 1000,
            empty_kept_ms: 60 * 1000,
            // Faster than an eye follows a ring from tile to tile.
            speakers_interval_ms: 200,
            // A cough or a "yes" moves nobody's tile.
            promotion_ms: 1000,
            keyframe_interval_ms: 1000,
            demand_ms: 2000,
            handler_participants: 100,
            // Sessions open in a fraction of that, also by the second carrier.
            move_open_ms: 5000,
            move_wait_ms: 2000,
            // A key frame is there by then.
            move_handing_ms: 1000,
            moves_draining_max: 32,
            moves_overloaded_max: 2,
            streams_per_participant: 8,
            video_streams_default: 25,
            video_streams_max: 256,
            overrides_max: 256,
            held_messages_max: 1024,
            barred_max: 1024,
            // Join tokens live at most 15 minutes, and clocks differ by one.
            barred_ms: 17 * 60 * 1000,
            encryption: EncryptionLimits::default(),
        }
    }
}
