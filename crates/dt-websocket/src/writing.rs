//! The half of a session's task that writes the socket.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use dt_transport::SessionError;
use tokio::time::{Instant, sleep_until};

use crate::{Message, SocketError, SocketWriter, session::Shared};

/// Pings that are on their way, as far as they matter: the newest.
#[derive(Debug, Default)]
pub(crate) struct Pings(Mutex<Newest>);

#[derive(Debug, Default)]
struct Newest {
    number: u64,
    sent: Option<Instant>,
}

impl Pings {
    fn next(&self) -> Bytes {
        let mut newest = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        newest.number += 1;
        newest.sent = Some(Instant::now());
        Bytes::copy_from_slice(&newest.number.to_be_bytes())
    }

    /// The round-trip time, when it is the answer that is waited for.
    pub(crate) fn answered(&self, payload: &[u8]) -> Option<Duration> {
        let mut newest = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if payload != newest.number.to_be_bytes() {
            return None;
        }
        newest.sent.take().map(|sent| sent.elapsed())
    }
}

/// Writes until the session is over and the good-bye is said, or the socket
/// breaks.
pub(crate) async fn run<W: SocketWriter>(shared: &Arc<Shared>, writer: &mut W, pings: &Pings) {
    if let Err(error) = write(shared, writer, pings).await {
        shared.end(SessionError::Lost(error.to_string()), None);
    }
}

async fn write<W: SocketWriter>(
    shared: &Shared,
    writer: &mut W,
    pings: &Pings,
) -> Result<(), SocketError> {
    let mut ping_at = Instant::now();
    while !shared.is_over() {
        if Instant::now() >= ping_at {
            ping_at = Instant::now() + shared.limits.ping_interval;
            writer.send(Message::Ping(pings.next())).await?;
            continue;
        }
        let message = shared.outbox().next(Instant::now());
        match message {
            Some(message) => {
                shared.control_room.notify_one();
                writer.send(Message::Binary(message)).await?;
            }
            None => tokio::select! {
                () = shared.writer.notified() => {}
                () = sleep_until(ping_at) => {}
            },
        }
    }
    let Some((code, reason)) = shared.take_good_bye() else {
        return Ok(());
    };
    // What was said on the control stream comes before the close.
    loop {
        let message = shared.outbox().next_control();
        let Some(message) = message else { break };
        writer.send(Message::Binary(message)).await?;
    }
    writer.send(Message::Close(code, reason)).await
}
