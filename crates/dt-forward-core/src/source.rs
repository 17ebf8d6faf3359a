//! One stream of a sender and who receives it.

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use bytes::Bytes;
use dt_frame::{DatagramHeader, FrameHeader, FrameType, MediaKind};
use dt_ids::ParticipantId;

use crate::{
    Detail, DropReason, FrameBytes, Output, SessionKey, StreamSpec, Subscription, Target,
    allocation::Cost,
    demand::Demand,
    encoding::{EncodingState, Feeder, Overtaken, Place},
    flow::{self, Flow, Flows, Pick},
    inbound::Upstream,
    links::{Feeds, Outlets, Wants},
    outbox::{Outbox, Turn},
    repeats::Repeats,
    telemetry::Meter,
};

#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) owner: ParticipantId,
    pub(crate) spec: StreamSpec,
    pub(crate) meter: Meter,
    /// As many as the specification says.
    pub(crate) encodings: Vec<EncodingState>,
    /// Sessions that receive it, and what of it.
    pub(crate) flows: Flows,
    /// Links that receive it.
    pub(crate) outlets: Outlets,
    /// Who brings it.
    pub(crate) feeds: Feeds,
    /// All of them: who gets sound.
    pub(crate) targets: Arc<[Target]>,
    /// What of sound is sent again.
    repeats: Repeats,
    pub(crate) demand: Demand,
}

impl Source {
    pub(crate) fn new(owner: ParticipantId, spec: StreamSpec, now: Instant) -> Self {
        Self {
            owner,
            spec,
            meter: Meter::new(now),
            encodings: (0..spec.encodings)
                .map(|_| EncodingState::default())
                .collect(),
            flows: Flows::new(),
            outlets: Outlets::new(),
            feeds: Feeds::default(),
            targets: Arc::from([]),
            repeats: Repeats::default(),
            demand: Demand::default(),
        }
    }

    /// Replaces the receivers: those who are gone get nothing more, those who are
    /// new get pictures when they are given some.
    pub(crate) fn retarget(
        &mut self,
        wanted: &BTreeMap<SessionKey, Subscription>,
        outbox: &mut Outbox,
    ) {
        let gone: Vec<_> = self
            .flows
            .keys()
            .filter(|session| !wanted.contains_key(session))
            .copied()
            .collect();
        for session in gone {
            self.flows.remove(&session);
            for encoding in &mut self.encodings {
                encoding.stop_receiver(session, outbox);
            }
        }
        for (session, how) in wanted {
            let flow = self.flows.entry(*session).or_insert(Flow::new(how.label));
            flow.label = how.label;
            if self.spec.kind == MediaKind::Audio {
                flow.pick = Some(Pick::SOUND);
                flow.on = Some(0);
            }
        }
        self.list();
    }

    /// What a receiver is to get from now on.
    pub(crate) fn steer(&mut self, session: SessionKey, pick: Option<Pick>, turn: &mut Turn<'_>) {
        let Some(flow) = self.flows.get_mut(&session) else {
            return;
        };
        if flow.pick == pick {
            return;
        }
        let before = flow.pick;
        flow.pick = pick;
        match pick {
            None => {
                flow.on = None;
                flow.synced = false;
                for encoding in &mut self.encodings {
                    encoding.stop_receiver(session, turn.outbox);
                }
            }
            Some(pick) => {
                if flow.detail() == Detail::Keys {
                    // At once: not even what waits for it.
                    flow.synced = false;
                    for encoding in &mut self.encodings {
                        encoding.stop_receiver(session, turn.outbox);
                    }
                }
                let same = |before: Pick| {
                    (before.encoding, before.instead) == (pick.encoding, pick.instead)
                };
                if !before.is_some_and(same) {
                    self.seek(session, pick, turn);
                }
            }
        }
        self.list();
    }

    /// Lets a receiver begin with what it is to get, or has it asked for.
    fn seek(&mut self, session: SessionKey, pick: Pick, turn: &mut Turn<'_>) {
        for wanted in [Some(pick.encoding), pick.instead].into_iter().flatten() {
            let Some(flow) = self.flows.get_mut(&session) else {
                return;
            };
            if flow.on == Some(wanted) {
                return;
            }
            let before = flow.on;
            let on = before.and_then(|on| self.encodings.get(usize::from(on)));
            let began = on.and_then(EncodingState::started_us);
            let Some(encoding) = self.encodings.get_mut(usize::from(wanted)) else {
                continue;
            };
            let bytes_max = match before {
                None => usize::MAX,
                // Up with a key frame only: the one before goes on until then.
                Some(on) if on < wanted => 0,
                // A receiver takes what began later for the newer one.
                Some(_) if encoding.started_us() <= began => 0,
                Some(_) => turn.config.catch_up_bytes_max,
            };
            if encoding.start_receiver(session, None, pick.detail, bytes_max, turn) {
                flow.on = Some(wanted);
                flow.synced = false;
                self.leave(session, before, wanted, turn);
                return;
            }
            if encoding.heard {
                encoding.requests.want();
            }
        }
    }

    /// A receiver has begun another encoding: the one before is over.
    fn leave(&mut self, session: SessionKey, before: Option<u8>, now_on: u8, turn: &mut Turn<'_>) {
        let Some(before) = before else {
            return;
        };
        turn.outbox.counters.layer_switches += 1;
        if let Some(encoding) = self.encodings.get_mut(usize::from(before)) {
            if before < now_on {
                encoding.finish_receiver(session, turn.outbox);
            } else {
                encoding.stop_receiver(session, turn.outbox);
            }
        }
    }

    /// Makes the lists of receivers anew.
    fn list(&mut self) {
        if self.spec.kind == MediaKind::Audio {
            self.targets = flow::everybody(&self.flows, &self.outlets);
            self.list_lossy();
            return;
        }
        for (number, encoding) in (0u8..).zip(&mut self.encodings) {
            encoding.lists = flow::lists(&self.flows, &self.outlets, number);
        }
        self.demand.changed();
    }

    fn list_lossy(&mut self) {
        let lossy = self.flows.iter().filter(|(_, flow)| flow.repeats > 0);
        let lossy = lossy.map(|(session, flow)| (flow.target(*session), flow.repeats));
        self.repeats.list(lossy);
    }

    /// How often a receiver gets its sound again.
    pub(crate) fn repeat_to(&mut self, session: SessionKey, times: u8) {
        if let Some(flow) = self.flows.get_mut(&session)
            && flow.repeats != times
        {
            flow.repeats = times;
            self.list_lossy();
        }
    }

    /// A sound is given to all, and kept for those who get it again.
    pub(crate) fn sound(&mut self, datagram: Bytes, turn: &mut Turn<'_>) {
        self.meter.bytes_sent += (self.targets.len() * datagram.len()) as u64;
        self.repeats.keep(&datagram, turn.now);
        turn.outbox.datagram(datagram, &self.targets);
    }

    /// Sends again what is to be sent again now.
    pub(crate) fn repeat(&mut self, turn: &mut Turn<'_>) {
        self.repeats.send(turn);
    }

    /// A piece of a picture on the datagram carrier.
    pub(crate) fn picture(
        &mut self,
        header: &DatagramHeader,
        datagram: Bytes,
        turn: &mut Turn<'_>,
    ) {
        let number = header.extension.encoding.get();
        let key = header.frame_type == FrameType::VideoKey;
        let upper = !key && (header.extension.temporal_layer > 0 || header.flags.discardable);
        let state = &mut self.encodings[usize::from(number)];
        state.rates.add(datagram.len(), upper, turn.now);
        if key {
            state.requests.satisfied();
            // Whichever piece of it comes first.
            if state
                .key_timestamp
                .is_none_or(|at| header.timestamp_us > at)
            {
                state.key_timestamp = Some(header.timestamp_us);
                self.key_came(number, turn);
            }
        } else if state.lists.awaited && header.flags.start {
            state.requests.want();
        }
        let lists = &self.encodings[usize::from(number)].lists;
        let targets = match (key, upper) {
            (true, _) => &lists.keys,
            (false, false) => &lists.base,
            (false, true) => &lists.upper,
        };
        self.meter.bytes_sent += (targets.len() * datagram.len()) as u64;
        turn.outbox.datagram(datagram, targets);
    }

    /// A key frame of an encoding came on the datagram carrier: who waits for it
    /// begins.
    pub(crate) fn key_came(&mut self, number: u8, turn: &mut Turn<'_>) {
        let mut switched = Vec::new();
        let mut changed = false;
        for (session, flow) in &mut self.flows {
            if flow.waits_for(number) {
                switched.push((*session, flow.on.replace(number)));
                flow.synced = false;
            }
            if flow.on == Some(number) {
                let synced = flow.detail() != Detail::Keys;
                changed |= flow.synced != synced;
                flow.synced = synced;
            }
        }
        let any = !switched.is_empty();
        for (session, before) in switched {
            self.leave(session, before, number, turn);
        }
        if any || changed {
            self.list();
        }
    }

    /// Ends all that is forwarded now: the stream is gone, muted, or comes over
    /// another session from now on. `gone`: a session that has ended.
    pub(crate) fn end(&mut self, gone: Option<SessionKey>, outbox: &mut Outbox) {
        for encoding in &mut self.encodings {
            encoding.end(gone, outbox);
        }
        self.repeats.clear();
        if self.spec.kind == MediaKind::Video {
            for flow in self.flows.values_mut() {
                flow.on = None;
                flow.synced = false;
            }
        }
        self.list();
    }

    /// Asks whoever brings it for the key frames that are due: `sender` is the
    /// session of its owner here.
    pub(crate) fn ask(&mut self, sender: Option<SessionKey>, turn: &mut Turn<'_>) {
        let over = self.feeds.asks();
        if over.is_none() && sender.is_none() {
            return;
        }
        if self.spec.kind == MediaKind::Audio || self.spec.muted {
            return;
        }
        for (number, encoding) in (0u32..).zip(&mut self.encodings) {
            if encoding
                .requests
                .due(turn.config.keyframe_interval, turn.now)
            {
                turn.outbox.counters.keyframe_requests += 1;
                let stream_id = self.spec.stream_id;
                let encoding =
                    dt_ids::Encoding::try_from(number).expect("a stream has at most 16 encodings");
                let ask = match (over, sender) {
                    (Some((session, route)), _) => Output::LinkKeyframe {
                        session,
                        route,
                        encoding,
                    },
                    (None, Some(session)) => Output::RequestKeyframe {
                        session,
                        stream_id,
                        encoding,
                    },
                    (None, None) => return,
                };
                turn.outbox.push(ask);
            }
        }
    }

    /// Says which encodings somebody wants, when that changed.
    pub(crate) fn say_demand(&mut self, turn: &mut Turn<'_>) {
        if self.spec.kind == MediaKind::Audio {
            return;
        }
        let linger = turn.config.demand_linger;
        let (flows, outlets) = (&self.flows, &self.outlets);
        let encodings = self.spec.encodings;
        let changed = self
            .demand
            .say(flows, outlets, encodings, linger, turn.now)
            .is_some();
        let Some(said) = self.demand.said() else {
            return;
        };
        for (session, route) in self.feeds.untold(said) {
            turn.outbox.push(Output::LinkDemand {
                session,
                route,
                encodings: said.to_vec(),
            });
        }
        // Its controller hears of it where it is sent.
        if self.feeds.owes_demand(changed) {
            turn.outbox.push(Output::Demand {
                stream_id: self.spec.stream_id,
                encodings: said.to_vec(),
            });
        }
    }

    /// Replaces the links that receive it.
    pub(crate) fn retarget_links(&mut self, wanted: Outlets, turn: &mut Turn<'_>) {
        let before = std::mem::replace(&mut self.outlets, wanted);
        for session in before.keys().filter(|s| !self.outlets.contains_key(s)) {
            // What is under way may be what the one after it does not bring.
            for encoding in &mut self.encodings {
                encoding.finish_receiver(*session, turn.outbox);
            }
        }
        for (session, outlet) in &self.outlets {
            let former = before.get(session);
            for (number, encoding) in (0u8..).zip(&mut self.encodings) {
                let had = former.is_some_and(|f| f.takes(number));
                if had && !outlet.takes(number) {
                    encoding.finish_receiver(*session, turn.outbox);
                }
                // By another number only what begins from now on.
                if self.spec.kind == MediaKind::Audio || !outlet.takes(number) || had {
                    continue;
                }
                // With what is kept, or else with a key frame.
                let (prefix, all) = (Some(outlet.prefix), Detail::Full);
                if !encoding.start_receiver(*session, prefix, all, usize::MAX, turn)
                    && encoding.heard
                {
                    encoding.requests.want();
                }
            }
        }
        if self.outlets != before {
            self.list();
        }
    }

    /// What the handler beyond a link wants of it.
    pub(crate) fn want(&mut self, session: SessionKey, wants: Wants, turn: &mut Turn<'_>) {
        let mut outlets = self.outlets.clone();
        if let Some(outlet) = outlets.get_mut(&session)
            && self.spec.kind == MediaKind::Video
        {
            outlet.wants = wants;
            self.retarget_links(outlets, turn);
        }
    }

    /// A session or link brings nothing any more. `others`: somebody else does.
    pub(crate) fn feeder_down(&mut self, session: SessionKey, others: bool, outbox: &mut Outbox) {
        if !others {
            return self.end(Some(session), outbox);
        }
        for encoding in &mut self.encodings {
            encoding.leave(session, outbox);
        }
    }

    /// Something of it came. `current`: from whoever is to bring it now; `begins`:
    /// it needs nothing before it.
    pub(crate) fn came(&mut self, current: bool, begins: bool, turn: &mut Turn<'_>) {
        if self.feeds.came(current, begins, turn.now) {
            turn.outbox.push(Output::Flow {
                stream_id: self.spec.stream_id,
                arriving: true,
            });
        }
    }

    /// Whether somebody is to get it from here, who may not be there yet.
    pub(crate) fn set_routed(&mut self, routed: bool, turn: &mut Turn<'_>) {
        if self.feeds.set_routed(routed) {
            turn.outbox.push(Output::Flow {
                stream_id: self.spec.stream_id,
                arriving: true,
            });
        }
    }

    /// Says when nothing comes any more. `anybody`: somebody could bring it.
    pub(crate) fn look_for_end(&mut self, anybody: bool, turn: &mut Turn<'_>) {
        let anybody = anybody && !self.spec.muted;
        if self.feeds.ceased(self.spec.kind, anybody, turn.now) {
            turn.outbox.push(Output::Flow {
                stream_id: self.spec.stream_id,
                arriving: false,
            });
        }
    }

    /// What an encoding takes now.
    pub(crate) fn cost(&self, number: u8, now: Instant) -> Cost {
        if self.spec.muted {
            return Cost::default();
        }
        let place = usize::from(number);
        let spec = self.spec.layers().get(place).copied().unwrap_or_default();
        let limit = self.demand.limit_bps(number);
        self.encodings
            .get(place)
            .map_or_else(Cost::default, |e| e.rates.cost(&spec, limit, now))
    }

    /// Whether something of an encoding came just now.
    pub(crate) fn is_sent(&self, number: u8, now: Instant) -> bool {
        let encoding = self.encodings.get(usize::from(number));
        encoding.is_some_and(|encoding| encoding.rates.is_sent(now))
    }

    /// While an encoding is not sent: the best below it that is, or else the
    /// least above it.
    pub(crate) fn instead_of(&self, number: u8, now: Instant) -> Option<u8> {
        if self.is_sent(number, now) {
            return None;
        }
        let of = |n: &u8| self.encodings.get(usize::from(*n));
        let steady = |n: &u8| of(n).is_some_and(|e| e.rates.is_steady(now));
        (0..number)
            .rev()
            .find(steady)
            .or_else(|| (number + 1..self.spec.encodings).find(steady))
    }

    /// Takes a frame of one of the sender's streams and gives it to its
    /// receivers. The caller has checked that the stream may bring it.
    ///
    /// # Errors
    /// When its group is older than one that has begun.
    pub(crate) fn take_frame(
        &mut self,
        feeder: Feeder,
        sender: Option<SessionKey>,
        upstream: &mut Upstream,
        header: &FrameHeader,
        payload: Bytes,
        turn: &mut Turn<'_>,
    ) -> Result<(), Overtaken> {
        let number = upstream.header.encoding.get();
        let encoding = &mut self.encodings[usize::from(number)];
        let live = encoding.place(feeder, upstream, header, turn)?;
        upstream.live = live;
        if let Some(live) = live {
            if !encoding.is_next(live, header.timestamp_us) {
                turn.outbox.drop(DropReason::Repeated);
                return Ok(());
            }
            let frame = FrameBytes {
                header: Bytes::copy_from_slice(&header.write()),
                payload,
            };
            let place = Place {
                number,
                starts: header.frame_type != FrameType::VideoDelta,
                upper: header.is_upper(),
            };
            encoding.rates.add(frame.len(), place.upper, turn.now);
            let (flows, outlets) = (&mut self.flows, &self.outlets);
            let done = encoding.forward(live, &frame, place, flows, outlets, turn);
            self.meter.bytes_sent += done.copies * frame.len() as u64;
            if !done.switched.is_empty() {
                for (session, before) in done.switched {
                    self.leave(session, before, number, turn);
                }
                self.list();
            }
        } else if encoding.is_overtaken(header.timestamp_us) {
            turn.outbox.drop(DropReason::Repeated);
        } else {
            turn.outbox.drop(DropReason::WithoutKeyFrame);
            encoding.requests.want();
        }
        self.ask(sender, turn);
        Ok(())
    }
}

/// Whether a frame can be left out without harm to those after it.
pub(crate) trait Upper {
    fn is_upper(&self) -> bool;
}

impl Upper for FrameHeader {
    fn is_upper(&self) -> bool {
        self.frame_type == FrameType::VideoDelta
            && (self.extension.temporal_layer > 0 || self.flags.discardable)
    }
}
