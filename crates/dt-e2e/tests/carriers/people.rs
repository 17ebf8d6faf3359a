//! People in meetings: joining over a given carrier, sending marked media, and
//! waiting for somebody else's.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use dt_client::{
    Event, JoinOptions, Joined, Layout, MediaKind, Meeting, MeetingAccess, Publication,
    ReceivedFrame, Transport,
};
use tokio::{
    sync::{broadcast, mpsc},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

use crate::playing::{self, Mark, soon};

pub(crate) const BOTH: [Transport; 2] = [Transport::WebTransport, Transport::WebSocket];

/// Somebody in a meeting who plays marked pictures and sound all the time.
pub(crate) struct Person {
    pub(crate) meeting: Meeting,
    pub(crate) frames: mpsc::Receiver<ReceivedFrame>,
    pub(crate) events: broadcast::Receiver<Event>,
    pub(crate) took: Duration,
    stop: CancellationToken,
    players: JoinSet<()>,
}

impl Person {
    pub(crate) async fn join(
        access: MeetingAccess,
        name: &'static str,
        transport: Transport,
    ) -> Result<Self> {
        let options = JoinOptions {
            transport,
            layout: Some(Layout::grid(2, 2)),
            ..JoinOptions::named(name)
                .publishing(Publication::microphone())
                .publishing(Publication::camera(640, 360, 25))
        };
        let begun = Instant::now();
        let Joined {
            meeting,
            frames,
            publishers,
            events,
        } = soon("a seat", Meeting::join(access, options)).await??;
        let took = begun.elapsed();
        let stop = CancellationToken::new();
        let mut players = JoinSet::new();
        for publisher in publishers {
            players.spawn(playing::play(publisher, name, stop.clone()));
        }
        Ok(Self {
            meeting,
            frames,
            events,
            took,
            stop,
            players,
        })
    }

    /// Waits for pictures and sound of exactly these people, and nobody else's.
    pub(crate) async fn sees_and_hears(&mut self, people: &[&'static str]) -> Result<()> {
        let wanted: BTreeSet<_> = people
            .iter()
            .flat_map(|name| [(name.to_string(), false), (name.to_string(), true)])
            .collect();
        let mut seen = BTreeSet::new();
        soon("pictures and sound", async {
            while !seen.is_superset(&wanted) {
                let frame = self.frames.recv().await.context("the seat is over")?;
                let Mark { sender, .. } = Mark::of(&frame)?;
                ensure!(people.contains(&sender.as_str()), "{sender} got in");
                seen.insert((sender, frame.kind == MediaKind::Video));
            }
            Ok(())
        })
        .await?
    }

    pub(crate) async fn event(
        &mut self,
        what: &str,
        wanted: impl Fn(&Event) -> bool,
    ) -> Result<()> {
        soon(what, async {
            loop {
                match self.events.recv().await {
                    Ok(event) if wanted(&event) => return Ok(()),
                    Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => {}
                    Err(error) => return Err(error.into()),
                }
            }
        })
        .await?
    }

    /// By which way it is connected; an error when signaling and media differ.
    pub(crate) fn carrier(&self) -> Result<&'static str> {
        let carriers = self.meeting.carriers();
        ensure!(
            !carriers.media.is_empty()
                && carriers
                    .media
                    .iter()
                    .all(|media| *media == carriers.signaling),
            "connected in several ways: {carriers:?}"
        );
        Ok(carriers.signaling.name())
    }

    pub(crate) async fn leave(mut self) -> Result<()> {
        self.stop.cancel();
        while let Some(player) = self.players.join_next().await {
            player?;
        }
        self.meeting.leave().await;
        Ok(())
    }
}
