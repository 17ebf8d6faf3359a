//! What a bot says while it stays: what came since it said so last, for who looks
//! at how a change of the network is survived.

use std::time::{Duration, Instant};

use dt_client::{MediaKind, ReceivedFrame};
use serde_json::json;

use super::histogram::ms;

/// Counts between two lines.
pub(super) struct Watch {
    begun: Instant,
    audio: u64,
    /// By encoding, smallest first.
    video: Vec<u64>,
    /// The codec of the newest picture.
    codec: Option<&'static str>,
    /// The slowest way from capture to here.
    latency_max: Duration,
}

impl Watch {
    pub(super) const fn new(begun: Instant) -> Self {
        Self {
            begun,
            audio: 0,
            video: Vec::new(),
            codec: None,
            latency_max: Duration::ZERO,
        }
    }

    pub(super) fn receive(&mut self, frame: &ReceivedFrame) {
        let us = frame.received_us.saturating_sub(frame.timestamp_us);
        // Of pictures, those from before the join come late by design.
        if frame.kind == MediaKind::Audio {
            self.latency_max = self.latency_max.max(Duration::from_micros(us));
            self.audio += 1;
            return;
        }
        let place = usize::from(frame.encoding.get());
        if self.video.len() <= place {
            self.video.resize(place + 1, 0);
        }
        self.video[place] += 1;
        self.codec = Some(frame.codec.as_str());
    }

    /// Prints what came, and begins anew. `lost`: frames since the start.
    pub(super) fn print(&mut self, lost: u64) {
        println!(
            "{}",
            json!({
                "event": "watch",
                "at_ms": ms(self.begun.elapsed()),
                "audio_frames": self.audio,
                "video_frames": self.video,
                "video_codec": self.codec,
                "audio_latency_max_ms": ms(self.latency_max),
                "lost_frames": lost,
            })
        );
        *self = Self::new(self.begun);
    }
}
