//! A socket that sends what a connection has for its peer in one piece.
//!
//! The QUIC library hands over ten packets at most, the kernel takes 64 in one send
//! and does its work once for all of them. So a transmit of ten, which most likely
//! has more behind it, is kept until the next one: that joins it when it is for the
//! same peer, or else follows it. A smaller one is the end of what a connection has,
//! and goes at once and without being copied. Nothing stays when nothing follows: a
//! task, woken by what is kept, sends it as soon as whoever is ready has run.

use std::{
    fmt,
    future::poll_fn,
    io::{self, IoSliceMut},
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};

use quinn::{
    AsyncUdpSocket, UdpPoller,
    udp::{EcnCodepoint, RecvMeta, Transmit},
};
use tokio::{sync::Notify, task::AbortHandle};

/// Packets of a transmit behind which there are more: the library's most.
const MORE_BEHIND: usize = 10;
/// What the kernel takes at once, of packets and, with their headers, of bytes.
const SEGMENTS_MAX: usize = 64;
const BYTES_MAX: usize = 64_000;

pub(super) struct Merging {
    shared: Arc<Shared>,
    flushing: AbortHandle,
}

impl Merging {
    /// Must be called inside a tokio runtime.
    pub(super) fn new(socket: Arc<dyn AsyncUdpSocket>) -> Self {
        let shared = Arc::new(Shared {
            socket,
            kept: Mutex::new(Kept::default()),
            waits: Notify::new(),
        });
        let flushing = tokio::spawn(flush(Arc::clone(&shared))).abort_handle();
        Self { shared, flushing }
    }
}

impl Drop for Merging {
    fn drop(&mut self) {
        self.flushing.abort();
        // Best effort, as all sending is.
        let _ = self.shared.send_kept(&mut self.shared.kept());
    }
}

struct Shared {
    socket: Arc<dyn AsyncUdpSocket>,
    kept: Mutex<Kept>,
    /// Something is kept.
    waits: Notify,
}

/// What packets have in common that go in one send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Path {
    to: SocketAddr,
    from: Option<IpAddr>,
    ecn: Option<EcnCodepoint>,
}

#[derive(Default)]
struct Kept {
    path: Option<Path>,
    /// All segments but the last have this size.
    segment: usize,
    bytes: Vec<u8>,
    /// Its last segment is a shorter one, so that nothing can follow.
    ended: bool,
}

impl Kept {
    /// Whether this can go in one send with what is kept.
    fn takes(&self, path: Path, transmit: &Transmit<'_>) -> bool {
        let bytes = self.bytes.len() + transmit.contents.len();
        let same_size = match transmit.segment_size {
            Some(segment) => segment == self.segment,
            None => transmit.contents.len() <= self.segment,
        };
        self.path == Some(path)
            && !self.ended
            && same_size
            && bytes <= BYTES_MAX
            && bytes.div_ceil(self.segment) <= SEGMENTS_MAX
    }

    fn add(&mut self, transmit: &Transmit<'_>) {
        self.bytes.extend_from_slice(transmit.contents);
        self.ended = !self.bytes.len().is_multiple_of(self.segment);
    }
}

/// Whether there is most likely more where this comes from.
fn has_more_behind(transmit: &Transmit<'_>) -> bool {
    transmit
        .segment_size
        .is_some_and(|segment| transmit.contents.len() == segment * MORE_BEHIND)
}

impl Shared {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends what is kept; it stays when the socket takes nothing now.
    fn send_kept(&self, kept: &mut Kept) -> io::Result<()> {
        let Some(path) = kept.path else {
            return Ok(());
        };
        let sent = self.socket.try_send(&Transmit {
            destination: path.to,
            ecn: path.ecn,
            contents: &kept.bytes,
            segment_size: Some(kept.segment),
            src_ip: path.from,
        });
        if !would_block(&sent) {
            kept.path = None;
            kept.bytes.clear();
        }
        sent
    }

    /// Takes a transmit, or says that the socket takes nothing now.
    fn send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        let path = Path {
            to: transmit.destination,
            from: transmit.src_ip,
            ecn: transmit.ecn,
        };
        let mut kept = self.kept();
        if kept.takes(path, transmit) {
            kept.add(transmit);
            if has_more_behind(transmit) {
                return Ok(());
            }
            let sent = self.send_kept(&mut kept);
            if would_block(&sent) {
                // It was taken: now it is for the task to send it.
                self.waits.notify_one();
                return Ok(());
            }
            return sent;
        }
        self.send_kept(&mut kept)?;
        match transmit.segment_size {
            Some(segment) if has_more_behind(transmit) => {
                kept.path = Some(path);
                kept.segment = segment;
                kept.add(transmit);
                self.waits.notify_one();
                Ok(())
            }
            _ => self.socket.try_send(transmit),
        }
    }
}

fn would_block(sent: &io::Result<()>) -> bool {
    matches!(sent, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
}

/// Sends what is kept, once all that is ready has run.
async fn flush(shared: Arc<Shared>) {
    loop {
        shared.waits.notified().await;
        let mut poller = None;
        loop {
            let sent = shared.send_kept(&mut shared.kept());
            if !would_block(&sent) {
                break;
            }
            let poller =
                poller.get_or_insert_with(|| Arc::clone(&shared.socket).create_io_poller());
            // Fails when the socket is broken, which whoever receives finds out.
            if poll_fn(|cx| poller.as_mut().poll_writable(cx))
                .await
                .is_err()
            {
                break;
            }
        }
    }
}

impl fmt::Debug for Merging {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Merging")
            .field("socket", &self.shared.socket)
            .finish_non_exhaustive()
    }
}

impl AsyncUdpSocket for Merging {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Arc::clone(&self.shared.socket).create_io_poller()
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        self.shared.send(transmit)
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        self.shared.socket.poll_recv(cx, buffers, meta)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.shared.socket.local_addr()
    }

    fn max_transmit_segments(&self) -> usize {
        self.shared.socket.max_transmit_segments()
    }

    fn max_receive_segments(&self) -> usize {
        self.shared.socket.max_receive_segments()
    }

    fn may_fragment(&self) -> bool {
        self.shared.socket.may_fragment()
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicBool, Ordering},
        task::Waker,
        time::Duration,
    };

    use quinn::{Runtime, TokioRuntime};

    use super::*;

    const SEGMENT: usize = 1200;

    /// To whom, what, and the size of its packets where they are several.
    type Sent = (SocketAddr, Vec<u8>, Option<usize>);

    /// Notes what it is given; takes nothing while it is full.
    #[derive(Debug, Default)]
    struct Wire {
        full: AtomicBool,
        sent: Mutex<Vec<Sent>>,
        waiting: Mutex<Vec<Waker>>,
    }

    impl Wire {
        fn set_full(&self, full: bool) {
            self.full.store(full, Ordering::SeqCst);
            if !full {
                let waiting = std::mem::take(&mut *self.waiting.lock().unwrap());
                waiting.into_iter().for_each(Waker::wake);
            }
        }

        /// To whom, and how many bytes, of each send.
        fn sends(&self) -> Vec<(u16, usize)> {
            let sent = self.sent.lock().unwrap();
            sent.iter().map(|(to, b, _)| (to.port(), b.len())).collect()
        }

        /// The first bytes of all packets to somebody.
        fn packets(&self, port: u16) -> Vec<u8> {
            let sent = self.sent.lock().unwrap();
            let to = sent.iter().filter(|(to, ..)| to.port() == port);
            to.flat_map(|(_, bytes, segment)| {
                let chunks = bytes.chunks(segment.unwrap_or(bytes.len()));
                chunks.map(|packet| packet[0]).collect::<Vec<_>>()
            })
            .collect()
        }
    }

    #[derive(Debug)]
    struct Writable(Arc<Wire>);

    impl UdpPoller for Writable {
        fn poll_writable(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            if self.0.full.load(Ordering::SeqCst) {
                self.0.waiting.lock().unwrap().push(cx.waker().clone());
                return Poll::Pending;
            }
            Poll::Ready(Ok(()))
        }
    }

    impl AsyncUdpSocket for Wire {
        fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
            Box::pin(Writable(self))
        }

        fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
            if self.full.load(Ordering::SeqCst) {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            let segment = transmit.segment_size;
            let size = segment.unwrap_or(transmit.contents.len());
            assert!(transmit.contents.len() <= 65_507);
            assert!(transmit.contents.len().div_ceil(size) <= 64);
            let bytes = transmit.contents.to_vec();
            let mut sent = self.sent.lock().unwrap();
            sent.push((transmit.destination, bytes, segment));
            Ok(())
        }

        fn poll_recv(
            &self,
            _: &mut Context<'_>,
            _: &mut [IoSliceMut<'_>],
            _: &mut [RecvMeta],
        ) -> Poll<io::Result<usize>> {
            Poll::Pending
        }

        fn local_addr(&self) -> io::Result<SocketAddr> {
            Ok(([127, 0, 0, 1], 1).into())
        }
    }

    fn pair() -> (Arc<Wire>, Merging) {
        let wire = Arc::new(Wire::default());
        let socket = Arc::clone(&wire) as Arc<dyn AsyncUdpSocket>;
        (wire, Merging::new(socket))
    }

    /// Offers packets, marked in their order; whether they were taken.
    fn offer(socket: &Merging, port: u16, bytes: usize, mark: u8) -> bool {
        offer_sized(socket, port, bytes, SEGMENT, mark)
    }

    fn offer_sized(socket: &Merging, port: u16, bytes: usize, segment: usize, mark: u8) -> bool {
        let mut contents = vec![0; bytes];
        for (place, packet) in (0..).zip(contents.chunks_mut(segment)) {
            packet[0] = mark + place;
        }
        let sent = socket.try_send(&Transmit {
            destination: ([127, 0, 0, 1], port).into(),
            ecn: None,
            contents: &contents,
            segment_size: (bytes > segment).then_some(segment),
            src_ip: None,
        });
        assert!(sent.is_ok() || would_block(&sent));
        sent.is_ok()
    }

    /// Until all that is ready has run.
    async fn turn() {
        for _ in 0..3 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn what_belongs_together_goes_in_one_send() {
        let (wire, socket) = pair();
        assert!(offer(&socket, 7, 10 * SEGMENT, 0));
        assert!(offer(&socket, 7, 10 * SEGMENT, 10));
        assert!(wire.sends().is_empty());
        assert!(offer(&socket, 7, 2 * SEGMENT + 500, 20));
        assert_eq!(wire.sends(), [(7, 22 * SEGMENT + 500)]);
        assert_eq!(wire.packets(7), (0..23).collect::<Vec<_>>());
        turn().await;
        assert_eq!(wire.sends().len(), 1);
    }

    #[tokio::test]
    async fn a_short_packet_is_the_last_of_its_send() {
        let (wire, socket) = pair();
        assert!(offer(&socket, 7, 10 * SEGMENT, 0));
        assert!(offer(&socket, 7, 300, 10));
        assert!(offer(&socket, 7, SEGMENT, 11));
        assert_eq!(wire.sends(), [(7, 10 * SEGMENT + 300), (7, SEGMENT)]);
        assert_eq!(wire.packets(7), (0..12).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn what_is_small_goes_at_once_and_alone() {
        let (wire, socket) = pair();
        for (bytes, mark) in [(6 * SEGMENT, 0), (50, 6), (9 * SEGMENT, 7)] {
            assert!(offer(&socket, 7, bytes, mark));
        }
        assert_eq!(wire.sends(), [(7, 6 * SEGMENT), (7, 50), (7, 9 * SEGMENT)]);
    }

    #[tokio::test]
    async fn nothing_stays_when_nothing_follows() {
        let (wire, socket) = pair();
        assert!(offer(&socket, 7, 10 * SEGMENT, 0));
        assert!(wire.sends().is_empty());
        turn().await;
        assert_eq!(wire.sends(), [(7, 10 * SEGMENT)]);
        assert!(offer(&socket, 7, 10 * SEGMENT, 10));
        drop(socket);
        assert_eq!(wire.packets(7), (0..20).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn others_come_after_what_is_kept_and_not_into_it() {
        let (wire, socket) = pair();
        assert!(offer(&socket, 7, 10 * SEGMENT, 0));
        assert!(offer(&socket, 8, 10 * SEGMENT, 0));
        assert!(offer(&socket, 8, SEGMENT + 1, 10));
        // Larger packets, as those that look for a larger size of packets.
        assert!(offer(&socket, 7, 10 * SEGMENT, 10));
        assert!(offer_sized(&socket, 7, 1400, 1400, 20));
        assert!(offer_sized(&socket, 7, 14_000, 1400, 21));
        turn().await;
        let expected = [
            (7, 12_000),
            (8, 13_201),
            (7, 12_000),
            (7, 1400),
            (7, 14_000),
        ];
        assert_eq!(wire.sends(), expected);
        assert_eq!(wire.packets(7), (0..31).collect::<Vec<_>>());
        assert_eq!(wire.packets(8), (0..12).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn no_send_is_larger_than_the_kernel_takes() {
        let (wire, socket) = pair();
        for segment in [100, SEGMENT, 1452] {
            for mark in 0..20 {
                assert!(offer_sized(&socket, 7, 10 * segment, segment, mark * 10));
            }
        }
        turn().await;
        let bytes: usize = wire.sends().iter().map(|(_, bytes)| bytes).sum();
        assert_eq!(bytes, 200 * (100 + SEGMENT + 1452));
    }

    #[tokio::test]
    async fn a_full_socket_loses_nothing_and_is_waited_for() {
        let (wire, socket) = pair();
        wire.set_full(true);
        assert!(offer(&socket, 7, 10 * SEGMENT, 0));
        // Taken, as what it belongs to was.
        assert!(offer(&socket, 7, 10 * SEGMENT - 1, 10));
        turn().await;
        // Not taken: there is no room.
        assert!(!offer(&socket, 7, SEGMENT, 20));
        assert!(!offer(&socket, 8, 10 * SEGMENT, 0));
        assert!(wire.sends().is_empty());
        wire.set_full(false);
        turn().await;
        assert_eq!(wire.sends(), [(7, 20 * SEGMENT - 1)]);
        assert!(offer(&socket, 7, SEGMENT, 20));
        assert_eq!(wire.packets(7), (0..21).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn the_kernel_takes_what_is_merged() {
        let bind = || std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let peer = bind();
        peer.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let port = peer.local_addr().unwrap().port();
        let socket = TokioRuntime.wrap_udp_socket(bind()).unwrap();
        if socket.max_transmit_segments() < MORE_BEHIND {
            // No kernel that takes more than a packet at once: nothing is merged.
            return;
        }
        let mut poller = Arc::clone(&socket).create_io_poller();
        let socket = Merging::new(socket);
        for segment in [300, SEGMENT, 1452] {
            for mark in 0..=7 {
                let bytes = if mark == 7 { 50 } else { 10 * segment };
                while !offer_sized(&socket, port, bytes, segment, mark * 10) {
                    let writable = poll_fn(|cx| poller.as_mut().poll_writable(cx));
                    writable.await.unwrap();
                }
            }
            turn().await;
            let mut packet = [0; 2000];
            for mark in 0..=70 {
                let bytes = peer.recv(&mut packet).unwrap();
                let expected = if mark == 70 { 50 } else { segment };
                assert_eq!((packet[0], bytes), (mark, expected));
            }
        }
    }
}
