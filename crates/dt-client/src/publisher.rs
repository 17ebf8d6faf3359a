//! A published stream: frames go in, and out over the lanes to the handlers.
//!
//! The application owns the [`Publisher`]; the driver tells it what the
//! controller wants ([`Directive`]). It numbers frames and groups, cuts
//! datagrams once for all handlers, seals each frame once where the meeting is
//! encrypted, and never waits: a lane that is behind drops
//! the rest of its group.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Instant,
};

use bytes::Bytes;
use dt_frame::{
    DATAGRAM_BYTES_SAFE, Extension, Flags, FourCc, Fragmenter, FrameHeader, FrameType, MediaKind,
    OutgoingFrame, StreamHeader,
};
use dt_ids::{Encoding, HandlerId, StreamId, StreamNumber, UserId};
use dt_wire::v1::{MediaStream, PublishStream, StreamMetadata, VideoMetadata};
use tokio::sync::{Notify, mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::{
    Carrier, MediaFrame, StreamType,
    encryption::{NotSealed, Seal, Sealing},
    lane::LaneFrame,
};

/// Audio frames in one group on the stream carrier, about a second.
const AUDIO_GROUP_FRAMES: u64 = 50;

/// What to publish.
#[derive(Debug, Clone)]
pub struct Publication {
    /// Microphone, camera or screen.
    pub kind: StreamType,
    /// How frames are encoded.
    pub codec: FourCc,
    /// The carrier that is wished for; [`Carrier::Unspecified`] leaves it to the
    /// server.
    pub carrier: Carrier,
    /// Bits per second, 0 for the server's default.
    pub max_bitrate: u32,
    /// Pixels; 0 of audio.
    pub width: u32,
    /// Pixels; 0 of audio.
    pub height: u32,
    /// Frames per second of video; 0 of audio.
    pub framerate: u32,
    /// Published silently.
    pub muted: bool,
}

impl Publication {
    /// A microphone with Opus.
    #[must_use]
    pub const fn microphone() -> Self {
        Self {
            kind: StreamType::Audio,
            codec: FourCc::Opus,
            carrier: Carrier::Unspecified,
            max_bitrate: 0,
            width: 0,
            height: 0,
            framerate: 0,
            muted: false,
        }
    }

    /// A camera with VP8.
    #[must_use]
    pub const fn camera(width: u32, height: u32, framerate: u32) -> Self {
        Self {
            kind: StreamType::VideoCamera,
            codec: FourCc::Vp8,
            carrier: Carrier::Unspecified,
            max_bitrate: 0,
            width,
            height,
            framerate,
            muted: false,
        }
    }

    /// A shared screen with VP8.
    #[must_use]
    pub const fn screen(width: u32, height: u32, framerate: u32) -> Self {
        Self {
            kind: StreamType::VideoScreen,
            ..Self::camera(width, height, framerate)
        }
    }
}

/// What the controller wants of a stream now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directive {
    /// Somebody watches or listens; otherwise nothing needs to be encoded.
    pub active: bool,
    /// The carrier in use.
    pub carrier: Carrier,
    /// Where frames go; empty stands for every handler.
    pub handlers: Vec<HandlerId>,
    /// Bits per second, 0 for as published.
    pub max_bitrate: u32,
    /// What everybody there can decode. Whoever encodes says by
    /// [`Publisher::use_codec`] when frames are in it.
    pub codec: FourCc,
}

impl Directive {
    pub(crate) const fn nothing(codec: FourCc) -> Self {
        Self {
            active: false,
            carrier: Carrier::Unspecified,
            handlers: Vec::new(),
            max_bitrate: 0,
            codec,
        }
    }
}

/// What became of a frame given to [`Publisher::send`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    /// It is on its way to every handler that takes it.
    Queued,
    /// Nobody wants the stream now, it is muted, or there are no keys to seal it
    /// with yet.
    Paused,
    /// Only a key frame can follow what went before.
    NeedsKeyFrame,
    /// Too long to be sent at all.
    TooLong,
}

/// What the application, the driver and the lanes of one stream share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) publication: Publication,
    pub(crate) stream_id: StreamId,
    pub(crate) number: StreamNumber,
    pub(crate) user_id: OnceLock<UserId>,
    pub(crate) directive: watch::Sender<Directive>,
    sealing: Arc<Sealing>,
    pub(crate) muted: AtomicBool,
    /// Bytes of a datagram that every handler takes.
    pub(crate) datagram_bytes: AtomicUsize,
    key_wanted: AtomicBool,
    key_wanted_changed: Notify,
    lanes: Mutex<Vec<Lane>>,
    /// Told when the application drops the publisher.
    pub(crate) gone: CancellationToken,
    /// Told when the stream is not published any more.
    over: CancellationToken,
}

#[derive(Debug)]
struct Lane {
    handler: HandlerId,
    frames: mpsc::Sender<LaneFrame>,
    /// Its queue was full: nothing but a key frame makes sense to it.
    behind: bool,
}

impl Shared {
    fn new(publication: Publication, number: StreamNumber, sealing: Arc<Sealing>) -> Arc<Self> {
        Arc::new(Self {
            muted: AtomicBool::new(publication.muted),
            directive: watch::Sender::new(Directive::nothing(publication.codec)),
            publication,
            stream_id: StreamId::random(),
            number,
            sealing,
            user_id: OnceLock::new(),
            datagram_bytes: AtomicUsize::new(DATAGRAM_BYTES_SAFE),
            key_wanted: AtomicBool::new(false),
            key_wanted_changed: Notify::new(),
            lanes: Mutex::default(),
            gone: CancellationToken::new(),
            over: CancellationToken::new(),
        })
    }

    fn lanes(&self) -> MutexGuard<'_, Vec<Lane>> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn add_lane(&self, handler: HandlerId, frames: mpsc::Sender<LaneFrame>) {
        let mut lanes = self.lanes();
        lanes.retain(|lane| lane.handler != handler);
        lanes.push(Lane {
            handler,
            frames,
            behind: false,
        });
    }

    /// Asks the application to begin anew. Audio always can be joined.
    pub(crate) fn want_key_frame(&self) {
        if self.publication.codec.kind() == MediaKind::Video {
            self.key_wanted.store(true, Ordering::Release);
            self.key_wanted_changed.notify_waiters();
        }
    }

    /// The message that publishes it.
    pub(crate) fn message(&self) -> PublishStream {
        PublishStream {
            stream_id: self.stream_id.to_string(),
            stream_type: self.publication.kind.into(),
            metadata: Some(self.metadata()),
            stream_number: u32::from(self.number.get()),
            carrier: self.publication.carrier.into(),
            muted: self.muted.load(Ordering::Relaxed),
        }
    }

    fn metadata(&self) -> StreamMetadata {
        let publication = &self.publication;
        let video = (publication.codec.kind() == MediaKind::Video).then(|| VideoMetadata {
            width: publication.width,
            height: publication.height,
            framerate: publication.framerate,
            simulcast_layers: Vec::new(),
        });
        StreamMetadata {
            codec: publication.codec.as_str().into(),
            max_bitrate: publication.max_bitrate,
            video,
        }
    }

    /// Takes what the controller wants now. Whoever begins to send, or changes the
    /// codec, begins with a key frame, at once.
    pub(crate) fn direct(&self, directive: Directive) {
        let begins = {
            let old = self.directive.borrow();
            directive.active && (!old.active || old.codec != directive.codec)
        };
        self.directive.send_if_modified(|old| {
            let changed = *old != directive;
            *old = directive;
            changed
        });
        if begins {
            self.want_key_frame();
        }
    }

    pub(crate) fn set_muted(&self, muted: bool) {
        if self.muted.swap(muted, Ordering::Relaxed) && !muted {
            self.want_key_frame();
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

/// One published stream. Dropped, it is unpublished.
#[derive(Debug)]
pub struct Publisher {
    shared: Arc<Shared>,
    directive: watch::Receiver<Directive>,
    /// What the frames are encoded with.
    codec: FourCc,
    fragmenter: Option<Fragmenter>,
    frame_sequence: u64,
    frames: u64,
    group: u32,
    base_counter: u8,
    needs_key: bool,
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
    ) -> (Self, Arc<Shared>) {
        let shared = Shared::new(publication, number, sealing);
        let publisher = Self {
            directive: shared.directive.subscribe(),
            codec: shared.publication.codec,
            shared: Arc::clone(&shared),
            fragmenter: None,
            frame_sequence: 0,
            frames: 0,
            group: 0,
            base_counter: 0,
            needs_key: true,
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

    /// Frames are encoded with this from the next one on, which must be a key
    /// frame. See [`Directive::codec`].
    ///
    /// # Errors
    /// Gives the codec back when it is of another kind of media.
    pub fn use_codec(&mut self, codec: FourCc) -> Result<(), FourCc> {
        if codec.kind() != self.codec.kind() {
            return Err(codec);
        }
        self.needs_key |= codec != self.codec;
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

    /// Whether frames are wanted now.
    #[must_use]
    pub fn is_active(&self) -> bool {
        self.directive.borrow().active && !self.shared.muted.load(Ordering::Relaxed)
    }

    /// Whether a key frame was asked for since the last call; the next frame
    /// should be one.
    pub fn take_key_frame_request(&self) -> bool {
        self.shared.key_wanted.swap(false, Ordering::AcqRel)
    }

    /// Waits until a key frame is asked for; see
    /// [`take_key_frame_request`](Self::take_key_frame_request).
    pub async fn key_frame_requested(&self) {
        loop {
            let notified = self.shared.key_wanted_changed.notified();
            tokio::pin!(notified);
            notified.as_mut().enable();
            if self.shared.key_wanted.load(Ordering::Acquire) {
                return;
            }
            notified.await;
        }
    }

    /// Sends a frame. Never waits.
    pub fn send(&mut self, frame: &MediaFrame) -> Sent {
        let directive = self.directive.borrow().clone();
        if !directive.active || self.shared.muted.load(Ordering::Relaxed) {
            self.needs_key = true;
            return Sent::Paused;
        }
        let Some(user_id) = self.shared.user_id.get().copied() else {
            return Sent::Paused;
        };
        let audio = self.shared.publication.codec.kind() == MediaKind::Audio;
        if !audio && self.needs_key && !frame.key {
            return Sent::NeedsKeyFrame;
        }
        let payload = match self.seal(frame) {
            Ok(payload) => payload,
            Err(not_sealed) => {
                self.needs_key = true;
                return match not_sealed {
                    NotSealed::NoKeys => Sent::Paused,
                    NotSealed::TooLong => Sent::TooLong,
                };
            }
        };
        let begins = if audio {
            self.frames.is_multiple_of(AUDIO_GROUP_FRAMES)
        } else {
            frame.key
        };
        if begins && self.frames > 0 {
            self.group = self.group.wrapping_add(1);
        }
        if !audio && frame.temporal_layer == 0 && self.frames > 0 {
            self.base_counter = self.base_counter.wrapping_add(1);
        }
        self.frames += 1;
        self.needs_key = false;
        let frame = MediaFrame {
            payload,
            ..frame.clone()
        };
        let Some(frame) = self.prepare(&frame, user_id, directive.carrier, begins) else {
            self.needs_key = true;
            return Sent::TooLong;
        };
        self.hand_over(&frame, &directive.handlers);
        Sent::Queued
    }

    /// What goes out in place of the payload.
    fn seal(&self, frame: &MediaFrame) -> Result<Bytes, NotSealed> {
        let seal = Seal {
            stream_id: self.shared.stream_id,
            frame_type: self.frame_type(frame),
            // What the counters say is not authenticated.
            extension: Extension::video(Encoding::MIN, frame.temporal_layer, 0, 0),
            timestamp_us: frame.timestamp_us,
            discardable: frame.discardable,
        };
        self.shared
            .sealing
            .seal(self.shared.number, &seal, &frame.payload)
    }

    fn frame_type(&self, frame: &MediaFrame) -> FrameType {
        match self.shared.publication.codec.kind() {
            MediaKind::Audio => FrameType::Audio,
            MediaKind::Video if frame.key => FrameType::VideoKey,
            MediaKind::Video => FrameType::VideoDelta,
        }
    }

    fn prepare(
        &mut self,
        frame: &MediaFrame,
        user_id: UserId,
        carrier: Carrier,
        begins_group: bool,
    ) -> Option<LaneFrame> {
        let audio = self.shared.publication.codec.kind() == MediaKind::Audio;
        #[allow(clippy::cast_possible_truncation)] // the low 16 bits travel
        let group = self.group as u16;
        let frame_type = self.frame_type(frame);
        let extension = if audio {
            Extension::audio(frame.level, group)
        } else {
            Extension::video(
                Encoding::MIN,
                frame.temporal_layer,
                self.base_counter,
                group,
            )
        };
        let outgoing = OutgoingFrame {
            frame_type,
            timestamp_us: frame.timestamp_us,
            discardable: frame.discardable,
            extension,
            payload: frame.payload.clone(),
        };
        let datagrams = if by_datagram(carrier, audio) {
            let limit = self.shared.datagram_bytes.load(Ordering::Relaxed);
            let fragmenter = self
                .fragmenter
                .get_or_insert_with(|| Fragmenter::new(user_id, self.shared.number));
            let cut = fragmenter.cut(&outgoing, limit).ok()?;
            Some(cut.map(|datagram| datagram.to_bytes()).collect())
        } else {
            None
        };
        let header = FrameHeader {
            frame_type,
            stream_id: self.shared.stream_id,
            timestamp_us: frame.timestamp_us,
            sequence: self.frame_sequence,
            payload_bytes: u32::try_from(frame.payload.len()).ok()?,
            flags: Flags {
                discardable: frame.discardable,
                ..Flags::WHOLE
            },
            extension,
        };
        if frame.payload.len() > dt_frame::PAYLOAD_BYTES_MAX {
            return None;
        }
        self.frame_sequence += 1;
        let publication = &self.shared.publication;
        Some(LaneFrame {
            stream: StreamHeader {
                stream_id: self.shared.stream_id,
                codec: self.codec,
                encoding: Encoding::MIN,
                screen: publication.kind == StreamType::VideoScreen,
                group: self.group,
            },
            header,
            begins_group,
            payload: frame.payload.clone(),
            datagrams,
            queued_at: Instant::now(),
        })
    }

    fn hand_over(&self, frame: &LaneFrame, handlers: &[HandlerId]) {
        let audio = frame.header.frame_type == FrameType::Audio;
        for lane in self.shared.lanes().iter_mut() {
            if !handlers.is_empty() && !handlers.contains(&lane.handler) {
                continue;
            }
            if lane.behind && !audio && !frame.begins_group {
                continue;
            }
            lane.behind = lane.frames.try_send(frame.clone()).is_err();
            if lane.behind {
                self.shared.want_key_frame();
            }
        }
    }
}

fn by_datagram(carrier: Carrier, audio: bool) -> bool {
    match carrier {
        Carrier::Datagram => true,
        Carrier::Stream => false,
        Carrier::Unspecified => audio,
    }
}
