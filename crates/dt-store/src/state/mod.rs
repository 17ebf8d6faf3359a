//! The state store: what instances share while they run.
//!
//! Values have a time to live; leases say who may act for something, with a
//! generation that fences off whoever held it before. Losing the whole store
//! must be survivable: those who run things put them back.

mod clock;
mod memory;

use std::{fmt, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;

pub use clock::{Clock, SystemClock};
pub use memory::MemoryState;

/// Longest key, in bytes.
pub const KEY_BYTES_MAX: usize = 512;
/// Longest value, in bytes.
pub const VALUE_BYTES_MAX: usize = 1024 * 1024;

/// Why the state store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// It can't be reached; later it may.
    #[error("the state store is not available")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// It holds all that it can.
    #[error("the state store is full")]
    Full,
    /// A key over [`KEY_BYTES_MAX`] or a value over [`VALUE_BYTES_MAX`].
    #[error("a key or value is too long for the state store")]
    TooLong,
}

/// Why a lease was not given.
#[derive(Debug, thiserror::Error)]
pub enum AcquireError {
    /// Somebody else has it.
    #[error("the lease is held by {}", .0.owner)]
    Held(LeaseHolder),
    /// The store failed.
    #[error("the lease can't be asked for")]
    Store(#[from] StateError),
}

/// Why a lease was not renewed.
#[derive(Debug, thiserror::Error)]
pub enum RenewError {
    /// It ran out or somebody else has it: stop acting for it.
    #[error("the lease is lost")]
    Lost,
    /// The store failed; the lease runs on until its time is over.
    #[error("the lease can't be renewed")]
    Store(#[from] StateError),
}

/// Why a fenced write was not made.
#[derive(Debug, thiserror::Error)]
pub enum FencedError {
    /// The lease ran out or somebody else has it: stop acting for it.
    #[error("the write comes from a lease that is not held any more")]
    Stale,
    /// The store failed.
    #[error("the fenced write can't be made")]
    Store(#[from] StateError),
}

/// A counter after an increment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counter {
    /// Its value.
    pub value: u64,
    /// Time until it starts again from nothing.
    pub expires_in: Duration,
}

/// A right to act for something, for a while.
#[derive(Clone, PartialEq, Eq)]
pub struct Lease {
    /// What it is for, made by [`keys`](crate::keys).
    pub name: String,
    /// Who holds it.
    pub owner: String,
    /// Greater than that of every lease on the same thing before:
    /// max(last + 1, Unix milliseconds), so that a wiped store can't go back.
    pub generation: u64,
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Lease({} of {}, generation {})",
            self.name, self.owner, self.generation
        )
    }
}

/// Who has a lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseHolder {
    /// Who.
    pub owner: String,
    /// The generation of that lease.
    pub generation: u64,
    /// When it runs out unless renewed.
    pub expires_in: Duration,
}

/// Keys with values that end, counters and leases: three spaces of names that
/// don't see each other. Every method is atomic.
#[async_trait]
pub trait StateStore: Send + Sync {
    /// The value under `key`.
    async fn get(&self, key: &str) -> Result<Option<Bytes>, StateError>;

    /// Sets the value under `key`. Without `ttl` it stays.
    async fn put(&self, key: &str, value: Bytes, ttl: Option<Duration>) -> Result<(), StateError>;

    /// Sets the value under `key` if there is none. Whether it did.
    async fn put_if_absent(
        &self,
        key: &str,
        value: Bytes,
        ttl: Option<Duration>,
    ) -> Result<bool, StateError>;

    /// Removes `key`. Whether it was there.
    async fn delete(&self, key: &str) -> Result<bool, StateError>;

    /// Adds 1 to the counter under `key`, which starts at 0 and ends `ttl`
    /// after its first increment: later increments don't prolong it.
    async fn incr(&self, key: &str, ttl: Duration) -> Result<Counter, StateError>;

    /// The counter under `key`, without changing it; `None` if there is none.
    async fn counter(&self, key: &str) -> Result<Option<Counter>, StateError>;

    /// Sets the counter under `key` back to nothing.
    async fn reset_counter(&self, key: &str) -> Result<(), StateError>;

    /// All keys that begin with `prefix`, with their values, in order of keys.
    async fn list(&self, prefix: &str) -> Result<Vec<(String, Bytes)>, StateError>;

    /// Asks for the lease `name`. An owner that holds it already gets a new
    /// generation, which fences off its own earlier one.
    async fn acquire(&self, name: &str, owner: &str, ttl: Duration) -> Result<Lease, AcquireError>;

    /// Prolongs a lease to `ttl` from now.
    async fn renew(&self, lease: &Lease, ttl: Duration) -> Result<(), RenewError>;

    /// Gives a lease back. Whether it was still held.
    async fn release(&self, lease: &Lease) -> Result<bool, StateError>;

    /// Who holds the lease `name`.
    async fn holder(&self, name: &str) -> Result<Option<LeaseHolder>, StateError>;

    /// [`put`](Self::put), if `lease` is still held.
    async fn put_fenced(
        &self,
        lease: &Lease,
        key: &str,
        value: Bytes,
        ttl: Option<Duration>,
    ) -> Result<(), FencedError>;

    /// [`delete`](Self::delete), if `lease` is still held.
    async fn delete_fenced(&self, lease: &Lease, key: &str) -> Result<bool, FencedError>;
}
