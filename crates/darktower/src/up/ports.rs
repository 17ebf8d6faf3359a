//! The ports, taken before anything else starts.
//!
//! The public number is one for TCP and UDP: TCP is chosen first, and UDP must
//! get the same. The UDP socket itself is opened by the QUIC thread; that the
//! number is free is tried here, so that another one can be chosen.

use std::{
    io,
    net::{SocketAddr, TcpListener, UdpSocket},
};

use anyhow::{anyhow, bail};

use super::settings::Settings;

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
}

impl Ports {
    pub(super) fn bind(settings: &Settings) -> anyhow::Result<Self> {
        let http = tcp(settings.http, "--http")?;
        let public = public(settings.public)?;
        Ok(Self {
            http_address: http.local_addr()?,
            public_address: public.local_addr()?,
            http,
            public,
        })
    }
}

fn public(address: SocketAddr) -> anyhow::Result<TcpListener> {
    let tries = if address.port() == 0 {
        FREE_PORT_TRIES
    } else {
        1
    };
    let mut last = None;
    for _ in 0..tries {
        let listener = tcp(address, "--public")?;
        match UdpSocket::bind(listener.local_addr()?) {
            Ok(_) => return Ok(listener),
            Err(error) => last = Some(error),
        }
    }
    match last {
        Some(error) => Err(refused(&error, "UDP", address, "--public")),
        None => bail!("no public port was tried"),
    }
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
        let error = public(udp.local_addr().unwrap()).unwrap_err().to_string();
        assert!(
            error.starts_with("UDP port") || error.starts_with("TCP port"),
            "{error}"
        );
    }
}
