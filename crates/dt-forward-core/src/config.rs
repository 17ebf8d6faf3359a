//! Limits of the forwarder.

use std::time::Duration;

use dt_ids::HandlerId;

use crate::{GateConfig, Quota};

/// How much a slow receiver may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueLimits {
    /// A frame that waited longer makes its stream be reset, and an older group
    /// is given up so long after a newer one began.
    pub late_max: Duration,
    /// Bytes of frames that wait for one session; with more its oldest video
    /// stream is reset.
    pub session_bytes_max: usize,
    /// Streams open to one session; with more the oldest is reset.
    pub session_streams_max: usize,
}

impl Default for QueueLimits {
    fn default() -> Self {
        Self {
            late_max: Duration::from_millis(500),
            // Half a second of 64 Mbit/s, more than any layout asks for.
            session_bytes_max: 4 << 20,
            // A browser takes about 100.
            session_streams_max: 96,
        }
    }
}

/// When somebody counts as speaking.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SpeakerConfig {
    /// How many are named at most.
    pub count_max: usize,
    /// Smoothed level, in dB below overload, at which somebody begins to speak.
    pub on_below_overload_db: f32,
    /// Smoothed level at which somebody has stopped.
    pub off_below_overload_db: f32,
    /// By how much somebody must be louder to move ahead of another.
    pub overtake_db: f32,
    /// Time constant at which the smoothed level rises.
    pub attack: Duration,
    /// Time constant at which it falls.
    pub release: Duration,
    /// How often the list is made at most.
    pub interval: Duration,
}

impl Default for SpeakerConfig {
    fn default() -> Self {
        Self {
            count_max: 5,
            on_below_overload_db: 50.0,
            off_below_overload_db: 60.0,
            overtake_db: 6.0,
            // A word makes a speaker, a cough hardly does.
            attack: Duration::from_millis(200),
            // A pause between two sentences doesn't end a speech.
            release: Duration::from_millis(1500),
            interval: Duration::from_millis(200),
        }
    }
}

/// Everything that can be set.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Config {
    /// Whose forwarder it is: what began here does not come back.
    pub handler: Option<HandlerId>,
    /// Participants registered in one meeting.
    pub participants_max: usize,
    /// Streams of one participant.
    pub streams_per_participant_max: usize,
    /// Sources with a route in one meeting, also ones not registered yet.
    pub routes_max: usize,
    /// Receivers of one source.
    pub destinations_max: usize,
    /// Streams that one sender may have open at once; more are stopped.
    pub session_groups_max: usize,
    /// Groups of one encoding that are forwarded at once; with more the oldest
    /// is given up.
    pub encoding_groups_max: usize,
    /// What one session may send.
    pub ingest: Quota,
    /// Age of the newest group up to which it is kept for new receivers.
    pub kept_age_max: Duration,
    /// Bytes of it that are kept.
    pub kept_bytes_max: usize,
    /// Between two key-frame requests for one encoding.
    pub keyframe_interval: Duration,
    /// Of receivers.
    pub queue: QueueLimits,
    /// Of links to other handlers.
    pub link_queue: QueueLimits,
    /// What may come over one link.
    pub link_ingest: Quota,
    /// Streams that a link may bring at once; more are stopped.
    pub link_groups_max: usize,
    /// Handlers that receive one source.
    pub outlets_max: usize,
    /// Of the list of speakers.
    pub speakers: SpeakerConfig,
    /// Which microphones are forwarded.
    pub gates: GateConfig,
    /// Bytes of a kept group with which a receiver begins at most when it goes
    /// down to it; above, a key frame of its own costs its path less.
    pub catch_up_bytes_max: usize,
    /// An encoding that nobody wants any more is asked for so long on, so that a
    /// wish that comes back finds it.
    pub demand_linger: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            handler: None,
            participants_max: 10_000,
            streams_per_participant_max: 32,
            routes_max: 20_000,
            destinations_max: 10_000,
            session_groups_max: 64,
            encoding_groups_max: 3,
            ingest: Quota::default(),
            kept_age_max: Duration::from_secs(2),
            kept_bytes_max: 1 << 20,
            keyframe_interval: Duration::from_secs(1),
            queue: QueueLimits::default(),
            link_queue: QueueLimits {
                // Half a second of 256 Mbit/s, and three encodings of a hundred
                // cameras with a group that is late.
                session_bytes_max: 16 << 20,
                session_streams_max: 1024,
                ..QueueLimits::default()
            },
            link_ingest: Quota {
                // A gigabit a second.
                bytes_per_s: 125_000_000,
                burst_bytes: 64 << 20,
            },
            link_groups_max: 4096,
            outlets_max: 64,
            speakers: SpeakerConfig::default(),
            gates: GateConfig::default(),
            // A third of a second of the smallest encoding of a camera.
            catch_up_bytes_max: 12 << 10,
            demand_linger: Duration::from_secs(2),
        }
    }
}
