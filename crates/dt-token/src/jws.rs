//! The compact form of signed tokens (RFC 7515), for exactly one algorithm.
//!
//! This is written out rather than taken from a general JWT library: those read
//! the system's clock themselves, choose the algorithm at run time through a
//! process-wide provider, and don't check `typ`. What is left for one algorithm
//! is short, and the order of the checks can be seen: size, shape, header, key,
//! signature, and only then is the payload parsed.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};

use crate::{ClaimSet, Kid, PublicKey, UnixTime, WrongClaims, claims::Payload};

/// The `iss` of a deployment that doesn't name itself.
pub const ISSUER_DEFAULT: &str = "darktower";
/// A longer token is refused unread; ours have about 600 bytes.
pub const TOKEN_BYTES_MAX: usize = 8 * 1024;
/// How far clocks of servers may be apart, in seconds.
pub const SKEW_S: u64 = 60;
/// How far the clock of a person's device may be from theirs, in seconds.
pub const DEVICE_SKEW_S: u64 = 300;

const ALGORITHM: &str = "EdDSA";

/// Why a token is refused. The text may be shown to who sent the token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Longer than [`TOKEN_BYTES_MAX`].
    #[error("the token is too long")]
    TooLong,
    /// Not three parts of base64url with the JSON that belongs there.
    #[error("the token is malformed")]
    Malformed,
    /// Signed with something else than EdDSA, or not at all.
    #[error("the token's algorithm is not accepted")]
    Algorithm,
    /// Another kind of token.
    #[error("the token is of another kind")]
    Type,
    /// No key of this name is known, also after a refresh.
    #[error("the token's key is unknown")]
    UnknownKey,
    /// The signature is not the key's.
    #[error("the token's signature is wrong")]
    Signature,
    /// Another issuer's.
    #[error("the token's issuer is not accepted")]
    Issuer,
    /// Meant for another service.
    #[error("the token is for another audience")]
    Audience,
    /// Its time is over.
    #[error("the token has expired")]
    Expired,
    /// Its time has not begun.
    #[error("the token is not valid yet")]
    NotYetValid,
    /// Its times contradict each other or span more than its kind may.
    #[error("the token's times are not plausible")]
    Times,
    /// Well made, but it doesn't say what it must.
    #[error(transparent)]
    Claims(#[from] WrongClaims),
    /// The keys could not be fetched, and none are known. Not the sender's fault.
    #[error("the keys to check tokens with can't be reached")]
    KeysUnavailable,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)] // `crit`, `jku`, `jwk`, `x5u` … are refused (RFC 8725 section 3.10).
struct Header {
    alg: String,
    typ: String,
    kid: String,
}

/// The compact form of `payload`, signed by `sign`.
pub(crate) fn encode(
    typ: &str,
    kid: &Kid,
    payload: &Payload,
    sign: impl FnOnce(&[u8]) -> [u8; 64],
) -> String {
    let header = Header {
        alg: ALGORITHM.to_owned(),
        typ: typ.to_owned(),
        kid: kid.as_str().to_owned(),
    };
    let header = serde_json::to_vec(&header).expect("a header is three texts");
    let payload = serde_json::to_vec(payload).expect("a payload has text keys only");
    let mut token = String::with_capacity(1024);
    URL_SAFE_NO_PAD.encode_string(header, &mut token);
    token.push('.');
    URL_SAFE_NO_PAD.encode_string(payload, &mut token);
    let signature = sign(token.as_bytes());
    token.push('.');
    URL_SAFE_NO_PAD.encode_string(signature, &mut token);
    token
}

/// A token whose outside is in order and whose signature is still to be checked.
pub(crate) struct Unverified<'a> {
    signed: &'a str,
    payload: &'a str,
    signature: [u8; 64],
    kid: Kid,
}

impl<'a> Unverified<'a> {
    /// Takes the token apart and reads its header; the payload stays unread.
    pub(crate) fn parse<C: ClaimSet>(token: &'a str) -> Result<Self, TokenError> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(TokenError::TooLong);
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(TokenError::Malformed)?;
        let (header, payload) = signed.split_once('.').ok_or(TokenError::Malformed)?;
        if payload.contains('.') {
            return Err(TokenError::Malformed);
        }
        let header: Header = json(header)?;
        if header.alg != ALGORITHM {
            return Err(TokenError::Algorithm);
        }
        if header.typ != C::TYP {
            return Err(TokenError::Type);
        }
        let kid = header.kid.parse().map_err(|_| TokenError::UnknownKey)?;
        let signature = URL_SAFE_NO_PAD
            .decode(signature)
            .ok()
            .and_then(|bytes| bytes.try_into().ok())
            .ok_or(TokenError::Malformed)?;
        Ok(Self {
            signed,
            payload,
            signature,
            kid,
        })
    }

    /// The key that it says it was signed with.
    pub(crate) fn kid(&self) -> &Kid {
        &self.kid
    }

    /// Checks everything else; `issuer` only where one is named.
    pub(crate) fn verify<C: ClaimSet>(
        &self,
        key: &PublicKey,
        issuer: Option<&str>,
        skew_s: u64,
        now: UnixTime,
    ) -> Result<C, TokenError> {
        if !key.verifies(self.signed.as_bytes(), &self.signature) {
            return Err(TokenError::Signature);
        }
        let payload: Payload = json(self.payload)?;
        if issuer.is_some_and(|issuer| payload.iss != issuer) {
            return Err(TokenError::Issuer);
        }
        if payload.aud != C::AUDIENCE {
            return Err(TokenError::Audience);
        }
        check_times(&payload, C::LIFETIME_MAX_S, skew_s, now)?;
        Ok(C::from_payload(&payload)?)
    }
}

fn check_times(
    payload: &Payload,
    lifetime_max_s: u64,
    skew_s: u64,
    now: UnixTime,
) -> Result<(), TokenError> {
    let (iat, nbf, exp, now) = (
        payload.iat.as_secs(),
        payload.nbf.as_secs(),
        payload.exp.as_secs(),
        now.as_secs(),
    );
    if exp <= iat || exp <= nbf || exp - iat > lifetime_max_s {
        return Err(TokenError::Times);
    }
    if nbf > now.saturating_add(skew_s) || iat > now.saturating_add(skew_s) {
        return Err(TokenError::NotYetValid);
    }
    if now >= exp.saturating_add(skew_s) {
        return Err(TokenError::Expired);
    }
    Ok(())
}

fn json<T: for<'de> Deserialize<'de>>(part: &str) -> Result<T, TokenError> {
    let bytes = URL_SAFE_NO_PAD
        .decode(part)
        .map_err(|_| TokenError::Malformed)?;
    serde_json::from_slice(&bytes).map_err(|_| TokenError::Malformed)
}
