-- Points in time are Unix milliseconds, ids are UUIDs as text, scopes are texts
-- with single spaces.

CREATE TABLE organisations (
    id           TEXT    NOT NULL PRIMARY KEY,
    slug         TEXT    NOT NULL UNIQUE,
    display_name TEXT    NOT NULL,
    created_at   INTEGER NOT NULL
) STRICT;

CREATE TABLE accounts (
    id              TEXT    NOT NULL PRIMARY KEY,
    login           TEXT    NOT NULL UNIQUE COLLATE NOCASE,
    display_name    TEXT    NOT NULL,
    password_hash   TEXT    NOT NULL,
    organisation_id TEXT    REFERENCES organisations (id),
    scopes          TEXT    NOT NULL,
    created_at      INTEGER NOT NULL,
    disabled_at     INTEGER
) STRICT;

CREATE TABLE service_clients (
    client_id   TEXT    NOT NULL PRIMARY KEY,
    name        TEXT    NOT NULL,
    secret_hash BLOB    NOT NULL CHECK (length(secret_hash) = 32),
    scopes      TEXT    NOT NULL,
    created_at  INTEGER NOT NULL,
    disabled_at INTEGER
) STRICT;

CREATE TABLE signing_keys (
    kid          TEXT    NOT NULL PRIMARY KEY,
    -- Two instances that rotate at once can't both win.
    epoch        INTEGER NOT NULL UNIQUE,
    public_key   BLOB    NOT NULL CHECK (length(public_key) = 32),
    sealed       BLOB    NOT NULL,
    created_at   INTEGER NOT NULL,
    sign_until   INTEGER NOT NULL,
    verify_until INTEGER NOT NULL
) STRICT;

CREATE TABLE meetings (
    id               TEXT    NOT NULL PRIMARY KEY,
    code             TEXT    NOT NULL UNIQUE,
    display_name     TEXT    NOT NULL,
    organisation_id  TEXT    REFERENCES organisations (id),
    -- An account may be removed; what it made stays.
    created_by       TEXT,
    created_at       INTEGER NOT NULL,
    expires_at       INTEGER NOT NULL,
    ended_at         INTEGER,
    max_participants INTEGER NOT NULL,
    settings         TEXT    NOT NULL
) STRICT;

CREATE INDEX meetings_by_creator ON meetings (created_by, created_at);
CREATE INDEX meetings_by_organisation ON meetings (organisation_id, created_at);
CREATE INDEX meetings_by_time ON meetings (created_at);

CREATE TABLE audit_log (
    number   INTEGER NOT NULL PRIMARY KEY,
    -- Like 202611. A server database partitions the table by it.
    month    INTEGER NOT NULL,
    at       INTEGER NOT NULL,
    action   TEXT    NOT NULL,
    actor    TEXT    NOT NULL,
    address  TEXT,
    details  TEXT    NOT NULL,
    previous BLOB    NOT NULL CHECK (length(previous) = 32),
    hash     BLOB    NOT NULL CHECK (length(hash) = 32)
) STRICT;

CREATE INDEX audit_log_by_month ON audit_log (month, number);

-- Where the chain ends: cutting off the last entries contradicts it.
CREATE TABLE audit_head (
    only   INTEGER NOT NULL PRIMARY KEY CHECK (only = 1),
    number INTEGER NOT NULL,
    hash   BLOB    NOT NULL CHECK (length(hash) = 32)
) STRICT;

INSERT INTO audit_head (only, number, hash) VALUES (1, 0, zeroblob(32));

CREATE TRIGGER audit_log_is_not_changed BEFORE UPDATE ON audit_log
BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;

CREATE TRIGGER audit_log_is_not_shortened BEFORE DELETE ON audit_log
BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
