//! What waits to be sent, and in which order it goes. Sans-IO: the task that
//! writes asks for the next message whenever the socket has taken the one before.
//!
//! Control goes first, then datagrams, then groups by priority. Of a group one
//! message waits here at most; the rest waits at its writer, where it can still
//! be given up. Everything is bounded: see [`Limits`].

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    sync::{Notify, OwnedSemaphorePermit},
    time::Instant,
};

use crate::{Limits, message::Layer};

/// A group that this side sends; counts up in the order of opening.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct GroupId(u64);

/// How a group that is being written stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Room {
    /// Its next message may be put.
    Free,
    /// The last one is not sent yet.
    Taken,
    /// It is no more: a newer group of its encoding has begun.
    GivenUp,
}

#[derive(Debug)]
struct Group {
    /// Known with its header.
    layer: Option<Layer>,
    priority: i32,
    waiting: Option<Bytes>,
    /// The peer knows it.
    opened: bool,
    /// Nothing is to be put any more.
    finished: bool,
    /// Told when there is room, or none ever again.
    room: Arc<Notify>,
    /// One of those that may be open at once.
    _place: OwnedSemaphorePermit,
}

#[derive(Debug)]
pub(crate) struct Outbox {
    wait_max: Duration,
    datagram_bytes_max: usize,
    control_bytes_max: usize,
    control: VecDeque<Bytes>,
    control_bytes: usize,
    datagrams: VecDeque<(Instant, Bytes)>,
    datagram_bytes: usize,
    groups: BTreeMap<GroupId, Group>,
    opened: u64,
    /// Datagrams that were dropped because they were late or too many.
    pub(crate) dropped_datagrams: u64,
    /// Messages that the socket got.
    pub(crate) sent: u64,
}

impl Outbox {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            wait_max: limits.datagram_wait_max,
            datagram_bytes_max: limits.datagram_send_bytes_max,
            control_bytes_max: limits.control_bytes_max,
            control: VecDeque::new(),
            control_bytes: 0,
            datagrams: VecDeque::new(),
            datagram_bytes: 0,
            groups: BTreeMap::new(),
            opened: 0,
            dropped_datagrams: 0,
            sent: 0,
        }
    }

    /// Queues a control message unless there are too many; one is always taken.
    pub(crate) fn put_control(&mut self, message: &Bytes) -> bool {
        if self.control_bytes > 0 && self.control_bytes + message.len() > self.control_bytes_max {
            return false;
        }
        self.control_bytes += message.len();
        self.control.push_back(message.clone());
        true
    }

    /// Queues a datagram; the oldest give way.
    pub(crate) fn put_datagram(&mut self, message: Bytes, now: Instant) {
        self.datagram_bytes += message.len();
        self.datagrams.push_back((now, message));
        while self.datagram_bytes > self.datagram_bytes_max {
            self.drop_datagram();
        }
        self.drop_late(now);
    }

    fn drop_late(&mut self, now: Instant) {
        while let Some((since, _)) = self.datagrams.front()
            && now.saturating_duration_since(*since) > self.wait_max
        {
            self.drop_datagram();
        }
    }

    fn drop_datagram(&mut self) {
        if let Some((_, message)) = self.datagrams.pop_front() {
            self.datagram_bytes -= message.len();
            self.dropped_datagrams += 1;
        }
    }

    pub(crate) fn open_group(&mut self, room: Arc<Notify>, place: OwnedSemaphorePermit) -> GroupId {
        let id = GroupId(self.opened);
        self.opened += 1;
        self.groups.insert(
            id,
            Group {
                layer: None,
                priority: 0,
                waiting: None,
                opened: false,
                finished: false,
                room,
                _place: place,
            },
        );
        id
    }

    pub(crate) fn set_priority(&mut self, id: GroupId, priority: i32) {
        if let Some(group) = self.groups.get_mut(&id) {
            group.priority = priority;
        }
    }

    pub(crate) fn room(&self, id: GroupId) -> Room {
        match self.groups.get(&id) {
            None => Room::GivenUp,
            Some(group) if group.waiting.is_some() => Room::Taken,
            Some(_) => Room::Free,
        }
    }

    /// Puts a group's next message where there is room: its header, with the
    /// layer, or a frame.
    pub(crate) fn put_group(&mut self, id: GroupId, message: Bytes, layer: Option<Layer>) {
        if let Some(group) = self.groups.get_mut(&id) {
            group.layer = layer.or(group.layer);
            group.waiting = Some(message);
        }
    }

    /// No more will be put; what waits is sent.
    pub(crate) fn finish_group(&mut self, id: GroupId) {
        if let Some(group) = self.groups.get_mut(&id) {
            group.finished = true;
            if group.waiting.is_none() {
                self.groups.remove(&id);
            }
        }
    }

    /// Drops a group and what waits of it.
    pub(crate) fn reset_group(&mut self, id: GroupId) {
        self.groups.remove(&id);
    }

    /// Takes the next control message only: what still goes out before a close.
    pub(crate) fn next_control(&mut self) -> Option<Bytes> {
        let message = self.control.pop_front()?;
        self.control_bytes -= message.len();
        self.sent += 1;
        Some(message)
    }

    /// Takes the next message.
    pub(crate) fn next(&mut self, now: Instant) -> Option<Bytes> {
        if let Some(message) = self.next_control() {
            return Some(message);
        }
        self.drop_late(now);
        if let Some((_, message)) = self.datagrams.pop_front() {
            self.datagram_bytes -= message.len();
            self.sent += 1;
            return Some(message);
        }
        let message = self.next_of_groups()?;
        self.sent += 1;
        Some(message)
    }

    fn next_of_groups(&mut self) -> Option<Bytes> {
        let waiting = self.groups.iter().filter(|(_, g)| g.waiting.is_some());
        // Among equals the oldest goes first.
        let (&best, group) = waiting.max_by_key(|(id, g)| (g.priority, std::cmp::Reverse(**id)))?;
        let next = match group.layer {
            Some(layer) if !group.opened => self.before_opening(layer, best),
            _ => best,
        };
        self.take(next)
    }

    /// For the peer a header ends the group before it. Of older groups of the
    /// encoding the last message goes ahead; those that are not at their end are
    /// given up, whole: what is late makes way for what is new.
    fn before_opening(&mut self, layer: Layer, new: GroupId) -> GroupId {
        let older = |(id, g): &(&GroupId, &Group)| **id < new && g.layer == Some(layer);
        let last = self
            .groups
            .iter()
            .filter(older)
            .find(|(_, g)| g.finished && g.opened);
        if let Some((id, _)) = last {
            return *id;
        }
        let late: Vec<_> = self
            .groups
            .iter()
            .filter(older)
            .map(|(id, _)| *id)
            .collect();
        for id in late {
            if let Some(group) = self.groups.remove(&id) {
                group.room.notify_one();
            }
        }
        new
    }

    fn take(&mut self, id: GroupId) -> Option<Bytes> {
        let group = self.groups.get_mut(&id)?;
        let message = group.waiting.take()?;
        group.opened = true;
        group.room.notify_one();
        if group.finished {
            self.groups.remove(&id);
        }
        Some(message)
    }
}

#[cfg(test)]
#[path = "outbox_tests.rs"]
mod tests;
