//! What holds for every header and for any bytes.

#![allow(clippy::unwrap_used)] // a panic is how a test fails

use bytes::Bytes;
use dt_frame::{
    DATAGRAM_HEADER_BYTES, DatagramHeader, Extension, Flags, FourCc, FrameHeader, FrameType,
    HeaderError, PAYLOAD_BYTES_MAX, SlotLabel, StreamHeader,
};
use dt_ids::{Encoding, Slot, StreamId, UserId};
use proptest::prelude::*;

fn frame_type() -> impl Strategy<Value = FrameType> {
    prop_oneof![
        Just(FrameType::Audio),
        Just(FrameType::VideoKey),
        Just(FrameType::VideoDelta)
    ]
}

fn flags() -> impl Strategy<Value = Flags> {
    any::<[bool; 3]>().prop_map(|[end, discardable, start]| Flags {
        end,
        discardable,
        start,
    })
}

fn extension() -> impl Strategy<Value = Extension> {
    any::<[u8; 6]>().prop_map(Extension::parse)
}

prop_compose! {
    fn stream_header()(
        id: [u8; 16],
        codec in prop::sample::select(&FourCc::ALL[..]),
        encoding in 0u32..16,
        screen: bool,
        group: u32,
    ) -> StreamHeader {
        let encoding = Encoding::try_from(encoding).unwrap();
        StreamHeader { stream_id: StreamId::from_bytes(id), codec, encoding, screen, group }
    }
}

prop_compose! {
    fn frame_header()(
        frame_type in frame_type(),
        id: [u8; 16],
        timestamp_us: u64,
        sequence: u64,
        payload_bytes in 0..=PAYLOAD_BYTES_MAX as u32,
        flags in flags(),
        extension in extension(),
    ) -> FrameHeader {
        let stream_id = StreamId::from_bytes(id);
        FrameHeader { frame_type, stream_id, timestamp_us, sequence, payload_bytes, flags, extension }
    }
}

prop_compose! {
    fn datagram_header()(
        frame_type in frame_type(),
        user: u64,
        stream: u32,
        timestamp_us: u64,
        sequence: u64,
        payload_bytes in 0..=PAYLOAD_BYTES_MAX as u32,
        flags in flags(),
        extension in extension(),
    ) -> DatagramHeader {
        let user_id = UserId(user);
        DatagramHeader {
            frame_type, user_id, stream, timestamp_us, sequence, payload_bytes, flags, extension,
        }
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(
        stream in stream_header(),
        frame in frame_header(),
        datagram in datagram_header(),
    ) {
        prop_assert_eq!(StreamHeader::parse(&stream.write()), Ok(stream));
        prop_assert_eq!(FrameHeader::parse(&frame.write()), Ok(frame));
        prop_assert_eq!(DatagramHeader::parse(&datagram.write()), Ok(datagram));
    }

    #[test]
    fn any_bytes_are_refused_or_written_back_unchanged(
        mut bytes in prop::collection::vec(any::<u8>(), 0..64),
        prefix in 0usize..4,
    ) {
        let begin: &[u8] = [&b""[..], b"DART\x01\x01", b"\x01\x00", b"\x02\x01"][prefix];
        let shared = begin.len().min(bytes.len());
        bytes[..shared].copy_from_slice(&begin[..shared]);
        if let Ok(header) = StreamHeader::parse(&bytes) {
            prop_assert_eq!(&header.write()[..], &bytes[..32]);
        }
        if let Ok(header) = FrameHeader::parse(&bytes) {
            prop_assert_eq!(&header.write()[..], &bytes[..46]);
        }
        if let Ok(header) = DatagramHeader::parse(&bytes) {
            prop_assert_eq!(&header.write()[..], &bytes[..42]);
        }
        let _ = DatagramHeader::split(Bytes::from(bytes));
    }

    #[test]
    fn a_handler_changes_bytes_10_to_13_and_no_others(
        header in datagram_header(),
        generation: u32,
        slot in 1u32..(1 << 24),
    ) {
        let label = SlotLabel::new(generation, Slot::try_from(slot).unwrap());
        let before = header.write();
        let mut after = before;
        DatagramHeader::rewrite_slot(&mut after, label);
        prop_assert_eq!(&before[..10], &after[..10]);
        prop_assert_eq!(&before[14..], &after[14..]);
        let read = DatagramHeader::parse(&after).unwrap();
        prop_assert_eq!(read.label(), Some(label));
    }

    #[test]
    fn a_payload_of_another_length_is_refused(
        mut header in datagram_header(),
        announced in 0u32..100,
        got in 0usize..100,
    ) {
        header.payload_bytes = announced;
        let mut datagram = header.write().to_vec();
        datagram.resize(DATAGRAM_HEADER_BYTES + got, 0);
        let split = DatagramHeader::split(datagram.into());
        if got == announced as usize {
            prop_assert_eq!(split.map(|(h, p)| (h, p.len())), Ok((header, got)));
        } else {
            prop_assert_eq!(split, Err(HeaderError::PayloadLength { announced, got }));
        }
    }
}
