//! The audit log's entries and how they are chained.
//!
//! Each entry carries the SHA-256 of the one before, and a head record the hash
//! of the last. Whoever changes, removes or inserts an entry breaks the chain
//! there; whoever cuts off the end contradicts the head. The hashes have no
//! key: they show what a slip or a partial change did, while an intruder who
//! may rewrite the whole table is kept honest by comparing the head, which
//! `audit verify` prints, with one noted elsewhere.

use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};
use time::OffsetDateTime;

/// What the first entry carries as the hash before it.
pub const AUDIT_GENESIS: [u8; 32] = [0; 32];

/// Something to note. No secrets, tokens or passwords.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEvent {
    /// When it happened.
    pub at: OffsetDateTime,
    /// What happened, like `user.token.refused`.
    pub action: String,
    /// Who did it: an account or client id, `operator` on the command line,
    /// `anonymous`.
    pub actor: String,
    /// The address it came from.
    pub address: Option<String>,
    /// More about it.
    pub details: Map<String, Value>,
}

/// An entry of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEntry {
    /// Counts entries from 1, without gaps.
    pub number: u64,
    /// Year and month in UTC, like 202611; the log is partitioned by it.
    pub month: u32,
    /// What happened.
    pub event: AuditEvent,
    /// Hash of the entry before.
    pub previous: [u8; 32],
    /// Hash of this entry.
    pub hash: [u8; 32],
}

/// What a check of the chain found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditReport {
    /// Entries that hang together, from the first.
    pub entries: u64,
    /// Hash of the last of those.
    pub head: [u8; 32],
    /// What is wrong after them.
    pub fault: Option<AuditFault>,
}

/// How a log was tampered with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AuditFault {
    /// The entry is not what it was, or the one before it is not.
    #[error("entry {0} was changed")]
    Changed(u64),
    /// There is no entry of this number, but there was.
    #[error("entry {0} is missing")]
    Missing(u64),
}

/// Year and month in UTC as one number.
pub(crate) fn month_of(at: OffsetDateTime) -> u32 {
    let at = at.to_offset(time::UtcOffset::UTC);
    u32::try_from(at.year()).unwrap_or(0) * 100 + u32::from(u8::from(at.month()))
}

/// The hash of the entry with this number and event that follows `previous`.
/// `details` is the text as stored: its members' order must not matter.
pub(crate) fn entry_hash(
    number: u64,
    previous: &[u8; 32],
    at_ms: i64,
    texts: [&str; 3],
    address: Option<&str>,
) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(b"darktower audit v1\0");
    hash.update(number.to_be_bytes());
    hash.update(previous);
    hash.update(at_ms.to_be_bytes());
    // Lengths before texts, so that no two entries are written alike.
    let mut field = |text: &str| {
        hash.update((text.len() as u64).to_be_bytes());
        hash.update(text);
    };
    texts.into_iter().for_each(&mut field);
    match address {
        Some(address) => {
            field("address");
            field(address);
        }
        None => field("none"),
    }
    hash.finalize().into()
}
