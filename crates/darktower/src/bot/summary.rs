//! What a bot says at its end: one JSON object, or lines for a person.

use std::time::Duration;

use dt_client::{Carriers, End, Meeting, ReceiveStats};
use serde_json::json;

use super::{histogram::ms, ledger::Ledger, mix::Mix, player::SentCounts};

/// Says that the seat was given.
pub(super) fn print_joined(meeting: &Meeting, join: Duration, as_json: bool) {
    if as_json {
        println!(
            "{}",
            json!({
                "event": "joined",
                "meeting_id": meeting.meeting_id().to_string(),
                "participant_id": meeting.participant_id().to_string(),
                "join_ms": ms(join),
            })
        );
    } else {
        println!("Joined in {:.0} ms.", ms(join));
    }
}

/// What is wrong with who holds the keys, in words.
fn alarms(meeting: &Meeting) -> Vec<String> {
    let encryption = meeting.encryption();
    encryption.alarms.iter().map(ToString::to_string).collect()
}

pub(super) struct Summary<'a> {
    participant_id: String,
    join: Duration,
    sent: &'a SentCounts,
    ledger: &'a Ledger,
    mix: &'a Mix,
    stats: ReceiveStats,
    encrypted: bool,
    carriers: Carriers,
    /// Media sessions that are open, the home's and the spares'.
    handlers: usize,
    alarms: Vec<String>,
    end: Option<End>,
    unheard: bool,
}

impl<'a> Summary<'a> {
    pub(super) fn new(
        meeting: &Meeting,
        join: Duration,
        (sent, ledger, mix): (&'a SentCounts, &'a Ledger, &'a Mix),
        end: Option<End>,
        unheard: bool,
    ) -> Self {
        Self {
            participant_id: meeting.participant_id().to_string(),
            join,
            sent,
            ledger,
            mix,
            stats: meeting.receive_stats(),
            encrypted: meeting.encryption().encrypted,
            carriers: meeting.carriers(),
            handlers: meeting.handlers().iter().filter(|h| h.ready).count(),
            alarms: alarms(meeting),
            end,
            unheard,
        }
    }

    /// What is wrong, in words; nothing when all is well.
    pub(super) fn failures(&self) -> Vec<String> {
        let mut failures = Vec::new();
        match self.end {
            // The host's will.
            None | Some(End::Left | End::Removed | End::MeetingEnded) => {}
            Some(end) => failures.push(end.to_string()),
        }
        if self.unheard {
            failures.push("others published, and no media arrived".to_owned());
        }
        if self.ledger.corrupt() > 0 {
            failures.push(format!("{} frames were corrupt", self.ledger.corrupt()));
        }
        if self.ledger.lost() > 0 {
            failures.push(format!("{} frames were lost", self.ledger.lost()));
        }
        if self.stats.decrypt_failures > 0 {
            failures.push(format!(
                "{} frames could not be decrypted",
                self.stats.decrypt_failures
            ));
        }
        failures.extend(self.alarms.iter().cloned());
        failures
    }

    pub(super) fn print(&self, as_json: bool) {
        if as_json {
            println!("{}", self.json());
        } else {
            self.print_for_a_person();
        }
    }

    fn json(&self) -> serde_json::Value {
        let gaps = self.ledger.gaps();
        json!({
            "event": "summary",
            "participant_id": self.participant_id,
            "join_ms": ms(self.join),
            "e2ee": self.encrypted,
            "transport": {
                "signaling": self.carriers.signaling.name(),
                "media": self.media_carriers(),
            },
            "first_media_ms": self.ledger.first_media().map(ms),
            "sent": {
                "frames": self.sent.audio_frames + self.sent.video_frames,
                "audio_frames": self.sent.audio_frames,
                "video_frames": self.sent.video_frames,
                "bytes": self.sent.bytes,
            },
            "received": {
                "frames": self.ledger.frames(),
                "bytes": self.ledger.bytes(),
                "lost_frames": self.ledger.lost(),
                "decrypt_failures": self.stats.decrypt_failures,
                "corrupt": self.ledger.corrupt(),
                "duplicates": self.stats.duplicates,
                "before_joining": self.stats.before_joining,
                "layers": self.ledger.layers().iter().map(|layer| json!({
                    "frames": layer.frames,
                    "bytes": layer.bytes,
                })).collect::<Vec<_>>(),
                "codecs": self.ledger.codecs(),
                "switches": self.ledger.switches(),
            },
            "mixed": self.mix.json(),
            "handlers": self.handlers,
            "latency_ms": self.ledger.latency().json(),
            "longest_gap_ms": {
                "audio": gaps.audio.map(ms),
                "video": gaps.video.map(ms),
            },
            "ended": self.end.map(|end| end.to_string()),
            "failures": self.failures(),
        })
    }

    /// What carries media: one name unless handlers are reached in several ways.
    fn media_carriers(&self) -> String {
        let mut names: Vec<_> = self.carriers.media.iter().map(|c| c.name()).collect();
        names.dedup();
        names.join("+")
    }

    fn print_for_a_person(&self) {
        let or_none = |time: Option<f64>| time.map_or("none".into(), |ms| format!("{ms:.1} ms"));
        let ledger = self.ledger;
        let (latency, gaps) = (ledger.latency(), ledger.gaps());
        println!(
            "Sent      {} video and {} audio frames, {} kB",
            self.sent.video_frames,
            self.sent.audio_frames,
            self.sent.bytes / 1000
        );
        println!(
            "Received  {} frames, {} kB, {} lost, {} corrupt; the first after {}",
            ledger.frames(),
            ledger.bytes() / 1000,
            ledger.lost(),
            ledger.corrupt(),
            or_none(ledger.first_media().map(ms))
        );
        if let Some(line) = self.mix.line() {
            println!("{line}");
        }
        if self.encrypted {
            println!(
                "Encrypted end to end; {} frames could not be decrypted",
                self.stats.decrypt_failures
            );
        } else {
            println!("Not encrypted end to end");
        }
        println!(
            "Connected by {} (media: {})",
            self.carriers.signaling.name(),
            self.media_carriers()
        );
        println!(
            "Latency   p50 {}, p95 {}, p99 {}",
            or_none(latency.percentile_ms(0.5)),
            or_none(latency.percentile_ms(0.95)),
            or_none(latency.percentile_ms(0.99))
        );
        println!(
            "Longest gap  audio {}, video {}",
            or_none(gaps.audio.map(ms)),
            or_none(gaps.video.map(ms))
        );
        if let Some(end) = self.end {
            println!("Ended early: {end}.");
        }
        for failure in self.failures() {
            eprintln!("FAILED: {failure}");
        }
    }
}
