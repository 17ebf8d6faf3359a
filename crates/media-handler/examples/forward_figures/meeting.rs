//! What a meeting controller says to the handler that is measured: who comes,
//! what each of them publishes, and where it goes.

use dt_frame::SlotLabel;
use dt_ids::{ControllerId, HandlerId, MeetingId, ParticipantId, Slot, StreamId};
use dt_rpc::MediaHandler as _;
use dt_token::connection::{self, ConnectionClaims, ConnectionKey};
use dt_wire::{
    internal::{
        Destination, Generation, RegisterController, RegisterParticipant, RouteMediaCommand,
    },
    v1::{MediaStream, StreamMetadata, StreamType},
};
use media_handler::MediaHandler;

use crate::{
    orders::{Client, Publication},
    scene::{Feed, Person},
};

/// Slots of a receiver's layout in the scenes of one source a frame; a source has
/// another place in it for each ninth receiver.
const GRID: u32 = 9;

/// The controller of all meetings.
pub(crate) struct Controller<'a> {
    handler: &'a MediaHandler,
    handler_id: HandlerId,
    key: ConnectionKey,
    counter: u64,
    users: u64,
}

impl<'a> Controller<'a> {
    pub(crate) async fn new(
        handler: &'a MediaHandler,
        handler_id: HandlerId,
    ) -> anyhow::Result<Self> {
        let controller_id = ControllerId::random().to_string();
        let answer = handler
            .register_controller(RegisterController { controller_id })
            .await?;
        Ok(Self {
            handler,
            handler_id,
            key: ConnectionKey::try_from(&answer.connection_token_key[..])?,
            counter: 0,
            users: 0,
        })
    }

    /// Registers all people of a meeting and routes what they send.
    pub(crate) async fn open(&mut self, people: &[Person]) -> anyhow::Result<Vec<Client>> {
        let meeting = MeetingId::random();
        let mut clients = Vec::new();
        let mut receivers = Vec::new();
        for person in people {
            let (participant, client) = self.register(meeting, person).await?;
            if person.receives {
                receivers.push(participant);
            }
            clients.push((participant, client));
        }
        let streams = clients.iter().flat_map(|(participant, client)| {
            let of = |publication: &Publication| (*participant, publication.stream_id.clone());
            client.publishes.iter().map(of)
        });
        for (number, (publisher, stream_id)) in (0..).zip(streams.collect::<Vec<_>>()) {
            let to = receivers.iter().filter(|r| **r != publisher);
            self.route(meeting, stream_id, number, to).await?;
        }
        Ok(clients.into_iter().map(|(_, client)| client).collect())
    }

    fn generation(&mut self) -> Option<Generation> {
        self.counter += 1;
        Some(Generation {
            lease: 1,
            counter: self.counter,
        })
    }

    async fn register(
        &mut self,
        meeting: MeetingId,
        person: &Person,
    ) -> anyhow::Result<(ParticipantId, Client)> {
        let participant = ParticipantId::random();
        self.users += 1;
        let published = (1..).zip(&person.feeds);
        let publication = |(stream_number, feed): (u32, &Feed)| Publication {
            feed: *feed,
            stream_id: StreamId::random().to_string(),
            stream_number,
        };
        let publishes: Vec<_> = published.map(publication).collect();
        let request = RegisterParticipant {
            participant_id: participant.to_string(),
            meeting_id: meeting.to_string(),
            user_id: self.users,
            streams: publishes.iter().map(media_stream).collect(),
            generation: self.generation(),
        };
        self.handler.register_participant(request).await?;
        let now = std::time::SystemTime::now().into();
        let claims = ConnectionClaims::new(meeting, participant, self.handler_id, now);
        let client = Client {
            token: connection::mint(&self.key, &claims),
            user_id: self.users,
            receives: person.receives,
            probe: person.probe,
            publishes,
        };
        Ok((participant, client))
    }

    /// Everybody has the stream at another place of a grid.
    async fn route(
        &mut self,
        meeting: MeetingId,
        source_stream_id: String,
        number: u32,
        to: impl Iterator<Item = &ParticipantId>,
    ) -> anyhow::Result<()> {
        let destination = |(place, participant): (u32, &ParticipantId)| {
            let slot = Slot::try_from(1 + number / GRID * GRID + (number + place) % GRID)?;
            anyhow::Ok(Destination {
                participant_id: participant.to_string(),
                stream_number: SlotLabel::new(1, slot).to_bits(),
                ..Destination::default()
            })
        };
        let destinations: anyhow::Result<_> = (0..).zip(to).map(destination).collect();
        let request = RouteMediaCommand {
            source_stream_id,
            meeting_id: meeting.to_string(),
            generation: self.generation(),
            destinations: destinations?,
            ..RouteMediaCommand::default()
        };
        self.handler.route_media(request).await?;
        Ok(())
    }
}

fn media_stream(publication: &Publication) -> MediaStream {
    let (stream_type, codec) = if publication.feed.sound {
        (StreamType::Audio, "opus")
    } else {
        (StreamType::VideoCamera, "vp08")
    };
    MediaStream {
        stream_id: publication.stream_id.clone(),
        stream_type: stream_type.into(),
        stream_number: publication.stream_number,
        metadata: Some(StreamMetadata {
            codec: codec.to_owned(),
            ..StreamMetadata::default()
        }),
        ..MediaStream::default()
    }
}
