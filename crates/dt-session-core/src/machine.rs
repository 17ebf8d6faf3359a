//! The machine itself: one seat in one meeting, from the first attempt to the end.

use std::{
    collections::VecDeque,
    fmt,
    time::{Duration, Instant},
};

use bytes::Bytes;
use dt_wire::CloseCode;
use rand::{SeedableRng, rngs::StdRng};

use crate::{Backoff, Closed, Config, End, Liveness, Probe, Refusal, end::Verdict};

/// Counts the sessions that were tried. What happens to an older one than the
/// newest is of no matter any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Attempt(pub u64);

/// Proves who returns; 32 random bytes of the server. Not shown by `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct ResumeToken(pub Bytes);

impl fmt::Debug for ResumeToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ResumeToken(…)")
    }
}

/// What to join with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credential {
    /// The token that the API gave.
    JoinToken,
    /// The token of the seat held before.
    Resume(ResumeToken),
}

/// What the driver is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Open a session, and report it as this attempt.
    Connect(Attempt),
    /// The session is open: ask for a seat.
    Join(Attempt, Credential),
    /// Send a heartbeat.
    Heartbeat(Attempt),
    /// Send this RTT packet.
    Probe(Attempt, Bytes),
    /// Close this session, or stop opening it.
    Close(Attempt, CloseCode),
    /// [`Machine::phase`] is another one.
    PhaseChanged,
}

/// How it stands, for those who watch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Not begun.
    Idle,
    /// On the way to the first seat.
    Connecting,
    /// Seated.
    Joined,
    /// The session was lost at this moment; the seat is being taken back.
    Reconnecting(Instant),
    /// Over.
    Ended(End),
}

#[derive(Debug)]
enum State {
    Idle,
    Opening {
        attempt: Attempt,
        until: Instant,
    },
    Joining {
        attempt: Attempt,
        until: Instant,
    },
    Joined {
        attempt: Attempt,
        liveness: Liveness,
        next_heartbeat: Instant,
    },
    Waiting {
        until: Instant,
    },
    Ended(End),
}

/// Drives one seat. Call [`handle_start`](Self::handle_start) once; after every
/// call that takes `now`, do what [`poll_effect`](Self::poll_effect) gives until
/// it gives nothing, and call [`handle_timeout`](Self::handle_timeout) at
/// [`poll_timeout`](Self::poll_timeout).
#[derive(Debug)]
pub struct Machine {
    config: Config,
    rng: StdRng,
    backoff: Backoff,
    state: State,
    attempts: u64,
    started: Option<Instant>,
    /// Set while a seat that was held is being taken back.
    lost_at: Option<Instant>,
    resume: Option<ResumeToken>,
    effects: VecDeque<Effect>,
    shown: Phase,
}

impl Machine {
    /// A machine that has not begun. With a resume token it begins by taking
    /// back that seat.
    #[must_use]
    pub fn new(config: Config, resume: Option<ResumeToken>, seed: u64) -> Self {
        Self {
            backoff: Backoff::new(config.backoff_first, config.backoff_max, config.spread),
            config,
            rng: StdRng::seed_from_u64(seed),
            state: State::Idle,
            attempts: 0,
            started: None,
            lost_at: None,
            resume,
            effects: VecDeque::new(),
            shown: Phase::Idle,
        }
    }

    /// How it stands.
    #[must_use]
    pub fn phase(&self) -> Phase {
        match (&self.state, self.lost_at) {
            (State::Idle, _) => Phase::Idle,
            (State::Ended(end), _) => Phase::Ended(*end),
            (State::Joined { .. }, _) => Phase::Joined,
            (_, Some(since)) => Phase::Reconnecting(since),
            (_, None) => Phase::Connecting,
        }
    }

    /// The seat's newest resume token.
    #[must_use]
    pub fn resume_token(&self) -> Option<&ResumeToken> {
        self.resume.as_ref()
    }

    /// The newest round-trip time of the session.
    #[must_use]
    pub fn rtt(&self) -> Option<Duration> {
        match &self.state {
            State::Joined { liveness, .. } => liveness.rtt(),
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
            State::Idle | State::Ended(_) => None,
            State::Opening { until, .. }
            | State::Joining { until, .. }
            | State::Waiting { until } => Some(*until),
            State::Joined {
                liveness,
                next_heartbeat,
                ..
            } => Some(liveness.due().min(*next_heartbeat)),
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
            let credential = match &self.resume {
                Some(token) => Credential::Resume(token.clone()),
                None => Credential::JoinToken,
            };
            self.effects.push_back(Effect::Join(attempt, credential));
            self.state = State::Joining {
                attempt,
                until: now + self.config.attempt_timeout,
            };
        } else {
            self.effects
                .push_back(Effect::Close(attempt, CloseCode::Graceful));
        }
    }

    /// The session of this attempt could not be opened.
    pub fn handle_open_failed(&mut self, attempt: Attempt, now: Instant) {
        if matches!(self.state, State::Opening { attempt: current, .. } if current == attempt) {
            self.retry(now, None);
        }
    }

    /// The server gave the seat.
    pub fn handle_joined(&mut self, attempt: Attempt, resume: ResumeToken, now: Instant) {
        if !matches!(self.state, State::Joining { attempt: current, .. } if current == attempt) {
            return;
        }
        self.resume = Some(resume);
        self.lost_at = None;
        self.backoff.reset();
        self.state = State::Joined {
            attempt,
            liveness: Liveness::new(self.config.probe_interval, self.config.dead_after, now),
            next_heartbeat: now + self.config.heartbeat_interval,
        };
        self.beat(now);
    }

    /// The server refused the seat.
    pub fn handle_refused(&mut self, attempt: Attempt, refusal: Refusal, now: Instant) {
        if matches!(self.state, State::Joining { attempt: current, .. } if current == attempt) {
            self.effects
                .push_back(Effect::Close(attempt, CloseCode::Graceful));
            self.judge(refusal.verdict(), now);
        }
    }

    /// A message arrived: a sign of life.
    pub fn handle_message(&mut self, from: Attempt, now: Instant) {
        if let State::Joined {
            attempt, liveness, ..
        } = &mut self.state
            && *attempt == from
        {
            liveness.heard(now);
        }
    }

    /// An RTT packet arrived.
    pub fn handle_echo(&mut self, from: Attempt, packet: &[u8], now: Instant) {
        if let State::Joined {
            attempt, liveness, ..
        } = &mut self.state
            && *attempt == from
        {
            liveness.handle_echo(packet, now);
        }
    }

    /// The server said, before it closes, that this participant is out.
    pub fn handle_told(&mut self, from: Attempt, end: End) {
        if self.current() == Some(from) {
            self.finish(end);
        }
    }

    /// The session of this attempt is gone.
    pub fn handle_closed(&mut self, attempt: Attempt, closed: Closed, now: Instant) {
        if self.current() == Some(attempt) {
            self.judge(closed.verdict(), now);
        }
    }

    /// The person leaves. The driver says so to the server before it closes.
    pub fn handle_leave(&mut self) {
        self.finish(End::Left);
    }

    /// Something may be due.
    pub fn handle_timeout(&mut self, now: Instant) {
        match self.state {
            State::Opening { attempt, until } | State::Joining { attempt, until }
                if now >= until =>
            {
                self.effects
                    .push_back(Effect::Close(attempt, CloseCode::Graceful));
                self.retry(now, None);
            }
            State::Waiting { until } if now >= until => self.connect(now),
            State::Joined { .. } => self.beat(now),
            _ => {}
        }
    }

    /// The session that counts.
    fn current(&self) -> Option<Attempt> {
        match &self.state {
            State::Opening { attempt, .. }
            | State::Joining { attempt, .. }
            | State::Joined { attempt, .. } => Some(*attempt),
            State::Idle | State::Waiting { .. } | State::Ended(_) => None,
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

    /// Heartbeats and probes that are due.
    fn beat(&mut self, now: Instant) {
        let State::Joined {
            attempt,
            liveness,
            next_heartbeat,
        } = &mut self.state
        else {
            return;
        };
        let attempt = *attempt;
        if now >= *next_heartbeat {
            *next_heartbeat = now + self.config.heartbeat_interval;
            self.effects.push_back(Effect::Heartbeat(attempt));
        }
        loop {
            match liveness.poll(now) {
                Probe::Send(packet) => self.effects.push_back(Effect::Probe(attempt, packet)),
                Probe::Wait(_) => return,
                Probe::Dead => break,
            }
        }
        self.effects
            .push_back(Effect::Close(attempt, CloseCode::Graceful));
        self.retry(now, None);
    }

    fn judge(&mut self, verdict: Verdict, now: Instant) {
        match verdict {
            Verdict::Final(end) => {
                self.state = State::Ended(end);
            }
            Verdict::Retry(after) => self.retry(now, after),
        }
    }

    fn retry(&mut self, now: Instant, after: Option<Duration>) {
        if matches!(self.state, State::Joined { .. }) {
            self.lost_at = Some(now);
        }
        let wait = self
            .backoff
            .next(&mut self.rng)
            .max(after.unwrap_or_default());
        let until = now + wait;
        let (since, kept, end) = match (self.lost_at, self.started) {
            (Some(lost), _) => (lost, self.config.seat_kept, End::Lost),
            (None, Some(started)) => (started, self.config.first_join_max, End::Unreachable),
            (None, None) => (now, Duration::ZERO, End::Unreachable),
        };
        self.state = if until >= since + kept {
            State::Ended(end)
        } else {
            State::Waiting { until }
        };
    }

    fn finish(&mut self, end: End) {
        if matches!(self.state, State::Ended(_)) {
            return;
        }
        if let Some(attempt) = self.current() {
            self.effects
                .push_back(Effect::Close(attempt, CloseCode::Graceful));
        }
        self.state = State::Ended(end);
    }
}
