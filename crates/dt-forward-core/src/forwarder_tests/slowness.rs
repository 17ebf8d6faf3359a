//! Receivers that do not take what they are sent in time, and senders of too much.

use super::*;

#[test]
fn a_late_stream_is_reset_and_its_receiver_begins_with_the_next_key_frame() {
    let mut world = World::routed();
    world.open(1).unwrap();
    world.frame(1, FrameType::VideoKey, 100).unwrap();
    world.outputs();
    world.pass(500);
    assert!(ops(&world.outputs()).is_empty());
    world.pass(1);
    assert_eq!(ops(&world.outputs()), ["200/0 reset 0"]);
    world.frame(1, FrameType::VideoDelta, 100).unwrap();
    assert!(ops(&world.outputs()).is_empty());
    world.open(2).unwrap();
    world.frame(2, FrameType::VideoKey, 100).unwrap();
    assert_eq!(ops(&world.outputs()), ["200/1 open 2", "200/1 frame 3"]);
    assert_eq!(world.forwarder.counters().late_resets, 1);
}

#[test]
fn a_stream_whose_frames_are_written_is_never_late() {
    let mut world = World::routed();
    world.open(1).unwrap();
    world.frame(1, FrameType::VideoKey, 100).unwrap();
    for _ in 0..30 {
        world.forwarder.written(RECEIVER, OutGroup(0), 1);
        world.pass(400);
        world.frame(1, FrameType::VideoDelta, 100).unwrap();
    }
    assert_eq!(ops(&world.outputs()).len(), 32);
    assert_eq!(world.forwarder.outbox.load(RECEIVER), (146, 1));
}

#[test]
fn an_older_group_is_given_up_half_a_second_after_a_newer_one_began() {
    let mut world = World::routed();
    for group in [1, 2] {
        world.open(group).unwrap();
        world.frame(group, FrameType::VideoKey, 100).unwrap();
    }
    world.forwarder.written(RECEIVER, OutGroup(0), 1);
    world.forwarder.written(RECEIVER, OutGroup(1), 1);
    world.frame(1, FrameType::VideoDelta, 100).unwrap();
    world.forwarder.written(RECEIVER, OutGroup(0), 1);
    let outputs = world.outputs();
    assert_eq!(
        ops(&outputs),
        [
            "200/0 open 1",
            "200/0 frame 1",
            "200/1 open 2",
            "200/1 frame 2",
            "200/0 frame 3"
        ]
    );
    let priorities: Vec<_> = outputs
        .iter()
        .filter_map(|o| match o {
            Output::Stream {
                op: StreamOp::Open { priority, .. },
                ..
            } => Some(*priority),
            _ => None,
        })
        .collect();
    assert!(priorities[1] > priorities[0], "newer groups go first");
    world.pass(501);
    let outputs = world.outputs();
    assert_eq!(ops(&outputs), ["200/0 reset 0"]);
    let stop = Output::StopGroup {
        session: SENDER,
        group: GroupKey(1),
        code: reset_code::GRACEFUL,
    };
    assert!(outputs.contains(&stop));
}

#[test]
fn a_receiver_that_stopped_a_stream_gets_the_next_group_and_causes_no_key_frame() {
    let mut world = World::routed();
    world.open(1).unwrap();
    world.frame(1, FrameType::VideoKey, 100).unwrap();
    world.outputs();
    world.forwarder.refused(RECEIVER, OutGroup(0));
    for _ in 0..40 {
        world.frame(1, FrameType::VideoDelta, 100).unwrap();
        world.pass(50);
    }
    let outputs = world.outputs();
    assert_eq!((ops(&outputs).len(), asks(&outputs)), (0, 0));
    world
        .forwarder
        .group_finished(SENDER, GroupKey(1), world.now);
    world.open(2).unwrap();
    world.frame(2, FrameType::VideoKey, 100).unwrap();
    assert_eq!(ops(&world.outputs()), ["200/1 open 2", "200/1 frame 42"]);
}

#[test]
fn a_receiver_that_is_always_late_causes_fewer_and_fewer_key_frames() {
    let mut world = World::routed();
    let mut asked = Vec::new();
    let (mut group, mut wish) = (0, true);
    for tick in 0..2400 {
        if wish {
            group += 1;
            world.open(group).unwrap();
            world.frame(group, FrameType::VideoKey, 100).unwrap();
            wish = false;
        } else {
            world.frame(group, FrameType::VideoDelta, 100).unwrap();
        }
        world.pass(50);
        let count = asks(&world.outputs());
        if count > 0 {
            asked.push(tick);
            wish = true;
        }
    }
    assert!(asked.len() < 12, "{asked:?}");
}

#[test]
fn a_session_over_its_quota_loses_its_own_frames_only() {
    let config = Config {
        ingest: Quota {
            bytes_per_s: 1000,
            burst_bytes: 5000,
        },
        ..Config::default()
    };
    let mut world = World::new(config);
    world.route(&[2], 2);
    world.open(1).unwrap();
    world.frame(1, FrameType::VideoKey, 4000).unwrap();
    let stop = world.frame(1, FrameType::VideoDelta, 4000).unwrap_err();
    assert_eq!(stop.code, reset_code::QUOTA_EXCEEDED);
    assert_eq!(
        ops(&world.outputs()),
        ["200/0 open 1", "200/0 frame 1", "200/0 reset 0"]
    );
    while world.datagram(&audio(), FrameType::Audio).is_ok() {}
    assert_eq!(world.dropped(DropReason::Quota), 2);
}

#[test]
fn a_slow_receiver_holds_no_more_than_its_limit() {
    let mut world = World::routed();
    for group in 1..40 {
        world.open(group).unwrap();
        world.frame(group, FrameType::VideoKey, 190_000).unwrap();
        world
            .forwarder
            .group_finished(SENDER, GroupKey(group), world.now);
        let (bytes, streams) = world.forwarder.outbox.load(RECEIVER);
        assert!(bytes <= world.forwarder.config.queue.session_bytes_max);
        assert!(streams <= world.forwarder.config.queue.session_streams_max);
        let source = &world.forwarder.sources[&video().stream_id];
        assert!(source.encodings[0].kept().1 <= world.forwarder.config.kept_bytes_max);
        world.outputs();
        world.now += Duration::from_millis(10);
    }
    assert!(world.dropped(DropReason::SlowReceiver) > 10);
}
