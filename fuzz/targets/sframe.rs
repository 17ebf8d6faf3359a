//! Sealed frames: any bytes, and good ones that were changed on their way.
#![no_main]

use dt_e2ee::{EpochKeys, Kid, Opener, Sealer, Suite, frame_aad};
use libfuzzer_sys::fuzz_target;
use zeroize::Zeroizing;

const PLAIN: &[u8] = b"a frame that somebody encoded";

fn keys(epoch: u64) -> EpochKeys {
    EpochKeys {
        epoch,
        leaf: 3,
        base_key: Zeroizing::new(vec![epoch as u8; 16]),
        authenticator: vec![1; 32],
    }
}

fuzz_target!(|input: &[u8]| {
    let Some((&what, bytes)) = input.split_first() else {
        return;
    };
    let aad = frame_aad(1, &[9; 16], 0, 42, false);
    let mut opener = Opener::new(Suite::Aes128Gcm);
    opener.add_epoch(&keys(1), 0);
    opener.add_epoch(&keys(257), 1);
    let mut out = Vec::new();
    if what == 0 {
        match opener.open(&aad, bytes, &mut out, 2) {
            // The fuzzer sees comparisons, so it learns what was sealed below.
            Ok(_) => assert_eq!(out, PLAIN),
            Err(_) => assert!(out.is_empty()),
        }
        if let Some(number) = bytes.first_chunk() {
            let number = u32::from_be_bytes(*number);
            assert_eq!(Kid::from_u32(number).to_u32(), number);
        }
        return;
    }
    let mut sealer = Sealer::new(Suite::Aes128Gcm);
    sealer.set_epoch(&keys(257));
    let mut sealed = Vec::new();
    for _ in 0..=what % 4 {
        sealed.clear();
        if sealer.seal(5, 1, &aad, PLAIN, &mut sealed).is_err() {
            return;
        }
    }
    let mut changed = sealed.clone();
    for change in bytes.chunks_exact(2) {
        let place = usize::from(change[0]) % changed.len();
        changed[place] ^= change[1];
    }
    let opened = opener.open(&aad, &changed, &mut out, 2);
    assert_eq!(opened.is_ok(), changed == sealed);
    if opened.is_ok() {
        assert_eq!(out, PLAIN);
        // Once and not again.
        assert!(opener.open(&aad, &changed, &mut out, 2).is_err());
    }
});
