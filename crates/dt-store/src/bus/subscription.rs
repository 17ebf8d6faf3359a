//! What a subscriber holds: a bounded queue that forgets its oldest message
//! rather than stop the publisher.

use std::{
    collections::VecDeque,
    fmt,
    sync::{Arc, Mutex, MutexGuard},
};

use tokio::sync::Notify;

use super::BusEvent;

/// The queue between a bus and one subscriber.
pub(super) struct Queue {
    state: Mutex<State>,
    changed: Notify,
    /// When full, the oldest message goes and the subscriber is told.
    messages_max: usize,
}

#[derive(Default)]
struct State {
    messages: VecDeque<BusEvent>,
    /// Lost since the subscriber was told last.
    lost: u64,
    closed: bool,
}

impl Queue {
    pub(super) fn new(messages_max: usize) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::default(),
            changed: Notify::new(),
            messages_max,
        })
    }

    pub(super) fn push(&self, message: BusEvent) {
        let mut state = self.lock();
        if state.messages.len() >= self.messages_max {
            state.messages.pop_front();
            state.lost += 1;
        }
        state.messages.push_back(message);
        drop(state);
        self.changed.notify_one();
    }

    /// No more messages will come.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing in here can panic half way.
        self.state.lock().unwrap_or_else(|e| e.into_inner())
    }
}

/// A place in the audience of a subject; dropping it leaves.
pub struct Subscription {
    queue: Arc<Queue>,
    leave: Option<Box<dyn FnOnce() + Send + Sync>>,
}

impl Subscription {
    pub(super) fn new(queue: Arc<Queue>, leave: impl FnOnce() + Send + Sync + 'static) -> Self {
        Self {
            queue,
            leave: Some(Box::new(leave)),
        }
    }

    /// The next event; waits for one. `None` when the bus is gone. Nothing is
    /// lost if the future is dropped.
    pub async fn next(&mut self) -> Option<BusEvent> {
        loop {
            // Only this subscriber waits, and a notification that comes before
            // the wait is kept, so that none is missed.
            {
                let mut state = self.queue.lock();
                if state.lost > 0 {
                    return Some(BusEvent::Lagged(std::mem::take(&mut state.lost)));
                }
                if let Some(message) = state.messages.pop_front() {
                    return Some(message);
                }
                if state.closed {
                    return None;
                }
            }
            self.queue.changed.notified().await;
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        if let Some(leave) = self.leave.take() {
            leave();
        }
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Subscription")
    }
}
