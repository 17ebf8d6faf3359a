//! Media on the wire (WIRE section 2): the headers of both carriers, cutting
//! frames into datagrams and putting them together again, and the small state
//! machines that sender, handler and receiver share.
//!
//! Both ends of a media session and the handler between them drive it. No
//! socket and no clock: where age matters, `now` is passed in. Every length a
//! peer names is checked before anything is allocated for it. Deliberately
//! absent: sealing and opening payloads, jitter buffers, routing.

mod base_layer;
mod dedup;
mod field;
mod fragment;
mod header;
mod label;
mod link;
mod reassemble;
mod stream;

pub use base_layer::{BaseLayer, Continuity};
pub use dedup::{Deduplicator, FrameId};
pub use field::{AudioLevel, Extension, Flags, FourCc, FrameType, MediaKind};
pub use fragment::{Datagram, FragmentError, Fragmenter, Fragments, OutgoingFrame};
pub use header::{DatagramHeader, FrameHeader, HeaderError, StreamHeader};
pub use label::SlotLabel;
pub use link::{HOPS_MAX, LINK_PREFIX_BYTES, LinkItem, LinkParser, LinkPrefix, RouteId};
pub use reassemble::{Frame, Limits, Reassembler, ReassemblyStats};
pub use stream::{GroupItem, GroupParser};

/// Bytes of the header that opens a stream of the stream carrier.
pub const STREAM_HEADER_BYTES: usize = 32;
/// Bytes of the header before each frame on the stream carrier.
pub const FRAME_HEADER_BYTES: usize = 46;
/// Bytes of the header of a datagram.
pub const DATAGRAM_HEADER_BYTES: usize = 42;
/// Bytes of one frame's payload at most.
pub const PAYLOAD_BYTES_MAX: usize = 4 << 20;
/// Bytes of a whole datagram at most, header included; a transport may allow
/// less.
pub const DATAGRAM_BYTES_MAX: usize = 1100;
/// A whole datagram of this size passes every transport whose limit is not
/// known yet.
pub const DATAGRAM_BYTES_SAFE: usize = 1000;
/// First byte of a media datagram; it is the version of its header too.
pub const DATAGRAM_TAG: u8 = 0x02;
