//! A WebTransport session over a QUIC connection of its own, as the [`Session`]
//! trait wants it.
//!
//! A task reads the stream of the CONNECT request until the peer closes the
//! session or the connection ends. It alone says why a session ended when this
//! side did not end it, so that a close code is never lost to the connection's
//! end that follows it. The task ends with the connection.

use std::{
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use tokio::runtime::Handle;
use tokio_util::{
    sync::CancellationToken,
    task::{TaskTracker, task_tracker::TaskTrackerToken},
};
use web_transport_proto::{Capsule, Frame, StreamUni, VarInt, error_from_http3};

use super::{
    arrivals::Arrivals,
    capsules::{self, CapsuleError, REASON_BYTES_MAX},
    http3::{Control, H3_MESSAGE_ERROR, H3_NO_ERROR, RequestStream},
    low_delay,
    streams::{WebTransportRecvStream, WebTransportSendStream, http3_code},
};
use crate::{PathStats, Session, SessionError, SessionInfo, StreamError};

/// A peer is given so long at least to read why the session is closed.
const CLOSE_LINGER_MIN: Duration = Duration::from_millis(100);

/// Streams are given so long to end before the peer is told of the session's end.
const STREAMS_LINGER_MAX: Duration = Duration::from_millis(50);

/// How a session came to its end, known to all its parts.
#[derive(Debug, Default)]
pub(super) struct End {
    why: OnceLock<SessionError>,
    known: CancellationToken,
    /// Which streams to the peer are open.
    streams: TaskTracker,
}

impl End {
    /// The first one counts.
    fn set(&self, why: SessionError) -> bool {
        let first = self.why.set(why).is_ok();
        self.known.cancel();
        first
    }

    fn get(&self) -> Option<SessionError> {
        self.why.get().cloned()
    }

    pub(super) fn is_known(&self) -> bool {
        self.known.is_cancelled()
    }

    /// Held while a stream to the peer is neither finished nor reset.
    pub(super) fn open_stream(&self) -> TaskTrackerToken {
        self.streams.token()
    }

    /// Waits until no stream to the peer is open.
    async fn streams_over(&self) {
        self.streams.close();
        self.streams.wait().await;
    }

    /// Waits for it. Once the connection is lost it is known in an instant.
    pub(super) async fn wait(&self) -> SessionError {
        self.known.cancelled().await;
        self.get()
            .unwrap_or_else(|| SessionError::Lost(String::new()))
    }
}

/// A WebTransport session, of a browser or of a [`Connector`](super::Connector).
#[derive(Debug, Clone)]
pub struct WebTransportSession {
    shared: Arc<Shared>,
    info: Arc<SessionInfo>,
}

/// Shared by all clones; closes the session when the last of them goes.
#[derive(Debug)]
struct Shared {
    connection: quinn::Connection,
    /// Where the session began: whoever closes it may be on another one, that ends
    /// before its peer has read why.
    runtime: Handle,
    end: Arc<End>,
    arrivals: Arrivals,
    /// Given to whoever closes the session.
    parting: Mutex<Option<Parting>>,
    /// What every stream and datagram begins with.
    uni_header: Bytes,
    bi_header: Bytes,
    datagram_header: Bytes,
    /// Bytes of datagrams that may wait to be sent.
    datagram_space: usize,
}

/// What it takes to close a session so that the peer reads why.
#[derive(Debug)]
struct Parting {
    request: quinn::SendStream,
    /// A peer that loses these takes the connection for broken and reads nothing
    /// more.
    control: Control,
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.close(0, "");
    }
}

impl Shared {
    fn close(&self, code: u32, reason: &str) {
        if !self.end.set(SessionError::ClosedLocally) {
            return;
        }
        let parting = self
            .parting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let connection = self.connection.clone();
        let reason = shortened(reason).to_owned();
        match parting {
            // Bounded by its own deadline; the endpoint outlives it, as it holds
            // the connection.
            Some(parting) => {
                let end = Arc::clone(&self.end);
                let goodbye = say_goodbye(connection, end, parting, code, reason);
                self.runtime.spawn(goodbye);
            }
            None => connection.close(http3_code(code), reason.as_bytes()),
        }
    }
}

/// The longest beginning that fits, cut between characters.
fn shortened(reason: &str) -> &str {
    let mut end = reason.len().min(REASON_BYTES_MAX);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    &reason[..end]
}

/// Tells the peer by a capsule, and closes the connection once it was read.
///
/// First all streams are reset, as their owners drop them: the draft wants it so,
/// and the page of a Chromium whose session ends over a stream that is open can
/// crash (version 156).
async fn say_goodbye(
    connection: quinn::Connection,
    end: Arc<End>,
    parting: Parting,
    code: u32,
    reason: String,
) {
    let Parting {
        mut request,
        control: _open_until_then,
    } = parting;
    // An owner that keeps its stream longer has it reset by the connection's end.
    let _ = tokio::time::timeout(STREAMS_LINGER_MAX, async {
        tokio::select! {
            () = end.streams_over() => {}
            _ = connection.closed() => {}
        }
    })
    .await;
    let linger = (connection.rtt() * 3).max(CLOSE_LINGER_MIN);
    let mut capsule = Vec::new();
    let close = Capsule::CloseWebTransportSession {
        code,
        reason: reason.clone(),
    };
    close.encode(&mut capsule);
    let mut frame = Vec::with_capacity(capsule.len() + 8);
    Frame::DATA.encode(&mut frame);
    VarInt::from_u32(u32::try_from(capsule.len()).unwrap_or(0)).encode(&mut frame);
    frame.extend_from_slice(&capsule);
    let told = async {
        request.write_all(&frame).await.ok()?;
        request.finish().ok()?;
        // A peer that has understood closes the connection, or its own end of the
        // stream, whereupon the reading task closes it.
        connection.closed().await;
        Some(())
    };
    // Too late or impossible is as good as told: the connection's end says it too.
    let _ = tokio::time::timeout(linger, told).await;
    connection.close(http3_code(code), reason.as_bytes());
}

/// Follows the request's stream to the end of the session.
async fn watch(connection: quinn::Connection, request: quinn::RecvStream, end: Arc<End>) {
    let closed = |code, reason| SessionError::ClosedByPeer { code, reason };
    match capsules::until_close(request).await {
        Ok(close) => {
            let (code, reason) = close.unwrap_or_default();
            end.set(closed(code, reason));
            connection.close(http3_code(code), b"");
        }
        Err(CapsuleError::Broken(_)) => {
            // Reset by the peer, if the connection is still there.
            let why = connection.close_reason();
            end.set(why.map_or_else(|| closed(0, String::new()), connection_error));
            connection.close(H3_NO_ERROR, b"");
        }
        Err(error @ CapsuleError::Malformed) => match connection.close_reason() {
            Some(why) => {
                end.set(connection_error(why));
            }
            None => {
                end.set(SessionError::Lost(error.to_string()));
                connection.close(H3_MESSAGE_ERROR, b"malformed capsule");
            }
        },
    }
}

fn connection_error(error: quinn::ConnectionError) -> SessionError {
    match error {
        quinn::ConnectionError::ApplicationClosed(close) => {
            let reason = String::from_utf8_lossy(&close.reason).into_owned();
            if close.error_code == H3_NO_ERROR {
                // A browser whose page goes away.
                return SessionError::ClosedByPeer { code: 0, reason };
            }
            match error_from_http3(close.error_code.into_inner()) {
                Some(code) => SessionError::ClosedByPeer { code, reason },
                None => SessionError::Lost(close.to_string()),
            }
        }
        // This side's endpoint was shut down under the session.
        quinn::ConnectionError::LocallyClosed => SessionError::ClosedLocally,
        quinn::ConnectionError::TimedOut => SessionError::TimedOut,
        other => SessionError::Lost(other.to_string()),
    }
}

impl WebTransportSession {
    /// Must be called inside a tokio runtime.
    pub(super) fn new(
        connection: quinn::Connection,
        control: Control,
        request: RequestStream,
        info: SessionInfo,
    ) -> Self {
        let id = quinn::VarInt::from(request.send.id()).into_inner();
        // Both are QUIC's integers of 62 bits.
        let varint = |value| VarInt::from_u64(value).unwrap_or(VarInt::MAX);
        let session = varint(id);
        // RFC 9297 section 2.1; the two are alike on a connection's first stream.
        let mut quarter = Vec::new();
        varint(id / 4).encode(&mut quarter);
        let header = |begin: &dyn Fn(&mut Vec<u8>)| {
            let mut header = Vec::new();
            begin(&mut header);
            session.encode(&mut header);
            Bytes::from(header)
        };
        let end = Arc::new(End::default());
        // Nothing can wait before there is a session.
        let datagram_space = connection.datagram_send_buffer_space();
        tokio::spawn(watch(connection.clone(), request.recv, Arc::clone(&end)));
        Self {
            shared: Arc::new(Shared {
                arrivals: Arrivals::new(connection.clone(), session),
                connection,
                runtime: Handle::current(),
                end,
                parting: Mutex::new(Some(Parting {
                    request: request.send,
                    control,
                })),
                uni_header: header(&|bytes| StreamUni::WEBTRANSPORT.encode(bytes)),
                bi_header: header(&|bytes| Frame::WEBTRANSPORT.encode(bytes)),
                datagram_header: quarter.into(),
                datagram_space,
            }),
            info: Arc::new(info),
        }
    }

    /// The work's result, or the end of the session when it ends first.
    async fn unless_ended<T>(
        &self,
        work: impl Future<Output = Result<T, quinn::ConnectionError>>,
    ) -> Result<T, SessionError> {
        let end = &self.shared.end;
        if let Some(why) = end.get() {
            return Err(why);
        }
        tokio::select! {
            biased;
            result = work => match result {
                Ok(done) => Ok(done),
                Err(_) => Err(end.wait().await),
            },
            why = end.wait() => Err(why),
        }
    }

    fn sender(&self, stream: quinn::SendStream) -> WebTransportSendStream {
        WebTransportSendStream::new(stream, Arc::clone(&self.shared.end))
    }

    fn receiver(&self, stream: quinn::RecvStream) -> WebTransportRecvStream {
        WebTransportRecvStream::new(stream, Arc::clone(&self.shared.end))
    }

    /// A stream that the peer stops at once is still a stream.
    async fn begin(
        &self,
        stream: &mut WebTransportSendStream,
        header: &[u8],
    ) -> Result<(), SessionError> {
        match stream.write_header(header).await {
            Err(StreamError::Session(error)) => Err(error),
            _ => Ok(()),
        }
    }
}

impl Session for WebTransportSession {
    type Send = WebTransportSendStream;
    type Recv = WebTransportRecvStream;

    async fn open_bi(&self) -> Result<(Self::Send, Self::Recv), SessionError> {
        let opened = self.unless_ended(self.shared.connection.open_bi()).await?;
        let (mut send, recv) = (self.sender(opened.0), self.receiver(opened.1));
        self.begin(&mut send, &self.shared.bi_header).await?;
        Ok((send, recv))
    }

    async fn accept_bi(&self) -> Result<(Self::Send, Self::Recv), SessionError> {
        let (send, recv) = self.unless_ended(self.shared.arrivals.bi()).await?;
        Ok((self.sender(send), self.receiver(recv)))
    }

    async fn open_uni(&self) -> Result<Self::Send, SessionError> {
        let opened = self.unless_ended(self.shared.connection.open_uni()).await?;
        let mut send = self.sender(opened);
        self.begin(&mut send, &self.shared.uni_header).await?;
        Ok(send)
    }

    async fn accept_uni(&self) -> Result<Self::Recv, SessionError> {
        let recv = self.unless_ended(self.shared.arrivals.uni()).await?;
        Ok(self.receiver(recv))
    }

    fn send_datagram(&self, datagram: Bytes) -> Result<(), SessionError> {
        let header = &self.shared.datagram_header;
        let mut whole = BytesMut::with_capacity(header.len() + datagram.len());
        whole.extend_from_slice(header);
        whole.extend_from_slice(&datagram);
        self.send_prefixed_datagram(whole.freeze())
    }

    fn datagram_prefix(&self) -> Bytes {
        self.shared.datagram_header.clone()
    }

    fn send_prefixed_datagram(&self, datagram: Bytes) -> Result<(), SessionError> {
        if let Some(why) = self.shared.end.get() {
            return Err(why);
        }
        let bytes = datagram.len();
        let sent = self.shared.connection.send_datagram(datagram);
        sent.map_err(|error| match error {
            quinn::SendDatagramError::ConnectionLost(error) => connection_error(error),
            quinn::SendDatagramError::TooLarge
            | quinn::SendDatagramError::Disabled
            | quinn::SendDatagramError::UnsupportedByPeer => SessionError::DatagramTooLarge {
                bytes: bytes.saturating_sub(self.shared.datagram_header.len()),
                limit: self.max_datagram_bytes(),
            },
        })
    }

    fn queued_datagram_bytes(&self) -> usize {
        let space = self.shared.connection.datagram_send_buffer_space();
        self.shared.datagram_space.saturating_sub(space)
    }

    async fn recv_datagram(&self) -> Result<Bytes, SessionError> {
        let header = &self.shared.datagram_header;
        loop {
            let mut datagram = self
                .unless_ended(self.shared.connection.read_datagram())
                .await?;
            // One session a connection: others are for none we know.
            if datagram.starts_with(header) {
                return Ok(datagram.split_off(header.len()));
            }
        }
    }

    fn max_datagram_bytes(&self) -> usize {
        let whole = self.shared.connection.max_datagram_size().unwrap_or(0);
        whole.saturating_sub(self.shared.datagram_header.len())
    }

    fn path_stats(&self) -> PathStats {
        let stats = self.shared.connection.stats();
        let path = stats.path;
        let controller = self.shared.connection.congestion_state();
        let acknowledged = low_delay::acknowledged(controller);
        // The runtime's clock, which is the connection's.
        let now = tokio::time::Instant::now().into_std();
        let since = |at: Option<std::time::Instant>| {
            at.map_or(Duration::ZERO, |at| now.saturating_duration_since(at))
        };
        PathStats {
            rtt: path.rtt,
            rtt_latest: acknowledged.rtt,
            unanswered: since(acknowledged.unanswered_since),
            blocked: since(acknowledged.blocked_since),
            acknowledged_bytes: acknowledged.bytes,
            rtt_min: path.min_rtt,
            sent_bytes: stats.udp_tx.bytes,
            received_bytes: stats.udp_rx.bytes,
            sent_packets: path.sent_packets,
            received_packets: stats.udp_rx.datagrams,
            lost_packets: path.lost_packets,
            sent_datagrams: stats.frame_tx.datagram,
            received_datagrams: stats.frame_rx.datagram,
            lost_bytes: path.lost_bytes,
            congestion_events: path.congestion_events,
            congestion_window_bytes: path.cwnd,
            mtu_bytes: path.current_mtu,
        }
    }

    fn info(&self) -> Arc<SessionInfo> {
        Arc::clone(&self.info)
    }

    fn close(&self, code: u32, reason: &str) {
        self.shared.close(code, reason);
    }

    /// After [`close`](Session::close) it waits until the peer was told, a
    /// fraction of a second at most.
    async fn closed(&self) -> SessionError {
        self.shared.connection.closed().await;
        self.shared.end.wait().await
    }
}
