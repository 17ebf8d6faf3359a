//! How full a handler is, and that it will stop.

use std::sync::atomic::{AtomicBool, Ordering};

use dt_wire::internal::{HandlerEvent, HandlerLoad, handler_event};

/// What controllers are told of the handler as a whole.
#[derive(Debug, Default)]
pub(crate) struct Load {
    draining: AtomicBool,
}

impl Load {
    /// It begins to drain. `true` the first time.
    pub(crate) fn drain(&self) -> bool {
        !self.draining.swap(true, Ordering::Relaxed)
    }

    /// The fuller of its sessions and streams counts.
    pub(crate) fn event(&self, sessions: (usize, usize), streams: (usize, usize)) -> HandlerEvent {
        let share = |(used, most): (usize, usize)| used.saturating_mul(1000) / most.max(1);
        let permille = share(sessions).max(share(streams)).min(1000);
        load_event(
            u32::try_from(permille).unwrap_or(1000),
            self.draining.load(Ordering::Relaxed),
        )
    }
}

fn load_event(load_permille: u32, draining: bool) -> HandlerEvent {
    HandlerEvent {
        meeting_id: String::new(),
        event: Some(handler_event::Event::Load(HandlerLoad {
            load_permille,
            draining,
        })),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fuller_of_sessions_and_streams_counts() {
        let load = Load::default();
        assert_eq!(load.event((100, 1000), (900, 1000)), load_event(900, false));
        assert_eq!(load.event((3000, 1000), (0, 0)), load_event(1000, false));
        assert!(load.drain() && !load.drain());
        assert_eq!(load.event((0, 1000), (0, 10)), load_event(0, true));
    }
}
