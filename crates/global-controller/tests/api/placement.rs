//! Where meetings go, and what happens when servers go.

use std::sync::atomic::Ordering;

use dt_rpc::Registry as _;
use dt_store::{StateStore as _, keys, keys::MeetingAssignment};
use dt_wire::internal::{
    ControllerHeartbeat, Endpoint, HandlerHeartbeat, HealthStatus, RegisterMediaHandler,
};
use global_controller::Config;
use serde_json::Value;

use crate::fixture::Fixture;

#[tokio::test]
async fn without_servers_a_meeting_is_not_available_and_nothing_is_left_open() {
    let fixture = Fixture::empty(Config::default()).await;
    let answer = fixture.post("/v1/meetings", None, Value::Null).await;
    assert_eq!((answer.status, answer.code()), (503, "UNAVAILABLE"));
    assert!(answer.headers.contains_key("retry-after"));
    let token = fixture.signer.service("service.read.gc");
    let list = fixture.get("/v1/meetings?active=true", Some(&token)).await;
    assert_eq!(list.body["total"], 0);
}

#[tokio::test]
async fn a_controller_that_is_full_is_passed_over() {
    let fixture = Fixture::empty(Config::default()).await;
    fixture.add_handler().await;
    let (one, two) = (
        fixture.add_controller().await,
        fixture.add_controller().await,
    );
    one.is_full.store(true, Ordering::Relaxed);
    for _ in 0..8 {
        fixture.meeting().await;
    }
    assert_eq!(two.assigned.lock().unwrap().len(), 8);
    two.is_full.store(true, Ordering::Relaxed);
    let answer = fixture.post("/v1/meetings", None, Value::Null).await;
    assert_eq!((answer.status, answer.code()), (409, "CAPACITY_EXCEEDED"));
}

#[tokio::test]
async fn a_meeting_stays_with_its_controller_while_that_lives() {
    let fixture = Fixture::new(Config::default()).await;
    let created = fixture.meeting().await;
    let id = created.text("meeting_id").parse().unwrap();
    let assignment = async || {
        let bytes = fixture
            .state
            .get(&keys::meeting_assignment(id))
            .await
            .unwrap()
            .unwrap();
        MeetingAssignment::from_bytes(&bytes).unwrap()
    };
    let before = assignment().await;
    assert_eq!(before.handlers.len(), 2);
    for _ in 0..4 {
        fixture.add_controller().await;
        fixture.add_handler().await;
    }
    let guest = format!("/v1/meetings/{id}/guest-token");
    assert_eq!(fixture.post(&guest, None, Value::Null).await.status, 200);
    let now = assignment().await;
    assert_eq!(now.controller, before.controller);
    assert_eq!(
        now.handlers[..2],
        before.handlers,
        "those it has stay first"
    );
    assert_eq!(now.handlers.len(), 6, "all that could serve it are named");

    // It goes: whoever comes next finds the meeting at another one.
    fixture
        .state
        .delete(&keys::registry_controller(before.controller))
        .await
        .unwrap();
    fixture
        .state
        .delete(&keys::registry_handler(before.handlers[0]))
        .await
        .unwrap();
    assert_eq!(fixture.post(&guest, None, Value::Null).await.status, 200);
    let after = assignment().await;
    assert_ne!(after.controller, before.controller);
    assert_eq!(after.handlers, now.handlers[1..]);
    for _ in 0..6 {
        fixture.add_handler().await;
    }
    assert_eq!(fixture.post(&guest, None, Value::Null).await.status, 200);
    assert_eq!(assignment().await.handlers.len(), 8, "at most");
}

#[tokio::test]
async fn a_meeting_of_before_a_restart_is_placed_again() {
    let fixture = Fixture::empty(Config::default()).await;
    let controller = fixture.add_controller().await;
    fixture.add_handler().await;
    let created = fixture.meeting().await;
    let id = created.text("meeting_id").parse().unwrap();
    fixture
        .state
        .delete(&keys::meeting_assignment(id))
        .await
        .unwrap();
    let guest = format!("/v1/meetings/{id}/guest-token");
    assert_eq!(fixture.post(&guest, None, Value::Null).await.status, 200);
    let assigned = controller.assigned.lock().unwrap();
    assert_eq!(assigned.len(), 2);
    assert_eq!(assigned[0], assigned[1]);
}

#[tokio::test]
async fn a_heartbeat_of_somebody_unknown_asks_for_a_registration() {
    let fixture = Fixture::empty(Config::default()).await;
    let id = fixture.add_handler().await;
    let beat = |id: dt_ids::HandlerId, health: HealthStatus| HandlerHeartbeat {
        handler_id: id.to_string(),
        capacity: None,
        health: health.into(),
    };
    let known = fixture
        .gc
        .handler_heartbeat(beat(id, HealthStatus::Healthy))
        .await
        .unwrap();
    assert!(!known.unknown);
    let stranger = beat(dt_ids::HandlerId::random(), HealthStatus::Healthy);
    assert!(
        fixture
            .gc
            .handler_heartbeat(stranger)
            .await
            .unwrap()
            .unknown
    );
    let controller = ControllerHeartbeat {
        controller_id: dt_ids::ControllerId::random().to_string(),
        capacity: None,
        health: 0,
    };
    assert!(
        fixture
            .gc
            .controller_heartbeat(controller)
            .await
            .unwrap()
            .unknown
    );

    // One that says it is unwell is not chosen.
    fixture.add_controller().await;
    fixture
        .gc
        .handler_heartbeat(beat(id, HealthStatus::Unhealthy))
        .await
        .unwrap();
    let answer = fixture.post("/v1/meetings", None, Value::Null).await;
    assert_eq!(answer.code(), "UNAVAILABLE");
}

#[tokio::test]
async fn a_registration_that_clients_could_not_use_is_refused() {
    let fixture = Fixture::empty(Config::default()).await;
    let good = RegisterMediaHandler {
        handler_id: dt_ids::HandlerId::random().to_string(),
        region: "test".to_owned(),
        endpoint: Some(Endpoint {
            url: "https://*:1/mh/0".to_owned(),
            ..Default::default()
        }),
        capacity: None,
    };
    let url = |url: &str| {
        Some(Endpoint {
            url: url.to_owned(),
            ..Default::default()
        })
    };
    let short_hash = Some(Endpoint {
        url: "https://*:1/mh/0".to_owned(),
        certificate_hashes: vec![vec![1; 31].into()],
        ..Default::default()
    });
    for wrong in [
        RegisterMediaHandler {
            handler_id: "x".to_owned(),
            ..good.clone()
        },
        RegisterMediaHandler {
            region: "x".repeat(65),
            ..good.clone()
        },
        RegisterMediaHandler {
            endpoint: None,
            ..good.clone()
        },
        RegisterMediaHandler {
            endpoint: url("http://a:1/"),
            ..good.clone()
        },
        RegisterMediaHandler {
            endpoint: url("mh"),
            ..good.clone()
        },
        RegisterMediaHandler {
            endpoint: short_hash,
            ..good.clone()
        },
    ] {
        assert!(fixture.gc.register_media_handler(wrong).await.is_err());
    }
    assert!(fixture.gc.register_media_handler(good).await.is_ok());
}
