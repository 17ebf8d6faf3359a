//! `darktower up`: all roles in one process, on embedded stores.
//!
//! The roles speak to each other by the traits of `dt-rpc` alone, as they do
//! between processes; here they are only wired. Reading order: [`settings`]
//! what was asked for, [`ports`] where it listens, [`roles`] who is there and
//! who knows whom, [`entrance`] the media threads, [`websocket`] the other way in,
//! [`pages`] what HTTP answers, [`ready`] what is printed.

mod app;
mod entrance;
mod heartbeat;
mod pages;
mod ports;
mod ready;
mod roles;
mod settings;
mod websocket;

use std::{
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use dt_service::{
    health::Readiness,
    http,
    supervise::{Signals, Tasks},
    tls::CertificateStore,
};
use dt_telemetry::{LogFormat, Metrics};
pub(crate) use settings::Args;

use ports::{Http3Port, Ports};
use roles::Roles;
use settings::Settings;

/// Threads for HTTP, signaling and stores; media has some of its own.
const WORKERS: usize = 2;
/// Requests in flight have this long to finish when the server stops.
const HTTP_DRAIN: Duration = Duration::from_secs(2);
/// Everything has.
const DRAIN: Duration = Duration::from_secs(10);
/// Wrong usage.
const USAGE: u8 = 2;

/// Runs the subcommand to its end.
pub(crate) fn main(args: Args, started_at: Instant) -> ExitCode {
    let json = args.json;
    let settings = match Settings::load(args) {
        Ok(settings) => settings,
        Err(error) => {
            eprintln!("error: {error:#}");
            return ExitCode::from(USAGE);
        }
    };
    match start(settings, json, started_at) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn start(settings: Settings, json: bool, started_at: Instant) -> anyhow::Result<()> {
    // A person who started it wants to hear of trouble, a program of everything.
    let (format, filter) = if json {
        (LogFormat::Json, "info")
    } else {
        (LogFormat::Human, "warn")
    };
    dt_telemetry::init_logs(format, filter)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .enable_all()
        .thread_name("darktower")
        .build()
        .context("can't start the threads")?;
    let outcome = runtime.block_on(run(settings, json, started_at));
    // A hash of a password may still be under way; nobody waits for it.
    runtime.shutdown_timeout(Duration::from_millis(100));
    outcome
}

async fn run(settings: Settings, json: bool, started_at: Instant) -> anyhow::Result<()> {
    let metrics = settings.metrics.map(|_| Metrics::install()).transpose()?;
    settings.make_data_folder()?;
    let mut ports = Ports::bind(&settings)?;
    let certificates = Arc::new(certificates(&settings)?);
    let roles = Arc::new(Roles::start(&settings, &ports, &certificates).await?);
    let readiness = Arc::new(readiness(&roles));

    let mut tasks = Tasks::default();
    let origins = settings.allowed_origins(ports.http_address, ports.public_address);
    let (websockets, upgraded) =
        websocket::way_in(origins, settings.handlers, settings.media_threads);
    let opening = entrance::spawn(
        &mut tasks,
        &settings,
        &mut ports,
        Arc::clone(&certificates),
        &roles,
        upgraded,
    )?;
    let pages = pages::router(&roles, &settings, &readiness, websockets);
    let (plain, public) = (ports.http.try_clone()?, ports.public.try_clone()?);
    let tls = Arc::new(certificates.server_config(&[b"h2", b"http/1.1"]));
    let mut public_pages = pages.clone();
    match &ports.http3 {
        Http3Port::Open { socket, address } => {
            public_pages = http::announce_http3(public_pages, address.port());
            let (socket, pages) = (socket.try_clone()?, pages.clone());
            let tls = Arc::new(certificates.server_config(&[b"h3"]));
            let origin = ports.public_address.port();
            tasks.spawn("http3", move |stop| async move {
                Ok(http::serve_http3(socket, pages, tls, origin, stop, HTTP_DRAIN).await?)
            });
        }
        // A person is told with everything else, a program by the log.
        Http3Port::Missing(reason) if json => tracing::warn!(reason, "there is no HTTP/3"),
        Http3Port::Missing(_) | Http3Port::Off => {}
    }
    tasks.spawn("http", |stop| async move {
        Ok(http::serve(plain, pages, None, stop, HTTP_DRAIN).await?)
    });
    tasks.spawn("https", |stop| async move {
        Ok(http::serve(public, public_pages, Some(tls), stop, HTTP_DRAIN).await?)
    });
    if let (Some(address), Some(metrics)) = (settings.metrics, metrics) {
        let listener = ports::tcp(address, "--metrics")?;
        let pages = pages::internal(metrics.clone(), &readiness);
        tasks.spawn("metrics", |stop| async move {
            Ok(http::serve(listener, pages, None, stop, HTTP_DRAIN).await?)
        });
        tasks.spawn("metrics upkeep", |stop| async move {
            while stop
                .run_until_cancelled(tokio::time::sleep(Metrics::UPKEEP_EVERY))
                .await
                .is_some()
            {
                metrics.upkeep();
            }
            Ok(())
        });
    }
    let renewing = Arc::clone(&certificates);
    tasks.spawn("certificates", |stop| async move {
        renewing.maintain(stop).await;
        Ok(())
    });
    heartbeat::spawn(&mut tasks, &roles, &certificates);
    let draining = Arc::clone(&readiness);
    tasks.spawn("readiness", |stop| async move {
        stop.cancelled().await;
        draining.drain();
        Ok(())
    });

    opening.done(&roles).await?;
    let signals = Signals::listen().context("can't listen to signals")?;
    ready::announce(&settings, &ports, &certificates.current(), json, started_at)?;
    let outcome = tasks.run(signals, DRAIN).await;
    roles.close().await;
    if !json && outcome.is_ok() {
        eprintln!("Dark Tower has stopped.");
    }
    Ok(outcome?)
}

fn certificates(settings: &Settings) -> anyhow::Result<CertificateStore> {
    match (&settings.cert, &settings.key) {
        (Some(certificate), Some(key)) => Ok(CertificateStore::given(certificate, key)?),
        _ => Ok(CertificateStore::self_signed(
            &settings.data,
            &settings.certificate_names(),
        )?),
    }
}

fn readiness(roles: &Roles) -> Readiness {
    let (database, state) = (Arc::clone(&roles.database), Arc::clone(&roles.state));
    Readiness::default()
        .with("database", move || {
            let database = Arc::clone(&database);
            async move { database.ping().await.map_err(|error| error.to_string()) }
        })
        .with("state store", move || {
            let state = Arc::clone(&state);
            async move {
                state
                    .get("ready")
                    .await
                    .map(drop)
                    .map_err(|error| error.to_string())
            }
        })
}
