//! The roles of this process and who knows whom.
//!
//! Each is given the others only as `Arc<dyn …>` of `dt-rpc`. The circle
//! between the global controller (which calls meeting controllers) and those
//! (which register there) is closed by a directory that is filled last.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, PoisonError, RwLock},
};

use anyhow::Context as _;
use async_trait::async_trait;
use auth_controller::{AuthController, MasterKey};
use dt_ids::{ControllerId, HandlerId};
use dt_rpc::AuthJwks;
use dt_service::{
    http::Authenticator,
    tls::{CertificateStore, Certificates},
};
use dt_store::{Database, MemoryState, SqliteDatabase, StateStore};
use dt_token::Verifier;
use dt_wire::internal::Endpoint;
use global_controller::{ControllerDirectory, GlobalController};
use media_handler::{LocalLinks, MediaHandler, SharedSecret};
use meeting_controller::MeetingController;

use super::{ports::Ports, settings::Settings, websocket};
use crate::admin::place::DATABASE_FILE;

/// All roles, running.
pub(super) struct Roles {
    pub(super) database: Arc<dyn Database>,
    pub(super) state: Arc<dyn StateStore>,
    pub(super) auth: Arc<AuthController>,
    pub(super) global: Arc<GlobalController>,
    pub(super) meeting: Arc<MeetingController>,
    pub(super) meeting_id: ControllerId,
    /// In the order of their paths.
    pub(super) handlers: Vec<(HandlerId, Arc<MediaHandler>)>,
    pub(super) public: SocketAddr,
    sqlite: SqliteDatabase,
}

impl Roles {
    pub(super) async fn start(
        settings: &Settings,
        ports: &Ports,
        certificates: &CertificateStore,
    ) -> anyhow::Result<Self> {
        let sqlite = SqliteDatabase::open(settings.data.join(DATABASE_FILE)).await?;
        let database: Arc<dyn Database> = Arc::new(sqlite.clone());
        let state: Arc<dyn StateStore> = Arc::new(MemoryState::new());
        let master_key = MasterKey::load_or_make(&settings.data)?;
        let auth = start_auth(settings, &master_key, &database, &state).await?;
        let verifier = Arc::new(Verifier::new(
            settings.auth.issuer.clone(),
            Arc::new(AuthJwks(auth.clone())),
        ));
        let controllers = Arc::new(Controllers::default());
        let global = GlobalController::new(
            settings.global.clone(),
            global_controller::Dependencies {
                database: Arc::clone(&database),
                state: Arc::clone(&state),
                auth: auth.clone(),
                controllers: controllers.clone(),
                authenticator: Authenticator::new(Arc::clone(&verifier)),
            },
        );

        let (public, now) = (ports.public_address, certificates.current());
        let links = Arc::new(LocalLinks::default());
        // Nothing else of this process knows it.
        let secret = HandlerId::random().to_string();
        let handlers: Vec<_> = (0..settings.handlers)
            .map(|number| {
                let id = HandlerId::random();
                let endpoint = handler_endpoint(public, number, &now);
                let config = media_handler::Config::new(id, endpoint);
                let pass = Arc::new(SharedSecret::new(secret.clone()));
                let handler = MediaHandler::with_links(config, Arc::clone(&links), pass);
                links.add(&handler);
                (id, handler)
            })
            .collect();
        let directory: HashMap<HandlerId, Arc<dyn dt_rpc::MediaHandler>> = handlers
            .iter()
            .map(|(id, handler)| (*id, handler.clone() as _))
            .collect();
        let meeting_id = ControllerId::random();
        let meeting = MeetingController::start(
            meeting_controller::Config {
                master_key: Some(master_key),
                ..meeting_controller::Config::new(meeting_id, controller_endpoint(public, &now))
            },
            meeting_controller::Dependencies {
                registry: global.clone(),
                handlers: Arc::new(directory),
                state: Arc::clone(&state),
                verifier,
            },
        )
        .await;
        controllers.add(meeting_id, meeting.clone());
        let roles = Self {
            database,
            state,
            auth,
            global,
            meeting,
            meeting_id,
            handlers,
            public,
            sqlite,
        };
        super::heartbeat::register_handlers(&roles, &now).await?;
        Ok(roles)
    }

    /// Closes what must not be left open on disk.
    pub(super) async fn close(&self) {
        self.sqlite.close().await;
    }
}

async fn start_auth(
    settings: &Settings,
    master_key: &MasterKey,
    database: &Arc<dyn Database>,
    state: &Arc<dyn StateStore>,
) -> anyhow::Result<Arc<AuthController>> {
    let config = auth_controller::Config {
        master_key: Some(master_key.clone()),
        trusted_proxies: Arc::new(settings.global.trusted_proxies.clone()),
        ..settings.auth.clone()
    };
    AuthController::start(config, Arc::clone(database), Arc::clone(state))
        .await
        .context("the auth controller does not start")
}

/// Where clients dial the meeting controller.
pub(super) fn controller_endpoint(public: SocketAddr, now: &Certificates) -> Endpoint {
    endpoint(public, "mc", websocket::SIGNALING_PATH.to_owned(), now)
}

/// Where clients dial the media handler of this number.
pub(super) fn handler_endpoint(public: SocketAddr, number: usize, now: &Certificates) -> Endpoint {
    let path = format!("mh/{number}");
    endpoint(public, &path, websocket::media_path(number), now)
}

/// A WebSocket's URL is a path: it stands beside the pages, whichever entrance
/// they came by.
fn endpoint(
    public: SocketAddr,
    path: &str,
    websocket_path: String,
    now: &Certificates,
) -> Endpoint {
    let port = public.port();
    let url = if public.ip().is_unspecified() {
        // Whoever asks is sent to the host by which it came.
        format!("https://*:{port}/{path}")
    } else {
        format!("https://{public}/{path}")
    };
    Endpoint {
        url,
        websocket_url: websocket_path,
        certificate_hashes: now.pinned.iter().map(|hash| hash.to_vec().into()).collect(),
    }
}

/// Ways to the meeting controllers of this process.
#[derive(Default)]
struct Controllers(RwLock<HashMap<ControllerId, Arc<dyn dt_rpc::MeetingController>>>);

impl Controllers {
    fn add(&self, id: ControllerId, controller: Arc<dyn dt_rpc::MeetingController>) {
        self.0
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(id, controller);
    }
}

#[async_trait]
impl ControllerDirectory for Controllers {
    async fn controller(&self, id: ControllerId) -> Option<Arc<dyn dt_rpc::MeetingController>> {
        self.0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&id)
            .cloned()
    }
}
