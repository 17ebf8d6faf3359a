//! Facts about statements of devices, by keys of the tests' own.

use std::{
    sync::{Arc, Mutex},
    time::SystemTime,
};

use async_trait::async_trait;
use dt_token::{
    ClaimSet, JoinClaims, JwksFetchError, JwksSource, Role, Signer, SigningKey, TokenId,
};

use super::*;

/// Account number so much.
pub(in super::super) fn account(number: u8) -> AccountId {
    AccountId::from_bytes([number; 16])
}

fn key() -> SigningKey {
    SigningKey::from_seed(&[77; 32])
}

fn now() -> UnixTime {
    UnixTime::from(SystemTime::now())
}

fn claims(number: u8, device_key: &[u8; 32]) -> DeviceClaims {
    DeviceClaims {
        id: TokenId::random(),
        account: account(number),
        name: format!("Account {number}"),
        thumbprint: thumbprint(device_key),
        expires_at: UnixTime(now().0 + 3600),
    }
}

fn sign<C: ClaimSet>(key: SigningKey, claims: &C, at: UnixTime) -> String {
    Signer::new("whoever has the keys", key).sign(claims, at)
}

/// What the auth controller of these tests says of a device.
pub(in super::super) fn statement(number: u8, device_key: &[u8; 32]) -> String {
    sign(key(), &claims(number, device_key), now())
}

/// Those who believe that auth controller.
pub(in super::super) fn accounts() -> Accounts {
    let jwks: Jwks = [key().public()].into_iter().collect();
    Accounts::with_keys(&jwks.to_json()).unwrap()
}

/// What comes of a check. Nothing here waits for anything.
pub(in super::super) fn ruling(accounts: &Accounts, check: &Check) -> Ruling {
    let runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = { runtime }.build().unwrap();
    runtime.block_on(accounts.check(check))
}

const DEVICE: [u8; 32] = [1; 32];

fn check(statement: String) -> Check {
    Check {
        statement,
        device_key: DEVICE,
    }
}

#[test]
fn a_statement_names_the_account_of_its_device() {
    let good = ruling(&accounts(), &check(statement(3, &DEVICE)));
    let account = Account {
        subject: account(3),
        name: "Account 3".into(),
    };
    assert_eq!(good, Ruling::Good(account));
}

#[test]
fn a_statement_that_is_not_the_auth_controller_s_or_of_another_device_is_bad() {
    let ruled = |statement| ruling(&accounts(), &check(statement));
    let another = statement(3, &[2; 32]);
    assert_eq!(ruled(another), Ruling::Bad(BadStatement::OtherDevice));
    let mut forged = statement(3, &DEVICE).into_bytes();
    let end = forged.len() - 2;
    forged[end] = if forged[end] == b'A' { b'B' } else { b'A' };
    let bad = |error| Ruling::Bad(BadStatement::Token(error));
    let forged = String::from_utf8(forged).unwrap();
    assert_eq!(ruled(forged), bad(TokenError::Signature));
    assert_eq!(ruled("nonsense".into()), bad(TokenError::Malformed));
    assert_eq!(ruled("A".repeat(9000)), bad(TokenError::TooLong));
    // Signed by the right key, and a token for something else.
    let join = JoinClaims {
        id: TokenId::random(),
        meeting_id: dt_ids::MeetingId::random(),
        role: Role::Host,
        account: Some(account(3)),
        expires_at: UnixTime(now().0 + 300),
    };
    let join = sign(key(), &join, now());
    assert_eq!(ruled(join), bad(TokenError::Type));
}

#[test]
fn a_statement_counts_in_its_time_by_clocks_five_minutes_apart() {
    let ruled = |from: u64, to: u64| {
        let claims = DeviceClaims {
            expires_at: UnixTime(to),
            ..claims(3, &DEVICE)
        };
        let statement = sign(key(), &claims, UnixTime(from));
        ruling(&accounts(), &check(statement))
    };
    let now = now().0;
    let bad = |error| Ruling::Bad(BadStatement::Token(error));
    assert_eq!(ruled(now - 3600, now - 400), bad(TokenError::Expired));
    assert_eq!(ruled(now + 400, now + 3600), bad(TokenError::NotYetValid));
    for (from, to) in [(now - 3600, now - 200), (now + 200, now + 3600)] {
        assert!(matches!(ruled(from, to), Ruling::Good(_)));
    }
}

#[derive(Default)]
struct Sometimes(Mutex<Option<Jwks>>);

#[async_trait]
impl JwksSource for Sometimes {
    async fn fetch(&self) -> Result<Jwks, JwksFetchError> {
        let keys = self.0.lock().unwrap().clone();
        keys.ok_or(JwksFetchError("nobody answers".into()))
    }
}

#[test]
fn without_the_keys_nobody_is_verified_and_nobody_blamed() {
    let source = Arc::new(Sometimes::default());
    let unreachable = Accounts::with_source(source.clone());
    for statement in [statement(3, &DEVICE), statement(3, &[2; 32])] {
        assert_eq!(ruling(&unreachable, &check(statement)), Ruling::Unknown);
    }
    // Keys are there, and not the one that signed.
    let other = SigningKey::from_seed(&[78; 32]);
    *source.0.lock().unwrap() = Some([other.public()].into_iter().collect());
    let later = Accounts::with_source(source);
    let unknown = ruling(&later, &check(statement(3, &DEVICE)));
    assert_eq!(unknown, Ruling::Unknown);
    let theirs = sign(other, &claims(3, &DEVICE), now());
    assert!(matches!(ruling(&later, &check(theirs)), Ruling::Good(_)));
}

#[test]
fn the_first_device_is_known_and_another_until_somebody_is_sure_of_it_is_not() {
    let known = KnownDevices::default();
    assert!(!known.is_changed(account(1), &DEVICE));
    known.meet(account(1), &DEVICE);
    known.meet(account(1), &[2; 32]);
    assert!(known.is_changed(account(1), &[2; 32]));
    let kept: KnownDevices = known.list().into_iter().collect();
    assert!(kept.is_changed(account(1), &[2; 32]));
    assert!(!kept.is_changed(account(1), &DEVICE));
    known.remember(account(1), &[2; 32]);
    assert!(!known.is_changed(account(1), &[2; 32]));
    assert_eq!(known.list().len(), 2);
}
