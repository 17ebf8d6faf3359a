//! Putting the fragments of frames together again.

use std::{
    collections::{BTreeMap, VecDeque},
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};

use crate::{DatagramHeader, Extension, FrameType, PAYLOAD_BYTES_MAX};

/// What keeping a fragment costs beside its payload: its place in the map, its
/// handle on the buffer, and the header that shares the buffer.
const FRAGMENT_OVERHEAD_BYTES: usize = 128;
/// Frames that were delivered or given up, so that a late or second copy of a
/// fragment does not begin them anew.
const FINISHED_FRAMES: usize = 64;

/// How much an incomplete encoding may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Incomplete frames; with more the oldest is dropped.
    pub frames_max: usize,
    /// Bytes of all incomplete frames, overhead included; with more the oldest
    /// frame is dropped.
    pub bytes_max: usize,
    /// How long a frame may stay incomplete after its first fragment came.
    pub age_max: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            // A third of a second of video with every frame hit by reordering.
            frames_max: 10,
            // Room for one frame of the largest size in datagrams of the safe size.
            bytes_max: PAYLOAD_BYTES_MAX + PAYLOAD_BYTES_MAX / 4,
            // Later than this it would not be played any more.
            age_max: Duration::from_millis(500),
        }
    }
}

/// A frame in one piece.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Audio, key or delta.
    pub frame_type: FrameType,
    /// Microseconds since the Unix epoch at capture.
    pub timestamp_us: u64,
    /// Number of its first datagram.
    pub first_sequence: u64,
    /// Number of its last datagram.
    pub last_sequence: u64,
    /// No other frame needs this one.
    pub discardable: bool,
    /// Of its first fragment.
    pub extension: Extension,
    /// The sealed chunk.
    pub payload: Bytes,
}

/// What became of the fragments so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ReassemblyStats {
    /// Frames delivered.
    pub frames_completed: u64,
    /// Frames dropped because a fragment did not come in time.
    pub frames_expired: u64,
    /// Frames dropped to make room for newer ones.
    pub frames_evicted: u64,
    /// Frames dropped because their fragments contradict each other.
    pub frames_inconsistent: u64,
    /// Fragments that came again or after the end of their frame.
    pub fragments_duplicate: u64,
    /// Fragments that contradict themselves or those before.
    pub fragments_inconsistent: u64,
}

/// Collects the fragments of one encoding of one stream of one sender; a
/// receiver keeps one for each. Whole frames come out as soon as they are
/// whole, so perhaps not in the order of their timestamps.
#[derive(Debug)]
pub struct Reassembler {
    limits: Limits,
    /// Incomplete frames by timestamp, `frames_max` at most.
    pending: BTreeMap<u64, Pending>,
    pending_bytes: usize,
    /// Timestamps of frames that are done with, newest last.
    finished: VecDeque<u64>,
    stats: ReassemblyStats,
}

#[derive(Debug)]
struct Pending {
    frame_type: FrameType,
    discardable: bool,
    extension: Extension,
    first_sequence: u64,
    /// Known when the fragment with *end* is here.
    fragments: Option<usize>,
    pieces: BTreeMap<u16, Bytes>,
    payload_bytes: usize,
    since: Instant,
}

impl Pending {
    fn cost_bytes(&self) -> usize {
        self.payload_bytes + self.pieces.len() * FRAGMENT_OVERHEAD_BYTES
    }

    /// Whether a fragment says the same about the frame as those before it.
    fn agrees(&self, header: &DatagramHeader, payload: &Bytes) -> bool {
        let place = usize::from(header.extension.fragment);
        let beyond_end = match self.fragments {
            Some(count) => place >= count || header.flags.end,
            None => {
                header.flags.end
                    && self
                        .pieces
                        .last_key_value()
                        .is_some_and(|(last, _)| usize::from(*last) > place)
            }
        };
        !beyond_end
            && self.frame_type == header.frame_type
            && self.discardable == header.flags.discardable
            && self.first_sequence == first_sequence(header)
            && self.extension.encoding == header.extension.encoding
            && self.extension.temporal_layer == header.extension.temporal_layer
            && self.extension.detail == header.extension.detail
            && self.extension.group == header.extension.group
            && self.payload_bytes + payload.len() <= PAYLOAD_BYTES_MAX
    }

    fn into_frame(self, timestamp_us: u64) -> Frame {
        let fragments = self.pieces.len() as u64;
        let mut pieces = self.pieces.into_values();
        let payload = if fragments == 1 {
            pieces.next().unwrap_or_default()
        } else {
            let mut joined = BytesMut::with_capacity(self.payload_bytes);
            for piece in pieces {
                joined.extend_from_slice(&piece);
            }
            joined.freeze()
        };
        Frame {
            frame_type: self.frame_type,
            timestamp_us,
            first_sequence: self.first_sequence,
            last_sequence: self
                .first_sequence
                .wrapping_add(fragments.saturating_sub(1)),
            discardable: self.discardable,
            extension: self.extension,
            payload,
        }
    }
}

fn first_sequence(header: &DatagramHeader) -> u64 {
    header
        .sequence
        .wrapping_sub(u64::from(header.extension.fragment))
}

impl Reassembler {
    /// Nothing collected yet.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            pending: BTreeMap::new(),
            pending_bytes: 0,
            finished: VecDeque::with_capacity(FINISHED_FRAMES),
            stats: ReassemblyStats::default(),
        }
    }

    /// Takes a fragment that [`DatagramHeader::split`] accepted; gives the frame
    /// when it was the last one missing.
    pub fn push(&mut self, header: &DatagramHeader, payload: Bytes, now: Instant) -> Option<Frame> {
        self.expire(now);
        let timestamp = header.timestamp_us;
        if header.flags.start != (header.extension.fragment == 0) {
            self.stats.fragments_inconsistent += 1;
            return None;
        }
        if self.is_finished(timestamp) {
            self.stats.fragments_duplicate += 1;
            return None;
        }
        if !self.pending.contains_key(&timestamp) {
            self.begin(header, now)?;
        }
        let frame = self.pending.get_mut(&timestamp)?;
        if frame.pieces.contains_key(&header.extension.fragment) {
            self.stats.fragments_duplicate += 1;
            return None;
        }
        if !frame.agrees(header, &payload) {
            // Whose fragment is the wrong one can't be known.
            self.stats.fragments_inconsistent += 1;
            self.stats.frames_inconsistent += 1;
            self.give_up(timestamp);
            return None;
        }
        let before = frame.cost_bytes();
        if header.flags.start {
            frame.extension = header.extension;
        }
        if header.flags.end {
            frame.fragments = Some(usize::from(header.extension.fragment) + 1);
        }
        frame.payload_bytes += payload.len();
        frame.pieces.insert(header.extension.fragment, payload);
        self.pending_bytes += frame.cost_bytes() - before;
        if frame.fragments == Some(frame.pieces.len()) {
            self.stats.frames_completed += 1;
            let frame = self.give_up(timestamp)?;
            return Some(frame.into_frame(timestamp));
        }
        self.evict();
        None
    }

    /// Drops frames that have been incomplete for too long. [`push`](Self::push)
    /// does it too; only a receiver that hears nothing more needs this.
    pub fn expire(&mut self, now: Instant) {
        let age_max = self.limits.age_max;
        let too_old = |frame: &Pending| now.saturating_duration_since(frame.since) > age_max;
        while let Some(timestamp) = self
            .pending
            .iter()
            .find_map(|(timestamp, frame)| too_old(frame).then_some(*timestamp))
        {
            self.stats.frames_expired += 1;
            self.give_up(timestamp);
        }
    }

    /// Bytes held for incomplete frames, overhead included.
    #[must_use]
    pub const fn pending_bytes(&self) -> usize {
        self.pending_bytes
    }

    /// What became of the fragments so far.
    #[must_use]
    pub const fn stats(&self) -> ReassemblyStats {
        self.stats
    }

    fn is_finished(&self, timestamp: u64) -> bool {
        self.finished.contains(&timestamp)
    }

    /// Makes place for a new frame; `None` when the newcomer is itself the
    /// oldest and there is no room.
    fn begin(&mut self, header: &DatagramHeader, now: Instant) -> Option<()> {
        if self.pending.len() >= self.limits.frames_max {
            let oldest = *self.pending.first_key_value()?.0;
            if header.timestamp_us < oldest {
                self.stats.frames_evicted += 1;
                self.finish(header.timestamp_us);
                return None;
            }
            self.stats.frames_evicted += 1;
            self.give_up(oldest);
        }
        let frame = Pending {
            frame_type: header.frame_type,
            discardable: header.flags.discardable,
            extension: Extension {
                fragment: 0,
                ..header.extension
            },
            first_sequence: first_sequence(header),
            fragments: None,
            pieces: BTreeMap::new(),
            payload_bytes: 0,
            since: now,
        };
        self.pending.insert(header.timestamp_us, frame);
        Some(())
    }

    fn evict(&mut self) {
        while self.pending_bytes > self.limits.bytes_max {
            let Some((oldest, _)) = self.pending.first_key_value() else {
                return;
            };
            self.stats.frames_evicted += 1;
            self.give_up(*oldest);
        }
    }

    fn give_up(&mut self, timestamp: u64) -> Option<Pending> {
        let frame = self.pending.remove(&timestamp)?;
        self.pending_bytes -= frame.cost_bytes();
        self.finish(timestamp);
        Some(frame)
    }

    fn finish(&mut self, timestamp: u64) {
        if self.finished.len() == FINISHED_FRAMES {
            self.finished.pop_front();
        }
        self.finished.push_back(timestamp);
    }
}

#[cfg(test)]
#[path = "reassemble_tests.rs"]
mod tests;
