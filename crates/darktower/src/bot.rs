//! `darktower bot`: a participant without a face. It joins by a link, plays real
//! clips, and checks what it receives without decoding it.

pub(crate) mod histogram;
pub(crate) mod ledger;
mod mix;
mod player;
mod summary;
mod watch;

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use dt_client::{
    Api, EncryptionMode, End, Event, FourCc, JoinOptions, Joined, Layout, MIXED_STREAM, MediaKind,
    Meeting, MeetingLink, Publication, ReceivedFrame, Tiles, Transport,
};
use dt_service::supervise::Signals;
use tokio::{
    sync::{broadcast, mpsc},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

use ledger::Ledger;
use mix::Mix;
use player::Clips;
use summary::Summary;
use watch::Watch;

/// Media that others publish must have arrived after so long.
const FIRST_MEDIA_MAX: Duration = Duration::from_secs(2);
/// What came is said no more often.
const WATCH_MIN: Duration = Duration::from_millis(10);

/// Join a meeting as a robot that publishes clips and checks what it receives
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  darktower bot --join http://127.0.0.1:8080/m/abcde-fghjk-mnpqr --duration 10s
  darktower bot --join LINK --name Robot --publish audio,video --duration 1m --json
  darktower bot --join LINK --layout speaker:4 --duration 30s
  darktower bot --join LINK --codecs VP9 --duration 30s

A meeting that is end-to-end encrypted is joined encrypted; with --no-e2ee it is
not joined.

Exit status: 0 done, 1 its own checks failed (media that others published did
not arrive, was lost, corrupt or could not be decrypted, or the session was
lost), 2 wrong usage.")]
pub(crate) struct BotArgs {
    /// The meeting's link
    #[arg(long, value_name = "LINK")]
    join: MeetingLink,

    /// The name that others see
    #[arg(long, default_value = "Bot", value_parser = participant_name)]
    name: String,

    /// What to publish: audio, video, screen
    #[arg(long, value_name = "KINDS", value_delimiter = ',')]
    publish: Vec<Kind>,

    /// Encodings of its camera, each half the sides of the next
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=3))]
    layers: u8,

    /// What to receive: grid:ROWSxCOLUMNS, or speaker:STRIP for one large tile
    /// and so many beside it
    #[arg(long, value_name = "LAYOUT", default_value = "grid:3x3", value_parser = tiles)]
    layout: Tiles,

    /// Codecs of pictures to say that it decodes, what it likes most first: VP8,
    /// VP9, AV1, H264
    #[arg(
        long,
        value_name = "CODECS",
        value_delimiter = ',',
        default_value = "VP8",
        value_parser = picture_codec
    )]
    codecs: Vec<FourCc>,

    /// Receive all voices mixed into one by the server; not in a meeting that is
    /// end-to-end encrypted
    #[arg(long)]
    mix_audio: bool,

    /// Take part only without end-to-end encryption
    #[arg(long)]
    no_e2ee: bool,

    /// How to connect: whichever gets through, or one way alone
    #[arg(long, value_enum, default_value_t = BotTransport::Auto)]
    transport: BotTransport,

    /// How long to stay, for example 10s, 500ms, 2m
    #[arg(long, value_parser = duration)]
    duration: Duration,

    /// Print one JSON object a line
    #[arg(long)]
    json: bool,

    /// With --json: also what came in each such time, for example 250ms
    #[arg(long, value_name = "TIME", value_parser = duration, requires = "json")]
    watch: Option<Duration>,
}

/// The values of `--transport`, here and in `darktower load`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum BotTransport {
    Auto,
    #[value(name = "webtransport")]
    WebTransport,
    #[value(name = "websocket")]
    WebSocket,
}

impl From<BotTransport> for Transport {
    fn from(transport: BotTransport) -> Self {
        match transport {
            BotTransport::Auto => Self::Auto,
            BotTransport::WebTransport => Self::WebTransport,
            BotTransport::WebSocket => Self::WebSocket,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Kind {
    Audio,
    Video,
    Screen,
}

/// `grid:3x3` or `speaker:4`
fn tiles(text: &str) -> Result<Tiles, String> {
    let grid = |sides: &str| {
        let (rows, columns) = sides.split_once('x')?;
        let side = |text: &str| text.parse().ok().filter(|n| (1..=256).contains(n));
        Some(Tiles::Grid {
            rows: side(rows)?,
            columns: side(columns)?,
        })
    };
    let speaker = |strip: &str| {
        let strip = strip.parse().ok().filter(|n| *n <= 255)?;
        Some(Tiles::Speaker { strip })
    };
    let read = match text.split_once(':') {
        Some(("grid", sides)) => grid(sides),
        Some(("speaker", strip)) => speaker(strip),
        _ => None,
    };
    read.ok_or_else(|| {
        "expected grid:ROWSxCOLUMNS with 1 to 256 each, or speaker:STRIP with 0 to 255".to_owned()
    })
}

/// As people write it; the join names it the same way.
fn picture_codec(text: &str) -> Result<FourCc, String> {
    match text.to_ascii_uppercase().as_str() {
        "VP8" => Ok(FourCc::Vp8),
        "VP9" => Ok(FourCc::Vp9),
        "AV1" => Ok(FourCc::Av1),
        "H264" => Ok(FourCc::H264),
        _ => Err("expected VP8, VP9, AV1 or H264".to_owned()),
    }
}

fn participant_name(text: &str) -> Result<String, String> {
    match text.trim().chars().count() {
        1..=64 => Ok(text.trim().to_owned()),
        _ => Err("a name has 1 to 64 characters".to_owned()),
    }
}

/// A number with `ms`, `s`, `m` or `h` behind it; seconds without.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match &text[digits.len()..] {
        "ms" => 0.001,
        "s" | "" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return Err("expected a duration like 500ms, 10s or 2m".to_owned()),
    };
    let number: f64 = digits
        .parse()
        .map_err(|_| "expected a duration like 500ms, 10s or 2m".to_owned())?;
    Duration::try_from_secs_f64(number * unit)
        .ok()
        .filter(|duration| *duration <= Duration::from_secs(7 * 24 * 3600))
        .ok_or_else(|| "a duration is positive and at most a week".to_owned())
}

/// Joins, stays, leaves, and prints the summary.
///
/// # Errors
/// When no seat is given.
pub(crate) async fn run(args: BotArgs) -> anyhow::Result<ExitCode> {
    let pressed = Instant::now();
    let clips = Clips::load(args.layers.into())?;
    let access = Api::new(&args.join.api_url())?
        .guest_access(args.join.key())
        .await
        .context("cannot get into the meeting")?;
    if args.no_e2ee && access.settings.enable_e2e_encryption {
        bail!("the meeting is end-to-end encrypted; leave --no-e2ee out to join it");
    }
    if args.mix_audio && access.settings.enable_e2e_encryption {
        bail!(
            "the meeting is end-to-end encrypted, and its server can't mix what it can't hear; \
             leave --mix-audio out to hear each voice by itself"
        );
    }
    let pictures = args.publish.iter().any(|kind| *kind != Kind::Audio);
    if pictures && !args.codecs.contains(&FourCc::Vp8) {
        bail!("its pictures are VP8: add that to --codecs, or publish audio alone");
    }
    let mut options = JoinOptions::named(&args.name);
    options.codecs = args.codecs;
    options.codecs.push(FourCc::Opus);
    options.encryption = encryption(args.no_e2ee);
    options.transport = args.transport.into();
    options.layout = Some(Layout {
        tiles: args.layout,
        mix_audio: args.mix_audio,
        ..Layout::grid(1, 1)
    });
    for kind in &args.publish {
        options = options.publishing(clips.publication(*kind));
    }
    // Before anybody learns that it is there: it leaves when it is told to end.
    let mut signals = Signals::listen().context("can't listen to signals")?;
    let joined = tokio::select! {
        joined = Meeting::join(access, options) => joined.context("cannot join the meeting")?,
        () = signals.next() => bail!("interrupted before it had joined"),
    };
    let Joined {
        meeting,
        frames,
        publishers,
        events,
    } = joined;
    let join = pressed.elapsed();
    summary::print_joined(&meeting, join, args.json);

    let stop = CancellationToken::new();
    let mut players = JoinSet::new();
    for publisher in publishers {
        players.spawn(clips.play(publisher, stop.clone()));
    }
    let mut bot = Bot {
        events,
        meeting,
        frames,
        ledger: Ledger::new(pressed, clips.known_payloads()?),
        mix: Mix::default(),
        unheard_since: None,
        unheard: false,
    };
    let end = bot.stay(args.duration, args.watch, signals).await;
    stop.cancel();
    let mut sent = player::SentCounts::default();
    while let Some(counts) = players.join_next().await {
        sent.add(&counts.context("a player failed")?);
    }
    let Bot {
        meeting,
        mut ledger,
        mix,
        unheard,
        ..
    } = bot;
    ledger.finish(Instant::now());
    let summary = Summary::new(&meeting, join, (&sent, &ledger, &mix), end, unheard);
    if end.is_none() {
        meeting.leave().await;
    }
    summary.print(args.json);
    Ok(if summary.failures().is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// What the flag asks of a join.
pub(crate) fn encryption(no_e2ee: bool) -> EncryptionMode {
    if no_e2ee {
        EncryptionMode::Never
    } else {
        EncryptionMode::Allowed
    }
}

/// A bot in its seat.
struct Bot {
    meeting: Meeting,
    frames: mpsc::Receiver<ReceivedFrame>,
    events: broadcast::Receiver<Event>,
    ledger: Ledger,
    mix: Mix,
    /// Since when somebody's media is in view while nothing has arrived yet.
    unheard_since: Option<Instant>,
    /// That lasted too long.
    unheard: bool,
}

impl Bot {
    /// Receives until the time is over, somebody interrupts, or the seat is over.
    async fn stay(
        &mut self,
        duration: Duration,
        every: Option<Duration>,
        mut signals: Signals,
    ) -> Option<End> {
        let mut watch = Watch::new(Instant::now());
        // As good as never, if it is not asked for.
        let every = every.unwrap_or(duration).max(WATCH_MIN);
        let mut looks = tokio::time::interval_at(tokio::time::Instant::now() + every, every);
        let over = tokio::time::sleep(duration);
        tokio::pin!(over);
        let mut frames = Vec::new();
        loop {
            tokio::select! {
                taken = self.frames.recv_many(&mut frames, 64) => {
                    if taken == 0 {
                        return Some(self.meeting.ended().await);
                    }
                    let now = Instant::now();
                    for frame in frames.drain(..) {
                        watch.receive(&frame);
                        if frame.stream_id == MIXED_STREAM {
                            self.mix.receive(&frame);
                        } else {
                            self.ledger.receive(&frame, now);
                        }
                    }
                    self.unheard_since = None;
                }
                event = self.events.recv() => self.handle(event),
                _ = looks.tick(), if every < duration => watch.print(self.ledger.lost()),
                end = self.meeting.ended() => return Some(end),
                () = &mut over => break,
                () = signals.next() => break,
            }
        }
        self.check_unheard();
        None
    }

    fn handle(&mut self, event: Result<Event, broadcast::error::RecvError>) {
        self.check_unheard();
        match event {
            Ok(Event::Updated(id)) => {
                let roster = self.meeting.roster();
                let streams = roster.get(id).map_or(&[][..], |p| &p.streams);
                for stream in streams.iter().filter(|stream| stream.muted) {
                    self.ledger.interrupt(stream.id);
                }
            }
            Ok(Event::Refused(_, words)) => eprintln!("The server says: {words}"),
            Ok(Event::MediaLost | Event::SpareLost(_)) => self.lost_a_handler(),
            Ok(Event::Unpublished(_, stream)) => self.ledger.interrupt(stream),
            Ok(Event::Left(..)) => {
                let roster = self.meeting.roster();
                self.ledger
                    .interrupt_unless(|id| roster.stream(id).is_some());
            }
            Ok(Event::Assigned(streams)) => {
                self.ledger.interrupt_unless(|id| streams.contains(&id));
                let roster = self.meeting.roster();
                let in_view = streams
                    .iter()
                    .any(|id| roster.stream(*id).is_some_and(|stream| !stream.muted));
                if !in_view || self.ledger.frames() > 0 {
                    self.unheard_since = None;
                } else {
                    self.unheard_since.get_or_insert_with(Instant::now);
                }
            }
            Ok(_) | Err(_) => {}
        }
    }

    /// Pictures come by the home, sound by whichever handler is left.
    fn lost_a_handler(&mut self) {
        let handlers = self.meeting.handlers();
        let now = Instant::now();
        if !handlers.iter().any(|handler| handler.ready) {
            self.ledger.disconnected(MediaKind::Audio, now);
        }
        if !handlers.iter().any(|handler| handler.ready && handler.home) {
            self.ledger.disconnected(MediaKind::Video, now);
        }
    }

    fn check_unheard(&mut self) {
        if self
            .unheard_since
            .is_some_and(|since| since.elapsed() > FIRST_MEDIA_MAX)
        {
            self.unheard = true;
        }
    }
}

impl Kind {
    fn publication(self, width: u32, height: u32, framerate: u32) -> Publication {
        match self {
            Self::Audio => Publication::microphone(),
            Self::Video => Publication::camera(width, height, framerate),
            Self::Screen => Publication::screen(width, height, framerate),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_layouts_are_read_or_refused_with_a_hint() {
        assert_eq!(duration("10s"), Ok(Duration::from_secs(10)));
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(duration("1.5m"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("7"), Ok(Duration::from_secs(7)));
        for text in ["", "s", "-1s", "10 days", "NaN", "1e9h"] {
            assert!(duration(text).is_err(), "{text}");
        }
        let grid = Tiles::Grid {
            rows: 2,
            columns: 3,
        };
        assert_eq!(tiles("grid:2x3"), Ok(grid));
        assert_eq!(tiles("speaker:4"), Ok(Tiles::Speaker { strip: 4 }));
        for text in [
            "grid:0x1",
            "2x2",
            "grid:257x1",
            "grid:2",
            "speaker:256",
            "speaker:",
        ] {
            assert!(tiles(text).is_err(), "{text}");
        }
    }
}
