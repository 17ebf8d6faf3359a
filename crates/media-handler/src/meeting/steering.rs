//! What receivers show and what their paths carry on its way to the forwarder,
//! and what follows from it on its way to senders and controllers.

use bytes::Bytes;
use dt_forward_core::{PathSample, ReceiverReport, SenderReport, SessionKey, Tile, Wanted};
use dt_ids::{MeetingId, StreamId};
use dt_transport::PathStats;
use dt_wire::{
    framing,
    internal::{EncodingDemand, HandlerEvent, WantedEncoding, handler_event},
    v1::{self, MediaServerMessage, media_server_message},
};

use super::{Meeting, State, event};
use crate::now;

/// What receivers drop unread (WIRE section 1), in a size that every path takes.
static PADDING: [u8; 1000] = {
    let mut bytes = [0; 1000];
    bytes[0] = b'p';
    bytes
};
/// Bytes of QUIC and UDP around a datagram.
const AROUND_BYTES: usize = 60;
/// Datagrams of padding at once, whatever is asked for.
const PADDING_MAX: usize = 64;

impl Meeting {
    /// A receiver says what it shows.
    pub(crate) fn receiver_report(&self, session: SessionKey, report: &v1::ReceiverReport) {
        let tile = |tile: &v1::TileReport| Tile {
            slot: tile.slot,
            width: tile.width,
            height: tile.height,
            max_bitrate_bps: tile.max_bitrate,
        };
        let report = ReceiverReport {
            tiles: report.tiles.iter().map(tile).collect(),
            max_bitrate_bps: report.max_bitrate,
            overloaded: report.overloaded,
        };
        self.with(|s| s.forwarder.receiver_report(session, &report, now()));
    }
}

impl State {
    /// Gives the forwarder the figures of every path that media goes out on.
    pub(super) fn sample_paths(&mut self) {
        let now = now();
        for (session, (_, port)) in &self.ports {
            if self.forwarder.receives(*session) {
                let stats = port.path_stats();
                let sample = sample(&stats);
                port.receiver().path(sample.window_bytes, stats.rtt);
                self.forwarder.path(*session, &sample, now);
                // Twenty lines a second a receiver: for who asks why a picture is as it is.
                tracing::trace!(
                    session = session.0,
                    ?sample,
                    view = ?self.forwarder.path_view(*session),
                    "path"
                );
            }
        }
    }

    pub(super) fn pad(&mut self, session: SessionKey, bytes: usize) {
        let Some(port) = self.port(session) else {
            return;
        };
        if !port.receiver().is_idle() {
            return;
        }
        for piece in padding(bytes) {
            port.send_datagram(piece);
        }
        metrics::counter!("media_padding_bytes_total").increment(bytes as u64);
    }

    pub(super) fn report_to_sender(&mut self, session: SessionKey, report: SenderReport) {
        let body = media_server_message::Body::SenderReport(v1::SenderReport {
            lost_ppm: report.lost_ppm,
            repeat_audio: report.repeat_audio,
        });
        let message = framing::encode(&MediaServerMessage::new(0, body));
        if let Some(port) = self.port(session) {
            port.send_control(message);
        }
    }

    pub(super) fn tell_demand(&self, stream_id: StreamId, encodings: &[Wanted]) {
        self.events
            .tell(&demand_event(self.id, stream_id, encodings));
    }
}

/// No more than was asked for: on a narrow path a whole datagram is a queue.
fn padding(bytes: usize) -> impl Iterator<Item = Bytes> {
    let whole = PADDING.len() + AROUND_BYTES;
    let pieces = (0..bytes).step_by(whole).take(PADDING_MAX);
    pieces.map(move |from| {
        let bytes = (bytes - from).min(whole).saturating_sub(AROUND_BYTES);
        Bytes::from_static(&PADDING[..bytes.max(1)])
    })
}

pub(super) fn demand_event(
    meeting: MeetingId,
    stream_id: StreamId,
    encodings: &[Wanted],
) -> HandlerEvent {
    let wanted = |wanted: &Wanted| WantedEncoding {
        encoding: u32::from(wanted.encoding.get()),
        max_bitrate: wanted.max_bitrate_bps,
    };
    let demand = EncodingDemand {
        stream_id: stream_id.to_string(),
        encodings: encodings.iter().map(wanted).collect(),
    };
    event(meeting, handler_event::Event::Demand(demand))
}

fn sample(stats: &PathStats) -> PathSample {
    let latest = !stats.rtt_latest.is_zero();
    PathSample {
        // What is not acknowledged yet will have taken longer still.
        rtt: if latest {
            stats.rtt_latest.max(stats.unanswered)
        } else {
            stats.rtt
        },
        acknowledged_bytes: stats.acknowledged_bytes,
        sent_bytes: stats.sent_bytes,
        sent_packets: stats.sent_packets,
        lost_packets: stats.lost_packets,
        window_bytes: stats.congestion_window_bytes,
        blocked: stats.blocked,
    }
}
