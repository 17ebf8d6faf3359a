//! The state of an in-memory connection: what is on its way to each side.
//!
//! No tasks and no timers: everything on the way has a time of arrival, and who
//! looks before it waits until then. Driven by the sessions and streams of
//! [`memory`](super) under one lock.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    time::Duration,
};

use bytes::Bytes;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use tokio::time::Instant;

use super::{Config, Step};
use crate::{PathStats, SessionError, StreamError};

/// Stands for "never" without overflowing an [`Instant`].
const NEVER: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
/// What a datagram that is held back loses beyond one more latency.
const HELD_BACK: Duration = Duration::from_millis(5);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    Uni,
    Bi,
}

/// The pipes of a stream, as one side sees them.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Opened {
    pub(super) outgoing: Option<u64>,
    pub(super) incoming: Option<u64>,
}

#[derive(Debug)]
pub(super) struct Link {
    config: Config,
    rng: StdRng,
    next_id: u64,
    sides: [Side; 2],
    pipes: HashMap<u64, Pipe>,
    /// Streams that count against the limit of who opened them, with the number
    /// of their pipes that still run.
    streams: HashMap<u64, (usize, Way, usize)>,
    silent: bool,
    /// No datagram arrives.
    deaf: bool,
}

/// What is on its way to one side, and what that side did.
#[derive(Debug, Default)]
struct Side {
    datagrams: BTreeMap<(Instant, u64), Bytes>,
    datagram_bytes: usize,
    incoming: VecDeque<(Instant, Way, Opened)>,
    /// Bytes written by this side and not yet read by the other.
    unread_bytes: usize,
    end: Option<(Instant, SessionError)>,
    sent: u64,
    sent_bytes: u64,
    lost: u64,
}

/// One direction of a stream.
#[derive(Debug)]
struct Pipe {
    writer: usize,
    stream: u64,
    chunks: VecDeque<(Instant, Bytes)>,
    queued_bytes: usize,
    /// Nothing written later arrives before this.
    last_at: Instant,
    /// Finished (`None`) or reset with a code, as seen by the reader.
    end: Option<(Instant, Option<u32>)>,
    /// Stopped with a code, as seen by the writer.
    stopped: Option<(Instant, u32)>,
    writer_gone: bool,
    reader_gone: bool,
}

impl Link {
    pub(super) fn new(config: Config) -> Self {
        Self {
            rng: StdRng::seed_from_u64(config.seed),
            config,
            next_id: 0,
            sides: [Side::default(), Side::default()],
            pipes: HashMap::new(),
            streams: HashMap::new(),
            silent: false,
            deaf: false,
        }
    }

    pub(super) fn config(&self) -> &Config {
        &self.config
    }

    pub(super) fn path_stats(&self, side: usize) -> PathStats {
        PathStats {
            rtt: 2 * self.config.latency + self.config.jitter,
            rtt_min: 2 * self.config.latency,
            lost_packets: self.sides[side].lost,
            sent_packets: self.sides[side].sent,
            sent_bytes: self.sides[side].sent_bytes,
            congestion_window_bytes: self.config.session_window_bytes_max as u64,
            ..PathStats::default()
        }
    }

    /// `Err` when the session is over for this side; else the moment at which it
    /// will be, where that is known.
    pub(super) fn ended(&self, side: usize, now: Instant) -> Result<Option<Instant>, SessionError> {
        match &self.sides[side].end {
            Some((at, error)) if *at <= now => Err(error.clone()),
            end => Ok(end.as_ref().map(|(at, _)| *at)),
        }
    }

    pub(super) fn close(&mut self, side: usize, code: u32, reason: &str, now: Instant) {
        if self.ended(side, now).is_err() {
            return;
        }
        self.sides[side].end = Some((now, SessionError::ClosedLocally));
        let at = now + self.config.latency;
        let peer = &mut self.sides[1 - side];
        if !self.silent && peer.end.as_ref().is_none_or(|(end, _)| *end > at) {
            let reason = reason.chars().take(1024).collect();
            peer.end = Some((at, SessionError::ClosedByPeer { code, reason }));
        }
    }

    pub(super) fn sever(&mut self, now: Instant) {
        for side in &mut self.sides {
            if side.end.as_ref().is_none_or(|(at, _)| *at > now) {
                side.end = Some((now, SessionError::Lost("severed".into())));
            }
        }
    }

    pub(super) fn silence(&mut self, now: Instant) {
        self.silent = true;
        let at = now + self.config.idle_timeout;
        for side in &mut self.sides {
            side.end.get_or_insert((at, SessionError::TimedOut));
        }
    }

    pub(super) fn lose_datagrams(&mut self, all: bool) {
        self.deaf = all;
    }

    /// When something sent now arrives.
    fn arrival(&mut self, now: Instant) -> Instant {
        if self.silent {
            return now + NEVER;
        }
        let jitter = self.config.jitter;
        let extra = if jitter.is_zero() {
            Duration::ZERO
        } else {
            jitter.mul_f64(self.rng.random::<f64>())
        };
        now + self.config.latency + extra
    }

    fn happens(&mut self, share: f64) -> bool {
        share > 0.0 && self.rng.random::<f64>() < share
    }

    // -- datagrams ---------------------------------------------------------

    pub(super) fn send_datagram(
        &mut self,
        side: usize,
        datagram: Bytes,
        now: Instant,
    ) -> Result<(), SessionError> {
        self.ended(side, now)?;
        let limit = self.config.datagram_bytes_max;
        if datagram.len() > limit {
            return Err(SessionError::DatagramTooLarge {
                bytes: datagram.len(),
                limit,
            });
        }
        self.sides[side].sent += 1;
        self.sides[side].sent_bytes += datagram.len() as u64;
        let mut at = self.arrival(now);
        if self.happens(self.config.reordering) {
            at += self.config.latency + HELD_BACK;
        }
        if self.happens(self.config.loss) || self.silent || self.deaf {
            self.sides[side].lost += 1;
            return Ok(());
        }
        if self.happens(self.config.duplication) {
            let at = self.arrival(now);
            self.put_datagram(side, at, datagram.clone());
        }
        self.put_datagram(side, at, datagram);
        Ok(())
    }

    fn put_datagram(&mut self, side: usize, at: Instant, datagram: Bytes) {
        let id = self.take_id();
        let limit = self.config.datagram_queue_bytes_max;
        let peer = &mut self.sides[1 - side];
        peer.datagram_bytes += datagram.len();
        peer.datagrams.insert((at, id), datagram);
        let mut overflow = 0;
        while peer.datagram_bytes > limit
            && let Some((_, dropped)) = peer.datagrams.pop_first()
        {
            peer.datagram_bytes -= dropped.len();
            overflow += 1;
        }
        self.sides[side].lost += overflow;
    }

    pub(super) fn recv_datagram(
        &mut self,
        side: usize,
        now: Instant,
    ) -> Step<Result<Bytes, SessionError>> {
        let mine = &mut self.sides[side];
        let mut next = None;
        if let Some(entry) = mine.datagrams.first_entry() {
            let at = entry.key().0;
            if at <= now {
                let datagram = entry.remove();
                mine.datagram_bytes -= datagram.len();
                return Step::Done(Ok(datagram));
            }
            next = Some(at);
        }
        self.wait_or_end(side, now, next)
    }

    fn wait_or_end<T>(
        &self,
        side: usize,
        now: Instant,
        next: Option<Instant>,
    ) -> Step<Result<T, SessionError>> {
        match self.ended(side, now) {
            Err(error) => Step::Done(Err(error)),
            Ok(end) => Step::Wait(earlier(next, end)),
        }
    }

    // -- streams -----------------------------------------------------------

    fn take_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    fn add_pipe(&mut self, writer: usize, stream: u64, now: Instant) -> u64 {
        let id = self.take_id();
        self.pipes.insert(
            id,
            Pipe {
                writer,
                stream,
                chunks: VecDeque::new(),
                queued_bytes: 0,
                last_at: now,
                end: None,
                stopped: None,
                writer_gone: false,
                reader_gone: false,
            },
        );
        id
    }

    pub(super) fn open(
        &mut self,
        side: usize,
        way: Way,
        now: Instant,
    ) -> Step<Result<Opened, SessionError>> {
        if let Err(error) = self.ended(side, now) {
            return Step::Done(Err(error));
        }
        let open = self
            .streams
            .values()
            .filter(|(opener, kind, _)| (*opener, *kind) == (side, way))
            .count();
        if open >= self.config.streams_max {
            return self.wait_or_end(side, now, None);
        }
        let stream = self.take_id();
        let there = self.add_pipe(side, stream, now);
        let back = (way == Way::Bi).then(|| self.add_pipe(1 - side, stream, now));
        let pipes = 1 + usize::from(back.is_some());
        self.streams.insert(stream, (side, way, pipes));
        let at = self.arrival(now);
        if let Some(pipe) = self.pipes.get_mut(&there) {
            pipe.last_at = at;
        }
        let peer = Opened {
            outgoing: back,
            incoming: Some(there),
        };
        // Streams may overtake each other, as they do on QUIC.
        let queue = &mut self.sides[1 - side].incoming;
        let place = queue.partition_point(|(other, ..)| *other <= at);
        queue.insert(place, (at, way, peer));
        Step::Done(Ok(Opened {
            outgoing: Some(there),
            incoming: back,
        }))
    }

    pub(super) fn accept(
        &mut self,
        side: usize,
        way: Way,
        now: Instant,
    ) -> Step<Result<Opened, SessionError>> {
        let queue = &mut self.sides[side].incoming;
        let next = queue.iter().position(|(_, kind, _)| *kind == way);
        let mut at = None;
        if let Some(place) = next {
            if queue[place].0 <= now
                && let Some((_, _, opened)) = queue.remove(place)
            {
                return Step::Done(Ok(opened));
            }
            at = Some(queue[place].0);
        }
        self.wait_or_end(side, now, at)
    }

    /// Takes as much of `chunk` as the windows allow.
    pub(super) fn write(
        &mut self,
        side: usize,
        id: u64,
        chunk: &mut Bytes,
        now: Instant,
    ) -> Step<Result<(), StreamError>> {
        if let Err(error) = self.ended(side, now) {
            return Step::Done(Err(error.into()));
        }
        let mut at = self.arrival(now);
        if self.happens(self.config.loss) {
            at += 2 * self.config.latency;
            self.sides[side].lost += 1;
        }
        let window = self.config.stream_window_bytes_max;
        let session_room = self
            .config
            .session_window_bytes_max
            .saturating_sub(self.sides[side].unread_bytes);
        let Some(pipe) = self.pipes.get_mut(&id) else {
            return Step::Done(Err(StreamError::Closed));
        };
        let mut wake = None;
        match pipe.stopped {
            Some((stopped, code)) if stopped <= now => {
                return Step::Done(Err(StreamError::Reset(code)));
            }
            Some((stopped, _)) => wake = Some(stopped),
            None => {}
        }
        let room = window.saturating_sub(pipe.queued_bytes).min(session_room);
        let taken = room.min(chunk.len());
        if taken > 0 {
            pipe.last_at = pipe.last_at.max(at);
            pipe.chunks.push_back((pipe.last_at, chunk.split_to(taken)));
            pipe.queued_bytes += taken;
            self.sides[side].unread_bytes += taken;
            self.sides[side].sent += 1;
            self.sides[side].sent_bytes += taken as u64;
        }
        if chunk.is_empty() {
            return Step::Done(Ok(()));
        }
        match self.wait_or_end::<()>(side, now, wake) {
            Step::Done(Err(error)) => Step::Done(Err(error.into())),
            Step::Done(Ok(())) => Step::Done(Ok(())),
            Step::Wait(at) => Step::Wait(at),
        }
    }

    /// The writer finishes (`None`) or resets the stream.
    pub(super) fn end_writing(&mut self, id: u64, code: Option<u32>, now: Instant) {
        let at = self.arrival(now);
        let Some(pipe) = self.pipes.get_mut(&id) else {
            return;
        };
        pipe.last_at = pipe.last_at.max(at);
        // A reset may overtake what was written.
        let at = if code.is_some() { at } else { pipe.last_at };
        pipe.end = Some((at, code));
        pipe.writer_gone = true;
        self.forget_if_over(id);
    }

    /// The next bytes, at most `max_bytes`; `None` at the end.
    pub(super) fn read(
        &mut self,
        side: usize,
        id: u64,
        max_bytes: usize,
        now: Instant,
    ) -> Step<Result<Option<Bytes>, StreamError>> {
        let Some(pipe) = self.pipes.get_mut(&id) else {
            return Step::Done(Ok(None));
        };
        if let Some((at, Some(code))) = pipe.end
            && at <= now
        {
            return Step::Done(Err(StreamError::Reset(code)));
        }
        let mut next = pipe.end.map(|(at, _)| at);
        match pipe.chunks.front_mut() {
            Some((at, chunk)) if *at <= now => {
                let taken = chunk.split_to(max_bytes.min(chunk.len()));
                if chunk.is_empty() {
                    pipe.chunks.pop_front();
                }
                pipe.queued_bytes -= taken.len();
                let writer = pipe.writer;
                self.sides[writer].unread_bytes -= taken.len();
                return Step::Done(Ok(Some(taken)));
            }
            Some((at, _)) => next = earlier(next, Some(*at)),
            None if next.is_some_and(|at| at <= now) => return Step::Done(Ok(None)),
            None => {}
        }
        match self.wait_or_end(side, now, next) {
            Step::Done(result) => Step::Done(result.map_err(StreamError::from)),
            Step::Wait(at) => Step::Wait(at),
        }
    }

    /// The reader wants no more; `stop` holds the code when the writer is to be
    /// told, which it is unless the stream had come to its end.
    pub(super) fn end_reading(&mut self, id: u64, stop: Option<u32>, now: Instant) {
        let at = self.arrival(now);
        let Some(pipe) = self.pipes.get_mut(&id) else {
            return;
        };
        pipe.reader_gone = true;
        if let Some(code) = stop {
            pipe.stopped.get_or_insert((at, code));
        }
        self.sides[pipe.writer].unread_bytes -= pipe.queued_bytes;
        pipe.queued_bytes = 0;
        pipe.chunks.clear();
        let stream = pipe.stream;
        if let Some((_, _, running)) = self.streams.get_mut(&stream) {
            *running -= 1;
            if *running == 0 {
                self.streams.remove(&stream);
            }
        }
        self.forget_if_over(id);
    }

    fn forget_if_over(&mut self, id: u64) {
        if self
            .pipes
            .get(&id)
            .is_some_and(|pipe| pipe.writer_gone && pipe.reader_gone)
        {
            self.pipes.remove(&id);
        }
    }
}

fn earlier(a: Option<Instant>, b: Option<Instant>) -> Option<Instant> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}
