//! Several handlers' forwarders, joined by links on a virtual clock: what is sent
//! at one arrives at all that it is routed to, once, whatever delays there are and
//! whichever way it comes.

#![allow(clippy::unwrap_used)] // a panic is how a test fails

mod world;

use proptest::prelude::*;
use world::{MS, World};

/// A tree: of each node but the first, the one that it hangs on.
fn tree(size: usize) -> impl Strategy<Value = Vec<usize>> {
    let parents: Vec<_> = (1..size).map(|node| 0..node).collect();
    parents
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn every_frame_arrives_once_over_any_tree_of_links(
        seed in any::<u64>(),
        parents in (2usize..6).prop_flat_map(tree),
    ) {
        let mut world = World::new(parents.len() + 1, seed);
        world.send_at(0);
        world.route_tree(&parents);
        world.run(4000 * MS);
        world.stop();
        world.run(1000 * MS);
        // Orders came in any order: from the first frame on nothing is missing.
        for node in 0..=parents.len() {
            let (frames, sounds) = world.got(node);
            prop_assert!(frames.len() > 60, "{} frames at {node}", frames.len());
            prop_assert!(sounds.len() > 100, "{} sounds at {node}", sounds.len());
            world.check_whole(node, &frames)?;
            world.check_all(node, &sounds)?;
        }
        world.check_links()?;
    }

    #[test]
    fn a_sender_that_moves_loses_no_frame_at_anybody(
        seed in any::<u64>(),
        handlers in 2usize..6,
    ) {
        let mut world = World::new(handlers, seed);
        world.send_at(0);
        world.route_star(0);
        world.run(2000 * MS);
        world.send_at(1);
        world.move_to(0, 1);
        world.run(4000 * MS);
        prop_assert!(world.has_moved(), "all say that it arrives");
        world.send_only_at(1);
        world.run(1500 * MS);
        world.stop();
        world.run(1000 * MS);
        for node in 0..handlers {
            let (frames, sounds) = world.got(node);
            prop_assert!(frames.len() > 150, "{} frames at {node}", frames.len());
            world.check_whole(node, &frames)?;
            world.check_all(node, &sounds)?;
        }
        world.check_links()?;
    }

    #[test]
    fn a_link_that_breaks_costs_a_key_frame_and_no_more(
        seed in any::<u64>(),
        parents in (2usize..5).prop_flat_map(tree),
        broken: prop::sample::Index,
    ) {
        let mut world = World::new(parents.len() + 1, seed);
        world.send_at(0);
        world.route_tree(&parents);
        world.run(2000 * MS);
        let child = broken.index(parents.len()) + 1;
        world.sever(parents[child - 1], child);
        world.run(2000 * MS);
        let before = world.sent();
        world.run(2000 * MS);
        world.stop();
        world.run(1000 * MS);
        for node in 0..=parents.len() {
            let (frames, _) = world.got(node);
            let after = frames.iter().filter(|at| **at > before).count();
            prop_assert!(after > 50, "{after} frames at {node} afterwards");
        }
        world.check_links()?;
    }
}
