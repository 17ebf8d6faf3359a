//! What a publisher of a load run sends: pictures at an even pace, in as many
//! encodings as were asked for, each while somebody receives it and as fast as they
//! can take.

use std::time::Duration;

use dt_client::{Layer, MediaFrame, Meeting, Publication, Publisher, Sent, now_us};
use dt_ids::Encoding;
use tokio_util::sync::CancellationToken;

use super::{
    DRAIN, LoadArgs,
    payload::{self, Sizes},
};

/// Of the largest encoding.
const SIZE: (u32, u32) = (1280, 720);
/// Of the bit rate of the largest, each smaller one has so many fifteenths: 100, 400
/// and 1500 kbit/s.
const FIFTEENTHS: [u32; 3] = [1, 4, 15];

/// What to publish.
pub(super) fn publication(args: &LoadArgs) -> Publication {
    let (width, height) = SIZE;
    let camera = Publication {
        carrier: args.carrier.into(),
        ..Publication::camera(width, height, args.fps)
    };
    let layers = layers(args);
    let max_bitrate = layers.iter().map(|layer| layer.max_bitrate).sum();
    let layers = if layers.len() > 1 { layers } else { Vec::new() };
    Publication {
        max_bitrate,
        layers,
        ..camera
    }
}

/// Smallest first.
fn layers(args: &LoadArgs) -> Vec<Layer> {
    let count = args.layers as usize;
    let shares = FIFTEENTHS.iter().skip(FIFTEENTHS.len() - count);
    let layer = |(place, share): (usize, &u32)| Layer {
        width: SIZE.0 >> (count - 1 - place),
        height: SIZE.1 >> (count - 1 - place),
        max_bitrate: args.video_kbps * 1000 * share / FIFTEENTHS[2],
    };
    shares.enumerate().map(layer).collect()
}

#[derive(Debug, Default)]
pub(super) struct SendCounts {
    pub(super) frames: u64,
    pub(super) bytes: u64,
    /// Moments of which at least one encoding went out.
    pub(super) pictures: u64,
    pub(super) not_sent: u64,
}

/// When a publisher sends what.
#[derive(Debug, Clone)]
pub(super) struct Pace {
    layers: Vec<Layer>,
    fps: u32,
    interval: Duration,
    /// After the others.
    phase: Duration,
    /// Frames that its first group is shorter than the others.
    skipped: u64,
}

impl Pace {
    /// Of the publisher at this place among so many: cameras don't take their
    /// pictures in step.
    pub(super) fn new(args: &LoadArgs, place: u64, publishers: u64) -> Self {
        let interval = Duration::from_secs(1) / args.fps;
        let group_frames = Sizes::new(args.video_kbps, args.fps).group_frames;
        Self {
            layers: layers(args),
            fps: args.fps,
            interval,
            #[allow(clippy::cast_precision_loss)] // there are few of them
            phase: interval.mul_f64(place as f64 / publishers as f64),
            skipped: group_frames * place / publishers,
        }
    }
}

/// One encoding, picture by picture.
#[derive(Debug)]
struct Encoder {
    encoding: Encoding,
    layer: Layer,
    /// With a single encoding frames are all of one size, so that what a run
    /// measures does not depend on estimates.
    obeys: bool,
    number: u64,
    in_group: u64,
    /// Of the first group, as if so many had gone before.
    skipped: u64,
}

impl Encoder {
    fn sizes(&self, publisher: &Publisher, fps: u32) -> Sizes {
        let directive = publisher.directive();
        let wanted = directive.of(self.encoding).map_or(0, |o| o.max_bitrate);
        let published = self.layer.max_bitrate;
        let bitrate = match wanted {
            wanted if self.obeys && wanted > 0 => wanted.min(published),
            _ => published,
        };
        Sizes::new(bitrate / 1000, fps)
    }

    /// Sends its share of a picture; its bytes.
    fn send(&mut self, publisher: &mut Publisher, at_us: u64, fps: u32) -> Result<u64, Sent> {
        let sizes = self.sizes(publisher, fps);
        // Before the first frame a key frame is due anyway.
        let key = publisher.take_key_frame_request_of(self.encoding) || self.in_group == 0;
        let payload = payload::make(self.number, key, &sizes);
        let bytes = payload.len() as u64;
        let mut frame = MediaFrame::video(at_us, key, payload).of_encoding(self.encoding);
        if self.obeys && !key && self.in_group % 2 == 1 {
            frame.temporal_layer = 1;
            frame.discardable = true;
        }
        match publisher.send(&frame) {
            Sent::Queued => {
                self.in_group = match (self.number, key) {
                    (0, _) => self.skipped + 1,
                    (_, true) => 1,
                    (_, false) => self.in_group + 1,
                } % sizes.group_frames;
                self.number += 1;
                Ok(bytes)
            }
            other => {
                self.in_group = 0;
                Err(other)
            }
        }
    }
}

/// Sends from `go` on until told to stop.
pub(super) async fn send(
    meeting: Meeting,
    mut publisher: Publisher,
    pace: Pace,
    go: tokio::time::Instant,
    stop: CancellationToken,
) -> (Meeting, SendCounts) {
    let mut counts = SendCounts::default();
    let obeys = pace.layers.len() > 1;
    let encoder = |(number, layer): (u32, &Layer)| {
        Some(Encoder {
            encoding: Encoding::try_from(number).ok()?,
            layer: *layer,
            obeys,
            number: 0,
            in_group: 0,
            skipped: pace.skipped,
        })
    };
    let mut encoders: Vec<_> = (0..).zip(&pace.layers).filter_map(encoder).collect();
    let mut tick = tokio::time::interval_at(go + pace.phase, pace.interval);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut last_us = 0;
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            _ = tick.tick() => {}
        }
        // All encodings of a picture have its timestamp.
        last_us = now_us().max(last_us + 1);
        let mut sent = false;
        for encoder in &mut encoders {
            match encoder.send(&mut publisher, last_us, pace.fps) {
                Ok(bytes) => {
                    counts.frames += 1;
                    counts.bytes += bytes;
                    sent = true;
                }
                Err(Sent::NeedsKeyFrame | Sent::TooLong) => counts.not_sent += 1,
                Err(Sent::Paused | Sent::Queued) => {}
            }
        }
        counts.pictures += u64::from(sent);
    }
    // Dropped, it would take the stream away while frames are under way.
    tokio::time::sleep(DRAIN).await;
    drop(publisher);
    (meeting, counts)
}
