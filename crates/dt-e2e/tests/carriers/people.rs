//! People in meetings: joining over a given carrier, sending marked media, and
//! waiting for somebody else's.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use dt_client::{
    Api, AudioLevel, Event, JoinOptions, Joined, Layout, MediaFrame, MediaKind, Meeting,
    MeetingAccess, NewMeeting, NewSettings, Publication, Publisher, ReceivedFrame, Transport,
    now_us,
};
use dt_e2e::Server;
use tokio::{
    sync::{broadcast, mpsc},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

/// For whatever a test waits for.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);
/// A group of pictures has so many.
const GROUP: u64 = 25;

pub(crate) const BOTH: [Transport; 2] = [Transport::WebTransport, Transport::WebSocket];

pub(crate) async fn soon<T>(what: &str, wanted: impl Future<Output = T>) -> Result<T> {
    tokio::time::timeout(DEADLINE, wanted)
        .await
        .with_context(|| format!("waiting for {what}"))
}

/// Runs a test against a server of its own.
pub(crate) fn with_server<T, F>(test: T) -> Result<()>
where
    T: FnOnce(Server, Api) -> F,
    F: Future<Output = Result<()>>,
{
    let server = Server::start(&[])?;
    let api = Api::new(&server.ready().api_url)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    runtime.block_on(test(server, api))
}

/// A meeting; encrypted or not.
pub(crate) async fn create(api: &Api, encrypted: bool) -> Result<MeetingAccess> {
    let meeting = NewMeeting {
        settings: Some(NewSettings {
            enable_e2e_encryption: Some(encrypted),
        }),
        ..NewMeeting::default()
    };
    Ok(api.create_meeting(&meeting).await?)
}

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
            players.spawn(play(publisher, name, stop.clone()));
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
                let by = sender(&frame)?;
                ensure!(people.contains(&by.as_str()), "{by} got in");
                seen.insert((by, frame.kind == MediaKind::Video));
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
            carriers.media == [carriers.signaling],
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

/// Who sent a frame, as its payload says.
pub(crate) fn sender(frame: &ReceivedFrame) -> Result<String> {
    let text = std::str::from_utf8(&frame.payload).context("a frame is spoilt")?;
    let (name, rest) = text.split_once('|').context("a frame is spoilt")?;
    ensure!(rest.bytes().all(|byte| byte == b'.'), "a frame is spoilt");
    Ok(name.to_owned())
}

fn marked(name: &str, bytes: usize) -> Bytes {
    let mut payload = format!("{name}|").into_bytes();
    payload.resize(bytes, b'.');
    payload.into()
}

/// Plays until told to stop: sound every 20 ms, or pictures every 40 ms.
async fn play(mut publisher: Publisher, name: &'static str, stop: CancellationToken) {
    let sound = publisher.publication().codec == dt_client::FourCc::Opus;
    let level = AudioLevel {
        voice: true,
        below_overload_db: 10,
    };
    let every = Duration::from_millis(if sound { 20 } else { 40 });
    let mut tick = tokio::time::interval(every);
    let mut number = 0_u64;
    while stop.run_until_cancelled(tick.tick()).await.is_some() {
        let frame = if sound {
            MediaFrame::audio(now_us(), level, marked(name, 80))
        } else {
            let key = number.is_multiple_of(GROUP) || publisher.take_key_frame_request();
            let bytes = if key { 20_000 } else { 3000 };
            MediaFrame::video(now_us(), key, marked(name, bytes))
        };
        // Not wanted, or late: the next one is on its way.
        let _ = publisher.send(&frame);
        number += 1;
    }
}
