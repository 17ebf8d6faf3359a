//! Who may send what and who receives it.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    time::{Duration, Instant},
};

use dt_frame::MediaKind;
use dt_ids::{ParticipantId, StreamId, StreamNumber, UserId};

use crate::{
    CloseReason, Config, Counters, Generation, OutGroup, Output, SessionKey, StreamSpec,
    StreamTelemetry, Subscription,
    inbound::{Inbound, Peer},
    links::{Feeds, Links, Outlet, Table},
    outbox::{Outbox, Turn},
    receiver::Receiver,
    source::Source,
    speakers::Speakers,
    voices::Voices,
};

/// Participants that were unregistered, so that an order that was overtaken does
/// not bring one back; the oldest is forgotten first.
const GONE_MAX: usize = 4096;

/// A registration that is not carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RegisterError {
    /// The meeting is full here.
    #[error("too many participants are registered")]
    TooManyParticipants,
    /// More streams than a participant may have.
    #[error("too many streams for one participant")]
    TooManyStreams,
    /// A stream or number stands twice in the set, or another participant has
    /// the stream.
    #[error("stream {0} or its number is taken")]
    StreamTaken(StreamId),
}

/// A route that is not carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RouteError {
    /// More routes than the meeting may have here.
    #[error("too many routes")]
    TooManyRoutes,
    /// More receivers than a source may have.
    #[error("too many destinations")]
    TooManyDestinations,
    /// It would go back to where it came from, or over too many links.
    #[error("the route leads back, or over too many links")]
    Loop,
    /// Somebody else has the stream.
    #[error("stream {0} is somebody else's")]
    StreamTaken(StreamId),
}

/// A session that is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SessionUpError {
    /// The participant is not registered (any more).
    #[error("the participant is not registered")]
    UnknownParticipant,
}

/// The machine; see the crate's documentation for how it is driven.
#[derive(Debug)]
pub struct Forwarder {
    pub(crate) config: Config,
    pub(crate) participants: HashMap<ParticipantId, Participant>,
    pub(crate) sessions: HashMap<SessionKey, Inbound>,
    /// Ordered, so that the same inputs give the same outputs.
    pub(crate) sources: BTreeMap<StreamId, Source>,
    /// As many as sessions.
    pub(crate) receivers: BTreeMap<SessionKey, Receiver>,
    pub(crate) routes: HashMap<StreamId, Route>,
    pub(crate) links: Table,
    gone: VecDeque<(ParticipantId, Generation)>,
    pub(crate) speakers: Speakers,
    pub(crate) voices: Voices,
    pub(crate) outbox: Outbox,
}

#[derive(Debug)]
pub(crate) struct Participant {
    pub(crate) user_id: UserId,
    generation: Generation,
    pub(crate) streams: BTreeMap<StreamNumber, StreamId>,
    pub(crate) session: Option<SessionKey>,
}

#[derive(Debug)]
pub(crate) struct Route {
    generation: Generation,
    /// Whom, and how; also those who have no session now.
    wanted: BTreeMap<ParticipantId, Subscription>,
    /// Also those whose link is not up now.
    pub(crate) outlets: Vec<Outlet>,
}

impl Forwarder {
    /// Between two calls of [`tick`](Self::tick) at most.
    pub const TICK: Duration = Duration::from_millis(50);

    /// Nobody is registered.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self {
            config,
            participants: HashMap::new(),
            sessions: HashMap::new(),
            sources: BTreeMap::new(),
            receivers: BTreeMap::new(),
            routes: HashMap::new(),
            links: Table::default(),
            gone: VecDeque::new(),
            speakers: Speakers::new(config.speakers),
            voices: Voices::new(config.gates),
            outbox: Outbox::new(config.queue.late_max),
        }
    }

    /// What to do next, until `None`. To be asked after every input.
    pub fn poll_output(&mut self) -> Option<Output> {
        for news in self.links.news() {
            self.outbox.push(news);
        }
        self.outbox.poll()
    }

    /// Registers a participant with the whole set of its streams, or changes
    /// that set. An order that is not newer than the one in force is ignored.
    /// Gives the generation in force.
    ///
    /// # Errors
    /// When a limit is reached or streams collide; nothing changes then.
    pub fn register(
        &mut self,
        participant: ParticipantId,
        user_id: UserId,
        streams: &[StreamSpec],
        generation: Generation,
        now: Instant,
    ) -> Result<Generation, RegisterError> {
        if let Some(in_force) = self.newer_in_force(participant, generation) {
            return Ok(in_force);
        }
        self.check_streams(participant, streams)?;
        self.gone.retain(|(gone, _)| *gone != participant);
        let entry = self.participants.entry(participant).or_insert(Participant {
            user_id,
            generation,
            streams: BTreeMap::new(),
            session: None,
        });
        entry.user_id = user_id;
        entry.generation = generation;
        let before = std::mem::take(&mut entry.streams);
        entry.streams = streams.iter().map(|s| (s.number, s.stream_id)).collect();
        for stream_id in before.into_values() {
            if !streams.iter().any(|s| s.stream_id == stream_id) {
                self.unregister_source(stream_id);
            }
        }
        for spec in streams {
            self.put_source(participant, *spec, now);
            if let Some(source) = self.sources.get_mut(&spec.stream_id) {
                source.feeds.registered = true;
            }
        }
        Ok(generation)
    }

    /// Forgets a participant with its streams and closes its session at once with
    /// the code. An order that is not newer than the one in force is ignored.
    pub fn unregister(
        &mut self,
        participant: ParticipantId,
        generation: Generation,
        close_code: u32,
        now: Instant,
    ) {
        if self.newer_in_force(participant, generation).is_some() {
            return;
        }
        if self.gone.len() == GONE_MAX {
            self.gone.pop_front();
        }
        self.gone.retain(|(gone, _)| *gone != participant);
        self.gone.push_back((participant, generation));
        let Some(entry) = self.participants.get(&participant) else {
            return;
        };
        if let Some(session) = entry.session {
            self.close(session, CloseReason::Unregistered { close_code }, now);
        }
        if let Some(entry) = self.participants.remove(&participant) {
            for stream_id in entry.streams.into_values() {
                self.unregister_source(stream_id);
            }
        }
        self.speakers.forget(participant);
    }

    /// Sets all receivers of a source. The source and receivers need not be
    /// registered yet. An order that is not newer than the one in force is
    /// ignored. Gives the generation in force.
    ///
    /// # Errors
    /// When a limit is reached; nothing changes then.
    pub fn route(
        &mut self,
        source: StreamId,
        destinations: impl IntoIterator<Item = (ParticipantId, impl Into<Subscription>)>,
        generation: Generation,
        now: Instant,
    ) -> Result<Generation, RouteError> {
        self.route_over(source, destinations, Links::default(), generation, now)
    }

    /// As [`route`](Self::route), with links to other handlers: one that it comes
    /// over, and some that it goes over.
    ///
    /// # Errors
    /// Also when it would lead back to where it came from.
    pub fn route_over(
        &mut self,
        source: StreamId,
        destinations: impl IntoIterator<Item = (ParticipantId, impl Into<Subscription>)>,
        links: Links,
        generation: Generation,
        now: Instant,
    ) -> Result<Generation, RouteError> {
        match self.routes.get(&source) {
            Some(route) if generation <= route.generation => return Ok(route.generation),
            None if self.routes.len() >= self.config.routes_max => {
                return Err(RouteError::TooManyRoutes);
            }
            _ => {}
        }
        let wanted: BTreeMap<_, _> = destinations
            .into_iter()
            .take(self.config.destinations_max + 1)
            .map(|(participant, how)| (participant, how.into()))
            .collect();
        if wanted.len() > self.config.destinations_max {
            return Err(RouteError::TooManyDestinations);
        }
        self.check_links(source, &links)?;
        self.set_inlet(source, links.inlet, now);
        let outlets = links.outlets;
        self.list_outlets(source, &outlets);
        if wanted.is_empty() && outlets.is_empty() && !self.sources.contains_key(&source) {
            // The end of a stream that is gone already.
            self.routes.remove(&source);
            return Ok(generation);
        }
        let route = Route {
            generation,
            wanted,
            outlets,
        };
        self.routes.insert(source, route);
        self.retarget(source, now);
        Ok(generation)
    }

    /// A participant's session is let in. An older one of it is closed.
    ///
    /// # Errors
    /// When the participant is not registered.
    pub fn session_up(
        &mut self,
        participant: ParticipantId,
        session: SessionKey,
        now: Instant,
    ) -> Result<(), SessionUpError> {
        let entry = self
            .participants
            .get(&participant)
            .ok_or(SessionUpError::UnknownParticipant)?;
        if let Some(older) = entry.session {
            self.close(older, CloseReason::Replaced, now);
        }
        if let Some(entry) = self.participants.get_mut(&participant) {
            entry.session = Some(session);
        }
        let peer = Peer::Participant(participant);
        let inbound = Inbound::new(peer, self.config.ingest, now);
        self.sessions.insert(session, inbound);
        self.outbox.session_up(session, self.config.queue);
        self.receivers.insert(session, Receiver::new(now));
        self.retarget_receiver(participant, now);
        Ok(())
    }

    /// A session has ended. One that was closed by an output may be named again.
    pub fn session_down(&mut self, session: SessionKey, now: Instant) {
        let Some(inbound) = self.sessions.remove(&session) else {
            return;
        };
        self.outbox.session_down(session);
        let participant = match inbound.peer {
            Peer::Participant(participant) => participant,
            Peer::Handler(handler) => return self.forget_link(handler, session, now),
        };
        self.receivers.remove(&session);
        let Some(entry) = self.participants.get_mut(&participant) else {
            return;
        };
        if entry.session == Some(session) {
            entry.session = None;
        }
        for stream_id in entry.streams.values() {
            if let Some(source) = self.sources.get_mut(stream_id) {
                let others = source.feeds.any_beside(session);
                source.feeder_down(session, others, &mut self.outbox);
            }
        }
        self.retarget_receiver(participant, now);
    }

    /// Time passes. To be called at least every [`TICK`](Self::TICK) while
    /// anybody is registered.
    pub fn tick(&mut self, now: Instant) {
        self.outbox.give_up_late(now);
        self.allocate_due(now);
        self.retire_feeders(now);
        for source in self.sources.values_mut() {
            let sender = self.participants.get(&source.owner).and_then(|p| p.session);
            let turn = &mut Turn {
                config: &self.config,
                outbox: &mut self.outbox,
                now,
            };
            for encoding in &mut source.encodings {
                encoding.tick(turn);
            }
            source.ask(sender, turn);
            source.repeat(turn);
            source.say_demand(turn);
            let anybody = sender.is_some() || source.feeds.is_linked();
            source.look_for_end(anybody, turn);
        }
        self.report_to_senders(now);
        if let Some(list) = self.speakers.changed(now) {
            self.outbox.push(Output::Speakers(list));
        }
    }

    /// A writer took so many frames of a stream to the wire.
    pub fn written(&mut self, session: SessionKey, out: OutGroup, frames: usize) {
        self.outbox.written(session, out, frames);
    }

    /// The receiver stopped a stream, or it could not be opened or written.
    /// Its next group is tried again.
    pub fn refused(&mut self, session: SessionKey, out: OutGroup) {
        self.outbox.refused(session, out);
    }

    /// Counts since the start.
    #[must_use]
    pub const fn counters(&self) -> &Counters {
        &self.outbox.counters
    }

    /// Figures of every source that has a sender, since the last call.
    pub fn telemetry(&mut self, now: Instant) -> Vec<StreamTelemetry> {
        self.sources
            .values_mut()
            .filter(|source| source.meter.bytes_received > 0)
            .map(|source| source.meter.read(source.spec.stream_id, now))
            .collect()
    }

    /// Whether a participant is registered.
    #[must_use]
    pub fn is_registered(&self, participant: ParticipantId) -> bool {
        self.participants.contains_key(&participant)
    }

    /// Whose a stream is, as datagrams say it.
    #[must_use]
    pub fn sender(&self, stream: StreamId) -> Option<UserId> {
        let source = self.sources.get(&stream)?;
        let here = self.participants.get(&source.owner).map(|p| p.user_id);
        here.or_else(|| source.feeds.inlets().next().map(|inlet| inlet.user_id))
    }

    /// Participants that are registered.
    #[must_use]
    pub fn participant_count(&self) -> usize {
        self.participants.len()
    }

    /// Streams that are registered.
    #[must_use]
    pub fn stream_count(&self) -> usize {
        self.sources.len()
    }

    /// The generation in force when an order for a participant is not newer.
    fn newer_in_force(&self, participant: ParticipantId, order: Generation) -> Option<Generation> {
        let registered = self.participants.get(&participant).map(|p| p.generation);
        let gone = || self.gone.iter().find(|(gone, _)| *gone == participant);
        registered
            .or_else(|| gone().map(|(_, generation)| *generation))
            .filter(|in_force| order <= *in_force)
    }

    fn check_streams(
        &self,
        participant: ParticipantId,
        streams: &[StreamSpec],
    ) -> Result<(), RegisterError> {
        if !self.participants.contains_key(&participant)
            && self.participants.len() >= self.config.participants_max
        {
            return Err(RegisterError::TooManyParticipants);
        }
        if streams.len() > self.config.streams_per_participant_max {
            return Err(RegisterError::TooManyStreams);
        }
        for (place, spec) in streams.iter().enumerate() {
            let twice = streams[..place]
                .iter()
                .any(|s| s.stream_id == spec.stream_id || s.number == spec.number);
            let foreign = self
                .sources
                .get(&spec.stream_id)
                .is_some_and(|source| source.owner != participant);
            if twice || foreign {
                return Err(RegisterError::StreamTaken(spec.stream_id));
            }
        }
        Ok(())
    }

    pub(crate) fn put_source(&mut self, owner: ParticipantId, spec: StreamSpec, now: Instant) {
        let mut feeds = Feeds::default();
        match self.sources.get_mut(&spec.stream_id) {
            Some(source) if source.spec == spec => return,
            Some(source) if source.spec.is_same_stream(&spec) => {
                let newly_muted = spec.muted && !source.spec.muted;
                source.spec = spec;
                if newly_muted {
                    source.end(None, &mut self.outbox);
                    if spec.kind == MediaKind::Audio {
                        self.speakers.forget(owner);
                        self.voices.forget(spec.stream_id);
                    }
                }
                return;
            }
            Some(source) => {
                source.end(None, &mut self.outbox);
                feeds = std::mem::take(&mut source.feeds);
            }
            None => {}
        }
        let mut source = Source::new(owner, spec, now);
        source.feeds = feeds;
        self.sources.insert(spec.stream_id, source);
        self.retarget(spec.stream_id, now);
    }

    /// Its sender has it here no more; a link may bring it still.
    fn unregister_source(&mut self, stream_id: StreamId) {
        let Some(source) = self.sources.get_mut(&stream_id) else {
            return;
        };
        if !source.feeds.is_linked() {
            return self.remove_source(stream_id);
        }
        source.feeds.registered = false;
        let sender = self.participants.get(&source.owner).and_then(|p| p.session);
        if let Some(session) = sender {
            source.feeder_down(session, true, &mut self.outbox);
        }
    }

    pub(crate) fn remove_source(&mut self, stream_id: StreamId) {
        if let Some(mut source) = self.sources.remove(&stream_id) {
            source.end(None, &mut self.outbox);
            self.links.forget(&source);
            for session in source.flows.keys() {
                if let Some(receiver) = self.receivers.get_mut(session) {
                    receiver.subscriptions.remove(&stream_id);
                }
            }
        }
        self.voices.forget(stream_id);
        if let Some(route) = self.routes.remove(&stream_id) {
            self.links.forget_outlets(&route.outlets);
        }
    }

    fn close(&mut self, session: SessionKey, reason: CloseReason, now: Instant) {
        self.session_down(session, now);
        self.outbox.push(Output::Close { session, reason });
    }

    fn retarget_receiver(&mut self, participant: ParticipantId, now: Instant) {
        let mut touched: Vec<_> = self
            .routes
            .iter()
            .filter(|(_, route)| route.wanted.contains_key(&participant))
            .map(|(source, _)| *source)
            .collect();
        touched.sort_unstable();
        for source in touched {
            self.retarget(source, now);
        }
    }

    pub(crate) fn retarget(&mut self, stream_id: StreamId, now: Instant) {
        let (Some(source), Some(route)) = (
            self.sources.get_mut(&stream_id),
            self.routes.get(&stream_id),
        ) else {
            return;
        };
        let session_of = |p: &ParticipantId| self.participants.get(p).and_then(|p| p.session);
        let wanted: BTreeMap<SessionKey, Subscription> = route
            .wanted
            .iter()
            .filter_map(|(participant, how)| Some((session_of(participant)?, *how)))
            .collect();
        let mut touched = Vec::new();
        for session in source.flows.keys() {
            if !wanted.contains_key(session)
                && let Some(receiver) = self.receivers.get_mut(session)
            {
                receiver.subscriptions.remove(&stream_id);
                touched.push(*session);
            }
        }
        for (session, how) in &wanted {
            if let Some(receiver) = self.receivers.get_mut(session)
                && receiver.subscriptions.insert(stream_id, *how) != Some(*how)
            {
                touched.push(*session);
            }
        }
        source.retarget(&wanted, &mut self.outbox);
        let outlets = self.links.outlets(&route.outlets, source.spec.kind);
        let turn = &mut Turn {
            config: &self.config,
            outbox: &mut self.outbox,
            now,
        };
        source.retarget_links(outlets, turn);
        let routed = !route.wanted.is_empty() || !route.outlets.is_empty();
        source.set_routed(routed, turn);
        for session in touched {
            self.allocate(session, now);
        }
        self.say_beyond(stream_id, now);
    }
}

#[cfg(test)]
#[path = "forwarder_tests/mod.rs"]
mod tests;
