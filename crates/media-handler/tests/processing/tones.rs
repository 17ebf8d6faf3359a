//! Microphones that each send a tone of their own, and ears that find tones.

use std::{collections::VecDeque, f32::consts::TAU, time::Duration};

use bytes::Bytes;
use dt_frame::{AudioLevel, DatagramHeader, Extension, Flags, FrameType};
use dt_transport::{Session, memory::MemorySession};
use ropus::{Application, Bitrate, Channels, DecodeMode, Decoder, Encoder};
use tokio::task::JoinHandle;

use crate::support::Person;

pub(crate) const STEP: usize = 960;
/// Packets that an ear listens to at once: half a second.
const WINDOW: usize = 25;

/// What is strange about a microphone.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Oddity {
    /// Each so many packets one is lost; 0: none.
    pub(crate) loses_each: u64,
    /// Its clock is fast by so many thousandths.
    pub(crate) fast_permille: u64,
    /// It sends no Opus at all.
    pub(crate) garbage: bool,
}

/// A tone as Opus packets, sent until it is dropped.
pub(crate) struct Microphone(JoinHandle<()>);

impl Drop for Microphone {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Microphone {
    pub(crate) fn start(
        session: MemorySession,
        person: Person,
        hertz: f32,
        bitrate_bps: u32,
        odd: Oddity,
    ) -> Self {
        Self(tokio::spawn(async move {
            let mut encoder = Encoder::builder(48_000, Channels::Mono, Application::Voip)
                .bitrate(Bitrate::Bits(bitrate_bps))
                .complexity(0)
                .build()
                .unwrap();
            let period = Duration::from_micros(20_000 * 1000 / (1000 + odd.fast_permille));
            let mut beat = tokio::time::interval(period);
            // Clocks of senders have nothing to do with each other.
            let epoch_us = u64::from(person.user.0 as u32) * 1_000_000_007;
            for place in 0_u64.. {
                beat.tick().await;
                let mut packet = [0; 1000];
                let bytes = if odd.garbage {
                    let noise = place.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes();
                    for (at, byte) in packet.iter_mut().enumerate() {
                        *byte = noise[at % 8] ^ at as u8;
                    }
                    (place as usize * 37) % 900
                } else {
                    encoder
                        .encode_float(&tone(hertz, place), &mut packet)
                        .unwrap()
                };
                if odd.loses_each > 0 && place % odd.loses_each == odd.loses_each - 1 {
                    continue;
                }
                let level = AudioLevel {
                    voice: true,
                    below_overload_db: 20,
                };
                let header = DatagramHeader {
                    frame_type: FrameType::Audio,
                    user_id: person.user,
                    stream: 2,
                    timestamp_us: epoch_us + place * 20_000,
                    sequence: place,
                    payload_bytes: bytes as u32,
                    flags: Flags::WHOLE,
                    extension: Extension::audio(level, 0),
                };
                let datagram = [&header.write()[..], &packet[..bytes]].concat();
                if session.send_datagram(datagram.into()).is_err() {
                    return;
                }
            }
        }))
    }
}

/// -14 dB.
const LOUD: f32 = 0.2;

fn tone(hertz: f32, place: u64) -> Vec<f32> {
    let at = |n: usize| {
        let n = (place as usize * STEP + n) % 48_000;
        LOUD * (TAU * hertz * n as f32 / 48_000.0).sin()
    };
    (0..STEP).map(at).collect()
}

/// Decodes what one receiver is given on one slot.
pub(crate) struct Ear {
    decoder: Decoder,
    heard: VecDeque<Vec<f32>>,
    window: Vec<f32>,
    pub(crate) last: Option<DatagramHeader>,
    pub(crate) packets: u64,
    pub(crate) bytes: u64,
}

impl Ear {
    pub(crate) fn new() -> Self {
        Self {
            decoder: Decoder::new(48_000, Channels::Mono).unwrap(),
            heard: VecDeque::new(),
            window: (0..WINDOW * STEP)
                .map(|n| 1.0 - (TAU * n as f32 / (WINDOW * STEP) as f32).cos())
                .collect(),
            last: None,
            packets: 0,
            bytes: 0,
        }
    }

    pub(crate) fn hear(&mut self, header: DatagramHeader, payload: &Bytes) {
        let mut pcm = vec![0.0; STEP];
        let samples = self
            .decoder
            .decode_float(payload, &mut pcm, DecodeMode::Normal);
        assert_eq!(samples.unwrap(), STEP, "20 ms each");
        if let Some(last) = self.last {
            // What waits for too long in a connection is left out there.
            assert!(header.sequence > last.sequence);
            assert!(header.timestamp_us > last.timestamp_us);
        }
        self.last = Some(header);
        self.packets += 1;
        self.bytes += payload.len() as u64;
        self.heard.push_back(pcm);
        if self.heard.len() > WINDOW {
            self.heard.pop_front();
        }
    }

    /// How loud a tone is in the last half second; the amplitude of a sine.
    pub(crate) fn level(&self, hertz: f32) -> f32 {
        // Goertzel's filter, over Hann's window, of which the mean is a half.
        let samples = self.heard.iter().flatten().zip(&self.window);
        let turn = f64::from(TAU * hertz / 48_000.0);
        let (factor, mut last, mut before) = (2.0 * turn.cos(), 0.0, 0.0);
        for (sample, window) in samples {
            let next = f64::from(sample * window) + factor * last - before;
            before = last;
            last = next;
        }
        let power = last * last + before * before - factor * last * before;
        (2.0 * power.max(0.0).sqrt() / self.window.len() as f64) as f32
    }

    pub(crate) fn is_full(&self) -> bool {
        self.heard.len() == WINDOW
    }

    /// All of these are there, as loud as they were sent, and none of those.
    pub(crate) fn hears(&self, tones: &[f32], others: &[f32]) -> bool {
        let there = |hertz: &f32| (LOUD * 0.6..LOUD * 1.4).contains(&self.level(*hertz));
        let absent = |hertz: &f32| self.level(*hertz) < LOUD / 40.0;
        self.is_full() && tones.iter().all(there) && others.iter().all(absent)
    }
}
