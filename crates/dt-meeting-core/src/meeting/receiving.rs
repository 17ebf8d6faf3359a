//! What participants receive.

use dt_ids::{Slot, StreamId, UserId};
use dt_wire::v1::{
    Ack, RequestKeyframe, StreamAssignment, StreamAssignments, SubscribeLayout, SubscribeStream,
    SubscriptionAck, UnsubscribeStream, UpdateLayout, server_message::Body,
};

use super::{Answer, Meeting};
use crate::{
    error::{KeyframeError, LayoutError, Rejection, SubscribeError},
    layout::Layout,
    subscription::{ByName, Subscriber},
    time::Time,
};

impl Meeting {
    pub(super) fn subscribe_layout(&mut self, user: UserId, request: SubscribeLayout) -> Answer {
        self.use_layout(user, request.layout, Subscriber::subscribe_layout)
    }

    pub(super) fn update_layout(&mut self, user: UserId, request: UpdateLayout) -> Answer {
        self.use_layout(user, request.layout, Subscriber::update_layout)
    }

    /// The answer holds the new assignments, so they are not pushed as well.
    fn use_layout(
        &mut self,
        user: UserId,
        layout: Option<dt_wire::v1::Layout>,
        apply: fn(&mut Subscriber, Layout) -> Result<(), LayoutError>,
    ) -> Answer {
        let layout = layout.ok_or(LayoutError::Invalid("the layout is missing"))?;
        let layout = Layout::parse(layout, self.config.limits.video_streams_max)?;
        self.check_mixing(&layout)?;
        if let Some(seat) = self.roster.get_mut(user) {
            apply(&mut seat.subscriber, layout)?;
            // What it looks at first may have changed while all tiles stay.
            self.routes.touch_receiver(&seat.subscriber);
        }
        self.plan_one(user);
        Ok(Body::StreamAssignments(self.assignments(user)))
    }

    pub(super) fn unsubscribe_layout(&mut self, user: UserId, now: Time) -> Answer {
        if let Some(seat) = self.roster.get_mut(user) {
            seat.subscriber.unsubscribe_layout()?;
            // What is left was perhaps looked at first.
            self.routes.touch_receiver(&seat.subscriber);
        }
        self.plan_and_push(user, now);
        Ok(Body::Ack(Ack {}))
    }

    pub(super) fn subscribe_stream(
        &mut self,
        user: UserId,
        request: &SubscribeStream,
        now: Time,
    ) -> Answer {
        let invalid = |why| Rejection::from(SubscribeError::Invalid(why));
        let id: StreamId = request
            .stream_id
            .parse()
            .map_err(|_| invalid("stream_id must be a UUID"))?;
        let slot =
            Slot::try_from(request.slot).map_err(|_| invalid("slot must be 1 to 16777215"))?;
        let is_video = |id| self.streams.get(id).is_some_and(|s| !s.is_audio());
        let stream = self.streams.get(id).ok_or(SubscribeError::NoStream)?;
        let options = request.options.clone().unwrap_or_default();
        let layer_bitrate = stream.layer_bitrate(&options.preferred_layer);
        let limits = [options.max_bitrate, layer_bitrate].into_iter();
        let transcoding = options.transcoding.as_ref();
        let transcode = transcoding.map(|wanted| self.check_transcoding(stream, wanted));
        let wanted = ByName {
            slot,
            transcode: transcode.transpose()?,
            max_bitrate: limits.filter(|limit| *limit > 0).min().unwrap_or(0),
        };
        if let Some(seat) = self.roster.get_mut(user) {
            let videos_max = seat.video_streams_max;
            if is_video(id) && seat.subscriber.subscribed_of(is_video, id) >= videos_max {
                return Err(SubscribeError::TooMany(videos_max).into());
            }
            seat.subscriber
                .subscribe_stream(id, wanted, self.config.limits.overrides_max)?;
            // A layout of the session before may be gone with it.
            self.routes.touch_receiver(&seat.subscriber);
        }
        // It may be another limit alone.
        self.routes.touch(id);
        self.plan_and_push(user, now);
        Ok(Body::SubscriptionAck(SubscriptionAck {
            stream_id: id.to_string(),
            slot: slot.get(),
        }))
    }

    pub(super) fn unsubscribe_stream(
        &mut self,
        user: UserId,
        request: &UnsubscribeStream,
        now: Time,
    ) -> Answer {
        let id: StreamId = request
            .stream_id
            .parse()
            .map_err(|_| SubscribeError::Invalid("stream_id must be a UUID"))?;
        if let Some(seat) = self.roster.get_mut(user) {
            seat.subscriber.unsubscribe_stream(id)?;
        }
        self.plan_and_push(user, now);
        Ok(Body::Ack(Ack {}))
    }

    pub(super) fn plan_and_push(&mut self, user: UserId, now: Time) {
        if self.plan_one(user) {
            let assignments = self.assignments(user);
            self.push(user, Body::StreamAssignments(assignments), now);
        }
    }

    /// Passed on to the sender, unless one was a moment ago.
    pub(super) fn request_keyframe(
        &mut self,
        user: UserId,
        request: &RequestKeyframe,
        now: Time,
    ) -> Answer {
        let invalid = |why| Rejection::from(KeyframeError::Invalid(why));
        let id: StreamId = request
            .stream_id
            .parse()
            .map_err(|_| invalid("stream_id must be a UUID"))?;
        if !self
            .roster
            .get(user)
            .is_some_and(|seat| seat.subscriber.receives(id))
        {
            return Err(KeyframeError::NotReceived.into());
        }
        let interval_ms = self.config.limits.keyframe_interval_ms;
        let stream = self.streams.get_mut(id).ok_or(KeyframeError::NotReceived)?;
        if stream.is_audio() {
            return Err(invalid("an audio stream has no key frames"));
        }
        let owner = stream.owner;
        let pass = stream
            .take_keyframe(request.encoding, now, interval_ms)
            .ok_or_else(|| invalid("the stream has no such encoding"))?;
        if pass {
            self.push(owner, Body::RequestKeyframe(request.clone()), now);
        }
        Ok(Body::Ack(Ack {}))
    }

    /// The whole map of a subscriber.
    pub(super) fn assignments(&self, user: UserId) -> StreamAssignments {
        let Some(seat) = self.roster.get(user) else {
            return StreamAssignments::default();
        };
        let assigned = seat.subscriber.assigned().iter();
        let assignments = assigned.filter_map(|(slot, id)| {
            let stream = self.streams.get(*id)?;
            Some(StreamAssignment {
                slot: slot.get(),
                stream_id: id.to_string(),
                participant_id: stream.participant.to_string(),
                user_id: stream.owner.0,
                stream_type: stream.kind.into(),
                stream_number: u32::from(stream.number.get()),
                carrier: stream.carrier.into(),
                codec: stream.encoded.as_str().to_owned(),
                mixed: false,
            })
        });
        let assignments = assignments.chain(self.mixed_assignment(seat));
        StreamAssignments {
            generation: seat.subscriber.generation(),
            assignments: assignments.collect(),
        }
    }
}
