//! When to connect, when to give a session up, and when to come back: without
//! sockets, tasks or a clock.
//!
//! [`Reconnect`] is the whole machine, [`Backoff`] and [`Liveness`] are parts that
//! are useful alone. Whoever owns the sockets drives them: inputs are `handle_*`,
//! outputs are `poll_*`; `now` and the seed are passed in, so that the same inputs
//! give the same outputs. Deliberately absent: what is sent to connect, to prove
//! who one is, or to probe.
//!
//! ```
//! use std::time::Instant;
//! use dt_reconnect::{Attempt, Config, Effect, Phase, Reconnect};
//!
//! let now = Instant::now();
//! let mut machine = Reconnect::new(Config::default(), 1);
//! machine.handle_start(now);
//! assert_eq!(machine.poll_effect(), Some(Effect::Connect(Attempt(1))));
//! // … the session is open …
//! machine.handle_open(Attempt(1), now);
//! assert_eq!(machine.poll_effect(), Some(Effect::Authenticate(Attempt(1))));
//! // … the server knows who it is …
//! machine.handle_authenticated(Attempt(1), now);
//! assert_eq!(machine.phase(), Phase::Connected);
//! // … and is never heard of again.
//! while machine.phase() == Phase::Connected {
//!     let due = machine.poll_timeout().expect("a probe, or the end");
//!     machine.handle_timeout(due);
//! }
//! assert!(matches!(machine.phase(), Phase::Reconnecting { .. }));
//! ```

#![deny(missing_docs)]

mod backoff;
mod liveness;
mod machine;

pub use backoff::Backoff;
pub use liveness::{Liveness, Probe};
pub use machine::{Attempt, Closed, Config, Effect, Phase, Reconnect};

#[cfg(test)]
mod simulation;
