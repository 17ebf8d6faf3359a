//! Sound that is made anew: who gets it, and its way to them.

use std::{collections::BTreeMap, sync::Weak};

use bytes::Bytes;
use dt_forward_core::{Generation, Links, RouteError, SessionKey, Subscription};
use dt_ids::{ParticipantId, StreamId};

use super::{Meeting, State};
use crate::{
    lock, now,
    processing::{NoThread, Processed},
};

/// A route that is not carried out.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProcessedRouteError {
    #[error(transparent)]
    Route(#[from] RouteError),
    #[error("this handler can't mix or encode anything more")]
    NoThread,
}

impl From<NoThread> for ProcessedRouteError {
    fn from(NoThread: NoThread) -> Self {
        Self::NoThread
    }
}

impl State {
    /// Sets all receivers of a source: those who get it as it is, links, and those
    /// who get it made anew.
    pub(crate) fn route(
        &mut self,
        source: StreamId,
        mut destinations: Vec<(ParticipantId, Subscription)>,
        links: Links,
        processed: Vec<Processed>,
        generation: Generation,
    ) -> Result<Generation, ProcessedRouteError> {
        let routed = self.tapped(source, !processed.is_empty()).and_then(|tap| {
            destinations.extend(tap);
            let forwarder = &mut self.forwarder;
            Ok(forwarder.route_over(source, destinations, links, generation, now())?)
        });
        if matches!(routed, Ok(applied) if applied == generation) {
            self.processing.set(source, generation, processed);
        }
        self.processing.settle(&mut self.forwarder);
        routed
    }

    /// Forgets a participant, also as one who gets something made anew.
    pub(crate) fn unregister(
        &mut self,
        participant: ParticipantId,
        generation: Generation,
        close_code: u32,
    ) {
        let forwarder = &mut self.forwarder;
        forwarder.unregister(participant, generation, close_code, now());
        // An order that was overtaken changes nothing.
        if !forwarder.is_registered(participant) {
            self.processing.forget(participant);
            self.processing.settle(forwarder);
        }
    }

    /// A tap keeps no meeting alive that everybody has left.
    pub(super) fn close_lone_tap(&mut self) {
        if self.forwarder.participant_count() <= self.processing.taps() {
            self.processing.forget_all();
            self.processing.settle(&mut self.forwarder);
            self.carry_out();
        }
    }

    /// The destination for what is made anew of a source, if anything is.
    fn tapped(
        &mut self,
        source: StreamId,
        any: bool,
    ) -> Result<Option<(ParticipantId, Subscription)>, ProcessedRouteError> {
        if !any {
            return Ok(None);
        }
        let inner = self.cascade.upgrade().ok_or(NoThread)?;
        let me = Weak::clone(&self.me);
        let (forwarder, ports) = (&mut self.forwarder, &mut self.ports);
        let tap = self
            .processing
            .destination(source, &inner.threads, &me, forwarder, ports)?;
        Ok(Some(tap))
    }
}

impl Meeting {
    /// Sends datagrams that were made here, each to its receiver's newest session.
    pub(crate) fn send_processed(&self, datagrams: Vec<(ParticipantId, Bytes)>) {
        let mut receivers = BTreeMap::new();
        {
            let state = lock(&self.state);
            let mut newest: BTreeMap<ParticipantId, SessionKey> = BTreeMap::new();
            for (session, (participant, port)) in &state.ports {
                let newer = newest
                    .get(participant)
                    .is_none_or(|before| before < session);
                if newer {
                    newest.insert(*participant, *session);
                    receivers.insert(*participant, port.receiver());
                }
            }
        }
        let now = now();
        for (participant, datagram) in datagrams {
            if let Some(receiver) = receivers.get(&participant)
                && !receiver.send_sound(&datagram, now)
            {
                metrics::counter!("media_dropped_total", "reason" => "slow_datagrams").increment(1);
            }
        }
    }
}
