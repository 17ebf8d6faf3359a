//! Opus. The packets are a stranger's: whatever is in them costs no more than the
//! sound of their source.

use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;
use dt_mix_core::{Codecs, Decode, Encode, Failed, RATE_HZ, STEP_SAMPLES};
use ropus::{Application, Bitrate, Channels, DecodeMode};

/// 120 ms, the longest that a packet may be.
const PACKET_SAMPLES_MAX: usize = 6 * STEP_SAMPLES;
/// Bytes of one packet: a datagram has no room for more.
const PACKET_BYTES_MAX: usize = 1000;
/// Of 0 to 10. Above it little is heard of what it costs.
const COMPLEXITY: u8 = 5;

/// Makes decoders and encoders of Opus, one channel each, as the media handler mixes
/// and encodes sound anew with.
#[derive(Debug, Clone, Copy)]
pub struct Opus;

/// Of one source.
pub struct Decoder(ropus::Decoder);

/// Of one encoding.
pub struct Encoder {
    encoder: ropus::Encoder,
    bitrate_bps: u32,
    out: Box<[u8; PACKET_BYTES_MAX]>,
}

impl Codecs for Opus {
    type Decoder = Decoder;
    type Encoder = Encoder;

    fn decoder(&mut self) -> Result<Decoder, Failed> {
        new_decoder().map(Decoder)
    }

    fn encoder(&mut self, bitrate_bps: u32) -> Result<Encoder, Failed> {
        Ok(Encoder {
            encoder: new_encoder(bitrate_bps)?,
            bitrate_bps,
            out: Box::new([0; PACKET_BYTES_MAX]),
        })
    }
}

fn new_decoder() -> Result<ropus::Decoder, Failed> {
    ropus::Decoder::new(RATE_HZ, Channels::Mono).map_err(|_| Failed)
}

fn new_encoder(bitrate_bps: u32) -> Result<ropus::Encoder, Failed> {
    ropus::Encoder::builder(RATE_HZ, Channels::Mono, Application::Voip)
        .bitrate(Bitrate::Bits(bitrate_bps))
        .complexity(COMPLEXITY)
        .build()
        .map_err(|_| Failed)
}

impl Decoder {
    /// A panic in the decoder would be its fault and a stranger's wish: it ends
    /// what this source has said until now, and nothing else.
    fn run(&mut self, packet: &[u8], samples_max: usize, out: &mut Vec<f32>) -> Result<(), Failed> {
        let begin = out.len();
        out.resize(begin + samples_max, 0.0);
        let decoder = &mut self.0;
        let room = &mut out[begin..];
        let decode = || decoder.decode_float(packet, room, DecodeMode::Normal);
        let decoded = catch_unwind(AssertUnwindSafe(decode));
        let samples = match decoded {
            Ok(decoded) => decoded.map_err(|_| Failed),
            Err(_) => {
                metrics::counter!("media_decoder_panics_total").increment(1);
                self.0 = new_decoder()?;
                Err(Failed)
            }
        };
        out.truncate(begin + *samples.as_ref().unwrap_or(&0));
        samples.map(|_| ())
    }
}

impl Decode for Decoder {
    fn decode(&mut self, packet: &[u8], out: &mut Vec<f32>) -> Result<(), Failed> {
        // An empty one would be taken for a loss.
        if packet.is_empty() {
            return Err(Failed);
        }
        self.run(packet, PACKET_SAMPLES_MAX, out)
    }

    fn conceal(&mut self, out: &mut Vec<f32>) {
        // What is missing is silence then.
        let _ = self.run(&[], STEP_SAMPLES, out);
    }
}

impl Encode for Encoder {
    fn encode(&mut self, pcm: &[f32]) -> Result<Bytes, Failed> {
        let (encoder, out) = (&mut self.encoder, &mut self.out[..]);
        // As of a decoder: it would end this encoding's past, and nothing else.
        let encoded = catch_unwind(AssertUnwindSafe(|| encoder.encode_float(pcm, out)));
        let bytes = match encoded {
            Ok(bytes) => bytes.map_err(|_| Failed)?,
            Err(_) => {
                metrics::counter!("media_encoder_panics_total").increment(1);
                self.encoder = new_encoder(self.bitrate_bps)?;
                return Err(Failed);
            }
        };
        Ok(Bytes::copy_from_slice(&self.out[..bytes]))
    }
}
