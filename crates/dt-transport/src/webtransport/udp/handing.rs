//! Packets that came to another socket of a port than the one they are for.
//!
//! The kernel looks at the first packet only of those that it takes for one burst:
//! several from one address, of one size, merged by a network card's driver or never
//! cut apart on this very machine. Somebody who has several connections behind one
//! socket, as our own client has, sends bursts with packets for several of ours. So
//! each socket looks at all that it gets, and gives what is not for it to the one it
//! is for. That is seldom; whatever came alone is where it belongs.

use std::{
    collections::VecDeque,
    io::{self, IoSliceMut},
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use quinn::{
    AsyncUdpSocket, UdpPoller,
    udp::{RecvMeta, Transmit},
};

use super::steering::Place;

/// Packets that wait for a socket's owner; more are lost, as they would be in a full
/// socket.
const WAITING_PACKETS_MAX: usize = 1024;

/// What was handed to each socket of a group, by their places.
pub(super) type Inboxes = [Inbox];

/// Empty ones.
pub(super) fn inboxes(count: u8) -> Arc<Inboxes> {
    (0..count).map(|_| Inbox::default()).collect()
}

/// What was handed to one socket.
#[derive(Debug, Default)]
pub(super) struct Inbox(Mutex<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    packets: VecDeque<(RecvMeta, Box<[u8]>)>,
    /// Of whoever reads the socket.
    reader: Option<Waker>,
    /// Nobody will.
    closed: bool,
}

impl Inbox {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One packet, from another thread as a rule.
    fn put(&self, of: &RecvMeta, packet: &[u8]) {
        let mut waiting = self.waiting();
        if waiting.closed || waiting.packets.len() >= WAITING_PACKETS_MAX {
            return;
        }
        let meta = RecvMeta {
            len: packet.len(),
            stride: packet.len(),
            ..*of
        };
        waiting.packets.push_back((meta, packet.into()));
        let reader = waiting.reader.take();
        drop(waiting);
        if let Some(reader) = reader {
            reader.wake();
        }
    }

    /// As many as there is room for; `None`, and a wake when one comes, if there are
    /// none.
    fn take(
        &self,
        cx: &Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Option<usize> {
        let mut waiting = self.waiting();
        if waiting.packets.is_empty() {
            match &mut waiting.reader {
                Some(reader) => reader.clone_from(cx.waker()),
                reader => *reader = Some(cx.waker().clone()),
            }
            return None;
        }
        let mut count = 0;
        for (buffer, meta) in buffers.iter_mut().zip(meta) {
            let Some((of, packet)) = waiting.packets.pop_front() else {
                break;
            };
            // Buffers are as large at every socket, so this is all of it.
            let length = packet.len().min(buffer.len());
            buffer[..length].copy_from_slice(&packet[..length]);
            *meta = RecvMeta { len: length, ..of };
            count += 1;
        }
        Some(count)
    }

    fn close(&self) {
        let mut waiting = self.waiting();
        waiting.closed = true;
        waiting.packets.clear();
    }
}

/// A socket of a group.
#[derive(Debug)]
pub(super) struct Handing {
    socket: Arc<dyn AsyncUdpSocket>,
    place: Place,
    inboxes: Arc<Inboxes>,
}

impl Handing {
    pub(super) fn new(
        socket: Arc<dyn AsyncUdpSocket>,
        place: Place,
        inboxes: Arc<Inboxes>,
    ) -> Self {
        Self {
            socket,
            place,
            inboxes,
        }
    }

    /// Leaves in a buffer what is for this socket, and hands on the rest.
    fn keep_own(&self, buffer: &mut [u8], meta: &mut RecvMeta) {
        let stride = meta.stride.max(1);
        let own = |packet: &[u8]| self.place.index_of(packet) == self.place.index;
        if buffer[..meta.len].chunks(stride).all(own) {
            return;
        }
        // Only the last packet may be shorter than the others, and it stays the last.
        let mut kept = 0;
        for from in (0..meta.len).step_by(stride) {
            let to = (from + stride).min(meta.len);
            let packet = &buffer[from..to];
            if own(packet) {
                buffer.copy_within(from..to, kept);
                kept += to - from;
            } else {
                let index = self.place.index_of(packet);
                self.inboxes[usize::from(index)].put(meta, packet);
            }
        }
        meta.len = kept;
    }
}

impl Drop for Handing {
    fn drop(&mut self) {
        self.inboxes[usize::from(self.place.index)].close();
    }
}

impl AsyncUdpSocket for Handing {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Arc::clone(&self.socket).create_io_poller()
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        self.socket.try_send(transmit)
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let inbox = &self.inboxes[usize::from(self.place.index)];
        if let Some(count) = inbox.take(cx, buffers, meta) {
            return Poll::Ready(Ok(count));
        }
        let received = self.socket.poll_recv(cx, buffers, meta);
        if let Poll::Ready(Ok(count)) = &received {
            // A buffer may be left empty, which its reader skips.
            for (buffer, meta) in buffers.iter_mut().zip(meta).take(*count) {
                self.keep_own(buffer, meta);
            }
        }
        received
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    fn max_transmit_segments(&self) -> usize {
        self.socket.max_transmit_segments()
    }

    fn max_receive_segments(&self) -> usize {
        self.socket.max_receive_segments()
    }

    fn may_fragment(&self) -> bool {
        self.socket.may_fragment()
    }
}
