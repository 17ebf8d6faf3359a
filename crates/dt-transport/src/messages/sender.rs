//! The sending half of a stream of messages, as its owner holds it.

use std::{fmt, sync::Arc};

use bytes::Bytes;
use tokio::{sync::Notify, time::Instant};

use super::{
    SendError, StreamConfig,
    endpoint::{Handle, Permit},
    metrics::lock,
    reliable::Writer,
    streams::Key,
    wire::write_trailer,
};
use crate::{SendStream, Session, StreamError};

/// Sends the messages of one stream.
///
/// Dropped without [`finish`](Self::finish) it gives the stream up: what was not
/// sent yet is not sent, and the receiver sees a reset with code 0.
pub struct MessageSender<S: Session> {
    pub(super) key: Key,
    pub(super) config: StreamConfig,
    pub(super) half: Half<S>,
    pub(super) _permit: Option<Permit>,
}

pub(super) enum Half<S: Session> {
    Reliable {
        writer: Arc<Writer>,
        /// Keeps the connection's tasks alive.
        _handle: Arc<Handle<S>>,
    },
    Datagrams {
        /// Gone once it is finished.
        control: Option<S::Send>,
        progress: Arc<Notify>,
        handle: Arc<Handle<S>>,
    },
}

impl<S: Session> fmt::Debug for MessageSender<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MessageSender")
            .field("key", &self.key)
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

impl<S: Session> MessageSender<S> {
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

    /// Queues a message; waits while the queue is full. The time for a deadline
    /// runs from this call. Cancel-safe: a message is queued whole or not at all.
    ///
    /// # Errors
    /// When it is too long, the receiver stopped the stream, or the session is
    /// over.
    pub async fn send(&self, message: Bytes) -> Result<(), SendError> {
        self.check(&message)?;
        match &self.half {
            Half::Reliable { writer, .. } => writer.send(message).await,
            Half::Datagrams { progress, .. } => {
                let since = Instant::now();
                loop {
                    let room = progress.notified();
                    match self.try_queue(since, &message) {
                        Err(SendError::Full) => room.await,
                        result => return result,
                    }
                }
            }
        }
    }

    /// Queues a message if there is room now.
    ///
    /// # Errors
    /// [`SendError::Full`] where [`send`](Self::send) would wait, else as there.
    pub fn try_send(&self, message: Bytes) -> Result<(), SendError> {
        self.check(&message)?;
        match &self.half {
            Half::Reliable { writer, .. } => writer.try_send(&message),
            Half::Datagrams { .. } => self.try_queue(Instant::now(), &message),
        }
    }

    fn check(&self, message: &Bytes) -> Result<(), SendError> {
        let (bytes, limit) = (message.len(), self.config.max_message_bytes);
        if bytes as u64 > u64::from(limit) {
            return Err(SendError::TooLarge { bytes, limit });
        }
        Ok(())
    }

    /// In datagrams.
    fn try_queue(&self, since: Instant, message: &Bytes) -> Result<(), SendError> {
        let Half::Datagrams { handle, .. } = &self.half else {
            return Err(SendError::Full);
        };
        let mut streams = lock(&handle.shared.streams);
        if let Some(error) = streams.ended.clone() {
            return Err(SendError::Session(error));
        }
        let Some(out) = streams.out(self.key) else {
            return Err(SendError::Stream(StreamError::Closed));
        };
        if let Some(code) = out.stopped {
            return Err(SendError::Stopped { code });
        }
        if !out.machine.has_room(message.len()) {
            return Err(SendError::Full);
        }
        out.machine
            .handle_message(since.into_std(), message.clone());
        drop(streams);
        handle.shared.wake.notify_one();
        Ok(())
    }

    /// Ends the stream after what was sent. Waits until everything was written
    /// to the session (reliable), sent (unreliable), or has arrived or was given
    /// up (partially reliable).
    ///
    /// # Errors
    /// As for [`send`](Self::send).
    pub async fn finish(mut self) -> Result<(), SendError> {
        match &mut self.half {
            Half::Reliable { writer, .. } => writer.finish().await,
            Half::Datagrams {
                control,
                progress,
                handle,
            } => {
                let total = settled(handle, self.key, progress).await?;
                let Some(mut control) = control.take() else {
                    return Ok(());
                };
                let trailer = Bytes::copy_from_slice(&write_trailer(total));
                let written = control.write(trailer).await;
                written
                    .and_then(|()| control.finish())
                    .map_err(SendError::of_stream)
            }
        }
    }

    /// Gives the stream up: the receiver sees a reset with this code.
    pub fn reset(mut self, code: u32) {
        self.give_up(code);
    }

    fn give_up(&mut self, code: u32) {
        match &mut self.half {
            Half::Reliable { writer, .. } => writer.reset(code),
            Half::Datagrams {
                control, handle, ..
            } => {
                if let Some(mut control) = control.take() {
                    control.reset(code);
                }
                lock(&handle.shared.streams).remove_out(self.key);
            }
        }
    }
}

/// Waits until nothing is left to do; how many chunks there were.
async fn settled<S: Session>(
    handle: &Handle<S>,
    key: Key,
    progress: &Notify,
) -> Result<u64, SendError> {
    loop {
        let more = progress.notified();
        {
            let mut streams = lock(&handle.shared.streams);
            if let Some(error) = streams.ended.clone() {
                return Err(SendError::Session(error));
            }
            let Some(out) = streams.out(key) else {
                return Err(SendError::Stream(StreamError::Closed));
            };
            if let Some(code) = out.stopped {
                return Err(SendError::Stopped { code });
            }
            if out.machine.is_settled() {
                return Ok(out.machine.chunk_count());
            }
        }
        more.await;
    }
}

impl<S: Session> Drop for MessageSender<S> {
    fn drop(&mut self) {
        // After `finish` there is nothing left to give up.
        self.give_up(0);
    }
}
