//! What the tap of a meeting is given: it takes datagrams and streams as a client's
//! connection would, and passes packets of sound on to the thread.

use std::{sync::Weak, time::Instant};

use bytes::Bytes;
use dt_forward_core::{FrameBytes, SessionKey};
use dt_frame::{DatagramHeader, FrameHeader, FrameType};
use dt_ids::UserId;
use dt_mix_core::SourceId;
use dt_transport::PathStats;
use tokio::{sync::mpsc, task::JoinSet};

use super::worker::{Inbox, Packet};
use crate::{
    lane::LaneEnd,
    meeting::Meeting,
    port::{Carrier, NewStream},
};

/// Bytes of a packet at most: what a datagram could carry, and more than any
/// microphone sends.
const PACKET_BYTES_MAX: usize = 1275;

/// Takes datagrams.
pub(super) struct Intake {
    pub(super) meeting: u64,
    pub(super) inbox: Inbox,
}

impl Carrier for Intake {
    fn datagram_prefix(&self) -> Bytes {
        Bytes::new()
    }

    fn send_datagram(&self, datagram: Bytes) {
        let Ok((header, payload)) = DatagramHeader::split(datagram) else {
            return;
        };
        // A frame of sound that is cut into pieces is none of Opus.
        let whole = header.flags.start && header.flags.end;
        if header.frame_type == FrameType::Audio
            && whole
            && let Some(label) = header.label()
        {
            self.inbox.give(Packet {
                meeting: self.meeting,
                source: SourceId(label.slot.get()),
                user: header.user_id,
                timestamp_us: header.timestamp_us,
                payload,
                came: Instant::now(),
            });
        }
    }

    fn queued_datagram_bytes(&self) -> usize {
        0
    }

    fn path_stats(&self) -> PathStats {
        PathStats::default()
    }

    fn close(&self, _: u32, _: &str) {}
}

/// Takes the streams of a tap until its port is gone.
pub(super) async fn streams(
    mut new: mpsc::Receiver<NewStream>,
    meeting: Weak<Meeting>,
    session: SessionKey,
    (work, inbox): (u64, Inbox),
) {
    let mut groups = JoinSet::new();
    loop {
        tokio::select! {
            stream = new.recv() => match stream {
                Some(stream) => {
                    let group = Group {
                        meeting: Weak::clone(&meeting),
                        session,
                        work,
                        inbox: inbox.clone(),
                    };
                    groups.spawn(group.read(stream));
                }
                None => return,
            },
            Some(_) = groups.join_next() => {}
        }
    }
}

/// One stream: some packets of one source.
struct Group {
    meeting: Weak<Meeting>,
    session: SessionKey,
    work: u64,
    inbox: Inbox,
}

impl Group {
    async fn read(self, new: NewStream) {
        let NewStream {
            out, header, lane, ..
        } = new;
        let of = self.meeting.upgrade();
        let source = of.and_then(|m| m.with(|s| s.processed_source(header.stream_id)));
        let mut batch: Vec<FrameBytes> = Vec::new();
        loop {
            let end = lane.next(None, &mut batch).await;
            if matches!(end, Some(LaneEnd::Reset(_))) {
                return;
            }
            let count = batch.len();
            for frame in batch.drain(..) {
                if let Some((source, user)) = source {
                    self.give(source, user, &frame);
                }
            }
            let Some(meeting) = self.meeting.upgrade() else {
                return;
            };
            if end.is_some() {
                return meeting.stream_ended(self.session, out, true);
            }
            meeting.written(self.session, out, count);
        }
    }

    fn give(&self, source: SourceId, user: UserId, frame: &FrameBytes) {
        let Ok(header) = FrameHeader::parse(&frame.header) else {
            return;
        };
        if header.frame_type == FrameType::Audio && frame.payload.len() <= PACKET_BYTES_MAX {
            self.inbox.give(Packet {
                meeting: self.work,
                source,
                user,
                timestamp_us: header.timestamp_us,
                payload: frame.payload.clone(),
                came: Instant::now(),
            });
        }
    }
}
