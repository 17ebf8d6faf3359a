//! Which microphones are forwarded: those that are not silent, and of them the
//! loudest few.
//!
//! A gate opens with the first packet that is loud enough, and what came in the
//! tenth of a second before it goes out first, so that the beginning of a word is
//! not lost. It closes after a while of silence. A source that never says a level
//! (`hide_audio_levels`) has no gate: who sends is heard.

use std::{
    collections::{BTreeMap, VecDeque},
    time::{Duration, Instant},
};

use bytes::Bytes;
use dt_frame::AudioLevel;
use dt_ids::StreamId;

/// The level of nothing at all, which is also that of who does not tell.
const SILENCE: u8 = 127;

/// When a microphone is forwarded.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GateConfig {
    /// A packet this many dB below overload, or louder, opens a gate.
    pub open_below_overload_db: u8,
    /// So long after the last one of those it closes.
    pub close_after: Duration,
    /// What came so long before it opened goes out first.
    pub onset: Duration,
    /// How many are forwarded at once at most; a louder one takes the place of
    /// the faintest.
    pub open_max: usize,
    /// By how much louder, in dB.
    pub overtake_db: f32,
}

impl Default for GateConfig {
    fn default() -> Self {
        Self {
            open_below_overload_db: 55,
            // A pause between words; the next one is loud enough again.
            close_after: Duration::from_millis(1500),
            onset: Duration::from_millis(100),
            open_max: 5,
            overtake_db: 6.0,
        }
    }
}

/// Datagrams that are kept before a gate opens, at most: one each 5 ms would be
/// twenty of them.
const KEPT_MAX: usize = 24;
/// Time constant of the loudness by which the loudest are told.
const LOUDNESS_MS: f32 = 300.0;
/// What keeps its place for so long at least.
const PLACE_MIN: Duration = Duration::from_millis(500);

/// One microphone.
#[derive(Debug)]
struct Gate {
    tells: bool,
    loud_at: Option<Instant>,
    /// Since when it has a place among those that are forwarded.
    placed_at: Option<Instant>,
    /// It was silent and has not had a place since.
    begins: bool,
    loudness_db: f32,
    heard_at: Instant,
    kept: VecDeque<(Instant, Bytes)>,
}

/// All microphones of a meeting.
#[derive(Debug)]
pub(crate) struct Voices {
    config: GateConfig,
    gates: BTreeMap<StreamId, Gate>,
}

/// What to do with a packet.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It goes out.
    Forward,
    /// These, which came just before, and then it.
    Begin(Vec<Bytes>),
    /// Nobody would hear anything.
    Withhold,
}

impl Voices {
    pub(crate) fn new(config: GateConfig) -> Self {
        Self {
            config,
            gates: BTreeMap::new(),
        }
    }

    pub(crate) fn forget(&mut self, stream: StreamId) {
        self.gates.remove(&stream);
    }

    /// A packet came. `datagram` is kept for the onset; none on the stream
    /// carrier.
    pub(crate) fn hear(
        &mut self,
        stream: StreamId,
        level: AudioLevel,
        datagram: Option<&Bytes>,
        now: Instant,
    ) -> Verdict {
        let config = self.config;
        let gate = self.gates.entry(stream).or_insert_with(|| Gate {
            tells: false,
            loud_at: None,
            placed_at: None,
            begins: true,
            loudness_db: 0.0,
            heard_at: now,
            kept: VecDeque::new(),
        });
        gate.tells |= level.below_overload_db != SILENCE;
        if !gate.tells {
            return Verdict::Forward;
        }
        gate.listen(level, &config, now);
        let open = gate
            .loud_at
            .is_some_and(|at| now.saturating_duration_since(at) < config.close_after);
        let had_place = gate.placed_at.is_some();
        if !open {
            gate.placed_at = None;
            gate.begins = true;
        } else if !had_place {
            self.find_place(stream, now);
        }
        let Some(gate) = self.gates.get_mut(&stream) else {
            return Verdict::Forward;
        };
        match (gate.placed_at.is_some(), had_place) {
            (true, true) => Verdict::Forward,
            (true, false) => Verdict::Begin(gate.onset(&config, now)),
            (false, _) => {
                gate.keep(datagram, &config, now);
                Verdict::Withhold
            }
        }
    }

    /// Gives a voice a place, or that of the faintest one when it is louder: much
    /// louder, and than one that had its time, so that equals do not trade places.
    /// Only who begins to speak need not wait for that; the word would be lost.
    fn find_place(&mut self, stream: StreamId, now: Instant) {
        let config = self.config;
        for gate in self.gates.values_mut() {
            // One that sends nothing any more.
            if now.saturating_duration_since(gate.heard_at) > config.close_after {
                gate.placed_at = None;
            }
        }
        let placed = self.gates.values().filter(|g| g.placed_at.is_some());
        if placed.count() >= config.open_max {
            let (loudness, begins) = self
                .gates
                .get(&stream)
                .map_or((0.0, false), |gate| (gate.loudness_db, gate.begins));
            let (least, margin_db) = if begins {
                (Duration::ZERO, 0.0)
            } else {
                (PLACE_MIN, config.overtake_db)
            };
            let fainter = |gate: &&mut Gate| {
                gate.placed_at
                    .is_some_and(|at| now.saturating_duration_since(at) >= least)
                    && gate.loudness_db + margin_db < loudness
            };
            let faintest = self
                .gates
                .values_mut()
                .filter(fainter)
                .min_by(|a, b| a.loudness_db.total_cmp(&b.loudness_db));
            let Some(faintest) = faintest else {
                return;
            };
            faintest.placed_at = None;
        }
        if let Some(gate) = self.gates.get_mut(&stream) {
            gate.placed_at = Some(now);
            gate.begins = false;
        }
    }
}

impl Gate {
    fn listen(&mut self, level: AudioLevel, config: &GateConfig, now: Instant) {
        let elapsed = now.saturating_duration_since(self.heard_at);
        let loudness = f32::from(SILENCE) - f32::from(level.below_overload_db);
        let weight = 1.0 - (-elapsed.as_secs_f32() * 1000.0 / LOUDNESS_MS).exp();
        if loudness > self.loudness_db {
            // A word is heard at once.
            self.loudness_db = loudness;
        } else {
            self.loudness_db += weight * (loudness - self.loudness_db);
        }
        self.heard_at = now;
        if level.below_overload_db <= config.open_below_overload_db {
            self.loud_at = Some(now);
        }
    }

    fn keep(&mut self, datagram: Option<&Bytes>, config: &GateConfig, now: Instant) {
        if let Some(datagram) = datagram {
            self.kept.push_back((now, datagram.clone()));
        }
        let old = |(at, _): &(Instant, Bytes)| now.saturating_duration_since(*at) > config.onset;
        while self.kept.len() > KEPT_MAX || self.kept.front().is_some_and(old) {
            self.kept.pop_front();
        }
    }

    fn onset(&mut self, config: &GateConfig, now: Instant) -> Vec<Bytes> {
        let young = |(at, _): &(Instant, Bytes)| now.saturating_duration_since(*at) <= config.onset;
        let kept = std::mem::take(&mut self.kept);
        kept.into_iter().filter(young).map(|(_, d)| d).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(n: u8) -> StreamId {
        StreamId::from_bytes([n; 16])
    }

    fn level(below_overload_db: u8) -> AudioLevel {
        AudioLevel {
            voice: false,
            below_overload_db,
        }
    }

    /// Hears packet `n` of a microphone; how many go out.
    fn hear(voices: &mut Voices, who: u8, below: u8, now: Instant) -> usize {
        let packet = Bytes::from_static(b"sound");
        match voices.hear(stream(who), level(below), Some(&packet), now) {
            Verdict::Forward => 1,
            Verdict::Begin(kept) => kept.len() + 1,
            Verdict::Withhold => 0,
        }
    }

    #[test]
    fn a_silent_microphone_is_not_forwarded_and_the_onset_of_a_word_is() {
        let start = Instant::now();
        let mut voices = Voices::new(GateConfig::default());
        let at = |n: u64| start + Duration::from_millis(20 * n);
        for n in 0..50 {
            assert_eq!(hear(&mut voices, 1, 80, at(n)), 0);
        }
        // Five packets are a tenth of a second.
        assert_eq!(hear(&mut voices, 1, 30, at(50)), 6);
        assert_eq!(hear(&mut voices, 1, 30, at(51)), 1);
        // A pause between words is forwarded, a long one is not.
        let sent: usize = (52..200).map(|n| hear(&mut voices, 1, 80, at(n))).sum();
        assert_eq!(sent, 74);
        assert_eq!(hear(&mut voices, 1, 30, at(200)), 6);
    }

    #[test]
    fn who_never_tells_a_level_is_heard() {
        let start = Instant::now();
        let mut voices = Voices::new(GateConfig::default());
        for n in 0..100 {
            let now = start + Duration::from_millis(20 * n);
            assert_eq!(hear(&mut voices, 1, SILENCE, now), 1);
        }
    }

    #[test]
    fn the_loudest_five_are_forwarded_and_equals_do_not_trade_places() {
        let start = Instant::now();
        let mut voices = Voices::new(GateConfig::default());
        let mut sent = [0; 8];
        for n in 0..500u64 {
            let now = start + Duration::from_millis(20 * n);
            for who in 1..8u8 {
                // The last one shouts after a while.
                let below = if who == 7 && n >= 250 {
                    10
                } else {
                    30 + (n % 3) as u8
                };
                sent[usize::from(who)] += hear(&mut voices, who, below, now);
            }
        }
        assert_eq!(sent.iter().filter(|n| **n >= 500).count(), 4, "{sent:?}");
        assert_eq!(sent[6], 0);
        assert!(sent[7] >= 250, "{sent:?}");
    }

    #[test]
    fn who_begins_to_speak_is_heard_at_once_beside_five_who_speak_as_loud() {
        let start = Instant::now();
        let mut voices = Voices::new(GateConfig::default());
        let at = |n: u64| start + Duration::from_millis(20 * n);
        let mut sent = 0;
        for n in 0..200 {
            for who in 1..6u8 {
                // They take turns in pausing, for less than a place is kept.
                let pauses = n / 10 % 5 == u64::from(who - 1);
                hear(&mut voices, who, if pauses { 70 } else { 30 }, at(n));
            }
            let below = if n < 100 { 80 } else { 30 };
            sent += hear(&mut voices, 6, below, at(n));
            if n == 100 {
                // With the tenth of a second before its first loud packet.
                assert_eq!(sent, 6);
            }
        }
    }

    #[test]
    fn a_microphone_that_went_away_frees_its_place() {
        let start = Instant::now();
        let mut voices = Voices::new(GateConfig::default());
        for who in 1..6 {
            assert_eq!(hear(&mut voices, who, 30, start), 1);
        }
        assert_eq!(hear(&mut voices, 6, 30, start), 0);
        let later = start + Duration::from_secs(2);
        assert!(hear(&mut voices, 6, 30, later) > 0);
    }
}
