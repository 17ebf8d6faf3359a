//! Congestion control of a connection, by name.
//!
//! Three controllers are the QUIC library's own; [`LowDelay`](Congestion::LowDelay)
//! stands in `low_delay`.

use std::{fmt, str::FromStr, sync::Arc};

use quinn::congestion::{BbrConfig, ControllerFactory, CubicConfig, NewRenoConfig};

use super::low_delay::LowDelayConfig;

/// How a connection finds out how much it may send. Parsed from and shown as its
/// [`name`](Self::name).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Congestion {
    /// Cubic (RFC 9438) that gives way before a queue is long, and to few losses
    /// without a queue not at all: built for conversations. Beside greedy Cubic
    /// flows in one deep queue it gets less than they do.
    #[default]
    LowDelay,
    /// What TCP does: fills the bottleneck's queue until it overflows.
    Cubic,
    /// RFC 9002's own; slower than Cubic on long fast paths.
    NewReno,
    /// BBR version 1, experimental in the QUIC library.
    Bbr,
}

impl Congestion {
    /// All there are.
    pub const ALL: [Self; 4] = [Self::LowDelay, Self::Cubic, Self::NewReno, Self::Bbr];

    /// `low-delay`, `cubic`, `newreno` or `bbr`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::LowDelay => "low-delay",
            Self::Cubic => "cubic",
            Self::NewReno => "newreno",
            Self::Bbr => "bbr",
        }
    }

    pub(super) fn factory(self) -> Arc<dyn ControllerFactory + Send + Sync> {
        match self {
            Self::LowDelay => Arc::new(LowDelayConfig::default()),
            Self::Cubic => Arc::new(CubicConfig::default()),
            Self::NewReno => Arc::new(NewRenoConfig::default()),
            Self::Bbr => Arc::new(BbrConfig::default()),
        }
    }
}

impl fmt::Display for Congestion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A name that is none of [`Congestion`]'s.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown congestion controller {0:?}: low-delay, cubic, newreno and bbr are known")]
pub struct UnknownCongestion(String);

impl FromStr for Congestion {
    type Err = UnknownCongestion;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|congestion| congestion.name() == name)
            .ok_or_else(|| UnknownCongestion(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_controller_is_found_by_the_name_it_shows_and_no_other_name_is_taken() {
        for congestion in Congestion::ALL {
            assert_eq!(congestion.to_string().parse(), Ok(congestion));
        }
        for name in ["", "Cubic", "reno", "low_delay"] {
            assert!(name.parse::<Congestion>().is_err(), "{name}");
        }
    }
}
