//! Sound that is made anew here: mixed, or encoded for a lower bitrate. Only in
//! meetings whose media this handler can read.
//!
//! A meeting in which somebody wants that has a *tap*: to the forwarder it is one
//! more participant that receives, so that whatever decides who is heard (the gates
//! of silent microphones, the loudest few, links from other handlers) counts for it
//! too. What it is given goes to a thread of its own (`worker`), which decodes,
//! mixes by the rules of `dt-mix-core`, encodes and sends.
//!
//! What is asked for is bounded (`capacity`): who is not taken is named in the
//! answer to the order, and nothing else changes for anybody.
//!
//! Deliberately absent: pictures.

mod capacity;
mod intake;
mod opus;
mod orders;
mod worker;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, Weak},
    time::Duration,
};

use dt_forward_core::{Class, Forwarder, Generation, SessionKey, Subscription};
use dt_frame::SlotLabel;
use dt_ids::{ParticipantId, Slot, StreamId, UserId};
use dt_mix_core::{ListenerId, SourceId, Wish};
use tokio::task::JoinHandle;

use capacity::{Demand, Share};
use intake::Intake;
pub use opus::Opus;
pub(crate) use orders::{How, Processed, split};
use worker::{Address, Inbox, Wanted, Work, Worker};

use crate::{lock, meeting::Meeting, now, port::Port};

/// How much of the machine is used to make sound anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProcessingConfig {
    /// Threads at most. Each meeting has one of them.
    pub threads_max: usize,
    /// CPU time a second that one of them is asked for at most; whoever asks for
    /// more is refused.
    pub busy_max: Duration,
}

impl Default for ProcessingConfig {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            // Forwarding has the rest.
            threads_max: (cores / 2).clamp(1, 4),
            busy_max: Duration::from_millis(600),
        }
    }
}

/// Numbers of taps among the sessions of a meeting, which count from 0.
const TAP_KEYS: u64 = 1 << 63;

/// The threads of a handler, started when they are needed.
pub(crate) struct Threads {
    config: ProcessingConfig,
    workers: Mutex<Vec<Worker>>,
    begun: std::sync::atomic::AtomicU64,
}

impl Threads {
    pub(crate) fn new(config: ProcessingConfig) -> Self {
        Self {
            config,
            workers: Mutex::default(),
            begun: std::sync::atomic::AtomicU64::default(),
        }
    }

    /// What one of them may be asked for, in microseconds a second.
    fn max_us(&self) -> u64 {
        u64::try_from(self.config.busy_max.as_micros()).unwrap_or(u64::MAX)
    }

    /// The one that is asked for least has this meeting from now on.
    fn begin(&self, meeting: Weak<Meeting>) -> Option<(Arc<Work>, Inbox, Share)> {
        let id = self
            .begun
            .fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let work = Arc::new(Work {
            id,
            meeting,
            wanted: Mutex::default(),
        });
        let mut workers = lock(&self.workers);
        let busy = |workers: &[Worker]| workers.iter().all(|worker| worker.asked().us() > 0);
        if busy(&workers) && workers.len() < self.config.threads_max {
            workers.extend(Worker::start());
        }
        let worker = workers.iter().min_by_key(|worker| worker.asked().us())?;
        worker.begin(&work).then_some(())?;
        Some((work, worker.inbox(), worker.asked().share()))
    }
}

/// What of one meeting is made anew.
#[derive(Default)]
pub(crate) struct Processing {
    /// By source: whom it goes to, and since which order.
    wanted: BTreeMap<StreamId, (Generation, Vec<Processed>)>,
    /// Numbers of sources and listeners; never given twice.
    sources: BTreeMap<StreamId, SourceId>,
    listeners: BTreeMap<(ParticipantId, Option<StreamId>), ListenerId>,
    numbers: u32,
    tap: Option<Tap>,
    taps: u64,
}

/// Where the forwarder gives what is to be made anew.
struct Tap {
    participant: ParticipantId,
    work: Arc<Work>,
    share: Share,
    /// Reads what comes on streams.
    streams: JoinHandle<()>,
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.streams.abort();
    }
}

/// The threads can't take another meeting.
#[derive(Debug)]
pub(crate) struct NoThread;

impl Processing {
    /// Whether this participant is the tap.
    pub(crate) fn is_tap(&self, participant: ParticipantId) -> bool {
        self.tap
            .as_ref()
            .is_some_and(|tap| tap.participant == participant)
    }

    /// Participants that are none.
    pub(crate) const fn taps(&self) -> usize {
        self.tap.is_some() as usize
    }

    /// The destination that a source has instead of those. Opens the tap.
    pub(crate) fn destination(
        &mut self,
        source: StreamId,
        threads: &Threads,
        meeting: &Weak<Meeting>,
        forwarder: &mut Forwarder,
        ports: &mut std::collections::HashMap<SessionKey, (ParticipantId, Port)>,
    ) -> Result<(ParticipantId, Subscription), NoThread> {
        let number = match self.sources.get(&source) {
            Some(number) => *number,
            None => {
                self.numbers += 1;
                let number = SourceId(self.numbers);
                self.sources.insert(source, number);
                number
            }
        };
        let slot = Slot::try_from(number.0).map_err(|_| NoThread)?;
        let how = Subscription {
            label: SlotLabel::new(0, slot),
            class: Class::default(),
            max_bitrate_bps: 0,
        };
        if let Some(tap) = &self.tap {
            return Ok((tap.participant, how));
        }
        let (work, inbox, share) = threads.begin(Weak::clone(meeting)).ok_or(NoThread)?;
        let carrier = Arc::new(Intake {
            meeting: work.id,
            inbox: inbox.clone(),
        });
        let (port, _, ends) = Port::new(carrier);
        let participant = ParticipantId::random();
        let session = SessionKey(TAP_KEYS | self.taps);
        let given = (work.id, inbox);
        let streams = intake::streams(ends.streams, Weak::clone(meeting), session, given);
        self.taps += 1;
        let registered =
            forwarder.register(participant, UserId(0), &[], Generation::default(), now());
        registered.map_err(|_| NoThread)?;
        ports.insert(session, (participant, port));
        forwarder
            .session_up(participant, session, now())
            .map_err(|_| NoThread)?;
        self.tap = Some(Tap {
            participant,
            work,
            share,
            streams: tokio::spawn(streams),
        });
        Ok((participant, how))
    }

    /// The number of a source that goes through the tap.
    pub(crate) fn source(&self, stream: StreamId) -> Option<SourceId> {
        self.sources.get(&stream).copied()
    }

    /// Takes what there is room for of those who are to get a source made anew:
    /// all of them, or those who get it already. Who is left out.
    pub(crate) fn admit(
        &mut self,
        source: StreamId,
        wanted: &mut Vec<Processed>,
        threads: &Threads,
        heard_max: usize,
    ) -> Vec<ParticipantId> {
        let cost = |list: &[Processed]| self.demand(Some((source, list))).cost_us(heard_max);
        let all = cost(wanted);
        let before = self.wanted.get(&source).map(|(_, to)| to.as_slice());
        let before = before.unwrap_or_default();
        let had = |one: &Processed| {
            let same =
                |other: &Processed| (other.participant, other.how) == (one.participant, one.how);
            before.iter().any(same)
        };
        let (old, new): (Vec<_>, Vec<_>) = wanted.iter().copied().partition(had);
        let fewer = cost(&old);
        let Some(tap) = &mut self.tap else {
            return Vec::new();
        };
        if tap.share.resize(all, threads.max_us()) {
            return Vec::new();
        }
        // No more than before.
        tap.share.resize(fewer, u64::MAX);
        *wanted = old;
        new.iter().map(|processed| processed.participant).collect()
    }

    /// What is wanted, with this instead of what is wanted of one source.
    fn demand(&self, instead: Option<(StreamId, &[Processed])>) -> Demand {
        let others = self.wanted.iter().map(|(id, (_, to))| (*id, to.as_slice()));
        let others = others.filter(|(id, _)| instead.is_none_or(|(source, _)| *id != source));
        let mut demand = Demand::default();
        let mut mixes = BTreeSet::new();
        for (_, to) in others.chain(instead) {
            let mut bitrates = BTreeSet::new();
            let mut mixed = false;
            for processed in to {
                match processed.how {
                    How::Mix => {
                        mixed = true;
                        mixes.insert(processed.participant);
                    }
                    How::Alone { bitrate_bps } => {
                        bitrates.insert(bitrate_bps);
                    }
                }
            }
            demand.mixed += usize::from(mixed);
            demand.alone += usize::from(!bitrates.is_empty());
            demand.encodings += bitrates.len();
        }
        demand.mixes = mixes.len();
        demand
    }

    /// Nothing is counted that is not wanted any more.
    pub(crate) fn count(&mut self, heard_max: usize) {
        let cost_us = self.demand(None).cost_us(heard_max);
        if let Some(tap) = &mut self.tap {
            tap.share.resize(cost_us, u64::MAX);
        }
    }

    /// An order of the controller has become the one in force.
    pub(crate) fn set(&mut self, source: StreamId, generation: Generation, to: Vec<Processed>) {
        if to.is_empty() {
            if self.wanted.remove(&source).is_none() {
                return;
            }
        } else {
            self.wanted.insert(source, (generation, to));
        }
        self.tell();
    }

    /// A participant is not registered any more.
    pub(crate) fn forget(&mut self, participant: ParticipantId) {
        let before = self.wanted.len();
        let mut changed = false;
        for (_, to) in self.wanted.values_mut() {
            let count = to.len();
            to.retain(|processed| processed.participant != participant);
            changed |= count != to.len();
        }
        self.wanted.retain(|_, (_, to)| !to.is_empty());
        if changed || before != self.wanted.len() {
            self.tell();
        }
    }

    /// Nobody gets anything any more.
    pub(crate) fn forget_all(&mut self) {
        self.wanted.clear();
    }

    /// Closes the tap when nothing goes through it.
    pub(crate) fn settle(&mut self, forwarder: &mut Forwarder) {
        let wanted = &self.wanted;
        self.sources.retain(|stream, _| wanted.contains_key(stream));
        if self.wanted.is_empty()
            && let Some(tap) = self.tap.take()
        {
            let last = Generation {
                lease: 0,
                counter: 1,
            };
            forwarder.unregister(tap.participant, last, 0, now());
            self.sources.clear();
            self.listeners.clear();
        }
    }

    /// Tells the thread all that is wanted.
    fn tell(&mut self) {
        let Some(tap) = &self.tap else {
            return;
        };
        let mut all = Wanted::new();
        let mut newest: BTreeMap<ListenerId, Generation> = BTreeMap::new();
        for (stream, (generation, to)) in &self.wanted {
            let Some(source) = self.sources.get(stream) else {
                continue;
            };
            for processed in to {
                let key = match processed.how {
                    How::Mix => (processed.participant, None),
                    How::Alone { .. } => (processed.participant, Some(*stream)),
                };
                let next = &mut self.numbers;
                let listener = self.listeners.entry(key).or_insert_with(|| {
                    *next += 1;
                    ListenerId(u64::from(*next))
                });
                let address = Address {
                    participant: processed.participant,
                    label: processed.label,
                };
                let entry = all.entry(*listener).or_insert_with(|| {
                    let wish = match processed.how {
                        How::Mix => Wish::Mix(Default::default()),
                        How::Alone { bitrate_bps } => Wish::Alone {
                            source: *source,
                            bitrate_bps,
                        },
                    };
                    (wish, address)
                });
                if let Wish::Mix(sources) = &mut entry.0 {
                    sources.insert(*source);
                }
                // Orders of one change of assignments come one after the other.
                let newest = newest.entry(*listener).or_insert(*generation);
                if *generation >= *newest {
                    *newest = *generation;
                    entry.1 = address;
                }
            }
        }
        self.listeners
            .retain(|_, listener| all.contains_key(listener));
        *lock(&tap.work.wanted) = Some(all);
    }
}
