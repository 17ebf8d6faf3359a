//! Which of the sockets on one port a packet belongs to.
//!
//! The first byte of its destination connection id says it, modulo the number of
//! sockets. Such ids are chosen by whoever receives, so each socket gives out ids of
//! its own kind ([`PlacedIds`]), and a connection stays where it began whatever
//! address its client moves to; the very first id is the client's, at random. The
//! kernel knows the rule as a [program](attach) of the group of sockets.

#[cfg(target_os = "linux")]
use std::{io, net::UdpSocket};

use quinn::{ConnectionId, ConnectionIdGenerator};
use quinn_proto::{HashedConnectionIdGenerator, InvalidCid};

/// Bit of the first byte that tells a long header from a short one (RFC 8999
/// section 5).
const LONG_HEADER: u8 = 0x80;
/// Where the destination connection id begins behind a long header's flags, version
/// and length byte, and behind a short header's flags.
const ID_AT_LONG: usize = 6;
const ID_AT_SHORT: usize = 1;

/// One of the sockets on a port, by its place in their group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    /// Below `count`.
    pub(super) index: u8,
    /// Not 0.
    pub(super) count: u8,
}

impl Place {
    /// Whether ids that begin with this byte belong here.
    const fn has(self, first_byte: u8) -> bool {
        first_byte % self.count == self.index
    }

    /// The index of the socket that a packet belongs to: always one that there is.
    /// One that is too short to be QUIC belongs to the first.
    pub(super) fn index_of(self, packet: &[u8]) -> u8 {
        let id_at = match packet.first() {
            Some(flags) if flags & LONG_HEADER != 0 => ID_AT_LONG,
            _ => ID_AT_SHORT,
        };
        packet.get(id_at).map_or(0, |first| first % self.count)
    }
}

/// Connection ids of one socket: those of the library that begin with a byte of its
/// place. So they are as hard to guess, and what was never given out is told apart as
/// cheaply. Of the 16 million that the library has, each of 64 sockets has 260,000.
pub(super) struct PlacedIds {
    all: HashedConnectionIdGenerator,
    place: Place,
}

impl PlacedIds {
    /// With a key of its own.
    pub(super) fn new(place: Place) -> Self {
        Self {
            all: HashedConnectionIdGenerator::new(),
            place,
        }
    }
}

impl ConnectionIdGenerator for PlacedIds {
    fn generate_cid(&mut self) -> ConnectionId {
        // Takes as many turns as there are sockets, on average.
        loop {
            let id = self.all.generate_cid();
            if self.place.has(id[0]) {
                return id;
            }
        }
    }

    fn validate(&self, id: &ConnectionId) -> Result<(), InvalidCid> {
        if id.first().is_some_and(|first| self.place.has(*first)) {
            return self.all.validate(id);
        }
        Err(InvalidCid)
    }

    fn cid_len(&self) -> usize {
        self.all.cid_len()
    }

    fn cid_lifetime(&self) -> Option<std::time::Duration> {
        self.all.cid_lifetime()
    }
}

/// Tells the kernel the rule for a group of sockets that is complete; `socket` is any
/// of it. The program is given a packet from its UDP payload on. What it reads behind
/// the packet's end ends it with 0, the first socket.
#[cfg(target_os = "linux")]
pub(super) fn attach(socket: &UdpSocket, count: u8) -> io::Result<()> {
    use nix::{
        libc::{self, sock_filter, sock_fprog},
        sys::socket::{setsockopt, sockopt::AttachReusePortCbpf},
    };

    const LOAD_BYTE: u32 = libc::BPF_LD | libc::BPF_B | libc::BPF_ABS;
    const JUMP_IF_SET: u32 = libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K;
    const JUMP: u32 = libc::BPF_JMP | libc::BPF_JA;
    const MODULO: u32 = libc::BPF_ALU | libc::BPF_MOD | libc::BPF_K;
    const RETURN_IT: u32 = libc::BPF_RET | libc::BPF_A;

    // Jumps are over so many instructions.
    let step = |code: u32, jt: u8, jf: u8, k: usize| sock_filter {
        code: code as u16,
        jt,
        jf,
        k: k as u32,
    };
    let mut steps = [
        step(LOAD_BYTE, 0, 0, 0),
        step(JUMP_IF_SET, 0, 2, usize::from(LONG_HEADER)),
        step(LOAD_BYTE, 0, 0, ID_AT_LONG),
        step(JUMP, 0, 0, 1),
        step(LOAD_BYTE, 0, 0, ID_AT_SHORT),
        step(MODULO, 0, 0, usize::from(count)),
        step(RETURN_IT, 0, 0, 0),
    ];
    let program = sock_fprog {
        len: steps.len() as u16,
        filter: steps.as_mut_ptr(),
    };
    Ok(setsockopt(socket, AttachReusePortCbpf, &program)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(count: u8) -> impl Iterator<Item = Place> {
        (0..count).map(move |index| Place { index, count })
    }

    #[test]
    fn every_id_leads_back_to_the_socket_that_gave_it_out() {
        for count in [2, 3, 16, 64] {
            for place in places(count) {
                let mut ids = PlacedIds::new(place);
                for _ in 0..50 {
                    let id = ids.generate_cid();
                    assert_eq!(id.len(), ids.cid_len());
                    let short = [&[0x40][..], &id, &[7; 30]].concat();
                    let long = [&[0xc0, 0, 0, 0, 1, 8][..], &id, &[7; 30]].concat();
                    assert_eq!(place.index_of(&short), place.index);
                    assert_eq!(place.index_of(&long), place.index);
                }
            }
        }
    }

    #[test]
    fn ids_are_told_from_those_of_other_sockets_and_from_made_up_ones() {
        let mut generators: Vec<_> = places(3).map(PlacedIds::new).collect();
        for own in 0..3 {
            let id = generators[own].generate_cid();
            for (place, ids) in generators.iter().enumerate() {
                assert_eq!(ids.validate(&id).is_ok(), place == own);
            }
            let mut made_up = id.to_vec();
            made_up[7] ^= 1;
            let made_up = ConnectionId::new(&made_up);
            assert!(generators[own].validate(&made_up).is_err());
        }
    }

    #[test]
    fn ids_of_one_socket_are_different_and_use_every_first_byte_of_its_kind() {
        let place = Place {
            index: 2,
            count: 16,
        };
        let mut ids = PlacedIds::new(place);
        let all: std::collections::HashSet<_> =
            (0..2000).map(|_| ids.generate_cid().to_vec()).collect();
        let firsts: std::collections::HashSet<_> = all.iter().map(|id| id[0]).collect();
        // A few may be the same by chance, of a million.
        assert!(all.len() > 1990, "{}", all.len());
        assert_eq!(firsts.len(), 16);
    }
}
