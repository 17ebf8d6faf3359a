//! Who sends a request: what its bearer token proves.
//!
//! [`Authenticator::apply`] puts a [`Caller`] on every request. It refuses
//! nothing: each endpoint says what it asks for by the methods of [`Caller`],
//! and the rate limit counts by it.

use std::{sync::Arc, time::SystemTime};

use axum::{
    Router,
    extract::{FromRequestParts, Request, State},
    middleware::{self, Next},
    response::Response,
};
use dt_token::{AccessClaims, Component, HostClaims, Operation, TokenError, UnixTime, Verifier};
use http::{HeaderMap, header, request::Parts};

use super::ApiError;

/// What a request's bearer token proves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Caller {
    /// There is no token.
    Anonymous,
    /// An account or a program, by its access token.
    Access(AccessClaims),
    /// Whoever made a meeting, by its host token.
    Host(HostClaims),
    /// There is a token, and it does not hold.
    Refused(TokenError),
}

impl Caller {
    /// Whose requests a limit counts together; `None`: whoever shares an address.
    #[must_use]
    pub fn subject(&self) -> Option<String> {
        match self {
            Self::Access(AccessClaims::User(claims)) => Some(format!("user:{}", claims.account)),
            Self::Access(AccessClaims::Service(claims)) => {
                Some(format!("service:{}", claims.client_id))
            }
            Self::Host(claims) => Some(format!("host:{}", claims.meeting_id)),
            Self::Anonymous | Self::Refused(_) => None,
        }
    }

    /// Whether it is a program with its own credentials.
    #[must_use]
    pub const fn is_service(&self) -> bool {
        matches!(self, Self::Access(AccessClaims::Service(_)))
    }

    /// The caller again, unless there is a token that does not hold: a client
    /// that believes to be signed in must not silently act as a guest.
    ///
    /// # Errors
    /// `UNAUTHORIZED`, or `UNAVAILABLE` when tokens can't be checked now.
    pub fn accepted(&self) -> Result<&Self, ApiError> {
        match self {
            Self::Refused(TokenError::KeysUnavailable) => Err(ApiError::unavailable(
                "tokens can't be checked at the moment",
            )),
            Self::Refused(error) => Err(ApiError::unauthorized(error.to_string())),
            other => Ok(other),
        }
    }

    /// The access token's claims, if it allows `operation` on `component`.
    ///
    /// # Errors
    /// `UNAUTHORIZED` without an access token, `FORBIDDEN` without the scope.
    pub fn require(
        &self,
        operation: Operation,
        component: Component,
    ) -> Result<&AccessClaims, ApiError> {
        match self.accepted()? {
            Self::Access(claims) if claims.scopes().allows(operation, component) => Ok(claims),
            Self::Access(_) => Err(ApiError::forbidden(format!(
                "the token lacks the scope for {}.{}",
                operation.as_str(),
                component.as_str()
            ))),
            _ => Err(ApiError::unauthorized(
                "an access token is needed (Authorization: Bearer …)",
            )),
        }
    }
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        parts.extensions.get().cloned().ok_or_else(|| {
            ApiError::internal(&"an endpoint asks for its caller outside of the authenticator")
        })
    }
}

/// Puts a [`Caller`] on requests.
#[derive(Clone)]
pub struct Authenticator {
    verifier: Arc<Verifier>,
}

impl Authenticator {
    /// One that checks tokens with this verifier.
    #[must_use]
    pub const fn new(verifier: Arc<Verifier>) -> Self {
        Self { verifier }
    }

    /// The router whose requests carry a [`Caller`].
    pub fn apply<S: Clone + Send + Sync + 'static>(&self, router: Router<S>) -> Router<S> {
        router.layer(middleware::from_fn_with_state(self.clone(), identify))
    }

    /// Who sends a request with these headers.
    pub async fn identify(&self, headers: &HeaderMap) -> Caller {
        let token = match bearer(headers) {
            Ok(None) => return Caller::Anonymous,
            Ok(Some(token)) => token,
            Err(error) => return Caller::Refused(error),
        };
        let now = UnixTime::from(SystemTime::now());
        match self.verifier.verify::<AccessClaims>(token, now).await {
            Ok(claims) => Caller::Access(claims),
            Err(TokenError::Type) => match self.verifier.verify::<HostClaims>(token, now).await {
                Ok(claims) => Caller::Host(claims),
                Err(error) => Caller::Refused(error),
            },
            Err(error) => Caller::Refused(error),
        }
    }
}

async fn identify(
    State(authenticator): State<Authenticator>,
    mut request: Request,
    next: Next,
) -> Response {
    let caller = authenticator.identify(request.headers()).await;
    request.extensions_mut().insert(caller);
    next.run(request).await
}

/// The token of `Authorization: Bearer`; another scheme or two headers is no
/// token of ours.
fn bearer(headers: &HeaderMap) -> Result<Option<&str>, TokenError> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err(TokenError::Malformed);
    }
    let value = value.to_str().map_err(|_| TokenError::Malformed)?;
    match value.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => Ok(Some(token.trim())),
        _ => Err(TokenError::Malformed),
    }
}

#[cfg(test)]
mod tests {
    use dt_ids::MeetingId;
    use dt_token::{Jwks, Signer, SigningKey, StaticJwks, TokenId};

    use super::*;

    fn headers(value: &str) -> HeaderMap {
        HeaderMap::from_iter([(header::AUTHORIZATION, value.parse().unwrap())])
    }

    #[tokio::test]
    async fn a_host_token_names_its_meeting_and_a_forged_one_is_refused() {
        let key = SigningKey::random();
        let jwks: Jwks = [key.public()].into_iter().collect();
        let authenticator = Authenticator::new(Arc::new(Verifier::new(
            "darktower",
            Arc::new(StaticJwks(jwks)),
        )));
        let now = UnixTime::from(SystemTime::now());
        let claims = HostClaims {
            id: TokenId::random(),
            meeting_id: MeetingId::random(),
            account: None,
            expires_at: UnixTime(now.0 + 600),
        };
        let token = Signer::new("darktower", key).sign(&claims, now);
        let caller = authenticator
            .identify(&headers(&format!("Bearer {token}")))
            .await;
        assert_eq!(caller, Caller::Host(claims.clone()));
        assert_eq!(
            caller.subject(),
            Some(format!("host:{}", claims.meeting_id))
        );
        assert!(caller.require(Operation::Read, Component::Gc).is_err());

        let forged = Signer::new("darktower", SigningKey::random()).sign(&claims, now);
        let caller = authenticator
            .identify(&headers(&format!("bearer {forged}")))
            .await;
        assert_eq!(caller, Caller::Refused(TokenError::UnknownKey));
        assert_eq!(caller.subject(), None);
    }

    #[tokio::test]
    async fn a_scheme_other_than_bearer_is_refused_and_no_header_is_anonymous() {
        let authenticator = Authenticator::new(Arc::new(Verifier::new(
            "darktower",
            Arc::new(StaticJwks(Jwks::default())),
        )));
        assert_eq!(
            authenticator.identify(&headers("Basic YTpi")).await,
            Caller::Refused(TokenError::Malformed)
        );
        assert_eq!(
            authenticator.identify(&HeaderMap::new()).await,
            Caller::Anonymous
        );
    }
}
