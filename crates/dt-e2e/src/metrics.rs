//! A server's metrics, read as Prometheus would.
//!
//! Driven by the journeys.

use std::{
    net::{SocketAddr, TcpListener},
    time::{Duration, Instant},
};

use anyhow::{Result, bail};

use crate::http;

/// Until the metrics say what is waited for.
const DEADLINE: Duration = Duration::from_secs(20);

/// An address for `--metrics`. Free a moment ago: the server itself tells no port that
/// it chose.
///
/// # Errors
/// When there is none.
pub fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

/// The value of the one line with this name and these labels.
#[must_use]
pub fn value(metrics: &str, name: &str, labels: &[&str]) -> Option<f64> {
    let mut lines = metrics.lines().filter(|line| {
        line.strip_prefix(name)
            .is_some_and(|rest| rest.starts_with(['{', ' ']))
            && labels.iter().all(|label| line.contains(label))
    });
    lines.next()?.rsplit(' ').next()?.parse().ok()
}

/// The metrics at this address.
///
/// # Errors
/// When nobody answers there.
pub fn read(address: SocketAddr) -> Result<String> {
    Ok(http::Request::new("GET", "/metrics").send(address)?.body)
}

/// Asks again until the metrics are as wanted.
///
/// # Errors
/// When they are not in time.
pub fn wait_for(address: SocketAddr, wanted: impl Fn(&str) -> bool) -> Result<String> {
    let end = Instant::now() + DEADLINE;
    loop {
        let text = read(address)?;
        if wanted(&text) {
            return Ok(text);
        }
        if Instant::now() > end {
            bail!("not in the metrics:\n{text}");
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}
