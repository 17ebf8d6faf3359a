//! What forwarding costs, printed as tables beside the physical limit of the
//! same machine: `cargo run --release -p media-handler --example forward_figures
//! [PART ...]`, of which there are `datagrams`, `streams`, `receivers` and
//! `peers`. `ROUNDS` and `STRETCH_S` in the environment change how often and for
//! how long each line is measured.
//!
//! What is measured runs alone on one core, and everything that makes load on
//! the other: real clients on sockets of their own. Of several rounds the
//! cheapest is shown, for what else a machine does only adds.

mod handler;
mod load;
mod machine;
mod orders;
mod plan;
mod raw;
mod run;
mod sinks;

use std::time::Duration;

use anyhow::Context as _;
use plan::{Carrier, Plan};
use run::Outcome;

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["handler", plan] => handler::run(&serde_json::from_str(plan)?),
        ["load", plan] => load::run(&serde_json::from_str(plan)?),
        ["sinks", plan] => sinks::run(&serde_json::from_str(plan)?),
        ["raw", plan, ports] => raw::run(
            &serde_json::from_str(plan)?,
            &serde_json::from_str::<Vec<u16>>(ports)?,
        ),
        _ => figures(&words),
    }
}

/// Prints a table.
type Part = fn(&Effort) -> anyhow::Result<()>;

/// Prints the tables that are wanted, all of them without arguments.
fn figures(wanted: &[&str]) -> anyhow::Result<()> {
    let parts: [(&str, Part); 4] = [
        ("datagrams", datagrams),
        ("streams", streams),
        ("receivers", receivers),
        ("peers", peers),
    ];
    for word in wanted {
        anyhow::ensure!(
            parts.iter().any(|(name, _)| name == word),
            "there is no part {word}"
        );
    }
    let effort = Effort::from_environment()?;
    for (name, part) in parts {
        if wanted.is_empty() || wanted.contains(&name) {
            part(&effort)?;
        }
    }
    Ok(())
}

fn datagrams(effort: &Effort) -> anyhow::Result<()> {
    println!(
        "\nDatagrams in bursts of six at 1100 bytes (goal: at most 1.6 x raw at the two higher rates)"
    );
    heading();
    for rate in [9_000, 90_000, 180_000] {
        for receivers in [50, 100] {
            line(&Plan::packets(Carrier::Datagrams, receivers, rate), effort)?;
        }
    }
    Ok(())
}

fn streams(effort: &Effort) -> anyhow::Result<()> {
    println!("\nStreams, frames of 6250 bytes counted as six packets (goal: at most 2.3 x raw)");
    heading();
    for rate in [9_000, 90_000] {
        for receivers in [50, 100] {
            line(&Plan::packets(Carrier::Streams, receivers, rate), effort)?;
        }
    }
    Ok(())
}

fn receivers(effort: &Effort) -> anyhow::Result<()> {
    println!("\nCost by receivers, five sources of 30 frames a second each, in datagrams");
    heading();
    for receivers in [10, 50, 100, 200] {
        let plan = Plan {
            carrier: Carrier::Datagrams,
            receivers,
            bursts_per_s: 150,
        };
        line(&plan, effort)?;
    }
    Ok(())
}

fn peers(effort: &Effort) -> anyhow::Result<()> {
    println!(
        "\nOne source of 1.5 Mbit/s on streams, frames of 6250 bytes: CPU seconds a delivered GB (goal: at most 4.2 at 100)"
    );
    println!("  receivers  handler  raw    delivered");
    for receivers in [20, 50, 100] {
        let plan = Plan {
            carrier: Carrier::Streams,
            receivers,
            bursts_per_s: 30,
        };
        let (raw, handler) = effort.measure(&plan)?;
        println!(
            "  {receivers:<10} {:<8.2} {:<6.2} {:.2} %",
            handler.cpu_s_a_gb(),
            raw.cpu_s_a_gb(),
            handler.delivered
        );
    }
    Ok(())
}

fn heading() {
    println!(
        "  receivers  packets/s  sources  handler us  raw us  ratio  p50 ms  p99 ms  delivered  core of load"
    );
}

fn line(plan: &Plan, effort: &Effort) -> anyhow::Result<()> {
    let (raw, handler) = effort.measure(plan)?;
    let (ours, least) = (handler.us_a_packet(), raw.us_a_packet());
    println!(
        "  {:<10} {:<10} {:<8} {ours:<11.2} {least:<7.2} {:<6.2} {:<7.2} {:<7.2} {:<8.2} % {:.0} %",
        plan.receivers,
        plan.packets_per_s(),
        plan.sources(),
        ours / least,
        handler.p50.as_secs_f64() * 1e3,
        handler.p99.as_secs_f64() * 1e3,
        handler.delivered,
        handler.load,
    );
    Ok(())
}

/// How thoroughly to measure.
struct Effort {
    rounds: u32,
    stretch: Duration,
}

impl Effort {
    fn from_environment() -> anyhow::Result<Self> {
        let number = |name: &str, otherwise: u32| match std::env::var(name) {
            Ok(text) => text
                .parse()
                .with_context(|| format!("{name} must be a number")),
            Err(_) => Ok(otherwise),
        };
        Ok(Self {
            rounds: number("ROUNDS", 3)?.max(1),
            stretch: Duration::from_secs(number("STRETCH_S", 5)?.max(1).into()),
        })
    }

    /// The cheapest rounds of the raw sender and of the handler, measured by
    /// turns.
    fn measure(&self, plan: &Plan) -> anyhow::Result<(Outcome, Outcome)> {
        let mut rounds = Vec::new();
        for _ in 0..self.rounds {
            rounds.push((
                run::raw(plan, self.stretch)?,
                run::handler(plan, self.stretch)?,
            ));
        }
        let cheapest = |outcomes: &mut dyn Iterator<Item = Outcome>| {
            outcomes.min_by(|a, b| a.us_a_packet().total_cmp(&b.us_a_packet()))
        };
        let raw = cheapest(&mut rounds.iter().map(|(raw, _)| *raw));
        let handler = cheapest(&mut rounds.iter().map(|(_, handler)| *handler));
        raw.zip(handler).context("nothing was measured")
    }
}
