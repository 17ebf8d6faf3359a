//! Microphones that each send a tone of their own, and ears that find tones in what
//! comes.

use std::{collections::VecDeque, f32::consts::TAU, time::Duration};

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use dt_client::{AudioLevel, MediaFrame, Publisher, now_us};
use ropus::{Application, Bitrate, Channels, DecodeMode, Decoder, Encoder};
use tokio_util::sync::CancellationToken;

const RATE_HZ: usize = 48_000;
/// Samples of one packet.
const STEP: usize = 960;
const STEP_TIME: Duration = Duration::from_millis(20);
/// -14 dB.
const LOUD: f32 = 0.2;
/// What everybody sends here.
pub(crate) const SENT_BPS: u32 = 64_000;
/// Packets that an ear listens to at once: half a second.
const WINDOW: usize = 25;

/// Sends a tone until told to stop.
pub(crate) async fn speak(mut publisher: Publisher, hertz: f32, stop: CancellationToken) {
    let encoder = Encoder::builder(48_000, Channels::Mono, Application::Voip)
        .bitrate(Bitrate::Bits(SENT_BPS))
        .complexity(0)
        .build();
    let mut encoder = encoder.expect("an encoder");
    let level = AudioLevel {
        voice: true,
        below_overload_db: 17,
    };
    let mut tick = tokio::time::interval(STEP_TIME);
    let mut from_us = now_us();
    let mut phase = 0.0_f32;
    while stop.run_until_cancelled(tick.tick()).await.is_some() {
        let step: Vec<f32> = (0..STEP)
            .map(|_| {
                phase = (phase + hertz / RATE_HZ as f32).fract();
                LOUD * (TAU * phase).sin()
            })
            .collect();
        let mut packet = [0; 1000];
        let bytes = encoder.encode_float(&step, &mut packet).expect("a packet");
        let packet = Bytes::copy_from_slice(&packet[..bytes]);
        // By its samples and not by when it was this task's turn.
        from_us += 20_000;
        // Not wanted now, or late: the next one is on its way.
        let _ = publisher.send(&MediaFrame::audio(from_us, level, packet));
    }
}

/// Listens to the packets of one stream.
pub(crate) struct Ear {
    decoder: Decoder,
    heard: VecDeque<Vec<f32>>,
    pub(crate) packets: u64,
}

impl Ear {
    pub(crate) fn new() -> Result<Self> {
        Ok(Self {
            decoder: Decoder::new(48_000, Channels::Mono).context("a decoder")?,
            heard: VecDeque::new(),
            packets: 0,
        })
    }

    pub(crate) fn hear(&mut self, packet: &[u8]) -> Result<()> {
        let mut pcm = vec![0.0; STEP];
        let samples = self
            .decoder
            .decode_float(packet, &mut pcm, DecodeMode::Normal)
            .context("no Opus")?;
        ensure!(samples == STEP, "{samples} samples in a packet");
        self.packets += 1;
        self.heard.push_back(pcm);
        if self.heard.len() > WINDOW {
            self.heard.pop_front();
        }
        Ok(())
    }

    pub(crate) fn is_full(&self) -> bool {
        self.heard.len() == WINDOW
    }

    /// How loud a tone is in the last half second; 1: as loud as all send theirs.
    pub(crate) fn level(&self, hertz: f32) -> f32 {
        // Goertzel's filter over Hann's window, of which the mean is a half.
        let length = (WINDOW * STEP) as f32;
        let factor = f64::from(2.0 * (TAU * hertz / RATE_HZ as f32).cos());
        let (mut last, mut before) = (0.0_f64, 0.0_f64);
        for (place, sample) in self.heard.iter().flatten().enumerate() {
            let window = 1.0 - (TAU * place as f32 / length).cos();
            let next = f64::from(sample * window) + factor * last - before;
            before = last;
            last = next;
        }
        let power = last * last + before * before - factor * last * before;
        2.0 * power.max(0.0).sqrt() as f32 / length / LOUD
    }

    pub(crate) fn hears(&self, hertz: f32) -> bool {
        self.is_full() && (0.5..1.5).contains(&self.level(hertz))
    }
}
