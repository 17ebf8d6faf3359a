//! One listening socket and its HTTP connections, plain or over TLS.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum::{Extension, Router};
use axum_server::{
    Handle,
    accept::Accept,
    tls_rustls::{RustlsAcceptor, RustlsConfig},
};
use hyper_util::rt::TokioTimer;
use rustls::ServerConfig;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::{OwnedSemaphorePermit, Semaphore},
};
use tokio_util::sync::CancellationToken;

use super::Scheme;

/// Open connections a socket at most; one more is closed at once.
pub const CONNECTIONS_MAX: usize = 4096;
/// A client that has not sent its headers by then is cut off.
pub(super) const HEADERS_TIME_MAX: Duration = Duration::from_secs(3);
/// Requests in flight on one HTTP/2 connection.
const STREAMS_MAX: u32 = 128;

/// Serves a socket until `stop`, then lets requests in flight finish for
/// `drain` at most. HTTP/1.1 and 2; with `tls` over TLS.
///
/// # Errors
/// When the socket breaks.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    tls: Option<Arc<ServerConfig>>,
    stop: CancellationToken,
    drain: Duration,
) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let handle = Handle::new();
    let mut server = axum_server::from_tcp(listener)?.handle(handle.clone());
    let builder = server.http_builder();
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS_TIME_MAX);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .keep_alive_interval(Some(Duration::from_secs(20)));
    let scheme = if tls.is_some() {
        Scheme::Https
    } else {
        Scheme::Http
    };
    let service = router
        .layer(Extension(scheme))
        .into_make_service_with_connect_info::<SocketAddr>();
    let counted = Counted {
        room: Arc::new(Semaphore::new(CONNECTIONS_MAX)),
    };
    let serving = async {
        match tls {
            Some(config) => {
                let tls = RustlsAcceptor::new(RustlsConfig::from_config(config))
                    .handshake_timeout(HEADERS_TIME_MAX)
                    .acceptor(counted);
                server.acceptor(tls).serve(service).await
            }
            None => server.acceptor(counted).serve(service).await,
        }
    };
    tokio::pin!(serving);
    tokio::select! {
        result = &mut serving => result,
        () = stop.cancelled() => {
            handle.graceful_shutdown(Some(drain));
            serving.await
        }
    }
}

/// Lets in as many connections as there is room for.
#[derive(Clone)]
struct Counted {
    room: Arc<Semaphore>,
}

impl<I, S> Accept<I, S> for Counted {
    type Stream = Connection<I>;
    type Service = S;
    type Future = std::future::Ready<io::Result<(Connection<I>, S)>>;

    fn accept(&self, stream: I, service: S) -> Self::Future {
        std::future::ready(match self.room.clone().try_acquire_owned() {
            Ok(permit) => Ok((
                Connection {
                    stream,
                    _permit: permit,
                },
                service,
            )),
            Err(_) => {
                tracing::warn!("a connection was closed: there are too many");
                Err(io::ErrorKind::ConnectionRefused.into())
            }
        })
    }
}

/// A connection that makes room when it ends.
struct Connection<I> {
    stream: I,
    _permit: OwnedSemaphorePermit,
}

impl<I: AsyncRead + Unpin> AsyncRead for Connection<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Connection<I> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
