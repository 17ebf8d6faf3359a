//! What a connection may take of this machine, and the socket under it.

use std::{io, net::SocketAddr, net::UdpSocket, time::Duration};

use quinn::{IdleTimeout, TransportConfig, VarInt};
use socket2::{Domain, Protocol, Socket, Type};

use super::congestion::Congestion;

/// Bounds of one connection. The same on both sides unless told otherwise.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Bytes that the peer may send on one stream before they are read.
    pub stream_window_bytes: u32,
    /// Bytes that the peer may send on all streams before they are read.
    pub connection_window_bytes: u32,
    /// Bytes written here and not yet acknowledged by the peer; writers wait
    /// above it. Kept short, so that what waits for a slow peer waits where it
    /// can still be dropped.
    pub send_window_bytes: u64,
    /// Streams one way that the peer may have open at once.
    pub unidirectional_streams_max: u32,
    /// Streams both ways that the peer may have open at once, the request that
    /// opened the session included.
    pub bidirectional_streams_max: u32,
    /// Bytes of datagrams that wait to be sent, about 50 ms of media; the oldest
    /// are dropped above it.
    pub datagram_send_buffer_bytes: usize,
    /// Bytes of datagrams that wait to be received; the oldest are dropped
    /// above it.
    pub datagram_receive_buffer_bytes: usize,
    /// Silence after which a connection is given up.
    pub idle_timeout: Duration,
    /// How often a quiet connection is kept alive.
    pub keep_alive: Duration,
    /// How this side finds out how much it may send.
    pub congestion: Congestion,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            stream_window_bytes: 1 << 20,
            connection_window_bytes: 10 << 20,
            send_window_bytes: 2 << 20,
            unidirectional_streams_max: 256,
            bidirectional_streams_max: 16,
            datagram_send_buffer_bytes: 64 << 10,
            datagram_receive_buffer_bytes: 512 << 10,
            idle_timeout: Duration::from_secs(30),
            keep_alive: Duration::from_secs(5),
            congestion: Congestion::default(),
        }
    }
}

impl Limits {
    pub(super) fn transport(&self) -> TransportConfig {
        let mut transport = TransportConfig::default();
        // A timeout too long for the wire (2^62 ms) means none.
        let idle = IdleTimeout::try_from(self.idle_timeout).ok();
        transport
            .stream_receive_window(VarInt::from_u32(self.stream_window_bytes))
            .receive_window(VarInt::from_u32(self.connection_window_bytes))
            .send_window(self.send_window_bytes)
            .max_concurrent_uni_streams(VarInt::from_u32(self.unidirectional_streams_max))
            .max_concurrent_bidi_streams(VarInt::from_u32(self.bidirectional_streams_max))
            .datagram_send_buffer_size(self.datagram_send_buffer_bytes)
            .datagram_receive_buffer_size(Some(self.datagram_receive_buffer_bytes))
            .max_idle_timeout(idle)
            .keep_alive_interval(Some(self.keep_alive))
            .congestion_controller_factory(self.congestion.factory());
        transport
    }
}

/// What is asked of the kernel for each direction of a UDP socket: a key frame
/// fanned out to many receivers is a burst of megabytes. It gives what it allows.
const SOCKET_BUFFER_BYTES: usize = 4 << 20;

/// A bound UDP socket with large buffers. One bound to `[::]` serves IPv4 too.
pub(super) fn udp_socket(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = unbound_udp_socket(address)?;
    socket.bind(&address.into())?;
    Ok(socket.into())
}

/// The same before it is bound to the address.
pub(super) fn unbound_udp_socket(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::DGRAM,
        Some(Protocol::UDP),
    )?;
    if address.is_ipv6() && address.ip().is_unspecified() {
        socket.set_only_v6(false)?;
    }
    // Less is worse, not wrong.
    let _ = socket.set_recv_buffer_size(SOCKET_BUFFER_BYTES);
    let _ = socket.set_send_buffer_size(SOCKET_BUFFER_BYTES);
    socket.set_nonblocking(true)?;
    Ok(socket)
}
