//! One source on the grid.

use std::{collections::VecDeque, time::Instant};

use bytes::Bytes;

use crate::{
    Pcm, SILENCE, STEP_SAMPLES, STEP_US,
    codec::{Codecs, Decode},
    jitter::{Jitter, Next},
};

/// Steps that are made up while nothing comes; then it is silent.
const DRY_MAX: u32 = 5;
/// Two steps become one at most so often, while too much waits.
const MERGE_EVERY: u64 = 5;

/// A source as the handler numbers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SourceId(pub u32);

#[derive(Debug)]
pub(crate) struct Source<D> {
    jitter: Jitter,
    /// Made by the first packet that is played.
    decoder: Option<D>,
    /// Decoded and not played; less than a packet.
    ready: VecDeque<f32>,
    scratch: Vec<f32>,
    dry: u32,
    merged_at: u64,
    pub(crate) frame: Pcm,
    /// The frame before, for encoders that begin.
    pub(crate) before: Pcm,
    /// When the frame was captured; `None`: nothing is heard.
    pub(crate) captured_us: Option<u64>,
    pub(crate) heard_at: Instant,
    pub(crate) undecodable: u64,
}

impl<D: Decode> Source<D> {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            jitter: Jitter::new(now),
            decoder: None,
            ready: VecDeque::new(),
            scratch: Vec::new(),
            dry: 0,
            merged_at: 0,
            frame: SILENCE,
            before: SILENCE,
            captured_us: None,
            heard_at: now,
            undecodable: 0,
        }
    }

    pub(crate) fn push(&mut self, timestamp_us: u64, payload: Bytes, now: Instant) {
        self.heard_at = now;
        self.jitter.push(timestamp_us, payload, now);
    }

    /// Makes the frame of this step.
    pub(crate) fn step(&mut self, step: u64, now: Instant, codecs: &mut impl Codecs<Decoder = D>) {
        self.before = self.frame;
        self.captured_us = None;
        self.frame = SILENCE;
        if !self.jitter.is_playing() {
            self.ready.clear();
            self.dry = 0;
            if !self.jitter.start(now) {
                return;
            }
        }
        if !self.fill(codecs) {
            return;
        }
        self.captured_us = self.jitter.next_us().map(|next| {
            let left = self.ready.len() as u64 * STEP_US / STEP_SAMPLES as u64;
            next.saturating_sub(left)
        });
        take(&mut self.ready, &mut self.frame);
        if self.jitter.is_too_full()
            && step.saturating_sub(self.merged_at) >= MERGE_EVERY
            && self.fill(codecs)
        {
            self.merged_at = step;
            let mut next = SILENCE;
            take(&mut self.ready, &mut next);
            for (place, (sample, next)) in self.frame.iter_mut().zip(next).enumerate() {
                #[allow(clippy::cast_precision_loss)] // below a thousand
                let passed = place as f32 / STEP_SAMPLES as f32;
                *sample += (next - *sample) * passed;
            }
        }
    }

    /// Decodes until a step is ready; not, when the source has fallen silent.
    fn fill(&mut self, codecs: &mut impl Codecs<Decoder = D>) -> bool {
        while self.ready.len() < STEP_SAMPLES {
            self.scratch.clear();
            match self.jitter.next() {
                Next::Packet(packet) => {
                    self.dry = 0;
                    self.decode(&packet, codecs);
                    self.jitter.advance(self.scratch.len(), true);
                }
                Next::Lost(behind) => {
                    self.make_up(behind.as_deref());
                    self.jitter.advance(self.scratch.len(), false);
                }
                Next::Dry if self.dry == DRY_MAX => {
                    self.jitter.stop();
                    return false;
                }
                // Its clock is slow, or it has stopped: what comes is played then,
                // only later.
                Next::Dry => {
                    self.dry += 1;
                    self.conceal();
                }
            }
            // A codec's number may be anything.
            let sane = |s: &f32| {
                if s.is_finite() {
                    s.clamp(-1.0, 1.0)
                } else {
                    0.0
                }
            };
            self.ready.extend(self.scratch.iter().map(sane));
        }
        true
    }

    fn decode(&mut self, packet: &[u8], codecs: &mut impl Codecs<Decoder = D>) {
        if self.decoder.is_none() {
            self.decoder = codecs.decoder().ok();
        }
        let decoded = self
            .decoder
            .as_mut()
            .is_some_and(|decoder| decoder.decode(packet, &mut self.scratch).is_ok());
        if !decoded || self.scratch.is_empty() {
            self.undecodable += 1;
            self.scratch.clear();
            self.conceal();
        }
    }

    /// What was lost, from the packet behind it where that is there.
    fn make_up(&mut self, behind: Option<&[u8]>) {
        match (&mut self.decoder, behind) {
            (Some(decoder), Some(behind)) => decoder.make_up(behind, &mut self.scratch),
            _ => self.conceal(),
        }
        self.scratch.resize(STEP_SAMPLES, 0.0);
    }

    fn conceal(&mut self) {
        if let Some(decoder) = &mut self.decoder {
            decoder.conceal(&mut self.scratch);
        }
        self.scratch.resize(STEP_SAMPLES, 0.0);
    }
}

fn take(ready: &mut VecDeque<f32>, frame: &mut Pcm) {
    for (sample, from) in frame.iter_mut().zip(ready.drain(..STEP_SAMPLES)) {
        *sample = from;
    }
}
