//! The auth controller: who people and programs are, and the tokens that say so.
//!
//! [`AuthController::start`] makes one from a database and a state store; its
//! [`router`](AuthController::router) serves the HTTP endpoints, and other
//! roles call it by [`dt_rpc::AuthController`]. `darktower admin` drives the
//! same operations through [`Directory`] and [`KeyRing`] without a server.
//!
//! Deliberately absent: meetings. A join token is signed for whomever the
//! global controller asks; that it may is the carrier's to check.

mod audit;
mod config;
mod directory;
#[cfg(test)]
mod fixture;
mod grants;
mod http;
mod key_ring;
mod passwords;
mod rpc;
mod sealed;
mod throttle;

use std::sync::Arc;

use dt_service::http::Authenticator;
use dt_store::{Database, StateStore};
use dt_token::Verifier;

pub use dt_service::master_key::{
    MASTER_KEY_ENV, MASTER_KEY_FILE, MasterKey, MasterKeyError, SealError,
};

pub use config::{Clock, Config, system_clock};
pub use directory::{
    ACTOR_OPERATOR, AddAccountError, AddOrganisationError, Directory, NewAccount, NewOrganisation,
    NewService, RegisterServiceError, RegisteredService, user_scopes_default,
};
pub use key_ring::{KeyRing, KeyRingError, RotateError};
pub use passwords::{PASSWORD_BYTES_MAX, PASSWORD_CHARS_MIN, UnfitPassword};

/// Why an auth controller could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration contradicts itself.
    #[error("the auth controller's configuration is wrong: {0}")]
    Config(&'static str),
    /// There is no signing key and none can be made.
    #[error("the auth controller has no signing key")]
    Keys(#[from] KeyRingError),
}

/// The auth controller of one deployment; any number of instances share a
/// database and a state store.
pub struct AuthController {
    config: Config,
    database: Arc<dyn Database>,
    directory: Directory,
    keys: Arc<KeyRing>,
    /// Checks the tokens of those who administer this very service.
    authenticator: Authenticator,
    passwords: passwords::HashPool,
    throttle: throttle::Throttle,
}

impl AuthController {
    /// Starts one: reads the signing keys, or makes the first.
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn start(
        config: Config,
        database: Arc<dyn Database>,
        state: Arc<dyn StateStore>,
    ) -> Result<Arc<Self>, StartError> {
        config.check().map_err(StartError::Config)?;
        let master_key = config
            .master_key
            .clone()
            .ok_or(StartError::Config("there is no master key"))?;
        let keys = Arc::new(KeyRing::new(
            &config.issuer,
            master_key,
            Arc::clone(&database),
            Arc::clone(&config.clock),
        ));
        keys.current().await?;
        Ok(Arc::new(Self {
            directory: Directory::new(Arc::clone(&database), Arc::clone(&config.clock)),
            authenticator: Authenticator::new(Arc::new(Verifier::new(
                config.issuer.clone(),
                keys.clone(),
            ))),
            passwords: passwords::HashPool::new(config.bcrypt_cost, config.hash_threads_max),
            throttle: throttle::Throttle::new(state),
            keys,
            database,
            config,
        }))
    }
}

impl std::fmt::Debug for AuthController {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AuthController")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}
