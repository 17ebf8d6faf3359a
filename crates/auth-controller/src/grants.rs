//! Who gets a token: people by their password, programs by their secret.
//!
//! Driven by the HTTP endpoints, which turn the answers into their own forms.
//! Every outcome is in the audit log before it is told.

use dt_ids::AccountId;
use dt_store::{AccountRecord, DatabaseError, ServiceClientRecord, StateError};
use dt_token::{
    ClaimSet as _, DeviceClaims, Principal, ScopeSet, ServiceClaims, TokenId, UnixTime, UserClaims,
};
use subtle::ConstantTimeEq as _;
use time::OffsetDateTime;
use zeroize::Zeroizing;

use crate::{
    AuthController, KeyRingError,
    audit::Note,
    directory::{is_client_id, secret_hash},
    passwords::Busy,
    rpc::unix,
    throttle::{Source, Verdict},
};

/// A token and what goes with it.
pub(crate) struct Granted {
    pub(crate) access_token: String,
    pub(crate) expires_in_s: u64,
    pub(crate) scopes: ScopeSet,
}

/// Why there is no token. Nobody learns whether an account exists.
#[derive(Debug, thiserror::Error)]
pub(crate) enum GrantError {
    #[error("the credentials are wrong")]
    Credentials,
    #[error("the scope is not one that the client was registered with")]
    Scope,
    #[error("too many attempts")]
    Throttled { retry_after_s: u64 },
    #[error("too many sign-ins at this moment")]
    Busy(#[from] Busy),
    #[error("the database failed")]
    Database(#[from] DatabaseError),
    #[error("the state store failed")]
    State(#[from] StateError),
    #[error("there is no key to sign with")]
    Keys(#[from] KeyRingError),
}

impl GrantError {
    /// Whether the same request may succeed later without any change.
    pub(crate) fn is_passing(&self) -> bool {
        matches!(
            self,
            Self::Busy(_)
                | Self::State(_)
                | Self::Database(DatabaseError::Unavailable(_))
                | Self::Keys(KeyRingError::Database(DatabaseError::Unavailable(_)))
        )
    }
}

impl AuthController {
    /// A token for whoever has this login and password.
    pub(crate) async fn grant_user(
        &self,
        login: &str,
        password: Zeroizing<String>,
        source: Source,
    ) -> Result<(Granted, AccountRecord), GrantError> {
        let at = (self.config.clock)();
        let verdict = self.throttle.attempt(login, source).await?;
        // Looked up before the throttle speaks: the audit log names the account.
        let account = self.database.account_by_login(login).await?;
        if let Verdict::Wait { retry_after, first } = verdict {
            if first {
                let actor = account
                    .as_ref()
                    .map_or("unknown".to_owned(), |a| a.id.to_string());
                self.note(at, "user.token.throttled", actor, source)
                    .write(&*self.database)
                    .await?;
            }
            return Err(GrantError::Throttled {
                retry_after_s: seconds(retry_after),
            });
        }
        let hash = account.as_ref().map(|a| a.password_hash.clone());
        let fits = self.passwords.verify(password, hash).await?;
        let granted = account.filter(|a| fits && a.disabled_at.is_none());
        let Some(account) = granted else {
            self.throttle.failed(source).await?;
            // The login itself may be a mistyped password: it is not noted.
            self.note(at, "user.token.refused", "unknown", source)
                .write(&*self.database)
                .await?;
            return Err(GrantError::Credentials);
        };
        self.throttle.succeeded(login, source).await?;
        let keys = self.keys.current().await?;
        let actor = account.id.to_string();
        self.note(at, "user.token.issued", actor, source)
            .with("scopes", account.scopes.to_string())
            .write(&*self.database)
            .await?;
        let now = unix(at);
        let claims = UserClaims {
            id: TokenId::random(),
            account: account.id,
            organisation: account.organisation,
            scopes: account.scopes.clone(),
            expires_at: UnixTime(now.as_secs() + self.config.user_token_s),
        };
        let granted = Granted {
            access_token: keys.signer().sign(&claims, now),
            expires_in_s: self.config.user_token_s,
            scopes: account.scopes.clone(),
        };
        Ok((granted, account))
    }

    /// A statement that the device with this thumbprint is the account's, and how
    /// many seconds it holds.
    pub(crate) async fn state_device(
        &self,
        account: AccountId,
        thumbprint: String,
        source: Source,
    ) -> Result<(String, u64), GrantError> {
        let at = (self.config.clock)();
        if let Verdict::Wait { retry_after, .. } = self.throttle.address(source).await? {
            return Err(GrantError::Throttled {
                retry_after_s: seconds(retry_after),
            });
        }
        let account = self.database.account(account).await?;
        let account = account
            .filter(|account| account.disabled_at.is_none())
            .ok_or(GrantError::Credentials)?;
        let keys = self.keys.current().await?;
        self.note(
            at,
            "device.statement.issued",
            account.id.to_string(),
            source,
        )
        .with("thumbprint", thumbprint.as_str())
        .write(&*self.database)
        .await?;
        let now = unix(at);
        let claims = DeviceClaims {
            id: TokenId::random(),
            account: account.id,
            name: account.display_name,
            thumbprint,
            expires_at: UnixTime(now.as_secs() + DeviceClaims::LIFETIME_MAX_S),
        };
        Ok((
            keys.signer().sign(&claims, now),
            DeviceClaims::LIFETIME_MAX_S,
        ))
    }

    /// A token for the program with this id and secret. `scopes` asks for some
    /// of those it was registered with; all of them if none are named.
    pub(crate) async fn grant_service(
        &self,
        client_id: &str,
        client_secret: &str,
        scopes: Option<ScopeSet>,
        source: Source,
    ) -> Result<Granted, GrantError> {
        let at = (self.config.clock)();
        if let Verdict::Wait { retry_after, .. } = self.throttle.address(source).await? {
            return Err(GrantError::Throttled {
                retry_after_s: seconds(retry_after),
            });
        }
        let Some(client) = self.client(client_id, client_secret).await? else {
            self.throttle.failed(source).await?;
            self.note(at, "service.token.refused", "unknown", source)
                .write(&*self.database)
                .await?;
            return Err(GrantError::Credentials);
        };
        let scopes = scopes.unwrap_or_else(|| client.scopes.clone());
        if !client.scopes.contains_all(&scopes) || !scopes.is_of(Principal::Service) {
            self.note(at, "service.token.refused", client.client_id, source)
                .with("scopes", scopes.to_string())
                .write(&*self.database)
                .await?;
            return Err(GrantError::Scope);
        }
        let keys = self.keys.current().await?;
        self.note(
            at,
            "service.token.issued",
            client.client_id.as_str(),
            source,
        )
        .with("scopes", scopes.to_string())
        .write(&*self.database)
        .await?;
        let now = unix(at);
        let claims = ServiceClaims {
            id: TokenId::random(),
            client_id: client.client_id,
            scopes: scopes.clone(),
            expires_at: UnixTime(now.as_secs() + self.config.service_token_s),
        };
        Ok(Granted {
            access_token: keys.signer().sign(&claims, now),
            expires_in_s: self.config.service_token_s,
            scopes,
        })
    }

    /// The client, if the secret is its own and it is not switched off.
    async fn client(
        &self,
        client_id: &str,
        client_secret: &str,
    ) -> Result<Option<ServiceClientRecord>, DatabaseError> {
        if !is_client_id(client_id) {
            return Ok(None);
        }
        let client = self.database.service_client(client_id).await?;
        let given = secret_hash(client_secret);
        Ok(client.filter(|client| {
            bool::from(client.secret_hash.0.ct_eq(&given.0)) && client.disabled_at.is_none()
        }))
    }

    fn note(
        &self,
        at: OffsetDateTime,
        action: &str,
        actor: impl Into<String>,
        source: Source,
    ) -> Note {
        Note::new(at, action, actor).from(source.shown())
    }
}

/// Whole seconds, rounded up: coming back at once must not be too early.
fn seconds(duration: std::time::Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}
