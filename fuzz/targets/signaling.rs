//! Control streams and the messages on them, of clients and servers, for
//! signaling and for media: cut anywhere the same comes out, and a message that
//! is accepted is accepted again after it was written.
#![no_main]

use bytes::Bytes;
use dt_wire::{
    framing::{self, Decoder, Framed, RTT_BYTES_MAX},
    v1::{ClientMessage, MediaClientMessage, MediaServerMessage, ServerMessage},
};
use libfuzzer_sys::fuzz_target;
use prost::Message as _;

const LIMIT_BYTES: usize = 4096;

fn read<'a>(chunks: impl Iterator<Item = &'a [u8]>) -> (Vec<Bytes>, bool) {
    let mut decoder = Decoder::new(LIMIT_BYTES);
    let mut payloads = Vec::new();
    for chunk in chunks {
        decoder.push(chunk);
        loop {
            match decoder.next() {
                Ok(Some(Framed::Rtt(packet))) => {
                    assert!(packet.len() <= RTT_BYTES_MAX);
                    payloads.push(packet);
                }
                Ok(Some(Framed::Message(message))) => {
                    assert!(message.len() <= LIMIT_BYTES);
                    payloads.push(message);
                }
                Ok(None) => break,
                Err(_) => return (payloads, true),
            }
        }
    }
    (payloads, false)
}

macro_rules! again {
    ($kind:ty, $bytes:expr) => {
        if let Ok((mut message, body)) = <$kind>::read($bytes) {
            message.body = Some(body);
            let written = message.encode_to_vec();
            let again = <$kind>::decode(&written[..]).expect("what was written is read");
            // By their bytes: a NaN is not equal to itself.
            assert_eq!(again.encode_to_vec(), written);
        }
    };
}

fn message(bytes: &[u8]) {
    again!(ClientMessage, bytes);
    again!(ServerMessage, bytes);
    again!(MediaClientMessage, bytes);
    again!(MediaServerMessage, bytes);
}

fuzz_target!(|input: &[u8]| {
    let Some((&cut, bytes)) = input.split_first() else {
        return;
    };
    // Most inputs are no stream: what they hold is tried as one message, too.
    message(bytes);
    let whole = read(std::iter::once(bytes));
    let pieces = read(bytes.chunks(usize::from(cut).max(1)));
    assert_eq!(whole, pieces);
    let mut written = Vec::new();
    for payload in &whole.0 {
        message(payload);
        written.extend_from_slice(&framing::encode_bytes(payload));
    }
    assert!(bytes.starts_with(&written));
});
