//! Who is in the meeting and what they publish, as the controller tells it.

use std::collections::BTreeMap;

use dt_ids::{ParticipantId, StreamId, UserId};
use dt_wire::v1::{self, ConnectionState, Role};

use crate::StreamType;

/// A participant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Participant {
    /// The seat.
    pub id: ParticipantId,
    /// Its number in this meeting.
    pub user_id: UserId,
    /// As entered by the person.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// Whether its session is there; the seat is kept for a while without.
    pub connected: bool,
    /// What it publishes.
    pub streams: Vec<Stream>,
}

/// A published stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stream {
    /// Which one.
    pub id: StreamId,
    /// What it shows or sounds.
    pub kind: StreamType,
    /// A FourCC, `vp08` for example.
    pub codec: String,
    /// Published, and silent for now.
    pub muted: bool,
}

/// Everybody in the meeting but oneself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Roster {
    participants: BTreeMap<ParticipantId, Participant>,
    spotlight: Vec<UserId>,
}

impl Roster {
    /// The others, in the order of their ids.
    pub fn participants(&self) -> impl Iterator<Item = &Participant> {
        self.participants.values()
    }

    /// Whom the host put before everybody, first place first; oneself may be among
    /// them.
    #[must_use]
    pub fn spotlight(&self) -> &[UserId] {
        &self.spotlight
    }

    /// One of the others.
    #[must_use]
    pub fn get(&self, id: ParticipantId) -> Option<&Participant> {
        self.participants.get(&id)
    }

    /// Who publishes a stream.
    #[must_use]
    pub fn owner(&self, stream: StreamId) -> Option<&Participant> {
        self.participants()
            .find(|participant| participant.streams.iter().any(|s| s.id == stream))
    }

    /// A published stream.
    #[must_use]
    pub fn stream(&self, id: StreamId) -> Option<&Stream> {
        self.participants()
            .flat_map(|participant| &participant.streams)
            .find(|stream| stream.id == id)
    }

    /// Whether it is another spotlight than before.
    pub(crate) fn light(&mut self, meeting: &v1::MeetingInfo) -> bool {
        let users = meeting.spotlight_user_ids.iter();
        let spotlight: Vec<UserId> = users.map(|user| UserId(*user)).collect();
        std::mem::replace(&mut self.spotlight, spotlight.clone()) != spotlight
    }

    pub(crate) fn clear(&mut self) {
        self.participants.clear();
    }

    /// `None` when the server named it in a way that makes no sense.
    pub(crate) fn insert(&mut self, participant: &v1::Participant) -> Option<ParticipantId> {
        let read = read_participant(participant)?;
        let id = read.id;
        self.participants.insert(id, read);
        Some(id)
    }

    pub(crate) fn remove(&mut self, id: ParticipantId) -> Option<Participant> {
        self.participants.remove(&id)
    }

    pub(crate) fn update(&mut self, update: &v1::ParticipantUpdated) -> Option<ParticipantId> {
        let id = update.participant_id.parse().ok()?;
        let participant = self.participants.get_mut(&id)?;
        if update.connection.is_some() {
            participant.connected = update.connection() == ConnectionState::Connected;
        }
        if update.role.is_some() {
            participant.role = update.role();
        }
        for mute in &update.mutes {
            let stream = mute.stream_id.parse::<StreamId>().ok()?;
            if let Some(stream) = participant.streams.iter_mut().find(|s| s.id == stream) {
                stream.muted = mute.muted;
            }
        }
        Some(id)
    }

    pub(crate) fn publish(&mut self, published: &v1::StreamPublished) -> Option<StreamId> {
        let id = published.participant_id.parse().ok()?;
        let stream = read_stream(published.stream.as_ref()?)?;
        let stream_id = stream.id;
        let streams = &mut self.participants.get_mut(&id)?.streams;
        streams.retain(|other| other.id != stream_id);
        streams.push(stream);
        Some(stream_id)
    }

    pub(crate) fn unpublish(&mut self, message: &v1::StreamUnpublished) -> Option<StreamId> {
        let id = message.participant_id.parse().ok()?;
        let stream = message.stream_id.parse().ok()?;
        let streams = &mut self.participants.get_mut(&id)?.streams;
        streams.retain(|other| other.id != stream);
        Some(stream)
    }
}

fn read_participant(participant: &v1::Participant) -> Option<Participant> {
    Some(Participant {
        id: participant.participant_id.parse().ok()?,
        user_id: UserId(participant.user_id),
        name: participant.name.clone(),
        role: participant.role(),
        connected: participant.connection() != ConnectionState::Disconnected,
        streams: participant.streams.iter().filter_map(read_stream).collect(),
    })
}

fn read_stream(stream: &v1::MediaStream) -> Option<Stream> {
    Some(Stream {
        id: stream.stream_id.parse().ok()?,
        kind: stream.stream_type(),
        codec: stream.metadata.as_ref()?.codec.clone(),
        muted: stream.muted,
    })
}
