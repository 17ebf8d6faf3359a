//! A stream of the stream carrier, cut anywhere: the items are the same, and
//! written one behind the other they are the bytes that were taken.
#![no_main]

use bytes::Bytes;
use dt_frame::{GroupItem, GroupParser};
use libfuzzer_sys::fuzz_target;

const PAYLOAD_BYTES_MAX: usize = 4096;

/// The bytes of all whole items, and whether the stream was refused.
fn read(chunks: impl Iterator<Item = Bytes>) -> (Vec<u8>, bool) {
    let mut parser = GroupParser::new(PAYLOAD_BYTES_MAX);
    let mut written = Vec::new();
    for mut chunk in chunks {
        loop {
            match parser.next(&mut chunk) {
                Ok(Some(GroupItem::Header(header))) => written.extend(header.write()),
                Ok(Some(GroupItem::Frame(header, payload))) => {
                    assert_eq!(header.payload_bytes as usize, payload.len());
                    assert!(payload.len() <= PAYLOAD_BYTES_MAX);
                    written.extend(header.write());
                    written.extend_from_slice(&payload);
                }
                Ok(None) => break,
                Err(_) => return (written, true),
            }
        }
    }
    (written, false)
}

fuzz_target!(|input: &[u8]| {
    let Some((&cut, bytes)) = input.split_first() else {
        return;
    };
    let cut = usize::from(cut).max(1);
    let whole = read(std::iter::once(Bytes::copy_from_slice(bytes)));
    let pieces = read(bytes.chunks(cut).map(Bytes::copy_from_slice));
    assert_eq!(whole, pieces);
    assert!(bytes.starts_with(&whole.0));
});
