//! Plays the clips that are built in, as a camera and a microphone would.

use std::{collections::HashSet, sync::Arc};

use anyhow::Context as _;
use bytes::Bytes;
use dt_client::{
    AudioLevel, Layer, MediaFrame, MediaKind, Publication, Publisher, Sent, clip::Clip, now_us,
};
use dt_ids::Encoding;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::{Kind, ledger::KnownPayloads};

/// The same pictures in three sizes, smallest first, each half the sides of the
/// next, with key frames at the same places.
const VIDEO: [&[u8]; 3] = [
    include_bytes!("../../clips/video-quarter.ivf"),
    include_bytes!("../../clips/video-half.ivf"),
    include_bytes!("../../clips/video.ivf"),
];
const AUDIO: &[u8] = include_bytes!("../../clips/audio.ogg");

/// The audio clip beeps for the first 120 ms of every half second; these are its
/// packets of 20 ms.
const BEEP_PERIOD_PACKETS: usize = 25;
const BEEP_PACKETS: usize = 7;
const BEEP: AudioLevel = AudioLevel {
    voice: true,
    below_overload_db: 15,
};
const QUIET: AudioLevel = AudioLevel {
    voice: false,
    below_overload_db: 100,
};

/// What a player has sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct SentCounts {
    pub(crate) audio_frames: u64,
    pub(crate) video_frames: u64,
    pub(crate) bytes: u64,
}

impl SentCounts {
    pub(crate) fn add(&mut self, other: &Self) {
        self.audio_frames += other.audio_frames;
        self.video_frames += other.video_frames;
        self.bytes += other.bytes;
    }
}

/// The clips that are built in.
#[derive(Debug, Clone)]
pub(super) struct Clips {
    /// One, or several encodings of the same, smallest first.
    video: Arc<[Clip]>,
    audio: Arc<[Clip]>,
}

impl Clips {
    /// Video in so many encodings, three at most.
    pub(super) fn load(layers: usize) -> anyhow::Result<Self> {
        let files = VIDEO.iter().skip(VIDEO.len().saturating_sub(layers.max(1)));
        let video = files
            .map(|file| Clip::from_ivf(&Bytes::from_static(file)))
            .collect::<Result<_, _>>()
            .context("the video clip")?;
        let audio = Clip::from_ogg(&Bytes::from_static(AUDIO)).context("the audio clip")?;
        Ok(Self {
            video,
            audio: Arc::new([audio]),
        })
    }

    /// Every payload that a bot may send, however many encodings it has.
    pub(super) fn known_payloads(&self) -> anyhow::Result<KnownPayloads> {
        let all = Self::load(VIDEO.len())?;
        let clips = all.video.iter().chain(all.audio.iter());
        let frames = clips.flat_map(|clip| clip.frames());
        Ok(Arc::new(
            frames
                .map(|frame| frame.payload.clone())
                .collect::<HashSet<_>>(),
        ))
    }

    pub(super) fn publication(&self, kind: Kind) -> Publication {
        let Some(largest) = self.video.last() else {
            return Publication::microphone();
        };
        let publication = kind.publication(largest.width(), largest.height(), framerate(largest));
        match kind {
            Kind::Video if self.video.len() > 1 => {
                let layers: Vec<_> = self.video.iter().map(layer).collect();
                publication.in_layers(&layers)
            }
            Kind::Audio | Kind::Video | Kind::Screen => publication,
        }
    }

    /// Plays the clip that fits, in a loop, until told to stop.
    pub(super) fn play(
        &self,
        publisher: Publisher,
        stop: CancellationToken,
    ) -> impl Future<Output = SentCounts> + Send + 'static {
        let clips = match publisher.publication().codec.kind() {
            MediaKind::Audio => Arc::clone(&self.audio),
            MediaKind::Video => Arc::clone(&self.video),
        };
        async move {
            // A screen has one encoding: the largest.
            let count = publisher.publication().layers.len().max(1);
            let first = clips.len().saturating_sub(count);
            let encodings = (0..).zip(&clips[first..]).filter_map(|(number, clip)| {
                Some(Track {
                    encoding: Encoding::try_from(number).ok()?,
                    clip: clip.clone(),
                    place: 0,
                })
            });
            let mut player = Player {
                encodings: encodings.collect(),
                publisher,
                last_us: 0,
                sent: SentCounts::default(),
            };
            tokio::select! {
                () = player.play() => {}
                () = stop.cancelled() => {}
            }
            player.sent
        }
    }
}

/// One encoding, and where in it the player is.
struct Track {
    encoding: Encoding,
    clip: Clip,
    place: usize,
}

struct Player {
    encodings: Vec<Track>,
    publisher: Publisher,
    last_us: u64,
    sent: SentCounts,
}

impl Player {
    /// Ends when the stream is not published any more.
    async fn play(&mut self) {
        let Some(interval) = self.encodings.first().map(|e| e.clip.frame_duration()) else {
            return;
        };
        let mut next = Instant::now();
        loop {
            if !self.publisher.is_active() {
                if !self.publisher.directive_changed().await {
                    return;
                }
                next = Instant::now();
                continue;
            }
            tokio::select! {
                () = sleep_until(next) => {}
                // A camera would encode its last picture at once.
                () = self.publisher.key_frame_requested() => {}
            }
            self.send_next();
            let now = Instant::now();
            next += interval;
            if next < now {
                // The machine was too busy; what was missed is left out.
                next = now;
            }
        }
    }

    /// A picture in every encoding that somebody receives, or a packet of sound.
    fn send_next(&mut self) {
        // Timestamps rise strictly, whatever the clock does.
        self.last_us = now_us().max(self.last_us + 1);
        for track in &mut self.encodings {
            if self.publisher.take_key_frame_request_of(track.encoding) {
                track.place = track.clip.key_frame_from(track.place);
            }
            track.send(&mut self.publisher, self.last_us, &mut self.sent);
        }
    }
}

impl Track {
    fn send(&mut self, publisher: &mut Publisher, at_us: u64, counts: &mut SentCounts) {
        let frame = self.clip.frames()[self.place].clone();
        let audio = publisher.publication().codec.kind() == MediaKind::Audio;
        let media = if audio {
            MediaFrame::audio(at_us, level(self.place), frame.payload)
        } else {
            MediaFrame::video(at_us, frame.key, frame.payload).of_encoding(self.encoding)
        };
        match publisher.send(&media) {
            Sent::Queued => {
                counts.bytes += media.payload.len() as u64;
                if audio {
                    counts.audio_frames += 1;
                } else {
                    counts.video_frames += 1;
                }
                self.place = (self.place + 1) % self.clip.frames().len();
            }
            Sent::NeedsKeyFrame => self.place = self.clip.key_frame_from(self.place),
            Sent::Paused => {}
            Sent::TooLong => self.place = (self.place + 1) % self.clip.frames().len(),
        }
    }
}

fn framerate(clip: &Clip) -> u32 {
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // about 30
    let framerate = clip.frame_duration().as_secs_f64().recip().round() as u32;
    framerate
}

/// As it plays, at the bit rate that it has.
fn layer(clip: &Clip) -> Layer {
    let bytes: usize = clip.frames().iter().map(|frame| frame.payload.len()).sum();
    let seconds = clip.frame_duration().as_secs_f64() * clip.frames().len() as f64;
    Layer {
        width: clip.width(),
        height: clip.height(),
        // The conversion saturates.
        max_bitrate: (bytes as f64 * 8.0 / seconds) as u32,
    }
}

fn level(place: usize) -> AudioLevel {
    if place % BEEP_PERIOD_PACKETS < BEEP_PACKETS {
        BEEP
    } else {
        QUIET
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clips_are_whole_and_known() {
        let clips = Clips::load(3).unwrap();
        let known = clips.known_payloads().unwrap();
        for clip in clips.video.iter().chain(clips.audio.iter()) {
            assert!(clip.frames().iter().all(|f| known.contains(&f.payload)));
        }
        assert_eq!(clips.publication(Kind::Screen).framerate, 30);
    }

    #[test]
    fn encodings_are_the_same_pictures_each_half_the_sides_of_the_next() {
        let clips = Clips::load(3).unwrap();
        let layers = clips.publication(Kind::Video).layers;
        let sizes: Vec<_> = layers.iter().map(|l| (l.width, l.height)).collect();
        assert_eq!(sizes, [(160, 90), (320, 180), (640, 360)]);
        assert!(layers.is_sorted_by_key(|layer| layer.max_bitrate));
        let keys = |clip: &Clip| -> Vec<bool> { clip.frames().iter().map(|f| f.key).collect() };
        assert!(clips.video.iter().all(|c| keys(c) == keys(&clips.video[0])));
        let one = Clips::load(1).unwrap().publication(Kind::Video);
        assert!(one.layers.is_empty() && one.width == 640);
        assert!(clips.publication(Kind::Screen).layers.is_empty());
    }

    #[test]
    fn beeps_are_loud_and_the_rest_is_quiet() {
        let loud: Vec<_> = (0..50).filter(|place| level(*place) == BEEP).collect();
        assert_eq!(loud, [0, 1, 2, 3, 4, 5, 6, 25, 26, 27, 28, 29, 30, 31]);
    }
}
