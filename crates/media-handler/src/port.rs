//! A session as the meeting sees it: what outputs of the forwarder are given
//! to, without waiting and without knowing what carries it.

use std::{collections::HashMap, sync::Arc};

use bytes::Bytes;
use dt_forward_core::{GroupKey, OutGroup, SessionKey, StreamOp};
use dt_frame::{LinkPrefix, StreamHeader};
use dt_transport::{PathStats, Session};
use tokio::sync::{mpsc, oneshot};

use crate::{
    fan_out::Receiver,
    lane::{Lane, LaneEnd},
};

/// The part of a session that is used without waiting.
pub(crate) trait Carrier: Send + Sync {
    /// What each datagram begins with.
    fn datagram_prefix(&self) -> Bytes;
    /// Sends one that begins so.
    fn send_datagram(&self, datagram: Bytes);
    /// What was sent and is still here.
    fn queued_datagram_bytes(&self) -> usize;
    fn close(&self, code: u32, reason: &str);
    fn path_stats(&self) -> PathStats;
}

impl<S: Session> Carrier for S {
    fn datagram_prefix(&self) -> Bytes {
        Session::datagram_prefix(self)
    }

    fn send_datagram(&self, datagram: Bytes) {
        // Too large for this path, or the session is gone: a datagram may be lost,
        // and the end of the session is noticed by its own task.
        let _ = self.send_prefixed_datagram(datagram);
    }

    fn queued_datagram_bytes(&self) -> usize {
        Session::queued_datagram_bytes(self)
    }

    fn close(&self, code: u32, reason: &str) {
        Session::close(self, code, reason);
    }

    fn path_stats(&self) -> PathStats {
        Session::path_stats(self)
    }
}

/// A stream that the session's task is to open.
pub(crate) struct NewStream {
    pub(crate) out: OutGroup,
    pub(crate) header: StreamHeader,
    /// Before the header, on a link.
    pub(crate) prefix: Option<LinkPrefix>,
    pub(crate) priority: i32,
    pub(crate) lane: Arc<Lane>,
}

/// What became of something that was to be done with a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StreamDone {
    /// A frame of it was written.
    Written,
    /// It could not be opened.
    Refused,
    /// Whatever there is to say is said later, or never.
    Under,
}

/// Where the outputs for one session go.
pub(crate) struct Port {
    carrier: Arc<dyn Carrier>,
    receiver: Arc<Receiver>,
    /// Whole control messages. Full when the client does not read: it misses key
    /// frame requests then, of which more will come.
    control: mpsc::Sender<Bytes>,
    /// Full when the session's task is behind by as many streams.
    streams: mpsc::Sender<NewStream>,
    outs: HashMap<OutGroup, LaneHold>,
    /// To stop reading a stream of this sender.
    groups: HashMap<GroupKey, oneshot::Sender<u32>>,
}

/// The port's end of a lane: with it goes the stream, once all that waits is written.
struct LaneHold(Arc<Lane>);

impl Drop for LaneHold {
    fn drop(&mut self) {
        self.0.end(LaneEnd::Finished);
    }
}

/// The ends of a port that its session's tasks hold.
pub(crate) struct PortEnds {
    pub(crate) control: mpsc::Receiver<Bytes>,
    pub(crate) streams: mpsc::Receiver<NewStream>,
}

/// Control messages that wait for a client to read.
const CONTROL_MAX: usize = 64;
/// Streams that wait to be opened by the session's task; it opens them at once,
/// so this is filled only while it does not run.
const NEW_STREAMS_MAX: usize = 256;

impl Port {
    pub(crate) fn new(carrier: Arc<dyn Carrier>) -> (Self, mpsc::Sender<Bytes>, PortEnds) {
        let (control, control_end) = mpsc::channel(CONTROL_MAX);
        let (streams, streams_end) = mpsc::channel(NEW_STREAMS_MAX);
        let port = Self {
            receiver: Receiver::new(Arc::clone(&carrier)),
            carrier,
            control: control.clone(),
            streams,
            outs: HashMap::new(),
            groups: HashMap::new(),
        };
        let ends = PortEnds {
            control: control_end,
            streams: streams_end,
        };
        (port, control, ends)
    }

    /// One of the ports of a link, of which there is one a meeting.
    pub(crate) fn on_link(
        carrier: Arc<dyn Carrier>,
        receiver: Arc<Receiver>,
        control: mpsc::Sender<Bytes>,
    ) -> (Self, mpsc::Receiver<NewStream>) {
        let (streams, streams_end) = mpsc::channel(NEW_STREAMS_MAX);
        let port = Self {
            carrier,
            receiver,
            control,
            streams,
            outs: HashMap::new(),
            groups: HashMap::new(),
        };
        (port, streams_end)
    }

    /// Sends one that no route is about.
    pub(crate) fn send_datagram(&self, datagram: Bytes) {
        let prefix = self.carrier.datagram_prefix();
        let whole = [prefix, datagram].concat();
        self.carrier.send_datagram(whole.into());
    }

    /// What routes of datagrams hold of it.
    pub(crate) fn receiver(&self) -> Arc<Receiver> {
        Arc::clone(&self.receiver)
    }

    pub(crate) fn path_stats(&self) -> PathStats {
        self.carrier.path_stats()
    }

    /// `false` when the message was dropped.
    pub(crate) fn send_control(&self, message: Bytes) -> bool {
        self.control.try_send(message).is_ok()
    }

    pub(crate) fn close(&self, code: u32, reason: &str) {
        self.carrier.close(code, reason);
    }

    /// Carries out what is to be done with a stream to this session.
    pub(crate) fn stream(&mut self, out: OutGroup, op: StreamOp) -> StreamDone {
        match op {
            StreamOp::Open {
                header,
                prefix,
                priority,
            } => {
                if !self.open(out, header, prefix, priority) {
                    return StreamDone::Refused;
                }
            }
            StreamOp::Frame(frame) => {
                // If its task has ended, it says so to the forwarder by itself.
                if self
                    .outs
                    .get(&out)
                    .is_some_and(|LaneHold(lane)| lane.give(frame))
                {
                    return StreamDone::Written;
                }
            }
            StreamOp::Finish => {
                if let Some(LaneHold(lane)) = self.outs.get(&out) {
                    lane.end(LaneEnd::Finished);
                }
            }
            StreamOp::Reset(code) => {
                if let Some(hold) = self.outs.remove(&out) {
                    hold.0.end(LaneEnd::Reset(code));
                }
            }
        }
        StreamDone::Under
    }

    /// The task of a stream has ended.
    pub(crate) fn stream_ended(&mut self, out: OutGroup) {
        self.outs.remove(&out);
    }

    /// Reads a stream of this sender; the code arrives when it is to stop.
    pub(crate) fn group_opened(&mut self, group: GroupKey) -> oneshot::Receiver<u32> {
        let (stop, stopped) = oneshot::channel();
        self.groups.insert(group, stop);
        stopped
    }

    /// The task that reads it has ended.
    pub(crate) fn group_ended(&mut self, group: GroupKey) {
        self.groups.remove(&group);
    }

    pub(crate) fn stop_group(&mut self, group: GroupKey, code: u32) {
        if let Some(stop) = self.groups.remove(&group) {
            let _ = stop.send(code);
        }
    }

    fn open(
        &mut self,
        out: OutGroup,
        header: StreamHeader,
        prefix: Option<LinkPrefix>,
        priority: i32,
    ) -> bool {
        let lane = Arc::<Lane>::default();
        let new = NewStream {
            out,
            header,
            prefix,
            priority,
            lane: Arc::clone(&lane),
        };
        if self.streams.try_send(new).is_err() {
            return false;
        }
        self.outs.insert(out, LaneHold(lane));
        true
    }
}

/// Numbers sessions; never twice in the life of a handler.
#[derive(Debug, Default)]
pub(crate) struct SessionKeys(std::sync::atomic::AtomicU64);

impl SessionKeys {
    pub(crate) fn next(&self) -> SessionKey {
        SessionKey(self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed))
    }
}
