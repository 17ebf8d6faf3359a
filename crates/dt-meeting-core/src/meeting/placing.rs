//! Media handlers that come, go and tell how they are, and people who are moved
//! from one to another.
//!
//! Who must move away from a handler that still lives goes step by step (see
//! `routing::place`); from one that is gone at once. Nobody is moved back, or to
//! even things out.

use std::collections::BTreeSet;

use dt_ids::{HandlerId, StreamId, UserId};
use dt_wire::{
    CloseCode,
    internal::{Generation, HandlerLoad, StreamFlow, UnregisterParticipant},
    v1::{HandlerAssigned, HandlerRemoved, ServerMessage, server_message::Body},
};

use super::{Meeting, Phase};
use crate::{
    effects::Effect,
    error::JoinError,
    routing::{Fleet, Health, Move, Place, Usage},
    seat::{Access, Gate, Seat},
    time::Time,
};

/// The handlers of a meeting and what is open about them.
#[derive(Debug, Default)]
pub(super) struct Placing {
    pub(super) fleet: Fleet,
    /// Somebody may have to move.
    stale: bool,
    /// Who does.
    moving: BTreeSet<UserId>,
    /// Who could not, and may later.
    resting: BTreeSet<UserId>,
    /// Who left while a handler was gone that may still know them.
    orphans: BTreeSet<(HandlerId, String)>,
}

impl Placing {
    pub(super) fn new(handlers: &[HandlerId]) -> Self {
        Self {
            fleet: Fleet::new(handlers),
            ..Self::default()
        }
    }

    pub(super) fn forget(&mut self, user: UserId) {
        self.resting.remove(&user);
        // There may be room for the next one who moves.
        self.stale |= self.moving.remove(&user);
    }
}

impl Meeting {
    /// The handlers picked for it were picked anew, first choice first. Those that
    /// are not among them are used while somebody is there.
    pub fn handle_handlers(&mut self, handlers: &[HandlerId], now: Time) -> Vec<Effect> {
        self.placing.fleet.prefer(handlers);
        self.placing.stale = true;
        self.settle(now)
    }

    /// The handler tells nothing any more: all who are there are elsewhere now.
    pub fn handle_handler_gone(&mut self, handler: HandlerId, now: Time) -> Vec<Effect> {
        if self.placing.fleet.set(handler, Health::Gone) {
            self.placing.stale = true;
            self.routes.doubt(handler);
            self.plan_stale |= self.speakers.report(handler, Vec::new(), now);
            for stream in self.streams.iter_mut() {
                stream.demand.forget(handler);
            }
            let users = self.roster.users();
            for user in users {
                if let Some(seat) = self.roster.get_mut(user)
                    && seat.place.contains(handler)
                {
                    let was_here = seat.receives();
                    seat.media_sessions.remove(&handler);
                    seat.media_lost.remove(&handler);
                    if let Some(registration) = seat.registrations.get_mut(&handler) {
                        registration.confirmed = 0;
                    }
                    if was_here != seat.receives() {
                        self.routes.touch_receiver(&seat.subscriber);
                    }
                    self.touch_streams(user);
                    self.directives_stale.insert(user);
                }
            }
        }
        self.settle(now)
    }

    /// The handler is there again, perhaps started anew: it is told everything.
    pub fn handle_handler_back(&mut self, handler: HandlerId, now: Time) -> Vec<Effect> {
        if self.phase != Phase::Over && self.placing.fleet.health(handler).is_some() {
            self.placing.fleet.set(handler, Health::Well);
            self.placing.stale = true;
            self.routes.doubt(handler);
            let orphans = std::mem::take(&mut self.placing.orphans);
            for (at, participant) in orphans {
                if at == handler {
                    self.unregister_at(at, participant, CloseCode::Graceful);
                } else {
                    self.placing.orphans.insert((at, participant));
                }
            }
            for user in self.roster.users() {
                let here = self.roster.get(user);
                if here.is_some_and(|seat| seat.place.contains(handler)) {
                    self.register_at(user, &[handler]);
                    self.touch_streams(user);
                    self.directives_stale.insert(user);
                }
            }
        }
        self.settle(now)
    }

    /// How a handler is, as it says itself.
    pub fn handle_load(
        &mut self,
        handler: HandlerId,
        load: &HandlerLoad,
        now: Time,
    ) -> Vec<Effect> {
        self.placing.stale |= self.placing.fleet.load(handler, load);
        self.settle(now)
    }

    /// Whether a stream arrives at a handler.
    pub fn handle_flow(&mut self, handler: HandlerId, flow: &StreamFlow, now: Time) -> Vec<Effect> {
        if let Ok(stream) = flow.stream_id.parse() {
            self.routes.flow(handler, stream, flow.arriving);
        }
        self.settle(now)
    }

    /// A handler has applied a route; it says which generation rules now. A lease
    /// newer than ours means that another controller has the meeting.
    pub fn handle_applied(
        &mut self,
        handler: HandlerId,
        stream: Option<StreamId>,
        applied: Generation,
        now: Time,
    ) -> Vec<Effect> {
        if applied.lease > self.counter.lease() {
            return self.handle_fenced();
        }
        if let Some(stream) = stream {
            self.routes.applied(handler, stream, applied.counter);
        }
        self.settle(now)
    }

    /// Where somebody who comes now is.
    pub(super) fn place_newcomer(&self) -> Result<Place, JoinError> {
        if self.placing.fleet.is_empty() {
            return Err(JoinError::NoHandler);
        }
        let usage = self.usage();
        let size = self.config.limits.handler_participants;
        let fleet = &self.placing.fleet;
        let home = fleet.home(&usage, size, &[]);
        // When all are gone one of them may come back before the join's time is up.
        let home = home.or(self.config.handlers.first().copied());
        let home = home.ok_or(JoinError::NoHandler)?;
        Ok(Place::new(home, fleet.spare(&usage, size, &[home])))
    }

    fn usage(&self) -> Usage {
        Usage::with_one_more(self.roster.iter().map(|seat| &seat.place))
    }

    /// Another handler than these, for somebody whose home or spare is not well.
    fn other(&self, except: &[HandlerId]) -> Option<HandlerId> {
        let size = self.config.limits.handler_participants;
        self.placing.fleet.home(&self.usage(), size, except)
    }

    /// Begins moves that must be, takes those that are under way a step further.
    pub(super) fn drive_moves(&mut self, now: Time) {
        for user in std::mem::take(&mut self.placing.resting) {
            if let Some(seat) = self.roster.get_mut(user) {
                if seat.place.rests(now) {
                    self.placing.resting.insert(user);
                } else {
                    seat.place.rest(None);
                    self.placing.stale = true;
                }
            }
        }
        // One step each: what follows from it must be told before the next one.
        let mut stepped = BTreeSet::new();
        loop {
            if std::mem::take(&mut self.placing.stale) {
                for user in self.roster.users() {
                    self.reconsider(user, now);
                }
            }
            let moving: Vec<UserId> = self.placing.moving.difference(&stepped).copied().collect();
            for user in moving {
                stepped.insert(user);
                self.step(user, now);
            }
            // A move that ends makes room for another.
            if !self.placing.stale {
                break;
            }
        }
    }

    /// When a move goes on without any further word.
    pub(super) fn next_move(&self) -> Option<Time> {
        let open = self.placing.moving.iter().chain(&self.placing.resting);
        let due = open.filter_map(|user| self.roster.get(*user)?.place.next_timeout());
        due.min()
    }

    /// Whether somebody must be elsewhere, as the handlers are now.
    fn reconsider(&mut self, user: UserId, now: Time) {
        let Some(seat) = self.roster.get(user) else {
            return;
        };
        let (mut place, fleet) = (seat.place, &self.placing.fleet);
        let home = place.home();
        let health = |handler| fleet.health(handler).unwrap_or(Health::Gone);
        if health(home) == Health::Gone {
            if let Some(to) = self.refuge(seat) {
                place.flee(to);
                self.replace(user, place, now);
                self.find_spare(user, now);
            }
            return;
        }
        match place.moving() {
            // There is no need any more, or it would be no better.
            Some(Move::Opening { to, .. })
                if health(home) == Health::Well || health(to) != Health::Well =>
            {
                place.stay();
                self.replace(user, place, now);
                self.reconsider(user, now);
            }
            Some(Move::Both { from, .. } | Move::Handing { from, .. })
                if health(from) == Health::Gone =>
            {
                self.arrive(user, now);
            }
            Some(_) => {}
            None => {
                if health(home) > Health::Well && !place.rests(now) {
                    self.move_away(user, now);
                }
                self.find_spare(user, now);
            }
        }
    }

    /// Where somebody goes whose home is gone: where it is already, best of all with
    /// a session.
    fn refuge(&self, seat: &Seat) -> Option<HandlerId> {
        let there = |handler: &HandlerId| self.placing.fleet.is_there(*handler);
        let open = |handler: &HandlerId| seat.media_sessions.contains(handler);
        let known = || seat.place.handlers().filter(there);
        let home = seat.place.home();
        known()
            .find(open)
            .or_else(|| known().next())
            .or_else(|| self.other(&[home]))
    }

    /// The first step away from a handler that lives and is not well.
    fn move_away(&mut self, user: UserId, now: Time) {
        let limits = &self.config.limits;
        let Some(mut place) = self.roster.get(user).map(|seat| seat.place) else {
            return;
        };
        let max = match self.placing.fleet.health(place.home()) {
            Some(Health::Draining) => limits.moves_draining_max,
            _ => limits.moves_overloaded_max,
        };
        let well = |handler: &HandlerId| self.placing.fleet.is_well(*handler);
        let spare = place.spare().filter(well);
        let to = spare.or_else(|| self.other(&[place.home()]).filter(well));
        if let Some(to) = to
            && self.placing.moving.len() < max
        {
            place.open(to, now.plus_ms(limits.move_open_ms));
            self.replace(user, place, now);
        }
    }

    /// A spare that is well, if there is one and it has none.
    fn find_spare(&mut self, user: UserId, now: Time) {
        let Some(mut place) = self.roster.get(user).map(|seat| seat.place) else {
            return;
        };
        let fleet = &self.placing.fleet;
        let health = place.spare().and_then(|spare| fleet.health(spare));
        if place.moving().is_some() || matches!(health, Some(Health::Well | Health::Overloaded)) {
            return;
        }
        // Counted only where there is something to choose.
        let found = fleet.has_well_beside(place.home()).then(|| {
            let size = self.config.limits.handler_participants;
            fleet.spare(&self.usage(), size, &[place.home()])
        });
        let found = found.flatten();
        // One that is gone may come back; its client goes on trying.
        if found.is_some() || health == Some(Health::Draining) {
            place.set_spare(found);
            self.replace(user, place, now);
        }
    }

    /// Takes a move one step further, if it may go.
    fn step(&mut self, user: UserId, now: Time) {
        let Some(seat) = self.roster.get(user) else {
            self.placing.moving.remove(&user);
            return;
        };
        let limits = &self.config.limits;
        let mut place = seat.place;
        match place.moving() {
            Some(Move::Opening { to, until }) => {
                let nothing_to_lose = !seat.connected() && seat.media_sessions.is_empty();
                if seat.media_sessions.contains(&to) || nothing_to_lose {
                    place.go(to, now.plus_ms(limits.move_wait_ms));
                    self.replace(user, place, now);
                } else if now >= until {
                    // It does not get there: better where it is, while that lasts.
                    place.stay();
                    place.rest(Some(now.plus_ms(limits.move_open_ms)));
                    self.replace(user, place, now);
                    self.placing.resting.insert(user);
                    self.find_spare(user, now);
                }
            }
            Some(Move::Both { until, .. }) => {
                if now >= until || self.has_arrived(seat) {
                    place.hand_over(now.plus_ms(limits.move_handing_ms));
                    self.replace(user, place, now);
                }
            }
            Some(Move::Handing { until, .. }) => {
                let home = place.home();
                let elsewhere = |id: &StreamId| self.routes.told(*id).iter().any(|h| *h != home);
                if now >= until || !seat.streams.iter().any(elsewhere) {
                    self.arrive(user, now);
                }
            }
            None => {
                self.placing.moving.remove(&user);
            }
        }
    }

    /// Whether all that somebody sends and gets flows by the new home.
    fn has_arrived(&self, seat: &Seat) -> bool {
        let home = seat.place.home();
        let flows =
            |id: &StreamId| !self.routes.is_routed_at(home, *id) || self.routes.arrives(home, *id);
        let is_picture = |id: &&StreamId| {
            let stream = self.streams.get(**id);
            stream.is_some_and(|stream| !stream.is_audio() && !stream.muted)
        };
        let mut seen = seat.subscriber.assigned().values().filter(is_picture);
        let brings = |id: &StreamId| self.routes.brings(home, *id, seat.user);
        seat.streams.iter().all(flows) && (!seat.receives() || seen.all(brings))
    }

    /// The end of a move: the old handler is a spare at most.
    fn arrive(&mut self, user: UserId, now: Time) {
        let Some(seat) = self.roster.get(user) else {
            return;
        };
        let mut place = seat.place;
        let Some(from) = place.leaving() else {
            return;
        };
        for id in &seat.streams {
            if let Some(stream) = self.streams.get_mut(*id) {
                stream.demand.forget(from);
            }
        }
        place.stay();
        let health = self.placing.fleet.health(from);
        if place.spare().is_none() && matches!(health, Some(Health::Well | Health::Overloaded)) {
            place.set_spare(Some(from));
        }
        self.replace(user, place, now);
        self.find_spare(user, now);
        self.placing.stale = true;
    }

    /// Somebody is elsewhere now: handlers, client and ways are told.
    fn replace(&mut self, user: UserId, place: Place, now: Time) {
        let Some(seat) = self.roster.get_mut(user) else {
            return;
        };
        let before = std::mem::replace(&mut seat.place, place);
        let mut removed = Vec::new();
        for handler in before
            .handlers()
            .filter(|handler| !place.contains(*handler))
        {
            seat.media_sessions.remove(&handler);
            seat.media_lost.remove(&handler);
            let registered = seat.registrations.remove(&handler).is_some();
            removed.push((handler, registered, seat.told.remove(&handler)));
        }
        let participant = seat.participant.to_string();
        for (handler, registered, told) in removed {
            if told {
                let removed = HandlerRemoved {
                    handler_id: handler.to_string(),
                };
                self.push(user, Body::HandlerRemoved(removed), now);
            }
            if registered {
                self.unregister_at(handler, participant.clone(), CloseCode::Graceful);
            }
        }
        let added = place
            .handlers()
            .filter(|handler| !before.contains(*handler));
        let added: Vec<HandlerId> = added.collect();
        self.register_at(user, &added);
        match place.moving() {
            Some(_) => self.placing.moving.insert(user),
            None => self.placing.moving.remove(&user),
        };
        self.directives_stale.insert(user);
        self.touch_streams(user);
        if let Some(seat) = self.roster.get_mut(user) {
            self.routes.touch_receiver(&seat.subscriber);
            // What waits may wait for the new home.
            seat.release(now, &mut self.out);
        }
    }

    /// Tells a client of a handler that it is registered at and does not know.
    pub(super) fn announce(&mut self, user: UserId, handler: HandlerId, now: Time) {
        let Some(seat) = self.roster.get_mut(user) else {
            return;
        };
        let knows = seat.told.contains(&handler);
        let waits = !seat.line().is_some_and(|line| line.welcomed());
        if knows || waits || !seat.place.contains(handler) {
            return;
        }
        seat.told.insert(handler);
        let message = ServerMessage::new(0, Body::HandlerAssigned(HandlerAssigned::default()));
        let access = Access::Handler(handler);
        self.send_gated(user, message, access, Gate::default(), now);
    }

    pub(super) fn unregister_at(
        &mut self,
        handler: HandlerId,
        participant_id: String,
        code: CloseCode,
    ) {
        if !self.placing.fleet.is_there(handler) {
            self.placing.orphans.insert((handler, participant_id));
            return;
        }
        let command = UnregisterParticipant {
            participant_id,
            meeting_id: self.config.meeting.to_string(),
            generation: Some(self.counter.next()),
            close_code: code.code(),
        };
        self.out.push(Effect::Unregister { handler, command });
    }
}
