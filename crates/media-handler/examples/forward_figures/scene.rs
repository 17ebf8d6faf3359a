//! Who is in the meetings of a measurement, what each of them sends and who gets
//! it: the one description from which the handler's orders and the load's clients
//! are made.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::plan::{BURST_PACKETS, Carrier, DATAGRAM_BYTES, FRAME_BYTES, Plan};

/// Everything that happens at the handler.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Scene {
    /// Sources that send only, to receivers that receive only.
    Fan(Plan),
    /// Rooms in which everybody sends a picture and sound and gets all others'.
    Rooms { rooms: u32, people: u32 },
    /// Every source's stream goes to every receiver, a small frame a second.
    Trickle { sources: u32, receivers: u32 },
}

/// What one person sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Feed {
    pub(crate) carrier: Carrier,
    pub(crate) sound: bool,
    pub(crate) frame_bytes: usize,
    /// Between two frames.
    pub(crate) interval: Duration,
    /// When the first one is due.
    pub(crate) phase: Duration,
    pub(crate) group_frames: u64,
    /// Whom each frame goes to.
    pub(crate) receivers: u32,
}

/// Somebody in a meeting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Person {
    pub(crate) feeds: Vec<Feed>,
    pub(crate) receives: bool,
    /// One of those by whom latency is measured.
    pub(crate) probe: bool,
}

/// Of so many people one is a probe: few, for they have the core before all others.
const PROBE_EVERY: u32 = 5;
/// Which of them: the middle one, for a burst goes to receivers in their order.
const PROBE: u32 = PROBE_EVERY / 2;

/// Packets that carry so many bytes of media.
pub(crate) const fn packets_of(frame_bytes: usize) -> u32 {
    // Whatever a test sends is small.
    #[allow(clippy::cast_possible_truncation)]
    let packets = frame_bytes.div_ceil(DATAGRAM_BYTES) as u32;
    packets
}

impl Scene {
    /// The people of each meeting.
    pub(crate) fn meetings(&self) -> Vec<Vec<Person>> {
        match *self {
            Self::Fan(plan) => vec![fan(&plan)],
            Self::Rooms { rooms, people } => (0..rooms).map(|n| room(n, rooms, people)).collect(),
            Self::Trickle { sources, receivers } => vec![trickle(sources, receivers)],
        }
    }
}

fn listeners(count: u32) -> impl Iterator<Item = Person> {
    (0..count).map(|number| Person {
        feeds: Vec::new(),
        receives: true,
        probe: number % PROBE_EVERY == PROBE,
    })
}

fn source(number: u32, feed: Feed) -> Person {
    Person {
        feeds: vec![feed],
        receives: false,
        // The first one too, which may be the only one.
        probe: number.is_multiple_of(PROBE_EVERY),
    }
}

fn fan(plan: &Plan) -> Vec<Person> {
    let frame_bytes = match plan.carrier {
        // Each packet is whole with its header.
        Carrier::Datagrams => {
            BURST_PACKETS as usize * (DATAGRAM_BYTES - dt_frame::DATAGRAM_HEADER_BYTES)
        }
        Carrier::Streams => FRAME_BYTES,
    };
    let feed = |number| Feed {
        carrier: plan.carrier,
        sound: false,
        frame_bytes,
        interval: plan.frame_interval(),
        phase: plan.phase(number),
        group_frames: 30,
        receivers: plan.receivers,
    };
    let sources = (0..plan.sources()).map(|number| source(number, feed(number)));
    sources.chain(listeners(plan.receivers)).collect()
}

/// Bits a second of each picture in a room, at 30 frames a second.
const ROOM_VIDEO_BPS: u64 = 500_000;
/// Bytes of 20 ms of sound.
const SOUND_BYTES: usize = 80;

fn room(number: u32, rooms: u32, people: u32) -> Vec<Person> {
    let person = |place: u32| {
        let spread = f64::from(number * people + place) / f64::from(rooms * people);
        let feed = |sound, carrier, frame_bytes, interval: Duration| Feed {
            carrier,
            sound,
            frame_bytes,
            interval,
            phase: interval.mul_f64(spread),
            group_frames: 60,
            receivers: people - 1,
        };
        let frame = Duration::from_secs(1) / 30;
        let bytes = usize::try_from(ROOM_VIDEO_BPS / 8 / 30).unwrap_or(0);
        Person {
            feeds: vec![
                feed(false, Carrier::Streams, bytes, frame),
                feed(
                    true,
                    Carrier::Datagrams,
                    SOUND_BYTES,
                    Duration::from_millis(20),
                ),
            ],
            receives: true,
            // All of a room: what is timed is sent and received by probes.
            probe: number % PROBE_EVERY == PROBE,
        }
    };
    (0..people).map(person).collect()
}

fn trickle(sources: u32, receivers: u32) -> Vec<Person> {
    let interval = Duration::from_secs(1);
    let feed = |number| Feed {
        carrier: Carrier::Streams,
        sound: false,
        frame_bytes: 200,
        interval,
        phase: interval * number / sources,
        // Streams stay open for all of the measurement.
        group_frames: u64::MAX,
        receivers,
    };
    let sources = (0..sources).map(|number| source(number, feed(number)));
    sources.chain(listeners(receivers)).collect()
}
