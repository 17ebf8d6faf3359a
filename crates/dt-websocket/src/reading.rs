//! The half of a session's task that reads the socket.

use std::sync::Arc;

use dt_transport::{SessionError, StreamError};
use tokio::{sync::mpsc, time::timeout};

use crate::{
    BadMessage, Message, SocketError, SocketReader, close,
    inbox::{Inbox, Take},
    message::{parse, with_length},
    pipe::Pipe,
    session::Shared,
    writing::Pings,
};

pub(crate) struct Reading {
    pub(crate) shared: Arc<Shared>,
    pub(crate) inbox: Inbox,
    /// Streams that nobody has accepted yet.
    pub(crate) opened: mpsc::Sender<Arc<Pipe>>,
}

/// Reads until the socket has ended; says why the session is over.
pub(crate) async fn run<R: SocketReader>(reading: &mut Reading, reader: &mut R, pings: &Pings) {
    let shared = Arc::clone(&reading.shared);
    loop {
        let message = match timeout(shared.limits.idle_timeout, reader.next()).await {
            Err(_) => {
                shared.end(SessionError::TimedOut, None);
                return;
            }
            Ok(None) => {
                let error = SessionError::Lost("the connection ended without a good-bye".into());
                shared.end(error, None);
                return;
            }
            Ok(Some(Err(error))) => return broken(&shared, error),
            Ok(Some(Ok(message))) => message,
        };
        // Once the session is over only the end of the connection is waited for.
        if shared.is_over() {
            continue;
        }
        match message {
            Message::Binary(bytes) => match parse(shared.kind, &shared.limits, bytes) {
                Ok(incoming) => {
                    let taken = reading.inbox.take(incoming);
                    reading.put(taken).await;
                }
                Err(error) => refuse(&shared, &error),
            },
            Message::Text => {
                let good_bye = (close::UNSUPPORTED, "text is not understood".to_owned());
                let error = SessionError::Lost("the peer sent text".into());
                shared.end(error, Some(good_bye));
            }
            Message::Ping(_) => {}
            Message::Pong(payload) => {
                if let Some(rtt) = pings.answered(&payload) {
                    shared.measured(rtt);
                }
            }
            // The library below answers it while it is asked for more.
            Message::Close(code, reason) => {
                shared.end(close::from_wire(code, reason), None);
            }
        }
        if shared.is_over() {
            reading.end();
        }
    }
}

fn broken(shared: &Shared, error: SocketError) {
    let good_bye = match &error {
        SocketError::TooLong => Some((close::TOO_BIG, "a message is too long".to_owned())),
        SocketError::Protocol(_) => Some((close::PROTOCOL, String::new())),
        SocketError::Broken(_) => None,
    };
    shared.end(SessionError::Lost(error.to_string()), good_bye);
}

fn refuse(shared: &Shared, error: &BadMessage) {
    metrics::counter!("dt_websocket_bad_messages_total").increment(1);
    let code = match error {
        BadMessage::TooLong { .. } => close::TOO_BIG,
        _ => close::PROTOCOL,
    };
    let words = error.to_string();
    let good_bye = (code, close::shortened(&words).to_owned());
    let lost = SessionError::Lost(format!("the peer broke the rules: {words}"));
    shared.end(lost, Some(good_bye));
}

impl Reading {
    async fn put(&mut self, taken: Take) {
        let shared = &self.shared;
        match taken {
            Take::Control(message) => {
                shared.control_heard.cancel();
                let bytes_max = shared.limits.control_bytes_max;
                // Whoever does not read its control stream is sent nothing else.
                let message = with_length(&message);
                shared.control.push_waiting(message, bytes_max).await;
            }
            Take::Opened(pipe) => {
                if self.opened.try_send(pipe).is_err() {
                    dropped("too_many_groups");
                }
            }
            Take::Datagram(datagram) => shared.datagram(datagram),
            Take::Done => {}
            Take::Dropped(reason) => dropped(reason),
        }
    }

    /// The session is over for whoever reads its streams.
    pub(crate) fn end(&mut self) {
        if let Some(error) = self.shared.error() {
            let error = StreamError::Session(error);
            self.inbox.end(&error);
            self.shared.control.end(Err(error));
        }
    }
}

fn dropped(reason: &'static str) {
    metrics::counter!("dt_websocket_dropped_total", "reason" => reason).increment(1);
}
