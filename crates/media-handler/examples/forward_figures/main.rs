//! What forwarding costs, printed as tables beside the physical limit of the
//! same machine: `cargo run --release -p media-handler --example forward_figures
//! [PART ...]`, of which there are those of [`PARTS`]. `ROUNDS` and `STRETCH_S` in
//! the environment change how often and for how long each line is measured, and
//! `FIGURES` names a file that takes them as JSON.
//!
//! What is measured runs alone on one core, and everything that makes load on
//! the other: real clients on sockets of their own. Of several rounds the
//! cheapest without loss is shown, for what else a machine does only adds.

mod counters;
mod counting;
mod handler;
mod load;
mod losses;
mod machine;
mod meeting;
mod orders;
mod parts;
mod plan;
mod quota;
mod raw;
mod report;
mod run;
mod scene;
mod sinks;

use std::time::Duration;

use anyhow::Context as _;
use plan::Plan;
use report::Report;
use run::Outcome;
use scene::Scene;

/// What can be asked for, in the order in which it is measured.
const PARTS: [(&str, Part); 7] = [
    ("datagrams", parts::datagrams),
    ("streams", parts::streams),
    ("receivers", parts::receivers),
    ("peers", parts::peers),
    ("saturation", parts::saturation),
    ("rooms", parts::rooms),
    ("many", parts::many),
];

/// Prints and records a table.
type Part = fn(&Effort, &mut Report) -> anyhow::Result<()>;

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["handler", scene] => handler::run(&serde_json::from_str(scene)?),
        ["load"] => load::run(),
        ["sinks", plan] => sinks::run(&serde_json::from_str(plan)?),
        ["raw", plan, ports] => raw::run(
            &serde_json::from_str(plan)?,
            &serde_json::from_str::<Vec<u16>>(ports)?,
        ),
        _ => figures(&words),
    }
}

/// Measures the parts that are wanted, all of them without arguments.
fn figures(wanted: &[&str]) -> anyhow::Result<()> {
    for word in wanted {
        anyhow::ensure!(
            PARTS.iter().any(|(name, _)| name == word),
            "there is no part {word}"
        );
    }
    let effort = Effort::from_environment()?;
    let mut report = Report::from_environment()?;
    for (name, part) in PARTS {
        if wanted.is_empty() || wanted.contains(&name) {
            part(&effort, &mut report)?;
        }
    }
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
                run::handler(&Scene::Fan(*plan), self.stretch, None)?,
            ));
        }
        let raw = cheapest(rounds.iter().map(|(raw, _)| *raw));
        let handler = cheapest_whole(rounds.iter().map(|(_, handler)| *handler));
        raw.zip(handler).context("nothing was measured")
    }

    /// The cheapest round of the handler alone, with the losses of all of them.
    fn measure_scene(&self, scene: &Scene) -> anyhow::Result<Outcome> {
        let rounds: Result<Vec<_>, _> = (0..self.rounds)
            .map(|_| run::handler(scene, self.stretch, None))
            .collect();
        let rounds = rounds?;
        let losses = rounds.iter().map(|round| round.losses);
        let losses = losses.reduce(|all, round| all.and(&round));
        let best = cheapest_whole(rounds.iter().copied()).context("nothing was measured")?;
        Ok(Outcome {
            losses: losses.unwrap_or_default(),
            ..best
        })
    }
}

fn cheapest(outcomes: impl Iterator<Item = Outcome>) -> Option<Outcome> {
    outcomes.min_by(|a, b| a.us_a_packet().total_cmp(&b.us_a_packet()))
}

/// What is lost costs less: a round that lost something counts only where all did.
fn cheapest_whole(outcomes: impl Iterator<Item = Outcome>) -> Option<Outcome> {
    let lossy = |outcome: &Outcome| outcome.delivered < parts::CARRIED;
    outcomes.min_by(|a, b| {
        let by_loss = lossy(a).cmp(&lossy(b));
        by_loss.then(a.us_a_packet().total_cmp(&b.us_a_packet()))
    })
}
