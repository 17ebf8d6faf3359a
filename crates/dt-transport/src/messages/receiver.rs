//! The receiving half of a stream of messages, as its owner holds it.

use std::{fmt, sync::Arc};

use bytes::{Bytes, BytesMut};
use tokio::{sync::Notify, time::Instant};

use super::{
    RecvError, StreamConfig,
    endpoint::{Handle, Permit},
    metrics::{Meter, lock},
    streams::Key,
    wire::{FrameDecoder, TRAILER_BYTES, WireError, parse_trailer},
};
use crate::{RecvStream, Session};

/// Bytes read from a reliable stream at once.
const READ_BYTES_MAX: usize = 256 << 10;

/// Receives the messages of one stream.
///
/// Dropped before the stream's end it is stopped with code 0.
pub struct MessageReceiver<S: Session> {
    pub(super) key: Key,
    pub(super) config: StreamConfig,
    pub(super) half: Half<S>,
    pub(super) handle: Arc<Handle<S>>,
    pub(super) _permit: Option<Permit>,
}

pub(super) enum Half<S: Session> {
    Reliable {
        stream: S::Recv,
        decoder: FrameDecoder,
        meter: Arc<Meter>,
        /// What every later call answers.
        over: Option<Result<(), RecvError>>,
    },
    Datagrams {
        control: S::Recv,
        trailer: BytesMut,
        /// The control stream has said how the stream ends.
        over: Option<Result<(), RecvError>>,
        news: Arc<Notify>,
        /// What the receiver is stopped with when it is dropped.
        code: u32,
    },
}

impl<S: Session> fmt::Debug for MessageReceiver<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MessageReceiver")
            .field("key", &self.key)
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

impl<S: Session> MessageReceiver<S> {
    /// The stream's number among those that its opener opened.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.key.id()
    }

    /// How its messages travel.
    #[must_use]
    pub fn config(&self) -> &StreamConfig {
        &self.config
    }

    /// The next message, `None` at the stream's end. Cancel-safe.
    ///
    /// # Errors
    /// When the sender gave the stream up or broke the protocol, or the session
    /// is over.
    pub async fn recv(&mut self) -> Result<Option<Bytes>, RecvError> {
        match &mut self.half {
            Half::Reliable {
                stream,
                decoder,
                meter,
                over,
            } => {
                if let Some(over) = over {
                    return over.clone().map(|()| None);
                }
                let result = next_of(stream, decoder).await;
                match &result {
                    Ok(Some(message)) => meter.received(message.len()),
                    Ok(None) => *over = Some(Ok(())),
                    Err(error) => *over = Some(Err(error.clone())),
                }
                result
            }
            Half::Datagrams { .. } => self.recv_datagrams().await,
        }
    }

    async fn recv_datagrams(&mut self) -> Result<Option<Bytes>, RecvError> {
        let Half::Datagrams {
            control,
            trailer,
            over,
            news,
            ..
        } = &mut self.half
        else {
            return Ok(None);
        };
        let shared = &self.handle.shared;
        loop {
            {
                let mut streams = lock(&shared.streams);
                let ended = streams.ended.clone();
                let Some(inn) = streams.inn(self.key) else {
                    return Ok(None);
                };
                if let Some(message) = inn.machine.poll_message() {
                    return Ok(Some(message));
                }
                if inn.machine.is_finished() {
                    return Ok(None);
                }
                if let Some(Err(error)) = over {
                    return Err(error.clone());
                }
                if let Some(error) = ended {
                    return Err(RecvError::Session(error));
                }
            }
            tokio::select! {
                () = news.notified() => {}
                end = end_of(control, trailer), if over.is_none() => {
                    if let Ok(total) = end {
                        let now = Instant::now().into_std();
                        if let Some(inn) = lock(&shared.streams).inn(self.key) {
                            inn.machine.handle_finished(now, total);
                        }
                        shared.wake.notify_one();
                    }
                    *over = Some(end.map(|_| ()));
                }
            }
        }
    }

    /// Wants no more: the sender sees this code.
    pub fn stop(mut self, code: u32) {
        match &mut self.half {
            Half::Reliable { stream, .. } => stream.stop(code),
            Half::Datagrams { code: kept, .. } => *kept = code,
        }
    }
}

async fn next_of(
    stream: &mut impl RecvStream,
    decoder: &mut FrameDecoder,
) -> Result<Option<Bytes>, RecvError> {
    loop {
        if let Some(message) = decoder.next_message().map_err(RecvError::Protocol)? {
            return Ok(Some(message));
        }
        let chunk = stream.read_chunk(READ_BYTES_MAX).await;
        match chunk.map_err(RecvError::of_stream)? {
            Some(chunk) => decoder.push(chunk),
            None if decoder.is_between_messages() => return Ok(None),
            None => return Err(RecvError::Protocol(WireError::Truncated)),
        }
    }
}

/// Reads how a stream in datagrams ends. Cancel-safe.
async fn end_of(control: &mut impl RecvStream, trailer: &mut BytesMut) -> Result<u64, RecvError> {
    loop {
        // One byte more than it may have, so that more is noticed.
        let room = TRAILER_BYTES + 1 - trailer.len();
        if room == 0 {
            return Err(RecvError::Protocol(WireError::OutOfRange("trailer")));
        }
        match control
            .read_chunk(room)
            .await
            .map_err(RecvError::of_stream)?
        {
            Some(chunk) => trailer.extend_from_slice(&chunk),
            None => return parse_trailer(trailer).map_err(RecvError::Protocol),
        }
    }
}

impl<S: Session> Drop for MessageReceiver<S> {
    fn drop(&mut self) {
        if let Half::Datagrams { code, .. } = &self.half {
            lock(&self.handle.shared.streams).remove_in(self.key, *code);
            self.handle.shared.wake.notify_one();
        }
    }
}
