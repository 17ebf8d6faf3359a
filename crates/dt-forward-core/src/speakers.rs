//! Who speaks: levels from the headers, smoothed, with hysteresis.

use std::{collections::HashMap, time::Instant};

use dt_frame::AudioLevel;
use dt_ids::ParticipantId;

use crate::SpeakerConfig;

/// dB from silence to overload (RFC 6464).
const RANGE_DB: f32 = 127.0;
/// Without a sample for so long a microphone counts as silent: it was muted or
/// its encoder sends nothing in silence.
const QUIET_AFTER_MS: u128 = 200;

/// The microphones of a meeting.
#[derive(Debug)]
pub(crate) struct Speakers {
    config: SpeakerConfig,
    voices: HashMap<ParticipantId, Voice>,
    named: Vec<ParticipantId>,
    made_at: Option<Instant>,
}

#[derive(Debug)]
struct Voice {
    /// dB above silence, smoothed.
    loudness_db: f32,
    sampled_at: Instant,
    speaks: bool,
}

impl Voice {
    fn hear(&mut self, loudness_db: f32, config: &SpeakerConfig, now: Instant) {
        let elapsed = now.saturating_duration_since(self.sampled_at).as_secs_f32();
        self.sampled_at = now.max(self.sampled_at);
        let constant = if loudness_db > self.loudness_db {
            config.attack
        } else {
            config.release
        };
        let weight = 1.0 - (-elapsed / constant.as_secs_f32().max(0.001)).exp();
        self.loudness_db += weight * (loudness_db - self.loudness_db);
        if self.loudness_db >= RANGE_DB - config.on_below_overload_db {
            self.speaks = true;
        } else if self.loudness_db < RANGE_DB - config.off_below_overload_db {
            self.speaks = false;
        }
    }
}

impl Speakers {
    pub(crate) fn new(config: SpeakerConfig) -> Self {
        Self {
            config,
            voices: HashMap::new(),
            named: Vec::new(),
            made_at: None,
        }
    }

    /// Takes the level of a chunk. As many voices are held as participants are
    /// registered: the caller checks that, and calls [`forget`](Self::forget).
    pub(crate) fn hear(&mut self, participant: ParticipantId, level: AudioLevel, now: Instant) {
        let voice = self.voices.entry(participant).or_insert(Voice {
            loudness_db: 0.0,
            sampled_at: now,
            speaks: false,
        });
        let loudness_db = RANGE_DB - f32::from(level.below_overload_db);
        voice.hear(loudness_db, &self.config, now);
    }

    pub(crate) fn forget(&mut self, participant: ParticipantId) {
        self.voices.remove(&participant);
    }

    /// The list, when it is time for one and it differs from the one before.
    pub(crate) fn changed(&mut self, now: Instant) -> Option<Vec<ParticipantId>> {
        let early = self
            .made_at
            .is_some_and(|at| now.saturating_duration_since(at) < self.config.interval);
        if early {
            return None;
        }
        self.made_at = Some(now);
        for voice in self.voices.values_mut() {
            if now.saturating_duration_since(voice.sampled_at).as_millis() > QUIET_AFTER_MS {
                voice.hear(0.0, &self.config, now);
            }
        }
        let list = self.list();
        if list == self.named {
            return None;
        }
        self.named.clone_from(&list);
        Some(list)
    }

    fn loudness(&self, participant: &ParticipantId) -> f32 {
        self.voices.get(participant).map_or(0.0, |v| v.loudness_db)
    }

    fn list(&self) -> Vec<ParticipantId> {
        let speaks = |p: &ParticipantId| self.voices.get(p).is_some_and(|v| v.speaks);
        let mut list: Vec<_> = self.named.iter().copied().filter(&speaks).collect();
        let mut others: Vec<_> = self
            .voices
            .keys()
            .copied()
            .filter(|p| speaks(p) && !list.contains(p))
            .collect();
        others.sort_by(|a, b| {
            self.loudness(b)
                .total_cmp(&self.loudness(a))
                .then_with(|| a.cmp(b))
        });
        list.append(&mut others);
        // An insertion in which the one behind must be louder by a margin: equals
        // don't trade places back and forth.
        for from in 1..list.len() {
            let mut place = from;
            while place > 0
                && self.loudness(&list[place])
                    > self.loudness(&list[place - 1]) + self.config.overtake_db
            {
                list.swap(place, place - 1);
                place -= 1;
            }
        }
        list.truncate(self.config.count_max);
        list
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn person(n: u8) -> ParticipantId {
        ParticipantId::from_bytes([n; 16])
    }

    fn level(below_overload_db: u8) -> AudioLevel {
        AudioLevel {
            voice: below_overload_db < 60,
            below_overload_db,
        }
    }

    /// Feeds 20 ms chunks from `start` on and returns the last list that was told.
    fn talk(
        speakers: &mut Speakers,
        start: Instant,
        ms: std::ops::Range<u64>,
        levels: &[(u8, u8)],
    ) -> (Vec<Vec<ParticipantId>>, Instant) {
        let mut told = Vec::new();
        let mut now = start;
        for at in ms.step_by(20) {
            now = start + Duration::from_millis(at);
            for (who, below) in levels {
                speakers.hear(person(*who), level(*below), now);
            }
            told.extend(speakers.changed(now));
        }
        (told, now)
    }

    #[test]
    fn a_word_makes_a_speaker_and_a_second_of_silence_does_not_end_the_speech() {
        let start = Instant::now();
        let mut speakers = Speakers::new(SpeakerConfig::default());
        let (told, _) = talk(&mut speakers, start, 0..1000, &[(1, 30), (2, 90)]);
        assert_eq!(told, [vec![person(1)]]);
        let (told, _) = talk(&mut speakers, start, 1000..1400, &[(1, 127), (2, 90)]);
        assert!(told.is_empty());
        let (told, _) = talk(&mut speakers, start, 1400..5000, &[(1, 127), (2, 90)]);
        assert_eq!(told, [vec![]]);
    }

    #[test]
    fn equals_do_not_trade_places() {
        let start = Instant::now();
        let mut speakers = Speakers::new(SpeakerConfig::default());
        talk(&mut speakers, start, 0..1000, &[(1, 30), (2, 30)]);
        let mut changes = 0;
        for turn in 0u64..20 {
            let wave = if turn % 2 == 0 {
                [(1, 28), (2, 32)]
            } else {
                [(1, 32), (2, 28)]
            };
            let ms = 1000 + turn * 500..1500 + turn * 500;
            changes += talk(&mut speakers, start, ms, &wave).0.len();
        }
        assert_eq!(changes, 0);
        let (told, _) = talk(&mut speakers, start, 11_000..15_000, &[(1, 45), (2, 20)]);
        assert_eq!(told.last().unwrap(), &[person(2), person(1)]);
    }

    #[test]
    fn at_most_five_are_named_loudest_first() {
        let start = Instant::now();
        let mut speakers = Speakers::new(SpeakerConfig::default());
        let levels: Vec<_> = (1..=8).map(|n| (n, 5 * n)).collect();
        let (told, _) = talk(&mut speakers, start, 0..4000, &levels);
        let last = told.last().unwrap();
        assert_eq!(last.len(), 5);
        assert_eq!(last[0], person(1));
    }

    #[test]
    fn who_sends_nothing_any_more_stops_speaking() {
        let start = Instant::now();
        let mut speakers = Speakers::new(SpeakerConfig::default());
        talk(&mut speakers, start, 0..1000, &[(1, 20)]);
        let (told, _) = talk(&mut speakers, start, 1000..8000, &[]);
        assert_eq!(told, [vec![]]);
        speakers.forget(person(1));
        assert!(speakers.voices.is_empty());
    }
}
