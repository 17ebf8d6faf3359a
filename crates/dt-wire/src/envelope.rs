//! The envelopes: how a message becomes bytes and back, with the version check.

use prost::Message;

use crate::{
    internal::{LinkMessage, link_message},
    v1::{
        ClientMessage, ErrorCode, ErrorMessage, MediaClientMessage, MediaServerMessage,
        ServerMessage, client_message, media_client_message, media_server_message, server_message,
    },
};

/// The only version there is; it stands in every envelope.
pub const PROTOCOL_VERSION: u32 = 1;

/// Bytes of a peer are not a message that we understand.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Not protobuf, or not of this shape.
    #[error("not a valid protobuf message")]
    Malformed(#[from] prost::DecodeError),
    /// A version that this program does not speak.
    #[error("protocol version {0} is not supported (this is version {PROTOCOL_VERSION})")]
    UnsupportedVersion(u32),
    /// The envelope has no body, or one that this program does not know.
    #[error("the message has no body that this version knows")]
    Empty,
}

macro_rules! envelope {
    ($envelope:ident, $body:path) => {
        impl $envelope {
            /// An envelope with this request id (0 for a push).
            #[must_use]
            pub fn new(request_id: u64, body: $body) -> Self {
                Self {
                    version: PROTOCOL_VERSION,
                    request_id,
                    traceparent: String::new(),
                    body: Some(body),
                }
            }

            /// Reads one message and checks its version and that it has a body.
            ///
            /// # Errors
            /// When it is malformed, of another version, or empty.
            pub fn read(bytes: &[u8]) -> Result<(Self, $body), DecodeError> {
                let mut message = Self::decode(bytes)?;
                if message.version != PROTOCOL_VERSION {
                    return Err(DecodeError::UnsupportedVersion(message.version));
                }
                let body = message.body.take().ok_or(DecodeError::Empty)?;
                Ok((message, body))
            }
        }
    };
}

envelope!(ClientMessage, client_message::Body);
envelope!(ServerMessage, server_message::Body);
envelope!(MediaClientMessage, media_client_message::Body);
envelope!(MediaServerMessage, media_server_message::Body);

impl LinkMessage {
    /// A message between handlers. Its requests have no ids: nothing is answered
    /// but the first one.
    #[must_use]
    pub fn new(body: link_message::Body) -> Self {
        Self {
            version: PROTOCOL_VERSION,
            body: Some(body),
        }
    }

    /// As [`ClientMessage::read`].
    ///
    /// # Errors
    /// When it is malformed, of another version, or empty.
    pub fn read(bytes: &[u8]) -> Result<link_message::Body, DecodeError> {
        let mut message = Self::decode(bytes)?;
        if message.version != PROTOCOL_VERSION {
            return Err(DecodeError::UnsupportedVersion(message.version));
        }
        message.body.take().ok_or(DecodeError::Empty)
    }
}

impl ErrorMessage {
    /// An error with a sentence for a person.
    #[must_use]
    pub fn with(code: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            code: code.into(),
            message: message.into(),
            ..Self::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::v1::Heartbeat;

    #[test]
    fn an_envelope_of_another_version_is_refused() {
        let mut message = ClientMessage::new(7, client_message::Body::Heartbeat(Heartbeat {}));
        message.version = 2;
        assert_eq!(
            ClientMessage::read(&message.encode_to_vec()).unwrap_err(),
            DecodeError::UnsupportedVersion(2)
        );
    }

    #[test]
    fn an_envelope_without_a_body_is_refused() {
        let message = ClientMessage {
            version: 1,
            ..ClientMessage::default()
        };
        assert_eq!(
            ClientMessage::read(&message.encode_to_vec()).unwrap_err(),
            DecodeError::Empty
        );
    }
}
