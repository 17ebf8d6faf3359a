//! What QUIC runs on here: tokio, with a socket that gives the kernel more at once
//! ([`merging`]), and where asked several of them on one port: [`shared`] opens them,
//! [`steering`] says which of them a packet belongs to, [`handing`] passes on what
//! came to another one.

mod handing;
mod merging;
pub(super) mod shared;
mod steering;

use std::{future::Future, io, net::UdpSocket, pin::Pin, sync::Arc, time::Instant};

use quinn::{AsyncTimer, AsyncUdpSocket, Runtime, TokioRuntime};

use self::merging::Merging;

/// The runtime of our endpoints. Used inside a tokio runtime.
#[derive(Debug)]
pub(super) struct QuicRuntime;

impl Runtime for QuicRuntime {
    fn new_timer(&self, at: Instant) -> Pin<Box<dyn AsyncTimer>> {
        TokioRuntime.new_timer(at)
    }

    fn spawn(&self, future: Pin<Box<dyn Future<Output = ()> + Send>>) {
        TokioRuntime.spawn(future);
    }

    fn wrap_udp_socket(&self, socket: UdpSocket) -> io::Result<Arc<dyn AsyncUdpSocket>> {
        let socket = TokioRuntime.wrap_udp_socket(socket)?;
        Ok(Arc::new(Merging::new(socket)))
    }

    fn now(&self) -> Instant {
        TokioRuntime.now()
    }
}
