//! The ways of streams, as handlers were told them: who should get something
//! does, nothing goes in circles, and nothing is taken away before something else
//! is there in its place.

use std::collections::{BTreeMap, BTreeSet};

use dt_ids::{HandlerId, StreamId, UserId};
use dt_wire::{
    internal::{RouteMediaCommand, RoutingOptions},
    v1::{ServerMessage, server_message::Body},
};

use super::{World, handler::Handler};
use crate::{
    SessionId, Time,
    routing::{Health, Move},
    seat::Seat,
    streams::Published,
};

const HOPS_MAX: u32 = 4;

/// What was true after the step before.
#[derive(Default)]
pub(super) struct Ways {
    /// Where each picture reached each receiver.
    at: BTreeMap<(UserId, StreamId), BTreeSet<HandlerId>>,
    /// Since when by two ways.
    both: BTreeMap<(UserId, StreamId), Time>,
    homes: BTreeMap<UserId, HandlerId>,
    unwell: BTreeSet<HandlerId>,
    /// The handlers that each session was told of.
    known: BTreeMap<SessionId, BTreeSet<HandlerId>>,
}

impl Ways {
    pub(super) fn welcome(&mut self, session: SessionId, handlers: &[HandlerId]) {
        let before = self
            .known
            .insert(session, handlers.iter().copied().collect());
        assert!(before.is_none(), "one welcome a session");
    }

    pub(super) fn assigned(&mut self, session: SessionId, handler: HandlerId) {
        let known = self.known.get_mut(&session).expect("it was welcomed");
        assert!(known.insert(handler), "it is told once");
    }

    pub(super) fn deliver(&mut self, session: SessionId, message: &ServerMessage) {
        if let Some(Body::HandlerRemoved(removed)) = &message.body {
            let handler = removed.handler_id.parse().expect("a UUID");
            let known = self.known.get_mut(&session).expect("it was welcomed");
            assert!(known.remove(&handler), "only what it knows is taken away");
        }
    }
}

impl World {
    pub(super) fn check_ways(&mut self) {
        if self.ended {
            assert!(
                self.route_ids.in_use().is_empty(),
                "all numbers are given back"
            );
            return;
        }
        self.check_links();
        let mut now_at = BTreeMap::new();
        for seat in self.meeting.roster.iter() {
            self.check_place(seat);
            for (slot, id) in &seat.subscriber.received().collect::<Vec<_>>() {
                let stream = self.meeting.streams.get(*id).expect("it is published");
                let at = self.reached_at(seat, *id);
                for handler in &at {
                    let to = self.receiver_at(*handler, seat, *id).expect("it is there");
                    assert_eq!(to.options, made_anew(seat, *id));
                    assert_eq!(
                        to.stream_number,
                        seat.subscriber.generation() << 24 | slot.get()
                    );
                    assert_eq!(to.class(), self.class(seat, *slot, *id));
                    assert_eq!(to.max_bitrate, seat.subscriber.max_bitrate(*id));
                }
                self.check_reached(seat, stream, &at);
                if !stream.is_audio() && !stream.muted && seat.receives() {
                    now_at.insert((seat.user, *id), at);
                }
            }
        }
        self.check_nobody_else();
        self.check_change(&now_at);
        self.ways.at = now_at;
        self.ways.homes = self
            .meeting
            .roster
            .iter()
            .map(|s| (s.user, s.place.home()))
            .collect();
        let fleet = &self.meeting.placing.fleet;
        let unwell = self.handlers.iter().filter(|h| !fleet.is_well(h.id));
        self.ways.unwell = unwell.map(|h| h.id).collect();
    }

    fn there(&self, handler: HandlerId) -> Option<&Handler> {
        self.handlers.iter().find(|h| h.id == handler && !h.gone)
    }

    fn route(&self, handler: HandlerId, stream: StreamId) -> Option<&RouteMediaCommand> {
        self.there(handler)?.routes.get(&stream)
    }

    fn receiver_at(
        &self,
        handler: HandlerId,
        seat: &Seat,
        stream: StreamId,
    ) -> Option<dt_wire::internal::Destination> {
        let participant = seat.participant.to_string();
        let mut all = self.route(handler, stream)?.destinations.iter();
        all.find(|d| d.participant_id == participant).cloned()
    }

    fn reached_at(&self, seat: &Seat, stream: StreamId) -> BTreeSet<HandlerId> {
        let all = self.handlers.iter().map(|h| h.id);
        all.filter(|h| self.receiver_at(*h, seat, stream).is_some())
            .collect()
    }

    /// Who should get a stream gets it where it is, while anybody has it.
    fn check_reached(&self, seat: &Seat, stream: &Published, at: &BTreeSet<HandlerId>) {
        if stream.muted || !seat.receives() {
            assert!(at.is_empty(), "nobody gets what nobody may");
            return;
        }
        let sound = stream.is_audio();
        let owner = self.meeting.roster.get(stream.owner).expect("somebody's");
        let begins = owner.place.sends_to(sound);
        let begins: Vec<_> = begins.filter(|h| self.there(*h).is_some()).collect();
        assert!(at.iter().all(|h| seat.place.contains(*h)));
        if begins.is_empty() {
            assert!(at.is_empty(), "there is nothing to get");
            return;
        }
        if self.there(seat.place.home()).is_some() {
            assert!(at.contains(&seat.place.home()), "it is reached at home");
        }
        if made_anew(seat, stream.id).is_some() {
            let home = seat.place.home();
            assert!(at.iter().all(|h| *h == home), "two would not fit together");
        } else if sound {
            let mut places = seat.place.receives_from(true);
            assert!(
                places.all(|h| at.contains(&h) || self.there(h).is_none()),
                "nobody loses sound while one of his handlers lives"
            );
        }
        for handler in at {
            let begin = self.follow(*handler, stream.id);
            assert!(begins.contains(&begin), "and the way begins at the sender");
        }
    }

    /// The way back to its beginning.
    fn follow(&self, handler: HandlerId, stream: StreamId) -> HandlerId {
        let (mut at, mut hops) = (handler, 0);
        while let Some(inlet) = &self.route(at, stream).expect("it is told so").inlet {
            hops += 1;
            assert!(hops <= HOPS_MAX, "no loop, and not too far");
            let up: HandlerId = inlet.handler_id.parse().expect("a UUID");
            let route = self.route(up, stream).expect("it comes from somewhere");
            let out = route
                .destinations
                .iter()
                .find(|d| d.handler_id == at.to_string())
                .expect("where it is passed on");
            assert_eq!(out.route_id, inlet.route_id);
            assert_eq!(out.origin_handler_id, inlet.origin_handler_id);
            assert_eq!((out.hops, inlet.hops), (hops, hops));
            assert_ne!(inlet.origin_handler_id, at.to_string(), "never back");
            at = up;
        }
        at
    }

    /// Nobody gets anything that is not assigned to them.
    fn check_nobody_else(&self) {
        for handler in self.handlers.iter().filter(|h| !h.gone) {
            for (id, route) in &handler.routes {
                assert!(!route.destinations.is_empty());
                let people = route.destinations.iter();
                for to in people.filter(|d| !d.participant_id.is_empty()) {
                    let who = to.participant_id.parse().expect("a UUID");
                    let user = self.meeting.roster.by_participant(who);
                    let seat = user.and_then(|user| self.meeting.roster.get(user));
                    let gets = |seat: &Seat| seat.subscriber.received().any(|(_, s)| s == *id);
                    assert!(seat.is_some_and(gets));
                }
            }
        }
    }

    /// Every link has a number of its own, two ends, and one copy.
    fn check_links(&self) {
        let mut numbers = BTreeSet::new();
        for handler in self.handlers.iter().filter(|h| !h.gone) {
            for (id, route) in &handler.routes {
                let stream = self.meeting.streams.get(*id).expect("it is published");
                let owner = self.meeting.roster.get(stream.owner).expect("somebody's");
                let mut peers = BTreeSet::new();
                for out in route
                    .destinations
                    .iter()
                    .filter(|d| !d.handler_id.is_empty())
                {
                    assert!(peers.insert(&out.handler_id), "one copy a link");
                    assert_ne!(out.handler_id, out.origin_handler_id, "never back");
                    let to: HandlerId = out.handler_id.parse().expect("a UUID");
                    assert!(numbers.insert((to, out.route_id)), "a number is one link's");
                    let far = self.route(to, *id).expect("somebody is there");
                    let taken = far.inlet.as_ref();
                    let taken = taken.is_some_and(|i| i.route_id == out.route_id);
                    let ends = owner.place.leaving() == Some(handler.id);
                    assert!(taken || ends, "a link has two ends, but for moves");
                }
            }
        }
        assert_eq!(
            numbers,
            self.route_ids.in_use(),
            "numbers are free when unused"
        );
    }

    fn check_place(&self, seat: &Seat) {
        let place = &seat.place;
        let handlers: Vec<_> = place.handlers().collect();
        let distinct: BTreeSet<_> = handlers.iter().collect();
        assert_eq!(distinct.len(), handlers.len());
        assert!((1..=3).contains(&handlers.len()));
        let fleet = &self.meeting.placing.fleet;
        let others = self.handlers.iter().filter(|h| h.id != place.home());
        let well = others.filter(|h| fleet.is_well(h.id)).count();
        if fleet.health(place.home()) == Some(Health::Gone) {
            let all_gone = self.handlers.iter().all(|h| h.gone);
            assert!(all_gone, "nobody stays where nothing is");
        } else if well > 0 && place.moving().is_none() {
            let spare = place.spare().and_then(|spare| fleet.health(spare));
            assert!(
                matches!(spare, Some(Health::Well | Health::Overloaded)),
                "everybody has a second one while there is one"
            );
        }
        if let Some(Move::Opening { to, .. }) = place.moving() {
            assert!(fleet.is_well(to), "nobody moves to a sick one");
        }
        if let Some(line) = seat.line().filter(|line| line.welcomed()) {
            let waits = line.waiting_since().is_some();
            let known = self.ways.known.get(&line.session);
            assert!(
                waits || known == Some(&seat.told),
                "it knows what it was told"
            );
            let told = place.handlers().all(|h| {
                seat.told.contains(&h) || self.there(h).is_none() || !seat.is_registered_at(h)
            });
            assert!(told || waits, "a client knows where it is let in");
            assert!(seat.told.iter().all(|h| place.contains(*h)));
        }
    }

    /// Make before break, and no home changes without need.
    fn check_change(&mut self, now_at: &BTreeMap<(UserId, StreamId), BTreeSet<HandlerId>>) {
        let wait_ms = self.meeting.config.limits.move_wait_ms;
        let mut both = BTreeMap::new();
        for (key, at) in now_at {
            let since = self.ways.both.get(key).copied().unwrap_or(self.now);
            if at.len() > 1 {
                both.insert(*key, since);
            }
            let Some(before) = self.ways.at.get(key) else {
                continue;
            };
            let (user, stream) = *key;
            let seat = self.meeting.roster.get(user).expect("somebody");
            let lives: BTreeSet<_> = before
                .iter()
                .filter(|h| self.there(**h).is_some())
                .collect();
            if lives.is_empty() || at.is_empty() {
                continue;
            }
            assert!(
                at.iter().any(|h| lives.contains(h)),
                "there is always a way that was there before"
            );
            let home = self.there(seat.place.home()).expect("it has a way");
            let arrives = home.arriving.contains(&stream);
            for gone in lives.iter().filter(|h| !at.contains(**h)) {
                let time_is_up = self.now.ms_since(since) >= wait_ms;
                assert!(
                    arrives || time_is_up || self.ways.unwell.contains(gone) && before.len() == 1,
                    "an old way is taken away when the new one flows, or in time"
                );
            }
        }
        self.ways.both = both;
        for seat in self.meeting.roster.iter() {
            let before = self.ways.homes.get(&seat.user);
            if let Some(before) = before.filter(|before| **before != seat.place.home()) {
                let fleet = &self.meeting.placing.fleet;
                assert!(
                    self.ways.unwell.contains(before) || !fleet.is_well(*before),
                    "nobody leaves a handler that is well"
                );
            }
        }
    }
}

/// What a handler is to make of a stream for somebody.
pub(super) fn made_anew(seat: &Seat, stream: StreamId) -> Option<RoutingOptions> {
    if seat.subscriber.mixes(stream) {
        return Some(RoutingOptions {
            mix_audio: true,
            ..RoutingOptions::default()
        });
    }
    let target_bitrate = seat.subscriber.transcodes(stream)?;
    Some(RoutingOptions {
        transcode: true,
        target_codec: "opus".into(),
        target_bitrate,
        mix_audio: false,
    })
}
