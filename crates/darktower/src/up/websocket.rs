//! The WebSocket way in, on both HTTP entrances: `/ws` to the meeting
//! controller, `/media/N` to a media handler.
//!
//! Who may come is decided here; an open session goes to the [`entrance`] like
//! one that came by QUIC. Its socket is read and written by the threads of HTTP.
//!
//! [`entrance`]: super::entrance

use std::{net::SocketAddr, sync::Arc};

use axum::{
    Router,
    extract::{
        ConnectInfo, Path, State,
        ws::{
            CloseFrame, Message as AxumMessage, WebSocket, WebSocketUpgrade,
            rejection::WebSocketUpgradeRejection,
        },
    },
    http::{HeaderMap, header::ORIGIN},
    response::{IntoResponse as _, Response},
    routing::get,
};
use dt_service::http::{ApiError, Origin, api};
use dt_transport::{Carrier, SessionInfo};
use dt_websocket::{
    Kind, Limits, Message, SocketError, SocketReader, SocketWriter, WebSocketSession,
    tungstenite::{READ_AHEAD_BYTES, socket_error},
};
use futures::{
    SinkExt as _, StreamExt as _,
    stream::{SplitSink, SplitStream},
};
use tokio::sync::{Semaphore, mpsc};
use tokio_util::task::TaskTracker;

use super::entrance::Place;

/// WebSocket sessions of all kinds at once; one more is refused.
const SESSIONS_MAX: usize = 4096;
/// Sessions that a media thread has not taken yet.
const WAITING_MAX: usize = 256;
/// Groups that a client may have open: a few fewer than a media handler reads at
/// once, so that the one that makes room has ended when the next begins.
const CLIENT_GROUPS_MAX: usize = 60;

/// The path of signaling.
pub(super) const SIGNALING_PATH: &str = "/ws";

/// The path of a handler's media.
pub(super) fn media_path(number: usize) -> String {
    format!("/media/{number}")
}

/// A session, and for whom.
pub(super) type Opened = (Place, WebSocketSession);

/// The end of the way in that a media thread holds.
pub(super) struct Upgraded {
    pub(super) sessions: mpsc::Receiver<Opened>,
    /// The work of all of them, on all threads.
    pub(super) work: TaskTracker,
}

struct Door {
    allowed_origins: Vec<String>,
    handlers: usize,
    /// One for each media thread.
    threads: Vec<mpsc::Sender<Opened>>,
    room: Arc<Semaphore>,
    work: TaskTracker,
}

/// What HTTP answers, and where the sessions come out: on each of the media threads.
pub(super) fn way_in(
    allowed_origins: Vec<String>,
    handlers: usize,
    threads: usize,
) -> (Router, Vec<Upgraded>) {
    let work = TaskTracker::new();
    let way = |_| {
        let (sessions, opened) = mpsc::channel(WAITING_MAX);
        let upgraded = Upgraded {
            sessions: opened,
            work: work.clone(),
        };
        (sessions, upgraded)
    };
    let (threads, upgraded) = (0..threads).map(way).unzip();
    let door = Door {
        allowed_origins,
        handlers,
        threads,
        room: Arc::new(Semaphore::new(SESSIONS_MAX)),
        work,
    };
    let router = Router::new()
        .route(SIGNALING_PATH, get(signaling))
        .route("/media", get(first_handler))
        .route("/media/{number}", get(handler))
        .with_state(Arc::new(door));
    (api(router), upgraded)
}

/// What every upgrade begins with.
type Upgrade = Result<WebSocketUpgrade, WebSocketUpgradeRejection>;

async fn signaling(
    State(door): State<Arc<Door>>,
    own: Origin,
    ConnectInfo(remote): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    upgrade: Upgrade,
) -> Result<Response, ApiError> {
    let info = info(SIGNALING_PATH.to_owned(), &own, remote);
    door.open(Some(Place::Meeting), &own, &headers, upgrade, info)
}

async fn first_handler(
    state: State<Arc<Door>>,
    own: Origin,
    remote: ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    upgrade: Upgrade,
) -> Result<Response, ApiError> {
    handler(state, Path("0".to_owned()), own, remote, headers, upgrade).await
}

async fn handler(
    State(door): State<Arc<Door>>,
    Path(number): Path<String>,
    own: Origin,
    ConnectInfo(remote): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    upgrade: Upgrade,
) -> Result<Response, ApiError> {
    let number = number.parse().ok().filter(|n| *n < door.handlers);
    let info = info(number.map(media_path).unwrap_or_default(), &own, remote);
    door.open(number.map(Place::Handler), &own, &headers, upgrade, info)
}

fn info(path: String, own: &Origin, remote: SocketAddr) -> SessionInfo {
    SessionInfo {
        carrier: Carrier::WebSocket,
        path,
        authority_host: own.authority.host().to_owned(),
        remote_address: Some(remote),
        protocol: None,
    }
}

impl Door {
    fn open(
        &self,
        place: Option<Place>,
        own: &Origin,
        headers: &HeaderMap,
        upgrade: Upgrade,
        info: SessionInfo,
    ) -> Result<Response, ApiError> {
        if !self.admits(own, headers) {
            return Err(ApiError::forbidden("pages of this origin may not connect"));
        }
        let place = place.ok_or_else(|| ApiError::not_found("there is no such media handler"))?;
        let upgrade = match upgrade {
            Ok(upgrade) => upgrade,
            Err(rejection) => {
                let status = rejection.into_response().status();
                let words = "this is a WebSocket: ask for an upgrade";
                return Err(ApiError::invalid_request(words).with_status(status));
            }
        };
        let Ok(taken) = Arc::clone(&self.room).try_acquire_owned() else {
            return Err(ApiError::unavailable("there are too many sessions"));
        };
        let kind = match place {
            Place::Meeting => Kind::Signaling,
            Place::Handler(_) => Kind::Media,
        };
        let thread = place.thread(self.threads.len());
        let (sessions, working) = (self.threads[thread].clone(), self.work.token());
        let serve = move |socket: WebSocket| async move {
            let _held = (taken, working);
            let (writer, reader) = socket.split();
            let limits = Limits {
                groups_in_max: CLIENT_GROUPS_MAX,
                ..Limits::default()
            };
            let (session, work) =
                WebSocketSession::new(kind, limits, info, Reader(reader), Writer(writer));
            // An entrance that is closed drops the session, which ends the work.
            let _ = sessions.send((place, session)).await;
            work.await;
        };
        Ok(upgrade
            .read_buffer_size(READ_AHEAD_BYTES)
            .write_buffer_size(0)
            .max_write_buffer_size(usize::MAX)
            .max_message_size(kind.message_bytes_max())
            .max_frame_size(kind.message_bytes_max())
            .on_upgrade(serve))
    }

    /// Programs send no origin. A page must be one of this very server or of an
    /// origin that is allowed; several, and one that is hidden, are not.
    fn admits(&self, own: &Origin, headers: &HeaderMap) -> bool {
        let mut origins = headers.get_all(ORIGIN).iter();
        match (origins.next(), origins.next()) {
            (None, _) => true,
            (Some(origin), None) => origin.to_str().is_ok_and(|origin| {
                own.to_string() == origin
                    || self.allowed_origins.iter().any(|allowed| allowed == origin)
            }),
            (Some(_), Some(_)) => false,
        }
    }
}

struct Reader(SplitStream<WebSocket>);

impl SocketReader for Reader {
    async fn next(&mut self) -> Option<Result<Message, SocketError>> {
        let message = match self.0.next().await? {
            Ok(message) => message,
            Err(error) => return Some(Err(socket_error(error.into_inner()))),
        };
        Some(Ok(match message {
            AxumMessage::Binary(bytes) => Message::Binary(bytes),
            AxumMessage::Text(_) => Message::Text,
            AxumMessage::Ping(payload) => Message::Ping(payload),
            AxumMessage::Pong(payload) => Message::Pong(payload),
            AxumMessage::Close(None) => Message::Close(NO_STATUS, String::new()),
            AxumMessage::Close(Some(frame)) => Message::Close(frame.code, frame.reason.to_string()),
        }))
    }
}

/// A close without a code (RFC 6455 section 7.4.1).
const NO_STATUS: u16 = 1005;

struct Writer(SplitSink<WebSocket, AxumMessage>);

impl SocketWriter for Writer {
    async fn send(&mut self, message: Message) -> Result<(), SocketError> {
        let message = match message {
            Message::Binary(bytes) => AxumMessage::Binary(bytes),
            Message::Text => AxumMessage::Text("".into()),
            Message::Ping(payload) => AxumMessage::Ping(payload),
            Message::Pong(payload) => AxumMessage::Pong(payload),
            Message::Close(code, reason) => AxumMessage::Close(Some(CloseFrame {
                code,
                reason: reason.into(),
            })),
        };
        let sent = self.0.send(message).await;
        sent.map_err(|error| socket_error(error.into_inner()))
    }
}
