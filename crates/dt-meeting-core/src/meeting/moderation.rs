//! What hosts may do, and the end.

use dt_ids::{ParticipantId, UserId};
use dt_wire::{
    CloseCode,
    v1::{
        Ack, LeaveReason, MeetingUpdated, ParticipantLeft, RemoveParticipant, ServerMessage,
        SetSpotlight, server_message::Body,
    },
};

use super::{Answer, Listeners, Meeting, Phase, placing::Placing};
use crate::{
    effects::Effect, error::ModerationError, roster::Roster, seat::Seat, speakers::Speakers,
    streams::Streams, time::Time,
};

/// People in the spotlight at most: a grid of three by three.
pub const SPOTLIGHT_MAX: usize = 9;

impl Meeting {
    fn require_host(&self, user: UserId) -> Result<(), ModerationError> {
        match self.roster.get(user) {
            Some(seat) if seat.is_host() => Ok(()),
            _ => Err(ModerationError::NotHost),
        }
    }

    /// The seat, its resume token and the join token it came with are void.
    pub(super) fn remove_participant(
        &mut self,
        user: UserId,
        request: &RemoveParticipant,
        now: Time,
    ) -> Answer {
        self.require_host(user)?;
        let target: ParticipantId = request
            .participant_id
            .parse()
            .map_err(|_| ModerationError::Invalid)?;
        let target = self
            .roster
            .by_participant(target)
            .ok_or(ModerationError::NoParticipant)?;
        if target == user {
            return Err(ModerationError::Yourself.into());
        }
        if let Some(seat) = self.remove(target, LeaveReason::Kicked, now) {
            let limits = &self.config.limits;
            self.roster.bar(
                seat.credential,
                now.plus_ms(limits.barred_ms),
                limits.barred_max,
            );
            self.dismiss(&seat, LeaveReason::Kicked, CloseCode::Removed);
        }
        Ok(Body::Ack(Ack {}))
    }

    /// Everybody sees these people right behind whom they pinned themselves.
    pub(super) fn set_spotlight(
        &mut self,
        user: UserId,
        request: &SetSpotlight,
        now: Time,
    ) -> Answer {
        self.require_host(user)?;
        if request.participant_ids.len() > SPOTLIGHT_MAX {
            return Err(ModerationError::TooMany(SPOTLIGHT_MAX).into());
        }
        let mut spotlight = Vec::new();
        for id in &request.participant_ids {
            let id: ParticipantId = id.parse().map_err(|_| ModerationError::Invalid)?;
            let target = self.roster.by_participant(id);
            let target = target.ok_or(ModerationError::NoParticipant)?;
            if !spotlight.contains(&target) {
                spotlight.push(target);
            }
        }
        self.use_spotlight(spotlight, now);
        Ok(Body::Ack(Ack {}))
    }

    /// Whoever leaves drops out of it.
    pub(super) fn forget_spotlight(&mut self, user: UserId, now: Time) {
        let mut spotlight = self.spotlight.clone();
        spotlight.retain(|u| *u != user);
        self.use_spotlight(spotlight, now);
    }

    fn use_spotlight(&mut self, spotlight: Vec<UserId>, now: Time) {
        if self.spotlight == spotlight {
            return;
        }
        let before = std::mem::replace(&mut self.spotlight, spotlight);
        for user in before.iter().chain(&self.spotlight.clone()) {
            self.touch_streams(*user);
        }
        self.plan_stale = true;
        let meeting = Some(self.info());
        self.push_all(None, Body::MeetingUpdated(MeetingUpdated { meeting }), now);
    }

    pub(super) fn end_by(&mut self, user: UserId, request_id: u64) -> Result<(), ModerationError> {
        self.require_host(user)?;
        if let (Some(line), true) = (self.roster.get(user).and_then(Seat::line), request_id != 0) {
            self.out.push(Effect::Send {
                sessions: vec![line.session],
                message: ServerMessage::new(request_id, Body::Ack(Ack {})),
            });
        }
        self.end();
        Ok(())
    }

    /// Sends everybody away for good.
    pub(super) fn end(&mut self) {
        if self.phase == Phase::Over {
            return;
        }
        let roster = std::mem::take(&mut self.roster);
        for seat in roster.iter() {
            self.unregister(seat, CloseCode::MeetingEnded);
            self.dismiss(seat, LeaveReason::MeetingEnded, CloseCode::MeetingEnded);
        }
        self.clear();
        self.out.push(Effect::Live { participants: 0 });
        self.out.push(Effect::Ended);
    }

    /// Forgets everything; nothing happens in this meeting any more.
    pub(super) fn clear(&mut self) {
        self.phase = Phase::Over;
        self.roster = Roster::default();
        self.streams = Streams::default();
        self.speakers = Speakers::default();
        self.routes.clear();
        self.placing = Placing::default();
        self.encryption = None;
        self.spotlight.clear();
        self.listeners = Listeners::default();
        self.plan_stale = false;
        self.codecs_stale = false;
        self.directives_stale.clear();
        self.doomed.clear();
        self.live_told = 0;
    }

    /// Tells somebody without a seat why.
    fn dismiss(&mut self, seat: &Seat, reason: LeaveReason, code: CloseCode) {
        if let Some(line) = seat.line() {
            let left = ParticipantLeft {
                participant_id: seat.participant.to_string(),
                reason: reason.into(),
            };
            let last = ServerMessage::new(0, Body::ParticipantLeft(left));
            self.farewell(line.session, Some(last), code);
        }
    }
}
