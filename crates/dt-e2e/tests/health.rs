//! How a meeting is for its clients reaches the controller's metrics, and
//! nothing of who they are.

use std::time::Duration;

use anyhow::Result;
use dt_e2e::{
    Bot, Server,
    metrics::{free_address, value, wait_for},
};

/// Clients report every ten seconds.
const MEETING: Duration = Duration::from_secs(13);

#[test]
fn how_a_meeting_is_for_a_client_is_in_the_metrics_and_who_it_is_is_not() -> Result<()> {
    let address = free_address()?;
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
