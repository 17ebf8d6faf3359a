//! What follows from the state: assignments, routes, send directives, pushes of
//! speakers, the live number. Nothing here decides; it all can be derived anew.

use dt_ids::{StreamId, UserId};
use dt_wire::{
    internal::{Destination, RouteMediaCommand},
    v1::{ActiveSpeakers, EncodingDirective, SendDirective, server_message::Body},
};

use super::{Meeting, Phase};
use crate::{
    effects::Effect,
    planning::{Candidate, Stage},
    routing,
    time::Time,
};

impl Meeting {
    /// Ends every input: brings everything that follows up to date.
    pub(super) fn settle(&mut self, now: Time) -> Vec<Effect> {
        if self.phase != Phase::Over {
            self.derive(now);
            // Those who can't be told go, and that changes things again; each
            // round takes at least one seat's session away.
            while let Some(user) = self.doomed.pop_first() {
                self.fail(user, now);
                self.derive(now);
            }
            let participants = self.roster.len();
            if participants != self.live_told {
                self.live_told = participants;
                self.out.push(Effect::Live { participants });
            }
        }
        std::mem::take(&mut self.out)
    }

    fn derive(&mut self, now: Time) {
        self.drive_encryption(now);
        let limits = &self.config.limits;
        let (interval_ms, promotion_ms) = (limits.speakers_interval_ms, limits.promotion_ms);
        if let Some(users) = self.speakers.take_push(now, interval_ms) {
            let speakers = self.speakers_message(&users);
            self.push_all(None, Body::ActiveSpeakers(speakers), now);
        }
        if self.speakers.promote(now, promotion_ms) {
            self.plan_stale = true;
        }
        if std::mem::take(&mut self.plan_stale) {
            self.plan_all(now);
        }
        for stream in self.routes.take_stale() {
            self.route(stream);
        }
        while let Some(user) = self.directives_stale.pop_first() {
            self.direct(user, now);
        }
    }

    pub(super) fn speakers_message(&self, users: &[UserId]) -> ActiveSpeakers {
        let seats = users.iter().filter_map(|user| self.roster.get(*user));
        ActiveSpeakers {
            participant_ids: seats.map(|s| s.participant.to_string()).collect(),
        }
    }

    fn stage(&self) -> Stage {
        let candidate = |stream: &crate::streams::Published| Candidate {
            stream: stream.id,
            user: stream.owner,
            kind: stream.kind,
            muted: stream.muted,
            rank: self.speakers.rank(stream.owner),
            promoted_rank: self.speakers.promoted_rank(stream.owner),
            last_spoke: self.speakers.last_spoke(stream.owner),
        };
        Stage::new(self.streams.iter().map(candidate).collect())
    }

    fn plan_all(&mut self, now: Time) {
        let stage = self.stage();
        for user in self.roster.users() {
            if self.plan_with(user, &stage) {
                let assignments = self.assignments(user);
                self.push(user, Body::StreamAssignments(assignments), now);
            }
        }
    }

    /// Plans one subscriber anew; true when its assignments changed.
    pub(super) fn plan_one(&mut self, user: UserId) -> bool {
        let stage = self.stage();
        self.plan_with(user, &stage)
    }

    fn plan_with(&mut self, user: UserId, stage: &Stage) -> bool {
        let Some(seat) = self.roster.get_mut(user) else {
            return false;
        };
        let Some(change) = seat.subscriber.plan(user, stage, seat.video_streams_max) else {
            return false;
        };
        self.routes.reassign(user, &seat.subscriber, &change.lost);
        true
    }

    /// Tells the stream's handler its whole set of receivers, if that changed.
    fn route(&mut self, id: StreamId) {
        let stream = self.streams.get(id);
        let owner = stream.and_then(|s| self.roster.get(s.owner));
        let handler = owner.and_then(|seat| seat.handlers.first().copied());
        let destinations = self.destinations(id);
        if let Some(owner) = owner {
            self.directives_stale.insert(owner.user);
        }
        if let Some(handler) = self.routes.update(id, handler, &destinations) {
            let command = RouteMediaCommand {
                source_stream_id: id.to_string(),
                meeting_id: self.config.meeting.to_string(),
                generation: Some(self.counter.next()),
                destinations,
                ..RouteMediaCommand::default()
            };
            self.out.push(Effect::Route { handler, command });
        }
    }

    /// Who gets a stream now: nobody while it is muted.
    pub(super) fn destinations(&self, id: StreamId) -> Vec<Destination> {
        if self.streams.get(id).is_none_or(|stream| stream.muted) {
            return Vec::new();
        }
        let receivers = self.routes.receivers(id).filter_map(|(user, slot)| {
            let seat = self.roster.get(user).filter(|seat| seat.receives())?;
            Some(Destination {
                participant_id: seat.participant.to_string(),
                stream_number: routing::label(&seat.subscriber, slot),
            })
        });
        receivers.collect()
    }

    /// Tells a sender what to send, if that changed.
    fn direct(&mut self, user: UserId, now: Time) {
        let directive = self.directive(user);
        let Some(seat) = self.roster.get_mut(user).filter(|seat| seat.connected()) else {
            // Told when it is back.
            return;
        };
        if seat.directive != directive {
            seat.directive.clone_from(&directive);
            self.push(user, Body::SendDirective(directive), now);
        }
    }

    pub(super) fn directive(&self, user: UserId) -> SendDirective {
        let Some(seat) = self.roster.get(user) else {
            return SendDirective::default();
        };
        let handler_ids: Vec<String> = seat.handlers.iter().map(ToString::to_string).collect();
        let streams = seat.streams.iter().filter_map(|id| self.streams.get(*id));
        let encodings = streams.flat_map(|stream| {
            let handler_ids = handler_ids.clone();
            (0..stream.encodings()).map(move |encoding| EncodingDirective {
                stream_id: stream.id.to_string(),
                encoding,
                active: self.routes.is_routed(stream.id),
                handler_ids: handler_ids.clone(),
                carrier: stream.carrier.into(),
                max_bitrate: 0,
            })
        });
        SendDirective {
            encodings: encodings.collect(),
        }
    }
}
