//! The task of one meeting: takes commands one by one, asks the core, carries
//! out its effects. It never waits for a client, a handler or the store.

use std::{collections::HashMap, sync::Arc};

use bytes::Bytes;
use dt_ids::{HandlerId, MeetingId, ParticipantId};
use dt_meeting_core::{Effect, Meeting, SessionId, Time};
use dt_wire::{
    CloseCode, framing,
    internal::handler_event::Event,
    v1::{ServerMessage, StreamQualityUpdate, server_message::Body},
};
use tokio::{
    sync::{mpsc, watch},
    time::sleep_until,
};

use super::{
    Command, Handle, Outbox, Outgoing, Way,
    commands::{self, Queue, ToHandler},
};
use crate::{Inner, handler::Link, lease::Live};

/// Why a meeting's task ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// The meeting is over for good.
    Ended,
    /// Nobody was here for long.
    Idle,
    /// Another controller has it.
    Fenced,
    /// The controller stops.
    Shutdown,
}

pub(super) struct Task {
    inner: Arc<Inner>,
    meeting: MeetingId,
    core: Meeting,
    sessions: HashMap<SessionId, Outbox>,
    queues: HashMap<HandlerId, Queue>,
    /// For those who carry out commands.
    handle: Handle,
    live: watch::Sender<Live>,
    participants: usize,
    end: Option<End>,
    /// Sessions that turned out too slow while effects were carried out.
    slow: Vec<SessionId>,
}

impl Task {
    pub(super) fn new(
        inner: Arc<Inner>,
        handle: Handle,
        core: Meeting,
        links: Vec<Arc<Link>>,
        live: watch::Sender<Live>,
    ) -> Self {
        let mut task = Self {
            inner,
            meeting: handle.meeting(),
            core,
            sessions: HashMap::new(),
            queues: HashMap::new(),
            handle,
            live,
            participants: 0,
            end: None,
            slow: Vec::new(),
        };
        let now = task.now();
        for link in links {
            let (id, load) = (link.id, link.load());
            let effects = if link.is_gone() {
                task.core.handle_handler_gone(id, now)
            } else {
                task.core.handle_load(id, &load, now)
            };
            task.connect(link);
            task.carry_out(effects);
        }
        task
    }

    /// Commands to a handler go by this link from now on.
    fn connect(&mut self, link: Arc<Link>) {
        let id = link.id;
        let queue = commands::start(&self.inner, link, self.handle.clone());
        self.queues.insert(id, queue);
    }

    pub(super) async fn run(mut self, mut inbox: mpsc::Receiver<Command>) {
        let end = loop {
            if let Some(end) = self.end {
                break end;
            }
            let timer = self
                .core
                .next_timeout()
                .map(|at| self.inner.clock.instant(at));
            tokio::select! {
                command = inbox.recv() => match command {
                    Some(command) => self.handle(command),
                    None => break End::Shutdown,
                },
                () = sleep_until(timer.unwrap_or_else(far)), if timer.is_some() => {
                    let effects = self.core.handle_timeout(self.now());
                    self.carry_out(effects);
                }
                () = self.inner.stop.cancelled() => break End::Shutdown,
            }
        };
        // From here on nobody finds it, and what waits in the inbox is dropped:
        // whoever waits for an answer learns that there is none.
        self.inner.meetings.remove(self.meeting, end == End::Ended);
        self.inner.meetings.count(self.participants, 0);
        let code = match end {
            End::Ended => CloseCode::MeetingEnded,
            End::Idle => CloseCode::Graceful,
            End::Fenced => CloseCode::InternalError,
            End::Shutdown => CloseCode::ShuttingDown,
        };
        for outbox in self.sessions.values() {
            outbox.put(Outgoing::Close(code));
        }
        let _ = self.live.send(Live::Stopped {
            ended: end == End::Ended,
        });
        tracing::info!(meeting_id = %self.meeting, reason = ?end, "meeting stopped");
    }

    fn now(&self) -> Time {
        self.inner.clock.now()
    }

    fn handle(&mut self, command: Command) {
        let now = self.now();
        let core = &mut self.core;
        let effects = match command {
            Command::Join {
                session,
                outbox,
                request_id,
                how,
                reply,
            } => {
                self.sessions.insert(session, outbox);
                let mut rng = rand::rng();
                let joined = match how {
                    Way::Join(join) => core.handle_join(session, request_id, join, now, &mut rng),
                    Way::Resume(r) => core.handle_resume(session, request_id, &r, now, &mut rng),
                };
                match joined {
                    Ok(effects) => {
                        let _ = reply.send(Ok(()));
                        effects
                    }
                    Err(error) => {
                        self.sessions.remove(&session);
                        let _ = reply.send(Err(error));
                        return;
                    }
                }
            }
            Command::Request {
                session,
                request_id,
                body,
            } => core.handle_request(session, request_id, body, now),
            Command::Alive(session) => {
                core.handle_alive(session, now);
                return;
            }
            Command::Lost(session) => {
                self.sessions.remove(&session);
                core.handle_session_lost(session, now)
            }
            Command::Registered(handler, participant, generation) => {
                core.handle_registered(handler, participant, generation, now)
            }
            Command::RegistrationFailed(handler, participant) => {
                core.handle_registration_failed(handler, participant, now)
            }
            Command::Applied(handler, stream, generation) => {
                core.handle_applied(handler, stream, generation, now)
            }
            Command::NotMadeAnew(handler, stream, people) => {
                core.handle_not_made_anew(handler, stream, &people, now)
            }
            Command::Handler(handler, event) => handler_event(core, handler, event, now),
            Command::HandlerGone(handler) => core.handle_handler_gone(handler, now),
            Command::HandlerBack(link) => {
                if !self.queues.contains_key(&link.id) {
                    return;
                }
                let id = link.id;
                self.connect(link);
                self.core.handle_handler_back(id, now)
            }
            Command::Assigned(settings, keepers, links, reply) => {
                let ids: Vec<HandlerId> = links.iter().map(|link| link.id).collect();
                for link in links {
                    if !self.queues.contains_key(&link.id) {
                        self.connect(link);
                    }
                }
                let core = &mut self.core;
                core.handle_assigned(now);
                let effects = core.handle_handlers(&ids, now);
                self.carry_out(effects);
                let core = &mut self.core;
                let _ = reply.send(());
                match core.handle_settings(settings, keepers, now) {
                    Ok(effects) => effects,
                    Err(error) => {
                        tracing::warn!(meeting_id = %self.meeting, %error, "settings are not taken");
                        return;
                    }
                }
            }
            Command::Settings(settings, keepers, reply) => {
                let (done, effects) = match core.handle_settings(settings, keepers, now) {
                    Ok(effects) => (Ok(()), effects),
                    Err(error) => (Err(error), Vec::new()),
                };
                let _ = reply.send(done);
                effects
            }
            Command::Lease(lease) => {
                core.handle_lease(lease);
                return;
            }
            Command::Fenced => core.handle_fenced(),
            Command::End(reply) => {
                let effects = core.handle_end();
                let _ = reply.send(());
                effects
            }
        };
        self.carry_out(effects);
    }

    fn carry_out(&mut self, effects: Vec<Effect>) {
        self.apply(effects);
        while let Some(session) = self.slow.pop() {
            if self.sessions.remove(&session).is_some() {
                let effects = self.core.handle_session_lost(session, self.now());
                self.apply(effects);
            }
        }
    }

    fn apply(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Send { sessions, message } => {
                    let frame = framing::encode(&message);
                    for session in sessions {
                        self.put(session, frame.clone());
                    }
                }
                Effect::SendWithMediaAccess {
                    session,
                    mut message,
                    participant,
                    handlers,
                } => {
                    self.admit(session, &mut message, participant, &handlers);
                    self.put(session, framing::encode(&message));
                }
                Effect::Close { session, code } => {
                    if let Some(outbox) = self.sessions.remove(&session) {
                        outbox.put(Outgoing::Close(code));
                    }
                }
                Effect::Register { handler, command } => {
                    self.tell(handler, ToHandler::Register(command));
                }
                Effect::Unregister { handler, command } => {
                    self.tell(handler, ToHandler::Unregister(command));
                }
                Effect::Route { handler, command } => {
                    self.tell(handler, ToHandler::Route(Box::new(command)));
                }
                Effect::Live { participants } => self.count(participants),
                Effect::Quality {
                    packet_loss,
                    rtt_ms,
                } => {
                    metrics::histogram!("dt_receiver_packet_loss_ratio").record(packet_loss);
                    metrics::histogram!("dt_receiver_rtt_ms").record(f64::from(rtt_ms));
                }
                Effect::Ended => self.end = Some(End::Ended),
                Effect::Idle => self.end = Some(End::Idle),
                Effect::Fenced => self.end = Some(End::Fenced),
            }
        }
    }

    fn put(&mut self, session: SessionId, frame: Bytes) {
        let outbox = self.sessions.get(&session);
        if outbox.is_some_and(|outbox| !outbox.put(Outgoing::Frame(frame))) {
            self.slow.push(session);
        }
    }

    fn tell(&self, handler: HandlerId, command: ToHandler) {
        if let Some(queue) = self.queues.get(&handler) {
            queue.push(command);
        }
    }

    fn count(&mut self, participants: usize) {
        self.inner.meetings.count(self.participants, participants);
        self.participants = participants;
        let number = u32::try_from(participants).unwrap_or(u32::MAX);
        let _ = self.live.send(Live::Running(number));
    }

    /// Puts what opens media sessions into an answer.
    fn admit(
        &self,
        session: SessionId,
        message: &mut ServerMessage,
        participant: ParticipantId,
        handlers: &[HandlerId],
    ) {
        let Some(outbox) = self.sessions.get(&session) else {
            return;
        };
        let now = self.inner.clock.unix();
        let links = handlers
            .iter()
            .filter_map(|id| self.queues.get(id))
            .map(|queue| &queue.link);
        let servers: Vec<_> = links
            .map(|link| link.admit(self.meeting, participant, &outbox.host, now))
            .collect();
        match &mut message.body {
            Some(Body::JoinResponse(response)) => {
                response.media_server = servers.first().cloned();
                response.media_servers = servers;
            }
            Some(Body::MediaToken(token)) => token.media_server = servers.into_iter().next(),
            Some(Body::HandlerAssigned(more)) => more.media_server = servers.into_iter().next(),
            _ => {}
        }
    }
}

fn handler_event(core: &mut Meeting, handler: HandlerId, event: Event, now: Time) -> Vec<Effect> {
    match event {
        Event::Speakers(levels) => {
            let ids: Vec<ParticipantId> = levels
                .participant_ids
                .iter()
                .filter_map(|id| id.parse().ok())
                .collect();
            core.handle_speakers(handler, &ids, now)
        }
        Event::Session(state) => match state.participant_id.parse() {
            Ok(id) => core.handle_media_session(handler, id, state.connected, now),
            Err(_) => Vec::new(),
        },
        Event::Demand(demand) => core.handle_demand(handler, &demand, now),
        Event::Telemetry(report) => {
            let report = StreamQualityUpdate {
                stream_id: report.stream_id,
                available_bitrate: report.bitrate,
                packet_loss: report.packet_loss,
                rtt_ms: 0,
            };
            core.handle_telemetry(handler, report, now)
        }
        Event::Flow(flow) => core.handle_flow(handler, &flow, now),
        Event::Load(load) => core.handle_load(handler, &load, now),
    }
}

/// For a branch that is not polled.
fn far() -> tokio::time::Instant {
    tokio::time::Instant::now()
}
