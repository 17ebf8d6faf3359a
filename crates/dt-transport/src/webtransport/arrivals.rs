//! Streams that the peer opens, from their first bytes on: which of them belong
//! to the session, and what becomes of the others.
//!
//! A stream's header is read beside those of others, so that one whose header is
//! late holds up nobody. What waits is bounded by the streams that the peer may
//! have open; nothing is read beyond a header before somebody accepts.

use std::{future::Future, pin::Pin};

use futures::stream::{FuturesUnordered, StreamExt};
use tokio::sync::Mutex;
use web_transport_proto::{Frame, StreamUni, VarInt};

use super::http3::{H3_REQUEST_REJECTED, H3_STREAM_CREATION_ERROR, STREAM_REJECTED};

type Header<T> = Pin<Box<dyn Future<Output = Option<T>> + Send>>;

/// One kind of stream.
#[derive(Debug)]
struct Waiting<T> {
    headers: FuturesUnordered<Header<T>>,
}

impl<T> Default for Waiting<T> {
    fn default() -> Self {
        Self {
            headers: FuturesUnordered::new(),
        }
    }
}

impl<T> Waiting<T> {
    /// The next stream of the session. Cancel-safe.
    async fn next<S, A, H>(
        &mut self,
        mut accept: impl FnMut() -> A,
        header: impl Fn(S) -> H,
    ) -> Result<T, quinn::ConnectionError>
    where
        A: Future<Output = Result<S, quinn::ConnectionError>>,
        H: Future<Output = Option<T>> + Send + 'static,
    {
        loop {
            tokio::select! {
                biased;
                Some(arrived) = self.headers.next() => {
                    if let Some(stream) = arrived {
                        return Ok(stream);
                    }
                }
                stream = accept() => self.headers.push(Box::pin(header(stream?))),
            }
        }
    }
}

/// Streams both ways, as QUIC has them.
pub(super) type Both = (quinn::SendStream, quinn::RecvStream);

/// What the peer opens on a connection that carries this session.
#[derive(Debug)]
pub(super) struct Arrivals {
    connection: quinn::Connection,
    session: VarInt,
    uni: Mutex<Waiting<Uni>>,
    bi: Mutex<Waiting<Both>>,
}

#[derive(Debug)]
enum Uni {
    Session(quinn::RecvStream),
    /// Must not be closed while the connection lives.
    Qpack(quinn::RecvStream),
}

impl Arrivals {
    pub(super) fn new(connection: quinn::Connection, session: VarInt) -> Self {
        Self {
            connection,
            session,
            uni: Mutex::default(),
            bi: Mutex::default(),
        }
    }

    /// The next stream one way. Cancel-safe; callers take turns.
    pub(super) async fn uni(&self) -> Result<quinn::RecvStream, quinn::ConnectionError> {
        let mut waiting = self.uni.lock().await;
        loop {
            let accept = || self.connection.accept_uni();
            let header = |stream| uni_header(stream, self.session);
            match waiting.next(accept, header).await? {
                Uni::Session(stream) => return Ok(stream),
                // Never read, and never ready: it waits with the headers for the
                // connection's end.
                Uni::Qpack(stream) => waiting.headers.push(Box::pin(async move {
                    let _kept = stream;
                    std::future::pending().await
                })),
            }
        }
    }

    /// The next stream both ways. Cancel-safe; callers take turns.
    pub(super) async fn bi(&self) -> Result<Both, quinn::ConnectionError> {
        let accept = || self.connection.accept_bi();
        let header = |stream| bi_header(stream, self.session);
        self.bi.lock().await.next(accept, header).await
    }
}

/// `None` when the stream is of no use; a peer may reset it before its header.
async fn uni_header(mut stream: quinn::RecvStream, session: VarInt) -> Option<Uni> {
    let kind = StreamUni(VarInt::read(&mut stream).await.ok()?);
    let code = match kind {
        StreamUni::QPACK_ENCODER | StreamUni::QPACK_DECODER => return Some(Uni::Qpack(stream)),
        StreamUni::WEBTRANSPORT => {
            if VarInt::read(&mut stream).await.ok()? == session {
                return Some(Uni::Session(stream));
            }
            STREAM_REJECTED
        }
        _ => H3_STREAM_CREATION_ERROR,
    };
    // Fails when it was reset meanwhile, which is as good.
    let _ = stream.stop(code);
    None
}

async fn bi_header((mut send, mut recv): Both, session: VarInt) -> Option<Both> {
    let kind = Frame(VarInt::read(&mut recv).await.ok()?);
    let code = if kind == Frame::WEBTRANSPORT {
        if VarInt::read(&mut recv).await.ok()? == session {
            return Some((send, recv));
        }
        STREAM_REJECTED
    } else {
        // Another request on a connection that carries a session.
        H3_REQUEST_REJECTED
    };
    // Either fails when the peer was quicker, which is as good.
    let _ = send.reset(code);
    let _ = recv.stop(code);
    None
}
