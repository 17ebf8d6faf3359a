//! The embedded database: one SQLite file.
//!
//! Writes go through one connection, so that writers of this process wait in
//! its queue and never for the file's lock; reads have a few of their own,
//! which the write-ahead log lets go on meanwhile. Another process (`darktower
//! admin` beside a running server) waits on the file's lock, up to
//! [`BUSY_TIMEOUT`]. After a power cut the file is whole, but the last moments
//! before it may be missing.

mod accounts;
mod audit;
mod meetings;
mod row;

use std::{fmt, path::Path, time::Duration};

use async_trait::async_trait;
use dt_ids::{AccountId, MeetingId, OrganisationId};
use dt_token::Kid;
use sqlx::{
    SqlitePool,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use time::OffsetDateTime;

use crate::{
    AccountRecord, AuditEntry, AuditEvent, AuditReport, Database, DatabaseError, MeetingChange,
    MeetingFilter, MeetingKey, MeetingPage, MeetingRecord, OrganisationRecord, ServiceClientRecord,
    SigningKeyRecord,
};

/// How long a statement waits for another process's lock.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a call waits for a connection of the pool before it is unavailable.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);
/// Each has a thread and a page cache of its own.
const READERS_MAX: u32 = 3;

/// Why a database could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The file can't be made or read.
    #[error("the database file {path} can't be opened")]
    File {
        /// Where it should be.
        path: String,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
    /// It is not a database, or is in use by something that doesn't let go.
    #[error("the database {path} can't be opened")]
    Connect {
        /// Where it is.
        path: String,
        /// What SQLite says.
        #[source]
        source: sqlx::Error,
    },
    /// Its tables can't be brought up to date, or a newer version made them.
    #[error("the tables of the database {path} can't be brought up to date")]
    Migrate {
        /// Where it is.
        path: String,
        /// What went wrong.
        #[source]
        source: Box<sqlx::migrate::MigrateError>,
    },
}

/// The embedded [`Database`].
#[derive(Clone)]
pub struct SqliteDatabase {
    writer: SqlitePool,
    readers: SqlitePool,
}

impl SqliteDatabase {
    /// Opens the file at `path`, makes it if it isn't there (readable by its
    /// owner only), and brings its tables up to date.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub async fn open(path: impl AsRef<Path>) -> Result<Self, OpenError> {
        let path = path.as_ref();
        let shown = || path.display().to_string();
        create_private(path).map_err(|source| OpenError::File {
            path: shown(),
            source,
        })?;
        let options = SqliteConnectOptions::new()
            .filename(path)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Normal)
            .busy_timeout(BUSY_TIMEOUT)
            .foreign_keys(true);
        let writer = SqlitePoolOptions::new()
            .max_connections(1)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            // A local file's connection can't go away by itself.
            .test_before_acquire(false)
            .idle_timeout(None)
            .max_lifetime(None)
            .connect_with(options.clone())
            .await
            .map_err(|source| OpenError::Connect {
                path: shown(),
                source,
            })?;
        sqlx::migrate!()
            .run(&writer)
            .await
            .map_err(|source| OpenError::Migrate {
                path: shown(),
                source: Box::new(source),
            })?;
        let readers = SqlitePoolOptions::new()
            .max_connections(READERS_MAX)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .test_before_acquire(false)
            .connect_lazy_with(options.read_only(true));
        Ok(Self { writer, readers })
    }

    /// Writes the log back into the file and closes it. Calls after this are
    /// `Unavailable`.
    pub async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }
}

/// Makes the file if it isn't there. SQLite gives its side files the same mode.
fn create_private(path: &Path) -> std::io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map(drop)
}

impl fmt::Debug for SqliteDatabase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SqliteDatabase")
    }
}

/// What SQLite says, in our words; `what` is the kind of record in hand.
fn error(what: &'static str) -> impl Fn(sqlx::Error) -> DatabaseError {
    move |error| match &error {
        sqlx::Error::Database(e) if e.is_unique_violation() => DatabaseError::Conflict(what),
        sqlx::Error::Database(e) if e.is_foreign_key_violation() => {
            DatabaseError::Dangling("organisation")
        }
        sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => DatabaseError::Corrupt(what),
        _ => DatabaseError::Unavailable(Box::new(error)),
    }
}

#[async_trait]
impl Database for SqliteDatabase {
    async fn ping(&self) -> Result<(), DatabaseError> {
        sqlx::query("SELECT 1")
            .execute(&self.readers)
            .await
            .map_err(error("ping"))?;
        Ok(())
    }

    async fn add_account(&self, account: &AccountRecord) -> Result<(), DatabaseError> {
        accounts::add_account(&self.writer, account).await
    }

    async fn account_by_login(&self, login: &str) -> Result<Option<AccountRecord>, DatabaseError> {
        accounts::account_by_login(&self.readers, login).await
    }

    async fn account(&self, id: AccountId) -> Result<Option<AccountRecord>, DatabaseError> {
        accounts::account(&self.readers, id).await
    }

    async fn add_service_client(&self, client: &ServiceClientRecord) -> Result<(), DatabaseError> {
        accounts::add_service_client(&self.writer, client).await
    }

    async fn service_client(
        &self,
        client_id: &str,
    ) -> Result<Option<ServiceClientRecord>, DatabaseError> {
        accounts::service_client(&self.readers, client_id).await
    }

    async fn add_signing_key(&self, key: &SigningKeyRecord) -> Result<(), DatabaseError> {
        accounts::add_signing_key(&self.writer, key).await
    }

    async fn signing_keys(
        &self,
        now: OffsetDateTime,
    ) -> Result<Vec<SigningKeyRecord>, DatabaseError> {
        accounts::signing_keys(&self.readers, now).await
    }

    async fn extend_signing_key(
        &self,
        kid: &Kid,
        verify_until: OffsetDateTime,
    ) -> Result<bool, DatabaseError> {
        accounts::extend_signing_key(&self.writer, kid, verify_until).await
    }

    async fn revoke_signing_keys(
        &self,
        before_epoch: u32,
        at: OffsetDateTime,
    ) -> Result<u64, DatabaseError> {
        accounts::revoke_signing_keys(&self.writer, before_epoch, at).await
    }

    async fn add_organisation(
        &self,
        organisation: &OrganisationRecord,
    ) -> Result<(), DatabaseError> {
        accounts::add_organisation(&self.writer, organisation).await
    }

    async fn organisation_by_slug(
        &self,
        slug: &str,
    ) -> Result<Option<OrganisationRecord>, DatabaseError> {
        accounts::organisation_by_slug(&self.readers, slug).await
    }

    async fn organisation(
        &self,
        id: OrganisationId,
    ) -> Result<Option<OrganisationRecord>, DatabaseError> {
        accounts::organisation(&self.readers, id).await
    }

    async fn add_meeting(&self, meeting: &MeetingRecord) -> Result<(), DatabaseError> {
        meetings::add(&self.writer, meeting).await
    }

    async fn meeting(&self, key: MeetingKey) -> Result<Option<MeetingRecord>, DatabaseError> {
        meetings::get(&self.readers, key).await
    }

    async fn meetings(&self, filter: &MeetingFilter) -> Result<MeetingPage, DatabaseError> {
        meetings::list(&self.readers, filter).await
    }

    async fn change_meeting(
        &self,
        id: MeetingId,
        change: &MeetingChange,
    ) -> Result<Option<MeetingRecord>, DatabaseError> {
        meetings::change(&self.writer, id, change).await
    }

    async fn end_meeting(&self, id: MeetingId, at: OffsetDateTime) -> Result<bool, DatabaseError> {
        meetings::end(&self.writer, id, at).await
    }

    async fn append_audit(&self, event: &AuditEvent) -> Result<AuditEntry, DatabaseError> {
        audit::append(&self.writer, event).await
    }

    async fn audit_entries(
        &self,
        after: u64,
        limit: u32,
    ) -> Result<Vec<AuditEntry>, DatabaseError> {
        audit::entries(&self.readers, after, limit).await
    }

    async fn audit_verify(&self) -> Result<AuditReport, DatabaseError> {
        audit::verify(&self.readers).await
    }
}

#[cfg(test)]
mod tests;
