//! Who is registered and routed, and what a change of it does.

use super::*;

#[test]
fn a_participant_that_was_removed_gets_and_sends_nothing_more() {
    let mut world = World::routed();
    world.open(1).unwrap();
    world.frame(1, FrameType::VideoKey, 100).unwrap();
    world.outputs();
    let now = world.now;
    world.forwarder.unregister(person(2), order(3), 6, now);
    let close = Output::Close {
        session: RECEIVER,
        reason: CloseReason::Unregistered { close_code: 6 },
    };
    assert_eq!(world.outputs(), [close]);
    world.frame(1, FrameType::VideoDelta, 100).unwrap();
    world.datagram(&audio(), FrameType::Audio).unwrap();
    world.route(&[2], 3);
    assert!(world.outputs().is_empty());
    // An order that was overtaken brings nobody back.
    world.register(2, &[], 2);
    assert!(!world.forwarder.is_registered(person(2)));
    assert_eq!(
        world.forwarder.session_up(person(2), SessionKey(201), now),
        Err(SessionUpError::UnknownParticipant)
    );
    world.forwarder.unregister(person(1), order(3), 0, now);
    world.outputs();
    assert_eq!(
        world.datagram(&audio(), FrameType::Audio),
        Err(DropReason::UnknownSession)
    );
    assert_eq!(world.forwarder.stream_count(), 0);
}

#[test]
fn older_orders_are_ignored_and_the_one_in_force_is_the_answer() {
    let mut world = World::routed();
    world.route(&[], 1);
    world.datagram(&audio(), FrameType::Audio).unwrap();
    assert!(matches!(&world.outputs()[..], [Output::Datagram { .. }]));
    let (now, id) = (world.now, audio().stream_id);
    let newer = Generation {
        lease: 2,
        counter: 0,
    };
    let no_one: [(ParticipantId, Subscription); 0] = [];
    let older = Generation {
        lease: 1,
        counter: 99,
    };
    assert_eq!(world.forwarder.route(id, no_one, newer, now), Ok(newer));
    assert_eq!(
        world
            .forwarder
            .route(id, [(person(2), label(1))], older, now),
        Ok(newer)
    );
    world.datagram(&audio(), FrameType::Audio).unwrap();
    assert!(world.outputs().is_empty());
}

#[test]
fn a_newer_session_of_a_participant_replaces_the_older_one() {
    let mut world = World::routed();
    world.open(1).unwrap();
    world.frame(1, FrameType::VideoKey, 100).unwrap();
    world.outputs();
    world.up(2, SessionKey(201));
    let outputs = world.outputs();
    let close = Output::Close {
        session: RECEIVER,
        reason: CloseReason::Replaced,
    };
    assert_eq!(outputs[0], close);
    assert_eq!(ops(&outputs), ["201/1 open 1", "201/1 frame 1"]);
    world.forwarder.session_down(RECEIVER, world.now);
    world.frame(1, FrameType::VideoDelta, 100).unwrap();
    assert_eq!(ops(&world.outputs()), ["201/1 frame 2"]);
}

#[test]
fn a_muted_stream_is_not_forwarded_and_begins_anew_when_it_is_not() {
    let mut world = World::routed();
    world.open(1).unwrap();
    world.frame(1, FrameType::VideoKey, 100).unwrap();
    let muted = |muted| {
        [
            StreamSpec { muted, ..video() },
            StreamSpec { muted, ..audio() },
        ]
    };
    world.outputs();
    world.register(1, &muted(true), 3);
    assert_eq!(ops(&world.outputs()), ["200/0 reset 0"]);
    assert_eq!(
        world.datagram(&audio(), FrameType::Audio),
        Err(DropReason::Muted)
    );
    world.open(2).unwrap();
    world.frame(2, FrameType::VideoKey, 100).unwrap();
    world.register(1, &muted(false), 4);
    world.frame(2, FrameType::VideoDelta, 100).unwrap();
    let outputs = world.outputs();
    assert_eq!((ops(&outputs).len(), asks(&outputs)), (0, 1));
    world.frame(2, FrameType::VideoKey, 100).unwrap();
    assert_eq!(ops(&world.outputs()).len(), 2);
}

#[test]
fn streams_and_numbers_are_not_taken_twice() {
    let mut world = World::routed();
    let now = world.now;
    let result = world
        .forwarder
        .register(person(3), UserId(3), &[video()], order(1), now);
    assert_eq!(result, Err(RegisterError::StreamTaken(video().stream_id)));
    let mut second = audio();
    second.number = video().number;
    let both = [video(), second];
    let result = world
        .forwarder
        .register(person(1), UserId(1), &both, order(9), now);
    assert_eq!(result, Err(RegisterError::StreamTaken(second.stream_id)));
    assert!(!world.forwarder.is_registered(person(3)));
}

#[test]
fn speakers_are_told_when_they_change() {
    let mut world = World::routed();
    let mut told = Vec::new();
    for _ in 0..100 {
        world.datagram(&audio(), FrameType::Audio).unwrap();
        world.pass(20);
        let outputs = world.outputs();
        told.extend(outputs.into_iter().filter_map(|o| match o {
            Output::Speakers(list) => Some(list),
            _ => None,
        }));
    }
    assert_eq!(told, [vec![person(1)]]);
}
