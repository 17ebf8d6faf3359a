//! The endpoints over a real database.

use axum::{
    body::{Body, to_bytes},
    extract::ConnectInfo,
    http::{Request, Response, StatusCode},
};
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use dt_ids::AccountId;
use dt_rpc::AuthController as _;
use dt_store::Database as _;
use dt_token::{AccessClaims, DeviceClaims, UnixTime, Verifier};
use dt_wire::{
    internal::{GetJwks, IssueMeetingToken, TokenKind},
    v1,
};
use serde_json::{Value, json};
use tower::ServiceExt as _;

use super::*;
use crate::{
    fixture::{Fixture, LOGIN, PASSWORD, meeting_token},
    user_scopes_default,
};

const ADDRESS: &str = "192.0.2.1";

/// Sends a request from an address.
async fn send_from(fixture: &Fixture, address: &str, request: Request<Body>) -> Response<Body> {
    let mut request = request;
    let address = std::net::SocketAddr::new(address.parse().unwrap(), 4711);
    request.extensions_mut().insert(ConnectInfo(address));
    let router = fixture
        .controller
        .router()
        .merge(fixture.controller.jwks_router());
    router.oneshot(request).await.unwrap()
}

async fn send(fixture: &Fixture, request: Request<Body>) -> (StatusCode, Value) {
    body_of(send_from(fixture, ADDRESS, request).await).await
}

async fn body_of(response: Response<Body>) -> (StatusCode, Value) {
    let status = response.status();
    let bytes = to_bytes(response.into_body(), 1 << 20).await.unwrap();
    (
        status,
        serde_json::from_slice(&bytes).unwrap_or(Value::Null),
    )
}

fn json_request(path: &str, body: &Value) -> Request<Body> {
    Request::post(path)
        .header("content-type", "application/json")
        .body(body.to_string().into())
        .unwrap()
}

fn form_request(path: &str, body: &str) -> Request<Body> {
    Request::post(path)
        .header(
            "content-type",
            "application/x-www-form-urlencoded; charset=utf-8",
        )
        .body(body.to_owned().into())
        .unwrap()
}

fn bearer(mut request: Request<Body>, token: &str) -> Request<Body> {
    request
        .headers_mut()
        .insert("authorization", format!("Bearer {token}").parse().unwrap());
    request
}

fn sign_in(login: &str, password: &str) -> Request<Body> {
    json_request(
        "/auth/user/token",
        &json!({"username": login, "password": password}),
    )
}

async fn claims_of(fixture: &Fixture, body: &Value) -> AccessClaims {
    let verifier = Verifier::new("darktower", fixture.controller.keys.clone());
    let now = UnixTime(u64::try_from(fixture.now().unix_timestamp()).unwrap());
    verifier
        .verify(body["access_token"].as_str().unwrap(), now)
        .await
        .unwrap()
}

#[tokio::test]
async fn a_person_signs_in_with_login_and_password() {
    let fixture = Fixture::new().await;
    fixture.add_account(user_scopes_default()).await;
    let response = send_from(&fixture, ADDRESS, sign_in("ADA@example.com", PASSWORD)).await;
    assert_eq!(response.headers()["cache-control"], "no-store");
    let (status, body) = body_of(response).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(body["token_type"], "Bearer");
    assert_eq!(body["expires_in"], 3600);
    assert_eq!(body["scope"], "user.read.gc user.write.gc");
    assert_eq!(body["display_name"], "Ada");
    let claims = claims_of(&fixture, &body).await;
    assert_eq!(claims.subject(), body["account_id"].as_str().unwrap());
    assert!(claims.account().is_some());
}

#[tokio::test]
async fn a_wrong_password_and_an_unknown_login_are_refused_alike() {
    let fixture = Fixture::new().await;
    fixture.add_account(user_scopes_default()).await;
    let wrong = send(&fixture, sign_in(LOGIN, "wrong horse battery")).await;
    let unknown = send(&fixture, sign_in("bob@example.com", PASSWORD)).await;
    assert_eq!(wrong, unknown);
    assert_eq!(wrong.0, StatusCode::UNAUTHORIZED);
    assert_eq!(wrong.1["error"]["code"], "UNAUTHORIZED");
}

#[tokio::test]
async fn guessing_is_held_up_and_says_for_how_long() {
    let fixture = Fixture::new().await;
    fixture.add_account(user_scopes_default()).await;
    for _ in 0..10 {
        let (status, _) = send(&fixture, sign_in(LOGIN, "wrong horse battery")).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED);
    }
    // Now also the right password, from there.
    let response = send_from(&fixture, ADDRESS, sign_in(LOGIN, PASSWORD)).await;
    assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
    let retry_after: u64 = response.headers()["retry-after"]
        .to_str()
        .unwrap()
        .parse()
        .unwrap();
    assert!((1..=900).contains(&retry_after));
    let (_, body) = body_of(response).await;
    assert_eq!(body["error"]["code"], "RATE_LIMITED");
    let elsewhere = send_from(&fixture, "198.51.100.1", sign_in(LOGIN, PASSWORD)).await;
    assert_eq!(elsewhere.status(), StatusCode::OK);
}

#[tokio::test]
async fn an_address_that_keeps_failing_is_held_up_for_every_account() {
    let fixture = Fixture::new().await;
    let service = fixture.add_service("service.read.gc").await;
    for number in 0..100 {
        let request = sign_in(&format!("nobody-{number}"), "wrong horse battery");
        assert_eq!(send(&fixture, request).await.0, StatusCode::UNAUTHORIZED);
    }
    let (status, _) = send(&fixture, sign_in("someone", PASSWORD)).await;
    assert_eq!(status, StatusCode::TOO_MANY_REQUESTS);
    let body = json!({"client_id": service.client_id, "client_secret": *service.client_secret});
    let (status, body) = send(&fixture, json_request("/auth/service/token", &body)).await;
    assert_eq!(status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(body["error"], "temporarily_unavailable");
}

#[tokio::test]
async fn hostile_sign_in_bodies_are_refused() {
    let fixture = Fixture::new().await;
    let long = "x".repeat(20_000);
    let cases = [
        (json_request("/auth/user/token", &json!({})), 400),
        (json_request("/auth/user/token", &json!([])), 400),
        (
            json_request("/auth/user/token", &json!({"username": 1, "password": "x"})),
            400,
        ),
        (sign_in(&long, "x"), 413),
        (sign_in("", ""), 401),
        (sign_in("a\0b", "x\0y"), 401),
        (sign_in("' OR 1=1 --", "x"), 401),
        (
            form_request("/auth/user/token", "username=a&password=b"),
            415,
        ),
        (
            Request::get("/auth/user/token")
                .body(Body::empty())
                .unwrap(),
            405,
        ),
    ];
    for (number, (request, expected)) in cases.into_iter().enumerate() {
        let (status, body) = send(&fixture, request).await;
        assert_eq!(status.as_u16(), expected, "case {number}: {body}");
    }
}

#[tokio::test]
async fn a_program_gets_a_token_by_form_json_and_header() {
    let fixture = Fixture::new().await;
    let service = fixture
        .add_service("service.read.gc service.write.gc")
        .await;
    let (id, secret) = (&service.client_id, &*service.client_secret);
    let form = format!("grant_type=client_credentials&client_id={id}&client_secret={secret}");
    let mut by_header = form_request("/auth/token", "grant_type=client_credentials");
    let basic = format!("Basic {}", STANDARD.encode(format!("{id}:{secret}")));
    by_header
        .headers_mut()
        .insert("authorization", basic.parse().unwrap());
    let json_body = json!({
        "grant_type": "client_credentials", "client_id": id, "client_secret": secret,
        "scope": "service.read.gc",
    });
    for (request, scope) in [
        (
            form_request("/auth/token", &form),
            "service.read.gc service.write.gc",
        ),
        (by_header, "service.read.gc service.write.gc"),
        (json_request("/auth/token", &json_body), "service.read.gc"),
        (
            json_request("/auth/service/token", &json_body),
            "service.read.gc",
        ),
    ] {
        let response = send_from(&fixture, ADDRESS, request).await;
        assert_eq!(response.headers()["cache-control"], "no-store");
        let (status, body) = body_of(response).await;
        assert_eq!(status, StatusCode::OK, "{body}");
        assert_eq!(
            (&body["token_type"], &body["scope"]),
            (&json!("Bearer"), &json!(scope))
        );
        assert_eq!(body["expires_in"], 7200);
        assert_eq!(claims_of(&fixture, &body).await.subject(), *id);
    }
}

#[tokio::test]
async fn oauth_errors_are_those_of_rfc_6749() {
    let fixture = Fixture::new().await;
    let service = fixture.add_service("service.read.gc").await;
    let (id, secret) = (&service.client_id, &*service.client_secret);
    let good = format!("client_id={id}&client_secret={secret}");
    let long = "x".repeat(20_000);
    let cases = [
        (good.clone(), 400, "invalid_request"),
        (
            format!("grant_type=password&{good}"),
            400,
            "unsupported_grant_type",
        ),
        (
            format!("grant_type=client_credentials&{good}x"),
            401,
            "invalid_client",
        ),
        (
            "grant_type=client_credentials&client_id=a&client_secret=b".to_owned(),
            401,
            "invalid_client",
        ),
        (
            "grant_type=client_credentials".to_owned(),
            401,
            "invalid_client",
        ),
        (
            format!("grant_type=client_credentials&{good}&scope=service.admin.ac"),
            400,
            "invalid_scope",
        ),
        (
            format!("grant_type=client_credentials&{good}&scope=root"),
            400,
            "invalid_scope",
        ),
        (
            format!("grant_type=client_credentials&grant_type=x&{good}"),
            400,
            "invalid_request",
        ),
        (long, 413, "invalid_request"),
    ];
    for (body, expected, error) in cases {
        let (status, answer) = send(&fixture, form_request("/auth/token", &body)).await;
        let shown = &body[..body.len().min(80)];
        assert_eq!(
            (status.as_u16(), answer["error"].as_str()),
            (expected, Some(error)),
            "{shown}"
        );
    }
    let mut both = form_request(
        "/auth/token",
        &format!("grant_type=client_credentials&{good}"),
    );
    let basic = format!("Basic {}", STANDARD.encode(format!("{id}:{secret}")));
    both.headers_mut()
        .insert("authorization", basic.parse().unwrap());
    assert_eq!(send(&fixture, both).await.1["error"], "invalid_request");
    let mut wrong = form_request("/auth/token", "grant_type=client_credentials");
    wrong
        .headers_mut()
        .insert("authorization", "Basic YTpi".parse().unwrap());
    let response = send_from(&fixture, ADDRESS, wrong).await;
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(
        response.headers()["www-authenticate"],
        "Basic realm=\"darktower\""
    );
}

#[tokio::test]
async fn only_an_administrator_registers_services() {
    let fixture = Fixture::new().await;
    fixture.add_account("user.admin.ac".parse().unwrap()).await;
    let plain = fixture.add_service("service.write.gc").await;
    let token = |body: Value| body["access_token"].as_str().unwrap().to_owned();
    let admin = token(send(&fixture, sign_in(LOGIN, PASSWORD)).await.1);
    let body = json!({"client_id": plain.client_id, "client_secret": *plain.client_secret});
    let service = token(
        send(&fixture, json_request("/auth/service/token", &body))
            .await
            .1,
    );

    let path = "/admin/services/register";
    let wanted = json!({"name": "Controllers", "scopes": ["service.write.mh"]});
    let (status, _) = send(&fixture, json_request(path, &wanted)).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    let (status, _) = send(&fixture, bearer(json_request(path, &wanted), "nonsense")).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    let (status, _) = send(&fixture, bearer(json_request(path, &wanted), &service)).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    // Not even what is wrong with a body is told to strangers.
    let (status, _) = send(&fixture, json_request(path, &json!({}))).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);

    let response = send_from(
        &fixture,
        ADDRESS,
        bearer(json_request(path, &wanted), &admin),
    )
    .await;
    assert_eq!(response.headers()["cache-control"], "no-store");
    let (status, made) = body_of(response).await;
    assert_eq!(status, StatusCode::CREATED, "{made}");
    let (status, _) = send(
        &fixture,
        json_request(
            "/auth/service/token",
            &json!({"client_id": made["client_id"], "client_secret": made["client_secret"]}),
        ),
    )
    .await;
    assert_eq!(status, StatusCode::OK);
    for (body, field) in [
        (
            json!({"name": "", "scopes": ["service.read.gc"]}),
            Some("name"),
        ),
        (json!({"name": "x", "scopes": []}), Some("scopes")),
        (
            json!({"name": "x", "scopes": ["user.read.gc"]}),
            Some("scopes"),
        ),
        (json!({"name": "x", "scopes": ["all"]}), Some("scopes")),
        (
            json!({"name": "x", "scopes": ["service.read.gc"], "client_id": "a b"}),
            Some("client_id"),
        ),
        (
            json!({"name": "x", "scopes": ["service.read.gc"], "more": 1}),
            None,
        ),
    ] {
        let (status, answer) = send(&fixture, bearer(json_request(path, &body), &admin)).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{answer}");
        assert_eq!(
            answer["error"]["details"]["field"].as_str(),
            field,
            "{answer}"
        );
    }
}

#[tokio::test]
async fn a_device_is_vouched_for_to_those_its_owner_meets() {
    let fixture = Fixture::new().await;
    fixture.add_account(user_scopes_default()).await;
    let (_, signed_in) = send(&fixture, sign_in(LOGIN, PASSWORD)).await;
    let token = signed_in["access_token"].as_str().unwrap();
    let thumbprint = URL_SAFE_NO_PAD.encode([7; 32]);
    let path = "/auth/device-statement";
    let wish = json!({"thumbprint": thumbprint});
    let (status, body) = send(&fixture, bearer(json_request(path, &wish), token)).await;
    assert_eq!(
        (status, &body["expires_in"]),
        (StatusCode::OK, &json!(604_800))
    );

    let statement = body["statement"].as_str().unwrap();
    let verifier = Verifier::new("darktower", fixture.controller.keys.clone());
    let now = UnixTime(u64::try_from(fixture.now().unix_timestamp()).unwrap());
    let claims: DeviceClaims = verifier.verify(statement, now).await.unwrap();
    assert_eq!(claims.thumbprint, thumbprint);
    assert_eq!(json!(claims.account.to_string()), signed_in["account_id"]);
    assert_eq!(json!(claims.name), signed_in["display_name"]);
    // It opens nothing.
    let as_access = verifier.verify::<AccessClaims>(statement, now).await;
    assert!(as_access.is_err());

    let (status, _) = send(&fixture, json_request(path, &wish)).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    let (status, _) = send(&fixture, bearer(json_request(path, &wish), statement)).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    for wrong in [
        json!({}),
        json!({"thumbprint": "AAAA"}),
        json!({"thumbprint": "+".repeat(43)}),
    ] {
        let (status, body) = send(&fixture, bearer(json_request(path, &wrong), token)).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{wrong}");
        assert_eq!(body["error"]["code"], "INVALID_REQUEST");
    }
}

#[tokio::test]
async fn the_key_set_is_cached_by_its_tag() {
    let fixture = Fixture::new().await;
    let get = || Request::get("/.well-known/jwks.json");
    let response = send_from(&fixture, ADDRESS, get().body(Body::empty()).unwrap()).await;
    assert_eq!(
        response.headers()["cache-control"],
        "public, max-age=10, must-revalidate"
    );
    let tag = response.headers()["etag"].clone();
    let (_, body) = body_of(response).await;
    let key = &body["keys"][0];
    assert_eq!(
        (&key["kty"], &key["crv"]),
        (&json!("OKP"), &json!("Ed25519"))
    );
    assert!(key.get("d").is_none());
    let again = get()
        .header("if-none-match", tag)
        .body(Body::empty())
        .unwrap();
    let response = send_from(&fixture, ADDRESS, again).await;
    assert_eq!(response.status(), StatusCode::NOT_MODIFIED);
    let by_call = fixture.controller.get_jwks(GetJwks {}).await.unwrap();
    assert_eq!(
        serde_json::from_str::<Value>(&by_call.jwks_json).unwrap(),
        body
    );
}

#[tokio::test]
async fn every_outcome_is_in_the_audit_log_and_no_secret_is() {
    let fixture = Fixture::new().await;
    fixture.add_account(user_scopes_default()).await;
    let service = fixture.add_service("service.read.gc").await;
    let mut tokens = Vec::new();
    for password in [PASSWORD, "wrong horse battery"] {
        let body = send(&fixture, sign_in(LOGIN, password)).await.1;
        tokens.extend(body["access_token"].as_str().map(str::to_owned));
    }
    for _ in 0..12 {
        send(&fixture, sign_in(LOGIN, "wrong horse battery")).await;
    }
    for secret in [&*service.client_secret, "not the secret"] {
        let body = json!({"client_id": service.client_id, "client_secret": secret});
        send(&fixture, json_request("/auth/service/token", &body)).await;
    }
    let host = IssueMeetingToken {
        lifetime_s: 60,
        ..meeting_token(TokenKind::Host, v1::Role::Host)
    };
    let signed_in = IssueMeetingToken {
        account_id: AccountId::random().to_string(),
        ..meeting_token(TokenKind::Join, v1::Role::Participant)
    };
    for request in [
        host,
        signed_in,
        meeting_token(TokenKind::Join, v1::Role::Guest),
    ] {
        fixture
            .controller
            .issue_meeting_token(request)
            .await
            .unwrap();
    }

    let entries = fixture.database.audit_entries(0, 1000).await.unwrap();
    let count = |action: &str| entries.iter().filter(|e| e.event.action == action).count();
    let expected = [
        ("key.made", 1),
        ("account.added", 1),
        ("service.registered", 1),
        ("user.token.issued", 1),
        ("user.token.refused", 10),
        // Only the first that was held up: the log can't be filled by going on.
        ("user.token.throttled", 1),
        ("service.token.issued", 1),
        ("service.token.refused", 1),
        ("meeting.host_token.issued", 1),
        ("meeting.join_token.issued", 1),
    ];
    for (action, number) in expected {
        assert_eq!(count(action), number, "{action}");
    }
    assert_eq!(
        entries.len(),
        expected.iter().map(|(_, number)| number).sum::<usize>()
    );
    let shown = format!("{entries:?}");
    let secrets = [
        PASSWORD,
        "wrong horse",
        LOGIN,
        &service.client_secret,
        "not the secret",
    ];
    for secret in secrets.into_iter().chain(tokens.iter().map(String::as_str)) {
        assert!(!shown.contains(secret));
    }
    assert!(shown.contains(ADDRESS));
    assert_eq!(fixture.database.audit_verify().await.unwrap().fault, None);
}

#[tokio::test]
async fn without_the_database_the_answer_is_unavailable() {
    let fixture = Fixture::new().await;
    let service = fixture.add_service("service.read.gc").await;
    fixture.database.close().await;
    let (status, body) = send(&fixture, sign_in(LOGIN, PASSWORD)).await;
    assert_eq!(
        (status.as_u16(), &body["error"]["code"]),
        (503, &json!("UNAVAILABLE"))
    );
    let body = json!({"client_id": service.client_id, "client_secret": *service.client_secret});
    let (status, body) = send(&fixture, json_request("/auth/service/token", &body)).await;
    assert_eq!(
        (status.as_u16(), &body["error"]),
        (503, &json!("temporarily_unavailable"))
    );
}

#[tokio::test]
async fn a_thousand_service_tokens_are_given_one_after_another() {
    let fixture = Fixture::new().await;
    let service = fixture.add_service("service.read.gc").await;
    let body = json!({"client_id": service.client_id, "client_secret": *service.client_secret});
    let mut took = Vec::new();
    for _ in 0..1000 {
        let started = std::time::Instant::now();
        let (status, _) = send(&fixture, json_request("/auth/service/token", &body)).await;
        took.push(started.elapsed());
        assert_eq!(status, StatusCode::OK);
    }
    took.sort();
    println!(
        "service token: p50 {:?}, p99 {:?} (bar: p99 < 50 ms)",
        took[499], took[989]
    );
}

#[test]
fn the_description_names_every_endpoint() {
    let description = AuthController::openapi();
    let paths: Vec<_> = description.paths.paths.keys().map(String::as_str).collect();
    assert_eq!(
        paths,
        [
            "/.well-known/jwks.json",
            "/admin/services/register",
            "/auth/device-statement",
            "/auth/service/token",
            "/auth/token",
            "/auth/user/token",
        ]
    );
    assert!(description.paths.paths[JWKS_PATH].servers.is_some());
}
