//! The embedded database keeps the contract, starts quickly and shows what was
//! done to its audit log behind its back.

use std::{path::PathBuf, time::Instant};

use serde_json::Map;
use sqlx::{Connection as _, SqliteConnection, sqlite::SqliteConnectOptions};
use tempfile::TempDir;
use time::OffsetDateTime;

use super::*;
use crate::{AuditFault, contract};

fn file() -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("darktower.db");
    (dir, path)
}

#[tokio::test]
async fn sqlite_keeps_the_contract() {
    let dir = tempfile::tempdir().unwrap();
    let number = std::cell::Cell::new(0);
    contract::database::check(|| {
        number.set(number.get() + 1);
        let path = dir.path().join(format!("{}.db", number.get()));
        async move { SqliteDatabase::open(path).await.unwrap() }
    })
    .await;
}

#[tokio::test]
async fn what_was_written_is_there_after_opening_again() {
    let (_dir, path) = file();
    let started = Instant::now();
    let db = SqliteDatabase::open(&path).await.unwrap();
    println!("first open with migration: {:?}", started.elapsed());
    append(&db, 3).await;
    db.close().await;
    assert!(matches!(
        db.ping().await,
        Err(DatabaseError::Unavailable(_))
    ));
    let started = Instant::now();
    let db = SqliteDatabase::open(&path).await.unwrap();
    println!("second open: {:?}", started.elapsed());
    db.ping().await.unwrap();
    assert_eq!(db.audit_verify().await.unwrap().entries, 3);
}

#[cfg(unix)]
#[tokio::test]
async fn only_the_owner_may_read_the_file() {
    use std::os::unix::fs::PermissionsExt as _;
    let (dir, path) = file();
    let db = SqliteDatabase::open(&path).await.unwrap();
    append(&db, 1).await;
    for entry in std::fs::read_dir(dir.path()).unwrap() {
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{:?}", entry.file_name());
    }
}

#[tokio::test]
async fn two_processes_share_the_file() {
    let (_dir, path) = file();
    let one = SqliteDatabase::open(&path).await.unwrap();
    let two = SqliteDatabase::open(&path).await.unwrap();
    futures::join!(append(&one, 20), append(&two, 20));
    let report = two.audit_verify().await.unwrap();
    assert_eq!((report.entries, report.fault), (40, None));
}

#[tokio::test]
async fn what_is_no_database_is_refused_with_its_path() {
    let (_dir, path) = file();
    std::fs::write(&path, "this is a text file, and not a short one either").unwrap();
    let error = SqliteDatabase::open(&path).await.unwrap_err();
    assert!(error.to_string().contains("darktower.db"), "{error}");
    let error = SqliteDatabase::open("/nowhere/at/all.db")
        .await
        .unwrap_err();
    assert!(matches!(error, OpenError::File { .. }));
}

async fn append(db: &SqliteDatabase, count: usize) {
    for number in 0..count {
        let event = AuditEvent {
            at: OffsetDateTime::now_utc(),
            action: format!("event.{number}"),
            actor: "operator".to_owned(),
            address: None,
            details: Map::new(),
        };
        db.append_audit(&event).await.unwrap();
    }
}

/// What somebody with the file and a SQLite shell can do.
async fn tamper(path: &PathBuf, statements: &'static str) -> Result<(), sqlx::Error> {
    let options = SqliteConnectOptions::new().filename(path);
    let mut connection = SqliteConnection::connect_with(&options).await?;
    sqlx::raw_sql(statements).execute(&mut connection).await?;
    connection.close().await
}

#[tokio::test]
async fn the_audit_log_can_not_be_changed_by_plain_statements() {
    let (_dir, path) = file();
    append(&SqliteDatabase::open(&path).await.unwrap(), 2).await;
    assert!(
        tamper(&path, "UPDATE audit_log SET actor = 'nobody'")
            .await
            .is_err()
    );
    assert!(tamper(&path, "DELETE FROM audit_log").await.is_err());
}

#[tokio::test]
async fn tampering_with_the_audit_log_is_found() {
    const OFF: &str =
        "DROP TRIGGER audit_log_is_not_changed; DROP TRIGGER audit_log_is_not_shortened;";
    let cases = [
        (
            "UPDATE audit_log SET actor = 'nobody' WHERE number = 2",
            1,
            AuditFault::Changed(2),
        ),
        (
            "UPDATE audit_log SET address = '::1' WHERE number = 3",
            2,
            AuditFault::Changed(3),
        ),
        (
            "UPDATE audit_log SET at = at - 1 WHERE number = 1",
            0,
            AuditFault::Changed(1),
        ),
        (
            "UPDATE audit_log SET month = 197001 WHERE number = 4",
            3,
            AuditFault::Changed(4),
        ),
        (
            "UPDATE audit_log SET details = 'x' WHERE number = 4",
            3,
            AuditFault::Changed(4),
        ),
        (
            "UPDATE audit_log SET hash = zeroblob(32) WHERE number = 2",
            1,
            AuditFault::Changed(2),
        ),
        (
            "DELETE FROM audit_log WHERE number = 2",
            1,
            AuditFault::Missing(2),
        ),
        (
            "DELETE FROM audit_log WHERE number = 5",
            4,
            AuditFault::Missing(5),
        ),
        ("DELETE FROM audit_log", 0, AuditFault::Missing(1)),
        (
            "INSERT INTO audit_log SELECT 6, month, at, action, actor, address, details, previous, \
             hash FROM audit_log WHERE number = 5",
            5,
            AuditFault::Changed(6),
        ),
        (
            "UPDATE audit_head SET number = 4",
            5,
            AuditFault::Changed(5),
        ),
    ];
    for (statement, entries, fault) in cases {
        let (_dir, path) = file();
        let db = SqliteDatabase::open(&path).await.unwrap();
        append(&db, 5).await;
        tamper(&path, OFF).await.unwrap();
        tamper(&path, statement).await.unwrap();
        let report = db.audit_verify().await.unwrap();
        assert_eq!(
            (report.entries, report.fault),
            (entries, Some(fault)),
            "{statement}"
        );
    }
}
