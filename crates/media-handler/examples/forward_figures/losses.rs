//! What did not arrive, by where it was lost: the difference between what one place
//! gave and the next one took, from the sources to the receivers. All of it since
//! the sources began to send, so that no frame is on its way between two counts.

use serde::Serialize;

use crate::{
    machine::UdpErrors,
    orders::{Forwarded, Settled, Tally},
};

/// Of a whole run. Counts of copies: what is lost on its way to the handler is lost
/// for each receiver. One below 0 means that two places count differently.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(crate) struct Losses {
    pub(crate) datagrams: Datagrams,
    pub(crate) frames: Frames,
    /// Sound that was sent again, in copies: the other counts of datagrams are of
    /// these, too.
    pub(crate) repeats: i64,
    /// Packets that the handler's and the clients' connections took for lost; what
    /// was on streams in them was sent again.
    pub(crate) packets_lost_by_handler: u64,
    pub(crate) packets_lost_by_clients: u64,
    /// Packets for which a socket had no room when they came, by whose it was.
    pub(crate) packets_dropped_at_handler: u64,
    pub(crate) packets_dropped_at_clients: u64,
    /// The same of all sockets of this machine, and of those that sent.
    pub(crate) udp_receive_errors: u64,
    pub(crate) udp_send_errors: u64,
    /// From the end of sending to the last arrival; nothing when there was no end.
    pub(crate) last_after_ms: Option<f64>,
}

#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(crate) struct Datagrams {
    pub(crate) expected: u64,
    pub(crate) missing: i64,
    /// The handler never had them.
    to_handler: i64,
    /// It had them and they were not to go on: microphones that are not among the
    /// loudest, pictures without their key frame.
    by_rules: i64,
    /// Pictures that a slow receiver was not given.
    slow_receiver: i64,
    /// They waited in the handler's transport for too long.
    transport_queue: i64,
    /// Sent by the handler and never received: on the wire, or in a socket.
    on_the_wire: i64,
    /// Received and not read in time by the clients of this program.
    unread: i64,
}

#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(crate) struct Frames {
    pub(crate) expected: u64,
    pub(crate) missing: i64,
    /// The handler never had them whole.
    to_handler: i64,
    /// Its receiver's path was thought too narrow for them.
    left_out: i64,
    /// Nothing could be made of them without a key frame that is missing.
    without_key: i64,
    /// It had them and they were not to go on for another reason.
    by_rules: i64,
    /// Given up because they waited for a slow receiver for too long.
    slow_receiver: i64,
    /// Given to a stream that was reset, or is not read to its end.
    in_streams: i64,
    /// Streams to receivers that the handler reset because they were late.
    late_resets: u64,
}

impl Losses {
    pub(crate) fn of(settled: &Settled, forwarded: &Forwarded, errors: UdpErrors) -> Self {
        let count = |name: &str| signed(forwarded.counts.get(name).copied().unwrap_or(0));
        let repeats = count("media_repeats_out_total");
        let (there, here) = (forwarded.wire, settled.wire);
        let padding = signed(settled.padding_read);
        let (datagrams_in, out) = (
            count("media_datagrams_in_total"),
            count("media_datagrams_out_total"),
        );
        let slow = count("media_dropped_total:slow_datagrams");
        let (frames_in, frames_out) = (
            count("media_frames_in_total"),
            count("media_frames_out_total"),
        );
        let left_out = count("media_frames_left_out_total");
        let without_key = count("media_frames_without_key_total");
        let given_up = count("media_dropped_total:slow_receiver");
        let (datagrams, frames) = (settled.datagrams, settled.frames);
        Self {
            datagrams: Datagrams {
                expected: datagrams.expected,
                missing: missing(&datagrams),
                to_handler: copies(&datagrams, signed(datagrams.sent) - datagrams_in),
                by_rules: copies(&datagrams, datagrams_in) - (out - repeats),
                slow_receiver: slow,
                transport_queue: out - slow + padding - signed(there.datagrams_sent),
                on_the_wire: signed(there.datagrams_sent) - signed(here.datagrams_received),
                unread: signed(here.datagrams_received) - signed(settled.datagrams_read) - padding,
            },
            frames: Frames {
                expected: frames.expected,
                missing: missing(&frames),
                to_handler: copies(&frames, signed(frames.sent) - frames_in),
                left_out,
                without_key,
                by_rules: copies(&frames, frames_in) - frames_out - left_out - without_key,
                slow_receiver: given_up,
                in_streams: frames_out - given_up - signed(frames.arrived),
                late_resets: unsigned(count("media_late_resets_total")),
            },
            repeats,
            packets_lost_by_handler: there.packets_lost,
            packets_lost_by_clients: here.packets_lost,
            packets_dropped_at_handler: there.packets_dropped,
            packets_dropped_at_clients: here.packets_dropped,
            udp_receive_errors: errors.receive,
            udp_send_errors: errors.send,
            last_after_ms: settled.last_after.map(|last| last.as_secs_f64() * 1e3),
        }
    }

    /// Of two runs together.
    pub(crate) fn and(self, other: &Self) -> Self {
        let (a, b) = (self.datagrams, other.datagrams);
        let (c, d) = (self.frames, other.frames);
        Self {
            datagrams: Datagrams {
                expected: a.expected + b.expected,
                missing: a.missing + b.missing,
                to_handler: a.to_handler + b.to_handler,
                by_rules: a.by_rules + b.by_rules,
                slow_receiver: a.slow_receiver + b.slow_receiver,
                transport_queue: a.transport_queue + b.transport_queue,
                on_the_wire: a.on_the_wire + b.on_the_wire,
                unread: a.unread + b.unread,
            },
            frames: Frames {
                expected: c.expected + d.expected,
                missing: c.missing + d.missing,
                to_handler: c.to_handler + d.to_handler,
                left_out: c.left_out + d.left_out,
                without_key: c.without_key + d.without_key,
                by_rules: c.by_rules + d.by_rules,
                slow_receiver: c.slow_receiver + d.slow_receiver,
                in_streams: c.in_streams + d.in_streams,
                late_resets: c.late_resets + d.late_resets,
            },
            repeats: self.repeats + other.repeats,
            packets_lost_by_handler: self.packets_lost_by_handler + other.packets_lost_by_handler,
            packets_lost_by_clients: self.packets_lost_by_clients + other.packets_lost_by_clients,
            packets_dropped_at_handler: self.packets_dropped_at_handler
                + other.packets_dropped_at_handler,
            packets_dropped_at_clients: self.packets_dropped_at_clients
                + other.packets_dropped_at_clients,
            udp_receive_errors: self.udp_receive_errors + other.udp_receive_errors,
            udp_send_errors: self.udp_send_errors + other.udp_send_errors,
            last_after_ms: self
                .last_after_ms
                .zip(other.last_after_ms)
                .map(|(one, another)| one.max(another)),
        }
    }

    /// Whether any copy did not arrive.
    pub(crate) const fn any(&self) -> bool {
        self.datagrams.missing != 0 || self.frames.missing != 0
    }

    /// For people: what is missing of each carrier that was used, and where it was
    /// lost.
    pub(crate) fn print(&self) {
        let Datagrams {
            expected,
            missing,
            to_handler,
            by_rules,
            slow_receiver,
            transport_queue,
            on_the_wire,
            unread,
        } = self.datagrams;
        if expected > 0 {
            println!("  datagrams: {missing} of {expected} copies lost");
            rows(&[
                (to_handler, "before the handler"),
                (by_rules, "not to go on by the handler's rules"),
                (slow_receiver, "left out, the receiver being slow"),
                (transport_queue, "too old in the handler's transport"),
                (on_the_wire, "on the wire or in a socket"),
                (unread, "not read in time by a client of this program"),
            ]);
            if self.repeats > 0 {
                println!(
                    "    {} copies were sent again, and are counted above as well",
                    self.repeats
                );
            }
        }
        let Frames {
            expected,
            missing,
            to_handler,
            left_out,
            without_key,
            by_rules,
            slow_receiver,
            in_streams,
            late_resets,
        } = self.frames;
        if expected > 0 {
            println!("  frames on streams: {missing} of {expected} copies lost");
            rows(&[
                (to_handler, "before the handler"),
                (left_out, "left out, the receiver's path being too narrow"),
                (without_key, "without the key frame before them"),
                (by_rules, "not to go on by the handler's other rules"),
                (slow_receiver, "given up, the receiver being slow"),
                (in_streams, "in streams that were given up"),
            ]);
            if late_resets > 0 {
                println!("    {late_resets} streams were reset because they were late");
            }
        }
        println!(
            "  packets taken for lost by the handler {}, by clients {}; without room in sockets of the handler {}, of clients {}, of this machine {} received, {} sent; {}",
            self.packets_lost_by_handler,
            self.packets_lost_by_clients,
            self.packets_dropped_at_handler,
            self.packets_dropped_at_clients,
            self.udp_receive_errors,
            self.udp_send_errors,
            match self.last_after_ms {
                Some(last) => format!("the last copy came {last:.0} ms after sending ended"),
                None => "copies still came when counting ended".to_owned(),
            }
        );
    }
}

fn rows(rows: &[(i64, &str)]) {
    for (count, place) in rows.iter().filter(|(count, _)| *count != 0) {
        println!("    {count} {place}");
    }
}

fn missing(tally: &Tally) -> i64 {
    signed(tally.expected) - signed(tally.arrived)
}

/// Everything of a scene that goes by one carrier goes to equally many.
fn copies(tally: &Tally, count: i64) -> i64 {
    count * signed(tally.expected) / signed(tally.sent).max(1)
}

/// Counts of a run are small.
fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn unsigned(count: i64) -> u64 {
    u64::try_from(count).unwrap_or(0)
}
