//! Sound that is made anew here: mixed, or encoded for a lower bitrate. Only in
//! meetings whose media this handler can read.
//!
//! A meeting in which somebody wants that has a *tap*: to the forwarder it is one
//! more participant that receives, so that whatever decides who is heard (the gates
//! of silent microphones, the loudest few, links from other handlers) counts for it
//! too. What it is given goes to a thread of its own (`worker`), which decodes,
//! mixes by the rules of `dt-mix-core`, encodes and sends.
//!
//! Deliberately absent: pictures.

mod opus;
mod orders;
mod worker;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, Weak},
};

use bytes::Bytes;
use dt_forward_core::{Class, Forwarder, Generation, SessionKey, Subscription};
use dt_frame::{DatagramHeader, FrameType, SlotLabel};
use dt_ids::{ParticipantId, Slot, StreamId, UserId};
use dt_mix_core::{ListenerId, SourceId, Wish};
use dt_transport::PathStats;

pub(crate) use orders::{How, Processed, split};
use worker::{Address, Inbox, Packet, Wanted, Work, Worker};

use crate::{
    lock,
    meeting::Meeting,
    now,
    port::{Carrier, Port},
};

/// Threads at most; meetings are spread over them.
const THREADS_MAX: usize = 4;
/// Numbers of taps among the sessions of a meeting, which count from 0.
const TAP_KEYS: u64 = 1 << 63;

/// The threads of a handler, started when they are needed.
#[derive(Default)]
pub(crate) struct Threads {
    workers: Mutex<Vec<Worker>>,
    begun: std::sync::atomic::AtomicU64,
}

impl Threads {
    fn begin(&self, meeting: Weak<Meeting>) -> Option<(Arc<Work>, Inbox)> {
        let id = self
            .begun
            .fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let work = Arc::new(Work {
            id,
            meeting,
            wanted: Mutex::default(),
        });
        let mut workers = lock(&self.workers);
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let place = usize::try_from(id).unwrap_or(0) % cores.min(THREADS_MAX);
        if place >= workers.len() {
            workers.push(Worker::start()?);
        }
        let worker = workers.get(place)?;
        worker.begin(&work).then_some(())?;
        Some((work, worker.inbox()))
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
        let (work, inbox) = threads.begin(Weak::clone(meeting)).ok_or(NoThread)?;
        let meeting = work.id;
        let carrier = Arc::new(Intake { meeting, inbox });
        // Nobody reads what would be written to it; datagrams are all it takes.
        let (port, ..) = Port::new(carrier);
        let participant = ParticipantId::random();
        let session = SessionKey(TAP_KEYS | self.taps);
        self.taps += 1;
        let registered =
            forwarder.register(participant, UserId(0), &[], Generation::default(), now());
        registered.map_err(|_| NoThread)?;
        ports.insert(session, (participant, port));
        forwarder
            .session_up(participant, session, now())
            .map_err(|_| NoThread)?;
        self.tap = Some(Tap { participant, work });
        Ok((participant, how))
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

/// Takes datagrams as a client's connection would.
struct Intake {
    meeting: u64,
    inbox: Inbox,
}

impl Carrier for Intake {
    fn datagram_prefix(&self) -> Bytes {
        Bytes::new()
    }

    fn send_datagram(&self, datagram: Bytes) {
        let Ok((header, payload)) = DatagramHeader::split(datagram) else {
            return;
        };
        // A frame of sound that is cut into pieces is none of Opus.
        let whole = header.flags.start && header.flags.end;
        if header.frame_type == FrameType::Audio
            && whole
            && let Some(label) = header.label()
        {
            self.inbox.give(Packet {
                meeting: self.meeting,
                source: SourceId(label.slot.get()),
                user: header.user_id,
                timestamp_us: header.timestamp_us,
                payload,
                came: std::time::Instant::now(),
            });
        }
    }

    fn queued_datagram_bytes(&self) -> usize {
        0
    }

    fn path_stats(&self) -> PathStats {
        PathStats::default()
    }

    fn close(&self, _: u32, _: &str) {}
}
