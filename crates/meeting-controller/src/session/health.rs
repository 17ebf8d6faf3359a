//! What clients say of how their meeting is, as metrics: distributions and
//! counters, without anything that points at a person or a meeting.
//!
//! Every label has a fixed set of values, and what no network or clock could
//! bring about is left out and counted. Nothing is decided by these figures.

use dt_wire::v1::{ClientKind, DecoderState, HealthReport, SessionCarrier};
use metrics::{Unit, counter, describe_counter, describe_histogram, histogram};
use tokio::time::Instant;

use super::rate::Bucket;

/// Reports that are counted; a client that sends more does not weigh more.
const REPORTS_PER_MINUTE: u32 = 12;
/// A session with a longer round trip was given up long ago.
const RTT_MS_MAX: u32 = 60_000;
const JITTER_MS_MAX: u32 = 10_000;
const PPM: u32 = 1_000_000;

const REPORTS: &str = "dt_client_reports_total";
const DECODERS: &str = "dt_client_decoders_total";
const DROPPED: &str = "dt_client_reports_dropped_total";
const SIGNALING_RTT: &str = "dt_client_signaling_rtt_seconds";
const MEDIA_RTT: &str = "dt_client_media_rtt_seconds";
const JITTER: &str = "dt_client_jitter_seconds";
const LOST: &str = "dt_client_lost_ratio";

/// Says what the metrics mean; once, when the controller starts.
pub(crate) fn describe() {
    describe_counter!(REPORTS, "Health reports by kind of client and carriers");
    describe_counter!(DECODERS, "Health reports by the state of video decoders");
    describe_counter!(DROPPED, "Values that were left out, by reason");
    let seconds = Unit::Seconds;
    describe_histogram!(SIGNALING_RTT, seconds, "Round trips, client to controller");
    describe_histogram!(MEDIA_RTT, seconds, "Round trips, client to media handler");
    describe_histogram!(JITTER, seconds, "Deviation of the arrival of sound");
    describe_histogram!(LOST, "Share of media that never arrived whole");
}

/// Counts the reports of one session.
#[derive(Debug)]
pub(super) struct Reports(Bucket);

impl Reports {
    pub(super) fn new(now: Instant) -> Self {
        Self(Bucket::new(REPORTS_PER_MINUTE, now))
    }

    pub(super) fn count(&mut self, report: &HealthReport, now: Instant) {
        if self.0.take(now).is_err() {
            counter!(DROPPED, "reason" => "too_often").increment(1);
            return;
        }
        counter!(
            REPORTS,
            "client" => client(report.client),
            "signaling" => carrier(report.signaling_carrier),
            "media" => carrier(report.media_carrier),
        )
        .increment(1);
        counter!(DECODERS, "state" => decoder(report.decoder)).increment(1);
        let milliseconds = [
            (SIGNALING_RTT, report.signaling_rtt_ms, RTT_MS_MAX),
            (MEDIA_RTT, report.media_rtt_ms, RTT_MS_MAX),
            (JITTER, report.jitter_ms, JITTER_MS_MAX),
        ];
        for (name, value, most) in milliseconds {
            if let Some(value) = sane(value, most) {
                histogram!(name).record(f64::from(value) / 1000.0);
            }
        }
        if let Some(value) = sane(report.lost_ppm, PPM) {
            histogram!(LOST).record(f64::from(value) / f64::from(PPM));
        }
    }
}

/// The value, unless it can't be true.
fn sane(value: Option<u32>, most: u32) -> Option<u32> {
    let value = value?;
    if value > most {
        counter!(DROPPED, "reason" => "absurd").increment(1);
        return None;
    }
    Some(value)
}

fn carrier(value: i32) -> &'static str {
    match SessionCarrier::try_from(value) {
        Ok(SessionCarrier::Unspecified) => "none",
        Ok(SessionCarrier::Webtransport) => "webtransport",
        Ok(SessionCarrier::Websocket) => "websocket",
        Err(_) => "other",
    }
}

fn client(value: i32) -> &'static str {
    match ClientKind::try_from(value) {
        Ok(ClientKind::Chromium) => "chromium",
        Ok(ClientKind::Firefox) => "firefox",
        Ok(ClientKind::Safari) => "safari",
        Ok(ClientKind::Program) => "program",
        Ok(ClientKind::Unspecified) | Err(_) => "other",
    }
}

fn decoder(value: i32) -> &'static str {
    match DecoderState::try_from(value) {
        Ok(DecoderState::DecoderIdle) => "idle",
        Ok(DecoderState::DecoderRunning) => "running",
        Ok(DecoderState::DecoderBehind) => "behind",
        Ok(DecoderState::DecoderFailed) => "failed",
        Ok(DecoderState::Unspecified) | Err(_) => "other",
    }
}

/// One of the sessions that are open, by what carries them.
pub(super) struct Open(metrics::Gauge);

impl Open {
    pub(super) fn over(carrier: dt_transport::Carrier) -> Self {
        let open = metrics::gauge!("dt_sessions", "role" => "meeting", "carrier" => carrier.name());
        open.increment(1.0);
        Self(open)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use metrics::{
        Counter, CounterFn, Gauge, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder,
        SharedString,
    };

    use super::*;

    /// Keeps what is recorded as lines of text.
    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<String>>>);

    struct Line(Key, Lines);

    impl Line {
        fn put(&self, value: &dyn std::fmt::Display) {
            self.1.0.lock().unwrap().push(format!("{} {value}", self.0));
        }
    }

    impl CounterFn for Line {
        fn increment(&self, value: u64) {
            self.put(&value);
        }
        fn absolute(&self, value: u64) {
            self.put(&value);
        }
    }

    impl HistogramFn for Line {
        fn record(&self, value: f64) {
            self.put(&value);
        }
    }

    impl Recorder for Lines {
        fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
            Counter::from_arc(Arc::new(Line(key.clone(), self.clone())))
        }
        fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
            Gauge::noop()
        }
        fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
            Histogram::from_arc(Arc::new(Line(key.clone(), self.clone())))
        }
    }

    fn recorded(reports: &[HealthReport]) -> Vec<String> {
        let lines = Lines::default();
        metrics::with_local_recorder(&lines, || {
            let now = Instant::now();
            let mut counted = Reports::new(now);
            for report in reports {
                counted.count(report, now);
            }
        });
        let lines = lines.0.lock().unwrap();
        lines.clone()
    }

    fn count(lines: &[String], beginning: &str) -> usize {
        let of_it = lines.iter().filter(|line| line.contains(beginning));
        of_it.count()
    }

    #[test]
    fn what_a_client_measured_is_recorded_in_the_units_of_the_names() {
        let lines = recorded(&[HealthReport {
            signaling_carrier: SessionCarrier::Webtransport.into(),
            media_carrier: SessionCarrier::Websocket.into(),
            client: ClientKind::Firefox.into(),
            signaling_rtt_ms: Some(20),
            media_rtt_ms: None,
            jitter_ms: Some(0),
            lost_ppm: Some(5000),
            decoder: DecoderState::DecoderBehind.into(),
        }]);
        assert_eq!(count(&lines, MEDIA_RTT), 0, "{lines:?}");
        for (name, value) in [(SIGNALING_RTT, "0.02"), (JITTER, "0"), (LOST, "0.005")] {
            let line = lines.iter().find(|line| line.contains(name)).unwrap();
            assert!(line.ends_with(&format!(" {value}")), "{line}");
        }
        let labels = ["firefox", "webtransport", "websocket"];
        let report = lines.iter().find(|line| line.contains(REPORTS)).unwrap();
        assert!(
            labels.iter().all(|label| report.contains(label)),
            "{report}"
        );
        assert_eq!(count(&lines, "behind"), 1, "{lines:?}");
    }

    #[test]
    fn what_is_not_known_is_other_and_what_is_absurd_is_left_out() {
        let lines = recorded(&[HealthReport {
            signaling_carrier: 77,
            media_carrier: -1,
            client: i32::MAX,
            signaling_rtt_ms: Some(RTT_MS_MAX + 1),
            media_rtt_ms: Some(u32::MAX),
            jitter_ms: Some(JITTER_MS_MAX + 1),
            lost_ppm: Some(PPM + 1),
            decoder: i32::MIN,
        }]);
        assert_eq!(count(&lines, "absurd"), 4, "{lines:?}");
        assert_eq!(lines.len(), 6, "{lines:?}");
        let report = lines.iter().find(|line| line.contains(REPORTS)).unwrap();
        assert_eq!(report.matches("other").count(), 3, "{report}");
        assert!(!lines.iter().any(|line| line.contains("77")), "{lines:?}");
    }

    #[test]
    fn a_client_that_reports_without_end_does_not_weigh_more() {
        let lines = recorded(&vec![HealthReport::default(); 500]);
        assert_eq!(count(&lines, REPORTS), REPORTS_PER_MINUTE as usize);
        assert_eq!(count(&lines, "too_often"), 500 - 12);
    }
}
