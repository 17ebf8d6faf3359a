//! One encoding of a stream on its way out: frames and groups are numbered,
//! datagrams cut. Once for all handlers: what they get is the same to the byte.

use std::{collections::VecDeque, sync::Arc, time::Instant};

use bytes::Bytes;
use dt_frame::{
    Extension, Flags, FourCc, Fragmenter, FrameHeader, FrameType, MediaKind, OutgoingFrame,
    StreamHeader,
};
use dt_ids::{Encoding, UserId};

use super::Shared;
use crate::{Carrier, MediaFrame, StreamType, lane::LaneFrame};

/// Audio frames in one group on the stream carrier, about a second.
const AUDIO_GROUP_FRAMES: u64 = 50;

#[derive(Debug)]
pub(super) struct Numbering {
    encoding: Encoding,
    fragmenter: Option<Fragmenter>,
    sequence: u64,
    frames: u64,
    group: u32,
    base_counter: u8,
    /// Only a key frame can follow what went before.
    pub(super) needs_key: bool,
    /// The datagrams of the frames before, newest first: they go out again where
    /// sound gets lost.
    before: VecDeque<Arc<[Bytes]>>,
}

impl Numbering {
    pub(super) const fn new(encoding: Encoding) -> Self {
        Self {
            encoding,
            fragmenter: None,
            sequence: 0,
            frames: 0,
            group: 0,
            base_counter: 0,
            needs_key: true,
            before: VecDeque::new(),
        }
    }

    /// A frame that has `payload` in place of its own, ready for any lane;
    /// `None` when it is too long to be sent.
    pub(super) fn prepare(
        &mut self,
        shared: &Shared,
        frame: &MediaFrame,
        payload: Bytes,
        user_id: UserId,
        codec: FourCc,
        carrier: Carrier,
    ) -> Option<LaneFrame> {
        let audio = shared.is_audio();
        let begins_group = if audio {
            self.frames.is_multiple_of(AUDIO_GROUP_FRAMES)
        } else {
            frame.key
        };
        if self.frames > 0 {
            self.group = self.group.wrapping_add(u32::from(begins_group));
            if !audio && frame.temporal_layer == 0 {
                self.base_counter = self.base_counter.wrapping_add(1);
            }
        }
        self.frames += 1;
        self.needs_key = true;
        if payload.len() > dt_frame::PAYLOAD_BYTES_MAX {
            return None;
        }
        let outgoing = OutgoingFrame {
            frame_type: frame_type(shared.publication.codec.kind(), frame),
            timestamp_us: frame.timestamp_us,
            discardable: frame.discardable,
            extension: self.extension(audio, frame),
            payload: payload.clone(),
        };
        let datagrams = if by_datagram(carrier, audio) {
            Some(self.cut(shared, &outgoing, user_id)?)
        } else {
            None
        };
        let header = FrameHeader {
            frame_type: outgoing.frame_type,
            stream_id: shared.stream_id,
            timestamp_us: frame.timestamp_us,
            sequence: self.sequence,
            payload_bytes: u32::try_from(payload.len()).ok()?,
            flags: Flags {
                discardable: frame.discardable,
                ..Flags::WHOLE
            },
            extension: outgoing.extension,
        };
        self.sequence += 1;
        self.needs_key = false;
        Some(LaneFrame {
            stream: StreamHeader {
                stream_id: shared.stream_id,
                codec,
                encoding: self.encoding,
                screen: shared.publication.kind == StreamType::VideoScreen,
                group: self.group,
            },
            header,
            begins_group,
            payload,
            datagrams,
            queued_at: Instant::now(),
        })
    }

    fn extension(&self, audio: bool, frame: &MediaFrame) -> Extension {
        #[allow(clippy::cast_possible_truncation)] // the low 16 bits travel
        let group = self.group as u16;
        if audio {
            Extension::audio(frame.level, group)
        } else {
            let layer = frame.temporal_layer;
            Extension::video(self.encoding, layer, self.base_counter, group)
        }
    }

    fn cut(
        &mut self,
        shared: &Shared,
        frame: &OutgoingFrame,
        user_id: UserId,
    ) -> Option<Arc<[Bytes]>> {
        let limit = shared.paths.datagram_bytes();
        let fragmenter = self
            .fragmenter
            .get_or_insert_with(|| Fragmenter::new(user_id, shared.number));
        let cut = fragmenter.cut(frame, limit).ok()?;
        let datagrams: Arc<[Bytes]> = cut.map(|datagram| datagram.to_bytes()).collect();
        let repeats = if shared.is_audio() {
            shared.paths.audio_repeats()
        } else {
            0
        };
        self.before.truncate(repeats);
        if repeats == 0 {
            return Some(datagrams);
        }
        let again = self.before.iter().flat_map(|before| before.iter());
        let all = datagrams.iter().chain(again).cloned().collect();
        self.before.push_front(datagrams);
        Some(all)
    }
}

pub(super) fn frame_type(kind: MediaKind, frame: &MediaFrame) -> FrameType {
    match kind {
        MediaKind::Audio => FrameType::Audio,
        MediaKind::Video if frame.key => FrameType::VideoKey,
        MediaKind::Video => FrameType::VideoDelta,
    }
}

fn by_datagram(carrier: Carrier, audio: bool) -> bool {
    match carrier {
        Carrier::Datagram => true,
        Carrier::Stream => false,
        Carrier::Unspecified => audio,
    }
}
