//! The machine itself: one peer that is to be reached, from the first attempt to
//! the end.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use rand::{SeedableRng, rngs::StdRng};

use crate::{Backoff, Liveness, Probe};

/// When to do what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config {
    /// For opening a session, and again for authenticating over it.
    pub attempt_timeout: Duration,
    /// Without a first connection for so long it is given up.
    pub first_max: Duration,
    /// Lost for so long it is given up.
    pub lost_max: Duration,
    /// Between two probes.
    pub probe_interval: Duration,
    /// A session on which nothing was heard for so long is dead.
    pub dead_after: Duration,
    /// Before the second attempt; doubled for each further one.
    pub backoff_first: Duration,
    /// The longest wait between two attempts.
    pub backoff_max: Duration,
    /// The first attempt after a loss waits up to so long, so that not everybody
    /// comes back in the same instant.
    pub spread: Duration,
}

impl Default for Config {
    /// 5 s an attempt, 15 s for the first connection, 5 min for coming back; a
    /// probe a second, dead after 2.5 s; waits from 250 ms to 5 s.
    fn default() -> Self {
        Self {
            attempt_timeout: Duration::from_secs(5),
            first_max: Duration::from_secs(15),
            lost_max: Duration::from_secs(300),
            probe_interval: Duration::from_secs(1),
            dead_after: Duration::from_millis(2500),
            backoff_first: Duration::from_millis(250),
            backoff_max: Duration::from_secs(5),
            spread: Duration::from_millis(100),
        }
    }
}

/// Counts the sessions that were tried. What happens to an older one than the
/// newest is of no matter any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Attempt(pub u64);

/// What the driver is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Open a session, and report it as this attempt.
    Connect(Attempt),
    /// The session is open: prove who this is, and report the answer. Who has
    /// nothing to prove reports it at once.
    Authenticate(Attempt),
    /// Send a probe with this number, which the peer echoes.
    Probe(Attempt, u64),
    /// Close this session, or stop opening it.
    Close(Attempt),
    /// [`Reconnect::phase`] is another one.
    PhaseChanged,
}

/// How it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Not begun.
    Idle,
    /// Opening the first session, or waiting to try again.
    Connecting,
    /// The first session is open, and not yet of use.
    Authenticating,
    /// There is a session.
    Connected,
    /// There was one; it is tried to come back.
    Reconnecting {
        /// When it was lost.
        since: Instant,
    },
    /// Over.
    Closed(Closed),
}

/// Why it is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Closed {
    /// The driver said so.
    Wanted,
    /// The peer could not be reached at all.
    Unreachable,
    /// It was lost for too long.
    Lost,
}

#[derive(Debug)]
enum State {
    Idle,
    Opening {
        attempt: Attempt,
        until: Instant,
    },
    Authenticating {
        attempt: Attempt,
        until: Instant,
    },
    Connected {
        attempt: Attempt,
        liveness: Liveness,
    },
    Waiting {
        until: Instant,
    },
    Closed(Closed),
}

/// Reaches one peer and stays connected. Call [`handle_start`](Self::handle_start)
/// once; after every call of a `handle_*`, do what
/// [`poll_effect`](Self::poll_effect) gives until it gives nothing, and call
/// [`handle_timeout`](Self::handle_timeout) at [`poll_timeout`](Self::poll_timeout).
#[derive(Debug)]
pub struct Reconnect {
    config: Config,
    rng: StdRng,
    backoff: Backoff,
    state: State,
    attempts: u64,
    started: Option<Instant>,
    /// Set from the loss of a session until there is one again.
    lost_at: Option<Instant>,
    effects: VecDeque<Effect>,
    shown: Phase,
}

impl Reconnect {
    /// A machine that has not begun. The seed is for the jitter of its waits.
    #[must_use]
    pub fn new(config: Config, seed: u64) -> Self {
        Self {
            backoff: Backoff::new(config.backoff_first, config.backoff_max, config.spread),
            config,
            rng: StdRng::seed_from_u64(seed),
            state: State::Idle,
            attempts: 0,
            started: None,
            lost_at: None,
            effects: VecDeque::new(),
            shown: Phase::Idle,
        }
    }

    /// How it stands.
    #[must_use]
    pub fn phase(&self) -> Phase {
        match (&self.state, self.lost_at) {
            (State::Idle, _) => Phase::Idle,
            (State::Closed(why), _) => Phase::Closed(*why),
            (State::Connected { .. }, _) => Phase::Connected,
            (_, Some(since)) => Phase::Reconnecting { since },
            (State::Authenticating { .. }, None) => Phase::Authenticating,
            (State::Opening { .. } | State::Waiting { .. }, None) => Phase::Connecting,
        }
    }

    /// The session that counts: the one that is open or being opened.
    #[must_use]
    pub fn current(&self) -> Option<Attempt> {
        match &self.state {
            State::Opening { attempt, .. }
            | State::Authenticating { attempt, .. }
            | State::Connected { attempt, .. } => Some(*attempt),
            State::Idle | State::Waiting { .. } | State::Closed(_) => None,
        }
    }

    /// Whether this attempt's session is open and waits for the peer's answer.
    #[must_use]
    pub fn is_authenticating(&self, attempt: Attempt) -> bool {
        matches!(self.state, State::Authenticating { attempt: current, .. } if current == attempt)
    }

    /// The newest round-trip time of the session.
    #[must_use]
    pub fn rtt(&self) -> Option<Duration> {
        match &self.state {
            State::Connected { liveness, .. } => liveness.rtt(),
            _ => None,
        }
    }

    /// The next thing to do, oldest first.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        if let Some(effect) = self.effects.pop_front() {
            return Some(effect);
        }
        let phase = self.phase();
        if phase != self.shown {
            self.shown = phase;
            return Some(Effect::PhaseChanged);
        }
        None
    }

    /// When [`handle_timeout`](Self::handle_timeout) is wanted at the latest.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        match &self.state {
            State::Idle | State::Closed(_) => None,
            State::Opening { until, .. }
            | State::Authenticating { until, .. }
            | State::Waiting { until } => Some(*until),
            State::Connected { liveness, .. } => Some(liveness.due()),
        }
    }

    /// Begins.
    pub fn handle_start(&mut self, now: Instant) {
        if matches!(self.state, State::Idle) {
            self.started = Some(now);
            self.connect(now);
        }
    }

    /// The session of this attempt is open.
    pub fn handle_open(&mut self, attempt: Attempt, now: Instant) {
        if matches!(self.state, State::Opening { attempt: current, .. } if current == attempt) {
            self.effects.push_back(Effect::Authenticate(attempt));
            self.state = State::Authenticating {
                attempt,
                until: now + self.config.attempt_timeout,
            };
        } else {
            self.effects.push_back(Effect::Close(attempt));
        }
    }

    /// The session of this attempt could not be opened.
    pub fn handle_open_failed(&mut self, attempt: Attempt, now: Instant) {
        if matches!(self.state, State::Opening { attempt: current, .. } if current == attempt) {
            self.retry(now, None);
        }
    }

    /// The peer knows who this is: the session is of use. `false` when it is not
    /// the session that waits for it.
    pub fn handle_authenticated(&mut self, attempt: Attempt, now: Instant) -> bool {
        if !self.is_authenticating(attempt) {
            return false;
        }
        self.lost_at = None;
        self.backoff.reset();
        let liveness = Liveness::new(self.config.probe_interval, self.config.dead_after, now);
        self.state = State::Connected { attempt, liveness };
        self.probe(now);
        true
    }

    /// The peer says no for now, and not before `retry_after`.
    pub fn handle_refused(
        &mut self,
        attempt: Attempt,
        retry_after: Option<Duration>,
        now: Instant,
    ) {
        if self.is_authenticating(attempt) {
            self.effects.push_back(Effect::Close(attempt));
            self.retry(now, retry_after);
        }
    }

    /// Something arrived: a sign of life.
    pub fn handle_heard(&mut self, from: Attempt, now: Instant) {
        if let State::Connected { attempt, liveness } = &mut self.state
            && *attempt == from
        {
            liveness.heard(now);
        }
    }

    /// The peer has echoed the probe with this number.
    pub fn handle_echo(&mut self, from: Attempt, number: u64, now: Instant) {
        if let State::Connected { attempt, liveness } = &mut self.state
            && *attempt == from
        {
            liveness.handle_echo(number, now);
        }
    }

    /// The session of this attempt is gone, and another one is worth a try.
    pub fn handle_lost(&mut self, attempt: Attempt, retry_after: Option<Duration>, now: Instant) {
        if self.current() == Some(attempt) {
            self.retry(now, retry_after);
        }
    }

    /// The session of this attempt is gone, and no other one is wanted.
    pub fn handle_lost_for_good(&mut self, attempt: Attempt) {
        if self.current() == Some(attempt) {
            self.state = State::Closed(Closed::Wanted);
        }
    }

    /// No session is wanted any more.
    pub fn handle_close(&mut self) {
        if matches!(self.state, State::Closed(_)) {
            return;
        }
        if let Some(attempt) = self.current() {
            self.effects.push_back(Effect::Close(attempt));
        }
        self.state = State::Closed(Closed::Wanted);
    }

    /// Something may be due.
    pub fn handle_timeout(&mut self, now: Instant) {
        match self.state {
            State::Opening { attempt, until } | State::Authenticating { attempt, until }
                if now >= until =>
            {
                self.effects.push_back(Effect::Close(attempt));
                self.retry(now, None);
            }
            State::Waiting { until } if now >= until => self.connect(now),
            State::Connected { .. } => self.probe(now),
            _ => {}
        }
    }

    fn connect(&mut self, now: Instant) {
        self.attempts += 1;
        let attempt = Attempt(self.attempts);
        self.effects.push_back(Effect::Connect(attempt));
        self.state = State::Opening {
            attempt,
            until: now + self.config.attempt_timeout,
        };
    }

    fn probe(&mut self, now: Instant) {
        let State::Connected { attempt, liveness } = &mut self.state else {
            return;
        };
        let attempt = *attempt;
        loop {
            match liveness.poll(now) {
                Probe::Send(number) => self.effects.push_back(Effect::Probe(attempt, number)),
                Probe::Wait(_) => return,
                Probe::Dead => break,
            }
        }
        self.effects.push_back(Effect::Close(attempt));
        self.retry(now, None);
    }

    fn retry(&mut self, now: Instant, after: Option<Duration>) {
        if matches!(self.state, State::Connected { .. }) {
            self.lost_at = Some(now);
        }
        let wait = self.backoff.next(&mut self.rng);
        let until = now + wait.max(after.unwrap_or_default());
        let (since, most, why) = match (self.lost_at, self.started) {
            (Some(lost), _) => (lost, self.config.lost_max, Closed::Lost),
            (None, Some(started)) => (started, self.config.first_max, Closed::Unreachable),
            (None, None) => (now, Duration::ZERO, Closed::Unreachable),
        };
        self.state = if until >= since + most {
            State::Closed(why)
        } else {
            State::Waiting { until }
        };
    }
}
