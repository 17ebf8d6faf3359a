//! Which frames of one encoding were lost.
//!
//! The numbers of what came show what is missing between: the base-layer counter
//! of video, the sequence numbers of sound. What is missing is lost, unless the
//! server left it out on purpose, and that is told by these signs:
//!
//! - *Video* is taken up again with a key frame only. A gap before any other frame
//!   is a loss. One before a key frame is none where the server had ended the group
//!   before (a tile hidden, a path too narrow), where another encoding came in
//!   between (a switch of layers), or, of datagrams, which have no end, behind
//!   [`PAUSE`] of nothing. A group that was given up, because the receiver was too
//!   slow for it, has no end: what it lacks is lost.
//! - *Sound* passes a gate in the server. It closes when nothing loud has come for a
//!   second and a half, or a louder voice takes the place; when it opens, what came
//!   in the tenth of a second before goes out first. So a gap is the gate's, and no
//!   loss, behind [`QUIET`] without anything loud, and before a packet that is late
//!   by [`ONSET`], as the first of an onset is. Who never tells a level passes no
//!   gate. On the stream carrier no packet is lost alone: a gap within a group is
//!   the gate's too.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use dt_client::{AudioLevel, Carrier, FrameType, MediaKind, ReceivedFrame};

/// Missing frames that may still come late; older ones are lost.
const MISSING_MAX: usize = 1024;
/// Video by datagrams that was taken up again was away for so long.
const PAUSE: Duration = Duration::from_millis(400);
/// Below this nothing opens a gate.
const LOUD_BELOW_OVERLOAD_DB: u8 = 55;
/// A gate closes after 1.5 s; the last of them may be lost themselves.
const QUIET_US: u64 = 1_400_000;
/// The first packet of an onset is a tenth of a second late.
const ONSET_US: i64 = 60_000;
/// A session is found dead after so long: until then what it lacked is not lost
/// but was not sent.
const FOUND_DEAD_AFTER: Duration = Duration::from_secs(3);

#[derive(Debug)]
pub(super) struct Track {
    /// Counts base-layer frames, or datagrams and frames of audio, from its
    /// first one on.
    newest: i64,
    group: u16,
    /// Since when.
    missing: BTreeMap<i64, Instant>,
    last_at: Instant,
    /// What is missing up to the next frame was not sent here: the connection was
    /// lost, or another encoding took over.
    renumber: bool,
    voice: Voice,
}

/// What a gate would go by.
#[derive(Debug)]
struct Voice {
    tells: bool,
    loud_us: u64,
    newest_us: u64,
    /// How long packets take, by two clocks that need not agree.
    usual_transit_us: i64,
}

/// What a frame shows about those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Shown {
    /// They can't come any more.
    pub(super) lost: u64,
    /// Some were left out on purpose.
    pub(super) left_out: bool,
}

impl Track {
    pub(super) fn new(frame: &ReceivedFrame, now: Instant) -> Self {
        Self {
            newest: place(frame).1,
            group: frame.group,
            missing: BTreeMap::new(),
            last_at: now,
            renumber: false,
            voice: Voice {
                tells: frame.level.below_overload_db != AudioLevel::SILENCE.below_overload_db,
                loud_us: frame.timestamp_us,
                newest_us: frame.timestamp_us,
                usual_transit_us: transit_us(frame),
            },
        }
    }

    pub(super) fn missing(&self) -> u64 {
        self.missing.len() as u64
    }

    /// Another encoding took over.
    pub(super) fn leave(&mut self) {
        self.renumber = true;
    }

    /// The session that it came by is gone, and was before anybody knew.
    pub(super) fn disconnected(&mut self, now: Instant) {
        self.renumber = true;
        self.missing
            .retain(|_, since| now.saturating_duration_since(*since) > FOUND_DEAD_AFTER);
    }

    /// Whether what came last was such that the server would stop.
    pub(super) fn is_quiet(&self) -> bool {
        self.voice.tells && self.voice.newest_us.saturating_sub(self.voice.loud_us) >= QUIET_US
    }

    /// Follows the numbers.
    pub(super) fn observe(&mut self, frame: &ReceivedFrame, now: Instant) -> Shown {
        let (mut first, mut last) = place(frame);
        if frame.kind == MediaKind::Video {
            if frame.temporal_layer > 0 {
                return Shown::default();
            }
            // The counter goes round at 256.
            let ahead = (last - self.newest).rem_euclid(256);
            last = self.newest + if ahead < 128 { ahead } else { ahead - 256 };
            first = last;
        }
        let left_out = first > self.newest + 1 && self.is_left_out(frame, now);
        let mut shown = Shown { lost: 0, left_out };
        if self.renumber
            && frame.kind == MediaKind::Video
            && frame.frame_type != FrameType::VideoKey
        {
            // Of a group from before, which came late.
            return shown;
        }
        if std::mem::take(&mut self.renumber) {
            self.newest = last;
        } else if last <= self.newest {
            self.missing.remove(&last);
        } else {
            if !left_out {
                shown.lost = self.note_missing(self.newest + 1..first, now);
            }
            self.newest = last;
        }
        self.last_at = now;
        self.group = frame.group;
        self.voice.hear(frame);
        shown
    }

    fn is_left_out(&self, frame: &ReceivedFrame, now: Instant) -> bool {
        let by_datagrams = frame.carrier == Carrier::Datagram;
        match frame.frame_type {
            FrameType::VideoDelta => false,
            FrameType::VideoKey => {
                let away = now.saturating_duration_since(self.last_at);
                frame.resumes || (by_datagrams && away >= PAUSE)
            }
            FrameType::Audio if !self.voice.tells => false,
            FrameType::Audio => {
                self.is_quiet()
                    || transit_us(frame) - self.voice.usual_transit_us >= ONSET_US
                    || (!by_datagrams && frame.group == self.group)
            }
        }
    }

    /// Gives how many cannot come any more.
    fn note_missing(&mut self, numbers: std::ops::Range<i64>, now: Instant) -> u64 {
        let mut lost = 0;
        for number in numbers.clone() {
            if numbers.end - number > MISSING_MAX as i64 {
                lost += 1;
                continue;
            }
            self.missing.insert(number, now);
            if self.missing.len() > MISSING_MAX {
                self.missing.pop_first();
                lost += 1;
            }
        }
        lost
    }
}

impl Voice {
    fn hear(&mut self, frame: &ReceivedFrame) {
        if frame.kind != MediaKind::Audio {
            return;
        }
        let below = frame.level.below_overload_db;
        self.tells |= below != AudioLevel::SILENCE.below_overload_db;
        if below <= LOUD_BELOW_OVERLOAD_DB {
            self.loud_us = self.loud_us.max(frame.timestamp_us);
        }
        self.newest_us = self.newest_us.max(frame.timestamp_us);
        // An onset says nothing about the way.
        let change = (transit_us(frame) - self.usual_transit_us).min(ONSET_US / 3);
        self.usual_transit_us += change / 16;
    }
}

fn transit_us(frame: &ReceivedFrame) -> i64 {
    frame
        .received_us
        .wrapping_sub(frame.timestamp_us)
        .cast_signed()
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
