//! What passes [`Frames`](super::Frames), however the bytes are cut.

use proptest::prelude::*;

use super::*;

fn room() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(HELD_BYTES_MAX))
}

fn varint(value: u64) -> Vec<u8> {
    match value {
        0..=0x3f => vec![value as u8],
        0x40..=0x3fff => (0x4000 | value as u16).to_be_bytes().to_vec(),
        0x4000..=0x3fff_ffff => (0x8000_0000 | value as u32).to_be_bytes().to_vec(),
        _ => (0xc000_0000_0000_0000 | value).to_be_bytes().to_vec(),
    }
}

fn frame(kind: u64, payload: &[u8]) -> Vec<u8> {
    [varint(kind), varint(payload.len() as u64), payload.to_vec()].concat()
}

/// All that passes, and whether it was refused in the end.
fn passed(mut frames: Frames, bytes: &[u8], piece: usize) -> (Vec<Bytes>, Result<(), Excessive>) {
    let mut all = Vec::new();
    for piece in bytes.chunks(piece) {
        frames.handle_bytes(Bytes::copy_from_slice(piece));
        loop {
            match frames.next() {
                Ok(Some(bytes)) => all.push(bytes),
                Ok(None) => break,
                Err(error) => return (all, Err(error)),
            }
        }
    }
    all.extend(frames.end());
    (all, Ok(()))
}

#[test]
fn a_frame_that_is_not_data_passes_in_one_piece_however_it_came() {
    let headers = frame(1, &[7; 300]);
    let (pieces, end) = passed(Frames::of_request(room()), &headers, 1);
    assert_eq!((pieces, end), (vec![Bytes::from(headers)], Ok(())));
}

#[test]
fn a_frame_that_names_too_great_a_length_is_refused_before_it_comes() {
    for length in [u64::from(FRAME_BYTES_MAX) + 1, (1 << 62) - 1] {
        let header = [varint(1), varint(length)].concat();
        assert_eq!(
            passed(Frames::of_request(room()), &header, 3).1,
            Err(Excessive)
        );
    }
    let most = frame(1, &vec![0; FRAME_BYTES_MAX as usize]);
    assert_eq!(passed(Frames::of_request(room()), &most, 999).1, Ok(()));
}

#[test]
fn the_incomplete_frames_of_a_connection_share_their_room_and_give_it_back() {
    let room = room();
    let half = [varint(1), varint(u64::from(FRAME_BYTES_MAX)), vec![0; 9]].concat();
    let mut streams = Vec::new();
    for _ in 0..HELD_BYTES_MAX / FRAME_BYTES_MAX as usize {
        let mut frames = Frames::of_request(Arc::clone(&room));
        frames.handle_bytes(Bytes::from(half.clone()));
        assert_eq!(frames.next(), Ok(None));
        streams.push(frames);
    }
    let one_more = passed(Frames::of_request(Arc::clone(&room)), &half, 99);
    assert_eq!(one_more.1, Err(Excessive));
    streams.pop();
    assert_eq!(passed(Frames::of_request(room), &half, 99).1, Ok(()));
}

#[test]
fn empty_data_and_unknown_frames_do_not_pass() {
    let bytes = [
        frame(0, b""),
        frame(0x21, b"grease"),
        frame(0, b"body"),
        frame(0x41, &[0; 70_000]),
        frame(0, b""),
    ]
    .concat();
    let (pieces, end) = passed(Frames::of_request(room()), &bytes, 1000);
    assert_eq!((pieces.concat(), end), (frame(0, b"body"), Ok(())));
}

#[test]
fn a_frame_that_was_cut_off_is_shown_as_such() {
    let whole = frame(1, b"fields");
    let (pieces, _) = passed(Frames::of_request(room()), &whole[..4], 4);
    assert_eq!(pieces.concat(), &whole[..4]);
}

#[test]
fn of_one_way_streams_only_the_control_stream_has_frames() {
    let control = [varint(0), frame(4, b"\x06\x10"), frame(0xf0700, b"u=1")].concat();
    let (pieces, end) = passed(Frames::of_one_way(room()), &control, 2);
    assert_eq!(
        (pieces.concat(), end),
        ([varint(0), frame(4, b"\x06\x10")].concat(), Ok(()))
    );
    let qpack = [varint(2), vec![0xff; 50]].concat();
    let (pieces, end) = passed(Frames::of_one_way(room()), &qpack, 7);
    assert_eq!((pieces.concat(), end), (qpack, Ok(())));
}

proptest! {
    #[test]
    fn the_same_passes_however_the_bytes_are_cut(
        frames in prop::collection::vec(
            (prop_oneof![0..16_u64, Just(0x21), Just(1 << 40)], prop::collection::vec(any::<u8>(), 0..80)),
            0..20,
        ),
        piece in 1..50_usize,
    ) {
        let bytes: Vec<u8> = frames.iter().flat_map(|(kind, payload)| frame(*kind, payload)).collect();
        let expected: Vec<u8> = frames
            .iter()
            .filter(|(kind, payload)| KNOWN.contains(kind) || *kind == DATA && !payload.is_empty())
            .flat_map(|(kind, payload)| frame(*kind, payload))
            .collect();
        let (pieces, end) = passed(Frames::of_request(room()), &bytes, piece);
        prop_assert_eq!(end, Ok(()));
        prop_assert_eq!(pieces.concat(), expected);
    }

    #[test]
    fn any_bytes_are_passed_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300), piece in 1..20_usize) {
        let room = room();
        let (pieces, _) = passed(Frames::of_request(Arc::clone(&room)), &bytes, piece);
        prop_assert!(pieces.concat().len() <= bytes.len());
        prop_assert_eq!(room.available_permits(), HELD_BYTES_MAX);
        let (pieces, _) = passed(Frames::of_one_way(room), &bytes, piece);
        prop_assert!(pieces.concat().len() <= bytes.len());
    }
}
