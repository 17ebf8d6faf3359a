//! Coming in, coming back, going away.

use dt_frame::MediaKind;
use dt_ids::{HandlerId, ParticipantId, StreamId, UserId};
use dt_wire::{
    CloseCode,
    internal::RegisterParticipant,
    v1::{
        ConnectionState, E2eeEntry, JoinResponse, LeaveReason, MediaStream, Participant,
        ParticipantJoined, ParticipantLeft, ParticipantUpdated, Role, ServerMessage,
        server_message::Body,
    },
};
use rand::CryptoRng;

use super::{Meeting, Phase};
use crate::{
    codecs::Codecs,
    effects::{Effect, SessionId},
    encryption::Offer,
    error::JoinError,
    roster::{Credential, resume_hash},
    seat::{Access, Connection, Line, Seat, parse_name},
    subscription::Subscriber,
    time::Time,
};

const RESUME_TOKEN_BYTES: usize = 32;

/// Somebody who comes with a join token that was checked.
#[derive(Debug, Clone)]
pub struct Join {
    /// As the token says.
    pub role: Role,
    /// Of the token.
    pub credential: Credential,
    /// As the client says; see [`parse_name`].
    pub name: String,
    /// Videos that the client decodes at most; 0: the default.
    pub max_video_streams: u32,
    /// What the client encodes and decodes.
    pub codecs: Codecs,
    /// What the client can do of encryption, if anything.
    pub e2ee: Option<Offer>,
}

/// Somebody who comes back.
#[derive(Debug, Clone)]
pub struct Resume {
    /// [`resume_hash`] of the token.
    pub hash: [u8; 32],
    /// Streams that the client still sends; what is no id names none.
    pub kept_streams: Vec<String>,
    /// As in [`Join`]; `None`: as before.
    pub max_video_streams: Option<u32>,
    /// As in [`Join`]; `None`: as before.
    pub codecs: Option<Codecs>,
    /// As in [`Join`].
    pub e2ee: Option<Offer>,
}

impl Meeting {
    /// Gives a newcomer a seat. The answer goes out when its first media
    /// handler has confirmed the registration; what the session sends meanwhile is handled.
    ///
    /// # Errors
    /// See [`JoinError`]; nothing has changed then.
    pub fn handle_join(
        &mut self,
        session: SessionId,
        request_id: u64,
        join: Join,
        now: Time,
        rng: &mut impl CryptoRng,
    ) -> Result<Vec<Effect>, JoinError> {
        self.admit(session, join.e2ee)?;
        let name = parse_name(&join.name)?;
        if self.roster.is_barred(join.credential, now) {
            return Err(JoinError::Removed);
        }
        let max = self.config.settings.participants_max;
        if self.roster.len() >= max {
            return Err(JoinError::Full(max));
        }
        let place = self.place_newcomer()?;
        let user = self.roster.next_user();
        let token = random_token(rng);
        let seat = Seat {
            user,
            participant: random_participant(rng),
            name,
            role: join.role,
            joined_at: now,
            credential: join.credential,
            resume_hash: resume_hash(&token),
            connection: Connection::Connected(Line::new(session, now)),
            welcomed: false,
            video_streams_max: self.video_streams_max(join.max_video_streams),
            codecs: join.codecs,
            streams: Vec::new(),
            subscriber: Subscriber::default(),
            directive: Default::default(),
            place,
            registrations: Default::default(),
            told: Default::default(),
            media_sessions: Default::default(),
            media_lost: Default::default(),
        };
        let joined = ParticipantJoined {
            participant: Some(self.describe(&seat)),
        };
        let participant = seat.participant;
        self.roster.insert(seat);
        self.phase = Phase::Running;
        self.begun = true;
        self.codecs_stale = true;
        self.push_all(Some(user), Body::ParticipantJoined(joined), now);
        self.register(user);
        let encryption = self.encryption.as_mut();
        let e2ee = encryption.map(|e| e.enter(user, participant, now));
        self.welcome(user, request_id, token, e2ee, false, now);
        Ok(self.settle(now))
    }

    /// Gives somebody back the seat that is kept; another session that sits in
    /// it is closed. The token that proved it is void from now on.
    ///
    /// # Errors
    /// See [`JoinError`]; nothing has changed then.
    pub fn handle_resume(
        &mut self,
        session: SessionId,
        request_id: u64,
        resume: &Resume,
        now: Time,
        rng: &mut impl CryptoRng,
    ) -> Result<Vec<Effect>, JoinError> {
        self.admit(session, resume.e2ee)?;
        let user = self
            .roster
            .by_resume_hash(&resume.hash)
            .ok_or(JoinError::SeatLost)?;
        let kept: Vec<StreamId> = resume
            .kept_streams
            .iter()
            .filter_map(|id| id.parse().ok())
            .collect();
        let video_streams_max = resume
            .max_video_streams
            .map(|max| self.video_streams_max(max));
        let seat = self.roster.get_mut(user).ok_or(JoinError::SeatLost)?;
        let old = std::mem::replace(
            &mut seat.connection,
            Connection::Connected(Line::new(session, now)),
        );
        seat.subscriber.inherit();
        // The new session hears of all in its first answer.
        seat.told.clear();
        if let Some(max) = video_streams_max {
            seat.video_streams_max = max;
        }
        if let Some(codecs) = &resume.codecs {
            self.codecs_stale |= *codecs != seat.codecs;
            seat.codecs.clone_from(codecs);
        }
        let dropped: Vec<StreamId> = seat
            .streams
            .iter()
            .filter(|id| !kept.contains(id))
            .copied()
            .collect();
        self.routes.touch_receiver(&seat.subscriber);
        self.plan_stale = true;
        if let Connection::Connected(line) = old {
            self.roster.forget_session(line.session);
            self.farewell(line.session, None, CloseCode::Replaced);
        }
        let token = random_token(rng);
        self.roster.take_back(user, session, resume_hash(&token));
        for stream in dropped {
            self.drop_stream(user, stream, now);
        }
        self.register(user);
        let position = resume.e2ee.and_then(|offer| offer.position);
        let encryption = self.encryption.as_mut();
        let e2ee = encryption.map(|e| e.resume(user, position, now));
        self.welcome(user, request_id, token, e2ee, true, now);
        let updated = ParticipantUpdated {
            connection: Some(ConnectionState::Connected.into()),
            reconnected: true,
            ..self.update_of(user)
        };
        self.push_all(Some(user), Body::ParticipantUpdated(updated), now);
        Ok(self.settle(now))
    }

    fn admit(&self, session: SessionId, e2ee: Option<Offer>) -> Result<(), JoinError> {
        if self.phase == Phase::Over {
            return Err(JoinError::Ended);
        }
        if self.encryption.is_some() && e2ee.is_none() {
            return Err(JoinError::CantEncrypt);
        }
        match self.roster.by_session(session) {
            Some(_) => Err(JoinError::Joined),
            None => Ok(()),
        }
    }

    fn video_streams_max(&self, wish: u32) -> usize {
        let limits = &self.config.limits;
        let wish = if wish == 0 {
            limits.video_streams_default
        } else {
            wish as usize
        };
        wish.min(limits.video_streams_max)
    }

    /// The first answer, and what a newcomer must know beside it.
    fn welcome(
        &mut self,
        user: UserId,
        request_id: u64,
        token: [u8; RESUME_TOKEN_BYTES],
        e2ee: Option<E2eeEntry>,
        resumed: bool,
        now: Time,
    ) {
        let directive = self.directive(user);
        let Some(seat) = self.roster.get_mut(user) else {
            return;
        };
        seat.directive.clone_from(&directive);
        let gate = seat.gate();
        let Some(seat) = self.roster.get(user) else {
            return;
        };
        let others = self.roster.iter().filter(|s| s.user != user);
        let response = JoinResponse {
            participant_id: seat.participant.to_string(),
            existing_participants: others.map(|s| self.describe(s)).collect(),
            user_id: user.0,
            resume_token: token.to_vec().into(),
            self_: Some(self.describe(seat)),
            meeting: Some(self.info()),
            resumed,
            send_directive: Some(directive),
            e2ee,
            no_common_video_codec: self.lacks_codec(user, MediaKind::Video),
            no_common_audio_codec: self.lacks_codec(user, MediaKind::Audio),
            ..JoinResponse::default()
        };
        let subscribed = seat.subscriber.wants_anything() || seat.subscriber.generation() > 0;
        let message = ServerMessage::new(request_id, Body::JoinResponse(response));
        self.send_gated(user, message, Access::Welcome, gate, now);
        if subscribed {
            let assignments = self.assignments(user);
            self.push(user, Body::StreamAssignments(assignments), now);
        }
        if !self.speakers.told().is_empty() {
            let speakers = self.speakers_message(self.speakers.told());
            self.push(user, Body::ActiveSpeakers(speakers), now);
        }
    }

    /// As others see this seat.
    pub(super) fn describe(&self, seat: &Seat) -> Participant {
        let streams = seat.streams.iter().filter_map(|id| self.streams.get(*id));
        Participant {
            participant_id: seat.participant.to_string(),
            name: seat.name.clone(),
            streams: streams.map(|stream| stream.to_wire()).collect(),
            joined_at: seat.joined_at.0,
            user_id: seat.user.0,
            role: seat.role.into(),
            connection: seat.connection_state().into(),
        }
    }

    /// Tells the seat's handlers who it is and what it sends.
    pub(super) fn register(&mut self, user: UserId) {
        if let Some(seat) = self.roster.get(user) {
            let handlers: Vec<HandlerId> = seat.place.handlers().collect();
            self.register_at(user, &handlers);
        }
    }

    /// Those that are gone are told when they are back.
    pub(super) fn register_at(&mut self, user: UserId, handlers: &[HandlerId]) {
        let Some(seat) = self.roster.get(user) else {
            return;
        };
        let streams = seat.streams.iter().filter_map(|id| self.streams.get(*id));
        let mut command = RegisterParticipant {
            participant_id: seat.participant.to_string(),
            meeting_id: self.config.meeting.to_string(),
            streams: streams.map(|s| for_handlers(s.to_wire())).collect(),
            user_id: user.0,
            generation: None,
        };
        let Some(seat) = self.roster.get_mut(user) else {
            return;
        };
        for handler in handlers {
            let generation = self.counter.next();
            seat.registrations.entry(*handler).or_default().sent = generation.counter;
            if self.placing.fleet.is_there(*handler) {
                command.generation = Some(generation);
                self.out.push(Effect::Register {
                    handler: *handler,
                    command: command.clone(),
                });
            }
        }
    }

    /// The client is gone and may come back, if it ever could know how.
    pub(super) fn lose(&mut self, user: UserId, now: Time) {
        let Some(seat) = self.roster.get_mut(user) else {
            return;
        };
        let Connection::Connected(line) = &seat.connection else {
            return;
        };
        if !seat.welcomed {
            self.remove(user, LeaveReason::ConnectionLost, now);
            return;
        }
        let session = line.session;
        seat.connection = Connection::Disconnected { since: now };
        self.routes.touch_receiver(&seat.subscriber);
        self.roster.forget_session(session);
        if let Some(encryption) = &mut self.encryption {
            encryption.disconnect(user, now);
        }
        let updated = ParticipantUpdated {
            connection: Some(ConnectionState::Disconnected.into()),
            ..self.update_of(user)
        };
        self.push_all(Some(user), Body::ParticipantUpdated(updated), now);
    }

    pub(super) fn update_of(&self, user: UserId) -> ParticipantUpdated {
        let participant = self
            .roster
            .get(user)
            .map(|seat| seat.participant.to_string());
        ParticipantUpdated {
            participant_id: participant.unwrap_or_default(),
            ..ParticipantUpdated::default()
        }
    }

    pub(super) fn leave(&mut self, user: UserId, request_id: u64, now: Time) {
        if let Some(seat) = self.remove(user, LeaveReason::Voluntary, now) {
            self.last_ack(&seat, request_id);
            if let Some(line) = seat.line() {
                self.farewell(line.session, None, CloseCode::Graceful);
            }
        }
    }

    /// Takes the seat away: its streams, its registrations, its numbers.
    pub(super) fn remove(&mut self, user: UserId, reason: LeaveReason, now: Time) -> Option<Seat> {
        let seat = self.roster.remove(user)?;
        if let Some(encryption) = &mut self.encryption {
            encryption.leave(user);
        }
        for stream in &seat.streams {
            self.streams.remove(*stream);
            self.routes.touch(*stream);
        }
        self.routes.forget_receiver(user, &seat.subscriber);
        self.speakers.forget(user, now);
        self.plan_stale = true;
        self.codecs_stale = true;
        let code = match reason {
            LeaveReason::Kicked => CloseCode::Removed,
            LeaveReason::MeetingEnded => CloseCode::MeetingEnded,
            _ => CloseCode::Graceful,
        };
        self.unregister(&seat, code);
        self.placing.forget(user);
        let left = ParticipantLeft {
            participant_id: seat.participant.to_string(),
            reason: reason.into(),
        };
        self.push_all(None, Body::ParticipantLeft(left), now);
        self.forget_spotlight(user, now);
        if self.roster.len() == 0 && self.phase == Phase::Running {
            self.phase = Phase::Empty { since: now };
        }
        Some(seat)
    }

    pub(super) fn unregister(&mut self, seat: &Seat, code: CloseCode) {
        for handler in seat.place.handlers() {
            self.unregister_at(handler, seat.participant.to_string(), code);
        }
    }
}

/// A stream as handlers know it: of any codec, for that may change while it is
/// sent.
pub(super) fn for_handlers(mut stream: MediaStream) -> MediaStream {
    if let Some(metadata) = &mut stream.metadata {
        metadata.codec.clear();
    }
    stream
}

fn random_token(rng: &mut impl CryptoRng) -> [u8; RESUME_TOKEN_BYTES] {
    let mut token = [0; RESUME_TOKEN_BYTES];
    rng.fill_bytes(&mut token);
    token
}

/// A UUID of version 4 from the given random source.
fn random_participant(rng: &mut impl CryptoRng) -> ParticipantId {
    let mut bytes = [0; 16];
    rng.fill_bytes(&mut bytes);
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    ParticipantId::from_bytes(bytes)
}
