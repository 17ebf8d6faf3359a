//! The state store of one process.
//!
//! One lock around three maps: every operation is short, and none waits inside.
//! What has run out is removed by whatever operation comes next, so that memory
//! is bounded by what lives, and that by the limits here.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;

use super::{
    AcquireError, Clock, Counter, FencedError, KEY_BYTES_MAX, Lease, LeaseHolder, RenewError,
    StateError, StateStore, SystemClock, VALUE_BYTES_MAX,
};

/// Values, counters and leases together; a further one is refused.
const ENTRIES_MAX: usize = 1_000_000;
/// Bytes of all keys and values; a further one is refused.
const BYTES_MAX: usize = 256 * 1024 * 1024;

/// The embedded [`StateStore`].
pub struct MemoryState {
    clock: Arc<dyn Clock>,
    maps: Mutex<Maps>,
}

#[derive(Default)]
struct Maps {
    /// Ordered, for `list`.
    values: BTreeMap<String, Value>,
    counters: HashMap<String, Count>,
    leases: HashMap<String, Held>,
    /// When each entry that ends may be forgotten.
    ends: BTreeSet<(u64, Space, String)>,
    bytes: usize,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Space {
    Value,
    Counter,
    Lease,
}

struct Value {
    bytes: Bytes,
    ends_at: Option<u64>,
}

struct Count {
    value: u64,
    ends_at: u64,
}

struct Held {
    owner: String,
    generation: u64,
    ends_at: u64,
}

impl Held {
    /// When it may be forgotten: it has ended, and the clock alone gives a
    /// greater generation.
    fn forgotten_at(&self) -> u64 {
        self.ends_at.max(self.generation.saturating_add(1))
    }
}

impl Default for MemoryState {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryState {
    /// An empty store on the system's clock.
    #[must_use]
    pub fn new() -> Self {
        Self::with_clock(Arc::new(SystemClock::default()))
    }

    /// An empty store on another clock.
    #[must_use]
    pub fn with_clock(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            maps: Mutex::default(),
        }
    }

    /// The maps without what has run out, and the time in milliseconds.
    fn lock(&self) -> (MutexGuard<'_, Maps>, u64) {
        // Nothing in here can panic half way.
        let mut maps = self.maps.lock().unwrap_or_else(|e| e.into_inner());
        let now = self.clock.now_ms();
        maps.remove_ended(now);
        (maps, now)
    }
}

impl Maps {
    fn remove_ended(&mut self, now: u64) {
        while let Some(first) = self.ends.first() {
            if first.0 > now {
                break;
            }
            let Some((_, space, name)) = self.ends.pop_first() else {
                break;
            };
            match space {
                Space::Value => {
                    if self
                        .values
                        .get(&name)
                        .is_some_and(|v| ended(v.ends_at, now))
                    {
                        self.remove_value(&name);
                    }
                }
                Space::Counter => {
                    if self.counters.get(&name).is_some_and(|c| c.ends_at <= now) {
                        self.counters.remove(&name);
                        self.bytes -= name.len();
                    }
                }
                Space::Lease => {
                    if self
                        .leases
                        .get(&name)
                        .is_some_and(|l| l.forgotten_at() <= now)
                    {
                        self.leases.remove(&name);
                        self.bytes -= name.len();
                    }
                }
            }
        }
    }

    fn check_room(&self, bytes: usize) -> Result<(), StateError> {
        let entries = self.values.len() + self.counters.len() + self.leases.len();
        if entries >= ENTRIES_MAX || self.bytes.saturating_add(bytes) > BYTES_MAX {
            return Err(StateError::Full);
        }
        Ok(())
    }

    fn put(
        &mut self,
        key: &str,
        bytes: Bytes,
        ttl: Option<Duration>,
        now: u64,
    ) -> Result<(), StateError> {
        if bytes.len() > VALUE_BYTES_MAX {
            return Err(StateError::TooLong);
        }
        check_name(key)?;
        if !self.values.contains_key(key) {
            self.check_room(key.len() + bytes.len())?;
        } else if self.bytes.saturating_add(bytes.len()) > BYTES_MAX {
            return Err(StateError::Full);
        }
        self.remove_value(key);
        let ends_at = ttl.map(|ttl| end(now, ttl));
        if let Some(ends_at) = ends_at {
            self.ends.insert((ends_at, Space::Value, key.to_owned()));
        }
        self.bytes += key.len() + bytes.len();
        self.values.insert(key.to_owned(), Value { bytes, ends_at });
        Ok(())
    }

    fn remove_value(&mut self, key: &str) -> bool {
        let Some(old) = self.values.remove(key) else {
            return false;
        };
        self.bytes -= key.len() + old.bytes.len();
        if let Some(ends_at) = old.ends_at {
            self.ends.remove(&(ends_at, Space::Value, key.to_owned()));
        }
        true
    }

    /// The lease of this name that has not run out.
    fn held(&self, name: &str, now: u64) -> Option<&Held> {
        self.leases.get(name).filter(|held| held.ends_at > now)
    }

    fn is_held(&self, lease: &Lease, now: u64) -> bool {
        self.held(&lease.name, now)
            .is_some_and(|held| held.generation == lease.generation && held.owner == lease.owner)
    }

    fn set_lease(&mut self, name: &str, held: Held) {
        let forgotten_at = held.forgotten_at();
        match self.leases.insert(name.to_owned(), held) {
            Some(old) => {
                self.ends
                    .remove(&(old.forgotten_at(), Space::Lease, name.to_owned()));
            }
            None => self.bytes += name.len(),
        }
        self.ends
            .insert((forgotten_at, Space::Lease, name.to_owned()));
    }
}

fn check_name(name: &str) -> Result<(), StateError> {
    if name.len() > KEY_BYTES_MAX {
        Err(StateError::TooLong)
    } else {
        Ok(())
    }
}

fn ended(ends_at: Option<u64>, now: u64) -> bool {
    ends_at.is_some_and(|end| end <= now)
}

fn end(now: u64, ttl: Duration) -> u64 {
    now.saturating_add(u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX))
}

fn left(ends_at: u64, now: u64) -> Duration {
    Duration::from_millis(ends_at.saturating_sub(now))
}

#[async_trait]
impl StateStore for MemoryState {
    async fn get(&self, key: &str) -> Result<Option<Bytes>, StateError> {
        Ok(self.lock().0.values.get(key).map(|v| v.bytes.clone()))
    }

    async fn put(&self, key: &str, value: Bytes, ttl: Option<Duration>) -> Result<(), StateError> {
        let (mut maps, now) = self.lock();
        maps.put(key, value, ttl, now)
    }

    async fn put_if_absent(
        &self,
        key: &str,
        value: Bytes,
        ttl: Option<Duration>,
    ) -> Result<bool, StateError> {
        let (mut maps, now) = self.lock();
        if maps.values.contains_key(key) {
            return Ok(false);
        }
        maps.put(key, value, ttl, now)?;
        Ok(true)
    }

    async fn delete(&self, key: &str) -> Result<bool, StateError> {
        Ok(self.lock().0.remove_value(key))
    }

    async fn incr(&self, key: &str, ttl: Duration) -> Result<Counter, StateError> {
        let (mut maps, now) = self.lock();
        if let Some(count) = maps.counters.get_mut(key) {
            count.value = count.value.saturating_add(1);
            return Ok(Counter {
                value: count.value,
                expires_in: left(count.ends_at, now),
            });
        }
        check_name(key)?;
        maps.check_room(key.len())?;
        let ends_at = end(now, ttl);
        maps.bytes += key.len();
        maps.counters
            .insert(key.to_owned(), Count { value: 1, ends_at });
        maps.ends.insert((ends_at, Space::Counter, key.to_owned()));
        Ok(Counter {
            value: 1,
            expires_in: left(ends_at, now),
        })
    }

    async fn counter(&self, key: &str) -> Result<Option<Counter>, StateError> {
        let (maps, now) = self.lock();
        Ok(maps.counters.get(key).map(|c| Counter {
            value: c.value,
            expires_in: left(c.ends_at, now),
        }))
    }

    async fn reset_counter(&self, key: &str) -> Result<(), StateError> {
        let (mut maps, _) = self.lock();
        if let Some(count) = maps.counters.remove(key) {
            maps.bytes -= key.len();
            maps.ends
                .remove(&(count.ends_at, Space::Counter, key.to_owned()));
        }
        Ok(())
    }

    async fn list(&self, prefix: &str) -> Result<Vec<(String, Bytes)>, StateError> {
        let (maps, _) = self.lock();
        Ok(maps
            .values
            .range::<str, _>((
                std::ops::Bound::Included(prefix),
                std::ops::Bound::Unbounded,
            ))
            .take_while(|(key, _)| key.starts_with(prefix))
            .map(|(key, value)| (key.clone(), value.bytes.clone()))
            .collect())
    }

    async fn acquire(&self, name: &str, owner: &str, ttl: Duration) -> Result<Lease, AcquireError> {
        let (mut maps, now) = self.lock();
        if let Some(held) = maps.held(name, now).filter(|held| held.owner != owner) {
            return Err(AcquireError::Held(LeaseHolder {
                owner: held.owner.clone(),
                generation: held.generation,
                expires_in: left(held.ends_at, now),
            }));
        }
        let last = maps.leases.get(name).map(|held| held.generation);
        if last.is_none() {
            check_name(name)?;
            check_name(owner)?;
            maps.check_room(name.len())?;
        }
        let generation = last.map_or(now, |last| now.max(last.saturating_add(1)));
        let held = Held {
            owner: owner.to_owned(),
            generation,
            ends_at: end(now, ttl),
        };
        maps.set_lease(name, held);
        Ok(Lease {
            name: name.to_owned(),
            owner: owner.to_owned(),
            generation,
        })
    }

    async fn renew(&self, lease: &Lease, ttl: Duration) -> Result<(), RenewError> {
        let (mut maps, now) = self.lock();
        if !maps.is_held(lease, now) {
            return Err(RenewError::Lost);
        }
        let (owner, generation) = (lease.owner.clone(), lease.generation);
        maps.set_lease(
            &lease.name,
            Held {
                owner,
                generation,
                ends_at: end(now, ttl),
            },
        );
        Ok(())
    }

    async fn release(&self, lease: &Lease) -> Result<bool, StateError> {
        let (mut maps, now) = self.lock();
        if !maps.is_held(lease, now) {
            return Ok(false);
        }
        let (owner, generation) = (lease.owner.clone(), lease.generation);
        maps.set_lease(
            &lease.name,
            Held {
                owner,
                generation,
                ends_at: now,
            },
        );
        Ok(true)
    }

    async fn holder(&self, name: &str) -> Result<Option<LeaseHolder>, StateError> {
        let (maps, now) = self.lock();
        Ok(maps.held(name, now).map(|held| LeaseHolder {
            owner: held.owner.clone(),
            generation: held.generation,
            expires_in: left(held.ends_at, now),
        }))
    }

    async fn put_fenced(
        &self,
        lease: &Lease,
        key: &str,
        value: Bytes,
        ttl: Option<Duration>,
    ) -> Result<(), FencedError> {
        let (mut maps, now) = self.lock();
        if !maps.is_held(lease, now) {
            return Err(FencedError::Stale);
        }
        Ok(maps.put(key, value, ttl, now)?)
    }

    async fn delete_fenced(&self, lease: &Lease, key: &str) -> Result<bool, FencedError> {
        let (mut maps, now) = self.lock();
        if !maps.is_held(lease, now) {
            return Err(FencedError::Stale);
        }
        Ok(maps.remove_value(key))
    }
}

impl std::fmt::Debug for MemoryState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MemoryState")
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use proptest::prelude::*;

    use super::*;
    use crate::contract;

    /// Stands still until it is moved.
    struct TestClock(AtomicU64);

    impl TestClock {
        fn new() -> Arc<Self> {
            Arc::new(Self(AtomicU64::new(1_800_000_000_000)))
        }

        fn pass(&self, time: Duration) {
            self.0
                .fetch_add(u64::try_from(time.as_millis()).unwrap(), Ordering::Relaxed);
        }
    }

    impl Clock for TestClock {
        fn now_ms(&self) -> u64 {
            self.0.load(Ordering::Relaxed)
        }
    }

    #[tokio::test]
    async fn the_memory_state_keeps_the_contract() {
        contract::state::check(async || {
            let clock = TestClock::new();
            let store = MemoryState::with_clock(clock.clone());
            (store, move |time| {
                clock.pass(time);
                std::future::ready(())
            })
        })
        .await;
    }

    #[tokio::test]
    async fn a_generation_is_not_reused_while_the_clock_stands_still() {
        let store = MemoryState::with_clock(TestClock::new());
        let mut last = 0;
        for _ in 0..3 {
            let lease = store.acquire("l", "me", Duration::ZERO).await.unwrap();
            assert!(lease.generation > last);
            last = lease.generation;
        }
    }

    #[tokio::test]
    async fn what_has_run_out_takes_no_memory() {
        let clock = TestClock::new();
        let store = MemoryState::with_clock(clock.clone());
        let second = Duration::from_secs(1);
        for number in 0..100 {
            let name = format!("n{number}");
            store
                .put(&name, Bytes::from_static(b"x"), Some(second))
                .await
                .unwrap();
            store.incr(&name, second).await.unwrap();
            let lease = store.acquire(&name, "me", second).await.unwrap();
            store.acquire(&name, "me", second).await.unwrap();
            store.renew(&lease, second).await.unwrap_err();
        }
        clock.pass(second * 2);
        let (maps, _) = store.lock();
        assert!(maps.values.is_empty() && maps.counters.is_empty() && maps.leases.is_empty());
        assert!(maps.ends.is_empty());
        assert_eq!(maps.bytes, 0);
    }

    proptest! {
        /// Whatever is done in whatever order, the books agree with the maps.
        #[test]
        fn the_count_of_bytes_is_what_is_there(
            steps in proptest::collection::vec((0u8..8, 0u8..4, 0u64..3), 0..100),
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(async {
                let clock = TestClock::new();
                let store = MemoryState::with_clock(clock.clone());
                let mut leases = Vec::new();
                for (step, name, seconds) in steps {
                    let (name, time) = (format!("n{name}"), Duration::from_secs(seconds));
                    let value = Bytes::from(vec![0; usize::from(step)]);
                    match step {
                        0 => store.put(&name, value, None).await.unwrap(),
                        1 => store.put(&name, value, Some(time)).await.unwrap(),
                        2 => drop(store.delete(&name).await.unwrap()),
                        3 => drop(store.incr(&name, time).await.unwrap()),
                        4 => store.reset_counter(&name).await.unwrap(),
                        5 => leases.extend(store.acquire(&name, "me", time).await.ok()),
                        6 => {
                            for lease in &leases {
                                let _ = store.put_fenced(lease, &name, value.clone(), Some(time)).await;
                                let _ = store.renew(lease, time).await;
                            }
                        }
                        _ => clock.pass(time),
                    }
                    let (maps, _) = store.lock();
                    let bytes = maps.values.iter().map(|(k, v)| k.len() + v.bytes.len()).sum::<usize>()
                        + maps.counters.keys().map(String::len).sum::<usize>()
                        + maps.leases.keys().map(String::len).sum::<usize>();
                    assert_eq!(maps.bytes, bytes);
                    assert!(maps.ends.len() <= maps.values.len() + maps.counters.len() + maps.leases.len());
                }
            });
        }
    }
}
