//! A congestion controller for conversations: Cubic that also takes a long queue
//! for congestion, and a few losses without a queue for none.
//!
//! Loss comes when the bottleneck's queue overflows, half a second too late for a
//! conversation. This one looks at the queue itself: what the shortest round trip
//! of the recent past has above the shortest of the last ten seconds. Above
//! [`LowDelayConfig::queue_max`] Cubic is told of congestion, as it is for loss,
//! and sends 30 % less.
//!
//! While it still doubles (slow start), a shorter queue is enough, and it grows by
//! half a round trip instead of the whole, so that what is on its way when the queue
//! is seen is not a second queue. What the path carries is known then: the window
//! that filled it, without what waits. From there Cubic goes on.
//!
//! A long queue must be seen twice: the first look stops the growth, and the
//! second, at packets sent after the first, confirms it or lets the growth go on. A
//! machine that stands still for a moment delays all that is on its way, and that is
//! no queue.
//!
//! The *shortest* round trip of a while is taken, so that a jittery path without a
//! queue is not mistaken for a full one; and the base is forgotten after ten
//! seconds, so that a path that became longer is believed soon.
//!
//! What is in flight is bounded by more than the window: by what the sender uses,
//! and by what the path delivers while acknowledgements are late ([`flight`]). So a
//! path that becomes narrow at once is not filled with a window of the past.
//!
//! Radio loses packets without any queue. Up to a tenth is taken for that while the
//! queue is short, as draft-ietf-rmcat-gcc-02 section 6 does: to send less would not
//! make it lose less. More is congestion, for a bottleneck may be without a queue.

mod flight;
mod losses;
mod queue;

use std::{
    any::Any,
    sync::Arc,
    time::{Duration, Instant},
};

use quinn::congestion::{Controller, ControllerFactory, ControllerMetrics, Cubic, CubicConfig};
use quinn_proto::RttEstimator;

use self::{
    flight::Flight,
    losses::Losses,
    queue::{Look, Queue},
};

/// What confirms a queue lasts at least so long: longer than a machine under load
/// lets a thread wait as a rule.
const CONFIRMING_MIN: Duration = Duration::from_millis(25);
/// The queue that ends the doubling: an eighth of the base, within these bounds
/// (those of HyStart++, RFC 9406 section 4.2).
const START_QUEUE_MIN: Duration = Duration::from_millis(4);
const START_QUEUE_MAX: Duration = Duration::from_millis(16);
/// One loss in so many packets is no congestion while the queue is short.
const LOSS_ONE_IN: u64 = 10;
/// What Cubic keeps of its window at congestion (RFC 9438 section 4.6).
const CUBIC_KEEPS: f64 = 0.7;
/// What is larger holds more than an acknowledgement.
const ACKNOWLEDGEMENT_BYTES_MAX: u64 = 100;
/// A window this small (in packets) is never the queue's reason.
const WINDOW_PACKETS_MIN: u64 = 10;

/// Makes these controllers.
#[derive(Debug, Clone)]
pub(super) struct LowDelayConfig {
    /// The queue that is taken for congestion.
    queue_max: Duration,
    cubic: Arc<CubicConfig>,
}

impl Default for LowDelayConfig {
    fn default() -> Self {
        Self {
            queue_max: Duration::from_millis(50),
            cubic: Arc::default(),
        }
    }
}

impl ControllerFactory for LowDelayConfig {
    fn build(self: Arc<Self>, now: Instant, current_mtu: u16) -> Box<dyn Controller> {
        let cubic = Cubic::new(Arc::clone(&self.cubic), now, current_mtu);
        Box::new(LowDelay {
            initial_window: cubic.initial_window(),
            cubic,
            mtu: current_mtu,
            queue: Queue::new(now),
            losses: Losses::new(now),
            flight: Flight::new(now),
            last: Look::default(),
            suspected: false,
            acknowledged: Acknowledged::default(),
            config: self,
        })
    }
}

#[derive(Debug, Clone)]
struct LowDelay {
    config: Arc<LowDelayConfig>,
    cubic: Cubic,
    initial_window: u64,
    mtu: u16,
    queue: Queue,
    losses: Losses,
    flight: Flight,
    last: Look,
    /// A long queue was seen once.
    suspected: bool,
    acknowledged: Acknowledged,
}

/// What has arrived.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Acknowledged {
    /// Since the start.
    pub(super) bytes: u64,
    /// Of the newest packet among those that the last acknowledgement was for.
    pub(super) rtt: Duration,
    /// When that was sent which is not acknowledged yet.
    pub(super) unanswered_since: Option<Instant>,
    /// Since when more is to be sent than may be.
    pub(super) blocked_since: Option<Instant>,
}

/// Of a controller of this kind; nothing of another one.
pub(super) fn acknowledged(controller: Box<dyn Controller>) -> Acknowledged {
    let own = controller.into_any().downcast::<LowDelay>();
    own.map_or_else(
        |_| Acknowledged::default(),
        |own| Acknowledged {
            unanswered_since: own.flight.unanswered_since(),
            blocked_since: own.flight.blocked_since(),
            ..own.acknowledged
        },
    )
}

impl LowDelay {
    fn starting(&self) -> bool {
        self.cubic
            .metrics()
            .ssthresh
            .is_none_or(|threshold| self.cubic.window() < threshold)
    }

    /// A queue that is short on a path with this base round trip.
    fn short_queue(base: Duration) -> Duration {
        (base / 8).clamp(START_QUEUE_MIN, START_QUEUE_MAX)
    }

    /// Takes a look; whether the queue is too long, as was now confirmed.
    fn confirms_a_long_queue(&mut self, now: Instant, look: Look) -> bool {
        let most = if self.starting() {
            Self::short_queue(look.base)
        } else {
            self.config.queue_max
        };
        let smallest = WINDOW_PACKETS_MIN * u64::from(self.mtu);
        let long = look.waiting > most && self.cubic.window() > smallest;
        let confirmed = long && self.suspected;
        self.suspected = long && !confirmed;
        if self.suspected {
            self.queue.look_from(now, CONFIRMING_MIN);
        }
        confirmed
    }

    fn give_way(&mut self, now: Instant, sent: Instant) {
        if self.starting() {
            self.start_is_over(now, sent);
        } else {
            self.cubic.on_congestion_event(now, sent, false, 0);
        }
        self.forget_the_past(now);
    }

    /// The window has not grown since the queue was suspected: it is the path and
    /// the queue.
    fn start_is_over(&mut self, now: Instant, sent: Instant) {
        let Look { waiting, base } = self.last;
        let full = self.cubic.window() as f64;
        let fitting = (base + Self::short_queue(base)).as_secs_f64()
            / (base + waiting).as_secs_f64().max(f64::MIN_POSITIVE);
        let window = full * fitting.min(1.0);
        // The library's Cubic learns its threshold only by congestion.
        let mut config = CubicConfig::default();
        config.initial_window((window / CUBIC_KEEPS) as u64);
        self.cubic = Cubic::new(Arc::new(config), now, self.mtu);
        self.cubic.on_congestion_event(now, sent, false, 0);
    }

    fn forget_the_past(&mut self, now: Instant) {
        self.suspected = false;
        self.queue.look_from(now, Duration::ZERO);
        self.losses = Losses::new(now);
    }
}

impl Controller for LowDelay {
    fn on_sent(&mut self, now: Instant, bytes: u64, last_packet_number: u64) {
        self.cubic.on_sent(now, bytes, last_packet_number);
        // An acknowledgement alone is never acknowledged.
        if bytes > ACKNOWLEDGEMENT_BYTES_MAX {
            let (base, mtu) = (self.queue.base(), u64::from(self.mtu));
            self.flight.sent(last_packet_number, base, mtu, now);
        }
    }

    fn on_ack(
        &mut self,
        now: Instant,
        sent: Instant,
        bytes: u64,
        app_limited: bool,
        rtt: &RttEstimator,
    ) {
        let mtu = u64::from(self.mtu);
        self.acknowledged.bytes += bytes;
        self.acknowledged.rtt = now.saturating_duration_since(sent);
        self.losses.arrived(now, sent, bytes, mtu, rtt.get());
        let base = self.queue.base();
        self.flight.arrived(bytes, self.acknowledged.rtt, base, now);
        if let Some(look) = self.queue.add(now, sent) {
            self.last = look;
            if self.confirms_a_long_queue(now, look) {
                self.give_way(now, sent);
                return;
            }
        }
        if self.suspected {
            return;
        }
        let bytes = if self.starting() { bytes / 2 } else { bytes };
        self.cubic.on_ack(now, sent, bytes, app_limited, rtt);
    }

    fn on_end_acks(
        &mut self,
        now: Instant,
        in_flight: u64,
        app_limited: bool,
        largest_packet_num_acked: Option<u64>,
    ) {
        self.cubic
            .on_end_acks(now, in_flight, app_limited, largest_packet_num_acked);
        if let Some(largest) = largest_packet_num_acked {
            let (base, mtu) = (self.queue.base(), u64::from(self.mtu));
            self.flight.answered(largest, !app_limited, base, mtu, now);
        }
    }

    fn on_congestion_event(
        &mut self,
        now: Instant,
        sent: Instant,
        is_persistent_congestion: bool,
        lost_bytes: u64,
    ) {
        self.losses.lost(sent, lost_bytes);
        // Without lost bytes it is a mark by the bottleneck itself (ECN).
        let by_chance = !is_persistent_congestion
            && lost_bytes > 0
            && self.last.waiting <= Self::short_queue(self.last.base)
            && !self.losses.are_above(LOSS_ONE_IN, u64::from(self.mtu));
        if by_chance {
            return;
        }
        self.cubic
            .on_congestion_event(now, sent, is_persistent_congestion, lost_bytes);
        self.forget_the_past(now);
    }

    fn on_mtu_update(&mut self, new_mtu: u16) {
        self.mtu = new_mtu;
        self.cubic.on_mtu_update(new_mtu);
    }

    fn window(&self) -> u64 {
        self.cubic.window().min(self.flight.allowed())
    }

    fn metrics(&self) -> ControllerMetrics {
        self.cubic.metrics()
    }

    fn clone_box(&self) -> Box<dyn Controller> {
        Box::new(self.clone())
    }

    fn initial_window(&self) -> u64 {
        // Not that of a Cubic that took over in the middle.
        self.initial_window
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MTU: u16 = 1200;
    const MS: Duration = Duration::from_millis(1);

    /// With a window of so many packets, and a queue that was seen last.
    fn controller(now: Instant, packets: u64, waiting: Duration) -> Box<LowDelay> {
        let mut cubic = CubicConfig::default();
        cubic.initial_window(packets * u64::from(MTU));
        let config = LowDelayConfig {
            cubic: Arc::new(cubic),
            ..LowDelayConfig::default()
        };
        let built = Arc::new(config).build(now, MTU).into_any();
        let mut controller = built.downcast::<LowDelay>().expect("what was configured");
        controller.last = Look {
            waiting,
            base: 20 * MS,
        };
        controller
    }

    fn lose(controller: &mut LowDelay, now: Instant, packets: u64) {
        let bytes = packets * u64::from(MTU);
        controller.on_congestion_event(now + 30 * MS, now, false, bytes);
    }

    #[test]
    fn a_few_losses_beside_a_short_queue_are_chance() {
        let now = Instant::now();
        let mut controller = controller(now, 100, MS);
        let before = controller.window();
        lose(&mut controller, now, 10);
        assert_eq!(controller.window(), before);
        lose(&mut controller, now, 1);
        assert!(controller.window() < before, "more than a tenth is not");
    }

    #[test]
    fn losses_beside_a_queue_marks_and_long_silence_are_congestion() {
        let now = Instant::now();
        let before = 100 * u64::from(MTU);
        let mut queued = controller(now, 100, 5 * MS);
        lose(&mut queued, now, 1);
        assert!(queued.window() < before);
        let mut marked = controller(now, 100, MS);
        lose(&mut marked, now, 0);
        assert!(marked.window() < before);
        let mut silent = controller(now, 100, MS);
        silent.on_congestion_event(now, now, true, u64::from(MTU));
        assert_eq!(silent.window(), 2 * u64::from(MTU));
    }

    #[test]
    fn a_start_ends_with_what_the_path_carries_and_a_short_queue() {
        let now = Instant::now();
        let mut controller = controller(now, 1000, 28 * MS);
        assert!(controller.starting());
        controller.give_way(now, now);
        assert!(!controller.starting());
        // 20 ms of 48, and 4 ms of queue; rounded down.
        let packets = controller.window() / u64::from(MTU);
        assert!((498..=500).contains(&packets), "{packets}");
    }

    #[test]
    fn a_queue_is_believed_at_the_second_look() {
        let now = Instant::now();
        let mut controller = controller(now, 100, MS);
        let long = Look {
            waiting: 60 * MS,
            base: 20 * MS,
        };
        assert!(!controller.confirms_a_long_queue(now, long));
        assert!(controller.confirms_a_long_queue(now, long));
        let short = Look {
            waiting: MS,
            base: 20 * MS,
        };
        assert!(!controller.confirms_a_long_queue(now, long));
        assert!(!controller.confirms_a_long_queue(now, short));
        assert!(!controller.confirms_a_long_queue(now, long));
    }
}
