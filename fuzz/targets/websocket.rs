//! Binary messages of a WebSocket session, of both kinds.
#![no_main]

use bytes::Bytes;
use dt_websocket::{Incoming, Kind, Limits, parse};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let limits = Limits::default();
    let message = Bytes::copy_from_slice(bytes);
    if let Ok(incoming) = parse(Kind::Signaling, &limits, message.clone()) {
        assert_eq!(incoming, Incoming::Control(message.clone()));
    }
    // What passes stands in the message behind the byte of its channel.
    let Ok(incoming) = parse(Kind::Media, &limits, message) else {
        return;
    };
    let (channel, body) = match incoming {
        Incoming::Control(body) => (0, body),
        Incoming::Stream { bytes, .. } => (1, bytes),
        Incoming::Frame { bytes, .. } => (2, bytes),
        Incoming::Datagram(body) => {
            assert!(body.len() <= limits.datagram_bytes_max);
            (3, body)
        }
    };
    assert_eq!([&[channel][..], &body].concat(), bytes);
});
