//! WebTransport or WebSocket: which is tried first, when the other joins in, who
//! wins, and what is remembered of it. Sans-IO: [`Memory`] makes a [`Race`], the
//! race says what to start and is told how it went, and its result goes back
//! into the memory.
//!
//! WebTransport goes first, for media is better off with it; after 400 ms, or as
//! soon as it has failed, the WebSocket joins in, and the first that is ready
//! wins (RFC 8305 does the same with addresses). When a session died under the
//! hands of its user, the other carrier goes first. What got through is
//! remembered for ten minutes, for this meeting more firmly than for the next.

use std::time::{Duration, Instant};

/// By which way sessions are opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Transport {
    /// Whichever gets through, WebTransport first.
    #[default]
    Auto,
    /// WebTransport alone.
    WebTransport,
    /// WebSockets alone.
    WebSocket,
}

/// One of the two that race.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Way {
    WebTransport,
    WebSocket,
}

impl Way {
    pub(super) const fn other(self) -> Self {
        match self {
            Self::WebTransport => Self::WebSocket,
            Self::WebSocket => Self::WebTransport,
        }
    }
}

/// How long the first one is alone.
const HEAD_START: Duration = Duration::from_millis(400);
/// How long it is remembered what got through.
const REMEMBERED: Duration = Duration::from_secs(600);

/// What is known of a network, for all meetings that are joined from it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Known {
    /// When a WebSocket was needed last.
    needed_websocket: Option<Instant>,
}

/// What is known in one meeting.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Memory {
    last: Option<(Way, Instant)>,
    died: Option<Way>,
}

impl Memory {
    /// Whose turn it is now.
    pub(super) fn race(&self, known: &Known, transport: Transport, now: Instant) -> Race {
        let fresh = |then: Instant| now.saturating_duration_since(then) < REMEMBERED;
        let (first, second_after) = match (transport, self.died, self.last) {
            (Transport::WebTransport, ..) => (Way::WebTransport, None),
            (Transport::WebSocket, ..) => (Way::WebSocket, None),
            (Transport::Auto, Some(dead), _) => (dead.other(), Some(HEAD_START)),
            (_, None, Some((Way::WebSocket, then))) if fresh(then) => {
                (Way::WebSocket, Some(HEAD_START))
            }
            // WebTransport may get through by now, but nobody waits for it.
            (_, None, None) if known.needed_websocket.is_some_and(fresh) => {
                (Way::WebTransport, Some(Duration::ZERO))
            }
            _ => (Way::WebTransport, Some(HEAD_START)),
        };
        Race {
            next: Some((first, now)),
            then: second_after.map(|after| (first.other(), now + after)),
            running: 0,
        }
    }

    /// A session is open.
    pub(super) fn won(&mut self, known: &mut Known, way: Way, now: Instant) {
        self.last = Some((way, now));
        self.died = None;
        known.needed_websocket = match way {
            Way::WebSocket => Some(now),
            Way::WebTransport => None,
        };
    }

    /// Nothing got through. Whatever died before, the network itself is gone, or
    /// the server.
    pub(super) fn lost(&mut self) {
        self.died = None;
    }

    /// A session died.
    pub(super) fn died(&mut self, way: Way) {
        self.died = Some(way);
    }
}

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Start this one beside what runs.
    Start(Way),
    /// Wait for what runs, and no longer than until this moment.
    WaitUntil(Instant),
    /// Wait for what runs.
    Wait,
    /// Both have failed.
    Over,
}

/// One race. The first that is ready ends it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Race {
    next: Option<(Way, Instant)>,
    then: Option<(Way, Instant)>,
    running: u32,
}

impl Race {
    /// Ask until it is a wait or the end.
    pub(super) fn poll(&mut self, now: Instant) -> Step {
        match self.next {
            Some((way, at)) if now >= at || self.running == 0 => {
                self.next = self.then.take();
                self.running += 1;
                Step::Start(way)
            }
            Some((_, at)) => Step::WaitUntil(at),
            None if self.running == 0 => Step::Over,
            None => Step::Wait,
        }
    }

    /// One that ran could not connect; nobody waits for the other's turn then.
    pub(super) fn handle_failed(&mut self) {
        self.running = self.running.saturating_sub(1);
    }
}

#[cfg(test)]
#[path = "race_tests.rs"]
mod tests;
