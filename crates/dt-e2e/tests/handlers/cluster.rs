//! A meeting controller and several media handlers, each with a socket and a
//! thread of its own, that can be lost one by one.
//!
//! Handlers and controller speak by the traits of `dt-rpc`, as they do in one
//! process; a handler that is lost is lost to the controller as a connection
//! between processes is: calls fail, and its events end.

use std::{
    sync::Arc,
    thread::JoinHandle,
    time::{Duration, SystemTime},
};

use anyhow::{Context as _, Result};
use async_trait::async_trait;
use dt_client::{
    Endpoint as Dialled, HandlerEndpoint, Meeting, MeetingAccess, Network, Secret, Settings,
};
use dt_ids::{ControllerId, HandlerId, MeetingCode, MeetingId};
use dt_rpc::{HandlerDirectory, MeetingController as _, Registry, RpcError, RpcResult};
use dt_service::{master_key::MasterKey, tls::CertificateStore};
use dt_store::MemoryState;
use dt_token::{JoinClaims, Role, Signer, SigningKey, StaticJwks, TokenId, UnixTime, Verifier};
use dt_transport::webtransport::{Listener, ListenerConfig};
use dt_wire::internal::{
    AssignMeeting, ControllerHeartbeat, ControllerHeartbeatResponse, Endpoint, HandlerEvent,
    HandlerHeartbeat, HandlerHeartbeatResponse, MeetingConfig, RegisterController,
    RegisterControllerResponse, RegisterMediaHandler, RegisterMediaHandlerResponse,
    RegisterMeetingController, RegisterMeetingControllerResponse, RegisterParticipant,
    RegisterParticipantResponse, RouteMediaCommand, RouteMediaResponse, TelemetryRequest,
    UnregisterParticipant, UnregisterParticipantResponse,
};
use media_handler::{LocalLinks, MediaHandler, SharedSecret};
use meeting_controller::MeetingController;
use tokio::{sync::mpsc, task::JoinSet};
use tokio_util::sync::CancellationToken;

const ISSUER: &str = "darktower";
const TOKEN_S: u64 = 300;
/// Events on their way from a handler to the controller.
const EVENTS: usize = 64;

/// The controller's calls end at this time where nobody answers.
const CALL: Duration = Duration::from_secs(3);

/// How a handler is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Loss {
    /// Its process is gone, and its machine says so to who calls.
    Killed,
    /// Its machine is gone, and nobody says so.
    Unplugged,
}

/// A media handler on a thread of its own.
pub(crate) struct Machine {
    pub(crate) id: HandlerId,
    handler: Arc<MediaHandler>,
    endpoint: Endpoint,
    lost: CancellationToken,
    /// What its connections to the controller show.
    closed: CancellationToken,
}

impl Machine {
    /// Starts it; its thread ends when it is lost or the token is cancelled.
    fn start(
        number: usize,
        certificates: Arc<CertificateStore>,
        links: &Arc<LocalLinks>,
        secret: &str,
        stop: &CancellationToken,
    ) -> Result<(Arc<Self>, JoinHandle<()>)> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let listener = {
            let _inside = runtime.enter();
            listener(certificates.clone())?
        };
        let endpoint = endpoint(&listener, &format!("mh/{number}"), &certificates);
        let id = HandlerId::random();
        let config = media_handler::Config::new(id, endpoint.clone());
        let pass = Arc::new(SharedSecret::new(secret.to_owned()));
        let handler = MediaHandler::with_links(config, Arc::clone(links), pass);
        links.add(&handler);
        let lost = stop.child_token();
        let (serving, end) = (Arc::clone(&handler), lost.clone());
        let thread = std::thread::Builder::new()
            .name(format!("handler-{number}"))
            .spawn(move || {
                // With the runtime all that it did is gone, and nobody is told.
                runtime.block_on(end.run_until_cancelled(accept(listener, serving)));
            })?;
        let machine = Self {
            id,
            handler,
            endpoint,
            lost,
            closed: CancellationToken::new(),
        };
        Ok((Arc::new(machine), thread))
    }

    pub(crate) fn lose(&self, loss: Loss) {
        self.lost.cancel();
        if loss == Loss::Killed {
            self.closed.cancel();
        }
    }

    pub(crate) fn is_lost(&self) -> bool {
        self.lost.is_cancelled()
    }

    /// Media sessions it has.
    pub(crate) fn sessions(&self) -> usize {
        self.handler.session_count()
    }

    /// Links to other handlers it has.
    pub(crate) fn links(&self) -> usize {
        self.handler.link_count()
    }

    pub(crate) async fn drain(&self, grace: Duration) {
        self.handler.drain(grace).await;
    }

    async fn reached(&self) -> RpcResult<&MediaHandler> {
        if !self.is_lost() {
            return Ok(&self.handler);
        }
        self.closed
            .clone()
            .run_until_cancelled_owned(tokio::time::sleep(CALL))
            .await;
        Err(RpcError::Unavailable("it is lost".to_owned()))
    }
}

async fn accept(listener: Listener, handler: Arc<MediaHandler>) {
    let mut sessions = JoinSet::new();
    while let Some(incoming) = listener.accept().await {
        let handler = Arc::clone(&handler);
        sessions.spawn(async move {
            if let Ok(session) = incoming.accept().await {
                handler.serve(session).await;
            }
        });
    }
}

fn listener(certificates: Arc<CertificateStore>) -> Result<Listener> {
    Ok(Listener::bind(ListenerConfig::new(
        "127.0.0.1:0".parse()?,
        certificates,
    ))?)
}

fn endpoint(listener: &Listener, path: &str, certificates: &CertificateStore) -> Endpoint {
    let pinned = certificates.current().pinned;
    Endpoint {
        url: format!("https://{}/{path}", listener.local_addr()),
        certificate_hashes: pinned.iter().map(|hash| hash.to_vec().into()).collect(),
        ..Endpoint::default()
    }
}

#[async_trait]
impl dt_rpc::MediaHandler for Machine {
    async fn register_controller(
        &self,
        request: RegisterController,
    ) -> RpcResult<RegisterControllerResponse> {
        self.reached().await?.register_controller(request).await
    }

    async fn register_participant(
        &self,
        request: RegisterParticipant,
    ) -> RpcResult<RegisterParticipantResponse> {
        self.reached().await?.register_participant(request).await
    }

    async fn unregister_participant(
        &self,
        request: UnregisterParticipant,
    ) -> RpcResult<UnregisterParticipantResponse> {
        self.reached().await?.unregister_participant(request).await
    }

    async fn route_media(&self, request: RouteMediaCommand) -> RpcResult<RouteMediaResponse> {
        self.reached().await?.route_media(request).await
    }

    async fn telemetry(
        &self,
        request: TelemetryRequest,
    ) -> RpcResult<mpsc::Receiver<HandlerEvent>> {
        let mut events = self.reached().await?.telemetry(request).await?;
        let (sender, receiver) = mpsc::channel(EVENTS);
        let (lost, closed) = (self.lost.clone(), self.closed.clone());
        tokio::spawn(closed.run_until_cancelled_owned(async move {
            while let Some(Some(event)) = lost.run_until_cancelled(events.recv()).await {
                if sender.send(event).await.is_err() {
                    return;
                }
            }
            // Open until it is closed.
            sender.closed().await;
        }));
        Ok(receiver)
    }
}

struct Directory(Vec<Arc<Machine>>);

impl HandlerDirectory for Directory {
    fn handler(&self, handler: HandlerId) -> Option<Arc<dyn dt_rpc::MediaHandler>> {
        let found = self.0.iter().find(|machine| machine.id == handler);
        found.map(|machine| Arc::clone(machine) as _)
    }
}

/// Meetings are assigned by the test, so nobody needs to be found.
struct NoRegistry;

#[async_trait]
impl Registry for NoRegistry {
    async fn register_meeting_controller(
        &self,
        _: RegisterMeetingController,
    ) -> RpcResult<RegisterMeetingControllerResponse> {
        Ok(RegisterMeetingControllerResponse {})
    }

    async fn controller_heartbeat(
        &self,
        _: ControllerHeartbeat,
    ) -> RpcResult<ControllerHeartbeatResponse> {
        Ok(ControllerHeartbeatResponse::default())
    }

    async fn register_media_handler(
        &self,
        _: RegisterMediaHandler,
    ) -> RpcResult<RegisterMediaHandlerResponse> {
        Ok(RegisterMediaHandlerResponse::default())
    }

    async fn handler_heartbeat(&self, _: HandlerHeartbeat) -> RpcResult<HandlerHeartbeatResponse> {
        Ok(HandlerHeartbeatResponse::default())
    }
}

/// One encrypted meeting on a controller with several handlers.
pub(crate) struct Cluster {
    pub(crate) machines: Vec<Arc<Machine>>,
    threads: Vec<JoinHandle<()>>,
    stop: CancellationToken,
    controller_endpoint: Endpoint,
    meeting: MeetingId,
    code: MeetingCode,
    signer: Signer,
    #[allow(dead_code)] // its certificates are kept in it
    data: tempfile::TempDir,
}

impl Cluster {
    /// `people_each` fit into a handler before the meeting is given another.
    pub(crate) async fn start(handlers: usize, people_each: usize) -> Result<Self> {
        let data = tempfile::tempdir()?;
        let names = ["localhost".to_owned()];
        let certificates = Arc::new(CertificateStore::self_signed(data.path(), &names)?);
        let stop = CancellationToken::new();
        let links = Arc::new(LocalLinks::default());
        let secret = HandlerId::random().to_string();
        let (mut machines, mut threads) = (Vec::new(), Vec::new());
        for number in 0..handlers {
            let (machine, thread) =
                Machine::start(number, certificates.clone(), &links, &secret, &stop)?;
            machines.push(machine);
            threads.push(thread);
        }

        let listener = listener(certificates.clone())?;
        let controller_endpoint = endpoint(&listener, "mc", &certificates);
        let key = SigningKey::random();
        let keys = StaticJwks([key.public()].into_iter().collect());
        let mut config =
            meeting_controller::Config::new(ControllerId::random(), controller_endpoint.clone());
        config.master_key = Some(MasterKey::random());
        config.meeting.handler_participants = people_each;
        let dependencies = meeting_controller::Dependencies {
            registry: Arc::new(NoRegistry),
            handlers: Arc::new(Directory(machines.clone())),
            state: Arc::new(MemoryState::new()),
            verifier: Arc::new(Verifier::new(ISSUER, Arc::new(keys))),
        };
        let controller = MeetingController::start(config, dependencies).await;
        let (meeting, code) = (MeetingId::random(), MeetingCode::random());
        let assign = AssignMeeting {
            meeting_id: meeting.to_string(),
            config: Some(MeetingConfig {
                max_participants: 20,
                meeting_code: code.to_string(),
                enable_e2e_encryption: true,
                ..MeetingConfig::default()
            }),
            handler_ids: machines.iter().map(|m| m.id.to_string()).collect(),
        };
        controller.assign_meeting(assign).await?;
        tokio::spawn(stop.clone().run_until_cancelled_owned(async move {
            let mut sessions = JoinSet::new();
            while let Some(incoming) = listener.accept().await {
                let controller = Arc::clone(&controller);
                sessions.spawn(async move {
                    if let Ok(session) = incoming.accept().await {
                        controller.serve(session).await;
                    }
                });
            }
        }));
        Ok(Self {
            machines,
            threads,
            stop,
            controller_endpoint,
            meeting,
            code,
            signer: Signer::new(ISSUER, key),
            data,
        })
    }

    /// Where somebody's pictures go.
    pub(crate) fn home(&self, meeting: &Meeting) -> Result<Arc<Machine>> {
        let handlers = meeting.handlers();
        let home = handlers.iter().find(|handler| handler.home);
        let home = home.context("a seat has a home")?.id;
        let machine = self.machines.iter().find(|machine| machine.id == home);
        Ok(Arc::clone(machine.context("a home is a handler")?))
    }

    /// What the API would answer to somebody who wants to join.
    pub(crate) fn access(&self, role: Role) -> Result<MeetingAccess> {
        let now = UnixTime::from(SystemTime::now());
        let claims = JoinClaims {
            id: TokenId::random(),
            meeting_id: self.meeting,
            role,
            account: None,
            expires_at: UnixTime(now.as_secs() + TOKEN_S),
        };
        let handlers = self.machines.iter().map(|machine| {
            Ok(HandlerEndpoint {
                handler_id: machine.id,
                endpoint: dialled(&machine.endpoint)?,
            })
        });
        Ok(MeetingAccess {
            meeting_id: self.meeting,
            meeting_code: self.code.to_string(),
            meeting_url: String::new(),
            display_name: None,
            join_token: Secret::new(self.signer.sign(&claims, now)),
            join_tokens: Vec::new(),
            host_token: None,
            max_participants: 20,
            participant_count: 0,
            meeting_controller: dialled(&self.controller_endpoint)?,
            media_handlers: handlers.take(2).collect::<Result<_>>()?,
            settings: Settings {
                enable_e2e_encryption: true,
            },
            accounts: None,
            network: Network::default(),
        })
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.stop.cancel();
        for thread in self.threads.drain(..) {
            // A panic of it was printed, and what it served has failed by it.
            let _ = thread.join();
        }
    }
}

fn dialled(endpoint: &Endpoint) -> Result<Dialled> {
    let hashes = endpoint.certificate_hashes.iter();
    Ok(Dialled {
        url: endpoint.url.parse()?,
        websocket_url: None,
        certificate_hashes: hashes
            .map(|hash| hash[..].try_into().context("a hash has 32 bytes"))
            .collect::<Result<_>>()?,
    })
}
