//! A handler, its controller, and clients on the in-memory connection.

#![allow(dead_code)] // each test file uses a part of it

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use dt_frame::{
    AudioLevel, DatagramHeader, Extension, Flags, FourCc, FrameHeader, FrameType, GroupItem,
    GroupParser, SlotLabel, StreamHeader,
};
use dt_ids::{ControllerId, Encoding, HandlerId, MeetingId, ParticipantId, Slot, StreamId, UserId};
use dt_rpc::MediaHandler as _;
use dt_token::connection::{self, ConnectionClaims, ConnectionKey};
use dt_transport::{
    RecvStream, SendStream, Session, SessionError,
    memory::{self, MemorySession},
};
use dt_wire::{
    CloseCode,
    framing::{self, Framed},
    internal::{
        Destination, Endpoint, Generation, RegisterController, RegisterParticipant,
        RouteMediaCommand, UnregisterParticipant,
    },
    v1::{
        MediaClientMessage, MediaHello, MediaServerMessage, MediaStream, RequestKeyframe,
        StreamMetadata, StreamType, media_client_message, media_server_message,
    },
};
use media_handler::{Config, MediaHandler};
use tokio::{task::JoinHandle, time::timeout};

/// Nothing takes as long, unless it does not happen.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// Waits for what must happen.
pub(crate) async fn soon<T>(what: impl Future<Output = T>) -> T {
    timeout(DEADLINE, what).await.expect("it happens in time")
}

/// A handler with one meeting, and its controller.
pub(crate) struct World {
    pub(crate) handler: Arc<MediaHandler>,
    pub(crate) key: ConnectionKey,
    pub(crate) handler_id: HandlerId,
    pub(crate) controller: ControllerId,
    pub(crate) meeting: MeetingId,
    pub(crate) route_space: u32,
    counter: u64,
    pub(crate) serving: Vec<JoinHandle<()>>,
}

/// Somebody with a camera (number 1) and a microphone (number 2).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Person {
    pub(crate) participant: ParticipantId,
    pub(crate) user: UserId,
    pub(crate) camera: StreamId,
    pub(crate) microphone: StreamId,
}

impl Person {
    /// As a registration says it.
    pub(crate) fn streams(&self) -> [MediaStream; 2] {
        let stream = |id: StreamId, stream_type: StreamType, number, codec: &str| MediaStream {
            stream_id: id.to_string(),
            stream_type: stream_type.into(),
            stream_number: number,
            metadata: Some(StreamMetadata {
                codec: codec.to_owned(),
                ..StreamMetadata::default()
            }),
            ..MediaStream::default()
        };
        [
            stream(self.camera, StreamType::VideoCamera, 1, "vp08"),
            stream(self.microphone, StreamType::Audio, 2, "opus"),
        ]
    }
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with(|_| {}).await
    }

    pub(crate) async fn with(change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config::new(HandlerId::random(), Endpoint::default());
        change(&mut config);
        Self::of(MediaHandler::new(config), MeetingId::random()).await
    }

    /// What a handler is to a controller with this meeting.
    pub(crate) async fn of(handler: Arc<MediaHandler>, meeting: MeetingId) -> Self {
        let handler_id = handler.id();
        let controller = ControllerId::random();
        let answer = handler
            .register_controller(RegisterController {
                controller_id: controller.to_string(),
            })
            .await
            .unwrap();
        assert_eq!(answer.handler_id, handler_id.to_string());
        Self {
            key: ConnectionKey::try_from(&answer.connection_token_key[..]).unwrap(),
            handler,
            handler_id,
            controller,
            meeting,
            route_space: answer.route_space,
            counter: 0,
            serving: Vec::new(),
        }
    }

    pub(crate) fn generation(&mut self) -> Option<Generation> {
        self.counter += 1;
        Some(Generation {
            lease: 1,
            counter: self.counter,
        })
    }

    pub(crate) async fn person(&mut self, user: u64) -> Person {
        let person = Person {
            participant: ParticipantId::random(),
            user: UserId(user),
            camera: StreamId::random(),
            microphone: StreamId::random(),
        };
        self.register(&person).await;
        person
    }

    pub(crate) async fn register(&mut self, person: &Person) {
        let request = RegisterParticipant {
            participant_id: person.participant.to_string(),
            meeting_id: self.meeting.to_string(),
            user_id: person.user.0,
            streams: person.streams().to_vec(),
            generation: self.generation(),
        };
        self.handler.register_participant(request).await.unwrap();
    }

    pub(crate) async fn unregister(&mut self, person: &Person) {
        let request = UnregisterParticipant {
            participant_id: person.participant.to_string(),
            meeting_id: self.meeting.to_string(),
            generation: self.generation(),
            close_code: CloseCode::Removed.code(),
        };
        self.handler.unregister_participant(request).await.unwrap();
    }

    /// Camera to slot 10 and microphone to slot 11 of each receiver.
    pub(crate) async fn route(&mut self, from: &Person, to: &[Person]) {
        self.route_stream(from.camera, 10, to).await;
        self.route_sound(from, to).await;
    }

    pub(crate) async fn route_sound(&mut self, from: &Person, to: &[Person]) {
        self.route_stream(from.microphone, 11, to).await;
    }

    async fn route_stream(&mut self, source: StreamId, slot: u32, to: &[Person]) {
        let request = RouteMediaCommand {
            source_stream_id: source.to_string(),
            meeting_id: self.meeting.to_string(),
            generation: self.generation(),
            destinations: to
                .iter()
                .map(|person| Destination {
                    participant_id: person.participant.to_string(),
                    stream_number: label(slot).to_bits(),
                    ..Destination::default()
                })
                .collect(),
            ..RouteMediaCommand::default()
        };
        let wanted = request.generation;
        let answer = self.handler.route_media(request).await.unwrap();
        assert_eq!(answer.applied, wanted);
    }

    pub(crate) fn token(&self, person: &Person) -> String {
        let now = std::time::SystemTime::now().into();
        let claims = ConnectionClaims::new(self.meeting, person.participant, self.handler_id, now);
        connection::mint(&self.key, &claims)
    }

    /// A connection that the handler serves.
    pub(crate) fn dial(&mut self) -> MemorySession {
        self.dial_with(memory::Config::default())
    }

    pub(crate) fn dial_with(&mut self, config: memory::Config) -> MemorySession {
        let (client, server) = memory::pair(config);
        let handler = Arc::clone(&self.handler);
        self.serving
            .push(tokio::spawn(async move { handler.serve(server).await }));
        client
    }

    /// A client that was let in.
    pub(crate) async fn join(&mut self, person: &Person) -> Client {
        let session = self.dial();
        let token = self.token(person);
        Client::enter(session, *person, token).await.unwrap()
    }

    /// Two people who send to each other.
    pub(crate) async fn pair(&mut self) -> (Client, Client) {
        let (a, b) = (self.person(1).await, self.person(2).await);
        self.route(&a, &[b]).await;
        self.route(&b, &[a]).await;
        (self.join(&a).await, self.join(&b).await)
    }

    /// Waits until the handler has served all sessions to their end.
    pub(crate) async fn all_served(&mut self) {
        for serving in self.serving.drain(..) {
            soon(serving).await.expect("serving never panics");
        }
    }
}

pub(crate) fn label(slot: u32) -> SlotLabel {
    SlotLabel::new(7, Slot::try_from(slot).unwrap())
}

/// A client's end of a session that was let in.
pub(crate) struct Client<S: Session = MemorySession> {
    pub(crate) session: S,
    pub(crate) person: Person,
    pub(crate) send: S::Send,
    pub(crate) control: Control<S::Recv>,
    sequence: u64,
}

/// Reads control messages.
pub(crate) struct Control<R> {
    stream: R,
    decoder: framing::Decoder,
}

impl<R: RecvStream> Control<R> {
    pub(crate) fn new(stream: R) -> Self {
        Self {
            stream,
            decoder: framing::Decoder::default(),
        }
    }

    pub(crate) async fn next(&mut self) -> Option<Framed> {
        loop {
            if let Some(framed) = self.decoder.next().unwrap() {
                return Some(framed);
            }
            let chunk = soon(self.stream.read_chunk(1000)).await.ok()??;
            self.decoder.push(&chunk);
        }
    }

    pub(crate) async fn message(&mut self) -> Option<(u64, media_server_message::Body)> {
        match self.next().await? {
            Framed::Message(message) => {
                let (envelope, body) = MediaServerMessage::read(&message).unwrap();
                Some((envelope.request_id, body))
            }
            Framed::Rtt(_) => panic!("a message is expected"),
        }
    }
}

pub(crate) fn hello(token: String) -> Bytes {
    let hello = media_client_message::Body::Hello(MediaHello {
        connection_token: token,
    });
    framing::encode(&MediaClientMessage::new(1, hello))
}

impl<S: Session> Client<S> {
    /// Enters; else what the handler answered.
    pub(crate) async fn enter(
        session: S,
        person: Person,
        token: String,
    ) -> Result<Self, Option<media_server_message::Body>> {
        let (mut send, recv) = soon(session.open_bi()).await.unwrap();
        // The session may be closed at once.
        let _ = soon(send.write(hello(token))).await;
        let mut control = Control::new(recv);
        match control.message().await {
            Some((1, media_server_message::Body::Welcome(welcome))) => {
                assert!(welcome.max_datagram_bytes <= 1100);
            }
            other => return Err(other.map(|(_, body)| body)),
        }
        Ok(Self {
            session,
            person,
            send,
            control,
            sequence: 0,
        })
    }

    pub(crate) async fn ask(&mut self, stream: StreamId) {
        let body = media_client_message::Body::RequestKeyframe(RequestKeyframe {
            stream_id: stream.to_string(),
            encoding: 0,
        });
        let message = framing::encode(&MediaClientMessage::new(9, body));
        soon(self.send.write(message)).await.unwrap();
    }

    /// A chunk of audio as a datagram.
    pub(crate) fn chunk(&mut self) -> (DatagramHeader, Bytes) {
        self.sequence += 1;
        let header = DatagramHeader {
            frame_type: FrameType::Audio,
            user_id: self.person.user,
            stream: 2,
            timestamp_us: self.sequence * 20_000,
            sequence: self.sequence,
            payload_bytes: 5,
            flags: Flags::WHOLE,
            extension: Extension::audio(
                AudioLevel {
                    voice: true,
                    below_overload_db: 20,
                },
                0,
            ),
        };
        (header, [&header.write()[..], b"sound"].concat().into())
    }

    pub(crate) fn say(&mut self) -> DatagramHeader {
        let (header, datagram) = self.chunk();
        self.session.send_datagram(datagram).unwrap();
        header
    }

    pub(crate) fn group_header(&self, group: u32) -> StreamHeader {
        StreamHeader {
            stream_id: self.person.camera,
            codec: FourCc::Vp8,
            encoding: Encoding::MIN,
            screen: false,
            group,
        }
    }

    pub(crate) async fn open_group(&mut self, group: u32) -> S::Send {
        let mut stream = soon(self.session.open_uni()).await.unwrap();
        let header = Bytes::copy_from_slice(&self.group_header(group).write());
        soon(stream.write(header)).await.unwrap();
        stream
    }

    pub(crate) fn frame(&mut self, frame_type: FrameType, bytes: usize) -> (FrameHeader, Bytes) {
        self.sequence += 1;
        let header = FrameHeader {
            frame_type,
            stream_id: self.person.camera,
            timestamp_us: self.sequence * 33_333,
            sequence: self.sequence,
            payload_bytes: u32::try_from(bytes).unwrap(),
            flags: Flags::WHOLE,
            extension: Extension::video(Encoding::MIN, 0, 0, 1),
        };
        #[allow(clippy::cast_possible_truncation)] // any pattern will do
        let payload = Bytes::from(vec![self.sequence as u8; bytes]);
        (header, payload)
    }

    pub(crate) async fn show(
        &mut self,
        stream: &mut S::Send,
        frame_type: FrameType,
        bytes: usize,
    ) -> FrameHeader {
        let (header, payload) = self.frame(frame_type, bytes);
        let mut chunks = [Bytes::copy_from_slice(&header.write()), payload];
        soon(stream.write_chunks(&mut chunks)).await.unwrap();
        header
    }

    /// The next media datagram.
    pub(crate) async fn hear(&mut self) -> DatagramHeader {
        let datagram = soon(self.session.recv_datagram()).await.unwrap();
        DatagramHeader::split(datagram).unwrap().0
    }

    /// The next media datagram, if one comes in that time.
    pub(crate) async fn hear_within(&mut self, ms: u64) -> Option<DatagramHeader> {
        let datagram = self.session.recv_datagram();
        let came = timeout(Duration::from_millis(ms), datagram).await.ok()?;
        Some(DatagramHeader::split(came.unwrap()).unwrap().0)
    }

    /// The next group.
    pub(crate) async fn watch(&mut self) -> Group<S::Recv> {
        let stream = soon(self.session.accept_uni()).await.unwrap();
        Group {
            stream,
            parser: GroupParser::new(4 << 20),
            chunk: Bytes::new(),
        }
    }

    /// Asks for an echo on the control stream: all that was said before on it
    /// has been taken when it comes.
    pub(crate) async fn sync(&mut self) {
        let packet = Bytes::from_static(&[framing::RTT_TAG, 1, 2, 3]);
        soon(self.send.write(framing::encode_bytes(&packet)))
            .await
            .unwrap();
        assert_eq!(self.control.next().await, Some(Framed::Rtt(packet)));
    }
}

/// A group on its way in.
pub(crate) struct Group<R> {
    stream: R,
    parser: GroupParser,
    chunk: Bytes,
}

impl<R: RecvStream> Group<R> {
    /// The next item, `None` at the end, the code when it was reset.
    pub(crate) async fn next(&mut self) -> Result<Option<GroupItem>, dt_transport::StreamError> {
        loop {
            if let Some(item) = self.parser.next(&mut self.chunk).unwrap() {
                return Ok(Some(item));
            }
            match soon(self.stream.read_chunk(10_000)).await? {
                Some(chunk) => self.chunk = chunk,
                None => {
                    assert!(self.parser.may_end());
                    return Ok(None);
                }
            }
        }
    }

    pub(crate) async fn header(&mut self) -> StreamHeader {
        match self.next().await {
            Ok(Some(GroupItem::Header(header))) => header,
            other => panic!("a stream header is expected, not {other:?}"),
        }
    }

    pub(crate) async fn frame(&mut self) -> (FrameHeader, Bytes) {
        match self.next().await {
            Ok(Some(GroupItem::Frame(header, payload))) => (header, payload),
            other => panic!("a frame is expected, not {other:?}"),
        }
    }
}

/// The code with which the handler closed a session.
pub(crate) async fn closed(session: &impl Session) -> u32 {
    match soon(session.closed()).await {
        SessionError::ClosedByPeer { code, .. } => code,
        other => panic!("a close is expected, not {other:?}"),
    }
}
