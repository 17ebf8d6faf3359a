//! What comes of the server's mix: how much of it, and how loud it was.

use dt_client::ReceivedFrame;
use serde_json::json;

/// Counts the frames of a mix.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Mix {
    frames: u64,
    bytes: u64,
    voiced: u64,
    /// dB below overload.
    loudest_db: Option<u8>,
}

impl Mix {
    pub(super) fn receive(&mut self, frame: &ReceivedFrame) {
        self.frames += 1;
        self.bytes += frame.payload.len() as u64;
        self.voiced += u64::from(frame.level.voice);
        let level = frame.level.below_overload_db;
        self.loudest_db = Some(self.loudest_db.map_or(level, |before| before.min(level)));
    }

    pub(super) fn json(&self) -> serde_json::Value {
        json!({
            "frames": self.frames,
            "bytes": self.bytes,
            "voiced_frames": self.voiced,
            "loudest_dbov": self.loudest_db.map(|db| -i32::from(db)),
        })
    }

    /// A line for a person; none when no mix came.
    pub(super) fn line(&self) -> Option<String> {
        let loudest = self.loudest_db?;
        Some(format!(
            "Mixed     {} frames, {} with voices, the loudest at -{loudest} dBov",
            self.frames, self.voiced
        ))
    }
}
