//! The message layer of one session: opens streams, accepts the peer's, and
//! owns the tasks that move datagrams.

use std::{
    fmt,
    sync::{
        Arc, Mutex, OnceLock, Weak,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use tokio::{
    sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc, watch},
    time::Instant,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    AcceptError, Config, ConnectionMetrics, MessageReceiver, MessageSender, OpenError, Reliability,
    Snapshot, StreamConfig, StreamMetrics, driver,
    metrics::{Meters, lock},
    receiver, reliable, sender,
    streams::{Key, Streams},
    wire::{FrameDecoder, HEADER_BYTES, Header, write_header},
};
use crate::{SendStream, Session, SessionError};

/// Room among the peer's streams, held by both halves of one.
pub(super) type Permit = Arc<OwnedSemaphorePermit>;

/// Streams of messages over a session, in both directions.
///
/// It takes all streams that the peer opens on the session, and all datagrams;
/// datagrams that are not its own are handed on by
/// [`other_datagrams`](Self::other_datagrams). Its tasks end with the session,
/// or when it and all its streams are dropped.
pub struct Messages<S: Session> {
    handle: Arc<Handle<S>>,
    accepted: tokio::sync::Mutex<mpsc::Receiver<Result<IncomingStream<S>, SessionError>>>,
    others: Mutex<Option<mpsc::Receiver<Bytes>>>,
    watch: watch::Receiver<Snapshot>,
}

/// A stream that the peer opened.
#[derive(Debug)]
pub struct IncomingStream<S: Session> {
    /// How its messages travel, as the peer chose.
    pub config: StreamConfig,
    /// What the peer sends.
    pub receiver: MessageReceiver<S>,
    /// The way back, where the peer opened the stream for both ways.
    pub sender: Option<MessageSender<S>>,
}

/// Held by the owner and by every stream; its end ends the tasks.
pub(super) struct Handle<S: Session> {
    pub(super) shared: Arc<Shared<S>>,
}

impl<S: Session> Drop for Handle<S> {
    fn drop(&mut self) {
        self.shared.stop.cancel();
    }
}

/// What tasks and streams share.
pub(super) struct Shared<S: Session> {
    pub(super) session: S,
    pub(super) config: Config,
    pub(super) streams: Mutex<Streams>,
    /// Tells the sending task that there is something to do.
    pub(super) wake: Notify,
    pub(super) stop: CancellationToken,
    pub(super) permits: Arc<Semaphore>,
    pub(super) meters: Meters,
    tasks: TaskTracker,
    handle: OnceLock<Weak<Handle<S>>>,
    next_id: AtomicU32,
    counts: Mutex<Counts>,
}

/// What only the tasks count.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Counts {
    pub(super) others_dropped: u64,
    pub(super) refused_streams: u64,
}

/// Both halves of a stream, where it has both.
pub(super) struct Halves<S: Session> {
    pub(super) sender: Option<MessageSender<S>>,
    pub(super) receiver: Option<MessageReceiver<S>>,
}

impl<S: Session> fmt::Debug for Messages<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Messages").finish_non_exhaustive()
    }
}

impl<S: Session> Messages<S> {
    /// The message layer of this session, with the default [`Config`]. Call it
    /// inside a tokio runtime.
    #[must_use]
    pub fn new(session: S) -> Self {
        Self::with_config(session, Config::default())
    }

    /// The same with other bounds. Both sides must have the same tag.
    #[must_use]
    pub fn with_config(session: S, config: Config) -> Self {
        let (accepted_in, accepted) = mpsc::channel(config.accept_queue_streams_max.max(1));
        let (others_in, others) = mpsc::channel(config.other_datagrams_max.max(1));
        let (watch_in, watch) = watch::channel(Snapshot::default());
        let shared = Arc::new(Shared {
            session,
            streams: Mutex::default(),
            wake: Notify::new(),
            stop: CancellationToken::new(),
            permits: Arc::new(Semaphore::new(config.streams_max)),
            meters: Meters::default(),
            tasks: TaskTracker::new(),
            handle: OnceLock::new(),
            next_id: AtomicU32::new(0),
            counts: Mutex::default(),
            config,
        });
        shared.refresh_path();
        let handle = Arc::new(Handle {
            shared: Arc::clone(&shared),
        });
        // The first and only time.
        let _ = shared.handle.set(Arc::downgrade(&handle));
        let tasks = &shared.tasks;
        tasks.spawn(driver::read_datagrams(Arc::clone(&shared), others_in));
        tasks.spawn(driver::send_datagrams(Arc::clone(&shared)));
        tasks.spawn(driver::watch(Arc::clone(&shared), watch_in));
        for both_ways in [false, true] {
            let accepted = accepted_in.clone();
            tasks.spawn(driver::take_streams(
                Arc::clone(&shared),
                both_ways,
                accepted,
            ));
        }
        Self {
            handle,
            accepted: tokio::sync::Mutex::new(accepted),
            others: Mutex::new(Some(others)),
            watch,
        }
    }

    /// The session below, for its [`info`](Session::info) and what else it is
    /// used for.
    #[must_use]
    pub fn session(&self) -> &S {
        &self.handle.shared.session
    }

    /// Opens a stream of messages to the peer. Waits while the peer allows no
    /// more streams. Where messages travel on the stream itself, the peer hears
    /// of it with the first of them.
    ///
    /// # Errors
    /// When the configuration is not possible or the session is over.
    pub async fn open(&self, config: StreamConfig) -> Result<MessageSender<S>, OpenError> {
        let shared = &self.handle.shared;
        config.check(&shared.config).map_err(OpenError::Config)?;
        let opened = shared.session.open_uni().await;
        let send = opened.map_err(OpenError::Session)?;
        let halves = self.begin(config, send, None).await?;
        halves
            .sender
            .ok_or(OpenError::Session(SessionError::ClosedLocally))
    }

    /// Opens a stream of messages that go both ways, each as configured.
    ///
    /// # Errors
    /// As for [`open`](Self::open).
    pub async fn open_both_ways(
        &self,
        config: StreamConfig,
    ) -> Result<(MessageSender<S>, MessageReceiver<S>), OpenError> {
        let shared = &self.handle.shared;
        config.check(&shared.config).map_err(OpenError::Config)?;
        let opened = shared.session.open_bi().await;
        let (send, recv) = opened.map_err(OpenError::Session)?;
        let halves = self.begin(config, send, Some(recv)).await?;
        halves
            .sender
            .zip(halves.receiver)
            .ok_or(OpenError::Session(SessionError::ClosedLocally))
    }

    async fn begin(
        &self,
        config: StreamConfig,
        mut send: S::Send,
        recv: Option<S::Recv>,
    ) -> Result<Halves<S>, OpenError> {
        let id = self.handle.shared.next_id.fetch_add(1, Relaxed);
        if config.reliability != Reliability::Reliable {
            let header = write_header(&Header {
                id,
                config: config.clone(),
            });
            let written = send.write(Bytes::copy_from_slice(&header)).await;
            written.map_err(OpenError::of_stream)?;
        }
        let halves = self
            .handle
            .attach(id, true, &config, (Some(send), recv), None);
        // Ids go round after four thousand million streams.
        halves.ok_or(OpenError::Session(SessionError::ClosedLocally))
    }

    /// The next stream that the peer opened. Cancel-safe; several may wait.
    ///
    /// # Errors
    /// When the session is over.
    pub async fn accept(&self) -> Result<IncomingStream<S>, AcceptError> {
        let mut accepted = self.accepted.lock().await;
        let error = match accepted.recv().await {
            Some(Ok(stream)) => return Ok(stream),
            Some(Err(error)) => error,
            None => self.session().closed().await,
        };
        Err(AcceptError::Session(error))
    }

    /// The peer's datagrams that are not of this layer; `None` the second time.
    /// Until it is called they wait, at most
    /// [`Config::other_datagrams_max`].
    #[must_use]
    pub fn other_datagrams(&self) -> Option<mpsc::Receiver<Bytes>> {
        lock(&self.others).take()
    }

    /// The figures of this moment; rates are those of the last interval.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        self.handle.shared.snapshot()
    }

    /// The figures at every [`Config::metrics_interval`].
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Snapshot> {
        self.watch.clone()
    }

    /// Bytes that wait for `recv` or for fragments, of all streams.
    #[cfg(test)]
    pub(super) fn held_bytes(&self) -> usize {
        lock(&self.handle.shared.streams).held_bytes()
    }

    /// Closes the session and waits for the tasks. Streams that are still open
    /// fail.
    pub async fn close(self, code: u32, reason: &str) {
        let shared = Arc::clone(&self.handle.shared);
        shared.session.close(code, reason);
        shared.session.closed().await;
        lock(&shared.streams).end(SessionError::ClosedLocally);
        shared.stop.cancel();
        drop(self);
        shared.tasks.close();
        shared.tasks.wait().await;
    }
}

impl<S: Session> Shared<S> {
    pub(super) fn count(&self, change: impl FnOnce(&mut Counts)) {
        change(&mut lock(&self.counts));
    }

    /// `None` when everybody who could use a stream is gone.
    pub(super) fn handle(&self) -> Option<Arc<Handle<S>>> {
        self.handle.get()?.upgrade()
    }

    fn refresh_path(&self) {
        let path = self.session.path_stats();
        let datagram = self.session.max_datagram_bytes();
        lock(&self.streams).handle_path(path, datagram);
    }

    pub(super) fn snapshot(&self) -> Snapshot {
        let now = Instant::now();
        let path = self.session.path_stats();
        let (mut streams, mut totals) = lock(&self.streams).metrics(now.into_std());
        for meter in self.meters.open() {
            let (queued, since) = *lock(&meter.queue);
            streams.push(StreamMetrics {
                id: meter.key.id(),
                opened_here: meter.key.opened_here(),
                totals: meter.totals(),
                rtt: path.rtt,
                send_queue_bytes: queued,
                send_queue_age: since.map_or(Duration::ZERO, |since| now - since),
                ..StreamMetrics::default()
            });
        }
        totals.add(&lock(&self.meters.closed));
        for stream in &streams {
            totals.add(&stream.totals);
        }
        let (counts, strays) = (*lock(&self.counts), lock(&self.streams).strays);
        let mut snapshot = Snapshot {
            connection: ConnectionMetrics {
                totals,
                path,
                loss: path.lost_packets as f64 / path.sent_packets.max(1) as f64,
                send_queue_age: streams
                    .iter()
                    .map(|stream| stream.send_queue_age)
                    .max()
                    .unwrap_or_default(),
                streams: streams.len(),
                unknown_stream_datagrams: strays.unknown,
                malformed_datagrams: strays.malformed,
                other_datagrams_dropped: counts.others_dropped,
                unsendable_datagrams: strays.unsendable,
                refused_streams: counts.refused_streams,
                ..ConnectionMetrics::default()
            },
            streams,
        };
        self.meters.fill(&mut snapshot);
        snapshot
    }
}

impl<S: Session> Handle<S> {
    /// Makes a stream's halves; `None` when there is a stream of this name.
    pub(super) fn attach(
        self: &Arc<Self>,
        id: u32,
        opened_here: bool,
        config: &StreamConfig,
        (mut send, recv): (Option<S::Send>, Option<S::Recv>),
        permit: Option<Permit>,
    ) -> Option<Halves<S>> {
        let key = Key::of(id, opened_here);
        if let Some(send) = &mut send {
            send.set_priority(config.priority);
        }
        if config.reliability == Reliability::Reliable {
            return Some(self.attach_reliable(key, config, (send, recv), permit));
        }
        let progress = send.is_some().then(|| Arc::new(Notify::new()));
        let news = recv.is_some().then(|| Arc::new(Notify::new()));
        let now = Instant::now().into_std();
        let notifies = (progress.clone(), news.clone());
        let limits = &self.shared.config;
        if !lock(&self.shared.streams).add(now, key, config, limits, notifies) {
            return None;
        }
        // Datagrams that came before may have to be acknowledged.
        self.shared.wake.notify_one();
        let sender = progress.map(|progress| MessageSender {
            key,
            config: config.clone(),
            half: sender::Half::Datagrams {
                control: send,
                progress,
                handle: Arc::clone(self),
            },
            _permit: permit.clone(),
        });
        let receiver = recv.zip(news).map(|(control, news)| MessageReceiver {
            key,
            config: config.clone(),
            half: receiver::Half::Datagrams {
                control,
                trailer: BytesMut::new(),
                over: None,
                news,
                code: 0,
            },
            handle: Arc::clone(self),
            _permit: permit,
        });
        Some(Halves { sender, receiver })
    }

    fn attach_reliable(
        self: &Arc<Self>,
        key: Key,
        config: &StreamConfig,
        (send, recv): (Option<S::Send>, Option<S::Recv>),
        permit: Option<Permit>,
    ) -> Halves<S> {
        let shared = &self.shared;
        let meter = shared.meters.add(key);
        let header = key.opened_here().then(|| {
            write_header(&Header {
                id: key.id(),
                config: config.clone(),
            })
        });
        let header: &[u8] = header.as_ref().map_or(&[], <[u8; HEADER_BYTES]>::as_slice);
        let sender = send.map(|send| {
            let queue_bytes_max = shared.config.send_queue_bytes_max;
            let meter = Arc::clone(&meter);
            let writer = Arc::new(reliable::Writer::new(meter, queue_bytes_max, header));
            let stop = shared.stop.clone();
            shared.tasks.spawn(Arc::clone(&writer).run(send, stop));
            MessageSender {
                key,
                config: config.clone(),
                half: sender::Half::Reliable {
                    writer,
                    _handle: Arc::clone(self),
                },
                _permit: permit.clone(),
            }
        });
        let receiver = recv.map(|stream| MessageReceiver {
            key,
            config: config.clone(),
            half: receiver::Half::Reliable {
                stream,
                decoder: FrameDecoder::new(config.max_message_bytes),
                meter,
                over: None,
            },
            handle: Arc::clone(self),
            _permit: permit,
        });
        Halves { sender, receiver }
    }
}
