//! Checking tokens against keys that are fetched when needed.
//!
//! Every service drives one [`Verifier`], and so does every client that meets
//! others. It holds the keys for an hour
//! ([`JWKS_AGE_MAX_S`]), fetches them earlier when a token names a key that it
//! does not know, and never more often than once in [`JWKS_REFRESH_EVERY_S`],
//! so that forged key names can't be turned into load on the auth controller.

use std::sync::{Arc, RwLock};

use async_trait::async_trait;
use futures::lock::Mutex;

use crate::{
    ClaimSet, DEVICE_SKEW_S, Jwks, Kid, PublicKey, SKEW_S, TokenError, UnixTime, jws::Unverified,
};

/// Keys older than this are fetched anew at the next token, in seconds.
pub const JWKS_AGE_MAX_S: u64 = 3600;
/// Shortest time between two fetches, in seconds.
pub const JWKS_REFRESH_EVERY_S: u64 = 10;
/// While the auth controller can't be reached, keys are used until they are
/// this old, in seconds: a key stays good for a week after its last use, and an
/// outage must not end running meetings.
pub const JWKS_STALE_MAX_S: u64 = 24 * 3600;

/// The keys could not be fetched.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the key set can't be fetched: {0}")]
pub struct JwksFetchError(pub String);

/// Where keys come from: a call to the auth controller, or a file in a test.
#[async_trait]
pub trait JwksSource: Send + Sync {
    /// The set as it is now. Ends in bounded time: tokens with unknown keys wait
    /// for it.
    async fn fetch(&self) -> Result<Jwks, JwksFetchError>;
}

/// A set that never changes.
#[derive(Debug, Clone)]
pub struct StaticJwks(pub Jwks);

#[async_trait]
impl JwksSource for StaticJwks {
    async fn fetch(&self) -> Result<Jwks, JwksFetchError> {
        Ok(self.0.clone())
    }
}

#[derive(Default)]
struct Cache {
    keys: Jwks,
    /// When `keys` were fetched; `None` before the first success.
    fetched_at: Option<UnixTime>,
}

/// Checks the tokens of one issuer. Cheap to share behind an `Arc`.
pub struct Verifier {
    /// Without a name: whoever has the keys.
    issuer: Option<String>,
    skew_s: u64,
    source: Arc<dyn JwksSource>,
    cache: RwLock<Cache>,
    /// When the last fetch began. Its lock is held while fetching, so that
    /// tokens that arrive meanwhile wait for that fetch instead of failing.
    attempted_at: Mutex<Option<UnixTime>>,
}

impl Verifier {
    /// Accepts tokens of `issuer` signed with keys from `source`. Fetches
    /// nothing yet.
    #[must_use]
    pub fn new(issuer: impl Into<String>, source: Arc<dyn JwksSource>) -> Self {
        Self {
            issuer: Some(issuer.into()),
            skew_s: SKEW_S,
            source,
            cache: RwLock::default(),
            attempted_at: Mutex::new(None),
        }
    }

    /// For a program on a person's device, which knows where the keys are and not
    /// what their owner calls itself: accepts tokens of whoever has the keys, and
    /// a clock that is up to [`DEVICE_SKEW_S`] wrong.
    #[must_use]
    pub fn on_a_device(source: Arc<dyn JwksSource>) -> Self {
        Self {
            issuer: None,
            skew_s: DEVICE_SKEW_S,
            source,
            cache: RwLock::default(),
            attempted_at: Mutex::new(None),
        }
    }

    /// The claims of `token`, if it is a valid token of kind `C` at `now`.
    ///
    /// # Errors
    /// See [`TokenError`]; all but [`TokenError::KeysUnavailable`] are the
    /// sender's.
    pub async fn verify<C: ClaimSet>(&self, token: &str, now: UnixTime) -> Result<C, TokenError> {
        let unverified = Unverified::parse::<C>(token)?;
        let key = self.key(unverified.kid(), now).await?;
        unverified.verify(&key, self.issuer.as_deref(), self.skew_s, now)
    }

    async fn key(&self, kid: &Kid, now: UnixTime) -> Result<PublicKey, TokenError> {
        if let Some(key) = self.cached(kid, now, JWKS_AGE_MAX_S) {
            return Ok(key);
        }
        self.refresh(kid, now).await;
        if let Some(key) = self.cached(kid, now, JWKS_STALE_MAX_S) {
            return Ok(key);
        }
        let cache = self.cache.read().unwrap_or_else(|e| e.into_inner());
        match cache.fetched_at {
            Some(at) if fresh(at, now, JWKS_STALE_MAX_S) => Err(TokenError::UnknownKey),
            _ => Err(TokenError::KeysUnavailable),
        }
    }

    fn cached(&self, kid: &Kid, now: UnixTime, age_max_s: u64) -> Option<PublicKey> {
        // A poisoned lock holds a whole cache all the same: it is replaced in one step.
        let cache = self.cache.read().unwrap_or_else(|e| e.into_inner());
        cache.fetched_at.filter(|at| fresh(*at, now, age_max_s))?;
        cache.keys.get(kid).copied()
    }

    async fn refresh(&self, kid: &Kid, now: UnixTime) {
        let mut attempted_at = self.attempted_at.lock().await;
        // Whoever held the lock before may have brought the key.
        if self.cached(kid, now, JWKS_AGE_MAX_S).is_some() {
            return;
        }
        if attempted_at.is_some_and(|at| fresh(at, now, JWKS_REFRESH_EVERY_S)) {
            return;
        }
        *attempted_at = Some(now);
        if let Ok(keys) = self.source.fetch().await {
            let mut cache = self.cache.write().unwrap_or_else(|e| e.into_inner());
            *cache = Cache {
                keys,
                fetched_at: Some(now),
            };
        }
    }
}

impl std::fmt::Debug for Verifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Verifier")
            .field("issuer", &self.issuer)
            .finish_non_exhaustive()
    }
}

/// Whether less than `age_max_s` has passed since `at`. Tasks read the clock at
/// different moments, so `at` may be a little ahead; a clock that was set back
/// by more makes everything old, or a wrong one at start would block refreshes.
fn fresh(at: UnixTime, now: UnixTime, age_max_s: u64) -> bool {
    match now.as_secs().checked_sub(at.as_secs()) {
        Some(age) => age < age_max_s,
        None => at.as_secs() - now.as_secs() <= SKEW_S,
    }
}
