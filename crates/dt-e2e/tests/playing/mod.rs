//! Sound and pictures that say who sent them and which they are, and waiting.
//! Shared by the tests in which programs meet.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use dt_client::{AudioLevel, FourCc, MediaFrame, Publisher, ReceivedFrame, now_us};
use tokio_util::sync::CancellationToken;

/// For whatever a test waits for.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);
/// A group of pictures has so many.
const GROUP: u64 = 25;

pub(crate) async fn soon<T>(what: &str, wanted: impl Future<Output = T>) -> Result<T> {
    tokio::time::timeout(DEADLINE, wanted)
        .await
        .with_context(|| format!("waiting for {what}"))
}

/// What the payload of a frame says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) sender: String,
    /// Counts what its stream has sent, from 0.
    #[allow(dead_code)] // not every test counts
    pub(crate) number: u64,
}

impl Mark {
    fn payload(&self, bytes: usize) -> Bytes {
        let mut payload = format!("{}|{}|", self.sender, self.number).into_bytes();
        payload.resize(bytes, b'.');
        payload.into()
    }

    pub(crate) fn of(frame: &ReceivedFrame) -> Result<Self> {
        let spoilt = "a frame is spoilt";
        let text = std::str::from_utf8(&frame.payload).context(spoilt)?;
        let mut parts = text.splitn(3, '|');
        let sender = parts.next().context(spoilt)?.to_owned();
        let number = parts.next().context(spoilt)?.parse().context(spoilt)?;
        let rest = parts.next().context(spoilt)?;
        ensure!(rest.bytes().all(|byte| byte == b'.'), spoilt);
        Ok(Self { sender, number })
    }
}

/// Plays until told to stop: sound every 20 ms, or pictures every 40 ms.
pub(crate) async fn play(mut publisher: Publisher, name: &'static str, stop: CancellationToken) {
    let sound = publisher.publication().codec == FourCc::Opus;
    let level = AudioLevel {
        voice: true,
        below_overload_db: 10,
    };
    let every = Duration::from_millis(if sound { 20 } else { 40 });
    let mut tick = tokio::time::interval(every);
    let mut number = 0_u64;
    while stop.run_until_cancelled(tick.tick()).await.is_some() {
        let mark = Mark {
            sender: name.to_owned(),
            number,
        };
        let frame = if sound {
            MediaFrame::audio(now_us(), level, mark.payload(80))
        } else {
            let key = number.is_multiple_of(GROUP) || publisher.take_key_frame_request();
            let bytes = if key { 20_000 } else { 3000 };
            MediaFrame::video(now_us(), key, mark.payload(bytes))
        };
        // Not wanted, or late: the next one is on its way.
        let _ = publisher.send(&frame);
        number += 1;
    }
}
