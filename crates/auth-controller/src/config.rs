//! What an operator may set.

use std::{fmt, sync::Arc};

use dt_service::http::TrustedProxies;
use serde::Deserialize;
use time::OffsetDateTime;

use crate::MasterKey;

/// Where the time comes from; tests move it.
pub type Clock = Arc<dyn Fn() -> OffsetDateTime + Send + Sync>;

/// The system's clock.
#[must_use]
pub fn system_clock() -> Clock {
    Arc::new(OffsetDateTime::now_utc)
}

/// Settings of the auth controller, the section `auth` of the file.
#[derive(Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The `iss` of all tokens.
    pub issuer: String,
    /// Life of a person's access token, in seconds.
    pub user_token_s: u64,
    /// Life of a program's access token, in seconds.
    pub service_token_s: u64,
    /// Life of a join token when the caller names none, in seconds.
    pub join_token_s: u64,
    /// Cost of password hashes; below 12 is refused.
    pub bcrypt_cost: u32,
    /// Password hashes made at once. Each takes a core for about 200 ms.
    pub hash_threads_max: usize,
    /// What signing keys are sealed under. Not in the file: it comes from the
    /// environment or from a file of its own.
    #[serde(skip)]
    pub master_key: Option<MasterKey>,
    /// Whose word about a client's address counts; the same for all services of
    /// a process, so not in this section of the file.
    #[serde(skip)]
    pub trusted_proxies: Arc<TrustedProxies>,
    /// Where the time comes from.
    #[serde(skip, default = "system_clock")]
    pub clock: Clock,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            issuer: dt_token::ISSUER_DEFAULT.to_owned(),
            user_token_s: 3600,
            service_token_s: 7200,
            join_token_s: 300,
            bcrypt_cost: BCRYPT_COST_MIN,
            hash_threads_max: 2,
            master_key: None,
            trusted_proxies: Arc::default(),
            clock: system_clock(),
        }
    }
}

/// Specified (spec 002, security features).
const BCRYPT_COST_MIN: u32 = 12;
/// Above this a sign-in takes longer than people wait.
const BCRYPT_COST_MAX: u32 = 16;

impl Config {
    /// The defaults with this master key.
    #[must_use]
    pub fn with_master_key(master_key: MasterKey) -> Self {
        Self {
            master_key: Some(master_key),
            ..Self::default()
        }
    }

    /// What is wrong with it.
    pub(crate) fn check(&self) -> Result<(), &'static str> {
        let day = 1..=24 * 3600;
        // Tests hash at the least cost that bcrypt has, or they would take minutes.
        let cost_min = if cfg!(test) { 4 } else { BCRYPT_COST_MIN };
        if self.issuer.is_empty() || self.issuer.len() > 256 {
            Err("issuer must have 1 to 256 bytes")
        } else if !day.contains(&self.user_token_s) || !day.contains(&self.service_token_s) {
            Err("user_token_s and service_token_s must be 1 to 86400")
        } else if !(1..=3600).contains(&self.join_token_s) {
            Err("join_token_s must be 1 to 3600")
        } else if !(cost_min..=BCRYPT_COST_MAX).contains(&self.bcrypt_cost) {
            Err("bcrypt_cost must be 12 to 16")
        } else if !(1..=64).contains(&self.hash_threads_max) {
            Err("hash_threads_max must be 1 to 64")
        } else {
            Ok(())
        }
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("issuer", &self.issuer)
            .field("user_token_s", &self.user_token_s)
            .field("service_token_s", &self.service_token_s)
            .field("join_token_s", &self.join_token_s)
            .field("bcrypt_cost", &self.bcrypt_cost)
            .field("hash_threads_max", &self.hash_threads_max)
            .finish_non_exhaustive()
    }
}
