//! What a receiver counts: frames, losses, latency, gaps, corruption.
//!
//! What counts as lost is in [`track`]. What the sender left out on purpose (muted,
//! paused, upper layers) leaves no gap in the numbers; what the server left out is
//! told from what was lost there.

mod track;

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use dt_client::{FourCc, FrameType, MediaKind, ReceivedFrame, check, now_us};
use dt_ids::{Encoding, StreamId};

use super::histogram::Histogram;
use track::Track;

/// Streams followed at once; beyond it new ones are only counted.
const STREAMS_MAX: usize = 4096;

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

/// One stream; of its encodings one comes at a time.
#[derive(Debug)]
struct Stream {
    kind: MediaKind,
    span: u32,
    encoding: Encoding,
    tracks: HashMap<Encoding, Track>,
    /// `None` after an interruption.
    last_at: Option<Instant>,
    /// It plays a clip that this program knows.
    known: bool,
}

/// What came of one encoding, of all streams.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Layer {
    pub(crate) frames: u64,
    pub(crate) bytes: u64,
}

/// Counts what one receiver gets.
#[derive(Debug)]
pub(crate) struct Ledger {
    begun: Instant,
    begun_us: u64,
    known: KnownPayloads,
    streams: HashMap<StreamId, Stream>,
    /// Of video; the place is the encoding's number.
    layers: Vec<Layer>,
    /// Frames of each codec.
    codecs: BTreeMap<&'static str, u64>,
    switches: u64,
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
            streams: HashMap::new(),
            layers: Vec::new(),
            codecs: BTreeMap::new(),
            switches: 0,
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
        let tracks = self.streams.values().flat_map(|s| s.tracks.values());
        self.lost + tracks.map(Track::missing).sum::<u64>()
    }

    /// What came of each encoding of video.
    pub(crate) fn layers(&self) -> &[Layer] {
        &self.layers
    }

    /// Frames of each codec, by its four characters.
    pub(crate) fn codecs(&self) -> &BTreeMap<&'static str, u64> {
        &self.codecs
    }

    /// Times that another encoding took over.
    pub(crate) fn switches(&self) -> u64 {
        self.switches
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
        *self.codecs.entry(frame.codec.as_str()).or_default() += 1;
        self.bytes += frame.payload.len() as u64;
        self.first_media.get_or_insert_with(|| now - self.begun);
        // Frames from before the join are sent to catch up; they tell nothing
        // about the way.
        if frame.timestamp_us >= self.begun_us {
            let us = frame.received_us.saturating_sub(frame.timestamp_us);
            self.latency.record(Duration::from_micros(us));
        }
        if frame.kind == MediaKind::Video {
            self.count_layer(frame);
        }
        let measured = frame.timestamp_us >= self.begun_us;
        if let Some(stream) = self.streams.get_mut(&frame.stream_id)
            && stream.span == frame.span
            && let Some(last_at) = stream.last_at
        {
            self.switches += u64::from(stream.follow(frame));
            let track = stream.tracks.entry(frame.encoding);
            let track = track.or_insert_with(|| Track::new(frame, now));
            let shown = track.observe(frame, now);
            self.lost += shown.lost;
            // What the server withheld was no silence.
            let withheld = shown.left_out && stream.kind == MediaKind::Audio;
            if measured && !withheld {
                self.gaps.add(stream.kind, now - last_at);
            }
            stream.last_at = Some(now);
            return stream.known;
        }
        if let Some(old) = self.streams.remove(&frame.stream_id) {
            self.lost += old.tracks.values().map(Track::missing).sum::<u64>();
        }
        if self.streams.len() < STREAMS_MAX {
            let track = Track::new(frame, now);
            let stream = Stream {
                kind: frame.kind,
                span: frame.span,
                encoding: frame.encoding,
                tracks: HashMap::from([(frame.encoding, track)]),
                last_at: Some(now),
                known,
            };
            self.streams.insert(frame.stream_id, stream);
        }
        known
    }

    fn count_layer(&mut self, frame: &ReceivedFrame) {
        let place = usize::from(frame.encoding.get());
        if self.layers.len() <= place {
            self.layers.resize(place + 1, Layer::default());
        }
        self.layers[place].frames += 1;
        self.layers[place].bytes += frame.payload.len() as u64;
    }

    /// The sender has stopped on purpose; what follows begins anew.
    pub(crate) fn interrupt(&mut self, stream: StreamId) {
        self.interrupt_unless(|id| id != stream);
    }

    /// The same for all streams but some.
    pub(crate) fn interrupt_unless(&mut self, goes_on: impl Fn(StreamId) -> bool) {
        for (id, stream) in &mut self.streams {
            if !goes_on(*id) {
                stream.last_at = None;
            }
        }
    }

    /// The connection by which media of a kind comes is gone. Silence counts from
    /// now on, losses don't.
    pub(crate) fn disconnected(&mut self, kind: MediaKind, now: Instant) {
        let streams = self.streams.values_mut().filter(|s| s.kind == kind);
        for track in streams.flat_map(|stream| stream.tracks.values_mut()) {
            track.disconnected(now);
        }
    }

    /// The end: streams that should still be running were silent since.
    pub(crate) fn finish(&mut self, now: Instant) {
        for stream in self.streams.values() {
            let quiet = stream.tracks.values().any(Track::is_quiet);
            if let Some(last_at) = stream.last_at.filter(|_| !quiet) {
                self.gaps
                    .add(stream.kind, now.saturating_duration_since(last_at));
            }
        }
    }

    /// Adds what another receiver counted.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.lost += other.lost();
        self.switches += other.switches;
        let count = self.layers.len().max(other.layers.len());
        self.layers.resize(count, Layer::default());
        for (layer, other) in self.layers.iter_mut().zip(&other.layers) {
            layer.frames += other.frames;
            layer.bytes += other.bytes;
        }
        for (codec, frames) in &other.codecs {
            *self.codecs.entry(codec).or_default() += frames;
        }
        self.frames += other.frames;
        self.bytes += other.bytes;
        self.corrupt += other.corrupt;
        self.latency.merge(&other.latency);
        self.gaps.merge(&other.gaps);
    }
}

impl Stream {
    /// Whether another encoding takes over with this frame. What comes late of the
    /// one before does not.
    fn follow(&mut self, frame: &ReceivedFrame) -> bool {
        if frame.encoding == self.encoding || frame.frame_type != FrameType::VideoKey {
            return false;
        }
        if let Some(left) = self.tracks.get_mut(&self.encoding) {
            left.leave();
        }
        self.encoding = frame.encoding;
        true
    }
}

#[cfg(test)]
mod tests;
