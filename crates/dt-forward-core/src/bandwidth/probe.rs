//! Finding out whether a path carries more than it is given: a short burst of
//! padding beside the media, and a look at the queue behind it.
//!
//! A burst is so short that it makes a queue of [`QUEUE_BUDGET`] at most if the
//! path carries no more than what is known. It ends as soon as the queue grows.
//! After each failure the next one waits longer and asks for less.

use std::time::{Duration, Instant};

use super::PathSample;

/// The queue that a burst may make in the worst case.
const QUEUE_BUDGET: Duration = Duration::from_millis(100);
/// A burst lasts at least a look, and no longer than it needs to be seen.
const BURST_MIN: Duration = Duration::from_millis(50);
const BURST_MAX: Duration = Duration::from_millis(200);
/// After it, beyond a round trip, for its queue to be seen.
const LOOK_AFTER: Duration = Duration::from_millis(100);
/// A queue that grew by more is the burst's. The round trip is a smoothed one:
/// it shows a third of what a few packets have seen.
const GROWTH_MAX: Duration = Duration::from_millis(10);
/// But not less than a packet takes at the rate that is known.
const PACKET_BITS: f64 = 10_000.0;
/// From a failure to the next burst: doubled each time, and no more than this,
/// so that a path that recovers is found out soon.
const WAIT_MIN: Duration = Duration::from_millis(250);
const WAIT_MAX: Duration = Duration::from_millis(1200);
/// Of the known rate; more is asked for in steps.
const FACTOR_MAX: f64 = 2.0;
const FACTOR_MIN: f64 = 1.2;
/// Above what is needed, so that there is room when it is used.
const HEADROOM: f64 = 1.05;
/// A tick's share of time: what is asked for is sent by ticks.
const TICK: Duration = crate::Forwarder::TICK;

#[derive(Debug, Clone, Copy)]
enum State {
    Idle,
    /// Padding goes out.
    Sending(Burst),
    /// All of it is out; its queue will show until then.
    Looking {
        burst: Burst,
        sent_bps: f64,
        until: Instant,
    },
}

#[derive(Debug, Clone, Copy)]
struct Burst {
    since: Instant,
    until: Instant,
    target_bps: f64,
    sent_before: u64,
    queue_before: Duration,
    known_bps: f64,
}

/// What comes of a look.
#[derive(Debug, Default)]
pub(super) struct Step {
    /// To send now.
    pub(super) padding_bytes: usize,
    /// The path carries this.
    pub(super) carried_bps: Option<f64>,
    /// It was too much.
    pub(super) failed: bool,
}

#[derive(Debug)]
pub(super) struct Probe {
    state: State,
    next_at: Instant,
    wait: Duration,
    factor: f64,
}

impl Probe {
    pub(super) const fn new(now: Instant) -> Self {
        Self {
            state: State::Idle,
            next_at: now,
            wait: WAIT_MIN,
            factor: FACTOR_MAX,
        }
    }

    pub(super) const fn is_idle(&self) -> bool {
        matches!(self.state, State::Idle)
    }

    /// Begins a burst, if it is time for one.
    pub(super) fn begin(
        &mut self,
        known_bps: f64,
        needed_bps: f64,
        queue: Duration,
        sent_bytes: u64,
        now: Instant,
    ) {
        if now < self.next_at {
            return;
        }
        let target = (needed_bps * HEADROOM).min(known_bps * self.factor);
        let excess = (target - known_bps).max(1.0);
        let lasts = QUEUE_BUDGET
            .mul_f64((known_bps / excess).min(10.0))
            .clamp(BURST_MIN, BURST_MAX);
        self.state = State::Sending(Burst {
            since: now,
            until: now + lasts,
            target_bps: target,
            sent_before: sent_bytes,
            queue_before: queue,
            known_bps,
        });
    }

    /// A burst was too much, or the path is in trouble without one.
    pub(super) fn fail(&mut self, now: Instant) {
        if !self.is_idle() {
            self.factor = (1.0 + (self.factor - 1.0) * 0.6).max(FACTOR_MIN);
            self.wait = (self.wait * 2).min(WAIT_MAX);
        }
        self.state = State::Idle;
        self.next_at = now + self.wait;
    }

    pub(super) fn step(&mut self, queue: Duration, sample: &PathSample, now: Instant) -> Step {
        let burst = match self.state {
            State::Idle => return Step::default(),
            State::Sending(burst) | State::Looking { burst, .. } => burst,
        };
        let packet = Duration::from_secs_f64(PACKET_BITS / burst.known_bps.max(1.0));
        if queue > burst.queue_before + GROWTH_MAX.max(packet) {
            self.fail(now);
            return Step {
                failed: true,
                ..Step::default()
            };
        }
        let sent = sample.sent_bytes.saturating_sub(burst.sent_before) as f64;
        match self.state {
            State::Sending(_) if now < burst.until => {
                let time = now.saturating_duration_since(burst.since) + TICK;
                let wanted = burst.target_bps * time.as_secs_f64() / 8.0;
                #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // above 0, small
                let padding_bytes = (wanted - sent).max(0.0) as usize;
                Step {
                    padding_bytes,
                    ..Step::default()
                }
            }
            State::Sending(_) => {
                let time = now.saturating_duration_since(burst.since).as_secs_f64();
                self.state = State::Looking {
                    burst,
                    sent_bps: (sent * 8.0 / time.max(0.02)).min(burst.target_bps),
                    until: now + sample.rtt + LOOK_AFTER,
                };
                Step::default()
            }
            State::Looking {
                sent_bps, until, ..
            } if now >= until => self.succeed(burst.known_bps, sent_bps, now),
            State::Looking { .. } | State::Idle => Step::default(),
        }
    }

    fn succeed(&mut self, known_bps: f64, sent_bps: f64, now: Instant) -> Step {
        self.state = State::Idle;
        self.next_at = now + TICK;
        if sent_bps > known_bps * 1.02 {
            self.wait = WAIT_MIN;
            self.factor = (self.factor * 1.5).min(FACTOR_MAX);
        } else {
            // The transport's window did not let it out: it grows by itself.
            self.next_at = now + WAIT_MIN;
        }
        Step {
            carried_bps: Some(sent_bps),
            ..Step::default()
        }
    }
}
