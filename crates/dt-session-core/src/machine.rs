//! The machine itself: one seat in one meeting, from the first attempt to the end.

use std::{
    collections::VecDeque,
    fmt,
    time::{Duration, Instant},
};

use bytes::Bytes;
use dt_reconnect::{Attempt, Reconnect};
use dt_wire::CloseCode;

use crate::{Closed, Config, End, Refusal, end::Verdict, liveness};

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

/// Drives one seat. Call [`handle_start`](Self::handle_start) once; after every
/// call that takes `now`, do what [`poll_effect`](Self::poll_effect) gives until
/// it gives nothing, and call [`handle_timeout`](Self::handle_timeout) at
/// [`poll_timeout`](Self::poll_timeout).
#[derive(Debug)]
pub struct Machine {
    config: Config,
    /// Attempts, waits and probes.
    reconnect: Reconnect,
    /// Of use while there is a seat.
    next_heartbeat: Option<Instant>,
    /// Said by the server or this participant, not by the clock.
    end: Option<End>,
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
            reconnect: Reconnect::new(config.reconnect(), seed),
            config,
            next_heartbeat: None,
            end: None,
            resume,
            effects: VecDeque::new(),
            shown: Phase::Idle,
        }
    }

    /// How it stands.
    #[must_use]
    pub fn phase(&self) -> Phase {
        use dt_reconnect::{Closed, Phase as At};
        match self.reconnect.phase() {
            At::Idle => Phase::Idle,
            At::Connecting | At::Authenticating => Phase::Connecting,
            At::Connected => Phase::Joined,
            At::Reconnecting { since } => Phase::Reconnecting(since),
            At::Closed(Closed::Unreachable) => Phase::Ended(End::Unreachable),
            At::Closed(Closed::Lost) => Phase::Ended(End::Lost),
            At::Closed(Closed::Wanted) => Phase::Ended(self.end.unwrap_or(End::Left)),
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
        self.reconnect.rtt()
    }

    /// The next thing to do, oldest first.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.take_effects();
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
        let due = self.reconnect.poll_timeout()?;
        Some(self.heartbeat().map_or(due, |(_, beat)| beat.min(due)))
    }

    /// Begins.
    pub fn handle_start(&mut self, now: Instant) {
        self.reconnect.handle_start(now);
    }

    /// The session of this attempt is open.
    pub fn handle_open(&mut self, attempt: Attempt, now: Instant) {
        self.reconnect.handle_open(attempt, now);
    }

    /// The session of this attempt could not be opened.
    pub fn handle_open_failed(&mut self, attempt: Attempt, now: Instant) {
        self.reconnect.handle_open_failed(attempt, now);
    }

    /// The server gave the seat.
    pub fn handle_joined(&mut self, attempt: Attempt, resume: ResumeToken, now: Instant) {
        if self.reconnect.handle_authenticated(attempt, now) {
            self.resume = Some(resume);
            self.next_heartbeat = Some(now + self.config.heartbeat_interval);
        }
    }

    /// The server refused the seat.
    pub fn handle_refused(&mut self, attempt: Attempt, refusal: Refusal, now: Instant) {
        match refusal.verdict() {
            Verdict::Retry(after) => self.reconnect.handle_refused(attempt, after, now),
            Verdict::Final(end) => {
                if self.reconnect.is_authenticating(attempt) {
                    self.finish(end);
                }
            }
        }
    }

    /// A message arrived: a sign of life.
    pub fn handle_message(&mut self, from: Attempt, now: Instant) {
        self.reconnect.handle_heard(from, now);
    }

    /// An RTT packet arrived.
    pub fn handle_echo(&mut self, from: Attempt, packet: &[u8], now: Instant) {
        if let Some(number) = liveness::number(packet) {
            self.reconnect.handle_echo(from, number, now);
        }
    }

    /// The server said, before it closes, that this participant is out.
    pub fn handle_told(&mut self, from: Attempt, end: End) {
        if self.reconnect.current() == Some(from) {
            self.finish(end);
        }
    }

    /// The session of this attempt is gone.
    pub fn handle_closed(&mut self, attempt: Attempt, closed: Closed, now: Instant) {
        match closed.verdict() {
            Verdict::Retry(after) => self.reconnect.handle_lost(attempt, after, now),
            Verdict::Final(end) => {
                if self.reconnect.current() == Some(attempt) {
                    self.end.get_or_insert(end);
                    self.reconnect.handle_lost_for_good(attempt);
                }
            }
        }
    }

    /// The person leaves. The driver says so to the server before it closes.
    pub fn handle_leave(&mut self) {
        self.finish(End::Left);
    }

    /// Something may be due.
    pub fn handle_timeout(&mut self, now: Instant) {
        if let Some((attempt, due)) = self.heartbeat()
            && now >= due
        {
            self.next_heartbeat = Some(now + self.config.heartbeat_interval);
            self.effects.push_back(Effect::Heartbeat(attempt));
        }
        self.reconnect.handle_timeout(now);
    }

    /// The next heartbeat, while there is a seat.
    fn heartbeat(&self) -> Option<(Attempt, Instant)> {
        if self.phase() != Phase::Joined {
            return None;
        }
        self.reconnect.current().zip(self.next_heartbeat)
    }

    fn finish(&mut self, end: End) {
        self.end.get_or_insert(end);
        self.reconnect.handle_close();
    }

    /// What attempts, waits and probes want, in the words of a seat.
    fn take_effects(&mut self) {
        use dt_reconnect::Effect as Want;
        while let Some(want) = self.reconnect.poll_effect() {
            self.effects.push_back(match want {
                Want::Connect(attempt) => Effect::Connect(attempt),
                Want::Authenticate(attempt) => {
                    let credential = match &self.resume {
                        Some(token) => Credential::Resume(token.clone()),
                        None => Credential::JoinToken,
                    };
                    Effect::Join(attempt, credential)
                }
                Want::Probe(attempt, number) => Effect::Probe(attempt, liveness::packet(number)),
                Want::Close(attempt) => Effect::Close(attempt, CloseCode::Graceful),
                // Its phases are finer than those of a seat.
                Want::PhaseChanged => continue,
            });
        }
    }
}
