//! Whom the host puts before everybody.

use dt_wire::v1::SetSpotlight;

use super::*;

impl Room {
    fn with_host(&mut self, others: u64) -> (Person, Vec<Person>) {
        let host = self.enter(1, 0, Role::Host, Codecs::default());
        (host, (2..2 + others).map(|n| self.join(n, 0)).collect())
    }

    fn id(&self, who: Person) -> String {
        let user = self.meeting.roster.by_session(SessionId(who.0)).unwrap();
        self.meeting
            .roster
            .get(user)
            .unwrap()
            .participant
            .to_string()
    }

    fn light(&self, people: &[Person]) -> Request {
        Request::SetSpotlight(SetSpotlight {
            participant_ids: people.iter().map(|p| self.id(*p)).collect(),
        })
    }

    /// The spotlight as somebody was told last, by a welcome or a push.
    fn lit(&self, who: Person) -> Vec<u64> {
        let told = self.told[&SessionId(who.0)].iter().rev();
        let mut infos = told.filter_map(|(_, body)| match body {
            Body::MeetingUpdated(updated) => updated.meeting.clone(),
            Body::JoinResponse(response) => response.meeting.clone(),
            _ => None,
        });
        infos.next().expect("it was told").spotlight_user_ids
    }
}

#[test]
fn only_a_host_sets_the_spotlight_and_everybody_is_told() {
    let mut room = Room::new(20);
    let (host, others) = room.with_host(3);
    let request = room.light(&[others[1]]);
    assert_eq!(
        room.refused(others[0], request.clone()),
        ErrorCode::Forbidden
    );
    assert!(matches!(room.ask(host, request), Body::Ack(_)));
    for who in others.iter().chain([&host]) {
        assert_eq!(room.lit(*who), [3]);
    }
    let late = room.join(9, 0);
    assert_eq!(room.lit(late), [3], "who joins later sees it");
    let request = room.light(&[]);
    room.ask(host, request);
    assert_eq!(room.lit(late), [0; 0]);
}

#[test]
fn a_spotlight_of_ten_or_of_strangers_is_refused() {
    let mut room = Room::new(20);
    let (host, others) = room.with_host(10);
    let request = room.light(&others);
    assert_eq!(room.refused(host, request), ErrorCode::InvalidRequest);
    for (id, code) in [
        ("nonsense".to_owned(), ErrorCode::InvalidRequest),
        (
            dt_ids::ParticipantId::from_bytes([8; 16]).to_string(),
            ErrorCode::NotFound,
        ),
    ] {
        let participant_ids = vec![room.id(others[0]), id];
        let request = Request::SetSpotlight(SetSpotlight { participant_ids });
        assert_eq!(room.refused(host, request), code);
    }
    assert_eq!(room.lit(host), [0; 0], "nothing has changed");
    let request = room.light(&[others[0], others[0]]);
    room.ask(host, request);
    assert_eq!(room.lit(host), [2], "once is enough");
}

#[test]
fn who_leaves_drops_out_of_the_spotlight() {
    let mut room = Room::new(20);
    let (host, others) = room.with_host(3);
    let request = room.light(&[others[1], others[0]]);
    room.ask(host, request);
    room.leave(others[1]);
    assert_eq!(room.lit(host), [2]);
    room.leave(others[0]);
    assert_eq!(room.lit(others[2]), [0; 0]);
}

#[test]
fn the_spotlight_stands_behind_ones_own_pins_and_before_screens() {
    let mut room = Room::new(20);
    let (host, others) = room.with_host(4);
    let cameras: Vec<_> = others.iter().map(|p| room.camera(*p)).collect();
    let screen = room.publish(others[0], StreamType::VideoScreen);
    let layout = v1::Layout {
        pinned_user_ids: vec![3],
        ..grid(1, 3)
    };
    room.subscribe(host, layout);
    let request = room.light(&[others[3]]);
    room.ask(host, request);
    let seen: Vec<_> = room.seen(host).into_values().collect();
    for wanted in [&cameras[1], &cameras[3], &screen] {
        assert!(seen.contains(wanted));
    }
    let narrow = Some(v1::Layout {
        pinned_user_ids: vec![3],
        ..grid(1, 2)
    });
    room.ask(host, Request::UpdateLayout(UpdateLayout { layout: narrow }));
    let seen: Vec<_> = room.seen(host).into_values().collect();
    assert_eq!(seen.len(), 2);
    assert!(seen.contains(&cameras[1]) && seen.contains(&cameras[3]));
}

#[test]
fn a_spotlight_moves_no_tile_of_who_stays_visible() {
    let mut room = Room::new(20);
    let (host, others) = room.with_host(6);
    let cameras: Vec<_> = others.iter().map(|p| room.camera(*p)).collect();
    let before = room.subscribe(host, grid(2, 2));
    let request = room.light(&[others[5]]);
    room.ask(host, request);
    let after = room.seen(host);
    let changed: Vec<u32> = (1..=4).filter(|s| before[s] != after[s]).collect();
    assert_eq!(changed.len(), 1);
    assert_eq!(after[&changed[0]], cameras[5]);
}
