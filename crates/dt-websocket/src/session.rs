//! A session over a WebSocket, as [`dt_transport::Session`] wants it.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use dt_transport::{PathStats, Session, SessionError, SessionInfo};
use tokio::{
    sync::{Notify, Semaphore, mpsc},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use crate::{
    Kind, Limits, SocketReader, SocketWriter, WebSocketRecvStream, WebSocketSendStream, close,
    inbox::Inbox,
    message,
    outbox::Outbox,
    pipe::Pipe,
    reading::{self, Reading},
    writing,
};

/// A session over a WebSocket.
///
/// There is one stream both ways, the control stream: the client opens it, and
/// the server accepts it with its first message. What is written to it must be
/// messages framed as in `dt_wire::framing`. A media session's streams one way
/// carry groups: a stream header and frames. On the wire neither has an end of
/// its own: a group ends when the next one of its encoding begins, a reset only
/// drops what is not sent yet, a stop only what arrives. A signaling session has
/// neither streams one way nor datagrams; asking for one waits for its end.
#[derive(Debug, Clone)]
pub struct WebSocketSession {
    handle: Arc<Handle>,
}

/// Closes the session when the last clone of it goes.
#[derive(Debug)]
struct Handle {
    shared: Arc<Shared>,
    accepted: tokio::sync::Mutex<mpsc::Receiver<Arc<Pipe>>>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.close(0, "");
    }
}

/// What the session's handles, its streams and its task share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) kind: Kind,
    pub(crate) limits: Limits,
    info: Arc<SessionInfo>,
    outbox: Mutex<Outbox>,
    /// Told when the outbox has something, or the session is to be closed.
    pub(crate) writer: Notify,
    /// Told when a control message was taken out of the outbox.
    pub(crate) control_room: Notify,
    places: Arc<Semaphore>,
    pub(crate) control: Arc<Pipe>,
    control_taken: AtomicBool,
    /// The peer has said something on the control stream.
    pub(crate) control_heard: CancellationToken,
    datagrams: Mutex<Datagrams>,
    datagram_came: Notify,
    pub(crate) rtt: Mutex<Option<Duration>>,
    error: OnceLock<SessionError>,
    over: CancellationToken,
    closed_here: CancellationToken,
    /// What the WebSocket is to be closed with.
    good_bye: Mutex<Option<(u16, String)>>,
    /// The socket is gone.
    pub(crate) gone: CancellationToken,
}

#[derive(Debug, Default)]
struct Datagrams {
    queue: VecDeque<Bytes>,
    bytes: usize,
}

/// A panic under a lock is our own bug; what it left is consistent.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    pub(crate) fn outbox(&self) -> MutexGuard<'_, Outbox> {
        lock(&self.outbox)
    }

    pub(crate) fn wake_writer(&self) {
        self.writer.notify_one();
    }

    /// Waits for the session's end.
    pub(crate) async fn over(&self) -> SessionError {
        self.over.cancelled().await;
        self.error().unwrap_or(SessionError::ClosedLocally)
    }

    /// Why it is over.
    pub(crate) fn error(&self) -> Option<SessionError> {
        self.error.get().cloned()
    }

    pub(crate) fn is_over(&self) -> bool {
        self.over.is_cancelled()
    }

    pub(crate) async fn closed_here(&self) {
        self.closed_here.cancelled().await;
    }

    /// The session is over, and why. Only the first time counts; whether it was.
    pub(crate) fn end(&self, error: SessionError, good_bye: Option<(u16, String)>) -> bool {
        let first = self.error.set(error).is_ok();
        if first {
            *lock(&self.good_bye) = good_bye;
            self.over.cancel();
            self.wake_writer();
        }
        first
    }

    pub(crate) fn take_good_bye(&self) -> Option<(u16, String)> {
        lock(&self.good_bye).take()
    }

    fn close(&self, code: u32, reason: &str) {
        let good_bye = (close::to_wire(code), close::shortened(reason).to_owned());
        if self.end(SessionError::ClosedLocally, Some(good_bye)) {
            self.closed_here.cancel();
        }
    }

    /// Takes a datagram of the peer; the oldest give way.
    pub(crate) fn datagram(&self, datagram: Bytes) {
        let mut datagrams = lock(&self.datagrams);
        datagrams.bytes += datagram.len();
        datagrams.queue.push_back(datagram);
        while datagrams.bytes > self.limits.datagram_receive_bytes_max
            && let Some(oldest) = datagrams.queue.pop_front()
        {
            datagrams.bytes -= oldest.len();
        }
        drop(datagrams);
        self.datagram_came.notify_one();
    }

    fn take_datagram(&self) -> Option<Bytes> {
        let mut datagrams = lock(&self.datagrams);
        let datagram = datagrams.queue.pop_front()?;
        datagrams.bytes -= datagram.len();
        Some(datagram)
    }

    pub(crate) fn measured(&self, rtt: Duration) {
        let mut smoothed = lock(&self.rtt);
        *smoothed = Some(smoothed.map_or(rtt, |before| (before * 7 + rtt) / 8));
    }
}

impl WebSocketSession {
    /// A session over an open socket, and the work that carries it: poll it to its
    /// end, on a task of its own. Dropping it breaks the session.
    ///
    /// The socket must take messages of [`Kind::message_bytes_max`] and hold back
    /// nothing of what is sent.
    pub fn new<R: SocketReader, W: SocketWriter>(
        kind: Kind,
        limits: Limits,
        info: SessionInfo,
        reader: R,
        writer: W,
    ) -> (Self, impl Future<Output = ()> + Send) {
        let (opened, accepted) = mpsc::channel(limits.groups_in_max);
        let shared = Arc::new(Shared {
            kind,
            info: Arc::new(info),
            outbox: Mutex::new(Outbox::new(&limits)),
            writer: Notify::new(),
            control_room: Notify::new(),
            places: Arc::new(Semaphore::new(limits.groups_out_max)),
            control: Pipe::new(Arc::default()),
            control_taken: AtomicBool::new(false),
            control_heard: CancellationToken::new(),
            datagrams: Mutex::default(),
            datagram_came: Notify::new(),
            rtt: Mutex::default(),
            error: OnceLock::new(),
            over: CancellationToken::new(),
            closed_here: CancellationToken::new(),
            good_bye: Mutex::default(),
            gone: CancellationToken::new(),
            limits: limits.clone(),
        });
        let reading = Reading {
            shared: Arc::clone(&shared),
            inbox: Inbox::new(limits),
            opened,
        };
        let carrying = carry(Arc::clone(&shared), reading, reader, writer);
        let handle = Handle {
            shared,
            accepted: tokio::sync::Mutex::new(accepted),
        };
        let session = Self {
            handle: Arc::new(handle),
        };
        (session, carrying)
    }

    fn shared(&self) -> &Arc<Shared> {
        &self.handle.shared
    }

    /// The control stream, for the first who asks.
    fn take_control(&self) -> Option<(WebSocketSendStream, WebSocketRecvStream)> {
        let shared = self.shared();
        if shared.control_taken.swap(true, Ordering::Relaxed) {
            return None;
        }
        let recv = WebSocketRecvStream::new(Arc::clone(shared), Arc::clone(&shared.control));
        Some((WebSocketSendStream::control(Arc::clone(shared)), recv))
    }
}

/// Whatever happens to the work, nobody waits for it in vain.
struct Carried(Arc<Shared>);

impl Drop for Carried {
    fn drop(&mut self) {
        let shared = &self.0;
        shared.end(SessionError::Lost("its task was given up".into()), None);
        let error = shared.error().unwrap_or(SessionError::ClosedLocally);
        shared.control.end(Err(error.into()));
        shared.gone.cancel();
    }
}

/// Reads and writes until the session is over and the peer knows.
async fn carry<R: SocketReader, W: SocketWriter>(
    shared: Arc<Shared>,
    mut reading: Reading,
    mut reader: R,
    mut writer: W,
) {
    let _carried = Carried(Arc::clone(&shared));
    {
        let good_bye = async {
            shared.over().await;
            tokio::time::sleep(shared.limits.linger_max).await;
        };
        let both = async {
            let pings = writing::Pings::default();
            tokio::join!(
                reading::run(&mut reading, &mut reader, &pings),
                writing::run(&shared, &mut writer, &pings),
            );
        };
        tokio::select! {
            () = both => {}
            () = good_bye => {}
        }
    }
    reading.end();
}

impl Session for WebSocketSession {
    type Send = WebSocketSendStream;
    type Recv = WebSocketRecvStream;

    async fn open_bi(&self) -> Result<(Self::Send, Self::Recv), SessionError> {
        let shared = self.shared();
        if shared.is_over() {
            return Err(shared.over().await);
        }
        match self.take_control() {
            Some(control) => Ok(control),
            None => Err(shared.over().await),
        }
    }

    async fn accept_bi(&self) -> Result<(Self::Send, Self::Recv), SessionError> {
        let shared = self.shared();
        tokio::select! {
            biased;
            error = shared.over() => return Err(error),
            () = shared.control_heard.cancelled() => {}
        }
        match self.take_control() {
            Some(control) => Ok(control),
            None => Err(shared.over().await),
        }
    }

    async fn open_uni(&self) -> Result<Self::Send, SessionError> {
        let shared = self.shared();
        if shared.kind == Kind::Signaling {
            return Err(shared.over().await);
        }
        let place = tokio::select! {
            biased;
            error = shared.over() => return Err(error),
            place = Arc::clone(&shared.places).acquire_owned() => place,
        };
        let Ok(place) = place else {
            return Err(shared.over().await);
        };
        let room = Arc::new(Notify::new());
        let id = shared.outbox().open_group(Arc::clone(&room), place);
        Ok(WebSocketSendStream::group(Arc::clone(shared), id, room))
    }

    async fn accept_uni(&self) -> Result<Self::Recv, SessionError> {
        let shared = self.shared();
        let next = async { self.handle.accepted.lock().await.recv().await };
        let opened = tokio::select! {
            biased;
            error = shared.over() => return Err(error),
            opened = next => opened,
        };
        match opened {
            Some(pipe) => Ok(WebSocketRecvStream::new(Arc::clone(shared), pipe)),
            None => Err(shared.over().await),
        }
    }

    fn send_datagram(&self, datagram: Bytes) -> Result<(), SessionError> {
        let shared = self.shared();
        if let Some(error) = shared.error.get() {
            return Err(error.clone());
        }
        let (bytes, limit) = (datagram.len(), self.max_datagram_bytes());
        if bytes > limit {
            return Err(SessionError::DatagramTooLarge { bytes, limit });
        }
        let message = message::on_channel(message::DATAGRAM, &[&datagram]);
        shared.outbox().put_datagram(message, Instant::now());
        shared.wake_writer();
        Ok(())
    }

    async fn recv_datagram(&self) -> Result<Bytes, SessionError> {
        let shared = self.shared();
        loop {
            if let Some(error) = shared.error.get() {
                return Err(error.clone());
            }
            if let Some(datagram) = shared.take_datagram() {
                return Ok(datagram);
            }
            tokio::select! {
                biased;
                error = shared.over() => return Err(error),
                () = shared.datagram_came.notified() => {}
            }
        }
    }

    fn max_datagram_bytes(&self) -> usize {
        match self.shared().kind {
            Kind::Signaling => 0,
            Kind::Media => self.shared().limits.datagram_bytes_max,
        }
    }

    fn path_stats(&self) -> PathStats {
        let shared = self.shared();
        let rtt = lock(&shared.rtt).unwrap_or_default();
        let outbox = shared.outbox();
        PathStats {
            rtt,
            lost_packets: outbox.dropped_datagrams,
            sent_packets: outbox.sent,
            ..PathStats::default()
        }
    }

    fn info(&self) -> Arc<SessionInfo> {
        Arc::clone(&self.shared().info)
    }

    fn close(&self, code: u32, reason: &str) {
        self.shared().close(code, reason);
    }

    /// After [`close`](Session::close) it waits until the peer was told, half a
    /// second at most.
    async fn closed(&self) -> SessionError {
        let shared = self.shared();
        let error = shared.over().await;
        if error == SessionError::ClosedLocally {
            shared.gone.cancelled().await;
        }
        error
    }
}
