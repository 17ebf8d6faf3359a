//! The QUIC connection as the HTTP/3 library sees it: quinn's, with every
//! incoming stream behind [`Frames`].
//!
//! It also makes good for two habits below it: quinn ends a stream that is
//! dropped as if all had been said, and `h3-quinn` panics when it is told to stop
//! a stream that is just being read.

use std::{
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use h3::{
    error::Code,
    quic::{self, ConnectionErrorIncoming, StreamErrorIncoming, StreamId, WriteBuf},
};
use tokio::sync::Semaphore;

use super::frames::{Frames, HELD_BYTES_MAX};

type Result<T, E = StreamErrorIncoming> = std::result::Result<T, E>;

/// A connection with a guard on each stream.
pub(super) struct Connection {
    inner: h3_quinn::Connection,
    room: Arc<Semaphore>,
}

impl Connection {
    pub(super) fn new(connection: quinn::Connection) -> Self {
        Self {
            inner: h3_quinn::Connection::new(connection),
            room: Arc::new(Semaphore::new(HELD_BYTES_MAX)),
        }
    }

    fn request(inner: h3_quinn::BidiStream<Bytes>, room: &Arc<Semaphore>) -> Request {
        let (send, recv) = quic::BidiStream::split(inner);
        Request {
            send: Send {
                inner: send,
                is_used: false,
            },
            recv: Recv {
                inner: recv,
                frames: Frames::of_request(Arc::clone(room)),
                is_reading: false,
                has_ended: false,
            },
        }
    }
}

impl quic::Connection<Bytes> for Connection {
    type RecvStream = Recv;
    type OpenStreams = Opener;

    fn poll_accept_recv(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Recv, ConnectionErrorIncoming>> {
        let inner = ready!(quic::Connection::<Bytes>::poll_accept_recv(
            &mut self.inner,
            cx
        ))?;
        Poll::Ready(Ok(Recv {
            inner,
            frames: Frames::of_one_way(Arc::clone(&self.room)),
            is_reading: false,
            has_ended: false,
        }))
    }

    fn poll_accept_bidi(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Request, ConnectionErrorIncoming>> {
        let inner = ready!(self.inner.poll_accept_bidi(cx))?;
        Poll::Ready(Ok(Self::request(inner, &self.room)))
    }

    fn opener(&self) -> Opener {
        Opener {
            inner: quic::Connection::<Bytes>::opener(&self.inner),
            room: Arc::clone(&self.room),
        }
    }
}

impl quic::OpenStreams<Bytes> for Connection {
    type BidiStream = Request;
    type SendStream = Send;

    fn poll_open_bidi(&mut self, cx: &mut Context<'_>) -> Poll<Result<Request>> {
        let inner = ready!(self.inner.poll_open_bidi(cx))?;
        Poll::Ready(Ok(Self::request(inner, &self.room)))
    }

    fn poll_open_send(&mut self, cx: &mut Context<'_>) -> Poll<Result<Send>> {
        let inner = ready!(self.inner.poll_open_send(cx))?;
        Poll::Ready(Ok(Send {
            inner,
            is_used: false,
        }))
    }

    fn close(&mut self, code: Code, reason: &[u8]) {
        quic::OpenStreams::<Bytes>::close(&mut self.inner, code, reason);
    }
}

/// Opens streams; a server of requests opens three, at the beginning.
pub(super) struct Opener {
    inner: h3_quinn::OpenStreams,
    room: Arc<Semaphore>,
}

impl quic::OpenStreams<Bytes> for Opener {
    type BidiStream = Request;
    type SendStream = Send;

    fn poll_open_bidi(&mut self, cx: &mut Context<'_>) -> Poll<Result<Request>> {
        let inner = ready!(self.inner.poll_open_bidi(cx))?;
        Poll::Ready(Ok(Connection::request(inner, &self.room)))
    }

    fn poll_open_send(&mut self, cx: &mut Context<'_>) -> Poll<Result<Send>> {
        let inner = ready!(self.inner.poll_open_send(cx))?;
        Poll::Ready(Ok(Send {
            inner,
            is_used: false,
        }))
    }

    fn close(&mut self, code: Code, reason: &[u8]) {
        quic::OpenStreams::<Bytes>::close(&mut self.inner, code, reason);
    }
}

/// A stream both ways: a request and its answer.
pub(super) struct Request {
    send: Send,
    recv: Recv,
}

impl quic::BidiStream<Bytes> for Request {
    type SendStream = Send;
    type RecvStream = Recv;

    fn split(self) -> (Send, Recv) {
        (self.send, self.recv)
    }
}

impl quic::RecvStream for Request {
    type Buf = Bytes;

    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>>> {
        let outcome = ready!(self.recv.poll_data(cx));
        if let Err(StreamErrorIncoming::Unknown(_)) = outcome {
            quic::SendStream::reset(&mut self.send, Code::H3_EXCESSIVE_LOAD.value());
        }
        Poll::Ready(outcome)
    }

    fn stop_sending(&mut self, code: u64) {
        self.recv.stop_sending(code);
    }

    fn recv_id(&self) -> StreamId {
        self.recv.recv_id()
    }
}

impl quic::SendStream<Bytes> for Request {
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        self.send.poll_ready(cx)
    }

    fn send_data<T: Into<WriteBuf<Bytes>>>(&mut self, data: T) -> Result<()> {
        self.send.send_data(data)
    }

    fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        self.send.poll_finish(cx)
    }

    fn reset(&mut self, code: u64) {
        self.send.reset(code);
    }

    fn send_id(&self) -> StreamId {
        self.send.send_id()
    }
}

/// The outgoing side. Dropped without a word said, it says that there is no
/// answer, instead of ending like an answer that is complete.
pub(super) struct Send {
    inner: h3_quinn::SendStream<Bytes>,
    is_used: bool,
}

impl quic::SendStream<Bytes> for Send {
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        self.inner.poll_ready(cx)
    }

    fn send_data<T: Into<WriteBuf<Bytes>>>(&mut self, data: T) -> Result<()> {
        self.is_used = true;
        self.inner.send_data(data)
    }

    fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        self.is_used = true;
        self.inner.poll_finish(cx)
    }

    fn reset(&mut self, code: u64) {
        self.is_used = true;
        self.inner.reset(code);
    }

    fn send_id(&self) -> StreamId {
        self.inner.send_id()
    }
}

impl Drop for Send {
    fn drop(&mut self) {
        if !self.is_used {
            quic::SendStream::reset(&mut self.inner, Code::H3_REQUEST_INCOMPLETE.value());
        }
    }
}

/// The incoming side.
pub(super) struct Recv {
    inner: h3_quinn::RecvStream,
    frames: Frames,
    /// Whether the stream below waits for bytes and must not be touched.
    is_reading: bool,
    has_ended: bool,
}

impl quic::RecvStream for Recv {
    type Buf = Bytes;

    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>>> {
        loop {
            match self.frames.next() {
                Ok(Some(bytes)) => return Poll::Ready(Ok(Some(bytes))),
                Ok(None) if self.has_ended => return Poll::Ready(Ok(None)),
                Ok(None) => {}
                Err(excessive) => {
                    self.stop_sending(Code::H3_EXCESSIVE_LOAD.value());
                    return Poll::Ready(Err(StreamErrorIncoming::Unknown(excessive.into())));
                }
            }
            self.is_reading = true;
            let read = ready!(self.inner.poll_data(cx));
            self.is_reading = false;
            match read? {
                Some(bytes) => self.frames.handle_bytes(bytes),
                None => {
                    self.has_ended = true;
                    return Poll::Ready(Ok(self.frames.end()));
                }
            }
        }
    }

    fn stop_sending(&mut self, code: u64) {
        // Dropped while it is read it is stopped as well, with the code 0.
        if !self.is_reading {
            self.inner.stop_sending(code);
        }
    }

    fn recv_id(&self) -> StreamId {
        self.inner.recv_id()
    }
}
