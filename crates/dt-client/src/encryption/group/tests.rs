//! Facts about one client's part in a group.

use std::{collections::HashSet, time::Duration};

use dt_e2ee::{ControllerKey, CredentialError};
use dt_wire::v1::{E2eeEntry, EntryWay, GroupPosition, MlsKind};

use super::{
    About, Alarm, DeviceKey, Effect, Group, Settings, State,
    hall::{GRACE, Hall, MEETING, Spoil},
    message,
};

const SECOND: Duration = Duration::from_secs(1);

/// A meeting of so many, all in one group.
fn meeting(seed: u64, people: u8) -> Hall {
    let mut hall = Hall::new(seed, 30);
    for number in 1..=people {
        hall.join(number);
        hall.run(SECOND);
    }
    hall.assert_agreed();
    hall
}

#[test]
fn the_first_founds_and_the_next_come_in_by_their_own_commit() {
    let mut hall = meeting(1, 4);
    assert_eq!((hall.number, hall.epoch(), hall.commits), (1, 3, 3));
    let first = hall.client(Hall::id(1));
    // Its own beginning, and three who have no picture yet.
    assert_eq!(first.begun_anew, 4);
    let epochs: Vec<_> = first.keys.iter().map(|keys| keys.epoch.epoch).collect();
    assert_eq!(epochs, [0, 1, 2, 3]);
    let shown = first.group.shown(std::time::Instant::now());
    assert_eq!(shown.meeting_code.unwrap().len(), 35);
    let codes = shown
        .members
        .iter()
        .map(|member| member.pair_code.is_some());
    assert_eq!(codes.filter(|has| *has).count(), 3, "all but oneself");
}

#[test]
fn who_comes_at_the_same_time_is_added_in_one_commit() {
    let mut hall = meeting(2, 2);
    let before = hall.commits;
    // Somebody leaves, so a proposal is open when the others come.
    hall.remove(Hall::id(2));
    for number in 3..=8 {
        hall.join(number);
    }
    hall.run(3 * SECOND);
    hall.assert_agreed();
    assert!(hall.commits - before <= 2, "{}", hall.commits - before);
}

#[test]
fn who_leaves_has_none_of_the_keys_that_follow() {
    let mut hall = meeting(3, 3);
    assert!(hall.knows_present_keys(Hall::id(2)));
    hall.remove(Hall::id(2));
    hall.run(SECOND);
    hall.assert_agreed();
    assert!(!hall.knows_present_keys(Hall::id(2)));
}

#[test]
fn who_returns_within_the_grace_goes_on_as_the_same_leaf() {
    let mut hall = meeting(4, 3);
    let leaf = hall.in_group()[&Hall::id(2)];
    hall.lose(Hall::id(2));
    hall.run(SECOND);
    hall.join(4);
    hall.run(SECOND);
    hall.resume(Hall::id(2));
    hall.run(SECOND);
    hall.assert_agreed();
    assert_eq!(hall.in_group()[&Hall::id(2)], leaf);
    // It never was without keys.
    assert!(
        !hall
            .client(Hall::id(2))
            .keys
            .iter()
            .skip(1)
            .any(|keys| keys.fresh)
    );
}

#[test]
fn who_returns_too_late_comes_in_anew() {
    let mut hall = meeting(5, 3);
    hall.lose(Hall::id(2));
    hall.run(GRACE + 2 * SECOND);
    assert!(!hall.in_group().contains_key(&Hall::id(2)));
    hall.resume(Hall::id(2));
    hall.run(2 * SECOND);
    hall.assert_agreed();
    assert!(hall.client(Hall::id(2)).keys.last().unwrap().fresh);
}

#[test]
fn a_group_that_all_have_lost_is_founded_anew() {
    let mut hall = meeting(6, 2);
    hall.lose(Hall::id(1));
    hall.lose(Hall::id(2));
    hall.run(GRACE * 2);
    hall.join(3);
    hall.run(SECOND);
    assert_eq!(hall.number, 2);
    hall.resume(Hall::id(1));
    hall.run(SECOND);
    hall.resume(Hall::id(2));
    hall.run(SECOND);
    hall.assert_agreed();
}

#[test]
fn a_standby_commits_when_the_one_before_does_not() {
    let mut hall = meeting(7, 4);
    // Two of the three who are named are silent.
    hall.want_commit();
    let epoch = hall.epoch();
    let named: Vec<_> = (1..=4).map(Hall::id).collect();
    hall.run(Duration::from_millis(5));
    for id in &named[..2] {
        hall.lose(*id);
    }
    hall.run(3 * SECOND);
    assert!(hall.epoch() > epoch);
    for id in &named[..2] {
        hall.resume(*id);
    }
    hall.run(2 * SECOND);
    hall.assert_agreed();
}

#[test]
fn a_commit_with_broken_tags_is_gone_back_from() {
    let mut hall = meeting(8, 4);
    hall.spoil = Some(Spoil::ForAll);
    hall.remove(Hall::id(4));
    hall.run(5 * SECOND);
    assert!(hall.spoil.is_none(), "the commit was spoiled");
    assert_eq!(hall.rolled_back, 1);
    hall.assert_agreed();
    assert!(!hall.knows_present_keys(Hall::id(4)));
}

#[test]
fn who_can_not_follow_is_stranded_and_comes_in_anew() {
    let mut hall = meeting(9, 4);
    let victim = Hall::id(2);
    // Whoever commits follows its own; another one commits.
    let mut tries = 0;
    while hall
        .client(victim)
        .keys
        .iter()
        .filter(|keys| keys.fresh)
        .count()
        < 2
    {
        tries += 1;
        assert!(tries < 20);
        hall.spoil = Some(Spoil::ForOne(victim));
        hall.want_commit();
        hall.run(5 * SECOND);
    }
    hall.assert_agreed();
    assert_eq!(hall.rolled_back, 0);
}

#[test]
fn a_void_commit_that_comes_again_is_refused() {
    let mut hall = meeting(10, 2);
    let (id, epoch) = (Hall::id(1), hall.epoch());
    hall.want_commit();
    hall.run(SECOND);
    assert_eq!(hall.epoch(), epoch + 1);
    let client = hall.client(id);
    let void = client.keys.last().unwrap().epoch.base_key.clone();
    let group = client.group.position().unwrap().0;
    // Nobody else hears that it is void.
    hall.say(id, message(MlsKind::MlsRolledBack, group, epoch));
    hall.run(SECOND / 2);
    let client = hall.client(id);
    assert_eq!(client.keys.last().unwrap().epoch.epoch, epoch);
    let again = hall.last_commit();
    hall.say(id, again);
    hall.run(SECOND);
    let client = hall.client(id);
    let uses = client
        .keys
        .iter()
        .filter(|keys| keys.epoch.base_key == void);
    assert_eq!(
        uses.count(),
        1,
        "the keys of a void epoch are not taken again"
    );
    hall.run(10 * SECOND);
    hall.assert_agreed();
}

#[test]
fn a_leaf_without_a_seat_raises_an_alarm_after_two_seconds() {
    let mut hall = meeting(11, 3);
    hall.unseat_without_removal(Hall::id(3));
    hall.run(SECOND);
    assert_eq!(hall.client(Hall::id(1)).alarms, []);
    hall.run(2 * SECOND);
    let alarms = &hall.client(Hall::id(1)).alarms;
    assert!(
        matches!(&alarms[..], [Alarm::StillThere { participant_id, name }]
            if *participant_id == Hall::id(3) && name == "Number 3"),
        "{alarms:?}"
    );
    let shown = hall.clients[&Hall::id(1)].group.shown(hall.now);
    assert_eq!(shown.alarms.len(), 1);
    hall.remove(Hall::id(3));
    hall.run(SECOND);
    let shown = hall.clients[&Hall::id(1)].group.shown(hall.now);
    assert_eq!(shown.alarms, [], "it is gone");
}

#[test]
fn somebody_who_never_had_a_seat_is_told_apart() {
    let mut hall = meeting(12, 2);
    hall.join(9);
    hall.hide(Hall::id(9));
    hall.run(4 * SECOND);
    let alarms = &hall.client(Hall::id(1)).alarms;
    assert!(
        matches!(&alarms[..], [Alarm::NotOnRoster { .. }]),
        "{alarms:?}"
    );
}

#[test]
fn two_leaves_that_claim_one_participant_are_trusted_neither() {
    let mut hall = meeting(13, 2);
    hall.join_as(5, Hall::id(2));
    hall.run(2 * SECOND);
    let client = hall.client(Hall::id(1));
    let doubled = client.alarms.iter().filter(|alarm| {
        matches!(alarm, Alarm::NotTrustworthy { reason, .. } if *reason == CredentialError::Doubled.into())
    });
    assert_eq!(doubled.count(), 2, "{:?}", client.alarms);
    let trusted: Vec<_> = client.keys.last().unwrap().leaves.values().collect();
    assert_eq!(trusted, [&Hall::id(1)]);
}

#[test]
fn a_way_into_another_meeting_s_group_is_not_taken() {
    let now = std::time::Instant::now();
    let settings = Settings {
        meeting_id: MEETING,
        name: "One".into(),
        device: DeviceKey::from_seed([1; 32]),
        statement: String::new(),
        known_devices: None,
    };
    let mut group = Group::new(settings).unwrap();
    let mut other = [9; 20];
    other[16..].copy_from_slice(&1_u32.to_be_bytes());
    let entry = E2eeEntry {
        way: EntryWay::Found.into(),
        position: Some(GroupPosition { group: 1, epoch: 0 }),
        group_id: other.to_vec().into(),
        external_sender: ControllerKey::from_seed([3; 32]).public().into(),
        sframe_suite: 4,
        ..E2eeEntry::default()
    };
    group.handle_seat(Hall::id(1), HashSet::new(), &entry, now);
    assert!(matches!(group.state, State::Outside));
    // It asks for another way, less and less often.
    let mut asked = Vec::new();
    let mut at = now;
    while at < now + 60 * SECOND {
        at = group.poll_timeout().unwrap();
        group.handle_timeout(at);
        while let Some(effect) = group.poll_effect() {
            if let Effect::Send(request, mls) = effect {
                assert_eq!(mls.kind(), MlsKind::MlsStranded);
                assert_eq!(request.about, About::Notice);
                asked.push(at);
                group.handle_entry(&entry, at);
            }
        }
    }
    assert!((5..=20).contains(&asked.len()), "{}", asked.len());
}
