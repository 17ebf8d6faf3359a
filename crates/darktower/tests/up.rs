//! The process: it becomes ready, answers on its entrances, and stops when told.

#![allow(clippy::unwrap_used)]

use std::{
    io::{BufRead as _, BufReader},
    net::TcpListener,
    path::Path,
    process::{Child, Command, Output, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use serde_json::Value;

/// For things that take a fraction of a second, on a machine that is busy.
const DEADLINE: Duration = Duration::from_secs(30);

fn darktower(words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_darktower"));
    command
        .args(words)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    for name in [
        "DARKTOWER_HTTP",
        "DARKTOWER_PUBLIC",
        "DARKTOWER_DATA",
        "DARKTOWER_MASTER_KEY",
    ] {
        command.env_remove(name);
    }
    command
}

/// A running server; killed if a test fails before it stops it.
struct Up {
    child: Child,
    ready: Value,
}

impl Up {
    fn start(data: &Path, more: &[&str]) -> Self {
        let data = data.to_str().unwrap();
        let words = ["up", "--json", "--http", "127.0.0.1:0", "--data", data];
        let mut child = darktower(&[&words, more].concat()).spawn().unwrap();
        let out = child.stdout.take().unwrap();
        let mut log = child.stderr.take().unwrap();
        let (line, first) = mpsc::channel();
        thread::spawn(move || {
            let mut text = String::new();
            BufReader::new(out).read_line(&mut text).unwrap();
            // Nobody listens any more when the deadline is over.
            let _ = line.send(text);
        });
        thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        let first = first.recv_timeout(DEADLINE).expect("a line in time");
        Self {
            ready: serde_json::from_str(&first).unwrap(),
            child,
        }
    }

    fn url(&self, field: &str) -> &str {
        self.ready[field].as_str().unwrap()
    }

    fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(
            Command::new("kill")
                .args([name, &pid])
                .status()
                .unwrap()
                .success()
        );
    }

    fn stop(self) -> i32 {
        self.signal("-TERM");
        self.end()
    }

    fn end(mut self) -> i32 {
        let (ended, end) = mpsc::channel();
        let mut child = std::mem::replace(&mut self.child, Command::new("true").spawn().unwrap());
        thread::spawn(move || ended.send(child.wait()));
        end.recv_timeout(DEADLINE)
            .expect("an end in time")
            .unwrap()
            .code()
            .unwrap()
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A client that takes the self-signed certificate.
fn client() -> reqwest::Client {
    // Another test of this process may have been first.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
        .tls_danger_accept_invalid_certs(true)
        .build()
        .unwrap()
}

fn failed(output: &Output) -> (i32, String) {
    (
        output.status.code().unwrap(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    )
}

#[test]
fn a_server_becomes_ready_stops_when_told_and_keeps_its_certificate() {
    let data = tempfile::tempdir().unwrap();
    let first = Up::start(data.path(), &[]);
    assert_eq!(first.ready["event"], "ready");
    assert!(first.url("api_url").ends_with("/api/v1"));
    assert!(first.url("api_url").starts_with(first.url("web_url")));
    assert!(
        first
            .url("webtransport_url")
            .starts_with("https://127.0.0.1:")
    );
    let certificate = first.url("cert_sha256").to_owned();
    assert_eq!(certificate.len(), 64);
    println!("ready after {} ms", first.ready["elapsed_ms"]);
    assert_eq!(first.stop(), 0);

    let second = Up::start(data.path(), &[]);
    assert_eq!(second.url("cert_sha256"), certificate);
    second.signal("-INT");
    assert_eq!(second.end(), 0);
}

#[tokio::test]
async fn both_entrances_answer_the_same_api_and_the_public_one_by_http_2() {
    let data = tempfile::tempdir().unwrap();
    let up = Up::start(data.path(), &[]);
    let public = up.url("webtransport_url").trim_end_matches("/mc");
    let client = client();
    let plain = client
        .get(format!("{}/health", up.url("api_url")))
        .send()
        .await
        .unwrap();
    assert_eq!(
        (plain.status().as_u16(), plain.version()),
        (200, http::Version::HTTP_11)
    );
    let secure = client
        .get(format!("{public}/v1/health"))
        .send()
        .await
        .unwrap();
    assert_eq!(
        (secure.status().as_u16(), secure.version()),
        (200, http::Version::HTTP_2)
    );

    let created = client
        .post(format!("{}/meetings", up.url("api_url")))
        .send()
        .await
        .unwrap();
    assert_eq!(created.status(), 201);
    let created: Value = created.json().await.unwrap();
    assert_eq!(
        created["meeting_controller"]["url"],
        up.ready["webtransport_url"]
    );
    assert_eq!(created["media_handlers"].as_array().unwrap().len(), 2);
    let link = created["meeting_url"].as_str().unwrap();
    assert!(
        link.starts_with(&format!("{}/m/", up.url("web_url"))),
        "{link}"
    );
    let again = format!(
        "{public}/api/v1/meetings/{}/guest-token",
        created["meeting_code"].as_str().unwrap()
    );
    let guest: Value = client
        .post(again)
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_eq!(guest["meeting_id"], created["meeting_id"]);
    assert_eq!(up.stop(), 0);
}

#[tokio::test]
async fn one_document_describes_the_whole_api() {
    let data = tempfile::tempdir().unwrap();
    let up = Up::start(data.path(), &[]);
    let url = format!("{}/openapi.json", up.url("api_url"));
    let document: Value = client()
        .get(url)
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_eq!(document["openapi"], "3.1.0");
    for path in [
        "/meetings",
        "/meetings/{meeting}",
        "/meetings/{meeting}/guest-token",
        "/health",
        "/auth/token",
        "/auth/user/token",
        "/auth/service/token",
        "/admin/services/register",
        "/.well-known/jwks.json",
    ] {
        assert!(
            document["paths"].get(path).is_some(),
            "{path} is not described"
        );
    }
}

#[tokio::test]
async fn pages_health_and_errors_are_where_they_belong() {
    let data = tempfile::tempdir().unwrap();
    let up = Up::start(data.path(), &["--handlers", "2"]);
    let client = client();
    let get = async |path: &str| {
        let url = format!("{}{path}", up.url("web_url"));
        client
            .get(url)
            .header("accept", "text/html")
            .send()
            .await
            .unwrap()
    };
    for path in ["/", "/m/abcde-fghjk-mnpqr"] {
        let page = get(path).await;
        // 503 where the web app was not built; it says so on the page.
        assert!([200, 503].contains(&page.status().as_u16()), "{path}");
        assert!(page.headers().contains_key("content-security-policy"));
        assert!(page.text().await.unwrap().contains("<!doctype html>"));
    }
    assert_eq!(get("/assets/none.js").await.status(), 404);
    assert_eq!(get("/healthz").await.status(), 200);
    assert_eq!(get("/readyz").await.status(), 200);
    let keys: Value = get("/.well-known/jwks.json").await.json().await.unwrap();
    assert_eq!(keys["keys"][0]["kty"], "OKP");
    for path in ["/api/v1/nope", "/v1/nope"] {
        let error: Value = get(path).await.json().await.unwrap();
        assert_eq!(error["error"]["code"], "NOT_FOUND");
    }
}

#[test]
fn an_idle_server_needs_less_than_60_mb() {
    let data = tempfile::tempdir().unwrap();
    let up = Up::start(data.path(), &[]);
    let status = format!("/proc/{}/status", up.child.id());
    let Ok(status) = std::fs::read_to_string(status) else {
        println!("this system does not tell the memory of processes");
        return;
    };
    let resident = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .unwrap();
    let kib: u64 = resident.split_whitespace().nth(1).unwrap().parse().unwrap();
    println!("{} MB resident when idle", kib / 1024);
    assert!(kib < 60 * 1024, "{kib} KiB");
}

#[test]
fn a_taken_port_is_an_error_that_says_what_to_do() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let data = tempfile::tempdir().unwrap();
    let data = data.path().to_str().unwrap();
    for (flag, other) in [("--http", "--public"), ("--public", "--http")] {
        let words = ["up", "--data", data, flag, &address, other, "127.0.0.1:0"];
        let (status, text) = failed(&darktower(&words).output().unwrap());
        assert_eq!(status, 1);
        assert!(text.contains("is taken") && text.contains(flag), "{text}");
    }
}

#[test]
fn wrong_usage_ends_with_status_2_and_names_what_is_wrong() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("darktower.toml");
    std::fs::write(&file, "handlers = 2\nhandels = 3\n").unwrap();
    let file = file.to_str().unwrap();
    for (words, said) in [
        (&["up", "--handlers", "0"][..], "--handlers"),
        (&["up", "--http", "nowhere"], "--http"),
        (&["up", "--metrics", "0.0.0.0:9"], "--metrics"),
        (&["up", "--config", file], "line 2: unknown field `handels`"),
        (&["sideways"], "sideways"),
    ] {
        let (status, text) = failed(&darktower(words).output().unwrap());
        assert_eq!(status, 2, "{text}");
        assert!(text.contains(said), "{text}");
    }
}

#[test]
fn every_command_has_help_with_examples() {
    for command in ["up", "bot", "load", "meeting-link", "admin"] {
        let output = darktower(&[command, "--help"]).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success());
        assert!(text.contains(&format!("darktower {command}")), "{text}");
        assert!(text.contains("Example"), "{text}");
    }
}

#[tokio::test]
async fn metrics_are_served_on_their_own_loopback_port() {
    let free = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .to_string();
    let data = tempfile::tempdir().unwrap();
    let up = Up::start(data.path(), &["--metrics", &free]);
    let client = client();
    let metrics = client
        .get(format!("http://{free}/metrics"))
        .send()
        .await
        .unwrap();
    assert_eq!(metrics.status(), 200);
    let elsewhere = format!("{}/metrics", up.url("web_url"));
    let elsewhere = client
        .get(elsewhere)
        .header("accept", "text/plain")
        .send()
        .await
        .unwrap();
    assert_eq!(elsewhere.status(), 404);
}
