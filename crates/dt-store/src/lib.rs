//! Where Dark Tower keeps things: three interfaces, each with an embedded
//! default that needs no server.
//!
//! | interface | default | holds |
//! |---|---|---|
//! | [`Database`] | [`SqliteDatabase`] | what must outlive everything: accounts, clients, keys, meetings, the audit log |
//! | [`StateStore`] | [`MemoryState`] | what instances share while they run: live meetings, leases, counters, presence |
//! | [`Bus`] | [`MemoryBus`] | what happens now, to whoever listens |
//!
//! Services hold an `Arc<dyn …>` of each. Names in the state store that more
//! than one service uses are made by [`keys`]. One suite of tests an interface
//! (`contract`) runs against every implementation.
//!
//! Deliberately absent: rules about meetings or accounts, and hashing of
//! passwords: a store keeps what it is given.

mod bus;
#[cfg(test)]
mod contract;
mod database;
pub mod keys;
mod sqlite;
mod state;

pub use bus::{
    Bus, BusError, BusEvent, MemoryBus, PAYLOAD_BYTES_MAX, SUBJECT_BYTES_MAX, Subscription,
};
pub use database::{
    AUDIT_GENESIS, AccountRecord, AuditEntry, AuditEvent, AuditFault, AuditReport, Database,
    DatabaseError, MEETINGS_PAGE_MAX, MeetingChange, MeetingFilter, MeetingKey, MeetingPage,
    MeetingRecord, MeetingSettings, OrganisationRecord, PasswordHash, SealedKey, SecretHash,
    ServiceClientRecord, SettingsChange, SframeCipher, SigningKeyRecord,
};
pub use sqlite::{OpenError, SqliteDatabase};
pub use state::{
    AcquireError, Clock, Counter, FencedError, KEY_BYTES_MAX, Lease, LeaseHolder, MemoryState,
    RenewError, StateError, StateStore, SystemClock, VALUE_BYTES_MAX,
};
