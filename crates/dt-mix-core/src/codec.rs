//! What a codec has to be.

use bytes::Bytes;

/// A codec can't make anything of what it was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the codec can't read or write this")]
pub struct Failed;

/// Makes decoders and encoders.
pub trait Codecs {
    /// Of one source.
    type Decoder: Decode;
    /// Of one encoding.
    type Encoder: Encode;

    /// A decoder that has heard nothing.
    ///
    /// # Errors
    /// When there can't be another one.
    fn decoder(&mut self) -> Result<Self::Decoder, Failed>;

    /// An encoder that has heard nothing.
    ///
    /// # Errors
    /// When there can't be another one.
    fn encoder(&mut self, bitrate_bps: u32) -> Result<Self::Encoder, Failed>;
}

/// Keeps what is needed of one source's packets to read the next one.
pub trait Decode {
    /// Appends the samples of a packet.
    ///
    /// # Errors
    /// When it is none; nothing is appended then, and the decoder can go on.
    fn decode(&mut self, packet: &[u8], out: &mut Vec<f32>) -> Result<(), Failed>;

    /// Appends one [`STEP`](crate::STEP) of what may have been in a packet that is
    /// missing.
    ///
    /// `next`: the packet right behind it, where that is there already: it may hold
    /// a coarser copy of what is missing (Opus in-band FEC, RFC 6716 section
    /// 2.1.7). It is still to be given to [`decode`](Self::decode) afterwards.
    fn make_up(&mut self, next: &[u8], out: &mut Vec<f32>) {
        let _ = next;
        self.conceal(out);
    }

    /// The same without anything to go by.
    fn conceal(&mut self, out: &mut Vec<f32>);
}

/// Keeps what is needed of one encoding to write the next packet.
pub trait Encode {
    /// Encodes one [`STEP`](crate::STEP).
    ///
    /// # Errors
    /// When it can't; the encoder can go on.
    fn encode(&mut self, pcm: &[f32]) -> Result<Bytes, Failed>;
}
