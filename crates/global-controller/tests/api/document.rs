//! The OpenAPI document, and answers outside of all endpoints.

use global_controller::Config;
use http::Method;
use serde_json::Value;

use crate::fixture::Fixture;

#[tokio::test]
async fn the_document_names_exactly_the_methods_that_each_path_has() {
    let fixture = Fixture::new(Config::default()).await;
    let document = fixture.get("/api/v1/openapi.json", None).await.body;
    assert_eq!(document["openapi"], "3.1.0");
    let paths = document["paths"].as_object().unwrap();
    assert_eq!(paths.len(), 4);
    for (path, operations) in paths {
        let path = format!("/api/v1{}", path.replace("{meeting}", "nobody"));
        for method in [
            Method::GET,
            Method::POST,
            Method::PUT,
            Method::PATCH,
            Method::DELETE,
        ] {
            let documented = operations.get(method.as_str().to_lowercase()).is_some();
            let answer = fixture.send(method.clone(), &path, None, Value::Null).await;
            assert_eq!(answer.status != 405, documented, "{method} {path}");
            assert_ne!(answer.code(), "NOT_FOUND", "{method} {path}");
            if documented {
                let responses = &operations[method.as_str().to_lowercase()]["responses"];
                assert!(
                    responses.get(answer.status.to_string()).is_some() || answer.status == 415,
                    "{method} {path} answered {}",
                    answer.status
                );
            }
        }
    }
}

#[tokio::test]
async fn every_reference_in_the_document_leads_somewhere() {
    let fixture = Fixture::new(Config::default()).await;
    let document = fixture.get("/v1/openapi.json", None).await.body;
    fn references(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(map) => {
                if let Some(Value::String(target)) = map.get("$ref") {
                    found.push(target.clone());
                }
                map.values().for_each(|value| references(value, found));
            }
            Value::Array(list) => list.iter().for_each(|value| references(value, found)),
            _ => {}
        }
    }
    let mut found = Vec::new();
    references(&document, &mut found);
    assert!(!found.is_empty());
    for target in found {
        let pointer = target.strip_prefix('#').unwrap();
        assert!(
            document.pointer(pointer).is_some(),
            "{target} leads nowhere"
        );
    }
    for name in [
        "SettingsChange",
        "MeetingSettings",
        "MeetingAccess",
        "ErrorBody",
    ] {
        assert!(
            document["components"]["schemas"].get(name).is_some(),
            "{name}"
        );
    }
}

#[tokio::test]
async fn what_does_not_exist_under_the_prefix_is_answered_in_json() {
    let fixture = Fixture::new(Config::default()).await;
    for path in ["/api/v1/nope", "/v1/meetings/a/b/c"] {
        let answer = fixture.get(path, None).await;
        assert_eq!((answer.status, answer.code()), (404, "NOT_FOUND"), "{path}");
    }
    let answer = fixture
        .send(Method::PUT, "/api/v1/meetings", None, Value::Null)
        .await;
    assert_eq!((answer.status, answer.code()), (405, "INVALID_REQUEST"));
    assert!(answer.headers.contains_key("allow"));
}

#[tokio::test]
async fn a_body_of_another_kind_or_size_is_refused() {
    let fixture = Fixture::new(Config::default()).await;
    let request = |kind: &str, body: String| {
        http::Request::post("/api/v1/meetings")
            .header("host", "localhost")
            .header("content-type", kind)
            .body(axum::body::Body::from(body))
            .unwrap()
    };
    let answer = fixture.answer(request("text/plain", "{}".to_owned())).await;
    assert_eq!((answer.status, answer.code()), (415, "INVALID_REQUEST"));
    let answer = fixture
        .answer(request("application/json", " ".repeat(70_000)))
        .await;
    assert_eq!((answer.status, answer.code()), (413, "INVALID_REQUEST"));
    let answer = fixture
        .answer(request("application/json; charset=utf-8", "{}".to_owned()))
        .await;
    assert_eq!(answer.status, 201);
}
