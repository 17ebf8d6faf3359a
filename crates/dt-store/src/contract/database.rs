//! The contract of [`Database`].

use std::future::Future;

use dt_ids::{AccountId, MeetingCode, MeetingId, OrganisationId};
use dt_token::SigningKey;
use serde_json::json;
use time::{Duration, OffsetDateTime, macros::datetime};

use crate::{
    AUDIT_GENESIS, AccountRecord, AuditEvent, Database, DatabaseError, MeetingChange,
    MeetingFilter, MeetingKey, MeetingRecord, MeetingSettings, OrganisationRecord, PasswordHash,
    SealedKey, SecretHash, ServiceClientRecord, SettingsChange, SigningKeyRecord,
};

const NOW: OffsetDateTime = datetime!(2026-11-21 04:00:00.123 UTC);

/// Runs the whole suite, each part on a new database.
pub(crate) async fn check<D: Database, F: Future<Output = D>>(new: impl Fn() -> F) {
    accounts_are_found_by_login_whatever_its_case(&new().await).await;
    clients_and_organisations_are_found_and_unique(&new().await).await;
    keys_are_listed_while_they_check_signatures(&new().await).await;
    meetings_are_found_by_id_and_code(&new().await).await;
    meetings_are_listed_by_filter_in_pages(&new().await).await;
    a_change_touches_only_its_own_fields(&new().await).await;
    a_meeting_ends_once(&new().await).await;
    the_audit_log_is_a_chain(&new().await).await;
    appending_at_once_leaves_no_gap(&new().await).await;
}

fn account(login: &str) -> AccountRecord {
    AccountRecord {
        id: AccountId::random(),
        login: login.to_owned(),
        display_name: "Ada".to_owned(),
        password_hash: PasswordHash("$2b$12$…".to_owned()),
        organisation: None,
        scopes: "user.read.gc user.write.gc".parse().unwrap(),
        created_at: NOW,
        disabled_at: Some(NOW),
    }
}

fn organisation(slug: &str) -> OrganisationRecord {
    OrganisationRecord {
        id: OrganisationId::random(),
        slug: slug.to_owned(),
        display_name: "Analytical Engines".to_owned(),
        created_at: NOW,
    }
}

fn meeting(created_at: OffsetDateTime) -> MeetingRecord {
    MeetingRecord {
        id: MeetingId::random(),
        code: MeetingCode::random(),
        display_name: "Plan".to_owned(),
        organisation: None,
        created_by: None,
        created_at,
        expires_at: created_at + Duration::HOUR,
        ended_at: None,
        max_participants: 100,
        settings: MeetingSettings {
            hide_audio_levels: true,
            ..MeetingSettings::default()
        },
    }
}

fn event(action: &str) -> AuditEvent {
    AuditEvent {
        at: NOW,
        action: action.to_owned(),
        actor: "operator".to_owned(),
        address: None,
        details: json!({"b": 1, "a": "ü"}).as_object().unwrap().clone(),
    }
}

async fn accounts_are_found_by_login_whatever_its_case(db: &dyn Database) {
    let organisation = organisation("ae");
    let ada = AccountRecord {
        organisation: Some(organisation.id),
        ..account("Ada@Example.com")
    };
    let dangling = db.add_account(&ada).await;
    assert!(matches!(
        dangling,
        Err(DatabaseError::Dangling("organisation"))
    ));
    db.add_organisation(&organisation).await.unwrap();
    db.add_account(&ada).await.unwrap();
    assert_eq!(
        db.account_by_login("ada@example.COM").await.unwrap(),
        Some(ada.clone())
    );
    assert_eq!(db.account(ada.id).await.unwrap(), Some(ada));
    assert_eq!(db.account_by_login("ada").await.unwrap(), None);
    assert_eq!(db.account(AccountId::random()).await.unwrap(), None);
    let taken = db.add_account(&account("ADA@example.com")).await;
    assert!(matches!(taken, Err(DatabaseError::Conflict("account"))));
}

async fn clients_and_organisations_are_found_and_unique(db: &dyn Database) {
    let client = ServiceClientRecord {
        client_id: "mc-eu".to_owned(),
        name: "Controllers in Europe".to_owned(),
        secret_hash: SecretHash([7; 32]),
        scopes: "service.write.mh".parse().unwrap(),
        created_at: NOW,
        disabled_at: None,
    };
    db.add_service_client(&client).await.unwrap();
    assert_eq!(
        db.service_client("mc-eu").await.unwrap(),
        Some(client.clone())
    );
    assert_eq!(db.service_client("MC-EU").await.unwrap(), None);
    let taken = db.add_service_client(&client).await;
    assert!(matches!(
        taken,
        Err(DatabaseError::Conflict("service client"))
    ));

    let org = organisation("ae");
    db.add_organisation(&org).await.unwrap();
    assert_eq!(
        db.organisation_by_slug("ae").await.unwrap(),
        Some(org.clone())
    );
    assert_eq!(db.organisation(org.id).await.unwrap(), Some(org));
    let taken = db.add_organisation(&organisation("ae")).await;
    assert!(matches!(
        taken,
        Err(DatabaseError::Conflict("organisation"))
    ));
}

async fn keys_are_listed_while_they_check_signatures(db: &dyn Database) {
    let key = |epoch: u32, verify_until| {
        let public_key = SigningKey::random().public();
        SigningKeyRecord {
            kid: public_key.kid(),
            epoch,
            public_key,
            sealed: SealedKey(vec![1, 2, 3]),
            created_at: NOW,
            sign_until: NOW,
            verify_until,
        }
    };
    let (one, two) = (
        key(1, NOW + Duration::HOUR),
        key(2, NOW + Duration::WEEK * 2),
    );
    db.add_signing_key(&one).await.unwrap();
    db.add_signing_key(&two).await.unwrap();
    let same_epoch = db.add_signing_key(&key(2, NOW)).await;
    assert!(matches!(
        same_epoch,
        Err(DatabaseError::Conflict("signing key"))
    ));

    assert_eq!(
        db.signing_keys(NOW).await.unwrap(),
        [two.clone(), one.clone()]
    );
    let later = NOW + Duration::HOUR;
    assert_eq!(
        db.signing_keys(later).await.unwrap(),
        std::slice::from_ref(&two)
    );
    // The newest is there even when it checks nothing any more.
    let much_later = NOW + Duration::WEEK * 9;
    assert_eq!(
        db.signing_keys(much_later).await.unwrap(),
        std::slice::from_ref(&two)
    );

    assert!(
        db.extend_signing_key(&one.kid, NOW + Duration::DAY)
            .await
            .unwrap()
    );
    assert!(
        db.extend_signing_key(&one.kid, NOW).await.unwrap(),
        "and never shortened"
    );
    assert_eq!(db.signing_keys(later).await.unwrap().len(), 2);
    assert!(
        !db.extend_signing_key(&SigningKey::random().public().kid(), NOW)
            .await
            .unwrap()
    );

    assert_eq!(db.revoke_signing_keys(2, NOW).await.unwrap(), 1);
    assert_eq!(db.signing_keys(NOW).await.unwrap(), [two]);
    // An instance that has not heard of it yet can't bring it back.
    assert!(
        !db.extend_signing_key(&one.kid, NOW + Duration::DAY)
            .await
            .unwrap()
    );
}

async fn meetings_are_found_by_id_and_code(db: &dyn Database) {
    let meeting = meeting(NOW);
    db.add_meeting(&meeting).await.unwrap();
    let found = db.meeting(MeetingKey::Id(meeting.id)).await.unwrap();
    assert_eq!(found, Some(meeting.clone()));
    let found = db.meeting(MeetingKey::Code(meeting.code)).await.unwrap();
    assert_eq!(found, Some(meeting.clone()));
    assert_eq!(
        db.meeting(MeetingKey::Code(MeetingCode::random()))
            .await
            .unwrap(),
        None
    );
    let taken = db.add_meeting(&meeting).await;
    assert!(matches!(taken, Err(DatabaseError::Conflict("meeting"))));
}

async fn meetings_are_listed_by_filter_in_pages(db: &dyn Database) {
    let creator = AccountId::random();
    let mut mine = Vec::new();
    for minutes in 0..5 {
        let created_at = NOW + Duration::minutes(minutes);
        let record = MeetingRecord {
            created_by: Some(creator),
            ..meeting(created_at)
        };
        db.add_meeting(&record).await.unwrap();
        mine.insert(0, record);
    }
    db.add_meeting(&meeting(NOW)).await.unwrap();
    let filter = MeetingFilter {
        created_by: Some(creator),
        ..MeetingFilter::default()
    };
    let page = db.meetings(&filter).await.unwrap();
    assert_eq!((page.meetings, page.total), (mine.clone(), 5));
    let page = db
        .meetings(&MeetingFilter {
            limit: 2,
            offset: 1,
            ..filter
        })
        .await
        .unwrap();
    assert_eq!((page.meetings.as_slice(), page.total), (&mine[1..3], 5));
    assert_eq!(
        db.meetings(&MeetingFilter::default()).await.unwrap().total,
        6
    );

    db.end_meeting(mine[0].id, NOW).await.unwrap();
    // The oldest one expires exactly then.
    let active_at = Some(NOW + Duration::HOUR);
    let page = db
        .meetings(&MeetingFilter {
            active_at,
            ..filter
        })
        .await
        .unwrap();
    assert_eq!(page.meetings, mine[1..4]);
}

async fn a_change_touches_only_its_own_fields(db: &dyn Database) {
    let meeting = meeting(NOW);
    db.add_meeting(&meeting).await.unwrap();
    let seats = MeetingChange {
        max_participants: Some(7),
        ..MeetingChange::default()
    };
    let auth = MeetingChange {
        settings: SettingsChange {
            require_auth: Some(true),
            ..SettingsChange::default()
        },
        ..MeetingChange::default()
    };
    let (one, two) = futures::join!(
        db.change_meeting(meeting.id, &seats),
        db.change_meeting(meeting.id, &auth)
    );
    assert!(one.unwrap().is_some() && two.unwrap().is_some());
    let expected = MeetingRecord {
        max_participants: 7,
        settings: MeetingSettings {
            require_auth: true,
            ..meeting.settings
        },
        ..meeting.clone()
    };
    let found = db.meeting(MeetingKey::Id(meeting.id)).await.unwrap();
    assert_eq!(found, Some(expected));
    assert_eq!(
        db.change_meeting(MeetingId::random(), &seats)
            .await
            .unwrap(),
        None
    );
}

async fn a_meeting_ends_once(db: &dyn Database) {
    let meeting = meeting(NOW);
    db.add_meeting(&meeting).await.unwrap();
    assert!(db.end_meeting(meeting.id, NOW).await.unwrap());
    assert!(
        !db.end_meeting(meeting.id, NOW + Duration::HOUR)
            .await
            .unwrap()
    );
    let found = db
        .meeting(MeetingKey::Id(meeting.id))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(found.ended_at, Some(NOW));
    let change = MeetingChange {
        max_participants: Some(7),
        ..MeetingChange::default()
    };
    assert_eq!(db.change_meeting(meeting.id, &change).await.unwrap(), None);
}

async fn the_audit_log_is_a_chain(db: &dyn Database) {
    let report = db.audit_verify().await.unwrap();
    assert_eq!(
        (report.entries, report.head, report.fault),
        (0, AUDIT_GENESIS, None)
    );
    let first = db.append_audit(&event("key.made")).await.unwrap();
    let second = db
        .append_audit(&AuditEvent {
            address: Some("::1".to_owned()),
            ..event("user.added")
        })
        .await
        .unwrap();
    assert_eq!(
        (first.number, first.month, first.previous),
        (1, 202_611, AUDIT_GENESIS)
    );
    assert_eq!((second.number, second.previous), (2, first.hash));
    let entries = db.audit_entries(0, 10).await.unwrap();
    assert_eq!(entries, [first, second.clone()]);
    assert_eq!(
        db.audit_entries(1, 10).await.unwrap(),
        std::slice::from_ref(&second)
    );
    let report = db.audit_verify().await.unwrap();
    assert_eq!(
        (report.entries, report.head, report.fault),
        (2, second.hash, None)
    );
}

async fn appending_at_once_leaves_no_gap(db: &dyn Database) {
    let event = event("many");
    let appended = futures::future::join_all((0..20).map(|_| db.append_audit(&event))).await;
    assert!(appended.iter().all(Result::is_ok));
    let report = db.audit_verify().await.unwrap();
    assert_eq!((report.entries, report.fault), (20, None));
}
