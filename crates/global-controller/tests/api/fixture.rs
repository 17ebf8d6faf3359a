//! A global controller on embedded stores, with an auth controller that signs
//! with a key of its own and meeting controllers that note what they are told.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::SystemTime,
};

use async_trait::async_trait;
use axum::{
    Router,
    body::{Body, to_bytes},
    extract::ConnectInfo,
};
use dt_ids::{AccountId, ControllerId, HandlerId, OrganisationId};
use dt_rpc::{AuthController, MeetingController, Registry as _, RpcError, RpcResult};
use dt_service::http::Authenticator;
use dt_store::{Database as _, MemoryState, OrganisationRecord, SqliteDatabase};
use dt_token::{
    ClaimSet, HostClaims, JoinClaims, Jwks, ServiceClaims, Signer, SigningKey, StaticJwks, TokenId,
    UnixTime, UserClaims, Verifier,
};
use dt_wire::internal::{
    AssignMeeting, AssignMeetingResponse, ControllerCapacity, EndMeetingCall,
    EndMeetingCallResponse, Endpoint, GetJwks, GetJwksResponse, HandlerCapacity, IssueMeetingToken,
    IssueMeetingTokenResponse, RegisterMediaHandler, RegisterMeetingController, TokenKind,
    UpdateMeeting, UpdateMeetingResponse,
};
use global_controller::{Config, ControllerDirectory, Dependencies, GlobalController};
use http::{HeaderMap, Method, Request};
use serde_json::Value;
use tower::ServiceExt as _;

pub struct Fixture {
    pub router: Router,
    pub gc: Arc<GlobalController>,
    pub state: Arc<MemoryState>,
    pub directory: Arc<Directory>,
    pub signer: Arc<Signing>,
    pub verifier: Arc<Verifier>,
    pub database: Arc<SqliteDatabase>,
    _data: tempfile::TempDir,
}

/// An answer, read whole.
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Value,
}

impl Answer {
    pub fn code(&self) -> &str {
        self.body["error"]["code"].as_str().unwrap_or("none")
    }

    pub fn text(&self, field: &str) -> String {
        self.body[field]
            .as_str()
            .unwrap_or_else(|| panic!("no {field} in {}", self.body))
            .to_owned()
    }
}

impl Fixture {
    /// One controller with room and two handlers.
    pub async fn new(config: Config) -> Self {
        let fixture = Self::empty(config).await;
        fixture.add_controller().await;
        fixture.add_handler().await;
        fixture.add_handler().await;
        fixture
    }

    /// Nobody is registered.
    pub async fn empty(config: Config) -> Self {
        let data = tempfile::tempdir().unwrap();
        let database = SqliteDatabase::open(data.path().join("test.db"))
            .await
            .unwrap();
        let database = Arc::new(database);
        let state = Arc::new(MemoryState::new());
        let key = SigningKey::random();
        let jwks: Jwks = [key.public()].into_iter().collect();
        let verifier = Arc::new(Verifier::new("darktower", Arc::new(StaticJwks(jwks))));
        let signer = Arc::new(Signing(Signer::new("darktower", key)));
        let directory = Arc::new(Directory::default());
        let gc = GlobalController::new(
            config,
            Dependencies {
                database: database.clone(),
                state: state.clone(),
                auth: signer.clone(),
                controllers: directory.clone(),
                authenticator: Authenticator::new(verifier.clone()),
            },
        );
        let router = global_controller::mount(gc.router().merge(
            global_controller::openapi_router(GlobalController::openapi()),
        ));
        Self {
            router,
            gc,
            state,
            directory,
            signer,
            verifier,
            database,
            _data: data,
        }
    }

    pub async fn add_controller(&self) -> Arc<Controller> {
        let controller = Arc::new(Controller::default());
        let id = ControllerId::random();
        let request = RegisterMeetingController {
            controller_id: id.to_string(),
            region: "test".to_owned(),
            endpoint: Some(Endpoint {
                url: "https://*:8443/mc".to_owned(),
                websocket_url: String::new(),
                certificate_hashes: vec![vec![7; 32].into()],
            }),
            capacity: Some(ControllerCapacity {
                max_meetings: 10,
                ..Default::default()
            }),
        };
        self.gc.register_meeting_controller(request).await.unwrap();
        self.directory
            .0
            .lock()
            .unwrap()
            .insert(id, controller.clone());
        controller
    }

    pub async fn add_handler(&self) -> HandlerId {
        let id = HandlerId::random();
        let request = RegisterMediaHandler {
            handler_id: id.to_string(),
            region: "test".to_owned(),
            endpoint: Some(Endpoint {
                url: "https://media.example:8443/mh/0".to_owned(),
                websocket_url: "wss://media.example/media".to_owned(),
                certificate_hashes: Vec::new(),
            }),
            capacity: Some(HandlerCapacity::default()),
        };
        self.gc.register_media_handler(request).await.unwrap();
        id
    }

    pub async fn send(
        &self,
        method: Method,
        path: &str,
        token: Option<&str>,
        body: Value,
    ) -> Answer {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "localhost:8080");
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let body = match body {
            Value::Null => Body::empty(),
            body => {
                request = request.header("content-type", "application/json");
                Body::from(body.to_string())
            }
        };
        self.answer(request.body(body).unwrap()).await
    }

    pub async fn answer(&self, mut request: Request<Body>) -> Answer {
        let address: SocketAddr = "192.0.2.1:4711".parse().unwrap();
        request.extensions_mut().insert(ConnectInfo(address));
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = to_bytes(body, 1 << 20).await.unwrap();
        let body = if bytes.is_empty() {
            Value::Null
        } else {
            serde_json::from_slice(&bytes).unwrap()
        };
        Answer {
            status: parts.status.as_u16(),
            headers: parts.headers,
            body,
        }
    }

    pub async fn get(&self, path: &str, token: Option<&str>) -> Answer {
        self.send(Method::GET, path, token, Value::Null).await
    }

    pub async fn post(&self, path: &str, token: Option<&str>, body: Value) -> Answer {
        self.send(Method::POST, path, token, body).await
    }

    /// A meeting made by a guest.
    pub async fn meeting(&self) -> Answer {
        let answer = self.post("/api/v1/meetings", None, Value::Null).await;
        assert_eq!(answer.status, 201, "{}", answer.body);
        answer
    }

    pub async fn organisation(&self, slug: &str) -> OrganisationId {
        let id = OrganisationId::random();
        let record = OrganisationRecord {
            id,
            slug: slug.to_owned(),
            display_name: slug.to_owned(),
            created_at: time::OffsetDateTime::now_utc(),
        };
        self.database.add_organisation(&record).await.unwrap();
        id
    }

    pub async fn claims(&self, token: &str) -> JoinClaims {
        self.verifier.verify(token, now()).await.unwrap()
    }
}

pub fn now() -> UnixTime {
    UnixTime::from(SystemTime::now())
}

/// Signs what the auth controller would.
pub struct Signing(Signer);

impl Signing {
    pub fn user(
        &self,
        account: AccountId,
        organisation: Option<OrganisationId>,
        scopes: &str,
    ) -> String {
        self.sign(&UserClaims {
            id: TokenId::random(),
            account,
            organisation,
            scopes: scopes.parse().unwrap(),
            expires_at: UnixTime(now().0 + 3600),
        })
    }

    pub fn service(&self, scopes: &str) -> String {
        self.sign(&ServiceClaims {
            id: TokenId::random(),
            client_id: "robot".to_owned(),
            scopes: scopes.parse().unwrap(),
            expires_at: UnixTime(now().0 + 3600),
        })
    }

    fn sign(&self, claims: &impl ClaimSet) -> String {
        self.0.sign(claims, now())
    }
}

#[async_trait]
impl AuthController for Signing {
    async fn issue_meeting_token(
        &self,
        request: IssueMeetingToken,
    ) -> RpcResult<IssueMeetingTokenResponse> {
        let expires_at = UnixTime(now().0 + u64::from(request.lifetime_s.max(300)));
        let meeting_id = request.meeting_id.parse().unwrap();
        let account = request.account_id.parse().ok();
        let token = || match request.kind() {
            TokenKind::Host => self.sign(&HostClaims {
                id: TokenId::random(),
                meeting_id,
                account,
                expires_at,
            }),
            _ => self.sign(&JoinClaims {
                id: TokenId::random(),
                meeting_id,
                role: request.role().try_into().unwrap(),
                account,
                expires_at,
            }),
        };
        Ok(IssueMeetingTokenResponse {
            tokens: (0..request.count.max(1)).map(|_| token()).collect(),
            expires_at: expires_at.0,
        })
    }

    async fn get_jwks(&self, _: GetJwks) -> RpcResult<GetJwksResponse> {
        Err(RpcError::Unavailable("not asked in these tests".to_owned()))
    }
}

#[derive(Default)]
pub struct Directory(Mutex<HashMap<ControllerId, Arc<Controller>>>);

#[async_trait]
impl ControllerDirectory for Directory {
    async fn controller(&self, id: ControllerId) -> Option<Arc<dyn MeetingController>> {
        let controller = self.0.lock().unwrap().get(&id).cloned();
        controller.map(|controller| controller as Arc<dyn MeetingController>)
    }
}

/// A meeting controller that notes what it is told.
#[derive(Default)]
pub struct Controller {
    pub is_full: AtomicBool,
    pub is_down: AtomicBool,
    pub assigned: Mutex<Vec<AssignMeeting>>,
    pub updated: Mutex<Vec<UpdateMeeting>>,
    pub ended: Mutex<Vec<EndMeetingCall>>,
}

impl Controller {
    fn check(&self) -> RpcResult<()> {
        if self.is_down.load(Ordering::Relaxed) {
            return Err(RpcError::Unavailable("down".to_owned()));
        }
        Ok(())
    }
}

#[async_trait]
impl MeetingController for Controller {
    async fn assign_meeting(&self, request: AssignMeeting) -> RpcResult<AssignMeetingResponse> {
        self.check()?;
        if self.is_full.load(Ordering::Relaxed) {
            return Err(RpcError::Capacity("full".to_owned()));
        }
        self.assigned.lock().unwrap().push(request);
        Ok(AssignMeetingResponse {})
    }

    async fn update_meeting(&self, request: UpdateMeeting) -> RpcResult<UpdateMeetingResponse> {
        self.check()?;
        self.updated.lock().unwrap().push(request);
        Ok(UpdateMeetingResponse {})
    }

    async fn end_meeting(&self, request: EndMeetingCall) -> RpcResult<EndMeetingCallResponse> {
        self.check()?;
        self.ended.lock().unwrap().push(request);
        Ok(EndMeetingCallResponse {})
    }
}
