//! The commands on a folder of their own.

use clap::Parser;

use super::*;

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    args: Args,
}

fn args(words: &[&str]) -> Result<Args, clap::Error> {
    Cli::try_parse_from(["admin"].iter().chain(words)).map(|cli| cli.args)
}

/// A place in `dir`, whatever the environment says.
fn place(dir: &tempfile::TempDir) -> Place {
    Place::find(Some(dir.path().join("data")), None).unwrap()
}

async fn run_in(dir: &tempfile::TempDir, words: &[&str]) -> anyhow::Result<ExitCode> {
    let data = dir.path().join("data");
    let data = data.to_str().unwrap();
    run(args(&[&["--data", data], words].concat()).unwrap()).await
}

#[test]
fn usage_is_checked_before_anything_is_done() {
    for words in [
        &["user", "add"][..],
        &["user", "add", "ada", "--scope", "everything"],
        &["user", "add", "ada", "--password", "secret"],
        &["service", "register", "x"],
        &["keys"],
        &["--data", "a", "--config", "b", "migrate"],
        &[],
    ] {
        assert!(args(words).is_err(), "{words:?}");
    }
    assert!(args(&["migrate", "--data", "a", "--json"]).is_ok());
}

#[tokio::test]
async fn a_new_deployment_is_administered_before_it_ever_ran() {
    let dir = tempfile::tempdir().unwrap();
    run_in(&dir, &["migrate"]).await.unwrap();
    run_in(&dir, &["org", "add", "acme"]).await.unwrap();
    assert!(run_in(&dir, &["org", "add", "acme"]).await.is_err());
    run_in(
        &dir,
        &["service", "register", "Load", "--scope", "service.write.gc"],
    )
    .await
    .unwrap();
    run_in(&dir, &["keys", "rotate"]).await.unwrap();
    run_in(&dir, &["keys", "rotate", "--revoke"]).await.unwrap();
    let status = run_in(&dir, &["audit", "verify"]).await.unwrap();
    assert_eq!(status, ExitCode::SUCCESS);
    let database = place(&dir).open().await.unwrap();
    let entries = database.audit_entries(0, 100).await.unwrap();
    let actions: Vec<_> = entries
        .iter()
        .map(|entry| entry.event.action.as_str())
        .collect();
    let expected = [
        "organisation.added",
        "service.registered",
        "key.made",
        "key.made",
        "key.revoked",
    ];
    assert_eq!(actions, expected);
    assert!(
        entries
            .iter()
            .all(|entry| entry.event.actor == ACTOR_OPERATOR)
    );
}

#[tokio::test]
async fn the_secret_of_a_service_is_in_the_answer_and_nowhere_else() {
    let dir = tempfile::tempdir().unwrap();
    let new = ServiceRegister {
        name: "Load".to_owned(),
        client_id: Some("load".to_owned()),
        scopes: vec!["service.write.gc".parse().unwrap()],
    };
    let json = register_service(&place(&dir), new)
        .await
        .unwrap()
        .render(true);
    let answer: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(
        (&answer["event"], &answer["client_id"]),
        (&json!("service_registered"), &json!("load"))
    );
    let secret = answer["client_secret"].as_str().unwrap();
    assert_eq!(secret.len(), 43);
    for entry in std::fs::read_dir(dir.path().join("data")).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        assert!(
            !bytes
                .windows(secret.len())
                .any(|part| part == secret.as_bytes())
        );
    }
}

#[tokio::test]
async fn an_audit_of_nothing_is_no_success() {
    let dir = tempfile::tempdir().unwrap();
    let error = run_in(&dir, &["audit", "verify"]).await.unwrap_err();
    assert!(
        error.to_string().contains("there is no database"),
        "{error}"
    );
    assert!(!dir.path().join("data").exists());
}

#[test]
fn a_wrong_section_of_the_file_is_named_by_its_line() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("darktower.toml");
    std::fs::write(&file, "data = '/srv/dt'\n\n[auth]\nisuer = 'x'\n").unwrap();
    let error = Place::find(None, Some(&file)).unwrap_err().to_string();
    assert!(error.contains("line 4"), "{error}");
    std::fs::write(
        &file,
        "data = '/srv/dt'\n[auth]\nissuer = 'x'\n[media]\nany = 1\n",
    )
    .unwrap();
    let place = Place::find(None, Some(&file)).unwrap();
    assert_eq!(place.auth.issuer, "x");
}

#[test]
fn an_answer_for_people_says_what_to_do_next() {
    let answer = Answer::new("x", json!({}))
        .line("Done.")
        .next("darktower up", "starts it");
    assert_eq!(
        answer.render(false),
        "Done.\n\nNext:\n  darktower up\n    starts it\n"
    );
}
