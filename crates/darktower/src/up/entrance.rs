//! The media threads: each with a runtime of its own, and on it a listener on the one
//! public port, all connections that came to it, and the home of some media handlers.
//!
//! The path of a session says which role it is for: `/mc` (or `/`) the meeting
//! controller, whose sessions are served by the other threads, `/mh/N` a media
//! handler, served on the thread where its connection is. Sessions over
//! [WebSockets](super::websocket) come in here too; those of a media handler are
//! served at its home.

use std::{sync::Arc, thread, time::Duration};

use anyhow::{Context as _, anyhow};
use dt_service::{supervise::Tasks, tls::CertificateStore};
use dt_transport::{
    Session,
    webtransport::{Incoming, Listener, ListenerConfig, PortShare},
};
use media_handler::MediaHandler;
use meeting_controller::MeetingController;
use tokio::{runtime::Handle, sync::oneshot, task::JoinSet};
use tokio_util::{
    sync::CancellationToken,
    task::{TaskTracker, task_tracker::TaskTrackerToken},
};

use super::{ports::Ports, roles::Roles, settings::Settings, websocket::Upgraded};

/// Sessions have this long to say good-bye when the server stops.
const DRAIN: Duration = Duration::from_secs(3);
/// And WebSockets then this long until their clients have heard it.
const GOOD_BYES: Duration = Duration::from_secs(1);

/// Starts a thread for each share of the public port; the tasks on `tasks` end with
/// them.
pub(super) fn spawn(
    tasks: &mut Tasks,
    settings: &Settings,
    ports: &mut Ports,
    certificates: Arc<CertificateStore>,
    roles: &Roles,
    upgraded: Vec<Upgraded>,
) -> anyhow::Result<Opening> {
    let mut config = ListenerConfig::new(ports.public_address, certificates);
    config.allowed_origins = settings.allowed_origins(ports.http_address, ports.public_address);
    let mut opening = Opening {
        threads: Vec::new(),
        let_in: CancellationToken::new(),
    };
    let serving = TaskTracker::new();
    let shares = std::mem::take(&mut ports.shares);
    for (number, (share, upgraded)) in shares.into_iter().zip(upgraded).enumerate() {
        let entrance = Entrance {
            meeting: Arc::clone(&roles.meeting),
            handlers: roles
                .handlers
                .iter()
                .map(|(_, handler)| Arc::clone(handler))
                .collect(),
            main: Handle::current(),
            upgraded,
            sessions: JoinSet::new(),
            serves: serving.token(),
            serving: serving.clone(),
            connections: metrics::counter!("dt_connections_total", "thread" => number.to_string()),
        };
        let (opened, listening) = oneshot::channel();
        let (ended, thread_end) = oneshot::channel();
        let (config, stop) = (config.clone(), tasks.stop_token());
        let let_in = opening.let_in.clone();
        thread::Builder::new()
            .name(format!("darktower-media-{number}"))
            .spawn(move || {
                let gate = Gate {
                    opened,
                    let_in,
                    stop,
                };
                // Nobody waits for it any more when the process is torn down.
                let _ = ended.send(run(config, share, entrance, gate));
            })
            .context("can't start a media thread")?;
        tasks.spawn("media thread", |_| async move {
            match thread_end.await {
                Ok(outcome) => Ok(outcome?),
                Err(_) => Err("a media thread panicked".into()),
            }
        });
        opening.threads.push(listening);
    }
    serving.close();
    Ok(opening)
}

/// Threads that are about to listen.
pub(super) struct Opening {
    threads: Vec<oneshot::Receiver<anyhow::Result<Handle>>>,
    let_in: CancellationToken,
}

impl Opening {
    /// Waits until all of them listen, or one can't; then each handler has its home,
    /// and nobody was let in before.
    pub(super) async fn done(self, roles: &Roles) -> anyhow::Result<()> {
        let mut threads = Vec::new();
        for thread in self.threads {
            let listens = thread.await;
            threads.push(listens.unwrap_or_else(|_| Err(anyhow!("a media thread ended")))?);
        }
        for (number, (_, handler)) in roles.handlers.iter().enumerate() {
            handler.start(&threads[home(number, threads.len())]);
        }
        self.let_in.cancel();
        Ok(())
    }
}

/// The thread on which a handler is at home.
const fn home(handler: usize, threads: usize) -> usize {
    handler % threads
}

/// What a thread says when it listens, and hears then and at the end.
struct Gate {
    opened: oneshot::Sender<anyhow::Result<Handle>>,
    let_in: CancellationToken,
    stop: CancellationToken,
}

fn run(
    config: ListenerConfig,
    share: PortShare,
    entrance: Entrance,
    gate: Gate,
) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async move {
        let Gate {
            opened,
            let_in,
            stop,
        } = gate;
        match Listener::bind_share(config, share) {
            Ok(listener) => {
                let _ = opened.send(Ok(Handle::current()));
                stop.run_until_cancelled(let_in.cancelled()).await;
                entrance.serve(listener, stop).await;
            }
            Err(error) => {
                let _ = opened.send(Err(error.into()));
                // Whoever waits for the opening stops everything.
                stop.cancelled().await;
            }
        }
    });
    Ok(())
}

/// What one of the threads serves.
struct Entrance {
    meeting: Arc<MeetingController>,
    handlers: Vec<Arc<MediaHandler>>,
    /// Where signaling is served.
    main: Handle,
    upgraded: Upgraded,
    sessions: JoinSet<()>,
    /// Held while this thread has sessions, and all of those of all threads.
    serves: TaskTrackerToken,
    serving: TaskTracker,
    /// Connections that came to this thread.
    connections: metrics::Counter,
}

impl Entrance {
    async fn serve(mut self, listener: Listener, stop: CancellationToken) {
        loop {
            let incoming = tokio::select! {
                () = stop.cancelled() => break,
                Some(_) = self.sessions.join_next() => continue,
                Some((place, session)) = self.upgraded.sessions.recv() => {
                    self.serve_session(place, session);
                    continue;
                }
                incoming = listener.accept() => incoming,
            };
            match incoming {
                Some(incoming) => self.admit(incoming),
                None => break,
            }
        }
        listener.stop_accepting();
        self.upgraded.sessions.close();
        self.upgraded.work.close();
        // Each thread does so once it lets nobody in any more; all but the first time
        // it is for those that came to this one meanwhile.
        self.meeting.shutdown().await;
        for handler in &self.handlers {
            handler.shutdown();
        }
        let drained = tokio::time::timeout(DRAIN, async {
            while self.sessions.join_next().await.is_some() {}
        });
        if drained.await.is_err() {
            self.sessions.shutdown().await;
        }
        drop(self.serves);
        // Sessions of other threads may still need what a handler does at its home.
        let _ = tokio::time::timeout(DRAIN, self.serving.wait()).await;
        let _ = tokio::time::timeout(GOOD_BYES, self.upgraded.work.wait()).await;
        listener.shutdown().await;
    }

    /// Serves a session that is open.
    fn serve_session<S: Session>(&mut self, place: Place, session: S) {
        match place {
            Place::Meeting => {
                let meeting = Arc::clone(&self.meeting);
                let serving = async move { meeting.serve(session).await };
                self.sessions.spawn_on(serving, &self.main);
            }
            Place::Handler(number) => {
                if let Some(handler) = self.handlers.get(number).map(Arc::clone) {
                    self.sessions
                        .spawn(async move { handler.serve(session).await });
                }
            }
        }
    }

    fn admit(&mut self, incoming: Incoming) {
        self.connections.increment(1);
        match Place::of(&incoming.info().path, self.handlers.len()) {
            Some(Place::Meeting) => {
                let meeting = Arc::clone(&self.meeting);
                let session = async move {
                    // A client that left meanwhile needs nothing.
                    if let Ok(session) = incoming.accept().await {
                        meeting.serve(session).await;
                    }
                };
                self.sessions.spawn_on(session, &self.main);
            }
            Some(Place::Handler(number)) => {
                let handler = Arc::clone(&self.handlers[number]);
                self.sessions.spawn(async move {
                    if let Ok(session) = incoming.accept().await {
                        handler.serve(session).await;
                    }
                });
            }
            None => {
                self.sessions.spawn(async move {
                    let _ = incoming.reject(axum::http::StatusCode::NOT_FOUND).await;
                });
            }
        }
    }
}

/// Whom a session is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Meeting,
    /// Always one that there is.
    Handler(usize),
}

impl Place {
    /// The media thread that a session for it comes in at by WebSocket.
    pub(super) const fn thread(self, threads: usize) -> usize {
        match self {
            Self::Meeting => 0,
            Self::Handler(number) => home(number, threads),
        }
    }

    fn of(path: &str, handlers: usize) -> Option<Self> {
        match path {
            "/" | "" | "/mc" => Some(Self::Meeting),
            "/mh" => Some(Self::Handler(0)),
            path => {
                let number = path.strip_prefix("/mh/")?.parse().ok()?;
                (number < handlers).then_some(Self::Handler(number))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_says_whom_a_session_is_for() {
        assert_eq!(Place::of("/mc", 1), Some(Place::Meeting));
        assert_eq!(Place::of("/", 1), Some(Place::Meeting));
        assert_eq!(Place::of("/mh", 1), Some(Place::Handler(0)));
        assert_eq!(Place::of("/mh/1", 2), Some(Place::Handler(1)));
    }

    #[test]
    fn handlers_are_at_home_on_the_threads_in_turn() {
        let homes = (0..5).map(|number| Place::Handler(number).thread(2));
        assert_eq!(homes.collect::<Vec<_>>(), [0, 1, 0, 1, 0]);
        assert_eq!(Place::Handler(3).thread(1), 0);
        assert_eq!(Place::Meeting.thread(2), 0);
    }

    #[test]
    fn a_handler_that_is_not_there_is_refused() {
        for path in ["/mh/1", "/mh/x", "/mh/-1", "/mhx", "/elsewhere"] {
            assert_eq!(Place::of(path, 1), None, "{path}");
        }
    }
}
