//! `darktower meeting-link`: makes a meeting and prints its link.

use std::process::ExitCode;

use anyhow::{Context as _, bail};
use dt_client::{Api, MeetingAccess, NewMeeting, NewSettings};

/// Create a meeting and print its link
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  darktower meeting-link --api http://127.0.0.1:8080/api/v1
  darktower bot --join \"$(darktower meeting-link --api URL --name Standup)\" --duration 10s")]
pub(crate) struct MeetingLinkArgs {
    /// The API's URL, ending in /api/v1
    #[arg(long, value_name = "URL", value_parser = api_url)]
    api: String,

    /// What to call the meeting
    #[arg(long, value_name = "TEXT")]
    name: Option<String>,

    /// Make it without end-to-end encryption
    #[arg(long)]
    no_e2ee: bool,
}

/// An API's URL, checked; without a path it gets the usual one.
pub(crate) fn api_url(text: &str) -> Result<String, String> {
    let url =
        url::Url::parse(text).map_err(|_| "expected a URL like http://HOST/api/v1".to_owned())?;
    match (url.scheme(), url.path()) {
        ("http" | "https", "/") => Ok(format!("{}/api/v1", text.trim_end_matches('/'))),
        ("http" | "https", _) => Ok(text.trim_end_matches('/').to_owned()),
        _ => Err("expected an http:// or https:// URL".to_owned()),
    }
}

/// What the flag asks of the server, whatever its default is.
pub(crate) fn settings(no_e2ee: bool) -> NewSettings {
    NewSettings {
        enable_e2e_encryption: Some(!no_e2ee),
    }
}

/// Checks that the server made what it was asked for.
pub(crate) fn check(access: &MeetingAccess, no_e2ee: bool) -> anyhow::Result<()> {
    match (no_e2ee, access.settings.enable_e2e_encryption) {
        (true, true) => bail!("the server insists on end-to-end encryption"),
        (false, false) => bail!("the server made a meeting without end-to-end encryption"),
        _ => Ok(()),
    }
}

/// Makes the meeting.
///
/// # Errors
/// When the API refuses or cannot be reached.
pub(crate) async fn run(args: MeetingLinkArgs) -> anyhow::Result<ExitCode> {
    let meeting = NewMeeting {
        display_name: args.name,
        settings: Some(settings(args.no_e2ee)),
        ..NewMeeting::default()
    };
    let access = Api::new(&args.api)?
        .create_meeting(&meeting)
        .await
        .context("cannot create the meeting")?;
    check(&access, args.no_e2ee)?;
    println!("{}", access.meeting_url);
    Ok(ExitCode::SUCCESS)
}
