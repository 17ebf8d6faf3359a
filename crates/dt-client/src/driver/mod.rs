//! The task behind a seat: it does what the session machine says, speaks with
//! the controller, and tells media sessions, publishers and the application.
//!
//! Owns every other task of the seat; when it ends, all end. What messages of
//! the controller mean is in [`answers`].

mod answers;
mod encryption_side;
mod media_side;

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use dt_ids::{MeetingId, ParticipantId, StreamId, StreamNumber, UserId};
use dt_session_core::{Attempt, Closed, Credential, Effect, End, Machine, Phase};
use dt_wire::{
    CloseCode, framing,
    v1::{
        ClientMessage, Heartbeat, JoinRequest, Leave, ParticipantCapabilities, SubscribeLayout,
        UnpublishStream, client_message::Body,
    },
};
use tokio::{
    sync::{broadcast, mpsc, oneshot, watch},
    task::JoinSet,
    time::{sleep_until, timeout},
};

use crate::{
    CommonCodecs, Dial, Event, FourCc, JoinError, JoinOptions, Layout, MediaKind, MeetingAccess,
    Publication, Publisher, RequestError, Roster,
    encryption::{self, DeviceKey, Encryption, EncryptionMode, Input},
    health::REPORT_EVERY,
    media::MediaReport,
    paths::Paths,
    publisher::Shared,
    receiving::{KeyFrameRequest, Receiving},
    signaling,
};
use encryption_side::EncryptionSide;
use media_side::{MediaSide, WARM_HANDLERS};

/// Reports of tasks that wait for the driver.
const REPORTS_MAX: usize = 256;
/// Answers that are waited for at once.
const PENDING_MAX: usize = 1024;
/// How long the answer to a good-bye is waited for.
const LEAVE_ANSWER_MAX: Duration = Duration::from_millis(500);
/// How long sessions may take to close at the end.
const CLOSE_MAX: Duration = Duration::from_secs(1);

/// What the application asks for.
#[derive(Debug)]
pub(crate) enum Command {
    Publish(
        Publication,
        oneshot::Sender<Result<Publisher, RequestError>>,
    ),
    Request(Box<Body>, oneshot::Sender<Result<(), RequestError>>),
    Muted(StreamId, bool),
    Layout(Layout),
    Leave,
}

/// The seat, as the first answer gave it.
#[derive(Debug)]
pub(crate) struct Seat {
    pub(crate) participant_id: ParticipantId,
    pub(crate) user_id: UserId,
    pub(crate) common_codecs: CommonCodecs,
}

/// The driver's ends of what it shares with the application.
pub(crate) struct Wires {
    pub(crate) commands: mpsc::Receiver<Command>,
    pub(crate) key_frames: mpsc::Receiver<KeyFrameRequest>,
    pub(crate) events: broadcast::Sender<Event>,
    pub(crate) phase: watch::Sender<Phase>,
    pub(crate) roster: watch::Sender<Arc<Roster>>,
    pub(crate) encryption: watch::Sender<Arc<Encryption>>,
    pub(crate) receiving: Arc<Receiving>,
    pub(crate) paths: Arc<Paths>,
    pub(crate) joined: oneshot::Sender<Result<Seat, JoinError>>,
}

/// What an answer is waited for.
#[derive(Debug)]
enum Pending {
    Join,
    Publish(StreamId, Option<NewPublisher>),
    Layout,
    MediaToken,
    Mls(encryption::Request),
    Reply(oneshot::Sender<Result<(), RequestError>>),
    Leave,
    /// Nobody waits; an error becomes an event.
    Quiet,
}

/// A publisher that the application gets once the server has confirmed it.
#[derive(Debug)]
struct NewPublisher {
    publisher: Publisher,
    reply: oneshot::Sender<Result<Publisher, RequestError>>,
}

pub(crate) struct Driver<D: Dial> {
    dial: Arc<D>,
    meeting_id: MeetingId,
    access: MeetingAccess,
    name: String,
    layout: Option<Layout>,
    codecs: Vec<FourCc>,
    machine: Machine,
    seat: Option<(ParticipantId, UserId)>,
    session: Option<signaling::Handle>,
    sessions: JoinSet<()>,
    reports: mpsc::Receiver<signaling::Report>,
    reports_in: mpsc::Sender<signaling::Report>,
    media: MediaSide<D>,
    media_reports: mpsc::Receiver<MediaReport>,
    /// Key frames that the receiving side wants.
    key_frames: mpsc::Receiver<KeyFrameRequest>,
    paths: Arc<Paths>,
    encryption: EncryptionSide,
    publishers: Vec<Arc<Shared>>,
    /// Numbers of streams are used in turn: one is not used again soon.
    last_number: u32,
    /// End when their publisher is dropped.
    publishers_gone: JoinSet<StreamId>,
    pending: HashMap<u64, Pending>,
    next_request: u64,
    leave_until: Option<Instant>,
    /// When the next health report is sent.
    health_due: Instant,
    last_error: Option<String>,
    commands: mpsc::Receiver<Command>,
    events: broadcast::Sender<Event>,
    phase: watch::Sender<Phase>,
    roster: watch::Sender<Arc<Roster>>,
    receiving: Arc<Receiving>,
    joined: Option<oneshot::Sender<Result<Seat, JoinError>>>,
}

fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

impl<D: Dial> Driver<D> {
    /// A driver that has not begun, and the publishers of its options.
    pub(crate) fn new(
        dial: D,
        access: MeetingAccess,
        options: JoinOptions,
        wires: Wires,
    ) -> Result<(Self, Vec<Publisher>), JoinError> {
        if options.encryption == EncryptionMode::Never && access.settings.enable_e2e_encryption {
            return Err(JoinError::Encrypted);
        }
        let dial = Arc::new(dial);
        let (reports_in, reports) = mpsc::channel(REPORTS_MAX);
        let (media_reports_in, media_reports) = mpsc::channel(REPORTS_MAX);
        let media = MediaSide::new(
            Arc::clone(&dial),
            options.session,
            Arc::clone(&wires.receiving),
            media_reports_in,
            Arc::clone(&wires.paths),
        );
        let device = match options.device_key {
            Some(key) => key,
            None => {
                DeviceKey::generate().map_err(|error| JoinError::Encryption(error.to_string()))?
            }
        };
        let encryption = EncryptionSide::new(
            options.encryption,
            access.settings.enable_e2e_encryption,
            encryption::Settings {
                meeting_id: access.meeting_id,
                name: options.name.trim().to_owned(),
                device,
                statement: options.device_statement,
                known_devices: options.known_devices,
            },
            access.accounts.clone(),
            &wires.receiving,
            wires.encryption,
            wires.events.clone(),
        )?;
        let mut driver = Self {
            dial,
            meeting_id: access.meeting_id,
            access,
            name: options.name,
            layout: options.layout,
            codecs: options.codecs,
            machine: Machine::new(options.session, None, rand::random()),
            seat: None,
            session: None,
            sessions: JoinSet::new(),
            reports,
            reports_in,
            media,
            media_reports,
            key_frames: wires.key_frames,
            paths: wires.paths,
            encryption,
            publishers: Vec::new(),
            last_number: 0,
            publishers_gone: JoinSet::new(),
            pending: HashMap::new(),
            next_request: 1,
            leave_until: None,
            health_due: now() + REPORT_EVERY,
            last_error: None,
            commands: wires.commands,
            events: wires.events,
            phase: wires.phase,
            roster: wires.roster,
            receiving: wires.receiving,
            joined: Some(wires.joined),
        };
        let mut publishers = Vec::new();
        for publication in options.publish {
            let (publisher, _) = driver
                .add_publisher(publication)
                .ok_or(JoinError::TooManyStreams)?;
            publishers.push(publisher);
        }
        Ok((driver, publishers))
    }

    /// Runs to the end of the seat.
    pub(crate) async fn run(mut self) {
        self.encryption.start();
        // Media sessions open while signaling does.
        let handlers = self.access.media_handlers.iter().take(WARM_HANDLERS);
        for handler in handlers.cloned().collect::<Vec<_>>() {
            self.media.ensure(handler, &self.publishers);
        }
        self.machine.handle_start(now());
        while self.pump() {
            let due = self.due();
            tokio::select! {
                Some(report) = self.reports.recv() => self.handle_report(report),
                Some(report) = self.media_reports.recv() => self.handle_media(report),
                Some(request) = self.key_frames.recv() => self.media.request_key_frame(request),
                output = self.encryption.next() => self.handle_group(output),
                Some(command) = self.commands.recv() => self.handle_command(command),
                Some(gone) = self.publishers_gone.join_next() => {
                    if let Ok(stream) = gone {
                        self.unpublish(stream);
                    }
                }
                Some(_) = self.sessions.join_next() => {}
                () = sleep_until(due.into()) => {}
            }
            self.handle_due();
        }
        for publisher in &self.publishers {
            publisher.end();
        }
        let signaling = async { while self.sessions.join_next().await.is_some() {} };
        let closing = async { tokio::join!(signaling, self.media.end(), self.encryption.end()) };
        // What has not closed by then is dropped, which closes it without a word.
        let _ = timeout(CLOSE_MAX, closing).await;
    }

    /// When [`handle_due`](Self::handle_due) is wanted at the latest.
    fn due(&self) -> Instant {
        let joined = self.machine.phase() == Phase::Joined;
        let due = [
            self.machine.poll_timeout(),
            self.leave_until,
            // Without a session there is nobody to ask for one.
            self.media.token_due().filter(|_| joined),
            Some(self.health_due).filter(|_| joined),
        ];
        let due = due.into_iter().flatten().min();
        due.unwrap_or_else(|| now() + Duration::from_secs(60))
    }

    /// Does what the machine wants; `false` when the seat is over.
    fn pump(&mut self) -> bool {
        while let Some(effect) = self.machine.poll_effect() {
            match effect {
                Effect::Connect(attempt) => self.connect(attempt),
                Effect::Join(_, credential) => self.join(credential),
                Effect::Heartbeat(_) => {
                    self.request(Body::Heartbeat(Heartbeat {}), Pending::Quiet);
                }
                Effect::Probe(_, packet) => self.write(framing::encode_bytes(&packet)),
                Effect::Close(attempt, code) => self.close(attempt, code),
                Effect::PhaseChanged => self.show_phase(),
            }
        }
        !matches!(self.machine.phase(), Phase::Ended(_))
    }

    fn close(&mut self, attempt: Attempt, code: CloseCode) {
        let Some(mut session) = self.session.take_if(|s| s.attempt == attempt) else {
            return;
        };
        // One that is closed in the middle of a seat, to open another one, is dead.
        let was_joined = *self.phase.borrow() == Phase::Joined;
        if was_joined
            && matches!(self.machine.phase(), Phase::Reconnecting(_))
            && let Some(carrier) = session.carrier
        {
            self.dial.died(carrier);
        }
        if let Some(close) = session.close.take() {
            // It may have ended by itself.
            let _ = close.send(code);
        }
    }

    fn show_phase(&mut self) {
        let phase = self.machine.phase();
        self.phase.send_replace(phase);
        self.tell(Event::Phase(phase));
        match phase {
            Phase::Joined => {}
            Phase::Ended(end) => {
                if let Some(joined) = self.joined.take() {
                    let message = self.last_error.take();
                    let _ = joined.send(Err(JoinError::Ended { end, message }));
                }
            }
            Phase::Idle | Phase::Connecting | Phase::Reconnecting(_) => {
                self.pending.clear();
                self.tell_group(Input::Lost);
            }
        }
    }

    /// Nobody needs to listen.
    fn tell(&self, event: Event) {
        let _ = self.events.send(event);
    }

    fn connect(&mut self, attempt: Attempt) {
        let (outbound, outbound_out) = mpsc::channel(signaling::OUTBOUND_MAX);
        let (close, close_out) = oneshot::channel();
        self.pending.clear();
        self.session = Some(signaling::Handle {
            attempt,
            outbound,
            close: Some(close),
            carrier: None,
        });
        self.sessions.spawn(signaling::run(
            attempt,
            Arc::clone(&self.dial),
            self.access.meeting_controller.clone(),
            self.reports_in.clone(),
            outbound_out,
            close_out,
        ));
    }

    /// Asks for the seat, and in the same flight for all that belongs to it.
    fn join(&mut self, credential: Credential) {
        let resumes = matches!(credential, Credential::Resume(_));
        let kept = self.publishers.iter().map(|p| p.stream_id.to_string());
        let mut request = JoinRequest {
            meeting_id: self.meeting_id.to_string(),
            participant_name: self.name.clone(),
            capabilities: Some(ParticipantCapabilities {
                video_codecs: codec_names(&self.codecs, MediaKind::Video),
                audio_codecs: codec_names(&self.codecs, MediaKind::Audio),
                max_video_streams: self.layout.as_ref().map_or(0, Layout::tiles),
                ..ParticipantCapabilities::default()
            }),
            e2ee: self.encryption.offer(),
            ..JoinRequest::default()
        };
        match credential {
            Credential::JoinToken => {
                self.access
                    .join_token
                    .reveal()
                    .clone_into(&mut request.join_token);
            }
            Credential::Resume(token) => {
                request.resume_token = token.0;
                request.kept_stream_ids = kept.collect();
            }
        }
        self.request(Body::JoinRequest(request), Pending::Join);
        if !resumes {
            for publisher in self.publishers.clone() {
                self.publish(&publisher, None);
            }
        }
        if let Some(layout) = &self.layout {
            let layout = Some(layout.message());
            self.request(
                Body::SubscribeLayout(SubscribeLayout { layout }),
                Pending::Layout,
            );
        }
    }

    fn publish(&mut self, publisher: &Shared, waits: Option<NewPublisher>) {
        let pending = Pending::Publish(publisher.stream_id, waits);
        self.request(Body::PublishStream(publisher.message()), pending);
    }

    fn unpublish(&mut self, stream: StreamId) {
        let Some(place) = self.publishers.iter().position(|p| p.stream_id == stream) else {
            return;
        };
        self.publishers.remove(place).end();
        let stream_id = stream.to_string();
        if self.machine.phase() == Phase::Joined {
            self.request(
                Body::UnpublishStream(UnpublishStream { stream_id }),
                Pending::Quiet,
            );
        }
    }

    /// `None` when all numbers are taken.
    fn add_publisher(&mut self, publication: Publication) -> Option<(Publisher, Arc<Shared>)> {
        let number = (0..255_u32)
            .map(|step| (self.last_number + step) % 255 + 1)
            .filter_map(|number| StreamNumber::try_from(number).ok())
            .find(|number| self.publishers.iter().all(|p| p.number != *number))?;
        self.last_number = u32::from(number.get());
        let sealing = Arc::clone(&self.encryption.sealing);
        let paths = Arc::clone(&self.paths);
        let (publisher, shared) = Publisher::new(publication, number, sealing, paths);
        if let Some((_, user_id)) = self.seat {
            let _ = shared.user_id.set(user_id);
        }
        let (gone, stream_id) = (shared.gone.clone(), shared.stream_id);
        self.publishers_gone.spawn(async move {
            gone.cancelled().await;
            stream_id
        });
        self.publishers.push(Arc::clone(&shared));
        self.media.add_publisher(&shared);
        Some((publisher, shared))
    }

    /// Sends a request and remembers what its answer is for.
    fn request(&mut self, body: Body, pending: Pending) {
        if self.pending.len() >= PENDING_MAX {
            // A server that answers nothing is as good as gone.
            self.lose_session();
            return;
        }
        let id = self.next_request;
        self.next_request += 1;
        self.pending.insert(id, pending);
        self.write(framing::encode(&ClientMessage::new(id, body)));
    }

    fn write(&mut self, bytes: bytes::Bytes) {
        let written = match &self.session {
            Some(session) => session.outbound.try_send(bytes).is_ok(),
            None => true,
        };
        if !written {
            self.lose_session();
        }
    }

    /// Gives up a session that does not take what is written.
    fn lose_session(&mut self) {
        if let Some(session) = self.session.take() {
            self.machine
                .handle_closed(session.attempt, Closed::Lost, now());
        }
    }

    fn handle_command(&mut self, command: Command) {
        match command {
            Command::Publish(publication, reply) => match self.add_publisher(publication) {
                Some((publisher, shared)) => {
                    self.publish(&shared, Some(NewPublisher { publisher, reply }));
                }
                None => {
                    let _ = reply.send(Err(RequestError::TooManyStreams));
                }
            },
            Command::Request(body, reply) if self.machine.phase() == Phase::Joined => {
                self.request(*body, Pending::Reply(reply));
            }
            // Dropping the reply says that there is no session.
            Command::Request(..) => {}
            Command::Muted(stream, muted) => self.set_muted(stream, muted),
            Command::Layout(layout) => self.layout = Some(layout),
            Command::Leave => {
                if self.machine.phase() == Phase::Joined {
                    self.leave_until = Some(now() + LEAVE_ANSWER_MAX);
                    self.request(Body::Leave(Leave {}), Pending::Leave);
                } else {
                    self.machine.handle_leave();
                }
            }
        }
    }

    fn set_muted(&self, stream: StreamId, muted: bool) {
        if let Some(publisher) = self.publishers.iter().find(|p| p.stream_id == stream) {
            publisher.set_muted(muted);
        }
    }

    fn handle_due(&mut self) {
        let now = now();
        if self.leave_until.is_some_and(|until| now >= until) {
            self.machine.handle_leave();
        }
        self.machine.handle_timeout(now);
        if self.machine.phase() == Phase::Joined {
            for handler in self.media.take_token_due(now) {
                self.request_token(handler);
            }
            if now >= self.health_due {
                self.health_due = now + REPORT_EVERY;
                let received = self.receiving.stats();
                let (rtt, home) = (self.machine.rtt(), self.paths.home());
                let report = self.receiving.health.report(rtt, received, home);
                self.media.reap();
                let body = Body::HealthReport(report);
                self.write(framing::encode(&ClientMessage::new(0, body)));
            }
        }
    }

    /// The seat is over by word of the server.
    fn told(&mut self, end: End) {
        if let Some(session) = &self.session {
            self.machine.handle_told(session.attempt, end);
        }
    }
}

/// As `ParticipantCapabilities` names them.
fn codec_names(codecs: &[FourCc], kind: MediaKind) -> Vec<String> {
    let names = codecs.iter().filter(|codec| codec.kind() == kind);
    let names = names.map(|codec| match codec {
        FourCc::Opus => "Opus",
        FourCc::Vp8 => "VP8",
        FourCc::Vp9 => "VP9",
        FourCc::Av1 => "AV1",
        FourCc::H264 => "H264",
    });
    names.map(str::to_owned).collect()
}
