//! The client's connect and reconnect machine, sans-IO.
//!
//! [`Machine`] decides when to connect, join, beat, probe, give up and try
//! again; [`Liveness`] tells a dead session from a quiet one and serves media
//! sessions too. Both stand upon `dt-reconnect`, which knows attempts, waits and
//! probes; here are seats, tokens, close codes and packets. Whoever owns the sockets drives them: inputs are `handle_*`,
//! outputs are [`Machine::poll_effect`] and [`Machine::poll_timeout`]. `now` and
//! the seed are passed in, so that the same inputs give the same outputs.
//! Deliberately absent: messages, media, and what to do in a meeting.

mod config;
mod end;
mod liveness;
mod machine;

pub use config::Config;
pub use dt_reconnect::{Attempt, Backoff};
pub use end::{Closed, End, Refusal};
pub use liveness::{Liveness, Probe};
pub use machine::{Credential, Effect, Machine, Phase, ResumeToken};

#[cfg(test)]
mod simulation;
