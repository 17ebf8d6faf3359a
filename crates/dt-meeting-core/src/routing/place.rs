//! At which handlers somebody is, also in the middle of a move.
//!
//! A move goes in steps, each of which only adds before the next takes away:
//!
//! ```text
//!  Opening  the client opens a session at the new handler; nothing else changes
//!  Both     it sends to both and is sent to from both; others still have it
//!           from the old one
//!  Handing  others have it from the new one; what the old one passed on goes on
//! ```

use dt_ids::HandlerId;

use crate::time::Time;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    home: HandlerId,
    spare: Option<HandlerId>,
    moving: Option<Move>,
    /// A move failed: none is begun before this.
    rests_until: Option<Time>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Move {
    /// Until it has a session at the new handler, or that takes too long.
    Opening {
        to: HandlerId,
        until: Time,
    },
    /// The home is the new one already.
    Both {
        from: HandlerId,
        until: Time,
    },
    Handing {
        from: HandlerId,
        until: Time,
    },
}

impl Move {
    pub(crate) const fn until(self) -> Time {
        match self {
            Self::Opening { until, .. }
            | Self::Both { until, .. }
            | Self::Handing { until, .. } => until,
        }
    }

    const fn other(self) -> HandlerId {
        match self {
            Self::Opening { to, .. } => to,
            Self::Both { from, .. } | Self::Handing { from, .. } => from,
        }
    }
}

impl Place {
    pub(crate) const fn new(home: HandlerId, spare: Option<HandlerId>) -> Self {
        Self {
            home,
            spare,
            moving: None,
            rests_until: None,
        }
    }

    /// Pictures go there and come from there.
    pub(crate) const fn home(&self) -> HandlerId {
        self.home
    }

    /// Sound goes there too and comes from there too.
    pub(crate) const fn spare(&self) -> Option<HandlerId> {
        self.spare
    }

    pub(crate) const fn moving(&self) -> Option<Move> {
        self.moving
    }

    /// The home before, while it still serves.
    pub(crate) const fn leaving(&self) -> Option<HandlerId> {
        match self.moving {
            Some(Move::Both { from, .. } | Move::Handing { from, .. }) => Some(from),
            Some(Move::Opening { .. }) | None => None,
        }
    }

    /// All handlers where it is registered, home first; each once.
    pub(crate) fn handlers(&self) -> impl Iterator<Item = HandlerId> + use<> {
        let other = self.moving.map(Move::other);
        let other = other.filter(|other| Some(*other) != self.spare && *other != self.home);
        [Some(self.home), self.spare, other].into_iter().flatten()
    }

    pub(crate) fn contains(&self, handler: HandlerId) -> bool {
        self.handlers().any(|id| id == handler)
    }

    /// Where its streams go to; the first one passes them on to others.
    pub(crate) fn sends_to(&self, audio: bool) -> impl Iterator<Item = HandlerId> + use<> {
        let (first, second) = match self.moving {
            Some(Move::Both { from, .. }) => (from, Some(self.home)),
            Some(Move::Handing { from, .. }) => (self.home, Some(from)),
            Some(Move::Opening { .. }) | None => (self.home, None),
        };
        let spare = self.spare.filter(|spare| audio && Some(*spare) != second);
        let spare = spare.filter(|spare| *spare != first);
        [Some(first), second, spare].into_iter().flatten()
    }

    /// Where it gets streams from.
    pub(crate) fn receives_from(&self, audio: bool) -> impl Iterator<Item = HandlerId> + use<> {
        // The same places: who sends to one hears from it.
        self.sends_to(audio)
    }

    pub(crate) fn rests(&self, now: Time) -> bool {
        self.rests_until.is_some_and(|until| now < until)
    }

    /// When a step is due, or a move may be tried again.
    pub(crate) fn next_timeout(&self) -> Option<Time> {
        self.moving.map(Move::until).or(self.rests_until)
    }

    pub(crate) const fn set_spare(&mut self, spare: Option<HandlerId>) {
        self.spare = spare;
    }

    pub(crate) const fn rest(&mut self, until: Option<Time>) {
        self.rests_until = until;
    }

    /// The first step of a move.
    pub(crate) const fn open(&mut self, to: HandlerId, until: Time) {
        self.moving = Some(Move::Opening { to, until });
    }

    /// The next one: the home is the new one. What was the spare stays it, unless
    /// it is the home now.
    pub(crate) fn go(&mut self, to: HandlerId, until: Time) {
        let from = std::mem::replace(&mut self.home, to);
        self.moving = Some(Move::Both { from, until });
        self.spare = self.spare.filter(|spare| *spare != to);
    }

    pub(crate) const fn hand_over(&mut self, until: Time) {
        if let Some(Move::Both { from, .. }) = self.moving {
            self.moving = Some(Move::Handing { from, until });
        }
    }

    /// The last one, or the end of a move that can't be finished.
    pub(crate) const fn stay(&mut self) {
        self.moving = None;
    }

    /// At once, because the home is gone.
    pub(crate) fn flee(&mut self, to: HandlerId) {
        let gone = std::mem::replace(&mut self.home, to);
        self.moving = None;
        // It may come back, and is no worse as a spare than none.
        self.spare = match self.spare {
            Some(spare) if spare != to => Some(spare),
            _ => Some(gone),
        };
    }
}
