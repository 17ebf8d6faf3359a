//! People who each say a tone, and what they hear.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use dt_client::{
    Api, Carrier, JoinOptions, Joined, Layout, MIXED_STREAM, MediaKind, Meeting, Publication,
    ReceivedFrame, Transport,
};
use dt_ids::StreamId;
use tokio::{sync::mpsc, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::tones::{Ear, speak};

/// For whatever a test waits for.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

pub(crate) async fn soon<T>(what: &str, wanted: impl Future<Output = Result<T>>) -> Result<T> {
    let waited = tokio::time::timeout(DEADLINE, wanted).await;
    waited.with_context(|| format!("waiting for {what}"))?
}

/// How somebody takes part.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Part {
    pub(crate) hertz: f32,
    pub(crate) mix: bool,
    pub(crate) transport: Transport,
    pub(crate) carrier: Carrier,
}

impl Part {
    pub(crate) const fn saying(hertz: f32) -> Self {
        Self {
            hertz,
            mix: false,
            transport: Transport::WebTransport,
            carrier: Carrier::Unspecified,
        }
    }

    pub(crate) const fn mixed(self) -> Self {
        Self { mix: true, ..self }
    }
}

/// Somebody who says a tone all the time.
pub(crate) struct Person {
    pub(crate) meeting: Meeting,
    pub(crate) voice: StreamId,
    frames: mpsc::Receiver<ReceivedFrame>,
    stop: CancellationToken,
    speaking: JoinHandle<()>,
}

/// What came in a while.
#[derive(Debug, Default)]
pub(crate) struct Counted {
    pub(crate) mixed: u64,
    pub(crate) mixed_bytes: u64,
    pub(crate) plain: u64,
}

impl Person {
    pub(crate) async fn join(api: &Api, code: &str, part: Part) -> Result<Self> {
        let options = JoinOptions {
            transport: part.transport,
            layout: Some(Layout {
                mix_audio: part.mix,
                ..Layout::grid(1, 1)
            }),
            ..JoinOptions::named(format!("{} Hz", part.hertz)).publishing(Publication {
                carrier: part.carrier,
                ..Publication::microphone()
            })
        };
        let access = api.guest_access(code).await?;
        let joining = async { Ok(Meeting::join(access, options).await?) };
        let Joined {
            meeting,
            frames,
            mut publishers,
            ..
        } = soon("a seat", joining).await?;
        let publisher = publishers.pop().context("no microphone")?;
        let voice = publisher.stream_id();
        let stop = CancellationToken::new();
        Ok(Self {
            meeting,
            voice,
            frames,
            speaking: tokio::spawn(speak(publisher, part.hertz, stop.clone())),
            stop,
        })
    }

    async fn frame(&mut self) -> Result<ReceivedFrame> {
        loop {
            let frame = self.frames.recv().await.context("the seat is over")?;
            if frame.kind == MediaKind::Audio {
                return Ok(frame);
            }
        }
    }

    /// Waits until all of these are heard at once in the mix, and never any of
    /// those.
    pub(crate) async fn hears(&mut self, tones: &[f32], never: &[f32]) -> Result<()> {
        self.hears_in(MIXED_STREAM, tones, never).await
    }

    /// The same of any stream.
    pub(crate) async fn hears_in(
        &mut self,
        stream: StreamId,
        tones: &[f32],
        never: &[f32],
    ) -> Result<()> {
        let mut ear = Ear::new()?;
        let listening = async {
            loop {
                let frame = self.frame().await?;
                if frame.stream_id != stream {
                    continue;
                }
                ear.hear(&frame.payload)?;
                // An ear takes its time.
                if !ear.is_full() || !ear.packets.is_multiple_of(5) {
                    continue;
                }
                for hertz in never {
                    let level = ear.level(*hertz);
                    ensure!(level < 0.1, "{hertz} Hz is heard at {level}");
                }
                if tones.iter().all(|hertz| ear.hears(*hertz)) {
                    return Ok(());
                }
            }
        };
        let heard = tokio::time::timeout(DEADLINE, listening).await;
        heard.unwrap_or_else(|_| {
            let levels: Vec<_> = tones.iter().map(|hertz| ear.level(*hertz)).collect();
            let packets = ear.packets;
            anyhow::bail!("heard {levels:?} of {tones:?} after {packets} packets")
        })
    }

    /// What comes from now on, for so long.
    pub(crate) async fn count(&mut self, time: Duration) -> Result<Counted> {
        while self.frames.try_recv().is_ok() {}
        let mut counted = Counted::default();
        let over = tokio::time::sleep(time);
        tokio::pin!(over);
        loop {
            let frame = tokio::select! {
                frame = self.frame() => frame?,
                () = &mut over => return Ok(counted),
            };
            if frame.stream_id == MIXED_STREAM {
                counted.mixed += 1;
                counted.mixed_bytes += frame.payload.len() as u64;
            } else {
                counted.plain += 1;
            }
        }
    }

    /// The bit rate of a stream over so many packets.
    pub(crate) async fn bitrate(&mut self, stream: StreamId, packets: u64) -> Result<u64> {
        soon("packets", async {
            let (mut came, mut bytes) = (0, 0);
            while came < packets {
                let frame = self.frame().await?;
                if frame.stream_id == stream {
                    came += 1;
                    bytes += frame.payload.len() as u64;
                }
            }
            Ok(bytes * 8 * 50 / packets)
        })
        .await
    }

    pub(crate) async fn leave(self) -> Result<()> {
        self.stop.cancel();
        self.speaking.await?;
        self.meeting.leave().await;
        Ok(())
    }
}
