//! How the meeting is for this client, as it tells the controller every ten
//! seconds.
//!
//! Signaling and media sessions note what carries them and how long round trips
//! take, the receiving side each frame; the driver takes a report out. Decoding
//! is the application's, so nothing is said of it.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use dt_frame::MediaKind;
use dt_ids::{HandlerId, StreamId};
use dt_transport::Carrier;
use dt_wire::v1::{ClientKind, DecoderState, HealthReport, SessionCarrier};

use crate::{ReceiveStats, ReceivedFrame};

/// Between two reports.
pub(crate) const REPORT_EVERY: Duration = Duration::from_secs(10);
/// Sounds that are followed at once; more are left out of the figure.
const SOUNDS_MAX: usize = 64;

/// What carries the sessions of a seat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Carriers {
    /// The signaling session, or the last one there was.
    pub signaling: Carrier,
    /// Each media session that is open.
    pub media: Vec<Carrier>,
}

/// Shared by everything that knows a part of it.
#[derive(Debug, Default)]
pub(crate) struct Health(Mutex<Figures>);

impl Health {
    fn figures(&self) -> MutexGuard<'_, Figures> {
        // The figures are whole between any two calls.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn signaling_opened(&self, carrier: Carrier) {
        self.figures().signaling = carrier;
    }

    pub(crate) fn media_opened(&self, handler: HandlerId, carrier: Carrier) {
        self.figures().media.insert(handler, (carrier, None));
    }

    pub(crate) fn media_closed(&self, handler: HandlerId) {
        self.figures().media.remove(&handler);
    }

    pub(crate) fn carriers(&self) -> Carriers {
        let figures = self.figures();
        let mut media: Vec<_> = figures
            .media
            .values()
            .map(|(carrier, _)| *carrier)
            .collect();
        media.sort_by_key(|carrier| carrier.name());
        Carriers {
            signaling: figures.signaling,
            media,
        }
    }

    pub(crate) fn media_rtt(&self, handler: HandlerId, rtt: Option<Duration>) {
        if let Some((_, known)) = self.figures().media.get_mut(&handler) {
            *known = rtt;
        }
    }

    pub(crate) fn received(&self, frames: &[ReceivedFrame]) {
        if frames.iter().all(|frame| frame.kind != MediaKind::Audio) {
            return;
        }
        let mut figures = self.figures();
        for frame in frames {
            if frame.kind == MediaKind::Audio {
                figures.sound(frame.stream_id, frame.timestamp_us, frame.received_us);
            }
        }
    }

    /// The report of what was since the last one.
    pub(crate) fn report(
        &self,
        rtt: Option<Duration>,
        received: ReceiveStats,
        home: Option<HandlerId>,
    ) -> HealthReport {
        self.figures().report(rtt, received, home)
    }
}

#[derive(Debug, Default)]
struct Figures {
    signaling: Carrier,
    /// A session each handler at most.
    media: HashMap<HandlerId, (Carrier, Option<Duration>)>,
    sounds: HashMap<StreamId, Jitter>,
    reported: ReceiveStats,
}

impl Figures {
    fn sound(&mut self, stream: StreamId, sent_us: u64, received_us: u64) {
        if self.sounds.len() < SOUNDS_MAX || self.sounds.contains_key(&stream) {
            let jitter = self.sounds.entry(stream).or_default();
            jitter.arrived(sent_us, received_us);
        }
    }

    fn report(
        &mut self,
        rtt: Option<Duration>,
        received: ReceiveStats,
        home: Option<HandlerId>,
    ) -> HealthReport {
        let before = std::mem::replace(&mut self.reported, received);
        // Streams come and go: each report stands for itself.
        let sounds = std::mem::take(&mut self.sounds);
        // What is seen comes from the home. Without it the slowest of the others.
        let home = home.and_then(|home| self.media.get(&home));
        let slowest = || self.media.values().max_by_key(|(_, rtt)| *rtt);
        let media = home.or_else(slowest).copied();
        HealthReport {
            signaling_carrier: named(self.signaling).into(),
            media_carrier: media
                .map_or(SessionCarrier::Unspecified, |(carrier, _)| named(carrier))
                .into(),
            client: ClientKind::Program.into(),
            signaling_rtt_ms: rtt.map(milliseconds),
            media_rtt_ms: media.and_then(|(_, rtt)| rtt).map(milliseconds),
            jitter_ms: sounds.values().filter_map(Jitter::milliseconds).max(),
            lost_ppm: lost_ppm(
                received.frames.saturating_sub(before.frames),
                received.incomplete.saturating_sub(before.incomplete),
            ),
            decoder: DecoderState::DecoderIdle.into(),
        }
    }
}

/// How unevenly one sound arrives: RFC 3550, section 6.4.1, in microseconds.
#[derive(Debug, Default)]
struct Jitter {
    /// Of the last one: how long it took, by two clocks that need not agree.
    transit_us: Option<i64>,
    mean_us: Option<f64>,
}

impl Jitter {
    fn arrived(&mut self, sent_us: u64, received_us: u64) {
        // Clocks may differ by anything; only changes of the difference count.
        let transit_us = received_us.wrapping_sub(sent_us).cast_signed();
        if let Some(last) = self.transit_us.replace(transit_us) {
            let change = transit_us.wrapping_sub(last).unsigned_abs() as f64;
            let mean = self.mean_us.unwrap_or_default();
            self.mean_us = Some(mean + (change - mean) / 16.0);
        }
    }

    fn milliseconds(&self) -> Option<u32> {
        // The conversion saturates.
        self.mean_us.map(|mean| (mean / 1000.0).round() as u32)
    }
}

/// Frames that never arrived whole, of all that were sent here.
fn lost_ppm(whole: u64, lost: u64) -> Option<u32> {
    let all = u128::from(whole) + u128::from(lost);
    let ppm = (u128::from(lost) * 1_000_000).checked_div(all)?;
    u32::try_from(ppm).ok()
}

fn milliseconds(time: Duration) -> u32 {
    u32::try_from(time.as_millis()).unwrap_or(u32::MAX)
}

fn named(carrier: Carrier) -> SessionCarrier {
    match carrier {
        Carrier::WebTransport => SessionCarrier::Webtransport,
        Carrier::WebSocket => SessionCarrier::Websocket,
        _ => SessionCarrier::Unspecified,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sound_that_comes_evenly_has_no_jitter_whatever_the_clocks_say() {
        let mut jitter = Jitter::default();
        assert_eq!(jitter.milliseconds(), None);
        for n in 0..100 {
            jitter.arrived(u64::MAX - 5_000_000 + n * 20_000, n * 20_000);
        }
        assert_eq!(jitter.milliseconds(), Some(0));
    }

    #[test]
    fn the_jitter_is_the_mean_deviation_between_neighbours() {
        let mut jitter = Jitter::default();
        for n in 0..500_u64 {
            // Every other packet is 8 ms late.
            jitter.arrived(n * 20_000, n * 20_000 + (n % 2) * 8000);
        }
        assert_eq!(jitter.milliseconds(), Some(8));
    }

    #[test]
    fn loss_is_a_share_of_what_was_sent_since_the_report_before() {
        let mut figures = Figures::default();
        let stats = |frames, incomplete| ReceiveStats {
            frames,
            incomplete,
            ..ReceiveStats::default()
        };
        let mut lost = |frames, incomplete| {
            let report = figures.report(None, stats(frames, incomplete), None);
            report.lost_ppm
        };
        assert_eq!(lost(0, 0), None);
        assert_eq!(lost(990, 10), Some(10_000));
        assert_eq!(lost(990, 11), Some(1_000_000));
        assert_eq!(lost(2000, 11), Some(0));
        assert_eq!(lost(2000, 11), None);
    }

    #[test]
    fn a_report_names_the_carriers_and_the_home() {
        let health = Health::default();
        let (home, spare) = (HandlerId::random(), HandlerId::random());
        let report = || {
            let rtt = Some(Duration::from_millis(12));
            health.report(rtt, ReceiveStats::default(), Some(home))
        };
        health.signaling_opened(Carrier::WebSocket);
        assert_eq!(report().signaling_carrier(), SessionCarrier::Websocket);
        assert_eq!(report().media_carrier(), SessionCarrier::Unspecified);
        assert_eq!(
            (report().signaling_rtt_ms, report().media_rtt_ms),
            (Some(12), None)
        );

        health.media_opened(spare, Carrier::WebSocket);
        health.media_rtt(spare, Some(Duration::from_millis(50)));
        assert_eq!(report().media_carrier(), SessionCarrier::Websocket);
        health.media_opened(home, Carrier::WebTransport);
        health.media_rtt(home, Some(Duration::from_millis(5)));
        assert_eq!(report().media_carrier(), SessionCarrier::Webtransport);
        assert_eq!(report().media_rtt_ms, Some(5));
        assert_eq!(health.carriers().media.len(), 2);

        health.media_closed(home);
        assert_eq!(report().media_rtt_ms, Some(50));
    }
}
