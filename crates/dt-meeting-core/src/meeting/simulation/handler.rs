//! A media handler as the core's commands shape it: applies them at once,
//! confirms registrations late, out of order, or never.

use std::collections::BTreeMap;

use dt_ids::{HandlerId, ParticipantId, StreamId};
use dt_wire::internal::{
    Destination, Generation, RegisterParticipant, RouteMediaCommand, UnregisterParticipant,
};
use rand::{RngExt as _, rngs::StdRng};

use crate::Time;

pub(super) struct Handler {
    pub(super) id: HandlerId,
    /// It sometimes never confirms.
    sticks: bool,
    pub(super) registered: BTreeMap<String, RegisterParticipant>,
    confirmed: BTreeMap<ParticipantId, ()>,
    pub(super) routes: BTreeMap<String, Vec<Destination>>,
    due: Vec<(Time, ParticipantId, Generation)>,
    last: (u64, u64),
}

impl Handler {
    pub(super) fn new(id: HandlerId, sticks: bool) -> Self {
        Self {
            id,
            sticks,
            registered: BTreeMap::new(),
            confirmed: BTreeMap::new(),
            routes: BTreeMap::new(),
            due: Vec::new(),
            last: (0, 0),
        }
    }

    fn newer(&mut self, generation: Option<Generation>) -> Generation {
        let generation = generation.expect("every command has a generation");
        let order = (generation.lease, generation.counter);
        assert!(order > self.last, "generations only rise");
        self.last = order;
        generation
    }

    pub(super) fn register(&mut self, command: RegisterParticipant, now: Time, rng: &mut StdRng) {
        let generation = self.newer(command.generation);
        let participant = command.participant_id.parse().expect("a UUID");
        self.registered
            .insert(command.participant_id.clone(), command);
        if self.sticks && rng.random_ratio(1, 3) {
            return;
        }
        let late_ms = if rng.random_ratio(1, 10) {
            rng.random_range(0..8000)
        } else {
            rng.random_range(0..20)
        };
        self.due
            .push((now.plus_ms(late_ms), participant, generation));
    }

    pub(super) fn unregister(&mut self, command: &UnregisterParticipant) {
        self.newer(command.generation);
        let known = self.registered.remove(&command.participant_id);
        assert!(known.is_some(), "only who was registered is unregistered");
    }

    /// The stream, if nobody received it before.
    pub(super) fn route(&mut self, command: RouteMediaCommand) -> Option<StreamId> {
        self.newer(command.generation);
        let before = if command.destinations.is_empty() {
            self.routes.remove(&command.source_stream_id)
        } else {
            let wanted = command.destinations.clone();
            self.routes.insert(command.source_stream_id.clone(), wanted)
        };
        let before = before.unwrap_or_default();
        assert_ne!(before, command.destinations, "a command says something new");
        let stream = command.source_stream_id.parse().expect("a UUID");
        before.is_empty().then_some(stream)
    }

    pub(super) fn is_registered(&self, participant: ParticipantId) -> bool {
        self.confirmed.contains_key(&participant)
    }

    pub(super) fn next_confirmation(&self) -> Option<Time> {
        self.due.iter().map(|(at, ..)| *at).min()
    }

    pub(super) fn take_due(&mut self, now: Time) -> Vec<(ParticipantId, Generation)> {
        let (due, later) = self.due.drain(..).partition(|(at, ..)| *at <= now);
        self.due = later;
        let due: Vec<(Time, ParticipantId, Generation)> = due;
        self.confirmed
            .extend(due.iter().map(|(_, participant, _)| (*participant, ())));
        due.into_iter()
            .map(|(_, participant, generation)| (participant, generation))
            .collect()
    }
}
