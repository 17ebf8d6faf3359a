//! Facts about the ledger.

use dt_client::{AudioLevel, Carrier, Continuity};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

use super::*;

const STREAM: StreamId = StreamId::from_bytes([1; 16]);

fn audio(number: u64) -> ReceivedFrame {
    let timestamp_us = now_us();
    ReceivedFrame {
        stream_id: STREAM,
        kind: MediaKind::Audio,
        codec: FourCc::Opus,
        encoding: Encoding::MIN,
        frame_type: FrameType::Audio,
        timestamp_us,
        received_us: timestamp_us + 5000,
        temporal_layer: 0,
        base_counter: 0,
        level: AudioLevel::SILENCE,
        group: 0,
        first_sequence: number,
        last_sequence: number,
        carrier: Carrier::Datagram,
        continuity: Continuity::Whole,
        resumes: false,
        span: 1,
        payload: Bytes::from_static(&[0xfc, 1, 2, 3]),
    }
}

fn video(counter: u8) -> ReceivedFrame {
    ReceivedFrame {
        kind: MediaKind::Video,
        codec: FourCc::Vp8,
        frame_type: FrameType::VideoDelta,
        base_counter: counter,
        payload: Bytes::from_static(&[0x31, 0, 0, 9, 9]),
        ..audio(0)
    }
}

fn ledger() -> (Ledger, Instant) {
    let now = Instant::now();
    (Ledger::new(now, KnownPayloads::default()), now)
}

#[test]
fn missing_frames_are_lost_and_late_ones_are_not() {
    let (mut ledger, now) = ledger();
    for number in [5, 6, 9, 8, 11] {
        ledger.receive(&audio(number), now);
    }
    assert_eq!((ledger.frames(), ledger.lost()), (5, 2));
    assert_eq!(ledger.corrupt(), 0);
}

#[test]
fn the_base_layer_counter_goes_round_and_upper_layers_may_be_missing() {
    let (mut ledger, now) = ledger();
    for counter in (250..=255).chain(0..4).chain(5..8) {
        ledger.receive(&video(counter), now);
    }
    let mut upper = video(7);
    upper.temporal_layer = 1;
    ledger.receive(&upper, now);
    assert_eq!(ledger.lost(), 1);
}

#[test]
fn a_gap_while_a_stream_was_out_of_view_or_muted_is_neither_loss_nor_silence() {
    let (mut ledger, now) = ledger();
    ledger.receive(&audio(1), now);
    ledger.interrupt(STREAM);
    ledger.receive(&audio(50), now + Duration::from_secs(9));
    let mut again = audio(99);
    again.span = 2;
    ledger.receive(&again, now + Duration::from_secs(20));
    ledger.finish(now + Duration::from_secs(20));
    assert_eq!(ledger.lost(), 0);
    assert_eq!(ledger.gaps().audio, Some(Duration::ZERO));
}

#[test]
fn an_outage_of_the_connection_is_a_gap_and_no_loss() {
    let (mut ledger, now) = ledger();
    let second = Duration::from_secs(1);
    ledger.receive(&audio(1), now);
    ledger.disconnected(MediaKind::Audio, now);
    ledger.receive(&audio(200), now + 3 * second);
    ledger.receive(&audio(202), now + 3 * second);
    assert_eq!(ledger.lost(), 1);
    assert_eq!(ledger.gaps().audio, Some(3 * second));
}

#[test]
fn the_longest_gap_counts_up_to_the_end() {
    let (mut ledger, now) = ledger();
    let second = Duration::from_secs(1);
    ledger.receive(&audio(1), now);
    ledger.receive(&audio(2), now + second);
    ledger.finish(now + 4 * second);
    assert_eq!(ledger.gaps().audio, Some(3 * second));
    assert_eq!(ledger.gaps().video, None);
}

#[test]
fn a_broken_payload_and_one_that_is_not_in_the_clip_it_should_be_from_are_corrupt() {
    let known = audio(1).payload;
    let now = Instant::now();
    let mut ledger = Ledger::new(now, Arc::new(HashSet::from([known])));
    ledger.receive(&audio(1), now);
    let mut other = audio(2);
    other.payload = Bytes::from_static(&[0xfc, 9, 9]);
    ledger.receive(&other, now);
    let mut broken = video(0);
    broken.payload = Bytes::from_static(&[0]);
    ledger.receive(&broken, now);
    assert_eq!(ledger.corrupt(), 2);
}

#[test]
fn latency_is_measured_for_frames_captured_after_the_beginning() {
    let (mut ledger, now) = ledger();
    let mut old = audio(1);
    old.timestamp_us -= 10_000_000;
    ledger.receive(&old, now);
    assert_eq!(ledger.latency().percentile_ms(0.5), None);
    ledger.receive(&audio(2), now);
    let p50 = ledger.latency().percentile_ms(0.5).unwrap();
    assert!((5.0..5.2).contains(&p50), "{p50}");
}

fn key(counter: u8) -> ReceivedFrame {
    ReceivedFrame {
        frame_type: FrameType::VideoKey,
        carrier: Carrier::Stream,
        ..video(counter)
    }
}

fn of(encoding: u32, frame: ReceivedFrame) -> ReceivedFrame {
    ReceivedFrame {
        encoding: Encoding::try_from(encoding).unwrap(),
        ..frame
    }
}

#[test]
fn a_picture_taken_up_again_lacks_nothing_and_one_that_was_given_up_does() {
    let (mut ledger, now) = ledger();
    ledger.receive_checked(&key(0), now, true);
    ledger.receive_checked(&video(1), now, true);
    // Hidden, and seen again.
    let resumes = |frame| ReceivedFrame {
        resumes: true,
        ..frame
    };
    ledger.receive_checked(&resumes(key(90)), now, true);
    assert_eq!(ledger.lost(), 0);
    // A group that was reset.
    ledger.receive_checked(&key(95), now, true);
    assert_eq!(ledger.lost(), 4);
    // A hole in a group, which a hidden tile does not make.
    ledger.receive_checked(&resumes(video(97)), now, true);
    assert_eq!(ledger.lost(), 5);
}

#[test]
fn a_switch_of_layers_is_no_loss_and_the_picture_is_one_all_the_time() {
    let (mut ledger, now) = ledger();
    let at = |ms| now + Duration::from_millis(ms);
    ledger.receive_checked(&of(2, key(0)), at(0), true);
    ledger.receive_checked(&of(2, video(1)), at(33), true);
    for n in 0..100_u8 {
        let frame = if n == 0 { key(n) } else { video(n) };
        ledger.receive_checked(&of(0, frame), at(66 + 33 * u64::from(n)), true);
        if n == 3 {
            // Of the encoding before; it had been on its way.
            ledger.receive_checked(&of(2, video(2)), at(66 + 33 * u64::from(n)), true);
        }
    }
    ledger.receive_checked(&of(2, key(102)), at(3366), true);
    ledger.receive_checked(&of(2, video(103)), at(3399), true);
    ledger.finish(at(3399));
    assert_eq!((ledger.lost(), ledger.switches()), (0, 2));
    assert_eq!(ledger.gaps().video, Some(Duration::from_millis(33)));
    let frames: Vec<_> = ledger.layers().iter().map(|layer| layer.frames).collect();
    assert_eq!(frames, [100, 0, 5]);
    ledger.receive_checked(&of(2, video(105)), at(3432), true);
    assert_eq!(ledger.lost(), 1);
}

#[test]
fn what_a_dead_handler_did_not_send_is_not_lost() {
    let (mut ledger, now) = ledger();
    let second = Duration::from_secs(1);
    for (counter, at) in [(0, 0), (3, 1)] {
        ledger.receive_checked(&key(counter), now + second * at, true);
    }
    // The other handler had taken over before it was known.
    ledger.receive_checked(&key(60), now + 9 * second, true);
    ledger.disconnected(MediaKind::Video, now + 10 * second);
    assert_eq!(ledger.lost(), 2);
}

const PACKET_US: u64 = 20_000;
const LOUD: AudioLevel = AudioLevel {
    voice: true,
    below_overload_db: 20,
};
const QUIET: AudioLevel = AudioLevel {
    voice: false,
    below_overload_db: 80,
};

fn packet(number: u64, level: AudioLevel, transit_us: u64) -> ReceivedFrame {
    let timestamp_us = 1_000_000 + number * PACKET_US;
    ReceivedFrame {
        timestamp_us,
        received_us: timestamp_us + transit_us,
        level,
        ..audio(number)
    }
}

#[test]
fn who_never_tells_a_level_passes_no_gate() {
    let (mut ledger, now) = ledger();
    for number in (0..200).chain(250..300) {
        ledger.receive_checked(&packet(number, AudioLevel::SILENCE, 200_000), now, true);
    }
    assert_eq!(ledger.lost(), 50);
}

/// A microphone behind a gate as the server has it, and a way that loses some.
/// What came: each packet's number, level and how long it took; and how many were
/// lost for certain, and how many perhaps (the gate was about to close).
fn course(rng: &mut StdRng) -> (Vec<(u64, AudioLevel, u64)>, [u64; 2]) {
    let (mut came, mut lost) = (Vec::new(), [0; 2]);
    let (mut talks, mut open, mut loud_at) = (true, false, None);
    let mut kept = Vec::new();
    // Since the last one that came: how many were lost, whether any was withheld,
    // and when the last loud one came.
    let (mut gap, mut withheld, mut loud_came, mut last_came) = (0, false, 0, 0);
    for number in 0..3000_u64 {
        if rng.random_bool(0.006) {
            talks = !talks;
        }
        let level = if talks { LOUD } else { QUIET };
        loud_at = if talks { Some(number) } else { loud_at };
        let was_open = open;
        open = loud_at.is_some_and(|at| (number - at) * PACKET_US < 1_500_000);
        kept.push((number, level, 0));
        if !open {
            continue;
        }
        let onset = if was_open { 0 } else { 5 };
        let old = kept.len() - 1 - onset.min(kept.len() - 1);
        withheld |= old > 0;
        for (sent, level, _) in kept.drain(..).skip(old) {
            if rng.random_bool(0.03) {
                gap += 1;
                continue;
            }
            let transit = (number - sent) * PACKET_US + rng.random_range(25_000..40_000);
            let quiet = (last_came - loud_came) * PACKET_US >= 1_400_000;
            if !withheld && !came.is_empty() {
                lost[1] += gap;
                lost[0] += if quiet { 0 } else { gap };
            }
            (gap, withheld, last_came) = (0, false, sent);
            if level == LOUD {
                loud_came = sent;
            }
            came.push((sent, level, transit));
        }
    }
    (came, lost)
}

#[test]
fn what_a_gate_withholds_is_not_lost_and_what_the_way_loses_is() {
    let (mut withheld, mut total) = (0, 0);
    for seed in 0..1000 {
        let mut rng = StdRng::seed_from_u64(seed);
        let (came, [certain, perhaps]) = course(&mut rng);
        let (mut ledger, now) = ledger();
        for (number, level, transit) in &came {
            let frame = packet(*number, *level, *transit);
            ledger.receive_checked(&frame, now, true);
        }
        let lost = ledger.lost();
        assert!(
            (certain..=perhaps).contains(&lost),
            "seed {seed}: {lost} is not in {certain}..={perhaps}"
        );
        withheld += 3000 - came.len() as u64 - perhaps;
        total += lost;
    }
    // Both happen often.
    assert!(withheld > 100_000 && total > 20_000, "{withheld} {total}");
}
