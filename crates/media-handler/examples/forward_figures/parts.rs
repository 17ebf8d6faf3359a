//! The tables, each with its goal. Goals are printed beside the figures and
//! nothing fails by them: figures of a busy machine say little.

use std::time::Duration;

use crate::{
    Effort,
    plan::{Carrier, Plan},
    report::{Figures, Record, Report, rounded},
    run::{self, Outcome},
    scene::Scene,
};

pub(crate) fn datagrams(effort: &Effort, report: &mut Report) -> anyhow::Result<()> {
    println!(
        "\nDatagrams in bursts of six at 1100 bytes (goal: at most 1.6 x raw at the two higher rates)"
    );
    heading();
    for rate in [9_000, 90_000, 180_000] {
        for receivers in [50, 100] {
            let plan = Plan::packets(Carrier::Datagrams, receivers, rate);
            let goal = (rate > 9_000).then_some(1.6);
            line("datagrams", &plan, goal, effort, report)?;
        }
    }
    Ok(())
}

pub(crate) fn streams(effort: &Effort, report: &mut Report) -> anyhow::Result<()> {
    println!("\nStreams, frames of 6250 bytes counted as six packets (goal: at most 2.3 x raw)");
    heading();
    for rate in [9_000, 90_000] {
        for receivers in [50, 100] {
            let plan = Plan::packets(Carrier::Streams, receivers, rate);
            line("streams", &plan, Some(2.3), effort, report)?;
        }
    }
    Ok(())
}

pub(crate) fn receivers(effort: &Effort, report: &mut Report) -> anyhow::Result<()> {
    println!("\nCost by receivers, five sources of 30 frames a second each, in datagrams");
    heading();
    for receivers in [10, 50, 100, 200] {
        let plan = Plan {
            carrier: Carrier::Datagrams,
            receivers,
            bursts_per_s: 150,
        };
        line("receivers", &plan, None, effort, report)?;
    }
    Ok(())
}

pub(crate) fn peers(effort: &Effort, report: &mut Report) -> anyhow::Result<()> {
    println!(
        "\nOne source of 1.5 Mbit/s on streams, frames of 6250 bytes: CPU seconds a delivered GB (goal: at most 4.2 at 100)"
    );
    println!("  receivers  handler s/GB  raw s/GB  ratio  p50 ms  p99 ms  delivered");
    for receivers in [20, 50, 100] {
        let plan = Plan {
            carrier: Carrier::Streams,
            receivers,
            bursts_per_s: 30,
        };
        let (raw, handler) = effort.measure(&plan)?;
        let ratio = handler.cpu_s_a_gb() / raw.cpu_s_a_gb();
        println!(
            "  {receivers:<10} {:<13.2} {:<9.2} {ratio:<6.2} {:<7.2} {:<7.2} {:.2} %",
            handler.cpu_s_a_gb(),
            raw.cpu_s_a_gb(),
            milliseconds(handler.p50),
            milliseconds(handler.p99),
            handler.delivered
        );
        report.record(Record {
            goal: (receivers == 100).then_some(4.2),
            ..beside("peers", &plan, &raw, &handler, ratio)
        })?;
    }
    Ok(())
}

/// Share of a core that the handler has while its saturation is looked for, in
/// percent: with more of it the clients would be at their limit first.
const SATURATED_PERCENT: u32 = 50;
/// A rate is carried when so much of it arrives, in percent.
pub(crate) const CARRIED: f64 = 99.0;
/// From one rate that is tried to the next.
const STEP_PERCENT: u32 = 112;
const SATURATION_RECEIVERS: u32 = 50;

pub(crate) fn saturation(effort: &Effort, report: &mut Report) -> anyhow::Result<()> {
    println!(
        "\nSaturation in datagrams to {SATURATION_RECEIVERS} receivers, the handler with {SATURATED_PERCENT} % of a core (goals: at least 0.65 x raw; at half of it p50 0.5 ms and p99 1.5 ms)"
    );
    let plan = |rate| Plan::packets(Carrier::Datagrams, SATURATION_RECEIVERS, rate);
    let mut carried = None;
    let mut rate = 54_000;
    loop {
        let scene = Scene::Fan(plan(rate));
        let outcome = carried_at_best(&scene, effort)?;
        println!(
            "  offered {:<8} delivered {:<7.2} % core of handler {:.0} %, of load {:.0} %",
            plan(rate).packets_per_s(),
            outcome.delivered,
            outcome.busy(),
            outcome.load
        );
        if outcome.delivered < CARRIED {
            outcome.losses.print();
            break;
        }
        carried = Some((rate, outcome));
        rate = rate * STEP_PERCENT / 100;
    }
    let Some((rate, most)) = carried else {
        println!("  not even the least rate is carried");
        return Ok(());
    };
    let a_core = most.packets_per_s() * 100.0 / f64::from(SATURATED_PERCENT);
    let raw = run::raw(&plan(rate), effort.stretch)?;
    let raw_a_core = 1e6 / raw.us_a_packet();
    let ratio = a_core / raw_a_core;
    println!(
        "  carried: {a_core:.0} packets/s a core; raw: {raw_a_core:.0} packets/s a core; ratio {ratio:.2}"
    );
    report.record(Record {
        goal: Some(0.65),
        ..beside("saturation", &plan(rate), &raw, &most, ratio)
    })?;
    // Half of what a whole core carries is what its half did.
    let half = effort.measure_scene(&Scene::Fan(plan(rate * 50 / SATURATED_PERCENT)))?;
    println!(
        "  at half of it: p50 {:.2} ms, p99 {:.2} ms, delivered {:.2} %, core of handler {:.0} %, of load {:.0} %",
        milliseconds(half.p50),
        milliseconds(half.p99),
        half.delivered,
        half.busy(),
        half.load
    );
    report.record(Record {
        part: "half_saturation",
        receivers: Some(SATURATION_RECEIVERS),
        offered_packets_per_s: Some(plan(rate).packets_per_s()),
        handler: Figures::from(&half),
        ..Record::default()
    })
}

/// Of two rounds, the second only where the first carried too little: a machine that
/// does something else for a moment is not at its limit.
fn carried_at_best(scene: &Scene, effort: &Effort) -> anyhow::Result<Outcome> {
    let round = || run::handler(scene, effort.stretch, Some(SATURATED_PERCENT));
    let first = round()?;
    if first.delivered >= CARRIED {
        return Ok(first);
    }
    let second = round()?;
    Ok(if second.delivered > first.delivered {
        second
    } else {
        first
    })
}

pub(crate) fn rooms(effort: &Effort, report: &mut Report) -> anyhow::Result<()> {
    println!(
        "\n20 rooms of 5, everybody with 500 kbit/s of video on streams and sound in datagrams"
    );
    let (rooms, people) = (20, 5);
    let outcome = effort.measure_scene(&Scene::Rooms { rooms, people })?;
    alone(&outcome);
    report.record(Record {
        part: "rooms",
        receivers: Some(rooms * people),
        handler: Figures::from(&outcome),
        losses: Some(outcome.losses),
        ..Record::default()
    })
}

pub(crate) fn many(effort: &Effort, report: &mut Report) -> anyhow::Result<()> {
    let (sources, receivers) = (80, 125);
    let streams = sources * receivers;
    println!(
        "\n{streams} streams forwarded, from {sources} sources to each of {receivers} receivers, a frame of 200 bytes a second each (goal: below 10 KB a stream, no loss)"
    );
    let outcome = effort.measure_scene(&Scene::Trickle { sources, receivers })?;
    let bytes_a_stream = outcome.grown_bytes as f64 / f64::from(streams);
    alone(&outcome);
    println!("  memory: {:.1} KB a stream", bytes_a_stream / 1e3);
    report.record(Record {
        part: "many",
        receivers: Some(receivers),
        handler: Figures::from(&outcome),
        losses: Some(outcome.losses),
        goal: Some(10_000.0),
        bytes_a_stream: Some(bytes_a_stream.round()),
        ..Record::default()
    })
}

fn alone(outcome: &Outcome) {
    println!(
        "  core of handler {:.1} % at {:.0} packets/s ({:.2} us a packet), p50 {:.2} ms, p99 {:.2} ms, core of load {:.0} %",
        outcome.busy(),
        outcome.packets_per_s(),
        outcome.us_a_packet(),
        milliseconds(outcome.p50),
        milliseconds(outcome.p99),
        outcome.load
    );
    outcome.losses.print();
}

fn heading() {
    println!(
        "  receivers  packets/s  sources  handler us  raw us  ratio  p50 ms  p99 ms  delivered  core of handler, of load"
    );
}

fn line(
    part: &'static str,
    plan: &Plan,
    goal: Option<f64>,
    effort: &Effort,
    report: &mut Report,
) -> anyhow::Result<()> {
    let (raw, handler) = effort.measure(plan)?;
    let (ours, least) = (handler.us_a_packet(), raw.us_a_packet());
    println!(
        "  {:<10} {:<10} {:<8} {ours:<11.2} {least:<7.2} {:<6.2} {:<7.2} {:<7.2} {:<8.2} % {:.0} %, {:.0} %",
        plan.receivers,
        plan.packets_per_s(),
        plan.sources(),
        ours / least,
        milliseconds(handler.p50),
        milliseconds(handler.p99),
        handler.delivered,
        handler.busy(),
        handler.load,
    );
    if handler.losses.any() {
        handler.losses.print();
    }
    report.record(Record {
        goal,
        ..beside(part, plan, &raw, &handler, ours / least)
    })
}

fn beside(part: &'static str, plan: &Plan, raw: &Outcome, handler: &Outcome, ratio: f64) -> Record {
    Record {
        part,
        receivers: Some(plan.receivers),
        offered_packets_per_s: Some(plan.packets_per_s()),
        handler: Figures::from(handler),
        raw: Some(Figures::from(raw)),
        ratio: Some(rounded(ratio)),
        losses: Some(handler.losses),
        ..Record::default()
    }
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}
