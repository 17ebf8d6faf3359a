//! Finding out whether a path carries more than it is given: a short burst of
//! padding beside the media, and a look at the queue behind it.
//!
//! A burst is so short that it makes a queue of [`QUEUE_BUDGET`] at most if the
//! path carries no more than what is known. It ends as soon as the queue grows; and
//! then what counts is how fast all of it arrived, for round trips also grow where a
//! machine is busy. After each failure the next one waits longer and asks for less.

use std::time::{Duration, Instant};

use super::PathSample;

/// The queue that a burst may make in the worst case.
const QUEUE_BUDGET: Duration = Duration::from_millis(100);
/// A burst lasts at least a look, and no longer than it needs to be seen.
const BURST_MIN: Duration = Duration::from_millis(50);
const BURST_MAX: Duration = Duration::from_millis(200);
/// After it, beyond a round trip, for its queue to be seen.
const LOOK_AFTER: Duration = Duration::from_millis(100);
/// A queue that grew by more may be the burst's; an acknowledgement that is held back
/// looks the same, so it is not the last word.
const GROWTH_MAX: Duration = Duration::from_millis(10);
/// But not less than a packet takes at the rate that is known.
const PACKET_BITS: f64 = 10_000.0;
/// From a failure to the next burst: doubled each time, and no more than this,
/// so that a path that recovers is found out soon.
const WAIT_MIN: Duration = Duration::from_millis(250);
const WAIT_MAX: Duration = Duration::from_millis(900);
/// Of the known rate; more is asked for in steps.
const FACTOR_MAX: f64 = 2.0;
const FACTOR_MIN: f64 = 1.2;
/// Above what is needed, so that there is room when it is used.
const HEADROOM: f64 = 1.05;
/// After the queue grew so long is waited for what was sent to arrive.
const JUDGE_FOR: Duration = Duration::from_millis(150);
/// So much of it shows how fast.
const JUDGED_SHARE: f64 = 0.95;
/// Of what seems to be carried then so much is believed: a look is no exact moment.
const JUDGED_KEEPS: f64 = 0.95;
/// So much more than what is known is more.
const JUDGED_MORE: f64 = 1.05;
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
    /// The queue has grown: how fast these bytes arrive will tell.
    Judging {
        burst: Burst,
        sent_bytes: u64,
        until: Instant,
    },
}

#[derive(Debug, Clone, Copy)]
struct Burst {
    since: Instant,
    until: Instant,
    target_bps: f64,
    sent_before: u64,
    acknowledged_before: u64,
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

    /// From a failure to the next burst.
    pub(super) const fn wait(&self) -> Duration {
        self.wait
    }

    /// Begins a burst, if it is time for one.
    pub(super) fn begin(
        &mut self,
        known_bps: f64,
        needed_bps: f64,
        queue: Duration,
        sample: &PathSample,
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
            sent_before: sample.sent_bytes,
            acknowledged_before: sample.acknowledged_bytes,
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
            State::Judging {
                burst,
                sent_bytes,
                until,
            } => return self.judge(burst, sent_bytes, until, sample, now),
            State::Sending(burst) | State::Looking { burst, .. } => burst,
        };
        let packet = Duration::from_secs_f64(PACKET_BITS / burst.known_bps.max(1.0));
        if queue > burst.queue_before + GROWTH_MAX.max(packet) {
            if sample.acknowledged_bytes == 0 {
                return self.failed(now);
            }
            let sent_bytes = sample.sent_bytes.saturating_sub(burst.sent_before);
            let until = now + JUDGE_FOR;
            self.state = State::Judging {
                burst,
                sent_bytes,
                until,
            };
            return self.judge(burst, sent_bytes, until, sample, now);
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
            State::Looking { .. } | State::Judging { .. } | State::Idle => Step::default(),
        }
    }

    /// By when what was sent until the queue grew has arrived. Most of it: what only
    /// acknowledges is sent and never acknowledged.
    fn judge(
        &mut self,
        burst: Burst,
        sent_bytes: u64,
        until: Instant,
        sample: &PathSample,
        now: Instant,
    ) -> Step {
        let arrived = sample
            .acknowledged_bytes
            .saturating_sub(burst.acknowledged_before) as f64;
        // What was on its way before arrives meanwhile as well: it is as much as will
        // be then.
        let time = now.saturating_duration_since(burst.since).as_secs_f64();
        let sent = sent_bytes as f64;
        let enough = burst.known_bps * JUDGED_MORE;
        if arrived >= JUDGED_SHARE * sent && sent > 0.0 {
            let carried = JUDGED_KEEPS * arrived * 8.0 / time.max(0.05);
            if carried > enough {
                return self.succeed(burst.known_bps, carried.min(burst.target_bps), now);
            }
            return self.failed(now);
        }
        if now >= until || sent * 8.0 < enough * time {
            return self.failed(now);
        }
        Step::default()
    }

    fn failed(&mut self, now: Instant) -> Step {
        self.fail(now);
        Step {
            failed: true,
            ..Step::default()
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
