//! `darktower bot` and `darktower load` as processes, and what they report.
//!
//! Driven by the journeys.

use std::{process::Command, time::Duration};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::{process::Process, workspace};

/// How long a run may take beyond the duration it was given.
const EXTRA: Duration = Duration::from_secs(30);

/// A bot or a load run under way.
pub struct Bot {
    process: Process,
    duration: Duration,
}

impl Bot {
    /// Sends a bot into a meeting.
    ///
    /// # Errors
    /// When the process can't be started.
    pub fn join(link: &str, name: &str, duration: Duration, arguments: &[&str]) -> Result<Self> {
        Self::run(
            &[&["bot", "--join", link, "--name", name], arguments].concat(),
            duration,
        )
    }

    /// Starts a load run against a server's API.
    ///
    /// # Errors
    /// When the process can't be started.
    pub fn load(api_url: &str, duration: Duration, arguments: &[&str]) -> Result<Self> {
        Self::run(&[&["load", "--api", api_url], arguments].concat(), duration)
    }

    fn run(arguments: &[&str], duration: Duration) -> Result<Self> {
        let process = Process::start(
            arguments[0],
            Command::new(workspace::binary()?).args(arguments).args([
                "--json",
                "--duration",
                &format!("{}s", duration.as_secs()),
            ]),
        )?;
        Ok(Self { process, duration })
    }

    /// Waits for an event of this name.
    ///
    /// # Errors
    /// When it ends before, or takes longer than its run.
    pub fn event(&mut self, name: &str) -> Result<Value> {
        self.process.line(self.duration + EXTRA, |line| {
            let event: Value = serde_json::from_str(line).ok()?;
            (event["event"] == name).then_some(event)
        })
    }

    /// Waits for its end: the exit status and the summary, if there is one.
    ///
    /// # Errors
    /// When it does not end.
    pub fn outcome(self) -> Result<(Option<i32>, Option<Value>, String)> {
        let (status, log) = self.process.finish(self.duration + EXTRA)?;
        let summary = log
            .lines()
            .rev()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok())
            .find(|event| event["event"] == "summary");
        Ok((status.code(), summary, log))
    }

    /// Waits for its end and the summary of a run that passed its own checks.
    ///
    /// # Errors
    /// When it failed.
    pub fn summary(self) -> Result<Value> {
        let (code, summary, log) = self.outcome()?;
        ensure!(code == Some(0), "exit status {code:?}:\n{log}");
        summary.with_context(|| format!("no summary in:\n{log}"))
    }
}
