//! The published streams of a meeting: what a sender may announce, and which
//! numbers are taken.

use std::collections::BTreeMap;

use dt_frame::{FourCc, MediaKind};
use dt_ids::{Encoding, HandlerId, ParticipantId, StreamId, StreamNumber, UserId};
use dt_wire::{
    internal::EncodingDemand,
    v1::{Carrier, MediaStream, PublishStream, StreamMetadata, StreamType},
};

use crate::{demand::Demand, error::PublishError, time::Time};

/// Simulcast layers of one stream at most: as many as a frame header can number.
pub const LAYERS_MAX: usize = Encoding::MAX.get() as usize + 1;

/// Far above anything a person looks at; above it is a mistake or an attack.
const SIDE_PIXELS_MAX: u32 = 16_384;
const FRAMES_PER_SECOND_MAX: u32 = 240;
const BITS_PER_SECOND_MAX: u32 = 200_000_000;
const LAYER_ID_BYTES_MAX: usize = 32;

/// One published stream.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Published {
    pub(crate) id: StreamId,
    pub(crate) owner: UserId,
    pub(crate) participant: ParticipantId,
    pub(crate) number: StreamNumber,
    pub(crate) kind: StreamType,
    pub(crate) carrier: Carrier,
    pub(crate) muted: bool,
    metadata: StreamMetadata,
    /// The codec it was published with.
    pub(crate) published: FourCc,
    /// The codec it is encoded with now.
    pub(crate) encoded: FourCc,
    pub(crate) demand: Demand,
    /// When a key frame request was last passed on, by encoding.
    keyframes: Vec<Option<Time>>,
}

impl Published {
    /// Reads and checks what a sender announces.
    pub(crate) fn parse(
        request: PublishStream,
        owner: UserId,
        participant: ParticipantId,
    ) -> Result<Self, PublishError> {
        let invalid = PublishError::Invalid;
        let id = request
            .stream_id
            .parse()
            .map_err(|_| invalid("stream_id must be a UUID"))?;
        let number = StreamNumber::try_from(request.stream_number)
            .map_err(|_| invalid("stream_number must be 1 to 255"))?;
        let kind = StreamType::try_from(request.stream_type)
            .map_err(|_| invalid("stream_type is unknown"))?;
        let carrier = match Carrier::try_from(request.carrier) {
            Ok(Carrier::Unspecified) => default_carrier(kind),
            Ok(carrier) => carrier,
            Err(_) => return Err(invalid("carrier is unknown")),
        };
        let metadata = request.metadata.ok_or(invalid("metadata is missing"))?;
        let codec = check_metadata(kind, &metadata).map_err(invalid)?;
        let encodings = metadata
            .video
            .as_ref()
            .map_or(1, |video| video.simulcast_layers.len().max(1));
        Ok(Self {
            id,
            owner,
            participant,
            number,
            kind,
            carrier,
            muted: request.muted,
            metadata,
            published: codec,
            encoded: codec,
            demand: Demand::new(encodings),
            keyframes: vec![None; encodings],
        })
    }

    pub(crate) fn is_audio(&self) -> bool {
        self.kind == StreamType::Audio
    }

    /// Bits per second of the layer with this id; 0: not known, or no limit.
    pub(crate) fn layer_bitrate(&self, layer_id: &str) -> u32 {
        let video = self.metadata.video.as_ref();
        let mut layers = video.into_iter().flat_map(|v| &v.simulcast_layers);
        let layer = layers.find(|layer| layer.layer_id == layer_id);
        layer.map_or(0, |layer| layer.max_bitrate)
    }

    pub(crate) fn encodings(&self) -> u32 {
        u32::try_from(self.keyframes.len()).expect("checked against LAYERS_MAX")
    }

    /// Whether a key frame request is passed on now; remembers that it was.
    /// `None`: there is no such encoding.
    pub(crate) fn take_keyframe(
        &mut self,
        encoding: u32,
        now: Time,
        interval_ms: u64,
    ) -> Option<bool> {
        let last = self.keyframes.get_mut(encoding as usize)?;
        if last.is_some_and(|at| now.ms_since(at) < interval_ms) {
            return Some(false);
        }
        *last = Some(now);
        Some(true)
    }

    pub(crate) fn to_wire(&self) -> MediaStream {
        MediaStream {
            stream_id: self.id.to_string(),
            stream_type: self.kind.into(),
            metadata: Some(self.metadata.clone()),
            stream_number: u32::from(self.number.get()),
            carrier: self.carrier.into(),
            muted: self.muted,
        }
    }
}

fn default_carrier(kind: StreamType) -> Carrier {
    match kind {
        StreamType::Audio => Carrier::Datagram,
        StreamType::VideoCamera | StreamType::VideoScreen => Carrier::Stream,
    }
}

/// The codec, if everything makes sense.
fn check_metadata(kind: StreamType, metadata: &StreamMetadata) -> Result<FourCc, &'static str> {
    let codec = metadata.codec.parse::<FourCc>();
    let media = match kind {
        StreamType::Audio => MediaKind::Audio,
        StreamType::VideoCamera | StreamType::VideoScreen => MediaKind::Video,
    };
    let Some(codec) = codec.ok().filter(|codec| codec.kind() == media) else {
        return Err("codec must be opus for audio; vp08, vp09, av01 or avc1 for video");
    };
    if metadata.max_bitrate > BITS_PER_SECOND_MAX {
        return Err("max_bitrate is above 200 Mbit/s");
    }
    let Some(video) = &metadata.video else {
        return Ok(codec);
    };
    if kind == StreamType::Audio {
        return Err("an audio stream has no video metadata");
    }
    if video.width > SIDE_PIXELS_MAX || video.height > SIDE_PIXELS_MAX {
        return Err("width and height are at most 16384");
    }
    if video.framerate > FRAMES_PER_SECOND_MAX {
        return Err("framerate is at most 240");
    }
    if video.simulcast_layers.len() > LAYERS_MAX {
        return Err("at most 16 simulcast layers");
    }
    for layer in &video.simulcast_layers {
        if layer.layer_id.len() > LAYER_ID_BYTES_MAX {
            return Err("layer_id is at most 32 bytes");
        }
        if layer.width > SIDE_PIXELS_MAX || layer.height > SIDE_PIXELS_MAX {
            return Err("width and height are at most 16384");
        }
        if layer.max_bitrate > BITS_PER_SECOND_MAX {
            return Err("max_bitrate is above 200 Mbit/s");
        }
    }
    Ok(codec)
}

/// All streams of a meeting by id. Bounded by seats × streams a participant.
#[derive(Debug, Default)]
pub(crate) struct Streams {
    by_id: BTreeMap<StreamId, Published>,
    /// When encodings that no handler has asked for are given up.
    held: BTreeMap<StreamId, Time>,
}

impl Streams {
    pub(crate) fn get(&self, id: StreamId) -> Option<&Published> {
        self.by_id.get(&id)
    }

    pub(crate) fn get_mut(&mut self, id: StreamId) -> Option<&mut Published> {
        self.by_id.get_mut(&id)
    }

    /// Adds a stream whose owner has `own` streams already.
    pub(crate) fn insert(
        &mut self,
        stream: Published,
        own: &[StreamId],
        max: usize,
    ) -> Result<(), PublishError> {
        if self.by_id.contains_key(&stream.id) {
            return Err(PublishError::IdTaken(stream.id));
        }
        let numbers = own.iter().filter_map(|id| self.get(*id)).map(|s| s.number);
        if numbers.into_iter().any(|number| number == stream.number) {
            return Err(PublishError::NumberTaken(stream.number));
        }
        if own.len() >= max {
            return Err(PublishError::TooMany(max));
        }
        self.by_id.insert(stream.id, stream);
        Ok(())
    }

    /// What a handler wants of a stream. The sender, when it is to send something
    /// else.
    pub(crate) fn demand(&mut self, handler: HandlerId, demand: &EncodingDemand) -> Option<UserId> {
        let id: StreamId = demand.stream_id.parse().ok()?;
        let stream = self.by_id.get_mut(&id)?;
        let wanted = &demand.encodings;
        let changed = stream.demand.report(handler, wanted);
        let owner = stream.owner;
        self.watch(id);
        changed.then_some(owner)
    }

    /// Somebody receives it now, and nobody did before.
    pub(crate) fn begin(&mut self, id: StreamId, now: Time, assume_ms: u64) {
        if let Some(stream) = self.by_id.get_mut(&id) {
            stream.demand.begin(now, assume_ms);
            self.watch(id);
        }
    }

    fn watch(&mut self, id: StreamId) {
        let stream = self.by_id.get(&id);
        match stream.and_then(|stream| stream.demand.next_timeout()) {
            Some(at) => self.held.insert(id, at),
            None => self.held.remove(&id),
        };
    }

    /// When [`expire`](Self::expire) has something to do.
    pub(crate) fn next_timeout(&self) -> Option<Time> {
        self.held.values().min().copied()
    }

    /// Gives up what nobody has asked for in time; whose directives change.
    pub(crate) fn expire(&mut self, now: Time) -> Vec<UserId> {
        let due = self.held.iter().filter(|(_, at)| **at <= now);
        let due: Vec<StreamId> = due.map(|(id, _)| *id).collect();
        let mut owners = Vec::new();
        for id in due {
            if let Some(stream) = self.by_id.get_mut(&id)
                && stream.demand.expire(now)
            {
                owners.push(stream.owner);
            }
            self.watch(id);
        }
        owners
    }

    pub(crate) fn remove(&mut self, id: StreamId) -> Option<Published> {
        self.held.remove(&id);
        self.by_id.remove(&id)
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Published> {
        self.by_id.values_mut()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Published> {
        self.by_id.values()
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.by_id.len()
    }
}
