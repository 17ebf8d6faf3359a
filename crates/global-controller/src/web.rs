//! The web app's files.
//!
//! Paths under `/assets/` have the hash of their content in their name and are
//! kept by browsers for ever. Every other path that a person opens is a place
//! inside the app (`/m/CODE`) and answered with its page.

use std::{borrow::Cow, sync::Arc};

use axum::{
    Router,
    body::Body,
    extract::State,
    response::{IntoResponse, Response},
    routing::get,
};
use dt_service::http::{self as conventions};
use http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use tower_http::compression::CompressionLayer;

const INDEX: &str = "index.html";
const HASHED: &str = "assets/";
/// A year, the longest that caches honour.
const FOR_EVER: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");
/// Kept, but asked for anew each time.
const CHECKED: HeaderValue = HeaderValue::from_static("no-cache");

/// What a server without its web app shows.
const NOT_BUILT: &str = "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\">\
    <meta name=\"viewport\" content=\"width=device-width\"><title>Dark Tower</title>\
    <h1>The web app was not built</h1>\
    <p>This server runs, and its API answers, but the program was compiled without the web app. \
    Run <code>make up</code>, or <code>npm ci &amp;&amp; npm run build</code> in the folder \
    <code>web</code> and compile again.</p></html>";

/// A file of the web app.
#[derive(Debug, Clone)]
pub struct Asset {
    /// Its content.
    pub bytes: Cow<'static, [u8]>,
    /// SHA-256 of it.
    pub sha256: [u8; 32],
}

/// The files of the web app, by their path without a slash before it.
pub trait Assets: Send + Sync + 'static {
    /// The file at this path.
    fn get(&self, path: &str) -> Option<Asset>;
}

/// Serves the web app at every path that is not taken otherwise.
pub fn router(assets: Arc<dyn Assets>) -> Router {
    let router = Router::new()
        .route("/", get(serve))
        .route("/{*path}", get(serve))
        .with_state(assets)
        .layer(CompressionLayer::new());
    conventions::web(router)
}

async fn serve(State(assets): State<Arc<dyn Assets>>, uri: Uri, headers: HeaderMap) -> Response {
    let path = uri.path().trim_start_matches('/');
    if let Some(asset) = assets.get(path).filter(|_| path != INDEX) {
        return file(path, &asset, &headers);
    }
    if !is_page(path, &headers) {
        return (StatusCode::NOT_FOUND, "not found\n").into_response();
    }
    match assets.get(INDEX) {
        Some(asset) => file(INDEX, &asset, &headers),
        None => {
            let html = (header::CONTENT_TYPE, "text/html; charset=utf-8");
            (StatusCode::SERVICE_UNAVAILABLE, [html], NOT_BUILT).into_response()
        }
    }
}

/// Whether a person opens this path, rather than a page one of its files.
fn is_page(path: &str, headers: &HeaderMap) -> bool {
    let accepts_html = headers.get(header::ACCEPT).is_none_or(|accept| {
        accept
            .to_str()
            .is_ok_and(|text| text.contains("text/html") || text.contains("*/*"))
    });
    let names_a_file = path
        .rsplit('/')
        .next()
        .is_some_and(|name| name.contains('.'));
    accepts_html && !names_a_file && !path.starts_with(HASHED)
}

fn file(path: &str, asset: &Asset, headers: &HeaderMap) -> Response {
    let hash: String = asset
        .sha256
        .iter()
        .take(16)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    // Weak: a compressed answer is the same file in other bytes.
    let etag = format!("W/\"{hash}\"");
    let is_known = headers.get_all(header::IF_NONE_MATCH).iter().any(|value| {
        value
            .to_str()
            .is_ok_and(|text| text.split(',').any(|tag| tag.trim() == etag))
    });
    let mut response = if is_known {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        let kind = mime_guess::from_path(path).first_or_octet_stream();
        let kind = match (kind.type_(), kind.subtype().as_str()) {
            (mime_guess::mime::TEXT, _) | (_, "javascript" | "json") => {
                format!("{}; charset=utf-8", kind.essence_str())
            }
            _ => kind.essence_str().to_owned(),
        };
        let body = match &asset.bytes {
            Cow::Borrowed(bytes) => Body::from(*bytes),
            Cow::Owned(bytes) => Body::from(bytes.clone()),
        };
        ([(header::CONTENT_TYPE, kind)], body).into_response()
    };
    let answer = response.headers_mut();
    answer.insert(
        header::CACHE_CONTROL,
        if path.starts_with(HASHED) {
            FOR_EVER
        } else {
            CHECKED
        },
    );
    if let Ok(etag) = HeaderValue::try_from(etag) {
        answer.insert(header::ETAG, etag);
    }
    response
}
