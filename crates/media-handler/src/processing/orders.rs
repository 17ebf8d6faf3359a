//! What a controller asks to have made anew, read and checked.

use dt_frame::{FourCc, SlotLabel};
use dt_ids::ParticipantId;
use dt_rpc::{RpcError, RpcResult};
use dt_wire::internal::{Destination, RouteMediaCommand, RoutingOptions};

/// Bits per second that sound is encoded with; others are rounded down to one, so
/// that those who ask for about the same share an encoding.
const BITRATES_BPS: [u32; 8] = [
    8_000, 12_000, 16_000, 24_000, 32_000, 48_000, 64_000, 96_000,
];
/// When none is given.
const BITRATE_BPS: u32 = 32_000;

/// Somebody who gets a source made anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Processed {
    pub(crate) participant: ParticipantId,
    pub(crate) label: SlotLabel,
    pub(crate) how: How,
}

/// How it is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum How {
    /// Into one with all others that are to be mixed for the same receiver.
    Mix,
    /// Encoded anew by itself.
    Alone { bitrate_bps: u32 },
}

/// Splits destinations into those that get the stream as it is and those that get
/// it made anew.
pub(crate) fn split(request: &RouteMediaCommand) -> RpcResult<(Vec<&Destination>, Vec<Processed>)> {
    let mut plain = Vec::with_capacity(request.destinations.len());
    let mut processed = Vec::new();
    for to in &request.destinations {
        let options = to.options.as_ref().or(request.options.as_ref());
        let how = options.map(how).transpose()?.flatten();
        match how {
            // Over a link a stream goes as it is.
            Some(how) if to.handler_id.is_empty() => processed.push(Processed {
                participant: to
                    .participant_id
                    .parse()
                    .map_err(|_| RpcError::Invalid("a destination is nobody".into()))?,
                label: SlotLabel::from_bits(to.stream_number)
                    .ok_or_else(|| RpcError::Invalid("a destination has no slot".into()))?,
                how,
            }),
            _ => plain.push(to),
        }
    }
    Ok((plain, processed))
}

fn how(options: &RoutingOptions) -> RpcResult<Option<How>> {
    if options.mix_audio {
        return Ok(Some(How::Mix));
    }
    if !options.transcode {
        return Ok(None);
    }
    if options.target_codec.parse::<FourCc>().ok() != Some(FourCc::Opus) {
        let sentence = "this handler encodes anew sound alone, with opus";
        return Err(RpcError::Invalid(sentence.into()));
    }
    let wanted = match options.target_bitrate {
        0 => BITRATE_BPS,
        wanted => wanted,
    };
    let below = BITRATES_BPS.iter().rev().find(|bps| **bps <= wanted);
    Ok(Some(How::Alone {
        bitrate_bps: *below.unwrap_or(&BITRATES_BPS[0]),
    }))
}
