//! Records of who may do something: people, programs, tenants, signing keys.

use std::fmt;

use dt_ids::{AccountId, OrganisationId};
use dt_token::{Kid, PublicKey, ScopeSet};
use time::OffsetDateTime;

/// A bcrypt hash in its text form (`$2b$12$…`).
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash(pub String);

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash(…)")
    }
}

/// SHA-256 of a client secret of 256 random bits: nothing to guess, so that a
/// slow hash would add only delay.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretHash(pub [u8; 32]);

impl fmt::Debug for SecretHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretHash(…)")
    }
}

/// A private key, encrypted under the deployment's master key.
#[derive(Clone, PartialEq, Eq)]
pub struct SealedKey(pub Vec<u8>);

impl fmt::Debug for SealedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SealedKey({} bytes)", self.0.len())
    }
}

/// An account of a person.
#[derive(Clone, PartialEq, Eq)]
pub struct AccountRecord {
    /// Its id.
    pub id: AccountId,
    /// What the person signs in with, an e-mail address as a rule. Unique
    /// whatever its case (ASCII).
    pub login: String,
    /// What others see.
    pub display_name: String,
    /// Of the password.
    pub password_hash: PasswordHash,
    /// The tenant it belongs to.
    pub organisation: Option<OrganisationId>,
    /// What its tokens allow; all of principal `user`.
    pub scopes: ScopeSet,
    /// When it was made.
    pub created_at: OffsetDateTime,
    /// When it was switched off; it can't sign in.
    pub disabled_at: Option<OffsetDateTime>,
}

/// Without login and name: records end up in logs by their `Debug`.
impl fmt::Debug for AccountRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccountRecord")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// A program with credentials (OAuth 2.0 client credentials).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceClientRecord {
    /// What it signs in with.
    pub client_id: String,
    /// What people call it.
    pub name: String,
    /// Of its secret.
    pub secret_hash: SecretHash,
    /// What its tokens may allow; all of principal `service`.
    pub scopes: ScopeSet,
    /// When it was made.
    pub created_at: OffsetDateTime,
    /// When it was switched off; it gets no tokens.
    pub disabled_at: Option<OffsetDateTime>,
}

/// A key that signs tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SigningKeyRecord {
    /// Its name in tokens.
    pub kid: Kid,
    /// Which rotation it belongs to, counted from 1. Two instances that rotate
    /// at once try to add the same epoch, and one of them is told `Conflict`.
    pub epoch: u32,
    /// What signatures are checked against.
    pub public_key: PublicKey,
    /// The private half.
    pub sealed: SealedKey,
    /// When it was made.
    pub created_at: OffsetDateTime,
    /// From then on the next key signs.
    pub sign_until: OffsetDateTime,
    /// From then on it is in no key set.
    pub verify_until: OffsetDateTime,
}

/// A tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrganisationRecord {
    /// Its id.
    pub id: OrganisationId,
    /// Its label in host names: lower-case letters, digits and hyphens. Unique.
    pub slug: String,
    /// What people call it.
    pub display_name: String,
    /// When it was made.
    pub created_at: OffsetDateTime,
}
