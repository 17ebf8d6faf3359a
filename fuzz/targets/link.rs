//! A stream between two handlers, cut anywhere, and the messages of its control
//! stream: what is taken is written again and is the same.
#![no_main]

use bytes::Bytes;
use dt_frame::{GroupItem, LinkItem, LinkParser, LinkPrefix};
use dt_wire::internal::LinkMessage;
use libfuzzer_sys::fuzz_target;
use prost::Message as _;

const PAYLOAD_BYTES_MAX: usize = 4096;

/// The bytes of all whole items, and whether the stream was refused.
fn read(chunks: impl Iterator<Item = Bytes>) -> (Vec<u8>, bool) {
    let mut parser = LinkParser::new(PAYLOAD_BYTES_MAX);
    let mut written = Vec::new();
    for mut chunk in chunks {
        loop {
            match parser.next(&mut chunk) {
                Ok(Some(LinkItem::Prefix(prefix))) => {
                    assert!(written.is_empty());
                    assert_eq!(LinkPrefix::parse(&prefix.write()), Ok(prefix));
                    written.extend(prefix.write());
                }
                Ok(Some(LinkItem::Group(GroupItem::Header(header)))) => {
                    written.extend(header.write());
                }
                Ok(Some(LinkItem::Group(GroupItem::Frame(header, payload)))) => {
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
    if let Ok(body) = LinkMessage::read(bytes) {
        let written = LinkMessage::new(body).encode_to_vec();
        let again = LinkMessage::decode(&written[..]).expect("what was written is read");
        assert_eq!(again.encode_to_vec(), written);
    }
    let whole = read(std::iter::once(Bytes::copy_from_slice(bytes)));
    let pieces = read(
        bytes
            .chunks(usize::from(cut).max(1))
            .map(Bytes::copy_from_slice),
    );
    assert_eq!(whole, pieces);
    assert!(bytes.starts_with(&whole.0));
});
