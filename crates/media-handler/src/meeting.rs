//! One meeting at this handler: its forwarder, the ports of its sessions, and
//! the carrying out of outputs.

mod linking;
mod processed;
mod steering;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, Weak},
    time::{Duration, Instant},
};

use bytes::Bytes;
use dt_forward_core::{
    CloseReason, Counters, DropReason, Forwarder, GroupKey, OutGroup, Output, SessionKey,
};
use dt_ids::{Encoding, MeetingId, ParticipantId, StreamId};
use dt_wire::{
    CloseCode, framing,
    internal::{HandlerEvent, MediaSessionState, MediaTelemetry, SpeakerLevels, handler_event},
    v1::{MediaServerMessage, RequestKeyframe, media_server_message},
};

use crate::{
    Inner,
    events::{Events, Listener},
    fan_out::FanOut,
    flush::Flush,
    lock, now,
    port::{Port, StreamDone},
    processing::Processing,
};

/// A meeting. Its lock is held for one input and the outputs of it, and never
/// across a wait; the order of outputs is kept because they are carried out
/// under it.
pub(crate) struct Meeting {
    id: MeetingId,
    events: Arc<Events>,
    state: Mutex<State>,
}

pub(crate) struct State {
    id: MeetingId,
    events: Arc<Events>,
    flush: Arc<Flush>,
    me: Weak<Meeting>,
    pub(crate) forwarder: Forwarder,
    ports: HashMap<SessionKey, (ParticipantId, Port)>,
    /// To other handlers.
    links: HashMap<SessionKey, Port>,
    cascade: Weak<Inner>,
    processing: Processing,
    /// Microphones that are heard at once at most.
    heard_max: usize,
    fan_out: FanOut,
    speakers: Vec<ParticipantId>,
    /// Counts already given to the metrics.
    reported: Counters,
    empty_since: Option<Instant>,
}

impl Meeting {
    pub(crate) fn new(
        id: MeetingId,
        config: dt_forward_core::Config,
        events: Arc<Events>,
        flush: Arc<Flush>,
        cascade: Weak<Inner>,
    ) -> Arc<Self> {
        let state = |me: &Weak<Self>| State {
            id,
            events: Arc::clone(&events),
            flush,
            me: Weak::clone(me),
            forwarder: Forwarder::new(config),
            ports: HashMap::new(),
            links: HashMap::new(),
            cascade: Weak::clone(&cascade),
            processing: Processing::default(),
            heard_max: config.gates.open_max,
            fan_out: FanOut::default(),
            speakers: Vec::new(),
            reported: Counters::default(),
            empty_since: Some(now()),
        };
        Arc::new_cyclic(|me| Self {
            id,
            state: Mutex::new(state(me)),
            events: Arc::clone(&events),
        })
    }

    pub(crate) const fn id(&self) -> MeetingId {
        self.id
    }

    /// Gives the forwarder an input and carries out what follows.
    pub(crate) fn with<T>(&self, input: impl FnOnce(&mut State) -> T) -> T {
        let mut state: MutexGuard<'_, State> = lock(&self.state);
        let answer = input(&mut state);
        state.carry_out();
        answer
    }

    pub(crate) fn datagram(&self, session: SessionKey, datagram: Bytes) {
        // What was dropped is counted by the forwarder.
        let _ = self.with(|s| s.forwarder.datagram(session, datagram, now()));
    }

    pub(crate) fn keyframe_request(
        &self,
        session: SessionKey,
        stream_id: StreamId,
        encoding: Encoding,
    ) -> Result<(), DropReason> {
        self.with(|s| {
            s.forwarder
                .keyframe_request(session, stream_id, encoding, now())
        })
    }

    pub(crate) fn written(&self, session: SessionKey, out: OutGroup, frames: usize) {
        self.with(|s| s.forwarder.written(session, out, frames));
    }

    /// The task of a stream to a receiver has ended; `whole` when it wrote all.
    pub(crate) fn stream_ended(&self, session: SessionKey, out: OutGroup, whole: bool) {
        self.with(|s| {
            if let Some(port) = s.port(session) {
                port.stream_ended(out);
            }
            if !whole {
                s.forwarder.refused(session, out);
            }
        });
    }

    /// The task that read a sender's stream has ended.
    pub(crate) fn group_ended(&self, session: SessionKey, group: GroupKey, whole: bool) {
        self.with(|s| {
            if let Some(port) = s.port(session) {
                port.group_ended(group);
            }
            if whole {
                s.forwarder.group_finished(session, group, now());
            } else {
                s.forwarder.group_reset(session, group);
            }
        });
    }

    /// Lets a session in; `None` when its participant is not registered.
    pub(crate) fn session_up(
        &self,
        participant: ParticipantId,
        session: SessionKey,
        port: Port,
    ) -> Option<()> {
        let mut state = lock(&self.state);
        // Before it is up, so that the first outputs find the port.
        state.ports.insert(session, (participant, port));
        let up = state.forwarder.session_up(participant, session, now());
        if up.is_err() {
            state.ports.remove(&session);
        }
        state.carry_out();
        up.ok()?;
        state.tell_session(participant, true);
        Some(())
    }

    pub(crate) fn session_down(&self, session: SessionKey, participant: ParticipantId) {
        let mut state = lock(&self.state);
        state.forwarder.session_down(session, now());
        state.ports.remove(&session);
        let connected = state.is_connected(participant);
        state.carry_out();
        if !connected {
            state.tell_session(participant, false);
        }
    }

    /// Sends the datagrams that have gathered.
    pub(crate) fn send_round(&self, now: Instant) {
        // Out of the lock: others may add to the next round meanwhile.
        let round = lock(&self.state).fan_out.take();
        let left_out = round.send(now);
        if left_out > 0 {
            metrics::counter!("media_dropped_total", "reason" => "slow_datagrams")
                .increment(left_out as u64);
        }
    }

    /// Time passes.
    pub(crate) fn tick(&self) {
        self.with(|s| {
            s.sample_paths();
            s.forwarder.tick(now());
        });
    }

    /// Tells controllers the figures of all streams, and gives counts to the
    /// metrics.
    pub(crate) fn report(&self) {
        let (telemetry, timestamp) = (self.with(State::report), unix_ms());
        for stream in telemetry {
            self.tell(handler_event::Event::Telemetry(MediaTelemetry {
                stream_id: stream.stream_id.to_string(),
                bytes_sent: stream.bytes_sent,
                bytes_received: stream.bytes_received,
                packet_loss: stream.packet_loss,
                bitrate: stream.bitrate_bps,
                jitter_ms: stream.jitter_ms,
                timestamp,
            }));
        }
    }

    /// Tells a controller that listens since a moment ago what it must know. Under the
    /// lock, so that nothing that it hears beside this is older or missing.
    pub(crate) fn tell_present(&self, listener: &Listener) {
        self.with(|s| listener.tell(s.present()));
    }

    /// Whether nobody has been registered for so long.
    pub(crate) fn is_abandoned(&self, for_long: Duration) -> bool {
        let mut state = lock(&self.state);
        state.close_lone_tap();
        if !state.forwarder.is_idle() {
            state.empty_since = None;
            return false;
        }
        let since = *state.empty_since.get_or_insert_with(now);
        now().saturating_duration_since(since) > for_long
    }

    pub(crate) fn stream_count(&self) -> usize {
        lock(&self.state).forwarder.stream_count()
    }

    pub(crate) fn close_all(&self, code: CloseCode, reason: &str) {
        for (_, port) in lock(&self.state).ports.values() {
            port.close(code.code(), reason);
        }
    }

    fn tell(&self, what: handler_event::Event) {
        self.events.tell(&event(self.id, what));
    }
}

impl State {
    /// Under the lock, as all that changes: the next session of a participant may
    /// come up on another thread while the one before goes down.
    fn tell_session(&self, participant: ParticipantId, connected: bool) {
        let what = session_event(participant, connected);
        self.events.tell(&event(self.id, what));
    }

    fn is_connected(&self, participant: ParticipantId) -> bool {
        self.ports.values().any(|(p, _)| *p == participant)
    }

    /// What a controller that begins to listen must know.
    fn present(&self) -> Vec<HandlerEvent> {
        let clients = self.ports.values().map(|(p, _)| *p);
        let clients = clients.filter(|p| !self.processing.is_tap(*p));
        let mut connected: Vec<_> = clients.collect();
        connected.sort_unstable();
        connected.dedup();
        let mut events: Vec<_> = connected
            .into_iter()
            .map(|participant| event(self.id, session_event(participant, true)))
            .collect();
        if !self.speakers.is_empty() {
            events.push(event(self.id, speakers_event(&self.speakers)));
        }
        let demands = self.forwarder.demands();
        events.extend(
            demands.map(|(stream, wanted)| steering::demand_event(self.id, stream, wanted)),
        );
        let flow = |stream| linking::flow_event(self.id, stream, true);
        events.extend(self.forwarder.arriving().map(flow));
        events
    }

    pub(crate) fn port(&mut self, session: SessionKey) -> Option<&mut Port> {
        let of_client = self.ports.get_mut(&session).map(|(_, port)| port);
        of_client.or_else(|| self.links.get_mut(&session))
    }

    fn carry_out(&mut self) {
        while let Some(output) = self.forwarder.poll_output() {
            match output {
                Output::Datagram { datagram, targets } => {
                    let (ports, links) = (&self.ports, &self.links);
                    let receiver = |session| {
                        let port = ports.get(&session).map(|(_, port)| port);
                        let port = port.or_else(|| links.get(&session));
                        port.map(Port::receiver)
                    };
                    if self.fan_out.add(datagram, &targets, receiver) {
                        self.flush.add(Weak::clone(&self.me));
                    }
                }
                Output::Stream { session, out, op } => {
                    match self.port(session).map(|port| port.stream(out, op)) {
                        Some(StreamDone::Written) => self.forwarder.written(session, out, 1),
                        Some(StreamDone::Refused) => self.forwarder.refused(session, out),
                        Some(StreamDone::Under) | None => {}
                    }
                }
                Output::RequestKeyframe {
                    session,
                    stream_id,
                    encoding,
                } => self.request_keyframe(session, stream_id, encoding),
                Output::StopGroup {
                    session,
                    group,
                    code,
                } => {
                    if let Some(port) = self.port(session) {
                        port.stop_group(group, code);
                    }
                }
                Output::Close { session, reason } => self.close(session, reason),
                Output::Speakers(list) => {
                    self.events.tell(&event(self.id, speakers_event(&list)));
                    self.speakers = list;
                }
                Output::Padding { session, bytes } => self.pad(session, bytes),
                Output::Demand {
                    stream_id,
                    encodings,
                } => self.tell_demand(stream_id, &encodings),
                Output::SenderReport { session, report } => {
                    self.report_to_sender(session, report);
                }
                Output::LinkKeyframe {
                    session,
                    route,
                    encoding,
                } => self.tell_link(session, linking::keyframe(route, encoding)),
                Output::LinkDemand {
                    session,
                    route,
                    encodings,
                } => self.tell_link(session, linking::demand(route, &encodings)),
                Output::LinkRoute {
                    handler,
                    route,
                    incoming,
                    known,
                } => self.link_route((handler, route), incoming, known),
                Output::Flow {
                    stream_id,
                    arriving,
                } => {
                    let flow = linking::flow_event(self.id, stream_id, arriving);
                    self.events.tell(&flow);
                }
            }
        }
    }

    fn request_keyframe(&mut self, session: SessionKey, stream_id: StreamId, encoding: Encoding) {
        let body = media_server_message::Body::RequestKeyframe(RequestKeyframe {
            stream_id: stream_id.to_string(),
            encoding: u32::from(encoding.get()),
        });
        let message = framing::encode(&MediaServerMessage::new(0, body));
        if let Some(port) = self.port(session) {
            port.send_control(message);
        }
    }

    fn close(&mut self, session: SessionKey, reason: CloseReason) {
        let Some((_, port)) = self.ports.remove(&session) else {
            return;
        };
        match reason {
            CloseReason::Unregistered { close_code } => {
                port.close(close_code, "not registered any more")
            }
            CloseReason::Replaced => {
                port.close(CloseCode::Replaced.code(), "replaced by a newer session")
            }
        }
    }

    fn report(&mut self) -> Vec<dt_forward_core::StreamTelemetry> {
        let counters = *self.forwarder.counters();
        let before = std::mem::replace(&mut self.reported, counters);
        for reason in DropReason::ALL {
            let dropped = counters.dropped(reason) - before.dropped(reason);
            if dropped > 0 {
                metrics::counter!("media_dropped_total", "reason" => reason.as_str())
                    .increment(dropped);
            }
        }
        let count = |name: &'static str, after: u64, before: u64| {
            metrics::counter!(name).increment(after - before);
        };
        count(
            "media_datagrams_in_total",
            counters.datagrams_in,
            before.datagrams_in,
        );
        count(
            "media_datagrams_out_total",
            counters.datagrams_out,
            before.datagrams_out,
        );
        count(
            "media_frames_in_total",
            counters.frames_in,
            before.frames_in,
        );
        count(
            "media_frames_out_total",
            counters.frames_out,
            before.frames_out,
        );
        count(
            "media_frames_left_out_total",
            counters.frames_left_out,
            before.frames_left_out,
        );
        count(
            "media_frames_without_key_total",
            counters.frames_without_key,
            before.frames_without_key,
        );
        count("media_bytes_in_total", counters.bytes_in, before.bytes_in);
        count(
            "media_bytes_out_total",
            counters.bytes_out,
            before.bytes_out,
        );
        count(
            "media_late_resets_total",
            counters.late_resets,
            before.late_resets,
        );
        count(
            "media_keyframe_requests_total",
            counters.keyframe_requests,
            before.keyframe_requests,
        );
        count(
            "media_layer_switches_total",
            counters.layer_switches,
            before.layer_switches,
        );
        count("media_silent_total", counters.silent, before.silent);
        count(
            "media_repeats_out_total",
            counters.repeats_out,
            before.repeats_out,
        );
        self.forwarder.telemetry(now())
    }
}

fn event(meeting: MeetingId, what: handler_event::Event) -> HandlerEvent {
    HandlerEvent {
        meeting_id: meeting.to_string(),
        event: Some(what),
    }
}

fn session_event(participant: ParticipantId, connected: bool) -> handler_event::Event {
    handler_event::Event::Session(MediaSessionState {
        participant_id: participant.to_string(),
        connected,
    })
}

fn speakers_event(list: &[ParticipantId]) -> handler_event::Event {
    handler_event::Event::Speakers(SpeakerLevels {
        participant_ids: list.iter().map(ToString::to_string).collect(),
    })
}

fn unix_ms() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX))
}
