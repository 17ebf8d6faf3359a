//! The vectors of `proto/vectors`, which the TypeScript tests read too.

use std::time::Instant;

use bytes::Bytes;
use dt_frame::{
    DatagramHeader, Extension, Flags, Fragmenter, Frame, FrameHeader, FrameType, HeaderError,
    Limits, MediaKind, OutgoingFrame, Reassembler, SlotLabel, StreamHeader,
};
use dt_ids::{Encoding, Slot, StreamNumber, UserId};
use serde::Deserialize;

fn load<T: for<'a> Deserialize<'a>>(name: &str) -> T {
    let path = format!("{}/../../proto/vectors/{name}", env!("CARGO_MANIFEST_DIR"));
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

fn big(text: &str) -> u64 {
    text.parse().expect("a decimal number")
}

#[derive(Deserialize)]
struct Headers {
    stream_headers: Vec<Case<StreamFields>>,
    frame_headers: Vec<Case<FrameFields>>,
    datagram_headers: Vec<Case<DatagramFields>>,
    labels: Vec<Label>,
    invalid: Vec<Invalid>,
}

#[derive(Deserialize)]
struct Case<F> {
    name: String,
    hex: String,
    fields: F,
}

#[derive(Deserialize)]
struct StreamFields {
    kind: Kind,
    stream_id: String,
    codec: String,
    encoding: u32,
    screen: bool,
    group: u32,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Audio,
    Video,
}

#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "snake_case")]
enum Type {
    Audio,
    VideoKey,
    VideoDelta,
}

impl Type {
    fn read(self) -> FrameType {
        match self {
            Self::Audio => FrameType::Audio,
            Self::VideoKey => FrameType::VideoKey,
            Self::VideoDelta => FrameType::VideoDelta,
        }
    }
}

#[derive(Deserialize)]
struct FlagFields {
    end: bool,
    discardable: bool,
    start: bool,
}

impl FlagFields {
    fn read(&self) -> Flags {
        Flags {
            end: self.end,
            discardable: self.discardable,
            start: self.start,
        }
    }
}

#[derive(Deserialize)]
struct ExtensionFields {
    encoding: u32,
    temporal_layer: u8,
    detail: u8,
    #[serde(default)]
    fragment: u16,
    group: u16,
}

impl ExtensionFields {
    fn read(&self) -> Extension {
        Extension {
            encoding: Encoding::try_from(self.encoding).expect("an encoding"),
            temporal_layer: self.temporal_layer,
            detail: self.detail,
            fragment: self.fragment,
            group: self.group,
        }
    }
}

#[derive(Deserialize)]
struct FrameFields {
    frame_type: Type,
    stream_id: String,
    timestamp_us: String,
    sequence: String,
    payload_bytes: u32,
    flags: FlagFields,
    extension: ExtensionFields,
}

#[derive(Deserialize)]
struct DatagramFields {
    frame_type: Type,
    user_id: String,
    stream: u32,
    timestamp_us: String,
    sequence: String,
    payload_bytes: u32,
    flags: FlagFields,
    extension: ExtensionFields,
    label: Option<LabelFields>,
}

#[derive(Deserialize)]
struct LabelFields {
    generation: u32,
    slot: u32,
}

impl LabelFields {
    fn read(&self) -> SlotLabel {
        SlotLabel::new(self.generation, Slot::try_from(self.slot).expect("a slot"))
    }
}

#[derive(Deserialize)]
struct Label {
    name: String,
    bits: u32,
    #[serde(flatten)]
    fields: LabelFields,
}

#[derive(Deserialize)]
struct Invalid {
    name: String,
    header: String,
    hex: String,
    error: String,
}

#[test]
fn every_header_reads_and_writes_as_the_vectors_say() {
    let vectors: Headers = load("media_headers.json");
    for case in vectors.stream_headers {
        let fields = &case.fields;
        let header = StreamHeader {
            stream_id: fields.stream_id.parse().expect("a UUID"),
            codec: fields.codec.parse().expect("a codec"),
            encoding: Encoding::try_from(fields.encoding).expect("an encoding"),
            screen: fields.screen,
            group: fields.group,
        };
        let kind = match fields.kind {
            Kind::Audio => MediaKind::Audio,
            Kind::Video => MediaKind::Video,
        };
        assert_eq!(header.kind(), kind, "{}", case.name);
        assert_eq!(hex(&header.write()), case.hex, "{}", case.name);
        assert_eq!(
            StreamHeader::parse(&bytes(&case.hex)),
            Ok(header),
            "{}",
            case.name
        );
    }
    for case in vectors.frame_headers {
        let fields = &case.fields;
        let header = FrameHeader {
            frame_type: fields.frame_type.read(),
            stream_id: fields.stream_id.parse().expect("a UUID"),
            timestamp_us: big(&fields.timestamp_us),
            sequence: big(&fields.sequence),
            payload_bytes: fields.payload_bytes,
            flags: fields.flags.read(),
            extension: fields.extension.read(),
        };
        assert_eq!(hex(&header.write()), case.hex, "{}", case.name);
        assert_eq!(
            FrameHeader::parse(&bytes(&case.hex)),
            Ok(header),
            "{}",
            case.name
        );
    }
    for case in vectors.datagram_headers {
        let fields = &case.fields;
        let header = DatagramHeader {
            frame_type: fields.frame_type.read(),
            user_id: UserId(big(&fields.user_id)),
            stream: fields.stream,
            timestamp_us: big(&fields.timestamp_us),
            sequence: big(&fields.sequence),
            payload_bytes: fields.payload_bytes,
            flags: fields.flags.read(),
            extension: fields.extension.read(),
        };
        assert_eq!(hex(&header.write()), case.hex, "{}", case.name);
        assert_eq!(
            DatagramHeader::parse(&bytes(&case.hex)),
            Ok(header),
            "{}",
            case.name
        );
        if let Some(label) = &fields.label {
            assert_eq!(header.label(), Some(label.read()), "{}", case.name);
        }
    }
    for case in vectors.labels {
        let label = case.fields.read();
        assert_eq!(label.to_bits(), case.bits, "{}", case.name);
        assert_eq!(
            SlotLabel::from_bits(case.bits),
            Some(label),
            "{}",
            case.name
        );
    }
}

#[test]
fn what_the_vectors_call_invalid_is_refused_for_that_reason() {
    let vectors: Headers = load("media_headers.json");
    for case in vectors.invalid {
        let input = bytes(&case.hex);
        let error = match case.header.as_str() {
            "stream" => StreamHeader::parse(&input).err(),
            "frame" => FrameHeader::parse(&input).err(),
            "datagram" => DatagramHeader::parse(&input).err(),
            other => panic!("{}: unknown header {other}", case.name),
        };
        let name = error.map(|error| match error {
            HeaderError::Truncated { .. } => "truncated",
            HeaderError::Magic(_) => "magic",
            HeaderError::Version(_) => "version",
            HeaderError::FrameType(_) => "frame_type",
            HeaderError::StreamType(_) => "stream_type",
            HeaderError::Codec(_) => "codec",
            HeaderError::KindMismatch => "kind_mismatch",
            HeaderError::Encoding(_) => "encoding",
            HeaderError::ReservedFlags(_) => "reserved_flags",
            HeaderError::PayloadTooLong(_) => "payload_too_long",
            HeaderError::PayloadLength { .. } => "payload_length",
            HeaderError::LinkPrefix => "link_prefix",
            HeaderError::ForeignFrame => "foreign_frame",
        });
        assert_eq!(name, Some(case.error.as_str()), "{}", case.name);
    }
}

#[derive(Deserialize)]
struct Fragments {
    cut: Vec<Cut>,
    reassemble: Vec<Reassemble>,
}

#[derive(Deserialize)]
struct Cut {
    name: String,
    datagram_bytes_max: usize,
    first_sequence: String,
    frame: WholeFrame,
    datagrams: Vec<String>,
}

#[derive(Deserialize)]
struct Reassemble {
    name: String,
    datagrams: Vec<String>,
    frames: Vec<WholeFrame>,
}

#[derive(Deserialize)]
struct WholeFrame {
    frame_type: Type,
    user_id: Option<String>,
    stream: Option<u32>,
    timestamp_us: String,
    discardable: bool,
    extension: ExtensionFields,
    payload: String,
    first_sequence: Option<String>,
    last_sequence: Option<String>,
}

#[test]
fn frames_are_cut_as_the_vectors_say() {
    let vectors: Fragments = load("media_fragments.json");
    for case in vectors.cut {
        let user = UserId(big(case.frame.user_id.as_deref().expect("a sender")));
        let number =
            StreamNumber::try_from(case.frame.stream.expect("a stream")).expect("a number");
        let mut fragmenter = Fragmenter::starting_at(user, number, big(&case.first_sequence));
        let frame = OutgoingFrame {
            frame_type: case.frame.frame_type.read(),
            timestamp_us: big(&case.frame.timestamp_us),
            discardable: case.frame.discardable,
            extension: case.frame.extension.read(),
            payload: bytes(&case.frame.payload),
        };
        let cut = fragmenter
            .cut(&frame, case.datagram_bytes_max)
            .expect("it can be cut");
        let cut: Vec<_> = cut.map(|d| hex(&d.to_bytes())).collect();
        assert_eq!(cut, case.datagrams, "{}", case.name);
    }
}

#[test]
fn frames_are_put_together_as_the_vectors_say() {
    let vectors: Fragments = load("media_fragments.json");
    for case in vectors.reassemble {
        let mut reassembler = Reassembler::new(Limits::default());
        let now = Instant::now();
        let frames: Vec<_> = case
            .datagrams
            .iter()
            .filter_map(|datagram| {
                let (header, payload) = DatagramHeader::split(bytes(datagram)).expect("a header");
                reassembler.push(&header, payload, now)
            })
            .collect();
        let expected: Vec<_> = case
            .frames
            .iter()
            .map(|frame| Frame {
                frame_type: frame.frame_type.read(),
                timestamp_us: big(&frame.timestamp_us),
                first_sequence: big(frame.first_sequence.as_deref().expect("a number")),
                last_sequence: big(frame.last_sequence.as_deref().expect("a number")),
                discardable: frame.discardable,
                extension: frame.extension.read(),
                payload: bytes(&frame.payload),
            })
            .collect();
        assert_eq!(frames, expected, "{}", case.name);
    }
}
