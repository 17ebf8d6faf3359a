//! Links to media handlers: the key and endpoint each gave at registration, and
//! what it tells as it happens.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
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
        Endpoint, HandlerEvent, RegisterController, RegisterControllerResponse, TelemetryRequest,
    },
    v1::MediaServerInfo,
};
use tokio::{
    sync::{Mutex as AsyncMutex, mpsc},
    time::{Instant, MissedTickBehavior, interval_at},
};

use crate::{Inner, lock, meeting::Command};

/// How often a handler is asked for its endpoint again. A new certificate stands
/// there long before the old one ends.
const REFRESH_EVERY: Duration = Duration::from_secs(60);

/// One media handler as this controller knows it.
pub(crate) struct Link {
    pub(crate) id: HandlerId,
    pub(crate) handler: Arc<dyn MediaHandler>,
    given: Mutex<Given>,
}

/// What the handler gave at registration. Its certificates change while it runs.
struct Given {
    endpoint: Endpoint,
    key: ConnectionKey,
}

impl TryFrom<RegisterControllerResponse> for Given {
    type Error = RpcError;

    fn try_from(answer: RegisterControllerResponse) -> Result<Self, RpcError> {
        let key = ConnectionKey::try_from(&answer.connection_token_key[..])
            .map_err(|error| RpcError::Internal(error.to_string()))?;
        Ok(Self {
            endpoint: answer.endpoint.unwrap_or_default(),
            key,
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
        let Given { endpoint, key } = &*given;
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
    /// Held while a link is made, so that each is made once.
    connecting: AsyncMutex<()>,
}

impl Links {
    pub(crate) fn new(controller: ControllerId, directory: Arc<dyn HandlerDirectory>) -> Self {
        Self {
            controller,
            directory,
            links: Mutex::default(),
            connecting: AsyncMutex::default(),
        }
    }

    pub(crate) fn get(&self, handler: HandlerId) -> Option<Arc<Link>> {
        lock(&self.links).get(&handler).cloned()
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
    let _connecting = links.connecting.lock().await;
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
    let link = Arc::new(Link {
        id,
        handler,
        given: Mutex::new(given),
    });
    lock(&links.links).insert(id, Arc::clone(&link));
    inner
        .tasks
        .spawn(listen(Arc::clone(inner), Arc::clone(&link), events));
    Ok(link)
}

/// Passes on what a handler tells to the meetings it is about. A meeting that is
/// busy loses some of it: the next report holds the whole truth again.
async fn listen(inner: Arc<Inner>, link: Arc<Link>, mut events: mpsc::Receiver<HandlerEvent>) {
    let id = link.id;
    let mut refresh = interval_at(Instant::now() + REFRESH_EVERY, REFRESH_EVERY);
    refresh.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let event = tokio::select! {
            event = events.recv() => event,
            _ = refresh.tick() => {
                link.refresh(inner.links.request()).await;
                continue;
            }
            () = inner.stop.cancelled() => return,
        };
        let Some(HandlerEvent {
            meeting_id,
            event: Some(event),
        }) = event
        else {
            if event.is_some() {
                continue;
            }
            break;
        };
        if let Some(meeting) = meeting_id.parse().ok().and_then(|m| inner.meetings.get(m))
            && !meeting.try_send(Command::Handler(id, event))
        {
            metrics::counter!("dt_meeting_handler_events_dropped_total").increment(1);
        }
    }
    // The next meeting that is assigned to it finds out whether it still lives.
    tracing::warn!(handler_id = %id, "the media handler tells nothing any more");
    lock(&inner.links.links).remove(&id);
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
