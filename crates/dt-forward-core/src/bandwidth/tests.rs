//! The estimator on a path of a few numbers; the whole is tested by
//! `tests/squeeze`.

use super::*;

const TICK: Duration = Duration::from_millis(50);

/// A link of one queue, and a sender of constant rates.
struct Path {
    estimator: Estimator,
    now: Instant,
    link_bps: f64,
    base: Duration,
    queue_bits: f64,
    rtt: f64,
    sample: PathSample,
    padding: usize,
    loss: f64,
    lost: f64,
}

impl Path {
    fn new(link_bps: f64) -> Self {
        let now = Instant::now();
        Self {
            estimator: Estimator::new(now),
            now,
            link_bps,
            base: Duration::from_millis(40),
            queue_bits: 0.0,
            rtt: 0.04,
            sample: PathSample {
                window_bytes: 1 << 20,
                ..PathSample::default()
            },
            padding: 0,
            loss: 0.0,
            lost: 0.0,
        }
    }

    /// Sends at this rate, and wants to have that; gives the longest queue in
    /// seconds.
    fn run(&mut self, ticks: u32, bps: impl Fn(&Estimator) -> f64, next: Option<f64>) -> f64 {
        let mut longest: f64 = 0.0;
        for _ in 0..ticks {
            let rate = bps(&self.estimator);
            // Five packets a tick, as the smoothed round trip sees them.
            let bits = rate * TICK.as_secs_f64() + self.padding as f64 * 8.0;
            for _ in 0..5 {
                self.queue_bits += bits / 5.0;
                let drained = self.link_bps * TICK.as_secs_f64() / 5.0;
                self.queue_bits = (self.queue_bits - drained).max(0.0);
                let rtt = self.base.as_secs_f64() + self.queue_bits / self.link_bps;
                self.rtt += (rtt - self.rtt) / 8.0;
                longest = longest.max(self.queue_bits / self.link_bps);
            }
            self.now += TICK;
            self.sample.rtt = Duration::from_secs_f64(self.rtt);
            self.sample.sent_bytes += (bits / 8.0) as u64;
            self.sample.sent_packets += 10;
            self.lost += 10.0 * self.loss;
            self.sample.lost_packets = self.lost as u64;
            let wish = Wish {
                offered_bps: rate,
                next_bps: next.filter(|_| rate < next.unwrap_or(0.0)),
            };
            self.padding = self.estimator.sample(&self.sample, wish, self.now);
        }
        longest
    }

    fn estimate(&self) -> Option<f64> {
        self.estimator.estimate_bps
    }
}

#[test]
fn a_path_that_carries_all_has_no_limit() {
    let mut path = Path::new(10_000_000.0);
    path.run(400, |_| 2_000_000.0, Some(3_000_000.0));
    assert_eq!(path.estimate(), None);
    assert_eq!(path.padding, 0);
}

#[test]
fn a_squeeze_is_known_within_half_a_second_and_its_queue_goes() {
    let mut path = Path::new(10_000_000.0);
    path.run(100, |_| 1_500_000.0, None);
    path.link_bps = 600_000.0;
    let follow = |e: &Estimator| e.budget_bps().unwrap_or(1_500_000.0).min(1_500_000.0);
    path.run(10, follow, Some(1_500_000.0));
    let estimate = path.estimate().unwrap();
    assert!(estimate < 900_000.0, "{estimate}");
    path.run(60, follow, Some(1_500_000.0));
    let estimate = path.estimate().unwrap();
    assert!((300_000.0..=660_000.0).contains(&estimate), "{estimate}");
    let longest = path.run(200, follow, Some(1_500_000.0));
    assert!(longest < 0.2, "{longest}");
}

#[test]
fn probes_find_what_came_back_within_seconds_and_make_no_long_queue() {
    let mut path = Path::new(10_000_000.0);
    path.run(100, |_| 1_500_000.0, None);
    path.link_bps = 300_000.0;
    let low = |e: &Estimator| e.budget_bps().unwrap_or(1_500_000.0).clamp(0.0, 140_000.0);
    path.run(
        20,
        |e| e.budget_bps().unwrap_or(1_500_000.0),
        Some(1_800_000.0),
    );
    let longest = path.run(400, low, Some(1_800_000.0));
    let held = path.estimate().unwrap();
    assert!(held < 420_000.0, "{held}");
    assert!(longest < 1.0, "{longest}");
    let longest = path.run(200, low, Some(1_800_000.0));
    assert!(longest < 0.2, "probes alone: {longest}");
    path.link_bps = 10_000_000.0;
    path.run(80, low, Some(1_800_000.0));
    let found = path.estimate().unwrap();
    assert!(found > 1_700_000.0, "{found}");
}

#[test]
fn a_few_losses_are_chance_and_many_are_not() {
    let mut path = Path::new(10_000_000.0);
    path.loss = 0.05;
    path.run(200, |_| 1_500_000.0, None);
    assert_eq!(path.estimate(), None);
    path.loss = 0.2;
    path.run(60, |_| 1_500_000.0, None);
    assert!(path.estimate().is_some_and(|bps| bps < 1_300_000.0));
}

#[test]
fn a_machine_that_stood_still_is_no_queue() {
    let mut path = Path::new(10_000_000.0);
    path.run(100, |_| 1_500_000.0, None);
    path.now += Duration::from_millis(400);
    path.rtt = 0.3;
    path.run(1, |_| 1_500_000.0, None);
    path.rtt = 0.04;
    path.run(20, |_| 1_500_000.0, None);
    assert_eq!(path.estimate(), None);
}

#[test]
fn a_carrier_without_figures_is_tried_again_after_it_was_late() {
    let mut now = Instant::now();
    let mut estimator = Estimator::new(now);
    let wish = Wish {
        offered_bps: 1_000_000.0,
        next_bps: Some(2_000_000.0),
    };
    estimator.late(wish, now);
    let after = estimator.budget_bps().unwrap();
    assert!(after < 700_000.0);
    for _ in 0..200 {
        now += TICK;
        assert_eq!(estimator.sample(&PathSample::default(), wish, now), 0);
    }
    assert!(estimator.budget_bps().unwrap() > 2.0 * after);
}
