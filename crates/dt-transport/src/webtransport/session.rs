//! A WebTransport session and its streams, as the [`Session`] trait wants them.
//!
//! What the crate below leaves to chance is settled here: who closed, streams
//! that are dropped unfinished, datagrams of a session that is not ours.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use bytes::Bytes;
use tokio_util::sync::CancellationToken;
use web_transport_quinn as wt;

use super::H3_NO_ERROR;
use crate::{PathStats, RecvStream, SendStream, Session, SessionError, SessionInfo, StreamError};

/// Bytes of a close reason at most (the capsule's own limit).
const REASON_BYTES_MAX: usize = 1024;

/// A WebTransport session, of a browser or of a [`Connector`](super::Connector).
#[derive(Debug, Clone)]
pub struct WebTransportSession {
    inner: wt::Session,
    handle: Arc<Handle>,
    info: Arc<SessionInfo>,
}

/// Shared by all clones; closes the session when the last of them goes.
#[derive(Debug)]
struct Handle {
    session: wt::Session,
    closing: CancellationToken,
}

impl Handle {
    fn close(&self, code: u32, reason: &str) {
        if self.closing.is_cancelled() {
            return;
        }
        self.closing.cancel();
        self.session.close(code, shortened(reason).as_bytes());
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

impl Drop for Handle {
    fn drop(&mut self) {
        self.close(0, "");
    }
}

impl WebTransportSession {
    pub(super) fn new(inner: wt::Session, info: SessionInfo) -> Self {
        Self {
            handle: Arc::new(Handle {
                session: inner.clone(),
                closing: CancellationToken::new(),
            }),
            inner,
            info: Arc::new(info),
        }
    }

    /// The work's result, or the end of the session when this side closes it.
    async fn unless_closing<T>(
        &self,
        work: impl Future<Output = Result<T, wt::SessionError>>,
    ) -> Result<T, SessionError> {
        tokio::select! {
            biased;
            () = self.handle.closing.cancelled() => Err(SessionError::ClosedLocally),
            result = work => result.map_err(|error| self.ended(error)),
        }
    }

    fn ended(&self, error: wt::SessionError) -> SessionError {
        if self.handle.closing.is_cancelled() {
            return SessionError::ClosedLocally;
        }
        session_error(error)
    }
}

impl Session for WebTransportSession {
    type Send = WebTransportSendStream;
    type Recv = WebTransportRecvStream;

    async fn open_bi(&self) -> Result<(Self::Send, Self::Recv), SessionError> {
        let (send, recv) = self.unless_closing(self.inner.open_bi()).await?;
        Ok((send.into(), recv.into()))
    }

    async fn accept_bi(&self) -> Result<(Self::Send, Self::Recv), SessionError> {
        let (send, recv) = self.unless_closing(self.inner.accept_bi()).await?;
        Ok((send.into(), recv.into()))
    }

    async fn open_uni(&self) -> Result<Self::Send, SessionError> {
        Ok(self.unless_closing(self.inner.open_uni()).await?.into())
    }

    async fn accept_uni(&self) -> Result<Self::Recv, SessionError> {
        Ok(self.unless_closing(self.inner.accept_uni()).await?.into())
    }

    fn send_datagram(&self, datagram: Bytes) -> Result<(), SessionError> {
        if self.handle.closing.is_cancelled() {
            return Err(SessionError::ClosedLocally);
        }
        let bytes = datagram.len();
        self.inner.send_datagram(datagram).map_err(|error| {
            if let wt::SessionError::SendDatagramError(
                quinn::SendDatagramError::TooLarge
                | quinn::SendDatagramError::Disabled
                | quinn::SendDatagramError::UnsupportedByPeer,
            ) = error
            {
                let limit = self.max_datagram_bytes();
                return SessionError::DatagramTooLarge { bytes, limit };
            }
            self.ended(error)
        })
    }

    async fn recv_datagram(&self) -> Result<Bytes, SessionError> {
        loop {
            let datagram = tokio::select! {
                biased;
                () = self.handle.closing.cancelled() => return Err(SessionError::ClosedLocally),
                result = self.inner.read_datagram() => result,
            };
            match datagram {
                // There is one session a connection: it is for none we know.
                Err(wt::SessionError::WebTransportError(wt::WebTransportError::UnknownSession)) => {
                }
                result => return result.map_err(|error| self.ended(error)),
            }
        }
    }

    fn max_datagram_bytes(&self) -> usize {
        self.inner.max_datagram_size()
    }

    fn path_stats(&self) -> PathStats {
        let connection: &quinn::Connection = &self.inner;
        let path = connection.stats().path;
        PathStats {
            rtt: connection.rtt(),
            lost_packets: path.lost_packets,
            sent_packets: path.sent_packets,
            congestion_window_bytes: path.cwnd,
        }
    }

    fn info(&self) -> Arc<SessionInfo> {
        Arc::clone(&self.info)
    }

    fn close(&self, code: u32, reason: &str) {
        self.handle.close(code, reason);
    }

    /// After [`close`](Session::close) it waits until the peer was told, a
    /// fraction of a second at most.
    async fn closed(&self) -> SessionError {
        let error = self.inner.closed().await;
        self.ended(error)
    }
}

fn session_error(error: wt::SessionError) -> SessionError {
    match error {
        wt::SessionError::WebTransportError(wt::WebTransportError::Closed(code, reason)) => {
            SessionError::ClosedByPeer { code, reason }
        }
        wt::SessionError::ConnectionError(error)
        | wt::SessionError::SendDatagramError(quinn::SendDatagramError::ConnectionLost(error)) => {
            connection_error(error)
        }
        other => SessionError::Lost(other.to_string()),
    }
}

pub(super) fn connection_error(error: quinn::ConnectionError) -> SessionError {
    match error {
        // Ours is known by `closing`; this one is how the crate below notes that
        // the peer ended the session's stream without a word.
        quinn::ConnectionError::LocallyClosed => SessionError::ClosedByPeer {
            code: 0,
            reason: String::new(),
        },
        // A browser whose page goes away.
        quinn::ConnectionError::ApplicationClosed(close) if close.error_code == H3_NO_ERROR => {
            SessionError::ClosedByPeer {
                code: 0,
                reason: String::from_utf8_lossy(&close.reason).into_owned(),
            }
        }
        quinn::ConnectionError::TimedOut => SessionError::TimedOut,
        other => SessionError::Lost(other.to_string()),
    }
}

/// Sending half of a WebTransport stream.
#[derive(Debug)]
pub struct WebTransportSendStream {
    inner: wt::SendStream,
    over: AtomicBool,
}

impl From<wt::SendStream> for WebTransportSendStream {
    fn from(inner: wt::SendStream) -> Self {
        Self {
            inner,
            over: AtomicBool::new(false),
        }
    }
}

impl SendStream for WebTransportSendStream {
    async fn write_chunks(&mut self, chunks: &mut [Bytes]) -> Result<(), StreamError> {
        self.inner
            .write_all_chunks(chunks)
            .await
            .map_err(|error| match error {
                wt::WriteError::Stopped(code) => StreamError::Reset(code),
                // Stopped with a code outside WebTransport's range.
                wt::WriteError::InvalidStopped(_) => StreamError::Reset(0),
                wt::WriteError::SessionError(error) => session_error(error).into(),
                wt::WriteError::ClosedStream => StreamError::Closed,
            })
    }

    fn set_priority(&mut self, priority: i32) {
        // Of no matter on a stream that is over.
        let _ = self.inner.set_priority(priority);
    }

    fn finish(&mut self) -> Result<(), StreamError> {
        if self.over.swap(true, Ordering::Relaxed) {
            return Err(StreamError::Closed);
        }
        self.inner.finish().map_err(|_| StreamError::Closed)
    }

    fn reset(&mut self, code: u32) {
        if !self.over.swap(true, Ordering::Relaxed) {
            // Fails when the peer has stopped it, which is as good.
            let _ = self.inner.reset(code);
        }
    }
}

impl Drop for WebTransportSendStream {
    fn drop(&mut self) {
        self.reset(0);
    }
}

/// Receiving half of a WebTransport stream.
#[derive(Debug)]
pub struct WebTransportRecvStream {
    inner: wt::RecvStream,
}

impl From<wt::RecvStream> for WebTransportRecvStream {
    fn from(inner: wt::RecvStream) -> Self {
        Self { inner }
    }
}

impl RecvStream for WebTransportRecvStream {
    async fn read_chunk(&mut self, max_bytes: usize) -> Result<Option<Bytes>, StreamError> {
        match self.inner.read_chunk(max_bytes, true).await {
            Ok(chunk) => Ok(chunk.map(|chunk| chunk.bytes)),
            Err(wt::ReadError::Reset(code)) => Err(StreamError::Reset(code)),
            // Reset with a code outside WebTransport's range.
            Err(wt::ReadError::InvalidReset(_)) => Err(StreamError::Reset(0)),
            Err(wt::ReadError::SessionError(error)) => Err(session_error(error).into()),
            Err(wt::ReadError::ClosedStream | wt::ReadError::IllegalOrderedRead) => {
                Err(StreamError::Closed)
            }
        }
    }

    fn stop(&mut self, code: u32) {
        // Fails when it was stopped or read to its end before.
        let _ = self.inner.stop(code);
    }
}
