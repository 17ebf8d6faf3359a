//! Which counters of a key were seen.

/// Counters that may arrive late and are told apart: what a handler can delay.
pub(crate) const WINDOW_COUNTERS: u64 = 1024;
const WORDS: usize = (WINDOW_COUNTERS / 64) as usize;

/// The newest counter of a key and the 1023 before it. Anything older counts as
/// seen.
#[derive(Debug, Default)]
pub(crate) struct Window {
    /// One more than the newest counter seen; 0: none was.
    next: u64,
    /// Bit `counter % 1024`: seen.
    seen: [u64; WORDS],
}

impl Window {
    /// Whether a counter can't be fresh.
    pub(crate) fn has(&self, counter: u64) -> bool {
        if counter >= self.next {
            return false;
        }
        self.next - counter > WINDOW_COUNTERS || self.seen[word(counter)] & bit(counter) != 0
    }

    /// Marks a counter as seen. Only what was opened may be marked, or a forger
    /// could push the window away from under the sender.
    pub(crate) fn mark(&mut self, counter: u64) {
        if counter >= self.next {
            let skipped = counter - self.next;
            if skipped >= WINDOW_COUNTERS {
                self.seen = [0; WORDS];
            } else {
                for skipped in self.next..counter {
                    self.seen[word(skipped)] &= !bit(skipped);
                }
            }
            self.next = counter.saturating_add(1);
        }
        self.seen[word(counter)] |= bit(counter);
    }
}

fn word(counter: u64) -> usize {
    (counter % WINDOW_COUNTERS / 64) as usize
}

fn bit(counter: u64) -> u64 {
    1 << (counter % 64)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_counter_is_fresh_once() {
        let mut window = Window::default();
        for counter in [0, 5, 3, 1023, 1024, 4, 2047] {
            assert!(!window.has(counter), "{counter}");
            window.mark(counter);
            assert!(window.has(counter), "{counter}");
        }
        assert!(window.has(1023));
        assert!(!window.has(1025));
    }

    #[test]
    fn what_is_older_than_the_window_is_never_fresh() {
        let mut window = Window::default();
        window.mark(5000);
        assert!(window.has(5000 - WINDOW_COUNTERS));
        assert!(!window.has(5001 - WINDOW_COUNTERS));
        window.mark(u64::MAX - 1);
        assert!(window.has(5001 - WINDOW_COUNTERS));
    }

    proptest! {
        #[test]
        fn the_window_remembers_as_a_set_would(
            steps in prop::collection::vec((0_u64..1500, any::<bool>()), 1..400),
        ) {
            let mut window = Window::default();
            let mut seen = HashSet::new();
            let mut newest = None::<u64>;
            let mut base = 0_u64;
            for (step, forward) in steps {
                let counter = if forward { base += step / 4; base } else { base.saturating_sub(step) };
                let too_old = newest.is_some_and(|newest| newest + 1 > counter + WINDOW_COUNTERS);
                let expected = too_old || seen.contains(&counter);
                prop_assert_eq!(window.has(counter), expected);
                if !expected {
                    window.mark(counter);
                    seen.insert(counter);
                    newest = newest.max(Some(counter));
                }
            }
        }
    }
}
