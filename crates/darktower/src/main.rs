//! The binary: subcommands and their exit statuses.
//!
//! 0: done, 1: the run failed (its own checks, for the tools), 2: wrong usage.

mod admin;
mod bot;
mod load;
mod meeting_link;
mod up;

use std::{future::Future, process::ExitCode, time::Instant};

use clap::{Parser, Subcommand};

/// Video meetings from one binary
#[derive(Debug, Parser)]
#[command(version, propagate_version = true, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Up(up::Args),
    Bot(bot::BotArgs),
    Load(load::LoadArgs),
    MeetingLink(meeting_link::MeetingLinkArgs),
    Admin(admin::Args),
}

fn main() -> ExitCode {
    let started_at = Instant::now();
    match Cli::parse().command {
        Command::Up(args) => up::main(args, started_at),
        Command::Bot(args) => block_on(bot::run(args)),
        Command::Load(args) => block_on(load::run(args)),
        Command::MeetingLink(args) => block_on(meeting_link::run(args)),
        Command::Admin(args) => block_on(admin::run(args)),
    }
}

/// Runs a tool on one thread and says why it failed, if it did.
fn block_on(tool: impl Future<Output = anyhow::Result<ExitCode>>) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let outcome = runtime
        .map_err(anyhow::Error::from)
        .and_then(|runtime| runtime.block_on(tool));
    outcome.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}
