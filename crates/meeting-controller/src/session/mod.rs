//! One signaling session, whatever carries it: waits for the control stream,
//! lets its client join, then passes on what it sends until it ends.
//!
//! The reader, the writer and the datagram echo run in one future, so that
//! nothing of a session outlives it.

pub(crate) mod health;
mod join;
mod rate;
mod reader;
mod warm;
mod writer;

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use dt_meeting_core::SessionId;
use dt_transport::Session;
use dt_wire::{
    CloseCode,
    framing::{RTT_BYTES_MAX, RTT_TAG},
};
use tokio::time::timeout;

pub(crate) use warm::Warm;

use crate::{
    Inner,
    meeting::{Command, Handle, outbox},
};
use reader::Reader;

/// First byte of a keep-alive datagram.
const PING_TAG: u8 = b'p';

/// What the parts of a session share.
struct Context {
    inner: Arc<Inner>,
    id: SessionId,
    /// The meeting, once it is joined.
    joined: OnceLock<Handle>,
}

pub(crate) async fn serve<S: Session>(inner: Arc<Inner>, session: S) {
    let _open = health::Open::over(session.info().carrier);
    let context = Context {
        id: inner.next_session(),
        inner,
        joined: OnceLock::new(),
    };
    let stop = context.inner.stop.clone();
    tokio::select! {
        () = control(&context, &session) => {}
        () = echo_datagrams(&session) => {}
        _ = session.closed() => {}
        () = stopped(&context, &stop) => {
            session.close(CloseCode::ShuttingDown.code(), "the server is shutting down");
        }
    }
    if let Some(meeting) = context.joined.get() {
        meeting.send(Command::Lost(context.id)).await;
    }
}

/// The controller stops. Who is in a meeting hears it from there, after what was
/// still to be said.
async fn stopped(context: &Context, stop: &tokio_util::sync::CancellationToken) {
    stop.cancelled().await;
    if context.joined.get().is_some() {
        tokio::time::sleep(writer::LINGER_MAX * 2).await;
    }
}

async fn control<S: Session>(context: &Context, session: &S) {
    let Some((send, recv)) = control_stream(context, session).await else {
        return;
    };
    let host = Arc::from(session.info().authority_host.as_str());
    let (outbox, queue, overflow) = outbox(context.inner.config.outbox_messages_max, host);
    let mut reader = Reader::new(context, outbox.clone());
    let read = async {
        let code = reader.run(recv).await;
        if let Some(meeting) = context.joined.get() {
            meeting.send(Command::Lost(context.id)).await;
        }
        // Whatever is still to be written comes before the close.
        outbox.put(crate::meeting::Outgoing::Close(code));
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = read => {}
        () = writer::run(session, send, queue) => {}
        () = overflow.cancelled() => {
            session.close(CloseCode::QuotaExceeded.code(), "messages are not read fast enough");
        }
    }
}

/// Waits for the client's stream; a client may open its session long before it
/// joins.
async fn control_stream<S: Session>(context: &Context, session: &S) -> Option<(S::Send, S::Recv)> {
    let config = &context.inner.config;
    let warm = context.inner.warm.enter();
    tokio::select! {
        stream = timeout(Duration::from_millis(config.warm_ms_max), session.accept_bi()) => {
            match stream {
                Ok(stream) => stream.ok(),
                Err(_) => {
                    session.close(CloseCode::Graceful.code(), "no stream was opened");
                    None
                }
            }
        }
        () = warm.crowded() => {
            session.close(CloseCode::QuotaExceeded.code(), "too many sessions wait");
            None
        }
    }
}

/// RTT packets go back as they came; pings are swallowed; the rest is counted.
async fn echo_datagrams<S: Session>(session: &S) {
    while let Ok(datagram) = session.recv_datagram().await {
        match datagram.first() {
            Some(&RTT_TAG) if datagram.len() <= RTT_BYTES_MAX => {
                // The queue of datagrams drops its oldest; nothing to do here.
                let _ = session.send_datagram(datagram);
            }
            Some(&PING_TAG) => {}
            _ => metrics::counter!("dt_signaling_unknown_datagrams_total").increment(1),
        }
    }
}
