//! Our own reader of the stream that a session was asked for on, by its source:
//! the crate shows it to nobody.
#![no_main]

#[path = "../../crates/dt-transport/src/webtransport/capsules.rs"]
mod capsules;

use futures::FutureExt as _;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    // Bytes in memory never make it wait.
    let read = capsules::until_close(bytes).now_or_never();
    if let Some(Ok(Some((_, reason)))) = read {
        assert!(reason.len() <= 1024);
    }
});
