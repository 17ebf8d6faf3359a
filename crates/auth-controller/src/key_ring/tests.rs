//! Rotation, overlap, revocation and the wrong master key.

use dt_ids::MeetingId;
use dt_rpc::AuthController as _;
use dt_token::{HostClaims, JoinClaims, TokenError, UnixTime, Verifier};
use dt_wire::{
    internal::{IssueMeetingToken, TokenKind},
    v1,
};

use super::*;
use crate::{Config, StartError, fixture::Fixture};

fn unix(at: OffsetDateTime) -> UnixTime {
    UnixTime(u64::try_from(at.unix_timestamp()).unwrap())
}

fn join() -> IssueMeetingToken {
    IssueMeetingToken {
        kind: TokenKind::Join.into(),
        meeting_id: MeetingId::random().to_string(),
        role: v1::Role::Guest.into(),
        ..IssueMeetingToken::default()
    }
}

async fn token(controller: &crate::AuthController, request: IssueMeetingToken) -> String {
    controller
        .issue_meeting_token(request)
        .await
        .unwrap()
        .tokens
        .remove(0)
}

/// A verifier of the moment, with nothing in its cache.
fn verifier(fixture: &Fixture) -> Verifier {
    Verifier::new("darktower", fixture.controller.keys.clone())
}

async fn check(fixture: &Fixture, token: &str) -> Result<JoinClaims, TokenError> {
    verifier(fixture).verify(token, unix(fixture.now())).await
}

async fn kids(fixture: &Fixture) -> usize {
    fixture.controller.keys.fetch().await.unwrap().len()
}

#[tokio::test]
async fn a_new_key_signs_every_week_and_the_old_one_checks_for_a_week_more() {
    let fixture = Fixture::new().await;
    let first = fixture
        .controller
        .keys
        .current()
        .await
        .unwrap()
        .signer()
        .kid()
        .clone();
    assert_eq!(kids(&fixture).await, 1);
    fixture.pass(Duration::days(6));
    assert_eq!(
        fixture
            .controller
            .keys
            .current()
            .await
            .unwrap()
            .signer()
            .kid(),
        &first
    );
    let old = token(&fixture.controller, join()).await;

    fixture.pass(Duration::days(1) + Duration::SECOND);
    assert_eq!(kids(&fixture).await, 2);
    // Not before every instance has the new key in its key set.
    assert_eq!(
        fixture
            .controller
            .keys
            .current()
            .await
            .unwrap()
            .signer()
            .kid(),
        &first
    );
    fixture.pass(SIGN_AFTER);
    let second = fixture
        .controller
        .keys
        .current()
        .await
        .unwrap()
        .signer()
        .kid()
        .clone();
    assert_ne!(second, first);
    // The old key is still there, for what it signed (which is over by now).
    assert_eq!(check(&fixture, &old).await, Err(TokenError::Expired));

    fixture.pass(Duration::days(6));
    assert_eq!(kids(&fixture).await, 2);
    fixture.pass(Duration::days(1));
    // The third has come, and the first has gone.
    assert_eq!(kids(&fixture).await, 2);
    assert_eq!(check(&fixture, &old).await, Err(TokenError::UnknownKey));
}

#[tokio::test]
async fn a_token_signed_just_before_the_rotation_is_good_after_it() {
    let fixture = Fixture::new().await;
    fixture.pass(Duration::WEEK - Duration::MINUTE);
    let token = token(&fixture.controller, join()).await;
    fixture.pass(Duration::minutes(2));
    assert!(check(&fixture, &token).await.is_ok());
}

#[tokio::test]
async fn a_long_stop_ends_with_a_new_key() {
    let fixture = Fixture::new().await;
    fixture.pass(Duration::WEEK * 20);
    let token = token(&fixture.controller, join()).await;
    assert!(check(&fixture, &token).await.is_ok());
    assert_eq!(kids(&fixture).await, 1);
}

#[tokio::test]
async fn a_host_token_keeps_its_key_as_long_as_it_lives() {
    let fixture = Fixture::new().await;
    let request = IssueMeetingToken {
        kind: TokenKind::Host.into(),
        meeting_id: MeetingId::random().to_string(),
        lifetime_s: 90 * 24 * 3600,
        ..IssueMeetingToken::default()
    };
    let token = token(&fixture.controller, request).await;
    fixture.pass(Duration::days(89));
    let claims = verifier(&fixture)
        .verify::<HostClaims>(&token, unix(fixture.now()))
        .await;
    assert!(claims.is_ok(), "{claims:?}");
}

#[tokio::test]
async fn instances_that_rotate_at_once_end_up_with_one_key() {
    let fixture = Fixture::new().await;
    let other = fixture.instance().await;
    fixture.pass(Duration::WEEK + Duration::SECOND);
    let (one, two) = tokio::join!(fixture.controller.keys.current(), other.keys.current());
    assert!(one.is_ok() && two.is_ok());
    fixture.pass(SIGN_AFTER);
    let (one, two) = tokio::join!(fixture.controller.keys.current(), other.keys.current());
    assert_eq!(one.unwrap().signer().kid(), two.unwrap().signer().kid());
    let made = fixture
        .notes()
        .await
        .iter()
        .filter(|n| n.starts_with("key.made"))
        .count();
    assert_eq!(made, 2);
}

#[tokio::test]
async fn a_rotation_by_hand_is_seen_by_running_instances() {
    let fixture = Fixture::new().await;
    let before = fixture
        .controller
        .keys
        .current()
        .await
        .unwrap()
        .signer()
        .kid()
        .clone();
    let new = fixture
        .key_ring(&fixture.master_key)
        .rotate("operator", false)
        .await
        .unwrap();
    assert_ne!(new, before);
    fixture.pass(REREAD_AFTER);
    assert_eq!(kids(&fixture).await, 2);
    fixture.pass(SIGN_AFTER);
    assert_eq!(
        fixture
            .controller
            .keys
            .current()
            .await
            .unwrap()
            .signer()
            .kid(),
        &new
    );
}

#[tokio::test]
async fn revoking_ends_older_tokens_and_signs_with_the_new_key() {
    let fixture = Fixture::new().await;
    let stolen = token(&fixture.controller, join()).await;
    let new = fixture
        .key_ring(&fixture.master_key)
        .rotate("operator", true)
        .await
        .unwrap();
    fixture.pass(REREAD_AFTER);
    assert_eq!(check(&fixture, &stolen).await, Err(TokenError::UnknownKey));
    assert_eq!(
        fixture
            .controller
            .keys
            .current()
            .await
            .unwrap()
            .signer()
            .kid(),
        &new
    );
    let fresh = token(&fixture.controller, join()).await;
    assert!(check(&fixture, &fresh).await.is_ok());
    let notes = fixture.notes().await;
    assert!(
        notes.contains(&"key.revoked operator".to_owned()),
        "{notes:?}"
    );
}

#[tokio::test]
async fn an_instance_that_has_not_heard_of_a_revocation_can_not_undo_it() {
    let fixture = Fixture::new().await;
    let before = fixture.controller.keys.current().await.unwrap();
    fixture
        .key_ring(&fixture.master_key)
        .rotate("operator", true)
        .await
        .unwrap();
    let end = fixture.now() + Duration::days(90);
    let covered = fixture.controller.keys.cover(&before, end).await;
    assert!(matches!(covered, Err(KeyRingError::Revoked)));
    assert_eq!(kids(&fixture).await, 1);
}

#[tokio::test]
async fn the_wrong_master_key_opens_nothing_and_pushes_nothing_aside() {
    let fixture = Fixture::new().await;
    let wrong = MasterKey::random();
    let config = Config {
        bcrypt_cost: 4,
        ..Config::with_master_key(wrong.clone())
    };
    let started =
        crate::AuthController::start(config, fixture.database.clone(), fixture.state.clone()).await;
    assert!(matches!(
        started,
        Err(StartError::Keys(KeyRingError::Sealed(_)))
    ));
    let rotated = fixture.key_ring(&wrong).rotate("operator", true).await;
    assert!(matches!(
        rotated,
        Err(RotateError::Keys(KeyRingError::Sealed(_)))
    ));
    fixture.pass(Duration::WEEK + Duration::SECOND);
    assert!(fixture.key_ring(&wrong).current().await.is_err());
    fixture.pass(-Duration::WEEK);
    assert_eq!(kids(&fixture).await, 1);
}

#[tokio::test]
async fn the_database_has_no_private_key_in_the_clear() {
    let fixture = Fixture::new().await;
    let keys = fixture.controller.keys.current().await.unwrap();
    let record = &keys.records[0];
    let seed = sealed::open(&fixture.master_key, &record.sealed, &record.kid)
        .unwrap()
        .to_seed();
    assert!(
        !record
            .sealed
            .0
            .windows(16)
            .any(|part| part == &seed[..16] || part == &seed[16..])
    );
}

#[tokio::test]
async fn what_is_known_signs_on_while_the_database_is_gone() {
    let fixture = Fixture::new().await;
    let keys = fixture.controller.keys.current().await.unwrap();
    fixture.database.close().await;
    fixture.pass(Duration::HOUR);
    let later = fixture.controller.keys.current().await.unwrap();
    assert_eq!(later.signer().kid(), keys.signer().kid());
    fixture.pass(Duration::WEEK * 2);
    assert!(fixture.controller.keys.current().await.is_err());
}
