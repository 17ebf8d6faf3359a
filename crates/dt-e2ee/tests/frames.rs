//! Frames: what one member seals another opens, once, in its epoch, and nothing
//! else is opened.
#![cfg(feature = "native")]

mod room;

use dt_e2ee::{EpochKeys, Kid, OpenError, Opener, SealError, Sealer, Suite};
use proptest::prelude::*;
use room::Room;
use zeroize::Zeroizing;

const SUITE: Suite = Suite::Aes128Gcm;

fn keys(epoch: u64, seed: u8) -> EpochKeys {
    EpochKeys {
        epoch,
        leaf: 5,
        base_key: Zeroizing::new(vec![seed; 16]),
        authenticator: Vec::new(),
    }
}

fn sealer_in(epoch: &EpochKeys) -> Sealer {
    let mut sealer = Sealer::new(SUITE);
    sealer.set_epoch(epoch);
    sealer
}

fn seal(sealer: &mut Sealer, plain: &[u8]) -> Vec<u8> {
    let mut sealed = Vec::new();
    sealer
        .seal(1, 2, b"aad", plain, &mut sealed)
        .expect("seals");
    sealed
}

fn open(opener: &mut Opener, sealed: &[u8], now_ms: u64) -> Result<Vec<u8>, OpenError> {
    let mut plain = Vec::new();
    opener
        .open(b"aad", sealed, &mut plain, now_ms)
        .map(|_| plain)
}

#[test]
fn members_open_what_members_seal_in_both_suites() {
    let room = Room::of(&["ada", "bob", "cem"]);
    for suite in [Suite::Aes128Gcm, Suite::Aes256Gcm] {
        let ada = room.members["ada"].keys(suite).expect("keys");
        let cem = room.members["cem"].keys(suite).expect("keys");
        let (mut sealer, mut opener) = (Sealer::new(suite), Opener::new(suite));
        sealer.set_epoch(&cem);
        opener.add_epoch(&ada, 0);
        let (mut sealed, mut opened) = (Vec::new(), Vec::new());
        for counter in 0..20 {
            sealer
                .seal(3, 1, b"aad", b"a picture", &mut sealed)
                .expect("seals");
            let by = opener.open(b"aad", &sealed, &mut opened, 0).expect("opens");
            assert_eq!(opened, b"a picture");
            assert_eq!((by.stream, by.encoding, by.leaf), (3, 1, cem.leaf));
            assert_eq!((by.epoch, by.counter), (cem.epoch, counter));
        }
    }
}

#[test]
fn a_removed_participant_cannot_read_the_next_frame() {
    let mut room = Room::of(&["ada", "bob", "cem"]);
    let mut cems = Opener::new(SUITE);
    cems.add_epoch(&room.keys("cem"), 0);
    let mut adas = sealer_in(&room.keys("ada"));
    assert!(open(&mut cems, &seal(&mut adas, b"before"), 0).is_ok());
    room.remove("ada", "cem");
    adas.set_epoch(&room.keys("ada"));
    let next = seal(&mut adas, b"after");
    assert_eq!(open(&mut cems, &next, 0), Err(OpenError::NewerEpoch));
    let mut bobs = Opener::new(SUITE);
    bobs.add_epoch(&room.keys("bob"), 0);
    assert_eq!(open(&mut bobs, &next, 0).as_deref(), Ok(&b"after"[..]));
}

#[test]
fn a_frame_is_opened_once_in_whatever_order_it_comes() {
    let mut sealer = sealer_in(&keys(1, 1));
    let mut opener = Opener::new(SUITE);
    opener.add_epoch(&keys(1, 1), 0);
    let mut frames: Vec<_> = (0..50_u8).map(|at| seal(&mut sealer, &[at])).collect();
    frames.reverse();
    for frame in &frames {
        assert!(open(&mut opener, frame, 0).is_ok());
    }
    for frame in &frames {
        assert_eq!(open(&mut opener, frame, 0), Err(OpenError::Replayed));
    }
}

#[test]
fn a_frame_older_than_the_window_counts_as_a_replay() {
    let mut sealer = sealer_in(&keys(1, 1));
    let mut opener = Opener::new(SUITE);
    opener.add_epoch(&keys(1, 1), 0);
    let frames: Vec<_> = (0..1026).map(|_| seal(&mut sealer, b"x")).collect();
    assert!(open(&mut opener, &frames[1025], 0).is_ok());
    assert_eq!(open(&mut opener, &frames[1], 0), Err(OpenError::Replayed));
    assert!(open(&mut opener, &frames[2], 0).is_ok());
}

#[test]
fn a_frame_under_another_stream_or_time_is_forged() {
    let mut sealer = sealer_in(&keys(1, 1));
    let mut opener = Opener::new(SUITE);
    opener.add_epoch(&keys(1, 1), 0);
    let frame = seal(&mut sealer, b"mine");
    let mut out = Vec::new();
    let other = opener.open(b"AAD", &frame, &mut out, 0);
    assert_eq!(other, Err(OpenError::Forged));
    assert!(out.is_empty(), "nothing of a forged frame comes out");
    // It did no harm: the true one is still fresh.
    assert!(open(&mut opener, &frame, 0).is_ok());
}

#[test]
fn a_frame_is_not_given_to_another_leaf() {
    let mut sealer = sealer_in(&keys(1, 1));
    let mut opener = Opener::new(SUITE);
    opener.add_epoch(&keys(1, 1), 0);
    let mut frame = seal(&mut sealer, b"mine");
    // Header: config byte, then the key id in four bytes.
    let kid = u32::from_be_bytes([frame[1], frame[2], frame[3], frame[4]]);
    let mut parts = Kid::from_u32(kid);
    assert_eq!((parts.stream, parts.encoding, parts.leaf), (1, 2, 5));
    parts.leaf = 6;
    frame[1..5].copy_from_slice(&parts.to_u32().to_be_bytes());
    assert_eq!(open(&mut opener, &frame, 0), Err(OpenError::Forged));
}

#[test]
fn a_forged_counter_does_not_push_the_window_away() {
    let mut sealer = sealer_in(&keys(1, 1));
    let mut opener = Opener::new(SUITE);
    opener.add_epoch(&keys(1, 1), 0);
    let first = seal(&mut sealer, b"first");
    assert!(open(&mut opener, &first, 0).is_ok());
    let mut forged = vec![0xbf]; // key id in 4 bytes, counter in 8
    forged.extend_from_slice(&first[1..5]);
    forged.extend_from_slice(&[0xff; 8]);
    forged.extend_from_slice(&first[5..]);
    assert_eq!(open(&mut opener, &forged, 0), Err(OpenError::Forged));
    assert!(open(&mut opener, &seal(&mut sealer, b"second"), 0).is_ok());
}

#[test]
fn old_epochs_are_opened_for_10_s_and_then_over() {
    let mut opener = Opener::new(SUITE);
    let mut old = sealer_in(&keys(1, 1));
    opener.add_epoch(&keys(1, 1), 0);
    opener.add_epoch(&keys(2, 2), 60_000);
    assert!(open(&mut opener, &seal(&mut old, b"late"), 69_999).is_ok());
    let later = seal(&mut old, b"too late");
    assert_eq!(
        open(&mut opener, &later, 70_000),
        Err(OpenError::UnknownEpoch)
    );
}

#[test]
fn at_most_16_epochs_are_kept() {
    let mut opener = Opener::new(SUITE);
    for epoch in 1..=17 {
        opener.add_epoch(&keys(epoch, u8::try_from(epoch).expect("small")), 0);
    }
    let first = seal(&mut sealer_in(&keys(1, 1)), b"x");
    let second = seal(&mut sealer_in(&keys(2, 2)), b"x");
    assert_eq!(open(&mut opener, &first, 0), Err(OpenError::UnknownEpoch));
    assert!(open(&mut opener, &second, 0).is_ok());
}

#[test]
fn frames_of_before_our_time_are_told_from_those_to_come() {
    let mut opener = Opener::new(SUITE);
    let at = |epoch| seal(&mut sealer_in(&keys(epoch, 9)), b"x");
    assert_eq!(open(&mut opener, &at(3), 0), Err(OpenError::OlderThanJoin));
    opener.add_epoch(&keys(300, 3), 0);
    assert_eq!(
        open(&mut opener, &at(299), 0),
        Err(OpenError::OlderThanJoin)
    );
    assert_eq!(open(&mut opener, &at(301), 0), Err(OpenError::NewerEpoch));
    assert_eq!(open(&mut opener, &at(300), 0), Err(OpenError::Forged));
}

#[test]
fn the_epoch_of_a_frame_is_told_across_the_turn_of_its_8_bits() {
    let mut opener = Opener::new(SUITE);
    opener.add_epoch(&keys(255, 1), 0);
    opener.add_epoch(&keys(256, 2), 0);
    let late = seal(&mut sealer_in(&keys(255, 1)), b"late");
    let mut out = Vec::new();
    let by = opener.open(b"aad", &late, &mut out, 1).expect("opens");
    assert_eq!(by.epoch, 255);
    let next = seal(&mut sealer_in(&keys(257, 3)), b"next");
    assert_eq!(open(&mut opener, &next, 1), Err(OpenError::NewerEpoch));
}

#[test]
fn going_back_to_an_epoch_repeats_no_counter_and_opens_no_replay() {
    let mut sealer = sealer_in(&keys(1, 1));
    let mut opener = Opener::new(SUITE);
    opener.add_epoch(&keys(1, 1), 0);
    let first = seal(&mut sealer, b"first");
    assert!(open(&mut opener, &first, 0).is_ok());

    // Epoch 2 comes, is void, and comes again with other keys.
    sealer.set_epoch(&keys(2, 2));
    opener.add_epoch(&keys(2, 2), 10);
    let void = seal(&mut sealer, b"void");
    sealer.set_epoch(&keys(1, 1));
    opener.add_epoch(&keys(1, 1), 20);
    assert!(open(&mut opener, &void, 20).is_ok(), "sealed in good faith");
    let second = seal(&mut sealer, b"second");
    assert_ne!(first[..6], second[..6], "another counter");
    assert!(open(&mut opener, &second, 20_000).is_ok(), "not retired");
    assert_eq!(open(&mut opener, &first, 20_000), Err(OpenError::Replayed));

    sealer.set_epoch(&keys(2, 22));
    opener.add_epoch(&keys(2, 22), 20_000);
    assert!(open(&mut opener, &seal(&mut sealer, b"anew"), 20_000).is_ok());
}

#[test]
fn setting_the_same_epoch_again_goes_on_counting() {
    let mut sealer = sealer_in(&keys(1, 1));
    let first = seal(&mut sealer, b"x");
    sealer.set_epoch(&keys(1, 1));
    assert_ne!(first, seal(&mut sealer, b"x"));
}

#[test]
fn an_epoch_whose_counters_are_forgotten_is_not_sealed_in_again() {
    let mut sealer = sealer_in(&keys(1, 1));
    seal(&mut sealer, b"x");
    for epoch in 2..=5 {
        sealer.set_epoch(&keys(epoch, u8::try_from(epoch).expect("small")));
    }
    sealer.set_epoch(&keys(1, 1));
    let mut out = Vec::new();
    assert_eq!(
        sealer.seal(1, 2, b"aad", b"x", &mut out),
        Err(SealError::NoEpoch)
    );
    assert_eq!(sealer.epoch(), None);
}

#[test]
fn each_stream_and_encoding_counts_for_itself() {
    let mut sealer = sealer_in(&keys(1, 1));
    let mut opener = Opener::new(SUITE);
    opener.add_epoch(&keys(1, 1), 0);
    let (mut sealed, mut out) = (Vec::new(), Vec::new());
    for (stream, encoding) in [(1, 0), (1, 1), (2, 0), (255, 15)] {
        for counter in 0..3 {
            sealer
                .seal(stream, encoding, b"aad", b"x", &mut sealed)
                .expect("seals");
            let by = opener.open(b"aad", &sealed, &mut out, 0).expect("opens");
            assert_eq!((by.stream, by.encoding), (stream, encoding));
            assert_eq!(by.counter, counter);
        }
    }
}

#[test]
fn what_does_not_fit_into_a_key_id_is_not_sealed() {
    let mut out = Vec::new();
    let mut sealer = sealer_in(&keys(1, 1));
    assert_eq!(
        sealer.seal(1, 16, b"", b"", &mut out),
        Err(SealError::OutOfRange)
    );
    let mut far = keys(1, 1);
    far.leaf = 4096;
    assert_eq!(
        sealer_in(&far).seal(1, 1, b"", b"", &mut out),
        // The same base key is the same epoch, but this sealer is a new one.
        Err(SealError::OutOfRange)
    );
    assert_eq!(
        sealer.seal(1, 1, b"", &vec![0; 4 << 20], &mut out),
        Err(SealError::TooLong)
    );
}

#[test]
fn a_leaf_can_make_256_keys_an_epoch_be_kept_and_no_more() {
    let mut sealer = sealer_in(&keys(1, 1));
    let mut opener = Opener::new(SUITE);
    opener.add_epoch(&keys(1, 1), 0);
    let (mut sealed, mut out) = (Vec::new(), Vec::new());
    for number in 0..300_u16 {
        let [high, low] = number.to_be_bytes();
        sealer
            .seal(low, high, b"", b"x", &mut sealed)
            .expect("seals");
        let opened = opener.open(b"", &sealed, &mut out, 0);
        match number < 256 {
            true => assert!(opened.is_ok(), "{number}"),
            false => assert_eq!(opened, Err(OpenError::Malformed), "{number}"),
        }
    }
    // Another leaf's streams are not touched by it.
    let mut other = keys(1, 1);
    other.leaf = 6;
    let frame = seal(&mut sealer_in(&other), b"x");
    assert!(open(&mut opener, &frame, 0).is_ok());
}

proptest! {
    #[test]
    fn key_ids_are_their_parts(stream: u8, encoding in 0_u8..16, leaf in 0_u32..4096, epoch: u8) {
        let kid = Kid { stream, encoding, leaf, epoch };
        prop_assert_eq!(Kid::from_u32(kid.to_u32()), kid);
    }

    #[test]
    fn no_changed_or_missing_byte_of_a_frame_is_overlooked(
        plain in prop::collection::vec(any::<u8>(), 0..80),
        at in 0_usize..1000,
        flip in 1_u8..=255,
        cut: bool,
    ) {
        let mut sealer = sealer_in(&keys(1, 1));
        let mut opener = Opener::new(SUITE);
        opener.add_epoch(&keys(1, 1), 0);
        let frame = seal(&mut sealer, &plain);
        let at = at % frame.len();
        let mut bad = frame.clone();
        if cut {
            bad.truncate(at);
        } else {
            bad[at] ^= flip;
        }
        prop_assert!(open(&mut opener, &bad, 0).is_err());
        prop_assert!(open(&mut opener, &frame, 0).is_ok());
    }

    #[test]
    fn no_bytes_make_opening_panic(bytes in prop::collection::vec(any::<u8>(), 0..120)) {
        let mut opener = Opener::new(SUITE);
        opener.add_epoch(&keys(1, 1), 0);
        prop_assert!(open(&mut opener, &bytes, 0).is_err());
    }
}
