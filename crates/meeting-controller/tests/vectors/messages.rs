//! The messages of the vectors, built in Rust.

use bytes::Bytes;
use dt_wire::v1::{
    Ack, ActiveSpeakers, Carrier, ClientKind, ClientMessage, ConnectionState, DecoderState,
    EncodingDirective, EndMeeting, ErrorCode, ErrorMessage, GridLayout, HandlerAssigned,
    HandlerRemoved, HealthReport, Heartbeat, JoinRequest, JoinResponse, Layout, Leave, LeaveReason,
    MediaClientMessage, MediaHello, MediaServerInfo, MediaServerMessage, MediaStream, MediaToken,
    MediaWelcome, MeetingInfo, MeetingUpdated, Participant, ParticipantCapabilities,
    ParticipantJoined, ParticipantLeft, ParticipantUpdated, PublishStream, ReceiverReport,
    RemoveParticipant, RequestKeyframe, RequestMediaToken, Role, SendDirective, SenderReport,
    ServerMessage, SessionCarrier, SetMute, SetSpotlight, SimulcastLayer, SpeakerLayout,
    StreamAssignment, StreamAssignments, StreamMetadata, StreamMute, StreamPublished,
    StreamQualityUpdate, StreamType, StreamUnpublished, SubscribeLayout, SubscribeStream,
    SubscriptionAck, SubscriptionOptions, TileReport, Transcoding, UnpublishStream,
    UnsubscribeLayout, UnsubscribeStream, UpdateLayout, VideoMetadata, client_message::Body as C,
    layout::Kind, media_client_message::Body as M, media_server_message::Body as N,
    server_message::Body as S,
};
use prost::Message as _;

/// Name, message type, bytes.
pub(crate) type Vector = (String, &'static str, Vec<u8>);

pub(crate) const MEETING: &str = "11111111-1111-4111-8111-111111111111";
pub(crate) const ANA: &str = "22222222-2222-4222-8222-222222222222";
const BEN: &str = "33333333-3333-4333-8333-333333333333";
pub(crate) const CAMERA: &str = "44444444-4444-4444-8444-444444444444";
const MICROPHONE: &str = "55555555-5555-4555-8555-555555555555";
const HANDLER: &str = "66666666-6666-4666-8666-666666666666";

pub(crate) fn client(name: &'static str, request_id: u64, body: C) -> Vector {
    let bytes = ClientMessage::new(request_id, body).encode_to_vec();
    (format!("client_{name}"), "ClientMessage", bytes)
}

pub(crate) fn server(name: &'static str, request_id: u64, body: S) -> Vector {
    let bytes = ServerMessage::new(request_id, body).encode_to_vec();
    (format!("server_{name}"), "ServerMessage", bytes)
}

fn camera_metadata() -> StreamMetadata {
    StreamMetadata {
        codec: "vp08".into(),
        max_bitrate: 1_500_000,
        video: Some(VideoMetadata {
            width: 1280,
            height: 720,
            framerate: 30,
            simulcast_layers: vec![SimulcastLayer {
                layer_id: "low".into(),
                width: 320,
                height: 180,
                max_bitrate: 150_000,
            }],
        }),
    }
}

fn camera() -> MediaStream {
    MediaStream {
        stream_id: CAMERA.into(),
        stream_type: StreamType::VideoCamera.into(),
        metadata: Some(camera_metadata()),
        stream_number: 2,
        carrier: Carrier::Stream.into(),
        muted: false,
    }
}

fn microphone() -> MediaStream {
    MediaStream {
        stream_id: MICROPHONE.into(),
        // The first value of an enum is its zero: it has no bytes.
        stream_type: StreamType::Audio.into(),
        metadata: Some(StreamMetadata {
            codec: "opus".into(),
            ..StreamMetadata::default()
        }),
        stream_number: 1,
        carrier: Carrier::Datagram.into(),
        muted: true,
    }
}

fn participant(
    id: &str,
    name: &str,
    user_id: u64,
    role: Role,
    streams: Vec<MediaStream>,
) -> Participant {
    Participant {
        participant_id: id.into(),
        name: name.into(),
        streams,
        joined_at: 1_767_225_600_123,
        user_id,
        role: role.into(),
        connection: ConnectionState::Connected.into(),
    }
}

fn handler() -> MediaServerInfo {
    MediaServerInfo {
        media_handler_url: "https://127.0.0.1:8443/mh/0".into(),
        connection_token: "token".into(),
        handler_id: HANDLER.into(),
        websocket_url: String::new(),
        certificate_hashes: vec![Bytes::from_static(&[0xab; 32])],
    }
}

fn layout() -> Layout {
    Layout {
        kind: Some(Kind::Grid(GridLayout {
            rows: 2,
            columns: 3,
        })),
        video_slots: vec![1, 2, 3, 4, 5, 16_777_215],
        audio_slots: vec![100, 101],
        pinned_user_ids: vec![7],
        excluded_user_ids: vec![u64::MAX],
        prefer_video_over_audio: true,
        include_self: false,
        mix_audio: true,
    }
}

fn directive() -> SendDirective {
    SendDirective {
        encodings: vec![EncodingDirective {
            stream_id: CAMERA.into(),
            encoding: 0,
            active: true,
            handler_ids: vec![HANDLER.into()],
            carrier: Carrier::Stream.into(),
            max_bitrate: 0,
            codec: String::new(),
        }],
    }
}

fn spotlit() -> MeetingInfo {
    MeetingInfo {
        meeting_id: MEETING.into(),
        display_name: "Standup".into(),
        max_participants: 100,
        spotlight_user_ids: vec![1, u64::MAX],
        ..MeetingInfo::default()
    }
}

pub(crate) fn from_clients() -> Vec<Vector> {
    let stream_id = || CAMERA.to_owned();
    vec![
        client(
            "join",
            1,
            C::JoinRequest(JoinRequest {
                meeting_id: MEETING.into(),
                join_token: "header.payload.signature".into(),
                participant_name: "Ána 🎈".into(),
                capabilities: Some(ParticipantCapabilities {
                    video_codecs: vec!["VP8".into(), "VP9".into()],
                    audio_codecs: vec!["Opus".into()],
                    supports_simulcast: true,
                    max_video_streams: 25,
                }),
                ..JoinRequest::default()
            }),
        ),
        client(
            "resume",
            1,
            C::JoinRequest(JoinRequest {
                meeting_id: MEETING.into(),
                resume_token: Bytes::from_static(&[0x5a; 32]),
                kept_stream_ids: vec![CAMERA.into(), MICROPHONE.into()],
                ..JoinRequest::default()
            }),
        ),
        client("leave", 2, C::Leave(Leave {})),
        client(
            "publish_camera",
            3,
            C::PublishStream(PublishStream {
                stream_id: stream_id(),
                stream_type: StreamType::VideoCamera.into(),
                metadata: Some(camera_metadata()),
                stream_number: 2,
                carrier: Carrier::Stream.into(),
                muted: false,
            }),
        ),
        client(
            "publish_microphone_muted",
            4,
            C::PublishStream(PublishStream {
                stream_id: MICROPHONE.into(),
                stream_type: StreamType::Audio.into(),
                metadata: Some(StreamMetadata {
                    codec: "opus".into(),
                    ..StreamMetadata::default()
                }),
                stream_number: 255,
                carrier: Carrier::Unspecified.into(),
                muted: true,
            }),
        ),
        client(
            "unpublish",
            5,
            C::UnpublishStream(UnpublishStream {
                stream_id: stream_id(),
            }),
        ),
        client(
            "subscribe_stream",
            6,
            C::SubscribeStream(SubscribeStream {
                stream_id: stream_id(),
                options: Some(SubscriptionOptions {
                    preferred_layer: "low".into(),
                    max_bitrate: 300_000,
                    transcoding: Some(Transcoding {
                        codec: "opus".into(),
                        bitrate: 16_000,
                    }),
                }),
                slot: 9,
            }),
        ),
        client(
            "unsubscribe_stream",
            7,
            C::UnsubscribeStream(UnsubscribeStream {
                stream_id: stream_id(),
            }),
        ),
        client(
            "subscribe_layout",
            8,
            C::SubscribeLayout(SubscribeLayout {
                layout: Some(layout()),
            }),
        ),
        client(
            "update_layout",
            9,
            C::UpdateLayout(UpdateLayout {
                layout: Some(layout()),
            }),
        ),
        client(
            "unsubscribe_layout",
            10,
            C::UnsubscribeLayout(UnsubscribeLayout {}),
        ),
        client(
            "mute",
            11,
            C::SetMute(SetMute {
                stream_id: stream_id(),
                muted: true,
            }),
        ),
        client("heartbeat_unanswered", 0, C::Heartbeat(Heartbeat {})),
        client(
            "health_report",
            0,
            C::HealthReport(HealthReport {
                signaling_carrier: SessionCarrier::Webtransport.into(),
                media_carrier: SessionCarrier::Websocket.into(),
                client: ClientKind::Firefox.into(),
                signaling_rtt_ms: Some(21),
                media_rtt_ms: Some(0),
                jitter_ms: Some(3),
                lost_ppm: Some(1500),
                decoder: DecoderState::DecoderBehind.into(),
            }),
        ),
        client(
            "health_report_of_nothing",
            0,
            C::HealthReport(HealthReport::default()),
        ),
        client(
            "request_keyframe",
            12,
            C::RequestKeyframe(RequestKeyframe {
                stream_id: stream_id(),
                encoding: 1,
            }),
        ),
        client(
            "request_media_token",
            13,
            C::RequestMediaToken(RequestMediaToken {
                handler_id: HANDLER.into(),
            }),
        ),
        client(
            "quality",
            14,
            C::StreamQualityUpdate(StreamQualityUpdate {
                stream_id: stream_id(),
                available_bitrate: 800_000,
                packet_loss: 0.25,
                rtt_ms: 40,
            }),
        ),
        client(
            "remove_participant",
            15,
            C::RemoveParticipant(RemoveParticipant {
                participant_id: BEN.into(),
            }),
        ),
        client("end_meeting", u64::MAX, C::EndMeeting(EndMeeting {})),
        client(
            // Without slots: the two languages write them and the kind in different
            // orders.
            "subscribe_speaker_view",
            16,
            C::SubscribeLayout(SubscribeLayout {
                layout: Some(Layout {
                    kind: Some(Kind::Speaker(SpeakerLayout { strip: 5 })),
                    ..Layout::default()
                }),
            }),
        ),
        client(
            "subscribe_one_large_tile",
            17,
            C::SubscribeLayout(SubscribeLayout {
                layout: Some(Layout {
                    kind: Some(Kind::Speaker(SpeakerLayout { strip: 0 })),
                    ..Layout::default()
                }),
            }),
        ),
        client(
            "set_spotlight",
            18,
            C::SetSpotlight(SetSpotlight {
                participant_ids: vec![BEN.into(), ANA.into()],
            }),
        ),
        client(
            "end_spotlight",
            19,
            C::SetSpotlight(SetSpotlight::default()),
        ),
    ]
}

pub(crate) fn from_servers() -> Vec<Vector> {
    let details = [("limit".to_owned(), "1000".to_owned())].into();
    vec![
        server(
            "join_response",
            1,
            S::JoinResponse(JoinResponse {
                participant_id: ANA.into(),
                existing_participants: vec![participant(
                    BEN,
                    "Ben",
                    1,
                    Role::Guest,
                    vec![microphone()],
                )],
                media_server: Some(handler()),
                encryption_keys: None,
                media_servers: vec![handler()],
                user_id: 2,
                resume_token: Bytes::from_static(&[0xa5; 32]),
                self_: Some(participant(ANA, "Ána 🎈", 2, Role::Host, vec![])),
                meeting: Some(MeetingInfo {
                    meeting_id: MEETING.into(),
                    display_name: "Standup".into(),
                    max_participants: 100,
                    enable_e2e_encryption: false,
                    hide_audio_levels: false,
                    sframe_suite: 0,
                    spotlight_user_ids: vec![],
                }),
                resumed: true,
                send_directive: Some(SendDirective::default()),
                e2ee: None,
                no_common_video_codec: false,
                no_common_audio_codec: false,
            }),
        ),
        server(
            "error_rate_limited",
            3,
            S::Error(ErrorMessage {
                code: ErrorCode::RateLimited.into(),
                message: "too many messages: slow down".into(),
                details,
                retry_after_ms: Some(0),
            }),
        ),
        server(
            "error_without_details",
            4,
            S::Error(ErrorMessage::with(ErrorCode::Conflict, "taken")),
        ),
        server("ack", 5, S::Ack(Ack {})),
        server(
            "participant_joined",
            0,
            S::ParticipantJoined(ParticipantJoined {
                participant: Some(participant(
                    BEN,
                    "Ben",
                    1,
                    Role::Participant,
                    vec![camera()],
                )),
            }),
        ),
        server(
            "participant_left_voluntarily",
            0,
            S::ParticipantLeft(ParticipantLeft {
                participant_id: BEN.into(),
                reason: LeaveReason::Voluntary.into(),
            }),
        ),
        server(
            "participant_left_kicked",
            0,
            S::ParticipantLeft(ParticipantLeft {
                participant_id: BEN.into(),
                reason: LeaveReason::Kicked.into(),
            }),
        ),
        server(
            "participant_muted",
            0,
            S::ParticipantUpdated(ParticipantUpdated {
                participant_id: BEN.into(),
                mutes: vec![StreamMute {
                    stream_id: MICROPHONE.into(),
                    muted: true,
                }],
                ..ParticipantUpdated::default()
            }),
        ),
        server(
            "participant_reconnected",
            0,
            S::ParticipantUpdated(ParticipantUpdated {
                participant_id: BEN.into(),
                connection: Some(ConnectionState::Connected.into()),
                reconnected: true,
                ..ParticipantUpdated::default()
            }),
        ),
        server(
            "stream_published",
            0,
            S::StreamPublished(StreamPublished {
                participant_id: BEN.into(),
                stream: Some(camera()),
                user_id: 1,
            }),
        ),
        server(
            "stream_unpublished",
            0,
            S::StreamUnpublished(StreamUnpublished {
                participant_id: BEN.into(),
                stream_id: CAMERA.into(),
            }),
        ),
        server(
            "subscription_ack",
            6,
            S::SubscriptionAck(SubscriptionAck {
                stream_id: CAMERA.into(),
                slot: 9,
            }),
        ),
        server(
            "stream_assignments",
            8,
            S::StreamAssignments(StreamAssignments {
                generation: 258,
                assignments: vec![StreamAssignment {
                    slot: 16_777_215,
                    stream_id: CAMERA.into(),
                    participant_id: BEN.into(),
                    user_id: 1,
                    stream_type: StreamType::VideoCamera.into(),
                    stream_number: 2,
                    carrier: Carrier::Stream.into(),
                    codec: "vp08".into(),
                    mixed: false,
                }],
            }),
        ),
        server(
            "stream_assignments_mixed",
            0,
            S::StreamAssignments(StreamAssignments {
                generation: 2,
                assignments: vec![StreamAssignment {
                    slot: 100,
                    stream_type: StreamType::Audio.into(),
                    carrier: Carrier::Datagram.into(),
                    codec: "opus".into(),
                    mixed: true,
                    ..StreamAssignment::default()
                }],
            }),
        ),
        server(
            "handler_assigned",
            0,
            S::HandlerAssigned(HandlerAssigned {
                media_server: Some(handler()),
            }),
        ),
        server(
            "handler_removed",
            0,
            S::HandlerRemoved(HandlerRemoved {
                handler_id: HANDLER.into(),
            }),
        ),
        server("send_directive", 0, S::SendDirective(directive())),
        server(
            "active_speakers",
            0,
            S::ActiveSpeakers(ActiveSpeakers {
                participant_ids: vec![BEN.into(), ANA.into()],
            }),
        ),
        server(
            "nobody_speaks",
            0,
            S::ActiveSpeakers(ActiveSpeakers::default()),
        ),
        server(
            "request_keyframe",
            0,
            S::RequestKeyframe(RequestKeyframe {
                stream_id: CAMERA.into(),
                encoding: 0,
            }),
        ),
        server(
            "media_token",
            13,
            S::MediaToken(MediaToken {
                media_server: Some(handler()),
            }),
        ),
        server(
            "quality",
            0,
            S::StreamQualityUpdate(StreamQualityUpdate {
                stream_id: CAMERA.into(),
                available_bitrate: 0,
                packet_loss: 0.5,
                rtt_ms: 0,
            }),
        ),
        server(
            "join_response_without_common_codecs",
            1,
            S::JoinResponse(JoinResponse {
                participant_id: ANA.into(),
                user_id: 2,
                meeting: Some(spotlit()),
                no_common_video_codec: true,
                no_common_audio_codec: true,
                ..JoinResponse::default()
            }),
        ),
        server(
            "spotlight_set",
            0,
            S::MeetingUpdated(MeetingUpdated {
                meeting: Some(spotlit()),
            }),
        ),
        server(
            "send_directive_of_layers_in_another_codec",
            0,
            S::SendDirective(SendDirective {
                encodings: (0..3)
                    .map(|encoding| EncodingDirective {
                        encoding,
                        active: encoding < 2,
                        max_bitrate: [90_000, 300_000, 0][encoding as usize],
                        codec: "vp09".into(),
                        ..directive().encodings[0].clone()
                    })
                    .collect(),
            }),
        ),
    ]
}

pub(crate) fn of_media_sessions() -> Vec<Vector> {
    let hello = MediaHello {
        connection_token: "token".into(),
    };
    let welcome = MediaWelcome {
        handler_id: HANDLER.into(),
        max_datagram_bytes: 1100,
    };
    let keyframe = RequestKeyframe {
        stream_id: CAMERA.into(),
        encoding: 2,
    };
    let to = |name: &str, body| {
        (
            format!("media_client_{name}"),
            "MediaClientMessage",
            MediaClientMessage::new(1, body).encode_to_vec(),
        )
    };
    let pushed = |name: &str, body| {
        (
            format!("media_client_{name}"),
            "MediaClientMessage",
            MediaClientMessage::new(0, body).encode_to_vec(),
        )
    };
    let report = ReceiverReport {
        tiles: vec![
            TileReport {
                slot: 1,
                width: 1280,
                height: 720,
                max_bitrate: 0,
            },
            TileReport {
                slot: 16_777_215,
                width: 160,
                height: 90,
                max_bitrate: 100_000,
            },
        ],
        max_bitrate: 2_000_000,
        overloaded: true,
    };
    let from = |name: &str, body| {
        (
            format!("media_server_{name}"),
            "MediaServerMessage",
            MediaServerMessage::new(1, body).encode_to_vec(),
        )
    };
    vec![
        to("hello", M::Hello(hello)),
        to("request_keyframe", M::RequestKeyframe(keyframe.clone())),
        from("welcome", N::Welcome(welcome)),
        from(
            "error",
            N::Error(ErrorMessage::with(
                ErrorCode::Unauthorized,
                "the token was used",
            )),
        ),
        from("request_keyframe", N::RequestKeyframe(keyframe)),
        pushed("receiver_report", M::ReceiverReport(report)),
        pushed(
            "receiver_report_of_nothing",
            M::ReceiverReport(ReceiverReport::default()),
        ),
        (
            "media_server_sender_report".into(),
            "MediaServerMessage",
            MediaServerMessage::new(
                0,
                N::SenderReport(SenderReport {
                    lost_ppm: 21_000,
                    repeat_audio: true,
                }),
            )
            .encode_to_vec(),
        ),
    ]
}
