//! Sealing: one sender's keys and counters.

use std::collections::{HashMap, VecDeque};

use sframe::{crypto::EncryptionBufferView, header::SframeHeader, key::EncryptionKey};

use super::{Additional, HEADER_BYTES_MAX, SEALED_BYTES_MAX, TAG_BYTES, cipher_suite};
use crate::kid::{ENCODING_MAX, Kid, LEAF_MAX, Suite};
use crate::member::EpochKeys;

/// Epochs whose counters are remembered, should a commit be rolled back: a
/// counter that starts again under the same key would give its frames away.
const EPOCHS_KEPT: usize = 4;

/// A shorter base key is a mistake of the caller, not a key.
const BASE_KEY_BYTES_MIN: usize = 16;

/// Why a frame was not sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// No epoch was set that can be sealed in.
    #[error("there is no epoch to seal in")]
    NoEpoch,
    /// The encoding or the leaf does not fit into a key id.
    #[error("the encoding or the leaf does not fit into a key id")]
    OutOfRange,
    /// The frame is longer than the wire takes.
    #[error("the frame is longer than the wire takes")]
    TooLong,
    /// A counter came to its end, or the cipher failed.
    #[error("the cipher refused")]
    Cipher,
}

/// One sender's side of SFrame. Counters belong to (leaf, epoch, stream,
/// encoding), start at 0 and live as long as the epoch, whatever becomes of
/// stream objects. One a group: forget it with the member, whose epochs start
/// anew with the next group; no key or counter is ever stored.
pub struct Sealer {
    suite: Suite,
    /// The epoch that is sealed in stands first.
    epochs: VecDeque<Epoch>,
    sealing: bool,
    newest: u64,
    additional: Additional,
}

struct Epoch {
    keys: EpochKeys,
    streams: HashMap<(u8, u8), Stream>,
}

struct Stream {
    key: EncryptionKey,
    counter: u64,
}

impl std::fmt::Debug for Sealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sealer")
            .field("suite", &self.suite)
            .finish_non_exhaustive()
    }
}

impl Sealer {
    /// Without an epoch yet.
    #[must_use]
    pub fn new(suite: Suite) -> Self {
        Self {
            suite,
            epochs: VecDeque::new(),
            sealing: false,
            newest: 0,
            additional: Additional::default(),
        }
    }

    /// Seals in this epoch from now on. Coming back to an epoch (its commit was
    /// rolled back) goes on with its counters; one so long ago that they are
    /// forgotten is not sealed in.
    pub fn set_epoch(&mut self, keys: &EpochKeys) {
        let known = self
            .epochs
            .iter()
            .position(|epoch| epoch.keys.base_key == keys.base_key);
        let epoch = match known {
            Some(index) => self.epochs.remove(index),
            None if keys.epoch.saturating_add(EPOCHS_KEPT as u64) <= self.newest => None,
            None if keys.base_key.len() < BASE_KEY_BYTES_MIN => None,
            None => Some(Epoch {
                keys: keys.clone(),
                streams: HashMap::new(),
            }),
        };
        self.sealing = epoch.is_some();
        self.newest = self.newest.max(keys.epoch);
        if let Some(epoch) = epoch {
            self.epochs.push_front(epoch);
            self.epochs.truncate(EPOCHS_KEPT);
        }
    }

    /// The epoch that is sealed in.
    #[must_use]
    pub fn epoch(&self) -> Option<u64> {
        let epoch = self.epochs.front().filter(|_| self.sealing)?;
        Some(epoch.keys.epoch)
    }

    /// Seals a frame; `out` is replaced by the SFrame ciphertext, header
    /// included. A stream number must not be given to another stream within an
    /// epoch.
    pub fn seal(
        &mut self,
        stream: u8,
        encoding: u8,
        aad: &[u8],
        plain: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), SealError> {
        if plain.len() > SEALED_BYTES_MAX - HEADER_BYTES_MAX - TAG_BYTES {
            return Err(SealError::TooLong);
        }
        let epoch = self
            .epochs
            .front_mut()
            .filter(|_| self.sealing)
            .ok_or(SealError::NoEpoch)?;
        let stream = epoch.stream(self.suite, stream, encoding)?;
        let header = SframeHeader::new(stream.key.key_id(), stream.counter);
        let header_bytes = header.len();
        let plain_end = header_bytes + plain.len();
        out.clear();
        out.resize(header_bytes, 0);
        header
            .serialize(&mut out[..])
            .map_err(|_| SealError::Cipher)?;
        out.extend_from_slice(plain);
        out.resize(plain_end + TAG_BYTES, 0);
        let (head, rest) = out.split_at_mut(header_bytes);
        let (data, tag) = rest.split_at_mut(plain.len());
        // Counted before it is used: no failure gives a counter out twice.
        let counter = stream.counter;
        stream.counter = counter.checked_add(1).ok_or(SealError::Cipher)?;
        stream
            .key
            .encrypt(
                EncryptionBufferView {
                    aad: self.additional.join(head, aad),
                    data,
                    tag,
                },
                counter,
            )
            .map_err(|_| SealError::Cipher)
    }
}

impl Epoch {
    fn stream(&mut self, suite: Suite, stream: u8, encoding: u8) -> Result<&mut Stream, SealError> {
        use std::collections::hash_map::Entry;

        match self.streams.entry((stream, encoding)) {
            Entry::Occupied(entry) => Ok(entry.into_mut()),
            Entry::Vacant(entry) => {
                if encoding > ENCODING_MAX || self.keys.leaf > LEAF_MAX {
                    return Err(SealError::OutOfRange);
                }
                let kid = Kid {
                    stream,
                    encoding,
                    leaf: self.keys.leaf,
                    epoch: self.keys.epoch.to_be_bytes()[7],
                };
                let key = EncryptionKey::derive_from(
                    cipher_suite(suite),
                    u64::from(kid.to_u32()),
                    &*self.keys.base_key,
                )
                .map_err(|_| SealError::Cipher)?;
                Ok(entry.insert(Stream { key, counter: 0 }))
            }
        }
    }
}
