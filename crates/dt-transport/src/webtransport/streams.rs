//! The streams of a WebTransport session: QUIC's, with WebTransport's codes.

use std::sync::Arc;

use bytes::Bytes;
use futures::FutureExt as _;
use tokio_util::task::task_tracker::TaskTrackerToken;
use web_transport_proto::{error_from_http3, error_to_http3};

use super::session::End;
use crate::{RecvStream, SendStream, StreamError};

/// A code of the application in HTTP/3's code space.
pub(super) fn http3_code(code: u32) -> quinn::VarInt {
    // All of them are far below 2^62.
    quinn::VarInt::from_u64(error_to_http3(code)).unwrap_or(quinn::VarInt::MAX)
}

/// The application's code, 0 for one outside its space.
fn application_code(code: quinn::VarInt) -> u32 {
    error_from_http3(code.into_inner()).unwrap_or(0)
}

/// Sending half of a WebTransport stream.
#[derive(Debug)]
pub struct WebTransportSendStream {
    inner: quinn::SendStream,
    end: Arc<End>,
    /// While it is neither finished nor reset.
    open: Option<TaskTrackerToken>,
}

impl WebTransportSendStream {
    pub(super) fn new(inner: quinn::SendStream, end: Arc<End>) -> Self {
        let open = Some(end.open_stream());
        Self { inner, end, open }
    }

    /// Writes what precedes everything else; nothing of the application's
    /// overtakes it, whatever its priority.
    pub(super) async fn write_header(&mut self, header: &[u8]) -> Result<(), StreamError> {
        // Fails on a stream that is over, and then writing does too.
        let _ = self.inner.set_priority(i32::MAX);
        if let Err(error) = self.inner.write_all(header).await {
            return Err(self.failed(error).await);
        }
        let _ = self.inner.set_priority(0);
        Ok(())
    }

    async fn failed(&self, error: quinn::WriteError) -> StreamError {
        match error {
            quinn::WriteError::Stopped(code) => StreamError::Reset(application_code(code)),
            quinn::WriteError::ConnectionLost(_) => self.end.wait().await.into(),
            quinn::WriteError::ClosedStream | quinn::WriteError::ZeroRttRejected => {
                StreamError::Closed
            }
        }
    }
}

impl SendStream for WebTransportSendStream {
    async fn write_chunks(&mut self, chunks: &mut [Bytes]) -> Result<(), StreamError> {
        match self.inner.write_all_chunks(chunks).await {
            Ok(()) => Ok(()),
            Err(error) => Err(self.failed(error).await),
        }
    }

    fn try_write_chunks(&mut self, chunks: &mut [Bytes]) -> bool {
        let mut left = chunks;
        while !left.is_empty() {
            // The library takes what it can at the first look, or asks to be looked at
            // again, which whoever waits does.
            match self.inner.write_chunks(left).now_or_never() {
                Some(Ok(written)) => left = &mut left[written.chunks..],
                Some(Err(_)) | None => return false,
            }
        }
        true
    }

    fn set_priority(&mut self, priority: i32) {
        // Of no matter on a stream that is over.
        let _ = self.inner.set_priority(priority);
    }

    fn finish(&mut self) -> Result<(), StreamError> {
        if self.end.is_known() {
            // Too late for its end to arrive.
            self.reset(0);
        }
        let Some(_open) = self.open.take() else {
            return Err(StreamError::Closed);
        };
        self.inner.finish().map_err(|_| StreamError::Closed)
    }

    fn reset(&mut self, code: u32) {
        if let Some(_open) = self.open.take() {
            // Fails when the peer has stopped it, which is as good.
            let _ = self.inner.reset(http3_code(code));
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
    inner: quinn::RecvStream,
    end: Arc<End>,
}

impl WebTransportRecvStream {
    pub(super) const fn new(inner: quinn::RecvStream, end: Arc<End>) -> Self {
        Self { inner, end }
    }
}

impl RecvStream for WebTransportRecvStream {
    async fn read_chunk(&mut self, max_bytes: usize) -> Result<Option<Bytes>, StreamError> {
        match self.inner.read_chunk(max_bytes, true).await {
            Ok(chunk) => Ok(chunk.map(|chunk| chunk.bytes)),
            Err(quinn::ReadError::Reset(code)) => Err(StreamError::Reset(application_code(code))),
            Err(quinn::ReadError::ConnectionLost(_)) => Err(self.end.wait().await.into()),
            Err(
                quinn::ReadError::ClosedStream
                | quinn::ReadError::IllegalOrderedRead
                | quinn::ReadError::ZeroRttRejected,
            ) => Err(StreamError::Closed),
        }
    }

    fn stop(&mut self, code: u32) {
        // Fails when it was stopped or read to its end before.
        let _ = self.inner.stop(http3_code(code));
    }
}

impl Drop for WebTransportRecvStream {
    fn drop(&mut self) {
        self.stop(0);
    }
}
