//! Connection tokens: what opens a media session at one handler.
//!
//! A meeting controller mints them under the key that the handler gave it at
//! registration; the handler verifies them and remembers in
//! [`UsedIds`](crate::UsedIds) which it has seen. They are opaque to clients.
//!
//! Layout before base64url, in bytes: version (1, is 1), meeting (16),
//! participant (16), handler (16), token id (16), end in Unix seconds (8, big
//! endian), HMAC-SHA256 over all of that (32).

use std::fmt;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use dt_ids::{HandlerId, MeetingId, ParticipantId};
use hmac::{Hmac, KeyInit as _, Mac as _};
use rand::RngExt as _;
use sha2::Sha256;
use zeroize::{Zeroize as _, ZeroizeOnDrop};

use crate::{TokenId, UnixTime};

/// How long a controller lets a connection token live, in seconds.
pub const LIFETIME_S: u64 = 300;

const VERSION: u8 = 1;
const CLAIMS_BYTES: usize = 1 + 4 * 16 + 8;
const MAC_BYTES: usize = 32;
const TOKEN_BYTES: usize = CLAIMS_BYTES + MAC_BYTES;
/// 105 bytes are exactly 35 groups of 4 digits.
const TOKEN_CHARS: usize = TOKEN_BYTES / 3 * 4;
/// Keeps what is signed here apart from any other use of the key.
const CONTEXT: &[u8] = b"darktower connection token\0";

/// Why a connection token is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ConnectionTokenError {
    /// Not a connection token at all.
    #[error("the connection token is malformed")]
    Malformed,
    /// Not made with this handler's key; also after a restart of the handler.
    #[error("the connection token's signature is wrong")]
    Signature,
    /// Made for another handler.
    #[error("the connection token is for another handler")]
    Handler,
    /// Its five minutes are over.
    #[error("the connection token has expired")]
    Expired,
    /// It would live longer than any controller makes them.
    #[error("the connection token's end is not plausible")]
    Times,
}

/// 32 bytes are expected of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a connection token key has 32 bytes")]
pub struct InvalidConnectionKey;

/// The secret that a handler makes at its start and shares with controllers.
#[derive(Clone, PartialEq, Eq)]
pub struct ConnectionKey([u8; 32]);

impl ConnectionKey {
    /// A new key from the system's random source.
    #[must_use]
    pub fn random() -> Self {
        Self(rand::rng().random())
    }

    /// The bytes, to hand them to a controller.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    fn mac(&self, claims: &[u8]) -> Hmac<Sha256> {
        let mut mac =
            Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes keys of any length");
        mac.update(CONTEXT);
        mac.update(claims);
        mac
    }
}

impl TryFrom<&[u8]> for ConnectionKey {
    type Error = InvalidConnectionKey;

    fn try_from(bytes: &[u8]) -> Result<Self, InvalidConnectionKey> {
        bytes.try_into().map(Self).map_err(|_| InvalidConnectionKey)
    }
}

impl Drop for ConnectionKey {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl ZeroizeOnDrop for ConnectionKey {}

impl fmt::Debug for ConnectionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ConnectionKey(…)")
    }
}

/// What a connection token is bound to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionClaims {
    /// The meeting.
    pub meeting: MeetingId,
    /// Whose media session it opens.
    pub participant: ParticipantId,
    /// At which handler.
    pub handler: HandlerId,
    /// To be used once.
    pub id: TokenId,
    /// No session is opened with it after this.
    pub expires_at: UnixTime,
}

impl ConnectionClaims {
    /// Claims with a new id that end [`LIFETIME_S`] after `now`.
    #[must_use]
    pub fn new(
        meeting: MeetingId,
        participant: ParticipantId,
        handler: HandlerId,
        now: UnixTime,
    ) -> Self {
        Self {
            meeting,
            participant,
            handler,
            id: TokenId::random(),
            expires_at: UnixTime(now.as_secs().saturating_add(LIFETIME_S)),
        }
    }

    fn to_bytes(self) -> [u8; CLAIMS_BYTES] {
        let mut bytes = [0; CLAIMS_BYTES];
        bytes[0] = VERSION;
        bytes[1..17].copy_from_slice(&self.meeting.into_bytes());
        bytes[17..33].copy_from_slice(&self.participant.into_bytes());
        bytes[33..49].copy_from_slice(&self.handler.into_bytes());
        bytes[49..65].copy_from_slice(&self.id.into_bytes());
        bytes[65..].copy_from_slice(&self.expires_at.as_secs().to_be_bytes());
        bytes
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (version, rest) = bytes.split_first()?;
        let (ids, end) = rest.as_chunks::<16>();
        let [meeting, participant, handler, id] = *ids else {
            return None;
        };
        (*version == VERSION).then_some(Self {
            meeting: MeetingId::from_bytes(meeting),
            participant: ParticipantId::from_bytes(participant),
            handler: HandlerId::from_bytes(handler),
            id: TokenId::from_bytes(id),
            expires_at: UnixTime(u64::from_be_bytes(end.try_into().ok()?)),
        })
    }
}

/// The token with these claims, 140 characters of base64url.
#[must_use]
pub fn mint(key: &ConnectionKey, claims: &ConnectionClaims) -> String {
    let claims = claims.to_bytes();
    let mut token = [0; TOKEN_BYTES];
    token[..CLAIMS_BYTES].copy_from_slice(&claims);
    token[CLAIMS_BYTES..].copy_from_slice(&key.mac(&claims).finalize().into_bytes());
    URL_SAFE_NO_PAD.encode(token)
}

/// The claims of `token`, if it was made with `key` for `handler` and its time
/// is not over. Controllers run on other machines, so the skew of
/// [`SKEW_S`](crate::SKEW_S) is granted here too. Whether it was used before is
/// for [`UsedIds`](crate::UsedIds) to say.
///
/// # Errors
/// See [`ConnectionTokenError`].
pub fn verify(
    key: &ConnectionKey,
    token: &str,
    handler: HandlerId,
    now: UnixTime,
) -> Result<ConnectionClaims, ConnectionTokenError> {
    // The length goes first: nothing that a peer sends is decoded unbounded.
    if token.len() != TOKEN_CHARS {
        return Err(ConnectionTokenError::Malformed);
    }
    let bytes = URL_SAFE_NO_PAD
        .decode(token)
        .map_err(|_| ConnectionTokenError::Malformed)?;
    let (claims, mac) = bytes
        .split_at_checked(CLAIMS_BYTES)
        .ok_or(ConnectionTokenError::Malformed)?;
    // `verify_slice` compares in constant time.
    key.mac(claims)
        .verify_slice(mac)
        .map_err(|_| ConnectionTokenError::Signature)?;
    let claims = ConnectionClaims::from_bytes(claims).ok_or(ConnectionTokenError::Malformed)?;
    if claims.handler != handler {
        return Err(ConnectionTokenError::Handler);
    }
    let (end, now) = (claims.expires_at.as_secs(), now.as_secs());
    if now >= end.saturating_add(crate::SKEW_S) {
        return Err(ConnectionTokenError::Expired);
    }
    // Bounds how long a used id must be remembered.
    if end > now.saturating_add(LIFETIME_S + crate::SKEW_S) {
        return Err(ConnectionTokenError::Times);
    }
    Ok(claims)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: UnixTime = UnixTime(1_800_000_000);

    fn claims() -> ConnectionClaims {
        ConnectionClaims::new(
            MeetingId::random(),
            ParticipantId::random(),
            HandlerId::random(),
            NOW,
        )
    }

    #[test]
    fn a_token_opens_its_own_handler_for_five_minutes() {
        let (key, claims) = (ConnectionKey::random(), claims());
        let token = mint(&key, &claims);
        assert_eq!(token.len(), TOKEN_CHARS);
        let at = |s| verify(&key, &token, claims.handler, UnixTime(NOW.0 + s));
        assert_eq!(at(0), Ok(claims));
        assert_eq!(at(LIFETIME_S + 59), Ok(claims));
        assert_eq!(at(LIFETIME_S + 60), Err(ConnectionTokenError::Expired));
        assert_eq!(
            verify(&key, &token, HandlerId::random(), NOW),
            Err(ConnectionTokenError::Handler)
        );
    }

    #[test]
    fn a_restarted_handler_refuses_tokens_of_its_old_key() {
        let claims = claims();
        let token = mint(&ConnectionKey::random(), &claims);
        assert_eq!(
            verify(&ConnectionKey::random(), &token, claims.handler, NOW),
            Err(ConnectionTokenError::Signature)
        );
    }

    #[test]
    fn a_token_that_lives_too_long_is_refused() {
        let key = ConnectionKey::random();
        let claims = ConnectionClaims {
            expires_at: UnixTime(u64::MAX),
            ..claims()
        };
        let token = mint(&key, &claims);
        assert_eq!(
            verify(&key, &token, claims.handler, NOW),
            Err(ConnectionTokenError::Times)
        );
    }

    #[test]
    fn a_key_does_not_show_itself() {
        assert_eq!(format!("{:?}", ConnectionKey::random()), "ConnectionKey(…)");
    }

    proptest! {
        #[test]
        fn any_text_is_refused(text in "\\PC{0,200}") {
            prop_assert!(verify(&ConnectionKey::random(), &text, HandlerId::random(), NOW).is_err());
        }

        #[test]
        fn any_bytes_of_the_right_length_are_refused(
            bytes in proptest::collection::vec(any::<u8>(), TOKEN_BYTES),
        ) {
            let text = URL_SAFE_NO_PAD.encode(bytes);
            prop_assert_eq!(
                verify(&ConnectionKey::random(), &text, HandlerId::random(), NOW),
                Err(ConnectionTokenError::Signature)
            );
        }

        #[test]
        fn a_flipped_bit_anywhere_is_refused(bit in 0..TOKEN_BYTES * 8) {
            let (key, claims) = (ConnectionKey::random(), claims());
            let mut bytes = URL_SAFE_NO_PAD.decode(mint(&key, &claims)).unwrap();
            bytes[bit / 8] ^= 1 << (bit % 8);
            prop_assert_eq!(
                verify(&key, &URL_SAFE_NO_PAD.encode(bytes), claims.handler, NOW),
                Err(ConnectionTokenError::Signature)
            );
        }
    }
}
