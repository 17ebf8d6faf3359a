//! The groups that the peer has open, and where each message goes.
//!
//! Owned by the task that reads the socket.

use std::{
    collections::HashMap,
    sync::{Arc, atomic::AtomicUsize},
};

use bytes::Bytes;
use dt_transport::StreamError;

use crate::{
    Limits,
    message::{Incoming, Layer},
    pipe::Pipe,
};

/// What a reader of a group gets whose buffer ran over: as over QUIC a quota's
/// end (WIRE section 2).
const QUOTA_EXCEEDED: u32 = 3;

/// What is left to do with a message.
#[derive(Debug)]
pub(crate) enum Take {
    /// A message for the control stream.
    Control(Bytes),
    /// A stream begins.
    Opened(Arc<Pipe>),
    /// A datagram.
    Datagram(Bytes),
    /// All is done.
    Done,
    /// It was dropped, for this reason.
    Dropped(&'static str),
}

#[derive(Debug)]
struct Group {
    number: u16,
    pipe: Arc<Pipe>,
    /// Counts up with every message of the session.
    heard: u64,
}

#[derive(Debug)]
pub(crate) struct Inbox {
    limits: Limits,
    groups: HashMap<Layer, Group>,
    all_bytes: Arc<AtomicUsize>,
    count: u64,
}

impl Inbox {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            limits,
            groups: HashMap::new(),
            all_bytes: Arc::default(),
            count: 0,
        }
    }

    pub(crate) fn take(&mut self, incoming: Incoming) -> Take {
        self.count += 1;
        match incoming {
            Incoming::Control(message) => Take::Control(message),
            Incoming::Datagram(datagram) => Take::Datagram(datagram),
            Incoming::Stream {
                layer,
                group,
                bytes,
            } => self.open(layer, group, bytes),
            Incoming::Frame {
                layer,
                group,
                bytes,
            } => self.frame(layer, group, bytes),
        }
    }

    fn open(&mut self, layer: Layer, number: u16, header: Bytes) -> Take {
        if let Some(before) = self.groups.remove(&layer) {
            before.pipe.end(Ok(()));
        } else if self.groups.len() >= self.limits.groups_in_max {
            self.end_quietest();
        }
        let pipe = Pipe::new(Arc::clone(&self.all_bytes));
        pipe.push(header, self.limits.group_bytes_max, usize::MAX);
        let group = Group {
            number,
            pipe: Arc::clone(&pipe),
            heard: self.count,
        };
        self.groups.insert(layer, group);
        Take::Opened(pipe)
    }

    /// Nobody says when a stream is over for good, so the one goes that has said
    /// nothing for longest.
    fn end_quietest(&mut self) {
        let quietest = self.groups.iter().min_by_key(|(_, group)| group.heard);
        if let Some((&layer, _)) = quietest
            && let Some(group) = self.groups.remove(&layer)
        {
            group.pipe.end(Ok(()));
        }
    }

    fn frame(&mut self, layer: Layer, number: u16, bytes: Bytes) -> Take {
        let Some(group) = self.groups.get_mut(&layer) else {
            return Take::Dropped("unknown_group");
        };
        if group.number != number {
            return Take::Dropped("unknown_group");
        }
        group.heard = self.count;
        let limits = &self.limits;
        if group
            .pipe
            .push(bytes, limits.group_bytes_max, limits.groups_bytes_max)
        {
            return Take::Done;
        }
        if let Some(group) = self.groups.remove(&layer) {
            group.pipe.give_up(StreamError::Reset(QUOTA_EXCEEDED));
        }
        Take::Dropped("group_not_read")
    }

    /// The session is over.
    pub(crate) fn end(&mut self, error: &StreamError) {
        for (_, group) in self.groups.drain() {
            group.pipe.end(Err(error.clone()));
        }
    }
}
