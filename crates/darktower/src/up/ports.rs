//! The ports, taken before anything else starts.
//!
//! The public number is one for TCP and UDP: TCP is chosen first, and UDP must
//! get the same, with a socket for each media thread. HTTP/3 has a UDP port beside it
//! that may be missing.

use std::{
    io,
    net::{SocketAddr, TcpListener, UdpSocket},
};

use anyhow::{Context as _, anyhow, bail};
use dt_transport::webtransport::{BindError, PortShare, SharedPort};

use super::settings::{Http3, Settings};

/// Numbers that are tried when the system may choose and UDP has its number
/// taken.
const FREE_PORT_TRIES: usize = 16;

/// Open sockets.
#[derive(Debug)]
pub(super) struct Ports {
    pub(super) http: TcpListener,
    pub(super) http_address: SocketAddr,
    pub(super) public: TcpListener,
    /// Of TCP and UDP.
    pub(super) public_address: SocketAddr,
    /// Of the public UDP port, until the media threads take them.
    pub(super) shares: Vec<PortShare>,
    pub(super) http3: Http3Port,
}

/// Where HTTP/3 is.
#[derive(Debug)]
pub(super) enum Http3Port {
    /// Here.
    Open {
        socket: UdpSocket,
        address: SocketAddr,
    },
    /// Nowhere: the default port can't be had, for this reason.
    Missing(String),
    /// Nowhere, and nobody asked for it.
    Off,
}

impl Http3Port {
    /// What clients dial, if there is anything.
    pub(super) const fn address(&self) -> Option<SocketAddr> {
        match self {
            Self::Open { address, .. } => Some(*address),
            Self::Missing(_) | Self::Off => None,
        }
    }
}

impl Ports {
    pub(super) fn bind(settings: &Settings) -> anyhow::Result<Self> {
        let http = tcp(settings.http, "--http")?;
        let (public, shares) = public(settings.public, settings.media_threads)?;
        for listener in [&http, &public] {
            // For the WebSockets among the connections; less is worse, not wrong.
            let _ = dt_websocket::keep_queue_short(listener);
        }
        let public_address = public.local_addr()?;
        let free_is_asked_for = settings.public.port() == 0;
        Ok(Self {
            http_address: http.local_addr()?,
            http3: http3(settings.http3, public_address, free_is_asked_for)?,
            public_address,
            shares,
            http,
            public,
        })
    }
}

fn public(
    address: SocketAddr,
    media_threads: usize,
) -> anyhow::Result<(TcpListener, Vec<PortShare>)> {
    let tries = if address.port() == 0 {
        FREE_PORT_TRIES
    } else {
        1
    };
    let mut last = None;
    for _ in 0..tries {
        let listener = tcp(address, "--public")?;
        match SharedPort::bind(listener.local_addr()?, media_threads) {
            Ok(shares) => return Ok((listener, shares)),
            Err(BindError::Socket { source, .. }) => last = Some(source),
            Err(error) => return Err(error.into()),
        }
    }
    match last {
        Some(error) => Err(refused(&error, "UDP", address, "--public")),
        None => bail!("no public port was tried"),
    }
}

fn http3(setting: Http3, public: SocketAddr, free_is_asked_for: bool) -> anyhow::Result<Http3Port> {
    let beside = || {
        let port = if free_is_asked_for {
            Some(0)
        } else {
            public.port().checked_add(1)
        };
        port.map(|port| SocketAddr::new(public.ip(), port))
            .context("there is no port above the public one; choose one with --http3 ADDRESS:PORT")
    };
    match setting {
        Http3::Off => Ok(Http3Port::Off),
        Http3::At(address) => udp(address),
        Http3::Beside => Ok(beside()
            .and_then(udp)
            .unwrap_or_else(|error| Http3Port::Missing(error.to_string()))),
    }
}

fn udp(address: SocketAddr) -> anyhow::Result<Http3Port> {
    let opened = UdpSocket::bind(address).and_then(|socket| {
        let address = socket.local_addr()?;
        Ok(Http3Port::Open { socket, address })
    });
    opened.map_err(|error| refused(&error, "UDP", address, "--http3"))
}

/// Listens on TCP; `flag` is what the operator changes if that can't be.
pub(super) fn tcp(address: SocketAddr, flag: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).map_err(|error| refused(&error, "TCP", address, flag))
}

fn refused(error: &io::Error, protocol: &str, address: SocketAddr, flag: &str) -> anyhow::Error {
    let ip = match address {
        SocketAddr::V4(address) => address.ip().to_string(),
        SocketAddr::V6(address) => format!("[{}]", address.ip()),
    };
    match error.kind() {
        io::ErrorKind::AddrInUse => anyhow!(
            "{protocol} port {} of {ip} is taken, perhaps by another Dark Tower; \
             choose another one with {flag} {ip}:PORT (0 finds a free one)",
            address.port()
        ),
        io::ErrorKind::PermissionDenied => anyhow!(
            "{protocol} port {} of {ip} needs more rights than this user has; \
             choose one above 1023 with {flag} {ip}:PORT",
            address.port()
        ),
        io::ErrorKind::AddrNotAvailable => {
            anyhow!("this machine does not have the address {ip}; choose another one with {flag}")
        }
        _ => anyhow!("can't listen on {protocol} {address} ({flag}): {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_is_named_with_the_flag_that_changes_it() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        let error = tcp(address, "--http").unwrap_err().to_string();
        assert!(error.contains(&format!(
            "TCP port {} of 127.0.0.1 is taken",
            address.port()
        )));
        assert!(error.contains("--http 127.0.0.1:PORT"), "{error}");
    }

    #[test]
    fn a_taken_udp_port_is_an_error_although_tcp_is_free() {
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        for media_threads in [1, SharedPort::SHARES_MAX.min(2)] {
            let refused = public(udp.local_addr().unwrap(), media_threads);
            let error = refused.unwrap_err().to_string();
            assert!(
                error.starts_with("UDP port") || error.starts_with("TCP port"),
                "{error}"
            );
        }
    }

    #[test]
    fn a_udp_port_that_media_threads_share_is_taken_for_others_who_share() {
        let media_threads = SharedPort::SHARES_MAX.min(2);
        let any = "127.0.0.1:0".parse().unwrap();
        let (tcp, shares) = public(any, media_threads).unwrap();
        let address = tcp.local_addr().unwrap();
        assert_eq!(shares[0].local_addr().unwrap(), address);
        // With TCP free again, UDP alone stands in the way.
        drop(tcp);
        for media_threads in [1, media_threads] {
            let error = public(address, media_threads).unwrap_err().to_string();
            let port = format!("UDP port {}", address.port());
            assert!(error.starts_with(&port), "{error}");
        }
    }

    #[test]
    fn http3_does_without_its_default_port_but_not_without_a_chosen_one() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let taken = socket.local_addr().unwrap();
        let below = SocketAddr::new(taken.ip(), taken.port() - 1);
        let Http3Port::Missing(reason) = http3(Http3::Beside, below, false).unwrap() else {
            panic!("a taken port was opened");
        };
        assert!(reason.contains("--http3 127.0.0.1:PORT"), "{reason}");
        assert!(!reason.contains('\n'), "{reason}");
        let error = http3(Http3::At(taken), below, false)
            .unwrap_err()
            .to_string();
        assert!(
            error.contains(&format!("UDP port {}", taken.port())),
            "{error}"
        );

        assert!(
            http3(Http3::Beside, below, true)
                .unwrap()
                .address()
                .is_some()
        );
        assert!(http3(Http3::Off, below, true).unwrap().address().is_none());
        let last = SocketAddr::new(taken.ip(), u16::MAX);
        assert!(
            http3(Http3::Beside, last, false)
                .unwrap()
                .address()
                .is_none()
        );
    }
}
