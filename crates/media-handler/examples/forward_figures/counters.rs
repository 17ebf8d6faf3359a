//! The metrics of the handler that is measured, kept in its process: counts by
//! their names and labels. What is no count is not kept.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use metrics::{
    Counter, CounterFn, Gauge, GaugeFn, Histogram, Key, KeyName, Metadata, Recorder, SharedString,
    Unit,
};
use tokio::sync::watch;

/// A handler sets it each time after all its meetings have reported.
const REPORTED: &str = "media_sessions";

#[derive(Debug, Clone)]
pub(crate) struct Counters {
    counts: Arc<Mutex<BTreeMap<String, Arc<Count>>>>,
    /// How often all counts were brought up to date.
    reports: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Count(AtomicU64);

impl CounterFn for Count {
    fn increment(&self, value: u64) {
        self.0.fetch_add(value, Ordering::Relaxed);
    }

    fn absolute(&self, value: u64) {
        self.0.fetch_max(value, Ordering::Relaxed);
    }
}

#[derive(Debug)]
struct Reported(watch::Sender<u64>);

impl GaugeFn for Reported {
    fn increment(&self, _: f64) {}

    fn decrement(&self, _: f64) {}

    fn set(&self, _: f64) {
        self.0.send_modify(|reports| *reports += 1);
    }
}

impl Counters {
    /// Takes all metrics of this process from now on.
    pub(crate) fn install() -> anyhow::Result<Self> {
        let counters = Self {
            counts: Arc::default(),
            reports: watch::Sender::new(0),
        };
        metrics::set_global_recorder(counters.clone())
            .map_err(|_| anyhow::anyhow!("somebody else takes the metrics"))?;
        Ok(counters)
    }

    /// All counts that are not 0, once the handler has brought them up to date.
    pub(crate) async fn settled(&self) -> anyhow::Result<BTreeMap<String, u64>> {
        let mut reports = self.reports.subscribe();
        reports.changed().await?;
        let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let read = counts
            .iter()
            .map(|(name, count)| (name.clone(), count.0.load(Ordering::Relaxed)));
        Ok(read.filter(|(_, count)| *count > 0).collect())
    }
}

/// `name`, or `name:value` of its only label.
fn name_of(key: &Key) -> String {
    let labels = key.labels().map(|label| format!(":{}", label.value()));
    std::iter::once(key.name().to_owned())
        .chain(labels)
        .collect()
}

impl Recorder for Counters {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        Counter::from_arc(Arc::clone(counts.entry(name_of(key)).or_default()))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        match key.name() {
            REPORTED => Gauge::from_arc(Arc::new(Reported(self.reports.clone()))),
            _ => Gauge::noop(),
        }
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}
