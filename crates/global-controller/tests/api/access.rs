//! Who may do what, and how often.

use dt_ids::AccountId;
use dt_service::http::Quota;
use dt_token::Role;
use global_controller::Config;
use http::Method;
use serde_json::{Value, json};

use crate::fixture::Fixture;

const SCOPES: &str = "user.read.gc user.write.gc";

#[tokio::test]
async fn with_accounts_only_those_who_signed_in_create_meetings() {
    let config = Config {
        accounts: true,
        ..Config::default()
    };
    let fixture = Fixture::new(config).await;
    let refused = fixture.post("/v1/meetings", None, Value::Null).await;
    assert_eq!((refused.status, refused.code()), (401, "UNAUTHORIZED"));
    assert!(refused.headers.contains_key("www-authenticate"));
    let reader = fixture
        .signer
        .user(AccountId::random(), None, "user.read.gc");
    let refused = fixture
        .post("/v1/meetings", Some(&reader), Value::Null)
        .await;
    assert_eq!((refused.status, refused.code()), (403, "FORBIDDEN"));

    let ada = AccountId::random();
    let token = fixture.signer.user(ada, None, SCOPES);
    let created = fixture
        .post("/v1/meetings", Some(&token), Value::Null)
        .await;
    assert_eq!(created.status, 201);
    assert_eq!(
        fixture.claims(&created.text("join_token")).await.account,
        Some(ada)
    );
    // Guests may join it all the same.
    let path = format!("/v1/meetings/{}/guest-token", created.text("meeting_code"));
    assert_eq!(fixture.post(&path, None, Value::Null).await.status, 200);
}

#[tokio::test]
async fn a_token_that_does_not_hold_is_refused_even_where_none_is_needed() {
    let fixture = Fixture::new(Config::default()).await;
    let created = fixture.meeting().await;
    let join = created.text("join_token");
    let path = format!("/v1/meetings/{}", created.text("meeting_id"));
    for token in ["nonsense", "a.b.c", join.as_str()] {
        for answer in [
            fixture.post("/v1/meetings", Some(token), Value::Null).await,
            fixture.get(&path, Some(token)).await,
            fixture
                .post(&format!("{path}/guest-token"), Some(token), Value::Null)
                .await,
            fixture
                .send(Method::DELETE, &path, Some(token), Value::Null)
                .await,
            fixture.get("/v1/meetings", Some(token)).await,
        ] {
            assert_eq!(
                (answer.status, answer.code()),
                (401, "UNAUTHORIZED"),
                "{token}"
            );
        }
    }
}

#[tokio::test]
async fn strangers_neither_read_change_nor_end_a_meeting() {
    let fixture = Fixture::new(Config::default()).await;
    let mine = fixture.meeting().await;
    let other = fixture.meeting().await.text("host_token");
    let user = fixture.signer.user(AccountId::random(), None, SCOPES);
    let path = format!("/v1/meetings/{}", mine.text("meeting_id"));
    for (token, status) in [
        (None, 401),
        (Some(other.as_str()), 403),
        (Some(user.as_str()), 403),
    ] {
        let changed = fixture.send(Method::PATCH, &path, token, json!({})).await;
        assert_eq!(changed.status, status);
        let ended = fixture
            .send(Method::DELETE, &path, token, Value::Null)
            .await;
        assert_eq!(ended.status, status);
    }
    assert_eq!(fixture.get(&path, None).await.status, 401);
    assert_eq!(fixture.get(&path, Some(&other)).await.status, 403);
}

#[tokio::test]
async fn who_signed_in_comes_in_by_account_and_another_tenant_as_guest_at_most() {
    let fixture = Fixture::new(Config::default()).await;
    let ours = fixture.organisation("ours").await;
    let theirs = fixture.organisation("theirs").await;
    let maker = fixture.signer.user(AccountId::random(), Some(ours), SCOPES);
    let created = fixture
        .post("/v1/meetings", Some(&maker), Value::Null)
        .await;
    let path = format!("/v1/meetings/{}", created.text("meeting_id"));
    let role = async |token: &str| {
        let answer = fixture.get(&path, Some(token)).await;
        match answer.status {
            200 => Some(fixture.claims(&answer.text("join_token")).await.role),
            403 => None,
            status => panic!("{status} {}", answer.body),
        }
    };
    assert_eq!(role(&maker).await, Some(Role::Host));
    let colleague = fixture.signer.user(AccountId::random(), Some(ours), SCOPES);
    assert_eq!(role(&colleague).await, Some(Role::Participant));
    let stranger = fixture
        .signer
        .user(AccountId::random(), Some(theirs), SCOPES);
    assert_eq!(role(&stranger).await, None);
    let service = fixture.signer.service("service.read.gc service.write.gc");
    assert_eq!(role(&service).await, Some(Role::Host));

    let guest = fixture
        .post(&format!("{path}/guest-token"), Some(&stranger), Value::Null)
        .await;
    let claims = fixture.claims(&guest.text("join_token")).await;
    assert_eq!((claims.role, claims.account), (Role::Guest, None));
}

#[tokio::test]
async fn a_meeting_without_guests_takes_only_accounts() {
    let fixture = Fixture::new(Config::default()).await;
    let wish = json!({"settings": {"require_auth": true}});
    let created = fixture.post("/v1/meetings", None, wish).await;
    let path = format!("/v1/meetings/{}/guest-token", created.text("meeting_code"));
    assert_eq!(
        fixture.post(&path, None, Value::Null).await.code(),
        "UNAUTHORIZED"
    );
    let ada = AccountId::random();
    let token = fixture.signer.user(ada, None, SCOPES);
    let answer = fixture.post(&path, Some(&token), Value::Null).await;
    let claims = fixture.claims(&answer.text("join_token")).await;
    assert_eq!(
        (claims.role, claims.account),
        (Role::Participant, Some(ada))
    );
}

#[tokio::test]
async fn only_hosts_and_programs_get_several_tokens_and_a_hundred_at_most() {
    let fixture = Fixture::new(Config::default()).await;
    let created = fixture.meeting().await;
    let host = created.text("host_token");
    let service = fixture.signer.service("service.write.gc");
    let user = fixture.signer.user(AccountId::random(), None, SCOPES);
    let path = format!("/v1/meetings/{}/guest-token", created.text("meeting_id"));
    for token in [&host, &service] {
        let answer = fixture
            .post(&path, Some(token), json!({"count": 100}))
            .await;
        let tokens = answer.body["join_tokens"].as_array().unwrap();
        assert_eq!(tokens.len(), 100);
        assert_eq!(tokens[0], answer.body["join_token"]);
        let claims = fixture.claims(tokens[99].as_str().unwrap()).await;
        assert_eq!((claims.role, claims.account), (Role::Guest, None));
    }
    for token in [None, Some(user.as_str())] {
        let answer = fixture.post(&path, token, json!({"count": 2})).await;
        assert_eq!((answer.status, answer.code()), (403, "FORBIDDEN"));
    }
    for count in [json!(0), json!(101), json!("two"), json!(1.5)] {
        let answer = fixture
            .post(&path, Some(&host), json!({"count": count}))
            .await;
        assert_eq!(answer.status, 400);
    }
    let one = fixture.post(&path, None, json!({"count": 1})).await;
    assert_eq!(one.body["join_tokens"].as_array().unwrap().len(), 1);
    let plain = fixture.post(&path, None, Value::Null).await;
    assert!(plain.body.get("join_tokens").is_none());
}

#[tokio::test]
async fn a_person_does_not_list_the_meetings_of_another() {
    let fixture = Fixture::new(Config::default()).await;
    let token = fixture.signer.user(AccountId::random(), None, SCOPES);
    let other = AccountId::random();
    let answer = fixture
        .get(&format!("/v1/meetings?user_id={other}"), Some(&token))
        .await;
    assert_eq!((answer.status, answer.code()), (403, "FORBIDDEN"));
    assert_eq!(fixture.get("/v1/meetings", None).await.status, 401);
    let writer = fixture.signer.user(other, None, "user.write.gc");
    assert_eq!(fixture.get("/v1/meetings", Some(&writer)).await.status, 403);
}

#[tokio::test]
async fn guest_tokens_have_a_bucket_of_their_own_and_health_has_none() {
    let quota = |per_minute| Quota {
        per_minute,
        service_per_minute: 50,
    };
    let config = Config {
        requests: quota(2),
        guest_tokens: quota(3),
        ..Config::default()
    };
    let fixture = Fixture::new(config).await;
    let created = fixture.meeting().await;
    assert_eq!(created.headers["x-ratelimit-limit"], "2");
    assert_eq!(created.headers["x-ratelimit-remaining"], "1");
    assert!(created.headers.contains_key("x-ratelimit-reset"));
    fixture.meeting().await;
    let refused = fixture.post("/v1/meetings", None, Value::Null).await;
    assert_eq!((refused.status, refused.code()), (429, "RATE_LIMITED"));
    assert!(refused.headers.contains_key("retry-after"));

    let guest = format!("/v1/meetings/{}/guest-token", created.text("meeting_code"));
    for _ in 0..3 {
        assert_eq!(fixture.post(&guest, None, Value::Null).await.status, 200);
    }
    assert_eq!(fixture.post(&guest, None, Value::Null).await.status, 429);
    // A token has its own count, and a program a larger one.
    let path = format!("/v1/meetings/{}", created.text("meeting_id"));
    let host = fixture.get(&path, Some(&created.text("host_token"))).await;
    assert_eq!(
        (host.status, &host.headers["x-ratelimit-remaining"]),
        (200, &"1".parse().unwrap())
    );
    let program = fixture.signer.service("service.read.gc");
    let program = fixture.get(&path, Some(&program)).await;
    assert_eq!(
        (program.status, &program.headers["x-ratelimit-limit"]),
        (200, &"50".parse().unwrap())
    );
    for _ in 0..10 {
        assert_eq!(fixture.get("/v1/health", None).await.status, 200);
    }
}
