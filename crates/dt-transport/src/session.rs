//! The one shape of a connection that everything above it is written against.
//!
//! [`webtransport`](crate::webtransport) implements it over QUIC,
//! [`memory`](crate::memory) inside one process with seeded delay and loss; a
//! WebSocket will.

use std::{future::Future, net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;

/// Why a session is no more.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SessionError {
    /// The peer closed it.
    #[error("closed by the peer (code {code}): {reason}")]
    ClosedByPeer {
        /// The application's close code.
        code: u32,
        /// At most 1024 bytes of text.
        reason: String,
    },
    /// This side closed it.
    #[error("closed by this side")]
    ClosedLocally,
    /// Nothing was heard of the peer for the idle timeout.
    #[error("the connection timed out")]
    TimedOut,
    /// The connection broke in another way.
    #[error("connection lost: {0}")]
    Lost(String),
    /// A datagram is larger than the path or the peer takes.
    #[error("a datagram of {bytes} bytes is larger than the limit of {limit} bytes")]
    DatagramTooLarge {
        /// The datagram's size.
        bytes: usize,
        /// [`Session::max_datagram_bytes`].
        limit: usize,
    },
}

/// Why a stream is no more.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StreamError {
    /// The peer reset it (when reading) or stopped it (when writing).
    #[error("the peer reset the stream (code {0})")]
    Reset(u32),
    /// This side finished or reset it before.
    #[error("the stream was closed by this side")]
    Closed,
    /// The session under it is gone.
    #[error(transparent)]
    Session(#[from] SessionError),
}

/// What carries a session.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Carrier {
    /// Channels inside one process.
    #[default]
    Memory,
    /// HTTP/3 over QUIC.
    WebTransport,
    /// TCP.
    WebSocket,
}

impl Carrier {
    /// Its name, in lower case.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::WebTransport => "webtransport",
            Self::WebSocket => "websocket",
        }
    }
}

/// What a session was opened with.
#[derive(Debug, Clone, Default)]
pub struct SessionInfo {
    /// What carries it.
    pub carrier: Carrier,
    /// The path of the URL, `/mc` for example.
    pub path: String,
    /// Host by which the client reached this server, without the port.
    pub authority_host: String,
    /// The peer's address, where there is one. Never logged.
    pub remote_address: Option<SocketAddr>,
    /// The sub-protocol that both sides agreed on, if any.
    pub protocol: Option<String>,
}

/// Figures of the path below a session. A carrier that does not know one of them
/// leaves it 0.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PathStats {
    /// Smoothed round-trip time.
    pub rtt: Duration,
    /// That of the packet acknowledged last; with `low-delay` congestion control
    /// only.
    pub rtt_latest: Duration,
    /// How long the oldest packet that may still be on its way has been; with
    /// `low-delay` congestion control only.
    pub unanswered: Duration,
    /// For how long there has been more to send than may be on its way; with
    /// `low-delay` congestion control only.
    pub blocked: Duration,
    /// Bytes acknowledged since the start; with `low-delay` congestion control
    /// only.
    pub acknowledged_bytes: u64,
    /// Shortest round-trip time seen; what `rtt` has above it is mostly queues.
    pub rtt_min: Duration,
    /// Bytes sent since the start, retransmissions and acknowledgements included.
    pub sent_bytes: u64,
    /// Bytes received since the start.
    pub received_bytes: u64,
    /// Packets sent since the start.
    pub sent_packets: u64,
    /// Packets received since the start.
    pub received_packets: u64,
    /// Packets declared lost since the start.
    pub lost_packets: u64,
    /// Datagrams in packets sent since the start; what was given to the session
    /// beyond them waits or was dropped here.
    pub sent_datagrams: u64,
    /// Datagrams in packets received since the start, read here or not.
    pub received_datagrams: u64,
    /// Bytes in the packets declared lost.
    pub lost_bytes: u64,
    /// How often the congestion controller was told of loss or of a mark.
    pub congestion_events: u64,
    /// Bytes that may be in flight.
    pub congestion_window_bytes: u64,
    /// Bytes of a UDP payload at most, as far as the path was probed.
    pub mtu_bytes: u16,
}

/// A connection with streams and datagrams. Cloning gives another handle on
/// the same one; it lives until it is closed or the last handle is dropped.
pub trait Session: Clone + Send + Sync + 'static {
    /// Sending half of its streams.
    type Send: SendStream;
    /// Receiving half of its streams.
    type Recv: RecvStream;

    /// Opens a stream both ways; waits while the peer allows no more.
    fn open_bi(
        &self,
    ) -> impl Future<Output = Result<(Self::Send, Self::Recv), SessionError>> + Send;

    /// The next stream both ways that the peer opened.
    fn accept_bi(
        &self,
    ) -> impl Future<Output = Result<(Self::Send, Self::Recv), SessionError>> + Send;

    /// Opens a stream one way; waits while the peer allows no more.
    fn open_uni(&self) -> impl Future<Output = Result<Self::Send, SessionError>> + Send;

    /// The next stream one way that the peer opened.
    fn accept_uni(&self) -> impl Future<Output = Result<Self::Recv, SessionError>> + Send;

    /// Queues a datagram. Never waits: when the queue is full the oldest one is
    /// dropped.
    ///
    /// # Errors
    /// When it is too large or the session is gone.
    fn send_datagram(&self, datagram: Bytes) -> Result<(), SessionError>;

    /// What this carrier puts before each datagram, nothing to begin with. The
    /// same for the whole session.
    fn datagram_prefix(&self) -> Bytes {
        Bytes::new()
    }

    /// [`send_datagram`](Self::send_datagram) for one that begins with the
    /// [prefix](Self::datagram_prefix) already: it is not copied, so that many
    /// sessions can share its bytes.
    ///
    /// # Errors
    /// When it is too large or the session is gone.
    fn send_prefixed_datagram(&self, datagram: Bytes) -> Result<(), SessionError> {
        self.send_datagram(datagram)
    }

    /// Bytes of datagrams that are queued and not sent yet, as far as the carrier
    /// knows.
    fn queued_datagram_bytes(&self) -> usize {
        0
    }

    /// The next datagram of the peer.
    fn recv_datagram(&self) -> impl Future<Output = Result<Bytes, SessionError>> + Send;

    /// Bytes of a whole datagram at most; may change with the path.
    fn max_datagram_bytes(&self) -> usize;

    /// Figures of the path, as they are now.
    fn path_stats(&self) -> PathStats;

    /// What it was opened with.
    fn info(&self) -> Arc<SessionInfo>;

    /// Closes it. Only the first call counts.
    fn close(&self, code: u32, reason: &str);

    /// Waits for its end.
    fn closed(&self) -> impl Future<Output = SessionError> + Send;
}

/// Sending half of a stream. Dropped without [`finish`](Self::finish) it is
/// reset with code 0.
pub trait SendStream: Send + 'static {
    /// Writes all of these, in order, without copying where the carrier can;
    /// waits for flow control.
    fn write_chunks(
        &mut self,
        chunks: &mut [Bytes],
    ) -> impl Future<Output = Result<(), StreamError>> + Send;

    /// Writes what goes without waiting, and leaves of the chunks what did not: `true`
    /// when that is nothing. What fails leaves everything, and fails again where
    /// writing waits. Not between a [`write_chunks`](Self::write_chunks) that was
    /// dropped and the next one.
    fn try_write_chunks(&mut self, chunks: &mut [Bytes]) -> bool {
        // A carrier that can only wait takes nothing.
        chunks.iter().all(Bytes::is_empty)
    }

    /// Writes all of it.
    fn write(&mut self, chunk: Bytes) -> impl Future<Output = Result<(), StreamError>> + Send {
        async move { self.write_chunks(&mut [chunk]).await }
    }

    /// Higher goes first among the streams of a session; 0 to begin with.
    fn set_priority(&mut self, priority: i32);

    /// No more will be written; what was written arrives.
    ///
    /// # Errors
    /// When it was finished or reset before.
    fn finish(&mut self) -> Result<(), StreamError>;

    /// Gives it up: what was written may not arrive.
    fn reset(&mut self, code: u32);
}

/// Receiving half of a stream. Dropped before its end it is stopped with code 0.
pub trait RecvStream: Send + 'static {
    /// The next bytes, at most `max_bytes`, `None` at the end. Cancel-safe.
    fn read_chunk(
        &mut self,
        max_bytes: usize,
    ) -> impl Future<Output = Result<Option<Bytes>, StreamError>> + Send;

    /// Asks the peer to send no more.
    fn stop(&mut self, code: u32);
}
