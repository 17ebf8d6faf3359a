//! A thread's work without the thread and without a clock, with a codec that can be
//! made to panic.

use dt_ids::Slot;
use dt_mix_core::{Decode, Encode, Failed, STEP_SAMPLES};

use super::*;

/// A packet of this makes the decoder panic, as an encoder does with what is loud.
const POISON: u8 = 0xff;
const LOUD: u8 = 0xfe;

#[derive(Debug, Clone)]
struct Brittle;

impl Codecs for Brittle {
    type Decoder = Self;
    type Encoder = Self;

    fn decoder(&mut self) -> Result<Self, Failed> {
        Ok(Self)
    }

    fn encoder(&mut self, _: u32) -> Result<Self, Failed> {
        Ok(Self)
    }
}

impl Decode for Brittle {
    fn decode(&mut self, packet: &[u8], out: &mut Vec<f32>) -> Result<(), Failed> {
        assert_ne!(packet, [POISON]);
        let sample = if packet == [LOUD] { 0.5 } else { 0.1 };
        out.extend([sample; STEP_SAMPLES]);
        Ok(())
    }

    fn conceal(&mut self, out: &mut Vec<f32>) {
        out.extend([0.0; STEP_SAMPLES]);
    }
}

impl Encode for Brittle {
    fn encode(&mut self, pcm: &[f32]) -> Result<Bytes, Failed> {
        assert!(pcm[0] < 0.4, "too loud");
        Ok(Bytes::from_static(&[1]))
    }
}

fn participant(id: u64) -> ParticipantId {
    ParticipantId::from_bytes([u8::try_from(id).unwrap(); 16])
}

fn work(id: u64) -> Arc<Work> {
    let address = Address {
        participant: participant(id),
        label: SlotLabel::new(1, Slot::try_from(1).unwrap()),
    };
    let wish = Wish::Mix([SourceId(1)].into());
    Arc::new(Work {
        id,
        meeting: Weak::new(),
        wanted: Mutex::new(Some([(ListenerId(1), (wish, address))].into())),
    })
}

#[test]
fn a_panic_in_one_meeting_costs_the_others_nothing_and_it_begins_anew() {
    let mut thread = Thread::new(Brittle, Arc::default());
    let works = [1, 2].map(work);
    for work in &works {
        thread.take(Order::Begin(Arc::clone(work)));
    }
    let start = Instant::now();
    // Which steps each of the two got something in.
    let mut heard = [Vec::new(), Vec::new()];
    for step in 0..200 {
        let now = start + STEP * step;
        for meeting in [1, 2] {
            let payload = match (meeting, step) {
                (1, 50) => POISON,
                (1, 120) => LOUD,
                _ => 1,
            };
            thread.take(Order::Packet(Packet {
                meeting,
                source: SourceId(1),
                user: UserId(1),
                timestamp_us: u64::from(step) * STEP_US,
                payload: Bytes::copy_from_slice(&[payload]),
                came: now,
            }));
        }
        thread.step(u64::from(step) * STEP_US, now, |_, made| {
            for (to, _) in made {
                heard[usize::from(to == participant(2))].push(step);
            }
        });
    }
    let [broken, whole] = heard;
    let first = whole[0];
    assert!(first < 10, "{first}");
    let all: Vec<u32> = (first..200).collect();
    assert_eq!(whole, all, "not a step is missing");
    // The other one misses the two, and what the jitter buffer takes to fill again.
    let missed = all.len() - broken.len();
    assert!((2..20).contains(&missed), "{missed} steps are missing");
    assert_eq!(broken.last(), Some(&199));
}

#[test]
fn a_meeting_that_nobody_has_any_more_is_forgotten() {
    let mut thread = Thread::new(Brittle, Arc::default());
    let one = work(1);
    thread.take(Order::Begin(Arc::clone(&one)));
    thread.take(Order::Begin(work(2)));
    thread.step(0, Instant::now(), |_, _| {});
    assert_eq!(thread.meetings.keys().collect::<Vec<_>>(), [&1]);
}
