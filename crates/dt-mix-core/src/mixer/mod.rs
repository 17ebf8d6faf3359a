//! Who hears what.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use bytes::Bytes;

use crate::{
    Pcm, SILENCE, SourceId,
    codec::Codecs,
    source::Source,
    voice::{Spoken, Voice},
};

/// A decoder of a source that nothing came from for so long is given up.
const UNUSED_MAX: Duration = Duration::from_secs(10);
/// An encoder that was not used for so many steps is.
const IDLE_STEPS_MAX: u64 = 100;

/// Somebody who gets one stream of what is made here; numbered by the handler.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ListenerId(pub u64);

/// What a listener wants to hear.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wish {
    /// All of these in one: everybody but the listener.
    Mix(BTreeSet<SourceId>),
    /// One of them, encoded anew.
    Alone {
        /// Which.
        source: SourceId,
        /// Bits per second.
        bitrate_bps: u32,
    },
}

impl Wish {
    fn wants(&self, source: SourceId) -> bool {
        match self {
            Self::Mix(sources) => sources.contains(&source),
            Self::Alone { source: one, .. } => *one == source,
        }
    }
}

/// One packet, and who gets it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sound {
    /// As the encoder made it; shared by all who get it.
    pub payload: Bytes,
    /// dB below overload, 127 silence.
    pub below_overload_db: u8,
    /// Which source this is and when it was captured there; `None` for a mix.
    pub of: Option<(SourceId, u64)>,
    /// Whom.
    pub to: Vec<ListenerId>,
}

/// Sources of a mix that are heard now; in their order.
type Audible = Vec<SourceId>;

/// Which encoder makes an encoding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Maker {
    /// For all who hear everybody.
    Everybody,
    /// For those who hear the same as this listener, who comes first among them.
    Like(ListenerId),
    /// Of one source, at so many bits per second.
    Alone(SourceId, u32),
}

/// The machine of one meeting; see the crate's documentation for how it is driven.
#[derive(Debug)]
pub struct Mixer<C: Codecs> {
    codecs: C,
    mix_bitrate_bps: u32,
    sources: BTreeMap<SourceId, Source<C::Decoder>>,
    listeners: BTreeMap<ListenerId, Wish>,
    voices: BTreeMap<Maker, Voice<C::Encoder>>,
    steps: u64,
    encodings: u64,
}

impl<C: Codecs> Mixer<C> {
    /// Nobody listens.
    pub const fn new(codecs: C, mix_bitrate_bps: u32) -> Self {
        Self {
            codecs,
            mix_bitrate_bps,
            sources: BTreeMap::new(),
            listeners: BTreeMap::new(),
            voices: BTreeMap::new(),
            steps: 0,
            encodings: 0,
        }
    }

    /// All who listen and what they want from now on.
    pub fn listen(&mut self, listeners: BTreeMap<ListenerId, Wish>) {
        self.listeners = listeners;
        let listeners = &self.listeners;
        self.sources
            .retain(|source, _| listeners.values().any(|wish| wish.wants(*source)));
    }

    /// A packet came. One of a source that nobody wants is dropped.
    pub fn packet(&mut self, source: SourceId, timestamp_us: u64, payload: Bytes, now: Instant) {
        if self.listeners.values().any(|wish| wish.wants(source)) {
            self.sources
                .entry(source)
                .or_insert_with(|| Source::new(now))
                .push(timestamp_us, payload, now);
        }
    }

    /// What is to be sent now. To be asked every [`STEP`](crate::STEP).
    pub fn step(&mut self, now: Instant) -> Vec<Sound> {
        self.steps += 1;
        self.sources
            .retain(|_, s| now.saturating_duration_since(s.heard_at) < UNUSED_MAX);
        for source in self.sources.values_mut() {
            source.step(self.steps, now, &mut self.codecs);
        }
        let audible: Audible = self
            .sources
            .iter()
            .filter(|(_, source)| source.captured_us.is_some())
            .map(|(id, _)| *id)
            .collect();
        let mut sounds = Vec::new();
        for (maker, (heard, to)) in self.makers(&audible) {
            let captured = |source| {
                let captured_us = self.sources.get(&source)?.captured_us?;
                Some((source, captured_us))
            };
            let of = match maker {
                Maker::Everybody | Maker::Like(_) => None,
                Maker::Alone(source, _) => match captured(source) {
                    Some(of) => Some(of),
                    // It has no time to fade out in.
                    None => continue,
                },
            };
            if let Some(spoken) = self.speak(maker, &heard) {
                sounds.push(Sound {
                    payload: spoken.payload,
                    below_overload_db: spoken.below_overload_db,
                    of,
                    to,
                });
            }
        }
        let now = self.steps;
        let used = |at: Option<u64>| at.is_some_and(|at| now - at <= IDLE_STEPS_MAX);
        self.voices.retain(|_, voice| used(voice.used_at));
        sounds
    }

    /// Which encodings there are in this step: each sum once.
    fn makers(&self, audible: &Audible) -> BTreeMap<Maker, (Audible, Vec<ListenerId>)> {
        let mut mixes: BTreeMap<Audible, Vec<ListenerId>> = BTreeMap::new();
        let mut makers: BTreeMap<Maker, (Audible, Vec<ListenerId>)> = BTreeMap::new();
        for (listener, wish) in &self.listeners {
            match wish {
                Wish::Mix(wanted) => {
                    let heard = audible.iter().filter(|source| wanted.contains(source));
                    let heard = heard.copied().collect();
                    mixes.entry(heard).or_default().push(*listener);
                }
                Wish::Alone {
                    source,
                    bitrate_bps,
                } => {
                    let heard = audible.iter().filter(|s| *s == source).copied().collect();
                    let maker = Maker::Alone(*source, *bitrate_bps);
                    let entry = makers.entry(maker).or_insert((heard, Vec::new()));
                    entry.1.push(*listener);
                }
            }
        }
        for (heard, to) in mixes {
            let maker = match to.first() {
                _ if heard == *audible => Maker::Everybody,
                Some(first) => Maker::Like(*first),
                None => continue,
            };
            makers.insert(maker, (heard, to));
        }
        makers
    }

    fn speak(&mut self, maker: Maker, heard: &Audible) -> Option<Spoken> {
        if !self.voices.contains_key(&maker) {
            // There is nothing to fade out.
            if heard.is_empty() {
                return None;
            }
            let bitrate = match maker {
                Maker::Alone(_, bitrate_bps) => bitrate_bps,
                Maker::Everybody | Maker::Like(_) => self.mix_bitrate_bps,
            };
            let encoder = self.codecs.encoder(bitrate).ok()?;
            self.voices.insert(maker, Voice::new(encoder));
        }
        let sources = &self.sources;
        let sum = |frame: fn(&Source<C::Decoder>) -> &Pcm| {
            let mut sum = SILENCE;
            for source in heard.iter().filter_map(|id| sources.get(id)) {
                for (sample, add) in sum.iter_mut().zip(frame(source)) {
                    *sample += add;
                }
            }
            sum
        };
        let voice = self.voices.get_mut(&maker)?;
        let before = || sum(|source| &source.before);
        let spoken = voice.speak(
            self.steps,
            &mut sum(|source| &source.frame),
            before,
            !heard.is_empty(),
        );
        self.encodings += u64::from(spoken.is_some());
        spoken
    }

    /// Packets that no decoder could read, since their sources began.
    #[must_use]
    pub fn undecodable(&self) -> u64 {
        self.sources.values().map(|source| source.undecodable).sum()
    }

    /// Packets that were encoded.
    #[must_use]
    pub const fn encodings(&self) -> u64 {
        self.encodings
    }

    /// Decoders and encoders that are kept now.
    #[must_use]
    pub fn codecs_in_use(&self) -> (usize, usize) {
        (self.sources.len(), self.voices.len())
    }
}

#[cfg(test)]
mod tests;
