//! The task that keeps links up: dials whom meetings have routes with.

use std::sync::{Arc, Weak};

use tokio::task::JoinSet;

use crate::{Inner, now};

/// Dials until the handler is gone; it owns all links that it dialled.
pub(crate) async fn keep(inner: Weak<Inner>) {
    let mut links = JoinSet::new();
    loop {
        let Some(here) = inner.upgrade() else {
            return;
        };
        let Some(dialer) = here.cascade.dialer.clone() else {
            drop(here);
            // It is there like the other tasks of the handler, and does nothing.
            return std::future::pending().await;
        };
        let peers = &here.cascade.peers;
        let (due, next) = peers.due(now());
        for peer in due {
            let dialer = Arc::clone(&dialer);
            let here = Arc::clone(&here);
            links.spawn(async move {
                let was_up = dialer.run(Arc::clone(&here), peer).await;
                here.cascade.peers.dial_ended(peer, was_up, now());
            });
        }
        let next = async {
            match next {
                Some(at) => tokio::time::sleep_until(at.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = peers.changed.notified() => {}
            () = next => {}
            Some(_) = links.join_next() => {}
        }
    }
}
