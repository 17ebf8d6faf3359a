//! The signing keys: which one signs, which ones check, and their rotation.
//!
//! A key signs for a week and checks signatures for a week more, longer if a
//! token that it signed lives longer. Rotation needs no task: whoever asks for
//! the keys when one is due makes it, and the database lets one instance win.
//! Keys are read again every few seconds, so that a rotation elsewhere or by
//! `darktower admin keys rotate` is seen by all.

use std::sync::{Arc, RwLock};

use async_trait::async_trait;
use dt_store::{Database, DatabaseError, SigningKeyRecord};
use dt_token::{Jwks, JwksFetchError, JwksSource, Kid, Signer, SigningKey};
use time::{Duration, OffsetDateTime};
use tokio::sync::Mutex;

use crate::{Clock, MasterKey, SealError, audit::Note, sealed};

/// A key signs for this long.
const SIGN: Duration = Duration::WEEK;
/// And its signatures are good for this much longer at least.
const OVERLAP: Duration = Duration::WEEK;
/// How old what is known of the keys may get.
const REREAD_AFTER: Duration = Duration::seconds(5);
/// A new key signs only once every instance shows it in its key set.
const SIGN_AFTER: Duration = Duration::seconds(15);

/// Why there are no keys to sign with.
#[derive(Debug, thiserror::Error)]
pub enum KeyRingError {
    /// The database failed.
    #[error("the signing keys can't be read or made")]
    Database(#[from] DatabaseError),
    /// The master key is not theirs.
    #[error(transparent)]
    Sealed(#[from] SealError),
    /// The key that would sign was revoked at this moment.
    #[error("the signing key was revoked just now")]
    Revoked,
}

/// Why keys were not rotated.
#[derive(Debug, thiserror::Error)]
pub enum RotateError {
    /// Another rotation is going on.
    #[error("the keys were rotated by somebody else at this moment")]
    Raced,
    /// There are no keys.
    #[error(transparent)]
    Keys(#[from] KeyRingError),
}

/// The keys as they were at a moment.
pub(crate) struct Keys {
    read_at: OffsetDateTime,
    /// Newest first.
    records: Vec<SigningKeyRecord>,
    signer: Signer,
    /// When the key that signs is old enough for a new one.
    due_at: OffsetDateTime,
    /// From then on a newer key that is here already signs.
    next_signs_at: Option<OffsetDateTime>,
}

impl Keys {
    /// Signs tokens now.
    pub(crate) fn signer(&self) -> &Signer {
        &self.signer
    }

    /// The public keys that check tokens at `now`.
    pub(crate) fn jwks(&self, now: OffsetDateTime) -> Jwks {
        let good = self
            .records
            .iter()
            .filter(|record| record.verify_until > now);
        good.map(|record| record.public_key).collect()
    }

    /// Until when tokens signed now are good.
    fn verify_until(&self) -> Option<OffsetDateTime> {
        let kid = self.signer.kid();
        self.records
            .iter()
            .find(|r| r.kid == *kid)
            .map(|r| r.verify_until)
    }

    fn is_fresh(&self, now: OffsetDateTime) -> bool {
        now >= self.read_at
            && now - self.read_at < REREAD_AFTER
            && now < self.due_at
            && self.next_signs_at.is_none_or(|at| now < at)
    }
}

/// The signing keys of a deployment.
pub struct KeyRing {
    issuer: String,
    master_key: MasterKey,
    database: Arc<dyn Database>,
    clock: Clock,
    known: RwLock<Option<Arc<Keys>>>,
    /// One reads or rotates at a time.
    reading: Mutex<()>,
}

impl KeyRing {
    /// A ring over the keys in `database`; reads nothing yet.
    #[must_use]
    pub fn new(
        issuer: &str,
        master_key: MasterKey,
        database: Arc<dyn Database>,
        clock: Clock,
    ) -> Self {
        Self {
            issuer: issuer.to_owned(),
            master_key,
            database,
            clock,
            known: RwLock::new(None),
            reading: Mutex::new(()),
        }
    }

    /// The keys now, with a rotation behind them if one was due.
    pub(crate) async fn current(&self) -> Result<Arc<Keys>, KeyRingError> {
        if let Some(keys) = self.fresh() {
            return Ok(keys);
        }
        let _reading = self.reading.lock().await;
        if let Some(keys) = self.fresh() {
            return Ok(keys);
        }
        let keys = match self.read_and_rotate().await {
            Ok(keys) => Arc::new(keys),
            // What is known keeps signing through an outage of the database,
            // until the verifiers would not accept it.
            Err(KeyRingError::Database(DatabaseError::Unavailable(error))) => {
                let now = (self.clock)();
                let known = self.known().filter(|keys| keys.due_at + OVERLAP / 2 > now);
                tracing::warn!(%error, "signing keys can't be read again");
                return known.ok_or(KeyRingError::Database(DatabaseError::Unavailable(error)));
            }
            Err(error) => return Err(error),
        };
        *self.known.write().unwrap_or_else(|e| e.into_inner()) = Some(Arc::clone(&keys));
        Ok(keys)
    }

    /// Makes a new key; it signs after a few seconds. With `revoke`, tokens of
    /// all older keys are refused from now on, and it signs at once. Its name.
    ///
    /// # Errors
    /// See [`RotateError`].
    pub async fn rotate(&self, actor: &str, revoke: bool) -> Result<Kid, RotateError> {
        let now = (self.clock)();
        let records = self
            .database
            .signing_keys(now)
            .await
            .map_err(KeyRingError::from)?;
        // Opened first: a ring with the wrong master key must not push aside
        // the keys of those who have the right one.
        if let Some(newest) = records.first() {
            self.open(newest).map_err(KeyRingError::from)?;
        }
        let epoch = records.first().map_or(1, |newest| newest.epoch + 1);
        let kid = match self.make(epoch, now, actor).await {
            Ok(kid) => kid,
            Err(DatabaseError::Conflict(_)) => return Err(RotateError::Raced),
            Err(error) => return Err(KeyRingError::from(error).into()),
        };
        if revoke {
            self.revoke(epoch, now, actor)
                .await
                .map_err(KeyRingError::from)?;
        }
        *self.known.write().unwrap_or_else(|e| e.into_inner()) = None;
        Ok(kid)
    }

    /// Sees to it that a token signed by `keys` is good until `end`.
    pub(crate) async fn cover(&self, keys: &Keys, end: OffsetDateTime) -> Result<(), KeyRingError> {
        if keys.verify_until().is_some_and(|until| end <= until) {
            return Ok(());
        }
        // A day more, so that a row of such tokens doesn't write each time.
        let kid = keys.signer.kid();
        let extended = self
            .database
            .extend_signing_key(kid, end + Duration::DAY)
            .await?;
        *self.known.write().unwrap_or_else(|e| e.into_inner()) = None;
        if extended {
            Ok(())
        } else {
            Err(KeyRingError::Revoked)
        }
    }

    fn known(&self) -> Option<Arc<Keys>> {
        self.known.read().unwrap_or_else(|e| e.into_inner()).clone()
    }

    fn fresh(&self) -> Option<Arc<Keys>> {
        self.known().filter(|keys| keys.is_fresh((self.clock)()))
    }

    fn open(&self, record: &SigningKeyRecord) -> Result<Signer, SealError> {
        let key = sealed::open(&self.master_key, &record.sealed, &record.kid)?;
        Ok(Signer::new(self.issuer.clone(), key))
    }

    async fn read_and_rotate(&self) -> Result<Keys, KeyRingError> {
        let now = (self.clock)();
        let mut records = self.database.signing_keys(now).await?;
        let newest = records.first();
        if newest.is_none_or(|newest| now >= newest.sign_until) {
            if let Some(newest) = newest {
                self.open(newest)?;
            }
            let epoch = newest.map_or(1, |newest| newest.epoch + 1);
            match self.make(epoch, now, "rotation").await {
                // Another instance made it: as good as ours.
                Ok(_) | Err(DatabaseError::Conflict(_)) => {}
                Err(error) => return Err(error.into()),
            }
            records = self.database.signing_keys(now).await?;
        }
        self.choose(records, now)
    }

    /// Picks the key that signs: the newest that all instances know, or the
    /// newest of all if no other is left.
    fn choose(
        &self,
        records: Vec<SigningKeyRecord>,
        now: OffsetDateTime,
    ) -> Result<Keys, KeyRingError> {
        let missing = KeyRingError::Database(DatabaseError::Corrupt("signing keys"));
        let Some(newest) = records.first() else {
            return Err(missing);
        };
        let known_to_all = |r: &&SigningKeyRecord| now >= r.created_at + SIGN_AFTER;
        // An older key goes on signing for the moments until the new one may.
        let still_good = |r: &&SigningKeyRecord| r.sign_until + SIGN_AFTER * 2 > now;
        let settled = records
            .iter()
            .filter(known_to_all)
            .find(still_good)
            .unwrap_or(newest);
        let next_signs_at =
            (settled.epoch != newest.epoch).then_some(newest.created_at + SIGN_AFTER);
        Ok(Keys {
            read_at: now,
            signer: self.open(settled)?,
            due_at: newest.sign_until,
            next_signs_at,
            records,
        })
    }

    async fn make(
        &self,
        epoch: u32,
        now: OffsetDateTime,
        actor: &str,
    ) -> Result<Kid, DatabaseError> {
        let key = SigningKey::random();
        let record = SigningKeyRecord {
            kid: key.public().kid(),
            epoch,
            public_key: key.public(),
            sealed: sealed::seal(&self.master_key, &key),
            created_at: now,
            sign_until: now + SIGN,
            verify_until: now + SIGN + OVERLAP,
        };
        self.database.add_signing_key(&record).await?;
        Note::new(now, "key.made", actor)
            .with("kid", record.kid.as_str())
            .with("epoch", epoch)
            .write(&*self.database)
            .await?;
        Ok(record.kid)
    }

    async fn revoke(
        &self,
        before_epoch: u32,
        now: OffsetDateTime,
        actor: &str,
    ) -> Result<(), DatabaseError> {
        // A moment back, so that "good for signing a little longer" is over too.
        let at = now - SIGN_AFTER * 2;
        let keys = self.database.revoke_signing_keys(before_epoch, at).await?;
        Note::new(now, "key.revoked", actor)
            .with("before_epoch", before_epoch)
            .with("keys", keys)
            .write(&*self.database)
            .await
    }
}

#[async_trait]
impl JwksSource for KeyRing {
    async fn fetch(&self) -> Result<Jwks, JwksFetchError> {
        let keys = self
            .current()
            .await
            .map_err(|e| JwksFetchError(e.to_string()))?;
        Ok(keys.jwks((self.clock)()))
    }
}

impl std::fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyRing")
            .field("issuer", &self.issuer)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
