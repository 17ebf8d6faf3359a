//! How much of a word is lost that begins at a microphone which was silent, while
//! more people speak than are forwarded.

#![allow(clippy::unwrap_used)] // a panic is how a test fails

mod support;

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use dt_frame::{AudioLevel, DatagramHeader, Extension};
use dt_transport::Session;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use support::{Client, World, soon};
use tokio::time::interval;

const PACKET: Duration = Duration::from_millis(20);
/// Those who speak all the time: more than the five who are forwarded.
const OTHERS: u64 = 7;
/// Who begins to speak, packets of 20 ms after the start.
const NEWCOMER: u64 = OTHERS + 1;
const BEGINS: u64 = 200;
const LASTS: u64 = 60;

/// How somebody speaks: syllables of a tenth to a third of a second with pauses
/// between them, as people do.
struct Speech {
    rng: StdRng,
    below_overload_db: u8,
    left: u32,
    loud: bool,
}

impl Speech {
    fn new(seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        Self {
            below_overload_db: rng.random_range(18..30),
            left: rng.random_range(1..15),
            loud: rng.random(),
            rng,
        }
    }

    fn next(&mut self) -> u8 {
        if self.left == 0 {
            self.loud = !self.loud;
            self.left = if self.loud {
                self.rng.random_range(5..15)
            } else {
                self.rng.random_range(2..12)
            };
        }
        self.left -= 1;
        if self.loud {
            self.below_overload_db + self.rng.random_range(0..4u8)
        } else {
            self.rng.random_range(60..75)
        }
    }
}

fn say(client: &mut Client, below_overload_db: u8) {
    let (mut header, datagram) = client.chunk();
    let level = AudioLevel {
        voice: below_overload_db < 55,
        below_overload_db,
    };
    header.extension = Extension::audio(level, 0);
    let written = header.write();
    let datagram: Bytes = [&written[..], &datagram[written.len()..]].concat().into();
    client.session.send_datagram(datagram).unwrap();
}

/// How many packets of the newcomer's first word did not come, and how long after
/// it was said the first one that came did.
async fn onset(seed: u64) -> (u64, Duration) {
    let mut world = World::new().await;
    let listener = world.person(100).await;
    let mut speakers = Vec::new();
    for user in 1..=NEWCOMER {
        let person = world.person(user).await;
        world.route(&person, &[listener]).await;
        speakers.push(world.join(&person).await);
    }
    let mut receiver = world.join(&listener).await;
    receiver.sync().await;
    let session = receiver.session.clone();
    let begun = tokio::time::Instant::now();
    let hearing = tokio::spawn(async move {
        let mut heard: BTreeMap<u64, Duration> = BTreeMap::new();
        while let Ok(datagram) = session.recv_datagram().await {
            if datagram[0] == b'p' {
                continue;
            }
            let (header, _) = DatagramHeader::split(datagram).unwrap();
            if header.user_id.0 == NEWCOMER {
                heard.entry(header.sequence).or_insert(begun.elapsed());
            }
            if header.sequence >= BEGINS + LASTS {
                break;
            }
        }
        heard
    });
    let mut speech: Vec<Speech> = (1..=OTHERS).map(|n| Speech::new(seed * 100 + n)).collect();
    let mut ticks = interval(PACKET);
    // Numbers begin at 1.
    for packet in 1..=BEGINS + LASTS {
        ticks.tick().await;
        for (speaker, speech) in speakers.iter_mut().zip(&mut speech) {
            say(speaker, speech.next());
        }
        let below = if packet < BEGINS { 80 } else { 20 };
        say(&mut speakers[usize::try_from(NEWCOMER - 1).unwrap()], below);
    }
    let heard = soon(hearing).await.unwrap();
    let word = BEGINS..BEGINS + LASTS - 1;
    let lost = word.filter(|n| !heard.contains_key(n)).count() as u64;
    let said = PACKET * u32::try_from(BEGINS - 1).unwrap();
    let first = heard.range(BEGINS..).next().map(|(_, at)| *at);
    (lost, first.unwrap_or(Duration::MAX).saturating_sub(said))
}

#[tokio::test(start_paused = true)]
async fn of_a_word_that_begins_among_seven_speakers_less_than_a_tenth_of_a_second_is_lost() {
    let mut found = Vec::new();
    for seed in 1..=100 {
        found.push((seed, onset(seed).await));
    }
    let lost = |(_, (lost, _)): &&(u64, (u64, Duration))| *lost;
    let worst = found.iter().max_by_key(lost).unwrap();
    let latest = found.iter().map(|(_, (_, first))| *first).max().unwrap();
    println!("worst {worst:?}, latest {latest:?}");
    // Five packets are a tenth of a second.
    assert!(worst.1.0 < 5, "{worst:?}");
    assert!(latest < Duration::from_millis(200), "{latest:?}");
}
