//! Links to media handlers: the key and endpoint each gave at registration, and
//! what it tells as it happens. One that breaks is made anew, and the meetings
//! are told of both.

use std::{
    collections::HashMap,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use dt_ids::{ControllerId, HandlerId, MeetingId, ParticipantId};
use dt_rpc::{HandlerDirectory, MediaHandler, RpcError};
use dt_token::{
    UnixTime,
    connection::{ConnectionClaims, ConnectionKey, mint},
};
use dt_wire::{
    internal::{
        Endpoint, HandlerEvent, HandlerLoad, RegisterController, RegisterControllerResponse,
        TelemetryRequest, handler_event::Event,
    },
    v1::MediaServerInfo,
};
use tokio::{
    sync::{Mutex as AsyncMutex, OwnedMutexGuard, mpsc},
    time::{Instant, MissedTickBehavior, interval_at, sleep, timeout},
};

use crate::{Inner, lock, meeting::Command, routes::RouteNumbers};

/// How often a handler is asked for its endpoint again. A new certificate stands
/// there long before the old one ends.
const REFRESH_EVERY: Duration = Duration::from_secs(60);

/// A handler that says nothing for so long is taken for lost: several of its
/// [`HandlerLoad`]s are missing.
const SILENT_MAX: Duration = Duration::from_secs(2);

/// How soon a handler that went is tried again; twice as late each time.
const BACK_AFTER_MIN: Duration = Duration::from_millis(500);
const BACK_AFTER_MAX: Duration = Duration::from_secs(10);

/// One media handler as this controller knows it.
pub(crate) struct Link {
    pub(crate) id: HandlerId,
    pub(crate) handler: Arc<dyn MediaHandler>,
    given: Mutex<Given>,
    /// What it said last of itself.
    load: Mutex<HandlerLoad>,
    /// It tells nothing any more.
    gone: AtomicBool,
}

/// What the handler gave at registration. Its certificates change while it runs.
struct Given {
    endpoint: Endpoint,
    key: ConnectionKey,
    route_space: u32,
}

impl TryFrom<RegisterControllerResponse> for Given {
    type Error = RpcError;

    fn try_from(answer: RegisterControllerResponse) -> Result<Self, RpcError> {
        let key = ConnectionKey::try_from(&answer.connection_token_key[..])
            .map_err(|error| RpcError::Internal(error.to_string()))?;
        Ok(Self {
            endpoint: answer.endpoint.unwrap_or_default(),
            key,
            route_space: answer.route_space,
        })
    }
}

impl Link {
    /// Asks anew for what the handler gave, above all its certificates.
    async fn refresh(&self, request: RegisterController) {
        let answer = self.handler.register_controller(request).await;
        match answer.and_then(Given::try_from) {
            Ok(given) => *lock(&self.given) = given,
            Err(error) => {
                tracing::warn!(handler_id = %self.id, %error, "the media handler does not answer");
            }
        }
    }

    pub(crate) fn load(&self) -> HandlerLoad {
        *lock(&self.load)
    }

    pub(crate) fn is_gone(&self) -> bool {
        self.gone.load(Ordering::SeqCst)
    }

    /// Remembers what it says of itself; true when meetings may do something else
    /// for it.
    fn set_load(&self, load: HandlerLoad) -> bool {
        // Coarser than what the rules go by, and much rarer than what is said.
        let matters = |load: HandlerLoad| (load.draining, load.load_permille / 50);
        let before = std::mem::replace(&mut *lock(&self.load), load);
        matters(before) != matters(load)
    }

    /// Where a client dials it, with a fresh token that lets it in once.
    pub(crate) fn admit(
        &self,
        meeting: MeetingId,
        participant: ParticipantId,
        host: &str,
        now: UnixTime,
    ) -> MediaServerInfo {
        let claims = ConnectionClaims::new(meeting, participant, self.id, now);
        let given = lock(&self.given);
        let Given { endpoint, key, .. } = &*given;
        MediaServerInfo {
            media_handler_url: fill_host(&endpoint.url, host),
            connection_token: mint(key, &claims),
            handler_id: self.id.to_string(),
            websocket_url: fill_host(&endpoint.websocket_url, host),
            certificate_hashes: endpoint.certificate_hashes.clone(),
        }
    }
}

/// A host of `*` in an endpoint stands for the one by which the client came.
fn fill_host(url: &str, host: &str) -> String {
    let host = match host {
        // Browsers resolve it to either family and do not fall back.
        "" | "localhost" => "127.0.0.1".to_owned(),
        host if host.contains(':') && !host.starts_with('[') => format!("[{host}]"),
        host => host.to_owned(),
    };
    match url.split_once("://*") {
        Some((scheme, rest)) => format!("{scheme}://{host}{rest}"),
        None => url.to_owned(),
    }
}

/// All links of a controller; made when a meeting first needs them.
pub(crate) struct Links {
    controller: ControllerId,
    directory: Arc<dyn HandlerDirectory>,
    links: Mutex<HashMap<HandlerId, Arc<Link>>>,
    /// Held while the link to a handler is made, so that it is made once, and while
    /// meetings are told that it broke, so that they hear of it before they hear of
    /// the next one.
    connecting: Mutex<HashMap<HandlerId, Arc<AsyncMutex<()>>>>,
    pub(crate) numbers: Arc<RouteNumbers>,
}

impl Links {
    pub(crate) fn new(controller: ControllerId, directory: Arc<dyn HandlerDirectory>) -> Self {
        Self {
            controller,
            directory,
            links: Mutex::default(),
            connecting: Mutex::default(),
            numbers: Arc::default(),
        }
    }

    pub(crate) fn get(&self, handler: HandlerId) -> Option<Arc<Link>> {
        lock(&self.links).get(&handler).cloned()
    }

    async fn turn(&self, handler: HandlerId) -> OwnedMutexGuard<()> {
        let turns = Arc::clone(lock(&self.connecting).entry(handler).or_default());
        turns.lock_owned().await
    }

    fn request(&self) -> RegisterController {
        RegisterController {
            controller_id: self.controller.to_string(),
        }
    }
}

/// The link to a handler; registers this controller there if there is none yet,
/// and listens to what the handler tells until it stops telling.
pub(crate) async fn connect(inner: &Arc<Inner>, id: HandlerId) -> Result<Arc<Link>, RpcError> {
    let links = &inner.links;
    if let Some(link) = links.get(id) {
        return Ok(link);
    }
    let _turn = links.turn(id).await;
    if let Some(link) = links.get(id) {
        return Ok(link);
    }
    let handler = links
        .directory
        .handler(id)
        .ok_or_else(|| RpcError::Unavailable(format!("media handler {id} is not known")))?;
    let answer = handler.register_controller(links.request()).await?;
    let given = Given::try_from(answer)?;
    let request = TelemetryRequest {
        controller_id: links.controller.to_string(),
    };
    let events = handler.telemetry(request).await?;
    links.numbers.set_space(id, given.route_space);
    let link = Arc::new(Link {
        id,
        handler,
        given: Mutex::new(given),
        load: Mutex::default(),
        gone: AtomicBool::new(false),
    });
    lock(&links.links).insert(id, Arc::clone(&link));
    // Those that had one to it before.
    for meeting in inner.meetings.all() {
        meeting.send(Command::HandlerBack(Arc::clone(&link))).await;
    }
    inner
        .tasks
        .spawn(listen(Arc::clone(inner), Arc::clone(&link), events));
    Ok(link)
}

/// Passes on what a handler tells to the meetings it is about, until it stops
/// telling; then tries to have it back.
async fn listen(inner: Arc<Inner>, link: Arc<Link>, mut events: mpsc::Receiver<HandlerEvent>) {
    let id = link.id;
    let mut refresh = interval_at(Instant::now() + REFRESH_EVERY, REFRESH_EVERY);
    refresh.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let event = tokio::select! {
            event = timeout(SILENT_MAX, events.recv()) => event.ok().flatten(),
            _ = refresh.tick() => {
                let refreshed = link.refresh(inner.links.request());
                if timeout(SILENT_MAX, refreshed).await.is_err() {
                    break;
                }
                continue;
            }
            () = inner.stop.cancelled() => return,
        };
        let Some(HandlerEvent { meeting_id, event }) = event else {
            break;
        };
        match event {
            Some(Event::Load(load)) => loaded(&inner, &link, load).await,
            Some(event) => tell(&inner, id, &meeting_id, event).await,
            None => {}
        }
    }
    tracing::warn!(handler_id = %id, "the media handler tells nothing any more");
    lost(&inner, &link).await;
    come_back(&inner, id).await;
}

/// A meeting that is busy loses what the next report says anew; for what is said
/// once it is waited, which is never long: its task waits for nobody.
async fn tell(inner: &Inner, id: HandlerId, meeting: &str, event: Event) {
    let Some(meeting) = meeting.parse().ok().and_then(|m| inner.meetings.get(m)) else {
        return;
    };
    let passing = matches!(event, Event::Speakers(_) | Event::Telemetry(_));
    let command = Command::Handler(id, event);
    if !passing {
        meeting.send(command).await;
    } else if !meeting.try_send(command) {
        metrics::counter!("dt_meeting_handler_events_dropped_total").increment(1);
    }
}

async fn loaded(inner: &Inner, link: &Link, load: HandlerLoad) {
    if link.set_load(load) {
        for meeting in inner.meetings.all() {
            meeting
                .send(Command::Handler(link.id, Event::Load(load)))
                .await;
        }
    }
}

async fn lost(inner: &Inner, link: &Arc<Link>) {
    let _turn = inner.links.turn(link.id).await;
    link.gone.store(true, Ordering::SeqCst);
    {
        let mut links = lock(&inner.links.links);
        if links
            .get(&link.id)
            .is_some_and(|now| Arc::ptr_eq(now, link))
        {
            links.remove(&link.id);
        }
    }
    for meeting in inner.meetings.all() {
        meeting.send(Command::HandlerGone(link.id)).await;
    }
}

/// Boxed, for what it starts may end up here again.
fn reconnect(inner: &Arc<Inner>, id: HandlerId) -> Pin<Box<dyn Future<Output = bool> + Send + '_>> {
    Box::pin(async move { connect(inner, id).await.is_ok() })
}

/// Tries until it is back, or nobody knows it any more.
async fn come_back(inner: &Arc<Inner>, id: HandlerId) {
    let mut wait = BACK_AFTER_MIN;
    loop {
        tokio::select! {
            () = sleep(wait) => {}
            () = inner.stop.cancelled() => return,
        }
        wait = (wait * 2).min(BACK_AFTER_MAX);
        if inner.links.directory.handler(id).is_none() {
            return;
        }
        if reconnect(inner, id).await {
            tracing::info!(handler_id = %id, "the media handler is there again");
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_the_host_by_which_the_client_came() {
        assert_eq!(
            fill_host("https://*:8443/mh/0", "a.example"),
            "https://a.example:8443/mh/0"
        );
        assert_eq!(
            fill_host("https://*:8443/mh/0", "localhost"),
            "https://127.0.0.1:8443/mh/0"
        );
        assert_eq!(
            fill_host("https://*:8443/mh/0", "::1"),
            "https://[::1]:8443/mh/0"
        );
        assert_eq!(
            fill_host("https://b:1/mh/0", "a.example"),
            "https://b:1/mh/0"
        );
        assert_eq!(fill_host("", "a.example"), "");
    }
}
