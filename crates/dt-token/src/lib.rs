//! Tokens: what they claim, how they are signed and how they are checked.
//!
//! * [`Signer`] makes EdDSA JSON Web Tokens; only the auth controller has one.
//! * [`Verifier`] checks them; every service has one, fed by a [`JwksSource`].
//!   `verifier.verify::<JoinClaims>(token, now).await` says everything: the
//!   claim type fixes `typ` and `aud`, so that a token of one kind can never
//!   pass for another (RFC 8725 sections 3.11 and 3.12).
//! * [`connection`] makes and checks the HMAC tokens that open media sessions,
//!   and [`UsedIds`] is a handler's memory of those it has already seen.
//!
//! ```
//! use std::sync::Arc;
//! use dt_ids::MeetingId;
//! use dt_token::{JoinClaims, Role, Signer, SigningKey, StaticJwks, TokenId, UnixTime, Verifier};
//!
//! let key = SigningKey::random();
//! let jwks = StaticJwks([key.public()].into_iter().collect());
//! let signer = Signer::new("darktower", key);
//! let verifier = Verifier::new("darktower", Arc::new(jwks));
//!
//! let now = UnixTime::from(std::time::SystemTime::now());
//! let claims = JoinClaims {
//!     id: TokenId::random(),
//!     meeting_id: MeetingId::random(),
//!     role: Role::Guest,
//!     account: None,
//!     expires_at: UnixTime(now.as_secs() + 300),
//! };
//! let token = signer.sign(&claims, now);
//! # futures::executor::block_on(async {
//! assert_eq!(verifier.verify::<JoinClaims>(&token, now).await, Ok(claims));
//! # });
//! ```
//!
//! Deliberately absent: clocks (`now` is passed in), sockets, storage of keys,
//! and every algorithm but Ed25519 and HMAC-SHA256.

mod claims;
pub mod connection;
mod id;
mod jwks;
mod jws;
mod keys;
mod scope;
#[cfg(test)]
mod tests;
mod time;
mod used_ids;
mod verifier;

pub use claims::{
    AUDIENCE_ACCESS, AUDIENCE_DEVICE, AUDIENCE_HOST, AUDIENCE_JOIN, AccessClaims, ClaimSet,
    DeviceClaims, HostClaims, JoinClaims, Role, ServiceClaims, UserClaims, WrongClaims,
};
pub use id::{InvalidTokenId, TokenId};
pub use jwks::{InvalidJwks, Jwks};
pub use jws::{DEVICE_SKEW_S, ISSUER_DEFAULT, SKEW_S, TOKEN_BYTES_MAX, TokenError};
pub use keys::{InvalidKey, InvalidKid, Kid, PublicKey, Signer, SigningKey};
pub use scope::{Component, InvalidScope, Operation, Principal, Scope, ScopeSet};
pub use time::UnixTime;
pub use used_ids::{UseError, UsedIds};
pub use verifier::{
    JWKS_AGE_MAX_S, JWKS_REFRESH_EVERY_S, JWKS_STALE_MAX_S, JwksFetchError, JwksSource, StaticJwks,
    Verifier,
};
