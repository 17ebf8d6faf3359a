//! People with accounts on a real server: their statements, and what the others
//! in a meeting are shown of them.

use std::{
    io::Write as _,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use dt_client::{
    Account, Alarm, Api, BadStatement, DeviceKey, Event, JoinOptions, KeyHolder, KnownDevices,
    Meeting, Mistrust, Secret, Standing,
};
use dt_e2e::{Server, workspace};
use serde_json::{Value, json};

use super::{holds_keys_of, microphone, runtime, soon};

const PASSWORD: &str = "correct horse battery staple";

/// Somebody who has signed in.
struct Person {
    account: Account,
    token: Secret,
}

impl Person {
    /// A new account, made as an operator does.
    fn new(server: &Server, login: &str, name: &str) -> Result<Self> {
        let mut adding = Command::new(workspace::binary()?)
            .args(["admin", "user", "add", login, "--name", name])
            .arg("--password-stdin")
            .arg("--data")
            .arg(server.data())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()?;
        let stdin = adding.stdin.take().context("no standard input")?;
        { stdin }.write_all(PASSWORD.as_bytes())?;
        ensure!(adding.wait()?.success(), "no account was made");
        let body = json!({ "username": login, "password": PASSWORD });
        let answer = server.api("POST", "/auth/user/token", None, Some(&body))?;
        ensure!(answer.status == 200, "{answer:?}");
        let answer = answer.json()?;
        let text = |field: &str| answer[field].as_str().context("not in the answer");
        Ok(Self {
            account: Account {
                subject: text("account_id")?.parse()?,
                name: text("display_name")?.to_owned(),
            },
            token: Secret::new(text("access_token")?),
        })
    }

    /// Options of a device that the auth controller vouches for.
    async fn options(&self, api: &Api, name: &str, device: &DeviceKey) -> Result<JoinOptions> {
        let said = api.device_statement(&self.token, device).await?;
        ensure!(said.expires_in().as_secs() > 24 * 3600, "it lives long");
        Ok(microphone(name).signed_in(device.clone(), said.statement))
    }
}

/// The code of a new meeting; only people with accounts may make one here.
fn create(server: &Server, by: &Person) -> Result<String> {
    let token = Some(by.token.reveal());
    let answer = server.api("POST", "/meetings", token, Some(&json!({})))?;
    ensure!((200..300).contains(&answer.status), "{answer:?}");
    let answer: Value = answer.json()?;
    let code = answer["meeting_code"].as_str().context("no code")?;
    Ok(code.to_owned())
}

/// How one is shown to another once its statement, if it has one, was checked.
async fn shown(to: &Meeting, who: &Meeting) -> Result<KeyHolder> {
    let id = who.participant_id();
    let find = |encryption: &dt_client::Encryption| {
        let mut members = encryption.members.iter();
        let found = members.find(|member| member.participant_id == id);
        found
            .filter(|member| member.standing != Standing::Unchecked)
            .cloned()
    };
    let checked = to.encryption_where(|encryption| find(encryption).is_some());
    let encryption = soon("a check", checked)
        .await?
        .context("the seat is over")?;
    find(&encryption).context("it was there")
}

#[test]
fn people_with_accounts_see_each_other_by_them_and_guests_as_guests() -> Result<()> {
    let server = Server::start(&["--accounts"])?;
    let ada = Person::new(&server, "ada@example.com", "Ada Lovelace")?;
    let bob = Person::new(&server, "bob@example.com", "Bob")?;
    runtime()?.block_on(async {
        let api = Api::new(&server.ready().api_url)?;
        let code = create(&server, &ada)?;
        let (adas, bobs) = (DeviceKey::generate()?, DeviceKey::generate()?);
        // The name in a meeting is one's own; the account says who it is.
        let as_ada = ada.options(&api, "Ada", &adas).await?;
        let first = Meeting::join(api.guest_access(&code).await?, as_ada).await?;
        let as_bob = bob.options(&api, "Bob", &bobs).await?;
        let second = Meeting::join(api.guest_access(&code).await?, as_bob).await?;
        let guest = Meeting::join(api.guest_access(&code).await?, microphone("Ada")).await?;
        for joined in [&first, &second, &guest] {
            holds_keys_of(&joined.meeting, 3).await?;
        }
        for to in [&first, &second, &guest] {
            let theirs = shown(&to.meeting, &first.meeting).await?;
            assert_eq!(theirs.standing, Standing::Verified(ada.account.clone()));
            assert_eq!((&*theirs.name, theirs.device_key), ("Ada", adas.public()));
            let theirs = shown(&to.meeting, &second.meeting).await?;
            assert_eq!(theirs.standing, Standing::Verified(bob.account.clone()));
            let theirs = shown(&to.meeting, &guest.meeting).await?;
            assert_eq!(theirs.standing, Standing::Guest, "whatever its name is");
            assert_eq!(to.meeting.encryption().alarms, []);
        }
        // Without a token of a person no device is vouched for.
        let nobody = Secret::new("nonsense");
        assert!(api.device_statement(&nobody, &adas).await.is_err());
        Ok(())
    })
}

#[test]
fn a_statement_on_another_device_is_an_alarm_and_a_new_device_of_a_person_a_sign() -> Result<()> {
    let server = Server::start(&["--accounts"])?;
    let ada = Person::new(&server, "ada@example.com", "Ada Lovelace")?;
    runtime()?.block_on(async {
        let api = Api::new(&server.ready().api_url)?;
        let code = create(&server, &ada)?;
        let known = KnownDevices::default();
        let options = JoinOptions {
            known_devices: Some(known.clone()),
            ..microphone("Watcher")
        };
        let mut watcher = Meeting::join(api.guest_access(&code).await?, options).await?;

        let device = DeviceKey::generate()?;
        let as_ada = ada.options(&api, "Ada", &device).await?;
        let stolen = as_ada.device_statement.clone();
        let first = Meeting::join(api.guest_access(&code).await?, as_ada).await?;
        ensure!(
            !shown(&watcher.meeting, &first.meeting)
                .await?
                .changed_device
        );
        assert_eq!(known.list().len(), 1);

        // What Ada showed was seen by all in the meeting, the server included.
        let thief = microphone("Ada").signed_in(DeviceKey::generate()?, stolen);
        let thief = Meeting::join(api.guest_access(&code).await?, thief).await?;
        let theirs = shown(&watcher.meeting, &thief.meeting).await?;
        let bad = Mistrust::from(BadStatement::OtherDevice);
        assert_eq!(theirs.standing, Standing::NotTrustworthy(bad.clone()));
        let alarm = soon("an alarm", async {
            loop {
                if let Event::EncryptionAlarm(alarm) = watcher.events.recv().await? {
                    return anyhow::Ok(alarm);
                }
            }
        });
        let alarm = alarm.await??;
        ensure!(matches!(&alarm, Alarm::NotTrustworthy { reason, .. } if *reason == bad));

        let other = ada.options(&api, "Ada", &DeviceKey::generate()?).await?;
        let other = Meeting::join(api.guest_access(&code).await?, other).await?;
        let theirs = shown(&watcher.meeting, &other.meeting).await?;
        assert_eq!(theirs.standing, Standing::Verified(ada.account.clone()));
        ensure!(theirs.changed_device, "it was not seen before");
        Ok(())
    })
}
