//! `darktower load`: rooms full of synthetic participants, each with connections
//! of its own, that measure what the server does for them.
//!
//! All join first; then the publishers send for the given time, and every frame
//! that was sent is expected at every subscriber of its room.

mod payload;
mod report;
mod room;
mod sending;

use std::{process::ExitCode, time::Duration};

use anyhow::Context as _;
use dt_client::{Api, Carrier};
use dt_service::supervise::Signals;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::{
    bot::{BotTransport, duration},
    meeting_link::api_url,
};
use report::Report;
use room::Room;

/// What is under way when the publishers stop still has so long to arrive.
const DRAIN: Duration = Duration::from_millis(1000);

/// Load a server with synthetic rooms and measure what arrives
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "\
Examples:
  darktower load --api http://127.0.0.1:8080/api/v1 --subscribers 50 --duration 20s
  darktower load --api URL --rooms 5 --publishers 2 --subscribers 10 --carrier datagram --json

All participants join first; then the publishers send for the given time. Meetings
are end-to-end encrypted unless --no-e2ee is given: publishers seal, subscribers
open, and latency includes both.
With --layers 2 or 3 publishers send the encodings that somebody receives, at the
bit rates that they can take; frames by layer and switches are printed, and lost is
what was sent on to a subscriber and did not arrive. With one layer every frame is
expected at every subscriber.
join_ms and first_media_ms are 95th percentiles over the participants, the
latter counted from the moment at which sending begins.

Exit status: 0 done, 1 frames were lost, corrupt or not decrypted or somebody
could not join, 2 wrong usage.")]
pub(crate) struct LoadArgs {
    /// The API's URL, ending in /api/v1
    #[arg(long, value_name = "URL", value_parser = api_url)]
    api: String,

    /// Make meetings without end-to-end encryption
    #[arg(long)]
    no_e2ee: bool,

    /// Meetings at once
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rooms: u32,

    /// Participants that send, in each room
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=250))]
    publishers: u32,

    /// Participants that receive, in each room
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(0..=5000))]
    subscribers: u32,

    /// Bit rate of each publisher's video, of its largest encoding
    #[arg(long, default_value_t = 1500, value_parser = clap::value_parser!(u32).range(10..=100_000))]
    video_kbps: u32,

    /// Pictures a second of each publisher's video
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=240))]
    fps: u32,

    /// Encodings of each publisher's video, each half the sides of the next, all
    /// with two temporal layers if there are several
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=3))]
    layers: u32,

    /// How video travels
    #[arg(long, value_enum, default_value_t = LoadCarrier::Stream)]
    carrier: LoadCarrier,

    /// How to connect; websocket measures what those get whose UDP is blocked
    #[arg(long, value_enum, default_value_t = BotTransport::WebTransport)]
    transport: BotTransport,

    /// How long the publishers send, for example 20s or 2m
    #[arg(long, value_parser = duration)]
    duration: Duration,

    /// Also report processor time and memory of this process, the server's
    #[arg(long, value_name = "PID")]
    server_pid: Option<u32>,

    /// Print one JSON object a line
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum LoadCarrier {
    Stream,
    Datagram,
}

impl From<LoadCarrier> for Carrier {
    fn from(carrier: LoadCarrier) -> Self {
        match carrier {
            LoadCarrier::Stream => Self::Stream,
            LoadCarrier::Datagram => Self::Datagram,
        }
    }
}

/// Joins, sends, receives, and prints the summary.
///
/// # Errors
/// When a meeting cannot be made or somebody cannot join.
pub(crate) async fn run(args: LoadArgs) -> anyhow::Result<ExitCode> {
    let api = Api::new(&args.api)?;
    let mut rooms = Vec::new();
    for _ in 0..args.rooms {
        rooms.push(
            Room::open(&api, &args)
                .await
                .context("a room cannot be made")?,
        );
        if !args.json {
            println!("Room {} of {} is full.", rooms.len(), args.rooms);
        }
    }
    let mut signals = Signals::listen().context("can't listen to signals")?;
    let stop = CancellationToken::new();
    let go = tokio::time::Instant::now();
    let cpu = args.server_pid.map(report::Usage::begin);
    let mut running = JoinSet::new();
    for room in rooms {
        running.spawn(room.run(go, stop.clone()));
    }
    tokio::select! {
        () = tokio::time::sleep(args.duration) => {}
        () = signals.next() => {}
    }
    let usage = cpu.and_then(|cpu| cpu.end());
    stop.cancel();
    let mut report = Report::new(&args, usage);
    while let Some(result) = running.join_next().await {
        report.add(result.context("a room failed")?);
    }
    report.print(args.json);
    Ok(if report.failures().is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
