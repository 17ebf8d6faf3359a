//! Sound that a media handler makes anew for a receiver: mixed into one, or
//! encoded for a lower bitrate. Only where the handler can read it.

use dt_frame::FourCc;
use dt_ids::{HandlerId, ParticipantId, Slot, StreamId, UserId};
use dt_wire::{
    internal::RoutingOptions,
    v1::{
        Carrier, ErrorCode, ErrorMessage, StreamAssignment, StreamType, Transcoding,
        server_message::Body,
    },
};

use super::Meeting;
use crate::{
    Effect,
    error::{LayoutError, SubscribeError},
    layout::Layout,
    seat::Seat,
    streams::Published,
    subscription::Subscriber,
    time::Time,
};

impl Meeting {
    /// The handler has too much to do to make a stream anew for these. They get it
    /// as it was sent, of a mix all voices, and are told so.
    pub fn handle_not_made_anew(
        &mut self,
        handler: HandlerId,
        stream: StreamId,
        people: &[ParticipantId],
        now: Time,
    ) -> Vec<Effect> {
        for participant in people {
            let Some(user) = self.roster.by_participant(*participant) else {
                continue;
            };
            let Some(seat) = self.roster.get_mut(user) else {
                continue;
            };
            // Who has moved meanwhile asks another one.
            if seat.place.home() != handler || !seat.subscriber.take_as_it_is(stream) {
                continue;
            }
            self.routes.touch(stream);
            self.plan_and_push(user, now);
            let error = ErrorMessage::with(
                ErrorCode::CapacityExceeded,
                "the server has too much to do to mix or encode sound anew: you get each voice \
                 as it was sent; ask again later",
            );
            self.push(user, Body::Error(error), now);
        }
        self.settle(now)
    }

    pub(super) fn check_mixing(&self, layout: &Layout) -> Result<(), LayoutError> {
        match layout.mix_slot() {
            Some(_) if self.is_encrypted() => Err(LayoutError::Encrypted),
            _ => Ok(()),
        }
    }

    /// The bitrate that a stream is to be encoded with anew.
    pub(super) fn check_transcoding(
        &self,
        stream: &Published,
        wanted: &Transcoding,
    ) -> Result<u32, SubscribeError> {
        if self.is_encrypted() {
            return Err(SubscribeError::Encrypted);
        }
        if !is_readable(stream) || wanted.codec.parse::<FourCc>().ok() != Some(FourCc::Opus) {
            return Err(SubscribeError::Invalid(
                "this server encodes anew sound alone, with the codec opus: leave transcoding \
                 out, and limit pictures by max_bitrate",
            ));
        }
        Ok(wanted.bitrate)
    }

    /// The entry of the mix, for whoever wants one.
    pub(super) fn mixed_assignment(&self, seat: &Seat) -> Option<StreamAssignment> {
        Some(StreamAssignment {
            slot: seat.subscriber.mix_slot()?.get(),
            stream_type: StreamType::Audio.into(),
            carrier: Carrier::Datagram.into(),
            codec: FourCc::Opus.as_str().to_owned(),
            mixed: true,
            ..StreamAssignment::default()
        })
    }

    /// Whether a receiver gets a stream made anew. That is done at its home alone:
    /// two handlers would make two that don't fit together.
    pub(super) fn is_made_anew(&self, stream: &Published, user: UserId) -> bool {
        let subscriber = self.roster.get(user).map(|seat| &seat.subscriber);
        subscriber.is_some_and(|s| s.mixes(stream.id) || s.transcodes(stream.id).is_some())
    }
}

/// Whether a handler can take the stream's sound apart.
pub(crate) fn is_readable(stream: &Published) -> bool {
    stream.is_audio() && stream.encoded == FourCc::Opus
}

/// What a handler is told of how a receiver gets a stream.
pub(super) fn options(
    subscriber: &Subscriber,
    stream: &Published,
    slot: Slot,
) -> Option<RoutingOptions> {
    if subscriber.mix_slot() == Some(slot) && subscriber.mixes(stream.id) {
        return Some(RoutingOptions {
            mix_audio: true,
            ..RoutingOptions::default()
        });
    }
    let target_bitrate = subscriber.transcodes(stream.id)?;
    Some(RoutingOptions {
        transcode: true,
        target_codec: FourCc::Opus.as_str().to_owned(),
        target_bitrate,
        mix_audio: false,
    })
}
