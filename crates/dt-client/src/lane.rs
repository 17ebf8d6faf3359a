//! One encoding's way to one media handler: a task that writes frames as they
//! come, on whichever carrier they were prepared for.
//!
//! A group that is late is reset rather than waited for, and a key frame is
//! asked for; audio goes on with the next frame.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use dt_frame::{FrameHeader, MediaKind, StreamHeader};
use dt_ids::Encoding;
use dt_transport::{SendStream, Session};
use tokio::{
    sync::{mpsc, watch},
    time::timeout,
};

use crate::publisher::Shared;

/// Frames that wait for a lane: a second of video, more than half a group's
/// worth of lateness.
pub(crate) const LANE_FRAMES_MAX: usize = 32;
/// A group that is later than this is given up (WIRE section 2.1).
const LATE_MAX: Duration = Duration::from_millis(500);
/// Audio goes before all video.
const AUDIO_PRIORITY: i32 = i32::MAX;
/// Newer groups go before older ones; the group's number is cut to this.
const GROUP_PRIORITY_MASK: u32 = 0x03ff_ffff;
/// And smaller encodings before larger ones, above the group's number.
const ENCODING_PRIORITY_SHIFT: u32 = 26;

/// A frame prepared for either carrier.
#[derive(Debug, Clone)]
pub(crate) struct LaneFrame {
    pub(crate) stream: StreamHeader,
    pub(crate) header: FrameHeader,
    pub(crate) begins_group: bool,
    pub(crate) payload: Bytes,
    /// The frame as datagrams, when that is its carrier.
    pub(crate) datagrams: Option<Arc<[Bytes]>>,
    pub(crate) queued_at: Instant,
}

/// A media session that takes frames, and which one: it counts up with each new
/// session of the same handler.
#[derive(Debug, Clone)]
pub(crate) struct Outlet<S> {
    pub(crate) session: S,
    pub(crate) number: u64,
}

struct Lane<S: Session> {
    shared: Arc<Shared>,
    outlet: watch::Receiver<Option<Outlet<S>>>,
    number: u64,
    group: Option<(u32, S::Send)>,
    /// What follows makes no sense before a new group.
    broken: bool,
    /// And that was asked for.
    asked: bool,
}

/// Writes frames until the publisher is gone.
pub(crate) async fn run<S: Session>(
    shared: Arc<Shared>,
    outlet: watch::Receiver<Option<Outlet<S>>>,
    mut frames: mpsc::Receiver<LaneFrame>,
) {
    let mut lane = Lane {
        shared,
        outlet,
        number: 0,
        group: None,
        broken: true,
        asked: false,
    };
    loop {
        tokio::select! {
            biased;
            frame = frames.recv() => match frame {
                Some(frame) => lane.send(frame).await,
                None => break,
            },
            changed = lane.outlet.changed() => match changed {
                Ok(()) => lane.follow(),
                Err(_) => break,
            },
        }
    }
    lane.finish_group();
}

fn priority(encoding: Encoding, group: u32) -> i32 {
    let smaller_first = u32::from(Encoding::MAX.get() - encoding.get());
    #[allow(clippy::cast_possible_wrap)] // 30 bits are left
    let priority =
        (smaller_first << ENCODING_PRIORITY_SHIFT | (group & GROUP_PRIORITY_MASK)) as i32;
    priority
}

impl<S: Session> Lane<S> {
    /// Notices a new session: what goes there begins with a key frame.
    fn follow(&mut self) {
        let number = self.outlet.borrow_and_update().as_ref().map(|o| o.number);
        if let Some(number) = number
            && number != self.number
        {
            self.number = number;
            self.group = None;
            self.broken = true;
            self.asked = false;
        }
    }

    async fn send(&mut self, frame: LaneFrame) {
        self.follow();
        let Some(session) = self.outlet.borrow().as_ref().map(|o| o.session.clone()) else {
            self.broken = true;
            return;
        };
        let audio = frame.stream.kind() == MediaKind::Audio;
        if self.broken && !audio && !frame.begins_group {
            // Asked for with the first frame that comes: to a spare none does.
            self.ask(frame.stream.encoding);
            return;
        }
        let sent = match &frame.datagrams {
            Some(datagrams) => datagrams
                .iter()
                .all(|datagram| session.send_datagram(datagram.clone()).is_ok()),
            None => self.write(&session, &frame).await,
        };
        self.broken = !sent;
        self.asked = false;
        if !sent {
            if let Some((_, mut late)) = self.group.take() {
                late.reset(0);
            }
            self.ask(frame.stream.encoding);
        }
    }

    /// Asks for a key frame, once until one could be sent.
    fn ask(&mut self, encoding: Encoding) {
        if !std::mem::replace(&mut self.asked, true) {
            self.shared.want_key_frame(encoding);
        }
    }

    /// `false` when the group is lost.
    async fn write(&mut self, session: &S, frame: &LaneFrame) -> bool {
        let left = LATE_MAX.saturating_sub(frame.queued_at.elapsed());
        let number = frame.stream.group;
        let header = Bytes::copy_from_slice(&frame.header.write());
        let payload = frame.payload.clone();
        let open = self.group.as_ref().is_some_and(|(open, _)| *open == number);
        if open {
            let Some((_, stream)) = &mut self.group else {
                return false;
            };
            let mut chunks = [header, payload];
            let written = timeout(left, stream.write_chunks(&mut chunks)).await;
            return matches!(written, Ok(Ok(())));
        }
        self.finish_group();
        let Ok(Ok(mut stream)) = timeout(left, session.open_uni()).await else {
            return false;
        };
        stream.set_priority(match frame.stream.kind() {
            MediaKind::Audio => AUDIO_PRIORITY,
            MediaKind::Video => priority(frame.stream.encoding, number),
        });
        let begin = Bytes::copy_from_slice(&frame.stream.write());
        let mut chunks = [begin, header, payload];
        let written = timeout(left, stream.write_chunks(&mut chunks)).await;
        let whole = matches!(written, Ok(Ok(())));
        self.group = Some((number, stream));
        whole
    }

    fn finish_group(&mut self) {
        if let Some((_, mut stream)) = self.group.take() {
            // It may have been stopped by the handler, which ends it too.
            let _ = stream.finish();
        }
    }
}
