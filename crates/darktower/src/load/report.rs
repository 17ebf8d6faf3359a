//! What a load run says at its end.

use std::time::Duration;

use serde_json::json;

use super::{LoadArgs, room::Outcome};
use crate::bot::{
    histogram::{Histogram, ms},
    ledger::{KnownPayloads, Ledger},
};

/// Clock ticks a second in `/proc`; the same on every Linux that this runs on.
const TICKS_PER_SECOND: f64 = 100.0;

/// Processor time and memory of another process.
#[derive(Debug, Clone, Copy)]
pub(super) struct Usage {
    pid: u32,
    at: std::time::Instant,
    ticks: u64,
}

/// What it used.
#[derive(Debug, Clone, Copy)]
pub(super) struct Used {
    cpu_percent: f64,
    resident_mib: f64,
}

impl Usage {
    pub(super) fn begin(pid: u32) -> Self {
        Self {
            pid,
            at: std::time::Instant::now(),
            ticks: ticks(pid).unwrap_or(0),
        }
    }

    /// `None` when the process cannot be looked at.
    pub(super) fn end(self) -> Option<Used> {
        #[allow(clippy::cast_precision_loss)] // far below 2^52
        let busy = ticks(self.pid)?.saturating_sub(self.ticks) as f64 / TICKS_PER_SECOND;
        Some(Used {
            cpu_percent: busy / self.at.elapsed().as_secs_f64() * 100.0,
            resident_mib: resident_mib(self.pid)?,
        })
    }
}

/// User and system time of a process.
fn ticks(pid: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in brackets may hold spaces; fields 14 and 15 come after it.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    Some(fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?)
}

fn resident_mib(pid: u32) -> Option<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    let kib: f64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib / 1024.0)
}

/// Adds up what the rooms measured.
pub(super) struct Report {
    rooms: u64,
    participants: u64,
    joins: Histogram,
    first_media: Histogram,
    total: Ledger,
    e2ee: bool,
    /// Subscribers get what their paths carry, and not all there is.
    layered: bool,
    decrypt_failures: u64,
    sent_frames: u64,
    sent_bytes: u64,
    expected_frames: u64,
    received_nothing: u64,
    gone: u64,
    not_sent: u64,
    usage: Option<Used>,
}

impl Report {
    pub(super) fn new(args: &LoadArgs, usage: Option<Used>) -> Self {
        Self {
            rooms: u64::from(args.rooms),
            participants: u64::from(args.rooms) * u64::from(args.publishers + args.subscribers),
            joins: Histogram::default(),
            first_media: Histogram::default(),
            total: Ledger::new(std::time::Instant::now(), KnownPayloads::default()),
            e2ee: !args.no_e2ee,
            layered: args.layers > 1,
            decrypt_failures: 0,
            sent_frames: 0,
            sent_bytes: 0,
            expected_frames: 0,
            received_nothing: 0,
            gone: 0,
            not_sent: 0,
            usage,
        }
    }

    pub(super) fn add(&mut self, room: Outcome) {
        for join in &room.joins {
            self.joins.record(*join);
        }
        for ledger in &room.ledgers {
            match ledger.first_media() {
                Some(time) => self.first_media.record(time),
                None => self.received_nothing += 1,
            }
            self.total.merge(ledger);
        }
        self.decrypt_failures += room.decrypt_failures;
        self.sent_frames += room.sent_frames;
        self.sent_bytes += room.sent_bytes;
        self.expected_frames += room.expected_frames;
        self.gone += room.gone;
        self.not_sent += room.not_sent;
    }

    /// Frames that were sent to somebody and did not arrive.
    fn lost(&self) -> u64 {
        if self.layered {
            return self.total.lost();
        }
        self.expected_frames.saturating_sub(self.total.frames())
    }

    pub(super) fn failures(&self) -> Vec<String> {
        let counts = [
            (self.lost(), "frames were lost"),
            (self.total.corrupt(), "frames were corrupt"),
            (self.decrypt_failures, "frames could not be decrypted"),
            (self.received_nothing, "subscribers received nothing"),
            (self.gone, "sessions did not last"),
            (self.not_sent, "frames could not be sent"),
        ];
        let failed = counts.into_iter().filter(|(count, _)| *count > 0);
        failed
            .map(|(count, what)| format!("{count} {what}"))
            .collect()
    }

    pub(super) fn print(&self, as_json: bool) {
        if as_json {
            println!("{}", self.json());
            return;
        }
        let latency = self.total.latency();
        let shown = |histogram: &Histogram, share| {
            histogram
                .percentile_ms(share)
                .map_or("none".to_owned(), |ms| format!("{ms:.1} ms"))
        };
        println!("Participants {} in {} rooms", self.participants, self.rooms);
        println!(
            "Joined       p50 {}, p95 {}",
            shown(&self.joins, 0.5),
            shown(&self.joins, 0.95)
        );
        println!(
            "Sent         {} frames, {} kB",
            self.sent_frames,
            self.sent_bytes / 1000
        );
        println!(
            "Received     {} of {} frames, {} lost, {} corrupt",
            self.total.frames(),
            self.expected_frames,
            self.lost(),
            self.total.corrupt()
        );
        if self.layered {
            let layers = self.total.layers().iter();
            let frames: Vec<_> = layers.map(|layer| layer.frames.to_string()).collect();
            println!(
                "By layer     {} frames, smallest first; {} switches",
                frames.join(", "),
                self.total.switches()
            );
        }
        println!(
            "Latency      p50 {}, p95 {}, p99 {}",
            shown(latency, 0.5),
            shown(latency, 0.95),
            shown(latency, 0.99)
        );
        if let Some(used) = self.usage {
            println!(
                "Server       {:.0} % of one processor, {:.1} MiB resident",
                used.cpu_percent, used.resident_mib
            );
        }
        for failure in self.failures() {
            eprintln!("FAILED: {failure}");
        }
    }

    fn json(&self) -> serde_json::Value {
        let gap = |gap: Option<Duration>| gap.map(ms);
        json!({
            "event": "summary",
            "rooms": self.rooms,
            "participants": self.participants,
            "e2ee": self.e2ee,
            "expected_frames": self.expected_frames,
            "participant_id": null,
            "join_ms": self.joins.percentile_ms(0.95),
            "first_media_ms": self.first_media.percentile_ms(0.95),
            "sent": { "frames": self.sent_frames, "bytes": self.sent_bytes },
            "received": {
                "frames": self.total.frames(),
                "bytes": self.total.bytes(),
                "lost_frames": self.lost(),
                "decrypt_failures": self.decrypt_failures,
                "corrupt": self.total.corrupt(),
            },
            "layers": self.total.layers().iter().map(|layer| json!({
                "frames": layer.frames,
                "bytes": layer.bytes,
            })).collect::<Vec<_>>(),
            "switches": self.total.switches(),
            "latency_ms": self.total.latency().json(),
            "longest_gap_ms": {
                "audio": gap(self.total.gaps().audio),
                "video": gap(self.total.gaps().video),
            },
            "server": self.usage.map(|used| json!({
                "cpu_percent": used.cpu_percent,
                "resident_mib": used.resident_mib,
            })),
            "failures": self.failures(),
        })
    }
}
