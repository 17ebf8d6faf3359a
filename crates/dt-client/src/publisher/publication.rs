//! What is published, and what the controller wants of it.

use dt_frame::{FourCc, MediaKind};
use dt_ids::{Encoding, HandlerId};
use dt_wire::v1::{SimulcastLayer, StreamMetadata, VideoMetadata};

use crate::{Carrier, StreamType};

/// Encodings of a stream at most: the numbers there are.
const ENCODINGS_MAX: usize = 16;

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
    /// Bits per second of all encodings, 0 for the server's default.
    pub max_bitrate: u32,
    /// Pixels; 0 of audio.
    pub width: u32,
    /// Pixels; 0 of audio.
    pub height: u32,
    /// Frames per second of video; 0 of audio.
    pub framerate: u32,
    /// Published silently.
    pub muted: bool,
    /// Of video in several encodings: each of them, smallest first; the place is
    /// the number. Empty: one encoding.
    pub layers: Vec<Layer>,
}

/// One of several encodings of a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layer {
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// Bits per second.
    pub max_bitrate: u32,
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
            layers: Vec::new(),
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
            layers: Vec::new(),
        }
    }

    /// A shared screen with VP8.
    #[must_use]
    pub const fn screen(width: u32, height: u32, framerate: u32) -> Self {
        let mut screen = Self::camera(width, height, framerate);
        screen.kind = StreamType::VideoScreen;
        screen
    }

    /// In these encodings, smallest first; sixteen at most.
    #[must_use]
    pub fn in_layers(mut self, layers: &[Layer]) -> Self {
        self.layers = layers.iter().take(ENCODINGS_MAX).copied().collect();
        self
    }

    /// The numbers of its encodings.
    pub(crate) fn encodings(&self) -> impl Iterator<Item = Encoding> + use<> {
        let count = match self.codec.kind() {
            MediaKind::Audio => 1,
            MediaKind::Video => self.layers.len().clamp(1, ENCODINGS_MAX),
        };
        (0..)
            .take(count)
            .flat_map(|n: u32| Encoding::try_from(n).ok())
    }

    pub(crate) fn metadata(&self) -> StreamMetadata {
        let layer = |(number, layer): (usize, &Layer)| SimulcastLayer {
            layer_id: number.to_string(),
            width: layer.width,
            height: layer.height,
            max_bitrate: layer.max_bitrate,
        };
        let video = (self.codec.kind() == MediaKind::Video).then(|| VideoMetadata {
            width: self.width,
            height: self.height,
            framerate: self.framerate,
            simulcast_layers: self.layers.iter().enumerate().map(layer).collect(),
        });
        StreamMetadata {
            codec: self.codec.as_str().into(),
            max_bitrate: self.max_bitrate,
            video,
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
    /// What everybody there can decode. Whoever encodes says by
    /// [`Publisher::use_codec`](crate::Publisher::use_codec) when frames are in
    /// it.
    pub codec: FourCc,
    /// What of each encoding; the place is the number. One that is not named is
    /// not wanted.
    pub encodings: Vec<EncodingOrder>,
}

/// What the controller wants of one encoding of a stream.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EncodingOrder {
    /// Somebody receives it.
    pub active: bool,
    /// Where its frames go; empty stands for the home.
    pub handlers: Vec<HandlerId>,
    /// Bits per second, 0 for as published.
    pub max_bitrate: u32,
}

impl Directive {
    pub(crate) const fn nothing(codec: FourCc) -> Self {
        Self {
            active: false,
            carrier: Carrier::Unspecified,
            codec,
            encodings: Vec::new(),
        }
    }

    /// What is wanted of an encoding, if it is wanted.
    #[must_use]
    pub fn of(&self, encoding: Encoding) -> Option<&EncodingOrder> {
        let order = self.encodings.get(usize::from(encoding.get()))?;
        order.active.then_some(order)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sound_has_one_encoding_and_a_camera_as_many_as_it_has_layers() {
        let layer = Layer {
            width: 320,
            height: 180,
            max_bitrate: 100_000,
        };
        let count = |publication: Publication| publication.encodings().count();
        assert_eq!(count(Publication::microphone()), 1);
        assert_eq!(count(Publication::camera(1280, 720, 30)), 1);
        let camera = Publication::camera(1280, 720, 30).in_layers(&[layer; 3]);
        let video = camera.metadata().video.unwrap_or_default();
        assert_eq!(video.simulcast_layers.len(), 3);
        assert_eq!(video.simulcast_layers[2].layer_id, "2");
        assert_eq!(count(camera), 3);
        assert_eq!(
            count(Publication::camera(1, 1, 1).in_layers(&[layer; 20])),
            ENCODINGS_MAX
        );
    }
}
