//! What a grid shows and who is heard.

use super::*;

#[test]
fn pinned_people_come_before_screens_and_screens_before_others() {
    let mut room = Room::new(10);
    let people = room.people(5);
    let cameras: Vec<_> = people[1..].iter().map(|p| room.camera(*p)).collect();
    let screen = room.publish(people[1], StreamType::VideoScreen);
    let pinned_user_ids = vec![5];
    let seen = room.subscribe(
        people[0],
        v1::Layout {
            pinned_user_ids,
            ..grid(1, 3)
        },
    );
    assert_eq!(
        seen,
        [
            (1, cameras[3].clone()),
            (2, screen),
            (3, cameras[0].clone())
        ]
        .into()
    );
}

#[test]
fn excluded_people_and_oneself_are_not_shown_unless_asked_for() {
    let mut room = Room::new(10);
    let people = room.people(3);
    let cameras: Vec<_> = people.iter().map(|p| room.camera(*p)).collect();
    let excluded_user_ids = vec![2];
    let layout = v1::Layout {
        excluded_user_ids,
        ..grid(2, 2)
    };
    let seen = room.subscribe(people[0], layout.clone());
    assert_eq!(seen, [(1, cameras[2].clone())].into());
    let layout = v1::Layout {
        include_self: true,
        ..layout
    };
    room.ask(
        people[0],
        Request::UpdateLayout(UpdateLayout {
            layout: Some(layout),
        }),
    );
    let seen = room.seen(people[0]);
    assert_eq!(
        seen,
        [(1, cameras[2].clone()), (2, cameras[0].clone())].into()
    );
}

#[test]
fn a_tile_keeps_its_place_when_others_come_and_go() {
    let mut room = Room::new(10);
    let people = room.people(5);
    let cameras: Vec<_> = people[1..].iter().map(|p| room.camera(*p)).collect();
    room.subscribe(people[0], grid(2, 2));
    room.leave(people[2]);
    let seen = room.seen(people[0]);
    assert_eq!(seen.keys().copied().collect::<Vec<_>>(), vec![1, 3, 4]);
    let late = room.join(6, 0);
    let camera = room.camera(late);
    let seen = room.seen(people[0]);
    assert_eq!(seen[&2], camera, "a newcomer takes the empty place");
    assert_eq!(
        (&seen[&1], &seen[&3], &seen[&4]),
        (&cameras[0], &cameras[2], &cameras[3])
    );
}

#[test]
fn a_camera_that_is_chosen_anew_comes_back_to_its_place() {
    let mut room = Room::new(10);
    let people = room.people(4);
    let cameras: Vec<_> = people[1..].iter().map(|p| room.camera(*p)).collect();
    room.subscribe(people[0], grid(2, 2));
    for (who, stream_id) in [(people[1], &cameras[0]), (people[2], &cameras[1])] {
        let stream_id = stream_id.clone();
        room.ask(who, Request::UnpublishStream(UnpublishStream { stream_id }));
    }
    let camera = room.camera(people[2]);
    assert_eq!(room.seen(people[0])[&2], camera);
}

#[test]
fn who_speaks_for_a_second_takes_the_tile_of_somebody_silent() {
    let mut room = Room::new(10);
    let people = room.people(5);
    let cameras: Vec<_> = people[1..].iter().map(|p| room.camera(*p)).collect();
    for who in &people {
        room.publish(*who, StreamType::Audio);
    }
    room.subscribe(people[0], grid(1, 2));
    let seen = room.seen(people[0]);
    assert_eq!((&seen[&1], &seen[&2]), (&cameras[0], &cameras[1]));
    room.speak(&[people[4], people[1]]);
    room.pass(900);
    assert_eq!(room.seen(people[0])[&2], cameras[1], "a cough moves nobody");
    room.pass(100);
    let seen = room.seen(people[0]);
    assert_eq!(seen[&1], cameras[0], "who speaks and is seen stays");
    assert_eq!(seen[&2], cameras[3]);
    room.speak(&[]);
    room.pass(60_000);
    assert_eq!(room.seen(people[0])[&2], cameras[3], "silence moves nobody");
}

#[test]
fn a_grid_shows_no_more_than_the_client_decodes() {
    let mut room = Room::new(10);
    let viewer = room.join(1, 2);
    let others: Vec<_> = (2..=5).map(|n| room.join(n, 0)).collect();
    let cameras: Vec<_> = others.iter().map(|p| room.camera(*p)).collect();
    let seen = room.subscribe(viewer, grid(3, 3));
    assert_eq!(seen.len(), 2);
    let request = SubscribeStream {
        stream_id: cameras[3].clone(),
        options: None,
        slot: 50,
    };
    let answer = room.ask(viewer, Request::SubscribeStream(request));
    assert!(matches!(answer, Body::SubscriptionAck(_)));
    let seen = room.seen(viewer);
    assert_eq!(
        seen,
        [(1, cameras[0].clone()), (50, cameras[3].clone())].into()
    );
}

#[test]
fn preferring_video_puts_muted_cameras_last() {
    let mut room = Room::new(10);
    let people = room.people(4);
    let cameras: Vec<_> = people[1..].iter().map(|p| room.camera(*p)).collect();
    room.mute(people[1], &cameras[0], true);
    let seen = room.subscribe(people[0], grid(1, 2));
    assert_eq!(
        seen.into_values().collect::<Vec<_>>(),
        vec![cameras[0].clone(), cameras[1].clone()]
    );
    let layout = Some(v1::Layout {
        prefer_video_over_audio: true,
        ..grid(1, 2)
    });
    room.ask(people[0], Request::UpdateLayout(UpdateLayout { layout }));
    let seen = room.seen(people[0]);
    assert_eq!(
        seen,
        [(1, cameras[2].clone()), (2, cameras[1].clone())].into()
    );
}

#[test]
fn with_more_voices_than_slots_those_who_speak_are_heard() {
    let mut room = Room::new(10);
    let people = room.people(5);
    let voices: Vec<_> = people
        .iter()
        .map(|p| room.publish(*p, StreamType::Audio))
        .collect();
    let seen = room.subscribe(people[0], grid(1, 1));
    assert_eq!(
        seen,
        [(1001, voices[1].clone()), (1002, voices[2].clone())].into()
    );
    room.speak(&[people[4]]);
    let seen = room.seen(people[0]);
    assert_eq!(seen[&1001], voices[1], "one of the silent keeps its slot");
    assert_eq!(seen[&1002], voices[4]);
}

#[test]
fn layouts_with_bad_numbers_are_refused() {
    let mut room = Room::new(10);
    let who = room.join(1, 0);
    let bad = [
        v1::Layout {
            kind: None,
            ..grid(1, 1)
        },
        grid(0, 1),
        v1::Layout {
            kind: Some(Kind::Grid(GridLayout {
                rows: 1,
                columns: 257,
            })),
            ..grid(1, 1)
        },
        v1::Layout {
            video_slots: vec![0],
            ..grid(1, 1)
        },
        v1::Layout {
            video_slots: vec![1 << 24],
            ..grid(1, 1)
        },
        v1::Layout {
            video_slots: vec![3, 3],
            ..grid(1, 2)
        },
        v1::Layout {
            audio_slots: vec![1],
            ..grid(1, 1)
        },
        v1::Layout {
            audio_slots: (1..2000).collect(),
            ..grid(1, 1)
        },
        v1::Layout {
            pinned_user_ids: vec![1; 2000],
            ..grid(1, 1)
        },
    ];
    for layout in bad {
        let request = SubscribeLayout {
            layout: Some(layout.clone()),
        };
        let code = room.refused(who, Request::SubscribeLayout(request));
        assert_eq!(code, ErrorCode::InvalidRequest, "{layout:?}");
    }
    let update = || {
        Request::UpdateLayout(UpdateLayout {
            layout: Some(grid(1, 1)),
        })
    };
    assert_eq!(room.refused(who, update()), ErrorCode::NotFound);
    let video_slots = (2000..2000 + 256 * 256).collect();
    room.subscribe(
        who,
        v1::Layout {
            video_slots,
            ..grid(256, 256)
        },
    );
    let second = Request::SubscribeLayout(SubscribeLayout {
        layout: Some(grid(1, 1)),
    });
    assert_eq!(room.refused(who, second), ErrorCode::Conflict);
}

/// Spec 002, "Example: 3x3 Grid".
#[test]
fn the_grid_of_three_by_three_with_fifteen_people_is_as_the_specification_shows() {
    let mut room = Room::new(20);
    let names = [
        "Alice", "Bob", "Charlie", "David", "Eve", "Frank", "Grace", "Heidi", "Ivan", "Judy",
        "Mallory", "Niaj", "Olivia", "Peggy", "Rupert",
    ];
    let people = room.people(names.len() as u64);
    let number = |name: &str| names.iter().position(|n| *n == name).unwrap();
    let viewer = *people.last().unwrap();
    for who in &people {
        room.publish(*who, StreamType::Audio);
    }
    // David shows his screen alone.
    let mut streams = BTreeMap::new();
    for (name, who) in names.iter().zip(&people) {
        let kind = match *name {
            "David" => StreamType::VideoScreen,
            _ => StreamType::VideoCamera,
        };
        streams.insert(room.publish(*who, kind), *name);
    }
    room.speak(&[people[number("Eve")]]);
    room.pass(1000);
    let user = |name: &str| number(name) as u64 + 1;
    let seen = room.subscribe(
        viewer,
        v1::Layout {
            pinned_user_ids: vec![user("Alice"), user("Bob")],
            excluded_user_ids: vec![user("Charlie")],
            prefer_video_over_audio: true,
            ..grid(3, 3)
        },
    );
    let tiles: Vec<&str> = (1..=9).map(|slot| streams[&seen[&slot]]).collect();
    assert_eq!(
        tiles,
        [
            "Alice", "Bob", "David", "Eve", "Frank", "Grace", "Heidi", "Ivan", "Judy"
        ]
    );

    // Its dynamic updates, each with the smallest change.
    let shown = |room: &Room| -> Vec<&'static str> {
        let seen = room.seen(viewer);
        (1..=9)
            .map(|slot| {
                seen.get(&slot)
                    .map_or("", |id| streams.get(id).copied().unwrap_or("new"))
            })
            .collect()
    };
    let changes = |before: &[&str], after: &[&str]| {
        let pairs = before.iter().zip(after);
        pairs.filter(|(a, b)| a != b).count()
    };
    room.speak(&[people[number("Olivia")]]);
    room.pass(1000);
    let (before, after) = (tiles, shown(&room));
    assert_eq!(
        changes(&before, &after),
        1,
        "the active speaker is swapped in"
    );
    assert!(after.contains(&"Olivia") && after.contains(&"Eve"));
    room.publish(people[number("Grace")], StreamType::VideoScreen);
    let (before, after) = (after, shown(&room));
    assert_eq!(changes(&before, &after), 1, "a screen share is promoted");
    assert!(after.contains(&"new"));
    room.leave(people[number("Bob")]);
    let (before, after) = (after, shown(&room));
    assert_eq!(changes(&before, &after), 1, "who is next fills the slot");
    assert!(!after.contains(&"Bob") && !after.contains(&""));
}

#[test]
fn a_voice_that_gets_louder_takes_no_slot_of_another_voice() {
    let mut room = Room::new(10);
    let people = room.people(4);
    for who in &people {
        room.publish(*who, StreamType::Audio);
    }
    let seen = room.subscribe(people[0], grid(1, 1));
    assert_eq!(seen.len(), 2);
    for turn in 0..10 {
        let mut loud = people[1..].to_vec();
        loud.rotate_left(turn % 3);
        room.speak(&loud);
        assert_eq!(room.seen(people[0]), seen);
    }
}

#[test]
fn a_second_picture_of_a_pinned_person_takes_nobody_else_s_place() {
    let mut room = Room::new(10);
    let people = room.people(4);
    let cameras: Vec<_> = people[1..].iter().map(|p| room.camera(*p)).collect();
    let layout = v1::Layout {
        pinned_user_ids: vec![2, 3],
        ..grid(1, 2)
    };
    let seen = room.subscribe(people[0], layout);
    room.publish(people[1], StreamType::VideoScreen);
    assert_eq!(room.seen(people[0]), seen, "both pinned people are seen");
    assert_eq!((&seen[&1], &seen[&2]), (&cameras[0], &cameras[1]));
}
