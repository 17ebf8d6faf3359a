//! Several handlers and the links between them.

#![allow(clippy::unwrap_used)] // a panic is how a test fails

mod hostile;
mod meetings;
mod over_quic;
#[path = "../support/mod.rs"]
mod support;
mod world;
