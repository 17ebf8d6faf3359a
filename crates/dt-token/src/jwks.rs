//! Sets of public keys (RFC 7517), with Ed25519 keys as RFC 8037 writes them.

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};

use crate::{Kid, PublicKey};

/// A longer document is refused unread.
const JWKS_BYTES_MAX: usize = 64 * 1024;
/// A key stays in the set as long as a token that it signed lives: with a new
/// one every week and host tokens of up to 400 days that is about 60.
const KEYS_MAX: usize = 256;

/// A text is not a key set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidJwks {
    /// Longer than 64 KiB.
    #[error("the key set is too long")]
    TooLong,
    /// Not the JSON of RFC 7517.
    #[error("the key set is malformed")]
    Malformed,
    /// More than 256 keys.
    #[error("the key set has too many keys")]
    TooManyKeys,
    /// Two keys of one name.
    #[error("the key set names a key twice")]
    Duplicate,
}

/// Public keys by their names.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Jwks(BTreeMap<Kid, PublicKey>);

#[derive(Serialize, Deserialize)]
struct Set {
    keys: Vec<serde_json::Value>,
}

#[derive(Serialize, Deserialize)]
struct Jwk {
    kty: String,
    crv: String,
    x: String,
    kid: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    alg: Option<String>,
    #[serde(default, rename = "use", skip_serializing_if = "Option::is_none")]
    usage: Option<String>,
}

impl Jwks {
    /// Reads a set. Keys of other types, curves or uses are left out, as RFC
    /// 7517 section 5 asks; they can check nothing here.
    ///
    /// # Errors
    /// See [`InvalidJwks`].
    pub fn parse(text: &str) -> Result<Self, InvalidJwks> {
        if text.len() > JWKS_BYTES_MAX {
            return Err(InvalidJwks::TooLong);
        }
        let set: Set = serde_json::from_str(text).map_err(|_| InvalidJwks::Malformed)?;
        if set.keys.len() > KEYS_MAX {
            return Err(InvalidJwks::TooManyKeys);
        }
        let mut keys = BTreeMap::new();
        for (kid, key) in set.keys.into_iter().filter_map(usable) {
            if keys.insert(kid, key).is_some() {
                return Err(InvalidJwks::Duplicate);
            }
        }
        Ok(Self(keys))
    }

    /// The set as JSON.
    #[must_use]
    pub fn to_json(&self) -> String {
        let keys = self
            .0
            .iter()
            .map(|(kid, key)| {
                serde_json::to_value(Jwk {
                    kty: "OKP".to_owned(),
                    crv: "Ed25519".to_owned(),
                    x: URL_SAFE_NO_PAD.encode(key.to_bytes()),
                    kid: kid.as_str().to_owned(),
                    alg: Some("EdDSA".to_owned()),
                    usage: Some("sig".to_owned()),
                })
                .expect("a key is a handful of texts")
            })
            .collect();
        serde_json::to_string(&Set { keys }).expect("a set has text keys only")
    }

    /// The key of this name.
    #[must_use]
    pub fn get(&self, kid: &Kid) -> Option<&PublicKey> {
        self.0.get(kid)
    }

    /// How many keys there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Names every key by its thumbprint.
impl FromIterator<PublicKey> for Jwks {
    fn from_iter<I: IntoIterator<Item = PublicKey>>(keys: I) -> Self {
        Self(keys.into_iter().map(|key| (key.kid(), key)).collect())
    }
}

fn usable(value: serde_json::Value) -> Option<(Kid, PublicKey)> {
    let jwk: Jwk = serde_json::from_value(value).ok()?;
    let fits = jwk.kty == "OKP"
        && jwk.crv == "Ed25519"
        && jwk.alg.is_none_or(|alg| alg == "EdDSA" || alg == "Ed25519")
        && jwk.usage.is_none_or(|usage| usage == "sig");
    if !fits {
        return None;
    }
    let bytes: [u8; 32] = URL_SAFE_NO_PAD.decode(&jwk.x).ok()?.try_into().ok()?;
    Some((jwk.kid.parse().ok()?, PublicKey::from_bytes(&bytes).ok()?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::SigningKey;

    #[test]
    fn a_set_reads_back_as_it_is_written() {
        let set: Jwks = (0..3).map(|_| SigningKey::random().public()).collect();
        assert_eq!(set.len(), 3);
        assert_eq!(Jwks::parse(&set.to_json()), Ok(set));
    }

    #[test]
    fn keys_of_other_kinds_are_left_out() {
        let text = r#"{"keys":[
            {"kty":"oct","k":"c2VjcmV0","kid":"a","alg":"HS256"},
            {"kty":"OKP","crv":"X25519","kid":"b","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"},
            {"kty":"OKP","crv":"Ed25519","kid":"c","use":"enc","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"},
            {"kty":"OKP","crv":"Ed25519","kid":"d","x":"short"},
            {"kty":"OKP","crv":"Ed25519","kid":"e","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}
        ]}"#;
        let set = Jwks::parse(text).unwrap();
        assert_eq!(set.len(), 1);
        assert!(set.get(&"e".parse().unwrap()).is_some());
    }

    #[test]
    fn a_set_that_is_too_big_or_ambiguous_is_refused() {
        let key = r#"{"kty":"OKP","crv":"Ed25519","kid":"e","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
        assert_eq!(
            Jwks::parse(&format!(r#"{{"keys":[{key},{key}]}}"#)),
            Err(InvalidJwks::Duplicate)
        );
        let many = vec!["1"; KEYS_MAX + 1].join(",");
        assert_eq!(
            Jwks::parse(&format!(r#"{{"keys":[{many}]}}"#)),
            Err(InvalidJwks::TooManyKeys)
        );
        assert_eq!(
            Jwks::parse(&" ".repeat(JWKS_BYTES_MAX + 1)),
            Err(InvalidJwks::TooLong)
        );
        assert_eq!(Jwks::parse("[]"), Err(InvalidJwks::Malformed));
    }

    proptest! {
        #[test]
        fn any_text_is_a_set_or_refused(text in "\\PC{0,200}") {
            let _ = Jwks::parse(&text);
        }
    }
}
