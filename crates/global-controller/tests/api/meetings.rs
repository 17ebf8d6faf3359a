//! Creating, reading, changing and ending meetings.

use dt_ids::AccountId;
use dt_store::{StateStore as _, keys, keys::MeetingLive};
use dt_token::Role;
use global_controller::Config;
use http::Method;
use serde_json::{Value, json};

use crate::fixture::Fixture;

#[tokio::test]
async fn a_guest_creates_a_meeting_without_saying_anything() {
    let fixture = Fixture::new(Config::default()).await;
    for (path, body) in [
        ("/api/v1/meetings", Value::Null),
        ("/v1/meetings", json!({})),
    ] {
        let answer = fixture.post(path, None, body).await;
        assert_eq!(answer.status, 201);
        assert_eq!(answer.body["max_participants"], 100);
        assert_eq!(answer.body["participant_count"], 0);
        let code = answer.text("meeting_code");
        assert_eq!(
            answer.text("meeting_url"),
            format!("http://localhost:8080/m/{code}")
        );
        let claims = fixture.claims(&answer.text("join_token")).await;
        assert_eq!(claims.role, Role::Host);
        assert_eq!(claims.meeting_id.to_string(), answer.text("meeting_id"));
        assert!(answer.text("expires_at").ends_with('Z'));
    }
}

#[tokio::test]
async fn endpoints_are_filled_with_the_host_by_which_the_client_came() {
    let fixture = Fixture::new(Config::default()).await;
    let answer = fixture.meeting().await;
    let controller = &answer.body["meeting_controller"];
    assert_eq!(controller["url"], "https://127.0.0.1:8443/mc");
    assert_eq!(controller["websocket_url"], Value::Null);
    assert_eq!(
        controller["certificate_hashes"][0].as_str().unwrap().len(),
        44
    );
    assert_eq!(answer.body["meeting_controller_url"], controller["url"]);
    let handlers = answer.body["media_handlers"].as_array().unwrap();
    assert_eq!(handlers.len(), 2);
    assert_eq!(handlers[0]["url"], "https://media.example:8443/mh/0");
    assert_eq!(handlers[0]["websocket_url"], "wss://media.example/media");
    assert!(handlers[0]["handler_id"].is_string());
}

#[tokio::test]
async fn what_is_asked_for_is_what_is_made() {
    let fixture = Fixture::new(Config::default()).await;
    let wish = json!({
        "display_name": "  Team standup ",
        "max_participants": 2,
        "settings": {"require_auth": true, "hide_audio_levels": true, "enable_e2e_encryption": false},
    });
    let answer = fixture.post("/api/v1/meetings", None, wish).await;
    assert_eq!(answer.status, 201);
    assert_eq!(answer.text("display_name"), "Team standup");
    assert_eq!(answer.body["max_participants"], 2);
    assert_eq!(answer.body["settings"]["require_auth"], true);
    assert_eq!(answer.body["settings"]["hide_audio_levels"], true);
    assert_eq!(answer.body["settings"]["recording_enabled"], false);
}

#[tokio::test]
async fn a_wrong_field_is_named_and_explained() {
    let fixture = Fixture::new(Config::default()).await;
    for (body, field) in [
        (json!({"display_name": "x".repeat(129)}), "display_name"),
        (json!({"display_name": "a\nb"}), "display_name"),
        (json!({"max_participants": 1}), "max_participants"),
        (json!({"max_participants": 1001}), "max_participants"),
        (
            json!({"settings": {"recording_enabled": true, "enable_e2e_encryption": false}}),
            "settings.recording_enabled",
        ),
    ] {
        let answer = fixture.post("/api/v1/meetings", None, body.clone()).await;
        assert_eq!(
            (answer.status, answer.code()),
            (400, "INVALID_REQUEST"),
            "{body}"
        );
        assert_eq!(answer.body["error"]["details"]["field"], field);
    }
    for body in [
        json!({"name": "x"}),
        json!([]),
        json!({"max_participants": "many"}),
        json!({"max_participants": -1}),
        json!({"settings": {"sframe_cipher": "rot13"}}),
    ] {
        let answer = fixture.post("/api/v1/meetings", None, body).await;
        assert_eq!((answer.status, answer.code()), (400, "INVALID_REQUEST"));
    }
}

#[tokio::test]
async fn meetings_are_encrypted_unless_their_maker_says_otherwise() {
    let fixture = Fixture::new(Config::default()).await;
    let made = fixture.post("/api/v1/meetings", None, json!({})).await;
    assert_eq!(made.body["settings"]["enable_e2e_encryption"], true);
    let wish = json!({"settings": {"enable_e2e_encryption": false}});
    let made = fixture.post("/api/v1/meetings", None, wish).await;
    assert_eq!(made.body["settings"]["enable_e2e_encryption"], false);
}

#[tokio::test]
async fn the_server_records_nothing_that_it_can_not_read() {
    let fixture = Fixture::new(Config::default()).await;
    for (settings, status, code) in [
        (json!({"recording_enabled": true}), 403, "FORBIDDEN"),
        (
            json!({"recording_enabled": true, "enable_e2e_encryption": false}),
            400,
            "INVALID_REQUEST",
        ),
    ] {
        let wish = json!({ "settings": settings });
        let answer = fixture.post("/api/v1/meetings", None, wish).await;
        assert_eq!((answer.status, answer.code()), (status, code));
        let field = &answer.body["error"]["details"]["field"];
        assert_eq!(*field, "settings.recording_enabled");
    }
}

#[tokio::test]
async fn encryption_is_chosen_when_a_meeting_is_made_and_never_changes() {
    let fixture = Fixture::new(Config::default()).await;
    let wish = json!({
        "settings": {"enable_e2e_encryption": true, "sframe_cipher": "aes-256-gcm"},
    });
    let made = fixture.post("/api/v1/meetings", None, wish).await;
    assert_eq!(made.status, 201);
    assert_eq!(made.body["settings"]["enable_e2e_encryption"], true);
    assert_eq!(made.body["settings"]["sframe_cipher"], "aes-256-gcm");
    let (id, host) = (made.text("meeting_id"), made.text("host_token"));
    let path = format!("/api/v1/meetings/{id}");
    for (change, field) in [
        (
            json!({"settings": {"enable_e2e_encryption": false}}),
            "settings.enable_e2e_encryption",
        ),
        (
            json!({"settings": {"sframe_cipher": "aes-128-gcm"}}),
            "settings.sframe_cipher",
        ),
    ] {
        let answer = fixture
            .send(Method::PATCH, &path, Some(&host), change)
            .await;
        assert_eq!((answer.status, answer.code()), (400, "INVALID_REQUEST"));
        assert_eq!(answer.body["error"]["details"]["field"], field);
    }
    // Saying what is so already is no change.
    let same = json!({"display_name": "x", "settings": {"enable_e2e_encryption": true}});
    let answer = fixture.send(Method::PATCH, &path, Some(&host), same).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.body["settings"]["enable_e2e_encryption"], true);
}

#[tokio::test]
async fn the_host_token_renews_the_host_s_way_in() {
    let fixture = Fixture::new(Config::default()).await;
    let created = fixture.meeting().await;
    let host = created.text("host_token");
    for name in [created.text("meeting_id"), created.text("meeting_code")] {
        let answer = fixture
            .get(&format!("/api/v1/meetings/{name}"), Some(&host))
            .await;
        assert_eq!(answer.status, 200);
        assert_eq!(
            fixture.claims(&answer.text("join_token")).await.role,
            Role::Host
        );
        assert_eq!(answer.text("created_at"), created.text("created_at"));
        assert!(answer.body.get("host_token").is_none());
    }
}

#[tokio::test]
async fn live_numbers_come_from_the_state_store() {
    let fixture = Fixture::new(Config::default()).await;
    let created = fixture.meeting().await;
    let meeting = created.text("meeting_id").parse().unwrap();
    let live = MeetingLive {
        controller: dt_ids::ControllerId::random(),
        participant_count: 5,
    };
    fixture
        .state
        .put(&keys::meeting_live(meeting), live.to_bytes(), None)
        .await
        .unwrap();
    let path = format!("/api/v1/meetings/{meeting}");
    let answer = fixture.get(&path, Some(&created.text("host_token"))).await;
    assert_eq!(answer.body["participant_count"], 5);
}

#[tokio::test]
async fn a_change_reaches_the_running_meeting_and_leaves_the_rest() {
    let fixture = Fixture::empty(Config::default()).await;
    let controller = fixture.add_controller().await;
    fixture.add_handler().await;
    let created = fixture
        .post("/v1/meetings", None, json!({"display_name": "Before"}))
        .await;
    let path = format!("/api/v1/meetings/{}", created.text("meeting_code"));
    let host = created.text("host_token");
    let change = json!({"max_participants": 7, "settings": {"hide_audio_levels": true}});
    let answer = fixture
        .send(Method::PATCH, &path, Some(&host), change)
        .await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.text("display_name"), "Before");
    assert_eq!(answer.body["settings"]["hide_audio_levels"], true);
    let told = controller.updated.lock().unwrap().remove(0).config.unwrap();
    assert_eq!(
        (told.max_participants, told.display_name.as_str()),
        (7, "Before")
    );

    for (wrong, status) in [
        (json!({"max_participants": 0}), 400),
        (json!({"settings": {"recording_enabled": true}}), 403),
    ] {
        let answer = fixture.send(Method::PATCH, &path, Some(&host), wrong).await;
        assert_eq!(answer.status, status);
    }
    assert!(controller.updated.lock().unwrap().is_empty());
}

#[tokio::test]
async fn an_ended_meeting_is_over_for_everybody_and_ending_it_again_is_fine() {
    let fixture = Fixture::empty(Config::default()).await;
    let controller = fixture.add_controller().await;
    fixture.add_handler().await;
    let created = fixture.meeting().await;
    let path = format!("/api/v1/meetings/{}", created.text("meeting_id"));
    let host = created.text("host_token");
    for _ in 0..2 {
        let answer = fixture
            .send(Method::DELETE, &path, Some(&host), Value::Null)
            .await;
        assert_eq!(answer.status, 204);
    }
    assert_eq!(controller.ended.lock().unwrap().len(), 1);
    let guest = fixture
        .post(&format!("{path}/guest-token"), None, Value::Null)
        .await;
    assert_eq!((guest.status, guest.code()), (404, "MEETING_NOT_FOUND"));
    assert_eq!(guest.body["error"]["details"]["reason"], "ended");
    let host_again = fixture.get(&path, Some(&host)).await;
    assert_eq!(host_again.code(), "MEETING_NOT_FOUND");
    let changed = fixture
        .send(Method::PATCH, &path, Some(&host), json!({}))
        .await;
    assert_eq!(changed.code(), "MEETING_NOT_FOUND");
}

#[tokio::test]
async fn an_end_that_did_not_reach_the_controller_can_be_repeated() {
    let fixture = Fixture::empty(Config::default()).await;
    let controller = fixture.add_controller().await;
    fixture.add_handler().await;
    let created = fixture.meeting().await;
    let path = format!("/api/v1/meetings/{}", created.text("meeting_id"));
    let host = created.text("host_token");
    controller
        .is_down
        .store(true, std::sync::atomic::Ordering::Relaxed);
    let answer = fixture
        .send(Method::DELETE, &path, Some(&host), Value::Null)
        .await;
    assert_eq!((answer.status, answer.code()), (503, "UNAVAILABLE"));
    controller
        .is_down
        .store(false, std::sync::atomic::Ordering::Relaxed);
    let answer = fixture
        .send(Method::DELETE, &path, Some(&host), Value::Null)
        .await;
    assert_eq!(answer.status, 204);
    assert_eq!(controller.ended.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn unknown_meetings_and_names_that_are_none_are_not_found() {
    let fixture = Fixture::new(Config::default()).await;
    let unknown = dt_ids::MeetingId::random().to_string();
    let code = dt_ids::MeetingCode::random().to_string();
    for name in [unknown.as_str(), code.as_str(), "x", "%00", "%F0%9F%8E%89"] {
        let answer = fixture
            .post(
                &format!("/v1/meetings/{name}/guest-token"),
                None,
                Value::Null,
            )
            .await;
        assert_eq!(
            (answer.status, answer.code()),
            (404, "MEETING_NOT_FOUND"),
            "{name}"
        );
    }
}

#[tokio::test]
async fn a_person_lists_its_own_meetings_and_a_program_all() {
    let fixture = Fixture::new(Config::default()).await;
    let (ada, ben) = (AccountId::random(), AccountId::random());
    let scopes = "user.read.gc user.write.gc";
    let ada_token = fixture.signer.user(ada, None, scopes);
    let ben_token = fixture.signer.user(ben, None, scopes);
    for _ in 0..3 {
        fixture
            .post("/v1/meetings", Some(&ada_token), Value::Null)
            .await;
    }
    let bens = fixture
        .post("/v1/meetings", Some(&ben_token), Value::Null)
        .await;

    let list = fixture
        .get("/api/v1/meetings?limit=2&offset=2", Some(&ada_token))
        .await;
    assert_eq!(list.body["total"], 3);
    assert_eq!(list.body["meetings"].as_array().unwrap().len(), 1);
    assert!(list.body["meetings"][0].get("join_token").is_none());

    let path = format!("/api/v1/meetings/{}", bens.text("meeting_id"));
    fixture
        .send(Method::DELETE, &path, Some(&ben_token), Value::Null)
        .await;
    let program = fixture.signer.service("service.read.gc");
    let count = async |query: String| {
        let answer = fixture
            .get(&format!("/api/v1/meetings{query}"), Some(&program))
            .await;
        answer.body["total"].as_u64().unwrap()
    };
    assert_eq!(count(String::new()).await, 4);
    assert_eq!(count("?active=true".to_owned()).await, 3);
    assert_eq!(count(format!("?user_id={ben}")).await, 1);
    assert_eq!(count(format!("?user_id={ben}&active=true")).await, 0);
}

#[tokio::test]
async fn a_wrong_list_parameter_is_refused() {
    let fixture = Fixture::new(Config::default()).await;
    let token = fixture.signer.service("service.read.gc");
    for query in [
        "limit=0",
        "limit=101",
        "user_id=ada",
        "active=perhaps",
        "offset=-1",
        "page=2",
    ] {
        let answer = fixture
            .get(&format!("/v1/meetings?{query}"), Some(&token))
            .await;
        assert_eq!(
            (answer.status, answer.code()),
            (400, "INVALID_REQUEST"),
            "{query}"
        );
    }
}
