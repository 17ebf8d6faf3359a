//! An auth controller over a real database in a folder of its own, on a clock
//! that tests move.

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use dt_ids::MeetingId;
use dt_store::{Database as _, MemoryState, SqliteDatabase};
use dt_token::ScopeSet;
use dt_wire::{
    internal::{IssueMeetingToken, TokenKind},
    v1,
};
use tempfile::TempDir;
use time::{Duration, OffsetDateTime};
use zeroize::Zeroizing;

use crate::{
    ACTOR_OPERATOR, AuthController, Clock, Config, Directory, KeyRing, MasterKey, NewAccount,
    NewService, RegisteredService,
};

pub(crate) const LOGIN: &str = "ada@example.com";
pub(crate) const PASSWORD: &str = "correct horse battery";

pub(crate) struct Fixture {
    pub(crate) controller: Arc<AuthController>,
    pub(crate) database: Arc<SqliteDatabase>,
    pub(crate) state: Arc<MemoryState>,
    pub(crate) master_key: MasterKey,
    moved_ms: Arc<AtomicI64>,
    _dir: TempDir,
}

impl Fixture {
    pub(crate) async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let database = SqliteDatabase::open(dir.path().join("darktower.db"))
            .await
            .unwrap();
        let (database, state) = (Arc::new(database), Arc::new(MemoryState::new()));
        let (master_key, moved_ms) = (MasterKey::random(), Arc::new(AtomicI64::new(0)));
        let config = config(&master_key, &moved_ms);
        let controller = AuthController::start(config, database.clone(), state.clone())
            .await
            .unwrap();
        Self {
            controller,
            database,
            state,
            master_key,
            moved_ms,
            _dir: dir,
        }
    }

    /// Another instance of the same deployment.
    pub(crate) async fn instance(&self) -> Arc<AuthController> {
        let config = config(&self.master_key, &self.moved_ms);
        AuthController::start(config, self.database.clone(), self.state.clone())
            .await
            .unwrap()
    }

    /// What the command line has: the same keys, without a server.
    pub(crate) fn key_ring(&self, master_key: &MasterKey) -> KeyRing {
        let config = config(&self.master_key, &self.moved_ms);
        KeyRing::new(
            &config.issuer,
            master_key.clone(),
            self.database.clone(),
            config.clock,
        )
    }

    pub(crate) fn now(&self) -> OffsetDateTime {
        clock(&self.moved_ms)()
    }

    pub(crate) fn pass(&self, time: Duration) {
        let ms = i64::try_from(time.whole_milliseconds()).unwrap();
        self.moved_ms.fetch_add(ms, Ordering::Relaxed);
    }

    pub(crate) async fn add_account(&self, scopes: ScopeSet) {
        let new = NewAccount {
            login: LOGIN.to_owned(),
            display_name: "Ada".to_owned(),
            password: Zeroizing::new(PASSWORD.to_owned()),
            organisation: None,
            scopes,
            bcrypt_cost: 4,
        };
        let directory = Directory::new(self.database.clone(), clock(&self.moved_ms));
        directory.add_account(new, ACTOR_OPERATOR).await.unwrap();
    }

    pub(crate) async fn add_service(&self, scopes: &str) -> RegisteredService {
        let new = NewService {
            name: "Load test".to_owned(),
            client_id: None,
            scopes: scopes.parse().unwrap(),
        };
        let directory = Directory::new(self.database.clone(), clock(&self.moved_ms));
        directory
            .register_service(new, ACTOR_OPERATOR)
            .await
            .unwrap()
    }

    /// What was noted, without the keys' beginnings, as `action actor`.
    pub(crate) async fn notes(&self) -> Vec<String> {
        let entries = self.database.audit_entries(0, 1000).await.unwrap();
        entries
            .into_iter()
            .map(|e| format!("{} {}", e.event.action, e.event.actor))
            .collect()
    }
}

fn clock(moved_ms: &Arc<AtomicI64>) -> Clock {
    let moved_ms = Arc::clone(moved_ms);
    Arc::new(move || {
        OffsetDateTime::now_utc() + Duration::milliseconds(moved_ms.load(Ordering::Relaxed))
    })
}

fn config(master_key: &MasterKey, moved_ms: &Arc<AtomicI64>) -> Config {
    Config {
        // The least that bcrypt has: hashes in tests take milliseconds.
        bcrypt_cost: 4,
        clock: clock(moved_ms),
        ..Config::with_master_key(master_key.clone())
    }
}

/// A call for one token of a random meeting.
pub(crate) fn meeting_token(kind: TokenKind, role: v1::Role) -> IssueMeetingToken {
    IssueMeetingToken {
        kind: kind.into(),
        meeting_id: MeetingId::random().to_string(),
        role: role.into(),
        ..IssueMeetingToken::default()
    }
}
