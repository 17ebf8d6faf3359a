//! Sound that is made anew: who gets it, and its way to them.

use std::{collections::BTreeMap, sync::Weak};

use bytes::Bytes;
use dt_forward_core::{Generation, Links, RouteError, SessionKey, Subscription};
use dt_ids::{ParticipantId, StreamId, UserId};
use dt_mix_core::SourceId;

use super::{Meeting, State};
use crate::{
    lock, now,
    processing::{NoThread, Processed},
};

/// A route that was carried out.
#[derive(Debug)]
pub(crate) struct Routed {
    /// The generation now in force.
    pub(crate) applied: Generation,
    /// Who was to get it made anew, with too much to do for that.
    pub(crate) not_made_anew: Vec<ParticipantId>,
}

impl State {
    /// Sets all receivers of a source: those who get it as it is, links, and those
    /// who get it made anew.
    pub(crate) fn route(
        &mut self,
        source: StreamId,
        mut destinations: Vec<(ParticipantId, Subscription)>,
        links: Links,
        mut processed: Vec<Processed>,
        generation: Generation,
    ) -> Result<Routed, RouteError> {
        let (tap, mut not_made_anew) = self.tapped(source, &mut processed);
        destinations.extend(tap);
        let forwarder = &mut self.forwarder;
        let routed = forwarder.route_over(source, destinations, links, generation, now());
        if matches!(routed, Ok(applied) if applied == generation) {
            self.processing.set(source, generation, processed);
        } else {
            not_made_anew.clear();
        }
        let heard_max = self.heard_max;
        self.processing.count(heard_max);
        self.processing.settle(&mut self.forwarder);
        Ok(Routed {
            applied: routed?,
            not_made_anew,
        })
    }

    /// A source that goes through the tap, and whose it is.
    pub(crate) fn processed_source(&self, stream: StreamId) -> Option<(SourceId, UserId)> {
        Some((
            self.processing.source(stream)?,
            self.forwarder.sender(stream)?,
        ))
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
            self.processing.count(self.heard_max);
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

    /// The destination for what is made anew of a source, if anything is, and for
    /// whom it can't be.
    fn tapped(
        &mut self,
        source: StreamId,
        processed: &mut Vec<Processed>,
    ) -> (Option<(ParticipantId, Subscription)>, Vec<ParticipantId>) {
        if processed.is_empty() {
            return (None, Vec::new());
        }
        let opened = self.cascade.upgrade().and_then(|inner| {
            let me = Weak::clone(&self.me);
            let (forwarder, ports) = (&mut self.forwarder, &mut self.ports);
            let threads = &inner.threads;
            let to = self
                .processing
                .destination(source, threads, &me, forwarder, ports);
            let to = to.map_err(|NoThread| ()).ok()?;
            let left_out = self
                .processing
                .admit(source, processed, threads, self.heard_max);
            Some((to, left_out))
        });
        match opened {
            Some((to, left_out)) => ((!processed.is_empty()).then_some(to), left_out),
            None => {
                let all = processed.drain(..);
                (None, all.map(|processed| processed.participant).collect())
            }
        }
    }
}

impl Meeting {
    /// Sends datagrams that were made here, each to its receiver's newest session.
    pub(crate) fn send_processed(&self, datagrams: Vec<(ParticipantId, Bytes)>) {
        let mut receivers = BTreeMap::new();
        let now = now();
        {
            let mut state = lock(&self.state);
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
            for (participant, datagram) in &datagrams {
                if let Some(session) = newest.get(participant) {
                    let bytes = datagram.len();
                    state.forwarder.made_here(*session, bytes, now);
                }
            }
        }
        for (participant, datagram) in datagrams {
            if let Some(receiver) = receivers.get(&participant)
                && !receiver.send_sound(&datagram, now)
            {
                metrics::counter!("media_dropped_total", "reason" => "slow_datagrams").increment(1);
            }
        }
    }
}
