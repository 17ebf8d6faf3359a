//! The physical limit of this machine: the same payload copied, sealed with
//! AES-128-GCM for each receiver, and given to the kernel with GSO and one
//! `sendmmsg` a burst. No QUIC, no acknowledgements.

use std::{
    io::IoSlice,
    net::{Ipv4Addr, SocketAddrV4, UdpSocket},
    os::fd::AsRawFd as _,
    thread,
    time::{Duration, Instant},
};

use nix::sys::socket::{ControlMessage, MsgFlags, MultiHeaders, SockaddrIn, sendmmsg};
use ring::aead::{AES_128_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};

use crate::{
    machine::{MEASURED_CORE, cpu_time, stay_on},
    orders::{Sent, follow_in_a_thread},
    plan::{BURST_PACKETS, Plan},
};

const TAG_BYTES: usize = 16;

/// Sends to sockets on these ports until it is told to stop.
pub(crate) fn run(plan: &Plan, ports: &[u16]) -> anyhow::Result<()> {
    stay_on(MEASURED_CORE)?;
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    let mut bursts = Bursts::new(plan, ports, socket)?;
    let orders = follow_in_a_thread();
    let interval = Duration::from_secs(1) / plan.bursts_per_s;
    let mut due = Instant::now();
    let mut sent = 0;
    loop {
        while let Ok(order) = orders.try_recv() {
            if !order.answer(&Sent {
                cpu: cpu_time()?,
                packets: sent,
                resident_bytes: 0,
            })? {
                return Ok(());
            }
        }
        bursts.send()?;
        sent += u64::from(BURST_PACKETS) * u64::from(plan.receivers);
        due += interval;
        let now = Instant::now();
        match due.checked_duration_since(now) {
            Some(wait) => thread::sleep(wait),
            // It can't keep up; what is measured is a cost, not a rate.
            None => due = now,
        }
    }
}

struct Bursts {
    socket: UdpSocket,
    to: Vec<Option<SockaddrIn>>,
    keys: Vec<LessSafeKey>,
    headers: MultiHeaders<SockaddrIn>,
    payload: Vec<u8>,
    sealed: Vec<u8>,
    counter: u64,
}

impl Bursts {
    fn new(plan: &Plan, ports: &[u16], socket: UdpSocket) -> anyhow::Result<Self> {
        let address = |port: &u16| SockaddrIn::from(SocketAddrV4::new(Ipv4Addr::LOCALHOST, *port));
        let key = |number: usize| {
            let bytes = [u8::try_from(number % 251).unwrap_or(0); 16];
            UnboundKey::new(&AES_128_GCM, &bytes).map(LessSafeKey::new)
        };
        let keys: Result<Vec<_>, _> = (0..ports.len()).map(key).collect();
        let space = nix::cmsg_space!(u16);
        let bytes = plan.raw_packet_bytes();
        Ok(Self {
            socket,
            to: ports.iter().map(address).map(Some).collect(),
            keys: keys.map_err(|_| anyhow::anyhow!("a key of 16 bytes is refused"))?,
            headers: MultiHeaders::preallocate(ports.len(), Some(space)),
            payload: vec![0x5a; bytes],
            sealed: vec![0; ports.len() * BURST_PACKETS as usize * (bytes + TAG_BYTES)],
            counter: 0,
        })
    }

    fn send(&mut self) -> anyhow::Result<()> {
        let packet = self.payload.len() + TAG_BYTES;
        let burst = packet * BURST_PACKETS as usize;
        for (key, packets) in self.keys.iter().zip(self.sealed.chunks_mut(burst)) {
            for packet in packets.chunks_mut(packet) {
                let (media, tag) = packet.split_at_mut(self.payload.len());
                media.copy_from_slice(&self.payload);
                self.counter += 1;
                let mut nonce = [0; NONCE_LEN];
                nonce[..8].copy_from_slice(&self.counter.to_be_bytes());
                let nonce = Nonce::assume_unique_for_key(nonce);
                let made = key
                    .seal_in_place_separate_tag(nonce, Aad::empty(), media)
                    .map_err(|_| anyhow::anyhow!("a packet can't be sealed"))?;
                tag.copy_from_slice(made.as_ref());
            }
        }
        let slices: Vec<_> = self
            .sealed
            .chunks(burst)
            .map(|burst| [IoSlice::new(burst)])
            .collect();
        let segment = u16::try_from(packet)?;
        let mut done = 0;
        while done < slices.len() {
            let sent = sendmmsg(
                self.socket.as_raw_fd(),
                &mut self.headers,
                &slices[done..],
                &self.to[done..],
                [ControlMessage::UdpGsoSegments(&segment)],
                MsgFlags::empty(),
            )?;
            done += sent.count();
        }
        Ok(())
    }
}
