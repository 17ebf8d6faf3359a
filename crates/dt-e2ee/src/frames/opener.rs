//! Opening: the keys of the last epochs and what was seen of each sender.

use std::collections::{HashMap, VecDeque};

use sframe::{crypto::DecryptionBufferView, header::SframeHeader, key::DecryptionKey};

use super::window::Window;
use super::{Additional, SEALED_BYTES_MAX, TAG_BYTES, cipher_suite};
use crate::kid::{Kid, Suite};
use crate::member::EpochKeys;

/// Epochs whose frames are opened.
const EPOCHS_MAX: usize = 16;
/// How long an epoch is kept after the next began.
const RETIRED_MS: u64 = 10_000;
/// Keys (a stream and an encoding each) of one leaf in one epoch. Above it the
/// leaf's further streams are refused: a member can't make another's memory grow.
const LEAF_KEYS_MAX: u16 = 256;

/// What was opened: who sealed it, and where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opened {
    /// The sender's number for the stream.
    pub stream: u8,
    /// The encoding.
    pub encoding: u8,
    /// The sender's leaf. Whether it may send on this stream, and whether its
    /// credential is good, is for the caller to judge.
    pub leaf: u32,
    /// The whole epoch.
    pub epoch: u64,
    /// The sender's counter within (leaf, epoch, stream, encoding).
    pub counter: u64,
}

/// Why a frame was not opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// Sealed in an epoch that we don't have yet: worth holding for a moment.
    #[error("sealed in an epoch to come")]
    NewerEpoch,
    /// Sealed before we came: never to be opened, and no failure.
    #[error("sealed before we joined")]
    OlderThanJoin,
    /// Sealed in an epoch that is over.
    #[error("sealed in an epoch that is over")]
    UnknownEpoch,
    /// This counter was opened, or is too old to tell.
    #[error("seen before")]
    Replayed,
    /// Not sealed with this key, or changed on the way.
    #[error("forged")]
    Forged,
    /// Not an SFrame of ours.
    #[error("malformed")]
    Malformed,
}

/// One receiver's side of SFrame. One a group, as the sealer.
pub struct Opener {
    suite: Suite,
    /// Newest last; of one number there may be two when a commit was rolled back.
    epochs: VecDeque<Epoch>,
    current: Option<u64>,
    first: u64,
    additional: Additional,
}

struct Epoch {
    keys: EpochKeys,
    senders: HashMap<u32, Sender>,
    leaf_keys: HashMap<u32, u16>,
    retired_at_ms: Option<u64>,
}

struct Sender {
    key: DecryptionKey,
    window: Window,
}

impl std::fmt::Debug for Opener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Opener")
            .field("suite", &self.suite)
            .field("current", &self.current)
            .finish_non_exhaustive()
    }
}

impl Opener {
    /// Without an epoch yet: every frame is `OlderThanJoin`.
    #[must_use]
    pub fn new(suite: Suite) -> Self {
        Self {
            suite,
            epochs: VecDeque::new(),
            current: None,
            first: u64::MAX,
            additional: Additional::default(),
        }
    }

    /// The epoch that holds from now on; those before it are kept for 10 s.
    /// Coming back to one (its commit was rolled back) keeps what was seen in it.
    pub fn add_epoch(&mut self, keys: &EpochKeys, now_ms: u64) {
        self.expire(now_ms);
        for epoch in &mut self.epochs {
            epoch.retired_at_ms.get_or_insert(now_ms);
        }
        let known = self
            .epochs
            .iter()
            .position(|epoch| epoch.keys.base_key == keys.base_key);
        let mut epoch = known
            .and_then(|index| self.epochs.remove(index))
            .unwrap_or_else(|| Epoch {
                keys: keys.clone(),
                senders: HashMap::new(),
                leaf_keys: HashMap::new(),
                retired_at_ms: None,
            });
        epoch.retired_at_ms = None;
        self.epochs.push_back(epoch);
        if self.epochs.len() > EPOCHS_MAX {
            self.epochs.pop_front();
        }
        self.current = Some(keys.epoch);
        self.first = self.first.min(keys.epoch);
    }

    /// Opens a frame; `out` is replaced by what was sealed.
    pub fn open(
        &mut self,
        aad: &[u8],
        sealed: &[u8],
        out: &mut Vec<u8>,
        now_ms: u64,
    ) -> Result<Opened, OpenError> {
        self.expire(now_ms);
        if sealed.len() > SEALED_BYTES_MAX {
            return Err(OpenError::Malformed);
        }
        let header = SframeHeader::deserialize(sealed).map_err(|_| OpenError::Malformed)?;
        let (head, rest) = sealed
            .split_at_checked(header.len())
            .filter(|(_, rest)| rest.len() >= TAG_BYTES)
            .ok_or(OpenError::Malformed)?;
        let number = u32::try_from(header.key_id()).map_err(|_| OpenError::Malformed)?;
        let kid = Kid::from_u32(number);
        let counter = header.counter();

        let mut refused = self.without_epoch(kid.epoch);
        for epoch in self.epochs.iter_mut().rev() {
            if epoch.keys.epoch.to_be_bytes()[7] != kid.epoch {
                continue;
            }
            let additional = self.additional.join(head, aad);
            match epoch.open(self.suite, number, counter, additional, rest, out) {
                Ok(()) => {
                    return Ok(Opened {
                        stream: kid.stream,
                        encoding: kid.encoding,
                        leaf: kid.leaf,
                        epoch: epoch.keys.epoch,
                        counter,
                    });
                }
                Err(error) => refused = error,
            }
        }
        out.clear();
        Err(refused)
    }

    /// Forgets epochs that are over for 10 s, with their keys.
    pub fn expire(&mut self, now_ms: u64) {
        self.epochs.retain(|epoch| {
            epoch
                .retired_at_ms
                .is_none_or(|since| now_ms.saturating_sub(since) < RETIRED_MS)
        });
    }

    /// What to say of a frame whose epoch is not here: the low 8 bits are read
    /// as the nearest epoch to the present one.
    fn without_epoch(&self, low: u8) -> OpenError {
        let Some(current) = self.current else {
            return OpenError::OlderThanJoin;
        };
        let ahead = low.wrapping_sub(current.to_be_bytes()[7]);
        if (1..128).contains(&ahead) {
            return OpenError::NewerEpoch;
        }
        let behind = u64::from(ahead.wrapping_neg());
        match current.checked_sub(behind) {
            Some(epoch) if epoch >= self.first => OpenError::UnknownEpoch,
            _ => OpenError::OlderThanJoin,
        }
    }
}

impl Epoch {
    fn open(
        &mut self,
        suite: Suite,
        kid: u32,
        counter: u64,
        additional: &mut [u8],
        sealed: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), OpenError> {
        out.clear();
        out.extend_from_slice(sealed);
        let mut decrypt = |key: &DecryptionKey| {
            key.decrypt(
                DecryptionBufferView {
                    aad: additional,
                    data: out,
                },
                counter,
            )
            .map_err(|_| OpenError::Forged)
        };
        if let Some(sender) = self.senders.get_mut(&kid) {
            if sender.window.has(counter) {
                return Err(OpenError::Replayed);
            }
            decrypt(&sender.key)?;
            sender.window.mark(counter);
        } else {
            let known = self
                .leaf_keys
                .get(&Kid::from_u32(kid).leaf)
                .copied()
                .unwrap_or_default();
            if known >= LEAF_KEYS_MAX {
                return Err(OpenError::Malformed);
            }
            let key = DecryptionKey::derive_from(
                cipher_suite(suite),
                u64::from(kid),
                &*self.keys.base_key,
            )
            .map_err(|_| OpenError::Forged)?;
            decrypt(&key)?;
            // Kept only now: a forger can't fill the memory with keys.
            let mut window = Window::default();
            window.mark(counter);
            self.senders.insert(kid, Sender { key, window });
            self.leaf_keys.insert(Kid::from_u32(kid).leaf, known + 1);
        }
        out.truncate(sealed.len() - TAG_BYTES);
        Ok(())
    }
}
