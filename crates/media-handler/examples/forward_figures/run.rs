//! One measurement: starts the processes, lets them warm up, and reads the
//! figures of a stretch of time.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    process::{ChildStdin, ChildStdout, Command, Stdio},
    sync::LazyLock,
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
    let mut load = Load::start(handler.hear()?)?;
    // Only now: entering is no part of what is measured.
    let process = handler.process.id();
    let quota = percent.map(|percent| Quota::give(process, percent));
    let quota = quota.transpose().context("no limit can be given here")?;
    let empty: Sent = handler.order(Order::mark())?;
    let _: Received = load.order(Order::Start)?;
    thread::sleep(WARM_UP);
    let (before, from): (Sent, Received) =
        (handler.order(Order::mark())?, load.order(Order::mark())?);
    let began = Instant::now();
    thread::sleep(stretch);
    let (after, got): (Sent, Received) = (handler.order(Order::mark())?, load.order(Order::Rest)?);
    let stretch = began.elapsed();
    let settled = load.settled()?;
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
    let (before, from): (Sent, Received) = (raw.order(Order::mark())?, sinks.order(Order::mark())?);
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

/// All clients, in two processes on one core: probes, which run before everybody
/// else there, and the rest. Latency is what probes have among themselves: it holds
/// nothing of the time for which a load waits for its own core.
struct Load {
    probes: Child,
    others: Child,
}

impl Load {
    /// All are inside when this is done.
    fn start(entrance: Entrance) -> anyhow::Result<Self> {
        let (probes, others) = entrance.clients.iter().cloned().partition(|one| one.probe);
        let mut load = Self {
            probes: Child::start_first("load", &[])?,
            others: Child::start("load", &[])?,
        };
        for (child, clients) in [(&mut load.probes, probes), (&mut load.others, others)] {
            child.tell(&Entrance {
                clients,
                ..entrance.clone()
            })?;
        }
        let _ready: (String, String) = (load.probes.hear()?, load.others.hear()?);
        Ok(load)
    }

    fn order(&mut self, order: Order) -> anyhow::Result<Received> {
        self.probes.tell(&order)?;
        self.others.tell(&order)?;
        let (probes, others): (Received, Received) = (self.probes.hear()?, self.others.hear()?);
        Ok(Received {
            cpu: probes.cpu + others.cpu,
            packets: probes.packets + others.packets,
            bytes: probes.bytes + others.bytes,
            ..probes
        })
    }

    /// What is said behind the order to rest.
    fn settled(&mut self) -> anyhow::Result<Settled> {
        let (probes, others): (Settled, Settled) = (self.probes.hear()?, self.others.hear()?);
        Ok(probes.and(others))
    }
}

/// What runs a command before all others.
fn before_others() -> Command {
    let mut command = Command::new("chrt");
    command.args(["--fifo", "1"]);
    command
}

/// Another process of this program; killed when it is not needed any more.
struct Child {
    process: std::process::Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Child {
    fn start(role: &str, arguments: &[&str]) -> anyhow::Result<Self> {
        let program = Command::new(std::env::current_exe()?);
        Self::spawn(program, role, arguments)
    }

    /// One that runs before all others on its core, where there is the right to it.
    fn start_first(role: &str, arguments: &[&str]) -> anyhow::Result<Self> {
        static ALLOWED: LazyLock<bool> = LazyLock::new(|| {
            let tried = before_others().arg("true").stderr(Stdio::null()).status();
            let allowed = tried.is_ok_and(|status| status.success());
            if !allowed {
                println!(
                    "  (chrt may not be used: latency holds what the load waits for its core)"
                );
            }
            allowed
        });
        if !*ALLOWED {
            return Self::start(role, arguments);
        }
        let mut program = before_others();
        program.arg(std::env::current_exe()?);
        Self::spawn(program, role, arguments)
    }

    fn spawn(mut program: Command, role: &str, arguments: &[&str]) -> anyhow::Result<Self> {
        let mut process = program
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
