//! One participant's place in a meeting, and the line to its client.
//!
//! A seat outlives its session: [`Connection`] says which of the two it is now.
//! The first answer of a session may wait for a media handler (the client dials
//! it at once); what is sent meanwhile is kept in order behind it by [`Line`].

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use dt_ids::{HandlerId, ParticipantId, StreamId, UserId};
use dt_wire::v1::{ConnectionState, Role, SendDirective, ServerMessage};

use crate::{
    codecs::Codecs,
    effects::{Effect, SessionId},
    error::JoinError,
    roster::Credential,
    routing::Place,
    subscription::Subscriber,
    time::Time,
};

/// Characters of a participant's name at most, after trimming.
pub const NAME_CHARS_MAX: usize = 64;

/// The name without white space around it, if it can be shown to others.
///
/// # Errors
/// When it is empty, longer than [`NAME_CHARS_MAX`], or has control characters
/// or such that turn the direction of the text around it.
pub fn parse_name(name: &str) -> Result<String, JoinError> {
    let name = name.trim();
    let turns_text = |c| matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    // The bytes go first: nobody's megabyte is walked through.
    let fits = name.len() <= NAME_CHARS_MAX * 4 && name.chars().count() <= NAME_CHARS_MAX;
    if name.is_empty() || !fits || name.chars().any(|c| c.is_control() || turns_text(c)) {
        return Err(JoinError::Name);
    }
    Ok(name.to_owned())
}

#[derive(Debug)]
pub(crate) struct Seat {
    pub(crate) user: UserId,
    pub(crate) participant: ParticipantId,
    pub(crate) name: String,
    pub(crate) role: Role,
    pub(crate) joined_at: Time,
    /// What its join token was, for a later removal.
    pub(crate) credential: Credential,
    /// SHA-256 of the token with which the seat is taken back.
    pub(crate) resume_hash: [u8; 32],
    pub(crate) connection: Connection,
    /// Whether it ever got its first answer. Before that nobody could resume it.
    pub(crate) welcomed: bool,
    pub(crate) video_streams_max: usize,
    pub(crate) codecs: Codecs,
    /// Its published streams, in the order of publication.
    pub(crate) streams: Vec<StreamId>,
    pub(crate) subscriber: Subscriber,
    /// What it was told to send.
    pub(crate) directive: SendDirective,
    /// The media handlers that serve it.
    pub(crate) place: Place,
    /// The state of its registration there.
    pub(crate) registrations: BTreeMap<HandlerId, Registration>,
    /// Of them, those that its client knows.
    pub(crate) told: BTreeSet<HandlerId>,
    /// Handlers that say it has a media session there.
    pub(crate) media_sessions: BTreeSet<HandlerId>,
    /// Those that say it had one.
    pub(crate) media_lost: BTreeSet<HandlerId>,
}

/// Counters of generations: the last that was sent, the last that is confirmed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Registration {
    pub(crate) sent: u64,
    pub(crate) confirmed: u64,
}

#[derive(Debug)]
pub(crate) enum Connection {
    Connected(Line),
    Disconnected { since: Time },
}

impl Seat {
    pub(crate) fn line(&self) -> Option<&Line> {
        match &self.connection {
            Connection::Connected(line) => Some(line),
            Connection::Disconnected { .. } => None,
        }
    }

    pub(crate) fn line_mut(&mut self) -> Option<&mut Line> {
        match &mut self.connection {
            Connection::Connected(line) => Some(line),
            Connection::Disconnected { .. } => None,
        }
    }

    pub(crate) fn connected(&self) -> bool {
        self.line().is_some()
    }

    pub(crate) fn connection_state(&self) -> ConnectionState {
        if self.connected() {
            ConnectionState::Connected
        } else {
            ConnectionState::Disconnected
        }
    }

    /// Whether media is sent to it: a client whose signaling broke may well
    /// still have its media session.
    pub(crate) fn receives(&self) -> bool {
        self.connected() || !self.media_sessions.is_empty()
    }

    pub(crate) fn is_host(&self) -> bool {
        self.role == Role::Host
    }

    /// Until its home has confirmed what it was told last.
    pub(crate) fn gate(&self) -> Gate {
        let registration = self.registrations.get(&self.place.home());
        Gate(registration.map_or(0, |registration| registration.sent))
    }

    /// Whether a handler lets it in.
    pub(crate) fn is_registered_at(&self, handler: HandlerId) -> bool {
        let registration = self.registrations.get(&handler);
        registration.is_some_and(|r| r.confirmed > 0)
    }

    /// Sends what waited for nothing but confirmed registrations.
    pub(crate) fn release(&mut self, now: Time, out: &mut Vec<Effect>) {
        let Connection::Connected(line) = &mut self.connection else {
            return;
        };
        let home = self.registrations.get(&self.place.home());
        let confirmed = home.map_or(0, |registration| registration.confirmed);
        let registered = |handler: &HandlerId| self.registrations.contains_key(handler);
        let handlers: Vec<HandlerId> = self.place.handlers().filter(registered).collect();
        if line.release(confirmed, self.participant, &handlers, now, out) {
            self.welcomed = true;
            self.told = handlers.into_iter().collect();
        }
    }
}

/// A registration that must be confirmed before a message goes out: the counter
/// of its generation, whichever handler is the home when it is. (Every handler is
/// told everything, and counters rise.)
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Gate(u64);

/// A message on its way to one session.
#[derive(Debug)]
pub(crate) struct Outgoing {
    pub(crate) message: ServerMessage,
    pub(crate) access: Access,
}

/// Whether connection tokens are to be put into a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Access {
    None,
    /// For all handlers of the seat; this is the session's first answer.
    Welcome,
    /// For one handler.
    Handler(HandlerId),
}

/// The way to a client that is connected.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) session: SessionId,
    /// Last sign of life.
    pub(crate) heard_at: Time,
    held: VecDeque<(Gate, Outgoing)>,
    /// Since when the first of `held` waits.
    held_since: Time,
    /// The session's first answer went out.
    welcomed: bool,
}

impl Line {
    pub(crate) fn new(session: SessionId, now: Time) -> Self {
        Self {
            session,
            heard_at: now,
            held: VecDeque::new(),
            held_since: now,
            welcomed: false,
        }
    }

    pub(crate) const fn welcomed(&self) -> bool {
        self.welcomed
    }

    /// Since when a message waits for a handler.
    pub(crate) fn waiting_since(&self) -> Option<Time> {
        (!self.held.is_empty()).then_some(self.held_since)
    }

    pub(crate) fn held(&self) -> usize {
        self.held.len()
    }

    /// The request whose answer waits first.
    pub(crate) fn first_request(&self) -> Option<u64> {
        self.held
            .front()
            .map(|(_, outgoing)| outgoing.message.request_id)
    }

    /// Keeps a message until the gate is open and all before it are sent.
    pub(crate) fn hold(&mut self, gate: Gate, outgoing: Outgoing, now: Time) {
        if self.held.is_empty() {
            self.held_since = now;
        }
        self.held.push_back((gate, outgoing));
    }

    /// Sends what may go; true when the session's first answer was among it.
    fn release(
        &mut self,
        confirmed: u64,
        participant: ParticipantId,
        handlers: &[HandlerId],
        now: Time,
        out: &mut Vec<Effect>,
    ) -> bool {
        let mut welcomed = false;
        while let Some((Gate(counter), _)) = self.held.front() {
            if confirmed < *counter {
                break;
            }
            let Some((_, Outgoing { message, access })) = self.held.pop_front() else {
                break;
            };
            self.held_since = now;
            let handlers = match access {
                Access::None => {
                    out.push(Effect::Send {
                        sessions: vec![self.session],
                        message,
                    });
                    continue;
                }
                Access::Welcome => {
                    welcomed = true;
                    self.welcomed = true;
                    handlers.to_vec()
                }
                Access::Handler(handler) => vec![handler],
            };
            out.push(Effect::SendWithMediaAccess {
                session: self.session,
                message,
                participant,
                handlers,
            });
        }
        welcomed
    }
}
