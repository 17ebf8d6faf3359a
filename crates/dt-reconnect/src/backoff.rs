//! How long to wait before the next attempt.

use std::time::Duration;

use rand::{Rng, RngExt};

/// Waits that double up to a cap, each shortened by up to a half at random.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    first: Duration,
    max: Duration,
    spread: Duration,
    failures: u32,
}

impl Backoff {
    /// Waits up to `spread` at first, then `first`, doubled up to `max`.
    #[must_use]
    pub const fn new(first: Duration, max: Duration, spread: Duration) -> Self {
        Self {
            first,
            max,
            spread,
            failures: 0,
        }
    }

    /// The wait before the next attempt; counts it.
    pub fn next(&mut self, rng: &mut impl Rng) -> Duration {
        let failures = self.failures;
        self.failures = failures.saturating_add(1);
        if failures == 0 {
            return self.spread.mul_f64(rng.random::<f64>());
        }
        let doubled = 2u32.saturating_pow(failures - 1);
        let full = self.first.saturating_mul(doubled).min(self.max);
        full.mul_f64(1.0 - rng.random::<f64>() / 2.0)
    }

    /// Begins anew after a success.
    pub const fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use rand::{SeedableRng, rngs::StdRng};

    use super::*;

    #[test]
    fn waits_double_up_to_the_cap_and_keep_at_least_half() {
        let ms = Duration::from_millis;
        for seed in 0..100 {
            let mut rng = StdRng::seed_from_u64(seed);
            let mut backoff = Backoff::new(ms(250), ms(5000), ms(100));
            assert!(backoff.next(&mut rng) <= ms(100));
            for full in [250, 500, 1000, 2000, 4000, 5000, 5000, 5000] {
                let wait = backoff.next(&mut rng);
                assert!(wait >= ms(full / 2) && wait <= ms(full), "{wait:?}");
            }
            for _ in 0..100 {
                assert!(backoff.next(&mut rng) <= ms(5000));
            }
            backoff.reset();
            assert!(backoff.next(&mut rng) <= ms(100));
        }
    }
}
