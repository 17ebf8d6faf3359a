//! The bus of one process.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard},
};

use async_trait::async_trait;
use bytes::Bytes;

use super::{
    Bus, BusError, BusEvent, PAYLOAD_BYTES_MAX, Subscription, is_subject, subscription::Queue,
};

/// Messages kept for a subscriber that is busy. One that is further behind has
/// to look into the state store anyway.
const MESSAGES_MAX: usize = 1024;

/// The embedded [`Bus`].
#[derive(Clone, Default)]
pub struct MemoryBus {
    audience: Arc<Audience>,
}

#[derive(Default)]
struct Audience {
    listeners: Mutex<Listeners>,
    messages_max: Option<usize>,
}

#[derive(Default)]
struct Listeners {
    next_id: u64,
    /// By exact subject.
    exact: HashMap<String, Vec<Listener>>,
    /// With what a subject must begin with, the last dot included.
    beginning: Vec<(String, Listener)>,
}

struct Listener {
    id: u64,
    queue: Arc<Queue>,
}

impl Audience {
    fn lock(&self) -> MutexGuard<'_, Listeners> {
        // Nothing in here can panic half way.
        self.listeners.lock().unwrap_or_else(|e| e.into_inner())
    }
}

impl Listeners {
    fn leave(&mut self, subject: &str, id: u64) {
        if let Some(listeners) = self.exact.get_mut(subject) {
            listeners.retain(|l| l.id != id);
            if listeners.is_empty() {
                self.exact.remove(subject);
            }
        }
        self.beginning.retain(|(_, l)| l.id != id);
    }
}

impl MemoryBus {
    /// A bus with nobody on it.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A bus that keeps at most this many messages for a busy subscriber.
    #[must_use]
    pub fn with_messages_max(messages_max: usize) -> Self {
        let messages_max = Some(messages_max.max(1));
        let audience = Audience {
            listeners: Mutex::default(),
            messages_max,
        };
        Self {
            audience: Arc::new(audience),
        }
    }
}

#[async_trait]
impl Bus for MemoryBus {
    async fn publish(&self, subject: &str, payload: Bytes) -> Result<(), BusError> {
        if !is_subject(subject) {
            return Err(BusError::InvalidSubject);
        }
        if payload.len() > PAYLOAD_BYTES_MAX {
            return Err(BusError::TooLong);
        }
        let listeners = self.audience.lock();
        let exact = listeners.exact.get(subject).into_iter().flatten();
        let beginning = listeners
            .beginning
            .iter()
            .filter(|(start, _)| subject.starts_with(start.as_str()))
            .map(|(_, listener)| listener);
        for listener in exact.chain(beginning) {
            listener.queue.push(BusEvent::Message {
                subject: subject.to_owned(),
                payload: payload.clone(),
            });
        }
        Ok(())
    }

    async fn subscribe(&self, subject: &str) -> Result<Subscription, BusError> {
        let beginning = subject.strip_suffix('>');
        // `>` alone listens to everything; `a.>` to what begins with `a.`.
        let valid = match beginning {
            Some("") => true,
            Some(start) => start.strip_suffix('.').is_some_and(is_subject),
            None => is_subject(subject),
        };
        if !valid {
            return Err(BusError::InvalidSubject);
        }
        let queue = Queue::new(self.audience.messages_max.unwrap_or(MESSAGES_MAX));
        let mut listeners = self.audience.lock();
        let id = listeners.next_id;
        listeners.next_id += 1;
        let listener = Listener {
            id,
            queue: Arc::clone(&queue),
        };
        match beginning {
            Some(start) => listeners.beginning.push((start.to_owned(), listener)),
            None => listeners
                .exact
                .entry(subject.to_owned())
                .or_default()
                .push(listener),
        }
        drop(listeners);
        let (audience, subject) = (Arc::downgrade(&self.audience), subject.to_owned());
        Ok(Subscription::new(queue, move || {
            if let Some(audience) = audience.upgrade() {
                audience.lock().leave(&subject, id);
            }
        }))
    }
}

impl Drop for Audience {
    fn drop(&mut self) {
        let listeners = self.lock();
        let exact = listeners.exact.values().flatten();
        for listener in exact.chain(listeners.beginning.iter().map(|(_, l)| l)) {
            listener.queue.close();
        }
    }
}

impl std::fmt::Debug for MemoryBus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MemoryBus")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract;

    #[tokio::test]
    async fn the_memory_bus_keeps_the_contract() {
        contract::bus::check(|| async { MemoryBus::new() }).await;
    }

    #[tokio::test]
    async fn a_slow_subscriber_loses_the_oldest_and_is_told() {
        let bus = MemoryBus::with_messages_max(2);
        let mut slow = bus.subscribe("a").await.unwrap();
        for number in 0..5u8 {
            bus.publish("a", Bytes::copy_from_slice(&[number]))
                .await
                .unwrap();
        }
        assert_eq!(slow.next().await, Some(BusEvent::Lagged(3)));
        for number in [3, 4] {
            let Some(BusEvent::Message { payload, .. }) = slow.next().await else {
                panic!("the newest two are kept");
            };
            assert_eq!(payload[..], [number]);
        }
    }

    #[tokio::test]
    async fn who_leaves_is_forgotten() {
        let bus = MemoryBus::new();
        drop((
            bus.subscribe("a").await.unwrap(),
            bus.subscribe("a.>").await.unwrap(),
        ));
        let listeners = bus.audience.lock();
        assert!(listeners.exact.is_empty() && listeners.beginning.is_empty());
    }

    #[tokio::test]
    async fn the_end_of_the_bus_ends_its_subscriptions() {
        let bus = MemoryBus::new();
        let mut subscription = bus.subscribe("a").await.unwrap();
        drop(bus);
        assert_eq!(subscription.next().await, None);
    }
}
