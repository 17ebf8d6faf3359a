//! Signature keys: of a leaf, and of the controller as external sender.

use ed25519_dalek::{Signer as _, SigningKey};
use openmls_rust_crypto::RustCrypto;
use openmls_traits::{
    random::OpenMlsRand as _,
    signatures::{Signer, SignerError},
    types::SignatureScheme,
};
use zeroize::Zeroizing;

use crate::error::Error;

/// Fresh seed of an Ed25519 key.
pub(crate) fn random_seed() -> Result<Zeroizing<[u8; 32]>, Error> {
    let seed = RustCrypto::default()
        .random_array::<32>()
        .map_err(Error::mls("making a key"))?;
    Ok(Zeroizing::new(seed))
}

macro_rules! signs_for_mls {
    ($key:ty) => {
        impl Signer for $key {
            fn sign(&self, payload: &[u8]) -> Result<Vec<u8>, SignerError> {
                Ok(self.0.sign(payload).to_bytes().to_vec())
            }

            fn signature_scheme(&self) -> SignatureScheme {
                SignatureScheme::ED25519
            }
        }

        impl std::fmt::Debug for $key {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, "{}(…)", stringify!($key))
            }
        }
    };
}

/// The key with which one leaf of one group signs: made anew for every entry,
/// never stored. Wiped when dropped.
pub struct LeafKey(SigningKey, [u8; 32]);

signs_for_mls!(LeafKey);

impl LeafKey {
    /// A fresh key.
    pub fn generate() -> Result<Self, Error> {
        Ok(Self::of(SigningKey::from_bytes(&*random_seed()?)))
    }

    pub(crate) fn of(key: SigningKey) -> Self {
        let public = key.verifying_key().to_bytes();
        Self(key, public)
    }

    #[cfg(test)]
    pub(crate) fn seed(&self) -> [u8; 32] {
        self.0.to_bytes()
    }

    /// Its public half, 32 bytes: what a device signs in [`binding_bytes`].
    ///
    /// [`binding_bytes`]: crate::binding_bytes
    #[must_use]
    pub fn public(&self) -> &[u8] {
        &self.1
    }
}

/// The key with which the meeting controller signs proposals: one a meeting,
/// kept with the meeting's state so that a successor can go on. Wiped when
/// dropped.
#[derive(Clone)]
pub struct ControllerKey(SigningKey);

signs_for_mls!(ControllerKey);

impl ControllerKey {
    /// A fresh key.
    pub fn generate() -> Result<Self, Error> {
        Ok(Self::from_seed(*random_seed()?))
    }

    /// The key of a seed.
    #[must_use]
    pub fn from_seed(seed: [u8; 32]) -> Self {
        Self(SigningKey::from_bytes(&seed))
    }

    /// The seed, to be sealed by whoever stores it.
    #[must_use]
    pub fn seed(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.0.to_bytes())
    }

    /// Its public half, 32 bytes: `external_sender` of the group's setup.
    #[must_use]
    pub fn public(&self) -> Vec<u8> {
        self.0.verifying_key().to_bytes().to_vec()
    }
}
