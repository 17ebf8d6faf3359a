//! A server for one test, and a meeting on it. Shared by the tests in which
//! programs meet.

use anyhow::{Result, ensure};
use dt_client::{Api, MeetingAccess, NewMeeting, NewSettings};
use dt_e2e::Server;

/// Runs a test against a server of its own.
#[allow(dead_code)] // some tests run beside other programs, without a runtime
pub(crate) fn with_server<T, F>(test: T) -> Result<()>
where
    T: FnOnce(Server, Api) -> F,
    F: Future<Output = Result<()>>,
{
    let server = Server::start(&[])?;
    let api = Api::new(&server.ready().api_url)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    runtime.block_on(test(server, api))
}

/// A meeting; encrypted or not.
pub(crate) async fn create(api: &Api, encrypted: bool) -> Result<MeetingAccess> {
    let meeting = NewMeeting {
        settings: Some(NewSettings {
            enable_e2e_encryption: Some(encrypted),
        }),
        ..NewMeeting::default()
    };
    let access = api.create_meeting(&meeting).await?;
    ensure!(access.settings.enable_e2e_encryption == encrypted);
    Ok(access)
}
