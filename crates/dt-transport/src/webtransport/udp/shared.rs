//! Several sockets on one UDP port, so that each may have a runtime of its own.

use std::{
    io,
    net::{SocketAddr, UdpSocket},
    sync::Arc,
};

use quinn::{AsyncUdpSocket, EndpointConfig, Runtime as _};

use super::{
    QuicRuntime,
    handing::{self, Inboxes},
    steering::{Place, PlacedIds},
};
use crate::webtransport::{BindError, limits::udp_socket};

/// Sockets that one port can have. One byte says which a packet is for, and each is
/// to have about as many of its values as any other.
const SHARES_MAX: usize = 64;

/// A UDP port with several sockets.
#[derive(Debug)]
pub struct SharedPort;

impl SharedPort {
    /// How many sockets a port of this system can have: more than one on Linux
    /// alone, where the kernel can be told which of them a packet is for.
    pub const SHARES_MAX: usize = if cfg!(target_os = "linux") {
        SHARES_MAX
    } else {
        1
    };

    /// Opens `count` sockets on one port, a share for each
    /// [`Listener`](crate::webtransport::Listener). A connection stays with the share
    /// where it began for as long as it lives, whatever address its client has. Needs
    /// no runtime. Port 0 asks for a free one.
    ///
    /// Packets for a share that has no listener wait for it, and are lost once it is
    /// dropped.
    ///
    /// # Errors
    /// When the port is taken, be it by sockets that share it, or when there can't be
    /// so many ([`SHARES_MAX`](Self::SHARES_MAX)).
    pub fn bind(address: SocketAddr, count: usize) -> Result<Vec<PortShare>, BindError> {
        if !(1..=Self::SHARES_MAX).contains(&count) {
            return Err(BindError::Shares {
                asked: count,
                most: Self::SHARES_MAX,
            });
        }
        let failed = |source| BindError::Socket { address, source };
        // A byte holds it: it was checked.
        let count = count as u8;
        if count == 1 {
            let socket = udp_socket(address).map_err(failed)?;
            return Ok(vec![PortShare {
                socket,
                group: None,
            }]);
        }
        let sockets = group(address, count).map_err(failed)?;
        let inboxes = handing::inboxes(count);
        let shares = (0..count).zip(sockets).map(|(index, socket)| PortShare {
            socket,
            group: Some((Place { index, count }, Arc::clone(&inboxes))),
        });
        Ok(shares.collect())
    }
}

/// The sockets, in the order that the kernel numbers them in.
#[cfg(target_os = "linux")]
fn group(address: SocketAddr, count: u8) -> io::Result<Vec<UdpSocket>> {
    use crate::webtransport::limits::unbound_udp_socket;

    // The first one is bound as if it were alone: a port that others share already
    // would take one more without a word.
    let first = udp_socket(address)?;
    socket2::SockRef::from(&first).set_reuse_port(true)?;
    let address = first.local_addr()?;
    let mut sockets = vec![first];
    for _ in 1..count {
        let next = unbound_udp_socket(address)?;
        next.set_reuse_port(true)?;
        next.bind(&address.into())?;
        sockets.push(next.into());
    }
    // What came until now was spread by the kernel's own rule, and is handed on. So is
    // most of what comes later where the kernel can't be told: worse, not wrong.
    if let Err(error) = super::steering::attach(&sockets[0], count) {
        tracing::warn!(%error, "packets go from thread to thread: the kernel takes no rule");
    }
    Ok(sockets)
}

#[cfg(not(target_os = "linux"))]
fn group(_: SocketAddr, _: u8) -> io::Result<Vec<UdpSocket>> {
    Err(io::ErrorKind::Unsupported.into())
}

/// One of the sockets on a port.
#[derive(Debug)]
pub struct PortShare {
    socket: UdpSocket,
    /// `None`: it is alone.
    group: Option<(Place, Arc<Inboxes>)>,
}

impl PortShare {
    /// Where it is bound.
    ///
    /// # Errors
    /// When the system does not say.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// The socket alone on its port.
    pub(in crate::webtransport) fn alone(address: SocketAddr) -> Result<Self, BindError> {
        let socket = udp_socket(address).map_err(|source| BindError::Socket { address, source })?;
        Ok(Self {
            socket,
            group: None,
        })
    }

    /// What an endpoint on it needs. Must be called inside the runtime of it.
    pub(in crate::webtransport) fn open(
        self,
    ) -> io::Result<(Arc<dyn AsyncUdpSocket>, EndpointConfig)> {
        let mut config = EndpointConfig::default();
        let mut socket = QuicRuntime.wrap_udp_socket(self.socket)?;
        if let Some((place, inboxes)) = self.group {
            config.cid_generator(move || Box::new(PlacedIds::new(place)));
            socket = Arc::new(handing::Handing::new(socket, place, inboxes));
        }
        Ok((socket, config))
    }
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use std::{
        collections::BTreeMap,
        future::poll_fn,
        io::IoSliceMut,
        net::{IpAddr, Ipv4Addr, Ipv6Addr},
        time::Duration,
    };

    use quinn::udp::{RecvMeta, Transmit, UdpSocketState};
    use tokio::time::timeout;

    use super::*;

    const DEADLINE: Duration = Duration::from_secs(10);
    const LOOPBACK: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

    /// What came to one of the sockets, by its index, with nothing handed on.
    async fn receive(sockets: &[tokio::net::UdpSocket]) -> (usize, Vec<u8>) {
        let receiving = sockets.iter().enumerate().map(|(index, socket)| {
            Box::pin(async move {
                let mut buffer = vec![0; 2000];
                let bytes = socket.recv(&mut buffer).await.expect("a socket that works");
                buffer.truncate(bytes);
                (index, buffer)
            })
        });
        let first = futures::future::select_all(receiving);
        timeout(DEADLINE, first).await.expect("a packet in time").0
    }

    /// Whether the kernel gives every packet to this address to the socket that the
    /// rule says.
    async fn check_the_kernel(bound: IpAddr, sent_to: IpAddr) {
        let shares = SharedPort::bind(SocketAddr::new(bound, 0), 3).unwrap();
        let port = shares[0].local_addr().unwrap().port();
        let place = shares[0].group.as_ref().map(|(place, _)| *place).unwrap();
        let sockets = shares.into_iter().map(|share| share.socket);
        let sockets: Vec<_> = sockets
            .map(|socket| tokio::net::UdpSocket::from_std(socket).unwrap())
            .collect();
        let any = SocketAddr::new(sent_to, 0);
        let mut packets: Vec<Vec<u8>> = vec![vec![], vec![0x40], vec![0xc0], vec![0xc0; 6]];
        for first in 0..=255 {
            packets.push(vec![0x40, first]);
            packets.push(vec![0xc0, 0, 0, 0, 1, 8, first]);
            packets.push([&[0x7f, first][..], &[255; 1200]].concat());
            packets.push([&[0xff, 9, 9, 9, 9, 9, first][..], &[255; 1200]].concat());
        }
        for packet in packets {
            // Another address each time, so that the kernel's own rule would not do.
            let client = tokio::net::UdpSocket::bind(any).await.unwrap();
            client.send_to(&packet, (sent_to, port)).await.unwrap();
            let (index, received) = receive(&sockets).await;
            assert_eq!(received, packet);
            let begin = &packet[..packet.len().min(8)];
            assert_eq!(index, usize::from(place.index_of(&packet)), "{begin:?}");
        }
    }

    #[tokio::test]
    async fn the_kernel_gives_every_packet_however_short_to_the_socket_it_is_for() {
        let (v4, v6) = (Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into());
        check_the_kernel(v4, v4).await;
        if std::net::UdpSocket::bind((v6, 0)).is_ok() {
            check_the_kernel(v6, v6).await;
            let both = Ipv6Addr::UNSPECIFIED.into();
            check_the_kernel(both, v6).await;
            check_the_kernel(both, v4).await;
        }
    }

    #[test]
    fn a_port_is_shared_with_nobody_else() {
        let alone = SharedPort::bind(LOOPBACK, 1).unwrap();
        let shared = SharedPort::bind(LOOPBACK, 2).unwrap();
        for taken in [&alone, &shared] {
            let taken = taken[0].local_addr().unwrap();
            for count in [1, 2] {
                let refused = SharedPort::bind(taken, count).unwrap_err();
                let BindError::Socket { source, .. } = refused else {
                    panic!("{refused}");
                };
                assert_eq!(source.kind(), io::ErrorKind::AddrInUse);
            }
            assert!(std::net::UdpSocket::bind(taken).is_err());
        }
        for wrong in [0, SharedPort::SHARES_MAX + 1] {
            let refused = SharedPort::bind(LOOPBACK, wrong).unwrap_err();
            assert!(refused.to_string().contains("1 to 64"), "{refused}");
        }
    }

    /// Reads until there are so many packets: their first bytes.
    async fn read(socket: &Arc<dyn AsyncUdpSocket>, count: usize) -> Vec<[u8; 3]> {
        let mut got = Vec::new();
        while got.len() < count {
            let mut space = vec![0; 1 << 16];
            let mut meta = [RecvMeta::default()];
            let reading = poll_fn(|cx| {
                let mut buffers = [IoSliceMut::new(&mut space)];
                socket.poll_recv(cx, &mut buffers, &mut meta)
            });
            let read = timeout(DEADLINE, reading).await.expect("a packet in time");
            assert_eq!(read.unwrap(), 1);
            let [meta] = meta;
            let packets = space[..meta.len].chunks(meta.stride.max(1));
            got.extend(packets.map(|packet| [packet[1], packet[2], packet.len() as u8]));
        }
        got
    }

    #[tokio::test]
    async fn a_burst_for_several_sockets_is_sorted_without_loss() {
        let shares = SharedPort::bind(LOOPBACK, 3).unwrap();
        let to = shares[0].local_addr().unwrap();
        let sockets: Vec<_> = shares
            .into_iter()
            .map(|share| share.open().unwrap().0)
            .collect();

        // In one send, which stays one on this machine, and the last is a shorter one.
        let client = std::net::UdpSocket::bind(LOOPBACK).unwrap();
        let sender = UdpSocketState::new((&client).into()).unwrap();
        let burst: Vec<[u8; 2]> = (0..30).map(|n: u8| [n.wrapping_mul(7), n]).collect();
        let mut contents = Vec::new();
        for [id, number] in &burst {
            contents.extend_from_slice(&[0x40, *id, *number]);
            contents.resize(contents.len() + 97, 0);
        }
        contents.truncate(contents.len() - 50);
        let transmit = Transmit {
            destination: to,
            ecn: None,
            contents: &contents,
            segment_size: Some(100),
            src_ip: None,
        };
        sender.try_send((&client).into(), &transmit).unwrap();

        let mut expected: BTreeMap<u8, Vec<[u8; 3]>> = BTreeMap::new();
        for [id, number] in burst {
            let length = if number == 29 { 50 } else { 100 };
            let of = expected.entry(id % 3).or_default();
            of.push([id, number, length]);
        }
        let counts: Vec<_> = expected.values().map(Vec::len).collect();
        let got = futures::future::join3(
            read(&sockets[0], counts[0]),
            read(&sockets[1], counts[1]),
            read(&sockets[2], counts[2]),
        );
        let (first, second, third) = got.await;
        let got = BTreeMap::from([(0, first), (1, second), (2, third)]);
        assert_eq!(got, expected);
    }
}
