//! What controllers are told as it happens.

use std::{collections::HashMap, sync::Mutex};

use dt_ids::ControllerId;
use dt_wire::internal::HandlerEvent;
use tokio::sync::mpsc::{self, error::TrySendError};

use crate::lock;

/// Events that wait for one controller; with more it loses the newest.
const EVENTS_MAX: usize = 4096;

/// The controllers that listen.
#[derive(Debug)]
pub(crate) struct Events {
    listeners: Mutex<HashMap<ControllerId, mpsc::Sender<HandlerEvent>>>,
    controllers_max: usize,
}

/// As many controllers as are allowed listen already.
#[derive(Debug)]
pub(crate) struct TooManyControllers;

impl Events {
    pub(crate) fn new(controllers_max: usize) -> Self {
        Self {
            listeners: Mutex::default(),
            controllers_max,
        }
    }

    /// A controller listens from now on; its channel of before is closed. What
    /// is the case already is told first.
    pub(crate) fn listen(
        &self,
        controller: ControllerId,
        present: impl IntoIterator<Item = HandlerEvent>,
    ) -> Result<mpsc::Receiver<HandlerEvent>, TooManyControllers> {
        let mut listeners = lock(&self.listeners);
        listeners.retain(|_, listener| !listener.is_closed());
        if !listeners.contains_key(&controller) && listeners.len() >= self.controllers_max {
            return Err(TooManyControllers);
        }
        let (sender, receiver) = mpsc::channel(EVENTS_MAX);
        for event in present {
            if sender.try_send(event).is_err() {
                break;
            }
        }
        listeners.insert(controller, sender);
        Ok(receiver)
    }

    /// Tells all who listen.
    pub(crate) fn tell(&self, event: &HandlerEvent) {
        lock(&self.listeners).retain(|_, listener| match listener.try_send(event.clone()) {
            Ok(()) => true,
            Err(TrySendError::Full(_)) => {
                metrics::counter!("media_events_lost_total").increment(1);
                true
            }
            Err(TrySendError::Closed(_)) => false,
        });
    }
}
