//! The vectors of `proto/vectors/media_socket.json`, which the TypeScript tests
//! read too.

use bytes::Bytes;
use dt_frame::FRAME_HEADER_BYTES;
use dt_websocket::{Incoming, Kind, Limits, parse};
use serde::Deserialize;

#[derive(Deserialize)]
struct Vectors {
    messages: Vec<Message>,
    invalid: Vec<Invalid>,
}

#[derive(Deserialize)]
struct Message {
    name: String,
    hex: String,
    #[serde(flatten)]
    meaning: Meaning,
}

#[derive(Debug, PartialEq, Deserialize)]
struct Meaning {
    channel: String,
    body: Option<String>,
    stream_id: Option<String>,
    encoding: Option<u8>,
    group: Option<u16>,
    payload: Option<String>,
}

#[derive(Deserialize)]
struct Invalid {
    name: String,
    hex: String,
}

fn load() -> Vectors {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../proto/vectors/media_socket.json"
    );
    let text = std::fs::read_to_string(path).expect("the vectors are part of the repository");
    serde_json::from_str(&text).expect("the vectors have the shape that `about` says")
}

fn bytes(hex: &str) -> Bytes {
    let digit = |c: u8| u8::try_from((c as char).to_digit(16).expect("hex")).expect("a digit");
    let pairs = hex.as_bytes().chunks(2);
    pairs.map(|p| digit(p[0]) << 4 | digit(p[1])).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn meaning(incoming: &Incoming) -> Meaning {
    let mut meaning = Meaning {
        channel: String::new(),
        body: None,
        stream_id: None,
        encoding: None,
        group: None,
        payload: None,
    };
    let (channel, layer, number) = match incoming {
        Incoming::Control(body) => {
            meaning.body = Some(hex(body));
            ("control", None, None)
        }
        Incoming::Datagram(body) => {
            meaning.body = Some(hex(body));
            ("datagram", None, None)
        }
        Incoming::Stream { layer, group, .. } => ("stream", Some(layer), Some(*group)),
        Incoming::Frame {
            layer,
            group,
            bytes,
        } => {
            meaning.payload = Some(hex(&bytes[FRAME_HEADER_BYTES..]));
            ("frame", Some(layer), Some(*group))
        }
    };
    channel.clone_into(&mut meaning.channel);
    meaning.stream_id = layer.map(|layer| layer.stream_id.to_string());
    meaning.encoding = layer.map(|layer| layer.encoding.get());
    meaning.group = number;
    meaning
}

#[test]
fn messages_of_media_mean_what_the_vectors_say() {
    for message in load().messages {
        let read = parse(Kind::Media, &Limits::default(), bytes(&message.hex));
        let read = read.unwrap_or_else(|error| panic!("{}: {error}", message.name));
        assert_eq!(meaning(&read), message.meaning, "{}", message.name);
    }
}

#[test]
fn what_the_vectors_call_invalid_is_refused() {
    for invalid in load().invalid {
        let read = parse(Kind::Media, &Limits::default(), bytes(&invalid.hex));
        assert!(read.is_err(), "{}: {read:?}", invalid.name);
    }
}
