//! Tokens as strangers send them, and key sets. Claims are also tried under a
//! good signature, where a fuzzer would never come by itself.
#![no_main]

use std::sync::{Arc, LazyLock};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use dt_ids::{HandlerId, MeetingId, ParticipantId};
use dt_token::{
    AccessClaims, DeviceClaims, HostClaims, JoinClaims, Jwks, SigningKey, StaticJwks, UnixTime,
    Verifier,
    connection::{self, ConnectionClaims, ConnectionKey},
};
use ed25519_dalek::Signer as _;
use futures::FutureExt as _;
use libfuzzer_sys::fuzz_target;

const NOW: UnixTime = UnixTime(1_800_000_000);
const SEED: [u8; 32] = [7; 32];
const TYPES: [&str; 5] = [
    "dt-join+jwt",
    "dt-host+jwt",
    "at+jwt",
    "dt-device+jwt",
    "jwt",
];

static VERIFIER: LazyLock<Verifier> = LazyLock::new(|| {
    let keys: Jwks = [SigningKey::from_seed(&SEED).public()]
        .into_iter()
        .collect();
    Verifier::new("darktower", Arc::new(StaticJwks(keys)))
});
static KEY: LazyLock<ConnectionKey> = LazyLock::new(ConnectionKey::random);
static HANDLER: LazyLock<HandlerId> = LazyLock::new(HandlerId::random);

/// How many kinds it passes for: one at most.
fn kinds(token: &str) -> usize {
    let access = VERIFIER.verify::<AccessClaims>(token, NOW).now_or_never();
    let join = VERIFIER.verify::<JoinClaims>(token, NOW).now_or_never();
    let host = VERIFIER.verify::<HostClaims>(token, NOW).now_or_never();
    let device = VERIFIER.verify::<DeviceClaims>(token, NOW).now_or_never();
    let good = [
        access.is_some_and(|claims| claims.is_ok()),
        join.is_some_and(|claims| claims.is_ok()),
        host.is_some_and(|claims| claims.is_ok()),
        device.is_some_and(|claims| claims.is_ok()),
    ];
    good.into_iter().filter(|good| *good).count()
}

fn signed(kind: &str, claims: &[u8]) -> String {
    let key = SigningKey::from_seed(&SEED);
    let kid = key.public().kid();
    let header = format!(
        r#"{{"alg":"EdDSA","typ":"{kind}","kid":"{}"}}"#,
        kid.as_str()
    );
    let text = [header.as_bytes(), claims].map(|part| URL_SAFE_NO_PAD.encode(part));
    let text = text.join(".");
    let signature = ed25519_dalek::SigningKey::from_bytes(&SEED).sign(text.as_bytes());
    format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature.to_bytes()))
}

fuzz_target!(|input: &[u8]| {
    let Some((&what, bytes)) = input.split_first() else {
        return;
    };
    let text = String::from_utf8_lossy(bytes);
    match what {
        0 => {
            // The fuzzer sees comparisons, so it may learn what was signed below.
            assert!(kinds(&text) <= 1);
            let _ = connection::verify(&KEY, &text, *HANDLER, NOW);
        }
        1 => {
            if let Ok(keys) = Jwks::parse(&text) {
                let again = Jwks::parse(&keys.to_json()).expect("what was written is read");
                assert_eq!(again.len(), keys.len());
            }
        }
        2 => {
            // Good but for what is changed in it.
            let claims =
                ConnectionClaims::new(MeetingId::random(), ParticipantId::random(), *HANDLER, NOW);
            let token = connection::mint(&KEY, &claims);
            let mut changed = token.clone().into_bytes();
            for change in bytes.chunks_exact(2) {
                let place = usize::from(change[0]) % changed.len();
                changed[place] = change[1];
            }
            let changed = String::from_utf8_lossy(&changed);
            let verified = connection::verify(&KEY, &changed, *HANDLER, NOW);
            assert_eq!(verified.is_ok(), changed == token);
        }
        _ => {
            let kind = TYPES[usize::from(what) % TYPES.len()];
            assert!(kinds(&signed(kind, bytes)) <= 1);
        }
    }
});
