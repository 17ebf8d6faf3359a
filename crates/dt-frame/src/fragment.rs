//! Cutting a frame into datagrams. Only a sender does this, once a frame, and
//! gives the same datagrams to each of its handlers.

use bytes::{BufMut, Bytes, BytesMut};
use dt_ids::{StreamNumber, UserId};

use crate::{
    DATAGRAM_BYTES_MAX, DATAGRAM_HEADER_BYTES, DatagramHeader, Extension, Flags, FrameType,
    PAYLOAD_BYTES_MAX,
};

/// A frame that can't be sent as datagrams.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FragmentError {
    /// Longer than [`PAYLOAD_BYTES_MAX`].
    #[error("a frame of {0} bytes is longer than {PAYLOAD_BYTES_MAX} bytes")]
    TooLong(usize),
    /// More fragments than their 16-bit index can count.
    #[error("a frame of {payload} bytes does not fit in 65536 datagrams of {datagram} bytes")]
    TooManyFragments {
        /// Bytes of the frame.
        payload: usize,
        /// Bytes of a datagram.
        datagram: usize,
    },
    /// Datagrams have no room for more than the header.
    #[error("a datagram of {0} bytes has no room for a payload")]
    DatagramTooSmall(usize),
}

/// A frame on its way out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutgoingFrame {
    /// Audio, key or delta.
    pub frame_type: FrameType,
    /// Microseconds since the Unix epoch at capture.
    pub timestamp_us: u64,
    /// No other frame needs this one.
    pub discardable: bool,
    /// Its `fragment` is not looked at.
    pub extension: Extension,
    /// The sealed chunk.
    pub payload: Bytes,
}

/// One datagram in two pieces, so that the payload is shared until the edge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Datagram {
    /// What goes before.
    pub header: DatagramHeader,
    /// A slice of the frame.
    pub payload: Bytes,
}

impl Datagram {
    /// The whole datagram in one piece.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(DATAGRAM_HEADER_BYTES + self.payload.len());
        out.put_slice(&self.header.write());
        out.put_slice(&self.payload);
        out.freeze()
    }
}

/// Numbers the datagrams of one encoding of one stream.
#[derive(Debug, Clone)]
pub struct Fragmenter {
    user_id: UserId,
    stream: StreamNumber,
    next_sequence: u64,
}

impl Fragmenter {
    /// Begins with sequence number 0.
    #[must_use]
    pub const fn new(user_id: UserId, stream: StreamNumber) -> Self {
        Self::starting_at(user_id, stream, 0)
    }

    /// Begins with this sequence number: a sender that goes on after a restart
    /// of its encoder.
    #[must_use]
    pub const fn starting_at(user_id: UserId, stream: StreamNumber, next_sequence: u64) -> Self {
        Self {
            user_id,
            stream,
            next_sequence,
        }
    }

    /// The sequence number that the next datagram gets.
    #[must_use]
    pub const fn next_sequence(&self) -> u64 {
        self.next_sequence
    }

    /// Cuts a frame into datagrams of at most `datagram_bytes_max` bytes (the
    /// transport's limit) and at most [`DATAGRAM_BYTES_MAX`], header included. The numbers are
    /// used up at once, also when the datagrams are not taken.
    ///
    /// # Errors
    /// When the frame is too long or the datagrams are too small; no number is
    /// used then.
    pub fn cut(
        &mut self,
        frame: &OutgoingFrame,
        datagram_bytes_max: usize,
    ) -> Result<Fragments, FragmentError> {
        let datagram = datagram_bytes_max.min(DATAGRAM_BYTES_MAX);
        let room = datagram.saturating_sub(DATAGRAM_HEADER_BYTES);
        if room == 0 {
            return Err(FragmentError::DatagramTooSmall(datagram_bytes_max));
        }
        let payload = frame.payload.len();
        if payload > PAYLOAD_BYTES_MAX {
            return Err(FragmentError::TooLong(payload));
        }
        // An empty frame still needs a datagram that says so.
        let count = payload.div_ceil(room).max(1);
        if count > usize::from(u16::MAX) + 1 {
            return Err(FragmentError::TooManyFragments { payload, datagram });
        }
        let first_sequence = self.next_sequence;
        // It may have begun anywhere; 2^64 datagrams come round to 0.
        self.next_sequence = first_sequence.wrapping_add(count as u64);
        Ok(Fragments {
            user_id: self.user_id,
            stream: self.stream,
            frame: frame.clone(),
            first_sequence,
            room,
            next: 0,
            count,
        })
    }
}

/// The datagrams of one frame, first to last.
#[derive(Debug)]
pub struct Fragments {
    user_id: UserId,
    stream: StreamNumber,
    frame: OutgoingFrame,
    first_sequence: u64,
    room: usize,
    next: usize,
    count: usize,
}

impl Iterator for Fragments {
    type Item = Datagram;

    fn next(&mut self) -> Option<Datagram> {
        if self.next == self.count {
            return None;
        }
        let place = self.next;
        self.next += 1;
        let from = place * self.room;
        let to = (from + self.room).min(self.frame.payload.len());
        let payload = self.frame.payload.slice(from..to);
        let header = DatagramHeader {
            frame_type: self.frame.frame_type,
            user_id: self.user_id,
            stream: u32::from(self.stream.get()),
            timestamp_us: self.frame.timestamp_us,
            sequence: self.first_sequence.wrapping_add(place as u64),
            payload_bytes: u32::try_from(payload.len()).expect("a fragment is below 4 GiB"),
            flags: Flags {
                start: place == 0,
                end: self.next == self.count,
                discardable: self.frame.discardable,
            },
            extension: Extension {
                fragment: u16::try_from(place).expect("the count was checked"),
                ..self.frame.extension
            },
        };
        Some(Datagram { header, payload })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.count - self.next, Some(self.count - self.next))
    }
}

impl ExactSizeIterator for Fragments {}

#[cfg(test)]
mod tests {
    use dt_ids::Encoding;

    use super::*;

    fn frame(payload: usize) -> OutgoingFrame {
        OutgoingFrame {
            frame_type: FrameType::VideoKey,
            timestamp_us: 7,
            discardable: false,
            extension: Extension::video(Encoding::MIN, 0, 0, 1),
            payload: Bytes::from(vec![1; payload]),
        }
    }

    fn fragmenter() -> Fragmenter {
        Fragmenter::new(UserId(1), StreamNumber::MIN)
    }

    #[test]
    fn no_datagram_is_larger_than_the_limits() {
        let mut fragmenter = fragmenter();
        for (limit, count) in [(1000, 3), (5000, 2), (1100, 2)] {
            let cut: Vec<_> = fragmenter.cut(&frame(2000), limit).unwrap().collect();
            assert_eq!(cut.len(), count);
            assert!(
                cut.iter()
                    .all(|d| d.to_bytes().len() <= limit.min(DATAGRAM_BYTES_MAX))
            );
        }
        assert_eq!(fragmenter.next_sequence(), 7);
    }

    #[test]
    fn what_cannot_be_cut_is_refused_and_uses_no_number() {
        let mut fragmenter = fragmenter();
        assert_eq!(
            fragmenter
                .cut(&frame(1), DATAGRAM_HEADER_BYTES)
                .unwrap_err(),
            FragmentError::DatagramTooSmall(42)
        );
        assert_eq!(
            fragmenter
                .cut(&frame(PAYLOAD_BYTES_MAX + 1), 1000)
                .unwrap_err(),
            FragmentError::TooLong(PAYLOAD_BYTES_MAX + 1)
        );
        assert_eq!(
            fragmenter.cut(&frame(65_537), 43).unwrap_err(),
            FragmentError::TooManyFragments {
                payload: 65_537,
                datagram: 43
            }
        );
        assert_eq!(fragmenter.next_sequence(), 0);
        assert_eq!(fragmenter.cut(&frame(65_536), 43).unwrap().len(), 65_536);
    }

    #[test]
    fn an_empty_frame_is_one_datagram() {
        let all: Vec<_> = fragmenter().cut(&frame(0), 1000).unwrap().collect();
        assert_eq!(all.len(), 1);
        assert_eq!(all[0].header.flags, Flags::WHOLE);
    }
}
