//! The two kinds of sessions, and what one may take of this machine.

use std::{io, time::Duration};

use dt_frame::{FRAME_HEADER_BYTES, PAYLOAD_BYTES_MAX};
use dt_wire::framing::MESSAGE_BYTES_MAX;
use socket2::SockRef;

/// What is said over a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Messages without a length between client and meeting controller.
    Signaling,
    /// A byte of channel before each message, between client and media handler.
    Media,
}

impl Kind {
    /// Bytes of one message at most: what the socket is to be told, so that it
    /// makes no room for more.
    #[must_use]
    pub const fn message_bytes_max(self) -> usize {
        match self {
            Self::Signaling => MESSAGE_BYTES_MAX,
            Self::Media => 1 + FRAME_HEADER_BYTES + PAYLOAD_BYTES_MAX,
        }
    }
}

/// Bounds of one session.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Bytes of a whole datagram at most, in either direction.
    pub datagram_bytes_max: usize,
    /// How long a datagram may wait to be sent; older ones are dropped.
    pub datagram_wait_max: Duration,
    /// Bytes of datagrams that wait to be sent; the oldest are dropped above it.
    pub datagram_send_bytes_max: usize,
    /// Bytes of datagrams that wait to be received; the oldest are dropped above
    /// it.
    pub datagram_receive_bytes_max: usize,
    /// Groups that the peer may have open at once; with one more the one is ended
    /// that was quiet for longest. A group ends when the next one of its encoding
    /// begins, so this is a number of encodings.
    pub groups_in_max: usize,
    /// Groups that this side may have open at once; more wait to be opened.
    pub groups_out_max: usize,
    /// Bytes of one group that were received and not yet read; with more it is
    /// given up. One frame is always taken.
    pub group_bytes_max: usize,
    /// Bytes of all groups that were received and not yet read; with more the
    /// group is given up that brings them.
    pub groups_bytes_max: usize,
    /// Bytes of control messages that wait for one direction or the other; above
    /// it the writer, or the whole reading of the socket, waits.
    pub control_bytes_max: usize,
    /// Silence after which a session is given up.
    pub idle_timeout: Duration,
    /// Between two pings, which measure the round-trip time and keep proxies from
    /// closing a quiet connection.
    pub ping_interval: Duration,
    /// How long a good-bye may take, the last control messages included.
    pub linger_max: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            datagram_bytes_max: 1200,
            datagram_wait_max: Duration::from_millis(200),
            datagram_send_bytes_max: 512 << 10,
            datagram_receive_bytes_max: 512 << 10,
            groups_in_max: 256,
            groups_out_max: 256,
            group_bytes_max: 1 << 20,
            groups_bytes_max: 10 << 20,
            control_bytes_max: 256 << 10,
            idle_timeout: Duration::from_secs(30),
            ping_interval: Duration::from_secs(5),
            linger_max: Duration::from_millis(500),
        }
    }
}

/// Bytes that the system may hold unsent for one connection. What waits there
/// can't be dropped or overtaken any more; about what it sends in one go.
#[cfg(any(target_os = "linux", target_os = "android"))]
const UNSENT_BYTES_MAX: u32 = 16 << 10;

/// Keeps the system's queue of a TCP socket short, so that what waits waits where
/// it can still be dropped, and sends at once what is written. On a listening
/// socket it holds for all connections that it accepts from then on.
///
/// # Errors
/// When the system refuses.
pub fn keep_queue_short<'a>(socket: impl Into<SockRef<'a>>) -> io::Result<()> {
    let socket = socket.into();
    socket.set_tcp_nodelay(true)?;
    // Elsewhere there is more delay, and nothing else is worse.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    socket.set_tcp_notsent_lowat(UNSENT_BYTES_MAX)?;
    Ok(())
}
