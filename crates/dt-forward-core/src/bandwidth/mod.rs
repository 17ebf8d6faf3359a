//! How much the path to a receiver carries.
//!
//! The forwarder sees a path only by what its transport counts: bytes sent and
//! lost, round trips, the congestion window. [`Estimator`] takes a sample of
//! these every tick and gives a rate that may be used up.
//!
//! - As long as nothing has shown a limit there is none: a receiver begins with
//!   the best it can use, and the transport's own start keeps the queue short.
//! - **Too much** is a queue (round trips above the shortest of the last ten
//!   seconds) that is long in two looks, a window that is full while more was to
//!   be sent, or a tenth of all packets lost. The rate falls at once below what
//!   was delivered, and while the queue is long still further, so that it drains.
//! - **Not too much** it was after all if all that waited comes at once, faster than
//!   it was sent: no bottleneck does that, but a receiver's machine that stood still
//!   for a moment. The cut is taken back.
//! - **At least** the path carries what was sent a round trip ago without a queue
//!   since. A sender of little shows little: the estimate then is a lower bound,
//!   and more is known only by [probing](probe).
//!
//! Deliberately absent: the transport's own congestion control, which bounds
//! what is in flight whatever is estimated here.

mod probe;
mod queue;
#[cfg(test)]
mod tests;

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use self::{probe::Probe, queue::Base};

/// A queue that is too long.
const QUEUE_MAX: Duration = Duration::from_millis(50);
/// One this long is believed at the first look.
const QUEUE_CERTAIN: Duration = Duration::from_millis(120);
/// One this long is believed at once, where little of what is sent arrives.
const QUEUE_SUDDEN: Duration = Duration::from_millis(80);
/// Looked for in so short a time.
const SUDDEN_WINDOW: Duration = Duration::from_millis(100);
/// And in no less than so many bytes.
const SUDDEN_BYTES_MIN: u64 = 4000;
/// Below it there is no queue to speak of.
const QUEUE_NONE: Duration = Duration::from_millis(20);
/// Of what was delivered, so much is used after a cut; the rest drains the queue.
const CUT_KEEPS: f64 = 0.85;
/// While a queue drains, so much of the estimate is used at least: a picture
/// that is stopped costs a key frame.
const DRAIN_KEEPS: f64 = 0.5;
/// More lost packets than these are congestion; the transport's controller takes
/// a tenth for chance, too.
const LOSS_MAX: f64 = 0.1;
/// And more of them than these, so that chance is not taken for a share.
const LOST_PACKETS_MIN: u64 = 8;
/// A cut is taken back so soon after it at most.
const UNDO_WITHIN: Duration = Duration::from_millis(700);
/// What stood still comes at once then: as fast as it was sent, or nearly so.
const UNDO_FACTOR: f64 = 0.8;
/// In no less than so many bytes.
const UNDO_BYTES_MIN: u64 = 3000;
/// Who had to cut again so soon after that had better not doubted, for so long.
const UNDO_WAS_WRONG: Duration = Duration::from_secs(2);
const NO_DOUBT_FOR: Duration = Duration::from_secs(10);
/// A sample so late says more about this machine than about the path.
const STALL: Duration = Duration::from_millis(150);
/// Samples are remembered for so long.
const HISTORY: Duration = Duration::from_millis(2500);
/// What is sent is looked at over this time.
const RATE_WINDOW: Duration = Duration::from_millis(250);
/// So long after the first packets of a rate, beyond a round trip, they have
/// shown their queue.
const VERIFY_AFTER: Duration = Duration::from_millis(100);
/// A full window is believed after so long.
const FULL_WINDOW_AFTER: Duration = Duration::from_millis(250);
/// Without any queue a transport is given so long to learn that more is carried.
const LEARNING_MAX: Duration = Duration::from_millis(1000);
/// More is to be sent than goes out, for so long: not the moment of a key frame.
const BLOCKED_MAX: Duration = Duration::from_millis(350);
/// What has piled up until then is given so long to go.
const BLOCKED_AGAIN: Duration = Duration::from_millis(800);
/// The estimate falls no lower: a voice is always tried.
const FLOOR_BPS: f64 = 32_000.0;
/// Of what was to be sent and was late, where what was sent is not known.
const LATE_KEEPS: f64 = 0.7;
/// Such a carrier is tried with more so long after it was late, or tried before.
const TRY_AFTER: Duration = Duration::from_secs(3);
const TRY_FACTOR: f64 = 1.4;

/// What a session's transport has counted, as it is now; a carrier that knows
/// nothing leaves all of it 0.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PathSample {
    /// The newest round trip. A smoothed one will do; it tells of a queue later.
    pub rtt: Duration,
    /// Bytes sent since the start.
    pub sent_bytes: u64,
    /// Bytes acknowledged since the start; 0: not known.
    pub acknowledged_bytes: u64,
    /// Packets sent since the start.
    pub sent_packets: u64,
    /// Packets declared lost since the start.
    pub lost_packets: u64,
    /// Bytes that may be in flight.
    pub window_bytes: u64,
    /// For how long there has been more to send than that.
    pub blocked: Duration,
}

/// What is thought of a path, for who wants to see why something was decided.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct PathView {
    /// `None`: no limit was seen.
    pub estimate_bps: Option<f64>,
    /// What waits before the bottleneck.
    pub queue: Duration,
    /// A burst of padding is out, or what it did is being looked for.
    pub probing: bool,
    /// From a failure to the next burst.
    pub probe_wait: Duration,
    /// There must be room for a better picture for so long.
    pub up_after: Duration,
    /// What is sent now.
    pub offered_bps: f64,
    /// What the next better picture needs; `None` with the best.
    pub next_bps: Option<f64>,
}

/// What is to be sent to a receiver.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Wish {
    /// What it is being sent now, as its senders send it.
    pub(crate) offered_bps: f64,
    /// What the next better picture needs in all; `None` when it has the best.
    pub(crate) next_bps: Option<f64>,
}

/// A sample as it is remembered.
#[derive(Debug, Clone, Copy)]
struct Point {
    at: Instant,
    rtt: Duration,
    sent_bytes: u64,
    acknowledged_bytes: u64,
    sent_packets: u64,
    lost_packets: u64,
    queue: Duration,
}

/// Follows one path.
#[derive(Debug)]
pub(crate) struct Estimator {
    history: VecDeque<Point>,
    base: Base,
    /// `None` until a limit was seen.
    estimate_bps: Option<f64>,
    /// Looks in a row that saw a long queue.
    long_looks: u32,
    /// The last cut, and the queue then.
    cut: Option<Cut>,
    window_full_since: Option<Instant>,
    late_at: Option<Instant>,
    probe: Probe,
    /// What the last cuts would go back to.
    doubt: Option<Doubt>,
    /// A cut was taken back since that was asked, and when it was last.
    taken_back: bool,
    taken_back_at: Option<Instant>,
    no_doubt_until: Instant,
}

/// What was known before a cut.
#[derive(Debug, Clone, Copy)]
struct Doubt {
    at: Instant,
    estimate_bps: Option<f64>,
    sent_bps: f64,
    /// What has arrived fastest since.
    fastest_bps: f64,
}

#[derive(Debug, Clone, Copy)]
struct Cut {
    /// Until then what was sent before the cut is still seen.
    settled_at: Instant,
    queue: Duration,
    at: Instant,
}

impl Estimator {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            history: VecDeque::new(),
            base: Base::new(now),
            estimate_bps: None,
            long_looks: 0,
            cut: None,
            window_full_since: None,
            late_at: None,
            probe: Probe::new(now),
            doubt: None,
            taken_back: false,
            taken_back_at: None,
            no_doubt_until: now,
        }
    }

    /// Whether a cut was taken back since the last call: who followed it may go back
    /// as well.
    pub(crate) fn was_taken_back(&mut self) -> bool {
        std::mem::take(&mut self.taken_back)
    }

    /// What may be sent now, in bits per second; `None`: as much as one likes.
    pub(crate) fn budget_bps(&self) -> Option<f64> {
        let queue = self.queue().saturating_sub(QUEUE_MAX).as_secs_f64();
        self.estimate_bps
            .map(|estimate| estimate * (1.0 - queue / 0.2).clamp(DRAIN_KEEPS, 1.0))
    }

    /// What is thought of the path; what its receiver adds is missing.
    pub(crate) fn view(&self) -> PathView {
        PathView {
            estimate_bps: self.estimate_bps,
            queue: self.queue(),
            probing: !self.probe.is_idle(),
            probe_wait: self.probe.wait(),
            ..PathView::default()
        }
    }

    /// Packets wait before the bottleneck.
    pub(crate) fn is_queued(&self) -> bool {
        self.queue() > QUEUE_MAX
    }

    /// The share of packets lost in the recent past.
    pub(crate) fn loss(&self) -> f64 {
        let (Some(first), Some(last)) = (self.history.front(), self.history.back()) else {
            return 0.0;
        };
        let sent = last.sent_packets.saturating_sub(first.sent_packets);
        let lost = last.lost_packets.saturating_sub(first.lost_packets);
        lost as f64 / sent.max(1) as f64
    }

    /// Takes a sample; gives how many bytes of padding to send now.
    pub(crate) fn sample(&mut self, sample: &PathSample, wish: Wish, now: Instant) -> usize {
        if sample.rtt.is_zero() || sample.sent_bytes == 0 {
            self.without_figures(wish, now);
            return 0;
        }
        self.base.add(sample.rtt, now);
        let before = self.history.back().copied();
        // The shorter one of two looks: one packet that was late is no queue.
        let rtt = before.map_or(sample.rtt, |before| before.rtt.min(sample.rtt));
        let queue = rtt.saturating_sub(self.base.get());
        let stalled = before.is_none_or(|p| now.saturating_duration_since(p.at) > STALL);
        self.history.push_back(Point {
            at: now,
            rtt: sample.rtt,
            sent_bytes: sample.sent_bytes,
            acknowledged_bytes: sample.acknowledged_bytes,
            sent_packets: sample.sent_packets,
            lost_packets: sample.lost_packets,
            queue,
        });
        while self
            .history
            .front()
            .is_some_and(|p| now.saturating_duration_since(p.at) > HISTORY)
        {
            self.history.pop_front();
        }
        let latest = sample.rtt.saturating_sub(self.base.get());
        self.long_looks = match queue > QUEUE_MAX && !stalled {
            true => self.long_looks + 1,
            // Half of what is sent arrives, beside a queue: no second look.
            false if latest > QUEUE_SUDDEN && !stalled && self.is_sudden() => 2,
            false => 0,
        };
        self.doubt(latest, now);
        if let Some(delivered) = self.too_much(sample, wish, now) {
            if !self.probe.is_idle() {
                self.blame_probe(sample, now);
                return 0;
            }
            self.lower(delivered, sample, now);
            self.probe.fail(now);
            return 0;
        }
        self.verify(sample.rtt, now);
        self.probe_on(sample, wish, now)
    }

    /// It could not be sent in time, whatever the path says: the estimate is no
    /// higher than what was.
    pub(crate) fn late(&mut self, wish: Wish, now: Instant) {
        let sent = self.sent_bps(now, RATE_WINDOW);
        let delivered = if sent > 0.0 {
            sent
        } else {
            wish.offered_bps * LATE_KEEPS
        };
        let before = self.estimate_bps.unwrap_or(f64::INFINITY);
        self.estimate_bps = Some((delivered * CUT_KEEPS).max(FLOOR_BPS).min(before));
        self.probe.fail(now);
        self.late_at = Some(now);
    }

    /// A carrier that tells nothing but lateness: more is tried after a while
    /// without.
    fn without_figures(&mut self, wish: Wish, now: Instant) {
        let (Some(estimate), Some(next), Some(at)) =
            (self.estimate_bps, wish.next_bps, self.late_at)
        else {
            return;
        };
        if next > estimate && now.saturating_duration_since(at) >= TRY_AFTER {
            self.estimate_bps = Some(estimate * TRY_FACTOR);
            self.late_at = Some(now);
        }
    }

    fn queue(&self) -> Duration {
        self.history.back().map_or(Duration::ZERO, |p| p.queue)
    }

    /// Bits per second sent in the window that ended at `end`.
    fn sent_bps(&self, end: Instant, window: Duration) -> f64 {
        let last = self.history.iter().rev().find(|p| p.at <= end);
        let Some(last) = last else {
            return 0.0;
        };
        let from = last.at.checked_sub(window).unwrap_or(last.at);
        let Some(first) = self.history.iter().find(|p| p.at >= from) else {
            return 0.0;
        };
        let time = last.at.saturating_duration_since(first.at).as_secs_f64();
        if time < 0.04 {
            return 0.0;
        }
        last.sent_bytes.saturating_sub(first.sent_bytes) as f64 * 8.0 / time
    }

    /// What the path delivered, when more was sent than that.
    fn too_much(&mut self, sample: &PathSample, wish: Wish, now: Instant) -> Option<f64> {
        let sent = self.sent_bps(now, RATE_WINDOW);
        let window = sample.window_bytes as f64 * 8.0 / sample.rtt.as_secs_f64();
        // Beside a queue the window is no measure.
        let full = window > 0.0
            && sent > 0.75 * window
            && wish.offered_bps > 1.1 * sent
            && self.queue() <= QUEUE_MAX;
        self.window_full_since = match self.window_full_since {
            since @ Some(_) if full => since,
            None if full => Some(now),
            _ => None,
        };
        let queue = self.queue();
        if let Some(cut) = self.cut
            && now < cut.settled_at
        {
            // The queue of before the cut, unless it grows on and on.
            let grew = queue > cut.queue.mul_f64(1.5) && now > cut.at + RATE_WINDOW;
            if !grew {
                return None;
            }
        }
        let long = self.long_looks >= 2 || (self.long_looks == 1 && queue > QUEUE_CERTAIN);
        if long && !self.drains() {
            // What is sent less and less says nothing of what is carried.
            return Some(self.delivered_bps().unwrap_or(sent));
        }
        let calm = self.is_calm(now);
        let blocked_max = if calm { LEARNING_MAX } else { BLOCKED_MAX };
        let piled = sample.blocked >= blocked_max
            && self
                .cut
                .is_none_or(|cut| now.saturating_duration_since(cut.at) >= BLOCKED_AGAIN);
        if piled {
            return Some(self.delivered_bps().unwrap_or(sent));
        }
        let full_after = if calm {
            LEARNING_MAX
        } else {
            FULL_WINDOW_AFTER
        };
        let full_for = |since: Instant| now.saturating_duration_since(since) >= full_after;
        if self.window_full_since.is_some_and(full_for) {
            self.window_full_since = None;
            return Some(sent);
        }
        let lost = self.lost_packets();
        (lost >= LOST_PACKETS_MIN && self.loss() > LOSS_MAX).then(|| sent * (1.0 - self.loss()))
    }

    /// No queue was seen of late: if less goes out than is to be sent, it is the
    /// transport that still learns what the path carries.
    fn is_calm(&self, now: Instant) -> bool {
        let lately = |p: &&Point| now.saturating_duration_since(p.at) <= BLOCKED_MAX;
        let mut points = self.history.iter().rev().take_while(lately);
        points.all(|p| p.queue <= QUEUE_NONE)
    }

    pub(crate) fn lost_packets(&self) -> u64 {
        match (self.history.front(), self.history.back()) {
            (Some(first), Some(last)) => last.lost_packets.saturating_sub(first.lost_packets),
            _ => 0,
        }
    }

    /// Bits per second that arrived: what was acknowledged, or what was sent from one round trip ago,
    /// as it was then, to another, as it is now.
    fn delivered_bps(&self) -> Option<f64> {
        let last = self.history.back()?;
        let from = last.at.checked_sub(RATE_WINDOW)?;
        let first = self.history.iter().find(|p| p.at >= from)?;
        let time = last.at.saturating_duration_since(first.at).as_secs_f64();
        if last.acknowledged_bytes > 0 && time > 0.04 {
            let bytes = last
                .acknowledged_bytes
                .saturating_sub(first.acknowledged_bytes);
            return Some(bytes as f64 * 8.0 / time);
        }
        let before = self.sent_until(first.at.checked_sub(first.rtt)?)?;
        let arrived = self.sent_until(last.at.checked_sub(last.rtt)?)?.max(before);
        (time > 0.04).then(|| (arrived - before) * 8.0 / time)
    }

    /// Bytes sent until a moment of the past.
    fn sent_until(&self, at: Instant) -> Option<f64> {
        let after = self.history.iter().position(|p| p.at >= at)?;
        let later = self.history.get(after)?;
        let earlier = self.history.get(after.checked_sub(1)?)?;
        let whole = later.at.saturating_duration_since(earlier.at).as_secs_f64();
        let part = at.saturating_duration_since(earlier.at).as_secs_f64();
        let bytes = later.sent_bytes.saturating_sub(earlier.sent_bytes) as f64;
        Some(earlier.sent_bytes as f64 + bytes * part / whole.max(f64::MIN_POSITIVE))
    }

    /// Of what was sent just now not even half as much arrived meanwhile.
    fn is_sudden(&self) -> bool {
        let Some(last) = self.history.back() else {
            return false;
        };
        let from = last.at.checked_sub(SUDDEN_WINDOW).unwrap_or(last.at);
        let Some(first) = self.history.iter().find(|p| p.at >= from) else {
            return false;
        };
        let sent = last.sent_bytes.saturating_sub(first.sent_bytes);
        let arrived = last
            .acknowledged_bytes
            .saturating_sub(first.acknowledged_bytes);
        last.acknowledged_bytes > 0 && sent >= SUDDEN_BYTES_MIN && arrived < sent / 2
    }

    /// Takes a cut back when what waited has come at once. `queue`: at this look.
    fn doubt(&mut self, queue: Duration, now: Instant) {
        let mut newest = self.history.iter().rev();
        let (Some(last), Some(before)) = (newest.next(), newest.next()) else {
            return;
        };
        let Some(doubt) = &mut self.doubt else {
            return;
        };
        if now.saturating_duration_since(doubt.at) > UNDO_WITHIN {
            self.doubt = None;
            return;
        }
        let arrived = last
            .acknowledged_bytes
            .saturating_sub(before.acknowledged_bytes);
        let time = last.at.saturating_duration_since(before.at).as_secs_f64();
        if arrived >= UNDO_BYTES_MIN && time > 0.0 {
            let bps = arrived as f64 * 8.0 / time;
            doubt.fastest_bps = doubt.fastest_bps.max(bps);
        }
        if queue <= QUEUE_NONE && doubt.fastest_bps >= UNDO_FACTOR * doubt.sent_bps {
            self.estimate_bps = doubt.estimate_bps;
            self.doubt = None;
            self.cut = None;
            self.long_looks = 0;
            self.taken_back = true;
            self.taken_back_at = Some(now);
        }
    }

    /// The queue is becoming shorter by itself.
    fn drains(&self) -> bool {
        let mut newest = self.history.iter().rev();
        match (newest.next(), newest.next()) {
            (Some(last), Some(before)) => last.queue < before.queue.mul_f64(0.9),
            _ => false,
        }
    }

    fn lower(&mut self, delivered_bps: f64, sample: &PathSample, now: Instant) {
        let rate = (delivered_bps * CUT_KEEPS).max(FLOOR_BPS);
        let lately = |at| now.saturating_duration_since(at) < UNDO_WAS_WRONG;
        if self.taken_back_at.is_some_and(lately) {
            self.no_doubt_until = now + NO_DOUBT_FOR;
        }
        if sample.acknowledged_bytes > 0 && now >= self.no_doubt_until {
            self.doubt.get_or_insert(Doubt {
                at: now,
                estimate_bps: self.estimate_bps,
                sent_bps: self.sent_bps(now, RATE_WINDOW),
                fastest_bps: 0.0,
            });
        }
        let before = self.estimate_bps.unwrap_or(f64::INFINITY);
        self.estimate_bps = Some(rate.min(before));
        self.cut = Some(Cut {
            settled_at: now + sample.rtt + RATE_WINDOW,
            queue: self.queue(),
            at: now,
        });
    }

    /// What was sent a while ago and made no queue since is carried.
    fn verify(&mut self, rtt: Duration, now: Instant) {
        let Some(estimate) = self.estimate_bps else {
            return;
        };
        let Some(end) = now.checked_sub(rtt + VERIFY_AFTER) else {
            return;
        };
        let from = end.checked_sub(RATE_WINDOW).unwrap_or(end);
        let mut since = self.history.iter().filter(|p| p.at >= from);
        if self.loss() <= LOSS_MAX && since.all(|p| p.queue <= QUEUE_NONE) {
            let carried = self.sent_bps(end, RATE_WINDOW);
            self.estimate_bps = Some(estimate.max(carried));
        }
    }

    /// The queue is a burst's: what was known before it is as true as it was,
    /// unless the queue stays.
    fn blame_probe(&mut self, sample: &PathSample, now: Instant) {
        self.probe.fail(now);
        self.cut = Some(Cut {
            settled_at: now + sample.rtt + RATE_WINDOW,
            queue: self.queue(),
            at: now,
        });
        self.long_looks = 0;
    }

    fn probe_on(&mut self, sample: &PathSample, wish: Wish, now: Instant) -> usize {
        let (Some(estimate), queue) = (self.estimate_bps, self.queue()) else {
            return 0;
        };
        let needed = wish.next_bps.filter(|next| *next > estimate);
        if self.probe.is_idle() {
            let quiet = queue <= QUEUE_NONE && self.loss() < LOSS_MAX / 2.0;
            if let Some(needed) = needed.filter(|_| quiet) {
                self.probe.begin(estimate, needed, queue, sample, now);
            }
        }
        let step = self.probe.step(queue, sample, now);
        if step.failed {
            self.blame_probe(sample, now);
        }
        if let Some(carried) = step.carried_bps {
            self.estimate_bps = Some(estimate.max(carried));
        }
        step.padding_bytes
    }
}
