//! Facts about the ledger.

use dt_client::{AudioLevel, Carrier, Continuity};

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
    ledger.disconnected();
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
