//! The web app's files.

use std::{borrow::Cow, sync::Arc};

use axum::{
    Router,
    body::{Body, to_bytes},
    response::Response,
};
use global_controller::web::{self, Asset, Assets};
use http::{Method, Request};
use tower::ServiceExt as _;

struct Built;

impl Assets for Built {
    fn get(&self, path: &str) -> Option<Asset> {
        let text = match path {
            "index.html" => "<!doctype html><title>App</title>".to_owned(),
            "assets/app-1a2b.js" => "export {};".repeat(1000),
            "icon.svg" => "<svg/>".to_owned(),
            _ => return None,
        };
        Some(Asset {
            sha256: [path.len() as u8; 32],
            bytes: Cow::Owned(text.into_bytes()),
        })
    }
}

struct NotBuilt;

impl Assets for NotBuilt {
    fn get(&self, _: &str) -> Option<Asset> {
        None
    }
}

async fn get(router: Router, path: &str, headers: &[(&str, &str)]) -> Response {
    let mut request = Request::get(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    router
        .oneshot(request.body(Body::empty()).unwrap())
        .await
        .unwrap()
}

fn app() -> Router {
    web::router(Arc::new(Built))
}

async fn text(response: Response) -> String {
    String::from_utf8(
        to_bytes(response.into_body(), 1 << 20)
            .await
            .unwrap()
            .into(),
    )
    .unwrap()
}

#[tokio::test]
async fn every_place_inside_the_app_is_its_page() {
    for path in ["/", "/m/abcde-fghjk-mnpqr", "/anywhere/else", "/index.html"] {
        let response = get(app(), path, &[("accept", "text/html,*/*;q=0.8")]).await;
        let found = response.status() == 200;
        // The page is asked for by its places, not by its file's name.
        assert_eq!(found, path != "/index.html", "{path}");
        if found {
            assert_eq!(
                response.headers()["content-type"],
                "text/html; charset=utf-8"
            );
            assert_eq!(response.headers()["cache-control"], "no-cache");
            assert!(text(response).await.contains("<title>App"));
        }
    }
}

#[tokio::test]
async fn hashed_files_are_kept_for_ever_and_compressed_on_the_way() {
    let response = get(
        app(),
        "/assets/app-1a2b.js",
        &[("accept-encoding", "br, gzip")],
    )
    .await;
    assert_eq!(response.status(), 200);
    assert_eq!(
        response.headers()["content-type"],
        "text/javascript; charset=utf-8"
    );
    assert!(
        response.headers()["cache-control"]
            .to_str()
            .unwrap()
            .contains("immutable")
    );
    assert_eq!(response.headers()["content-encoding"], "br");
    let bytes = to_bytes(response.into_body(), 1 << 20).await.unwrap();
    assert!(bytes.len() < 1000);
}

#[tokio::test]
async fn a_file_that_is_known_is_not_sent_again() {
    let first = get(app(), "/icon.svg", &[]).await;
    let etag = first.headers()["etag"].to_str().unwrap().to_owned();
    let again = get(app(), "/icon.svg", &[("if-none-match", &etag)]).await;
    assert_eq!(again.status(), 304);
    assert!(text(again).await.is_empty());
    let other = get(app(), "/icon.svg", &[("if-none-match", "W/\"0\"")]).await;
    assert_eq!(other.status(), 200);
}

#[tokio::test]
async fn a_missing_file_is_not_answered_with_the_page() {
    for path in ["/assets/gone.js", "/favicon.ico", "/m/x.map"] {
        assert_eq!(
            get(app(), path, &[("accept", "*/*")]).await.status(),
            404,
            "{path}"
        );
    }
    assert_eq!(
        get(app(), "/m/x", &[("accept", "application/json")])
            .await
            .status(),
        404
    );
}

#[tokio::test]
async fn only_reading_is_possible() {
    let request = Request::builder()
        .method(Method::POST)
        .uri("/")
        .body(Body::empty())
        .unwrap();
    assert_eq!(app().oneshot(request).await.unwrap().status(), 405);
    let request = Request::builder()
        .method(Method::HEAD)
        .uri("/")
        .body(Body::empty())
        .unwrap();
    let response = app().oneshot(request).await.unwrap();
    assert_eq!(response.status(), 200);
    assert!(text(response).await.is_empty());
}

#[tokio::test]
async fn a_server_without_its_web_app_says_so_and_how_to_get_it() {
    let response = get(
        web::router(Arc::new(NotBuilt)),
        "/",
        &[("accept", "text/html")],
    )
    .await;
    assert_eq!(response.status(), 503);
    assert!(response.headers().contains_key("content-security-policy"));
    let text = text(response).await;
    assert!(text.contains("web app was not built") && text.contains("make up"));
}
