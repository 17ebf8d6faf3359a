//! A published stream: frames go in, and out over the lanes to the handlers.
//!
//! The application owns the [`Publisher`]; the driver tells it what the
//! controller wants ([`Directive`]). It seals each frame once where the meeting
//! is encrypted, numbers and cuts it once for all handlers, and never waits: a
//! lane that is behind drops the rest of its group.

mod numbering;
mod publication;
mod shared;

use std::sync::{Arc, atomic::Ordering};

use bytes::Bytes;
use dt_frame::{Extension, FourCc};
use dt_ids::{Encoding, StreamId, StreamNumber};
use tokio::sync::watch;

use crate::{
    MediaFrame,
    encryption::{NotSealed, Seal, Sealing},
    paths::Paths,
};
use numbering::Numbering;
pub use publication::{Directive, EncodingOrder, Layer, Publication};
pub(crate) use shared::Shared;

/// What became of a frame given to [`Publisher::send`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    /// It is on its way to every handler that takes it.
    Queued,
    /// Nobody wants this encoding now, the stream is muted, or there are no keys
    /// to seal it with yet.
    Paused,
    /// Only a key frame can follow what went before.
    NeedsKeyFrame,
    /// Too long to be sent at all.
    TooLong,
}

/// One published stream. Dropped, it is unpublished.
#[derive(Debug)]
pub struct Publisher {
    shared: Arc<Shared>,
    directive: watch::Receiver<Directive>,
    /// What the frames are encoded with.
    codec: FourCc,
    /// The place is the encoding's number.
    encodings: Vec<Numbering>,
}

impl Drop for Publisher {
    fn drop(&mut self) {
        self.shared.gone.cancel();
    }
}

impl Publisher {
    pub(crate) fn new(
        publication: Publication,
        number: StreamNumber,
        sealing: Arc<Sealing>,
        paths: Arc<Paths>,
    ) -> (Self, Arc<Shared>) {
        let shared = Shared::new(publication, number, sealing, paths);
        let publisher = Self {
            directive: shared.directive.subscribe(),
            codec: shared.publication.codec,
            encodings: shared.publication.encodings().map(Numbering::new).collect(),
            shared: Arc::clone(&shared),
        };
        (publisher, shared)
    }

    /// The stream's id.
    #[must_use]
    pub fn stream_id(&self) -> StreamId {
        self.shared.stream_id
    }

    /// What it was published as.
    #[must_use]
    pub fn publication(&self) -> &Publication {
        &self.shared.publication
    }

    /// What is wanted now.
    #[must_use]
    pub fn directive(&self) -> Directive {
        self.directive.borrow().clone()
    }

    /// Frames are encoded with this from the next ones on, which must be key
    /// frames. See [`Directive::codec`].
    ///
    /// # Errors
    /// Gives the codec back when it is of another kind of media.
    pub fn use_codec(&mut self, codec: FourCc) -> Result<(), FourCc> {
        if codec.kind() != self.codec.kind() {
            return Err(codec);
        }
        if codec != self.codec {
            for encoding in &mut self.encodings {
                encoding.needs_key = true;
            }
        }
        self.codec = codec;
        Ok(())
    }

    /// Waits until something else is wanted; `false` when the seat is no more.
    pub async fn directive_changed(&mut self) -> bool {
        tokio::select! {
            biased;
            () = self.shared.over.cancelled() => false,
            changed = self.directive.changed() => changed.is_ok(),
        }
    }

    /// Whether frames are wanted now, of any encoding.
    #[must_use]
    pub fn is_active(&self) -> bool {
        self.directive.borrow().active && !self.shared.muted.load(Ordering::Relaxed)
    }

    /// Whether frames of this encoding are wanted now.
    #[must_use]
    pub fn is_wanted(&self, encoding: Encoding) -> bool {
        self.is_active() && self.directive.borrow().of(encoding).is_some()
    }

    /// Whether a key frame of any encoding was asked for since the last call; the
    /// next frames should be some.
    pub fn take_key_frame_request(&self) -> bool {
        self.shared.take_key_frame_request(None)
    }

    /// The same for one encoding.
    pub fn take_key_frame_request_of(&self, encoding: Encoding) -> bool {
        self.shared.take_key_frame_request(Some(encoding))
    }

    /// Waits until a key frame is asked for; see
    /// [`take_key_frame_request`](Self::take_key_frame_request).
    pub async fn key_frame_requested(&self) {
        self.shared.key_frame_requested().await;
    }

    /// Sends a frame of one of its encodings. Never waits.
    pub fn send(&mut self, frame: &MediaFrame) -> Sent {
        let place = usize::from(frame.encoding.get());
        let Some(numbering) = self.encodings.get_mut(place) else {
            return Sent::Paused;
        };
        let directive = self.directive.borrow();
        let order = directive.of(frame.encoding).filter(|_| directive.active);
        let Some(order) = order.filter(|_| !self.shared.muted.load(Ordering::Relaxed)) else {
            numbering.needs_key = true;
            return Sent::Paused;
        };
        let Some(user_id) = self.shared.user_id.get().copied() else {
            return Sent::Paused;
        };
        if !self.shared.is_audio() && numbering.needs_key && !frame.key {
            return Sent::NeedsKeyFrame;
        }
        let payload = match seal(&self.shared, frame) {
            Ok(payload) => payload,
            Err(not_sealed) => {
                numbering.needs_key = true;
                return match not_sealed {
                    NotSealed::NoKeys => Sent::Paused,
                    NotSealed::TooLong => Sent::TooLong,
                };
            }
        };
        let (shared, carrier) = (&self.shared, directive.carrier);
        match numbering.prepare(shared, frame, payload, user_id, self.codec, carrier) {
            Some(frame) => {
                shared.hand_over(&frame, order);
                Sent::Queued
            }
            None => Sent::TooLong,
        }
    }
}

/// What goes out in place of the payload.
fn seal(shared: &Shared, frame: &MediaFrame) -> Result<Bytes, NotSealed> {
    let seal = Seal {
        stream_id: shared.stream_id,
        frame_type: numbering::frame_type(shared.publication.codec.kind(), frame),
        // What the counters say is not authenticated.
        extension: Extension::video(frame.encoding, frame.temporal_layer, 0, 0),
        timestamp_us: frame.timestamp_us,
        discardable: frame.discardable,
    };
    shared.sealing.seal(shared.number, &seal, &frame.payload)
}
