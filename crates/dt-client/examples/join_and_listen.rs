//! Joins a meeting by its link and tells what arrives.
//!
//! ```text
//! cargo run -p dt-client --example join_and_listen -- http://127.0.0.1:8080/m/CODE
//! ```

use std::collections::HashMap;

use anyhow::Context as _;
use dt_client::{Api, Event, JoinOptions, Joined, Meeting, MeetingLink};

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let link: MeetingLink = std::env::args()
        .nth(1)
        .context("usage: join_and_listen LINK")?
        .parse()?;
    let access = Api::new(&link.api_url())?.guest_access(link.key()).await?;
    let Joined {
        meeting,
        mut frames,
        mut events,
        ..
    } = Meeting::join(access, JoinOptions::named("Listener")).await?;
    println!("Joined as {}. Ctrl-C leaves.", meeting.participant_id());

    let mut counts: HashMap<String, u64> = HashMap::new();
    loop {
        tokio::select! {
            frame = frames.recv() => {
                let Some(frame) = frame else { break };
                let roster = meeting.roster();
                let from = roster.owner(frame.stream_id).map_or("somebody", |p| &p.name);
                let count = counts.entry(format!("{:?} of {from}", frame.kind)).or_default();
                *count += 1;
                if count.is_multiple_of(100) {
                    println!("{:?} of {from}: {count} frames", frame.kind);
                }
            }
            event = events.recv() => match event {
                Ok(Event::Joined(id)) => {
                    let roster = meeting.roster();
                    let name = roster.get(id).map_or("Somebody", |p| &p.name);
                    println!("{name} joined.");
                }
                Ok(Event::Left(id, reason)) => println!("{id} left: {reason:?}."),
                Ok(_) | Err(_) => {}
            },
            end = meeting.ended() => {
                println!("Over: {end}.");
                break;
            }
            interrupted = tokio::signal::ctrl_c() => {
                interrupted?;
                break;
            }
        }
    }
    meeting.leave().await;
    Ok(())
}
