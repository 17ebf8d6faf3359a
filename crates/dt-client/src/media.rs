//! The media sessions with one handler, one after the other: a task that opens
//! them ahead of the join, says hello as soon as there is a token, receives, and
//! comes back with a fresh token after a loss.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use dt_frame::{GroupItem, GroupParser, PAYLOAD_BYTES_MAX};
use dt_ids::{Encoding, HandlerId, StreamId};
use dt_session_core::{Backoff, Config, Liveness, Probe};
use dt_transport::{RecvStream, SendStream, Session, SessionError};
use dt_wire::{
    CloseCode,
    framing::{self, Decoder, Framed, RTT_TAG},
    v1::{
        MediaClientMessage, MediaHello, MediaServerMessage, MediaWelcome, RequestKeyframe,
        media_client_message, media_server_message,
    },
};
use rand::{SeedableRng, rngs::StdRng};
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
    time::{Instant, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::{
    Dial, HandlerEndpoint, Secret, SessionKind, lane::Outlet, paths::Paths, receiving::Receiving,
};

const READ_BYTES: usize = 64 << 10;
/// Streams read at once; the server opens no more than its own bound.
const GROUPS_MAX: usize = 512;
/// How long the handler may take to welcome.
const WELCOME_MAX: Duration = Duration::from_secs(5);

/// What the driver learns of a handler.
#[derive(Debug)]
pub(crate) enum MediaReport {
    /// A session was lost or refused: a fresh token is needed.
    NeedsToken(HandlerId),
    /// Media goes both ways.
    Ready(HandlerId),
    /// It does no more.
    Lost(HandlerId),
    /// The sender is asked to begin a new group.
    KeyFrameWanted(StreamId, Encoding),
}

/// What a handler's task works with.
pub(crate) struct Context<D: Dial> {
    pub(crate) handler: HandlerEndpoint,
    pub(crate) dial: Arc<D>,
    pub(crate) config: Config,
    pub(crate) receiving: Arc<Receiving>,
    pub(crate) reports: mpsc::Sender<MediaReport>,
    /// The newest token that was not used yet.
    pub(crate) tokens: watch::Receiver<Option<Secret>>,
    pub(crate) outlet: watch::Sender<Option<Outlet<D::Session>>>,
    /// Key frames that the receiving side asks for here.
    pub(crate) key_frames: tokio::sync::Mutex<mpsc::Receiver<(StreamId, Encoding)>>,
    /// What publishers have to know of it.
    pub(crate) paths: Arc<Paths>,
    /// Told when the handler is of no use any more, or the seat is over.
    pub(crate) over: CancellationToken,
}

/// A session that was welcomed.
struct Welcomed<S: Session> {
    session: S,
    send: S::Send,
    recv: S::Recv,
    decoder: Decoder,
    datagram_bytes_max: usize,
}

impl<D: Dial> Context<D> {
    /// Runs until the seat is over, then closes what is open.
    pub(crate) async fn run(mut self, seed: u64) {
        let mut rng = StdRng::seed_from_u64(seed);
        let config = self.config;
        let mut backoff = Backoff::new(config.backoff_first, config.backoff_max, config.spread);
        let over = self.over.clone();
        let mut number = 0;
        // The token that was used last.
        let mut used = None;
        loop {
            let welcomed = tokio::select! {
                biased;
                () = over.cancelled() => return,
                opened = self.open(&mut used) => opened,
            };
            let mut wait = None;
            if let Some(welcomed) = welcomed {
                backoff.reset();
                number += 1;
                let carrier = welcomed.session.info().carrier;
                if self.serve(welcomed, number).await {
                    // The other way is free, and somebody is waiting.
                    self.dial.died(carrier);
                    wait = Some(Duration::ZERO);
                }
                // Without a driver the task is about to end.
                let lost = MediaReport::Lost(self.handler.handler_id);
                let _ = self.reports.send(lost).await;
            }
            let wait = wait.unwrap_or_else(|| backoff.next(&mut rng));
            tokio::select! {
                biased;
                () = over.cancelled() => return,
                () = async {
                    self.renew_token(used.as_ref()).await;
                    tokio::time::sleep(wait).await;
                } => {}
            }
        }
    }

    /// A session for which the handler knows us. It is opened while the token may
    /// still be on its way; the token is used up whether it is good or not.
    async fn open(&mut self, used: &mut Option<Secret>) -> Option<Welcomed<D::Session>> {
        let endpoint = &self.handler.endpoint;
        let session = self.dial.dial(endpoint, SessionKind::Media).await.ok()?;
        let fresh = |token: &Option<Secret>| token.is_some() && token != used;
        let token = tokio::select! {
            token = self.tokens.wait_for(fresh) => token.ok()?.clone()?,
            // Warm sessions may be closed when there are too many.
            _ = session.closed() => return None,
        };
        *used = Some(token.clone());
        let welcomed = timeout(WELCOME_MAX, hello(session.clone(), &token)).await;
        let welcomed = welcomed.ok().flatten();
        if welcomed.is_none() {
            session.close(CloseCode::Graceful as u32, "");
        }
        welcomed
    }

    /// A token that was used is of no use any more: asks for another one.
    async fn renew_token(&self, used: Option<&Secret>) {
        let is_used = used.is_some() && self.tokens.borrow().as_ref() == used;
        if is_used {
            let report = MediaReport::NeedsToken(self.handler.handler_id);
            // Without a driver the task is about to be aborted.
            let _ = self.reports.send(report).await;
        }
    }

    /// Receives until the session or the seat is over. Whether the session died:
    /// it broke or fell silent, and nobody closed it.
    async fn serve(&self, welcomed: Welcomed<D::Session>, number: u64) -> bool {
        let session = welcomed.session.clone();
        self.fit_datagrams(
            welcomed
                .datagram_bytes_max
                .min(session.max_datagram_bytes()),
        );
        let outlet = Outlet {
            session: session.clone(),
            number,
        };
        self.outlet.send_replace(Some(outlet));
        let (health, handler) = (&self.receiving.health, self.handler.handler_id);
        health.media_opened(handler, session.info().carrier);
        if self
            .reports
            .send(MediaReport::Ready(handler))
            .await
            .is_err()
        {
            return false;
        }
        let silent = tokio::select! {
            silent = self.control(welcomed) => silent,
            () = datagrams(&session, &self.receiving, handler) => false,
            () = groups(&session, &self.receiving, handler) => false,
            () = self.over.cancelled() => false,
        };
        let died = silent || broke(&session).await;
        self.outlet.send_replace(None);
        self.paths.closed(handler);
        health.media_closed(handler);
        session.close(CloseCode::Graceful as u32, "");
        if self.over.is_cancelled() {
            session.closed().await;
        }
        died
    }

    fn fit_datagrams(&self, bytes: usize) {
        self.paths.opened(self.handler.handler_id, bytes);
    }

    /// The control stream: probes, key-frame requests both ways. Ends with it, or
    /// when nothing was heard for too long: whether that is so.
    async fn control(&self, welcomed: Welcomed<D::Session>) -> bool {
        let Welcomed {
            mut send,
            mut recv,
            mut decoder,
            session,
            datagram_bytes_max,
        } = welcomed;
        let mut live = Liveness::new(
            self.config.probe_interval,
            self.config.dead_after,
            Instant::now().into_std(),
        );
        loop {
            let due = match live.poll(Instant::now().into_std()) {
                Probe::Dead => return true,
                Probe::Send(packet) => {
                    if send.write(framing::encode_bytes(&packet)).await.is_err() {
                        return false;
                    }
                    self.fit_datagrams(datagram_bytes_max.min(session.max_datagram_bytes()));
                    continue;
                }
                Probe::Wait(due) => due,
            };
            tokio::select! {
                chunk = recv.read_chunk(READ_BYTES) => {
                    let Ok(Some(chunk)) = chunk else { return false };
                    let now = Instant::now().into_std();
                    live.heard(now);
                    decoder.push(&chunk);
                    if self.take_messages(&mut decoder, &mut live).await.is_none() {
                        return false;
                    }
                }
                request = next_request(&self.key_frames) => {
                    if send.write(request_key_frame(request)).await.is_err() {
                        return false;
                    }
                }
                () = sleep_until(due.into()) => {}
            }
        }
    }

    /// `None` when the handler broke the rules or ended the session.
    async fn take_messages(&self, decoder: &mut Decoder, live: &mut Liveness) -> Option<()> {
        while let Some(framed) = decoder.next().ok()? {
            let bytes = match framed {
                Framed::Rtt(packet) => {
                    live.handle_echo(&packet, Instant::now().into_std());
                    let health = &self.receiving.health;
                    health.media_rtt(self.handler.handler_id, live.rtt());
                    continue;
                }
                Framed::Message(bytes) => bytes,
            };
            match MediaServerMessage::read(&bytes) {
                Ok((_, media_server_message::Body::RequestKeyframe(request))) => {
                    let encoding = request.encoding.try_into();
                    if let (Ok(stream), Ok(encoding)) = (request.stream_id.parse(), encoding) {
                        let report = MediaReport::KeyFrameWanted(stream, encoding);
                        self.reports.send(report).await.ok()?;
                    }
                }
                Ok((_, media_server_message::Body::SenderReport(report))) => {
                    let handler = self.handler.handler_id;
                    let (repeat, lost_ppm) = (report.repeat_audio, report.lost_ppm);
                    self.paths.repeat_audio(handler, repeat, lost_ppm);
                }
                // Errors on this stream answer key-frame requests at most.
                Ok(_) | Err(dt_wire::DecodeError::Empty) => {}
                Err(_) => return None,
            }
        }
        Some(())
    }
}

/// Whether it is over though nobody closed it.
async fn broke<S: Session>(session: &S) -> bool {
    tokio::select! {
        biased;
        end = session.closed() => matches!(end, SessionError::Lost(_) | SessionError::TimedOut),
        () = std::future::ready(()) => false,
    }
}

/// Says hello and waits for the welcome.
async fn hello<S: Session>(session: S, token: &Secret) -> Option<Welcomed<S>> {
    let (mut send, mut recv) = session.open_bi().await.ok()?;
    let hello = MediaHello {
        connection_token: token.reveal().to_owned(),
    };
    let hello = MediaClientMessage::new(1, media_client_message::Body::Hello(hello));
    send.write(framing::encode(&hello)).await.ok()?;
    let mut decoder = Decoder::default();
    loop {
        let chunk = recv.read_chunk(READ_BYTES).await.ok()??;
        decoder.push(&chunk);
        while let Some(framed) = decoder.next().ok()? {
            let Framed::Message(bytes) = framed else {
                continue;
            };
            match MediaServerMessage::read(&bytes).ok()?.1 {
                media_server_message::Body::Welcome(welcome) => {
                    return Some(Welcomed {
                        datagram_bytes_max: datagram_limit(&welcome),
                        session,
                        send,
                        recv,
                        decoder,
                    });
                }
                media_server_message::Body::Error(error) => {
                    tracing::debug!(code = error.code, "the media handler refused the session");
                    return None;
                }
                media_server_message::Body::RequestKeyframe(_)
                | media_server_message::Body::SenderReport(_) => {}
            }
        }
    }
}

fn datagram_limit(welcome: &MediaWelcome) -> usize {
    match usize::try_from(welcome.max_datagram_bytes) {
        Ok(0) | Err(_) => dt_frame::DATAGRAM_BYTES_MAX,
        Ok(bytes) => bytes,
    }
}

fn request_key_frame((stream, encoding): (StreamId, Encoding)) -> Bytes {
    let request = RequestKeyframe {
        stream_id: stream.to_string(),
        encoding: u32::from(encoding.get()),
    };
    framing::encode(&MediaClientMessage::new(
        0,
        media_client_message::Body::RequestKeyframe(request),
    ))
}

async fn next_request(
    requests: &tokio::sync::Mutex<mpsc::Receiver<(StreamId, Encoding)>>,
) -> (StreamId, Encoding) {
    match requests.lock().await.recv().await {
        Some(request) => request,
        // The handler was removed; this task ends soon.
        None => std::future::pending().await,
    }
}

/// Ends with the session.
async fn datagrams<S: Session>(session: &S, receiving: &Receiving, from: HandlerId) {
    while let Ok(datagram) = session.recv_datagram().await {
        if datagram.first() != Some(&RTT_TAG) {
            receiving.datagram(from, datagram);
        }
    }
}

/// Ends with the session.
async fn groups<S: Session>(session: &S, receiving: &Arc<Receiving>, from: HandlerId) {
    let mut readers = JoinSet::new();
    loop {
        tokio::select! {
            Some(_) = readers.join_next() => {}
            stream = session.accept_uni(), if readers.len() < GROUPS_MAX => {
                let Ok(stream) = stream else { return };
                let receiving = Arc::clone(receiving);
                readers.spawn(async move { group(stream, &receiving, from).await });
            }
        }
    }
}

async fn group(mut stream: impl RecvStream, receiving: &Receiving, from: HandlerId) {
    let mut parser = GroupParser::new(PAYLOAD_BYTES_MAX);
    loop {
        let mut chunk = match stream.read_chunk(READ_BYTES).await {
            Ok(Some(chunk)) => chunk,
            Ok(None) => {
                if let Some(header) = parser.stream() {
                    receiving.group_ended(header);
                }
                return;
            }
            // The server gave it up; the base-layer counter of the next group
            // tells what is missing.
            Err(_) => return,
        };
        loop {
            match parser.next(&mut chunk) {
                Ok(Some(GroupItem::Header(_))) => {}
                Ok(Some(GroupItem::Frame(header, payload))) => {
                    let Some(stream) = parser.stream().copied() else {
                        return;
                    };
                    receiving
                        .stream_frame(from, &stream, &header, payload)
                        .await;
                }
                Ok(None) => break,
                Err(_) => {
                    receiving.reject();
                    stream.stop(1);
                    return;
                }
            }
        }
    }
}
