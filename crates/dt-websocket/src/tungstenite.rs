//! Sockets of tokio-tungstenite as this crate wants them: the client's, and a
//! server's where no HTTP stands around it.

use futures::{
    SinkExt as _, StreamExt as _,
    stream::{SplitSink, SplitStream},
};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        self,
        error::{CapacityError, ProtocolError},
        protocol::{CloseFrame, WebSocketConfig, frame::coding::CloseCode},
    },
};

use crate::{Kind, Message, SocketError, SocketReader, SocketWriter, close};

/// Bytes that are read ahead of a message's end.
pub const READ_AHEAD_BYTES: usize = 16 << 10;

/// How a socket for such sessions is set up: nothing longer than its messages is
/// taken, and nothing of what is sent held back.
#[must_use]
pub fn config(kind: Kind) -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(READ_AHEAD_BYTES)
        .write_buffer_size(0)
        .max_write_buffer_size(usize::MAX)
        .max_message_size(Some(kind.message_bytes_max()))
        .max_frame_size(Some(kind.message_bytes_max()))
}

/// The two halves of an open socket.
pub fn split<S>(socket: WebSocketStream<S>) -> (Reader<S>, Writer<S>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (writer, reader) = socket.split();
    (Reader(reader), Writer(writer))
}

/// Reads.
#[derive(Debug)]
pub struct Reader<S>(SplitStream<WebSocketStream<S>>);

/// Writes.
#[derive(Debug)]
pub struct Writer<S>(SplitSink<WebSocketStream<S>, tungstenite::Message>);

impl<S> SocketReader for Reader<S>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    async fn next(&mut self) -> Option<Result<Message, SocketError>> {
        loop {
            let message = match self.0.next().await? {
                Ok(message) => message,
                Err(error) => return ended(error).map(Err),
            };
            return Some(Ok(match message {
                tungstenite::Message::Binary(bytes) => Message::Binary(bytes),
                tungstenite::Message::Text(_) => Message::Text,
                tungstenite::Message::Ping(payload) => Message::Ping(payload),
                tungstenite::Message::Pong(payload) => Message::Pong(payload),
                tungstenite::Message::Close(None) => {
                    Message::Close(close::NO_STATUS, String::new())
                }
                tungstenite::Message::Close(Some(frame)) => {
                    Message::Close(frame.code.into(), frame.reason.to_string())
                }
                // Never read.
                tungstenite::Message::Frame(_) => continue,
            }));
        }
    }
}

impl<S> SocketWriter for Writer<S>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    async fn send(&mut self, message: Message) -> Result<(), SocketError> {
        let message = match message {
            Message::Binary(bytes) => tungstenite::Message::Binary(bytes),
            Message::Text => tungstenite::Message::Text("".into()),
            Message::Ping(payload) => tungstenite::Message::Ping(payload),
            Message::Pong(payload) => tungstenite::Message::Pong(payload),
            Message::Close(code, reason) => tungstenite::Message::Close(Some(CloseFrame {
                code: CloseCode::from(code),
                reason: reason.into(),
            })),
        };
        self.0
            .send(message)
            .await
            .map_err(|error| ended(error).unwrap_or_else(|| SocketError::Broken("closed".into())))
    }
}

/// What an error of the library means; `None` after a proper end.
fn ended(error: tungstenite::Error) -> Option<SocketError> {
    Some(match error {
        tungstenite::Error::ConnectionClosed | tungstenite::Error::AlreadyClosed => return None,
        tungstenite::Error::Capacity(CapacityError::MessageTooLong { .. }) => SocketError::TooLong,
        // The connection ended in the middle; that is nothing a peer says.
        tungstenite::Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => {
            SocketError::Broken("the connection ended without a good-bye".into())
        }
        error @ (tungstenite::Error::Protocol(_) | tungstenite::Error::Utf8(_)) => {
            SocketError::Protocol(error.to_string())
        }
        other => SocketError::Broken(other.to_string()),
    })
}

/// What an error of a library that is built on tungstenite means.
#[must_use]
pub fn socket_error(error: Box<dyn std::error::Error + Send + Sync>) -> SocketError {
    match error.downcast::<tungstenite::Error>() {
        Ok(error) => ended(*error).unwrap_or_else(|| SocketError::Broken("closed".into())),
        Err(other) => SocketError::Broken(other.to_string()),
    }
}
