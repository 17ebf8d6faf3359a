//! What the journeys share: starting and stopping real Dark Tower processes.
//!
//! The tests in `tests/` drive the binary from outside, as a person, an
//! operator or an attacker would, and prove the architecture's fences from
//! `cargo metadata`. Everything waits for an event with a deadline; nothing
//! sleeps and hopes.
//!
//! Deliberately absent: anything that knows how the server works inside.

pub mod bot;
pub mod http;
pub mod metrics;
pub mod process;
pub mod server;
pub mod workspace;

pub use bot::Bot;
pub use server::Server;
