//! What somebody sees who has the server: its memory, and every packet that
//! goes in and out.

use std::{
    collections::{HashMap, HashSet},
    fs::{self, File},
    net::SocketAddr,
    os::unix::fs::FileExt as _,
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::Result;
use tokio::{net::UdpSocket, task::JoinSet};

/// As long as a thing must be to be found; shorter ones may be there by chance.
pub(crate) const WINDOW: usize = 32;
/// A piece of memory that is read at once.
const CHUNK: usize = 4 << 20;

/// Looks for things in a lot of bytes, in one pass.
pub(crate) struct Search {
    /// Where the first eight bytes of a thing may stand, by two of them.
    begins: Vec<bool>,
    things: HashMap<u64, Vec<Vec<u8>>>,
    pub(crate) found: HashSet<Vec<u8>>,
}

impl Search {
    pub(crate) fn new(things: impl IntoIterator<Item = Vec<u8>>) -> Self {
        let mut search = Self {
            begins: vec![false; 1 << 16],
            things: HashMap::new(),
            found: HashSet::new(),
        };
        for thing in things {
            let first: [u8; 8] = thing[..8].try_into().expect("things are longer");
            search.begins[usize::from(u16::from_le_bytes([first[0], first[1]]))] = true;
            let same = search.things.entry(u64::from_le_bytes(first)).or_default();
            same.push(thing);
        }
        search
    }

    pub(crate) fn look(&mut self, bytes: &[u8]) {
        for (at, window) in bytes.windows(8).enumerate() {
            if !self.begins[usize::from(u16::from_le_bytes([window[0], window[1]]))] {
                continue;
            }
            let Ok(first) = window.try_into() else {
                continue;
            };
            let things = self.things.get(&u64::from_le_bytes(first));
            for thing in things.into_iter().flatten() {
                if bytes[at..].starts_with(thing) {
                    self.found.insert(thing.clone());
                }
            }
        }
    }

    /// Looks through all memory of a process that it can write to.
    pub(crate) fn look_at_process(&mut self, id: u32) -> Result<usize> {
        let memory = File::open(format!("/proc/{id}/mem"))?;
        let mut looked_at = 0;
        let mut buffer = vec![0; CHUNK];
        for line in fs::read_to_string(format!("/proc/{id}/maps"))?.lines() {
            let mut fields = line.split_whitespace();
            let (Some(range), Some(rights)) = (fields.next(), fields.next()) else {
                continue;
            };
            let Some((from, to)) = range.split_once('-') else {
                continue;
            };
            if !rights.starts_with("rw") {
                continue;
            }
            let (mut at, to) = (u64::from_str_radix(from, 16)?, u64::from_str_radix(to, 16)?);
            while at < to {
                let want = usize::try_from(to - at)?.min(CHUNK);
                // What was never touched, or is gone by now, can't be read.
                let Ok(got @ 1..) = memory.read_at(&mut buffer[..want], at) else {
                    break;
                };
                self.look(&buffer[..got]);
                looked_at += got;
                // A thing may lie across two pieces.
                let overlap = if got == want && want == CHUNK {
                    2 * WINDOW
                } else {
                    0
                };
                at += (got - overlap) as u64;
            }
        }
        Ok(looked_at)
    }
}

/// A relay between clients and a server that keeps every packet.
pub(crate) struct Relay {
    pub(crate) address: SocketAddr,
    packets: Arc<Mutex<Vec<Vec<u8>>>>,
    _tasks: JoinSet<()>,
}

impl Relay {
    pub(crate) async fn start(server: SocketAddr) -> Result<Self> {
        let socket = Arc::new(UdpSocket::bind("127.0.0.1:0").await?);
        let address = socket.local_addr()?;
        let packets = Arc::new(Mutex::new(Vec::new()));
        let mut tasks = JoinSet::new();
        let kept = Arc::clone(&packets);
        tasks.spawn(async move {
            let mut clients: HashMap<SocketAddr, Arc<UdpSocket>> = HashMap::new();
            let mut back = JoinSet::new();
            let mut buffer = vec![0; 1 << 16];
            while let Ok((bytes, client)) = socket.recv_from(&mut buffer).await {
                keep(&kept, &buffer[..bytes]);
                let towards = match clients.get(&client) {
                    Some(towards) => Arc::clone(towards),
                    None => {
                        let Ok(towards) = UdpSocket::bind("127.0.0.1:0").await else {
                            return;
                        };
                        if towards.connect(server).await.is_err() {
                            return;
                        }
                        let towards = Arc::new(towards);
                        clients.insert(client, Arc::clone(&towards));
                        let (from, to) = (Arc::clone(&towards), Arc::clone(&socket));
                        let kept = Arc::clone(&kept);
                        back.spawn(async move {
                            let mut buffer = vec![0; 1 << 16];
                            while let Ok(bytes) = from.recv(&mut buffer).await {
                                keep(&kept, &buffer[..bytes]);
                                // Lost packets are QUIC's business.
                                let _ = to.send_to(&buffer[..bytes], client).await;
                            }
                        });
                        towards
                    }
                };
                let _ = towards.send(&buffer[..bytes]).await;
            }
        });
        Ok(Self {
            address,
            packets,
            _tasks: tasks,
        })
    }

    /// Looks through every packet so far; gives their bytes.
    pub(crate) fn look(&self, search: &mut Search) -> usize {
        let packets = self.packets.lock().unwrap_or_else(PoisonError::into_inner);
        packets.iter().for_each(|packet| search.look(packet));
        packets.iter().map(Vec::len).sum()
    }
}

fn keep(packets: &Mutex<Vec<Vec<u8>>>, packet: &[u8]) {
    let mut packets = packets.lock().unwrap_or_else(PoisonError::into_inner);
    packets.push(packet.to_vec());
}
