//! Ed25519 keys and their names.

use std::{fmt, str::FromStr};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ed25519_dalek::{Signer as _, VerifyingKey};
use rand::RngExt as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256};
use zeroize::{Zeroize as _, Zeroizing};

use crate::{ClaimSet, UnixTime, jws};

/// Longest `kid` that is looked at; ours have 43 characters.
const KID_BYTES_MAX: usize = 64;

/// A text is not a key's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a key id (1 to 64 letters, digits, - and _)")]
pub struct InvalidKid;

/// 32 bytes are not a usable Ed25519 public key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a usable Ed25519 public key")]
pub struct InvalidKey;

/// The name of a key: of ours, its RFC 7638 thumbprint.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Kid(String);

impl Kid {
    /// As it stands in a token's header.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Kid {
    type Err = InvalidKid;

    fn from_str(text: &str) -> Result<Self, InvalidKid> {
        let fits = (1..=KID_BYTES_MAX).contains(&text.len())
            && text
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        if fits {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidKid)
        }
    }
}

impl fmt::Display for Kid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for Kid {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Kid {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// The half of a key that everybody may know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PublicKey(VerifyingKey);

impl PublicKey {
    /// The key with these bytes.
    ///
    /// # Errors
    /// [`InvalidKey`] if they are no point of the curve, or one of the few weak
    /// points that let one signature fit many messages.
    pub fn from_bytes(bytes: &[u8; 32]) -> Result<Self, InvalidKey> {
        match VerifyingKey::from_bytes(bytes) {
            Ok(key) if !key.is_weak() => Ok(Self(key)),
            _ => Err(InvalidKey),
        }
    }

    /// Its bytes.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; 32] {
        self.0.to_bytes()
    }

    /// The RFC 7638 thumbprint of the key, with SHA-256 and base64url.
    #[must_use]
    pub fn kid(&self) -> Kid {
        let x = URL_SAFE_NO_PAD.encode(self.to_bytes());
        // The required members in lexicographic order and no white space.
        let canonical = format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#);
        Kid(URL_SAFE_NO_PAD.encode(Sha256::digest(canonical)))
    }

    /// Whether `signature` is this key's over `message`.
    pub(crate) fn verifies(&self, message: &[u8], signature: &[u8; 64]) -> bool {
        let signature = ed25519_dalek::Signature::from_bytes(signature);
        self.0.verify_strict(message, &signature).is_ok()
    }
}

/// A private key, wiped from memory when dropped.
#[derive(Clone)]
pub struct SigningKey(ed25519_dalek::SigningKey);

impl SigningKey {
    /// A new key from the system's random source.
    #[must_use]
    pub fn random() -> Self {
        let mut seed: [u8; 32] = rand::rng().random();
        let key = Self::from_seed(&seed);
        seed.zeroize();
        key
    }

    /// The key that grows from this RFC 8032 seed.
    #[must_use]
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(ed25519_dalek::SigningKey::from_bytes(seed))
    }

    /// Its seed, for sealing.
    #[must_use]
    pub fn to_seed(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.0.to_bytes())
    }

    /// The public half.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key())
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({}, …)", self.public().kid())
    }
}

/// Signs tokens in an issuer's name.
#[derive(Debug, Clone)]
pub struct Signer {
    issuer: String,
    kid: Kid,
    key: SigningKey,
}

impl Signer {
    /// Signs with `key` as `issuer` (the `iss` of every token).
    #[must_use]
    pub fn new(issuer: impl Into<String>, key: SigningKey) -> Self {
        Self {
            issuer: issuer.into(),
            kid: key.public().kid(),
            key,
        }
    }

    /// The name of the key.
    #[must_use]
    pub fn kid(&self) -> &Kid {
        &self.kid
    }

    /// A signed token with these claims, valid from `now` to the claims' own
    /// end. The end is not judged here: a checker refuses a token that lives
    /// longer than its kind may.
    #[must_use]
    pub fn sign<C: ClaimSet>(&self, claims: &C, now: UnixTime) -> String {
        let payload = claims.to_payload(&self.issuer, now);
        jws::encode(C::TYP, &self.kid, &payload, |message| {
            self.key.0.sign(message).to_bytes()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_thumbprint_is_that_of_rfc_8037() {
        // RFC 8037, appendix A.1 to A.3.
        let seed = "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A";
        let seed: [u8; 32] = URL_SAFE_NO_PAD.decode(seed).unwrap().try_into().unwrap();
        let public = SigningKey::from_seed(&seed).public();
        assert_eq!(
            URL_SAFE_NO_PAD.encode(public.to_bytes()),
            "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"
        );
        assert_eq!(
            public.kid().as_str(),
            "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"
        );
    }

    #[test]
    fn a_private_key_does_not_show_itself() {
        let key = SigningKey::random();
        let seed = URL_SAFE_NO_PAD.encode(*key.to_seed());
        let shown = format!("{:?} {:?}", key, Signer::new("x", key.clone()));
        assert!(!shown.contains(&seed));
        assert!(shown.contains('…'));
    }

    #[test]
    fn weak_keys_are_refused() {
        // The neutral element: its "signatures" fit every message.
        let mut neutral = [0; 32];
        neutral[0] = 1;
        assert_eq!(PublicKey::from_bytes(&neutral), Err(InvalidKey));
    }
}
