//! The clock of a controller: the wall clock once, then tokio's, so that time
//! never goes back and tests can turn it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use dt_meeting_core::Time;
use dt_token::UnixTime;
use tokio::time::Instant;

#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    started: Instant,
    unix_ms: u64,
}

impl Clock {
    pub(crate) fn start() -> Self {
        let unix = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Self {
            started: Instant::now(),
            unix_ms: u64::try_from(unix.as_millis()).unwrap_or(u64::MAX),
        }
    }

    pub(crate) fn now(&self) -> Time {
        let passed = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        Time(self.unix_ms.saturating_add(passed))
    }

    /// For tokens, whose times other machines made: the wall clock itself.
    pub(crate) fn unix(&self) -> UnixTime {
        UnixTime::from(SystemTime::now())
    }

    /// When tokio's clock shows this time.
    pub(crate) fn instant(&self, time: Time) -> Instant {
        self.started + Duration::from_millis(time.0.saturating_sub(self.unix_ms))
    }
}
