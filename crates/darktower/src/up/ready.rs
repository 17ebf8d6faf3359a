//! What is printed when the server can be used.

use std::{io::Write as _, net::SocketAddr, time::Instant};

use dt_service::tls::Certificates;
use serde::Serialize;

use super::{
    ports::{Http3Port, Ports},
    settings::Settings,
};

/// The line that programs wait for.
#[derive(Serialize)]
struct Ready {
    event: &'static str,
    web_url: String,
    api_url: String,
    webtransport_url: String,
    /// The HTTPS address to which HTTP/3 clients send their requests; null
    /// without HTTP/3.
    http3_url: Option<String>,
    /// Hexadecimal.
    cert_sha256: String,
    /// Since the process began.
    elapsed_ms: u64,
}

/// Prints where to go: one JSON object, or words for a person.
pub(super) fn announce(
    settings: &Settings,
    ports: &Ports,
    certificates: &Certificates,
    json: bool,
    started_at: Instant,
) -> std::io::Result<()> {
    let web = format!("http://{}", dialled(ports.http_address));
    let public = format!("https://{}", dialled(ports.public_address));
    let http3 = ports.http3.address();
    let http3 = http3.map(|address| format!("https://{}", dialled(address)));
    let sha256: String = certificates
        .fingerprint
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect();
    let elapsed = started_at.elapsed();
    let mut out = std::io::stdout().lock();
    if json {
        let ready = Ready {
            event: "ready",
            api_url: format!("{web}/api/v1"),
            web_url: web,
            webtransport_url: format!("{public}/mc"),
            http3_url: http3,
            cert_sha256: sha256,
            elapsed_ms: u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX),
        };
        let event = serde_json::to_string(&ready).map_err(std::io::Error::other)?;
        writeln!(out, "{event}")?;
    } else {
        let certificate = match certificates.pinned.is_empty() {
            true => "with your certificate",
            false => "with a self-signed certificate: browsers warn once",
        };
        writeln!(
            out,
            "Dark Tower is ready ({:.2} s).\n",
            elapsed.as_secs_f64()
        )?;
        writeln!(out, "  Open {web} and start a meeting.\n")?;
        writeln!(out, "  For others   {public} ({certificate})")?;
        if ports.public_address.ip().is_loopback() {
            writeln!(
                out,
                "               only on this machine; --public 0.0.0.0:8443 lets others in"
            )?;
        }
        match (&ports.http3, http3) {
            (Http3Port::Missing(reason), _) => writeln!(out, "  HTTP/3       off: {reason}")?,
            (_, Some(url)) => writeln!(out, "  HTTP/3       {url} (UDP)")?,
            (_, None) => {}
        }
        writeln!(out, "  API          {web}/api/v1/openapi.json")?;
        writeln!(out, "  Data         {}", settings.data.display())?;
        if let Some(metrics) = settings.metrics {
            writeln!(out, "  Metrics      http://{metrics}/metrics")?;
        }
        writeln!(out, "\nCtrl+C stops it.")?;
    }
    out.flush()
}

/// The address to type in: a wildcard is reached on this machine by loopback.
fn dialled(address: SocketAddr) -> SocketAddr {
    let mut address = address;
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
        });
    }
    address
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wildcard_is_shown_as_an_address_that_can_be_dialled() {
        assert_eq!(
            dialled("0.0.0.0:1".parse().unwrap()).to_string(),
            "127.0.0.1:1"
        );
        assert_eq!(dialled("[::]:1".parse().unwrap()).to_string(), "[::1]:1");
        assert_eq!(
            dialled("192.0.2.7:1".parse().unwrap()).to_string(),
            "192.0.2.7:1"
        );
    }
}
