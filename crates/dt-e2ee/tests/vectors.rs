//! The vectors that this crate and the web app's code are both held to:
//! `proto/vectors/sframe.json` (RFC 9605) and `proto/vectors/e2ee.json` (our own
//! formats). `DARKTOWER_WRITE_VECTORS=1` writes the latter anew.
#![cfg(feature = "native")]

use std::path::PathBuf;

use dt_e2ee::{
    Claims, DeviceKey, EpochKeys, Kid, Opener, Sealer, Suite, binding_bytes, credential, frame_aad,
    meeting_code, pair_code, read_credential,
};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sframe::header::SframeHeader;
use sha2::{Sha256, Sha512};
use zeroize::Zeroizing;

fn path_of(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../../proto/vectors")
        .join(name)
}

fn read(name: &str) -> Value {
    let text = std::fs::read_to_string(path_of(name)).expect("the vectors");
    serde_json::from_str(&text).expect("JSON")
}

fn hex(bytes: impl AsRef<[u8]>) -> String {
    bytes
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

fn bytes(value: &Value) -> Vec<u8> {
    let text = value.as_str().expect("hex");
    text.as_bytes()
        .chunks(2)
        .map(|pair| {
            let pair = std::str::from_utf8(pair).expect("ASCII");
            u8::from_str_radix(pair, 16).expect("hex")
        })
        .collect()
}

fn number(value: &Value) -> u64 {
    value
        .as_u64()
        .or_else(|| value.as_str().and_then(|text| text.parse().ok()))
        .expect("a number")
}

fn list(value: &Value) -> &[Value] {
    value.as_array().expect("a list")
}

fn suite(value: &Value) -> Suite {
    let number = u32::try_from(number(value)).expect("small");
    Suite::from_u32(number).expect("a suite of ours")
}

#[test]
fn every_header_of_rfc_9605_reads_and_writes_as_it_says() {
    let vectors = read("sframe.json");
    assert!(list(&vectors["header"]).len() > 250);
    for vector in list(&vectors["header"]) {
        let (kid, ctr) = (number(&vector["kid"]), number(&vector["ctr"]));
        let expected = bytes(&vector["hex"]);
        let header = SframeHeader::new(kid, ctr);
        let mut written = vec![0; header.len()];
        header.serialize(&mut written[..]).expect("fits");
        assert_eq!(written, expected);
        let read = SframeHeader::deserialize(&expected).expect("reads");
        assert_eq!((read.key_id(), read.counter()), (kid, ctr));
    }
}

#[test]
fn keys_are_derived_as_rfc_9605_says() {
    fn mac<M: Mac + KeyInit>(key: &[u8], parts: &[&[u8]]) -> Vec<u8> {
        let mut mac = <M as KeyInit>::new_from_slice(key).expect("any length");
        for part in parts {
            mac.update(part);
        }
        mac.finalize().into_bytes().to_vec()
    }
    for vector in list(&read("sframe.json")["aes_gcm"]) {
        let hash = match suite(&vector["suite"]) {
            Suite::Aes128Gcm => mac::<Hmac<Sha256>>,
            Suite::Aes256Gcm => mac::<Hmac<Sha512>>,
        };
        let secret = hash(&[], &[&bytes(&vector["base_key"])]);
        assert_eq!(secret, bytes(&vector["secret"]));
        // One block of HKDF-Expand is enough for each.
        for (label, result) in [("key_label", "key"), ("salt_label", "salt")] {
            let expected = bytes(&vector[result]);
            let expanded = hash(&secret, &[&bytes(&vector[label]), &[1]]);
            assert_eq!(expanded[..expected.len()], expected);
        }
    }
}

#[test]
fn both_aes_gcm_suites_seal_and_open_as_rfc_9605_says() {
    for vector in list(&read("sframe.json")["aes_gcm"]) {
        let suite = suite(&vector["suite"]);
        let kid = Kid::from_u32(u32::try_from(number(&vector["kid"])).expect("32 bits"));
        let keys = EpochKeys {
            epoch: u64::from(kid.epoch),
            leaf: kid.leaf,
            base_key: Zeroizing::new(bytes(&vector["base_key"])),
            authenticator: Vec::new(),
        };
        let (aad, plain) = (bytes(&vector["metadata"]), bytes(&vector["pt"]));
        let expected = bytes(&vector["ct"]);

        let mut opener = Opener::new(suite);
        opener.add_epoch(&keys, 0);
        let mut opened = Vec::new();
        let by = opener.open(&aad, &expected, &mut opened, 0).expect("opens");
        assert_eq!(opened, plain);
        assert_eq!(by.counter, number(&vector["ctr"]));
        assert_eq!((by.stream, by.encoding), (kid.stream, kid.encoding));

        let mut sealer = Sealer::new(suite);
        sealer.set_epoch(&keys);
        let mut sealed = Vec::new();
        for _ in 0..=number(&vector["ctr"]) {
            sealer
                .seal(kid.stream, kid.encoding, &aad, &plain, &mut sealed)
                .expect("seals");
        }
        assert_eq!(sealed, expected);
    }
}

fn claims() -> [(Claims, &'static str); 2] {
    let meeting_id = "0190a4b2-6d2f-7c11-8a3e-5f6071829304";
    [
        (
            Claims {
                meeting_id: meeting_id.to_owned(),
                participant_id: "0190a4b2-7000-7abc-8def-0123456789ab".to_owned(),
                name: "Ada".to_owned(),
            },
            "",
        ),
        (
            Claims {
                meeting_id: meeting_id.to_owned(),
                participant_id: "0190a4b2-7001-7abc-8def-0123456789ab".to_owned(),
                name: "Zoë 李 🌱".to_owned(),
            },
            "e30.e30.c2ln",
        ),
    ]
}

/// What this program says of each format.
fn own_vectors() -> Value {
    let identities: Vec<Value> = (1..)
        .zip(claims())
        .map(|(at, (claims, statement))| {
            let device = DeviceKey::from_seed([at; 32]);
            let leaf = DeviceKey::from_seed([at + 100; 32]).public();
            let binding = binding_bytes(&claims, &leaf);
            let signature = device.sign(&binding);
            json!({
                "meeting_id": claims.meeting_id,
                "participant_id": claims.participant_id,
                "name": claims.name,
                "statement": statement,
                "device_seed": hex([at; 32]),
                "device_key": hex(device.public()),
                "leaf_key": hex(leaf),
                "binding": hex(binding),
                "signature": hex(signature),
                "credential": hex(credential(&claims, &device.public(), &signature, statement)),
            })
        })
        .collect();
    let kids: Vec<Value> = [
        (0, 0, 0, 0),
        (1, 0, 1, 1),
        (7, 2, 300, 255),
        (255, 15, 4095, 18),
    ]
    .map(|(stream, encoding, leaf, epoch): (u8, u8, u32, u64)| {
        let kid = Kid {
            stream,
            encoding,
            leaf,
            epoch: epoch.to_be_bytes()[7],
        };
        json!({"stream": stream, "encoding": encoding, "leaf": leaf, "epoch": epoch, "kid": kid.to_u32()})
    })
    .into();
    let aads: Vec<Value> = aads()
        .map(|(frame_type, stream, ext0, timestamp_us, discardable)| {
            json!({
                "frame_type": frame_type,
                "stream": hex(stream),
                "ext0": ext0,
                "timestamp_us": timestamp_us.to_string(),
                "discardable": discardable,
                "aad": hex(frame_aad(frame_type, &stream, ext0, timestamp_us, discardable)),
            })
        })
        .into();
    let meeting_codes = [[0; 32], [0xa7; 32]].map(|authenticator| {
        json!({"authenticator": hex(authenticator), "code": meeting_code(&authenticator)})
    });
    let pair_codes = [(1, 2), (2, 1), (3, 3)].map(|(a, b)| {
        let [a, b] = [a, b].map(|seed| DeviceKey::from_seed([seed; 32]).public());
        json!({"a": hex(a), "b": hex(b), "code": pair_code(&a, &b)})
    });
    json!({
        "about": [
            "Formats of end-to-end encryption that are our own. Read by the tests of dt-e2ee and of the web app; written by the tests of dt-e2ee.",
            "Bytes are lower case hex. Numbers of 64 bits stand as decimal strings, all others as numbers.",
            "identities: what a device signs (binding), its Ed25519 signature, and the MemberCredential with it. device_seed is the private key.",
            "kids: parts of a key id and the key id. aads: additional data of a frame (WIRE.md 2.6).",
            "epochs: frames sealed with the base key of an epoch in this order; the counter of each is told. aad is any bytes.",
            "meeting_codes: from the epoch authenticator. pair_codes: from two device keys.",
        ],
        "identities": identities,
        "kids": kids,
        "aads": aads,
        "epochs": [sealed_epoch(Suite::Aes128Gcm, 1, 0), sealed_epoch(Suite::Aes256Gcm, 515, 4095)],
        "meeting_codes": meeting_codes,
        "pair_codes": pair_codes,
    })
}

fn aads() -> [(u8, [u8; 16], u8, u64, bool); 3] {
    let mut stream = [0; 16];
    for (at, byte) in (0..).zip(&mut stream) {
        *byte = 0x10 + at;
    }
    [
        (0, stream, 0, 1_700_000_000_123_456, false),
        (1, stream, 0x20, 1_700_000_000_123_457, false),
        (2, [0xff; 16], 0xf3, u64::MAX, true),
    ]
}

fn sealed_epoch(suite: Suite, epoch: u64, leaf: u32) -> Value {
    let base_key: Vec<u8> = (0..).take(suite.key_bytes()).collect();
    let keys = EpochKeys {
        epoch,
        leaf,
        base_key: Zeroizing::new(base_key.clone()),
        authenticator: Vec::new(),
    };
    let mut sealer = Sealer::new(suite);
    sealer.set_epoch(&keys);
    let mut counters = std::collections::HashMap::new();
    let mut frames = Vec::new();
    let long: Vec<u8> = (0..=255).cycle().take(1200).collect();
    let plains: [(u8, u8, &[u8]); 12] = [
        (1, 0, b"sound"),
        (1, 0, b""),
        (1, 0, b"more sound"),
        (1, 0, b"3"),
        (1, 0, b"4"),
        (1, 0, b"5"),
        (1, 0, b"6"),
        (1, 0, b"7"),
        (1, 0, b"the first counter with a byte of its own"),
        (2, 0, b"a picture"),
        (2, 2, b"a larger picture"),
        (255, 15, &long),
    ];
    for ((stream, encoding, plain), aad) in plains.into_iter().zip(aads().into_iter().cycle()) {
        let aad = frame_aad(aad.0, &aad.1, aad.2, aad.3, aad.4);
        let mut sealed = Vec::new();
        sealer
            .seal(stream, encoding, &aad, plain, &mut sealed)
            .expect("seals");
        let counter: &mut u64 = counters.entry((stream, encoding)).or_default();
        frames.push(json!({
            "stream": stream,
            "encoding": encoding,
            "counter": counter,
            "aad": hex(aad),
            "plain": hex(plain),
            "sealed": hex(sealed),
        }));
        *counter += 1;
    }
    json!({
        "suite": suite as u32,
        "epoch": epoch,
        "leaf": leaf,
        "base_key": hex(base_key),
        "frames": frames,
    })
}

#[test]
fn our_own_formats_are_as_the_vectors_say() {
    let own = own_vectors();
    if std::env::var_os("DARKTOWER_WRITE_VECTORS").is_some() {
        let text = serde_json::to_string_pretty(&own).expect("JSON") + "\n";
        std::fs::write(path_of("e2ee.json"), text).expect("written");
    }
    assert_eq!(own, read("e2ee.json"));
}

#[test]
fn credentials_and_frames_of_the_vectors_are_taken() {
    let vectors = read("e2ee.json");
    for vector in list(&vectors["identities"]) {
        let leaf_key = bytes(&vector["leaf_key"]);
        let identity = read_credential(&bytes(&vector["credential"]), &leaf_key).expect("good");
        assert_eq!(identity.name, vector["name"]);
        assert_eq!(identity.meeting_id, vector["meeting_id"]);
        assert_eq!(identity.participant_id, vector["participant_id"]);
        assert_eq!(identity.statement, vector["statement"]);
        assert_eq!(hex(identity.device_key), vector["device_key"]);
    }
    for vector in list(&vectors["epochs"]) {
        let suite = suite(&vector["suite"]);
        let keys = EpochKeys {
            epoch: number(&vector["epoch"]),
            leaf: 0,
            base_key: Zeroizing::new(bytes(&vector["base_key"])),
            authenticator: Vec::new(),
        };
        let mut opener = Opener::new(suite);
        opener.add_epoch(&keys, 0);
        for frame in list(&vector["frames"]) {
            let mut opened = Vec::new();
            let by = opener
                .open(
                    &bytes(&frame["aad"]),
                    &bytes(&frame["sealed"]),
                    &mut opened,
                    0,
                )
                .expect("opens");
            assert_eq!(opened, bytes(&frame["plain"]));
            assert_eq!(u64::from(by.leaf), number(&vector["leaf"]));
            assert_eq!(by.epoch, number(&vector["epoch"]));
            assert_eq!(u64::from(by.stream), number(&frame["stream"]));
            assert_eq!(u64::from(by.encoding), number(&frame["encoding"]));
            assert_eq!(by.counter, number(&frame["counter"]));
        }
    }
}
