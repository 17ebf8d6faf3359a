//! What is on its way to receivers: the outputs, and for each session the
//! frames that its writers have not taken to the wire yet.
//!
//! This is what bounds a slow receiver. Frames wait in the handler's writers;
//! the forwarder counts them here and gives a stream up before it is late by
//! more than the limit or the session holds too much.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use dt_frame::{LinkPrefix, MediaKind, StreamHeader};

use crate::{
    Config, Counters, DropReason, FrameBytes, OutGroup, Output, QueueLimits, SessionKey, StreamOp,
    Target, reset_code,
};

/// Audio goes before all video.
const AUDIO_PRIORITY: i32 = 1 << 30;
/// Doublings of the time for which a receiver that keeps being late may not
/// cause key frames, which cost everybody.
const STRIKES_MAX: u32 = 5;

/// What the handling of one input needs beside the state that it changes.
pub(crate) struct Turn<'a> {
    pub(crate) config: &'a Config,
    pub(crate) outbox: &'a mut Outbox,
    pub(crate) now: Instant,
}

/// What became of a frame for one receiver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sent {
    /// On its way.
    Queued,
    /// The receiver said that it does not want this stream.
    Refused,
    /// The stream was reset; a later group begins anew.
    Gone,
}

#[derive(Debug)]
pub(crate) struct Outbox {
    /// How long a frame waits at most.
    late_max: Duration,
    /// Ordered, so that the same inputs give the same outputs.
    sessions: BTreeMap<SessionKey, Session>,
    outputs: VecDeque<Output>,
    pub(crate) counters: Counters,
    next_out: u64,
    /// Sessions whose frames were given up since this was taken.
    late: BTreeSet<SessionKey>,
}

#[derive(Debug)]
struct Session {
    limits: QueueLimits,
    /// Oldest first, `session_streams_max` at most.
    streams: BTreeMap<OutGroup, Out>,
    queued_bytes: usize,
    next_priority: i32,
    strikes: u32,
    asks_again_at: Option<Instant>,
}

#[derive(Debug)]
struct Out {
    kind: MediaKind,
    /// When each frame that waits was queued, and its bytes.
    waiting: VecDeque<(Instant, usize)>,
    /// No more frames come.
    finished: bool,
    refused: bool,
}

impl Session {
    fn remove(&mut self, out: OutGroup) -> Option<Out> {
        let removed = self.streams.remove(&out)?;
        self.queued_bytes -= removed
            .waiting
            .iter()
            .map(|(_, bytes)| bytes)
            .sum::<usize>();
        Some(removed)
    }

    fn strike(&mut self, now: Instant) {
        self.strikes = (self.strikes + 1).min(STRIKES_MAX);
        self.asks_again_at = Some(now + Duration::from_millis(500) * (1 << self.strikes));
    }

    /// The stream to give up first: video before audio, older before newer.
    fn first_to_go(&self) -> Option<OutGroup> {
        let video = |(out, o): (&OutGroup, &Out)| (o.kind == MediaKind::Video).then_some(*out);
        self.streams
            .iter()
            .find_map(video)
            .or_else(|| self.streams.keys().next().copied())
    }
}

impl Outbox {
    pub(crate) fn new(late_max: Duration) -> Self {
        Self {
            late_max,
            sessions: BTreeMap::new(),
            outputs: VecDeque::new(),
            counters: Counters::default(),
            next_out: 0,
            late: BTreeSet::new(),
        }
    }

    pub(crate) fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    pub(crate) fn push(&mut self, output: Output) {
        self.outputs.push_back(output);
    }

    pub(crate) fn drop(&mut self, reason: DropReason) {
        self.counters.drop(reason);
    }

    pub(crate) fn session_up(&mut self, session: SessionKey, limits: QueueLimits) {
        let state = Session {
            limits,
            streams: BTreeMap::new(),
            queued_bytes: 0,
            next_priority: 0,
            strikes: 0,
            asks_again_at: None,
        };
        self.sessions.insert(session, state);
    }

    /// The session is gone with all its streams; nothing more is said to it.
    pub(crate) fn session_down(&mut self, session: SessionKey) {
        self.sessions.remove(&session);
    }

    pub(crate) fn datagram(&mut self, datagram: Bytes, targets: &Arc<[Target]>) {
        if targets.is_empty() {
            return;
        }
        let copies = targets.len() as u64;
        self.counters.datagrams_out += copies;
        self.counters.bytes_out += copies * datagram.len() as u64;
        let targets = Arc::clone(targets);
        self.outputs
            .push_back(Output::Datagram { datagram, targets });
    }

    /// Opens a stream to a session; `None` when the session is gone.
    pub(crate) fn open(
        &mut self,
        session: SessionKey,
        header: StreamHeader,
        prefix: Option<LinkPrefix>,
        now: Instant,
    ) -> Option<OutGroup> {
        while let state = self.sessions.get(&session)?
            && state.streams.len() >= state.limits.session_streams_max
        {
            let oldest = state.first_to_go()?;
            self.give_up(session, oldest, now);
        }
        let state = self.sessions.get_mut(&session)?;
        let out = OutGroup(self.next_out);
        self.next_out += 1;
        let kind = header.kind();
        let priority = match kind {
            MediaKind::Audio => AUDIO_PRIORITY,
            MediaKind::Video => {
                // Newer groups go first. After a billion groups it begins anew,
                // and for a moment the order is the wrong way round.
                state.next_priority = (state.next_priority + 1) % AUDIO_PRIORITY;
                state.next_priority
            }
        };
        state.streams.insert(
            out,
            Out {
                kind,
                waiting: VecDeque::new(),
                finished: false,
                refused: false,
            },
        );
        let op = StreamOp::Open {
            header,
            prefix,
            priority,
        };
        self.outputs.push_back(Output::Stream { session, out, op });
        Some(out)
    }

    /// Sends a frame on an open stream.
    pub(crate) fn frame(
        &mut self,
        session: SessionKey,
        out: OutGroup,
        frame: &FrameBytes,
        now: Instant,
    ) -> Sent {
        self.make_room(session, frame.len(), now);
        let Some(state) = self.sessions.get_mut(&session) else {
            return Sent::Gone;
        };
        let Some(stream) = state.streams.get_mut(&out) else {
            return Sent::Gone;
        };
        if stream.refused || stream.finished {
            return Sent::Refused;
        }
        stream.waiting.push_back((now, frame.len()));
        state.queued_bytes += frame.len();
        self.counters.frames_out += 1;
        self.counters.bytes_out += frame.len() as u64;
        let op = StreamOp::Frame(frame.clone());
        self.outputs.push_back(Output::Stream { session, out, op });
        Sent::Queued
    }

    /// No more frames come on a stream.
    pub(crate) fn finish(&mut self, session: SessionKey, out: OutGroup) {
        let Some(state) = self.sessions.get_mut(&session) else {
            return;
        };
        let Some(stream) = state.streams.get_mut(&out) else {
            return;
        };
        if stream.finished {
            return;
        }
        stream.finished = true;
        let (empty, refused) = (stream.waiting.is_empty(), stream.refused);
        if empty || refused {
            state.remove(out);
        }
        if !refused {
            let op = StreamOp::Finish;
            self.outputs.push_back(Output::Stream { session, out, op });
        }
    }

    /// Gives a stream up.
    pub(crate) fn reset(&mut self, session: SessionKey, out: OutGroup, code: u32) {
        let Some(state) = self.sessions.get_mut(&session) else {
            return;
        };
        if state.remove(out).is_some_and(|stream| !stream.refused) {
            let op = StreamOp::Reset(code);
            self.outputs.push_back(Output::Stream { session, out, op });
        }
    }

    /// A writer took frames to the wire.
    pub(crate) fn written(&mut self, session: SessionKey, out: OutGroup, frames: usize) {
        let Some(state) = self.sessions.get_mut(&session) else {
            return;
        };
        let Some(stream) = state.streams.get_mut(&out) else {
            return;
        };
        for _ in 0..frames {
            let Some((_, bytes)) = stream.waiting.pop_front() else {
                break;
            };
            state.queued_bytes -= bytes;
        }
        if stream.waiting.is_empty() && stream.finished {
            state.remove(out);
        }
    }

    /// The receiver stopped a stream, or it could not be opened.
    pub(crate) fn refused(&mut self, session: SessionKey, out: OutGroup) {
        let Some(state) = self.sessions.get_mut(&session) else {
            return;
        };
        let Some(stream) = state.streams.get_mut(&out) else {
            return;
        };
        stream.refused = true;
        let bytes: usize = stream.waiting.drain(..).map(|(_, bytes)| bytes).sum();
        state.queued_bytes -= bytes;
        if stream.finished {
            state.streams.remove(&out);
        }
    }

    /// Gives up every stream whose oldest frame has waited for too long.
    pub(crate) fn give_up_late(&mut self, now: Instant) {
        let late_max = self.late_max;
        let is_late = |out: &Out| {
            out.waiting
                .front()
                .is_some_and(|(at, _)| now.saturating_duration_since(*at) > late_max)
        };
        let late: Vec<_> = self
            .sessions
            .iter()
            .flat_map(|(session, state)| {
                let late = state.streams.iter().filter(|(_, out)| is_late(out));
                late.map(|(out, _)| (*session, *out))
            })
            .collect();
        for (session, out) in late {
            self.give_up(session, out, now);
        }
    }

    /// Sessions whose frames were given up.
    pub(crate) fn take_late(&mut self) -> BTreeSet<SessionKey> {
        std::mem::take(&mut self.late)
    }

    /// Whether a receiver may cause a key frame: not while it keeps being late.
    pub(crate) fn may_ask(&mut self, session: SessionKey, now: Instant) -> bool {
        let Some(state) = self.sessions.get_mut(&session) else {
            return false;
        };
        let Some(at) = state.asks_again_at else {
            return true;
        };
        if now.saturating_duration_since(at) > Duration::from_secs(10) {
            state.strikes = 0;
            state.asks_again_at = None;
        }
        now >= at
    }

    /// Bytes that wait for a session, and its streams.
    #[cfg(test)]
    pub(crate) fn load(&self, session: SessionKey) -> (usize, usize) {
        self.sessions
            .get(&session)
            .map_or((0, 0), |s| (s.queued_bytes, s.streams.len()))
    }

    fn make_room(&mut self, session: SessionKey, bytes: usize, now: Instant) {
        while let Some(state) = self.sessions.get(&session) {
            if state.queued_bytes == 0
                || state.queued_bytes + bytes <= state.limits.session_bytes_max
            {
                return;
            }
            // The oldest one that holds anything.
            let holds =
                |(out, o): (&OutGroup, &Out)| (!o.waiting.is_empty()).then_some((*out, o.kind));
            let holding: Vec<_> = state.streams.iter().filter_map(holds).collect();
            let video = holding.iter().find(|(_, kind)| *kind == MediaKind::Video);
            let Some((out, _)) = video.or_else(|| holding.first()) else {
                return;
            };
            self.give_up(session, *out, now);
        }
    }

    fn give_up(&mut self, session: SessionKey, out: OutGroup, now: Instant) {
        self.counters.late_resets += 1;
        if let Some(state) = self.sessions.get_mut(&session) {
            let frames = state.streams.get(&out).map_or(0, |o| o.waiting.len());
            for _ in 0..frames {
                self.counters.drop(DropReason::SlowReceiver);
            }
            state.strike(now);
            self.late.insert(session);
        }
        self.reset(session, out, reset_code::GRACEFUL);
    }
}
