//! What was received on one stream and not read yet.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use dt_transport::StreamError;
use tokio::sync::Notify;

/// A stream's buffer, between the task that reads the socket and the stream's
/// reader.
#[derive(Debug)]
pub(crate) struct Pipe {
    state: Mutex<State>,
    /// Told when there is something to read.
    readable: Notify,
    /// Told when something was read.
    drained: Notify,
    /// Bytes in all pipes that share the bound.
    all_bytes: Arc<AtomicUsize>,
}

#[derive(Debug, Default)]
struct State {
    chunks: VecDeque<Bytes>,
    bytes: usize,
    /// How it ends once it is read to its end.
    end: Option<Result<(), StreamError>>,
    /// Whoever read it wants no more.
    stopped: bool,
}

impl Pipe {
    pub(crate) fn new(all_bytes: Arc<AtomicUsize>) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::default(),
            readable: Notify::new(),
            drained: Notify::new(),
            all_bytes,
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // What a panic elsewhere left is consistent at every point.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Appends a chunk unless that makes more than `bytes_max` here or `all_max`
    /// everywhere; into an empty one the chunk goes in any case. Whoever wants no
    /// more gets no more.
    pub(crate) fn push(&self, chunk: Bytes, bytes_max: usize, all_max: usize) -> bool {
        let mut state = self.lock();
        if state.stopped || state.end.is_some() {
            return true;
        }
        let bytes = chunk.len();
        let too_much = state.bytes + bytes > bytes_max
            || self.all_bytes.load(Ordering::Relaxed) + bytes > all_max;
        if too_much && state.bytes > 0 {
            return false;
        }
        state.bytes += bytes;
        self.all_bytes.fetch_add(bytes, Ordering::Relaxed);
        state.chunks.push_back(chunk);
        self.readable.notify_one();
        true
    }

    /// As [`push`](Self::push), waiting for room.
    pub(crate) async fn push_waiting(&self, chunk: Bytes, bytes_max: usize) {
        while !self.push(chunk.clone(), bytes_max, usize::MAX) {
            self.drained.notified().await;
        }
    }

    /// Nothing follows; what is here can be read still. Only the first counts.
    pub(crate) fn end(&self, end: Result<(), StreamError>) {
        let mut state = self.lock();
        state.end.get_or_insert(end);
        self.readable.notify_one();
    }

    /// Nothing follows, and what is here is dropped.
    pub(crate) fn give_up(&self, error: StreamError) {
        let mut state = self.lock();
        self.clear(&mut state);
        state.end = Some(Err(error));
        self.readable.notify_one();
    }

    /// The reader wants no more.
    pub(crate) fn stop(&self) {
        let mut state = self.lock();
        self.clear(&mut state);
        state.stopped = true;
        self.drained.notify_one();
    }

    fn clear(&self, state: &mut State) {
        state.chunks.clear();
        self.all_bytes.fetch_sub(state.bytes, Ordering::Relaxed);
        state.bytes = 0;
    }

    /// The next bytes, `None` at the end. Cancel-safe.
    pub(crate) async fn read(&self, max_bytes: usize) -> Result<Option<Bytes>, StreamError> {
        loop {
            if let Some(read) = self.try_read(max_bytes) {
                return read;
            }
            self.readable.notified().await;
        }
    }

    fn try_read(&self, max_bytes: usize) -> Option<Result<Option<Bytes>, StreamError>> {
        let mut state = self.lock();
        let Some(front) = state.chunks.front_mut() else {
            if state.stopped {
                return Some(Err(StreamError::Closed));
            }
            let end = state.end.clone()?;
            return Some(end.map(|()| None));
        };
        let whole = front.len() <= max_bytes;
        let chunk = if whole {
            state.chunks.pop_front().unwrap_or_default()
        } else {
            front.split_to(max_bytes)
        };
        state.bytes -= chunk.len();
        self.all_bytes.fetch_sub(chunk.len(), Ordering::Relaxed);
        self.drained.notify_one();
        Some(Ok(Some(chunk)))
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        let mut state = self.lock();
        let bytes = std::mem::take(&mut state.bytes);
        drop(state);
        self.all_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }
}
