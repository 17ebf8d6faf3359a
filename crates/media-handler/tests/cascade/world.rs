//! Handlers with links, and their controller's orders.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use dt_frame::RouteId;
use dt_ids::{HandlerId, MeetingId, StreamId};
use dt_rpc::MediaHandler as _;
use dt_transport::memory::MemorySession;
use dt_wire::internal::{
    Destination, Endpoint, HandlerEvent, Inlet, RouteMediaCommand, RouteMediaResponse,
    TelemetryRequest, handler_event::Event,
};
use media_handler::{Config, DialError, LinkDialer, LocalLinks, MediaHandler, SharedSecret};
use tokio::sync::mpsc;

use crate::support::{Person, World, label, soon};

pub(crate) const SECRET: &str = "what all of this process know";

/// Links that can be broken.
#[derive(Default)]
pub(crate) struct Brittle {
    local: LocalLinks,
    dialled: Mutex<Vec<MemorySession>>,
}

impl Brittle {
    /// Breaks all that there are.
    pub(crate) fn sever(&self) {
        for session in self.dialled.lock().unwrap().drain(..) {
            session.sever();
        }
    }
}

#[async_trait]
impl LinkDialer for Brittle {
    type Session = MemorySession;

    async fn dial(&self, handler: HandlerId) -> Result<MemorySession, DialError> {
        let session = self.local.dial(handler).await?;
        self.dialled.lock().unwrap().push(session.clone());
        Ok(session)
    }
}

/// Handlers of one process with one meeting.
pub(crate) struct Net {
    pub(crate) links: Arc<Brittle>,
    pub(crate) at: Vec<World>,
    next_route: u32,
}

impl Net {
    pub(crate) async fn new(handlers: usize) -> Self {
        let links = Arc::new(Brittle::default());
        let meeting = MeetingId::random();
        let mut at = Vec::new();
        for _ in 0..handlers {
            let config = Config::new(HandlerId::random(), Endpoint::default());
            let pass = Arc::new(SharedSecret::new(SECRET.to_owned()));
            let handler = MediaHandler::with_links(config, Arc::clone(&links), pass);
            links.local.add(&handler);
            at.push(World::of(handler, meeting).await);
        }
        Self {
            links,
            ..Self::of(at)
        }
    }

    /// Handlers that have links of another kind.
    pub(crate) fn of(at: Vec<World>) -> Self {
        Self {
            links: Arc::default(),
            at,
            next_route: 0,
        }
    }

    pub(crate) fn id(&self, at: usize) -> HandlerId {
        self.at[at].handler_id
    }

    /// A number for a route that leads to this handler.
    pub(crate) fn route_to(&mut self, at: usize) -> RouteId {
        self.next_route += 1;
        RouteId(self.at[at].route_space << 20 | self.next_route)
    }

    /// Both streams of somebody at the first of these handlers go along the chain
    /// to people at the last one.
    pub(crate) async fn chain(&mut self, person: &Person, along: &[usize], to: &[Person]) {
        for number in 0..2 {
            self.chain_of(person, number, along, to).await;
        }
    }

    async fn chain_of(&mut self, person: &Person, number: usize, along: &[usize], to: &[Person]) {
        let origin = self.id(along[0]);
        let mut came: Option<RouteId> = None;
        for (hops, at) in (0u32..).zip(along) {
            let next = along.get(hops as usize + 1).copied();
            let goes = next.map(|next| self.route_to(next));
            let mut order = Order::of(person, number);
            if let Some(route) = came {
                let from = self.id(along[hops as usize - 1]);
                order.inlet(person, from, route, origin, hops);
            }
            if let (Some(next), Some(route)) = (next, goes) {
                order.outlet(self.id(next), route, origin, hops + 1);
            } else {
                order.people(to, 10 + number as u32);
            }
            order.send(&mut self.at[*at]).await.unwrap();
            came = goes;
        }
    }

    /// Waits for as many links at each of the handlers.
    pub(crate) async fn linked(&self, count: usize) {
        let all = async {
            while self.at.iter().any(|w| w.handler.link_count() < count) {
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
        };
        soon(all).await;
    }
}

/// A `RouteMedia` in the making.
pub(crate) struct Order(pub(crate) RouteMediaCommand, usize);

impl Order {
    pub(crate) fn of(person: &Person, number: usize) -> Self {
        let stream: StreamId = [person.camera, person.microphone][number];
        let command = RouteMediaCommand {
            source_stream_id: stream.to_string(),
            ..RouteMediaCommand::default()
        };
        Self(command, number)
    }

    pub(crate) fn inlet(
        &mut self,
        person: &Person,
        from: HandlerId,
        route: RouteId,
        origin: HandlerId,
        hops: u32,
    ) {
        self.0.inlet = Some(Inlet {
            handler_id: from.to_string(),
            route_id: route.0,
            origin_handler_id: origin.to_string(),
            hops,
            stream: Some(person.streams()[self.1].clone()),
            participant_id: person.participant.to_string(),
            user_id: person.user.0,
        });
    }

    pub(crate) fn outlet(&mut self, to: HandlerId, route: RouteId, origin: HandlerId, hops: u32) {
        self.0.destinations.push(Destination {
            handler_id: to.to_string(),
            route_id: route.0,
            origin_handler_id: origin.to_string(),
            hops,
            ..Destination::default()
        });
    }

    pub(crate) fn people(&mut self, to: &[Person], slot: u32) {
        self.0
            .destinations
            .extend(to.iter().map(|person| Destination {
                participant_id: person.participant.to_string(),
                stream_number: label(slot).to_bits(),
                ..Destination::default()
            }));
    }

    pub(crate) async fn send(mut self, to: &mut World) -> dt_rpc::RpcResult<RouteMediaResponse> {
        self.0.meeting_id = to.meeting.to_string();
        self.0.generation = to.generation();
        to.handler.route_media(self.0).await
    }
}

/// What a handler tells from now on.
pub(crate) async fn listen(world: &World) -> mpsc::Receiver<HandlerEvent> {
    let request = TelemetryRequest {
        controller_id: world.controller.to_string(),
    };
    world.handler.telemetry(request).await.unwrap()
}

/// The next event that is looked for.
pub(crate) async fn next<T>(
    events: &mut mpsc::Receiver<HandlerEvent>,
    mut pick: impl FnMut(&Event) -> Option<T>,
) -> T {
    let looked_for = async {
        loop {
            let event = events.recv().await.unwrap().event.unwrap();
            if let Some(found) = pick(&event) {
                return found;
            }
        }
    };
    soon(looked_for).await
}
