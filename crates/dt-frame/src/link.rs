//! What stands on a link between two handlers beside the headers of clients
//! (WIRE section 3): the number of a route in bytes 10–13 of a datagram, and
//! before the header of a stream.

use bytes::{Buf, Bytes};

use crate::{GroupItem, GroupParser, HeaderError};

/// Bytes before the header of a stream between handlers.
pub const LINK_PREFIX_BYTES: usize = 8;
/// Links that a frame passes at most.
pub const HOPS_MAX: u8 = 4;

/// By which number the receiving end of a link knows a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RouteId(pub u32);

/// What a stream between handlers begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LinkPrefix {
    /// Which route it belongs to.
    pub route: RouteId,
    /// Links that its frames have passed with this one.
    pub hops: u8,
}

impl LinkPrefix {
    /// As it stands on the wire.
    #[must_use]
    pub const fn write(&self) -> [u8; LINK_PREFIX_BYTES] {
        let [a, b, c, d] = self.route.0.to_be_bytes();
        [a, b, c, d, self.hops, 0, 0, 0]
    }

    /// Reads it.
    ///
    /// # Errors
    /// When a byte that must be zero is not. The number of hops is not judged.
    pub fn parse(bytes: &[u8; LINK_PREFIX_BYTES]) -> Result<Self, HeaderError> {
        let [a, b, c, d, hops, zeros @ ..] = *bytes;
        if zeros != [0; 3] {
            return Err(HeaderError::LinkPrefix);
        }
        Ok(Self {
            route: RouteId(u32::from_be_bytes([a, b, c, d])),
            hops,
        })
    }
}

/// What stands on a stream between handlers, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkItem {
    /// Once, first.
    Prefix(LinkPrefix),
    /// As on a stream of a client.
    Group(GroupItem),
}

/// A [`GroupParser`] behind a prefix; its bounds hold here, too.
#[derive(Debug)]
pub struct LinkParser {
    prefix: [u8; LINK_PREFIX_BYTES],
    prefix_bytes: usize,
    group: GroupParser,
}

impl LinkParser {
    /// As [`GroupParser::new`].
    #[must_use]
    pub const fn new(payload_bytes_max: usize) -> Self {
        Self {
            prefix: [0; LINK_PREFIX_BYTES],
            prefix_bytes: 0,
            group: GroupParser::new(payload_bytes_max),
        }
    }

    /// As [`GroupParser::next`].
    ///
    /// # Errors
    /// When the bytes are no stream of a link; nothing after it can be read.
    pub fn next(&mut self, chunk: &mut Bytes) -> Result<Option<LinkItem>, HeaderError> {
        if self.prefix_bytes < LINK_PREFIX_BYTES {
            let take = (LINK_PREFIX_BYTES - self.prefix_bytes).min(chunk.len());
            self.prefix[self.prefix_bytes..][..take].copy_from_slice(&chunk[..take]);
            chunk.advance(take);
            self.prefix_bytes += take;
            if self.prefix_bytes < LINK_PREFIX_BYTES {
                return Ok(None);
            }
            return LinkPrefix::parse(&self.prefix).map(|prefix| Some(LinkItem::Prefix(prefix)));
        }
        Ok(self.group.next(chunk)?.map(LinkItem::Group))
    }

    /// As [`GroupParser::may_end`].
    #[must_use]
    pub const fn may_end(&self) -> bool {
        self.prefix_bytes == LINK_PREFIX_BYTES && self.group.may_end()
    }
}

#[cfg(test)]
mod tests {
    use dt_ids::{Encoding, StreamId};

    use super::*;
    use crate::{FourCc, StreamHeader};

    fn stream() -> Vec<u8> {
        let prefix = LinkPrefix {
            route: RouteId(0x0120_0007),
            hops: 2,
        };
        let header = StreamHeader {
            stream_id: StreamId::from_bytes([7; 16]),
            codec: FourCc::Vp8,
            encoding: Encoding::MIN,
            screen: false,
            group: 3,
        };
        [&prefix.write()[..], &header.write()].concat()
    }

    #[test]
    fn a_prefix_is_eight_bytes_and_comes_first_however_it_is_cut() {
        let bytes = stream();
        assert_eq!(bytes[..8], [0x01, 0x20, 0, 7, 2, 0, 0, 0]);
        for cut in 1..bytes.len() {
            let mut parser = LinkParser::new(1000);
            let mut items = Vec::new();
            for piece in bytes.chunks(cut) {
                let mut chunk = Bytes::copy_from_slice(piece);
                while let Some(item) = parser.next(&mut chunk).expect("it is a stream") {
                    items.push(item);
                }
            }
            assert!(parser.may_end());
            let prefix = LinkPrefix {
                route: RouteId(0x0120_0007),
                hops: 2,
            };
            assert_eq!(items[0], LinkItem::Prefix(prefix));
            assert!(matches!(items[1], LinkItem::Group(GroupItem::Header(h)) if h.group == 3));
        }
    }

    #[test]
    fn bytes_that_must_be_zero_are_checked() {
        for place in 5..8 {
            let mut bytes = stream();
            bytes[place] = 1;
            let mut parser = LinkParser::new(1000);
            let refused = parser.next(&mut Bytes::from(bytes));
            assert_eq!(refused, Err(HeaderError::LinkPrefix));
        }
    }
}
