//! Logs and metrics of a process: set up once, by the binary.
//!
//! Logs go to standard error, so that standard output stays for what a command
//! answers. Metrics are gathered through the `metrics` facade and rendered for
//! Prometheus by whoever serves them; there is no HTTP here.
//!
//! Deliberately absent: names, tokens and addresses of people. Whoever logs
//! names things by their ids.

use std::{io::IsTerminal as _, time::Duration};

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::{EnvFilter, fmt, layer::SubscriberExt as _, util::SubscriberInitExt as _};

/// The environment variable that chooses what is logged, like
/// `info,meeting_controller=debug`.
pub const FILTER_VARIABLE: &str = "DARKTOWER_LOG";

/// Upper bounds of histogram buckets whose name ends in `_seconds`: from half a
/// millisecond, below which forwarding should be, to ten seconds.
const SECONDS_BUCKETS: [f64; 14] = [
    0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];

/// The same for names that end in `_ratio`: shares of something, small ones mostly.
const RATIO_BUCKETS: [f64; 11] = [
    0.0, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0,
];

/// How lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For a person at a terminal.
    Human,
    /// One JSON object a line, for a log collector.
    Json,
}

/// Why logs or metrics can't be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter of [`FILTER_VARIABLE`] is not understood.
    #[error("{FILTER_VARIABLE} is not a log filter")]
    Filter(#[source] tracing_subscriber::filter::ParseError),
    /// This process has a subscriber already.
    #[error("logs are set up already")]
    LogsTwice(#[source] tracing_subscriber::util::TryInitError),
    /// This process has a recorder already, or its buckets are wrong.
    #[error("metrics can't be set up")]
    Metrics(#[source] metrics_exporter_prometheus::BuildError),
}

/// Writes logs to standard error from now on; `default_filter` holds where
/// [`FILTER_VARIABLE`] is not set.
///
/// # Errors
/// When the filter is not understood, or logs were set up before.
pub fn init_logs(format: LogFormat, default_filter: &str) -> Result<(), TelemetryError> {
    let chosen = std::env::var(FILTER_VARIABLE).unwrap_or_else(|_| default_filter.to_owned());
    let filter = EnvFilter::try_new(chosen).map_err(TelemetryError::Filter)?;
    let registry = tracing_subscriber::registry().with(filter);
    let lines = fmt::layer().with_writer(std::io::stderr);
    match format {
        LogFormat::Human => registry
            .with(
                lines
                    .with_target(false)
                    .with_ansi(std::io::stderr().is_terminal()),
            )
            .try_init(),
        LogFormat::Json => registry
            .with(lines.json().flatten_event(true).with_current_span(false))
            .try_init(),
    }
    .map_err(TelemetryError::LogsTwice)
}

/// The metrics of this process.
#[derive(Clone)]
pub struct Metrics(PrometheusHandle);

impl Metrics {
    /// Histograms are tidied this often by whoever runs [`Metrics::upkeep`].
    pub const UPKEEP_EVERY: Duration = Duration::from_secs(5);

    /// Gathers what is recorded from now on.
    ///
    /// # Errors
    /// When that was begun before.
    pub fn install() -> Result<Self, TelemetryError> {
        PrometheusBuilder::new()
            .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS_BUCKETS)
            .and_then(|builder| {
                builder.set_buckets_for_metric(Matcher::Suffix("_ratio".to_owned()), &RATIO_BUCKETS)
            })
            .and_then(PrometheusBuilder::install_recorder)
            .map(Self)
            .map_err(TelemetryError::Metrics)
    }

    /// All of them in Prometheus' text format.
    #[must_use]
    pub fn render(&self) -> String {
        self.0.render()
    }

    /// Frees what histograms gathered; call it every [`Metrics::UPKEEP_EVERY`].
    pub fn upkeep(&self) {
        self.0.run_upkeep();
    }
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Metrics")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_recorded_is_rendered_with_buckets() {
        let metrics = Metrics::install().unwrap();
        metrics::counter!("frames_total").increment(3);
        metrics::histogram!("join_seconds").record(0.003);
        metrics::histogram!("lost_ratio").record(0.004);
        let text = metrics.render();
        assert!(text.contains("frames_total 3"), "{text}");
        assert!(
            text.contains("join_seconds_bucket{le=\"0.005\"} 1"),
            "{text}"
        );
        assert!(
            text.contains("lost_ratio_bucket{le=\"0.002\"} 0")
                && text.contains("lost_ratio_bucket{le=\"0.005\"} 1"),
            "{text}"
        );
        assert!(matches!(
            Metrics::install(),
            Err(TelemetryError::Metrics(_))
        ));
    }

    #[test]
    fn a_filter_with_a_mistake_is_an_error() {
        let error = init_logs(LogFormat::Json, "darktower=loud").unwrap_err();
        assert!(matches!(error, TelemetryError::Filter(_)));
    }
}
