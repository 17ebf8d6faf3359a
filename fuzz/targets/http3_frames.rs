//! What is let through to the HTTP/3 library of the API, by its source: the crate
//! shows it to nobody.
#![no_main]

#[path = "../../crates/dt-service/src/http/http3/frames.rs"]
mod frames;

use std::sync::Arc;

use bytes::Bytes;
use frames::{Frames, HELD_BYTES_MAX};
use libfuzzer_sys::fuzz_target;
use tokio::sync::Semaphore;

fn pass(mut frames: Frames, chunks: impl Iterator<Item = Bytes>) -> (Vec<u8>, bool) {
    let mut passed = Vec::new();
    for chunk in chunks {
        frames.handle_bytes(chunk);
        loop {
            match frames.next() {
                Ok(Some(bytes)) => {
                    assert!(!bytes.is_empty());
                    passed.extend_from_slice(&bytes);
                }
                Ok(None) => break,
                Err(_) => return (passed, true),
            }
        }
    }
    passed.extend_from_slice(&frames.end().unwrap_or_default());
    (passed, false)
}

fuzz_target!(|input: &[u8]| {
    let [what, cut, bytes @ ..] = input else {
        return;
    };
    let room = Arc::new(Semaphore::new(HELD_BYTES_MAX));
    let begin = || match what % 2 {
        0 => Frames::of_request(Arc::clone(&room)),
        _ => Frames::of_one_way(Arc::clone(&room)),
    };
    let whole = pass(begin(), std::iter::once(Bytes::copy_from_slice(bytes)));
    let cut = usize::from(*cut).max(1);
    let pieces = pass(begin(), bytes.chunks(cut).map(Bytes::copy_from_slice));
    assert_eq!(whole, pieces);
    assert!(whole.0.len() <= bytes.len());
    assert_eq!(room.available_permits(), HELD_BYTES_MAX);
});
