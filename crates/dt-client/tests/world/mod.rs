//! A small server inside the test's process: a controller and a handler that
//! speak the wire over in-memory sessions, and do as the test says.

#![allow(dead_code)] // each test file uses its part

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicU32, Ordering},
};

use bytes::Bytes;
use dt_client::{
    Dial, DialError, Endpoint, HandlerEndpoint, MeetingAccess, Network, Secret, SessionKind,
    Settings,
};
use dt_ids::{HandlerId, MeetingId, ParticipantId};
use dt_transport::{
    RecvStream, SendStream, Session,
    memory::{Config, MemoryRecvStream, MemorySendStream, MemorySession, pair},
};
use dt_wire::{
    framing::{self, Decoder, Framed},
    v1::{
        ClientMessage, JoinResponse, MediaClientMessage, MediaServerInfo, MediaServerMessage,
        MediaWelcome, ServerMessage, client_message, media_client_message, media_server_message,
        server_message,
    },
};
use tokio::sync::mpsc;

pub(crate) const HANDLER: HandlerId = HandlerId::from_bytes([9; 16]);
pub(crate) const SPARE: HandlerId = HandlerId::from_bytes([10; 16]);
pub(crate) const PARTICIPANT: ParticipantId = ParticipantId::from_bytes([1; 16]);

/// Gives the other end of every session to the test.
#[derive(Clone)]
pub(crate) struct World {
    pub(crate) config: Config,
    pub(crate) signaling: mpsc::UnboundedSender<MemorySession>,
    pub(crate) media: mpsc::UnboundedSender<MemorySession>,
    pub(crate) spare: mpsc::UnboundedSender<MemorySession>,
    /// So many dials fail before one succeeds.
    pub(crate) failing: Arc<AtomicU32>,
    pub(crate) dialled: Arc<Mutex<Vec<String>>>,
}

/// What the test holds of the world.
pub(crate) struct Servers {
    pub(crate) signaling: mpsc::UnboundedReceiver<MemorySession>,
    pub(crate) media: mpsc::UnboundedReceiver<MemorySession>,
    /// Of the second handler.
    pub(crate) spare: mpsc::UnboundedReceiver<MemorySession>,
}

pub(crate) fn world(config: Config) -> (World, Servers) {
    let (signaling_in, signaling) = mpsc::unbounded_channel();
    let (media_in, media) = mpsc::unbounded_channel();
    let (spare_in, spare) = mpsc::unbounded_channel();
    let world = World {
        config,
        signaling: signaling_in,
        media: media_in,
        spare: spare_in,
        failing: Arc::default(),
        dialled: Arc::default(),
    };
    let servers = Servers {
        signaling,
        media,
        spare,
    };
    (world, servers)
}

impl Dial for World {
    type Session = MemorySession;

    async fn dial(&self, endpoint: &Endpoint, _: SessionKind) -> Result<MemorySession, DialError> {
        self.dialled
            .lock()
            .unwrap()
            .push(endpoint.url.path().into());
        let failing = self
            .failing
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| {
                left.checked_sub(1)
            });
        if failing.is_ok() {
            return Err(DialError::Other("refused by the test".into()));
        }
        let (client, server) = pair(self.config.clone());
        let queue = match endpoint.url.path() {
            "/mc" => &self.signaling,
            "/mh/1" => &self.spare,
            _ => &self.media,
        };
        queue
            .send(server)
            .map_err(|_| DialError::Other("the test is over".into()))?;
        Ok(client)
    }
}

pub(crate) fn access() -> MeetingAccess {
    let endpoint = |path: &str| Endpoint {
        url: format!("https://test.invalid{path}").parse().unwrap(),
        websocket_url: None,
        certificate_hashes: Vec::new(),
    };
    MeetingAccess {
        meeting_id: MeetingId::from_bytes([2; 16]),
        meeting_code: "abcde-fghjk-mnpqr".into(),
        meeting_url: String::new(),
        display_name: None,
        join_token: Secret::new("the-join-token"),
        join_tokens: Vec::new(),
        host_token: None,
        max_participants: 10,
        participant_count: 0,
        meeting_controller: endpoint("/mc"),
        media_handlers: vec![HandlerEndpoint {
            handler_id: HANDLER,
            endpoint: endpoint("/mh/0"),
        }],
        settings: Settings::default(),
        accounts: None,
        network: Network::default(),
    }
}

/// A control stream as the server has it.
pub(crate) struct Control {
    pub(crate) session: MemorySession,
    pub(crate) send: MemorySendStream,
    recv: MemoryRecvStream,
    decoder: Decoder,
    /// Whether probes are echoed.
    pub(crate) echo: bool,
}

impl Control {
    pub(crate) async fn accept(session: MemorySession) -> Self {
        let (send, recv) = session.accept_bi().await.unwrap();
        Self {
            session,
            send,
            recv,
            decoder: Decoder::default(),
            echo: true,
        }
    }

    async fn next(&mut self) -> Option<Bytes> {
        loop {
            while let Some(framed) = self.decoder.next().unwrap() {
                match framed {
                    Framed::Message(bytes) => return Some(bytes),
                    Framed::Rtt(packet) if self.echo => {
                        let echo = framing::encode_bytes(&packet);
                        self.send.write(echo).await.ok()?;
                    }
                    Framed::Rtt(_) => {}
                }
            }
            let chunk = self.recv.read_chunk(1 << 16).await.ok()??;
            self.decoder.push(&chunk);
        }
    }

    /// The next request that is no heartbeat.
    pub(crate) async fn request(&mut self) -> (u64, client_message::Body) {
        loop {
            let bytes = self.next().await.expect("the client closed the stream");
            let (message, body) = ClientMessage::read(&bytes).unwrap();
            if !matches!(body, client_message::Body::Heartbeat(_)) {
                return (message.request_id, body);
            }
        }
    }

    pub(crate) async fn say(&mut self, request_id: u64, body: server_message::Body) {
        let message = framing::encode(&ServerMessage::new(request_id, body));
        self.send.write(message).await.unwrap();
    }

    pub(crate) async fn media_request(&mut self) -> media_client_message::Body {
        let bytes = self.next().await.expect("the client closed the stream");
        MediaClientMessage::read(&bytes).unwrap().1
    }

    pub(crate) async fn media_say(&mut self, body: media_server_message::Body) {
        let message = framing::encode(&MediaServerMessage::new(0, body));
        self.send.write(message).await.unwrap();
    }

    /// Echoes probes and nothing else, until the stream ends.
    pub(crate) async fn idle(&mut self) {
        while self.next().await.is_some() {}
    }
}

pub(crate) fn media_server(token: &str) -> MediaServerInfo {
    MediaServerInfo {
        media_handler_url: "https://test.invalid/mh/0".into(),
        connection_token: token.into(),
        handler_id: HANDLER.to_string(),
        ..MediaServerInfo::default()
    }
}

pub(crate) fn spare_server(token: &str) -> MediaServerInfo {
    MediaServerInfo {
        media_handler_url: "https://test.invalid/mh/1".into(),
        connection_token: token.into(),
        handler_id: SPARE.to_string(),
        ..MediaServerInfo::default()
    }
}

pub(crate) fn join_response(resume_token: &'static [u8]) -> JoinResponse {
    JoinResponse {
        participant_id: PARTICIPANT.to_string(),
        user_id: 1,
        media_servers: vec![media_server("the-media-token")],
        resume_token: Bytes::from_static(resume_token),
        ..JoinResponse::default()
    }
}

/// Takes the hello of a media session and welcomes it.
pub(crate) async fn welcome(session: MemorySession) -> (Control, String) {
    let mut control = Control::accept(session).await;
    let media_client_message::Body::Hello(hello) = control.media_request().await else {
        panic!("the first message is the hello");
    };
    control
        .media_say(media_server_message::Body::Welcome(MediaWelcome {
            handler_id: HANDLER.to_string(),
            max_datagram_bytes: 1100,
        }))
        .await;
    (control, hello.connection_token)
}
