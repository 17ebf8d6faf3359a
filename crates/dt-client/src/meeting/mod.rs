//! A seat in a meeting, as an application holds it.

mod events;
mod options;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use dt_ids::{HandlerId, MeetingId, ParticipantId, StreamId, UserId};
use dt_session_core::{End, Phase};
use dt_wire::v1::{
    EndMeeting, RemoveParticipant, RequestKeyframe, SetMute, SetSpotlight, SubscribeStream,
    UnsubscribeStream, UpdateLayout, client_message,
};
use tokio::{
    sync::{broadcast, mpsc, oneshot, watch},
    task::JoinHandle,
};

use crate::{
    Carriers, Dial, Encryption, Layout, MeetingAccess, Publication, Publisher, RacingDial,
    ReceiveStats, ReceivedFrame, Roster, Wanted,
    driver::{Command, Driver, Wires},
    layout::named_slot,
    paths::Paths,
    receiving::Receiving,
};
pub use events::{Event, RequestError};
pub use options::{JoinError, JoinOptions};

/// Events that an application may be behind; the oldest are dropped above it.
const EVENTS_MAX: usize = 1024;
/// Frames that an application may be behind. Above it streams wait and datagrams
/// are dropped.
const FRAMES_MAX: usize = 512;
const COMMANDS_MAX: usize = 64;
/// Key-frame requests that wait to be sent.
const KEY_FRAME_REQUESTS_MAX: usize = 256;
/// How long a good-bye may take.
const LEAVE_MAX: Duration = Duration::from_secs(2);

/// What a join gives.
#[derive(Debug)]
pub struct Joined {
    /// The seat.
    pub meeting: Meeting,
    /// What is received. Take frames in time: streams wait for it and datagrams
    /// are dropped when 512 frames wait.
    pub frames: mpsc::Receiver<ReceivedFrame>,
    /// For each publication of the options, in their order.
    pub publishers: Vec<Publisher>,
    /// What happened from the beginning of the join on.
    pub events: broadcast::Receiver<Event>,
}

/// What this client has in common with those who were there when it joined. With
/// nothing in common it is in the meeting and sees or hears nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CommonCodecs {
    /// It decodes what at least one of them encodes.
    pub video: bool,
    /// It decodes what at least one of them encodes.
    pub audio: bool,
}

/// A seat in a meeting. It survives losses of the connection: see
/// [`Meeting::phase`]. Dropped, it leaves without waiting.
#[derive(Debug)]
pub struct Meeting {
    meeting_id: MeetingId,
    participant_id: ParticipantId,
    user_id: UserId,
    common_codecs: CommonCodecs,
    commands: mpsc::Sender<Command>,
    phase: watch::Receiver<Phase>,
    roster: watch::Receiver<Arc<Roster>>,
    encryption: watch::Receiver<Arc<Encryption>>,
    events: broadcast::Sender<Event>,
    receiving: Arc<Receiving>,
    paths: Arc<Paths>,
    /// Streams asked for by name so far.
    named: AtomicU32,
    driver: JoinHandle<()>,
}

/// A media handler of a seat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handler {
    /// Which.
    pub id: HandlerId,
    /// Pictures go there and come from there, beside sound.
    pub home: bool,
    /// Media goes both ways.
    pub ready: bool,
}

impl Meeting {
    /// Joins by WebTransport or, where that does not get through, by WebSocket.
    ///
    /// # Errors
    /// When no seat is given; see [`JoinError`].
    pub async fn join(access: MeetingAccess, options: JoinOptions) -> Result<Joined, JoinError> {
        let dial = RacingDial::new(access.network.clone(), options.transport);
        Self::join_over(dial, access, options).await
    }

    /// Joins over sessions that are opened in another way. Signaling and media
    /// connect at the same time, and what is to be published and received is
    /// asked for together with the seat.
    ///
    /// # Errors
    /// When no seat is given; see [`JoinError`].
    pub async fn join_over<D: Dial>(
        dial: D,
        access: MeetingAccess,
        options: JoinOptions,
    ) -> Result<Joined, JoinError> {
        let (frames_in, frames) = mpsc::channel(FRAMES_MAX);
        let (key_frames_in, key_frames) = mpsc::channel(KEY_FRAME_REQUESTS_MAX);
        let receiving = Receiving::new(frames_in, key_frames_in);
        let (commands, commands_out) = mpsc::channel(COMMANDS_MAX);
        let events = broadcast::Sender::new(EVENTS_MAX);
        let events_out = events.subscribe();
        let phase = watch::Sender::new(Phase::Idle);
        let roster = watch::Sender::new(Arc::new(Roster::default()));
        let encryption = watch::Sender::new(Arc::new(Encryption::default()));
        let (joined_in, joined) = oneshot::channel();
        let meeting_id = access.meeting_id;
        let paths = Arc::<Paths>::default();
        let phase_out = phase.subscribe();
        let roster_out = roster.subscribe();
        let encryption_out = encryption.subscribe();
        let wires = Wires {
            commands: commands_out,
            key_frames,
            events: events.clone(),
            phase,
            roster,
            encryption,
            receiving: Arc::clone(&receiving),
            paths: Arc::clone(&paths),
            joined: joined_in,
        };
        let (driver, publishers) = Driver::new(dial, access, options, wires)?;
        let driver = Abort(Some(tokio::spawn(driver.run())));
        let seat = joined.await.unwrap_or(Err(JoinError::Ended {
            end: End::Lost,
            message: None,
        }))?;
        let meeting = Self {
            meeting_id,
            participant_id: seat.participant_id,
            user_id: seat.user_id,
            common_codecs: seat.common_codecs,
            commands,
            phase: phase_out,
            roster: roster_out,
            encryption: encryption_out,
            events,
            receiving,
            paths,
            named: AtomicU32::default(),
            driver: driver.keep(),
        };
        Ok(Joined {
            meeting,
            frames,
            publishers,
            events: events_out,
        })
    }

    /// What carries its sessions now.
    #[must_use]
    pub fn carriers(&self) -> Carriers {
        self.receiving.health.carriers()
    }

    /// The media handlers of this seat, the home first.
    #[must_use]
    pub fn handlers(&self) -> Vec<Handler> {
        self.paths.handlers()
    }

    /// The meeting.
    #[must_use]
    pub fn meeting_id(&self) -> MeetingId {
        self.meeting_id
    }

    /// This seat; it stays the same over reconnections.
    #[must_use]
    pub fn participant_id(&self) -> ParticipantId {
        self.participant_id
    }

    /// This seat's number.
    #[must_use]
    pub fn user_id(&self) -> UserId {
        self.user_id
    }

    /// What this client had in common with the others when it joined.
    #[must_use]
    pub fn common_codecs(&self) -> CommonCodecs {
        self.common_codecs
    }

    /// How the connection stands.
    #[must_use]
    pub fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    /// Waits for the end of the seat.
    pub async fn ended(&self) -> End {
        let mut phase = self.phase.clone();
        let ended = phase
            .wait_for(|phase| matches!(phase, Phase::Ended(_)))
            .await;
        match ended.as_deref() {
            Ok(Phase::Ended(end)) => *end,
            _ => End::Lost,
        }
    }

    /// Who is there now.
    #[must_use]
    pub fn roster(&self) -> Arc<Roster> {
        Arc::clone(&self.roster.borrow())
    }

    /// How the meeting's end-to-end encryption stands: who holds the keys, the
    /// codes by which people can be sure of each other, and what is wrong.
    ///
    /// ```no_run
    /// # use dt_client::{Event, Meeting};
    /// # async fn example(meeting: Meeting) {
    /// let mut events = meeting.events();
    /// while let Ok(event) = events.recv().await {
    ///     match event {
    ///         Event::EncryptionChanged => {
    ///             let encryption = meeting.encryption();
    ///             println!("meeting code {:?}", encryption.meeting_code);
    ///             for member in &encryption.members {
    ///                 println!("{} {:?}: {:?}", member.name, member.standing, member.pair_code);
    ///             }
    ///         }
    ///         Event::EncryptionAlarm(alarm) => eprintln!("{alarm}"),
    ///         _ => {}
    ///     }
    /// }
    /// # }
    /// ```
    #[must_use]
    pub fn encryption(&self) -> Arc<Encryption> {
        Arc::clone(&self.encryption.borrow())
    }

    /// Waits until the encryption is as wanted; `None` when the seat is over
    /// before.
    pub async fn encryption_where(
        &self,
        mut wanted: impl FnMut(&Encryption) -> bool,
    ) -> Option<Arc<Encryption>> {
        let mut encryption = self.encryption.clone();
        let found = encryption.wait_for(|shown| wanted(shown)).await;
        found.ok().map(|shown| Arc::clone(&shown))
    }

    /// Asks for fresh keys for everybody; granted once in ten seconds a meeting.
    ///
    /// # Errors
    /// When the server refuses it, or there are no keys now.
    pub async fn rotate_keys(&self) -> Result<(), RequestError> {
        let position = self.encryption().position;
        let rotate = crate::encryption::rotate(position).ok_or(RequestError::NoKeys)?;
        self.request(client_message::Body::Mls(rotate)).await
    }

    /// What happens from now on. A reader that is more than 1024 events behind
    /// is told so and goes on with the oldest there are.
    #[must_use]
    pub fn events(&self) -> broadcast::Receiver<Event> {
        self.events.subscribe()
    }

    /// What was received so far.
    #[must_use]
    pub fn receive_stats(&self) -> ReceiveStats {
        self.receiving.stats()
    }

    /// Publishes another stream.
    ///
    /// # Errors
    /// When the server refuses it.
    pub async fn publish(&self, publication: Publication) -> Result<Publisher, RequestError> {
        let (reply, answer) = oneshot::channel();
        self.command(Command::Publish(publication, reply)).await?;
        answer.await.map_err(|_| RequestError::SessionLost)?
    }

    /// Silences a published stream, or lets it be heard again.
    ///
    /// # Errors
    /// When the server refuses it.
    pub async fn set_muted(&self, stream: StreamId, muted: bool) -> Result<(), RequestError> {
        self.command(Command::Muted(stream, muted)).await?;
        self.request(client_message::Body::SetMute(SetMute {
            stream_id: stream.to_string(),
            muted,
        }))
        .await
    }

    /// Asks for other tiles. A seat that joined without a layout cannot.
    ///
    /// # Errors
    /// When the server refuses it.
    pub async fn set_layout(&self, layout: Layout) -> Result<(), RequestError> {
        let message = UpdateLayout {
            layout: Some(layout.message()),
        };
        self.command(Command::Layout(layout)).await?;
        self.request(client_message::Body::UpdateLayout(message))
            .await
    }

    /// Asks for one stream by name, whatever the layout shows. Asked for again it
    /// comes as it was wanted last. A seat that is lost loses it.
    ///
    /// # Errors
    /// When the server refuses it.
    pub async fn subscribe(&self, stream: StreamId, wanted: Wanted) -> Result<(), RequestError> {
        let number = self.named.fetch_add(1, Ordering::Relaxed);
        self.request(client_message::Body::SubscribeStream(SubscribeStream {
            stream_id: stream.to_string(),
            options: Some(wanted.message()),
            slot: named_slot(number),
        }))
        .await
    }

    /// Leaves a stream to the layout again.
    ///
    /// # Errors
    /// When it was not asked for by name.
    pub async fn unsubscribe(&self, stream: StreamId) -> Result<(), RequestError> {
        self.request(client_message::Body::UnsubscribeStream(UnsubscribeStream {
            stream_id: stream.to_string(),
        }))
        .await
    }

    /// Asks the sender of a video stream to begin anew.
    ///
    /// # Errors
    /// When the server refuses it.
    pub async fn request_key_frame(&self, stream: StreamId) -> Result<(), RequestError> {
        self.request(client_message::Body::RequestKeyframe(RequestKeyframe {
            stream_id: stream.to_string(),
            encoding: 0,
        }))
        .await
    }

    /// Puts these people before all others in everybody's layout, at most nine;
    /// nobody ends it. Hosts only.
    ///
    /// # Errors
    /// When the server refuses it.
    pub async fn set_spotlight(&self, people: &[ParticipantId]) -> Result<(), RequestError> {
        self.request(client_message::Body::SetSpotlight(SetSpotlight {
            participant_ids: people.iter().map(ToString::to_string).collect(),
        }))
        .await
    }

    /// Removes somebody; hosts only.
    ///
    /// # Errors
    /// When the server refuses it.
    pub async fn remove(&self, participant: ParticipantId) -> Result<(), RequestError> {
        self.request(client_message::Body::RemoveParticipant(RemoveParticipant {
            participant_id: participant.to_string(),
        }))
        .await
    }

    /// Ends the meeting for everybody; hosts only.
    ///
    /// # Errors
    /// When the server refuses it.
    pub async fn end_meeting(&self) -> Result<(), RequestError> {
        self.request(client_message::Body::EndMeeting(EndMeeting {}))
            .await
    }

    /// Leaves, and waits until the server knows, two seconds at most.
    pub async fn leave(mut self) {
        if self.command(Command::Leave).await.is_ok() {
            // It ends by itself; what is left after the deadline is aborted.
            let _ = tokio::time::timeout(LEAVE_MAX, &mut self.driver).await;
        }
    }

    async fn request(&self, body: client_message::Body) -> Result<(), RequestError> {
        let (reply, answer) = oneshot::channel();
        self.command(Command::Request(Box::new(body), reply))
            .await?;
        answer.await.map_err(|_| RequestError::SessionLost)?
    }

    async fn command(&self, command: Command) -> Result<(), RequestError> {
        self.commands
            .send(command)
            .await
            .map_err(|_| RequestError::SessionLost)
    }
}

impl Drop for Meeting {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// Aborts the driver when a join is given up half-way.
struct Abort(Option<JoinHandle<()>>);

impl Abort {
    fn keep(mut self) -> JoinHandle<()> {
        self.0.take().expect("only this takes it")
    }
}

impl Drop for Abort {
    fn drop(&mut self) {
        if let Some(driver) = &self.0 {
            driver.abort();
        }
    }
}
