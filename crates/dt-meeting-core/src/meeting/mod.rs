//! The machine: everything that can happen to a meeting, and what follows.
//!
//! Each `handle_*` method changes the state and ends in `settle`, which derives
//! everything else from it: assignments, routes, send directives, pushes of
//! speakers, the live number. Requests of a session are handled in the order
//! they came, also before its first answer went out.

mod delivery;
mod encrypting;
mod joining;
mod mixing;
mod moderation;
mod placing;
mod publishing;
mod receiving;
mod settling;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;
mod timers;

use std::collections::BTreeSet;

use dt_ids::{HandlerId, ParticipantId, StreamId, UserId};
use dt_wire::{
    internal::{EncodingDemand, Generation},
    v1::{Ack, StreamQualityUpdate, client_message::Body as Request, server_message::Body},
};

pub use joining::{Join, Resume};
pub use moderation::SPOTLIGHT_MAX;

use self::placing::Placing;
use crate::{
    config::Config,
    effects::{Effect, SessionId},
    encryption::Encryption,
    error::{JoinError, QualityError, Rejection},
    roster::Roster,
    routing::{Counter, Routes},
    speakers::Speakers,
    streams::Streams,
    time::Time,
};

/// One meeting. See the [crate] for how it is driven.
#[derive(Debug)]
pub struct Meeting {
    config: Config,
    phase: Phase,
    counter: Counter,
    roster: Roster,
    streams: Streams,
    speakers: Speakers,
    routes: Routes,
    placing: Placing,
    /// Of an encrypted meeting.
    encryption: Option<Encryption>,
    /// Somebody has joined, perhaps left since.
    begun: bool,
    /// Whom a host put before everybody, first place first.
    spotlight: Vec<UserId>,
    /// Who would hear somebody that begins to speak, when directives were made.
    listeners: Listeners,
    /// The number of people that was told last.
    live_told: usize,
    /// Something that assignments follow from has changed.
    plan_stale: bool,
    /// Somebody came, went, or knows other codecs.
    codecs_stale: bool,
    /// Those whose send directive may have changed.
    directives_stale: BTreeSet<UserId>,
    /// Sessions that can't be served any more.
    doomed: BTreeSet<UserId>,
    out: Vec<Effect>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Somebody has a seat.
    Running,
    /// Nobody has.
    Empty { since: Time },
    /// Nobody had one for long; forgotten unless somebody comes.
    Idle,
    /// Over for good, or ruled by somebody else.
    Over,
}

/// Who has room for any voice.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Listeners {
    #[default]
    Nobody,
    One(UserId),
    Several,
}

/// A meeting in numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Status {
    /// Seats, also those of people who may come back.
    pub seats: usize,
    /// Seats with a session.
    pub connected: usize,
    /// Whether it is over.
    pub over: bool,
}

/// What a request is answered with at once.
type Answer = Result<Body, Rejection>;

impl Meeting {
    /// A meeting in which nobody is.
    #[must_use]
    pub fn new(config: Config, now: Time) -> Self {
        Self {
            counter: Counter::new(config.lease),
            encryption: encrypting::encryption_of(&config),
            begun: false,
            phase: Phase::Empty { since: now },
            roster: Roster::default(),
            streams: Streams::default(),
            speakers: Speakers::default(),
            routes: Routes::new(config.route_ids.clone()),
            placing: Placing::new(&config.handlers),
            spotlight: Vec::new(),
            listeners: Listeners::default(),
            live_told: 0,
            plan_stale: false,
            codecs_stale: false,
            directives_stale: BTreeSet::new(),
            doomed: BTreeSet::new(),
            out: Vec::new(),
            config,
        }
    }

    /// Its numbers now.
    #[must_use]
    pub fn status(&self) -> Status {
        Status {
            seats: self.roster.len(),
            connected: self.roster.connected(),
            over: self.phase == Phase::Over,
        }
    }

    /// A request of a session that has joined, or pipelined it behind its join.
    /// Other sessions are not heard.
    pub fn handle_request(
        &mut self,
        session: SessionId,
        request_id: u64,
        request: Request,
        now: Time,
    ) -> Vec<Effect> {
        let Some(user) = self.hear(session, now) else {
            return Vec::new();
        };
        let answer = match request {
            // What is in a report is for the controller's metrics, not for the meeting.
            Request::Heartbeat(_) | Request::HealthReport(_) => Ok(Body::Ack(Ack {})),
            Request::JoinRequest(_) => Err(JoinError::Joined.into()),
            Request::PublishStream(r) => {
                if let Err(e) = self.publish(user, request_id, r, now) {
                    self.reject(user, request_id, e.into(), now);
                }
                return self.settle(now);
            }
            Request::RequestMediaToken(r) => {
                if let Err(e) = self.media_token(user, request_id, &r, now) {
                    self.reject(user, request_id, e.into(), now);
                }
                return self.settle(now);
            }
            Request::Leave(_) => {
                self.leave(user, request_id, now);
                return self.settle(now);
            }
            Request::EndMeeting(_) => {
                if let Err(e) = self.end_by(user, request_id) {
                    self.reject(user, request_id, e.into(), now);
                }
                return self.settle(now);
            }
            Request::UnpublishStream(r) => self.unpublish(user, &r, now),
            Request::SetMute(r) => self.set_mute(user, &r, now),
            Request::SubscribeStream(r) => self.subscribe_stream(user, &r, now),
            Request::UnsubscribeStream(r) => self.unsubscribe_stream(user, &r, now),
            Request::SubscribeLayout(r) => self.subscribe_layout(user, r),
            Request::UpdateLayout(r) => self.update_layout(user, r),
            Request::UnsubscribeLayout(_) => self.unsubscribe_layout(user, now),
            Request::RequestKeyframe(r) => self.request_keyframe(user, &r, now),
            Request::StreamQualityUpdate(r) => self.quality(user, &r),
            Request::RemoveParticipant(r) => self.remove_participant(user, &r, now),
            Request::SetSpotlight(r) => self.set_spotlight(user, &r, now),
            Request::Mls(r) => {
                self.encrypt(user, request_id, r, now);
                return self.settle(now);
            }
        };
        self.answer(user, request_id, answer, now);
        self.settle(now)
    }

    /// A sign of life that is no request (an RTT packet).
    pub fn handle_alive(&mut self, session: SessionId, now: Time) {
        self.hear(session, now);
    }

    /// The session is gone: closed by its client, broken, or too slow.
    pub fn handle_session_lost(&mut self, session: SessionId, now: Time) -> Vec<Effect> {
        if let Some(user) = self.roster.by_session(session) {
            self.lose(user, now);
        }
        self.settle(now)
    }

    /// The handler has applied a registration of this participant.
    pub fn handle_registered(
        &mut self,
        handler: HandlerId,
        participant: ParticipantId,
        generation: Generation,
        now: Time,
    ) -> Vec<Effect> {
        let user = self.roster.by_participant(participant);
        if let Some(seat) = user.and_then(|user| self.roster.get_mut(user))
            && self.placing.fleet.is_there(handler)
            && generation.lease <= self.counter.lease()
            && let Some(registration) = seat.registrations.get_mut(&handler)
        {
            registration.confirmed = registration.confirmed.max(generation.counter);
            let user = seat.user;
            seat.release(now, &mut self.out);
            self.announce(user, handler, now);
        }
        self.settle(now)
    }

    /// Another controller has the meeting: nothing is said or done any more.
    pub fn handle_fenced(&mut self) -> Vec<Effect> {
        if self.phase == Phase::Over {
            return Vec::new();
        }
        self.clear();
        vec![Effect::Fenced]
    }

    /// The handler refuses this participant: if it is the one that an answer waits
    /// for, the session is told so and closed.
    pub fn handle_registration_failed(
        &mut self,
        handler: HandlerId,
        participant: ParticipantId,
        now: Time,
    ) -> Vec<Effect> {
        let user = self.roster.by_participant(participant);
        if let Some(seat) = user.and_then(|user| self.roster.get(user))
            && seat.place.home() == handler
            && seat
                .line()
                .is_some_and(|line| line.waiting_since().is_some())
            && seat
                .registrations
                .get(&handler)
                .is_some_and(|r| r.confirmed < r.sent)
        {
            self.doomed.insert(seat.user);
        }
        self.settle(now)
    }

    /// The controller lost its lease and got it again: generations go on above it.
    pub fn handle_lease(&mut self, lease: u64) {
        self.counter.renew(lease);
    }

    /// Who is loud, loudest first, as one handler hears it.
    pub fn handle_speakers(
        &mut self,
        handler: HandlerId,
        participants: &[ParticipantId],
        now: Time,
    ) -> Vec<Effect> {
        let audible = |user: &UserId| self.is_audible(*user);
        let users = participants
            .iter()
            .filter_map(|p| self.roster.by_participant(*p));
        let users = users.filter(audible).collect();
        if self.placing.fleet.is_there(handler) {
            // Audio slots may follow, tiles do when somebody has spoken long enough.
            self.plan_stale |= self.speakers.report(handler, users, now);
        }
        self.settle(now)
    }

    /// Which encodings of a stream its receivers at one handler want, and those
    /// beyond it. Only where the sender sends it counts: what is wanted elsewhere
    /// is wanted there too.
    pub fn handle_demand(
        &mut self,
        handler: HandlerId,
        demand: &EncodingDemand,
        now: Time,
    ) -> Vec<Effect> {
        if self.is_sent_to(handler, &demand.stream_id) {
            let owner = self.streams.demand(handler, demand);
            self.directives_stale.extend(owner);
        }
        self.settle(now)
    }

    /// A participant opened or closed its media session at a handler.
    pub fn handle_media_session(
        &mut self,
        handler: HandlerId,
        participant: ParticipantId,
        connected: bool,
        now: Time,
    ) -> Vec<Effect> {
        let user = self.roster.by_participant(participant);
        if let Some(seat) = user.and_then(|user| self.roster.get_mut(user))
            && seat.place.contains(handler)
        {
            let (changed, lost) = if connected {
                let lost = seat.media_lost.remove(&handler);
                (seat.media_sessions.insert(handler), lost)
            } else {
                let lost = seat.media_lost.insert(handler);
                (seat.media_sessions.remove(&handler), lost)
            };
            if changed {
                self.routes.touch_receiver(&seat.subscriber);
            }
            if lost {
                let user = seat.user;
                self.touch_streams(user);
            }
        }
        self.settle(now)
    }

    /// How a stream arrives at a handler: told to its sender, of the one that its
    /// pictures go to.
    pub fn handle_telemetry(
        &mut self,
        handler: HandlerId,
        report: StreamQualityUpdate,
        now: Time,
    ) -> Vec<Effect> {
        let stream: Option<StreamId> = report.stream_id.parse().ok();
        if self.is_sent_to(handler, &report.stream_id)
            && let Some(owner) = stream.and_then(|id| self.streams.get(id)).map(|s| s.owner)
        {
            self.push(owner, Body::StreamQualityUpdate(report), now);
        }
        self.settle(now)
    }

    /// Somebody was given the means to join: it is not idle now.
    pub fn handle_assigned(&mut self, now: Time) {
        if matches!(self.phase, Phase::Empty { .. } | Phase::Idle) {
            self.phase = Phase::Empty { since: now };
        }
    }

    /// End it for everybody.
    pub fn handle_end(&mut self) -> Vec<Effect> {
        self.end();
        std::mem::take(&mut self.out)
    }

    /// Whether pictures of this stream's owner are sent to the handler.
    fn is_sent_to(&self, handler: HandlerId, stream: &str) -> bool {
        let stream = stream.parse().ok().and_then(|id| self.streams.get(id));
        let owner = stream.and_then(|stream| self.roster.get(stream.owner));
        owner.is_some_and(|seat| seat.place.sends_to(false).any(|id| id == handler))
    }

    fn hear(&mut self, session: SessionId, now: Time) -> Option<UserId> {
        let user = self.roster.by_session(session)?;
        self.roster.get_mut(user)?.line_mut()?.heard_at = now;
        Some(user)
    }

    /// Whether others could hear it speak.
    fn is_audible(&self, user: UserId) -> bool {
        let streams = self
            .roster
            .get(user)
            .into_iter()
            .flat_map(|seat| &seat.streams);
        let mut streams = streams.filter_map(|id| self.streams.get(*id));
        streams.any(|stream| stream.is_audio() && !stream.muted)
    }

    fn quality(&mut self, user: UserId, report: &StreamQualityUpdate) -> Answer {
        let invalid = |why| Rejection::from(QualityError::Invalid(why));
        let stream: StreamId = report
            .stream_id
            .parse()
            .map_err(|_| invalid("stream_id must be a UUID"))?;
        if !(0.0..=1.0).contains(&report.packet_loss) {
            return Err(invalid("packet_loss must be 0 to 1"));
        }
        if !self
            .roster
            .get(user)
            .is_some_and(|seat| seat.subscriber.receives(stream))
        {
            return Err(QualityError::NotReceived.into());
        }
        self.out.push(Effect::Quality {
            packet_loss: report.packet_loss,
            rtt_ms: report.rtt_ms,
        });
        Ok(Body::Ack(Ack {}))
    }
}
