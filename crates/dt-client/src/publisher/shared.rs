//! What the application's publisher, the driver and the lanes of one stream
//! share.

use std::sync::{
    Arc, Mutex, MutexGuard, OnceLock, PoisonError,
    atomic::{AtomicBool, AtomicU32, Ordering},
};

use dt_frame::MediaKind;
use dt_ids::{Encoding, HandlerId, StreamId, StreamNumber, UserId};
use dt_wire::v1::{MediaStream, PublishStream};
use tokio::sync::{Notify, mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::{Directive, EncodingOrder, Publication};
use crate::{encryption::Sealing, lane::LaneFrame, paths::Paths};

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) publication: Publication,
    pub(crate) stream_id: StreamId,
    pub(crate) number: StreamNumber,
    pub(crate) user_id: OnceLock<UserId>,
    pub(crate) directive: watch::Sender<Directive>,
    pub(super) sealing: Arc<Sealing>,
    pub(super) paths: Arc<Paths>,
    pub(crate) muted: AtomicBool,
    /// A bit for each encoding.
    keys_wanted: AtomicU32,
    key_wanted_changed: Notify,
    lanes: Mutex<Vec<Lane>>,
    /// Told when the application drops the publisher.
    pub(crate) gone: CancellationToken,
    /// Told when the stream is not published any more.
    pub(super) over: CancellationToken,
}

/// The way of one encoding to one handler.
#[derive(Debug)]
struct Lane {
    handler: HandlerId,
    encoding: Encoding,
    frames: mpsc::Sender<LaneFrame>,
    /// Its queue was full: nothing but a key frame makes sense to it.
    behind: bool,
}

const fn bit(encoding: Encoding) -> u32 {
    1 << encoding.get()
}

impl Shared {
    pub(super) fn new(
        publication: Publication,
        number: StreamNumber,
        sealing: Arc<Sealing>,
        paths: Arc<Paths>,
    ) -> Arc<Self> {
        Arc::new(Self {
            muted: AtomicBool::new(publication.muted),
            directive: watch::Sender::new(Directive::nothing(publication.codec)),
            publication,
            stream_id: StreamId::random(),
            number,
            sealing,
            paths,
            user_id: OnceLock::new(),
            keys_wanted: AtomicU32::new(0),
            key_wanted_changed: Notify::new(),
            lanes: Mutex::default(),
            gone: CancellationToken::new(),
            over: CancellationToken::new(),
        })
    }

    fn lanes(&self) -> MutexGuard<'_, Vec<Lane>> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn is_audio(&self) -> bool {
        self.publication.codec.kind() == MediaKind::Audio
    }

    pub(crate) fn add_lane(
        &self,
        handler: HandlerId,
        encoding: Encoding,
        frames: mpsc::Sender<LaneFrame>,
    ) {
        let mut lanes = self.lanes();
        lanes.retain(|lane| (lane.handler, lane.encoding) != (handler, encoding));
        lanes.push(Lane {
            handler,
            encoding,
            frames,
            behind: false,
        });
    }

    /// Nothing goes to this handler any more.
    pub(crate) fn remove_lanes(&self, handler: HandlerId) {
        self.lanes().retain(|lane| lane.handler != handler);
    }

    /// Gives a frame to the lanes of its encoding that the order names.
    pub(super) fn hand_over(&self, frame: &LaneFrame, order: &EncodingOrder) {
        let audio = self.is_audio();
        let home = self.paths.home();
        for lane in self.lanes().iter_mut() {
            let goes_there = match &order.handlers[..] {
                [] => home.is_none_or(|home| home == lane.handler),
                named => named.contains(&lane.handler),
            };
            if lane.encoding != frame.stream.encoding || !goes_there {
                continue;
            }
            if lane.behind && !audio && !frame.begins_group {
                continue;
            }
            lane.behind = lane.frames.try_send(frame.clone()).is_err();
            if lane.behind {
                self.want_key_frame(lane.encoding);
            }
        }
    }

    /// Asks the application to begin an encoding anew. Audio always can be
    /// joined.
    pub(crate) fn want_key_frame(&self, encoding: Encoding) {
        self.want_key_frames(bit(encoding));
    }

    /// Asks the application to begin anew whatever is wanted now.
    pub(crate) fn want_all_key_frames(&self) {
        let wanted = {
            let directive = self.directive.borrow();
            let wanted = |encoding: &Encoding| directive.of(*encoding).is_some();
            let encodings = self.publication.encodings().filter(wanted);
            encodings.fold(0, |bits, encoding| bits | bit(encoding))
        };
        self.want_key_frames(wanted);
    }

    fn want_key_frames(&self, bits: u32) {
        if !self.is_audio() && bits != 0 {
            self.keys_wanted.fetch_or(bits, Ordering::AcqRel);
            self.key_wanted_changed.notify_waiters();
        }
    }

    pub(super) fn take_key_frame_request(&self, encoding: Option<Encoding>) -> bool {
        let bits = encoding.map_or(u32::MAX, bit);
        self.keys_wanted.fetch_and(!bits, Ordering::AcqRel) & bits != 0
    }

    pub(super) async fn key_frame_requested(&self) {
        loop {
            let notified = self.key_wanted_changed.notified();
            tokio::pin!(notified);
            notified.as_mut().enable();
            if self.keys_wanted.load(Ordering::Acquire) != 0 {
                return;
            }
            notified.await;
        }
    }

    /// The message that publishes it.
    pub(crate) fn message(&self) -> PublishStream {
        PublishStream {
            stream_id: self.stream_id.to_string(),
            stream_type: self.publication.kind.into(),
            metadata: Some(self.publication.metadata()),
            stream_number: u32::from(self.number.get()),
            carrier: self.publication.carrier.into(),
            muted: self.muted.load(Ordering::Relaxed),
        }
    }

    /// Takes what the controller wants now. What begins to be sent, or changes
    /// the codec, begins with a key frame, at once.
    pub(crate) fn direct(&self, directive: Directive) {
        let begin = {
            let old = self.directive.borrow();
            let begins = |encoding: &Encoding| {
                directive.of(*encoding).is_some()
                    && (old.of(*encoding).is_none() || old.codec != directive.codec)
            };
            let encodings = self.publication.encodings().filter(begins);
            encodings.fold(0, |bits, encoding| bits | bit(encoding))
        };
        self.directive.send_if_modified(|old| {
            let changed = *old != directive;
            *old = directive;
            changed
        });
        self.want_key_frames(begin);
    }

    pub(crate) fn set_muted(&self, muted: bool) {
        if self.muted.swap(muted, Ordering::Relaxed) && !muted {
            self.want_all_key_frames();
        }
    }

    /// Nothing is sent any more.
    pub(crate) fn end(&self) {
        self.directive
            .send_replace(Directive::nothing(self.publication.codec));
        self.lanes().clear();
        self.over.cancel();
    }

    /// The server has confirmed it.
    pub(crate) fn confirmed(&self, stream: &MediaStream) {
        self.directive
            .send_modify(|directive| directive.carrier = stream.carrier());
    }
}
