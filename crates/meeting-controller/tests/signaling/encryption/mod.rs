//! End-to-end encryption with the real MLS on both sides.

mod hostile;
mod person;

use std::time::Duration;

use dt_rpc::{MeetingController as _, RpcError};
use dt_store::{StateStore as _, keys};
use dt_token::Role;
use dt_transport::Session as _;
use dt_wire::{
    internal::{MeetingConfig, UpdateMeeting},
    v1::{
        EntryWay, ErrorCode, Leave, Mls, MlsKind, RemoveParticipant,
        client_message::Body as Request, server_message::Body,
    },
};

use crate::bench::{Bench, code};
use person::{Commits, Person, pass, together, until};

#[tokio::test(start_paused = true)]
async fn the_first_founds_the_group_and_the_next_enters_without_waiting_for_anybody() {
    let bench = Bench::encrypted().await;
    let mut ana = Person::join(&bench, "Ana", Role::Host).await;
    let meeting = ana.welcome.meeting.clone().unwrap();
    assert_eq!(
        (meeting.enable_e2e_encryption, meeting.sframe_suite),
        (true, 4)
    );
    together(1, &mut [&mut ana]).await;
    let mut ben = Person::join(&bench, "Ben", Role::Guest).await;
    together(2, &mut [&mut ana, &mut ben]).await;
    assert_eq!(
        (ana.ways, ben.ways),
        (vec![EntryWay::Found], vec![EntryWay::Commit])
    );
}

#[tokio::test(start_paused = true)]
async fn a_burst_of_joins_is_one_commit() {
    let bench = Bench::encrypted().await;
    let mut ana = Person::join(&bench, "Ana", Role::Host).await;
    together(1, &mut [&mut ana]).await;
    let mut people = vec![ana];
    for number in 0..7 {
        people.push(Person::join(&bench, &format!("guest {number}"), Role::Guest).await);
    }
    let mut all: Vec<&mut Person> = people.iter_mut().collect();
    together(8, &mut all).await;
    // One entered by itself, the others were added together.
    assert_eq!(people[0].position().epoch, 2);
    let added = |person: &&Person| person.ways == [EntryWay::BeAdded];
    assert_eq!(people.iter().filter(added).count(), 6);
}

#[tokio::test(start_paused = true)]
async fn two_who_found_at_once_end_in_one_group() {
    let bench = Bench::encrypted().await;
    let mut ana = Person::arrive(&bench, "Ana", Role::Host).await;
    let mut ben = Person::arrive(&bench, "Ben", Role::Guest).await;
    ana.go_in().await;
    ben.go_in().await;
    assert_eq!(ana.ways, ben.ways);
    together(2, &mut [&mut ana, &mut ben]).await;
    let errors = [ana.errors, ben.errors].concat();
    assert_eq!(errors, [ErrorCode::Conflict], "one of them was first");
}

async fn three(bench: &Bench) -> (Person, Person, Person) {
    let mut ana = Person::join(bench, "Ana", Role::Host).await;
    together(1, &mut [&mut ana]).await;
    let mut ben = Person::join(bench, "Ben", Role::Guest).await;
    together(2, &mut [&mut ana, &mut ben]).await;
    let mut cem = Person::join(bench, "Cem", Role::Guest).await;
    together(3, &mut [&mut ana, &mut ben, &mut cem]).await;
    (ana, ben, cem)
}

#[tokio::test(start_paused = true)]
async fn who_leaves_or_is_removed_is_out_of_the_group_at_once() {
    let bench = Bench::encrypted().await;
    let (mut ana, mut ben, mut cem) = three(&bench).await;
    let began = tokio::time::Instant::now();
    cem.client.ask(Request::Leave(Leave {})).await;
    let old = cem.key();
    together(2, &mut [&mut ana, &mut ben]).await;
    assert_ne!(ana.key(), old);
    let remove = RemoveParticipant {
        participant_id: ben.id(),
    };
    ana.client.send(Request::RemoveParticipant(remove)).await;
    together(1, &mut [&mut ana]).await;
    assert!(began.elapsed() < Duration::from_millis(500));
}

#[tokio::test(start_paused = true)]
async fn who_is_disconnected_is_removed_after_ten_seconds_and_added_when_back() {
    let bench = Bench::encrypted().await;
    let (mut ana, mut ben, mut cem) = three(&bench).await;
    cem.client.session.close(0, "");
    pass(Duration::from_millis(9500), &mut [&mut ana, &mut ben]).await;
    assert_eq!(ana.leaves(), 3, "its leaf is kept for a while");
    together(2, &mut [&mut ana, &mut ben]).await;
    cem.resume(&bench, true).await;
    assert_ne!(cem.ways.last(), Some(&EntryWay::CatchUp));
    together(3, &mut [&mut ana, &mut ben, &mut cem]).await;
}

#[tokio::test(start_paused = true)]
async fn who_comes_back_in_time_catches_up_as_the_same_leaf() {
    let bench = Bench::encrypted().await;
    let (mut ana, mut ben, mut cem) = three(&bench).await;
    let leaf = cem.member.as_ref().unwrap().own_leaf();
    cem.client.session.close(0, "");
    pass(Duration::from_millis(100), &mut [&mut ana, &mut ben]).await;
    let mut dora = Person::join(&bench, "Dora", Role::Guest).await;
    together(4, &mut [&mut ana, &mut ben, &mut dora]).await;
    ben.client.ask(Request::Leave(Leave {})).await;
    together(3, &mut [&mut ana, &mut dora]).await;
    cem.resume(&bench, true).await;
    assert_eq!(cem.ways.last(), Some(&EntryWay::CatchUp));
    together(3, &mut [&mut ana, &mut cem, &mut dora]).await;
    assert_eq!(cem.member.as_ref().unwrap().own_leaf(), leaf);
}

#[tokio::test(start_paused = true)]
async fn a_reload_is_a_new_leaf_and_the_old_one_goes_with_it() {
    let bench = Bench::encrypted().await;
    let (mut ana, mut ben, mut cem) = three(&bench).await;
    let before = ana.position().epoch;
    cem.resume(&bench, false).await;
    assert_eq!(cem.ways.last(), Some(&EntryWay::BeAdded));
    together(3, &mut [&mut ana, &mut ben, &mut cem]).await;
    assert_eq!(ana.position().epoch, before + 1, "by one commit");
}

#[tokio::test(start_paused = true)]
async fn of_two_racing_commits_one_wins_and_the_other_is_told() {
    let bench = Bench::encrypted().await;
    let (mut ana, mut ben, mut cem) = three(&bench).await;
    let position = ana.position();
    let (first, second) = (ana.commit(), ben.commit());
    ana.send(MlsKind::MlsCommit, position, first).await;
    ben.send(MlsKind::MlsCommit, position, second).await;
    until("a loser", &mut [&mut ana, &mut ben, &mut cem], |people| {
        people.iter().any(|p| p.errors == [ErrorCode::Conflict])
    })
    .await;
    together(3, &mut [&mut ana, &mut ben, &mut cem]).await;
    assert_eq!(ana.position().epoch, position.epoch + 1);
}

#[tokio::test(start_paused = true)]
async fn a_standby_commits_when_the_committer_does_not() {
    let bench = Bench::encrypted().await;
    let (mut ana, mut ben, mut cem) = three(&bench).await;
    ana.commits = Commits::Never;
    let mut dora = Person::join(&bench, "Dora", Role::Guest).await;
    together(4, &mut [&mut ana, &mut ben, &mut cem, &mut dora]).await;
    let began = tokio::time::Instant::now();
    dora.client.ask(Request::Leave(Leave {})).await;
    together(3, &mut [&mut ana, &mut ben, &mut cem]).await;
    let took = began.elapsed();
    assert!(took >= Duration::from_millis(400), "{took:?}");
    assert!(took < Duration::from_millis(600), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_commit_that_no_member_can_process_is_void_and_the_next_member_commits() {
    let bench = Bench::encrypted().await;
    let (mut ana, mut ben, mut cem) = three(&bench).await;
    let position = ana.position();
    ana.commits = Commits::Broken;
    cem.client.ask(Request::Leave(Leave {})).await;
    until("rolled back", &mut [&mut ana, &mut ben], |people| {
        people
            .iter()
            .all(|p| p.heard.contains(&MlsKind::MlsRolledBack))
    })
    .await;
    together(2, &mut [&mut ana, &mut ben]).await;
    assert_eq!(ana.position().epoch, position.epoch + 1);
}

#[tokio::test(start_paused = true)]
async fn a_stranded_member_returns_as_a_new_leaf() {
    let bench = Bench::encrypted().await;
    let (mut ana, mut ben, mut cem) = three(&bench).await;
    let position = cem.position();
    cem.send(MlsKind::MlsStranded, position, Mls::default())
        .await;
    until("shown a way in", &mut [&mut cem], |people| {
        people[0].ways.last() == Some(&EntryWay::BeAdded)
    })
    .await;
    together(3, &mut [&mut ana, &mut ben, &mut cem]).await;
}

#[tokio::test(start_paused = true)]
async fn members_renew_the_keys_on_request_and_not_too_often() {
    let bench = Bench::encrypted().await;
    let (mut ana, mut ben, mut cem) = three(&bench).await;
    let (position, key) = (ana.position(), ana.key());
    ben.send(MlsKind::MlsRotate, position, Mls::default()).await;
    until("new keys", &mut [&mut ana, &mut ben, &mut cem], |people| {
        people.iter().all(|p| p.position().epoch > position.epoch)
    })
    .await;
    assert_ne!(ana.key(), key);
    let step = Mls {
        kind: MlsKind::MlsRotate.into(),
        position: Some(ben.position()),
        ..Mls::default()
    };
    let error = ben.client.refused(Request::Mls(step)).await;
    assert_eq!(code(&error), ErrorCode::RateLimited);
    assert!(error.retry_after_ms.is_some_and(|ms| ms <= 10_000));
}

#[tokio::test(start_paused = true)]
async fn when_everybody_has_gone_the_next_founds_another_group() {
    let bench = Bench::encrypted().await;
    let mut ana = Person::join(&bench, "Ana", Role::Host).await;
    pass(Duration::from_millis(100), &mut [&mut ana]).await;
    ana.client.session.close(0, "");
    tokio::time::sleep(Duration::from_millis(10)).await;
    let mut ben = Person::join(&bench, "Ben", Role::Guest).await;
    assert_eq!(
        (ben.ways.clone(), ben.position().group),
        (vec![EntryWay::Found], 2)
    );
    together(1, &mut [&mut ben]).await;
    ana.resume(&bench, true).await;
    together(2, &mut [&mut ana, &mut ben]).await;
}

#[tokio::test(start_paused = true)]
async fn a_successor_has_the_controller_s_key_and_no_number_of_a_group_twice() {
    let mut bench = Bench::encrypted().await;
    let ana = Person::join(&bench, "Ana", Role::Host).await;
    let before = ana.welcome.e2ee.clone().unwrap();
    bench.succeed().await;
    let mut ben = Person::join(&bench, "Ben", Role::Host).await;
    let after = ben.welcome.e2ee.clone().unwrap();
    assert_eq!(before.external_sender, after.external_sender);
    assert!(after.position.unwrap().group > before.position.unwrap().group);
    together(1, &mut [&mut ben]).await;

    let sealed = bench.state.get(&keys::meeting_signer(bench.meeting)).await;
    let sealed = sealed.unwrap().expect("it is stored");
    assert!(sealed.len() >= 32 + 16 + 12, "sealed, not in the clear");
    let end = Request::EndMeeting(dt_wire::v1::EndMeeting {});
    ben.client.ask(end).await;
    tokio::time::sleep(Duration::from_millis(10)).await;
    let gone = bench.state.get(&keys::meeting_signer(bench.meeting)).await;
    assert_eq!(gone.unwrap(), None, "nobody signs for it any more");
}

#[tokio::test(start_paused = true)]
async fn who_cannot_encrypt_is_refused_and_told_why() {
    let bench = Bench::encrypted().await;
    let mut old = bench.connect().await;
    let request = bench.join_request("Old", Role::Guest);
    let error = old.refused(Request::JoinRequest(request)).await;
    assert_eq!(code(&error), ErrorCode::Forbidden);
    assert!(error.message.contains("end-to-end encrypted"));
}

#[tokio::test(start_paused = true)]
async fn in_a_meeting_without_encryption_its_messages_are_refused() {
    let bench = Bench::new().await;
    let (mut ana, welcome) = bench.join("Ana", Role::Host).await;
    assert_eq!(
        (welcome.e2ee, welcome.meeting.unwrap().sframe_suite),
        (None, 0)
    );
    let step = Mls {
        kind: MlsKind::MlsFounded.into(),
        ..Mls::default()
    };
    let error = ana.refused(Request::Mls(step)).await;
    assert_eq!(code(&error), ErrorCode::Forbidden);
}

#[tokio::test(start_paused = true)]
async fn changed_settings_are_told_to_all_and_the_encryption_stays_once_somebody_joined() {
    let mut bench = Bench::new().await;
    let update = |config: MeetingConfig| UpdateMeeting {
        meeting_id: bench.meeting.to_string(),
        config: Some(config),
    };
    let (mut ana, _) = bench.join("Ana", Role::Host).await;
    let renamed = MeetingConfig {
        display_name: "Retrospective".into(),
        ..bench.config(10)
    };
    bench
        .controller
        .update_meeting(update(renamed))
        .await
        .unwrap();
    let told = ana.push(|body| match body {
        Body::MeetingUpdated(updated) => updated.meeting,
        _ => None,
    });
    assert_eq!(told.await.display_name, "Retrospective");

    let encrypted = update(MeetingConfig {
        enable_e2e_encryption: true,
        ..bench.config(10)
    });
    let refused = bench.controller.update_meeting(encrypted).await;
    assert!(matches!(refused, Err(RpcError::Invalid(_))), "{refused:?}");

    // Before anybody has joined it may be chosen still.
    bench = Bench::new().await;
    bench.encrypted = true;
    bench.assign(10).await.unwrap();
    let mut ben = Person::join(&bench, "Ben", Role::Host).await;
    together(1, &mut [&mut ben]).await;
}
