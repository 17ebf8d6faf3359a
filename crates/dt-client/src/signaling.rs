//! One signaling session: a task that opens it, writes what the driver queues
//! and reports what it reads. It decides nothing; the machine does.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use dt_session_core::{Attempt, Closed};
use dt_transport::{Carrier, RecvStream, SendStream, Session, SessionError, StreamError};
use dt_wire::{
    CloseCode,
    framing::{Decoder, Framed},
    v1::{ServerMessage, server_message},
};
use tokio::sync::{mpsc, oneshot};

use crate::{Dial, DialError, Endpoint, SessionKind};

/// Messages that wait to be written; a session that lets more pile up is dead.
pub(crate) const OUTBOUND_MAX: usize = 256;
const READ_BYTES: usize = 64 << 10;
/// How long a session may go on whose stream has ended; its close code is on
/// the way.
const STREAMLESS_MAX: Duration = Duration::from_secs(1);

/// What the driver learns of a session.
#[derive(Debug)]
pub(crate) enum Report {
    Opened(Attempt, Carrier),
    OpenFailed(Attempt, DialError),
    Message(Attempt, u64, Box<server_message::Body>),
    Echo(Attempt, Bytes),
    Closed(Attempt, Closed),
}

/// The driver's end of a session.
#[derive(Debug)]
pub(crate) struct Handle {
    pub(crate) attempt: Attempt,
    pub(crate) outbound: mpsc::Sender<Bytes>,
    /// Sends the code to close with; dropped, the task closes gracefully.
    pub(crate) close: Option<oneshot::Sender<CloseCode>>,
    /// What carries it, once it is open.
    pub(crate) carrier: Option<Carrier>,
}

/// Runs a session from its opening to its end.
pub(crate) async fn run<D: Dial>(
    attempt: Attempt,
    dial: Arc<D>,
    endpoint: Endpoint,
    reports: mpsc::Sender<Report>,
    mut outbound: mpsc::Receiver<Bytes>,
    mut close: oneshot::Receiver<CloseCode>,
) {
    let opened = tokio::select! {
        _ = &mut close => return,
        opened = open(&*dial, &endpoint) => opened,
    };
    let (session, mut send, mut recv) = match opened {
        Ok(opened) => opened,
        Err(error) => {
            // The driver is gone only when nobody wants to know.
            let _ = reports.send(Report::OpenFailed(attempt, error)).await;
            return;
        }
    };
    let carrier = session.info().carrier;
    if reports
        .send(Report::Opened(attempt, carrier))
        .await
        .is_err()
    {
        return;
    }
    let mut told = None;
    let broken = tokio::select! {
        code = &mut close => {
            told = Some(code.unwrap_or(CloseCode::Graceful));
            Ok(())
        }
        () = write(&mut send, &mut outbound) => Ok(()),
        broken = read(attempt, &mut recv, &reports) => broken,
    };
    let closed = match (told, broken) {
        (Some(code), _) | (None, Err(code)) => {
            session.close(code as u32, "");
            session.closed().await;
            Closed::Lost
        }
        (None, Ok(())) => ending(&session).await,
    };
    if told.is_none() {
        let _ = reports.send(Report::Closed(attempt, closed)).await;
    }
}

async fn open<D: Dial>(
    dial: &D,
    endpoint: &Endpoint,
) -> Result<
    (
        D::Session,
        <D::Session as Session>::Send,
        <D::Session as Session>::Recv,
    ),
    DialError,
> {
    let session = dial.dial(endpoint, SessionKind::Signaling).await?;
    let (send, recv) = session
        .open_bi()
        .await
        .map_err(|error| DialError::Other(error.to_string()))?;
    Ok((session, send, recv))
}

/// How a session ended whose stream is over. A server that keeps a session
/// without its stream is of no use: it is closed soon.
async fn ending<S: Session>(session: &S) -> Closed {
    match tokio::time::timeout(STREAMLESS_MAX, session.closed()).await {
        Ok(SessionError::ClosedByPeer { code, .. }) => Closed::ByPeer(code),
        Ok(_) => Closed::Lost,
        Err(_) => {
            session.close(CloseCode::Graceful as u32, "");
            Closed::Lost
        }
    }
}

/// Ends when the stream cannot be written any more.
async fn write(send: &mut impl SendStream, outbound: &mut mpsc::Receiver<Bytes>) {
    let mut batch = Vec::new();
    while outbound.recv_many(&mut batch, OUTBOUND_MAX).await > 0 {
        if send.write_chunks(&mut batch).await.is_err() {
            return;
        }
        batch.clear();
    }
}

/// Ends when the stream is over (`Ok`), or with the code to close with when the
/// server broke the rules.
async fn read(
    attempt: Attempt,
    recv: &mut impl RecvStream,
    reports: &mpsc::Sender<Report>,
) -> Result<(), CloseCode> {
    let mut decoder = Decoder::default();
    loop {
        let chunk: Result<Option<Bytes>, StreamError> = recv.read_chunk(READ_BYTES).await;
        let Ok(Some(chunk)) = chunk else {
            return Ok(());
        };
        decoder.push(&chunk);
        while let Some(framed) = decoder.next().map_err(|_| CloseCode::ProtocolError)? {
            let report = match framed {
                Framed::Rtt(packet) => Report::Echo(attempt, packet),
                Framed::Message(bytes) => match ServerMessage::read(&bytes) {
                    Ok((message, body)) => {
                        Report::Message(attempt, message.request_id, Box::new(body))
                    }
                    // A message of a newer server; nothing depends on it here.
                    Err(dt_wire::DecodeError::Empty) => continue,
                    Err(_) => return Err(CloseCode::ProtocolError),
                },
            };
            if reports.send(report).await.is_err() {
                return Err(CloseCode::Graceful);
            }
        }
    }
}
