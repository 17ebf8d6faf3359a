//! `proto/vectors/signaling.json`: signaling messages as bytes, read by the
//! Rust and the TypeScript tests alike.
//!
//! Each vector names its message type, the bytes in hexadecimal and the same
//! message in the JSON mapping of protobuf. Here the bytes are checked against
//! messages built in Rust; the TypeScript tests check bytes against JSON. With
//! `DT_WRITE_VECTORS=1` the file is written anew (the JSON of a new vector is
//! left `null`, to be filled in).

// Helpers of tests panic as tests do.
#![allow(clippy::unwrap_used)]

mod encryption;
mod messages;

use std::{collections::BTreeMap, fmt::Write as _, path::Path};

use dt_wire::{
    framing::{self, Decoder, Framed},
    v1::{
        ClientMessage, Heartbeat, MediaClientMessage, MediaServerMessage, ServerMessage, SetMute,
        client_message::Body as C,
    },
};
use prost::Message;
use serde_json::{Value, json};

use messages::{CAMERA, Vector};

const FILE: &str = "../../proto/vectors/signaling.json";
const ABOUT: &str = "Signaling and media control messages: `hex` are the bytes of the message \
    `type` (without a length), `json` is the same message in protobuf's JSON mapping. `framing` \
    are bytes of a control stream and what they hold; `refused` are messages and streams that must \
    not be accepted.";

/// A name, bytes of a control stream, and the payloads they hold.
type Framing = (&'static str, Vec<u8>, Vec<Vec<u8>>);

/// Bytes of a control stream, and the payloads they hold.
fn framings() -> Vec<Framing> {
    let heartbeat = ClientMessage::new(0, C::Heartbeat(Heartbeat {})).encode_to_vec();
    let rtt = vec![3, 0, 0, 0, 0, 0, 0, 0, 42];
    let framed = |payload: &[u8]| framing::encode_bytes(payload).to_vec();
    let both = [framed(&rtt), framed(&heartbeat)].concat();
    vec![
        ("one_message", framed(&heartbeat), vec![heartbeat.clone()]),
        (
            "an_rtt_packet_then_a_message",
            both,
            vec![rtt, heartbeat.clone()],
        ),
        (
            "a_message_that_is_not_whole",
            framed(&heartbeat)[..5].to_vec(),
            vec![],
        ),
    ]
}

fn refusals() -> Vec<(&'static str, &'static str, Vec<u8>)> {
    let mut newer = ClientMessage::new(1, C::Heartbeat(Heartbeat {}));
    newer.version = 2;
    let empty = ClientMessage {
        version: 1,
        request_id: 1,
        ..ClientMessage::default()
    };
    let cut = ClientMessage::new(
        1,
        C::SetMute(SetMute {
            stream_id: CAMERA.into(),
            muted: true,
        }),
    );
    let cut = cut.encode_to_vec();
    vec![
        ("another_version", "ClientMessage", newer.encode_to_vec()),
        ("no_body", "ClientMessage", empty.encode_to_vec()),
        ("cut_short", "ClientMessage", cut[..cut.len() - 3].to_vec()),
        ("not_protobuf", "ClientMessage", vec![0xff; 12]),
        (
            "a_frame_above_1_mib",
            "stream",
            vec![0x00, 0x10, 0x00, 0x01],
        ),
        ("a_frame_of_4_gib", "stream", vec![0xff; 4]),
        (
            "an_rtt_packet_of_65_bytes",
            "stream",
            framing::encode_bytes(&[3; 65]).to_vec(),
        ),
    ]
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn unhex(text: &str) -> Vec<u8> {
    let digits = text.as_bytes().chunks(2);
    digits
        .map(|d| u8::from_str_radix(std::str::from_utf8(d).unwrap(), 16).unwrap())
        .collect()
}

fn read() -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(FILE);
    serde_json::from_slice(&std::fs::read(path).unwrap_or_else(|_| b"{}".to_vec())).unwrap()
}

fn built() -> Vec<Vector> {
    [
        messages::from_clients(),
        messages::from_servers(),
        messages::of_media_sessions(),
        encryption::from_clients(),
        encryption::from_servers(),
    ]
    .concat()
}

fn write() {
    let old = read();
    let none = Vec::new();
    let before: BTreeMap<&str, &Value> = old["vectors"]
        .as_array()
        .unwrap_or(&none)
        .iter()
        .filter_map(|v| Some((v["name"].as_str()?, &v["json"])))
        .collect();
    let vectors: Vec<Value> = built()
        .into_iter()
        .map(|(name, kind, bytes)| {
            let json = before
                .get(name.as_str())
                .copied()
                .cloned()
                .unwrap_or_default();
            json!({ "name": name, "type": kind, "hex": hex(&bytes), "json": json })
        })
        .collect();
    let framing: Vec<Value> = framings()
        .into_iter()
        .map(|(name, bytes, payloads)| {
            let payloads: Vec<_> = payloads.iter().map(|p| hex(p)).collect();
            json!({ "name": name, "hex": hex(&bytes), "payloads": payloads })
        })
        .collect();
    let refused: Vec<Value> = refusals()
        .into_iter()
        .map(|(name, kind, bytes)| json!({ "name": name, "type": kind, "hex": hex(&bytes) }))
        .collect();
    let file =
        json!({ "about": ABOUT, "vectors": vectors, "framing": framing, "refused": refused });
    let text = serde_json::to_string_pretty(&file).unwrap() + "\n";
    std::fs::write(Path::new(env!("CARGO_MANIFEST_DIR")).join(FILE), text).unwrap();
}

#[test]
fn the_vectors_are_what_this_program_writes_and_reads() {
    if std::env::var_os("DT_WRITE_VECTORS").is_some() {
        write();
    }
    let file = read();
    let vectors = file["vectors"].as_array().expect("a list of vectors");
    let built = built();
    assert_eq!(vectors.len(), built.len());
    for ((name, kind, bytes), vector) in built.iter().zip(vectors) {
        assert_eq!(vector["name"], json!(name));
        assert_eq!(vector["type"], json!(kind));
        assert_eq!(vector["hex"], json!(hex(bytes)), "{name}");
        assert!(vector["json"].is_object(), "{name} has no JSON");
        let again = match *kind {
            "ClientMessage" => ClientMessage::decode(&bytes[..]).unwrap().encode_to_vec(),
            "ServerMessage" => ServerMessage::decode(&bytes[..]).unwrap().encode_to_vec(),
            "MediaClientMessage" => MediaClientMessage::decode(&bytes[..])
                .unwrap()
                .encode_to_vec(),
            "MediaServerMessage" => MediaServerMessage::decode(&bytes[..])
                .unwrap()
                .encode_to_vec(),
            other => panic!("{other} is no message"),
        };
        assert_eq!(&again, bytes, "{name}");
    }
}

#[test]
fn framed_bytes_hold_what_the_vectors_say() {
    for vector in read()["framing"].as_array().expect("a list") {
        let mut decoder = Decoder::default();
        decoder.push(&unhex(vector["hex"].as_str().unwrap()));
        let mut payloads = Vec::new();
        while let Some(framed) = decoder.next().unwrap() {
            let (Framed::Message(bytes) | Framed::Rtt(bytes)) = framed;
            payloads.push(json!(hex(&bytes)));
        }
        assert_eq!(
            vector["payloads"],
            Value::Array(payloads),
            "{}",
            vector["name"]
        );
    }
}

#[test]
fn what_must_be_refused_is_refused() {
    for vector in read()["refused"].as_array().expect("a list") {
        let bytes = unhex(vector["hex"].as_str().unwrap());
        if vector["type"] == "stream" {
            let mut decoder = Decoder::default();
            decoder.push(&bytes);
            assert!(decoder.next().is_err(), "{}", vector["name"]);
        } else {
            assert!(ClientMessage::read(&bytes).is_err(), "{}", vector["name"]);
        }
    }
}
