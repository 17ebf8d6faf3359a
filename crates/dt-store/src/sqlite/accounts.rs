//! Accounts, service clients, signing keys and organisations in SQLite.

use dt_ids::{AccountId, OrganisationId};
use dt_token::{Kid, PublicKey};
use sqlx::{SqlitePool, sqlite::SqliteRow};
use time::OffsetDateTime;

use super::{
    error,
    row::{Columns, to_ms},
};
use crate::{
    AccountRecord, DatabaseError, OrganisationRecord, PasswordHash, SealedKey, SecretHash,
    ServiceClientRecord, SigningKeyRecord,
};

const ACCOUNT: &str = "account";
const CLIENT: &str = "service client";
const KEY: &str = "signing key";
const ORGANISATION: &str = "organisation";

pub(super) async fn add_account(
    pool: &SqlitePool,
    account: &AccountRecord,
) -> Result<(), DatabaseError> {
    sqlx::query(
        "INSERT INTO accounts (id, login, display_name, password_hash, organisation_id, scopes, \
         created_at, disabled_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(account.id.to_string())
    .bind(&account.login)
    .bind(&account.display_name)
    .bind(&account.password_hash.0)
    .bind(account.organisation.map(|id| id.to_string()))
    .bind(account.scopes.to_string())
    .bind(to_ms(account.created_at))
    .bind(account.disabled_at.map(to_ms))
    .execute(pool)
    .await
    .map_err(error(ACCOUNT))?;
    Ok(())
}

pub(super) async fn account_by_login(
    pool: &SqlitePool,
    login: &str,
) -> Result<Option<AccountRecord>, DatabaseError> {
    let row = sqlx::query("SELECT * FROM accounts WHERE login = ?")
        .bind(login)
        .fetch_optional(pool)
        .await
        .map_err(error(ACCOUNT))?;
    row.as_ref().map(account_of).transpose()
}

pub(super) async fn account(
    pool: &SqlitePool,
    id: AccountId,
) -> Result<Option<AccountRecord>, DatabaseError> {
    let row = sqlx::query("SELECT * FROM accounts WHERE id = ?")
        .bind(id.to_string())
        .fetch_optional(pool)
        .await
        .map_err(error(ACCOUNT))?;
    row.as_ref().map(account_of).transpose()
}

fn account_of(row: &SqliteRow) -> Result<AccountRecord, DatabaseError> {
    let columns = Columns { row, what: ACCOUNT };
    Ok(AccountRecord {
        id: columns.parsed("id")?,
        login: columns.text("login")?,
        display_name: columns.text("display_name")?,
        password_hash: PasswordHash(columns.text("password_hash")?),
        organisation: columns.optional("organisation_id")?,
        scopes: columns.parsed("scopes")?,
        created_at: columns.time("created_at")?,
        disabled_at: columns.optional_time("disabled_at")?,
    })
}

pub(super) async fn add_service_client(
    pool: &SqlitePool,
    client: &ServiceClientRecord,
) -> Result<(), DatabaseError> {
    sqlx::query(
        "INSERT INTO service_clients (client_id, name, secret_hash, scopes, created_at, \
         disabled_at) VALUES (?, ?, ?, ?, ?, ?)",
    )
    .bind(&client.client_id)
    .bind(&client.name)
    .bind(&client.secret_hash.0[..])
    .bind(client.scopes.to_string())
    .bind(to_ms(client.created_at))
    .bind(client.disabled_at.map(to_ms))
    .execute(pool)
    .await
    .map_err(error(CLIENT))?;
    Ok(())
}

pub(super) async fn service_client(
    pool: &SqlitePool,
    client_id: &str,
) -> Result<Option<ServiceClientRecord>, DatabaseError> {
    let row = sqlx::query("SELECT * FROM service_clients WHERE client_id = ?")
        .bind(client_id)
        .fetch_optional(pool)
        .await
        .map_err(error(CLIENT))?;
    let Some(row) = row else { return Ok(None) };
    let columns = Columns {
        row: &row,
        what: CLIENT,
    };
    Ok(Some(ServiceClientRecord {
        client_id: columns.text("client_id")?,
        name: columns.text("name")?,
        secret_hash: SecretHash(columns.hash("secret_hash")?),
        scopes: columns.parsed("scopes")?,
        created_at: columns.time("created_at")?,
        disabled_at: columns.optional_time("disabled_at")?,
    }))
}

pub(super) async fn add_signing_key(
    pool: &SqlitePool,
    key: &SigningKeyRecord,
) -> Result<(), DatabaseError> {
    sqlx::query(
        "INSERT INTO signing_keys (kid, epoch, public_key, sealed, created_at, sign_until, \
         verify_until) VALUES (?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(key.kid.as_str())
    .bind(key.epoch)
    .bind(&key.public_key.to_bytes()[..])
    .bind(&key.sealed.0)
    .bind(to_ms(key.created_at))
    .bind(to_ms(key.sign_until))
    .bind(to_ms(key.verify_until))
    .execute(pool)
    .await
    .map_err(error(KEY))?;
    Ok(())
}

pub(super) async fn signing_keys(
    pool: &SqlitePool,
    now: OffsetDateTime,
) -> Result<Vec<SigningKeyRecord>, DatabaseError> {
    let rows = sqlx::query(
        "SELECT * FROM signing_keys WHERE verify_until > ? \
         OR epoch = (SELECT MAX(epoch) FROM signing_keys) ORDER BY epoch DESC",
    )
    .bind(to_ms(now))
    .fetch_all(pool)
    .await
    .map_err(error(KEY))?;
    rows.iter().map(signing_key_of).collect()
}

fn signing_key_of(row: &SqliteRow) -> Result<SigningKeyRecord, DatabaseError> {
    let columns = Columns { row, what: KEY };
    Ok(SigningKeyRecord {
        kid: columns.parsed("kid")?,
        epoch: columns.number("epoch")?,
        public_key: PublicKey::from_bytes(&columns.hash("public_key")?)
            .map_err(|_| columns.corrupt())?,
        sealed: SealedKey(columns.bytes("sealed")?),
        created_at: columns.time("created_at")?,
        sign_until: columns.time("sign_until")?,
        verify_until: columns.time("verify_until")?,
    })
}

pub(super) async fn extend_signing_key(
    pool: &SqlitePool,
    kid: &Kid,
    verify_until: OffsetDateTime,
) -> Result<bool, DatabaseError> {
    // Revoking a key that signs ends both of its times at once.
    let done = sqlx::query(
        "UPDATE signing_keys SET verify_until = MAX(verify_until, ?) \
         WHERE kid = ? AND verify_until > sign_until",
    )
    .bind(to_ms(verify_until))
    .bind(kid.as_str())
    .execute(pool)
    .await
    .map_err(error(KEY))?;
    Ok(done.rows_affected() > 0)
}

pub(super) async fn revoke_signing_keys(
    pool: &SqlitePool,
    before_epoch: u32,
    at: OffsetDateTime,
) -> Result<u64, DatabaseError> {
    let done = sqlx::query(
        "UPDATE signing_keys SET sign_until = MIN(sign_until, ?1), \
         verify_until = MIN(verify_until, ?1) WHERE epoch < ?2 AND verify_until > ?1",
    )
    .bind(to_ms(at))
    .bind(before_epoch)
    .execute(pool)
    .await
    .map_err(error(KEY))?;
    Ok(done.rows_affected())
}

pub(super) async fn add_organisation(
    pool: &SqlitePool,
    organisation: &OrganisationRecord,
) -> Result<(), DatabaseError> {
    sqlx::query(
        "INSERT INTO organisations (id, slug, display_name, created_at) VALUES (?, ?, ?, ?)",
    )
    .bind(organisation.id.to_string())
    .bind(&organisation.slug)
    .bind(&organisation.display_name)
    .bind(to_ms(organisation.created_at))
    .execute(pool)
    .await
    .map_err(error(ORGANISATION))?;
    Ok(())
}

pub(super) async fn organisation_by_slug(
    pool: &SqlitePool,
    slug: &str,
) -> Result<Option<OrganisationRecord>, DatabaseError> {
    let row = sqlx::query("SELECT * FROM organisations WHERE slug = ?")
        .bind(slug)
        .fetch_optional(pool)
        .await
        .map_err(error(ORGANISATION))?;
    row.as_ref().map(organisation_of).transpose()
}

pub(super) async fn organisation(
    pool: &SqlitePool,
    id: OrganisationId,
) -> Result<Option<OrganisationRecord>, DatabaseError> {
    let row = sqlx::query("SELECT * FROM organisations WHERE id = ?")
        .bind(id.to_string())
        .fetch_optional(pool)
        .await
        .map_err(error(ORGANISATION))?;
    row.as_ref().map(organisation_of).transpose()
}

fn organisation_of(row: &SqliteRow) -> Result<OrganisationRecord, DatabaseError> {
    let columns = Columns {
        row,
        what: ORGANISATION,
    };
    Ok(OrganisationRecord {
        id: columns.parsed("id")?,
        slug: columns.text("slug")?,
        display_name: columns.text("display_name")?,
        created_at: columns.time("created_at")?,
    })
}
