//! One large tile and a strip.

use dt_wire::v1::{SetSpotlight, SpeakerLayout};

use super::*;

fn speaker(strip: u32) -> v1::Layout {
    v1::Layout {
        kind: Some(Kind::Speaker(SpeakerLayout { strip })),
        video_slots: (1..=1 + strip).collect(),
        audio_slots: vec![1001, 1002],
        ..v1::Layout::default()
    }
}

impl Room {
    /// People with cameras and microphones.
    fn talkers(&mut self, count: u64) -> (Vec<Person>, Vec<String>) {
        let people = self.people(count);
        for who in &people {
            self.publish(*who, StreamType::Audio);
        }
        let cameras = people.iter().map(|p| self.camera(*p)).collect();
        (people, cameras)
    }

    fn view(&mut self, who: Person, layout: v1::Layout) -> BTreeMap<u32, String> {
        let layout = Some(layout);
        match self.ask(who, Request::UpdateLayout(UpdateLayout { layout })) {
            Body::StreamAssignments(assignments) => slots(&assignments),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn who_speaks_is_large_and_changes_places_with_who_was() {
    let mut room = Room::new(10);
    let (people, cameras) = room.talkers(5);
    let before = room.subscribe(people[0], speaker(3));
    assert_eq!(before[&1], cameras[1]);
    room.speak(&[people[3]]);
    room.pass(999);
    assert_eq!(room.seen(people[0])[&1], cameras[1], "not for a cough");
    room.pass(1);
    let after = room.seen(people[0]);
    assert_eq!((&after[&1], &after[&3]), (&cameras[3], &cameras[1]));
    assert_eq!((&after[&2], &after[&4]), (&before[&2], &before[&4]));
    room.speak(&[]);
    room.pass(60_000);
    assert_eq!(room.seen(people[0]), after, "silence changes nothing");
}

#[test]
fn who_is_not_seen_becomes_large_by_changing_two_tiles() {
    let mut room = Room::new(10);
    let (people, cameras) = room.talkers(6);
    let before = room.subscribe(people[0], speaker(2));
    room.speak(&[people[5]]);
    room.pass(1000);
    let after = room.seen(people[0]);
    assert_eq!(after[&1], cameras[5]);
    assert!(
        after.values().any(|id| *id == cameras[1]),
        "who was large is still seen"
    );
    let stayed = [2, 3].iter().filter(|s| before[s] == after[s]).count();
    assert_eq!(stayed, 1);
}

#[test]
fn two_who_talk_over_each_other_do_not_flip_the_tile() {
    let mut room = Room::new(10);
    let (people, cameras) = room.talkers(4);
    room.subscribe(people[0], speaker(1));
    room.speak(&[people[1]]);
    room.pass(2000);
    assert_eq!(room.seen(people[0])[&1], cameras[1]);
    for _ in 0..20 {
        room.speak(&[people[2], people[1]]);
        room.pass(700);
        room.speak(&[people[1], people[2]]);
        room.pass(700);
        assert_eq!(room.seen(people[0])[&1], cameras[1]);
    }
    room.speak(&[people[2], people[1]]);
    room.pass(1000);
    assert_eq!(
        room.seen(people[0])[&1],
        cameras[2],
        "who stays louder gets it"
    );
}

#[test]
fn who_speaks_sees_whom_they_saw() {
    let mut room = Room::new(10);
    let (people, cameras) = room.talkers(3);
    let layout = v1::Layout {
        include_self: true,
        ..speaker(2)
    };
    room.subscribe(people[0], layout);
    room.speak(&[people[2]]);
    room.pass(1000);
    assert_eq!(room.seen(people[0])[&1], cameras[2]);
    room.speak(&[people[0]]);
    room.pass(5000);
    assert_eq!(room.seen(people[0])[&1], cameras[2]);
    room.leave(people[2]);
    assert_eq!(room.seen(people[0])[&1], cameras[1]);
    room.leave(people[1]);
    assert_eq!(room.seen(people[0])[&1], cameras[0], "oneself when alone");
}

#[test]
fn a_pin_comes_before_the_spotlight_a_screen_and_whoever_speaks() {
    let mut room = Room::new(10);
    let host = room.enter(9, 0, Role::Host, Codecs::default());
    let (people, cameras) = room.talkers(4);
    let large = |room: &Room| room.seen(people[0])[&1].clone();
    room.subscribe(people[0], speaker(1));
    room.speak(&[people[1]]);
    room.pass(1000);
    assert_eq!(large(&room), cameras[1]);
    let screen = room.publish(people[2], StreamType::VideoScreen);
    assert_eq!(large(&room), screen);
    let user = room
        .meeting
        .roster
        .by_session(SessionId(people[3].0))
        .unwrap();
    let id = room
        .meeting
        .roster
        .get(user)
        .unwrap()
        .participant
        .to_string();
    let participant_ids = vec![id];
    room.ask(
        host,
        Request::SetSpotlight(SetSpotlight { participant_ids }),
    );
    assert_eq!(large(&room), cameras[3]);
    let pinned = v1::Layout {
        pinned_user_ids: vec![room.meeting.roster.by_session(SessionId(2)).unwrap().0],
        ..speaker(1)
    };
    let seen = room.view(people[0], pinned);
    assert_eq!(
        seen,
        [
            (1, cameras[1].clone()),
            (2, cameras[3].clone()),
            (1001, seen[&1001].clone()),
            (1002, seen[&1002].clone())
        ]
        .into()
    );
    let seen = room.view(people[0], speaker(0));
    assert_eq!(seen[&1], cameras[3]);
    assert_eq!(seen.len(), 3, "one tile and two voices");
}

#[test]
fn of_a_pinned_person_the_screen_is_large_and_the_face_beside_it() {
    let mut room = Room::new(10);
    let (people, cameras) = room.talkers(5);
    let layout = v1::Layout {
        pinned_user_ids: vec![4],
        ..speaker(1)
    };
    room.subscribe(people[0], layout);
    assert_eq!(room.seen(people[0])[&1], cameras[3]);
    let screen = room.publish(people[3], StreamType::VideoScreen);
    let seen = room.seen(people[0]);
    assert_eq!((&seen[&1], &seen[&2]), (&screen, &cameras[3]));
}

#[test]
fn a_speaker_view_has_at_most_256_tiles() {
    let mut room = Room::new(10);
    let who = room.join(1, 0);
    let layout = Some(v1::Layout {
        video_slots: vec![1],
        ..speaker(256)
    });
    let code = room.refused(who, Request::SubscribeLayout(SubscribeLayout { layout }));
    assert_eq!(code, ErrorCode::InvalidRequest);
    let layout = v1::Layout {
        video_slots: (2000..2256).collect(),
        ..speaker(255)
    };
    room.subscribe(who, layout);
}
