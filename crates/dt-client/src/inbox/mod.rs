//! What becomes of media that arrives: slots are looked up, fragments put
//! together, second copies dropped, frames of an encrypted meeting opened,
//! missing base-layer frames noticed.
//!
//! Sans-IO: the tasks of all media sessions push into one inbox under a lock,
//! and take frames and key-frame requests out. Everything a peer can grow is
//! bounded by the constants below.

mod sealed;

use std::{
    collections::{HashMap, VecDeque},
    time::{Duration, Instant},
};

use bytes::Bytes;
use dt_frame::{
    BaseLayer, Continuity, DatagramHeader, Deduplicator, FrameHeader, FrameId, FrameType, Limits,
    Reassembler, StreamHeader,
};
use dt_ids::{Encoding, StreamId};
use dt_wire::v1::StreamAssignments;

use crate::{
    Carrier, ReceiveStats, ReceivedFrame,
    assignments::{Assigned, Assignments, Place},
    encryption::Opening,
    frame::now_us,
};
use sealed::Sealed;

/// How long a datagram waits for the assignments that it belongs to.
const HELD_MAX: Duration = Duration::from_millis(200);
/// Datagrams that wait; the oldest are dropped above it (200 ms of 5 Mbit/s).
const HELD_DATAGRAMS_MAX: usize = 256;
/// Encodings that are followed at once; the one not seen for longest makes room.
const ENCODINGS_MAX: usize = 1024;
/// Frames of an encoding that are remembered to tell second copies.
const REMEMBERED_FRAMES: usize = 256;
/// A key frame of one encoding is asked for at most once in so long.
const KEY_FRAME_INTERVAL: Duration = Duration::from_secs(1);

/// What came out of a push.
#[derive(Debug, Default)]
pub(crate) struct Output {
    pub(crate) frames: Vec<ReceivedFrame>,
    pub(crate) key_frames: Vec<(StreamId, Encoding)>,
}

/// What is known of one encoding.
#[derive(Debug)]
struct Track {
    reassembler: Option<Reassembler>,
    base: BaseLayer,
    asked_at: Option<Instant>,
    /// The newest group that brought something, low 16 bits.
    group: Option<u16>,
    /// It was ended, and not given up.
    group_ended: bool,
    /// When something came last; orders the tracks by age.
    used: u64,
}

#[derive(Debug)]
pub(crate) struct Inbox {
    /// In encrypted meetings, where nothing passes that was not opened.
    opening: Option<Opening>,
    /// What waits for keys, in the order in which it came.
    sealed: HashMap<StreamId, VecDeque<Sealed>>,
    /// A step of the group was missed.
    behind: bool,
    assignments: Assignments,
    held: VecDeque<(Instant, DatagramHeader, Bytes)>,
    tracks: HashMap<(StreamId, Encoding), Track>,
    dedup: Deduplicator,
    turn: u64,
    stats: ReceiveStats,
}

impl Default for Inbox {
    fn default() -> Self {
        Self {
            opening: None,
            sealed: HashMap::new(),
            behind: false,
            assignments: Assignments::default(),
            held: VecDeque::new(),
            tracks: HashMap::new(),
            dedup: Deduplicator::new(ENCODINGS_MAX, REMEMBERED_FRAMES),
            turn: 0,
            stats: ReceiveStats::default(),
        }
    }
}

impl Inbox {
    pub(crate) fn stats(&self) -> ReceiveStats {
        let incomplete = self.tracks.values().filter_map(|track| {
            let stats = track.reassembler.as_ref()?.stats();
            Some(stats.frames_expired + stats.frames_evicted + stats.frames_inconsistent)
        });
        ReceiveStats {
            incomplete: self.stats.incomplete + incomplete.sum::<u64>(),
            ..self.stats
        }
    }

    pub(crate) fn count_rejected(&mut self) {
        self.stats.rejected += 1;
    }

    pub(crate) fn count_overflowed(&mut self) {
        self.stats.overflowed += 1;
    }

    /// A new signaling session may number its assignments anew.
    pub(crate) fn renew_assignments(&mut self) {
        self.assignments.take_any_next();
    }

    /// Takes a newer map of slots, and what had waited for it.
    pub(crate) fn assign(&mut self, message: &StreamAssignments, now: Instant) -> Output {
        let mut output = Output::default();
        if !self.assignments.replace(message) {
            return output;
        }
        for (since, header, payload) in std::mem::take(&mut self.held) {
            self.sort_in(header, payload, since, now, &mut output);
        }
        output
    }

    /// Takes a media datagram.
    pub(crate) fn datagram(&mut self, datagram: Bytes, now: Instant) -> Output {
        let mut output = Output::default();
        while self
            .held
            .front()
            .is_some_and(|(since, ..)| now.saturating_duration_since(*since) > HELD_MAX)
        {
            self.held.pop_front();
            self.stats.rejected += 1;
        }
        match DatagramHeader::split(datagram) {
            Ok((header, payload)) => self.sort_in(header, payload, now, now, &mut output),
            Err(_) => self.stats.rejected += 1,
        }
        output
    }

    fn sort_in(
        &mut self,
        header: DatagramHeader,
        payload: Bytes,
        since: Instant,
        now: Instant,
        output: &mut Output,
    ) {
        let label = header.label();
        let place = label.map_or(Place::Unknown, |label| self.assignments.place(label));
        match place {
            _ if now.saturating_duration_since(since) > HELD_MAX => self.stats.rejected += 1,
            Place::Known(assigned)
                if assigned.user_id == header.user_id
                    && assigned.codec.kind() == header.frame_type.kind() =>
            {
                self.fragment(&assigned, &header, payload, now, output);
            }
            Place::Newer => {
                if self.held.len() == HELD_DATAGRAMS_MAX {
                    self.held.pop_front();
                    self.stats.rejected += 1;
                }
                self.held.push_back((since, header, payload));
            }
            Place::Known(_) | Place::Unknown => self.stats.rejected += 1,
        }
    }

    fn fragment(
        &mut self,
        assigned: &Assigned,
        header: &DatagramHeader,
        payload: Bytes,
        now: Instant,
        output: &mut Output,
    ) {
        let key = (assigned.stream_id, header.extension.encoding);
        let track = self.track(key);
        let whole = track
            .reassembler
            .get_or_insert_with(|| Reassembler::new(Limits::default()))
            .push(header, payload, now);
        let Some(whole) = whole else { return };
        let frame = ReceivedFrame {
            stream_id: assigned.stream_id,
            kind: whole.frame_type.kind(),
            codec: assigned.codec,
            encoding: whole.extension.encoding,
            frame_type: whole.frame_type,
            timestamp_us: whole.timestamp_us,
            received_us: now_us(),
            temporal_layer: whole.extension.temporal_layer,
            base_counter: whole.extension.detail,
            level: whole.extension.audio_level(),
            group: whole.extension.group,
            first_sequence: whole.first_sequence,
            last_sequence: whole.last_sequence,
            carrier: Carrier::Datagram,
            continuity: Continuity::Whole,
            resumes: false,
            span: assigned.since,
            payload: whole.payload,
        };
        let (extension, discardable) = (whole.extension, whole.discardable);
        self.sort_out(frame, extension, discardable, now, output);
    }

    /// Takes a frame of the stream carrier.
    pub(crate) fn stream_frame(
        &mut self,
        stream: &StreamHeader,
        header: &FrameHeader,
        payload: Bytes,
        now: Instant,
    ) -> Output {
        let mut output = Output::default();
        let assigned = self.assignments.stream(stream.stream_id);
        let frame = ReceivedFrame {
            stream_id: stream.stream_id,
            kind: stream.kind(),
            codec: stream.codec,
            encoding: stream.encoding,
            frame_type: header.frame_type,
            timestamp_us: header.timestamp_us,
            received_us: now_us(),
            temporal_layer: header.extension.temporal_layer,
            base_counter: header.extension.detail,
            level: header.extension.audio_level(),
            group: header.extension.group,
            first_sequence: header.sequence,
            last_sequence: header.sequence,
            carrier: Carrier::Stream,
            continuity: Continuity::Whole,
            resumes: false,
            span: assigned.map_or(0, |assigned| assigned.since),
            payload,
        };
        let discardable = header.flags.discardable;
        self.sort_out(frame, header.extension, discardable, now, &mut output);
        output
    }

    /// Where both ways meet: drops second copies, opens what is sealed.
    fn sort_out(
        &mut self,
        frame: ReceivedFrame,
        extension: dt_frame::Extension,
        discardable: bool,
        now: Instant,
        output: &mut Output,
    ) {
        self.expire_sealed(now);
        if !self.dedup.is_new(id_of(&frame)) {
            self.stats.duplicates += 1;
            return;
        }
        if self.opening.is_none() {
            self.deliver(frame, &extension, now, output);
            return;
        }
        let sealed = Sealed {
            since: now,
            frame,
            extension,
            discardable,
            newer_epoch: false,
        };
        self.open(sealed, now, output);
    }

    /// The server has ended a group, and not given it up.
    #[allow(clippy::cast_possible_truncation)] // frames bring the low 16 bits
    pub(crate) fn group_ended(&mut self, stream: &StreamHeader) {
        let key = (stream.stream_id, stream.encoding);
        if let Some(track) = self.tracks.get_mut(&key)
            && track.group == Some(stream.group as u16)
        {
            track.group_ended = true;
        }
    }

    /// The common end of all ways.
    fn deliver(
        &mut self,
        mut frame: ReceivedFrame,
        extension: &dt_frame::Extension,
        now: Instant,
        output: &mut Output,
    ) {
        let key = (frame.stream_id, frame.encoding);
        let track = self.track(key);
        if frame.frame_type != FrameType::Audio {
            frame.continuity = track.base.observe(frame.frame_type, extension);
            frame.resumes = track.follow_group(&frame);
        }
        let broken = matches!(
            frame.continuity,
            Continuity::Missing(_) | Continuity::Broken
        );
        if broken {
            self.ask_for_key_frame(key, now, output);
        }
        self.stats.frames += 1;
        self.stats.bytes += frame.payload.len() as u64;
        output.frames.push(frame);
    }

    fn ask_for_key_frame(&mut self, key: (StreamId, Encoding), now: Instant, output: &mut Output) {
        let track = self.track(key);
        let asked_lately = track
            .asked_at
            .is_some_and(|at| now.saturating_duration_since(at) < KEY_FRAME_INTERVAL);
        if !asked_lately {
            track.asked_at = Some(now);
            self.stats.key_frame_requests += 1;
            output.key_frames.push(key);
        }
    }

    fn track(&mut self, key: (StreamId, Encoding)) -> &mut Track {
        self.turn += 1;
        if !self.tracks.contains_key(&key) && self.tracks.len() >= ENCODINGS_MAX {
            let oldest = self.tracks.iter().min_by_key(|(_, track)| track.used);
            if let Some(oldest) = oldest.map(|(key, _)| *key) {
                self.forget_track(&oldest);
            }
        }
        let turn = self.turn;
        let track = self.tracks.entry(key).or_insert_with(|| Track {
            reassembler: None,
            base: BaseLayer::new(),
            asked_at: None,
            group: None,
            group_ended: false,
            used: turn,
        });
        track.used = turn;
        track
    }

    fn forget_track(&mut self, key: &(StreamId, Encoding)) {
        let stats = self
            .tracks
            .remove(key)
            .and_then(|track| track.reassembler)
            .map(|reassembler| reassembler.stats())
            .unwrap_or_default();
        self.stats.incomplete +=
            stats.frames_expired + stats.frames_evicted + stats.frames_inconsistent;
    }

    /// Forgets a stream that was unpublished.
    pub(crate) fn forget_stream(&mut self, stream_id: StreamId) {
        self.dedup.forget(stream_id);
        self.sealed.remove(&stream_id);
        if let Some(opening) = &mut self.opening {
            opening.forget_stream(stream_id);
        }
        let keys: Vec<_> = self
            .tracks
            .keys()
            .filter(|key| key.0 == stream_id)
            .copied()
            .collect();
        for key in keys {
            self.forget_track(&key);
        }
    }
}

impl Track {
    /// Whether a frame begins a group behind one that the server had ended.
    fn follow_group(&mut self, frame: &ReceivedFrame) -> bool {
        let newer = self.group.is_none_or(|group| {
            // More than half of the ring ahead is behind.
            (1..1 << 15).contains(&frame.group.wrapping_sub(group))
        });
        if !newer {
            // Another handler goes on with it.
            self.group_ended &= self.group != Some(frame.group);
            return false;
        }
        self.group = Some(frame.group);
        let ended = std::mem::take(&mut self.group_ended);
        ended && frame.frame_type == FrameType::VideoKey && frame.carrier == Carrier::Stream
    }
}

fn id_of(frame: &ReceivedFrame) -> FrameId {
    FrameId {
        stream_id: frame.stream_id,
        encoding: frame.encoding,
        timestamp_us: frame.timestamp_us,
    }
}

#[cfg(test)]
mod tests;

#[cfg(test)]
mod sealed_tests;
