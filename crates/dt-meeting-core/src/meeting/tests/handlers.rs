//! Several media handlers: who is where, which way streams take, moves.

use dt_wire::{
    internal::{EncodingDemand, HandlerLoad, StreamFlow, WantedEncoding},
    v1::{EncodingDirective, RequestMediaToken},
};

use super::*;
use crate::routing::Move;

fn id(n: u8) -> HandlerId {
    HandlerId::from_bytes([n; 16])
}

impl Room {
    fn seat(&self, who: Person) -> &crate::seat::Seat {
        let user = self.meeting.roster.by_session(SessionId(who.0)).unwrap();
        self.meeting.roster.get(user).unwrap()
    }

    fn home(&self, who: Person) -> HandlerId {
        self.seat(who).place.home()
    }

    /// To whom a handler passes a stream: people by number, handlers.
    fn reached(&self, handler: HandlerId, stream: &str) -> (Vec<u64>, Vec<HandlerId>) {
        let way = self.way(handler, stream);
        let links = way.destinations.iter().filter(|d| !d.handler_id.is_empty());
        let links = links.map(|d| d.handler_id.parse().unwrap()).collect();
        (way.people.iter().map(|user| user.0).collect(), links)
    }

    fn feeds(&self, handler: HandlerId, stream: &str) -> Option<HandlerId> {
        let inlet = self.way(handler, stream).inlet?;
        Some(inlet.handler_id.parse().unwrap())
    }

    fn opens(&mut self, who: Person, handler: HandlerId) {
        let participant = self.seat(who).participant;
        let effects = self
            .meeting
            .handle_media_session(handler, participant, true, self.now);
        self.apply(effects);
    }

    fn flows(&mut self, handler: HandlerId, stream: &str) {
        let flow = StreamFlow {
            stream_id: stream.into(),
            arriving: true,
        };
        let effects = self.meeting.handle_flow(handler, &flow, self.now);
        self.apply(effects);
    }

    fn load(&mut self, handler: HandlerId, load_permille: u32, draining: bool) {
        let load = HandlerLoad {
            load_permille,
            draining,
        };
        let effects = self.meeting.handle_load(handler, &load, self.now);
        self.apply(effects);
    }

    fn goes(&mut self, handler: HandlerId) {
        let effects = self.meeting.handle_handler_gone(handler, self.now);
        self.apply(effects);
    }

    fn told_of(&self, who: Person, what: impl Fn(&Body) -> bool) -> usize {
        let told = &self.told[&SessionId(who.0)];
        told.iter().filter(|(_, body)| what(body)).count()
    }

    /// Where somebody was told last to send a stream.
    fn sends(&self, who: Person, stream: &str) -> Vec<HandlerId> {
        let told = self.told[&SessionId(who.0)].iter().rev();
        let mut directives = told.filter_map(|(_, body)| match body {
            Body::SendDirective(directive) => Some(directive.clone()),
            Body::JoinResponse(response) => response.send_directive.clone(),
            _ => None,
        });
        let encodings: Vec<EncodingDirective> = directives.next().unwrap().encodings;
        let encoding = encodings.into_iter().find(|e| e.stream_id == stream);
        let ids = encoding.unwrap().handler_ids;
        ids.iter().map(|id| id.parse().unwrap()).collect()
    }
}

/// The example of the architecture's specification, with the ways that are
/// missing there: Charlie's camera to Alice and Bob.
#[test]
fn three_people_at_two_handlers_see_each_other_over_two_links() {
    let (mh1, mh2) = (id(1), id(2));
    let mut room = Room::at(&[mh1, mh2], 10, 2);
    let [alice, bob, charlie] = room.people(3)[..] else {
        panic!()
    };
    assert_eq!((room.home(alice), room.home(bob)), (mh1, mh1), "co-located");
    assert_eq!(room.home(charlie), mh2, "balanced");

    let cameras: Vec<String> = [alice, bob, charlie].map(|who| room.camera(who)).to_vec();
    let screens: Vec<String> = [alice, bob]
        .map(|who| room.publish(who, StreamType::VideoScreen))
        .to_vec();
    for who in [alice, bob] {
        assert_eq!(room.subscribe(who, grid(2, 2)).len(), 4 - 1);
    }
    // Charlie sees who speaks: Alice.
    let request = SubscribeStream {
        stream_id: cameras[0].clone(),
        options: None,
        slot: 1,
    };
    room.ask(charlie, Request::SubscribeStream(request));

    let none = || (vec![], vec![]);
    // MH1 forwards Alice's camera to Bob, and to MH2 for Charlie.
    assert_eq!(room.reached(mh1, &cameras[0]), (vec![2], vec![mh2]));
    assert_eq!(room.reached(mh2, &cameras[0]), (vec![3], vec![]));
    assert_eq!(room.feeds(mh2, &cameras[0]), Some(mh1));
    // What only the two of them see stays at MH1.
    for (stream, to) in [(&cameras[1], 1), (&screens[0], 2), (&screens[1], 1)] {
        assert_eq!(room.reached(mh1, stream), (vec![to], vec![]));
        assert_eq!(room.reached(mh2, stream), none());
    }
    // MH2 forwards Charlie's camera to MH1, once for both.
    assert_eq!(room.reached(mh2, &cameras[2]), (vec![], vec![mh1]));
    assert_eq!(room.reached(mh1, &cameras[2]), (vec![1, 2], vec![]));
    assert_eq!(room.feeds(mh1, &cameras[2]), Some(mh2));
    // Everybody sends each of the five pictures to one handler.
    for (who, stream) in [
        (alice, &cameras[0]),
        (alice, &screens[0]),
        (bob, &cameras[1]),
    ] {
        assert_eq!(room.sends(who, stream), [mh1]);
    }
    assert_eq!(room.sends(charlie, &cameras[2]), [mh2]);
    assert_eq!(room.numbers.in_use().len(), 2);

    // Both ends of a link say the same of it.
    let out = room.way(mh1, &cameras[0]).destinations[1].clone();
    let inlet = room.way(mh2, &cameras[0]).inlet.unwrap();
    assert_eq!((out.route_id, out.hops), (inlet.route_id, inlet.hops));
    assert_eq!(out.origin_handler_id, inlet.origin_handler_id);
    assert_eq!((inlet.origin_handler_id, inlet.hops), (mh1.to_string(), 1));
    assert_eq!(inlet.user_id, 1);

    room.leave(charlie);
    assert_eq!(room.reached(mh1, &cameras[0]), (vec![2], vec![]));
    assert!(room.numbers.in_use().is_empty());
}

#[test]
fn sound_goes_by_both_handlers_and_pictures_by_one() {
    let mut room = Room::at(&[id(1), id(2)], 10, 100);
    let people = room.people(3);
    let voice = room.publish(people[0], StreamType::Audio);
    let camera = room.camera(people[0]);
    for who in &people[1..] {
        room.subscribe(*who, grid(2, 2));
    }
    for handler in [id(1), id(2)] {
        assert_eq!(room.reached(handler, &voice), (vec![2, 3], vec![]));
    }
    assert_eq!(room.sends(people[0], &voice), [id(1), id(2)]);
    assert_eq!(room.reached(id(1), &camera), (vec![2, 3], vec![]));
    assert_eq!(room.reached(id(2), &camera), (vec![], vec![]));
    assert_eq!(room.sends(people[0], &camera), [id(1)]);
}

#[test]
fn a_join_waits_for_the_first_handler_alone() {
    let mut room = Room::at(&[id(1), id(2)], 10, 100);
    room.silent.push(id(2));
    let ana = room.join(1, 0);
    assert_eq!(room.told_of(ana, |b| matches!(b, Body::JoinResponse(_))), 1);
    let access = room.effects.iter().find_map(|effect| match effect {
        Effect::SendWithMediaAccess { handlers, .. } => Some(handlers.clone()),
        _ => None,
    });
    assert_eq!(access, Some(vec![id(1), id(2)]), "home first");
    let token = |handler: HandlerId| {
        Request::RequestMediaToken(RequestMediaToken {
            handler_id: handler.to_string(),
        })
    };
    assert_eq!(room.refused(ana, token(id(2))), ErrorCode::InternalError);
    assert!(matches!(room.ask(ana, token(id(1))), Body::MediaToken(_)));
    room.publish(ana, StreamType::Audio);
    // Nor does it end for want of the second.
    room.pass(29_000);
    room.camera(ana);

    let registration = room.effects.iter().rev().find_map(|effect| match effect {
        Effect::Register { handler, command } if *handler == id(2) => Some(command.clone()),
        _ => None,
    });
    let generation = registration.unwrap().generation.unwrap();
    let participant = room.seat(ana).participant;
    let effects = room
        .meeting
        .handle_registered(id(2), participant, generation, room.now);
    room.apply(effects);
    assert!(matches!(room.ask(ana, token(id(2))), Body::MediaToken(_)));
    let assigned = |b: &Body| matches!(b, Body::HandlerAssigned(_));
    assert_eq!(room.told_of(ana, assigned), 0, "it knows it already");
}

#[test]
fn who_moves_has_the_picture_by_the_old_way_until_the_new_one_flows() {
    let mut room = Room::at(&[id(1), id(2)], 10, 100);
    let people = room.people(2);
    let (ana, ben) = (people[0], people[1]);
    let camera = room.camera(ana);
    room.subscribe(ben, grid(1, 1));
    room.opens(ben, id(1));
    room.load(id(1), 950, false);
    assert!(matches!(
        room.seat(ben).place.moving(),
        Some(Move::Opening { .. })
    ));
    assert_eq!(room.reached(id(1), &camera), (vec![2], vec![]));
    assert_eq!(room.reached(id(2), &camera), (vec![], vec![]));

    room.opens(ben, id(2));
    assert_eq!(room.home(ben), id(2));
    assert_eq!(room.reached(id(1), &camera), (vec![2], vec![id(2)]));
    assert_eq!(room.reached(id(2), &camera), (vec![2], vec![]));
    room.pass(1999);
    assert_eq!(room.reached(id(1), &camera).0, [2], "nothing flows yet");
    room.flows(id(2), &camera);
    assert_eq!(room.reached(id(1), &camera), (vec![], vec![id(2)]));
    assert_eq!(room.reached(id(2), &camera), (vec![2], vec![]));
    room.pass(1000);
    let place = room.seat(ben).place;
    assert_eq!((place.moving(), place.spare()), (None, Some(id(1))));
    // It is no worse there now: nobody goes back.
    room.load(id(1), 0, false);
    room.pass(10_000);
    assert_eq!(room.home(ben), id(2));
}

#[test]
fn a_stream_that_is_not_seen_to_flow_holds_a_move_up_for_two_seconds() {
    let mut room = Room::at(&[id(1), id(2)], 10, 100);
    let people = room.people(2);
    let camera = room.camera(people[0]);
    room.subscribe(people[1], grid(1, 1));
    room.load(id(1), 950, false);
    room.opens(people[1], id(2));
    room.pass(2000);
    assert!(matches!(
        room.seat(people[1]).place.moving(),
        Some(Move::Handing { .. })
    ));
    room.pass(1000);
    assert_eq!(room.reached(id(1), &camera), (vec![], vec![id(2)]));
}

#[test]
fn a_sender_that_moves_sends_to_both_until_others_have_it_from_the_new_one() {
    let mut room = Room::at(&[id(1), id(2), id(3)], 10, 2);
    let people = room.people(5);
    let ana = people[0];
    assert_eq!((room.home(ana), room.home(people[4])), (id(1), id(3)));
    let camera = room.camera(ana);
    room.subscribe(people[1], grid(1, 1));
    room.subscribe(people[4], grid(1, 1));
    assert_eq!(room.feeds(id(3), &camera), Some(id(1)));
    assert_eq!(room.sends(ana, &camera), [id(1)]);

    room.opens(ana, id(2));
    room.load(id(1), 950, false);
    assert_eq!((room.home(ana), room.home(people[1])), (id(2), id(1)));
    assert_eq!(room.sends(ana, &camera), [id(2), id(1)]);
    assert_eq!(room.feeds(id(3), &camera), Some(id(1)), "as before");
    room.pass(2000);
    assert_eq!(room.sends(ana, &camera), [id(2), id(1)]);
    assert_eq!(room.feeds(id(3), &camera), Some(id(2)));
    assert_eq!(room.feeds(id(1), &camera), Some(id(2)));
    assert!(
        room.reached(id(1), &camera).1.contains(&id(3)),
        "the old link goes on until a key frame came by the new one"
    );
    room.pass(1000);
    assert_eq!(room.sends(ana, &camera), [id(2)]);
    assert_eq!(room.reached(id(1), &camera), (vec![2], vec![]));
    assert_eq!(room.reached(id(2), &camera).1, [id(1), id(3)]);
    assert_eq!(room.numbers.in_use().len(), 2);
}

#[test]
fn when_a_handler_goes_its_people_are_at_the_other_one_at_once() {
    let mut room = Room::at(&[id(1), id(2)], 10, 100);
    let people = room.people(2);
    let camera = room.camera(people[0]);
    let voice = room.publish(people[0], StreamType::Audio);
    room.subscribe(people[1], grid(1, 1));
    room.effects.clear();
    room.goes(id(1));
    assert_eq!(room.sends(people[0], &camera), [id(2)]);
    assert_eq!(room.sends(people[0], &voice), [id(2)]);
    for stream in [&camera, &voice] {
        assert_eq!(room.reached(id(2), stream), (vec![2], vec![]));
    }
    let to_gone = room.effects.iter().any(|effect| match effect {
        Effect::Register { handler, .. }
        | Effect::Unregister { handler, .. }
        | Effect::Route { handler, .. } => *handler == id(1),
        _ => false,
    });
    assert!(!to_gone, "nothing is said to one that is gone");
    let cem = room.join(3, 0);
    assert_eq!(room.home(cem), id(2));

    room.leave(people[1]);
    room.effects.clear();
    let effects = room.meeting.handle_handler_back(id(1), room.now);
    room.apply(effects);
    let registered = room
        .effects
        .iter()
        .filter(|effect| matches!(effect, Effect::Register { handler, .. } if *handler == id(1)));
    assert_eq!(registered.count(), 2, "everybody's spare again");
    let forgotten = room
        .effects
        .iter()
        .any(|effect| matches!(effect, Effect::Unregister { handler, .. } if *handler == id(1)));
    assert!(forgotten, "who left meanwhile is not known there any more");
    assert_eq!(room.home(people[0]), id(2), "nobody goes back");
    assert_eq!(room.sends(people[0], &voice), [id(2), id(1)]);
}

#[test]
fn a_client_hears_of_handlers_that_it_is_moved_to_and_from() {
    let mut room = Room::at(&[id(1), id(2), id(3)], 10, 100);
    let ana = room.join(1, 0);
    room.opens(ana, id(1));
    room.opens(ana, id(2));
    let count = |room: &Room| {
        let assigned = room.told_of(ana, |b| matches!(b, Body::HandlerAssigned(_)));
        let removed = room.told_of(ana, |b| matches!(b, Body::HandlerRemoved(_)));
        (assigned, removed)
    };
    room.load(id(1), 0, true);
    assert_eq!((room.home(ana), count(&room)), (id(2), (0, 0)));
    room.pass(2000);
    room.pass(1000);
    let place = room.seat(ana).place;
    assert_eq!((place.home(), place.spare()), (id(2), Some(id(3))));
    assert_eq!(count(&room), (1, 1));
    let left = room
        .effects
        .iter()
        .any(|effect| matches!(effect, Effect::Unregister { handler, .. } if *handler == id(1)));
    assert!(left);
}

#[test]
fn a_client_that_does_not_reach_the_other_handler_stays_where_it_is() {
    let mut room = Room::at(&[id(1), id(2)], 10, 100);
    let people = room.people(1);
    room.opens(people[0], id(1));
    room.load(id(1), 950, false);
    room.pass(5000);
    assert_eq!(
        (room.home(people[0]), room.seat(people[0]).place.moving()),
        (id(1), None)
    );
    room.pass(5000);
    assert!(room.seat(people[0]).place.moving().is_some(), "tried again");
}

#[test]
fn few_at_a_time_leave_a_handler_that_is_only_overloaded() {
    let mut room = Room::at(&[id(1), id(2)], 10, 100);
    let people = room.people(6);
    for who in &people {
        room.opens(*who, id(1));
        room.opens(*who, id(2));
    }
    let moved = |room: &Room| people.iter().filter(|p| room.home(**p) == id(2)).count();
    room.load(id(1), 950, false);
    assert_eq!(moved(&room), 2);
    room.load(id(1), 700, false);
    room.pass(10_000);
    room.pass(10_000);
    assert_eq!(moved(&room), 2, "it is well now");
    room.load(id(1), 0, true);
    assert_eq!(moved(&room), 6, "all leave one that stops");
}

#[test]
fn what_is_wanted_of_a_stream_is_heard_from_where_its_sender_sends() {
    let mut room = Room::at(&[id(1), id(2)], 10, 2);
    let people = room.people(3);
    let camera = room.camera(people[0]);
    room.subscribe(people[2], grid(1, 1));
    let active = |room: &Room| {
        let user = room.seat(people[0]).user;
        room.meeting.directive(user).encodings[0].active
    };
    let demand = |room: &mut Room, handler, wanted: bool| {
        let demand = EncodingDemand {
            stream_id: camera.clone(),
            encodings: wanted.then(WantedEncoding::default).into_iter().collect(),
        };
        let effects = room.meeting.handle_demand(handler, &demand, room.now);
        room.apply(effects);
    };
    assert_eq!((room.home(people[0]), room.home(people[2])), (id(1), id(2)));
    demand(&mut room, id(1), true);
    demand(&mut room, id(2), false);
    assert!(active(&room));
    demand(&mut room, id(1), false);
    demand(&mut room, id(2), true);
    assert!(!active(&room), "the link wants it where it begins");
}
