//! A thread that mixes. It has the meetings that were given to it, and the time:
//! forwarding gives it packets without waiting, and what it can't take is lost. A
//! panic in one meeting's sound is our own bug; that meeting begins anew, and the
//! others do not notice.

use std::{
    collections::{BTreeMap, HashMap},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex, Weak,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel},
    },
    thread::JoinHandle,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use bytes::{BufMut, Bytes, BytesMut};
use dt_frame::{
    AudioLevel, DATAGRAM_HEADER_BYTES, DatagramHeader, Extension, Flags, FrameType, SlotLabel,
};
use dt_ids::{ParticipantId, UserId};
use dt_mix_core::{Codecs, ListenerId, Mixer, STEP, STEP_US, Sound, SourceId, Wish};

use super::{capacity::Asked, opus::Opus};
use crate::{lock, meeting::Meeting};

/// Packets that wait for a thread; with more the newest is lost. Half a second of
/// a hundred voices.
const PACKETS_MAX: usize = 2500;
/// A thread that is later than this leaves steps out instead of running after them.
const BEHIND_MAX: Duration = Duration::from_millis(100);
/// A voice in a mix is as good as one alone.
const MIX_BITRATE_BPS: u32 = 40_000;
/// dB below overload from which on there is no voice in a mix.
const VOICE_BELOW_DB: u8 = 60;

/// A packet of a source.
pub(crate) struct Packet {
    pub(crate) meeting: u64,
    pub(crate) source: SourceId,
    pub(crate) user: UserId,
    pub(crate) timestamp_us: u64,
    pub(crate) payload: Bytes,
    pub(crate) came: Instant,
}

/// Who gets what of a meeting.
pub(crate) type Wanted = BTreeMap<ListenerId, (Wish, Address)>;

/// Where a listener's sound goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) participant: ParticipantId,
    pub(crate) label: SlotLabel,
}

/// Datagrams that were made, and for whom.
type Made = Vec<(ParticipantId, Bytes)>;

/// A meeting as its thread knows it.
pub(crate) struct Work {
    pub(crate) id: u64,
    pub(crate) meeting: Weak<Meeting>,
    /// What is wanted from the next step on. A work that nobody but its thread has
    /// is done.
    pub(crate) wanted: Mutex<Option<Wanted>>,
}

/// What a thread is given.
enum Order {
    Packet(Packet),
    Begin(Arc<Work>),
    /// Nothing comes any more: it looks whether its handler has ended.
    End,
}

/// The thread's other end.
pub(crate) struct Worker {
    orders: SyncSender<Order>,
    over: Arc<AtomicBool>,
    asked: Asked,
    thread: Option<JoinHandle<()>>,
}

impl Worker {
    /// Starts a thread; `None` when the system has no more of them.
    pub(crate) fn start() -> Option<Self> {
        let (orders, taken) = sync_channel(PACKETS_MAX);
        let over = Arc::new(AtomicBool::new(false));
        let thread = Thread::new(Opus, Arc::clone(&over));
        let thread = std::thread::Builder::new()
            .name("mixing".into())
            .spawn(move || thread.run(&taken))
            .ok()?;
        Some(Self {
            orders,
            over,
            asked: Asked::default(),
            thread: Some(thread),
        })
    }

    /// What it has been asked for.
    pub(crate) fn asked(&self) -> &Asked {
        &self.asked
    }

    /// `false` when it has too much to do to begin anything.
    pub(crate) fn begin(&self, work: &Arc<Work>) -> bool {
        self.orders.try_send(Order::Begin(Arc::clone(work))).is_ok()
    }

    pub(crate) fn inbox(&self) -> Inbox {
        Inbox(self.orders.clone())
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // Meetings that still end may hold inboxes, so it is told. With orders
        // enough to refuse this one it is awake.
        self.over.store(true, Ordering::Relaxed);
        let _ = self.orders.try_send(Order::End);
        if let Some(thread) = self.thread.take()
            && thread.thread().id() != std::thread::current().id()
        {
            let _ = thread.join();
        }
    }
}

/// Where packets for a thread go.
#[derive(Clone)]
pub(crate) struct Inbox(SyncSender<Order>);

impl Inbox {
    /// Without waiting: with too many the packet is lost.
    pub(crate) fn give(&self, packet: Packet) {
        if let Err(TrySendError::Full(_)) = self.0.try_send(Order::Packet(packet)) {
            metrics::counter!("media_dropped_total", "reason" => "mixing_overload").increment(1);
        }
    }
}

/// One meeting in its thread.
struct Mixing<C: Codecs> {
    work: Arc<Work>,
    mixer: Mixer<C>,
    wishes: BTreeMap<ListenerId, Wish>,
    addresses: BTreeMap<ListenerId, (Address, u64)>,
    users: HashMap<SourceId, UserId>,
}

struct Thread<C: Codecs> {
    codecs: C,
    meetings: BTreeMap<u64, Mixing<C>>,
    over: Arc<AtomicBool>,
}

impl<C: Codecs + Clone> Thread<C> {
    const fn new(codecs: C, over: Arc<AtomicBool>) -> Self {
        Self {
            codecs,
            meetings: BTreeMap::new(),
            over,
        }
    }

    fn run(mut self, orders: &Receiver<Order>) {
        loop {
            // Without a meeting there is no time.
            match orders.recv() {
                Ok(order) => self.take(order),
                Err(_) => return,
            }
            if !self.meetings.is_empty() && !self.mix(orders) || self.is_over() {
                return;
            }
        }
    }

    /// Steps until there is no meeting; `false` when the handler has ended.
    fn mix(&mut self, orders: &Receiver<Order>) -> bool {
        // The same grid at all handlers whose clocks agree.
        let unix = SystemTime::now().duration_since(UNIX_EPOCH);
        let unix_us = unix.map_or(0, |d| u64::try_from(d.as_micros()).unwrap_or(0));
        let mut grid_us = unix_us / STEP_US * STEP_US;
        let mut next = Instant::now();
        while !self.meetings.is_empty() {
            match orders.recv_timeout(next.saturating_duration_since(Instant::now())) {
                Ok(order) => self.take(order),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return false,
            }
            if self.is_over() {
                return false;
            }
            let now = Instant::now();
            if now < next {
                continue;
            }
            if now - next > BEHIND_MAX {
                let late = u64::try_from((now - next).as_micros()).unwrap_or(0);
                let steps = late / STEP_US;
                metrics::counter!("media_mixing_steps_left_out_total").increment(steps);
                grid_us += steps * STEP_US;
                next += Duration::from_micros(steps * STEP_US);
            }
            grid_us += STEP_US;
            next += STEP;
            self.step(grid_us, now, |meeting, datagrams| {
                if let Some(meeting) = meeting.upgrade() {
                    meeting.send_processed(datagrams);
                }
            });
        }
        true
    }

    /// One step of all meetings.
    fn step(&mut self, grid_us: u64, now: Instant, mut send: impl FnMut(&Weak<Meeting>, Made)) {
        self.meetings
            .retain(|_, mixing| Arc::strong_count(&mixing.work) > 1);
        for mixing in self.meetings.values_mut() {
            let step = |mixing: &mut Mixing<C>| mixing.step(grid_us, now);
            let made = mixing.guarded(&self.codecs, step).unwrap_or_default();
            if !made.is_empty() {
                send(&mixing.work.meeting, made);
            }
        }
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    fn take(&mut self, order: Order) {
        match order {
            Order::End => {}
            Order::Begin(work) => {
                let mixing = Mixing {
                    mixer: Mixer::new(self.codecs.clone(), MIX_BITRATE_BPS),
                    wishes: BTreeMap::new(),
                    addresses: BTreeMap::new(),
                    users: HashMap::new(),
                    work,
                };
                self.meetings.insert(mixing.work.id, mixing);
            }
            Order::Packet(packet) => {
                if let Some(mixing) = self.meetings.get_mut(&packet.meeting) {
                    mixing.users.insert(packet.source, packet.user);
                    mixing.guarded(&self.codecs, |mixing| {
                        let Packet {
                            source,
                            timestamp_us,
                            payload,
                            came,
                            ..
                        } = packet;
                        mixing.mixer.packet(source, timestamp_us, payload, came);
                    });
                }
            }
        }
    }
}

impl<C: Codecs + Clone> Mixing<C> {
    /// Does something with it; after a panic nothing of its sound until then is
    /// left.
    fn guarded<T>(&mut self, codecs: &C, work: impl FnOnce(&mut Self) -> T) -> Option<T> {
        let done = catch_unwind(AssertUnwindSafe(|| work(self)));
        if done.is_err() {
            metrics::counter!("media_mixing_panics_total").increment(1);
            self.mixer = Mixer::new(codecs.clone(), MIX_BITRATE_BPS);
            self.mixer.listen(self.wishes.clone());
        }
        done.ok()
    }

    /// What is to be sent now.
    fn step(&mut self, grid_us: u64, now: Instant) -> Made {
        let wanted = lock(&self.work.wanted).take();
        if let Some(wanted) = wanted {
            self.listen(wanted);
        }
        let sounds = self.mixer.step(now);
        let mut datagrams = Vec::new();
        for sound in &sounds {
            for to in &sound.to {
                if let Some((address, sequence)) = self.addresses.get_mut(to) {
                    *sequence += 1;
                    let user = sound.of.and_then(|(source, _)| self.users.get(&source));
                    let user = user.copied().unwrap_or(UserId(0));
                    let datagram = datagram(sound, user, address.label, *sequence, grid_us);
                    datagrams.push((address.participant, datagram));
                }
            }
        }
        datagrams
    }

    fn listen(&mut self, wanted: Wanted) {
        let before = std::mem::take(&mut self.addresses);
        let mut wishes = BTreeMap::new();
        for (listener, (wish, address)) in wanted {
            // Numbers go on: a receiver counts what is missing.
            let sequence = before.get(&listener).map_or(0, |(_, sequence)| *sequence);
            self.addresses.insert(listener, (address, sequence));
            wishes.insert(listener, wish);
        }
        self.wishes.clone_from(&wishes);
        self.mixer.listen(wishes);
    }
}

fn datagram(
    sound: &Sound,
    user_id: UserId,
    label: SlotLabel,
    sequence: u64,
    grid_us: u64,
) -> Bytes {
    let level = AudioLevel {
        voice: sound.below_overload_db < VOICE_BELOW_DB,
        below_overload_db: sound.below_overload_db,
    };
    let header = DatagramHeader {
        frame_type: FrameType::Audio,
        user_id,
        stream: label.to_bits(),
        timestamp_us: sound.of.map_or(grid_us, |(_, captured_us)| captured_us),
        sequence,
        payload_bytes: u32::try_from(sound.payload.len()).expect("an Opus packet is short"),
        flags: Flags::WHOLE,
        extension: Extension::audio(level, 0),
    };
    let mut out = BytesMut::with_capacity(DATAGRAM_HEADER_BYTES + sound.payload.len());
    out.put_slice(&header.write());
    out.put_slice(&sound.payload);
    out.freeze()
}

#[cfg(test)]
mod tests;
