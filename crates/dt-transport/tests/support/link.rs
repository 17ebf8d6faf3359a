//! A link between two loopback sockets with delay, jitter, loss, reordering and
//! a bottleneck, for tests and figures.
//!
//! A relay in a thread of its own, so that the runtime under test does not delay
//! it. Clients talk to [`Link::address`] instead of the server; each gets a socket
//! towards the server. What happens to a packet is drawn from a seed, in the order
//! of arrival. Packets leave up to a millisecond late (the runtime's timer);
//! the bottleneck's rate does not suffer from it, as it is calculated. ECN marks
//! are not carried over.

#![allow(dead_code)] // each test and example uses another part of it
#![allow(clippy::unwrap_used)] // a test that cannot go on fails

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap},
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use rand::{RngExt, SeedableRng, rngs::StdRng};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::{net::UdpSocket, sync::Notify, time::Instant};

/// One way of a link.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Way {
    /// From one end to the other, without queueing.
    pub(crate) delay: Duration,
    /// Up to so much is added to each packet's delay. Order is kept.
    pub(crate) jitter: Duration,
    /// Share of packets that vanish, 0 to 1.
    pub(crate) loss: f64,
    /// Share of packets that later ones overtake, 0 to 1.
    pub(crate) reordering: f64,
    /// The bottleneck; 0 means none.
    pub(crate) rate_bits_per_s: u64,
    /// Packets that would wait longer before the bottleneck are dropped.
    pub(crate) queue_max: Duration,
}

/// Both ways, and where chance begins.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct LinkConfig {
    /// From the client to the server.
    pub(crate) up: Way,
    /// From the server to the client.
    pub(crate) down: Way,
    /// The same seed gives the same fate to the same sequence of packets.
    pub(crate) seed: u64,
}

impl LinkConfig {
    /// The same both ways.
    pub(crate) fn both(way: Way, seed: u64) -> Self {
        Self {
            up: way,
            down: way,
            seed,
        }
    }

    /// No loss and no bottleneck, half of `rtt` each way.
    pub(crate) fn clean(rtt: Duration) -> Self {
        let way = Way {
            delay: rtt / 2,
            ..Way::default()
        };
        Self::both(way, 0)
    }
}

/// What one way has carried so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Packets put in.
    pub(crate) packets: u64,
    /// Their bytes (UDP payload).
    pub(crate) bytes: u64,
    /// Packets that vanished by chance.
    pub(crate) lost_packets: u64,
    /// Their bytes.
    pub(crate) lost_bytes: u64,
    /// Packets that found the queue full.
    pub(crate) overflow_packets: u64,
}

/// The sockets towards the server, by the clients that they are for.
type Clients = HashMap<SocketAddr, Arc<UdpSocket>>;

/// A running link; it ends when this is dropped.
pub(crate) struct Link {
    address: SocketAddr,
    lines: [Arc<Mutex<Line>>; 2],
    clients: Arc<Mutex<Clients>>,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Link {
    /// A link to this server.
    pub(crate) fn start(server: SocketAddr, config: LinkConfig) -> Self {
        let socket = socket();
        let address = socket.local_addr().unwrap();
        let wake = Arc::new(Notify::new());
        let lines = [(config.up, 0), (config.down, 1)].map(|(way, place)| {
            let rng = StdRng::seed_from_u64(config.seed.wrapping_mul(2).wrapping_add(place));
            Arc::new(Mutex::new(Line::new(way, rng)))
        });
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let clients = Arc::default();
        let relay = Relay {
            server,
            lines: lines.clone(),
            clients: Arc::clone(&clients),
            wake,
        };
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                tokio::select! {
                    () = relay.run(socket) => {}
                    _ = stopped => {}
                }
            });
        });
        Self {
            address,
            lines,
            clients,
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    /// Where clients connect to.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// What went towards the server.
    pub(crate) fn up(&self) -> Counts {
        lock(&self.lines[0]).counts
    }

    /// What went towards the clients.
    pub(crate) fn down(&self) -> Counts {
        lock(&self.lines[1]).counts
    }

    /// From now on the server sees all clients at other addresses, of which they know
    /// nothing: what a router does that has forgotten them.
    pub(crate) fn forget_clients(&self) {
        lock(&self.clients).clear();
    }

    /// From now on both ways are like this.
    pub(crate) fn change(&self, up: Way, down: Way) {
        lock(&self.lines[0]).way = up;
        lock(&self.lines[1]).way = down;
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// With buffers that hold what a bottleneck-less link carries while the relay's
/// thread waits for a processor.
fn socket() -> std::net::UdpSocket {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP)).unwrap();
    let _ = socket.set_recv_buffer_size(8 << 20);
    let _ = socket.set_send_buffer_size(8 << 20);
    socket.set_nonblocking(true).unwrap();
    let any: SocketAddr = (Ipv4Addr::LOCALHOST, 0).into();
    socket.bind(&any.into()).unwrap();
    socket.into()
}

/// Where a packet goes: out of this socket to this address.
#[derive(Clone)]
struct Exit {
    socket: Arc<UdpSocket>,
    to: SocketAddr,
}

struct Packet {
    at: Instant,
    number: u64,
    bytes: Vec<u8>,
    exit: Exit,
}

impl PartialEq for Packet {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}

impl Eq for Packet {}

impl Ord for Packet {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}

impl PartialOrd for Packet {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

/// One way, and what is on it.
struct Line {
    way: Way,
    rng: StdRng,
    /// The bottleneck is busy until then.
    busy_until: Instant,
    /// Nothing that keeps its order arrives before this.
    last_at: Instant,
    flying: BinaryHeap<Reverse<Packet>>,
    counts: Counts,
}

impl Line {
    fn new(way: Way, rng: StdRng) -> Self {
        let now = Instant::now();
        Self {
            way,
            rng,
            busy_until: now,
            last_at: now,
            flying: BinaryHeap::new(),
            counts: Counts::default(),
        }
    }

    fn put(&mut self, bytes: &[u8], exit: Exit, now: Instant) {
        let number = self.counts.packets;
        self.counts.packets += 1;
        self.counts.bytes += bytes.len() as u64;
        // Drawn for each packet, so that a packet's fate does not depend on the
        // fates of others.
        let (lost, delayed, overtaken) = (
            self.rng.random::<f64>() < self.way.loss,
            self.way.jitter.mul_f64(self.rng.random::<f64>()),
            self.rng.random::<f64>() < self.way.reordering,
        );
        if lost {
            self.counts.lost_packets += 1;
            self.counts.lost_bytes += bytes.len() as u64;
            return;
        }
        let mut leaves = now;
        let bits = bytes.len() as u64 * 8;
        // Without a rate there is no bottleneck.
        if let Some(nanoseconds) = (bits * 1_000_000_000).checked_div(self.way.rate_bits_per_s) {
            let begins = now.max(self.busy_until);
            if begins - now > self.way.queue_max {
                self.counts.overflow_packets += 1;
                return;
            }
            leaves = begins + Duration::from_nanos(nanoseconds);
            self.busy_until = leaves;
        }
        let mut at = leaves + self.way.delay + delayed;
        if overtaken {
            // Behind whatever comes in the next two milliseconds and more.
            at += self.way.delay / 4 + Duration::from_millis(3);
        } else {
            at = at.max(self.last_at);
            self.last_at = at;
        }
        self.flying.push(Reverse(Packet {
            at,
            number,
            bytes: bytes.to_vec(),
            exit,
        }));
    }

    fn take(&mut self, now: Instant) -> Option<Packet> {
        if self.next()? > now {
            return None;
        }
        self.flying.pop().map(|Reverse(packet)| packet)
    }

    fn next(&self) -> Option<Instant> {
        self.flying.peek().map(|Reverse(packet)| packet.at)
    }
}

struct Relay {
    server: SocketAddr,
    lines: [Arc<Mutex<Line>>; 2],
    clients: Arc<Mutex<Clients>>,
    wake: Arc<Notify>,
}

impl Relay {
    async fn run(self, inner: std::net::UdpSocket) {
        let inner = Arc::new(UdpSocket::from_std(inner).unwrap());
        tokio::join!(self.take_in(Arc::clone(&inner)), self.give_out());
    }

    /// From the clients; a client that is new gets a socket towards the server.
    async fn take_in(&self, inner: Arc<UdpSocket>) {
        let mut tasks = tokio::task::JoinSet::new();
        let mut buffer = vec![0; 1 << 16];
        loop {
            let Ok((bytes, client)) = inner.recv_from(&mut buffer).await else {
                continue;
            };
            let mut clients = lock(&self.clients);
            let outer = clients.entry(client).or_insert_with(|| {
                let outer = Arc::new(UdpSocket::from_std(socket()).unwrap());
                let exit = Exit {
                    socket: Arc::clone(&inner),
                    to: client,
                };
                let (line, wake) = (Arc::clone(&self.lines[1]), Arc::clone(&self.wake));
                tasks.spawn(back(Arc::clone(&outer), exit, line, wake));
                outer
            });
            let exit = Exit {
                socket: Arc::clone(outer),
                to: self.server,
            };
            drop(clients);
            lock(&self.lines[0]).put(&buffer[..bytes], exit, Instant::now());
            self.wake.notify_one();
        }
    }

    /// Lets out what is due.
    async fn give_out(&self) {
        loop {
            let mut next: Option<Instant> = None;
            for line in &self.lines {
                loop {
                    let Some(packet) = lock(line).take(Instant::now()) else {
                        break;
                    };
                    // A full socket loses it, as a full card would.
                    let _ = packet
                        .exit
                        .socket
                        .try_send_to(&packet.bytes, packet.exit.to);
                }
                next = match (next, lock(line).next()) {
                    (Some(a), Some(b)) => Some(a.min(b)),
                    (a, b) => a.or(b),
                };
            }
            let due = async {
                match next {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = due => {}
                () = self.wake.notified() => {}
            }
        }
    }
}

/// From the server to one client.
async fn back(outer: Arc<UdpSocket>, exit: Exit, line: Arc<Mutex<Line>>, wake: Arc<Notify>) {
    let mut buffer = vec![0; 1 << 16];
    loop {
        // An error says that a packet before was refused; the next may not be.
        if let Ok((bytes, _)) = outer.recv_from(&mut buffer).await {
            lock(&line).put(&buffer[..bytes], exit.clone(), Instant::now());
            wake.notify_one();
        }
    }
}
