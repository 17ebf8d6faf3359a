//! Who gets in by WebSocket: origins, upgrades that are none, and handshakes that
//! stop half-way; and that a server with open sessions ends in time.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use dt_client::Transport;
use dt_e2e::{Server, http};
use dt_transport::{Session as _, SessionError};
use serde_json::json;

use crate::{
    hosting::{create, with_server},
    people::Person,
    playing::soon,
    raw::Raw,
};

fn upgrade(path: &str) -> http::Request {
    http::Request::new("GET", path)
        .header("Connection", "Upgrade")
        .header("Upgrade", "websocket")
        .header("Sec-WebSocket-Version", "13")
        .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
}

/// The status line's number; the socket stays open behind a yes.
fn status(server: &Server, head: &str) -> Result<u16> {
    let mut stream = TcpStream::connect(server.http_address()?)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    stream.write_all(head.as_bytes())?;
    let mut answer = [0; 12];
    stream.read_exact(&mut answer)?;
    let text = std::str::from_utf8(&answer)?;
    Ok(text.rsplit(' ').next().context("no status")?.parse()?)
}

#[test]
fn pages_of_this_server_and_of_allowed_origins_get_in_and_no_others() -> Result<()> {
    let server = Server::start(&["--origin", "https://meet.example"])?;
    let host = server.http_address()?.to_string();
    let head = |origins: &[&str]| {
        let mut head = format!(
            "GET /ws HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        );
        for origin in origins {
            head.push_str(&format!("Origin: {origin}\r\n"));
        }
        head + "\r\n"
    };
    let own = format!("http://{host}");
    let good: [&[&str]; 3] = [&[], &[&own], &["https://meet.example"]];
    for origins in good {
        assert_eq!(status(&server, &head(origins))?, 101, "{origins:?}");
    }
    let bad: [&[&str]; 6] = [
        &["null"],
        &["https://evil.example"],
        &["http://meet.example"],
        &["https://meet.example.evil.example"],
        &[""],
        &[&own, &own],
    ];
    for origins in bad {
        assert_eq!(status(&server, &head(origins))?, 403, "{origins:?}");
    }
    for path in ["/ws", "/media", "/media/0"] {
        let answer = upgrade(path)
            .header("Origin", "null")
            .send(server.http_address()?)?;
        assert_eq!(answer.status, 403, "{path}: {answer:?}");
        assert_eq!(answer.error_code()?, "FORBIDDEN");
    }
    Ok(())
}

#[test]
fn what_is_no_upgrade_and_a_handler_that_is_not_there_get_errors_of_the_api() -> Result<()> {
    let server = Server::start(&[])?;
    let to = server.http_address()?;
    for path in ["/ws", "/media/0", "/media/1"] {
        let answer = http::Request::new("GET", path).send(to)?;
        assert!(matches!(answer.status, 400 | 426), "{answer:?}");
        assert_eq!(answer.error_code()?, "INVALID_REQUEST");
    }
    for path in ["/media/2", "/media/x", "/media/-1"] {
        let answer = upgrade(path).send(to)?;
        assert_eq!(answer.status, 404, "{path}: {answer:?}");
    }
    Ok(())
}

#[test]
fn the_answers_of_the_api_name_a_websocket_by_the_way_that_the_client_came() -> Result<()> {
    let server = Server::start(&[])?;
    let host = server.http_address()?;
    let meeting = server.create_meeting(&json!({}))?;
    assert_eq!(
        meeting["meeting_controller"]["websocket_url"],
        format!("ws://{host}/ws")
    );
    // Which of them is the first is the meeting's own.
    let handlers = meeting["media_handlers"].as_array().context("a list")?;
    let mut urls: Vec<_> = handlers
        .iter()
        .filter_map(|handler| handler["websocket_url"].as_str())
        .collect();
    urls.sort_unstable();
    assert_eq!(
        urls,
        [
            format!("ws://{host}/media/0"),
            format!("ws://{host}/media/1")
        ]
    );
    Ok(())
}

#[test]
fn handshakes_that_stop_half_way_are_closed_within_three_seconds() -> Result<()> {
    let server = Server::start(&[])?;
    let beginnings: [(_, &[u8]); 2] = [
        (
            server.http_address()?,
            b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgr",
        ),
        // A TLS record of which the rest never comes.
        (server.public_address()?, b"\x16\x03\x01\x02\x00\x01"),
    ];
    let begun = Instant::now();
    let mut streams = Vec::new();
    for (to, beginning) in beginnings {
        let mut stream = TcpStream::connect(to)?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        stream.write_all(beginning)?;
        streams.push(stream);
    }
    for mut stream in streams {
        let mut rest = Vec::new();
        // Reset or ended, with words or without.
        let _ = stream.read_to_end(&mut rest);
        let took = begun.elapsed();
        println!("closed after {took:?}");
        ensure!(took < Duration::from_secs(4), "open for {took:?}");
    }
    Ok(())
}

#[test]
fn a_server_that_stops_tells_its_sessions_and_waits_for_none() -> Result<()> {
    with_server(|server, api| async move {
        let access = create(&api, false).await?;
        let mut sessions = Vec::new();
        for _ in 0..3 {
            sessions.push(Raw::signaling(&access, Transport::WebSocket).await?);
            sessions.push(Raw::media(&access, Transport::WebSocket).await?);
        }
        let mut ada = Person::join(access.clone(), "Ada", Transport::WebSocket).await?;
        let guest = api.guest_access(&access.meeting_code).await?;
        let bob = Person::join(guest, "Bob", Transport::WebSocket).await?;
        ada.sees_and_hears(&["Bob"]).await?;
        let stopping = tokio::task::spawn_blocking(move || {
            let begun = Instant::now();
            server
                .stop()
                .map(|(status, log)| (status, log, begun.elapsed()))
        });
        for raw in &sessions {
            let over = soon("the close", raw.session.closed()).await?;
            ensure!(
                matches!(over, SessionError::ClosedByPeer { code: 8, .. }),
                "{over:?}"
            );
        }
        let (status, log, took) = soon("the end", stopping).await???;
        println!("stopped after {took:?}");
        assert!(status.success(), "{status}:\n{log}");
        assert!(took < Duration::from_secs(6), "{took:?}");
        drop((ada, bob));
        Ok(())
    })
}
