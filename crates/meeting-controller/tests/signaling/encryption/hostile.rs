//! What breaks the rules of the group harms nobody in it.

use bytes::Bytes;
use dt_e2ee::{Candidate, DeviceKey, LeafKey};
use dt_token::Role;
use dt_wire::v1::{
    EntryWay, ErrorCode, GroupPosition, Mls, MlsKind, client_message::Body as Request,
};

use super::{
    person::{Person, credential_of, together},
    three,
};
use crate::bench::{Bench, code};

fn step(kind: MlsKind, position: GroupPosition) -> Mls {
    Mls {
        kind: kind.into(),
        position: Some(position),
        ..Mls::default()
    }
}

#[tokio::test(start_paused = true)]
async fn garbage_and_messages_that_are_too_long_are_refused_and_change_nothing() {
    let bench = Bench::encrypted().await;
    let (mut ana, mut ben, mut cem) = three(&bench).await;
    let position = ana.position();
    let long = |bytes: usize| Bytes::from(vec![7; bytes]);
    let garbage = Bytes::from_static(b"garbage");
    for (message, refusal) in [
        (
            Mls {
                data: garbage.clone(),
                group_info: garbage.clone(),
                ..step(MlsKind::MlsCommit, position)
            },
            ErrorCode::InvalidRequest,
        ),
        (
            Mls {
                data: long(256 * 1024 + 1),
                ..step(MlsKind::MlsCommit, position)
            },
            ErrorCode::InvalidRequest,
        ),
        (
            Mls {
                group_info: long(512 * 1024 + 1),
                ..step(MlsKind::MlsCommit, position)
            },
            ErrorCode::InvalidRequest,
        ),
        (
            Mls {
                data: long(8 * 1024 + 1),
                ..step(MlsKind::MlsKeyPackage, position)
            },
            ErrorCode::InvalidRequest,
        ),
        // Of the server's kinds none.
        (
            step(MlsKind::MlsRolledBack, position),
            ErrorCode::InvalidRequest,
        ),
        (
            step(MlsKind::Unspecified, position),
            ErrorCode::InvalidRequest,
        ),
        (
            Mls {
                position: None,
                ..step(MlsKind::MlsApplied, position)
            },
            ErrorCode::InvalidRequest,
        ),
        // Of another time, or out of turn.
        (
            step(
                MlsKind::MlsCommit,
                GroupPosition {
                    epoch: position.epoch - 1,
                    ..position
                },
            ),
            ErrorCode::Conflict,
        ),
        (step(MlsKind::MlsFounded, position), ErrorCode::Conflict),
        (step(MlsKind::MlsKeyPackage, position), ErrorCode::Conflict),
    ] {
        let kind = message.kind();
        let error = cem.client.refused(Request::Mls(message)).await;
        assert_eq!(code(&error), refusal, "{kind:?}: {}", error.message);
    }
    // What was never broken can't be failed.
    cem.send(MlsKind::MlsFailed, position, Mls::default()).await;
    let mut dora = Person::join(&bench, "Dora", Role::Guest).await;
    together(4, &mut [&mut ana, &mut ben, &mut cem, &mut dora]).await;
    assert_eq!(ana.position().epoch, position.epoch + 1);
}

#[tokio::test(start_paused = true)]
async fn a_key_package_in_another_s_name_is_refused() {
    let bench = Bench::encrypted().await;
    let (mut ana, mut ben, mut cem) = three(&bench).await;
    let position = cem.position();
    // Cem is outside again, and would come in as Ben.
    cem.send(MlsKind::MlsStranded, position, Mls::default())
        .await;
    let entry = cem.client.push(|body| match body {
        dt_wire::v1::server_message::Body::E2eeEntry(entry) => Some(entry),
        _ => None,
    });
    let position = entry.await.position.unwrap();
    let ghost = |meeting: String, who: String| {
        let (device, leaf) = (DeviceKey::generate().unwrap(), LeafKey::generate().unwrap());
        let credential = credential_of(&meeting, &who, &device, &leaf);
        let candidate = Candidate::new(leaf, credential).unwrap();
        Mls {
            data: Bytes::copy_from_slice(candidate.key_package()),
            ..step(MlsKind::MlsKeyPackage, position)
        }
    };
    let elsewhere = dt_ids::MeetingId::random().to_string();
    for message in [
        ghost(bench.meeting.to_string(), ben.id()),
        ghost(elsewhere, cem.id()),
    ] {
        let error = cem.client.refused(Request::Mls(message)).await;
        assert_eq!(code(&error), ErrorCode::InvalidRequest);
    }
    together(3, &mut [&mut ana, &mut ben, &mut cem]).await;
    let names = |person: &Person| {
        let mut members = person.member.as_ref().unwrap().members();
        members.dedup_by(|a, b| a.identity == b.identity);
        members.len()
    };
    assert_eq!(names(&ana), 3);
}

#[tokio::test(start_paused = true)]
async fn who_never_comes_in_the_right_way_is_removed_from_the_meeting() {
    let bench = Bench::encrypted().await;
    let mut ana = Person::join(&bench, "Ana", Role::Host).await;
    together(1, &mut [&mut ana]).await;
    let request = dt_wire::v1::JoinRequest {
        e2ee: super::person::offer(),
        ..bench.join_request("Eve", Role::Guest)
    };
    let mut eve = bench.connect().await;
    let mut entry = eve.join(request).await.e2ee.unwrap();
    assert_eq!(entry.way(), EntryWay::Commit);
    for attempt in 1..=3 {
        let kind = match entry.way() {
            EntryWay::Commit => MlsKind::MlsCommit,
            _ => MlsKind::MlsKeyPackage,
        };
        let message = Mls {
            data: Bytes::from_static(b"nonsense"),
            ..step(kind, entry.position.unwrap())
        };
        let error = eve.refused(Request::Mls(message)).await;
        assert_eq!(code(&error), ErrorCode::InvalidRequest);
        if attempt < 3 {
            let next = eve.push(|body| match body {
                dt_wire::v1::server_message::Body::E2eeEntry(entry) => Some(entry),
                _ => None,
            });
            entry = next.await;
        }
    }
    assert_eq!(eve.close_code().await, 1);
    assert_eq!(ana.leaves(), 1);
}
