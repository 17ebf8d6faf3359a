//! Columns to values and back.

use std::str::FromStr;

use sqlx::{Row as _, sqlite::SqliteRow};
use time::OffsetDateTime;

use crate::DatabaseError;

/// Unix milliseconds; years up to 9999 fit many times over.
pub(super) fn to_ms(at: OffsetDateTime) -> i64 {
    i64::try_from(at.unix_timestamp_nanos() / 1_000_000).unwrap_or(i64::MAX)
}

fn from_ms(ms: i64) -> Option<OffsetDateTime> {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(ms) * 1_000_000).ok()
}

/// Reads the columns of one row; `what` is the kind of record, for errors.
pub(super) struct Columns<'a> {
    pub(super) row: &'a SqliteRow,
    pub(super) what: &'static str,
}

impl Columns<'_> {
    pub(super) fn corrupt(&self) -> DatabaseError {
        DatabaseError::Corrupt(self.what)
    }

    pub(super) fn text(&self, column: &str) -> Result<String, DatabaseError> {
        self.row.try_get(column).map_err(|_| self.corrupt())
    }

    pub(super) fn optional_text(&self, column: &str) -> Result<Option<String>, DatabaseError> {
        self.row.try_get(column).map_err(|_| self.corrupt())
    }

    pub(super) fn bytes(&self, column: &str) -> Result<Vec<u8>, DatabaseError> {
        self.row.try_get(column).map_err(|_| self.corrupt())
    }

    pub(super) fn hash(&self, column: &str) -> Result<[u8; 32], DatabaseError> {
        self.bytes(column)?.try_into().map_err(|_| self.corrupt())
    }

    /// A text that is something else, like an id or a set of scopes.
    pub(super) fn parsed<T: FromStr>(&self, column: &str) -> Result<T, DatabaseError> {
        self.text(column)?.parse().map_err(|_| self.corrupt())
    }

    pub(super) fn optional<T: FromStr>(&self, column: &str) -> Result<Option<T>, DatabaseError> {
        let text = self.optional_text(column)?;
        text.map(|t| t.parse().map_err(|_| self.corrupt()))
            .transpose()
    }

    pub(super) fn number<T: TryFrom<i64>>(&self, column: &str) -> Result<T, DatabaseError> {
        let number: i64 = self.row.try_get(column).map_err(|_| self.corrupt())?;
        number.try_into().map_err(|_| self.corrupt())
    }

    pub(super) fn time(&self, column: &str) -> Result<OffsetDateTime, DatabaseError> {
        from_ms(self.number(column)?).ok_or_else(|| self.corrupt())
    }

    pub(super) fn optional_time(
        &self,
        column: &str,
    ) -> Result<Option<OffsetDateTime>, DatabaseError> {
        let ms: Option<i64> = self.row.try_get(column).map_err(|_| self.corrupt())?;
        ms.map(|ms| from_ms(ms).ok_or_else(|| self.corrupt()))
            .transpose()
    }
}
