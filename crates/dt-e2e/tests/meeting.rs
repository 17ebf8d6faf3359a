//! Meetings of real processes: the server by its one command, and bots that
//! publish pictures and sound and check what they receive.

use std::time::Duration;

use anyhow::{Context, Result};
use dt_e2e::{Bot, Server};
use serde_json::{Value, json};

/// Long enough for several key frame groups.
const MEETING: Duration = Duration::from_secs(6);

fn number(summary: &Value, path: &str) -> Result<u64> {
    let value = summary
        .pointer(path)
        .with_context(|| format!("no {path} in {summary}"))?;
    value.as_u64().with_context(|| format!("{path} is {value}"))
}

fn assert_received_cleanly(summary: &Value) -> Result<()> {
    assert!(
        number(summary, "/received/frames")? > 0,
        "received nothing: {summary}"
    );
    assert_eq!(
        number(summary, "/received/lost_frames")?,
        0,
        "lost frames: {summary}"
    );
    assert_eq!(
        number(summary, "/received/corrupt")?,
        0,
        "corrupt frames: {summary}"
    );
    assert_eq!(
        number(summary, "/received/decrypt_failures")?,
        0,
        "{summary}"
    );
    Ok(())
}

#[test]
fn two_bots_see_and_hear_each_other_without_a_lost_or_corrupt_frame() -> Result<()> {
    let server = Server::start(&[])?;
    let link = server.meeting_link()?;
    let publish = ["--publish", "audio,video"];
    let first = Bot::join(&link, "First", MEETING, &publish)?;
    let second = Bot::join(&link, "Second", MEETING, &publish)?;
    let (first, second) = (first.summary()?, second.summary()?);

    assert_received_cleanly(&first)?;
    assert_received_cleanly(&second)?;
    assert_ne!(first["participant_id"], second["participant_id"]);
    println!(
        "join {} ms, first media {} ms",
        second["join_ms"], second["first_media_ms"]
    );
    println!("server: {:.1} MiB resident", server.usage()?.resident_mib);
    Ok(())
}

#[test]
fn one_publisher_reaches_many_subscribers_on_both_carriers() -> Result<()> {
    let server = Server::start(&[])?;
    for carrier in ["stream", "datagram"] {
        let summary = Bot::load(
            &server.ready().api_url,
            MEETING,
            &[
                "--subscribers",
                "8",
                "--video-kbps",
                "500",
                "--carrier",
                carrier,
            ],
        )?
        .summary()?;
        assert_received_cleanly(&summary)?;
        println!("{carrier}: latency {} ms", summary["latency_ms"]);
    }
    println!("server: {:.1} MiB resident", server.usage()?.resident_mib);
    Ok(())
}

#[test]
fn an_ended_meeting_lets_nobody_in() -> Result<()> {
    let server = Server::start(&[])?;
    let meeting = server.create_meeting(&json!({"display_name": "Short"}))?;
    let id = meeting["meeting_id"].as_str().context("no meeting_id")?;
    let host_token = meeting["host_token"].as_str().context("no host_token")?;
    let link = meeting["meeting_url"].as_str().context("no meeting_url")?;

    let answer = server.api("DELETE", &format!("/meetings/{id}"), Some(host_token), None)?;
    assert!(matches!(answer.status, 200 | 204), "{answer:?}");

    let (code, _, log) = Bot::join(link, "Late", MEETING, &[])?.outcome()?;
    assert_eq!(code, Some(1), "a bot joined an ended meeting:\n{log}");
    Ok(())
}

#[test]
fn a_full_meeting_refuses_the_next_one() -> Result<()> {
    let server = Server::start(&[])?;
    let meeting = server.create_meeting(&json!({"display_name": "Two", "max_participants": 2}))?;
    let link = meeting["meeting_url"].as_str().context("no meeting_url")?;
    let publish = ["--publish", "audio"];
    let mut first = Bot::join(link, "First", MEETING, &publish)?;
    let mut second = Bot::join(link, "Second", MEETING, &publish)?;
    first.event("joined")?;
    second.event("joined")?;

    let (code, _, log) = Bot::join(link, "Third", MEETING, &publish)?.outcome()?;
    assert_eq!(code, Some(1), "a third joined a meeting of two:\n{log}");
    first.summary()?;
    second.summary()?;
    Ok(())
}

#[test]
fn the_server_ends_cleanly_when_it_is_asked_to() -> Result<()> {
    let server = Server::start(&[])?;
    println!(
        "ready after {} ms with {:.1} MiB resident",
        server.ready().elapsed_ms,
        server.usage()?.resident_mib
    );
    let (status, log) = server.stop()?;
    assert!(status.success(), "{status}:\n{log}");
    Ok(())
}

#[test]
fn wrong_arguments_are_named_and_exit_with_two() -> Result<()> {
    let (code, _, log) =
        Bot::join("not a link", "Nobody", MEETING, &["--publish", "smell"])?.outcome()?;
    assert_eq!(code, Some(2), "{log}");
    Ok(())
}
