//! The rules of a meeting, without sockets, clocks, tasks or random sources.
//!
//! [`Meeting`] is one deterministic machine. Whoever drives it (the meeting
//! controller's task, or a simulation) calls a `handle_*` method for everything
//! that happens and carries out the [`Effect`]s that it returns, in order:
//!
//! ```text
//!  sessions ── handle_join, handle_resume, handle_request ──┐
//!  media handlers ── handle_registered, handle_speakers, … ─┼─▶ Meeting ─▶ Vec<Effect>
//!  clock ── handle_timeout at Meeting::next_timeout ────────┘
//! ```
//!
//! The same inputs in the same order give the same effects. `now` and a random
//! source are arguments. Who may join at all (tokens) is decided before: a join
//! carries claims that were checked.
//!
//! One idea a module: [`Config`] what a meeting is started with, `roster` and
//! `seat` who is here, `streams` what they send, `codecs` and `demand` in which
//! way, `layout`, `planning` and `subscription` who sees what where, `routing` which
//! way it takes through the media handlers, `speakers` who is
//! loud, `encryption` the order of group key messages, `meeting` the inputs
//! themselves.
//!
//! Where later parts attach: a lobby and a lock are states a seat has before
//! `meeting::joining` welcomes it; another layout is another way to order the
//! candidates in `planning`.

mod codecs;
mod config;
mod demand;
mod effects;
mod encryption;
mod error;
mod layout;
mod meeting;
mod planning;
mod roster;
mod routing;
mod seat;
mod speakers;
mod streams;
mod subscription;
mod time;

pub use codecs::Codecs;
pub use config::{Config, Limits, Settings};
pub use effects::{Effect, SessionId};
pub use encryption::{
    Applied, EncryptionLimits, GroupKeeper, KeeperFactory, Leaf, Offer, Position, Refused,
    SframeSuite,
};
pub use error::{
    EncryptionError, JoinError, KeyframeError, LayoutError, MediaTokenError, ModerationError,
    PublishError, QualityError, Rejection, SettingsError, StreamError, SubscribeError,
};
pub use layout::{AUDIO_SLOTS_MAX, Layout, USER_LIST_MAX};
pub use meeting::{Join, Meeting, Resume, SPOTLIGHT_MAX, Status};
pub use roster::{Credential, resume_hash};
pub use routing::RouteIds;
pub use seat::{NAME_CHARS_MAX, parse_name};
pub use speakers::SPEAKERS_MAX;
pub use streams::LAYERS_MAX;
pub use time::Time;
