//! The in-memory twin of a connection: two sessions joined inside one process,
//! with seeded latency, jitter, loss, reordering and duplication.
//!
//! Tests drive it, under tokio's paused clock as well as under the real one.
//! Streams are reliable and in order (a lost piece comes a round trip later),
//! datagrams are not; windows, stream counts and datagram queues are bounded as
//! they are on QUIC. There is no congestion control and no bandwidth limit.

mod link;
mod streams;

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use tokio::{sync::Notify, time::Instant};

use self::link::{Link, Way};
pub use self::streams::{MemoryRecvStream, MemorySendStream};
use crate::{PathStats, Session, SessionError, SessionInfo};

/// How the link between the two sessions behaves, in each direction alike.
#[derive(Debug, Clone)]
pub struct Config {
    /// The same seed and the same calls give the same delays and losses.
    pub seed: u64,
    /// Time that everything takes from one side to the other.
    pub latency: Duration,
    /// Up to so much is added to the latency, evenly distributed. Datagrams
    /// overtake each other by it, what a stream carries does not.
    pub jitter: Duration,
    /// Share of datagrams that never arrive, 0 to 1. A piece of a stream that is
    /// hit by it arrives a round trip later.
    pub loss: f64,
    /// Share of datagrams that are held back by one more latency and 5 ms, so
    /// that later ones overtake them, 0 to 1.
    pub reordering: f64,
    /// Share of datagrams that arrive twice, 0 to 1.
    pub duplication: f64,
    /// Bytes of a datagram at most.
    pub datagram_bytes_max: usize,
    /// Bytes of datagrams that wait to be received; the oldest are dropped when
    /// there are more.
    pub datagram_queue_bytes_max: usize,
    /// Bytes of one stream that were written and not yet read; more wait.
    pub stream_window_bytes_max: usize,
    /// Bytes of all streams of one direction that were written and not yet read.
    pub session_window_bytes_max: usize,
    /// Streams of one kind that one side may have open at once; more wait.
    pub streams_max: usize,
    /// After so much silence (see [`MemorySession::silence`]) it times out.
    pub idle_timeout: Duration,
    /// What both sides say they were opened with.
    pub info: SessionInfo,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            seed: 0,
            latency: Duration::ZERO,
            jitter: Duration::ZERO,
            loss: 0.0,
            reordering: 0.0,
            duplication: 0.0,
            datagram_bytes_max: 1200,
            datagram_queue_bytes_max: 1 << 20,
            stream_window_bytes_max: 1 << 20,
            session_window_bytes_max: 10 << 20,
            streams_max: 256,
            idle_timeout: Duration::from_secs(30),
            info: SessionInfo::default(),
        }
    }
}

/// Two sessions that are connected with each other. Call it inside a tokio
/// runtime with time enabled.
#[must_use]
pub fn pair(config: Config) -> (MemorySession, MemorySession) {
    let info = Arc::new(config.info.clone());
    let shared = Arc::new(Shared {
        link: Mutex::new(Link::new(config)),
        wake: [Notify::new(), Notify::new()],
    });
    let side = |side| MemorySession {
        handle: Arc::new(Handle {
            at: At {
                shared: Arc::clone(&shared),
                side,
            },
        }),
        info: Arc::clone(&info),
    };
    (side(0), side(1))
}

/// One end of an in-memory connection.
#[derive(Debug, Clone)]
pub struct MemorySession {
    handle: Arc<Handle>,
    info: Arc<SessionInfo>,
}

/// Closes the session when the last clone of it goes.
#[derive(Debug)]
struct Handle {
    at: At,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.at.close(0, "");
    }
}

/// Where a session or stream stands: which link, which of its two sides.
#[derive(Debug, Clone)]
struct At {
    shared: Arc<Shared>,
    side: usize,
}

#[derive(Debug)]
struct Shared {
    link: Mutex<Link>,
    /// Woken when anything changes for the side.
    wake: [Notify; 2],
}

/// What a look at the link led to.
enum Step<T> {
    Done(T),
    /// Nothing before this moment, unless something changes.
    Wait(Option<Instant>),
}

impl At {
    fn lock(&self) -> MutexGuard<'_, Link> {
        // A panic in a test must not turn into another one here.
        self.shared
            .link
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn wake_both(&self) {
        for wake in &self.shared.wake {
            wake.notify_waiters();
        }
    }

    fn close(&self, code: u32, reason: &str) {
        self.lock().close(self.side, code, reason, Instant::now());
        self.wake_both();
    }

    /// Looks until there is an answer. Cancel-safe: what `look` takes out of the
    /// link is returned without another wait.
    async fn until<T>(&self, mut look: impl FnMut(&mut Link, Instant) -> Step<T>) -> T {
        loop {
            let notified = self.shared.wake[self.side].notified();
            tokio::pin!(notified);
            notified.as_mut().enable();
            let step = look(&mut self.lock(), Instant::now());
            match step {
                Step::Done(value) => {
                    self.wake_both();
                    return value;
                }
                Step::Wait(None) => notified.await,
                Step::Wait(Some(at)) => tokio::select! {
                    () = notified => {}
                    () = tokio::time::sleep_until(at) => {}
                },
            }
        }
    }

    async fn open(&self, way: Way) -> Result<link::Opened, SessionError> {
        self.until(|link, now| link.open(self.side, way, now)).await
    }

    async fn accept(&self, way: Way) -> Result<link::Opened, SessionError> {
        self.until(|link, now| link.accept(self.side, way, now))
            .await
    }

    fn sender(&self, pipe: u64) -> MemorySendStream {
        MemorySendStream::new(self.clone(), pipe)
    }

    fn receiver(&self, pipe: u64) -> MemoryRecvStream {
        MemoryRecvStream::new(self.clone(), pipe)
    }

    fn both(&self, opened: &link::Opened) -> (MemorySendStream, MemoryRecvStream) {
        let (out, back) = (opened.outgoing, opened.incoming);
        (
            self.sender(out.expect("a stream both ways has a way out")),
            self.receiver(back.expect("a stream both ways has a way back")),
        )
    }
}

impl MemorySession {
    /// Breaks the connection at once on both sides, as a crash would.
    pub fn sever(&self) {
        let at = &self.handle.at;
        at.lock().sever(Instant::now());
        at.wake_both();
    }

    /// From now on no datagram arrives on either side (`true`), or they do again.
    /// Streams go on.
    pub fn lose_datagrams(&self, all: bool) {
        self.handle.at.lock().lose_datagrams(all);
    }

    /// From now on nothing arrives on either side, and nobody is told, until the
    /// idle timeout has passed.
    pub fn silence(&self) {
        let at = &self.handle.at;
        at.lock().silence(Instant::now());
        at.wake_both();
    }
}

impl Session for MemorySession {
    type Send = MemorySendStream;
    type Recv = MemoryRecvStream;

    async fn open_bi(&self) -> Result<(Self::Send, Self::Recv), SessionError> {
        let at = &self.handle.at;
        at.open(Way::Bi).await.map(|opened| at.both(&opened))
    }

    async fn accept_bi(&self) -> Result<(Self::Send, Self::Recv), SessionError> {
        let at = &self.handle.at;
        at.accept(Way::Bi).await.map(|opened| at.both(&opened))
    }

    async fn open_uni(&self) -> Result<Self::Send, SessionError> {
        let at = &self.handle.at;
        let opened = at.open(Way::Uni).await?;
        Ok(at.sender(opened.outgoing.expect("whoever opens it can send")))
    }

    async fn accept_uni(&self) -> Result<Self::Recv, SessionError> {
        let at = &self.handle.at;
        let opened = at.accept(Way::Uni).await?;
        Ok(at.receiver(opened.incoming.expect("whoever accepts it can receive")))
    }

    fn send_datagram(&self, datagram: Bytes) -> Result<(), SessionError> {
        let at = &self.handle.at;
        at.lock().send_datagram(at.side, datagram, Instant::now())?;
        at.wake_both();
        Ok(())
    }

    async fn recv_datagram(&self) -> Result<Bytes, SessionError> {
        let at = &self.handle.at;
        at.until(|link, now| link.recv_datagram(at.side, now)).await
    }

    fn max_datagram_bytes(&self) -> usize {
        self.handle.at.lock().config().datagram_bytes_max
    }

    fn path_stats(&self) -> PathStats {
        let at = &self.handle.at;
        at.lock().path_stats(at.side)
    }

    fn info(&self) -> Arc<SessionInfo> {
        Arc::clone(&self.info)
    }

    fn close(&self, code: u32, reason: &str) {
        self.handle.at.close(code, reason);
    }

    async fn closed(&self) -> SessionError {
        let at = &self.handle.at;
        at.until(|link, now| match link.ended(at.side, now) {
            Ok(wait) => Step::Wait(wait),
            Err(error) => Step::Done(error),
        })
        .await
    }
}

#[cfg(test)]
mod tests;
