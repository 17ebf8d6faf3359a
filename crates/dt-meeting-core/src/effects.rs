//! What a meeting wants done.

use dt_ids::{HandlerId, ParticipantId};
use dt_wire::{
    CloseCode,
    internal::{RegisterParticipant, RouteMediaCommand, UnregisterParticipant},
    v1::ServerMessage,
};

/// One signaling connection, named by whoever drives the meeting. Never used
/// twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub u64);

/// Something to carry out. Effects are in order: a session gets its messages in
/// the order of its effects, a handler its commands.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Send one message to these sessions.
    Send {
        /// At least one; each once.
        sessions: Vec<SessionId>,
        /// Encoded once for all of them.
        message: ServerMessage,
    },
    /// Put a fresh connection token for each of these handlers into the message
    /// (a `JoinResponse` or a `MediaToken`), then send it.
    SendWithMediaAccess {
        /// To whom.
        session: SessionId,
        /// What, its places for media servers still empty.
        message: ServerMessage,
        /// Whom the tokens admit.
        participant: ParticipantId,
        /// First choice first.
        handlers: Vec<HandlerId>,
    },
    /// Close the session after what was sent before. The meeting has forgotten it.
    Close {
        /// Which one.
        session: SessionId,
        /// Why.
        code: CloseCode,
    },
    /// Tell the handler who may open a media session and what it may send, then
    /// call [`handle_registered`](crate::Meeting::handle_registered). A newer
    /// command for the same participant replaces one that was not sent yet.
    Register {
        /// Where.
        handler: HandlerId,
        /// What.
        command: RegisterParticipant,
    },
    /// Tell the handler to close the participant's media session and forget it.
    Unregister {
        /// Where.
        handler: HandlerId,
        /// What.
        command: UnregisterParticipant,
    },
    /// Tell the handler the whole set of receivers of one stream. A newer
    /// command for the same stream replaces one that was not sent yet.
    Route {
        /// Where.
        handler: HandlerId,
        /// What.
        command: RouteMediaCommand,
    },
    /// So many people are in it now.
    Live {
        /// Seats, also those of people who may come back.
        participants: usize,
    },
    /// A receiver reports how a stream arrives.
    Quality {
        /// Lost packets, 0 to 1.
        packet_loss: f32,
        /// Milliseconds.
        rtt_ms: u32,
    },
    /// The meeting is over for good: no one may join it again.
    Ended,
    /// Nobody has been here for a while; forget it until it is assigned again.
    Idle,
    /// A newer lease rules the meeting; stop acting for it at once.
    Fenced,
}
