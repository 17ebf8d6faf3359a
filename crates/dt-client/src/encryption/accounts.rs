//! The accounts behind devices: the auth controller's statements, checked with
//! its public keys, and the devices by which people are known already.
//!
//! The [task](super::task) checks, off the media path; the [group](super::group)
//! says what is to be checked and what follows. The meeting controller has no
//! part in it, so that it can't swap people. Deliberately absent: storage, which
//! is the application's.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use dt_e2ee::CredentialError;
use dt_ids::AccountId;
use dt_token::{
    DeviceClaims, InvalidJwks, Jwks, JwksSource, StaticJwks, TokenError, UnixTime, Verifier,
};
use sha2::{Digest as _, Sha256};

/// Accounts that are remembered; those above it are never called changed.
const ACCOUNTS_MAX: usize = 100_000;

/// An account, as the auth controller says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Which one; it stays when the name changes.
    pub subject: AccountId,
    /// What the account is called. What its person calls itself in a meeting
    /// may differ.
    pub name: String,
}

/// How far it is proved who somebody is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// Somebody who calls themselves so.
    Guest,
    /// Shows a statement that is not checked yet, or can't be.
    Unchecked,
    /// The auth controller says that the device is this account's.
    Verified(Account),
    /// What it shows is not true. Its frames are not opened.
    NotTrustworthy(Mistrust),
}

/// Why somebody who holds the keys is not to be trusted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Mistrust {
    /// Its credential is worth nothing.
    #[error(transparent)]
    Credential(#[from] CredentialError),
    /// What it shows of the auth controller is not the auth controller's.
    #[error("a bad statement about its device: {0}")]
    Statement(#[from] BadStatement),
}

/// Why a statement about a device is worth nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadStatement {
    /// The auth controller did not make it so, or its time is over.
    #[error(transparent)]
    Token(TokenError),
    /// It is about another device.
    #[error("it is about another device")]
    OtherDevice,
}

/// A statement to be checked.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Check {
    pub(crate) statement: String,
    /// Of the same credential.
    pub(crate) device_key: [u8; 32],
}

/// What came of a check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ruling {
    Good(Account),
    Bad(BadStatement),
    /// The keys can't be had, or the one that signed is not among them.
    Unknown,
}

/// Knows which devices are whose, by the auth controller's public keys. Clones
/// share what was fetched; unknown keys are asked for every ten seconds at most.
#[derive(Debug, Clone)]
pub struct Accounts(Arc<Verifier>);

impl Accounts {
    /// Believes these keys, a JSON Web Key Set, and fetches nothing.
    ///
    /// # Errors
    /// When the text is no such set.
    pub fn with_keys(jwks: &str) -> Result<Self, InvalidJwks> {
        Ok(Self::with_source(Arc::new(StaticJwks(Jwks::parse(jwks)?))))
    }

    pub(crate) fn with_source(source: Arc<dyn JwksSource>) -> Self {
        Self(Arc::new(Verifier::on_a_device(source)))
    }

    pub(crate) async fn check(&self, check: &Check) -> Ruling {
        let now = UnixTime::from(SystemTime::now());
        let claims = self.0.verify::<DeviceClaims>(&check.statement, now).await;
        match claims {
            Ok(claims) if claims.thumbprint == thumbprint(&check.device_key) => {
                Ruling::Good(Account {
                    subject: claims.account,
                    name: claims.name,
                })
            }
            Ok(_) => Ruling::Bad(BadStatement::OtherDevice),
            // Perhaps nobody's fault, and never a reason to raise an alarm.
            Err(TokenError::UnknownKey | TokenError::KeysUnavailable) => Ruling::Unknown,
            Err(error) => Ruling::Bad(BadStatement::Token(error)),
        }
    }
}

/// SHA-256 of a device key, base64url: how statements name it.
pub(crate) fn thumbprint(device_key: &[u8; 32]) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(device_key))
}

/// The devices by which people are known. The first device of an account is
/// remembered when it is met; another one is flagged until the application says
/// that it is the person's, by [`remember`](Self::remember).
///
/// Clones share it. It lives in memory: [`list`](Self::list) is what to keep, and
/// to collect from when the program starts again.
#[derive(Clone, Default)]
pub struct KnownDevices(Arc<Mutex<BTreeMap<AccountId, Vec<String>>>>);

impl KnownDevices {
    fn devices(&self) -> MutexGuard<'_, BTreeMap<AccountId, Vec<String>>> {
        // Whole between any two calls.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The device is the account's: somebody made sure of it.
    pub fn remember(&self, subject: AccountId, device_key: &[u8; 32]) {
        let device = thumbprint(device_key);
        let mut known = self.devices();
        if !known.contains_key(&subject) && known.len() >= ACCOUNTS_MAX {
            return;
        }
        let devices = known.entry(subject).or_default();
        if !devices.contains(&device) {
            devices.push(device);
        }
    }

    /// Accounts with the thumbprints (SHA-256, base64url) of their devices.
    #[must_use]
    pub fn list(&self) -> Vec<(AccountId, String)> {
        let known = self.devices();
        let pairs = known
            .iter()
            .flat_map(|(subject, devices)| devices.iter().map(|device| (*subject, device.clone())));
        pairs.collect()
    }

    /// The first device of an account is the known one.
    pub(crate) fn meet(&self, subject: AccountId, device_key: &[u8; 32]) {
        let is_new = !self.devices().contains_key(&subject);
        if is_new {
            self.remember(subject, device_key);
        }
    }

    /// The account is known by other devices only.
    pub(crate) fn is_changed(&self, subject: AccountId, device_key: &[u8; 32]) -> bool {
        let known = self.devices();
        let devices = known.get(&subject);
        devices.is_some_and(|devices| !devices.contains(&thumbprint(device_key)))
    }
}

impl FromIterator<(AccountId, String)> for KnownDevices {
    fn from_iter<I: IntoIterator<Item = (AccountId, String)>>(pairs: I) -> Self {
        let mut known = BTreeMap::<AccountId, Vec<String>>::new();
        for (subject, device) in pairs {
            known.entry(subject).or_default().push(device);
        }
        Self(Arc::new(Mutex::new(known)))
    }
}

/// Who somebody knows is nobody's business.
impl fmt::Debug for KnownDevices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KnownDevices({} accounts)", self.devices().len())
    }
}

#[cfg(test)]
pub(super) mod tests;
