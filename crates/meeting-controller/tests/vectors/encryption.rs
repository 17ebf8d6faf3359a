//! The messages of end-to-end encryption among the vectors, built in Rust.

use bytes::Bytes;
use dt_ids::MeetingId;
use dt_wire::v1::{
    E2eeEntry, E2eeOffer, EntryWay, GroupPosition, JoinRequest, JoinResponse, MeetingInfo,
    MeetingUpdated, Mls, MlsKind, client_message::Body as C, server_message::Body as S,
};

use crate::messages::{ANA, MEETING, Vector, client, server};

fn position(group: u32, epoch: u64) -> GroupPosition {
    GroupPosition { group, epoch }
}

fn group_id() -> Bytes {
    let meeting: MeetingId = MEETING.parse().expect("a UUID");
    [&meeting.into_bytes()[..], &1u32.to_be_bytes()]
        .concat()
        .into()
}

fn encrypted() -> MeetingInfo {
    MeetingInfo {
        meeting_id: MEETING.into(),
        display_name: "Standup".into(),
        max_participants: 100,
        enable_e2e_encryption: true,
        hide_audio_levels: true,
        sframe_suite: 4,
        spotlight_user_ids: vec![],
    }
}

pub(crate) fn from_clients() -> Vec<Vector> {
    vec![
        client(
            "join_encrypted",
            1,
            C::JoinRequest(JoinRequest {
                meeting_id: MEETING.into(),
                join_token: "header.payload.signature".into(),
                participant_name: "Ben".into(),
                e2ee: Some(E2eeOffer {
                    version: 1,
                    position: None,
                }),
                ..JoinRequest::default()
            }),
        ),
        client(
            "resume_encrypted",
            1,
            C::JoinRequest(JoinRequest {
                meeting_id: MEETING.into(),
                resume_token: Bytes::from_static(&[0x5a; 32]),
                e2ee: Some(E2eeOffer {
                    version: 1,
                    // Present though all its fields are zero but one.
                    position: Some(position(1, 0)),
                }),
                ..JoinRequest::default()
            }),
        ),
        client(
            "mls_founded",
            16,
            C::Mls(Mls {
                kind: MlsKind::MlsFounded.into(),
                position: Some(position(1, 0)),
                group_info: Bytes::from_static(b"group info"),
                ..Mls::default()
            }),
        ),
        client(
            "mls_commit",
            17,
            C::Mls(Mls {
                kind: MlsKind::MlsCommit.into(),
                position: Some(position(2, u64::MAX)),
                data: Bytes::from_static(b"commit"),
                group_info: Bytes::from_static(b"group info"),
                welcome: Bytes::from_static(b"welcome"),
                rank: 0,
            }),
        ),
        client(
            "mls_stranded",
            18,
            C::Mls(Mls {
                kind: MlsKind::MlsStranded.into(),
                ..Mls::default()
            }),
        ),
    ]
}

pub(crate) fn from_servers() -> Vec<Vector> {
    vec![
        server(
            "mls_proposal",
            0,
            S::Mls(Mls {
                kind: MlsKind::MlsProposal.into(),
                position: Some(position(1, 7)),
                data: Bytes::from_static(b"proposal"),
                ..Mls::default()
            }),
        ),
        server(
            "mls_commit_wanted",
            0,
            S::Mls(Mls {
                kind: MlsKind::MlsCommitWanted.into(),
                position: Some(position(1, 7)),
                rank: 2,
                ..Mls::default()
            }),
        ),
        server(
            "e2ee_entry_commit",
            0,
            S::E2eeEntry(E2eeEntry {
                way: EntryWay::Commit.into(),
                position: Some(position(1, 8)),
                group_id: group_id(),
                external_sender: Bytes::from_static(&[0xee; 32]),
                sframe_suite: 4,
                group_info: Bytes::from_static(b"group info"),
                missed: vec![],
            }),
        ),
        server(
            "e2ee_entry_catch_up",
            0,
            S::E2eeEntry(E2eeEntry {
                way: EntryWay::CatchUp.into(),
                position: Some(position(1, 8)),
                group_id: group_id(),
                external_sender: Bytes::from_static(&[0xee; 32]),
                sframe_suite: 5,
                group_info: Bytes::new(),
                missed: vec![Mls {
                    kind: MlsKind::MlsCommit.into(),
                    position: Some(position(1, 7)),
                    data: Bytes::from_static(b"commit"),
                    ..Mls::default()
                }],
            }),
        ),
        server(
            "join_response_encrypted",
            1,
            S::JoinResponse(JoinResponse {
                participant_id: ANA.into(),
                user_id: 1,
                resume_token: Bytes::from_static(&[0xa5; 32]),
                meeting: Some(encrypted()),
                e2ee: Some(E2eeEntry {
                    way: EntryWay::Found.into(),
                    position: Some(position(1, 0)),
                    group_id: group_id(),
                    external_sender: Bytes::from_static(&[0xee; 32]),
                    sframe_suite: 4,
                    ..E2eeEntry::default()
                }),
                ..JoinResponse::default()
            }),
        ),
        server(
            "meeting_updated",
            0,
            S::MeetingUpdated(MeetingUpdated {
                meeting: Some(encrypted()),
            }),
        ),
    ]
}
