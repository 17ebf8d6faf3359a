//! Times of the machine.

use std::time::Duration;

/// When to do what. The defaults are those of WIRE section 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config {
    /// For opening the session, and again for the answer to the join.
    pub attempt_timeout: Duration,
    /// Without a first join for so long it is given up.
    pub first_join_max: Duration,
    /// A seat is kept for so long after the session was lost.
    pub seat_kept: Duration,
    /// Between two heartbeats.
    pub heartbeat_interval: Duration,
    /// Between two RTT probes.
    pub probe_interval: Duration,
    /// A session without an answer for so long is dead.
    pub dead_after: Duration,
    /// Before the second attempt of a reconnection; doubled for each further one.
    pub backoff_first: Duration,
    /// The longest wait between two attempts.
    pub backoff_max: Duration,
    /// The first attempt of a reconnection waits up to so long, so that not
    /// everybody comes back in the same instant.
    pub spread: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            attempt_timeout: Duration::from_secs(5),
            first_join_max: Duration::from_secs(15),
            seat_kept: Duration::from_secs(300),
            heartbeat_interval: Duration::from_secs(15),
            probe_interval: Duration::from_secs(1),
            dead_after: Duration::from_millis(2500),
            backoff_first: Duration::from_millis(250),
            backoff_max: Duration::from_secs(5),
            spread: Duration::from_millis(100),
        }
    }
}

impl Config {
    /// The part of it that has nothing to do with seats.
    pub(crate) const fn reconnect(&self) -> dt_reconnect::Config {
        dt_reconnect::Config {
            attempt_timeout: self.attempt_timeout,
            first_max: self.first_join_max,
            lost_max: self.seat_kept,
            probe_interval: self.probe_interval,
            dead_after: self.dead_after,
            backoff_first: self.backoff_first,
            backoff_max: self.backoff_max,
            spread: self.spread,
        }
    }
}
