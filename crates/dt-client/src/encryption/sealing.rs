//! The keys with which a seat's streams are sealed, shared by its publishers.
//!
//! The [task](super::task) sets them; publishers seal. All streams of a seat
//! share one [`Sealer`], so that no counter ever starts again under its key.

use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use dt_e2ee::{EpochKeys, Sealer, Suite, frame_aad};
use dt_frame::{Extension, FrameType};
use dt_ids::{StreamId, StreamNumber};

/// What of a frame is authenticated beside its payload.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seal {
    pub(crate) stream_id: StreamId,
    pub(crate) frame_type: FrameType,
    pub(crate) extension: Extension,
    pub(crate) timestamp_us: u64,
    pub(crate) discardable: bool,
}

impl Seal {
    pub(crate) fn aad(&self) -> [u8; 27] {
        frame_aad(
            self.frame_type.to_byte(),
            &self.stream_id.into_bytes(),
            self.extension.write()[0],
            self.timestamp_us,
            self.discardable,
        )
    }
}

/// Nothing can be sealed, or it would be too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotSealed {
    NoKeys,
    TooLong,
}

#[derive(Debug, Default)]
enum State {
    /// Whether the meeting is encrypted is not known yet.
    #[default]
    Unknown,
    /// It is not.
    Plain,
    /// It is, and there are no keys now.
    NoKeys,
    Keys(Box<Sealer>),
}

#[derive(Debug, Default)]
pub(crate) struct Sealing(Mutex<State>);

impl Sealing {
    fn state(&self) -> MutexGuard<'_, State> {
        // A sealer counts before it uses a counter.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The meeting is encrypted, or is not. The first answer holds.
    pub(crate) fn decide(&self, encrypted: bool) {
        let mut state = self.state();
        if matches!(*state, State::Unknown) {
            *state = if encrypted {
                State::NoKeys
            } else {
                State::Plain
            };
        }
    }

    /// Seals in this epoch from now on. `fresh`: this client came in with it.
    pub(crate) fn set_epoch(&self, suite: Suite, keys: &EpochKeys, fresh: bool) {
        let mut state = self.state();
        match &mut *state {
            State::Keys(sealer) if !fresh => sealer.set_epoch(keys),
            _ => {
                let mut sealer = Sealer::new(suite);
                sealer.set_epoch(keys);
                *state = State::Keys(Box::new(sealer));
            }
        }
    }

    pub(super) fn forget_keys(&self) {
        *self.state() = State::NoKeys;
    }

    /// What goes out in place of a payload.
    pub(crate) fn seal(
        &self,
        number: StreamNumber,
        seal: &Seal,
        payload: &Bytes,
    ) -> Result<Bytes, NotSealed> {
        match &mut *self.state() {
            State::Plain => Ok(payload.clone()),
            State::Unknown | State::NoKeys => Err(NotSealed::NoKeys),
            State::Keys(sealer) => {
                let mut out = Vec::new();
                let encoding = seal.extension.encoding.get();
                match sealer.seal(number.get(), encoding, &seal.aad(), payload, &mut out) {
                    Ok(()) => Ok(out.into()),
                    Err(dt_e2ee::SealError::TooLong) => Err(NotSealed::TooLong),
                    Err(_) => Err(NotSealed::NoKeys),
                }
            }
        }
    }
}
