//! Messages to clients: answers, pushes to one and to all, last words.

use dt_ids::UserId;
use dt_wire::{
    CloseCode,
    v1::{Ack, ErrorCode, ErrorMessage, ServerMessage, server_message::Body},
};

use super::{Answer, Meeting};
use crate::{
    effects::{Effect, SessionId},
    error::Rejection,
    seat::{Access, Gate, Line, Outgoing, Seat},
    time::Time,
};

impl Meeting {
    /// The answer to a request. "Done" is said only to those who want an answer.
    pub(super) fn answer(&mut self, user: UserId, request_id: u64, answer: Answer, now: Time) {
        match answer {
            Ok(Body::Ack(_)) if request_id == 0 => {}
            Ok(body) => self.send(user, ServerMessage::new(request_id, body), now),
            Err(rejection) => self.reject(user, request_id, rejection, now),
        }
    }

    pub(super) fn reject(&mut self, user: UserId, request_id: u64, why: Rejection, now: Time) {
        self.send(
            user,
            ServerMessage::new(request_id, Body::Error(why.into())),
            now,
        );
    }

    pub(super) fn push(&mut self, user: UserId, body: Body, now: Time) {
        self.send(user, ServerMessage::new(0, body), now);
    }

    /// To everybody who is connected, encoded once; `except` one, if given.
    pub(super) fn push_all(&mut self, except: Option<UserId>, body: Body, now: Time) {
        let mut users = self.roster.users();
        users.retain(|user| Some(*user) != except);
        self.push_to(&users, body, now);
    }

    /// To those of these who are connected, encoded once.
    pub(super) fn push_to(&mut self, users: &[UserId], body: Body, now: Time) {
        let message = ServerMessage::new(0, body);
        let mut sessions = Vec::new();
        let mut waiting = Vec::new();
        for seat in users.iter().filter_map(|user| self.roster.get(*user)) {
            match seat.line() {
                Some(line) if line.waiting_since().is_none() => sessions.push(line.session),
                Some(_) => waiting.push(seat.user),
                None => {}
            }
        }
        for user in waiting {
            self.send(user, message.clone(), now);
        }
        if !sessions.is_empty() {
            self.out.push(Effect::Send { sessions, message });
        }
    }

    fn send(&mut self, user: UserId, message: ServerMessage, now: Time) {
        self.send_gated(user, message, Access::None, Gate::default(), now);
    }

    /// Sends once the gate is open and everything before is sent.
    pub(super) fn send_gated(
        &mut self,
        user: UserId,
        message: ServerMessage,
        access: Access,
        gate: Gate,
        now: Time,
    ) {
        let Some(seat) = self.roster.get_mut(user) else {
            return;
        };
        let Some(line) = seat.line_mut() else {
            return;
        };
        line.hold(gate, Outgoing { message, access }, now);
        seat.release(now, &mut self.out);
        if seat
            .line()
            .is_some_and(|l| l.held() > self.config.limits.held_messages_max)
        {
            self.doomed.insert(user);
        }
    }

    /// Last words to a session that was just taken from its seat, ahead of
    /// whatever waited.
    pub(super) fn farewell(
        &mut self,
        session: SessionId,
        last: Option<ServerMessage>,
        code: CloseCode,
    ) {
        if let Some(message) = last {
            self.out.push(Effect::Send {
                sessions: vec![session],
                message,
            });
        }
        self.out.push(Effect::Close { session, code });
    }

    /// Says "done" to somebody whose seat is about to go.
    pub(super) fn last_ack(&mut self, seat: &Seat, request_id: u64) {
        if let (Some(line), true) = (seat.line(), request_id != 0) {
            self.out.push(Effect::Send {
                sessions: vec![line.session],
                message: ServerMessage::new(request_id, Body::Ack(Ack {})),
            });
        }
    }

    /// A session whose answers can't be sent: the handler is silent, or too much
    /// waits for it. Whoever was never welcomed can't come back either.
    pub(super) fn fail(&mut self, user: UserId, now: Time) {
        let Some(session) = self
            .roster
            .get(user)
            .and_then(Seat::line)
            .map(|line| line.session)
        else {
            return;
        };
        let error = ErrorMessage::with(
            ErrorCode::InternalError,
            "the media handler does not answer: try again",
        );
        let last = self
            .roster
            .get(user)
            .and_then(Seat::line)
            .and_then(Line::first_request);
        let last = last.map(|id| ServerMessage::new(id, Body::Error(error)));
        self.lose(user, now);
        self.farewell(session, last, CloseCode::InternalError);
    }
}
