//! The audit log in SQLite.

use futures::TryStreamExt as _;
use sqlx::{SqlitePool, sqlite::SqliteRow};

use super::{
    error,
    row::{Columns, to_ms},
};
use crate::{
    AUDIT_GENESIS, AuditEntry, AuditEvent, AuditFault, AuditReport, DatabaseError,
    database::{entry_hash, month_of},
};

const AUDIT: &str = "audit log";
/// Most entries in one answer.
const ENTRIES_MAX: u32 = 1000;

pub(super) async fn append(
    pool: &SqlitePool,
    event: &AuditEvent,
) -> Result<AuditEntry, DatabaseError> {
    let details = serde_json::to_string(&event.details).expect("a JSON object is always JSON");
    let at_ms = to_ms(event.at);
    // IMMEDIATE: nobody else may append between reading the head and moving it.
    let mut transaction = pool
        .begin_with("BEGIN IMMEDIATE")
        .await
        .map_err(error(AUDIT))?;
    let (number, previous) = {
        let row = sqlx::query("SELECT number, hash FROM audit_head")
            .fetch_one(&mut *transaction)
            .await
            .map_err(error(AUDIT))?;
        let columns = Columns {
            row: &row,
            what: AUDIT,
        };
        (columns.number::<u64>("number")? + 1, columns.hash("hash")?)
    };
    let texts = [event.action.as_str(), &event.actor, &details];
    let hash = entry_hash(number, &previous, at_ms, texts, event.address.as_deref());
    let stored_number = i64::try_from(number).map_err(|_| DatabaseError::Corrupt(AUDIT))?;
    sqlx::query(
        "INSERT INTO audit_log (number, month, at, action, actor, address, details, previous, \
         hash) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(stored_number)
    .bind(month_of(event.at))
    .bind(at_ms)
    .bind(&event.action)
    .bind(&event.actor)
    .bind(&event.address)
    .bind(&details)
    .bind(&previous[..])
    .bind(&hash[..])
    .execute(&mut *transaction)
    .await
    .map_err(error(AUDIT))?;
    sqlx::query("UPDATE audit_head SET number = ?, hash = ?")
        .bind(stored_number)
        .bind(&hash[..])
        .execute(&mut *transaction)
        .await
        .map_err(error(AUDIT))?;
    transaction.commit().await.map_err(error(AUDIT))?;
    Ok(AuditEntry {
        number,
        month: month_of(event.at),
        event: event.clone(),
        previous,
        hash,
    })
}

pub(super) async fn entries(
    pool: &SqlitePool,
    after: u64,
    limit: u32,
) -> Result<Vec<AuditEntry>, DatabaseError> {
    let rows = sqlx::query("SELECT * FROM audit_log WHERE number > ? ORDER BY number LIMIT ?")
        .bind(i64::try_from(after).unwrap_or(i64::MAX))
        .bind(limit.min(ENTRIES_MAX))
        .fetch_all(pool)
        .await
        .map_err(error(AUDIT))?;
    rows.iter().map(entry_of).collect()
}

fn entry_of(row: &SqliteRow) -> Result<AuditEntry, DatabaseError> {
    let columns = Columns { row, what: AUDIT };
    Ok(AuditEntry {
        number: columns.number("number")?,
        month: columns.number("month")?,
        event: AuditEvent {
            at: columns.time("at")?,
            action: columns.text("action")?,
            actor: columns.text("actor")?,
            address: columns.optional_text("address")?,
            details: serde_json::from_str(&columns.text("details")?)
                .map_err(|_| columns.corrupt())?,
        },
        previous: columns.hash("previous")?,
        hash: columns.hash("hash")?,
    })
}

pub(super) async fn verify(pool: &SqlitePool) -> Result<AuditReport, DatabaseError> {
    // One read transaction: the log may grow meanwhile.
    let mut transaction = pool.begin().await.map_err(error(AUDIT))?;
    let (head_number, head_hash) = {
        let row = sqlx::query("SELECT number, hash FROM audit_head")
            .fetch_one(&mut *transaction)
            .await
            .map_err(error(AUDIT))?;
        let columns = Columns {
            row: &row,
            what: AUDIT,
        };
        (columns.number::<u64>("number")?, columns.hash("hash")?)
    };
    let mut report = AuditReport {
        entries: 0,
        head: AUDIT_GENESIS,
        fault: None,
    };
    {
        let mut rows =
            sqlx::query("SELECT * FROM audit_log ORDER BY number").fetch(&mut *transaction);
        while let Some(row) = rows.try_next().await.map_err(error(AUDIT))? {
            match follow(&report, &row) {
                Ok(hash) => {
                    report = AuditReport {
                        entries: report.entries + 1,
                        head: hash,
                        fault: None,
                    }
                }
                Err(fault) => {
                    return Ok(AuditReport {
                        fault: Some(fault),
                        ..report
                    });
                }
            }
        }
    }
    if report.entries < head_number {
        report.fault = Some(AuditFault::Missing(report.entries + 1));
    } else if report.entries != head_number || report.head != head_hash {
        // More entries than the head knows, or another last one.
        report.fault = Some(AuditFault::Changed(report.entries));
    }
    Ok(report)
}

/// The hash of the entry in `row`, if it follows what was checked so far. An
/// unreadable column is a changed one.
fn follow(so_far: &AuditReport, row: &SqliteRow) -> Result<[u8; 32], AuditFault> {
    let expected = so_far.entries + 1;
    let changed = |_| AuditFault::Changed(expected);
    let columns = Columns { row, what: AUDIT };
    let number: u64 = columns.number("number").map_err(changed)?;
    if number > expected {
        return Err(AuditFault::Missing(expected));
    }
    let action = columns.text("action").map_err(changed)?;
    let actor = columns.text("actor").map_err(changed)?;
    let details = columns.text("details").map_err(changed)?;
    let address = columns.optional_text("address").map_err(changed)?;
    let at_ms: i64 = columns.number("at").map_err(changed)?;
    let at = columns.time("at").map_err(changed)?;
    let month: u32 = columns.number("month").map_err(changed)?;
    let previous = columns.hash("previous").map_err(changed)?;
    let stored = columns.hash("hash").map_err(changed)?;
    let texts = [action.as_str(), &actor, &details];
    let hash = entry_hash(number, &previous, at_ms, texts, address.as_deref());
    let whole =
        number == expected && previous == so_far.head && stored == hash && month == month_of(at);
    if whole {
        Ok(hash)
    } else {
        Err(AuditFault::Changed(expected))
    }
}
