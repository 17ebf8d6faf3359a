//! What participants send.

use dt_ids::{HandlerId, StreamId, UserId};
use dt_wire::v1::{
    Ack, MediaToken, ParticipantUpdated, PublishStream, RequestMediaToken, ServerMessage, SetMute,
    StreamMute, StreamPublished, StreamUnpublished, UnpublishStream, server_message::Body,
};

use super::{Answer, Meeting};
use crate::{
    error::{MediaTokenError, PublishError, StreamError},
    seat::{Access, Gate, Line},
    streams::Published,
    time::Time,
};

impl Meeting {
    /// Others are told at once; the sender when the handler takes its media.
    pub(super) fn publish(
        &mut self,
        user: UserId,
        request_id: u64,
        request: PublishStream,
        now: Time,
    ) -> Result<(), PublishError> {
        let Some(seat) = self.roster.get_mut(user) else {
            return Ok(());
        };
        let participant = seat.participant;
        let stream = Published::parse(request, user, participant)?;
        let id = stream.id;
        let published = StreamPublished {
            participant_id: participant.to_string(),
            stream: Some(stream.to_wire()),
            user_id: user.0,
        };
        self.streams.insert(
            stream,
            &seat.streams,
            self.config.limits.streams_per_participant,
        )?;
        seat.streams.push(id);
        self.plan_stale = true;
        self.codecs_stale = true;
        self.directives_stale.insert(user);
        self.register(user);
        let body = Body::StreamPublished(published);
        self.push_all(Some(user), body.clone(), now);
        let gate = self
            .roster
            .get(user)
            .map(|seat| seat.gate())
            .unwrap_or_default();
        let answer = ServerMessage::new(request_id, body);
        self.send_gated(user, answer, Access::None, gate, now);
        Ok(())
    }

    pub(super) fn unpublish(
        &mut self,
        user: UserId,
        request: &UnpublishStream,
        now: Time,
    ) -> Answer {
        let stream = self.own_stream(user, &request.stream_id)?;
        self.drop_stream(user, stream, now);
        self.register(user);
        Ok(Body::Ack(Ack {}))
    }

    /// Takes a stream away, and tells the others.
    pub(super) fn drop_stream(&mut self, user: UserId, stream: StreamId, now: Time) {
        if self.streams.remove(stream).is_none() {
            return;
        }
        if let Some(seat) = self.roster.get_mut(user) {
            seat.streams.retain(|id| *id != stream);
        }
        self.routes.touch(stream);
        self.plan_stale = true;
        self.directives_stale.insert(user);
        self.hush(user, now);
        let unpublished = StreamUnpublished {
            participant_id: self.update_of(user).participant_id,
            stream_id: stream.to_string(),
        };
        self.push_all(Some(user), Body::StreamUnpublished(unpublished), now);
    }

    pub(super) fn set_mute(&mut self, user: UserId, request: &SetMute, now: Time) -> Answer {
        let id = self.own_stream(user, &request.stream_id)?;
        let changed = self.streams.get_mut(id).is_some_and(|stream| {
            std::mem::replace(&mut stream.muted, request.muted) != request.muted
        });
        if changed {
            self.routes.touch(id);
            self.plan_stale = true;
            self.directives_stale.insert(user);
            self.hush(user, now);
            self.register(user);
            let mute = StreamMute {
                stream_id: id.to_string(),
                muted: request.muted,
            };
            let updated = ParticipantUpdated {
                mutes: vec![mute],
                ..self.update_of(user)
            };
            self.push_all(Some(user), Body::ParticipantUpdated(updated), now);
        }
        Ok(Body::Ack(Ack {}))
    }

    /// Whoever can't be heard any more is no active speaker.
    fn hush(&mut self, user: UserId, now: Time) {
        if !self.is_audible(user) {
            self.speakers.silence(user, now);
        }
    }

    /// A fresh connection token for one of the seat's handlers.
    pub(super) fn media_token(
        &mut self,
        user: UserId,
        request_id: u64,
        request: &RequestMediaToken,
        now: Time,
    ) -> Result<(), MediaTokenError> {
        let handler: HandlerId = request
            .handler_id
            .parse()
            .map_err(|_| MediaTokenError::Invalid)?;
        let seat = self
            .roster
            .get(user)
            .filter(|seat| seat.place.contains(handler))
            .ok_or(MediaTokenError::NotYours)?;
        // Nothing waits for a handler that may be gone for long.
        let home = handler == seat.place.home();
        let waits = home && !seat.line().is_some_and(Line::welcomed);
        if !waits && !seat.is_registered_at(handler) {
            return Err(MediaTokenError::NotThere);
        }
        let gate = if home { seat.gate() } else { Gate::default() };
        let answer = ServerMessage::new(request_id, Body::MediaToken(MediaToken::default()));
        self.send_gated(user, answer, Access::Handler(handler), gate, now);
        Ok(())
    }

    fn own_stream(&self, user: UserId, id: &str) -> Result<StreamId, StreamError> {
        let id = id.parse().map_err(|_| StreamError::Invalid)?;
        match self.streams.get(id) {
            Some(stream) if stream.owner == user => Ok(id),
            _ => Err(StreamError::NotYours),
        }
    }
}
