//! What controllers are told as it happens, and that the handler lives.

use std::{
    collections::HashMap,
    sync::{Mutex, Weak},
    time::Duration,
};

use dt_ids::ControllerId;
use dt_wire::internal::HandlerEvent;
use tokio::{
    sync::mpsc::{self, WeakSender, error::TrySendError},
    time::{MissedTickBehavior, interval},
};

use crate::{Inner, lock, now};

/// Events that wait for one controller; with more it loses the newest.
const EVENTS_MAX: usize = 4096;

/// How often a controller is told how full the handler is. One that hears nothing
/// for several of these takes the handler for lost.
const BEAT_EVERY: Duration = Duration::from_millis(500);

/// Sessions that wait for so long have lost the thread that serves them.
const STALLED_AFTER: Duration = Duration::from_secs(1);

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

    /// A controller listens from now on, and hears this first; its channel of before
    /// is closed. What is the case already is told it next, by the other end.
    pub(crate) fn listen(
        &self,
        controller: ControllerId,
        first: HandlerEvent,
    ) -> Result<(mpsc::Receiver<HandlerEvent>, Listener), TooManyControllers> {
        let mut listeners = lock(&self.listeners);
        listeners.retain(|_, listener| !listener.is_closed());
        if !listeners.contains_key(&controller) && listeners.len() >= self.controllers_max {
            return Err(TooManyControllers);
        }
        let (sender, receiver) = mpsc::channel(EVENTS_MAX);
        let listener = Listener(sender.downgrade());
        listener.tell([first]);
        listeners.insert(controller, sender);
        Ok((receiver, listener))
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

/// One controller that listens.
#[derive(Debug)]
pub(crate) struct Listener(WeakSender<HandlerEvent>);

impl Listener {
    /// Tells it alone, as far as it has room.
    pub(crate) fn tell(&self, events: impl IntoIterator<Item = HandlerEvent>) {
        let Some(sender) = self.0.upgrade() else {
            return;
        };
        for event in events {
            if sender.try_send(event).is_err() {
                metrics::counter!("media_events_lost_total").increment(1);
                break;
            }
        }
    }
}

/// Tells a controller how full the handler is, as long as it listens. A handler
/// whose timers stand still has nothing to say: nothing is forwarded either.
pub(crate) async fn beat(inner: Weak<Inner>, Listener(controller): Listener) {
    let mut ticks = interval(BEAT_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let (Some(inner), Some(controller)) = (inner.upgrade(), controller.upgrade()) else {
            return;
        };
        let stands_for = now().saturating_duration_since(*lock(&inner.ticked_at));
        if inner.session_count() > 0 && stands_for > STALLED_AFTER {
            metrics::counter!("media_beats_missed_total").increment(1);
        } else if let Err(TrySendError::Closed(_)) = controller.try_send(inner.load()) {
            return;
        }
    }
}
