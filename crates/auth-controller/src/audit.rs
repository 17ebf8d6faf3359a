//! Notes in the audit log: who did what, never a secret.
//!
//! What is noted: every sign-in and every token for a person or a program, given
//! or refused; every token for an account's or a host's seat; every change of
//! accounts, clients, organisations and keys. Join tokens of anonymous guests
//! are not: nobody was authenticated, and a log that anyone can fill is none.

use dt_store::{AuditEvent, Database, DatabaseError};
use serde_json::{Map, Value};
use time::OffsetDateTime;

/// A note in the making.
pub(crate) struct Note(AuditEvent);

impl Note {
    /// At `at`, `actor` did `action`.
    pub(crate) fn new(at: OffsetDateTime, action: &str, actor: impl Into<String>) -> Self {
        Self(AuditEvent {
            at,
            action: action.to_owned(),
            actor: actor.into(),
            address: None,
            details: Map::new(),
        })
    }

    /// From this address.
    pub(crate) fn from(mut self, address: Option<String>) -> Self {
        self.0.address = address;
        self
    }

    /// And this is a fact about it.
    pub(crate) fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.0.details.insert(key.to_owned(), value.into());
        self
    }

    /// Writes it down. A token is given only after that; a change of accounts,
    /// clients, organisations or keys is noted right after it was made, and who
    /// made it is told if that fails.
    pub(crate) async fn write(self, database: &dyn Database) -> Result<(), DatabaseError> {
        database.append_audit(&self.0).await.map(drop)
    }
}
