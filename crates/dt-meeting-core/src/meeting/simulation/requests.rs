//! What people ask for, sensible and not.

use dt_ids::{ParticipantId, StreamId, UserId};
use dt_wire::v1::{
    self, EndMeeting, GridLayout, Heartbeat, Layout, Leave, PublishStream, RemoveParticipant,
    RequestKeyframe, RequestMediaToken, SetMute, SetSpotlight, SimulcastLayer, SpeakerLayout,
    StreamMetadata, StreamQualityUpdate, StreamType, SubscribeLayout, SubscribeStream,
    SubscriptionOptions, Transcoding, UnpublishStream, UnsubscribeLayout, UnsubscribeStream,
    UpdateLayout, VideoMetadata, client_message::Body as Request, layout::Kind,
};
use rand::RngExt as _;

use super::{World, client::OnAck};
use crate::Codecs;

impl World {
    pub(super) fn any_stream(&mut self) -> String {
        let all: Vec<StreamId> = self.meeting.streams.iter().map(|s| s.id).collect();
        if all.is_empty() || self.chance(5) {
            return StreamId::from_bytes(self.rng.random()).to_string();
        }
        all[self.rng.random_range(0..all.len())].to_string()
    }

    pub(super) fn own_stream(&mut self, user: UserId) -> String {
        let own = self
            .meeting
            .roster
            .get(user)
            .map(|seat| seat.streams.clone());
        let own = own.unwrap_or_default();
        if own.is_empty() || self.chance(5) {
            return self.any_stream();
        }
        own[self.rng.random_range(0..own.len())].to_string()
    }

    pub(super) fn request_of(&mut self, user: UserId) -> (Request, OnAck) {
        let stream_id = if self.chance(50) {
            self.own_stream(user)
        } else {
            self.any_stream()
        };
        let request = match self.rng.random_range(0..100) {
            0..=24 => Request::PublishStream(self.publish()),
            25..=31 => {
                let stream_id = self.own_stream(user);
                let on_ack = OnAck::Unpublish(stream_id.clone());
                return (
                    Request::UnpublishStream(UnpublishStream { stream_id }),
                    on_ack,
                );
            }
            32..=43 => {
                let (stream_id, muted) = (self.own_stream(user), self.chance(50));
                let on_ack = OnAck::Mute(stream_id.clone(), muted);
                return (Request::SetMute(SetMute { stream_id, muted }), on_ack);
            }
            44..=62 => Request::SubscribeLayout(SubscribeLayout {
                layout: Some(self.layout()),
            }),
            63..=74 => Request::UpdateLayout(UpdateLayout {
                layout: Some(self.layout()),
            }),
            75..=76 => Request::UnsubscribeLayout(UnsubscribeLayout {}),
            77..=83 => Request::SubscribeStream(SubscribeStream {
                stream_id,
                options: Some(SubscriptionOptions {
                    max_bitrate: self.rng.random_range(0..3) * 100_000,
                    transcoding: self.chance(30).then(|| self.transcoding()),
                    ..SubscriptionOptions::default()
                }),
                slot: self.rng.random_range(0..30),
            }),
            84..=86 => Request::UnsubscribeStream(UnsubscribeStream { stream_id }),
            87..=89 => Request::RequestKeyframe(RequestKeyframe {
                stream_id,
                encoding: 0,
            }),
            90 => Request::RequestMediaToken(RequestMediaToken {
                handler_id: {
                    let handler = self.any_handler();
                    self.handlers[handler].id.to_string()
                },
            }),
            91 => Request::StreamQualityUpdate(StreamQualityUpdate {
                stream_id,
                packet_loss: self.rng.random_range(-0.1..1.1),
                ..StreamQualityUpdate::default()
            }),
            92..=94 => Request::RemoveParticipant(RemoveParticipant {
                participant_id: self.somebody(),
            }),
            95 => Request::Leave(Leave {}),
            98 => self.spotlight(),
            96 if self.chance(5) => Request::EndMeeting(EndMeeting {}),
            97 => Request::JoinRequest(v1::JoinRequest::default()),
            _ => Request::Heartbeat(Heartbeat {}),
        };
        (request, OnAck::Nothing)
    }

    fn transcoding(&mut self) -> Transcoding {
        let codec = if self.chance(90) { "opus" } else { "vp08" };
        Transcoding {
            codec: codec.into(),
            bitrate: self.rng.random_range(0..4) * 8000,
        }
    }

    fn spotlight(&mut self) -> Request {
        let count = self.rng.random_range(0..4);
        Request::SetSpotlight(SetSpotlight {
            participant_ids: (0..count).map(|_| self.somebody()).collect(),
        })
    }

    /// What a client knows: most know VP8, some don't.
    pub(super) fn codecs(&mut self) -> Codecs {
        let names: &[&str] = match self.rng.random_range(0..10) {
            0..=4 => &["VP8"],
            5..=6 => &["AV1", "VP8"],
            7 => &["VP8", "VP9", "AV1"],
            8 => &["AV1"],
            _ => &[],
        };
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        Codecs::parse(&names, &[])
    }

    fn somebody(&mut self) -> String {
        let all: Vec<ParticipantId> = self.meeting.roster.iter().map(|s| s.participant).collect();
        all[self.rng.random_range(0..all.len())].to_string()
    }

    fn publish(&mut self) -> PublishStream {
        let kind = match self.rng.random_range(0..5) {
            0 | 1 => StreamType::Audio,
            2 | 3 => StreamType::VideoCamera,
            _ => StreamType::VideoScreen,
        };
        let codec = match kind {
            StreamType::Audio => "opus",
            _ if self.chance(50) => "vp08",
            _ => "av01",
        };
        let layers = self.rng.random_range(0..=3);
        let video = (kind != StreamType::Audio).then(|| VideoMetadata {
            simulcast_layers: vec![SimulcastLayer::default(); layers],
            ..VideoMetadata::default()
        });
        let new = StreamId::from_bytes(self.rng.random()).to_string();
        PublishStream {
            stream_id: if self.chance(5) {
                self.any_stream()
            } else {
                new
            },
            stream_type: kind.into(),
            metadata: Some(StreamMetadata {
                codec: codec.into(),
                video,
                ..StreamMetadata::default()
            }),
            stream_number: self.rng.random_range(0..10),
            carrier: 0,
            muted: self.chance(20),
        }
    }

    fn layout(&mut self) -> Layout {
        let (rows, columns) = (self.rng.random_range(1..=3), self.rng.random_range(1..=3));
        let tiles = self.rng.random_range(0..=rows * columns + 1);
        let sounds = self.rng.random_range(0..=5);
        let mut numbers: Vec<u32> = (1..40).collect();
        for place in 0..(tiles + sounds) as usize {
            let other = self.rng.random_range(place..numbers.len().min(20));
            numbers.swap(place, other);
        }
        if self.chance(2) {
            numbers[1] = numbers[0];
        }
        let users = |world: &mut Self| {
            let count = world.rng.random_range(0..3);
            (0..count)
                .map(|_| world.rng.random_range(1..8))
                .collect::<Vec<u64>>()
        };
        Layout {
            kind: Some(if self.chance(60) {
                Kind::Grid(GridLayout { rows, columns })
            } else {
                let strip = rows * columns - 1;
                Kind::Speaker(SpeakerLayout { strip })
            }),
            video_slots: numbers[..tiles as usize].to_vec(),
            audio_slots: numbers[tiles as usize..(tiles + sounds) as usize].to_vec(),
            pinned_user_ids: users(self),
            excluded_user_ids: if self.chance(30) {
                users(self)
            } else {
                Vec::new()
            },
            prefer_video_over_audio: self.chance(50),
            include_self: self.chance(30),
            mix_audio: self.chance(25),
        }
    }
}
