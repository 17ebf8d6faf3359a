//! The sending half of a reliable stream: a bounded queue, and the task that
//! writes as much of it at once as there is.

use std::sync::{Arc, Mutex};

use bytes::{Bytes, BytesMut};
use tokio::{sync::Notify, time::Instant};
use tokio_util::sync::CancellationToken;

use super::{
    SendError,
    metrics::{Meter, lock},
    wire::{FRAME_PREFIX_BYTES_MAX, write_frame_prefix},
};
use crate::{SendStream, SessionError, StreamError};

/// Messages up to here are copied next to each other; one larger is written as
/// it is. A copy of so little costs less than a piece more to write.
const COPIED_BYTES_MAX: usize = 2048;

#[derive(Debug)]
pub(super) struct Writer {
    queue: Mutex<Queue>,
    /// There is something to write, or to end.
    work: Notify,
    /// There is room again, or the end.
    room: Notify,
    pub(super) meter: Arc<Meter>,
    queue_bytes_max: usize,
}

#[derive(Debug, Default)]
struct Queue {
    chunks: Vec<Bytes>,
    tail: BytesMut,
    bytes: usize,
    oldest: Option<Instant>,
    wish: Wish,
    /// Set once the stream is finished or can't be written any more.
    over: Option<Result<(), SendError>>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Wish {
    #[default]
    GoOn,
    Finish,
    Reset(u32),
}

impl Queue {
    fn push(&mut self, message: Bytes) {
        self.bytes += message.len() + FRAME_PREFIX_BYTES_MAX;
        write_frame_prefix(&mut self.tail, message.len());
        if message.len() <= COPIED_BYTES_MAX {
            self.tail.extend_from_slice(&message);
        } else {
            self.chunks.push(self.tail.split().freeze());
            self.chunks.push(message);
        }
    }

    fn take(&mut self) -> Vec<Bytes> {
        if !self.tail.is_empty() {
            self.chunks.push(self.tail.split().freeze());
        }
        self.bytes = 0;
        std::mem::take(&mut self.chunks)
    }
}

impl Writer {
    /// `header` goes out with the first messages, or alone.
    pub(super) fn new(meter: Arc<Meter>, queue_bytes_max: usize, header: &[u8]) -> Self {
        let queue = Queue {
            tail: BytesMut::from(header),
            ..Queue::default()
        };
        Self {
            queue: Mutex::new(queue),
            work: Notify::new(),
            room: Notify::new(),
            meter,
            queue_bytes_max,
        }
    }

    /// `Full` when there is no room now.
    pub(super) fn try_send(&self, message: &Bytes) -> Result<(), SendError> {
        let mut queue = lock(&self.queue);
        if let Some(over) = &queue.over {
            // Whoever can send has not finished.
            return Err(over.clone().err().unwrap_or(SendError::Full));
        }
        if queue.bytes > 0 && queue.bytes + message.len() > self.queue_bytes_max {
            return Err(SendError::Full);
        }
        let first = queue.bytes == 0;
        queue.push(message.clone());
        if first {
            queue.oldest = Some(Instant::now());
            *lock(&self.meter.queue) = (queue.bytes, queue.oldest);
            self.work.notify_one();
        }
        drop(queue);
        self.meter.sent(message.len());
        Ok(())
    }

    pub(super) async fn send(&self, message: Bytes) -> Result<(), SendError> {
        loop {
            let room = self.room.notified();
            match self.try_send(&message) {
                Err(SendError::Full) => room.await,
                result => return result,
            }
        }
    }

    pub(super) async fn finish(&self) -> Result<(), SendError> {
        self.wish(Wish::Finish);
        loop {
            let room = self.room.notified();
            if let Some(over) = lock(&self.queue).over.clone() {
                return over;
            }
            room.await;
        }
    }

    pub(super) fn reset(&self, code: u32) {
        self.wish(Wish::Reset(code));
    }

    fn wish(&self, wish: Wish) {
        let mut queue = lock(&self.queue);
        // The first reset counts: dropping the sender is one more.
        if !matches!(queue.wish, Wish::Reset(_)) {
            queue.wish = wish;
        }
        drop(queue);
        self.work.notify_one();
    }

    fn end(&self, over: Result<(), SendError>) {
        let mut queue = lock(&self.queue);
        queue.over.get_or_insert(over);
        queue.take();
        drop(queue);
        *lock(&self.meter.queue) = (0, None);
        self.room.notify_waiters();
    }

    /// Writes until the end. The task of a stream; `stop` ends it at once.
    pub(super) async fn run(self: Arc<Self>, stream: impl SendStream, stop: CancellationToken) {
        tokio::select! {
            () = self.write(stream) => {}
            () = stop.cancelled() => {
                self.end(Err(SendError::Session(SessionError::ClosedLocally)));
            }
        }
    }

    async fn write(&self, mut stream: impl SendStream) {
        loop {
            let work = self.work.notified();
            let (mut chunks, wish) = {
                let mut queue = lock(&self.queue);
                (queue.take(), queue.wish)
            };
            if let Wish::Reset(code) = wish {
                stream.reset(code);
                return self.end(Err(SendError::Stream(StreamError::Closed)));
            }
            if chunks.is_empty() {
                if wish == Wish::Finish {
                    let finished = stream.finish().map_err(SendError::of_stream);
                    return self.end(finished);
                }
                work.await;
                continue;
            }
            self.room.notify_waiters();
            let written = {
                let mut writing = std::pin::pin!(stream.write_chunks(&mut chunks));
                loop {
                    tokio::select! {
                        written = &mut writing => break Some(written),
                        // A message more, or a wish that can't wait.
                        () = self.work.notified() => {
                            if matches!(lock(&self.queue).wish, Wish::Reset(_)) {
                                break None;
                            }
                        }
                    }
                }
            };
            match written {
                Some(Ok(())) => self.note_written(),
                Some(Err(error)) => return self.end(Err(SendError::of_stream(error))),
                None => {}
            }
        }
    }

    /// What is queued now came while the last was written.
    fn note_written(&self) {
        let queue = lock(&self.queue);
        let oldest = if queue.bytes > 0 { queue.oldest } else { None };
        *lock(&self.meter.queue) = (queue.bytes, oldest);
    }
}
