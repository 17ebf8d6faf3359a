//! The QUIC endpoint: one thread with a runtime of its own, on which all its
//! connections and all forwarding of media live.
//!
//! The path of a session says which role it is for: `/mc` (or `/`) the meeting
//! controller, whose sessions are served by the other threads, `/mh/N` a media
//! handler, served here. Sessions over [WebSockets](super::websocket) come in
//! here too and are served in the same places.

use std::{sync::Arc, thread, time::Duration};

use anyhow::Context as _;
use dt_service::{supervise::Tasks, tls::CertificateStore};
use dt_transport::{
    Session,
    webtransport::{Incoming, Listener, ListenerConfig},
};
use media_handler::MediaHandler;
use meeting_controller::MeetingController;
use tokio::{runtime::Handle, sync::oneshot, task::JoinSet};
use tokio_util::sync::CancellationToken;

use super::{ports::Ports, roles::Roles, settings::Settings, websocket::Upgraded};

/// Sessions have this long to say good-bye when the server stops.
const DRAIN: Duration = Duration::from_secs(3);
/// And WebSockets then this long until their clients have heard it.
const GOOD_BYES: Duration = Duration::from_secs(1);

/// Starts the thread. The receiver hears when the endpoint is open, or why it
/// is not; the task on `tasks` ends with the thread.
pub(super) fn spawn(
    tasks: &mut Tasks,
    settings: &Settings,
    ports: &Ports,
    certificates: Arc<CertificateStore>,
    roles: &Roles,
    upgraded: Upgraded,
) -> anyhow::Result<oneshot::Receiver<anyhow::Result<()>>> {
    let mut config = ListenerConfig::new(ports.public_address, certificates);
    config.allowed_origins = settings.allowed_origins(ports.http_address, ports.public_address);
    let entrance = Entrance {
        meeting: Arc::clone(&roles.meeting),
        handlers: roles
            .handlers
            .iter()
            .map(|(_, handler)| Arc::clone(handler))
            .collect(),
        main: Handle::current(),
        upgraded,
    };
    let (opened, listening) = oneshot::channel();
    let (ended, thread_end) = oneshot::channel();
    let stop = tasks.stop_token();
    thread::Builder::new()
        .name("darktower-media".to_owned())
        .spawn(move || {
            // Nobody waits for it any more when the process is torn down.
            let _ = ended.send(run(config, entrance, opened, stop));
        })
        .context("can't start the media thread")?;
    tasks.spawn("media thread", |_| async move {
        match thread_end.await {
            Ok(outcome) => Ok(outcome?),
            Err(_) => Err("the media thread panicked".into()),
        }
    });
    Ok(listening)
}

fn run(
    config: ListenerConfig,
    entrance: Entrance,
    opened: oneshot::Sender<anyhow::Result<()>>,
    stop: CancellationToken,
) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async move {
        match Listener::bind(config) {
            Ok(listener) => {
                let _ = opened.send(Ok(()));
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

struct Entrance {
    meeting: Arc<MeetingController>,
    handlers: Vec<Arc<MediaHandler>>,
    /// Where signaling is served.
    main: Handle,
    upgraded: Upgraded,
}

impl Entrance {
    async fn serve(mut self, listener: Listener, stop: CancellationToken) {
        let mut sessions = JoinSet::new();
        loop {
            let incoming = tokio::select! {
                () = stop.cancelled() => break,
                Some(_) = sessions.join_next() => continue,
                Some((place, session)) = self.upgraded.sessions.recv() => {
                    self.serve_session(place, session, &mut sessions);
                    continue;
                }
                incoming = listener.accept() => incoming,
            };
            match incoming {
                Some(incoming) => self.admit(incoming, &mut sessions),
                None => break,
            }
        }
        listener.stop_accepting();
        self.upgraded.sessions.close();
        self.upgraded.work.close();
        self.meeting.shutdown().await;
        for handler in &self.handlers {
            handler.shutdown();
        }
        let drained = tokio::time::timeout(DRAIN, async {
            while sessions.join_next().await.is_some() {}
        });
        if drained.await.is_err() {
            sessions.shutdown().await;
        }
        let _ = tokio::time::timeout(GOOD_BYES, self.upgraded.work.wait()).await;
        listener.shutdown().await;
    }

    /// Serves a session that is open.
    fn serve_session<S: Session>(&self, place: Place, session: S, sessions: &mut JoinSet<()>) {
        match place {
            Place::Meeting => {
                let meeting = Arc::clone(&self.meeting);
                let serving = async move { meeting.serve(session).await };
                sessions.spawn_on(serving, &self.main);
            }
            Place::Handler(number) => {
                if let Some(handler) = self.handlers.get(number).map(Arc::clone) {
                    sessions.spawn(async move { handler.serve(session).await });
                }
            }
        }
    }

    fn admit(&self, incoming: Incoming, sessions: &mut JoinSet<()>) {
        match Place::of(&incoming.info().path, self.handlers.len()) {
            Some(Place::Meeting) => {
                let meeting = Arc::clone(&self.meeting);
                let session = async move {
                    // A client that left meanwhile needs nothing.
                    if let Ok(session) = incoming.accept().await {
                        meeting.serve(session).await;
                    }
                };
                sessions.spawn_on(session, &self.main);
            }
            Some(Place::Handler(number)) => {
                let handler = Arc::clone(&self.handlers[number]);
                sessions.spawn(async move {
                    if let Ok(session) = incoming.accept().await {
                        handler.serve(session).await;
                    }
                });
            }
            None => {
                sessions.spawn(async move {
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
    fn a_handler_that_is_not_there_is_refused() {
        for path in ["/mh/1", "/mh/x", "/mh/-1", "/mhx", "/elsewhere"] {
            assert_eq!(Place::of(path, 1), None, "{path}");
        }
    }
}
