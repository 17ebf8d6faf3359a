//! Meetings in SQLite.

use dt_ids::MeetingId;
use sqlx::{SqlitePool, sqlite::SqliteRow};
use time::OffsetDateTime;

use super::{
    error,
    row::{Columns, to_ms},
};
use crate::{
    DatabaseError, MEETINGS_PAGE_MAX, MeetingChange, MeetingFilter, MeetingKey, MeetingPage,
    MeetingRecord, MeetingSettings,
};

const MEETING: &str = "meeting";

/// The conditions of a filter; a condition whose parameter is NULL holds.
macro_rules! filtered {
    ($select:literal, $rest:literal) => {
        concat!(
            $select,
            " FROM meetings WHERE (?1 IS NULL OR created_by = ?1) \
             AND (?2 IS NULL OR organisation_id = ?2) \
             AND (?3 IS NULL OR (ended_at IS NULL AND expires_at > ?3)) ",
            $rest
        )
    };
}

fn settings_text(settings: &MeetingSettings) -> String {
    serde_json::to_string(settings).expect("settings are a handful of booleans")
}

pub(super) async fn add(pool: &SqlitePool, meeting: &MeetingRecord) -> Result<(), DatabaseError> {
    sqlx::query(
        "INSERT INTO meetings (id, code, display_name, organisation_id, created_by, created_at, \
         expires_at, ended_at, max_participants, settings) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(meeting.id.to_string())
    .bind(meeting.code.to_string())
    .bind(&meeting.display_name)
    .bind(meeting.organisation.map(|id| id.to_string()))
    .bind(meeting.created_by.map(|id| id.to_string()))
    .bind(to_ms(meeting.created_at))
    .bind(to_ms(meeting.expires_at))
    .bind(meeting.ended_at.map(to_ms))
    .bind(meeting.max_participants)
    .bind(settings_text(&meeting.settings))
    .execute(pool)
    .await
    .map_err(error(MEETING))?;
    Ok(())
}

pub(super) async fn get(
    pool: &SqlitePool,
    key: MeetingKey,
) -> Result<Option<MeetingRecord>, DatabaseError> {
    let query = match key {
        MeetingKey::Id(id) => {
            sqlx::query("SELECT * FROM meetings WHERE id = ?").bind(id.to_string())
        }
        MeetingKey::Code(code) => {
            sqlx::query("SELECT * FROM meetings WHERE code = ?").bind(code.to_string())
        }
    };
    let row = query.fetch_optional(pool).await.map_err(error(MEETING))?;
    row.as_ref().map(meeting_of).transpose()
}

fn meeting_of(row: &SqliteRow) -> Result<MeetingRecord, DatabaseError> {
    let columns = Columns { row, what: MEETING };
    Ok(MeetingRecord {
        id: columns.parsed("id")?,
        code: columns.parsed("code")?,
        display_name: columns.text("display_name")?,
        organisation: columns.optional("organisation_id")?,
        created_by: columns.optional("created_by")?,
        created_at: columns.time("created_at")?,
        expires_at: columns.time("expires_at")?,
        ended_at: columns.optional_time("ended_at")?,
        max_participants: columns.number("max_participants")?,
        settings: serde_json::from_str(&columns.text("settings")?)
            .map_err(|_| columns.corrupt())?,
    })
}

pub(super) async fn list(
    pool: &SqlitePool,
    filter: &MeetingFilter,
) -> Result<MeetingPage, DatabaseError> {
    let creator = filter.created_by.map(|id| id.to_string());
    let organisation = filter.organisation.map(|id| id.to_string());
    let active_at = filter.active_at.map(to_ms);
    // One read transaction, so that the total fits the page.
    let mut transaction = pool.begin().await.map_err(error(MEETING))?;
    let total: i64 = sqlx::query_scalar(filtered!("SELECT COUNT(*)", ""))
        .bind(&creator)
        .bind(&organisation)
        .bind(active_at)
        .fetch_one(&mut *transaction)
        .await
        .map_err(error(MEETING))?;
    let rows = sqlx::query(filtered!(
        "SELECT *",
        "ORDER BY created_at DESC, id LIMIT ?4 OFFSET ?5"
    ))
    .bind(&creator)
    .bind(&organisation)
    .bind(active_at)
    .bind(filter.limit.min(MEETINGS_PAGE_MAX))
    .bind(filter.offset)
    .fetch_all(&mut *transaction)
    .await
    .map_err(error(MEETING))?;
    Ok(MeetingPage {
        meetings: rows.iter().map(meeting_of).collect::<Result<_, _>>()?,
        total: u64::try_from(total).unwrap_or(0),
    })
}

pub(super) async fn change(
    pool: &SqlitePool,
    id: MeetingId,
    change: &MeetingChange,
) -> Result<Option<MeetingRecord>, DatabaseError> {
    // IMMEDIATE: what is read here can't change before it is written.
    let mut transaction = pool
        .begin_with("BEGIN IMMEDIATE")
        .await
        .map_err(error(MEETING))?;
    let row = sqlx::query("SELECT * FROM meetings WHERE id = ? AND ended_at IS NULL")
        .bind(id.to_string())
        .fetch_optional(&mut *transaction)
        .await
        .map_err(error(MEETING))?;
    let Some(row) = row else { return Ok(None) };
    let meeting = change.applied_to(meeting_of(&row)?);
    let row = sqlx::query(
        "UPDATE meetings SET display_name = ?, max_participants = ?, expires_at = ?, \
         settings = ? WHERE id = ? RETURNING *",
    )
    .bind(&meeting.display_name)
    .bind(meeting.max_participants)
    .bind(to_ms(meeting.expires_at))
    .bind(settings_text(&meeting.settings))
    .bind(id.to_string())
    .fetch_one(&mut *transaction)
    .await
    .map_err(error(MEETING))?;
    let meeting = meeting_of(&row)?;
    transaction.commit().await.map_err(error(MEETING))?;
    Ok(Some(meeting))
}

pub(super) async fn end(
    pool: &SqlitePool,
    id: MeetingId,
    at: OffsetDateTime,
) -> Result<bool, DatabaseError> {
    let done = sqlx::query("UPDATE meetings SET ended_at = ? WHERE id = ? AND ended_at IS NULL")
        .bind(to_ms(at))
        .bind(id.to_string())
        .execute(pool)
        .await
        .map_err(error(MEETING))?;
    Ok(done.rows_affected() > 0)
}
