//! What people entrust to a server stays out of its logs.

use std::{fs, time::Duration};

use anyhow::{Context, Result};
use dt_e2e::{Bot, Server, workspace::files};
use serde_json::json;

#[test]
fn logs_hold_no_names_no_tokens_and_no_links() -> Result<()> {
    // Much more than an operator would ever log.
    let server = Server::start_with(&[], &[("DARKTOWER_LOG", "debug")])?;
    let meeting = server.create_meeting(&json!({"display_name": "Quarterly Zebra"}))?;
    let secret = |name: &str| -> Result<String> {
        Ok(meeting[name]
            .as_str()
            .with_context(|| format!("no {name}"))?
            .to_owned())
    };
    let link = secret("meeting_url")?;
    let guest = server.api(
        "POST",
        &format!("/meetings/{}/guest-token", secret("meeting_code")?),
        None,
        None,
    )?;
    let guest_token = guest.json()?["join_token"]
        .as_str()
        .context("no join_token")?
        .to_owned();
    let duration = Duration::from_secs(2);
    let ana = Bot::join(&link, "Ana Quetzal", duration, &["--publish", "audio"])?;
    let bo = Bot::join(&link, "Bo Narwhal", duration, &["--publish", "audio"])?;
    ana.summary()?;
    bo.summary()?;

    let data = server.data().to_path_buf();
    let mut logs = server.log();
    for path in files(&data, &[".log", ".json", ".jsonl"])? {
        logs.push_str(&fs::read_to_string(path)?);
    }
    let (_, rest) = server.stop()?;
    logs.push_str(&rest);

    let code = secret("meeting_code")?;
    let signatures = [secret("join_token")?, secret("host_token")?, guest_token]
        .map(|token| token.rsplit('.').next().unwrap_or_default().to_owned());
    let private = ["Quarterly Zebra", "Quetzal", "Narwhal", code.as_str()];
    for word in private
        .into_iter()
        .chain(signatures.iter().map(String::as_str))
    {
        let line = logs.lines().find(|line| line.contains(word));
        assert!(line.is_none(), "the log says {word:?}: {line:?}");
    }
    assert!(
        logs.lines().count() > 1,
        "nothing was logged, so nothing was proved"
    );
    Ok(())
}
