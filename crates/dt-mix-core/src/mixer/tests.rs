//! With a codec that says which sources are in a packet.

use std::{cell::Cell, rc::Rc};

use rand::{RngExt, SeedableRng, rngs::StdRng};

use super::*;
use crate::{
    STEP, STEP_SAMPLES, STEP_US,
    codec::{Decode, Encode, Failed},
};

const UNIT: f32 = 1.0 / 1024.0;

/// A packet is the number of a source; its sound is 2^number units loud all the
/// time, so that a sum shows who is in it.
#[derive(Debug, Default)]
struct Marks {
    alive: Rc<Cell<i32>>,
}

#[derive(Debug)]
struct MarkDecoder {
    sound: f32,
    _alive: Counted,
}

#[derive(Debug)]
struct MarkEncoder;

#[derive(Debug)]
struct Counted(Rc<Cell<i32>>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

impl Codecs for Marks {
    type Decoder = MarkDecoder;
    type Encoder = MarkEncoder;

    fn decoder(&mut self) -> Result<MarkDecoder, Failed> {
        self.alive.set(self.alive.get() + 1);
        Ok(MarkDecoder {
            sound: 0.0,
            _alive: Counted(Rc::clone(&self.alive)),
        })
    }

    fn encoder(&mut self, _: u32) -> Result<MarkEncoder, Failed> {
        Ok(MarkEncoder)
    }
}

impl Decode for MarkDecoder {
    fn decode(&mut self, packet: &[u8], out: &mut Vec<f32>) -> Result<(), Failed> {
        let [mark @ 0..=5] = packet else {
            return Err(Failed);
        };
        self.sound = f32::from(1_u8 << mark) * UNIT;
        self.conceal(out);
        Ok(())
    }

    fn conceal(&mut self, out: &mut Vec<f32>) {
        out.extend([self.sound; STEP_SAMPLES]);
    }
}

impl Encode for MarkEncoder {
    fn encode(&mut self, pcm: &[f32]) -> Result<Bytes, Failed> {
        assert_eq!(pcm.len(), STEP_SAMPLES);
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // six bits
        let mark = |s: f32| (s / UNIT).round() as u8;
        Ok(vec![mark(pcm[0]), mark(pcm[STEP_SAMPLES - 1])].into())
    }
}

fn mix(sources: &[u32]) -> Wish {
    Wish::Mix(sources.iter().copied().map(SourceId).collect())
}

struct World {
    mixer: Mixer<Marks>,
    alive: Rc<Cell<i32>>,
    now: Instant,
}

impl World {
    fn new(listeners: impl IntoIterator<Item = (u64, Wish)>) -> Self {
        let marks = Marks::default();
        let alive = Rc::clone(&marks.alive);
        let mut mixer = Mixer::new(marks, 32_000);
        mixer.listen(of(listeners));
        Self {
            mixer,
            alive,
            now: Instant::now(),
        }
    }

    fn say(&mut self, source: u8, place: u64) {
        let payload = Bytes::from(vec![source]);
        let (id, at) = (SourceId(u32::from(source)), place * STEP_US);
        self.mixer.packet(id, at, payload, self.now);
    }

    fn step(&mut self) -> Vec<Sound> {
        self.now += STEP;
        self.mixer.step(self.now)
    }
}

fn of(listeners: impl IntoIterator<Item = (u64, Wish)>) -> BTreeMap<ListenerId, Wish> {
    let id = |(listener, wish)| (ListenerId(listener), wish);
    listeners.into_iter().map(id).collect()
}

/// Who is heard by whom: a bit a source.
fn heard(sounds: &[Sound]) -> BTreeMap<u64, u8> {
    let marks = sounds
        .iter()
        .flat_map(|sound| sound.to.iter().map(|to| (to.0, sound.payload[1])));
    marks.collect()
}

#[test]
fn nobody_hears_themselves_and_who_is_silent_shares_one_encoding() {
    let mut world = World::new([
        (0, mix(&[1, 2])),
        (1, mix(&[0, 2])),
        (2, mix(&[0, 1])),
        (3, mix(&[0, 1, 2])),
        (4, mix(&[0, 1, 2])),
        (5, mix(&[0, 1, 2])),
    ]);
    for place in 0..20 {
        // The third one is silent.
        world.say(0, place);
        world.say(1, 1000 + place);
        let sounds = world.step();
        if place > 5 {
            let all: Vec<_> = [(0, 2), (1, 1), (2, 3), (3, 3), (4, 3), (5, 3)].into();
            assert_eq!(heard(&sounds).into_iter().collect::<Vec<_>>(), all);
            assert_eq!(sounds.len(), 3, "one for four, and one for each who speaks");
        }
    }
}

#[test]
fn one_alone_keeps_the_time_of_its_capture_and_is_encoded_once_a_rate() {
    let alone = |bitrate_bps| Wish::Alone {
        source: SourceId(1),
        bitrate_bps,
    };
    let mut world = World::new([(0, alone(8000)), (1, alone(8000)), (2, alone(16_000))]);
    for place in 0..20 {
        world.say(1, 7000 + place);
        world.say(0, place);
        let sounds = world.step();
        if place > 5 {
            assert_eq!(heard(&sounds), [(0, 2), (1, 2), (2, 2)].into());
            assert_eq!(sounds.len(), 2);
            let (source, at) = sounds[0].of.expect("one alone");
            assert_eq!((source, at % STEP_US), (SourceId(1), 0));
            assert!((7000..7000 + place).contains(&(at / STEP_US)));
        }
    }
}

#[test]
fn silence_costs_nothing_after_a_moment() {
    let mut world = World::new([(0, mix(&[1]))]);
    for place in 0..10 {
        world.say(1, place);
        world.step();
    }
    let mut after = 0;
    while !world.step().is_empty() {
        after += 1;
    }
    assert!((5..30).contains(&after), "{after} steps");
    for _ in 0..1000 {
        assert_eq!(world.step(), []);
    }
    assert_eq!(world.mixer.codecs_in_use(), (0, 0));
    assert_eq!(world.alive.get(), 0);
}

#[test]
fn decoders_live_while_somebody_listens() {
    let mut world = World::new([(0, mix(&[1, 2]))]);
    assert_eq!(world.alive.get(), 0);
    for place in 0..10 {
        for source in 1..4 {
            world.say(source, place);
        }
        world.step();
    }
    assert_eq!(world.alive.get(), 2, "nobody wants the third one");
    world.mixer.listen(of([(0, mix(&[2]))]));
    assert_eq!(world.alive.get(), 1);
    world.mixer.listen(BTreeMap::new());
    assert_eq!(world.alive.get(), 0);
    assert_eq!(world.step(), []);
}

#[test]
fn garbage_of_one_is_silence_of_one() {
    let mut world = World::new([(0, mix(&[1, 2]))]);
    for place in 0..20 {
        world.say(1, place);
        let garbage = Bytes::from_static(b"garbage");
        let now = world.now;
        world
            .mixer
            .packet(SourceId(2), place * STEP_US, garbage, now);
        let sounds = world.step();
        if place > 5 {
            assert_eq!(heard(&sounds), [(0, 2)].into());
        }
    }
    assert!(world.mixer.undecodable() > 10);
}

/// A clock that is 1 % off is far worse than any real one.
#[test]
fn clocks_that_run_fast_or_slow_are_followed() {
    for permille in [990_u64, 1000, 1010] {
        let mut world = World::new([(0, mix(&[1]))]);
        let (mut said, mut silent, mut newest) = (0, 0, 0);
        for step in 0..3000_u64 {
            while said * 1000 < step * permille {
                world.say(1, said);
                said += 1;
            }
            let sounds = world.step();
            silent += usize::from(step > 20 && heard(&sounds).get(&0) != Some(&2));
            let source = world.mixer.sources.get(&SourceId(1));
            newest = source.and_then(|s| s.captured_us).unwrap_or(newest);
            let behind = (said * STEP_US).saturating_sub(newest);
            assert!(step < 20 || behind < 250_000, "{behind} us behind");
        }
        assert_eq!(silent, 0, "at {permille} permille");
    }
}

/// What a course looked like, for comparing two.
#[derive(Debug, Default, PartialEq, Eq)]
struct Course {
    sounds: Vec<(Bytes, Vec<ListenerId>)>,
}

/// Six people on bad networks who come, go, speak and change what they want.
fn course(seed: u64) -> Course {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut world = World::new([]);
    let mut wishes: BTreeMap<u64, Wish> = BTreeMap::new();
    let mut speaking = [false; 6];
    let mut under_way: Vec<(u64, u8, u64, bool)> = Vec::new();
    let mut course = Course::default();
    let skew: Vec<u64> = (0..6).map(|_| rng.random_range(0..u64::MAX / 4)).collect();
    for step in 0..80_u64 {
        if rng.random_bool(0.1) {
            let listener = rng.random_range(0..6_u32);
            let others: Vec<u32> = (0..6)
                .filter(|n| *n != listener && rng.random_bool(0.9))
                .collect();
            let wish = match rng.random_range(0..4) {
                0 => Some(Wish::Alone {
                    source: SourceId((listener + 1) % 6),
                    bitrate_bps: 8000 * rng.random_range(1..3),
                }),
                1 => None,
                _ => Some(mix(&others)),
            };
            let listener = u64::from(listener);
            match wish {
                Some(wish) => wishes.insert(listener, wish),
                None => wishes.remove(&listener),
            };
            world.mixer.listen(of(wishes.clone()));
        }
        if rng.random_bool(0.1) {
            let who = rng.random_range(0..6);
            speaking[who] = !speaking[who];
        }
        for source in 0..6_u8 {
            if speaking[usize::from(source)] && rng.random_bool(0.9) {
                let late = rng.random_range(0..5) * u64::from(rng.random_bool(0.2));
                let garbage = rng.random_bool(0.02);
                under_way.push((step + late, source, step, garbage));
                if rng.random_bool(0.05) {
                    under_way.push((step + late + 1, source, step, garbage));
                }
            }
        }
        under_way.retain(|(due, source, said, garbage)| {
            if *due <= step {
                let at = skew[usize::from(*source)] + said * STEP_US;
                let mark = if *garbage { 99 } else { *source };
                let payload = Bytes::from(vec![mark]);
                let id = SourceId(u32::from(*source));
                world.mixer.packet(id, at, payload, world.now);
            }
            *due > step
        });
        let before = world.mixer.encodings();
        let sounds = world.step();
        let mut served = BTreeSet::new();
        for sound in &sounds {
            for to in &sound.to {
                assert!(served.insert(*to), "one packet a step");
                let wish = wishes.get(&to.0).expect("only who listens gets anything");
                for mark in sound.payload.iter().copied() {
                    for source in (0..6).filter(|n| mark >> n & 1 == 1) {
                        assert!(wish.wants(SourceId(source)), "{wish:?} hears {source}");
                    }
                }
            }
        }
        assert_eq!(world.mixer.encodings() - before, sounds.len() as u64);
        assert!(world.alive.get() <= 6);
        let (decoders, encoders) = world.mixer.codecs_in_use();
        assert!(decoders <= 6 && encoders <= 6 * 2 + 7);
        course
            .sounds
            .extend(sounds.into_iter().map(|sound| (sound.payload, sound.to)));
    }
    course
}

#[test]
fn whatever_comes_nobody_hears_what_they_do_not_want() {
    for seed in 0..2000 {
        let result = std::panic::catch_unwind(|| course(seed));
        assert!(result.is_ok(), "seed {seed}");
    }
}

#[test]
fn the_same_inputs_give_the_same_outputs() {
    for seed in 0..20 {
        assert_eq!(course(seed), course(seed));
    }
}
