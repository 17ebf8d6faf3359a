//! How a meeting is for its clients reaches the controller's metrics, and
//! nothing of who they are.

use std::{
    net::{SocketAddr, TcpListener},
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use dt_e2e::{Bot, Server, http};

/// Clients report every ten seconds.
const MEETING: Duration = Duration::from_secs(13);
const DEADLINE: Duration = Duration::from_secs(20);

/// The value of the one line with this name and these labels.
fn value(metrics: &str, name: &str, labels: &[&str]) -> Option<f64> {
    let mut lines = metrics.lines().filter(|line| {
        line.strip_prefix(name)
            .is_some_and(|rest| rest.starts_with(['{', ' ']))
            && labels.iter().all(|label| line.contains(label))
    });
    lines.next()?.rsplit(' ').next()?.parse().ok()
}

/// Asks again until the metrics are as wanted.
fn wait_for(address: SocketAddr, wanted: impl Fn(&str) -> bool) -> Result<String> {
    let end = Instant::now() + DEADLINE;
    loop {
        let text = http::Request::new("GET", "/metrics").send(address)?.body;
        if wanted(&text) {
            return Ok(text);
        }
        if Instant::now() > end {
            bail!("not in the metrics:\n{text}");
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn how_a_meeting_is_for_a_client_is_in_the_metrics_and_who_it_is_is_not() -> Result<()> {
    // Free a moment ago: the server itself tells no port that it chose.
    let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let server = Server::start(&["--metrics", &address.to_string()])?;
    let link = server.meeting_link()?;
    let speaker = Bot::join(&link, "Zerlina", MEETING, &["--publish", "audio"])?;
    let listener = Bot::join(&link, "Masetto", MEETING, &[])?;

    let webtransport = "carrier=\"webtransport\"";
    // Everybody is at two media handlers.
    let open = |text: &str, role: &str| value(text, "dt_sessions", &[role, webtransport]);
    wait_for(address, |text| {
        open(text, "role=\"meeting\"") == Some(2.0) && open(text, "role=\"media\"") == Some(4.0)
    })?;
    let program = [
        "client=\"program\"",
        "signaling=\"webtransport\"",
        "media=\"webtransport\"",
    ];
    let text = wait_for(address, |text| {
        value(text, "dt_client_reports_total", &program) == Some(2.0)
    })?;
    for (name, count) in [
        ("dt_client_signaling_rtt_seconds_count", 2.0),
        ("dt_client_media_rtt_seconds_count", 2.0),
        // Who hears nobody has none.
        ("dt_client_jitter_seconds_count", 1.0),
        ("dt_client_lost_ratio_count", 1.0),
        ("dt_client_decoders_total", 2.0),
    ] {
        assert_eq!(value(&text, name, &[]), Some(count), "{name} in\n{text}");
    }
    assert_eq!(value(&text, "dt_client_reports_dropped_total", &[]), None);
    for secret in ["Zerlina", "Masetto", "127.0.0.1"] {
        assert!(!text.contains(secret), "{secret} in\n{text}");
    }

    speaker.summary()?;
    listener.summary()?;
    wait_for(address, |text| {
        open(text, "role=\"meeting\"") == Some(0.0) && open(text, "role=\"media\"") == Some(0.0)
    })?;
    Ok(())
}
