//! What follows from the state: assignments, routes, send directives, pushes of
//! speakers, the live number. Nothing here decides; it all can be derived anew.

use std::collections::BTreeMap;

use dt_frame::MediaKind;
use dt_ids::{HandlerId, Slot, StreamId, UserId};
use dt_wire::{
    internal::{Destination, DestinationClass, Inlet, RouteMediaCommand},
    v1::{ActiveSpeakers, EncodingDirective, SendDirective, StreamType, server_message::Body},
};

use super::{
    Listeners, Meeting, Phase,
    joining::for_handlers,
    mixing::{is_readable, options},
};
use crate::{
    codecs::Receivers,
    effects::Effect,
    planning::{Candidate, Stage},
    routing::{self, Place, Sender, Stop, Wanted, plan},
    seat::Seat,
    streams::Published,
    subscription::Subscriber,
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
        let floor = self.speakers.floor();
        if self.speakers.promote(now, promotion_ms) {
            self.plan_stale = true;
        }
        if self.speakers.floor() != floor {
            for user in floor.into_iter().chain(self.speakers.floor()) {
                self.touch_streams(user);
            }
        }
        if std::mem::take(&mut self.codecs_stale) {
            self.choose_codecs();
        }
        if std::mem::take(&mut self.plan_stale) {
            self.plan_all(now);
        }
        self.drive_moves(now);
        for stream in self.routes.take_stale() {
            self.route(stream, now);
        }
        self.find_listeners();
        while let Some(user) = self.directives_stale.pop_first() {
            self.direct(user, now);
        }
    }

    /// Chooses anew what every stream is encoded with.
    fn choose_codecs(&mut self) {
        let receivers = Receivers::new(self.roster.iter().map(|seat| &seat.codecs));
        for stream in self.streams.iter_mut() {
            let Some(owner) = self.roster.get(stream.owner) else {
                continue;
            };
            let codec = receivers.choose(stream.published, &owner.codecs);
            if codec != stream.encoded {
                stream.encoded = codec;
                self.plan_stale = true;
                self.directives_stale.insert(stream.owner);
            }
        }
    }

    /// Whether it decodes nothing that the others encode now, or would.
    pub(super) fn lacks_codec(&self, user: UserId, kind: MediaKind) -> bool {
        let Some(seat) = self.roster.get(user) else {
            return false;
        };
        let receivers = Receivers::new(self.roster.iter().map(|seat| &seat.codecs));
        let others = self.roster.iter().filter(|other| other.user != user);
        let mut encoded = others.flat_map(|other| {
            let streams = other.streams.iter().filter_map(|id| self.streams.get(*id));
            let published = streams.map(|stream| stream.published);
            published
                .filter(|codec| codec.kind() == kind)
                .chain(other.codecs.first(kind))
                .map(|published| receivers.choose(published, &other.codecs))
        });
        let mut any = false;
        let decodes_one = encoded.any(|codec| {
            any = true;
            seat.codecs.knows(codec)
        });
        any && !decodes_one
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
            codec: stream.encoded,
            mixable: is_readable(stream),
            rank: self.speakers.rank(stream.owner),
            promoted_rank: self.speakers.promoted_rank(stream.owner),
            last_spoke: self.speakers.last_spoke(stream.owner),
        };
        let candidates = self.streams.iter().map(candidate).collect();
        Stage::new(candidates, &self.spotlight, self.speakers.floor())
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
        let me = (user, &seat.codecs);
        let Some(change) = seat.subscriber.plan(me, stage, seat.video_streams_max) else {
            return false;
        };
        self.routes.reassign(user, &seat.subscriber, &change.lost);
        true
    }

    /// Tells handlers the whole way of a stream, if that changed: first those that
    /// are to do something.
    fn route(&mut self, id: StreamId, now: Time) {
        let stream = self.streams.get(id);
        let owner = stream.and_then(|s| self.roster.get(s.owner));
        self.directives_stale.extend(owner.map(|seat| seat.user));
        let ways = self.ways(id);
        if !ways.is_empty() && !self.is_routed(id) {
            let assume_ms = self.config.limits.demand_ms;
            self.streams.begin(id, now, assume_ms);
        }
        let mut told = self.routes.told(id);
        told.retain(|handler| !ways.contains_key(handler) && self.placing.fleet.is_there(*handler));
        let none = told.into_iter().map(|handler| (handler, Wanted::default()));
        for (handler, wanted) in ways.into_iter().chain(none) {
            let generation = self.routes.update(id, handler, &wanted, &mut self.counter);
            if generation.is_some() {
                let command = RouteMediaCommand {
                    source_stream_id: id.to_string(),
                    meeting_id: self.config.meeting.to_string(),
                    generation,
                    destinations: wanted.destinations,
                    inlet: wanted.inlet,
                    ..RouteMediaCommand::default()
                };
                self.out.push(Effect::Route { handler, command });
            }
        }
    }

    pub(super) fn is_routed(&self, id: StreamId) -> bool {
        let fleet = &self.placing.fleet;
        self.routes.is_routed(id, |handler| fleet.is_there(handler))
    }

    /// What each handler is to do with a stream; nothing while it is muted.
    fn ways(&mut self, id: StreamId) -> BTreeMap<HandlerId, Wanted> {
        let stops = self.stops(id);
        let numbers = self.routes.number(id, &stops);
        let Some(stream) = self.streams.get(id) else {
            return BTreeMap::new();
        };
        let slots: BTreeMap<UserId, Slot> = self.routes.receivers(id).collect();
        let ways = stops.into_iter().map(|(handler, stop)| {
            let people = stop.receivers.iter();
            let people = people.filter_map(|user| self.destination(stream, *user, slots[user]));
            let onward = stop.onward.iter().filter_map(|hop| {
                let number = numbers.get(&(handler, hop.peer))?;
                Some(routing::outlet(hop, *number))
            });
            let inlet = stop.inlet.and_then(|hop| {
                Some(Inlet {
                    handler_id: hop.peer.to_string(),
                    route_id: *numbers.get(&(hop.peer, handler))?,
                    origin_handler_id: hop.origin.to_string(),
                    hops: hop.hops,
                    stream: Some(for_handlers(stream.to_wire())),
                    participant_id: stream.participant.to_string(),
                    user_id: stream.owner.0,
                })
            });
            let wanted = Wanted {
                inlet,
                destinations: people.chain(onward).collect(),
                people: stop.receivers,
            };
            (handler, wanted)
        });
        ways.filter(|(_, wanted)| !wanted.destinations.is_empty())
            .collect()
    }

    fn stops(&self, id: StreamId) -> BTreeMap<HandlerId, Stop> {
        let stream = self.streams.get(id).filter(|stream| !stream.muted);
        let owner = stream.and_then(|stream| self.roster.get(stream.owner));
        let (Some(stream), Some(owner)) = (stream, owner) else {
            return BTreeMap::new();
        };
        let sender = Sender {
            place: &owner.place,
            audio: stream.is_audio(),
            lost_at: &|handler| owner.media_lost.contains(&handler),
            is_there: &|handler| self.placing.fleet.is_there(handler),
            passed_on: &|from, to| self.routes.passed_on(id, from, to),
            brings: &|handler, user| self.routes.brings(handler, id, user),
        };
        let receivers = self.routes.receivers(id).filter_map(|(user, _)| {
            let seat = self.roster.get(user).filter(|seat| seat.receives())?;
            let home = || Place::new(seat.place.home(), None);
            let anew = self.is_made_anew(stream, user);
            Some((user, if anew { home() } else { seat.place }))
        });
        let receivers: Vec<(UserId, Place)> = receivers.collect();
        plan(
            &sender,
            receivers.iter().map(|(user, place)| (*user, place)),
        )
    }

    /// A receiver as a handler is told it.
    fn destination(&self, stream: &Published, user: UserId, slot: Slot) -> Option<Destination> {
        let seat = self.roster.get(user)?;
        Some(Destination {
            participant_id: seat.participant.to_string(),
            stream_number: routing::label(&seat.subscriber, slot),
            class: self.class(stream, &seat.subscriber, slot).into(),
            max_bitrate: seat.subscriber.max_bitrate(stream.id),
            options: options(&seat.subscriber, stream, slot),
            ..Destination::default()
        })
    }

    /// What a picture matters to a receiver beside its others.
    pub(super) fn class(
        &self,
        stream: &Published,
        subscriber: &Subscriber,
        slot: Slot,
    ) -> DestinationClass {
        let person = stream.owner;
        let speaker = self.speakers.floor() == Some(person)
            || self.spotlight.contains(&person)
            || subscriber.favours(slot, person);
        match stream.kind {
            StreamType::VideoScreen => DestinationClass::Screen,
            StreamType::VideoCamera if speaker => DestinationClass::Speaker,
            // Sound goes before every class.
            StreamType::VideoCamera | StreamType::Audio => DestinationClass::Other,
        }
    }

    /// What handlers know of its streams may have changed.
    pub(super) fn touch_streams(&mut self, user: UserId) {
        for stream in self.roster.get(user).into_iter().flat_map(|s| &s.streams) {
            self.routes.touch(*stream);
        }
    }

    /// Finds out who would hear whoever begins to speak. A microphone is sent to
    /// its handler also while no slot has room for it: else nobody could know
    /// that it speaks.
    fn find_listeners(&mut self) {
        let hears = |seat: &&Seat| seat.receives() && seat.subscriber.hears();
        let mut hearing = self.roster.iter().filter(hears).map(|seat| seat.user);
        let listeners = match (hearing.next(), hearing.next()) {
            (None, _) => Listeners::Nobody,
            (Some(user), None) => Listeners::One(user),
            (Some(_), Some(_)) => Listeners::Several,
        };
        if listeners != self.listeners {
            self.listeners = listeners;
            let voices = self.streams.iter().filter(|stream| stream.is_audio());
            self.directives_stale
                .extend(voices.map(|voice| voice.owner));
        }
    }

    /// Whether a stream is to be sent at all.
    fn is_wanted(&self, stream: &Published) -> bool {
        let heard = match self.listeners {
            Listeners::Nobody => false,
            Listeners::One(user) => user != stream.owner,
            Listeners::Several => true,
        };
        self.is_routed(stream.id) || (stream.is_audio() && !stream.muted && heard)
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

    /// The handlers that somebody's streams go to, home first.
    fn sends_to(&self, seat: &Seat, audio: bool) -> Vec<String> {
        let home = seat.place.home();
        let is_there = |handler: &HandlerId| self.placing.fleet.is_there(*handler);
        let others = seat.place.sends_to(audio).filter(|id| *id != home);
        // It stays the home while no other one is there.
        let all = std::iter::once(home).chain(others.filter(is_there));
        all.map(|id| id.to_string()).collect()
    }

    pub(super) fn directive(&self, user: UserId) -> SendDirective {
        let Some(seat) = self.roster.get(user) else {
            return SendDirective::default();
        };
        let (picture_ids, sound_ids) = (self.sends_to(seat, false), self.sends_to(seat, true));
        let streams = seat.streams.iter().filter_map(|id| self.streams.get(*id));
        let encodings = streams.flat_map(|stream| {
            let handler_ids = match stream.is_audio() {
                true => sound_ids.clone(),
                false => picture_ids.clone(),
            };
            let codec = match stream.encoded {
                codec if codec == stream.published => "",
                codec => codec.as_str(),
            };
            let wanted = self.is_wanted(stream);
            (0..stream.encodings()).map(move |encoding| {
                // A voice that nobody hears now is the next speaker's.
                let demand = match stream.is_audio() {
                    true => Some(0),
                    false => stream.demand.of(encoding),
                };
                EncodingDirective {
                    stream_id: stream.id.to_string(),
                    encoding,
                    active: wanted && demand.is_some(),
                    handler_ids: handler_ids.clone(),
                    carrier: stream.carrier.into(),
                    max_bitrate: demand.unwrap_or(0),
                    codec: codec.to_owned(),
                }
            })
        });
        SendDirective {
            encodings: encodings.collect(),
        }
    }
}
