//! What goes to whom, and with what a receiver begins.

use super::*;

#[test]
fn a_datagram_goes_to_the_routed_receivers_with_their_labels() {
    let mut world = World::routed();
    world.outputs();
    world.datagram(&audio(), FrameType::Audio).unwrap();
    let outputs = world.outputs();
    let [Output::Datagram { targets, .. }] = &outputs[..] else {
        panic!("one datagram is expected, not {outputs:?}");
    };
    let target = Target {
        session: RECEIVER,
        label: label(2).into(),
    };
    assert_eq!(targets[..], [target]);
}

#[test]
fn what_is_not_registered_to_its_session_is_dropped_and_counted() {
    let mut world = World::routed();
    world.outputs();
    let mut foreign = audio();
    foreign.number = StreamNumber::try_from(9).unwrap();
    assert_eq!(
        world.datagram(&foreign, FrameType::Audio),
        Err(DropReason::UnregisteredStream)
    );
    assert_eq!(
        world.datagram(&audio(), FrameType::VideoKey),
        Err(DropReason::WrongKind)
    );
    let forged = world.datagram_bytes(&audio(), FrameType::Audio, 2);
    let now = world.now;
    let result = world.forwarder.datagram(SENDER, forged.clone(), now);
    assert_eq!(result, Err(DropReason::ForeignUser));
    // The receiver has the user id, but not the stream.
    let result = world.forwarder.datagram(RECEIVER, forged, now);
    assert_eq!(result, Err(DropReason::UnregisteredStream));
    let other = GroupKey(1);
    let result = world
        .forwarder
        .group_opened(RECEIVER, other, group_header(1));
    assert_eq!(result.unwrap_err().code, reset_code::INVALID_FORMAT);
    let mut header = group_header(1);
    header.encoding = Encoding::MAX;
    let result = world.forwarder.group_opened(SENDER, other, header);
    assert_eq!(result.unwrap_err().reason, DropReason::UnregisteredEncoding);
    assert!(world.outputs().is_empty());
    assert_eq!(world.forwarder.counters().dropped_total(), 6);
}

#[test]
fn a_new_receiver_starts_with_the_kept_group_at_once() {
    let mut world = World::new(Config::default());
    world.open(5).unwrap();
    world.frame(5, FrameType::VideoKey, 1000).unwrap();
    world.frame(5, FrameType::VideoDelta, 100).unwrap();
    assert!(world.outputs().is_empty());
    world.route(&[2], 2);
    world.frame(5, FrameType::VideoDelta, 100).unwrap();
    world
        .forwarder
        .group_finished(SENDER, GroupKey(5), world.now);
    let outputs = world.outputs();
    assert_eq!(
        ops(&outputs),
        [
            "200/0 open 5",
            "200/0 frame 1",
            "200/0 frame 2",
            "200/0 frame 3",
            "200/0 finish"
        ]
    );
    assert_eq!(asks(&outputs), 0);
}

#[test]
fn when_the_group_is_too_old_or_too_large_a_key_frame_is_asked_for_instead() {
    for too_large in [false, true] {
        let mut world = World::new(Config::default());
        world.open(5).unwrap();
        world.frame(5, FrameType::VideoKey, 1000).unwrap();
        if too_large {
            world.frame(5, FrameType::VideoDelta, 1 << 20).unwrap();
        } else {
            world.pass(2001);
        }
        world.route(&[2], 2);
        let outputs = world.outputs();
        assert_eq!((ops(&outputs).len(), asks(&outputs)), (0, 1));
        world.frame(5, FrameType::VideoDelta, 10).unwrap();
        assert!(
            ops(&world.outputs()).is_empty(),
            "a delta frame alone is of no use"
        );
        world.open(6).unwrap();
        world.frame(6, FrameType::VideoKey, 10).unwrap();
        assert_eq!(ops(&world.outputs()).len(), 2);
    }
}

#[test]
fn wishes_for_key_frames_are_merged_to_one_a_second() {
    let mut world = World::routed();
    world.datagram(&video(), FrameType::VideoDelta).unwrap();
    world.outputs();
    let mut asked = 0;
    for _ in 0..59 {
        let (now, id) = (world.now, video().stream_id);
        world
            .forwarder
            .keyframe_request(RECEIVER, id, Encoding::MIN, now)
            .unwrap();
        world.pass(50);
        asked += asks(&world.outputs());
    }
    assert_eq!(asked, 3);
    let (now, id) = (world.now, video().stream_id);
    let result = world
        .forwarder
        .keyframe_request(SENDER, id, Encoding::MIN, now);
    assert_eq!(result, Err(DropReason::NotRouted));
}

#[test]
fn one_long_stream_is_given_to_receivers_a_group_at_a_time() {
    let mut world = World::routed();
    world
        .forwarder
        .group_opened(SENDER, GroupKey(1), group_header(1))
        .unwrap();
    let mut all = Vec::new();
    for group in [1u16, 2] {
        for frame_type in [FrameType::VideoKey, FrameType::VideoDelta] {
            world.sequence += 1;
            let header = FrameHeader {
                frame_type,
                stream_id: video().stream_id,
                timestamp_us: world.sequence,
                sequence: world.sequence,
                payload_bytes: 0,
                flags: Flags::WHOLE,
                extension: Extension::video(Encoding::MIN, 0, 0, group),
            };
            let now = world.now;
            world
                .forwarder
                .group_frame(SENDER, GroupKey(1), &header, Bytes::new(), now)
                .unwrap();
            all.extend(world.outputs());
        }
    }
    assert_eq!(
        ops(&all),
        [
            "200/0 open 1",
            "200/0 frame 1",
            "200/0 frame 2",
            "200/0 finish",
            "200/1 open 2",
            "200/1 frame 3",
            "200/1 frame 4"
        ]
    );
}

#[test]
fn a_frame_is_shared_between_its_receivers() {
    let mut world = World::new(Config::default());
    world.register(3, &[], 1);
    world.up(3, SessionKey(300));
    world.route(&[2, 3], 2);
    world.open(1).unwrap();
    world.frame(1, FrameType::VideoKey, 100).unwrap();
    let frames: Vec<FrameBytes> = world
        .outputs()
        .into_iter()
        .filter_map(|o| match o {
            Output::Stream {
                op: StreamOp::Frame(frame),
                ..
            } => Some(frame),
            _ => None,
        })
        .collect();
    assert_eq!(frames.len(), 2);
    assert_eq!(frames[0].payload.as_ptr(), frames[1].payload.as_ptr());
    assert_eq!(frames[0].header.as_ptr(), frames[1].header.as_ptr());
}
