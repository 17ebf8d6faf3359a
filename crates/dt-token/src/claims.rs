//! What each kind of token says.
//!
//! A kind is a Rust type: its `typ`, its audience and its longest life are
//! constants of the type, so that whoever checks a token can't forget one.

use dt_ids::{AccountId, MeetingId, OrganisationId};
use serde::{Deserialize, Serialize};

use crate::{Principal, ScopeSet, TokenId, UnixTime};

/// Audience of join tokens.
pub const AUDIENCE_JOIN: &str = "meeting-controller";
/// Audience of host tokens.
pub const AUDIENCE_HOST: &str = "global-controller";
/// `aud` of statements about devices: those who meet their owner.
pub const AUDIENCE_DEVICE: &str = "meeting-members";
/// Audience of access tokens.
pub const AUDIENCE_ACCESS: &str = "darktower";

/// The claims are not those that this kind of token must have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the claim {0} is missing or wrong")]
pub struct WrongClaims(pub &'static str);

/// What a participant is in the meeting that a join token opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// May remove others, change settings and end the meeting.
    Host,
    /// Signed in.
    Participant,
    /// Came by the link.
    Guest,
}

impl From<Role> for dt_wire::v1::Role {
    fn from(role: Role) -> Self {
        match role {
            Role::Host => Self::Host,
            Role::Participant => Self::Participant,
            Role::Guest => Self::Guest,
        }
    }
}

/// `Unspecified` is no role.
impl TryFrom<dt_wire::v1::Role> for Role {
    type Error = WrongClaims;

    fn try_from(role: dt_wire::v1::Role) -> Result<Self, WrongClaims> {
        match role {
            dt_wire::v1::Role::Host => Ok(Self::Host),
            dt_wire::v1::Role::Participant => Ok(Self::Participant),
            dt_wire::v1::Role::Guest => Ok(Self::Guest),
            dt_wire::v1::Role::Unspecified => Err(WrongClaims("role")),
        }
    }
}

/// The registered claims and ours, as they stand in JSON. Members that are not
/// named here are ignored, so that a newer issuer may add some; a member given
/// twice is refused.
#[derive(Debug, Serialize, Deserialize)]
pub struct Payload {
    pub(crate) iss: String,
    pub(crate) aud: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) sub: Option<String>,
    pub(crate) exp: UnixTime,
    pub(crate) nbf: UnixTime,
    pub(crate) iat: UnixTime,
    pub(crate) jti: TokenId,
    #[serde(skip_serializing_if = "Option::is_none")]
    meeting_id: Option<MeetingId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<Role>,
    #[serde(skip_serializing_if = "Option::is_none")]
    principal: Option<String>,
    /// RFC 9068 asks for it in access tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    client_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<ScopeSet>,
    #[serde(skip_serializing_if = "Option::is_none")]
    organisation_id: Option<OrganisationId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    thumbprint: Option<String>,
}

impl Payload {
    fn new<C: ClaimSet>(issuer: &str, now: UnixTime, id: TokenId, expires_at: UnixTime) -> Self {
        Self {
            iss: issuer.to_owned(),
            aud: C::AUDIENCE.to_owned(),
            sub: None,
            exp: expires_at,
            nbf: now,
            iat: now,
            jti: id,
            meeting_id: None,
            role: None,
            principal: None,
            client_id: None,
            scope: None,
            organisation_id: None,
            name: None,
            thumbprint: None,
        }
    }

    fn account(&self) -> Result<Option<AccountId>, WrongClaims> {
        self.sub
            .as_deref()
            .map(|sub| sub.parse().map_err(|_| WrongClaims("sub")))
            .transpose()
    }

    fn meeting(&self) -> Result<MeetingId, WrongClaims> {
        self.meeting_id.ok_or(WrongClaims("meeting_id"))
    }

    fn require_principal(&self, principal: Principal) -> Result<(), WrongClaims> {
        match self.principal.as_deref() {
            Some(text) if text == principal.as_str() => Ok(()),
            _ => Err(WrongClaims("principal")),
        }
    }

    /// The scopes, all of which are `principal`'s.
    fn scopes_of(&self, principal: Principal) -> Result<ScopeSet, WrongClaims> {
        match &self.scope {
            Some(scopes) if scopes.is_of(principal) => Ok(scopes.clone()),
            _ => Err(WrongClaims("scope")),
        }
    }
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::JoinClaims {}
    impl Sealed for super::HostClaims {}
    impl Sealed for super::UserClaims {}
    impl Sealed for super::ServiceClaims {}
    impl Sealed for super::AccessClaims {}
    impl Sealed for super::DeviceClaims {}
}

/// A kind of token. Implemented by the claim types of this crate only.
pub trait ClaimSet: Sized + sealed::Sealed {
    /// The `typ` in its header.
    const TYP: &'static str;
    /// Its `aud`.
    const AUDIENCE: &'static str;
    /// The longest time from `iat` to `exp` that a checker accepts, in seconds.
    const LIFETIME_MAX_S: u64;

    /// The JSON to sign.
    #[doc(hidden)]
    fn to_payload(&self, issuer: &str, now: UnixTime) -> Payload;

    /// The claims of a token whose signature, type, issuer, audience and times
    /// have been checked.
    #[doc(hidden)]
    fn from_payload(payload: &Payload) -> Result<Self, WrongClaims>;
}

/// A join token: opens signaling sessions of one meeting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinClaims {
    /// This token's id.
    pub id: TokenId,
    /// The meeting it opens.
    pub meeting_id: MeetingId,
    /// What its holder is there.
    pub role: Role,
    /// The account of a signed-in holder.
    pub account: Option<AccountId>,
    /// No session is opened with it after this.
    pub expires_at: UnixTime,
}

impl ClaimSet for JoinClaims {
    const TYP: &'static str = "dt-join+jwt";
    const AUDIENCE: &'static str = AUDIENCE_JOIN;
    /// 5 minutes, 15 with a lobby; an hour leaves room for configuration.
    const LIFETIME_MAX_S: u64 = 3600;

    fn to_payload(&self, issuer: &str, now: UnixTime) -> Payload {
        Payload {
            sub: self.account.map(|a| a.to_string()),
            meeting_id: Some(self.meeting_id),
            role: Some(self.role),
            ..Payload::new::<Self>(issuer, now, self.id, self.expires_at)
        }
    }

    fn from_payload(payload: &Payload) -> Result<Self, WrongClaims> {
        Ok(Self {
            id: payload.jti,
            meeting_id: payload.meeting()?,
            role: payload.role.ok_or(WrongClaims("role"))?,
            account: payload.account()?,
            expires_at: payload.exp,
        })
    }
}

/// A host token: renews host join tokens, changes and ends one meeting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostClaims {
    /// This token's id.
    pub id: TokenId,
    /// The meeting it is for.
    pub meeting_id: MeetingId,
    /// The account of a creator who was signed in.
    pub account: Option<AccountId>,
    /// The meeting's own end.
    pub expires_at: UnixTime,
}

impl ClaimSet for HostClaims {
    const TYP: &'static str = "dt-host+jwt";
    const AUDIENCE: &'static str = AUDIENCE_HOST;
    /// As long as a meeting may be planned ahead: 400 days.
    const LIFETIME_MAX_S: u64 = 400 * 24 * 3600;

    fn to_payload(&self, issuer: &str, now: UnixTime) -> Payload {
        Payload {
            sub: self.account.map(|a| a.to_string()),
            meeting_id: Some(self.meeting_id),
            ..Payload::new::<Self>(issuer, now, self.id, self.expires_at)
        }
    }

    fn from_payload(payload: &Payload) -> Result<Self, WrongClaims> {
        Ok(Self {
            id: payload.jti,
            meeting_id: payload.meeting()?,
            account: payload.account()?,
            expires_at: payload.exp,
        })
    }
}

/// A statement that a device is an account's. It opens nothing: in a meeting
/// its members show it to each other, so that the server can't swap people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceClaims {
    /// This statement's id.
    pub id: TokenId,
    /// Whose device it is.
    pub account: AccountId,
    /// What the account is called.
    pub name: String,
    /// SHA-256 of the device's public key, base64url.
    pub thumbprint: String,
    /// It says nothing after this.
    pub expires_at: UnixTime,
}

impl ClaimSet for DeviceClaims {
    const TYP: &'static str = "dt-device+jwt";
    const AUDIENCE: &'static str = AUDIENCE_DEVICE;
    /// No longer than the key that signed it is published.
    const LIFETIME_MAX_S: u64 = 7 * 24 * 3600;

    fn to_payload(&self, issuer: &str, now: UnixTime) -> Payload {
        Payload {
            sub: Some(self.account.to_string()),
            name: Some(self.name.clone()),
            thumbprint: Some(self.thumbprint.clone()),
            ..Payload::new::<Self>(issuer, now, self.id, self.expires_at)
        }
    }

    fn from_payload(payload: &Payload) -> Result<Self, WrongClaims> {
        Ok(Self {
            id: payload.jti,
            account: payload.account()?.ok_or(WrongClaims("sub"))?,
            name: payload.name.clone().ok_or(WrongClaims("name"))?,
            thumbprint: payload
                .thumbprint
                .clone()
                .ok_or(WrongClaims("thumbprint"))?,
            expires_at: payload.exp,
        })
    }
}

/// An access token of a person (RFC 9068).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserClaims {
    /// This token's id.
    pub id: TokenId,
    /// Whose it is.
    pub account: AccountId,
    /// The tenant the account belongs to.
    pub organisation: Option<OrganisationId>,
    /// What it allows; all of principal `user`.
    pub scopes: ScopeSet,
    /// Its end.
    pub expires_at: UnixTime,
}

/// An access token of a program (RFC 9068).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceClaims {
    /// This token's id.
    pub id: TokenId,
    /// The client that got it.
    pub client_id: String,
    /// What it allows; all of principal `service`.
    pub scopes: ScopeSet,
    /// Its end.
    pub expires_at: UnixTime,
}

const ACCESS_TYP: &str = "at+jwt";
/// Users' tokens live one hour and services' two; a day leaves room for
/// configuration.
const ACCESS_LIFETIME_MAX_S: u64 = 24 * 3600;
/// `client_id` of users' tokens: they sign in at our own pages.
const USER_CLIENT_ID: &str = "darktower";

impl ClaimSet for UserClaims {
    const TYP: &'static str = ACCESS_TYP;
    const AUDIENCE: &'static str = AUDIENCE_ACCESS;
    const LIFETIME_MAX_S: u64 = ACCESS_LIFETIME_MAX_S;

    fn to_payload(&self, issuer: &str, now: UnixTime) -> Payload {
        Payload {
            sub: Some(self.account.to_string()),
            principal: Some(Principal::User.as_str().to_owned()),
            client_id: Some(USER_CLIENT_ID.to_owned()),
            scope: Some(self.scopes.clone()),
            organisation_id: self.organisation,
            ..Payload::new::<Self>(issuer, now, self.id, self.expires_at)
        }
    }

    fn from_payload(payload: &Payload) -> Result<Self, WrongClaims> {
        payload.require_principal(Principal::User)?;
        Ok(Self {
            id: payload.jti,
            account: payload.account()?.ok_or(WrongClaims("sub"))?,
            organisation: payload.organisation_id,
            scopes: payload.scopes_of(Principal::User)?,
            expires_at: payload.exp,
        })
    }
}

impl ClaimSet for ServiceClaims {
    const TYP: &'static str = ACCESS_TYP;
    const AUDIENCE: &'static str = AUDIENCE_ACCESS;
    const LIFETIME_MAX_S: u64 = ACCESS_LIFETIME_MAX_S;

    fn to_payload(&self, issuer: &str, now: UnixTime) -> Payload {
        Payload {
            sub: Some(self.client_id.clone()),
            principal: Some(Principal::Service.as_str().to_owned()),
            client_id: Some(self.client_id.clone()),
            scope: Some(self.scopes.clone()),
            ..Payload::new::<Self>(issuer, now, self.id, self.expires_at)
        }
    }

    fn from_payload(payload: &Payload) -> Result<Self, WrongClaims> {
        payload.require_principal(Principal::Service)?;
        let client_id = payload.client_id.clone().ok_or(WrongClaims("client_id"))?;
        if payload.sub.as_ref() != Some(&client_id) {
            return Err(WrongClaims("sub"));
        }
        Ok(Self {
            id: payload.jti,
            client_id,
            scopes: payload.scopes_of(Principal::Service)?,
            expires_at: payload.exp,
        })
    }
}

/// An access token of whomever: what an HTTP endpoint that serves people and
/// programs checks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AccessClaims {
    /// A person's.
    User(UserClaims),
    /// A program's.
    Service(ServiceClaims),
}

impl AccessClaims {
    /// What it allows.
    #[must_use]
    pub fn scopes(&self) -> &ScopeSet {
        match self {
            Self::User(claims) => &claims.scopes,
            Self::Service(claims) => &claims.scopes,
        }
    }

    /// The account id or the client id: the key of rate limits and the actor in
    /// the audit log.
    #[must_use]
    pub fn subject(&self) -> String {
        match self {
            Self::User(claims) => claims.account.to_string(),
            Self::Service(claims) => claims.client_id.clone(),
        }
    }

    /// The account, if a person's.
    #[must_use]
    pub fn account(&self) -> Option<AccountId> {
        match self {
            Self::User(claims) => Some(claims.account),
            Self::Service(_) => None,
        }
    }
}

impl ClaimSet for AccessClaims {
    const TYP: &'static str = ACCESS_TYP;
    const AUDIENCE: &'static str = AUDIENCE_ACCESS;
    const LIFETIME_MAX_S: u64 = ACCESS_LIFETIME_MAX_S;

    fn to_payload(&self, issuer: &str, now: UnixTime) -> Payload {
        match self {
            Self::User(claims) => claims.to_payload(issuer, now),
            Self::Service(claims) => claims.to_payload(issuer, now),
        }
    }

    fn from_payload(payload: &Payload) -> Result<Self, WrongClaims> {
        if payload.principal.as_deref() == Some(Principal::User.as_str()) {
            UserClaims::from_payload(payload).map(Self::User)
        } else {
            ServiceClaims::from_payload(payload).map(Self::Service)
        }
    }
}
