//! Times in buckets of at most 3 % width: percentiles of any number of samples
//! in a fixed amount of memory.

use std::time::Duration;

/// Linear buckets of one microsecond, then 32 to each doubling.
const STEPS: u64 = 32;
const BUCKETS: usize = (64 * STEPS) as usize;

/// A distribution of durations, in microseconds.
#[derive(Debug, Clone)]
pub(crate) struct Histogram {
    counts: Vec<u64>,
    total: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            counts: vec![0; BUCKETS],
            total: 0,
        }
    }
}

impl Histogram {
    pub(crate) fn record(&mut self, duration: Duration) {
        let us = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        self.counts[bucket(us)] += 1;
        self.total += 1;
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.counts.iter_mut().zip(&other.counts) {
            *mine += theirs;
        }
        self.total += other.total;
    }

    /// Milliseconds below which the share of the samples lies, `None` without
    /// samples.
    pub(crate) fn percentile_ms(&self, share: f64) -> Option<f64> {
        if self.total == 0 {
            return None;
        }
        #[allow(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss
        )] // counts are far below 2^52
        let wanted = ((self.total as f64 * share).ceil() as u64).clamp(1, self.total);
        let mut seen = 0;
        let place = self.counts.iter().position(|count| {
            seen += count;
            seen >= wanted
        });
        place.map(|place| ms(Duration::from_micros(upper_bound(place))))
    }

    /// The form in which summaries have it.
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::json!({
            "p50": self.percentile_ms(0.5),
            "p95": self.percentile_ms(0.95),
            "p99": self.percentile_ms(0.99),
        })
    }
}

/// Milliseconds with two decimals.
pub(crate) fn ms(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 100_000.0).round() / 100.0
}

fn bucket(us: u64) -> usize {
    if us < STEPS {
        return usize::try_from(us).expect("below 32");
    }
    let doubling = u64::from(us.ilog2() - STEPS.ilog2());
    let step = (us >> doubling) - STEPS;
    usize::try_from((doubling + 1) * STEPS + step).expect("at most 64 doublings")
}

/// The largest number of microseconds in a bucket.
fn upper_bound(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    if bucket < STEPS {
        return bucket;
    }
    let (doubling, step) = (bucket / STEPS - 1, bucket % STEPS);
    ((STEPS + step + 1) << doubling) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_holds_its_bound_and_is_at_most_three_percent_wide() {
        for us in (0..2000).chain([65_535, 65_536, 1_000_000, 123_456_789]) {
            let bound = upper_bound(bucket(us));
            assert!(bound >= us && bound <= us + us / 31, "{us} {bound}");
            assert_eq!(bucket(bound), bucket(us));
        }
        let _ = bucket(u64::MAX);
    }

    #[test]
    fn percentiles_are_those_of_the_samples() {
        let mut all = Histogram::default();
        assert_eq!(all.percentile_ms(0.5), None);
        for hundredths in 1..=100 {
            let mut one = Histogram::default();
            one.record(Duration::from_millis(hundredths));
            all.merge(&one);
        }
        let near = |share: f64, ms: f64| {
            let got = all.percentile_ms(share).unwrap();
            assert!(got >= ms && got <= ms * 1.04, "{share}: {got}");
        };
        near(0.5, 50.0);
        near(0.95, 95.0);
        near(0.99, 99.0);
    }
}
