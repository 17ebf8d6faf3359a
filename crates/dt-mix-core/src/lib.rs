//! The rules of mixing and re-encoding sound inside a media handler.
//!
//! [`Mixer`] is a deterministic machine for one meeting: it is given packets as
//! they arrive and who wants to hear what, and every [`STEP`] it is asked for what
//! to send. The same inputs give the same outputs.
//!
//! 1. `jitter`: packets of one source in the order of their capture, on a grid of
//!    [`STEP`]s. How long a packet waits follows from how unevenly they come; what is
//!    lost is concealed, and a clock that runs fast or slow is followed.
//! 2. `limiter`: voices are added, and what would overload is turned down softly.
//! 3. `mixer`: nobody hears themselves. All who hear the same get one encoding,
//!    made once: that is everybody but those who speak.
//!
//! Deliberately absent: codecs ([`Codecs`] is what they have to be), threads, a
//! clock, headers and receivers' addresses.

mod codec;
mod jitter;
mod limiter;
mod mixer;
mod source;
mod voice;

use std::time::Duration;

pub use codec::{Codecs, Decode, Encode, Failed};
pub use mixer::{ListenerId, Mixer, Sound, Wish};
pub use source::SourceId;

/// Samples a second of all sound here; one channel.
pub const RATE_HZ: u32 = 48_000;
/// The grid.
pub const STEP: Duration = Duration::from_millis(20);
/// [`STEP`] in microseconds, as timestamps are.
pub const STEP_US: u64 = 20_000;
/// [`STEP`] in samples.
pub const STEP_SAMPLES: usize = 960;

/// One step of sound, -1 to 1.
pub(crate) type Pcm = [f32; STEP_SAMPLES];
pub(crate) const SILENCE: Pcm = [0.0; STEP_SAMPLES];
