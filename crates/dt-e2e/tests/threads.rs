//! A server with several media threads: connections are on all of them, people of one
//! meeting on different ones, and nobody notices.

#![cfg(target_os = "linux")]

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context, Result};
use dt_e2e::{
    Bot, Server,
    metrics::{free_address, read, value},
};
use serde_json::Value;

const MEETING: Duration = Duration::from_secs(6);
/// Longer than any test; whoever says so is told to leave before.
const LONG: Duration = Duration::from_secs(120);

fn server(metrics: SocketAddr) -> Result<Server> {
    let metrics = metrics.to_string();
    let threads = ["--media-threads", "2", "--handlers", "2"];
    Server::start(&[&threads[..], &["--metrics", &metrics]].concat())
}

fn number(summary: &Value, path: &str) -> Result<u64> {
    let value = summary.pointer(path).and_then(Value::as_u64);
    value.with_context(|| format!("no {path} in {summary}"))
}

fn assert_nothing_lost(summary: &Value) -> Result<()> {
    assert!(number(summary, "/received/frames")? > 0, "{summary}");
    for count in ["lost_frames", "corrupt", "decrypt_failures"] {
        let count = number(summary, &format!("/received/{count}"))?;
        assert_eq!(count, 0, "{summary}");
    }
    Ok(())
}

/// Connections that came to each of the two threads.
fn connections(metrics: SocketAddr) -> Result<[f64; 2]> {
    let text = read(metrics)?;
    Ok([0, 1].map(|thread| {
        let label = format!("thread=\"{thread}\"");
        value(&text, "dt_connections_total", &[&label]).unwrap_or_default()
    }))
}

#[test]
fn people_on_two_threads_all_get_everybody_s_pictures_and_sound() -> Result<()> {
    let metrics = free_address()?;
    let server = server(metrics)?;
    let link = server.meeting_link()?;
    let publish = ["--publish", "audio,video"];
    let by_tcp = [&publish[..], &["--transport", "websocket"]].concat();
    let bots = ["Ana", "Bo", "Cem", "Dia"].map(|name| {
        // One comes by the door of those whose UDP is blocked.
        let arguments = if name == "Dia" { &by_tcp } else { &publish[..] };
        Bot::join(&link, name, MEETING, arguments)
    });
    for bot in bots {
        let summary = bot?.summary()?;
        assert_nothing_lost(&summary)?;
        assert_eq!(number(&summary, "/handlers")?, 2, "{summary}");
    }

    // All are there before anything is sent, so every frame is due at everybody.
    for carrier in ["stream", "datagram"] {
        let room = ["--publishers", "3", "--subscribers", "9"];
        let how = ["--video-kbps", "300", "--carrier", carrier];
        let load = Bot::load(
            &server.ready().api_url,
            MEETING,
            &[&room[..], &how].concat(),
        );
        let summary = load?.summary()?;
        assert_nothing_lost(&summary)?;
        assert_eq!(
            number(&summary, "/received/frames")?,
            number(&summary, "/expected_frames")?,
            "{summary}"
        );
    }

    let connections = connections(metrics)?;
    println!("connections of each thread: {connections:?}");
    // Of 75 and more, each at random.
    assert!(connections.iter().all(|count| *count > 0.0));
    let (status, log) = server.stop()?;
    assert!(status.success(), "{log}");
    Ok(())
}

#[test]
fn a_server_with_two_threads_says_good_bye_to_all_and_stops() -> Result<()> {
    let server = server(free_address()?)?;
    let link = server.meeting_link()?;
    let mut bots = Vec::new();
    for name in ["Ana", "Bo", "Cem"] {
        let mut bot = Bot::join(&link, name, LONG, &["--publish", "audio"])?;
        bot.event("joined")?;
        bots.push(bot);
    }
    let (status, log) = server.stop()?;
    assert!(status.success(), "{log}");
    assert!(!log.contains("did not stop in time"), "{log}");
    drop(bots);
    Ok(())
}
