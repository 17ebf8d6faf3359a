//! Links between handlers of one process, over dt-transport's in-memory twin.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use async_trait::async_trait;
use dt_ids::HandlerId;
use dt_transport::memory::{self, MemorySession};
use tokio::task::JoinSet;

use super::{DialError, LinkDialer, LinkPass};
use crate::{MediaHandler, lock};

/// The handlers of a process. Dropped, it ends the links that it connected.
#[derive(Default)]
pub struct LocalLinks {
    handlers: Mutex<HashMap<HandlerId, Weak<MediaHandler>>>,
    /// The accepting ends, each run here.
    served: Mutex<JoinSet<()>>,
    config: memory::Config,
}

impl LocalLinks {
    /// Nobody is there yet.
    #[must_use]
    pub fn new(config: memory::Config) -> Self {
        Self {
            config,
            ..Self::default()
        }
    }

    /// One that can be dialled from now on.
    pub fn add(&self, handler: &Arc<MediaHandler>) {
        let id = handler.id();
        lock(&self.handlers).insert(id, Arc::downgrade(handler));
    }
}

#[async_trait]
impl LinkDialer for LocalLinks {
    type Session = MemorySession;

    async fn dial(&self, handler: HandlerId) -> Result<MemorySession, DialError> {
        let there = lock(&self.handlers).get(&handler).and_then(Weak::upgrade);
        let there = there.ok_or_else(|| DialError {
            handler,
            reason: "it is not in this process".into(),
        })?;
        let (near, far) = memory::pair(self.config.clone());
        let mut served = self.served.lock().unwrap_or_else(PoisonError::into_inner);
        while served.try_join_next().is_some() {}
        served.spawn(async move { there.serve_link(far).await });
        Ok(near)
    }
}

/// One secret that all handlers of a process have.
pub struct SharedSecret(String);

impl SharedSecret {
    /// This one.
    #[must_use]
    pub const fn new(secret: String) -> Self {
        Self(secret)
    }
}

#[async_trait]
impl LinkPass for SharedSecret {
    async fn show(&self) -> String {
        self.0.clone()
    }

    async fn admits(&self, token: &str) -> bool {
        // Its length is no secret; how far it is right is.
        let (a, b) = (self.0.as_bytes(), token.as_bytes());
        a.len() == b.len() && a.iter().zip(b).fold(0, |bits, (a, b)| bits | (a ^ b)) == 0
    }
}

/// Has no token and admits nobody.
pub(super) struct Nobody;

#[async_trait]
impl LinkPass for Nobody {
    async fn show(&self) -> String {
        String::new()
    }

    async fn admits(&self, _: &str) -> bool {
        false
    }
}
