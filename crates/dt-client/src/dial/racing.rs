//! The race with sockets: starts what the rules say and takes the first that is
//! ready. The other's attempt is dropped, which ends it.

use std::{
    fmt,
    future::{Future, pending},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use dt_transport::{
    Carrier, Either,
    webtransport::{Trust, WebTransportSession},
};
use dt_websocket::WebSocketSession;
use tokio::time::sleep_until;

use super::{
    Dial, DialError, SessionKind, Transport, WebTransportDial,
    race::{Known, Memory, Step, Way},
};
use crate::Endpoint;

/// A session over whichever carrier got through.
pub type RacingSession = Either<WebTransportSession, WebSocketSession>;

/// What an [`Api`](crate::Api) and all meetings joined through it share: which
/// servers are believed, and what is known of the network.
#[derive(Clone)]
pub struct Network {
    trust: Trust,
    known: Arc<Mutex<Known>>,
}

impl Network {
    /// Nothing is known yet. `trust` is for servers that show a certificate which
    /// nobody announced: those of the API's own origin.
    #[must_use]
    pub fn trusting(trust: Trust) -> Self {
        Self {
            trust,
            known: Arc::default(),
        }
    }
}

impl Default for Network {
    fn default() -> Self {
        Self::trusting(Trust::SystemRoots)
    }
}

impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Network(…)")
    }
}

/// Opens sessions of one meeting: by WebTransport, and where that does not get
/// through in time, or has died, by WebSocket.
#[derive(Debug)]
pub struct RacingDial {
    transport: Transport,
    webtransport: WebTransportDial,
    websocket: dt_websocket::Connector,
    network: Network,
    memory: Mutex<Memory>,
}

/// What is known is whole between any two calls.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// One that runs, or nobody.
type Attempt<'a> = Pin<Box<dyn Future<Output = Result<RacingSession, DialError>> + Send + 'a>>;

impl RacingDial {
    /// For one meeting on this network.
    #[must_use]
    pub fn new(network: Network, transport: Transport) -> Self {
        Self {
            transport,
            webtransport: WebTransportDial::new(network.trust.clone()),
            websocket: dt_websocket::Connector::default(),
            network,
            memory: Mutex::default(),
        }
    }

    fn attempt<'a>(&'a self, way: Way, endpoint: &'a Endpoint, kind: SessionKind) -> Attempt<'a> {
        match way {
            Way::WebTransport => Box::pin(async move {
                let opened = self.webtransport.dial(endpoint, kind).await;
                opened.map(Either::Left)
            }),
            Way::WebSocket => Box::pin(async move {
                let url = endpoint.websocket_url.as_ref();
                let url = url.ok_or(DialError::NoWebSocket)?;
                let trust = &self.network.trust;
                let opened = self.websocket.connect(url, trust, kind).await;
                Ok(opened.map(Either::Right)?)
            }),
        }
    }

    fn won(&self, way: Way) {
        lock(&self.memory).won(&mut lock(&self.network.known), way, now());
    }
}

impl Dial for RacingDial {
    type Session = RacingSession;

    async fn dial(
        &self,
        endpoint: &Endpoint,
        kind: SessionKind,
    ) -> Result<RacingSession, DialError> {
        let transport = match (self.transport, &endpoint.websocket_url) {
            (Transport::Auto, None) => Transport::WebTransport,
            (transport, _) => transport,
        };
        let known = *lock(&self.network.known);
        let mut race = lock(&self.memory).race(&known, transport, now());
        let (mut webtransport, mut websocket) = (None, None);
        let (mut no_webtransport, mut no_websocket) = (None, None);
        loop {
            let until = match race.poll(now()) {
                Step::Start(way) => {
                    let attempt = Some(self.attempt(way, endpoint, kind));
                    match way {
                        Way::WebTransport => webtransport = attempt,
                        Way::WebSocket => websocket = attempt,
                    }
                    continue;
                }
                Step::WaitUntil(at) => Some(at),
                Step::Wait => None,
                Step::Over => break,
            };
            let (way, opened) = tokio::select! {
                opened = running(&mut webtransport) => (Way::WebTransport, opened),
                opened = running(&mut websocket) => (Way::WebSocket, opened),
                () = reached(until) => continue,
            };
            let error = match opened {
                Ok(session) => {
                    self.won(way);
                    return Ok(session);
                }
                Err(error) => Some(error),
            };
            race.handle_failed();
            match way {
                Way::WebTransport => (webtransport, no_webtransport) = (None, error),
                Way::WebSocket => (websocket, no_websocket) = (None, error),
            }
        }
        lock(&self.memory).lost();
        Err(match (no_webtransport, no_websocket) {
            (Some(webtransport), Some(websocket)) => DialError::Both {
                webtransport: Box::new(webtransport),
                websocket: Box::new(websocket),
            },
            (Some(error), None) | (None, Some(error)) => error,
            (None, None) => DialError::Other("nothing was tried".to_owned()),
        })
    }

    fn died(&self, carrier: Carrier) {
        let way = match carrier {
            Carrier::WebTransport => Way::WebTransport,
            Carrier::WebSocket => Way::WebSocket,
            _ => return,
        };
        lock(&self.memory).died(way);
    }
}

async fn running(attempt: &mut Option<Attempt<'_>>) -> Result<RacingSession, DialError> {
    match attempt {
        Some(attempt) => attempt.await,
        None => pending().await,
    }
}

async fn reached(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment.into()).await,
        None => pending().await,
    }
}
