//! Receivers behind narrow, lossy and changing links: seeded schedules on a
//! virtual clock. A failing seed is printed; `SCHEDULES` sets how many are run,
//! `SEED` the first one, and with `SHOW` each squeeze is printed with its figures.

#![allow(clippy::unwrap_used, clippy::cast_precision_loss)] // a panic is how a test fails
#![allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // of small numbers

mod link;
mod screen;
mod sending;
mod world;

use std::time::Duration;

use link::Shape;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use world::World;

const GOOD: Shape = Shape {
    bps: 20_000_000.0,
    base: Duration::from_millis(30),
    loss: 0.0,
    queue_bytes: 250_000.0,
    stalls: 0.0,
    stall: Duration::ZERO,
};

/// Seeds from here on: no rule was chosen by them. Those at 5000 and 9000 were used for
/// that, and rates were found at 20,000.
const FIRST_SEED: u64 = 70_000;

fn schedules(count: u64) -> impl Iterator<Item = u64> {
    let number = |name| {
        std::env::var(name)
            .ok()
            .and_then(|n: String| n.parse::<u64>().ok())
    };
    let first = number("SEED").unwrap_or(FIRST_SEED);
    first..first + number("SCHEDULES").unwrap_or(count)
}

/// Says the seed when a schedule fails.
struct Seed(u64);

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the seed is {}", self.0);
        }
    }
}

/// The longest time without a new picture.
fn longest_gap(world: &World, receiver: usize, n: u8, from: f64, to: f64) -> f64 {
    let screen = &world.receivers[receiver].screens[&n];
    let mut last = from;
    let mut longest: f64 = 0.0;
    for (at, _) in &screen.shown {
        let at = at.duration_since(world.start).as_secs_f64();
        if at < from || at > to {
            continue;
        }
        longest = longest.max(at - last);
        last = at;
    }
    longest.max(to - last)
}

/// When a receiver has the best of a camera for good.
fn best_from(world: &World, receiver: usize, n: u8, after: f64) -> f64 {
    let screen = &world.receivers[receiver].screens[&n];
    let mut since = f64::INFINITY;
    for (at, encoding) in &screen.shown {
        let at = at.duration_since(world.start).as_secs_f64();
        if *encoding < 2 {
            since = f64::INFINITY;
        } else if at >= after {
            since = since.min(at);
        }
    }
    since
}

fn rtt_max(world: &World, receiver: usize, from: f64, to: f64) -> f64 {
    let rtts = world.receivers[receiver].rtts.iter();
    let within = rtts.filter(|(at, _)| {
        let at = at.duration_since(world.start).as_secs_f64();
        at >= from && at < to
    });
    within.map(|(_, rtt)| *rtt).fold(0.0, f64::max)
}

fn switches(world: &World, receiver: usize, from: f64, to: f64) -> usize {
    let screens = world.receivers[receiver].screens.values();
    screens
        .flat_map(|screen| &screen.switches)
        .filter(|at| {
            let at = at.duration_since(world.start).as_secs_f64();
            at >= from && at < to
        })
        .count()
}

/// One of two receivers is squeezed to 300 kbit/s for a while: when it began and
/// ended.
fn squeezed(seed: u64, datagrams: bool, stalls: (f64, Duration)) -> (World, f64, f64) {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut shape = GOOD;
    shape.base = Duration::from_millis(rng.random_range(5..80));
    (shape.stalls, shape.stall) = stalls;
    let mut world = World::new(1, &[shape, GOOD], seed, datagrams);
    let begin = rng.random_range(4.0..8.0);
    let end = begin + rng.random_range(5.0..15.0);
    world.run_to(begin);
    world.receivers[0].link.shape.bps = 300_000.0;
    world.run_to(end);
    world.receivers[0].link.shape.bps = GOOD.bps;
    world.run_to(end + 8.0);
    (world, begin, end)
}

/// How often the figures of a squeeze are not as good as they should be.
#[derive(Debug, Default)]
struct Misses {
    schedules: u64,
    sound: u64,
    picture: u64,
    back: u64,
    near: u64,
    peak: u64,
}

impl Misses {
    fn squeeze(&mut self, seed: u64, datagrams: bool) {
        let _seed = Seed(seed);
        let (world, begin, end) = squeezed(seed, datagrams, (0.0, Duration::ZERO));
        let heard = world.heard(0, 1.0, end + 6.0);
        let gap = longest_gap(&world, 0, 0, begin, end);
        let back = best_from(&world, 0, 0, end) - end;
        let peak = rtt_max(&world, 0, begin, end);
        if std::env::var_os("SHOW").is_some() {
            let base = world.receivers[0].link.shape.base;
            println!(
                "seed {seed}, base {base:?}, {:.1} s: sound {heard:.4}, longest gap {gap:.2} s, back after {back:.2} s, round trip {peak:.3} s at most",
                end - begin
            );
        }
        self.schedules += 1;
        self.sound += u64::from(heard < 0.99);
        self.picture += u64::from(gap >= 2.0);
        self.back += u64::from(back >= 5.0);
        // What is on its way when it begins can't be called back, and until a
        // round trip is over nobody knows: at 1.5 Mbit/s it is five times what
        // the path takes meanwhile.
        let base = world.receivers[0].link.shape.base.as_secs_f64();
        if base <= 0.02 {
            self.near += 1;
            self.peak += u64::from(peak >= 0.3);
        }
        // And an acknowledgement that may be held back for 25 ms is as much again.
        assert!(peak < 0.525 + 6.0 * base, "the round trip is {peak} s");
        let rtt = rtt_max(&world, 0, begin + 1.0, end);
        assert!(rtt < 0.3, "the round trip stays at {rtt} s");
        assert!(heard > 0.97, "sound during a squeeze: {heard}");
        assert!(gap < 5.0, "a picture that moves: {gap} s");
        let calm = switches(&world, 0, begin + 3.0, end);
        assert!(calm <= 4, "{calm} switches while nothing changed");

        assert!((world.heard(1, 0.5, end + 6.0) - 1.0).abs() < 1e-9);
        // A key frame takes some round trips.
        let gap = longest_gap(&world, 1, 0, 1.0, end + 8.0);
        assert!(gap < 0.35, "the other one waits {gap} s for a picture");
        let others = switches(&world, 1, 0.0, end + 8.0);
        assert_eq!(others, 0, "the other one is left alone");
    }

    /// Of a hundred schedules, so many may miss a goal.
    fn judge(&self, percent: [u64; 4]) {
        println!("{self:?}");
        let [sound, picture, back, peak] = percent;
        let few = |misses: u64, of: u64, percent: u64| misses * 100 <= of * percent + 100;
        assert!(few(self.sound, self.schedules, sound), "sound: {self:?}");
        assert!(few(self.picture, self.schedules, picture), "{self:?}");
        assert!(few(self.back, self.schedules, back), "back: {self:?}");
        assert!(few(self.peak, self.near, peak), "round trips: {self:?}");
    }
}

#[test]
fn a_squeezed_receiver_keeps_sound_and_a_moving_picture_and_is_back_within_five_seconds() {
    let mut misses = Misses::default();
    for seed in schedules(1000) {
        misses.squeeze(seed, false);
    }
    // Behind far links most: their round trips are many until a better picture is
    // asked for and its key frame has come through a window of the past. Of near ones
    // some may have more in flight than they use when it begins.
    misses.judge([2, 2, 2, 11]);
}

#[test]
fn on_the_datagram_carrier_too() {
    let mut misses = Misses::default();
    for seed in schedules(500) {
        misses.squeeze(seed, true);
    }
    // What is left out of a picture on this carrier costs another key frame. It is given
    // to the transport piece by piece, so the window grows slower than on streams: of
    // links with 60 ms and more a quarter are late, of others few.
    misses.judge([1, 2, 10, 5]);
}

/// The receiver's machine stands still once a second, for a tenth of one at most:
/// that is no narrow path, and being back takes no longer for it.
#[test]
fn a_receiver_whose_machine_is_busy_is_back_as_well() {
    let (mut late, mut all) = (0, 0);
    for seed in schedules(200) {
        let _seed = Seed(seed);
        let stalls = (1.0, Duration::from_millis(100));
        let (world, begin, end) = squeezed(seed, false, stalls);
        let back = best_from(&world, 0, 0, end) - end;
        all += 1;
        late += u64::from(back >= 6.0);
        assert!(world.heard(0, 1.0, end + 6.0) > 0.97);
        let rtt = rtt_max(&world, 0, begin + 1.0, end);
        assert!(rtt < 0.3, "the round trip stays at {rtt} s");
    }
    println!("{late} of {all} are late");
    assert!(late * 100 <= 13 * all + 100, "{late} of {all} are late");
}

/// Behind a link that does not change, for a minute.
fn steady(seed: u64) -> (World, u8, Shape) {
    let mut rng = StdRng::seed_from_u64(seed);
    // Narrower ones carry sound and now and then a picture: not good enough
    // yet to be promised here.
    let bps = rng.random_range(400_000.0..6_000_000.0);
    let shape = Shape {
        bps,
        base: Duration::from_millis(rng.random_range(5..120)),
        loss: if rng.random_bool(0.5) {
            0.0
        } else {
            rng.random_range(0.0..0.03)
        },
        queue_bytes: bps / 8.0 * rng.random_range(0.2..0.6),
        ..GOOD
    };
    // So many that their sound, twice, and their smallest pictures fit.
    let senders = rng.random_range(1..4u8).min((bps / 350_000.0) as u8).max(1);
    let mut world = World::new(senders, &[shape], seed, false);
    world.run_to(60.0);
    (world, senders, shape)
}

#[test]
fn behind_a_steady_link_nothing_flaps_and_no_queue_stays() {
    let (mut many, mut still, mut all) = (0, 0, 0);
    for seed in schedules(400) {
        let _seed = Seed(seed);
        let (world, senders, shape) = steady(seed);
        all += 1;
        let switches = switches(&world, 0, 10.0, 60.0);
        many += u64::from(switches > 8 * usize::from(senders));
        assert!(
            switches <= 16 * usize::from(senders),
            "{switches} switches, {shape:?}"
        );
        let rtt = rtt_max(&world, 0, 3.0, 60.0);
        assert!(rtt < 0.3, "{rtt} s, {shape:?}");
        let heard = world.heard(0, 3.0, 59.0);
        assert!(heard > 0.99, "{heard}, {shape:?}");
        for n in 0..senders {
            let gap = longest_gap(&world, 0, n, 3.0, 60.0);
            assert!(gap < 5.0, "{gap} s without a picture of {n}, {shape:?}");
            still += u64::from(gap >= 1.5);
        }
    }
    assert!(still * 100 <= 2 * all + 100, "{still} of {all} stood still");
    assert!(
        many * 100 <= 3 * all + 100,
        "{many} of {all} have many switches"
    );
}

#[test]
fn nothing_is_sent_for_hidden_tiles_and_small_ones_get_small_pictures() {
    for seed in schedules(300) {
        let _seed = Seed(seed);
        let mut rng = StdRng::seed_from_u64(seed);
        let mut world = World::new(3, &[GOOD, GOOD], seed, rng.random_bool(0.5));
        let mut at = 0.0;
        for _ in 0..10 {
            at += rng.random_range(0.3..2.0);
            world.run_to(at);
            let hidden: Vec<u8> = (0..3).filter(|_| rng.random_bool(0.4)).collect();
            world.hide(0, &hidden, (1280, 720));
        }
        world.hide(0, &[1], (320, 180));
        world.run_to(at + 3.0);
        let shown = &world.receivers[0].screens[&0].shown;
        assert_eq!(shown.last().unwrap().1, 0);
        let last = shown.last().unwrap().0;
        assert!(world.now.duration_since(last) < Duration::from_millis(300));
        assert!(longest_gap(&world, 1, 0, 1.0, at + 3.0) < 0.25);
        assert!((world.heard(0, 0.5, at + 2.0) - 1.0).abs() < 1e-9);
    }
}
