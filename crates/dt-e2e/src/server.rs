//! A real `darktower up` on free ports with a data folder of its own.
//!
//! Driven by the journeys; ends with its owner.

use std::{
    net::SocketAddr,
    process::{Command, ExitStatus},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use serde_json::Value;

use crate::{
    http,
    process::{Process, TempFolder, Usage, usage},
    workspace,
};

/// From start to ready, on a machine that is busy with other tests.
const READY_DEADLINE: Duration = Duration::from_secs(30);
/// From the termination signal to the end; drains included.
const STOP_DEADLINE: Duration = Duration::from_secs(20);
/// One command of the binary that does not run for a given duration.
const COMMAND_DEADLINE: Duration = Duration::from_secs(30);

/// The first line that `darktower up --json` prints.
#[derive(Debug, Clone, Deserialize)]
pub struct Ready {
    /// Always `ready`.
    pub event: String,
    /// The page, `http://127.0.0.1:PORT`.
    pub web_url: String,
    /// Ends in `/api/v1`.
    pub api_url: String,
    /// Where WebTransport sessions go.
    pub webtransport_url: String,
    /// Where HTTP/3 requests go, if they go anywhere.
    pub http3_url: Option<String>,
    /// Hash of the certificate.
    pub cert_sha256: String,
    /// From the start of the process, milliseconds.
    pub elapsed_ms: f64,
}

/// A running server.
pub struct Server {
    process: Process,
    ready: Ready,
    data: TempFolder,
}

impl Server {
    /// Starts one and waits until it is ready.
    ///
    /// # Errors
    /// When it does not become ready.
    pub fn start(arguments: &[&str]) -> Result<Self> {
        Self::start_with(arguments, &[])
    }

    /// Starts one with these variables in its environment.
    ///
    /// # Errors
    /// When it does not become ready.
    pub fn start_with(arguments: &[&str], environment: &[(&str, &str)]) -> Result<Self> {
        let data = TempFolder::new()?;
        let mut process = Process::start(
            "darktower up",
            Command::new(workspace::binary()?)
                .args([
                    "up",
                    "--json",
                    "--http",
                    "127.0.0.1:0",
                    "--public",
                    "127.0.0.1:0",
                ])
                .arg("--data")
                .arg(data.path())
                .args(arguments)
                .envs(environment.iter().copied()),
        )?;
        let first = process.line(READY_DEADLINE, |line| Some(line.to_owned()))?;
        let ready: Ready = serde_json::from_str(&first)
            .with_context(|| format!("the first line is not the ready event: {first}"))?;
        ensure!(ready.event == "ready", "the first event is {}", ready.event);
        Ok(Self {
            process,
            ready,
            data,
        })
    }

    /// What it printed when it was ready.
    #[must_use]
    pub fn ready(&self) -> &Ready {
        &self.ready
    }

    /// The operating system's number of its process.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Its data folder.
    #[must_use]
    pub fn data(&self) -> &std::path::Path {
        self.data.path()
    }

    /// The plain HTTP entrance.
    ///
    /// # Errors
    /// When the URL holds no address.
    pub fn http_address(&self) -> Result<SocketAddr> {
        address(&self.ready.web_url)
    }

    /// The public entrance: TCP for HTTPS, UDP for QUIC.
    ///
    /// # Errors
    /// When the URL holds no address.
    pub fn public_address(&self) -> Result<SocketAddr> {
        address(&self.ready.webtransport_url)
    }

    /// One API call; `path` is what follows `/api/v1`.
    ///
    /// # Errors
    /// When the server does not answer in HTTP.
    pub fn api(
        &self,
        method: &str,
        path: &str,
        token: Option<&str>,
        body: Option<&Value>,
    ) -> Result<http::Answer> {
        let mut request = http::Request::new(method, &format!("/api/v1{path}"));
        if let Some(token) = token {
            request = request.header("Authorization", &format!("Bearer {token}"));
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        request.send(self.http_address()?)
    }

    /// Creates a meeting by HTTP; the whole answer.
    ///
    /// # Errors
    /// When it is refused.
    pub fn create_meeting(&self, body: &Value) -> Result<Value> {
        let answer = self.api("POST", "/meetings", None, Some(body))?;
        ensure!(
            answer.status == 201 || answer.status == 200,
            "create: {answer:?}"
        );
        answer.json()
    }

    /// Creates a meeting by `darktower meeting-link`; its link.
    ///
    /// # Errors
    /// When the command fails or prints no link.
    pub fn meeting_link(&self) -> Result<String> {
        let process = Process::start(
            "darktower meeting-link",
            Command::new(workspace::binary()?).args(["meeting-link", "--api", &self.ready.api_url]),
        )?;
        let (status, log) = process.finish(COMMAND_DEADLINE)?;
        ensure!(status.success(), "meeting-link failed:\n{log}");
        log.lines()
            .find(|line| line.starts_with("http"))
            .map(|line| line.trim().to_owned())
            .with_context(|| format!("no link in:\n{log}"))
    }

    /// Its memory.
    ///
    /// # Errors
    /// When it has ended.
    pub fn usage(&self) -> Result<Usage> {
        usage(self.process.id())
    }

    /// Whether it answers that it is well.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn healthy(&self) -> Result<bool> {
        let answer = http::Request::new("GET", "/healthz").send(self.http_address()?)?;
        Ok(answer.status == 200)
    }

    /// Everything it said up to now.
    #[must_use]
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// Ends it as an operator would; its status and all it said.
    ///
    /// # Errors
    /// When it does not end in time.
    pub fn stop(self) -> Result<(ExitStatus, String)> {
        self.process.terminate(STOP_DEADLINE)
    }
}

fn address(url: &str) -> Result<SocketAddr> {
    let rest = url
        .split_once("://")
        .with_context(|| format!("{url} is no URL"))?
        .1;
    let host = rest.split('/').next().unwrap_or(rest);
    host.parse()
        .with_context(|| format!("{host} is no address"))
}
