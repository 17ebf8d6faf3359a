//! Attacks on tokens (RFC 8725), and the key cache.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};

use async_trait::async_trait;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use dt_ids::{AccountId, MeetingId};
use futures::{FutureExt as _, executor::block_on};
use hmac::{Hmac, KeyInit as _, Mac as _};
use proptest::prelude::*;
use serde_json::{Value, json};
use sha2::Sha256;

use crate::*;

const NOW: UnixTime = UnixTime(1_800_000_000);

fn join_claims() -> JoinClaims {
    JoinClaims {
        id: TokenId::random(),
        meeting_id: MeetingId::random(),
        role: Role::Guest,
        account: None,
        expires_at: UnixTime(NOW.0 + 300),
    }
}

/// An issuer and a verifier that knows its key.
struct Setup {
    key: SigningKey,
    signer: Signer,
    verifier: Verifier,
}

impl Setup {
    fn new() -> Self {
        let key = SigningKey::random();
        let jwks = [key.public()].into_iter().collect();
        Self {
            signer: Signer::new(ISSUER_DEFAULT, key.clone()),
            verifier: Verifier::new(ISSUER_DEFAULT, Arc::new(StaticJwks(jwks))),
            key,
        }
    }

    fn verify<C: ClaimSet>(&self, token: &str, now: UnixTime) -> Result<C, TokenError> {
        block_on(self.verifier.verify(token, now))
    }

    fn header(&self) -> Value {
        json!({"alg": "EdDSA", "typ": "dt-join+jwt", "kid": self.signer.kid().as_str()})
    }

    fn payload() -> Value {
        json!({
            "iss": ISSUER_DEFAULT, "aud": AUDIENCE_JOIN, "exp": NOW.0 + 300, "nbf": NOW.0,
            "iat": NOW.0, "jti": TokenId::random().to_string(),
            "meeting_id": MeetingId::random().to_string(), "role": "guest",
        })
    }

    /// A token of exactly these texts with a true signature.
    fn forge(&self, header: &str, payload: &str) -> String {
        let signed = format!(
            "{}.{}",
            URL_SAFE_NO_PAD.encode(header),
            URL_SAFE_NO_PAD.encode(payload)
        );
        let key = ed25519_dalek::SigningKey::from_bytes(&self.key.to_seed());
        let signature = ed25519_dalek::Signer::sign(&key, signed.as_bytes());
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature.to_bytes()))
    }

    fn join_error(&self, header: &Value, payload: &Value) -> Option<TokenError> {
        let token = self.forge(&header.to_string(), &payload.to_string());
        self.verify::<JoinClaims>(&token, NOW).err()
    }
}

fn with(mut object: Value, key: &str, value: Value) -> Value {
    object[key] = value;
    object
}

fn without(mut object: Value, key: &str) -> Value {
    object.as_object_mut().unwrap().remove(key);
    object
}

#[test]
fn every_kind_of_token_reads_back_as_it_was_signed() {
    let setup = Setup::new();
    let join = JoinClaims {
        account: Some(AccountId::random()),
        role: Role::Host,
        ..join_claims()
    };
    assert_eq!(setup.verify(&setup.signer.sign(&join, NOW), NOW), Ok(join));
    let host = HostClaims {
        id: TokenId::random(),
        meeting_id: MeetingId::random(),
        account: None,
        expires_at: UnixTime(NOW.0 + 30 * 24 * 3600),
    };
    assert_eq!(setup.verify(&setup.signer.sign(&host, NOW), NOW), Ok(host));
    let user = UserClaims {
        id: TokenId::random(),
        account: AccountId::random(),
        organisation: Some(dt_ids::OrganisationId::random()),
        scopes: "user.read.gc user.write.gc".parse().unwrap(),
        expires_at: UnixTime(NOW.0 + 3600),
    };
    let token = setup.signer.sign(&user, NOW);
    assert!(setup.verify::<ServiceClaims>(&token, NOW).is_err());
    assert_eq!(setup.verify(&token, NOW), Ok(AccessClaims::User(user)));
    let service = ServiceClaims {
        id: TokenId::random(),
        client_id: "load".to_owned(),
        scopes: "service.write.gc".parse().unwrap(),
        expires_at: UnixTime(NOW.0 + 7200),
    };
    let token = setup.signer.sign(&service, NOW);
    assert!(setup.verify::<UserClaims>(&token, NOW).is_err());
    assert_eq!(
        setup.verify(&token, NOW),
        Ok(AccessClaims::Service(service))
    );
}

#[test]
fn a_token_of_one_kind_never_passes_for_another() {
    let setup = Setup::new();
    let token = setup.signer.sign(&join_claims(), NOW);
    assert_eq!(
        setup.verify::<HostClaims>(&token, NOW),
        Err(TokenError::Type)
    );
    assert_eq!(
        setup.verify::<AccessClaims>(&token, NOW),
        Err(TokenError::Type)
    );
    // Nor when an issuer's mistake gives it the right type.
    let header = with(setup.header(), "typ", "dt-host+jwt".into());
    let token = setup.forge(&header.to_string(), &Setup::payload().to_string());
    assert_eq!(
        setup.verify::<HostClaims>(&token, NOW),
        Err(TokenError::Audience)
    );
}

#[test]
fn no_other_algorithm_is_accepted() {
    let setup = Setup::new();
    assert_eq!(setup.join_error(&setup.header(), &Setup::payload()), None);
    for alg in [
        "none", "None", "HS256", "ES256", "RS256", "Ed25519", "eddsa", "",
    ] {
        let header = with(setup.header(), "alg", alg.into());
        assert_eq!(
            setup.join_error(&header, &Setup::payload()),
            Some(TokenError::Algorithm),
            "{alg}"
        );
    }
}

#[test]
fn an_unsigned_token_is_refused() {
    let setup = Setup::new();
    let header = with(setup.header(), "alg", "none".into());
    let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let token = format!("{}.{}.", encode(&header), encode(&Setup::payload()));
    assert_eq!(
        setup.verify::<JoinClaims>(&token, NOW),
        Err(TokenError::Algorithm)
    );
    let token = format!("{}.{}.", encode(&setup.header()), encode(&Setup::payload()));
    assert_eq!(
        setup.verify::<JoinClaims>(&token, NOW),
        Err(TokenError::Malformed)
    );
}

#[test]
fn the_public_key_used_as_an_hmac_secret_is_refused() {
    let setup = Setup::new();
    let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    for alg in ["HS256", "EdDSA"] {
        let header = with(setup.header(), "alg", alg.into());
        let signed = format!("{}.{}", encode(&header), encode(&Setup::payload()));
        let mut mac = Hmac::<Sha256>::new_from_slice(&setup.key.public().to_bytes()).unwrap();
        mac.update(signed.as_bytes());
        let mac = URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes());
        let error = setup
            .verify::<JoinClaims>(&format!("{signed}.{mac}"), NOW)
            .unwrap_err();
        assert!(matches!(
            error,
            TokenError::Algorithm | TokenError::Malformed
        ));
    }
}

#[test]
fn a_key_in_the_header_is_not_believed() {
    let (setup, attacker) = (Setup::new(), Setup::new());
    let x = URL_SAFE_NO_PAD.encode(attacker.key.public().to_bytes());
    let jwk = json!({"kty": "OKP", "crv": "Ed25519", "x": x});
    for (name, value) in [
        ("jwk", jwk),
        ("jku", "https://attacker.example/jwks.json".into()),
        ("x5u", "https://attacker.example/x".into()),
        ("crit", json!(["b64"])),
        ("b64", false.into()),
        ("zip", "DEF".into()),
    ] {
        let header = with(setup.header(), name, value);
        let token = attacker.forge(&header.to_string(), &Setup::payload().to_string());
        assert_eq!(
            setup.verify::<JoinClaims>(&token, NOW),
            Err(TokenError::Malformed),
            "{name}"
        );
        assert_eq!(
            setup.join_error(&header, &Setup::payload()),
            Some(TokenError::Malformed)
        );
    }
    let token = attacker.forge(&setup.header().to_string(), &Setup::payload().to_string());
    assert_eq!(
        setup.verify::<JoinClaims>(&token, NOW),
        Err(TokenError::Signature)
    );
}

#[test]
fn a_missing_or_strange_key_name_is_refused() {
    let setup = Setup::new();
    let header = without(setup.header(), "kid");
    assert_eq!(
        setup.join_error(&header, &Setup::payload()),
        Some(TokenError::Malformed)
    );
    for kid in [
        "",
        "../../etc/passwd",
        "' OR 1=1 --",
        &"k".repeat(65),
        "unknown",
    ] {
        let header = with(setup.header(), "kid", kid.into());
        assert_eq!(
            setup.join_error(&header, &Setup::payload()),
            Some(TokenError::UnknownKey)
        );
    }
}

#[test]
fn every_claim_that_must_be_there_must_be_right() {
    let setup = Setup::new();
    let error = |payload: Value| setup.join_error(&setup.header(), &payload);
    for claim in ["iss", "aud", "exp", "nbf", "iat", "jti"] {
        let refused = error(without(Setup::payload(), claim));
        assert_eq!(refused, Some(TokenError::Malformed), "{claim}");
    }
    for claim in ["meeting_id", "role"] {
        let refused = error(without(Setup::payload(), claim));
        assert!(matches!(refused, Some(TokenError::Claims(_))), "{claim}");
    }
    let cases = [
        ("iss", json!("elsewhere"), TokenError::Issuer),
        ("aud", json!(AUDIENCE_HOST), TokenError::Audience),
        ("aud", json!([AUDIENCE_JOIN]), TokenError::Malformed),
        ("exp", json!(-1), TokenError::Malformed),
        ("exp", json!(1e300), TokenError::Malformed),
        ("exp", json!(u64::MAX), TokenError::Times),
        ("exp", json!(NOW.0 - 100), TokenError::Times),
        ("exp", json!(NOW.0 + 3601), TokenError::Times),
        ("nbf", json!(NOW.0 + 301), TokenError::Times),
        ("nbf", json!(NOW.0 + 61), TokenError::NotYetValid),
        ("iat", json!(NOW.0 + 61), TokenError::NotYetValid),
        ("jti", json!("short"), TokenError::Malformed),
        ("role", json!("root"), TokenError::Malformed),
        (
            "sub",
            json!("not an id"),
            TokenError::Claims(WrongClaims("sub")),
        ),
    ];
    for (claim, value, expected) in cases {
        let shown = format!("{claim} {value}");
        assert_eq!(
            error(with(Setup::payload(), claim, value)),
            Some(expected),
            "{shown}"
        );
    }
}

#[test]
fn a_claim_given_twice_is_refused() {
    let setup = Setup::new();
    let payload = Setup::payload()
        .to_string()
        .replacen('{', r#"{"role":"host","#, 1);
    let token = setup.forge(&setup.header().to_string(), &payload);
    assert_eq!(
        setup.verify::<JoinClaims>(&token, NOW),
        Err(TokenError::Malformed)
    );
}

#[test]
fn a_person_can_not_hold_a_programs_scope() {
    let setup = Setup::new();
    let user = UserClaims {
        id: TokenId::random(),
        account: AccountId::random(),
        organisation: None,
        scopes: "service.admin.ac".parse().unwrap(),
        expires_at: UnixTime(NOW.0 + 3600),
    };
    let token = setup.signer.sign(&user, NOW);
    assert_eq!(
        setup.verify::<AccessClaims>(&token, NOW),
        Err(TokenError::Claims(WrongClaims("scope")))
    );
}

#[test]
fn clocks_may_be_a_minute_apart() {
    let setup = Setup::new();
    let token = setup.signer.sign(&join_claims(), NOW);
    let at = |now| setup.verify::<JoinClaims>(&token, UnixTime(now)).err();
    assert_eq!(at(NOW.0 - 61), Some(TokenError::NotYetValid));
    assert_eq!(at(NOW.0 - 60), None);
    assert_eq!(at(NOW.0 + 300 + 59), None);
    assert_eq!(at(NOW.0 + 300 + 60), Some(TokenError::Expired));
}

#[test]
fn a_token_longer_than_the_limit_is_refused_unread() {
    let setup = Setup::new();
    let payload = with(Setup::payload(), "more", "x".repeat(TOKEN_BYTES_MAX).into());
    assert_eq!(
        setup.join_error(&setup.header(), &payload),
        Some(TokenError::TooLong)
    );
}

/// Counts fetches and can be changed or made to fail.
struct Source {
    answer: Mutex<Option<Jwks>>,
    fetches: AtomicUsize,
}

#[async_trait]
impl JwksSource for Source {
    async fn fetch(&self) -> Result<Jwks, JwksFetchError> {
        self.fetches.fetch_add(1, Ordering::Relaxed);
        let answer = self.answer.lock().unwrap().clone();
        answer.ok_or_else(|| JwksFetchError("unreachable".to_owned()))
    }
}

struct Cached {
    source: Arc<Source>,
    verifier: Verifier,
    old: Signer,
    new: Signer,
    both: Jwks,
}

impl Cached {
    /// A source that knows the old of two keys.
    fn new() -> Self {
        let (old, new) = (SigningKey::random(), SigningKey::random());
        let source = Arc::new(Source {
            answer: Mutex::new(Some([old.public()].into_iter().collect())),
            fetches: AtomicUsize::new(0),
        });
        Self {
            verifier: Verifier::new(ISSUER_DEFAULT, source.clone()),
            both: [old.public(), new.public()].into_iter().collect(),
            old: Signer::new(ISSUER_DEFAULT, old),
            new: Signer::new(ISSUER_DEFAULT, new),
            source,
        }
    }

    /// The outcome of checking a token of `signer` at `now`, made then.
    fn check(&self, signer: &Signer, now: u64) -> Result<(), TokenError> {
        let now = UnixTime(now);
        let claims = JoinClaims {
            expires_at: UnixTime(now.0 + 300),
            ..join_claims()
        };
        let token = signer.sign(&claims, now);
        let verified = self
            .verifier
            .verify::<JoinClaims>(&token, now)
            .now_or_never();
        verified.expect("the source answers at once").map(drop)
    }

    fn answer(&self, jwks: Option<Jwks>) {
        *self.source.answer.lock().unwrap() = jwks;
    }

    fn fetches(&self) -> usize {
        self.source.fetches.load(Ordering::Relaxed)
    }
}

#[test]
fn keys_are_fetched_once_an_hour() {
    let cached = Cached::new();
    for now in 0..JWKS_AGE_MAX_S / 60 {
        assert_eq!(cached.check(&cached.old, NOW.0 + now * 60), Ok(()));
    }
    assert_eq!(cached.fetches(), 1);
    assert_eq!(cached.check(&cached.old, NOW.0 + JWKS_AGE_MAX_S), Ok(()));
    assert_eq!(cached.fetches(), 2);
}

#[test]
fn an_unknown_key_is_looked_for_at_most_every_ten_seconds() {
    let cached = Cached::new();
    assert_eq!(cached.check(&cached.old, NOW.0), Ok(()));
    for now in 1..=30 {
        assert_eq!(
            cached.check(&cached.new, NOW.0 + now),
            Err(TokenError::UnknownKey)
        );
    }
    assert_eq!(cached.fetches(), 1 + 3);
    cached.answer(Some(cached.both.clone()));
    assert_eq!(
        cached.check(&cached.new, NOW.0 + 39),
        Err(TokenError::UnknownKey)
    );
    assert_eq!(cached.check(&cached.new, NOW.0 + 40), Ok(()));
}

#[test]
fn a_clock_read_a_little_earlier_fetches_nothing() {
    let cached = Cached::new();
    assert_eq!(cached.check(&cached.old, NOW.0), Ok(()));
    assert_eq!(cached.check(&cached.old, NOW.0 - 1), Ok(()));
    assert_eq!(
        cached.check(&cached.new, NOW.0 - 1),
        Err(TokenError::UnknownKey)
    );
    assert_eq!(cached.fetches(), 1);
    // One that was an hour ahead when the keys were fetched does not stick.
    assert_eq!(cached.check(&cached.old, NOW.0 - 3600), Ok(()));
    assert_eq!(cached.fetches(), 2);
}

#[test]
fn known_keys_outlast_an_outage_of_the_issuer_for_a_day() {
    let cached = Cached::new();
    assert_eq!(cached.check(&cached.old, NOW.0), Ok(()));
    cached.answer(None);
    let last = NOW.0 + JWKS_STALE_MAX_S - 1;
    assert_eq!(cached.check(&cached.old, last), Ok(()));
    assert_eq!(
        cached.check(&cached.old, last + 1),
        Err(TokenError::KeysUnavailable)
    );
    cached.answer(Some(cached.both.clone()));
    assert_eq!(cached.check(&cached.old, last + 11), Ok(()));
}

#[test]
fn without_any_keys_the_sender_is_not_blamed() {
    let cached = Cached::new();
    cached.answer(None);
    assert_eq!(
        cached.check(&cached.old, NOW.0),
        Err(TokenError::KeysUnavailable)
    );
}

#[test]
fn on_a_device_any_issuer_with_the_keys_counts_and_clocks_may_be_minutes_apart() {
    let key = SigningKey::random();
    let jwks: Jwks = [key.public()].into_iter().collect();
    let verifier = Verifier::on_a_device(Arc::new(StaticJwks(jwks)));
    let claims = DeviceClaims {
        id: TokenId::random(),
        account: AccountId::from_bytes([1; 16]),
        name: "Ada".into(),
        thumbprint: "of a device".into(),
        expires_at: UnixTime(NOW.0 + 600),
    };
    let token = Signer::new("whoever", key).sign(&claims, NOW);
    let check = |now: u64| block_on(verifier.verify::<DeviceClaims>(&token, UnixTime(now)));
    for now in [NOW.0 - 299, NOW.0, NOW.0 + 899] {
        assert_eq!(check(now), Ok(claims.clone()));
    }
    assert_eq!(check(NOW.0 - 301), Err(TokenError::NotYetValid));
    assert_eq!(check(NOW.0 + 900), Err(TokenError::Expired));
    let other = Signer::new("whoever", SigningKey::random()).sign(&claims, NOW);
    let refused = block_on(verifier.verify::<DeviceClaims>(&other, NOW));
    assert_eq!(refused, Err(TokenError::UnknownKey));
}

proptest! {
    #[test]
    fn any_text_is_refused(token in "\\PC{0,300}") {
        let setup = Setup::new();
        prop_assert!(setup.verify::<JoinClaims>(&token, NOW).is_err());
    }

    #[test]
    fn any_three_parts_are_refused(
        header in "[ -~]{0,60}", payload in "[ -~]{0,60}",
        signature in proptest::collection::vec(any::<u8>(), 64),
    ) {
        let setup = Setup::new();
        let parts = [header.as_bytes(), payload.as_bytes(), &signature];
        let token = parts.map(|part| URL_SAFE_NO_PAD.encode(part)).join(".");
        prop_assert!(setup.verify::<JoinClaims>(&token, NOW).is_err());
    }

    #[test]
    fn any_signed_payload_is_valid_or_refused(payload in "[ -~]{0,200}") {
        let setup = Setup::new();
        let token = setup.forge(&setup.header().to_string(), &payload);
        prop_assert!(setup.verify::<JoinClaims>(&token, NOW).is_err());
    }

    #[test]
    fn a_flipped_bit_anywhere_is_refused(place in any::<prop::sample::Index>(), bit in 0u8..7) {
        let setup = Setup::new();
        let token = setup.signer.sign(&join_claims(), NOW);
        let mut bytes = token.clone().into_bytes();
        let place = place.index(bytes.len());
        bytes[place] ^= 1 << bit;
        if let Ok(changed) = String::from_utf8(bytes) {
            prop_assert!(setup.verify::<JoinClaims>(&changed, NOW).is_err());
        }
    }
}
