//! The rules of forwarding the media of one meeting inside one handler.
//!
//! [`Forwarder`] is a deterministic machine: the handler drives it with what
//! the controller orders (who may send what, who receives it), what sessions
//! bring (datagrams, streams, key-frame requests, progress of its writers) and
//! the time, and carries out what [`Forwarder::poll_output`] gives, in that
//! order. The same inputs give the same outputs.
//!
//! What a datagram needs is looked up once and is immutable: the receivers of a
//! source are an `Arc<[Target]>` that is replaced whole when a route or a
//! session changes. That is where a later handler takes its lock-free snapshot.
//!
//! Deliberately absent: sockets, tokens, a clock, and the choice of a simulcast
//! layer for each receiver: every encoding that is sent is forwarded, and the
//! controller lets a sender send the one that is wanted.

mod config;
mod counters;
mod encoding;
mod forwarder;
mod inbound;
mod keyframe;
mod media;
mod outbox;
mod quota;
mod source;
mod speakers;
mod telemetry;
mod types;

pub use config::{Config, QueueLimits, SpeakerConfig};
pub use counters::{Counters, DropReason};
pub use forwarder::{Forwarder, RegisterError, RouteError, SessionUpError};
pub use media::StopGroup;
pub use quota::Quota;
pub use telemetry::StreamTelemetry;
pub use types::{
    CloseReason, FrameBytes, Generation, GroupKey, OutGroup, Output, SessionKey, StreamOp,
    StreamSpec, Target, reset_code,
};
