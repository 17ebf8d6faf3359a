//! What was dropped, and why.

/// Why a datagram, a frame or a request was dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(usize)]
pub enum DropReason {
    /// Not a media header, or a length that contradicts it.
    Malformed,
    /// The session is unknown or was closed.
    UnknownSession,
    /// The sender's number in the header is not that of the session.
    ForeignUser,
    /// The stream is not registered to the session.
    UnregisteredStream,
    /// The encoding is not registered.
    UnregisteredEncoding,
    /// Audio on a video stream or the other way round, or another codec.
    WrongKind,
    /// The stream is muted.
    Muted,
    /// The session sends more than it may.
    Quota,
    /// A video frame without the key frame that it needs.
    WithoutKeyFrame,
    /// Its group was overtaken, or its timestamp does not rise.
    Stale,
    /// Too many streams at once.
    TooManyGroups,
    /// The receiver was too slow.
    SlowReceiver,
    /// A key-frame request for a stream that is not routed to its sender.
    NotRouted,
    /// It came before, perhaps another way.
    Repeated,
    /// The route of a link is not known here (any more).
    UnknownRoute,
    /// More links were passed than may be, or none.
    TooManyHops,
    /// It began at this handler.
    Returning,
}

impl DropReason {
    /// All of them, in the order of their counters.
    pub const ALL: [Self; 17] = [
        Self::Malformed,
        Self::UnknownSession,
        Self::ForeignUser,
        Self::UnregisteredStream,
        Self::UnregisteredEncoding,
        Self::WrongKind,
        Self::Muted,
        Self::Quota,
        Self::WithoutKeyFrame,
        Self::Stale,
        Self::TooManyGroups,
        Self::SlowReceiver,
        Self::NotRouted,
        Self::Repeated,
        Self::UnknownRoute,
        Self::TooManyHops,
        Self::Returning,
    ];

    /// As a label of a metric.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::UnknownSession => "unknown_session",
            Self::ForeignUser => "foreign_user",
            Self::UnregisteredStream => "unregistered_stream",
            Self::UnregisteredEncoding => "unregistered_encoding",
            Self::WrongKind => "wrong_kind",
            Self::Muted => "muted",
            Self::Quota => "quota",
            Self::WithoutKeyFrame => "without_key_frame",
            Self::Stale => "stale",
            Self::TooManyGroups => "too_many_groups",
            Self::SlowReceiver => "slow_receiver",
            Self::NotRouted => "not_routed",
            Self::Repeated => "repeated",
            Self::UnknownRoute => "unknown_route",
            Self::TooManyHops => "too_many_hops",
            Self::Returning => "returning",
        }
    }
}

/// Counts since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    dropped: [u64; DropReason::ALL.len()],
    /// Datagrams taken from senders.
    pub datagrams_in: u64,
    /// Datagrams given to receivers, each copy counted.
    pub datagrams_out: u64,
    /// Frames of the stream carrier taken from senders.
    pub frames_in: u64,
    /// Frames of the stream carrier given to receivers, each copy counted.
    pub frames_out: u64,
    /// Frames of the stream carrier that a receiver was not given because its path
    /// or its device was thought to be too slow for them.
    pub frames_left_out: u64,
    /// Those that it was not given because the key frame before them was not, or its
    /// stream was given up.
    pub frames_without_key: u64,
    /// Bytes taken, headers included.
    pub bytes_in: u64,
    /// Bytes given, each copy counted, headers included.
    pub bytes_out: u64,
    /// Streams to receivers that were reset because they were late.
    pub late_resets: u64,
    /// Key frames asked for.
    pub keyframe_requests: u64,
    /// Receivers that went from one encoding to another.
    pub layer_switches: u64,
    /// Packets of microphones that were silent, or not among the loudest.
    pub silent: u64,
    /// Audio datagrams sent again, each copy counted.
    pub repeats_out: u64,
}

impl Counters {
    /// How many were dropped for a reason.
    #[must_use]
    pub const fn dropped(&self, reason: DropReason) -> u64 {
        self.dropped[reason as usize]
    }

    /// How many were dropped for any reason.
    #[must_use]
    pub fn dropped_total(&self) -> u64 {
        self.dropped.iter().sum()
    }

    pub(crate) const fn drop(&mut self, reason: DropReason) {
        self.dropped[reason as usize] += 1;
    }
}
