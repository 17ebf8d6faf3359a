//! Links as receivers of one source: what of it is wanted beyond.

use std::collections::BTreeMap;

use dt_frame::{LinkPrefix, MediaKind};

use crate::{SessionKey, Target, Wanted, types::ENCODINGS_MAX};

/// Which encodings, and how fast at most.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Wants {
    mask: u16,
    limits_bps: [u32; ENCODINGS_MAX],
}

impl From<&[Wanted]> for Wants {
    fn from(list: &[Wanted]) -> Self {
        let mut wants = Self::default();
        for wanted in list {
            let number = wanted.encoding.get();
            wants.mask |= 1 << number;
            wants.limits_bps[usize::from(number)] = wanted.max_bitrate_bps;
        }
        wants
    }
}

/// A link that receives a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Outlet {
    pub(crate) prefix: LinkPrefix,
    pub(crate) wants: Wants,
}

impl Outlet {
    /// Sound goes over a link whoever wants it: who is loud is told by it.
    pub(crate) const fn new(prefix: LinkPrefix, wants: Wants, kind: MediaKind) -> Self {
        let wants = match kind {
            MediaKind::Video => wants,
            MediaKind::Audio => Wants {
                mask: u16::MAX,
                limits_bps: [0; ENCODINGS_MAX],
            },
        };
        Self { prefix, wants }
    }

    pub(crate) const fn takes(&self, encoding: u8) -> bool {
        self.wants.mask & (1 << encoding) != 0
    }

    /// Bits per second of an encoding that is wanted; 0: all.
    pub(crate) fn limit_bps(&self, encoding: u8) -> Option<u32> {
        let limit = self.wants.limits_bps.get(usize::from(encoding))?;
        self.takes(encoding).then_some(*limit)
    }

    pub(crate) fn target(&self, session: SessionKey) -> Target {
        Target {
            session,
            label: self.prefix.route.into(),
        }
    }
}

/// All links that receive a source. Ordered, so that the same inputs give the same
/// outputs.
pub(crate) type Outlets = BTreeMap<SessionKey, Outlet>;
