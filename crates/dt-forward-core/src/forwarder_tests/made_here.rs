//! Sound that is made at the handler itself.

use super::*;
use crate::{ReceiverReport, Tile};

#[test]
fn sound_that_is_made_here_is_paid_for_before_pictures() {
    let mut world = World::new(Config::default());
    let mut camera = video();
    camera.encodings = 2;
    camera.layers[0] = EncodingSpec::new(320, 180, 100_000);
    camera.layers[1] = EncodingSpec::new(640, 360, 200_000);
    world.register(1, &[camera, audio()], 2);
    world.route(&[2], 2);
    let tile = Tile {
        slot: 1,
        width: 640,
        height: 360,
        max_bitrate_bps: 0,
    };
    let report = ReceiverReport {
        tiles: vec![tile],
        max_bitrate_bps: 230_000,
        overloaded: false,
    };
    world
        .forwarder
        .receiver_report(RECEIVER, &report, world.now);
    let granted = |world: &World| world.forwarder.receivers[&RECEIVER].granted(camera.stream_id);
    world.pass(500);
    assert_eq!(granted(&world), Some(1));
    // 64 kbit/s of a mix.
    for _ in 0..100 {
        world.pass(20);
        world.forwarder.made_here(RECEIVER, 160, world.now);
    }
    assert_eq!(granted(&world), Some(0), "both do not fit");
    for _ in 0..100 {
        world.pass(50);
    }
    assert_eq!(granted(&world), Some(1), "the mix is over");
    // Nobody's.
    world.forwarder.made_here(SessionKey(7), 160, world.now);
}

#[test]
fn whose_a_stream_is_is_known_while_it_is_published() {
    let mut world = World::routed();
    let stream = audio().stream_id;
    assert_eq!(world.forwarder.sender(stream), Some(UserId(1)));
    world.register(1, &[video()], 2);
    assert_eq!(world.forwarder.sender(stream), None);
}
