//! Links to other handlers: one connection a pair, for all meetings (WIRE section
//! 3).
//!
//! Meetings say which routes they have with whom, and from then on a link to that
//! handler is kept up: this side dials, and again after a growing wait when it
//! ends, unless the other one was faster. When both dial at once, the connection
//! of the handler with the lower id stays. What comes over a link is given to the
//! meeting that has its route; what that meeting has for others beyond goes out by
//! a [`Port`](crate::port::Port), as if the link were a client.
//!
//! `peers` is the table of all that, without a task; `keeper` dials; `link` runs
//! one connection; `reading` takes its streams; `messages` is its control stream;
//! `orders` is what controllers say about links.

mod keeper;
mod link;
mod load;
mod local;
mod messages;
mod orders;
mod peers;
mod reading;
mod remote;
mod spaces;

use std::{future::Future, pin::Pin, sync::Arc};

use async_trait::async_trait;
use dt_ids::HandlerId;
use dt_transport::Session;

pub(crate) use self::{
    keeper::keep,
    load::Load,
    messages::{demand, keyframe},
    orders::links,
    peers::{Attachment, Peers},
    spaces::Spaces,
};
pub use self::{
    local::{LocalLinks, SharedSecret},
    remote::{LINK_PATH, LinkDirectory, RemoteLinks},
};
use crate::Inner;

/// A handler could not be reached.
#[derive(Debug, thiserror::Error)]
#[error("the handler {handler} can't be reached: {reason}")]
pub struct DialError {
    /// Whom.
    pub handler: HandlerId,
    /// Why.
    pub reason: String,
}

/// Connects to other handlers: knows where they are and what carries a link.
#[async_trait]
pub trait LinkDialer: Send + Sync + 'static {
    /// What carries a link.
    type Session: Session;

    /// Connects. Whoever takes the connection there gives it to
    /// [`MediaHandler::serve_link`](crate::MediaHandler::serve_link).
    async fn dial(&self, handler: HandlerId) -> Result<Self::Session, DialError>;
}

/// By what handlers know each other, beside the certificates of the connection: a
/// service token, or a secret in one process.
#[async_trait]
pub trait LinkPass: Send + Sync + 'static {
    /// What this handler shows.
    async fn show(&self) -> String;

    /// Whether a handler may come in that shows this.
    async fn admits(&self, token: &str) -> bool;
}

/// A dialer whatever its sessions are.
pub(crate) trait Dials: Send + Sync {
    /// Dials, and runs the link to its end. `true` when it was up.
    fn run(
        self: Arc<Self>,
        inner: Arc<Inner>,
        peer: HandlerId,
    ) -> Pin<Box<dyn Future<Output = bool> + Send>>;
}

impl<D: LinkDialer> Dials for D {
    fn run(
        self: Arc<Self>,
        inner: Arc<Inner>,
        peer: HandlerId,
    ) -> Pin<Box<dyn Future<Output = bool> + Send>> {
        Box::pin(async move {
            match self.dial(peer).await {
                Ok(session) => link::dialled(&inner, session, peer).await,
                Err(error) => {
                    tracing::debug!(handler_id = %peer, %error, "no link");
                    false
                }
            }
        })
    }
}

/// All that a handler needs for its links.
pub(crate) struct Cascade {
    pub(crate) peers: Peers,
    pub(crate) dialer: Option<Arc<dyn Dials>>,
    pub(crate) pass: Arc<dyn LinkPass>,
}

impl Cascade {
    /// Without links: routes over some are known and nothing comes of them.
    pub(crate) fn none(here: HandlerId, routes_max: usize) -> Self {
        Self {
            peers: Peers::new(here, routes_max),
            dialer: None,
            pass: Arc::new(local::Nobody),
        }
    }

    pub(crate) fn new(
        here: HandlerId,
        routes_max: usize,
        dialer: Arc<dyn Dials>,
        pass: Arc<dyn LinkPass>,
    ) -> Self {
        Self {
            peers: Peers::new(here, routes_max),
            dialer: Some(dialer),
            pass,
        }
    }
}

/// Takes a link that another handler dialled, to its end.
pub(crate) async fn accepted<S: Session>(inner: &Arc<Inner>, session: S) {
    link::accepted(inner, session).await;
}
