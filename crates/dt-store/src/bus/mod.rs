//! The bus: what happens now, to whoever listens.
//!
//! At most once and in the order of one publisher: a message that nobody hears
//! is gone, and a subscriber that is too slow loses the oldest and is told so.
//! What must not be lost goes into the state store, and the bus says to look.

mod memory;
mod subscription;

use async_trait::async_trait;
use bytes::Bytes;

pub use memory::MemoryBus;
pub use subscription::Subscription;

/// Longest subject, in bytes.
pub const SUBJECT_BYTES_MAX: usize = 256;
/// Longest payload, in bytes.
pub const PAYLOAD_BYTES_MAX: usize = 1024 * 1024;

/// Why the bus did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum BusError {
    /// It can't be reached; later it may.
    #[error("the bus is not available")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A subject is words of letters, digits, `-` and `_` with dots between
    /// them; in a subscription the last word may be `>` for any words.
    #[error("not a subject of the bus")]
    InvalidSubject,
    /// A payload over [`PAYLOAD_BYTES_MAX`].
    #[error("a payload is too long for the bus")]
    TooLong,
}

/// What a subscriber gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BusEvent {
    /// Somebody published this.
    Message {
        /// To which subject.
        subject: String,
        /// What.
        payload: Bytes,
    },
    /// This many messages were lost before the next one: look into the store.
    Lagged(u64),
}

/// Publish and subscribe by subject, like `meeting.<id>.roster`.
#[async_trait]
pub trait Bus: Send + Sync {
    /// Sends to all who listen to `subject` now.
    async fn publish(&self, subject: &str, payload: Bytes) -> Result<(), BusError>;

    /// Listens to `subject`, or to all that begin with it if its last word is
    /// `>`, as in `meeting.>`.
    async fn subscribe(&self, subject: &str) -> Result<Subscription, BusError>;
}

/// Whether `subject` may be published to.
fn is_subject(subject: &str) -> bool {
    subject.len() <= SUBJECT_BYTES_MAX
        && subject.split('.').all(|word| {
            !word.is_empty()
                && word
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        })
}
