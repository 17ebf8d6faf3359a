//! What a session is allowed to send and has open.

use std::{collections::HashMap, time::Instant};

use dt_frame::{RouteId, StreamHeader};
use dt_ids::{HandlerId, ParticipantId};

use crate::{GroupKey, Quota, arrivals::Reports, encoding::LiveId, quota::Bucket};

/// Who is at the other end of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Peer {
    Participant(ParticipantId),
    Handler(HandlerId),
}

/// One session as a sender.
#[derive(Debug)]
pub(crate) struct Inbound {
    pub(crate) peer: Peer,
    pub(crate) bucket: Bucket,
    /// `session_groups_max` or `link_groups_max` at most.
    pub(crate) groups: HashMap<GroupKey, Upstream>,
    /// What it is told of its datagrams.
    pub(crate) reports: Reports,
}

impl Inbound {
    pub(crate) fn new(peer: Peer, quota: Quota, now: Instant) -> Self {
        Self {
            peer,
            bucket: Bucket::new(quota, now),
            groups: HashMap::new(),
            reports: Reports::new(now),
        }
    }
}

/// A stream that it has open.
#[derive(Debug)]
pub(crate) struct Upstream {
    /// Its header; the group is the one that it carries now.
    pub(crate) header: StreamHeader,
    /// Over a link.
    pub(crate) route: Option<RouteId>,
    /// The group that its frames go to, while that lives.
    pub(crate) live: Option<LiveId>,
    pub(crate) last_timestamp: Option<u64>,
    /// Low 16 bits of the group in the newest key frame's extension.
    pub(crate) last_low: Option<u16>,
}

impl Upstream {
    pub(crate) const fn new(header: StreamHeader, route: Option<RouteId>) -> Self {
        Self {
            header,
            route,
            live: None,
            last_timestamp: None,
            last_low: None,
        }
    }

    /// A key frame came with these low 16 bits of its group's number. The first
    /// one belongs to the group of the stream's header; a later one whose bits
    /// differ begins another group, and then `true` is the answer.
    pub(crate) fn begins_group(&mut self, low: u16) -> bool {
        let Some(last) = self.last_low.replace(low) else {
            return false;
        };
        #[allow(clippy::cast_possible_wrap)] // the nearest one, in either direction
        let step = low.wrapping_sub(last) as i16;
        self.header.group = self.header.group.wrapping_add_signed(i32::from(step));
        step != 0
    }
}

#[cfg(test)]
mod tests {
    use dt_frame::FourCc;
    use dt_ids::{Encoding, StreamId};

    use super::*;

    #[test]
    fn group_numbers_go_on_beyond_sixteen_bits() {
        let header = |group| StreamHeader {
            stream_id: StreamId::from_bytes([0; 16]),
            codec: FourCc::Vp8,
            encoding: Encoding::MIN,
            screen: false,
            group,
        };
        let mut upstream = Upstream::new(header(0x0001_ffff), None);
        assert!(!upstream.begins_group(0xffff));
        assert!(!upstream.begins_group(0xffff));
        assert!(upstream.begins_group(0));
        assert_eq!(upstream.header.group, 0x0002_0000);
        assert!(upstream.begins_group(3));
        assert_eq!(upstream.header.group, 0x0002_0003);
    }
}
