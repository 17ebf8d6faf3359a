//! The rules of forwarding the media of one meeting inside one handler.
//!
//! [`Forwarder`] is a deterministic machine: the handler drives it with what
//! the controller orders (who may send what, who receives it), what sessions
//! bring (datagrams, streams, key-frame requests, progress of its writers) and
//! the time, and carries out what [`Forwarder::poll_output`] gives, in that
//! order. The same inputs give the same outputs.
//!
//! What a datagram needs is looked up once and is immutable: the receivers of an
//! encoding are `Arc<[Target]>`s that are replaced whole when a route, a session
//! or a choice changes, never a packet. That is where a handler can take a
//! snapshot.
//!
//! # Who gets what
//!
//! Each receiver's own link decides what it gets; a bad one lowers nobody else's
//! picture. Three steps, each a module that can be read alone:
//!
//! 1. `bandwidth`: what its path carries, from samples of the transport's
//!    figures. Nothing until a limit shows; a queue, a full window or many losses
//!    lower it at once; what was sent without a queue is a lower bound, and short
//!    bursts of padding find out whether there is more.
//! 2. `allocation`: which encoding of each source, and how much of it. Sound is
//!    paid first. Everybody visible has the smallest picture before anybody has a
//!    better one; then screens, then speakers, then the rest, up to the smallest
//!    encoding that fills the tile. `receiver` keeps it calm: down at once, up
//!    when there was room for a while, later and later when that goes wrong.
//! 3. `flow`, `source` and `encoding`: the change itself. Up with a key frame,
//!    which is asked for once a second at most; down with the kept group, if that
//!    is small, or with a key frame, and until then upper temporal layers or all
//!    but key frames are left out. A receiver sees one encoding at a time.
//!
//! `steering` puts them together, and `demand` tells the controller which
//! encodings somebody wants, so that nobody makes what nobody sees.
//!
//! Sound: `voices` forwards microphones that are not silent, the loudest few,
//! with the tenth of a second before; to receivers that lose datagrams each goes
//! twice. `arrivals` counts what does not come from a sender and tells it.
//!
//! `links`: other handlers, that bring streams and receive them.
//!
//! Deliberately absent: sockets, tokens, a clock, and congestion control, which
//! is the transport's.

mod allocation;
mod arrivals;
mod bandwidth;
mod config;
mod counters;
mod demand;
mod encoding;
mod flow;
mod forwarder;
mod inbound;
mod keyframe;
mod links;
mod media;
mod outbox;
mod quota;
mod rates;
mod receiver;
mod repeats;
mod source;
mod speakers;
mod steering;
mod telemetry;
mod types;
mod voices;

pub use allocation::{Class, Detail};
pub use arrivals::SenderReport;
pub use bandwidth::{PathSample, PathView};
pub use config::{Config, QueueLimits, SpeakerConfig};
pub use counters::{Counters, DropReason};
pub use forwarder::{Forwarder, RegisterError, RouteError, SessionUpError};
pub use links::{Inlet, Links, Outlet};
pub use media::StopGroup;
pub use quota::Quota;
pub use receiver::{ReceiverReport, Subscription, Tile};
pub use telemetry::StreamTelemetry;
pub use types::{
    CloseReason, ENCODINGS_MAX, EncodingSpec, FrameBytes, Generation, GroupKey, Label, OutGroup,
    Output, SessionKey, StreamOp, StreamSpec, Target, Wanted, reset_code,
};
pub use voices::GateConfig;
