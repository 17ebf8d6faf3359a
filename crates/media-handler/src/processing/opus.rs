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
    fn run(
        &mut self,
        packet: &[u8],
        mode: DecodeMode,
        samples_max: usize,
        out: &mut Vec<f32>,
    ) -> Result<(), Failed> {
        let begin = out.len();
        out.resize(begin + samples_max, 0.0);
        let decoder = &mut self.0;
        let room = &mut out[begin..];
        let decode = || decoder.decode_float(packet, room, mode);
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
        self.run(packet, DecodeMode::Normal, PACKET_SAMPLES_MAX, out)
    }

    fn make_up(&mut self, next: &[u8], out: &mut Vec<f32>) {
        // Without a copy in it the decoder conceals.
        let made_up =
            !next.is_empty() && self.run(next, DecodeMode::Fec, STEP_SAMPLES, out).is_ok();
        if !made_up {
            self.conceal(out);
        }
    }

    fn conceal(&mut self, out: &mut Vec<f32>) {
        // What is missing is silence then.
        let _ = self.run(&[], DecodeMode::Normal, STEP_SAMPLES, out);
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

#[cfg(test)]
mod tests {
    use ropus::{InbandFec, Signal};

    use super::*;

    /// A second of a voice-like tone, in packets with a copy of the one before.
    fn packets(with_copies: bool) -> Vec<Bytes> {
        let mut encoder = ropus::Encoder::builder(RATE_HZ, Channels::Mono, Application::Voip)
            .bitrate(Bitrate::Bits(24_000))
            .signal(Signal::Voice)
            .inband_fec(if with_copies {
                InbandFec::Enabled
            } else {
                InbandFec::Disabled
            })
            .packet_loss_perc(if with_copies { 20 } else { 0 })
            .build()
            .unwrap();
        let mut out = [0; PACKET_BYTES_MAX];
        (0..50)
            .map(|packet| {
                let bytes = encoder.encode_float(&tone(packet), &mut out).unwrap();
                Bytes::copy_from_slice(&out[..bytes])
            })
            .collect()
    }

    /// Another pitch in each packet: what was before tells nothing of it.
    fn tone(packet: usize) -> Vec<f32> {
        let pitch = 120.0 + (packet * 37 % 11) as f32 * 60.0;
        let wave = |n: usize| {
            let at = n as f32 / 48_000.0 * std::f32::consts::TAU * pitch;
            0.3 * at.sin() + 0.15 * (2.0 * at).sin() + 0.1 * (3.0 * at).sin()
        };
        (0..STEP_SAMPLES).map(wave).collect()
    }

    /// How far what is played is from what was said, where every fifth packet is
    /// missing, as the share of the energy.
    fn error(packets: &[Bytes], uses_next: bool) -> f32 {
        let mut whole = Decoder(new_decoder().unwrap());
        let mut holed = Decoder(new_decoder().unwrap());
        let (mut energy, mut wrong) = (0.0, 0.0);
        for (place, packet) in packets.iter().enumerate() {
            let (mut right, mut played) = (Vec::new(), Vec::new());
            whole.decode(packet, &mut right).unwrap();
            let missing = place % 5 == 4 && place + 1 < packets.len();
            match missing {
                false => holed.decode(packet, &mut played).unwrap(),
                true if uses_next => holed.make_up(&packets[place + 1], &mut played),
                true => holed.conceal(&mut played),
            }
            assert_eq!(played.len(), STEP_SAMPLES);
            if missing {
                energy += right.iter().map(|s| s * s).sum::<f32>();
                let pairs = right.iter().zip(&played);
                wrong += pairs.map(|(a, b)| (a - b) * (a - b)).sum::<f32>();
            }
        }
        wrong / energy
    }

    #[test]
    fn a_lost_packet_is_heard_from_the_copy_in_the_one_behind_it() {
        let copies = packets(true);
        let (made_up, guessed) = (error(&copies, true), error(&copies, false));
        // The copy is a coarse one.
        assert!(made_up < 0.85 * guessed, "{made_up} of {guessed}");
    }

    #[test]
    fn without_a_copy_in_it_what_is_lost_is_concealed() {
        let plain = packets(false);
        let (made_up, guessed) = (error(&plain, true), error(&plain, false));
        assert!(
            (made_up - guessed).abs() < 0.2 * guessed,
            "{made_up} of {guessed}"
        );
    }
}
