//! Adding accounts, service clients and organisations.
//!
//! Driven by `POST /admin/services/register` and by `darktower admin`. The
//! rules for names and secrets are here, once.

use std::{fmt, sync::Arc};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use dt_ids::{AccountId, OrganisationId};
use dt_store::{
    AccountRecord, Database, DatabaseError, OrganisationRecord, SecretHash, ServiceClientRecord,
};
use dt_token::{Component, Operation, Principal, Scope, ScopeSet};
use rand::RngExt as _;
use sha2::{Digest as _, Sha256};
use zeroize::{Zeroize as _, Zeroizing};

use crate::{Clock, UnfitPassword, audit::Note, passwords};

/// Who acts on the command line, in the audit log.
pub const ACTOR_OPERATOR: &str = "operator";

const LOGIN_BYTES_MAX: usize = 254; // The longest e-mail address.
const NAME_CHARS_MAX: usize = 100;
const CLIENT_ID_BYTES_MAX: usize = 64;
const SLUG_BYTES_MAX: usize = 63; // The longest label of a host name.

/// What an account may do unless told otherwise: see and make meetings.
#[must_use]
pub fn user_scopes_default() -> ScopeSet {
    [Operation::Read, Operation::Write]
        .map(|operation| Scope::new(Principal::User, operation, Component::Gc))
        .into_iter()
        .collect()
}

/// An account to add.
pub struct NewAccount {
    /// What the person signs in with.
    pub login: String,
    /// What others see; the login if empty.
    pub display_name: String,
    /// Wiped when dropped.
    pub password: Zeroizing<String>,
    /// The tenant it belongs to, by slug.
    pub organisation: Option<String>,
    /// All of principal `user`.
    pub scopes: ScopeSet,
    /// Of the hash.
    pub bcrypt_cost: u32,
}

/// Why an account was not added.
#[derive(Debug, thiserror::Error)]
pub enum AddAccountError {
    /// Not something to sign in with.
    #[error("a login has 1 to {LOGIN_BYTES_MAX} bytes without white space")]
    Login,
    /// Not something to show.
    #[error("a name has {NAME_CHARS_MAX} characters at most and no control characters")]
    Name,
    /// Not a password to take.
    #[error(transparent)]
    Password(#[from] UnfitPassword),
    /// Scopes of programs are not for people.
    #[error("an account's scopes begin with user.")]
    Scopes,
    /// Somebody has that login.
    #[error("there is an account with this login already")]
    Taken,
    /// There is no such tenant.
    #[error("there is no organisation {0}")]
    NoOrganisation(String),
    /// The database failed.
    #[error("the account can't be stored")]
    Database(#[source] DatabaseError),
}

/// A service client to register.
#[derive(Debug, Clone)]
pub struct NewService {
    /// What people call it.
    pub name: String,
    /// What it signs in with; made from the name and random digits if none.
    pub client_id: Option<String>,
    /// All of principal `service`.
    pub scopes: ScopeSet,
}

/// A registered client. The secret is shown this once and kept nowhere.
#[derive(Clone)]
pub struct RegisteredService {
    /// What it signs in with.
    pub client_id: String,
    /// And the secret for it: 256 random bits in base64url. Wiped when dropped.
    pub client_secret: Zeroizing<String>,
    /// What people call it.
    pub name: String,
    /// What its tokens may allow.
    pub scopes: ScopeSet,
}

impl fmt::Debug for RegisteredService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RegisteredService")
            .field("client_id", &self.client_id)
            .finish_non_exhaustive()
    }
}

/// Why a service client was not registered.
#[derive(Debug, thiserror::Error)]
pub enum RegisterServiceError {
    /// Not something to show.
    #[error("a name has 1 to {NAME_CHARS_MAX} characters and no control characters")]
    Name,
    /// Not something to sign in with.
    #[error(
        "a client id has 1 to {CLIENT_ID_BYTES_MAX} letters, digits, hyphens, dots and underscores"
    )]
    ClientId,
    /// Scopes of people are not for programs.
    #[error("a service needs scopes, and all of them begin with service.")]
    Scopes,
    /// Somebody has that id.
    #[error("there is a service with this client id already")]
    Taken,
    /// The database failed.
    #[error("the service can't be stored")]
    Database(#[source] DatabaseError),
}

/// An organisation to add.
#[derive(Debug, Clone)]
pub struct NewOrganisation {
    /// Its label in host names.
    pub slug: String,
    /// What people call it; the slug if empty.
    pub display_name: String,
}

/// Why an organisation was not added.
#[derive(Debug, thiserror::Error)]
pub enum AddOrganisationError {
    /// Not a label of a host name.
    #[error(
        "a slug has 1 to {SLUG_BYTES_MAX} lower-case letters, digits and hyphens, and no hyphen at an end"
    )]
    Slug,
    /// Not something to show.
    #[error("a name has {NAME_CHARS_MAX} characters at most and no control characters")]
    Name,
    /// Somebody has that slug.
    #[error("there is an organisation with this slug already")]
    Taken,
    /// The database failed.
    #[error("the organisation can't be stored")]
    Database(#[source] DatabaseError),
}

/// Adds people, programs and tenants.
#[derive(Clone)]
pub struct Directory {
    database: Arc<dyn Database>,
    clock: Clock,
}

impl Directory {
    /// Over this database.
    #[must_use]
    pub fn new(database: Arc<dyn Database>, clock: Clock) -> Self {
        Self { database, clock }
    }

    /// Adds an account; hashes its password, on a thread for that.
    ///
    /// # Errors
    /// See [`AddAccountError`].
    pub async fn add_account(
        &self,
        new: NewAccount,
        actor: &str,
    ) -> Result<AccountId, AddAccountError> {
        let login = new.login;
        let whole = (1..=LOGIN_BYTES_MAX).contains(&login.len());
        if !whole || login.contains(|c: char| c.is_whitespace() || c.is_control()) {
            return Err(AddAccountError::Login);
        }
        if !is_name(&new.display_name) {
            return Err(AddAccountError::Name);
        }
        if !new.scopes.is_of(Principal::User) {
            return Err(AddAccountError::Scopes);
        }
        passwords::check_new(&new.password)?;
        let organisation = match new.organisation {
            None => None,
            Some(slug) => match self.database.organisation_by_slug(&slug).await {
                Ok(Some(organisation)) => Some(organisation.id),
                Ok(None) => return Err(AddAccountError::NoOrganisation(slug)),
                Err(error) => return Err(AddAccountError::Database(error)),
            },
        };
        let (password, cost) = (new.password, new.bcrypt_cost);
        let password_hash = tokio::task::spawn_blocking(move || passwords::hash(&password, cost))
            .await
            .map_err(|e| AddAccountError::Database(DatabaseError::Unavailable(Box::new(e))))?;
        let now = (self.clock)();
        let account = AccountRecord {
            id: AccountId::random(),
            display_name: if new.display_name.is_empty() {
                login.clone()
            } else {
                new.display_name
            },
            login,
            password_hash,
            organisation,
            scopes: new.scopes,
            created_at: now,
            disabled_at: None,
        };
        self.database
            .add_account(&account)
            .await
            .map_err(|error| match error {
                DatabaseError::Conflict(_) => AddAccountError::Taken,
                error => AddAccountError::Database(error),
            })?;
        Note::new(now, "account.added", actor)
            .with("account", account.id.to_string())
            .with("scopes", account.scopes.to_string())
            .write(&*self.database)
            .await
            .map_err(AddAccountError::Database)?;
        Ok(account.id)
    }

    /// Registers a service client and makes its secret.
    ///
    /// # Errors
    /// See [`RegisterServiceError`].
    pub async fn register_service(
        &self,
        new: NewService,
        actor: &str,
    ) -> Result<RegisteredService, RegisterServiceError> {
        if new.name.is_empty() || !is_name(&new.name) {
            return Err(RegisterServiceError::Name);
        }
        if new.scopes.is_empty() || !new.scopes.is_of(Principal::Service) {
            return Err(RegisterServiceError::Scopes);
        }
        let client_id = match new.client_id {
            Some(id) if is_client_id(&id) => id,
            Some(_) => return Err(RegisterServiceError::ClientId),
            None => made_client_id(&new.name),
        };
        let mut secret: [u8; 32] = rand::rng().random();
        let client_secret = Zeroizing::new(URL_SAFE_NO_PAD.encode(secret));
        secret.zeroize();
        let now = (self.clock)();
        let record = ServiceClientRecord {
            client_id: client_id.clone(),
            name: new.name.clone(),
            secret_hash: secret_hash(&client_secret),
            scopes: new.scopes.clone(),
            created_at: now,
            disabled_at: None,
        };
        self.database
            .add_service_client(&record)
            .await
            .map_err(|error| match error {
                DatabaseError::Conflict(_) => RegisterServiceError::Taken,
                error => RegisterServiceError::Database(error),
            })?;
        Note::new(now, "service.registered", actor)
            .with("client_id", client_id.as_str())
            .with("scopes", new.scopes.to_string())
            .write(&*self.database)
            .await
            .map_err(RegisterServiceError::Database)?;
        Ok(RegisteredService {
            client_id,
            client_secret,
            name: new.name,
            scopes: new.scopes,
        })
    }

    /// Adds an organisation.
    ///
    /// # Errors
    /// See [`AddOrganisationError`].
    pub async fn add_organisation(
        &self,
        new: NewOrganisation,
        actor: &str,
    ) -> Result<OrganisationId, AddOrganisationError> {
        if !is_slug(&new.slug) {
            return Err(AddOrganisationError::Slug);
        }
        if !is_name(&new.display_name) {
            return Err(AddOrganisationError::Name);
        }
        let now = (self.clock)();
        let display_name = if new.display_name.is_empty() {
            new.slug.clone()
        } else {
            new.display_name
        };
        let organisation = OrganisationRecord {
            id: OrganisationId::random(),
            slug: new.slug,
            display_name,
            created_at: now,
        };
        self.database
            .add_organisation(&organisation)
            .await
            .map_err(|error| match error {
                DatabaseError::Conflict(_) => AddOrganisationError::Taken,
                error => AddOrganisationError::Database(error),
            })?;
        Note::new(now, "organisation.added", actor)
            .with("organisation", organisation.id.to_string())
            .with("slug", organisation.slug.as_str())
            .write(&*self.database)
            .await
            .map_err(AddOrganisationError::Database)?;
        Ok(organisation.id)
    }
}

impl fmt::Debug for Directory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Directory")
    }
}

/// What a client's secret is kept as.
pub(crate) fn secret_hash(secret: &str) -> SecretHash {
    SecretHash(Sha256::digest(secret).into())
}

/// Whether an id could be a client's: others are not looked up.
pub(crate) fn is_client_id(id: &str) -> bool {
    (1..=CLIENT_ID_BYTES_MAX).contains(&id.len())
        && id
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_'))
}

fn is_name(name: &str) -> bool {
    name.chars().count() <= NAME_CHARS_MAX && !name.contains(char::is_control)
}

fn is_slug(slug: &str) -> bool {
    (1..=SLUG_BYTES_MAX).contains(&slug.len())
        && !slug.starts_with('-')
        && !slug.ends_with('-')
        && slug
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

/// `Load test` becomes `load-test-` and eight hexadecimal digits.
fn made_client_id(name: &str) -> String {
    let mut id: String = name
        .to_ascii_lowercase()
        .split(|c: char| !c.is_ascii_alphanumeric())
        .filter(|word| !word.is_empty())
        .collect::<Vec<_>>()
        .join("-");
    id.truncate(40);
    let id = if id.is_empty() {
        "service".to_owned()
    } else {
        id
    };
    format!(
        "{}-{:08x}",
        id.trim_end_matches('-'),
        rand::rng().random::<u32>()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_made_client_id_is_one_and_shows_the_name() {
        for name in ["Load test", "—", "Übung 7", &"x".repeat(100), "a..b"] {
            assert!(is_client_id(&made_client_id(name)), "{name}");
        }
        assert!(made_client_id("Load test").starts_with("load-test-"));
        assert_ne!(made_client_id("a"), made_client_id("a"));
    }

    #[test]
    fn a_slug_is_a_label_of_a_host_name() {
        assert!(is_slug("analytical-engines-2"));
        for slug in ["", "-a", "a-", "A", "a.b", "a_b", "ä", &"a".repeat(64)] {
            assert!(!is_slug(slug), "{slug}");
        }
    }
}
