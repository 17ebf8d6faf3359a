//! What goes in and what comes out.

use std::sync::Arc;

use bytes::Bytes;
use dt_frame::{FourCc, LinkPrefix, MediaKind, RouteId, SlotLabel, StreamHeader};
use dt_ids::{Encoding, HandlerId, ParticipantId, StreamId, StreamNumber};

use crate::SenderReport;

/// Codes of RESET_STREAM and STOP_SENDING (WIRE section 2).
pub mod reset_code {
    /// Nothing is wrong: late, superseded, or not wanted any more.
    pub const GRACEFUL: u32 = 0;
    /// Not a media stream, or one that this session may not send.
    pub const INVALID_FORMAT: u32 = 1;
    /// Media before the session was let in.
    pub const AUTHENTICATION_FAILED: u32 = 2;
    /// More than this session may send.
    pub const QUOTA_EXCEEDED: u32 = 3;
    /// Our own fault.
    pub const INTERNAL_ERROR: u32 = 4;
}

/// One media session; the handler gives each a new number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionKey(pub u64);

/// A unidirectional stream that a session opened; numbered by the handler,
/// distinct within the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupKey(pub u64);

/// A unidirectional stream to a receiver; numbered by the forwarder, later ones
/// higher.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OutGroup(pub u64);

/// Orders what a controller says: the lease first, then the counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Generation {
    /// Fencing generation of the controller's lease on the meeting.
    pub lease: u64,
    /// Counts under that lease.
    pub counter: u64,
}

/// Encodings of one stream at most: their number has four bits.
pub const ENCODINGS_MAX: usize = 16;

/// One encoding of a stream as it was published; 0 is not known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EncodingSpec {
    /// In pixels.
    pub width: u32,
    /// In pixels.
    pub height: u32,
    /// Bits per second at most.
    pub max_bitrate_bps: u32,
}

impl EncodingSpec {
    /// All of it is known.
    #[must_use]
    pub const fn new(width: u32, height: u32, max_bitrate_bps: u32) -> Self {
        Self {
            width,
            height,
            max_bitrate_bps,
        }
    }
}

/// A stream that a participant may send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamSpec {
    /// Its UUID, on the stream carrier.
    pub stream_id: StreamId,
    /// The sender's own number for it, on the datagram carrier.
    pub number: StreamNumber,
    /// Audio or video.
    pub kind: MediaKind,
    /// `None`: any codec of that kind.
    pub codec: Option<FourCc>,
    /// How many encodings it has, numbered from 0; 1 to 16.
    pub encodings: u8,
    /// Of each encoding, smallest first; beyond their number unused.
    pub layers: [EncodingSpec; ENCODINGS_MAX],
    /// A muted stream is not forwarded.
    pub muted: bool,
}

impl StreamSpec {
    pub(crate) fn has(&self, encoding: Encoding) -> bool {
        encoding.get() < self.encodings
    }

    pub(crate) fn layers(&self) -> &[EncodingSpec] {
        &self.layers[..usize::from(self.encodings).min(ENCODINGS_MAX)]
    }

    /// The same stream, whatever is changed while it goes on.
    pub(crate) fn is_same_stream(&self, other: &Self) -> bool {
        let plain = |spec: &Self| Self {
            muted: false,
            layers: [EncodingSpec::default(); ENCODINGS_MAX],
            ..*spec
        };
        plain(self) == plain(other)
    }
}

/// Bytes 10–13 of a datagram on its way out: a slot of a receiver, or a route of a
/// link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Label(u32);

impl Label {
    /// As they stand on the wire, big-endian.
    #[must_use]
    pub const fn to_bits(self) -> u32 {
        self.0
    }
}

impl From<SlotLabel> for Label {
    fn from(slot: SlotLabel) -> Self {
        Self(slot.to_bits())
    }
}

impl From<RouteId> for Label {
    fn from(route: RouteId) -> Self {
        Self(route.0)
    }
}

/// A session that receives a source, and what its datagrams are labelled with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target {
    /// Whom.
    pub session: SessionKey,
    /// Bytes 10–13.
    pub label: Label,
}

/// A frame of the stream carrier as it stands on the wire. Both pieces are
/// shared between all of its receivers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FrameBytes {
    /// The 46-byte header.
    pub header: Bytes,
    /// What the header announces.
    pub payload: Bytes,
}

impl FrameBytes {
    /// Bytes on the wire.
    #[must_use]
    pub fn len(&self) -> usize {
        self.header.len() + self.payload.len()
    }

    /// Never: a frame has a header.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// What to do with a stream to a receiver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StreamOp {
    /// Open it and write the header. Comes first, once.
    Open {
        /// What it begins with.
        header: StreamHeader,
        /// What stands before that, on a link.
        prefix: Option<LinkPrefix>,
        /// Among the streams of its session; higher goes first.
        priority: i32,
    },
    /// Write a frame, and say so by [`Forwarder::written`](crate::Forwarder::written).
    Frame(FrameBytes),
    /// End it when all is written. Nothing comes after.
    Finish,
    /// Give it up at once with this code. Nothing comes after.
    Reset(u32),
}

/// Why a session is to be closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloseReason {
    /// The controller unregistered the participant.
    Unregistered {
        /// What to close with, as the controller says.
        close_code: u32,
    },
    /// A newer session of the same participant came.
    Replaced,
}

/// An encoding that somebody wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    /// Which.
    pub encoding: Encoding,
    /// Bits per second that its receivers can take; 0: as published.
    pub max_bitrate_bps: u32,
}

/// What the handler carries out, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Send this datagram to each target, with the target's label in bytes
    /// 10–13.
    Datagram {
        /// As the sender made it.
        datagram: Bytes,
        /// All of its receivers.
        targets: Arc<[Target]>,
    },
    /// Do this with a stream to a receiver.
    Stream {
        /// Whom.
        session: SessionKey,
        /// Which of its streams.
        out: OutGroup,
        /// What.
        op: StreamOp,
    },
    /// Ask the sender for a new group.
    RequestKeyframe {
        /// The sender's session.
        session: SessionKey,
        /// Of which stream.
        stream_id: StreamId,
        /// Of which encoding.
        encoding: Encoding,
    },
    /// Read no more of a stream that a sender opened.
    StopGroup {
        /// The sender's session.
        session: SessionKey,
        /// Which of its streams.
        group: GroupKey,
        /// A [`reset_code`].
        code: u32,
    },
    /// Close a session; the forwarder has forgotten it.
    Close {
        /// Which.
        session: SessionKey,
        /// Why.
        reason: CloseReason,
    },
    /// Who speaks now, loudest first; replaces the list before.
    Speakers(Vec<ParticipantId>),
    /// Send so many bytes that mean nothing, in datagrams that receivers drop.
    Padding {
        /// Whom.
        session: SessionKey,
        /// In all.
        bytes: usize,
    },
    /// Which encodings of a stream somebody wants, smallest first; replaces what
    /// was said before.
    Demand {
        /// Of which stream.
        stream_id: StreamId,
        /// Those that are wanted.
        encodings: Vec<Wanted>,
    },
    /// Ask the handler at the other end of a link for a new group.
    LinkKeyframe {
        /// The link.
        session: SessionKey,
        /// Of which route.
        route: RouteId,
        /// Of which encoding.
        encoding: Encoding,
    },
    /// Tell it which encodings of a route somebody wants here; replaces what was
    /// said before.
    LinkDemand {
        /// The link.
        session: SessionKey,
        /// Of which route.
        route: RouteId,
        /// Those that are wanted.
        encodings: Vec<Wanted>,
    },
    /// A route over a link is known from now on, or not any more.
    LinkRoute {
        /// The handler at its other end.
        handler: HandlerId,
        /// By which number its receiving end knows it.
        route: RouteId,
        /// It leads here.
        incoming: bool,
        /// It is known.
        known: bool,
    },
    /// Whether a stream that is routed here arrives; said again when a new feeder
    /// has taken over.
    Flow {
        /// Which.
        stream_id: StreamId,
        /// It does.
        arriving: bool,
    },
    /// How a sender's datagrams arrive.
    SenderReport {
        /// The sender's session.
        session: SessionKey,
        /// What it is told.
        report: SenderReport,
    },
}
