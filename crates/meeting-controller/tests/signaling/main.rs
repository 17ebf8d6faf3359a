//! The controller as its clients see it: the real `serve` over in-memory
//! sessions, with tokio's paused clock.
//!
//! The media handler and the registry are recorders of their interfaces; nothing
//! of the controller is replaced.

// Helpers of tests panic as tests do.
#![allow(clippy::unwrap_used)]

mod bench;
mod encryption;
mod handlers;
mod hostile;
mod joining;
mod lifetime;
mod media;
mod moderation;
mod privacy;
