//! What waits to be written to one client. The meeting's task fills it without
//! ever waiting; a client whose outbox is full is disconnected.

use std::sync::Arc;

use bytes::Bytes;
use dt_wire::CloseCode;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// One thing to write.
#[derive(Debug)]
pub(crate) enum Outgoing {
    /// Already framed.
    Frame(Bytes),
    /// Close after what was written before; nothing follows.
    Close(CloseCode),
}

/// The filling end. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Outbox {
    queue: mpsc::Sender<Outgoing>,
    /// Cancelled when the client is too slow: the session ends at once.
    overflow: CancellationToken,
    /// Host by which the client reached this server.
    pub(crate) host: Arc<str>,
}

/// An outbox of so many messages, and its emptying end.
pub(crate) fn outbox(
    messages_max: usize,
    host: Arc<str>,
) -> (Outbox, mpsc::Receiver<Outgoing>, CancellationToken) {
    let (queue, receiver) = mpsc::channel(messages_max);
    let overflow = CancellationToken::new();
    (
        Outbox {
            queue,
            overflow: overflow.clone(),
            host,
        },
        receiver,
        overflow,
    )
}

impl Outbox {
    /// False when the client can't be served any more.
    pub(crate) fn put(&self, outgoing: Outgoing) -> bool {
        match self.queue.try_send(outgoing) {
            Ok(()) => true,
            Err(mpsc::error::TrySendError::Closed(_)) => false,
            Err(mpsc::error::TrySendError::Full(_)) => {
                metrics::counter!("dt_signaling_slow_clients_total").increment(1);
                self.overflow.cancel();
                false
            }
        }
    }
}
