//! The streams of a connection whose messages travel in datagrams: who gets an
//! arriving datagram, which stream sends next.
//!
//! One lock, no tasks and no waiting; [`driver`](super::driver) calls it when a
//! datagram or a moment has come.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use tokio::sync::Notify;

use super::{
    Config, StreamConfig,
    metrics::{StreamMetrics, Totals},
    partial::{Outgoing, Receiver, ReceiverLimits, Sender},
    wire::{Body, Datagram, parse_datagram, write_datagram},
};
use crate::{PathStats, SessionError};

/// Datagrams that have overtaken the stream that explains them, and their bytes.
const EARLY_DATAGRAMS_MAX: usize = 128;
const EARLY_BYTES_MAX: usize = 128 << 10;
/// Receivers that are gone and whose senders may not know yet.
const STOPPED_MAX: usize = 256;
/// Bytes that may be in flight even where the session names a smaller window.
const WINDOW_BYTES_MIN: usize = 4800;

/// A stream's name on this side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Key {
    id: u32,
    opened_here: bool,
}

impl Key {
    pub(super) fn of(id: u32, opened_here: bool) -> Self {
        Self { id, opened_here }
    }

    pub(super) fn id(self) -> u32 {
        self.id
    }

    pub(super) fn opened_here(self) -> bool {
        self.opened_here
    }
}

/// Counts of what belongs to no stream.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Strays {
    pub(super) unknown: u64,
    pub(super) malformed: u64,
    pub(super) unsendable: u64,
}

#[derive(Debug, Default)]
pub(super) struct Streams {
    entries: BTreeMap<Key, Entry>,
    stopped: VecDeque<(Key, u32)>,
    /// Of `stopped`, those that are to be told.
    stops_due: Vec<(Key, u32)>,
    early: VecDeque<(Key, Bytes)>,
    early_bytes: usize,
    /// Where the last round among streams of one priority ended.
    last_sent: Option<Key>,
    /// When the driver will look by itself.
    looks_at: Option<Instant>,
    path: PathStats,
    datagram_bytes_max: usize,
    pub(super) ended: Option<SessionError>,
    pub(super) strays: Strays,
    /// What streams that are gone have counted.
    closed: Totals,
}

#[derive(Debug)]
struct Entry {
    priority: i32,
    acknowledged: bool,
    out: Option<Out>,
    inn: Option<In>,
    /// Of a half that is gone while the other goes on, and bytes of both.
    closed: Totals,
}

/// The half by which this side sends.
#[derive(Debug)]
pub(super) struct Out {
    pub(super) machine: Sender,
    pub(super) stopped: Option<u32>,
    /// Told when something was acknowledged, given up or stopped.
    progress: Arc<Notify>,
}

/// The half by which this side receives.
#[derive(Debug)]
pub(super) struct In {
    pub(super) machine: Receiver,
    /// Told when there is something to take.
    news: Arc<Notify>,
}

impl Streams {
    /// Adds a stream, unless there is one of this name. Datagrams that came
    /// before it are given to it.
    pub(super) fn add(
        &mut self,
        now: Instant,
        key: Key,
        config: &StreamConfig,
        limits: &Config,
        (out, inn): (Option<Arc<Notify>>, Option<Arc<Notify>>),
    ) -> bool {
        if self.entries.contains_key(&key) {
            return false;
        }
        let receiver_limits = ReceiverLimits {
            message_bytes_max: config.max_message_bytes,
            ready_bytes_max: limits.receive_queue_bytes_max,
            unfinished_bytes_max: limits.unfinished_bytes_max,
            unfinished_messages_max: limits.unfinished_messages_max,
        };
        let (rtt, datagram) = (self.path.rtt, self.datagram_bytes_max);
        let out = out.map(|progress| {
            let mut machine = Sender::new(config.reliability, limits.send_queue_bytes_max);
            machine.handle_path(rtt, datagram);
            Out {
                machine,
                stopped: None,
                progress,
            }
        });
        let inn = inn.map(|news| {
            let mut machine = Receiver::new(config.reliability, config.ordering, receiver_limits);
            machine.handle_path(rtt);
            In { machine, news }
        });
        let entry = Entry {
            priority: config.priority,
            acknowledged: config.reliability.is_partial(),
            out,
            inn,
            closed: Totals::default(),
        };
        self.entries.insert(key, entry);
        let early = std::mem::take(&mut self.early);
        self.early_bytes = 0;
        for (owner, datagram) in early {
            if owner == key {
                self.handle_datagram(now, &datagram);
            } else {
                self.keep_early(owner, datagram);
            }
        }
        true
    }

    pub(super) fn out(&mut self, key: Key) -> Option<&mut Out> {
        self.entries.get_mut(&key)?.out.as_mut()
    }

    pub(super) fn inn(&mut self, key: Key) -> Option<&mut In> {
        self.entries.get_mut(&key)?.inn.as_mut()
    }

    pub(super) fn remove_out(&mut self, key: Key) {
        if let Some(entry) = self.entries.get_mut(&key)
            && let Some(out) = entry.out.take()
        {
            entry.closed.add_sender(&out.machine.stats());
        }
        self.forget_if_over(key);
    }

    /// The receiving half is gone; its sender is told unless it had finished.
    pub(super) fn remove_in(&mut self, key: Key, code: u32) {
        if let Some(entry) = self.entries.get_mut(&key)
            && let Some(inn) = entry.inn.take()
        {
            let acknowledged = entry.acknowledged;
            entry
                .closed
                .add_receiver(&inn.machine.stats(), acknowledged);
            if !inn.machine.is_finished() {
                self.stops_due.push((key, code));
                self.stopped.push_back((key, code));
                if self.stopped.len() > STOPPED_MAX {
                    self.stopped.pop_front();
                }
            }
        }
        self.forget_if_over(key);
    }

    fn forget_if_over(&mut self, key: Key) {
        if let Some(entry) = self.entries.get(&key)
            && entry.out.is_none()
            && entry.inn.is_none()
        {
            self.closed.add(&entry.closed);
            self.entries.remove(&key);
        }
    }

    /// The session is over; everybody who waits learns it.
    pub(super) fn end(&mut self, error: SessionError) {
        self.ended.get_or_insert(error);
        for entry in self.entries.values() {
            entry.wake();
        }
    }

    // -- receiving ----------------------------------------------------------

    /// A datagram with the layer's tag has arrived. Whether the driver has to
    /// look before the time it knows.
    pub(super) fn handle_datagram(&mut self, now: Instant, bytes: &Bytes) -> bool {
        let Ok(datagram) = parse_datagram(bytes) else {
            self.strays.malformed += 1;
            return false;
        };
        let key = Key::of(datagram.id, !datagram.by_opener);
        let Some(entry) = self.entries.get_mut(&key) else {
            return self.handle_unknown(key, &datagram, bytes);
        };
        let mut look = false;
        match (&datagram.body, &mut entry.out, &mut entry.inn) {
            (Body::Data(data), _, Some(inn)) => {
                inn.machine.handle_data(now, data);
                inn.news.notify_one();
            }
            (Body::Forward { floor }, _, Some(inn)) => {
                inn.machine.handle_forward(now, *floor);
                inn.news.notify_one();
            }
            (Body::Ack(ack), Some(out), _) => {
                out.machine.handle_ack(now, ack);
                out.progress.notify_waiters();
                look = true;
            }
            (Body::Stop { code }, Some(out), _) => {
                out.stopped.get_or_insert(*code);
                out.progress.notify_waiters();
            }
            _ => return self.handle_unknown(key, &datagram, bytes),
        }
        let wants = entry.timeout();
        look || match (wants, self.looks_at) {
            (Some(wants), Some(looks)) => wants < looks,
            (Some(_), None) => true,
            (None, _) => false,
        }
    }

    fn handle_unknown(&mut self, key: Key, datagram: &Datagram, bytes: &Bytes) -> bool {
        if !matches!(datagram.body, Body::Data(_) | Body::Forward { .. }) {
            self.strays.unknown += 1;
            return false;
        }
        if let Some(stopped) = self.stopped.iter().find(|(stopped, _)| *stopped == key) {
            let due = !self.stops_due.contains(stopped);
            if due {
                self.stops_due.push(*stopped);
            }
            return due;
        }
        // Of our own streams we know all.
        if key.opened_here || matches!(datagram.body, Body::Forward { .. }) {
            self.strays.unknown += 1;
        } else {
            // Copied, so that a small one does not keep a large packet alive.
            self.keep_early(key, Bytes::copy_from_slice(bytes));
        }
        false
    }

    fn keep_early(&mut self, key: Key, datagram: Bytes) {
        self.early_bytes += datagram.len();
        self.early.push_back((key, datagram));
        while self.early.len() > EARLY_DATAGRAMS_MAX || self.early_bytes > EARLY_BYTES_MAX {
            if let Some((_, dropped)) = self.early.pop_front() {
                self.early_bytes -= dropped.len();
                self.strays.unknown += 1;
            }
        }
    }

    // -- sending ------------------------------------------------------------

    /// What the session says of itself.
    pub(super) fn handle_path(&mut self, path: PathStats, datagram_bytes_max: usize) {
        self.path = path;
        self.datagram_bytes_max = datagram_bytes_max;
        for entry in self.entries.values_mut() {
            if let Some(out) = &mut entry.out {
                out.machine.handle_path(path.rtt, datagram_bytes_max);
            }
            if let Some(inn) = &mut entry.inn {
                inn.machine.handle_path(path.rtt);
            }
        }
    }

    /// Does what is due and gives `send` what is to be sent, by priority and in
    /// turn among equals. Returns when to be called again at the latest.
    pub(super) fn pump(
        &mut self,
        now: Instant,
        tag: u8,
        mut send: impl FnMut(Bytes) -> Result<(), SessionError>,
    ) -> Option<Instant> {
        let mut ready = Vec::new();
        for (key, code) in std::mem::take(&mut self.stops_due) {
            ready.push(write(tag, key, Body::Stop { code }));
        }
        for (key, entry) in &mut self.entries {
            entry.handle_timeout(now);
            if let Some(inn) = &mut entry.inn
                && let Some(ack) = inn.machine.poll_ack(now)
            {
                let ack = write(tag, *key, Body::Ack(ack));
                entry.closed.control_datagram_bytes += ack.len() as u64;
                ready.push(ack);
            }
        }
        for datagram in ready {
            self.hand_over(datagram, &mut send);
        }
        self.send_data(now, tag, &mut send);
        self.looks_at = self.entries.values().filter_map(Entry::timeout).min();
        self.looks_at
    }

    fn send_data(
        &mut self,
        now: Instant,
        tag: u8,
        send: &mut impl FnMut(Bytes) -> Result<(), SessionError>,
    ) {
        let window = usize::try_from(self.path.congestion_window_bytes).unwrap_or(usize::MAX);
        let window = window.max(WINDOW_BYTES_MIN);
        let mut in_flight: usize = self.entries.values().map(Entry::in_flight_bytes).sum();
        let mut keys: Vec<(i32, Key)> = self
            .entries
            .iter()
            .filter(|(_, entry)| entry.out.as_ref().is_some_and(|out| !out.machine.is_idle()))
            .map(|(key, entry)| (entry.priority, *key))
            .collect();
        // The highest priority first; among equals who was not the last.
        let last = self.last_sent;
        keys.sort_by_key(|(priority, key)| (-i64::from(*priority), Some(*key) <= last, *key));
        for level in keys.chunk_by(|(one, _), (other, _)| one == other) {
            let mut turn: VecDeque<Key> = level.iter().map(|(_, key)| *key).collect();
            while let Some(key) = turn.pop_front() {
                let Some(out) = self.out(key) else { continue };
                let mine = out.machine.in_flight_bytes();
                let room = window.saturating_sub(in_flight - mine);
                let Some(outgoing) = out.machine.poll_transmit(now, room) else {
                    in_flight = in_flight - mine + out.machine.in_flight_bytes();
                    continue;
                };
                in_flight = in_flight - mine + out.machine.in_flight_bytes();
                let body = match outgoing {
                    Outgoing::Data(data) => Body::Data(data),
                    Outgoing::Forward(floor) => Body::Forward { floor },
                };
                self.last_sent = Some(key);
                turn.push_back(key);
                let data = matches!(body, Body::Data(_));
                let datagram = write(tag, key, body);
                if let Some(entry) = self.entries.get_mut(&key) {
                    let bytes = datagram.len() as u64;
                    if data {
                        entry.closed.data_datagram_bytes += bytes;
                    } else {
                        entry.closed.control_datagram_bytes += bytes;
                    }
                }
                self.hand_over(datagram, send);
            }
        }
        for (_, key) in keys {
            if let Some(out) = self.out(key) {
                out.progress.notify_waiters();
            }
        }
    }

    fn hand_over(
        &mut self,
        datagram: Bytes,
        send: &mut impl FnMut(Bytes) -> Result<(), SessionError>,
    ) {
        match send(datagram) {
            Ok(()) => {}
            // The path has become smaller: lost, and cut smaller the next time.
            Err(SessionError::DatagramTooLarge { .. }) => self.strays.unsendable += 1,
            Err(error) => self.end(error),
        }
    }

    #[cfg(test)]
    pub(super) fn held_bytes(&self) -> usize {
        let receivers = self.entries.values().filter_map(|entry| entry.inn.as_ref());
        let held: usize = receivers.map(|inn| inn.machine.held_bytes()).sum();
        held + self.early_bytes
    }

    // -- figures ------------------------------------------------------------

    /// Figures of all streams, and what those that are gone have counted.
    pub(super) fn metrics(&self, now: Instant) -> (Vec<StreamMetrics>, Totals) {
        let streams = self.entries.iter().map(|(key, entry)| {
            let mut metrics = StreamMetrics {
                id: key.id,
                opened_here: key.opened_here,
                totals: entry.closed,
                rtt: self.path.rtt,
                ..StreamMetrics::default()
            };
            if let Some(out) = &entry.out {
                let age = |since| now.saturating_duration_since(since);
                metrics.totals.add_sender(&out.machine.stats());
                metrics.send_queue_bytes = out.machine.held_bytes();
                metrics.send_queue_age = out.machine.oldest_unsent().map_or(Duration::ZERO, age);
                if entry.acknowledged {
                    (metrics.rtt, metrics.jitter) = out.machine.rtt();
                }
            }
            if let Some(inn) = &entry.inn {
                let stats = inn.machine.stats();
                metrics.totals.add_receiver(&stats, entry.acknowledged);
            }
            metrics
        });
        (streams.collect(), self.closed)
    }
}

impl Entry {
    fn wake(&self) {
        if let Some(out) = &self.out {
            out.progress.notify_waiters();
        }
        if let Some(inn) = &self.inn {
            inn.news.notify_one();
        }
    }

    fn in_flight_bytes(&self) -> usize {
        self.out
            .as_ref()
            .map_or(0, |out| out.machine.in_flight_bytes())
    }

    fn timeout(&self) -> Option<Instant> {
        let out = self.out.as_ref().and_then(|out| out.machine.poll_timeout());
        let inn = self.inn.as_ref().and_then(|inn| inn.machine.poll_timeout());
        out.into_iter().chain(inn).min()
    }

    fn handle_timeout(&mut self, now: Instant) {
        if self.timeout().is_none_or(|at| at > now) {
            return;
        }
        if let Some(out) = &mut self.out {
            out.machine.handle_timeout(now);
        }
        if let Some(inn) = &mut self.inn {
            inn.machine.handle_timeout(now);
            inn.news.notify_one();
        }
    }
}

fn write(tag: u8, key: Key, body: Body) -> Bytes {
    let datagram = Datagram {
        id: key.id,
        by_opener: key.opened_here,
        body,
    };
    write_datagram(tag, &datagram)
}
