//! A controller between recorders, and clients that talk to it.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use bytes::Bytes;
use dt_ids::{ControllerId, HandlerId, MeetingCode, MeetingId, StreamId};
use dt_rpc::{
    HandlerDirectory, MediaHandler, MeetingController as _, Registry, RpcError, RpcResult,
};
use dt_service::master_key::MasterKey;
use dt_store::{Clock, MemoryState};
use dt_token::{JoinClaims, Role, Signer, SigningKey, StaticJwks, TokenId, UnixTime, Verifier};
use dt_transport::{
    RecvStream as _, SendStream as _, Session as _, SessionError, SessionInfo,
    memory::{self, MemoryRecvStream, MemorySendStream, MemorySession},
};
use dt_wire::{
    framing::{self, Decoder, Framed},
    internal::{
        AssignMeeting, ControllerHeartbeat, ControllerHeartbeatResponse, Endpoint, HandlerEvent,
        HandlerHeartbeat, HandlerHeartbeatResponse, HandlerLoad, MeetingConfig, RegisterController,
        RegisterControllerResponse, RegisterMediaHandler, RegisterMediaHandlerResponse,
        RegisterMeetingController, RegisterMeetingControllerResponse, RegisterParticipant,
        RegisterParticipantResponse, RouteMediaCommand, RouteMediaResponse, TelemetryRequest,
        UnregisterParticipant, UnregisterParticipantResponse, handler_event,
    },
    v1::{
        ClientMessage, ErrorCode, ErrorMessage, GridLayout, JoinRequest, JoinResponse, Layout,
        PublishStream, ServerMessage, StreamMetadata, StreamType, SubscribeLayout,
        client_message::Body as Request, layout::Kind, server_message::Body,
    },
};
use meeting_controller::{Config, Dependencies, MeetingController};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, timeout},
};

pub(crate) const KEY: [u8; 32] = [7; 32];
/// Far above anything that should happen; the clock is virtual.
const PATIENCE: Duration = Duration::from_secs(3);

/// As often as a handler does.
const BEAT_EVERY: Duration = Duration::from_millis(500);

fn about_all(load: HandlerLoad) -> HandlerEvent {
    HandlerEvent {
        event: Some(handler_event::Event::Load(load)),
        ..HandlerEvent::default()
    }
}

/// A media handler that writes down what it is told.
pub(crate) struct Recorder {
    pub(crate) id: HandlerId,
    pub(crate) registered: Mutex<BTreeMap<String, RegisterParticipant>>,
    pub(crate) unregistered: Mutex<Vec<String>>,
    pub(crate) routes: Mutex<BTreeMap<String, RouteMediaCommand>>,
    listener: Mutex<Option<mpsc::Sender<HandlerEvent>>>,
    /// The hash that clients pin.
    pub(crate) certificate: Mutex<Bytes>,
    /// What it says of itself, unless it is silent.
    said: Arc<Mutex<Option<HandlerLoad>>>,
    /// Registrations wait while this is false.
    answers: watch::Sender<bool>,
    /// Nobody gets through to it.
    away: AtomicBool,
    number: u32,
}

impl Recorder {
    fn new(number: u32) -> Self {
        Self {
            away: AtomicBool::new(false),
            number,
            id: HandlerId::random(),
            registered: Mutex::default(),
            unregistered: Mutex::default(),
            routes: Mutex::default(),
            listener: Mutex::default(),
            certificate: Mutex::new(Bytes::from_static(&[1; 32])),
            said: Arc::new(Mutex::new(Some(HandlerLoad::default()))),
            answers: watch::Sender::new(true),
        }
    }

    pub(crate) fn answer(&self, answers: bool) {
        self.answers.send_replace(answers);
    }

    /// It stops telling, and forgets everything.
    pub(crate) fn go_away(&self) {
        self.away.store(true, Ordering::SeqCst);
        self.registered.lock().unwrap().clear();
        self.routes.lock().unwrap().clear();
        *self.listener.lock().unwrap() = None;
    }

    /// Its connections stay, and nothing comes by them any more.
    pub(crate) fn fall_silent(&self) {
        *self.said.lock().unwrap() = None;
        self.away.store(true, Ordering::SeqCst);
    }

    /// It says this of itself, at once and from now on.
    pub(crate) async fn say(&self, load: HandlerLoad) {
        *self.said.lock().unwrap() = Some(load);
        self.send(about_all(load)).await;
    }

    pub(crate) fn come_back(&self) {
        self.away.store(false, Ordering::SeqCst);
    }

    /// Route ids with these high bits lead to it.
    pub(crate) fn route_space(&self) -> u32 {
        0x100 + self.number
    }

    pub(crate) async fn tell(&self, meeting: MeetingId, event: handler_event::Event) {
        let event = HandlerEvent {
            meeting_id: meeting.to_string(),
            event: Some(event),
        };
        self.send(event).await;
    }

    async fn send(&self, event: HandlerEvent) {
        let listener = self
            .listener
            .lock()
            .unwrap()
            .clone()
            .expect("a controller listens");
        listener.send(event).await.unwrap();
    }

    /// Who gets this stream.
    pub(crate) fn receivers(&self, stream: &str) -> Vec<String> {
        let routes = self.routes.lock().unwrap();
        let destinations = routes
            .get(stream)
            .map(|r| r.destinations.clone())
            .unwrap_or_default();
        destinations.into_iter().map(|d| d.participant_id).collect()
    }
}

#[async_trait]
impl MediaHandler for Recorder {
    async fn register_controller(
        &self,
        _: RegisterController,
    ) -> RpcResult<RegisterControllerResponse> {
        if self.away.load(Ordering::SeqCst) {
            return Err(RpcError::Unavailable("it is away".into()));
        }
        Ok(RegisterControllerResponse {
            handler_id: self.id.to_string(),
            endpoint: Some(Endpoint {
                url: format!("https://*:8443/mh/{}", self.number),
                certificate_hashes: vec![self.certificate.lock().unwrap().clone()],
                ..Endpoint::default()
            }),
            connection_token_key: Bytes::from_static(&KEY),
            route_space: self.route_space(),
        })
    }

    async fn register_participant(
        &self,
        request: RegisterParticipant,
    ) -> RpcResult<RegisterParticipantResponse> {
        let mut answers = self.answers.subscribe();
        answers
            .wait_for(|answers| *answers)
            .await
            .map_err(|e| RpcError::Internal(e.to_string()))?;
        self.registered
            .lock()
            .unwrap()
            .insert(request.participant_id.clone(), request);
        Ok(RegisterParticipantResponse::default())
    }

    async fn unregister_participant(
        &self,
        request: UnregisterParticipant,
    ) -> RpcResult<UnregisterParticipantResponse> {
        self.registered
            .lock()
            .unwrap()
            .remove(&request.participant_id);
        self.unregistered
            .lock()
            .unwrap()
            .push(request.participant_id);
        Ok(UnregisterParticipantResponse::default())
    }

    async fn route_media(&self, request: RouteMediaCommand) -> RpcResult<RouteMediaResponse> {
        let applied = request.generation;
        self.routes
            .lock()
            .unwrap()
            .insert(request.source_stream_id.clone(), request);
        Ok(RouteMediaResponse {
            applied,
            ..RouteMediaResponse::default()
        })
    }

    async fn telemetry(&self, _: TelemetryRequest) -> RpcResult<mpsc::Receiver<HandlerEvent>> {
        let (sender, receiver) = mpsc::channel(64);
        let beats = sender.downgrade();
        *self.listener.lock().unwrap() = Some(sender);
        let said = Arc::clone(&self.said);
        tokio::spawn(async move {
            while let Some(sender) = beats.upgrade() {
                let load = *said.lock().unwrap();
                if let Some(load) = load {
                    let _ = sender.send(about_all(load)).await;
                }
                drop(sender);
                tokio::time::sleep(BEAT_EVERY).await;
            }
        });
        Ok(receiver)
    }
}

struct Directory(Vec<Arc<Recorder>>);

impl HandlerDirectory for Directory {
    fn handler(&self, handler: HandlerId) -> Option<Arc<dyn MediaHandler>> {
        let found = self.0.iter().find(|recorder| recorder.id == handler);
        found.map(|recorder| Arc::clone(recorder) as Arc<dyn MediaHandler>)
    }
}

/// A registry that counts.
#[derive(Default)]
pub(crate) struct Register {
    pub(crate) registrations: Mutex<u32>,
    pub(crate) heartbeats: Mutex<Vec<ControllerHeartbeat>>,
    /// It has forgotten everybody.
    pub(crate) forgetful: Mutex<bool>,
}

#[async_trait]
impl Registry for Register {
    async fn register_meeting_controller(
        &self,
        _: RegisterMeetingController,
    ) -> RpcResult<RegisterMeetingControllerResponse> {
        *self.registrations.lock().unwrap() += 1;
        Ok(RegisterMeetingControllerResponse {})
    }

    async fn controller_heartbeat(
        &self,
        request: ControllerHeartbeat,
    ) -> RpcResult<ControllerHeartbeatResponse> {
        self.heartbeats.lock().unwrap().push(request);
        Ok(ControllerHeartbeatResponse {
            unknown: *self.forgetful.lock().unwrap(),
        })
    }

    async fn register_media_handler(
        &self,
        _: RegisterMediaHandler,
    ) -> RpcResult<RegisterMediaHandlerResponse> {
        Err(RpcError::Invalid("no handlers here".into()))
    }

    async fn handler_heartbeat(&self, _: HandlerHeartbeat) -> RpcResult<HandlerHeartbeatResponse> {
        Err(RpcError::Invalid("no handlers here".into()))
    }
}

/// tokio's clock, for leases.
struct Virtual(Instant);

impl Clock for Virtual {
    fn now_ms(&self) -> u64 {
        1_700_000_000_000 + u64::try_from(self.0.elapsed().as_millis()).unwrap()
    }
}

pub(crate) struct Bench {
    pub(crate) controller: Arc<MeetingController>,
    /// The first one.
    pub(crate) handler: Arc<Recorder>,
    pub(crate) handlers: Vec<Arc<Recorder>>,
    pub(crate) registry: Arc<Register>,
    pub(crate) state: Arc<MemoryState>,
    pub(crate) meeting: MeetingId,
    pub(crate) code: MeetingCode,
    pub(crate) encrypted: bool,
    signer: Signer,
    verifier: Arc<Verifier>,
    master_key: MasterKey,
}

async fn start(
    master_key: &MasterKey,
    registry: &Arc<Register>,
    handlers: &[Arc<Recorder>],
    state: &Arc<MemoryState>,
    verifier: &Arc<Verifier>,
    change: impl FnOnce(&mut Config),
) -> Arc<MeetingController> {
    let endpoint = Endpoint {
        url: "https://*:8443/mc".into(),
        ..Endpoint::default()
    };
    let mut config = Config::new(ControllerId::random(), endpoint);
    config.master_key = Some(master_key.clone());
    change(&mut config);
    let dependencies = Dependencies {
        registry: Arc::clone(registry) as Arc<dyn Registry>,
        handlers: Arc::new(Directory(handlers.to_vec())),
        state: Arc::clone(state) as Arc<dyn dt_store::StateStore>,
        verifier: Arc::clone(verifier),
    };
    MeetingController::start(config, dependencies).await
}

impl Bench {
    /// A controller with one meeting of so many seats.
    pub(crate) async fn with(participants_max: u32, change: impl FnOnce(&mut Config)) -> Self {
        Self::at(1, participants_max, change).await
    }

    /// The same, with so many handlers.
    pub(crate) async fn at(
        handlers: u32,
        participants_max: u32,
        change: impl FnOnce(&mut Config),
    ) -> Self {
        let bench = Self::without_meeting(handlers, change).await;
        bench.assign(participants_max).await.unwrap();
        bench
    }

    /// A controller with one end-to-end encrypted meeting.
    pub(crate) async fn encrypted() -> Self {
        let mut bench = Self::without_meeting(1, |_| {}).await;
        bench.encrypted = true;
        bench.assign(600).await.unwrap();
        bench
    }

    /// The controller stops, and another one on the same store takes its
    /// meeting.
    pub(crate) async fn succeed(&mut self) {
        self.controller.shutdown().await;
        self.controller = start(
            &self.master_key,
            &self.registry,
            &self.handlers,
            &self.state,
            &self.verifier,
            |_| {},
        )
        .await;
        self.assign(600).await.unwrap();
    }

    async fn without_meeting(handlers: u32, change: impl FnOnce(&mut Config)) -> Self {
        let handlers: Vec<_> = (0..handlers).map(|n| Arc::new(Recorder::new(n))).collect();
        let registry = Arc::new(Register::default());
        let state = Arc::new(MemoryState::with_clock(Arc::new(Virtual(Instant::now()))));
        let key = SigningKey::random();
        let keys = StaticJwks([key.public()].into_iter().collect());
        let verifier = Arc::new(Verifier::new("darktower", Arc::new(keys)));
        let master_key = MasterKey::random();
        let controller = start(&master_key, &registry, &handlers, &state, &verifier, change).await;
        Self {
            controller,
            handler: Arc::clone(&handlers[0]),
            handlers,
            registry,
            state,
            meeting: MeetingId::random(),
            code: MeetingCode::random(),
            encrypted: false,
            signer: Signer::new("darktower", key),
            verifier,
            master_key,
        }
    }

    pub(crate) async fn new() -> Self {
        Self::with(10, |_| {}).await
    }

    pub(crate) fn config(&self, max_participants: u32) -> MeetingConfig {
        MeetingConfig {
            display_name: "Standup".into(),
            max_participants,
            meeting_code: self.code.to_string(),
            enable_e2e_encryption: self.encrypted,
            ..MeetingConfig::default()
        }
    }

    pub(crate) async fn assign(&self, max_participants: u32) -> RpcResult<()> {
        let request = AssignMeeting {
            meeting_id: self.meeting.to_string(),
            config: Some(self.config(max_participants)),
            handler_ids: self.handlers.iter().map(|h| h.id.to_string()).collect(),
        };
        self.controller.assign_meeting(request).await.map(|_| ())
    }

    pub(crate) fn token(&self, role: Role) -> String {
        self.token_for(self.meeting, role, 300)
    }

    pub(crate) fn token_for(&self, meeting_id: MeetingId, role: Role, lifetime_s: u64) -> String {
        let now = UnixTime::from(SystemTime::now());
        let expires_at = UnixTime(now.as_secs() + lifetime_s);
        let id = TokenId::random();
        let claims = JoinClaims {
            id,
            meeting_id,
            role,
            account: None,
            expires_at,
        };
        self.signer.sign(&claims, now)
    }

    /// A session without a stream yet.
    pub(crate) fn session(&self) -> MemorySession {
        let info = SessionInfo {
            authority_host: "meet.example".into(),
            ..SessionInfo::default()
        };
        let (ours, theirs) = memory::pair(memory::Config {
            info,
            ..memory::Config::default()
        });
        let controller = Arc::clone(&self.controller);
        tokio::spawn(async move { controller.serve(theirs).await });
        ours
    }

    /// A client whose control stream is open.
    pub(crate) async fn connect(&self) -> Client {
        let session = self.session();
        let (send, recv) = session.open_bi().await.unwrap();
        Client {
            session,
            send,
            recv,
            decoder: Decoder::default(),
            last_request: 0,
        }
    }

    pub(crate) fn join_request(&self, name: &str, role: Role) -> JoinRequest {
        JoinRequest {
            meeting_id: self.meeting.to_string(),
            join_token: self.token(role),
            participant_name: name.into(),
            ..JoinRequest::default()
        }
    }

    /// A client that has joined, and its welcome.
    pub(crate) async fn join(&self, name: &str, role: Role) -> (Client, JoinResponse) {
        let mut client = self.connect().await;
        let welcome = client.join(self.join_request(name, role)).await;
        (client, welcome)
    }

    pub(crate) async fn live(&self) -> Option<u32> {
        use dt_store::{StateStore as _, keys};
        let bytes = self
            .state
            .get(&keys::meeting_live(self.meeting))
            .await
            .unwrap()?;
        keys::MeetingLive::from_bytes(&bytes).map(|live| live.participant_count)
    }
}

pub(crate) struct Client {
    pub(crate) session: MemorySession,
    pub(crate) send: MemorySendStream,
    recv: MemoryRecvStream,
    decoder: Decoder,
    last_request: u64,
}

impl Client {
    pub(crate) async fn send(&mut self, request: Request) -> u64 {
        self.last_request += 1;
        let message = ClientMessage::new(self.last_request, request);
        self.send.write(framing::encode(&message)).await.unwrap();
        self.last_request
    }

    pub(crate) async fn write(&mut self, bytes: impl Into<Bytes>) {
        // The other side may have closed already: then that is what is tested.
        let _ = self.send.write(bytes.into()).await;
    }

    /// The next framed thing; `None` when the session or the stream ended.
    pub(crate) async fn framed(&mut self) -> Option<Framed> {
        loop {
            if let Some(framed) = self.decoder.next().unwrap() {
                return Some(framed);
            }
            let read = timeout(PATIENCE, self.recv.read_chunk(1 << 16)).await;
            match read.expect("something arrives") {
                Ok(Some(chunk)) => self.decoder.push(&chunk),
                Ok(None) | Err(_) => return None,
            }
        }
    }

    pub(crate) async fn message(&mut self) -> Option<(u64, Body)> {
        let Framed::Message(bytes) = self.framed().await? else {
            panic!("an RTT packet nobody sent");
        };
        let (envelope, body) = ServerMessage::read(&bytes).unwrap();
        Some((envelope.request_id, body))
    }

    /// The next push that fits, past others.
    pub(crate) async fn push<T>(&mut self, fits: impl Fn(Body) -> Option<T>) -> T {
        loop {
            let (request_id, body) = self.message().await.expect("the session lives");
            if request_id == 0
                && let Some(found) = fits(body)
            {
                return found;
            }
        }
    }

    /// The answer to a request, past pushes.
    pub(crate) async fn answer(&mut self, request_id: u64) -> Body {
        loop {
            let (id, body) = self.message().await.expect("the session lives");
            if id == request_id {
                return body;
            }
        }
    }

    pub(crate) async fn ask(&mut self, request: Request) -> Body {
        let request_id = self.send(request).await;
        self.answer(request_id).await
    }

    pub(crate) async fn refused(&mut self, request: Request) -> ErrorMessage {
        match self.ask(request).await {
            Body::Error(error) => error,
            other => panic!("not refused: {other:?}"),
        }
    }

    pub(crate) async fn join(&mut self, request: JoinRequest) -> JoinResponse {
        match self.ask(Request::JoinRequest(request)).await {
            Body::JoinResponse(response) => response,
            other => panic!("not welcome: {other:?}"),
        }
    }

    pub(crate) async fn publish(&mut self, kind: StreamType, number: u32) -> String {
        let stream_id = StreamId::random().to_string();
        match self
            .ask(Request::PublishStream(stream(&stream_id, kind, number)))
            .await
        {
            Body::StreamPublished(_) => stream_id,
            other => panic!("not published: {other:?}"),
        }
    }

    pub(crate) async fn subscribe(&mut self) -> dt_wire::v1::StreamAssignments {
        match self
            .ask(Request::SubscribeLayout(SubscribeLayout {
                layout: Some(grid()),
            }))
            .await
        {
            Body::StreamAssignments(assignments) => assignments,
            other => panic!("not subscribed: {other:?}"),
        }
    }

    /// Reads until the session is closed; the code it was closed with.
    pub(crate) async fn close_code(&mut self) -> u32 {
        while self.message().await.is_some() {}
        match timeout(PATIENCE, self.session.closed())
            .await
            .expect("it is closed")
        {
            SessionError::ClosedByPeer { code, .. } => code,
            other => panic!("{other}"),
        }
    }
}

pub(crate) fn stream(id: &str, kind: StreamType, number: u32) -> PublishStream {
    let codec = if kind == StreamType::Audio {
        "opus"
    } else {
        "vp08"
    };
    PublishStream {
        stream_id: id.into(),
        stream_type: kind.into(),
        metadata: Some(StreamMetadata {
            codec: codec.into(),
            ..StreamMetadata::default()
        }),
        stream_number: number,
        ..PublishStream::default()
    }
}

pub(crate) fn grid() -> Layout {
    Layout {
        kind: Some(Kind::Grid(GridLayout {
            rows: 2,
            columns: 2,
        })),
        video_slots: vec![1, 2, 3, 4],
        audio_slots: vec![11, 12, 13],
        ..Layout::default()
    }
}

pub(crate) fn code(error: &ErrorMessage) -> ErrorCode {
    ErrorCode::try_from(error.code).unwrap()
}

/// Waits until something holds, looking again each virtual millisecond.
pub(crate) async fn eventually(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}
