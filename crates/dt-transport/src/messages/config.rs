//! How the messages of a stream travel, and what a connection may take.

use std::time::Duration;

/// The tag byte of datagrams of this layer, unless told otherwise. Dark Tower
/// itself uses `0x02` (media), `0x03` (RTT) and `p` (ping).
pub const DEFAULT_TAG: u8 = 0x04;

/// How the messages of one stream travel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamConfig {
    /// What happens to what is lost.
    pub reliability: Reliability,
    /// In which order messages come out.
    pub ordering: Ordering,
    /// Higher goes first among the streams of a session; 0 to begin with.
    pub priority: i32,
    /// Bytes of a message at most. What waits unfinished is bounded by it.
    pub max_message_bytes: u32,
}

impl Default for StreamConfig {
    /// Reliable, ordered, messages of at most 64 KiB.
    fn default() -> Self {
        Self {
            reliability: Reliability::Reliable,
            ordering: Ordering::Ordered,
            priority: 0,
            max_message_bytes: 64 << 10,
        }
    }
}

impl StreamConfig {
    /// The defaults with another reliability.
    #[must_use]
    pub fn new(reliability: Reliability, ordering: Ordering) -> Self {
        Self {
            reliability,
            ordering,
            ..Self::default()
        }
    }
}

/// What happens to messages that are lost on their way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reliability {
    /// They are sent again until they arrive: a QUIC stream.
    Reliable,
    /// They stay lost: datagrams.
    Unreliable,
    /// Partial, by time: datagrams that are acknowledged and sent again while
    /// they can still arrive within this time after `send`. Whole milliseconds,
    /// at least one.
    Deadline(Duration),
    /// Partial, by number: datagrams that are acknowledged and sent again at
    /// most so many times each.
    Retransmissions(u32),
}

impl Reliability {
    /// Whether messages are datagrams that are acknowledged.
    #[must_use]
    pub fn is_partial(self) -> bool {
        matches!(self, Self::Deadline(_) | Self::Retransmissions(_))
    }
}

/// In which order messages come out at the other side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ordering {
    /// As they were sent. An unreliable stream drops what comes after a later
    /// one; a partially reliable one waits, and goes on without what is given
    /// up.
    Ordered,
    /// As they arrive. (A reliable stream is one QUIC stream, whose messages
    /// arrive in order.)
    Unordered,
}

/// What one connection may take, and how it tells its own datagrams.
#[derive(Debug, Clone)]
pub struct Config {
    /// First byte of all datagrams of this layer; others are handed on. Both
    /// sides must have the same.
    pub tag: u8,
    /// Streams that the peer may have open at once; more are refused.
    pub streams_max: usize,
    /// Streams of the peer that wait to be accepted; more wait inside the
    /// session, by its own limit.
    pub accept_queue_streams_max: usize,
    /// How long a stream of the peer may take to say what it is.
    pub header_timeout: Duration,
    /// What the peer may name as a stream's `max_message_bytes`.
    pub message_bytes_max: u32,
    /// Bytes of one stream that wait to be sent or, in datagrams, to be
    /// acknowledged; `send` waits above it. One larger message is taken alone.
    pub send_queue_bytes_max: usize,
    /// Bytes of one stream in datagrams that wait for `recv`; what comes above
    /// it is not taken, and so not acknowledged.
    pub receive_queue_bytes_max: usize,
    /// Bytes of one stream that arrived in datagrams and wait for fragments of
    /// their message or for earlier messages. One message more may be held.
    pub unfinished_bytes_max: usize,
    /// Messages of which that may be.
    pub unfinished_messages_max: usize,
    /// Datagrams that are not of this layer and wait to be taken; the newest
    /// are dropped above it.
    pub other_datagrams_max: usize,
    /// How often [`Messages::watch`](super::Messages::watch) has news.
    pub metrics_interval: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            tag: DEFAULT_TAG,
            streams_max: 256,
            accept_queue_streams_max: 32,
            header_timeout: Duration::from_secs(3),
            message_bytes_max: 1 << 20,
            send_queue_bytes_max: 256 << 10,
            receive_queue_bytes_max: 1 << 20,
            unfinished_bytes_max: 1 << 20,
            unfinished_messages_max: 4096,
            other_datagrams_max: 256,
            metrics_interval: Duration::from_secs(1),
        }
    }
}

/// Why a [`StreamConfig`] can't be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// It names larger messages than this connection carries.
    #[error("messages of {asked} bytes are more than the {limit} bytes allowed")]
    MessagesTooLarge {
        /// The stream's `max_message_bytes`.
        asked: u32,
        /// [`Config::message_bytes_max`].
        limit: u32,
    },
    /// A deadline below one millisecond or above 49 days.
    #[error("a deadline of {0:?} is out of range")]
    Deadline(Duration),
}

impl StreamConfig {
    pub(super) fn check(&self, limits: &Config) -> Result<(), ConfigError> {
        if self.max_message_bytes > limits.message_bytes_max {
            return Err(ConfigError::MessagesTooLarge {
                asked: self.max_message_bytes,
                limit: limits.message_bytes_max,
            });
        }
        if let Reliability::Deadline(deadline) = self.reliability
            && !(1..=u128::from(u32::MAX)).contains(&deadline.as_millis())
        {
            return Err(ConfigError::Deadline(deadline));
        }
        Ok(())
    }
}
