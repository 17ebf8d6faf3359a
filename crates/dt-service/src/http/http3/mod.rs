//! The same routers over HTTP/3, on a UDP socket of its own.
//!
//! [`serve_http3`] is to QUIC what [`serve`](super::serve) is to TCP: it owns the
//! endpoint, a task a connection and a task a request, all of them bounded and
//! waited for. [`announce_http3`] tells clients that came by TCP of it. There is
//! no early data (it could be replayed), no push and no WebTransport here.

mod exchange;
mod frames;
mod guard;

use std::{io, net::UdpSocket, sync::Arc, time::Duration};

use axum::{Extension, Router, middleware, response::Response};
use bytes::Bytes;
use http::{HeaderValue, header};
use quinn::{
    Endpoint, EndpointConfig, IdleTimeout, Incoming, TransportConfig, VarInt,
    crypto::rustls::QuicServerConfig,
};
use rustls::ServerConfig;
use tokio::{
    sync::Semaphore,
    task::JoinSet,
    time::{Instant, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{Scheme, server::HEADERS_TIME_MAX};

/// Open connections at most; one more is refused. Each may hold less than 1 MiB.
const CONNECTIONS_MAX: usize = 1024;
/// Silence after which a connection is gone.
const IDLE_TIME_MAX: Duration = Duration::from_secs(30);
/// Requests of one connection that are answered at once.
const REQUESTS_MAX: u32 = 128;
/// Streams one way that a client may have open: three are needed, others are
/// refused one by one.
const ONE_WAY_STREAMS_MAX: u32 = 8;
/// A request's header, decoded, with 32 bytes more a field.
const HEADER_BYTES_MAX: u64 = 16 << 10;
/// Bytes of a stream, and of a connection, that wait to be read. Bodies are
/// small here.
const STREAM_WINDOW_BYTES: u32 = 64 << 10;
const CONNECTION_WINDOW_BYTES: u32 = 256 << 10;
/// Bytes of answers that wait to be acknowledged.
const SEND_WINDOW_BYTES: u64 = 512 << 10;
/// Clients may remember for a day where HTTP/3 is; one that does not find it
/// there takes TCP.
const ANNOUNCED_S: u32 = 24 * 60 * 60;

/// The last answers have this long to arrive before their connection is closed.
const LINGER: Duration = Duration::from_secs(1);
const NO_ERROR: VarInt = VarInt::from_u32(0x100);
const EXCESSIVE_LOAD: VarInt = VarInt::from_u32(0x107);

/// How long clients are waited for, and how often in vain.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    /// From the first packet to a connection that can bring requests.
    handshake: Duration,
    /// Handshakes under way. Above a quarter of it a client must first prove its
    /// address.
    half_open_max: usize,
    /// From a stream's first byte to its request's whole header.
    header: Duration,
    /// A connection without a request for so long is ended, however alive it is.
    unused: Duration,
    /// Streams of one connection that brought no request; the library remembers
    /// each for as long as the connection lasts.
    without_request_max: u32,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(3),
            half_open_max: 256,
            header: HEADERS_TIME_MAX,
            unused: Duration::from_secs(60),
            without_request_max: 128,
        }
    }
}

/// The router whose answers name the port (of the same host) for HTTP/3.
pub fn announce_http3(router: Router, port: u16) -> Router {
    let value = format!("h3=\":{port}\"; ma={ANNOUNCED_S}");
    let value = HeaderValue::try_from(value).expect("digits and quotes are a header value");
    router.layer(middleware::map_response(move |mut response: Response| {
        response
            .headers_mut()
            .insert(header::ALT_SVC, value.clone());
        std::future::ready(response)
    }))
}

/// Serves a UDP socket until `stop`, then lets requests in flight finish for
/// `drain` at most. `tls` must offer `h3` alone. Of this host everything but
/// HTTP/3 is at the port `origin`: a request that names the socket's own port is
/// taken for one to that, so that addresses in answers can be dialled by TCP.
///
/// # Errors
/// When the socket or the TLS settings can't be used.
pub async fn serve_http3(
    socket: UdpSocket,
    router: Router,
    tls: Arc<ServerConfig>,
    origin: u16,
    stop: CancellationToken,
    drain: Duration,
) -> io::Result<()> {
    serve_within(socket, router, tls, origin, stop, drain, Bounds::default()).await
}

async fn serve_within(
    socket: UdpSocket,
    router: Router,
    tls: Arc<ServerConfig>,
    origin: u16,
    stop: CancellationToken,
    drain: Duration,
    bounds: Bounds,
) -> io::Result<()> {
    let ports = exchange::Ports {
        own: socket.local_addr()?.port(),
        origin,
    };
    let tls = QuicServerConfig::try_from(tls).map_err(io::Error::other)?;
    let mut config = quinn::ServerConfig::with_crypto(Arc::new(tls));
    config.transport_config(Arc::new(transport()));
    let endpoint = Endpoint::new(
        EndpointConfig::default(),
        Some(config),
        socket,
        Arc::new(quinn::TokioRuntime),
    )?;
    let entrance = Arc::new(Entrance {
        router: router.layer(Extension(Scheme::Https)),
        half_open: Semaphore::new(bounds.half_open_max),
        room: Semaphore::new(CONNECTIONS_MAX),
        stop: stop.clone(),
        ports,
        bounds,
    });
    let mut connections = JoinSet::new();
    loop {
        let incoming = tokio::select! {
            () = stop.cancelled() => break,
            Some(_) = connections.join_next() => continue,
            incoming = endpoint.accept() => incoming,
        };
        let Some(incoming) = incoming else { break };
        entrance.admit(incoming, &mut connections);
    }
    endpoint.set_server_config(None);
    // What is not done by then is cut off below.
    let _ = timeout(drain, async {
        while connections.join_next().await.is_some() {}
    })
    .await;
    connections.shutdown().await;
    endpoint.close(NO_ERROR, b"the server has stopped");
    let _ = timeout(Duration::from_secs(1), endpoint.wait_idle()).await;
    Ok(())
}

fn transport() -> TransportConfig {
    let mut transport = TransportConfig::default();
    transport
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW_BYTES))
        .receive_window(VarInt::from_u32(CONNECTION_WINDOW_BYTES))
        .send_window(SEND_WINDOW_BYTES)
        .max_concurrent_bidi_streams(VarInt::from_u32(REQUESTS_MAX))
        .max_concurrent_uni_streams(VarInt::from_u32(ONE_WAY_STREAMS_MAX))
        .max_idle_timeout(IdleTimeout::try_from(IDLE_TIME_MAX).ok())
        // Datagrams are not spoken here.
        .datagram_receive_buffer_size(None);
    transport
}

struct Entrance {
    router: Router,
    half_open: Semaphore,
    room: Semaphore,
    stop: CancellationToken,
    ports: exchange::Ports,
    bounds: Bounds,
}

impl Entrance {
    fn admit(self: &Arc<Self>, incoming: Incoming, connections: &mut JoinSet<()>) {
        let half_open_max = self.bounds.half_open_max;
        let under_way = half_open_max - self.half_open.available_permits();
        if under_way >= half_open_max || self.room.available_permits() == 0 {
            tracing::warn!("an HTTP/3 connection was refused: there are too many");
            incoming.refuse();
        } else if under_way > half_open_max / 4 && incoming.may_retry() {
            // The check above makes this the only way it can go.
            let _ = incoming.retry();
        } else {
            let entrance = Arc::clone(self);
            connections.spawn(async move { entrance.serve(incoming).await });
        }
    }

    async fn serve(&self, incoming: Incoming) {
        let Ok(half_open) = self.half_open.try_acquire() else {
            return incoming.refuse();
        };
        let deadline = Instant::now() + self.bounds.handshake;
        let handshake = async {
            let connection = incoming.await.ok()?;
            let h3 = h3::server::builder()
                .max_field_section_size(HEADER_BYTES_MAX)
                .send_grease(false)
                .build(guard::Connection::new(connection.clone()))
                .await
                .ok()?;
            Some((connection, h3))
        };
        // Without a whole handshake there is nobody to tell anything.
        let Ok(Some((connection, h3))) = tokio::time::timeout_at(deadline, handshake).await else {
            return;
        };
        drop(half_open);
        match self.room.try_acquire() {
            Ok(_room) => self.requests(&connection, h3).await,
            Err(_) => connection.close(EXCESSIVE_LOAD, b"there are too many connections"),
        }
    }

    /// Serves one connection to its end.
    async fn requests(
        &self,
        connection: &quinn::Connection,
        mut h3: h3::server::Connection<guard::Connection, Bytes>,
    ) {
        let mut requests = JoinSet::new();
        let mut without_request = 0;
        let mut used_at = Instant::now();
        let mut is_draining = false;
        loop {
            tokio::select! {
                done = requests.join_next(), if !requests.is_empty() => {
                    used_at = Instant::now();
                    if is_without_request(done) {
                        without_request += 1;
                    }
                    if without_request > self.bounds.without_request_max {
                        tracing::debug!("a client opened streams for nothing");
                        connection.close(EXCESSIVE_LOAD, b"too many streams without a request");
                        break;
                    }
                    if is_draining && requests.is_empty() {
                        break;
                    }
                }
                accepted = h3.accept(), if requests.len() < REQUESTS_MAX as usize => {
                    let Ok(Some(stream)) = accepted else { break };
                    used_at = Instant::now();
                    let peer = connection.remote_address();
                    requests.spawn(exchange::answer(
                        stream,
                        self.router.clone(),
                        peer,
                        self.ports,
                        self.bounds.header,
                    ));
                }
                () = self.stop.cancelled(), if !is_draining => {
                    is_draining = true;
                    if h3.shutdown(0).await.is_err() || requests.is_empty() {
                        break;
                    }
                }
                () = sleep_until(used_at + self.bounds.unused), if requests.is_empty() => break,
            }
        }
        if is_draining && requests.is_empty() {
            // Closing takes back what has not arrived.
            tokio::select! {
                _ = connection.closed() => {}
                () = sleep_until(used_at + LINGER) => {}
            }
        }
        requests.shutdown().await;
        connection.close(NO_ERROR, b"");
    }
}

type Done = Option<Result<Result<(), exchange::ExchangeError>, tokio::task::JoinError>>;

fn is_without_request(done: Done) -> bool {
    match done {
        Some(Ok(Err(error))) => {
            tracing::debug!(%error, "a request has no answer");
            error.is_without_request()
        }
        // A panic was told of where it happened.
        _ => false,
    }
}

#[cfg(test)]
mod tests;
