//! Typed ids: what names a meeting, a person, a stream or a server.
//!
//! Each is parsed once, at the edge that receives it, so that everything behind
//! that edge holds a value that is known to be well formed. No clock, no
//! socket; randomness only where an id is made.

mod code;
mod number;
mod uuid_id;

pub use code::{InvalidMeetingCode, MeetingCode};
pub use number::{Encoding, InvalidNumber, Slot, StreamNumber, UserId};
pub use uuid_id::{
    AccountId, ControllerId, HandlerId, InvalidId, MeetingId, OrganisationId, ParticipantId,
    StreamId,
};
