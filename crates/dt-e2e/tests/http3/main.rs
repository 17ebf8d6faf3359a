//! The API over HTTP/3, asked by a client that is not ours: aioquic, driven by
//! `client.py`. `scripts/need.sh interop` installs it; where it is not there the
//! test says so and does nothing.

use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use dt_e2e::{http, server::Server};
use serde_json::Value;

/// The Python that has aioquic.
const PYTHON: &str = "DARKTOWER_INTEROP_PYTHON";
/// Everything that `client.py` asks.
const CLIENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/http3/client.py");

fn ask(python: &str, server: &Server) -> Result<Value> {
    let url = server.ready().http3_url.as_deref();
    let address = url.and_then(|url| url.strip_prefix("https://"));
    let (host, port) = address
        .and_then(|address| address.rsplit_once(':'))
        .context("the server has no HTTP/3")?;
    let https_port = server.public_address()?.port().to_string();
    let output = Command::new(python)
        .args([CLIENT, host, port, &https_port])
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("{PYTHON}={python} can't be run"))?;
    let complaint = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "the client failed:\n{complaint}");
    Ok(serde_json::from_slice(&output.stdout)?)
}

#[test]
fn a_client_that_is_not_ours_uses_the_api_and_finds_its_bounds() -> Result<()> {
    let Ok(python) = std::env::var(PYTHON) else {
        eprintln!("skipped: {PYTHON} is not set (scripts/need.sh interop)");
        return Ok(());
    };
    let server = Server::start(&[])?;
    let found = ask(&python, &server)?;
    let rules = &found["rules"];
    let url = server.ready().http3_url.clone().unwrap_or_default();
    let port = url.rsplit(':').next().unwrap_or_default();
    assert_eq!(found["announced"], format!("h3=\":{port}\"; ma=86400"));

    assert_eq!(rules["health"]["status"], 200, "{rules}");
    assert!(rules["health"]["headers"]["date"].is_string(), "{rules}");
    assert_eq!(rules["page"]["status"], 200);
    for (name, status, code) in [
        ("nowhere", 404, "NOT_FOUND"),
        ("wrong_method", 405, "INVALID_REQUEST"),
        ("too_large", 413, "INVALID_REQUEST"),
    ] {
        assert_eq!(rules[name]["status"], status, "{name}: {}", rules[name]);
        let body: Value = serde_json::from_str(rules[name]["body"].as_str().unwrap_or_default())?;
        assert_eq!(body["error"]["code"], code, "{name}");
    }
    assert_eq!(rules["little_too_large_header"]["status"], 431, "{rules}");
    assert_eq!(rules["far_too_large_header"]["reset"], 0x107, "{rules}");
    assert_eq!(rules["after_all"]["status"], 200);

    // A meeting like any other, with addresses of the public port in it.
    assert_eq!(rules["created"]["status"], 201, "{}", rules["created"]);
    let created: Value =
        serde_json::from_str(rules["created"]["body"].as_str().unwrap_or_default())?;
    let link = created["meeting_url"].as_str().unwrap_or_default();
    let public = format!("https://{}/", server.public_address()?);
    assert!(link.starts_with(&public), "{created}");
    let code = created["meeting_code"].as_str().unwrap_or_default();
    let guest = server.api("POST", &format!("/meetings/{code}/guest-token"), None, None)?;
    assert_eq!(guest.status, 200, "{guest:?}");

    assert_eq!(found["many"]["ok"], 500, "{}", found["many"]);
    eprintln!(
        "500 requests at once: {:.0} ms",
        found["many"]["elapsed_ms"].as_f64().unwrap_or_default()
    );
    assert_eq!(found["unfinished"]["status"], 200);
    assert_eq!(found["resets"]["closed"], 0x107, "{}", found["resets"]);
    assert_eq!(found["in_the_end"]["status"], 200);
    assert!(server.healthy()?);
    Ok(())
}

#[test]
fn http3_is_announced_where_it_can_be_used_and_not_when_it_is_off() -> Result<()> {
    let server = Server::start(&[])?;
    let plain = http::Request::new("GET", "/api/v1/health").send(server.http_address()?)?;
    assert_eq!(plain.header("alt-svc"), None);
    assert!(server.ready().http3_url.is_some());

    let off = Server::start(&["--http3", "off"])?;
    assert_eq!(off.ready().http3_url, None);
    assert!(off.healthy()?);
    Ok(())
}

#[test]
fn a_default_port_that_is_taken_is_done_without_and_a_chosen_one_is_an_error() -> Result<()> {
    let taken = std::net::UdpSocket::bind("127.0.0.1:0")?;
    let taken = taken.local_addr()?;
    let failed = Server::start(&["--http3", &taken.to_string()]);
    let error = failed.map(|_| ()).expect_err("the port is taken");
    assert!(format!("{error:#}").contains("--http3"), "{error:#}");
    Ok(())
}
