//! `darktower admin`: what an operator does to a deployment's database, with or
//! without a server running beside it.
//!
//! Driven by the command line alone. The rules for names, passwords and scopes
//! are the auth controller's; here are only words, prompts and answers.

mod answer;
mod password;
pub(crate) mod place;

use std::{path::PathBuf, process::ExitCode, sync::Arc};

use anyhow::Context as _;
use auth_controller::{
    ACTOR_OPERATOR, AddOrganisationError, Directory, KeyRing, NewAccount, NewOrganisation,
    NewService, system_clock, user_scopes_default,
};
use dt_store::Database as _;
use dt_token::{Scope, ScopeSet};
use serde_json::json;

use answer::Answer;
use place::Place;

/// Exit status of a run that failed its own checks.
const FAILED: u8 = 1;

/// Administer a deployment
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  darktower admin user add ada@example.com --name 'Ada Lovelace'
  darktower admin service register 'Load test' --scope service.write.gc
  darktower admin keys rotate
  darktower admin audit verify

These work on the database directly, also while a server runs on it.")]
pub(crate) struct Args {
    /// Folder with the database and the master key
    #[arg(long, value_name = "DIR", global = true)]
    data: Option<PathBuf>,

    /// Configuration file that names the folder (`data`) and the section `auth`
    #[arg(long, value_name = "FILE", global = true, conflicts_with = "data")]
    config: Option<PathBuf>,

    /// Print one JSON object instead of text
    #[arg(long, global = true)]
    json: bool,

    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Bring the database up to date, and make it if there is none
    Migrate,
    /// People with accounts
    #[command(subcommand)]
    User(UserCommand),
    /// Programs with credentials
    #[command(subcommand)]
    Service(ServiceCommand),
    /// Keys that sign tokens
    #[command(subcommand)]
    Keys(KeysCommand),
    /// Organisations (tenants)
    #[command(subcommand)]
    Org(OrgCommand),
    /// The log of who did what
    #[command(subcommand)]
    Audit(AuditCommand),
}

#[derive(Debug, clap::Subcommand)]
enum UserCommand {
    /// Add an account; asks for its password
    #[command(after_help = "\
Examples:
  darktower admin user add ada@example.com --name 'Ada Lovelace'
  printf '%s' \"$PASSWORD\" | darktower admin user add ada@example.com --password-stdin
  darktower admin user add root@example.com --scope user.admin.ac")]
    Add(UserAdd),
}

#[derive(Debug, clap::Args)]
struct UserAdd {
    /// What the person signs in with, like an e-mail address
    login: String,
    /// What others see [default: the login]
    #[arg(long, default_value = "", hide_default_value = true)]
    name: String,
    /// The organisation it belongs to, by its slug
    #[arg(long, value_name = "SLUG")]
    org: Option<String>,
    /// What it may do besides making and seeing meetings; may be repeated
    #[arg(long = "scope", value_name = "SCOPE")]
    scopes: Vec<Scope>,
    /// Read the password from standard input up to the end of its first line
    #[arg(long)]
    password_stdin: bool,
}

#[derive(Debug, clap::Subcommand)]
enum ServiceCommand {
    /// Register a program and print its secret, this once
    #[command(after_help = "\
Scopes are service.OPERATION.COMPONENT: read, write or admin at gc (meetings), mc
(signaling), mh (media) or ac (accounts).

Example:
  darktower admin service register 'Load test' --scope service.write.gc --json")]
    Register(ServiceRegister),
}

#[derive(Debug, clap::Args)]
struct ServiceRegister {
    /// What people call it
    name: String,
    /// What it signs in with [default: made from the name]
    #[arg(long, value_name = "ID")]
    client_id: Option<String>,
    /// What its tokens may allow; may be repeated
    #[arg(long = "scope", value_name = "SCOPE", required = true)]
    scopes: Vec<Scope>,
}

#[derive(Debug, clap::Subcommand)]
enum KeysCommand {
    /// Make a new signing key; running servers use it within seconds
    Rotate {
        /// Refuse all tokens of older keys from now on: for a key that leaked.
        /// Everybody has to sign in again, and hosts lose their host tokens
        #[arg(long)]
        revoke: bool,
    },
}

#[derive(Debug, clap::Subcommand)]
enum OrgCommand {
    /// Add an organisation
    #[command(after_help = "\
Example:
  darktower admin org add acme --name 'Acme Inc.'")]
    Add {
        /// Its label in host names: lower-case letters, digits and hyphens
        slug: String,
        /// What people call it [default: the slug]
        #[arg(long, default_value = "", hide_default_value = true)]
        name: String,
    },
}

#[derive(Debug, clap::Subcommand)]
enum AuditCommand {
    /// Check that no entry was changed, removed or inserted
    Verify,
}

/// Does what `args` ask for. Fails with status 1 if a check failed.
///
/// # Errors
/// What can't be done is told in words for the operator.
pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let place = Place::find(args.data, args.config.as_deref())?;
    let (answer, status) = match args.command {
        Command::Migrate => (migrate(&place).await?, ExitCode::SUCCESS),
        Command::User(UserCommand::Add(add)) => (add_user(&place, add).await?, ExitCode::SUCCESS),
        Command::Service(ServiceCommand::Register(new)) => {
            (register_service(&place, new).await?, ExitCode::SUCCESS)
        }
        Command::Keys(KeysCommand::Rotate { revoke }) => {
            (rotate_keys(&place, revoke).await?, ExitCode::SUCCESS)
        }
        Command::Org(OrgCommand::Add { slug, name }) => (
            add_organisation(&place, slug, name).await?,
            ExitCode::SUCCESS,
        ),
        Command::Audit(AuditCommand::Verify) => verify_audit(&place).await?,
    };
    answer.print(args.json)?;
    Ok(status)
}

async fn migrate(place: &Place) -> anyhow::Result<Answer> {
    let database = place.open().await?;
    database.close().await;
    let path = place.database_file();
    Ok(Answer::new("migrated", json!({"database": path}))
        .line(format!("The database {} is up to date.", path.display()))
        .next("darktower up", "starts a server on it"))
}

async fn add_user(place: &Place, add: UserAdd) -> anyhow::Result<Answer> {
    let database = place.open().await?;
    let password = if add.password_stdin {
        password::from_stdin()?
    } else {
        password::from_prompt(&add.login)?
    };
    let scopes: ScopeSet = user_scopes_default().iter().chain(add.scopes).collect();
    let new = NewAccount {
        login: add.login.clone(),
        display_name: add.name,
        password,
        organisation: add.org,
        scopes: scopes.clone(),
        bcrypt_cost: place.auth.bcrypt_cost,
    };
    let directory = Directory::new(Arc::new(database.clone()), system_clock());
    let id = directory.add_account(new, ACTOR_OPERATOR).await?;
    database.close().await;
    let facts = json!({"account_id": id, "login": add.login, "scope": scopes});
    Ok(Answer::new("user_added", facts)
        .line(format!("{} can sign in now.", add.login))
        .line(format!("It may: {scopes}"))
        .next(
            "darktower up --accounts",
            "lets only those with an account make meetings",
        ))
}

async fn register_service(place: &Place, new: ServiceRegister) -> anyhow::Result<Answer> {
    let database = place.open().await?;
    let directory = Directory::new(Arc::new(database.clone()), system_clock());
    let new = NewService {
        name: new.name,
        client_id: new.client_id,
        scopes: new.scopes.into_iter().collect(),
    };
    let service = directory.register_service(new, ACTOR_OPERATOR).await?;
    database.close().await;
    let facts = json!({
        "client_id": service.client_id,
        "client_secret": *service.client_secret,
        "name": service.name,
        "scope": service.scopes,
    });
    let id = &service.client_id;
    Ok(Answer::new("service_registered", facts)
        .line(format!(
            "{} is registered. Note the secret: it is shown this once.",
            service.name
        ))
        .line(format!("  client id      {id}"))
        .line(format!("  client secret  {}", *service.client_secret))
        .line(format!("  may            {}", service.scopes))
        .next(
            format!("curl -u {id} -d grant_type=client_credentials API_URL/auth/token"),
            "gets a token",
        ))
}

async fn rotate_keys(place: &Place, revoke: bool) -> anyhow::Result<Answer> {
    let database = place.open().await?;
    let ring = KeyRing::new(
        &place.auth.issuer,
        place.master_key()?,
        Arc::new(database.clone()),
        system_clock(),
    );
    let kid = ring.rotate(ACTOR_OPERATOR, revoke).await?;
    database.close().await;
    let answer = Answer::new("keys_rotated", json!({"kid": kid, "revoked_older": revoke}))
        .line(format!("The new signing key is {kid}."));
    Ok(if revoke {
        answer
            .line("Running servers use it, and refuse tokens of all older keys, within seconds.")
            .line("Services that hold keys in memory may accept older tokens for up to an hour;")
            .line("restart them to be sure.")
    } else {
        answer.line(
            "Running servers use it within seconds; tokens of older keys stay good until they end.",
        )
    })
}

async fn add_organisation(place: &Place, slug: String, name: String) -> anyhow::Result<Answer> {
    let database = place.open().await?;
    let directory = Directory::new(Arc::new(database.clone()), system_clock());
    let new = NewOrganisation {
        slug: slug.clone(),
        display_name: name,
    };
    let id = match directory.add_organisation(new, ACTOR_OPERATOR).await {
        Err(AddOrganisationError::Taken) => {
            anyhow::bail!("there is an organisation {slug} already")
        }
        added => added?,
    };
    database.close().await;
    Ok(Answer::new(
        "organisation_added",
        json!({"organisation_id": id, "slug": slug}),
    )
    .line(format!("The organisation {slug} is there."))
    .next(
        format!("darktower admin user add LOGIN --org {slug}"),
        "adds an account that belongs to it",
    ))
}

async fn verify_audit(place: &Place) -> anyhow::Result<(Answer, ExitCode)> {
    let database = place.open_existing().await?;
    let report = database
        .audit_verify()
        .await
        .context("the audit log can't be read")?;
    database.close().await;
    let head: String = report
        .head
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let facts = json!({
        "entries": report.entries,
        "head": head,
        "whole": report.fault.is_none(),
        "fault": report.fault.map(|fault| fault.to_string()),
    });
    let answer = Answer::new("audit_verified", facts);
    Ok(match report.fault {
        None => (
            answer
                .line(format!(
                    "The audit log is whole: {} entries.",
                    report.entries
                ))
                .line(format!("Its head is {head}."))
                .line("Note it elsewhere: a log that was rewritten as a whole has another one."),
            ExitCode::SUCCESS,
        ),
        Some(fault) => (
            answer
                .line(format!("The audit log was tampered with: {fault}."))
                .line(format!(
                    "The {} entries before that are whole.",
                    report.entries
                )),
            ExitCode::from(FAILED),
        ),
    })
}

#[cfg(test)]
mod tests;
