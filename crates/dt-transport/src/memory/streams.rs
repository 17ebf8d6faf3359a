//! The two halves of a stream of the in-memory connection.

use bytes::Bytes;
use tokio::time::Instant;

use super::{At, Step};
use crate::{RecvStream, SendStream, StreamError};

/// Sending half of an in-memory stream.
#[derive(Debug)]
pub struct MemorySendStream {
    at: At,
    pipe: u64,
    priority: i32,
    over: bool,
}

impl MemorySendStream {
    pub(super) fn new(at: At, pipe: u64) -> Self {
        Self {
            at,
            pipe,
            priority: 0,
            over: false,
        }
    }

    /// What [`set_priority`](SendStream::set_priority) said last. This link has
    /// no bandwidth limit, so nothing is held back by it.
    #[must_use]
    pub fn priority(&self) -> i32 {
        self.priority
    }

    fn end(&mut self, code: Option<u32>) {
        self.over = true;
        self.at.lock().end_writing(self.pipe, code, Instant::now());
        self.at.wake_both();
    }
}

impl SendStream for MemorySendStream {
    async fn write_chunks(&mut self, chunks: &mut [Bytes]) -> Result<(), StreamError> {
        if self.over {
            return Err(StreamError::Closed);
        }
        for chunk in chunks {
            self.at
                .until(|link, now| {
                    let before = chunk.len();
                    let step = link.write(self.at.side, self.pipe, chunk, now);
                    if chunk.len() < before {
                        self.at.shared.wake[1 - self.at.side].notify_waiters();
                    }
                    step
                })
                .await?;
        }
        Ok(())
    }

    fn set_priority(&mut self, priority: i32) {
        self.priority = priority;
    }

    fn finish(&mut self) -> Result<(), StreamError> {
        if self.over {
            return Err(StreamError::Closed);
        }
        self.end(None);
        Ok(())
    }

    fn reset(&mut self, code: u32) {
        if !self.over {
            self.end(Some(code));
        }
    }
}

impl Drop for MemorySendStream {
    fn drop(&mut self) {
        self.reset(0);
    }
}

/// Receiving half of an in-memory stream.
#[derive(Debug)]
pub struct MemoryRecvStream {
    at: At,
    pipe: u64,
    /// Set once the end was seen or the stream was stopped; what every later
    /// read answers.
    over: Option<Result<(), StreamError>>,
}

impl MemoryRecvStream {
    pub(super) fn new(at: At, pipe: u64) -> Self {
        Self {
            at,
            pipe,
            over: None,
        }
    }

    fn end(&mut self, over: Result<(), StreamError>, stop: Option<u32>) {
        self.over = Some(over);
        self.at.lock().end_reading(self.pipe, stop, Instant::now());
        self.at.wake_both();
    }
}

impl RecvStream for MemoryRecvStream {
    async fn read_chunk(&mut self, max_bytes: usize) -> Result<Option<Bytes>, StreamError> {
        if let Some(over) = &self.over {
            return over.clone().map(|()| None);
        }
        let (side, pipe) = (self.at.side, self.pipe);
        let read = self
            .at
            .until(|link, now| -> Step<Result<Option<Bytes>, StreamError>> {
                link.read(side, pipe, max_bytes, now)
            })
            .await;
        match &read {
            Ok(Some(_)) => {}
            Ok(None) => self.end(Ok(()), None),
            Err(error) => self.end(Err(error.clone()), None),
        }
        read
    }

    fn stop(&mut self, code: u32) {
        if self.over.is_none() {
            self.end(Err(StreamError::Closed), Some(code));
        }
    }
}

impl Drop for MemoryRecvStream {
    fn drop(&mut self) {
        self.stop(0);
    }
}
