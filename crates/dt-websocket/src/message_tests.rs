//! What is read, and what is refused.

use dt_frame::{Extension, Flags, FourCc, FrameType};
use proptest::prelude::*;

use super::*;

const ID: StreamId = StreamId::from_bytes([9; 16]);

fn stream_header() -> StreamHeader {
    StreamHeader {
        stream_id: ID,
        codec: FourCc::Vp8,
        encoding: Encoding::try_from(2).unwrap(),
        screen: false,
        group: 0x0001_0005,
    }
}

fn frame_header(payload_bytes: u32) -> FrameHeader {
    FrameHeader {
        frame_type: FrameType::VideoKey,
        stream_id: ID,
        timestamp_us: 1,
        sequence: 2,
        payload_bytes,
        flags: Flags::WHOLE,
        extension: Extension::video(Encoding::try_from(2).unwrap(), 0, 0, 5),
    }
}

fn read(kind: Kind, message: &[u8]) -> Result<Incoming, BadMessage> {
    parse(kind, &Limits::default(), Bytes::copy_from_slice(message))
}

#[test]
fn each_channel_is_read_as_it_is_written() {
    let control = on_channel(CONTROL, &[b"hello"]);
    assert_eq!(
        read(Kind::Media, &control),
        Ok(Incoming::Control(Bytes::from_static(b"hello")))
    );
    let datagram = on_channel(DATAGRAM, &[b"sound"]);
    assert_eq!(
        read(Kind::Media, &datagram),
        Ok(Incoming::Datagram(Bytes::from_static(b"sound")))
    );
    let layer = Layer {
        stream_id: ID,
        encoding: Encoding::try_from(2).unwrap(),
    };
    let header = stream_header().write();
    assert_eq!(
        read(Kind::Media, &on_channel(STREAM, &[&header])),
        Ok(Incoming::Stream {
            layer,
            group: 5,
            bytes: Bytes::copy_from_slice(&header),
        })
    );
    let frame = [&frame_header(3).write()[..], b"abc"].concat();
    assert_eq!(
        read(Kind::Media, &on_channel(FRAME, &[&frame])),
        Ok(Incoming::Frame {
            layer,
            group: 5,
            bytes: frame.into(),
        })
    );
}

#[test]
fn a_signaling_message_has_no_channel() {
    assert_eq!(
        read(Kind::Signaling, &[1, 2, 3]),
        Ok(Incoming::Control(Bytes::from_static(&[1, 2, 3])))
    );
}

#[test]
fn what_breaks_the_rules_is_refused() {
    let too_long = |bytes, limit| Err(BadMessage::TooLong { bytes, limit });
    assert_eq!(read(Kind::Media, &[]), Err(BadMessage::Empty));
    assert_eq!(read(Kind::Media, &[4, 0]), Err(BadMessage::Channel(4)));
    let rtt = on_channel(CONTROL, &[&[RTT_TAG; 65]]);
    assert_eq!(read(Kind::Media, &rtt), too_long(65, 64));
    assert_eq!(read(Kind::Signaling, &[RTT_TAG; 65]), too_long(65, 64));
    let long = vec![8; MESSAGE_BYTES_MAX + 1];
    assert_eq!(
        read(Kind::Signaling, &long),
        too_long(MESSAGE_BYTES_MAX + 1, MESSAGE_BYTES_MAX)
    );
    assert_eq!(
        read(Kind::Media, &on_channel(DATAGRAM, &[&[2; 1201]])),
        too_long(1201, 1200)
    );
    let header = stream_header().write();
    assert_eq!(
        read(Kind::Media, &on_channel(STREAM, &[&header, b"x"])),
        Err(BadMessage::StreamHeaderLength(33))
    );
    let short = [&frame_header(3).write()[..], b"ab"].concat();
    assert_eq!(
        read(Kind::Media, &on_channel(FRAME, &[&short])),
        Err(BadMessage::Header(HeaderError::PayloadLength {
            announced: 3,
            got: 2
        }))
    );
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(
        channel in 0u8..6,
        bytes in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let _ = read(Kind::Media, &bytes);
        let _ = read(Kind::Signaling, &bytes);
        let _ = read(Kind::Media, &on_channel(channel, &[&bytes]));
        let header = stream_header().write();
        let _ = read(Kind::Media, &on_channel(STREAM, &[&header[..bytes.len().min(32)], &bytes]));
    }
}
