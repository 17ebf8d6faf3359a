//! The database: what must outlive every process.
//!
//! Services drive it through [`Database`], a typed method for each thing they
//! do. There is no generic query and no transaction to hold: a method is
//! atomic, and what needs a transaction is one method.

mod accounts;
mod audit;
mod meetings;

use async_trait::async_trait;
use dt_ids::{AccountId, MeetingId, OrganisationId};
use dt_token::Kid;
use time::OffsetDateTime;

pub use accounts::{
    AccountRecord, OrganisationRecord, PasswordHash, SealedKey, SecretHash, ServiceClientRecord,
    SigningKeyRecord,
};
pub use audit::{AUDIT_GENESIS, AuditEntry, AuditEvent, AuditFault, AuditReport};
pub(crate) use audit::{entry_hash, month_of};
pub use meetings::{
    MEETINGS_PAGE_MAX, MeetingChange, MeetingFilter, MeetingKey, MeetingPage, MeetingRecord,
    MeetingSettings, SettingsChange, SframeCipher,
};

/// Why the database did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// Something of that name or id is there already.
    #[error("{0} already exists")]
    Conflict(&'static str),
    /// What the record refers to is not there.
    #[error("{0} does not exist")]
    Dangling(&'static str),
    /// The database can't be reached or is busy; later it may answer.
    #[error("the database is not available")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// What is stored is not what we store: another program wrote there.
    #[error("the database holds something unreadable in {0}")]
    Corrupt(&'static str),
}

/// Accounts, service clients, signing keys, organisations, meetings and the
/// audit log. Points in time are kept to the millisecond.
#[async_trait]
pub trait Database: Send + Sync {
    /// Whether it answers. For readiness checks.
    async fn ping(&self) -> Result<(), DatabaseError>;

    // Accounts of people.

    /// Adds an account. `Conflict("account")` if the login is taken,
    /// `Dangling("organisation")` if there is no such organisation.
    async fn add_account(&self, account: &AccountRecord) -> Result<(), DatabaseError>;

    /// The account with this login, whatever its case.
    async fn account_by_login(&self, login: &str) -> Result<Option<AccountRecord>, DatabaseError>;

    /// The account with this id.
    async fn account(&self, id: AccountId) -> Result<Option<AccountRecord>, DatabaseError>;

    // Programs.

    /// Adds a service client. `Conflict("service client")` if the id is taken.
    async fn add_service_client(&self, client: &ServiceClientRecord) -> Result<(), DatabaseError>;

    /// The client with this id.
    async fn service_client(
        &self,
        client_id: &str,
    ) -> Result<Option<ServiceClientRecord>, DatabaseError>;

    // Signing keys.

    /// Adds a key. `Conflict("signing key")` if one of that name is there, or
    /// one that was made for the same rotation: see [`SigningKeyRecord::epoch`].
    async fn add_signing_key(&self, key: &SigningKeyRecord) -> Result<(), DatabaseError>;

    /// All keys that check signatures at `now`, and the newest in any case, so
    /// that the next epoch is known also after a long stop. Newest first.
    async fn signing_keys(
        &self,
        now: OffsetDateTime,
    ) -> Result<Vec<SigningKeyRecord>, DatabaseError>;

    /// Makes the key of this name check signatures at least until then. Whether
    /// there is such a key and it was not revoked while it signed.
    async fn extend_signing_key(
        &self,
        kid: &Kid,
        verify_until: OffsetDateTime,
    ) -> Result<bool, DatabaseError>;

    /// Makes all keys of epochs before `before_epoch` sign and check nothing any more
    /// from `at` on. How many there were.
    async fn revoke_signing_keys(
        &self,
        before_epoch: u32,
        at: OffsetDateTime,
    ) -> Result<u64, DatabaseError>;

    // Organisations.

    /// Adds an organisation. `Conflict("organisation")` if its slug is taken.
    async fn add_organisation(
        &self,
        organisation: &OrganisationRecord,
    ) -> Result<(), DatabaseError>;

    /// The organisation with this slug.
    async fn organisation_by_slug(
        &self,
        slug: &str,
    ) -> Result<Option<OrganisationRecord>, DatabaseError>;

    /// The organisation with this id.
    async fn organisation(
        &self,
        id: OrganisationId,
    ) -> Result<Option<OrganisationRecord>, DatabaseError>;

    // Meetings.

    /// Adds a meeting. `Conflict("meeting")` if its id or code is taken.
    async fn add_meeting(&self, meeting: &MeetingRecord) -> Result<(), DatabaseError>;

    /// The meeting with this id or code, ended ones included.
    async fn meeting(&self, key: MeetingKey) -> Result<Option<MeetingRecord>, DatabaseError>;

    /// Meetings that pass the filter, newest first.
    async fn meetings(&self, filter: &MeetingFilter) -> Result<MeetingPage, DatabaseError>;

    /// Changes a meeting that has not ended and returns it as it is now; `None`
    /// if there is none or it has ended. Changes made at once all take effect,
    /// each on its own fields.
    async fn change_meeting(
        &self,
        id: MeetingId,
        change: &MeetingChange,
    ) -> Result<Option<MeetingRecord>, DatabaseError>;

    /// Notes that a meeting ended. Whether it had not ended before.
    async fn end_meeting(&self, id: MeetingId, at: OffsetDateTime) -> Result<bool, DatabaseError>;

    // The audit log.

    /// Appends to the log, chaining the entry to the one before.
    async fn append_audit(&self, event: &AuditEvent) -> Result<AuditEntry, DatabaseError>;

    /// Entries after the one numbered `after` (0: from the first), oldest
    /// first, at most `limit`.
    async fn audit_entries(&self, after: u64, limit: u32)
    -> Result<Vec<AuditEntry>, DatabaseError>;

    /// Follows the chain from the first entry to the head and says where it
    /// breaks, if it does.
    async fn audit_verify(&self) -> Result<AuditReport, DatabaseError>;
}
