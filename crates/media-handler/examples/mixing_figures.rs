//! What it costs to mix and to encode sound anew, with the rules and the codec that
//! the media handler uses, driven without its threads and without a clock.
//! `cargo run --release -p media-handler --example mixing_figures`
//!
//! `FIGURES` names a file that takes the figures as JSON, too.

use std::{
    collections::BTreeMap,
    f32::consts::TAU,
    fs::OpenOptions,
    io::Write,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use bytes::Bytes;
use dt_mix_core::{
    Codecs, Encode as _, ListenerId, Mixer, RATE_HZ, STEP, STEP_SAMPLES, STEP_US, SourceId, Wish,
};
use media_handler::Opus;
use serde_json::{Value, json};

/// What microphones send, and a mix has, in bits per second.
const SENT_BPS: u32 = 32_000;
const MIX_BPS: u32 = 40_000;
const LOWER_BPS: u32 = 12_000;
/// Different sound of each, before it begins anew.
const LOOP_STEPS: usize = 200;
/// What is measured: a minute of sound. Before it buffers fill.
const STEPS: u32 = 3000;
const WARM_STEPS: u32 = 50;

fn main() -> Result<()> {
    println!("{:<44}{:>14}{:>12}", "", "CPU ms/s", "a core");
    let voices: Vec<Vec<Bytes>> = (0..25).map(voice).collect::<Result<_>>()?;
    for speakers in [3, 10, 25] {
        let all: Vec<SourceId> = sources(speakers).collect();
        let one = BTreeMap::from([(ListenerId(1000), Wish::Mix(all.iter().copied().collect()))]);
        tell("one mix", speakers, measure(&voices[..speakers], one))?;
        let mut each = BTreeMap::new();
        for me in sources(speakers) {
            let others = all.iter().copied().filter(|source| *source != me);
            each.insert(ListenerId(me.0.into()), Wish::Mix(others.collect()));
        }
        tell(
            "a mix for each who speaks",
            speakers,
            measure(&voices[..speakers], each),
        )?;
    }
    let alone = Wish::Alone {
        source: SourceId(1),
        bitrate_bps: LOWER_BPS,
    };
    let alone = BTreeMap::from([(ListenerId(1), alone)]);
    tell("one voice at 12 kbit/s", 1, measure(&voices[..1], alone))
}

fn sources(count: usize) -> impl Iterator<Item = SourceId> {
    (1..).take(count).map(SourceId)
}

/// Something like speech: a hum with overtones, syllables, and breath.
fn voice(number: usize) -> Result<Vec<Bytes>> {
    let mut encoder = Opus.encoder(SENT_BPS).context("an encoder")?;
    let pitch = 90.0 + 7.0 * number as f32;
    let mut noise = 1 + number as u32;
    let mut at = 0_usize;
    let mut packets = Vec::new();
    for _ in 0..LOOP_STEPS {
        let mut step = [0.0; STEP_SAMPLES];
        for sample in &mut step {
            let seconds = at as f32 / RATE_HZ as f32;
            let hum: f32 = (1..12_u8)
                .map(|n| (TAU * pitch * f32::from(n) * seconds).sin() / f32::from(n))
                .sum();
            noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let breath = (noise >> 8) as f32 / 8_388_608.0 - 1.0;
            let syllable = (TAU * 3.1 * seconds + number as f32).sin().max(0.0);
            *sample = 0.1 * syllable * (hum + 0.2 * breath) + 0.002 * breath;
            at += 1;
        }
        packets.push(encoder.encode(&step).context("a packet")?);
    }
    Ok(packets)
}

struct Measured {
    cpu: Duration,
    packets: u64,
}

fn measure(voices: &[Vec<Bytes>], listeners: BTreeMap<ListenerId, Wish>) -> Measured {
    let mut mixer = Mixer::new(Opus, MIX_BPS);
    mixer.listen(listeners);
    let start = Instant::now();
    let mut began = cpu_time(start);
    let mut packets = 0;
    for step in 0..WARM_STEPS + STEPS {
        if step == WARM_STEPS {
            began = cpu_time(start);
            packets = 0;
        }
        let now = start + STEP * step;
        for (source, voice) in sources(voices.len()).zip(voices) {
            let payload = voice[step as usize % LOOP_STEPS].clone();
            mixer.packet(source, u64::from(step) * STEP_US, payload, now);
        }
        packets += mixer.step(now).len() as u64;
    }
    Measured {
        cpu: cpu_time(start).saturating_sub(began),
        packets,
    }
}

/// Of this thread; time as it passed where the system does not tell.
fn cpu_time(start: Instant) -> Duration {
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let nanos = told.and_then(|text| text.split(' ').next()?.parse().ok());
    nanos.map_or_else(|| start.elapsed(), Duration::from_nanos)
}

fn tell(what: &str, speakers: usize, measured: Measured) -> Result<()> {
    let sound_s = (STEP * STEPS).as_secs_f64();
    let cpu_ms = measured.cpu.as_secs_f64() * 1000.0 / sound_s;
    let a_core = 1000.0 / cpu_ms;
    let name = format!("{what}, {speakers} speaking");
    println!("{name:<44}{cpu_ms:>14.2}{a_core:>12.0}");
    let rounded = |figure: f64| (figure * 1000.0).round() / 1000.0;
    record(&json!({
        "part": "mixing",
        "what": what,
        "speakers": speakers,
        "packets_a_second": rounded(measured.packets as f64 / sound_s),
        "cpu_ms_a_second": rounded(cpu_ms),
        "at_once_a_core": rounded(a_core),
        "load_average": load_average(),
    }))
}

fn load_average() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/loadavg").ok()?;
    text.split(' ').next()?.parse().ok()
}

fn record(figures: &Value) -> Result<()> {
    let Ok(path) = std::env::var("FIGURES") else {
        return Ok(());
    };
    let file = OpenOptions::new().create(true).append(true).open(&path);
    let mut file = file.with_context(|| format!("can't write figures to {path}"))?;
    writeln!(file, "{figures}").context("can't write figures")
}
