//! One measurement: starts the processes, lets them warm up, and reads the
//! figures of a stretch of time.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    process::{ChildStdin, ChildStdout, Command, Stdio},
    thread,
    time::Duration,
};

use anyhow::Context as _;
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    orders::{Entrance, Order, Received, Sent},
    plan::{BURST_PACKETS, Plan},
};

/// Until congestion windows and caches are as they stay.
const WARM_UP: Duration = Duration::from_secs(2);

/// How one plan went.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Outcome {
    /// Of the process that is measured.
    pub(crate) cpu: Duration,
    pub(crate) packets: u64,
    pub(crate) bytes: u64,
    /// Of what was sent, in percent.
    pub(crate) delivered: f64,
    pub(crate) p50: Duration,
    pub(crate) p99: Duration,
    /// How busy the core of the load was, in percent.
    pub(crate) load: f64,
}

impl Outcome {
    pub(crate) fn us_a_packet(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / self.packets.max(1) as f64
    }

    pub(crate) fn cpu_s_a_gb(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e9 / self.bytes.max(1) as f64
    }
}

/// The media handler under a plan.
pub(crate) fn handler(plan: &Plan, stretch: Duration) -> anyhow::Result<Outcome> {
    let mut handler = Child::start("handler", &[&serde_json::to_string(plan)?])?;
    let entrance: Entrance = handler.hear()?;
    let mut load = Child::start("load", &[&serde_json::to_string(plan)?])?;
    load.tell(&entrance)?;
    let _ready: String = load.hear()?;
    let _: Received = load.order(Order::Start)?;
    thread::sleep(WARM_UP);
    let (before, from): (Sent, Received) = (handler.order(Order::Mark)?, load.order(Order::Mark)?);
    thread::sleep(stretch);
    let (after, got): (Sent, Received) = (handler.order(Order::Stop)?, load.order(Order::Stop)?);
    let sent = got.bursts * u64::from(BURST_PACKETS) * u64::from(plan.receivers);
    Ok(Outcome {
        cpu: after.cpu.saturating_sub(before.cpu),
        packets: got.packets,
        bytes: got.bytes,
        delivered: got.packets as f64 * 100.0 / sent.max(1) as f64,
        p50: got.p50,
        p99: got.p99,
        load: share(got.cpu.saturating_sub(from.cpu), stretch),
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
    thread::sleep(stretch);
    let (after, got): (Sent, Received) = (raw.order(Order::Stop)?, sinks.order(Order::Stop)?);
    let packets = after.packets - before.packets;
    Ok(Outcome {
        cpu: after.cpu.saturating_sub(before.cpu),
        packets,
        bytes: packets * plan.raw_packet_bytes() as u64,
        delivered: got.packets as f64 * 100.0 / packets.max(1) as f64,
        p50: Duration::ZERO,
        p99: Duration::ZERO,
        load: share(got.cpu.saturating_sub(from.cpu), stretch),
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
