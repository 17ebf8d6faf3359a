//! What publishers have to know of the ways to the handlers: which of them is the
//! home, how long a datagram may be that all of them take, and how often sound is
//! to go out again.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use dt_frame::DATAGRAM_BYTES_SAFE;
use dt_ids::HandlerId;

use crate::Handler;

/// Above so many lost in a million one copy leaves too much; below so many it is
/// enough again. The same as handlers go by, who send sound on.
const TWICE_ABOVE_PPM: u32 = 40_000;
const ONCE_BELOW_PPM: u32 = 10_000;

/// Shared by the driver, the media sessions and the publishers of one seat.
#[derive(Debug, Default)]
pub(crate) struct Paths(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    /// The home first.
    handlers: Vec<HandlerId>,
    /// Of each session that is open.
    datagram_bytes: HashMap<HandlerId, usize>,
    /// Those at which sound gets lost, and how often it is to be sent again.
    lossy: HashMap<HandlerId, u8>,
}

impl Paths {
    fn known(&self) -> MutexGuard<'_, Known> {
        // It is whole between any two calls.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// These are the handlers of the seat from now on, the home first.
    pub(crate) fn set_handlers(&self, handlers: &[HandlerId]) {
        self.known().handlers = handlers.to_vec();
    }

    pub(crate) fn home(&self) -> Option<HandlerId> {
        self.known().handlers.first().copied()
    }

    pub(crate) fn handlers(&self) -> Vec<Handler> {
        let known = self.known();
        let home = known.handlers.first().copied();
        let shown = known.handlers.iter().map(|id| Handler {
            id: *id,
            home: Some(*id) == home,
            ready: known.datagram_bytes.contains_key(id),
        });
        shown.collect()
    }

    /// A session with a handler is open and takes datagrams of so many bytes.
    pub(crate) fn opened(&self, handler: HandlerId, datagram_bytes: usize) {
        self.known().datagram_bytes.insert(handler, datagram_bytes);
    }

    pub(crate) fn closed(&self, handler: HandlerId) {
        let mut known = self.known();
        known.datagram_bytes.remove(&handler);
        known.lossy.remove(&handler);
    }

    /// Frames are cut once for all handlers, so the narrowest way counts.
    pub(crate) fn datagram_bytes(&self) -> usize {
        let narrowest = self.known().datagram_bytes.values().min().copied();
        narrowest.unwrap_or(DATAGRAM_BYTES_SAFE)
    }

    /// A handler says how much gets lost on the way to it, and whether sound is to
    /// be sent again for it.
    pub(crate) fn repeat_audio(&self, handler: HandlerId, repeat: bool, lost_ppm: u32) {
        let mut known = self.known();
        if !repeat {
            known.lossy.remove(&handler);
            return;
        }
        let times = known.lossy.entry(handler).or_insert(1);
        if lost_ppm > TWICE_ABOVE_PPM {
            *times = 2;
        } else if lost_ppm < ONCE_BELOW_PPM {
            *times = 1;
        }
    }

    /// How often sound goes out again. What goes to one goes to all.
    pub(crate) fn audio_repeats(&self) -> usize {
        let most = self.known().lossy.values().max().copied();
        most.unwrap_or(0).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_narrowest_open_way_and_any_lossy_one_count_for_all() {
        let (paths, near, far) = (Paths::default(), HandlerId::random(), HandlerId::random());
        assert_eq!(paths.datagram_bytes(), DATAGRAM_BYTES_SAFE);
        paths.opened(near, 1100);
        paths.opened(far, 1050);
        paths.repeat_audio(far, true, 20_000);
        assert_eq!((paths.datagram_bytes(), paths.audio_repeats()), (1050, 1));
        paths.repeat_audio(near, false, 0);
        assert_eq!(paths.audio_repeats(), 1);
        for (lost_ppm, times) in [(50_000, 2), (30_000, 2), (0, 1), (30_000, 1)] {
            paths.repeat_audio(far, true, lost_ppm);
            assert_eq!(paths.audio_repeats(), times, "{lost_ppm}");
        }
        paths.closed(far);
        assert_eq!((paths.datagram_bytes(), paths.audio_repeats()), (1100, 0));
        paths.set_handlers(&[near, far]);
        let shown = paths.handlers().into_iter();
        let shown: Vec<_> = shown.map(|h| (h.id, h.home, h.ready)).collect();
        assert_eq!(shown, [(near, true, true), (far, false, false)]);
    }
}
