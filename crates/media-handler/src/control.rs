//! The control stream of a media session: reading and writing its messages.

use std::time::Duration;

use bytes::Bytes;
use dt_transport::{RecvStream, SendStream, StreamError};
use dt_wire::{
    framing::{self, Framed},
    v1::{ErrorCode, ErrorMessage, MediaServerMessage, media_server_message},
};
use tokio::sync::mpsc;

/// Bytes of one control message at most: a token or the name of a stream. Far
/// below the limit of signaling, for there may be thousands of sessions.
const MESSAGE_BYTES_MAX: usize = 16 << 10;
/// Bytes taken from the stream at once.
const READ_BYTES: usize = 4 << 10;

/// The control stream can't be read on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ControlError {
    #[error("the client broke the framing of the control stream")]
    Framing(#[from] framing::FramingError),
    #[error("the client ended the control stream")]
    Ended,
    #[error("the control stream broke")]
    Stream(#[from] StreamError),
}

/// Reads whole messages.
pub(crate) struct ControlReader<R> {
    stream: R,
    decoder: framing::Decoder,
}

impl<R: RecvStream> ControlReader<R> {
    pub(crate) fn new(stream: R) -> Self {
        Self {
            stream,
            decoder: framing::Decoder::new(MESSAGE_BYTES_MAX),
        }
    }

    /// The next message. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Result<Framed, ControlError> {
        loop {
            if let Some(framed) = self.decoder.next()? {
                return Ok(framed);
            }
            match self.stream.read_chunk(READ_BYTES).await? {
                Some(chunk) => self.decoder.push(&chunk),
                None => return Err(ControlError::Ended),
            }
        }
    }
}

/// Writes what is queued, until the queue or the stream ends.
pub(crate) async fn write<W: SendStream>(mut stream: W, mut queue: mpsc::Receiver<Bytes>) {
    let mut batch = Vec::new();
    while queue.recv_many(&mut batch, 16).await > 0 {
        if stream.write_chunks(&mut batch).await.is_err() {
            return;
        }
        batch.clear();
    }
}

/// An error as an answer.
pub(crate) fn error(request_id: u64, code: ErrorCode, message: &str) -> Bytes {
    answer(request_id, ErrorMessage::with(code, message))
}

/// `RATE_LIMITED`, with the time to wait.
pub(crate) fn rate_limited(request_id: u64, wait: Duration) -> Bytes {
    let mut error = ErrorMessage::with(ErrorCode::RateLimited, "too many control messages");
    error.retry_after_ms = Some(u32::try_from(wait.as_millis()).unwrap_or(u32::MAX));
    answer(request_id, error)
}

fn answer(request_id: u64, error: ErrorMessage) -> Bytes {
    let body = media_server_message::Body::Error(error);
    framing::encode(&MediaServerMessage::new(request_id, body))
}
