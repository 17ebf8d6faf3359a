//! What a receiver counts: frames, losses, latency, gaps, corruption.
//!
//! A loss is a base-layer frame of video, or a chunk of audio, that is missing
//! between two that arrived while the stream stayed in view. What the sender
//! left out on purpose (muted, paused, upper layers) leaves no such gap.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use dt_client::{FourCc, FrameType, MediaKind, ReceivedFrame, check, now_us};
use dt_ids::{Encoding, StreamId};

use super::histogram::Histogram;

/// Missing frames of one stream that may still come late; older ones are lost.
const MISSING_MAX: usize = 1024;
/// Streams followed at once; beyond it new ones are only counted.
const TRACKS_MAX: usize = 4096;

/// Payloads that a bot plays.
pub(crate) type KnownPayloads = Arc<HashSet<Bytes>>;

/// The longest time without a frame while a stream was in view.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Gaps {
    pub(crate) audio: Option<Duration>,
    pub(crate) video: Option<Duration>,
}

impl Gaps {
    fn add(&mut self, kind: MediaKind, gap: Duration) {
        let longest = match kind {
            MediaKind::Audio => &mut self.audio,
            MediaKind::Video => &mut self.video,
        };
        *longest = (*longest).max(Some(gap));
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        self.audio = self.audio.max(other.audio);
        self.video = self.video.max(other.video);
    }
}

#[derive(Debug)]
struct Track {
    kind: MediaKind,
    span: u32,
    /// Counts base-layer frames, or datagrams and frames of audio, from its
    /// first one on.
    newest: i64,
    missing: BTreeSet<i64>,
    /// `None` after an interruption.
    last_at: Option<Instant>,
    /// The connection was lost: what is missing up to the next frame was not
    /// sent here.
    renumber: bool,
    /// It plays a clip that this program knows.
    known: bool,
}

/// Counts what one receiver gets.
#[derive(Debug)]
pub(crate) struct Ledger {
    begun: Instant,
    begun_us: u64,
    known: KnownPayloads,
    tracks: HashMap<(StreamId, Encoding), Track>,
    lost: u64,
    frames: u64,
    bytes: u64,
    corrupt: u64,
    first_media: Option<Duration>,
    latency: Histogram,
    gaps: Gaps,
}

impl Ledger {
    /// Begins now; `begun` is when the join was asked for.
    pub(crate) fn new(begun: Instant, known: KnownPayloads) -> Self {
        Self {
            begun,
            begun_us: now_us(),
            known,
            tracks: HashMap::new(),
            lost: 0,
            frames: 0,
            bytes: 0,
            corrupt: 0,
            first_media: None,
            latency: Histogram::default(),
            gaps: Gaps::default(),
        }
    }

    pub(crate) fn frames(&self) -> u64 {
        self.frames
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(crate) fn corrupt(&self) -> u64 {
        self.corrupt
    }

    pub(crate) fn lost(&self) -> u64 {
        let missing = self.tracks.values().map(|track| track.missing.len() as u64);
        self.lost + missing.sum::<u64>()
    }

    pub(crate) fn first_media(&self) -> Option<Duration> {
        self.first_media
    }

    pub(crate) fn latency(&self) -> &Histogram {
        &self.latency
    }

    pub(crate) fn gaps(&self) -> &Gaps {
        &self.gaps
    }

    /// Takes a frame and checks its payload as its codec wants it.
    pub(crate) fn receive(&mut self, frame: &ReceivedFrame, now: Instant) {
        let key = frame.frame_type == FrameType::VideoKey;
        let sound = match frame.codec {
            FourCc::Vp8 => check::vp8(&frame.payload, key).is_ok(),
            FourCc::Opus => check::opus(&frame.payload).is_ok(),
            // Their structure is not known here.
            FourCc::Vp9 | FourCc::Av1 | FourCc::H264 => !frame.payload.is_empty(),
        };
        let known = self.known.contains(&frame.payload);
        let plays_known = self.count(frame, now, known);
        if !sound || (plays_known && !known) {
            self.corrupt += 1;
        }
    }

    /// Takes a frame whose payload the caller has checked.
    pub(crate) fn receive_checked(&mut self, frame: &ReceivedFrame, now: Instant, sound: bool) {
        self.count(frame, now, false);
        if !sound {
            self.corrupt += 1;
        }
    }

    /// Whether the frame's stream plays a known clip.
    fn count(&mut self, frame: &ReceivedFrame, now: Instant, known: bool) -> bool {
        self.frames += 1;
        self.bytes += frame.payload.len() as u64;
        self.first_media.get_or_insert_with(|| now - self.begun);
        // Frames from before the join are sent to catch up; they tell nothing
        // about the way.
        if frame.timestamp_us >= self.begun_us {
            let us = frame.received_us.saturating_sub(frame.timestamp_us);
            self.latency.record(Duration::from_micros(us));
        }
        let id = (frame.stream_id, frame.encoding);
        let (first, last) = place(frame);
        if let Some(track) = self.tracks.get_mut(&id)
            && track.span == frame.span
            && let Some(last_at) = track.last_at
        {
            if frame.timestamp_us >= self.begun_us {
                self.gaps.add(track.kind, now - last_at);
            }
            track.last_at = Some(now);
            self.lost += track.observe(frame, first, last);
            return track.known;
        }
        if let Some(old) = self.tracks.remove(&id) {
            self.lost += old.missing.len() as u64;
        }
        if self.tracks.len() < TRACKS_MAX {
            self.tracks.insert(
                id,
                Track {
                    kind: frame.kind,
                    span: frame.span,
                    newest: last,
                    missing: BTreeSet::new(),
                    last_at: Some(now),
                    renumber: false,
                    known,
                },
            );
        }
        known
    }

    /// The sender has stopped on purpose; what follows begins anew.
    pub(crate) fn interrupt(&mut self, stream: StreamId) {
        self.interrupt_unless(|id| id != stream);
    }

    /// The same for all streams but some.
    pub(crate) fn interrupt_unless(&mut self, goes_on: impl Fn(StreamId) -> bool) {
        for ((stream, _), track) in &mut self.tracks {
            if !goes_on(*stream) {
                track.last_at = None;
            }
        }
    }

    /// The connection for media is gone. Silence counts from now on, losses don't.
    pub(crate) fn disconnected(&mut self) {
        for track in self.tracks.values_mut() {
            track.renumber = true;
        }
    }

    /// The end: streams that should still be running were silent since.
    pub(crate) fn finish(&mut self, now: Instant) {
        for track in self.tracks.values() {
            if let Some(last_at) = track.last_at {
                self.gaps
                    .add(track.kind, now.saturating_duration_since(last_at));
            }
        }
    }

    /// Adds what another receiver counted.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.lost += other.lost();
        self.frames += other.frames;
        self.bytes += other.bytes;
        self.corrupt += other.corrupt;
        self.latency.merge(&other.latency);
        self.gaps.merge(&other.gaps);
    }
}

/// First and last number of a frame in what its kind counts.
fn place(frame: &ReceivedFrame) -> (i64, i64) {
    match frame.kind {
        MediaKind::Video => {
            let counter = i64::from(frame.base_counter);
            (counter, counter)
        }
        MediaKind::Audio => (
            i64::try_from(frame.first_sequence).unwrap_or(i64::MAX),
            i64::try_from(frame.last_sequence).unwrap_or(i64::MAX),
        ),
    }
}

impl Track {
    /// Follows the numbers; gives how many frames cannot come any more.
    fn observe(&mut self, frame: &ReceivedFrame, first: i64, last: i64) -> u64 {
        let (first, last) = match frame.kind {
            MediaKind::Audio => (first, last),
            MediaKind::Video if frame.temporal_layer > 0 => return 0,
            // The counter goes round at 256.
            MediaKind::Video => {
                let ahead = (last - self.newest).rem_euclid(256);
                let place = self.newest + if ahead < 128 { ahead } else { ahead - 256 };
                (place, place)
            }
        };
        let mut lost = 0;
        if std::mem::take(&mut self.renumber) {
            self.newest = last;
            return lost;
        }
        if last <= self.newest {
            self.missing.remove(&last);
            return lost;
        }
        for missing in self.newest + 1..first {
            if first - missing > MISSING_MAX as i64 {
                lost += 1;
                continue;
            }
            self.missing.insert(missing);
            if self.missing.len() > MISSING_MAX {
                self.missing.pop_first();
                lost += 1;
            }
        }
        self.newest = last;
        lost
    }
}

#[cfg(test)]
#[path = "ledger_tests.rs"]
mod tests;
