//! Who is behind a leaf: the credential, the device that signed it, and what is
//! wrong with it.

use std::collections::HashMap;

use dt_wire::v1::MemberCredential;
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use prost::Message as _;
use zeroize::Zeroizing;

use crate::{error::Error, group::MemberView, key::random_seed};

/// The only version of [`MemberCredential`] there is.
const VERSION: u32 = 1;
/// A credential is refused above this: names and statements are short, and every
/// member carries every credential.
const CREDENTIAL_BYTES_MAX: usize = 4096;
const NAME_CHARS_MAX: usize = 64;
const BINDING_LABEL: &[u8] = b"Dark Tower leaf binding 1\0";

/// What a member says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims {
    /// UUID of the meeting, as text.
    pub meeting_id: String,
    /// UUID of the participant, as text.
    pub participant_id: String,
    /// The name to show, 1 to 64 characters.
    pub name: String,
}

/// A credential whose device signature is good. The statement is not checked
/// here: that takes the auth controller's keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// UUID of the meeting.
    pub meeting_id: String,
    /// UUID of the participant.
    pub participant_id: String,
    /// The name to show.
    pub name: String,
    /// Ed25519 public key of the person's device.
    pub device_key: [u8; 32],
    /// JWS of the auth controller, empty for guests.
    pub statement: String,
}

/// Why a credential is worth nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CredentialError {
    /// Not a MemberCredential, or a field of it breaks its bounds.
    #[error("malformed credential: {0}")]
    Malformed(&'static str),
    /// The device did not sign these claims with this leaf key.
    #[error("the device did not sign this leaf")]
    ForgedBinding,
    /// Made for another meeting.
    #[error("made for another meeting")]
    OtherMeeting,
    /// Another leaf claims the same participant.
    #[error("two leaves claim one participant")]
    Doubled,
}

/// The long-lived key of a device where the host has none of its own (a browser
/// has WebCrypto's). Wiped when dropped.
pub struct DeviceKey(SigningKey);

impl std::fmt::Debug for DeviceKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "DeviceKey(…)")
    }
}

impl DeviceKey {
    /// A fresh key.
    pub fn generate() -> Result<Self, Error> {
        Ok(Self::from_seed(*random_seed()?))
    }

    /// The key of a seed.
    #[must_use]
    pub fn from_seed(seed: [u8; 32]) -> Self {
        Self(SigningKey::from_bytes(&seed))
    }

    /// The seed, to be stored by whoever keeps the device's secrets.
    #[must_use]
    pub fn seed(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.0.to_bytes())
    }

    /// Its public half.
    #[must_use]
    pub fn public(&self) -> [u8; 32] {
        self.0.verifying_key().to_bytes()
    }

    /// Signs, for [`binding_bytes`].
    #[must_use]
    pub fn sign(&self, bytes: &[u8]) -> [u8; 64] {
        self.0.sign(bytes).to_bytes()
    }
}

/// What the device key signs, so that nobody can put another leaf key behind
/// these claims: the label, then meeting, participant, name and leaf key, each
/// with its length as a big-endian u32 before it.
#[must_use]
pub fn binding_bytes(claims: &Claims, leaf_public: &[u8]) -> Vec<u8> {
    let parts = [
        claims.meeting_id.as_bytes(),
        claims.participant_id.as_bytes(),
        claims.name.as_bytes(),
        leaf_public,
    ];
    let mut bytes = BINDING_LABEL.to_vec();
    for part in parts {
        // A part beyond 4 GiB can't be in memory on any platform of ours.
        let length = u32::try_from(part.len()).unwrap_or(u32::MAX);
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.extend_from_slice(part);
    }
    bytes
}

/// An encoded [`MemberCredential`]. `statement` is empty for guests.
#[must_use]
pub fn credential(
    claims: &Claims,
    device_public: &[u8; 32],
    signature: &[u8; 64],
    statement: &str,
) -> Vec<u8> {
    MemberCredential {
        version: VERSION,
        meeting_id: claims.meeting_id.clone(),
        participant_id: claims.participant_id.clone(),
        name: claims.name.clone(),
        device_key: device_public.to_vec().into(),
        signature: signature.to_vec().into(),
        statement: statement.to_owned(),
    }
    .encode_to_vec()
}

/// Reads the identity of a leaf and checks that its device signed this leaf key.
pub fn read_credential(identity: &[u8], leaf_public: &[u8]) -> Result<Identity, CredentialError> {
    use CredentialError::{ForgedBinding, Malformed};

    if identity.len() > CREDENTIAL_BYTES_MAX {
        return Err(Malformed("too long"));
    }
    let read = MemberCredential::decode(identity).map_err(|_| Malformed("not a credential"))?;
    if read.version != VERSION {
        return Err(Malformed("unknown version"));
    }
    let name_chars = read.name.chars().count();
    if name_chars == 0 || name_chars > NAME_CHARS_MAX {
        return Err(Malformed("the name is empty or too long"));
    }
    let device_key: [u8; 32] = (&*read.device_key)
        .try_into()
        .map_err(|_| Malformed("the device key is not 32 bytes"))?;
    let signature = Signature::from_slice(&read.signature)
        .map_err(|_| Malformed("the signature is not 64 bytes"))?;
    let claims = Claims {
        meeting_id: read.meeting_id,
        participant_id: read.participant_id,
        name: read.name,
    };
    // Strict: a key of small order would pass for a signer of everything.
    VerifyingKey::from_bytes(&device_key)
        .and_then(|key| key.verify_strict(&binding_bytes(&claims, leaf_public), &signature))
        .map_err(|_| ForgedBinding)?;
    Ok(Identity {
        meeting_id: claims.meeting_id,
        participant_id: claims.participant_id,
        name: claims.name,
        device_key,
        statement: read.statement,
    })
}

/// Judges every leaf of a group: whose credential is bad, of another meeting, or
/// claims a participant that another leaf claims too (then neither counts).
#[must_use]
pub fn judge(
    meeting_id: &str,
    members: &[MemberView],
) -> Vec<(u32, Result<Identity, CredentialError>)> {
    let mut judged: Vec<_> = members
        .iter()
        .map(|member| {
            let identity =
                read_credential(&member.identity, &member.signature_key).and_then(|identity| {
                    match identity.meeting_id == meeting_id {
                        true => Ok(identity),
                        false => Err(CredentialError::OtherMeeting),
                    }
                });
            (member.leaf, identity)
        })
        .collect();
    let mut claimed: HashMap<String, usize> = HashMap::new();
    for (_, identity) in &judged {
        if let Ok(identity) = identity {
            *claimed.entry(identity.participant_id.clone()).or_default() += 1;
        }
    }
    for (_, identity) in &mut judged {
        let doubled = matches!(identity, Ok(identity) if claimed[&identity.participant_id] > 1);
        if doubled {
            *identity = Err(CredentialError::Doubled);
        }
    }
    judged
}
