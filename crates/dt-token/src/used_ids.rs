//! The memory that makes connection tokens single use.
//!
//! A handler drives it: one insert for each token that verified. It is bounded:
//! an id is forgotten when its token could not verify any more, and when the
//! memory is full of living ids, further tokens are refused rather than let in
//! twice.

use std::collections::{BTreeSet, HashSet};

use crate::{SKEW_S, TokenId, UnixTime};

/// Why a token may not be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UseError {
    /// It was used before.
    #[error("the token was used before")]
    Used,
    /// Its time is over.
    #[error("the token has expired")]
    Expired,
    /// Too many tokens were used in the last minutes; later there is room.
    #[error("too many tokens in use")]
    Full,
}

/// Token ids seen, each until its token has ended.
#[derive(Debug)]
pub struct UsedIds {
    ids: HashSet<TokenId>,
    by_end: BTreeSet<(UnixTime, TokenId)>,
    capacity: usize,
}

impl UsedIds {
    /// Ids remembered by default: 65,536 joins within six minutes, about 8 MiB.
    pub const CAPACITY_DEFAULT: usize = 65_536;

    /// A memory of at most `capacity` ids.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self {
            ids: HashSet::new(),
            by_end: BTreeSet::new(),
            capacity,
        }
    }

    /// Notes the use of a token that ends at `expires_at`.
    ///
    /// # Errors
    /// See [`UseError`]; the token must not be let in.
    pub fn insert(
        &mut self,
        id: TokenId,
        expires_at: UnixTime,
        now: UnixTime,
    ) -> Result<(), UseError> {
        self.forget_ended(now);
        // The same moment at which `connection::verify` begins to refuse it.
        let end = UnixTime(expires_at.as_secs().saturating_add(SKEW_S));
        if end <= now {
            return Err(UseError::Expired);
        }
        if self.ids.contains(&id) {
            return Err(UseError::Used);
        }
        if self.ids.len() >= self.capacity {
            return Err(UseError::Full);
        }
        self.ids.insert(id);
        self.by_end.insert((end, id));
        Ok(())
    }

    /// How many ids are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether none are.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    fn forget_ended(&mut self, now: UnixTime) {
        while let Some(&(end, id)) = self.by_end.first() {
            if end > now {
                break;
            }
            self.by_end.pop_first();
            self.ids.remove(&id);
        }
    }
}

impl Default for UsedIds {
    fn default() -> Self {
        Self::new(Self::CAPACITY_DEFAULT)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: UnixTime = UnixTime(1000);
    const END: UnixTime = UnixTime(1300);

    #[test]
    fn an_id_is_taken_once() {
        let (mut used, id) = (UsedIds::default(), TokenId::random());
        assert_eq!(used.insert(id, END, NOW), Ok(()));
        assert_eq!(used.insert(id, END, NOW), Err(UseError::Used));
        assert_eq!(used.insert(id, END, UnixTime(1359)), Err(UseError::Used));
        assert_eq!(used.insert(id, END, UnixTime(1360)), Err(UseError::Expired));
        assert!(used.is_empty());
    }

    #[test]
    fn a_full_memory_refuses_rather_than_forgets() {
        let mut used = UsedIds::new(1);
        assert_eq!(used.insert(TokenId::random(), END, NOW), Ok(()));
        assert_eq!(
            used.insert(TokenId::random(), END, NOW),
            Err(UseError::Full)
        );
        assert_eq!(
            used.insert(TokenId::random(), UnixTime(9999), UnixTime(1360)),
            Ok(())
        );
    }

    proptest! {
        #[test]
        fn no_id_is_ever_taken_twice(
            steps in proptest::collection::vec((0u8..8, 0u64..20), 0..200),
        ) {
            let mut used = UsedIds::new(5);
            let mut taken = HashSet::new();
            let mut now = 0;
            for (id, wait) in steps {
                now += wait;
                // Each id has one fixed end, as tokens do.
                let end = UnixTime(100 + u64::from(id) * 100);
                if used.insert(TokenId::from_bytes([id; 16]), end, UnixTime(now)).is_ok() {
                    prop_assert!(taken.insert(id));
                }
                prop_assert!(used.len() <= 5);
            }
        }
    }
}
