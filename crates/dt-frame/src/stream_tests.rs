//! Tests of the stream carrier's parser.

use dt_ids::{Encoding, StreamId};
use proptest::prelude::*;

use super::*;
use crate::{Extension, Flags, FourCc, FrameType, PAYLOAD_BYTES_MAX};

const STREAM: StreamHeader = StreamHeader {
    stream_id: StreamId::from_bytes([9; 16]),
    codec: FourCc::Vp8,
    encoding: Encoding::MIN,
    screen: false,
    group: 3,
};

fn frame(sequence: u64, payload_bytes: usize) -> FrameHeader {
    FrameHeader {
        frame_type: FrameType::VideoDelta,
        stream_id: STREAM.stream_id,
        timestamp_us: sequence * 33_333,
        sequence,
        payload_bytes: u32::try_from(payload_bytes).unwrap(),
        flags: Flags::WHOLE,
        extension: Extension::video(Encoding::MIN, 0, 0, 3),
    }
}

fn parse(parser: &mut GroupParser, mut chunk: Bytes) -> Result<Vec<GroupItem>, HeaderError> {
    let mut items = Vec::new();
    while let Some(item) = parser.next(&mut chunk)? {
        items.push(item);
    }
    assert!(chunk.is_empty(), "`None` means that the chunk is used up");
    Ok(items)
}

fn after_header() -> GroupParser {
    let mut parser = GroupParser::new(PAYLOAD_BYTES_MAX);
    parse(&mut parser, Bytes::copy_from_slice(&STREAM.write())).unwrap();
    parser
}

#[test]
fn a_length_without_bytes_behind_it_costs_little() {
    let mut parser = after_header();
    let header = frame(0, PAYLOAD_BYTES_MAX).write();
    assert_eq!(
        parse(&mut parser, Bytes::copy_from_slice(&header)),
        Ok(vec![])
    );
    let (_, payload) = parser.frame.as_ref().unwrap();
    assert!(payload.capacity() <= PAYLOAD_BYTES_AHEAD);
    assert!(!parser.may_end());
}

#[test]
fn a_payload_above_the_limit_is_refused_before_it_arrives() {
    let mut parser = GroupParser::new(100);
    parse(&mut parser, Bytes::copy_from_slice(&STREAM.write())).unwrap();
    assert_eq!(
        parse(&mut parser, Bytes::copy_from_slice(&frame(0, 101).write())),
        Err(HeaderError::PayloadTooLong(101))
    );
}

#[test]
fn a_frame_of_another_stream_encoding_or_kind_is_refused() {
    let mut foreign = frame(0, 0);
    foreign.stream_id = StreamId::from_bytes([8; 16]);
    let mut layer = frame(0, 0);
    layer.extension.encoding = Encoding::MAX;
    let mut audio = frame(0, 0);
    audio.frame_type = FrameType::Audio;
    for (header, error) in [
        (foreign, HeaderError::ForeignFrame),
        (layer, HeaderError::ForeignFrame),
        (audio, HeaderError::KindMismatch),
    ] {
        let bytes = Bytes::copy_from_slice(&header.write());
        assert_eq!(parse(&mut after_header(), bytes), Err(error));
    }
}

#[test]
fn a_payload_that_lies_whole_in_a_chunk_is_not_copied() {
    let mut bytes = frame(0, 50).write().to_vec();
    bytes.extend([1; 50]);
    let chunk = Bytes::from(bytes);
    let items = parse(&mut after_header(), chunk.clone()).unwrap();
    let [GroupItem::Frame(_, payload)] = &items[..] else {
        panic!("one frame is expected");
    };
    assert_eq!(payload.as_ptr(), chunk[FRAME_HEADER_BYTES..].as_ptr());
}

proptest! {
    #[test]
    fn frames_come_out_whole_however_the_stream_is_cut(
        sizes in prop::collection::vec(0usize..400, 0..12),
        cut in 1usize..500,
    ) {
        let mut bytes = STREAM.write().to_vec();
        let mut expected = vec![GroupItem::Header(STREAM)];
        for (sequence, size) in (0u64..).zip(sizes) {
            let payload = vec![u8::try_from(sequence).unwrap(); size];
            bytes.extend(frame(sequence, size).write());
            bytes.extend(&payload);
            expected.push(GroupItem::Frame(frame(sequence, size), payload.into()));
        }
        let mut parser = GroupParser::new(PAYLOAD_BYTES_MAX);
        let mut items = Vec::new();
        for piece in bytes.chunks(cut) {
            items.extend(parse(&mut parser, Bytes::copy_from_slice(piece)).unwrap());
        }
        prop_assert_eq!(items, expected);
        prop_assert!(parser.may_end());
    }

    #[test]
    fn any_bytes_are_read_or_refused(
        pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..80), 0..10),
        begun: bool,
    ) {
        let mut parser = if begun { after_header() } else { GroupParser::new(1000) };
        for piece in pieces {
            if parse(&mut parser, piece.into()).is_err() {
                break;
            }
        }
    }
}
