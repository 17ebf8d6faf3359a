//! A media handler as the core's commands shape it: applies them at once,
//! confirms late, out of order, or never; goes and comes back, with what it knew
//! or without.

use std::collections::{BTreeMap, BTreeSet};

use dt_ids::{HandlerId, ParticipantId, StreamId};
use dt_wire::internal::{
    Generation, RegisterParticipant, RouteMediaCommand, UnregisterParticipant,
};
use rand::{RngExt as _, rngs::StdRng};

use crate::Time;

/// What it says some time.
#[derive(Debug, Clone)]
pub(super) enum Word {
    Registered(ParticipantId, Generation),
    Applied(StreamId, Generation),
    Flow(StreamId, bool),
}

pub(super) struct Handler {
    pub(super) id: HandlerId,
    /// It sometimes never confirms.
    sticks: bool,
    pub(super) gone: bool,
    /// It was gone once: it may be told again what it knows.
    pub(super) was_gone: bool,
    pub(super) registered: BTreeMap<String, RegisterParticipant>,
    confirmed: BTreeSet<ParticipantId>,
    pub(super) routes: BTreeMap<StreamId, RouteMediaCommand>,
    /// Streams that it said arrive.
    pub(super) arriving: BTreeSet<StreamId>,
    due: Vec<(Time, Word)>,
    last: (u64, u64),
}

impl Handler {
    pub(super) fn new(id: HandlerId, sticks: bool) -> Self {
        Self {
            id,
            sticks,
            gone: false,
            was_gone: false,
            registered: BTreeMap::new(),
            confirmed: BTreeSet::new(),
            routes: BTreeMap::new(),
            arriving: BTreeSet::new(),
            due: Vec::new(),
            last: (0, 0),
        }
    }

    fn newer(&mut self, generation: Option<Generation>) -> Generation {
        assert!(!self.gone, "nothing is said to one that is gone");
        let generation = generation.expect("every command has a generation");
        let order = (generation.lease, generation.counter);
        assert!(order > self.last, "generations only rise");
        self.last = order;
        generation
    }

    fn later(&mut self, now: Time, rng: &mut StdRng, word: Word) {
        if self.sticks && rng.random_ratio(1, 3) {
            return;
        }
        let late_ms = if rng.random_ratio(1, 10) {
            rng.random_range(0..8000)
        } else {
            rng.random_range(0..20)
        };
        self.due.push((now.plus_ms(late_ms), word));
    }

    pub(super) fn register(&mut self, command: RegisterParticipant, now: Time, rng: &mut StdRng) {
        let generation = self.newer(command.generation);
        let participant = command.participant_id.parse().expect("a UUID");
        self.registered
            .insert(command.participant_id.clone(), command);
        self.later(now, rng, Word::Registered(participant, generation));
    }

    pub(super) fn unregister(&mut self, command: &UnregisterParticipant) {
        self.newer(command.generation);
        let known = self.registered.remove(&command.participant_id);
        assert!(
            known.is_some() || self.was_gone,
            "only who was registered is unregistered"
        );
    }

    /// The stream, if it had nothing to do with it before.
    pub(super) fn route(
        &mut self,
        command: RouteMediaCommand,
        now: Time,
        rng: &mut StdRng,
    ) -> Option<StreamId> {
        let generation = self.newer(command.generation);
        let stream: StreamId = command.source_stream_id.parse().expect("a UUID");
        let before = if command.destinations.is_empty() {
            assert!(command.inlet.is_none(), "nobody needs what comes in");
            self.arriving.remove(&stream);
            self.routes.remove(&stream)
        } else {
            self.routes.insert(stream, command.clone())
        };
        let news = before.as_ref().is_none_or(|before| {
            before.destinations != command.destinations || before.inlet != command.inlet
        });
        assert!(news || self.was_gone, "a command says something new");
        self.later(now, rng, Word::Applied(stream, generation));
        if before.is_none() || rng.random_ratio(1, 8) {
            let arriving = rng.random_ratio(9, 10);
            self.later(now, rng, Word::Flow(stream, arriving));
        }
        before.is_none().then_some(stream)
    }

    pub(super) fn is_registered(&self, participant: ParticipantId) -> bool {
        self.confirmed.contains(&participant)
    }

    pub(super) fn next_word(&self) -> Option<Time> {
        self.due.iter().map(|(at, _)| *at).min()
    }

    pub(super) fn take_due(&mut self, now: Time) -> Vec<Word> {
        let (due, later) = self.due.drain(..).partition(|(at, _)| *at <= now);
        self.due = later;
        let due: Vec<(Time, Word)> = due;
        for (_, word) in &due {
            match word {
                Word::Registered(participant, _) => {
                    self.confirmed.insert(*participant);
                }
                Word::Flow(stream, true) if self.routes.contains_key(stream) => {
                    self.arriving.insert(*stream);
                }
                Word::Flow(stream, false) => {
                    self.arriving.remove(stream);
                }
                Word::Flow(..) | Word::Applied(..) => {}
            }
        }
        due.into_iter().map(|(_, word)| word).collect()
    }

    pub(super) fn go(&mut self) {
        self.gone = true;
        self.due.clear();
        self.confirmed.clear();
        self.arriving.clear();
    }

    pub(super) fn come_back(&mut self, anew: bool) {
        self.gone = false;
        self.was_gone = true;
        if anew {
            self.registered.clear();
            self.routes.clear();
            self.last = (0, 0);
        }
    }
}
