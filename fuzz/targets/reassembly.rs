//! Fragments in any order, lost, doubled and forged: memory stays within its
//! bound, and a frame that nobody forged comes back as it was.
//!
//! The input is a list of actions of one byte each and what they need.
#![no_main]

use std::time::{Duration, Instant};

use bytes::Bytes;
use dt_frame::{
    DatagramHeader, Extension, Fragmenter, FrameType, Limits, OutgoingFrame, Reassembler,
};
use dt_ids::{StreamNumber, UserId};
use libfuzzer_sys::fuzz_target;

const BYTES_MAX: usize = 64 << 10;
const FRAMES: u64 = 8;

fn frame(number: u64) -> OutgoingFrame {
    OutgoingFrame {
        frame_type: FrameType::VideoDelta,
        timestamp_us: 1 + number,
        discardable: false,
        extension: Extension::parse([0, number as u8, 0, 0, 0, 1]),
        payload: Bytes::from(vec![number as u8; (number as usize * 331) % 3000]),
    }
}

fuzz_target!(|input: &[u8]| {
    let limits = Limits {
        frames_max: 4,
        bytes_max: BYTES_MAX,
        age_max: Duration::from_millis(500),
    };
    let Ok(stream) = StreamNumber::try_from(1) else {
        return;
    };
    let mut fragmenter = Fragmenter::starting_at(UserId(7), stream, u64::MAX - 5);
    let honest: Vec<_> = (0..FRAMES)
        .filter_map(|number| fragmenter.cut(&frame(number), 300).ok())
        .flatten()
        .collect();
    let mut reassembler = Reassembler::new(limits);
    let mut now = Instant::now();
    let mut forged = false;
    let mut rest = input;
    while let Some((&action, more)) = rest.split_first() {
        rest = more;
        let whole = match action {
            0..=199 => {
                let datagram = &honest[usize::from(action) % honest.len()];
                reassembler.push(&datagram.header, datagram.payload.clone(), now)
            }
            200..=219 => {
                now += Duration::from_millis(u64::from(action - 199) * 20);
                reassembler.expire(now);
                None
            }
            _ => {
                let length = (usize::from(action - 219) * 8).min(rest.len());
                let (bytes, more) = rest.split_at(length);
                rest = more;
                let Ok((header, payload)) = DatagramHeader::split(Bytes::copy_from_slice(bytes))
                else {
                    continue;
                };
                forged = true;
                reassembler.push(&header, payload, now)
            }
        };
        assert!(reassembler.pending_bytes() <= BYTES_MAX);
        if let Some(whole) = whole
            && !forged
        {
            let sent = frame(whole.timestamp_us - 1);
            assert_eq!(whole.payload, sent.payload);
            assert_eq!(whole.frame_type, sent.frame_type);
        }
    }
});
