//! The message layer of the transport crate: datagrams, stream headers, trailers
//! and framed messages.
#![no_main]

use bytes::{Bytes, BytesMut};
use dt_transport::messages::wire::{
    FrameDecoder, parse_datagram, parse_header, parse_trailer, write_datagram, write_frame_prefix,
    write_header, write_trailer,
};
use libfuzzer_sys::fuzz_target;

const MESSAGE_BYTES_MAX: u32 = 4096;

fn read(chunks: impl Iterator<Item = Bytes>) -> (Vec<Bytes>, bool) {
    let mut decoder = FrameDecoder::new(MESSAGE_BYTES_MAX);
    let mut messages = Vec::new();
    for chunk in chunks {
        decoder.push(chunk);
        loop {
            match decoder.next_message() {
                Ok(Some(message)) => {
                    assert!(message.len() <= MESSAGE_BYTES_MAX as usize);
                    messages.push(message);
                }
                Ok(None) => break,
                Err(_) => return (messages, true),
            }
        }
    }
    (messages, false)
}

fuzz_target!(|input: &[u8]| {
    let Some((&what, bytes)) = input.split_first() else {
        return;
    };
    match what % 4 {
        0 => {
            let datagram = Bytes::copy_from_slice(bytes);
            if let Ok(read) = parse_datagram(&datagram) {
                let written = write_datagram(bytes[0], &read);
                assert_eq!(parse_datagram(&written).as_ref(), Ok(&read));
            }
        }
        1 => {
            if let Ok(header) = parse_header(bytes) {
                assert_eq!(write_header(&header)[..], *bytes);
            }
        }
        2 => {
            if let Ok(chunks) = parse_trailer(bytes) {
                assert_eq!(write_trailer(chunks)[..], *bytes);
            }
        }
        _ => {
            let Some((&cut, bytes)) = bytes.split_first() else {
                return;
            };
            let whole = read(std::iter::once(Bytes::copy_from_slice(bytes)));
            let cut = usize::from(cut).max(1);
            let pieces = read(bytes.chunks(cut).map(Bytes::copy_from_slice));
            assert_eq!(whole, pieces);
            let mut written = BytesMut::new();
            for message in &whole.0 {
                write_frame_prefix(&mut written, message.len());
                written.extend_from_slice(message);
            }
            let again = read(std::iter::once(written.freeze()));
            assert_eq!(again, (whole.0, false));
        }
    }
});
