//! Writes a session's outbox to its stream, what waits in one go.

use std::time::Duration;

use bytes::Bytes;
use dt_transport::{SendStream, Session};
use dt_wire::CloseCode;
use tokio::{sync::mpsc, time::timeout};

use crate::meeting::Outgoing;

/// Frames written in one go at most.
const BATCH_MAX: usize = 64;
/// Closing a session may overtake what was just written: the client gets this
/// long to read it and close by itself.
const LINGER_MIN: Duration = Duration::from_millis(100);
pub(super) const LINGER_MAX: Duration = Duration::from_millis(500);

/// Until the session is closed.
pub(super) async fn run<S: Session>(
    session: &S,
    mut send: S::Send,
    mut queue: mpsc::Receiver<Outgoing>,
) {
    let mut wrote = false;
    let mut waiting = Vec::with_capacity(BATCH_MAX);
    let mut frames: Vec<Bytes> = Vec::with_capacity(BATCH_MAX);
    loop {
        if queue.recv_many(&mut waiting, BATCH_MAX).await == 0 {
            return;
        }
        let mut close = None;
        for outgoing in waiting.drain(..) {
            match outgoing {
                Outgoing::Frame(frame) if close.is_none() => frames.push(frame),
                Outgoing::Frame(_) => {}
                Outgoing::Close(code) => {
                    close.get_or_insert(code);
                }
            }
        }
        if !frames.is_empty() {
            wrote = true;
            if send.write_chunks(&mut frames).await.is_err() {
                session.close(CloseCode::Graceful.code(), "the stream is gone");
                return;
            }
            frames.clear();
        }
        if let Some(code) = close {
            if wrote {
                let linger = (session.path_stats().rtt * 3).clamp(LINGER_MIN, LINGER_MAX);
                let _ = timeout(linger, session.closed()).await;
            }
            session.close(code.code(), reason(code));
            return;
        }
    }
}

fn reason(code: CloseCode) -> &'static str {
    match code {
        CloseCode::Graceful => "goodbye",
        CloseCode::ProtocolError => "the protocol was broken",
        CloseCode::AuthenticationFailed => "not admitted",
        CloseCode::QuotaExceeded => "a limit was reached",
        CloseCode::InternalError => "the server failed",
        CloseCode::Replaced => "another session took the seat",
        CloseCode::Removed => "removed by the host",
        CloseCode::MeetingEnded => "the meeting has ended",
        CloseCode::ShuttingDown => "the server is shutting down",
    }
}
