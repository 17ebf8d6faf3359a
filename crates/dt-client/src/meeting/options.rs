//! How to join, and why that can fail.

use dt_session_core::{Config, End};

use crate::{DeviceKey, EncryptionMode, FourCc, KnownDevices, Layout, Publication, Transport};

/// How to join.
#[derive(Debug, Clone)]
pub struct JoinOptions {
    /// As others see it, 1 to 64 characters.
    pub name: String,
    /// Published together with the join, at most 255.
    pub publish: Vec<Publication>,
    /// What to receive; nothing when absent.
    pub layout: Option<Layout>,
    /// What the application encodes and decodes, what it likes most first.
    pub codecs: Vec<FourCc>,
    /// Times of connecting and reconnecting.
    pub session: Config,
    /// By which way sessions are opened.
    pub transport: Transport,
    /// Whether only encrypted meetings will do.
    pub encryption: EncryptionMode,
    /// By which others know this device again; made anew when absent.
    pub device_key: Option<DeviceKey>,
    /// The auth controller's statement about the device key, a JWS; empty for
    /// guests. See [`signed_in`](Self::signed_in).
    pub device_statement: String,
    /// The devices by which people are known; whoever comes with another one is
    /// flagged.
    pub known_devices: Option<KnownDevices>,
}

impl JoinOptions {
    /// Joins with this name, publishes nothing, and receives a grid of nine.
    #[must_use]
    pub fn named(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            publish: Vec::new(),
            layout: Some(Layout::grid(3, 3)),
            codecs: vec![FourCc::Vp8, FourCc::Opus],
            session: Config::default(),
            transport: Transport::default(),
            encryption: EncryptionMode::default(),
            device_key: None,
            device_statement: String::new(),
            known_devices: None,
        }
    }

    /// Shows to the others whose this device is: `statement` is what
    /// [`Api::device_statement`](crate::Api::device_statement) gave for the key.
    #[must_use]
    pub fn signed_in(mut self, device_key: DeviceKey, statement: impl Into<String>) -> Self {
        self.device_key = Some(device_key);
        self.device_statement = statement.into();
        self
    }

    /// Publishes this too.
    #[must_use]
    pub fn publishing(mut self, publication: Publication) -> Self {
        self.publish.push(publication);
        self
    }
}

/// A seat was not given.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// The server refused, or could not be reached, for good.
    #[error("{end}{}", .message.as_ref().map(|m| format!(" ({m})")).unwrap_or_default())]
    Ended {
        /// Why.
        end: End,
        /// What the server or the transport said last.
        message: Option<String>,
    },
    /// More streams than a participant can number.
    #[error("at most 255 streams can be published")]
    TooManyStreams,
    /// The meeting is encrypted, and the options rule that out.
    #[error("the meeting is end-to-end encrypted, and this client was told to join without")]
    Encrypted,
    /// The meeting is not encrypted, and it was announced so or the options want
    /// it.
    #[error("the meeting is not end-to-end encrypted, and it has to be")]
    NotEncrypted,
    /// Keys could not be made.
    #[error("cannot make keys for end-to-end encryption: {0}")]
    Encryption(String),
}
