//! The way of datagrams to their receivers: a route is resolved once, to a list
//! that never changes, and read without looking anything up.
//!
//! Of a datagram there are as many copies as it has different labels, not as it
//! has receivers; who has the same label shares the bytes until they are sealed.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use dt_forward_core::{Label, SessionKey, Target};
use dt_frame::{DatagramHeader, FrameType};

use crate::{backlog::Backlog, lock, port::Carrier};

/// How often a carrier is given more of what waits for it.
const PUMP_EVERY: Duration = Duration::from_millis(5);

/// Somebody who receives datagrams.
pub(crate) struct Receiver {
    carrier: Arc<dyn Carrier>,
    backlog: Mutex<Backlog>,
}

impl Receiver {
    pub(crate) fn new(carrier: Arc<dyn Carrier>) -> Arc<Self> {
        Arc::new(Self {
            carrier,
            backlog: Mutex::default(),
        })
    }

    /// Gives it one datagram of sound that goes to nobody else; `false` when what
    /// waits is too old.
    pub(crate) fn send_sound(&self, datagram: &[u8], now: Instant) -> bool {
        let whole = Bytes::from([&self.carrier.datagram_prefix(), datagram].concat());
        self.sound(&[whole], now) == 1
    }

    /// Gives it all of them, or none when what waits is too old; how many.
    fn sound(&self, copies: &[Bytes], now: Instant) -> usize {
        let mut backlog = lock(&self.backlog);
        let (queued, mut give) = self.carrier();
        backlog.sound(copies, queued, now, &mut give)
    }

    /// Gives it all of them, as its path takes them, or none when what waits is
    /// too old; how many.
    fn pictures(self: &Arc<Self>, copies: &[Bytes], now: Instant) -> usize {
        let mut backlog = lock(&self.backlog);
        let (queued, mut give) = self.carrier();
        let held = backlog.holds();
        let taken = backlog.pictures(copies, queued, now, &mut give);
        if !held && backlog.holds() {
            // Ends when nothing waits any more, which is soon.
            tokio::spawn(Arc::clone(self).pump());
        }
        taken
    }

    /// Gives the carrier what waits for it, as its path takes it.
    async fn pump(self: Arc<Self>) {
        loop {
            tokio::time::sleep(PUMP_EVERY).await;
            let mut backlog = lock(&self.backlog);
            let (queued, mut give) = self.carrier();
            backlog.pump(queued, crate::now(), &mut give);
            if !backlog.holds() {
                return;
            }
        }
    }

    /// Its path has these figures now.
    pub(crate) fn path(&self, window_bytes: u64, rtt: Duration) {
        lock(&self.backlog).path(window_bytes, rtt);
    }

    /// Whether it may be given what is worth less than media.
    pub(crate) fn is_idle(&self) -> bool {
        let backlog = lock(&self.backlog);
        backlog.is_idle(self.carrier.queued_datagram_bytes())
    }

    /// What its carrier holds, and what gives it more. Under the backlog's lock: else
    /// another thread gives it some in between, which counts as sent already.
    fn carrier(&self) -> (usize, impl FnMut(Bytes)) {
        let give = |datagram| self.carrier.send_datagram(datagram);
        (self.carrier.queued_datagram_bytes(), give)
    }
}

/// All receivers of a source. Replaced whole, never changed.
pub(crate) struct Route {
    targets: Arc<[Target]>,
    groups: Vec<Group>,
}

/// Those whose copies are the same.
struct Group {
    prefix: Bytes,
    label: Label,
    receivers: Vec<Arc<Receiver>>,
}

impl Route {
    fn resolve(
        targets: &Arc<[Target]>,
        receiver: impl Fn(SessionKey) -> Option<Arc<Receiver>>,
    ) -> Self {
        let mut groups: Vec<Group> = Vec::new();
        let mut places: HashMap<(Bytes, Label), usize> = HashMap::new();
        for target in targets.iter() {
            let Some(receiver) = receiver(target.session) else {
                continue;
            };
            let (prefix, label) = (receiver.carrier.datagram_prefix(), target.label);
            let place = places.entry((prefix.clone(), label)).or_insert_with(|| {
                groups.push(Group {
                    prefix,
                    label,
                    receivers: Vec::new(),
                });
                groups.len() - 1
            });
            groups[*place].receivers.push(receiver);
        }
        Self {
            targets: Arc::clone(targets),
            groups,
        }
    }

    /// Sends datagrams of one source to all; how many copies were left out
    /// because a receiver is slow.
    fn send(&self, datagrams: &[Pending], now: Instant) -> usize {
        let sound = datagrams.iter().any(|pending| pending.sound);
        let bytes: usize = datagrams.iter().map(|p| p.datagram.len()).sum();
        let mut copies = Vec::with_capacity(datagrams.len());
        let mut left_out = 0;
        for group in &self.groups {
            copies.clear();
            let bytes = bytes + group.prefix.len() * datagrams.len();
            let mut buffer = BytesMut::with_capacity(bytes);
            for pending in datagrams {
                buffer.extend_from_slice(&group.prefix);
                buffer.extend_from_slice(&pending.datagram);
                let label = group.label.to_bits();
                DatagramHeader::rewrite_label(&mut buffer[group.prefix.len()..], label);
                copies.push(buffer.split().freeze());
            }
            for receiver in &group.receivers {
                let taken = match sound {
                    true => receiver.sound(&copies, now),
                    false => receiver.pictures(&copies, now),
                };
                left_out += copies.len() - taken;
            }
        }
        left_out
    }
}

/// A datagram that goes out with the next round.
struct Pending {
    datagram: Bytes,
    sound: bool,
}

/// What goes to the same receivers, in its order.
struct Batch {
    route: Arc<Route>,
    datagrams: Vec<Pending>,
}

/// The routes of one meeting, and what waits for the next round.
#[derive(Default)]
pub(crate) struct FanOut {
    /// By the address of the list of targets, which its route keeps alive.
    routes: HashMap<usize, Arc<Route>>,
    pending: Vec<Batch>,
}

impl FanOut {
    /// A datagram is to go to these; `true` when it is the first of a round.
    pub(crate) fn add(
        &mut self,
        datagram: Bytes,
        targets: &Arc<[Target]>,
        receiver: impl Fn(SessionKey) -> Option<Arc<Receiver>>,
    ) -> bool {
        let first = self.pending.is_empty();
        let sound = datagram.get(1) == Some(&FrameType::Audio.to_byte());
        let pending = Pending { datagram, sound };
        // Most likely the rest of a burst; a round has few lists.
        let to = |batch: &&mut Batch| Arc::ptr_eq(&batch.route.targets, targets);
        if let Some(batch) = self.pending.iter_mut().rev().find(to) {
            batch.datagrams.push(pending);
            return first;
        }
        let route = self.route(targets, receiver);
        self.pending.push(Batch {
            route,
            datagrams: vec![pending],
        });
        first
    }

    /// What the next round sends.
    pub(crate) fn take(&mut self) -> Round {
        let next = Vec::with_capacity(self.pending.len());
        Round(std::mem::replace(&mut self.pending, next))
    }

    fn route(
        &mut self,
        targets: &Arc<[Target]>,
        receiver: impl Fn(SessionKey) -> Option<Arc<Receiver>>,
    ) -> Arc<Route> {
        let address = targets.as_ptr().addr();
        if let Some(route) = self.routes.get(&address) {
            return Arc::clone(route);
        }
        // A list that nobody but its route has is of the past.
        self.routes
            .retain(|_, route| Arc::strong_count(&route.targets) > 1);
        let route = Arc::new(Route::resolve(targets, receiver));
        self.routes.insert(address, Arc::clone(&route));
        route
    }
}

/// Datagrams that go out together.
pub(crate) struct Round(Vec<Batch>);

impl Round {
    /// Sends all of it; how many copies were left out because a receiver is slow.
    pub(crate) fn send(self, now: Instant) -> usize {
        let sent = self.0.iter();
        sent.map(|batch| batch.route.send(&batch.datagrams, now))
            .sum()
    }
}

#[cfg(test)]
mod tests {
    use dt_frame::SlotLabel;
    use dt_ids::Slot;

    use super::*;

    /// Takes datagrams; holds as many bytes as it is told.
    #[derive(Default)]
    struct Client {
        prefix: Bytes,
        got: Mutex<Vec<Bytes>>,
        queued: std::sync::atomic::AtomicUsize,
    }

    impl Carrier for Client {
        fn datagram_prefix(&self) -> Bytes {
            self.prefix.clone()
        }

        fn send_datagram(&self, datagram: Bytes) {
            lock(&self.got).push(datagram);
        }

        fn queued_datagram_bytes(&self) -> usize {
            self.queued.load(std::sync::atomic::Ordering::Relaxed)
        }

        fn path_stats(&self) -> dt_transport::PathStats {
            dt_transport::PathStats::default()
        }

        fn close(&self, _: u32, _: &str) {}
    }

    fn target(session: u64, slot: u32) -> Target {
        Target {
            session: SessionKey(session),
            label: SlotLabel::new(1, Slot::try_from(slot).expect("small")).into(),
        }
    }

    fn datagram(frame_type: FrameType, mark: u8) -> Bytes {
        let mut bytes = vec![0; 100];
        (bytes[1], bytes[99]) = (frame_type.to_byte(), mark);
        bytes.into()
    }

    struct World {
        clients: Vec<Arc<Client>>,
        receivers: Vec<Arc<Receiver>>,
        fan_out: FanOut,
    }

    impl World {
        fn new(prefixes: &[&'static [u8]]) -> Self {
            let client = |prefix: &&'static [u8]| {
                Arc::new(Client {
                    prefix: Bytes::from_static(prefix),
                    ..Client::default()
                })
            };
            let clients: Vec<_> = prefixes.iter().map(client).collect();
            let receiver = |client: &Arc<Client>| Receiver::new(Arc::clone(client) as _);
            Self {
                receivers: clients.iter().map(receiver).collect(),
                clients,
                fan_out: FanOut::default(),
            }
        }

        fn add(&mut self, datagram: Bytes, targets: &Arc<[Target]>) -> bool {
            let receivers = &self.receivers;
            let place = |session: SessionKey| usize::try_from(session.0).ok();
            self.fan_out.add(datagram, targets, |session| {
                receivers.get(place(session)?).cloned()
            })
        }

        fn got(&self, client: usize) -> Vec<Bytes> {
            lock(&self.clients[client].got).clone()
        }
    }

    #[test]
    fn each_gets_every_datagram_in_order_with_its_own_label_and_prefix() {
        let mut world = World::new(&[b"", b"\x00", b"\x00", b"\x40\x04"]);
        let one: Arc<[Target]> = [target(0, 1), target(1, 2), target(3, 2)].into();
        let other: Arc<[Target]> = [target(2, 5), target(9, 1)].into();
        for mark in 0..6 {
            let first = world.add(datagram(FrameType::VideoDelta, mark), &one);
            assert_eq!(first, mark == 0);
            world.add(datagram(FrameType::VideoDelta, 100 + mark), &other);
        }
        assert_eq!(world.fan_out.take().send(Instant::now()), 0);
        for (client, label, from) in [(0, 1, 0), (1, 2, 0), (2, 5, 100), (3, 2, 0)] {
            let prefix = &world.clients[client].prefix;
            let got = world.got(client);
            assert_eq!(got.len(), 6);
            for (mark, copy) in (from..).zip(got) {
                let copy = copy.strip_prefix(&prefix[..]).expect("the prefix is there");
                let bits = target(0, label).label.to_bits().to_be_bytes();
                assert_eq!((&copy[10..14], copy[99]), (&bits[..], mark));
            }
        }
        assert!(world.add(datagram(FrameType::VideoDelta, 0), &one));
    }

    #[test]
    fn who_has_the_same_label_shares_the_bytes() {
        let mut world = World::new(&[b"\x00", b"\x00", b"\x00"]);
        let targets: Arc<[Target]> = [target(0, 1), target(1, 1), target(2, 2)].into();
        world.add(datagram(FrameType::VideoDelta, 0), &targets);
        world.fan_out.take().send(Instant::now());
        let at = |client| world.got(client)[0].as_ptr();
        assert_eq!(at(0), at(1));
        assert_ne!(at(0), at(2));
    }

    #[test]
    fn a_slow_receiver_gets_no_more_pictures_but_sound_and_costs_others_nothing() {
        let mut world = World::new(&[b"", b""]);
        let targets: Arc<[Target]> = [target(0, 1), target(1, 1)].into();
        let start = Instant::now();
        let mut left_out = 0;
        for round in 0..20 {
            let now = start + Duration::from_millis(10) * round;
            // The first one takes nothing.
            let queued = world.got(0).len() * 100;
            world.clients[0]
                .queued
                .store(queued, std::sync::atomic::Ordering::Relaxed);
            world.add(datagram(FrameType::VideoDelta, 0), &targets);
            left_out += world.fan_out.take().send(now);
        }
        assert_eq!(world.got(0).len(), 6);
        assert_eq!((world.got(1).len(), left_out), (20, 14));
        world.add(datagram(FrameType::Audio, 9), &targets);
        world
            .fan_out
            .take()
            .send(start + Duration::from_millis(190));
        assert_eq!(world.got(0).len(), 7);
    }

    #[test]
    fn a_list_that_was_replaced_is_forgotten() {
        let mut world = World::new(&[b""]);
        for slot in 1..100 {
            let targets: Arc<[Target]> = [target(0, slot)].into();
            world.add(datagram(FrameType::VideoDelta, 0), &targets);
            world.fan_out.take().send(Instant::now());
        }
        assert!(world.fan_out.routes.len() <= 2);
        assert_eq!(world.got(0).len(), 99);
    }
}
