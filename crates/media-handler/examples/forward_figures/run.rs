//! One measurement: starts the processes, lets them warm up, and reads the
//! figures of a stretch of time.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    process::{ChildStdin, ChildStdout, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    losses::Losses,
    machine::UdpErrors,
    orders::{Entrance, Forwarded, Order, Received, Sent, Settled},
    plan::Plan,
    quota::Quota,
    scene::Scene,
};

/// Until congestion windows and caches are as they stay.
const WARM_UP: Duration = Duration::from_secs(2);

/// How one measurement went.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Outcome {
    /// Of the process that is measured.
    pub(crate) cpu: Duration,
    pub(crate) stretch: Duration,
    /// Those that arrived; of a raw sender those that it sent.
    pub(crate) packets: u64,
    pub(crate) bytes: u64,
    /// Of what was sent in the stretch, in percent, once all was quiet.
    pub(crate) delivered: f64,
    /// Of all that was sent from the start; of a raw sender nothing is known.
    pub(crate) losses: Losses,
    pub(crate) p50: Duration,
    pub(crate) p99: Duration,
    /// How busy the core of the load was, in percent.
    pub(crate) load: f64,
    /// By how much its memory grew from when all clients were there.
    pub(crate) grown_bytes: u64,
}

impl Outcome {
    pub(crate) fn us_a_packet(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / self.packets.max(1) as f64
    }

    pub(crate) fn cpu_s_a_gb(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e9 / self.bytes.max(1) as f64
    }

    pub(crate) fn packets_per_s(&self) -> f64 {
        self.packets as f64 / self.stretch.as_secs_f64()
    }

    /// How busy the core of what is measured was, in percent.
    pub(crate) fn busy(&self) -> f64 {
        share(self.cpu, self.stretch)
    }
}

/// The media handler in a scene, with so much of its core in percent when there
/// is a limit.
pub(crate) fn handler(
    scene: &Scene,
    stretch: Duration,
    percent: Option<u32>,
) -> anyhow::Result<Outcome> {
    let errors = UdpErrors::now();
    let mut handler = Child::start("handler", &[&serde_json::to_string(scene)?])?;
    let entrance: Entrance = handler.hear()?;
    let mut load = Child::start("load", &[])?;
    load.tell(&entrance)?;
    let _ready: String = load.hear()?;
    // Only now: entering is no part of what is measured.
    let process = handler.process.id();
    let quota = percent.map(|percent| Quota::give(process, percent));
    let quota = quota.transpose().context("no limit can be given here")?;
    let empty: Sent = handler.order(Order::Mark)?;
    let _: Received = load.order(Order::Start)?;
    thread::sleep(WARM_UP);
    let (before, from): (Sent, Received) = (handler.order(Order::Mark)?, load.order(Order::Mark)?);
    let began = Instant::now();
    thread::sleep(stretch);
    let (after, got): (Sent, Received) = (handler.order(Order::Mark)?, load.order(Order::Rest)?);
    let stretch = began.elapsed();
    let settled: Settled = load.hear()?;
    let _: Sent = handler.order(Order::Rest)?;
    let forwarded: Forwarded = handler.hear()?;
    drop((handler, load, quota));
    Ok(Outcome {
        cpu: after.cpu.saturating_sub(before.cpu),
        stretch,
        packets: got.packets,
        bytes: got.bytes,
        delivered: settled.packets as f64 * 100.0 / settled.expected.max(1) as f64,
        losses: Losses::of(&settled, &forwarded, UdpErrors::now().since(errors)),
        p50: got.p50,
        p99: got.p99,
        load: share(got.cpu.saturating_sub(from.cpu), stretch),
        grown_bytes: after.resident_bytes.saturating_sub(empty.resident_bytes),
    })
}

/// The raw sender under a plan.
pub(crate) fn raw(plan: &Plan, stretch: Duration) -> anyhow::Result<Outcome> {
    let plan_text = serde_json::to_string(plan)?;
    let mut sinks = Child::start("sinks", &[&plan_text])?;
    let ports: Vec<u16> = sinks.hear()?;
    let mut raw = Child::start("raw", &[&plan_text, &serde_json::to_string(&ports)?])?;
    thread::sleep(WARM_UP / 4);
    let (before, from): (Sent, Received) = (raw.order(Order::Mark)?, sinks.order(Order::Mark)?);
    let began = Instant::now();
    thread::sleep(stretch);
    let (after, got): (Sent, Received) = (raw.order(Order::Stop)?, sinks.order(Order::Stop)?);
    let stretch = began.elapsed();
    let packets = after.packets - before.packets;
    Ok(Outcome {
        cpu: after.cpu.saturating_sub(before.cpu),
        stretch,
        packets,
        bytes: packets * plan.raw_packet_bytes() as u64,
        delivered: got.packets as f64 * 100.0 / packets.max(1) as f64,
        losses: Losses::default(),
        p50: Duration::ZERO,
        p99: Duration::ZERO,
        load: share(got.cpu.saturating_sub(from.cpu), stretch),
        grown_bytes: 0,
    })
}

fn share(of: Duration, whole: Duration) -> f64 {
    of.as_secs_f64() * 100.0 / whole.as_secs_f64()
}

/// Another process of this program; killed when it is not needed any more.
struct Child {
    process: std::process::Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Child {
    fn start(role: &str, arguments: &[&str]) -> anyhow::Result<Self> {
        let mut process = Command::new(std::env::current_exe()?)
            .arg(role)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("can't start another process of this program")?;
        let input = process.stdin.take().context("it has no input")?;
        let output = process.stdout.take().context("it has no output")?;
        Ok(Self {
            process,
            input,
            output: BufReader::new(output),
        })
    }

    fn tell(&mut self, what: &impl Serialize) -> anyhow::Result<()> {
        serde_json::to_writer(&mut self.input, what)?;
        self.input.write_all(b"\n")?;
        Ok(self.input.flush()?)
    }

    fn hear<T: DeserializeOwned>(&mut self) -> anyhow::Result<T> {
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        serde_json::from_str(&line).context("another process said nothing sensible")
    }

    fn order<T: DeserializeOwned>(&mut self, order: Order) -> anyhow::Result<T> {
        self.tell(&order)?;
        self.hear()
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
