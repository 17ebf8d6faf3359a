//! The four formats of media headers: what is accepted is written again as the
//! very bytes that were read.
#![no_main]

use bytes::Bytes;
use dt_frame::{DatagramHeader, FrameHeader, SlotLabel, StreamHeader};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(header) = StreamHeader::parse(bytes) {
        assert_eq!(header.write()[..], bytes[..header.write().len()]);
    }
    if let Ok(header) = FrameHeader::parse(bytes) {
        assert_eq!(header.write()[..], bytes[..header.write().len()]);
    }
    if let Ok(header) = DatagramHeader::parse(bytes) {
        assert_eq!(header.write()[..], bytes[..header.write().len()]);
    }
    if let Ok((header, payload)) = DatagramHeader::split(Bytes::copy_from_slice(bytes)) {
        assert_eq!([&header.write()[..], &payload].concat(), bytes);
        if let Some(label) = header.label() {
            // A handler changes its four bytes and no others.
            let mut rewritten = bytes.to_vec();
            DatagramHeader::rewrite_slot(&mut rewritten, label);
            assert_eq!(rewritten, bytes);
            assert_eq!(SlotLabel::from_bits(label.to_bits()), Some(label));
        }
    }
});
