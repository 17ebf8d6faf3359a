//! Facts about the formats.

#![allow(clippy::unwrap_used)] // a test that cannot go on fails

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use rand::{RngExt, SeedableRng, rngs::StdRng};

use super::*;
use crate::messages::{Ordering, Reliability, StreamConfig};

fn varint(value: u64) -> Vec<u8> {
    let mut out = Vec::new();
    put_varint(&mut out, value);
    out
}

#[test]
fn varints_are_those_of_rfc_9000() {
    // Examples of its appendix A.1.
    for (value, bytes) in [
        (151_288_809_941_952_652, "c2197c5eff14e88c"),
        (494_878_333, "9d7f3e7d"),
        (15_293, "7bbd"),
        (37, "25"),
    ] {
        let hex: String = varint(value)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        assert_eq!(hex, bytes);
        assert_eq!(Reader::new(&varint(value)).varint(), Ok(value));
        assert_eq!(varint(value).len(), varint_bytes(value));
    }
    assert_eq!(Reader::new(&[0x40]).varint(), Err(WireError::Truncated));
}

#[test]
fn headers_read_as_they_were_written() {
    for reliability in [
        Reliability::Reliable,
        Reliability::Unreliable,
        Reliability::Deadline(Duration::from_millis(200)),
        Reliability::Retransmissions(3),
    ] {
        for ordering in [Ordering::Ordered, Ordering::Unordered] {
            let header = Header {
                id: 70_000,
                config: StreamConfig {
                    reliability,
                    ordering,
                    priority: -5,
                    max_message_bytes: 1 << 20,
                },
            };
            let bytes = write_header(&header);
            assert_eq!(parse_header(&bytes), Ok(header));
            for cut in 0..HEADER_BYTES {
                assert_eq!(parse_header(&bytes[..cut]), Err(WireError::Truncated));
            }
        }
    }
    let good = write_header(&Header {
        id: 0,
        config: StreamConfig::default(),
    });
    let spoilt = |place: usize, value| {
        let mut bytes = good;
        bytes[place] = value;
        parse_header(&bytes)
    };
    assert_eq!(spoilt(0, b'D'), Err(WireError::NotMessages(b'D')));
    assert_eq!(spoilt(1, 2), Err(WireError::UnknownVersion(2)));
    assert_eq!(spoilt(2, 4), Err(WireError::UnknownReliability(4)));
    assert_eq!(spoilt(3, 2), Err(WireError::Reserved));
    assert_eq!(spoilt(19, 1), Err(WireError::Reserved));
}

fn random_datagram(rng: &mut StdRng) -> Datagram {
    let small = |rng: &mut StdRng| rng.random::<u64>() >> rng.random_range(2..64);
    let body = match rng.random_range(0..4) {
        0 => {
            let count = rng.random_range(1..5);
            let index = rng.random_range(0..count);
            let chunk = small(rng) / 2 + u64::from(index);
            Body::Data(Data {
                chunk,
                fragment: Fragment { index, count },
                attempt: rng.random_range(0..4),
                age: Duration::from_millis(rng.random_range(0..3) * 100),
                floor: rng.random::<bool>().then(|| rng.random_range(0..=chunk)),
                payload: vec![1; rng.random_range(1..50)].into(),
            })
        }
        1 => {
            let cumulative = small(rng) / 4;
            let mut ranges = Vec::new();
            let mut from = cumulative;
            for _ in 0..rng.random_range(0..=ACK_RANGES_MAX) {
                let start = from + rng.random_range(1..300);
                from = start + rng.random_range(1..300);
                ranges.push(start..from);
            }
            Body::Ack(Ack {
                cumulative,
                newest: small(rng) / 4,
                attempt: rng.random_range(0..4),
                delay: Duration::from_micros(256) * rng.random_range(0..1000),
                duplicates: small(rng),
                ranges,
            })
        }
        2 => Body::Forward { floor: small(rng) },
        _ => Body::Stop { code: rng.random() },
    };
    Datagram {
        id: rng.random(),
        by_opener: rng.random(),
        body,
    }
}

#[test]
fn datagrams_read_as_they_were_written_and_cut_or_spoilt_ones_harm_nobody() {
    let mut rng = StdRng::seed_from_u64(1);
    for _ in 0..20_000 {
        let datagram = random_datagram(&mut rng);
        let bytes = write_datagram(0x04, &datagram);
        assert_eq!(bytes[0], 0x04);
        if let Body::Data(data) = &datagram.body {
            assert!(bytes.len() - data.payload.len() <= DATA_OVERHEAD_BYTES_MAX);
        }
        assert_eq!(parse_datagram(&bytes).as_ref(), Ok(&datagram));
        // Whatever these say, they say it without a panic and without much memory.
        let cut = bytes.slice(..rng.random_range(0..bytes.len()));
        let _ = parse_datagram(&cut);
        let mut spoilt = bytes.to_vec();
        for _ in 0..3 {
            let place = rng.random_range(0..spoilt.len());
            spoilt[place] = rng.random();
        }
        if let Ok(Datagram {
            body: Body::Ack(ack),
            ..
        }) = parse_datagram(&spoilt.into())
        {
            assert!(ack.ranges.len() <= ACK_RANGES_MAX);
        }
    }
}

#[test]
fn an_acknowledgement_of_two_losses_takes_less_than_twenty_bytes() {
    let ack = Ack {
        cumulative: 100_000,
        newest: 100_040,
        attempt: 0,
        delay: Duration::from_millis(9),
        duplicates: 3,
        ranges: vec![100_001..100_020, 100_021..100_041],
    };
    let datagram = Datagram {
        id: 3,
        by_opener: false,
        body: Body::Ack(ack),
    };
    assert!(write_datagram(4, &datagram).len() < 20);
}

#[test]
fn messages_come_out_of_a_stream_whole_however_it_is_cut() {
    for seed in 0..300 {
        let mut rng = StdRng::seed_from_u64(seed);
        let messages: Vec<Vec<u8>> = (0..rng.random_range(1..30))
            .map(|number| vec![number; rng.random_range(0..300)])
            .collect();
        let mut stream = BytesMut::new();
        for message in &messages {
            write_frame_prefix(&mut stream, message.len());
            stream.extend_from_slice(message);
        }
        let mut stream = stream.freeze();
        let mut decoder = FrameDecoder::new(300);
        let mut seen = Vec::new();
        while !stream.is_empty() {
            let cut = rng.random_range(1..=stream.len().min(200));
            decoder.push(stream.split_to(cut));
            while let Some(message) = decoder.next_message().unwrap() {
                seen.push(message.to_vec());
            }
        }
        assert_eq!(seen, messages, "seed {seed}");
        assert!(decoder.is_between_messages());
    }
}

#[test]
fn a_message_above_the_limit_is_refused_by_its_length_alone() {
    let mut decoder = FrameDecoder::new(1000);
    let mut prefix = BytesMut::new();
    write_frame_prefix(&mut prefix, 1001);
    decoder.push(prefix.freeze());
    assert_eq!(
        decoder.next_message(),
        Err(WireError::MessageTooLarge {
            bytes: 1001,
            limit: 1000
        })
    );
    let mut decoder = FrameDecoder::new(1000);
    let mut prefix = BytesMut::new();
    write_frame_prefix(&mut prefix, 1000);
    decoder.push(prefix.freeze());
    assert_eq!(decoder.next_message(), Ok(None));
    assert!(!decoder.is_between_messages());
    decoder.push(Bytes::from(vec![0; 1000]));
    assert_eq!(decoder.next_message().unwrap().unwrap().len(), 1000);
}
