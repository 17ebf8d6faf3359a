//! Plays the clips that are built in, as a camera and a microphone would.

use std::{collections::HashSet, sync::Arc};

use anyhow::Context as _;
use bytes::Bytes;
use dt_client::{
    AudioLevel, MediaFrame, MediaKind, Publication, Publisher, Sent, clip::Clip, now_us,
};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::{Kind, ledger::KnownPayloads};

const VIDEO: &[u8] = include_bytes!("../../clips/video.ivf");
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
    video: Arc<Clip>,
    audio: Arc<Clip>,
}

impl Clips {
    pub(super) fn load() -> anyhow::Result<Self> {
        let video = Clip::from_ivf(&Bytes::from_static(VIDEO)).context("the video clip")?;
        let audio = Clip::from_ogg(&Bytes::from_static(AUDIO)).context("the audio clip")?;
        Ok(Self {
            video: Arc::new(video),
            audio: Arc::new(audio),
        })
    }

    /// Every payload that a bot may send.
    pub(super) fn known_payloads(&self) -> KnownPayloads {
        let frames = self.video.frames().iter().chain(self.audio.frames());
        Arc::new(
            frames
                .map(|frame| frame.payload.clone())
                .collect::<HashSet<_>>(),
        )
    }

    pub(super) fn publication(&self, kind: Kind) -> Publication {
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // about 30
        let framerate = self.video.frame_duration().as_secs_f64().recip().round() as u32;
        kind.publication(self.video.width(), self.video.height(), framerate)
    }

    /// Plays the clip that fits, in a loop, until told to stop.
    pub(super) fn play(
        &self,
        publisher: Publisher,
        stop: CancellationToken,
    ) -> impl Future<Output = SentCounts> + Send + 'static {
        let clip = match publisher.publication().codec.kind() {
            MediaKind::Audio => Arc::clone(&self.audio),
            MediaKind::Video => Arc::clone(&self.video),
        };
        async move {
            let mut player = Player {
                clip,
                publisher,
                place: 0,
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

struct Player {
    clip: Arc<Clip>,
    publisher: Publisher,
    place: usize,
    last_us: u64,
    sent: SentCounts,
}

impl Player {
    /// Ends when the stream is not published any more.
    async fn play(&mut self) {
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
            if self.publisher.take_key_frame_request() {
                self.place = self.clip.key_frame_from(self.place);
            }
            self.send_next();
            let now = Instant::now();
            next += self.clip.frame_duration();
            if next < now {
                // The machine was too busy; what was missed is left out.
                next = now;
            }
        }
    }

    fn send_next(&mut self) {
        let frame = self.clip.frames()[self.place].clone();
        // Timestamps rise strictly, whatever the clock does.
        self.last_us = now_us().max(self.last_us + 1);
        let audio = self.publisher.publication().codec.kind() == MediaKind::Audio;
        let media = if audio {
            MediaFrame::audio(self.last_us, level(self.place), frame.payload)
        } else {
            MediaFrame::video(self.last_us, frame.key, frame.payload)
        };
        match self.publisher.send(&media) {
            Sent::Queued => {
                self.sent.bytes += media.payload.len() as u64;
                if audio {
                    self.sent.audio_frames += 1;
                } else {
                    self.sent.video_frames += 1;
                }
                self.place = (self.place + 1) % self.clip.frames().len();
            }
            Sent::NeedsKeyFrame => self.place = self.clip.key_frame_from(self.place),
            Sent::Paused => {}
            Sent::TooLong => self.place = (self.place + 1) % self.clip.frames().len(),
        }
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
        let clips = Clips::load().unwrap();
        let known = clips.known_payloads();
        for frame in clips.video.frames().iter().chain(clips.audio.frames()) {
            assert!(known.contains(&frame.payload));
        }
        assert_eq!(clips.publication(Kind::Screen).framerate, 30);
    }

    #[test]
    fn beeps_are_loud_and_the_rest_is_quiet() {
        let loud: Vec<_> = (0..50).filter(|place| level(*place) == BEEP).collect();
        assert_eq!(loud, [0, 1, 2, 3, 4, 5, 6, 25, 26, 27, 28, 29, 30, 31]);
    }
}
