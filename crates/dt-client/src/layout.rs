//! What to see and hear of the others.

use dt_frame::FourCc;
use dt_ids::UserId;
use dt_wire::v1::{self, GridLayout, SpeakerLayout, SubscriptionOptions, layout::Kind};

/// 256 rows of 256.
const TILES_MAX: u32 = 65_536;
/// First number of the slots for the sound of others; tiles are below it.
const AUDIO_SLOTS_FROM: u32 = 0x0010_0000;
const AUDIO_SLOTS_MAX: u32 = 1024;
/// First number of the slots for streams that are asked for by name, and how many
/// there are in turn.
const NAMED_SLOTS_FROM: u32 = 0x0020_0000;
const NAMED_SLOTS: u32 = 0x0010_0000;

/// How tiles are arranged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tiles {
    /// All alike.
    Grid {
        /// 1 to 256.
        rows: u32,
        /// 1 to 256.
        columns: u32,
    },
    /// One large tile, the first slot, for who speaks; and others beside it.
    Speaker {
        /// Tiles beside the large one, at most 255.
        strip: u32,
    },
}

/// What to see and hear of the others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// The tiles.
    pub tiles: Tiles,
    /// How many may be heard at once.
    pub audio: u32,
    /// Who is shown before all others.
    pub pinned: Vec<UserId>,
    /// Who is not shown.
    pub excluded: Vec<UserId>,
    /// Cameras that are off are shown last.
    pub prefer_video: bool,
    /// One's own pictures come back as those of others do.
    pub include_self: bool,
    /// All voices come mixed into one by the server, as the stream
    /// [`MIXED_STREAM`](crate::MIXED_STREAM). Not in an encrypted meeting.
    pub mix_audio: bool,
}

impl Layout {
    /// A grid, with eight voices.
    #[must_use]
    pub const fn grid(rows: u32, columns: u32) -> Self {
        Self::of(Tiles::Grid { rows, columns })
    }

    /// A speaker view, with eight voices.
    #[must_use]
    pub const fn speaker(strip: u32) -> Self {
        Self::of(Tiles::Speaker { strip })
    }

    const fn of(tiles: Tiles) -> Self {
        Self {
            tiles,
            audio: 8,
            pinned: Vec::new(),
            excluded: Vec::new(),
            prefer_video: false,
            include_self: false,
            mix_audio: false,
        }
    }

    pub(crate) fn tiles(&self) -> u32 {
        let tiles = match self.tiles {
            Tiles::Grid { rows, columns } => rows.saturating_mul(columns),
            Tiles::Speaker { strip } => strip.saturating_add(1),
        };
        tiles.min(TILES_MAX)
    }

    pub(crate) fn message(&self) -> v1::Layout {
        let kind = match self.tiles {
            Tiles::Grid { rows, columns } => Kind::Grid(GridLayout { rows, columns }),
            Tiles::Speaker { strip } => Kind::Speaker(SpeakerLayout { strip }),
        };
        let audio = self.audio.min(AUDIO_SLOTS_MAX);
        v1::Layout {
            kind: Some(kind),
            video_slots: (1..=self.tiles()).collect(),
            audio_slots: (AUDIO_SLOTS_FROM..AUDIO_SLOTS_FROM + audio).collect(),
            pinned_user_ids: self.pinned.iter().map(|user| user.0).collect(),
            excluded_user_ids: self.excluded.iter().map(|user| user.0).collect(),
            prefer_video_over_audio: self.prefer_video,
            include_self: self.include_self,
            mix_audio: self.mix_audio,
        }
    }
}

/// How a stream is to come that is asked for by name, whatever the layout shows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Bits per second at most, of the encodings that its sender offers; 0: no limit.
    pub max_bitrate: u32,
    /// Encoded anew by the server. Not in an encrypted meeting.
    pub transcoding: Option<Transcoding>,
}

/// What the server is to make of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transcoding {
    /// With which codec.
    pub codec: FourCc,
    /// Bits per second; 0: the server's choice.
    pub bitrate: u32,
}

impl Wanted {
    pub(crate) fn message(self) -> SubscriptionOptions {
        SubscriptionOptions {
            max_bitrate: self.max_bitrate,
            transcoding: self.transcoding.map(|wanted| v1::Transcoding {
                codec: wanted.codec.as_str().to_owned(),
                bitrate: wanted.bitrate,
            }),
            ..SubscriptionOptions::default()
        }
    }
}

/// The slot of the stream that is asked for as the so many-th.
pub(crate) const fn named_slot(number: u32) -> u32 {
    NAMED_SLOTS_FROM + number % NAMED_SLOTS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_speaker_view_names_its_large_tile_first() {
        let layout = Layout {
            pinned: vec![UserId(7)],
            ..Layout::speaker(4)
        };
        let message = layout.message();
        assert_eq!(
            message.kind,
            Some(Kind::Speaker(SpeakerLayout { strip: 4 }))
        );
        assert_eq!(message.video_slots, [1, 2, 3, 4, 5]);
        assert_eq!(
            (message.audio_slots.len(), message.pinned_user_ids),
            (8, vec![7])
        );
    }

    #[test]
    fn no_layout_names_more_slots_than_the_server_takes() {
        let layout = Layout {
            audio: u32::MAX,
            ..Layout::grid(u32::MAX, 2)
        };
        let message = layout.message();
        assert_eq!(
            (message.video_slots.len(), message.audio_slots.len()),
            (65_536, 1024)
        );
    }
}
