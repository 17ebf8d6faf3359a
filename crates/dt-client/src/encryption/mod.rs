//! End-to-end encryption of a seat: this client's side of the meeting's group,
//! and the keys with which its frames are sealed and opened.
//!
//! [`group`] is the machine, sans-IO; [`task`] drives it off the media path;
//! [`sealing`] and [`opening`] hold the keys where frames go by. What an
//! application sees of it is here and in [`accounts`], which says whose a device
//! is. Deliberately absent: storage (a group lives as long as the seat).

mod accounts;
mod behind;
mod group;
mod members;
mod opening;
mod sealing;
mod task;

use std::sync::Arc;

use dt_ids::ParticipantId;

pub use accounts::{Account, Accounts, BadStatement, KnownDevices, Mistrust, Standing};
pub(crate) use accounts::{Check, Ruling, thumbprint};
pub(crate) use group::{Group, Keys, Request, Settings, offer, rotate};
pub(crate) use opening::{Failure, Opening, Verdict};
pub(crate) use sealing::{NotSealed, Seal, Sealing};
pub(crate) use task::{Input, Output, Task};

/// The long-lived key of a device. It signs the keys that are made anew for each
/// meeting, so that others can know the device again.
///
/// Clones share the key; it is wiped with the last one. `Debug` does not show it.
#[derive(Debug, Clone)]
pub struct DeviceKey(Arc<dt_e2ee::DeviceKey>);

/// A device key could not be made: the system gave no randomness.
#[derive(Debug, thiserror::Error)]
#[error("no key could be made")]
pub struct KeyError(#[from] dt_e2ee::Error);

impl DeviceKey {
    /// Makes a key.
    ///
    /// # Errors
    /// When the system has no randomness.
    pub fn generate() -> Result<Self, KeyError> {
        Ok(Self(Arc::new(dt_e2ee::DeviceKey::generate()?)))
    }

    /// The key of a seed of 32 random bytes that the application keeps.
    #[must_use]
    pub fn from_seed(seed: [u8; 32]) -> Self {
        Self(Arc::new(dt_e2ee::DeviceKey::from_seed(seed)))
    }

    /// Its Ed25519 public half, by which others know the device.
    #[must_use]
    pub fn public(&self) -> [u8; 32] {
        self.0.public()
    }

    pub(crate) fn sign(&self, bytes: &[u8]) -> [u8; 64] {
        self.0.sign(bytes)
    }
}

/// Which meetings a client takes part in. A meeting that was announced as
/// encrypted is never joined without, whatever this says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum EncryptionMode {
    /// Encrypted ones only.
    Required,
    /// Encrypted ones encrypted, others not.
    #[default]
    Allowed,
    /// Those without encryption only.
    Never,
}

/// How the seat's encryption stands; see [`Meeting::encryption`].
///
/// [`Meeting::encryption`]: crate::Meeting::encryption
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Encryption {
    /// The meeting is end-to-end encrypted. It can't change in a meeting.
    pub encrypted: bool,
    /// Number of the meeting's group, counted from 1, and the epoch in it; `None`
    /// while this client is on its way into the group.
    pub position: Option<(u32, u64)>,
    /// 30 digits that are the same for all who hold the same keys, in groups of
    /// five. Two people who read the same to each other have nobody between
    /// them.
    pub meeting_code: Option<String>,
    /// Who holds the keys of this epoch, oneself included.
    pub members: Vec<KeyHolder>,
    /// What is wrong now; a person should be told.
    pub alarms: Vec<Alarm>,
}

/// Somebody who holds the keys, as its own credential says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyHolder {
    /// The seat.
    pub participant_id: ParticipantId,
    /// The name that its device signed; the roster's may differ.
    pub name: String,
    /// Ed25519 public key of the device.
    pub device_key: [u8; 32],
    /// 45 digits that this client and that one share, in groups of five; `None`
    /// of oneself.
    pub pair_code: Option<String>,
    /// How far it is proved who this is.
    pub standing: Standing,
    /// It is a person who was known by other devices, and not by this one; see
    /// [`KnownDevices`].
    pub changed_device: bool,
}

/// Something is wrong with who holds the keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Alarm {
    /// A leaf of the group can't be trusted; its frames are not opened.
    NotTrustworthy {
        /// The leaf's number.
        leaf: u32,
        /// What is wrong with it.
        reason: Mistrust,
    },
    /// A known person comes with a device that was not seen before.
    ChangedDevice {
        /// The seat.
        participant_id: ParticipantId,
        /// What the account is called.
        name: String,
    },
    /// Somebody holds the keys who is not on the roster.
    NotOnRoster {
        /// As its credential says.
        participant_id: ParticipantId,
        /// As its credential says.
        name: String,
    },
    /// Somebody who has left the meeting still holds its keys.
    StillThere {
        /// The seat it had.
        participant_id: ParticipantId,
        /// As its credential says.
        name: String,
    },
}

impl std::fmt::Display for Alarm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NotTrustworthy { reason, .. } => {
                write!(f, "somebody holds the keys and can't be trusted: {reason}")
            }
            Self::ChangedDevice { name, .. } => {
                write!(f, "{name} comes with a device that was not seen before")
            }
            Self::NotOnRoster { name, .. } => {
                write!(f, "{name} holds the keys and is not in the meeting")
            }
            Self::StillThere { name, .. } => {
                write!(f, "{name} has left the meeting and still holds its keys")
            }
        }
    }
}
