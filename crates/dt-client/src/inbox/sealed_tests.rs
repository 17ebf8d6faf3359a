//! Facts about the inbox of an encrypted meeting: real groups of three, frames
//! that were sealed by one of them, and what somebody on the way may do to them.

use std::collections::HashMap;

use dt_e2ee::{EpochKeys, GroupSetup, LeafKey, Member, Suite};
use dt_frame::{Extension, Flags, FourCc};
use dt_ids::{ParticipantId, StreamNumber};

use super::*;
use crate::encryption::{Keys, Seal, Sealing};

const STREAM: StreamId = StreamId::from_bytes([7; 16]);
const ANN: ParticipantId = ParticipantId::from_bytes([1; 16]);
const BEN: ParticipantId = ParticipantId::from_bytes([2; 16]);
const NOTHING: [u8; 0] = [];

/// Epochs 1 and 2 of a group: Ann founded it, Ben came in at 1, another at 2.
struct Epochs {
    ann: Vec<EpochKeys>,
    ben: Vec<EpochKeys>,
}

fn epochs() -> Epochs {
    let setup = GroupSetup {
        group_id: vec![1; 20],
        external_sender: dt_e2ee::ControllerKey::from_seed([3; 32]).public(),
    };
    let leaf = || LeafKey::generate().unwrap();
    let (mut ann, info) = Member::found(leaf(), vec![1], &setup).unwrap();
    let (mut ben, entry) = Member::enter(leaf(), vec![2], &setup, &info).unwrap();
    let (_, third) = {
        ann.handle_commit(&entry.commit).unwrap();
        ben.handle_commit(&entry.commit).unwrap();
        Member::enter(leaf(), vec![3], &setup, &entry.group_info).unwrap()
    };
    let keys = |member: &Member| member.keys(Suite::Aes128Gcm).unwrap();
    let first = (keys(&ann), keys(&ben));
    ann.handle_commit(&third.commit).unwrap();
    ben.handle_commit(&third.commit).unwrap();
    Epochs {
        ann: vec![first.0, keys(&ann)],
        ben: vec![first.1, keys(&ben)],
    }
}

fn keys(epoch: &EpochKeys, fresh: bool) -> Keys {
    Keys {
        suite: Suite::Aes128Gcm,
        epoch: epoch.clone(),
        leaves: HashMap::from([(0, ANN), (1, BEN)]),
        fresh,
    }
}

/// What somebody sends.
struct Sender {
    sealing: Sealing,
    sent: u8,
}

impl Sender {
    fn new(epoch: &EpochKeys) -> Self {
        let sealing = Sealing::default();
        sealing.decide(true);
        sealing.set_epoch(Suite::Aes128Gcm, epoch, true);
        Self { sealing, sent: 0 }
    }

    /// The next frame on the stream carrier, a key frame each.
    fn next(&mut self) -> (StreamHeader, FrameHeader, Bytes) {
        self.sent += 1;
        let extension = Extension::video(Encoding::MIN, 0, self.sent, 0);
        let seal = Seal {
            stream_id: STREAM,
            frame_type: FrameType::VideoKey,
            extension,
            timestamp_us: u64::from(self.sent) * 33_000,
            discardable: false,
        };
        let plain = Bytes::from(vec![self.sent; 100]);
        let number = StreamNumber::try_from(1).unwrap();
        let sealed = self.sealing.seal(number, &seal, &plain).unwrap();
        assert!(!sealed.windows(8).any(|window| window == &plain[..8]));
        let stream = StreamHeader {
            stream_id: STREAM,
            codec: FourCc::Vp8,
            encoding: Encoding::MIN,
            screen: false,
            group: 0,
        };
        let header = FrameHeader {
            frame_type: FrameType::VideoKey,
            stream_id: STREAM,
            timestamp_us: seal.timestamp_us,
            sequence: u64::from(self.sent),
            payload_bytes: u32::try_from(sealed.len()).unwrap(),
            flags: Flags::WHOLE,
            extension,
        };
        (stream, header, sealed)
    }
}

fn encrypted(now: Instant) -> Inbox {
    let mut inbox = Inbox::default();
    inbox.encrypt(now);
    inbox.set_owner(STREAM, ANN, now);
    inbox
}

fn payloads(output: &Output) -> Vec<u8> {
    let frames = output.frames.iter();
    frames.map(|frame| frame.payload[0]).collect()
}

fn push(inbox: &mut Inbox, frame: (StreamHeader, FrameHeader, Bytes), now: Instant) -> Vec<u8> {
    payloads(&inbox.stream_frame(&frame.0, &frame.1, frame.2, now))
}

#[test]
fn a_sealed_frame_is_opened_before_it_is_handed_out() {
    let now = Instant::now();
    let epochs = epochs();
    let mut inbox = encrypted(now);
    inbox.set_epoch(&keys(&epochs.ben[0], true), now);
    let mut ann = Sender::new(&epochs.ann[0]);
    assert_eq!(push(&mut inbox, ann.next(), now), [1]);
    assert_eq!(
        inbox.stats().bytes,
        100,
        "what was sealed, not what travelled"
    );
}

#[test]
fn what_is_not_sealed_does_not_pass() {
    let now = Instant::now();
    let epochs = epochs();
    let mut inbox = encrypted(now);
    inbox.set_epoch(&keys(&epochs.ben[0], true), now);
    let (stream, header, _) = Sender::new(&epochs.ann[0]).next();
    // Whatever it may look like.
    for byte in 0..=255 {
        let plain = Bytes::from(vec![byte; header.payload_bytes as usize]);
        let then = now + Duration::from_secs(u64::from(byte));
        assert_eq!(push(&mut inbox, (stream, header, plain), then), NOTHING);
    }
    inbox.expire_sealed(now + Duration::from_secs(300));
    let stats = inbox.stats();
    assert_eq!(
        stats.decrypt_failures + stats.before_joining,
        256,
        "{stats:?}"
    );
}

#[test]
fn frames_of_the_next_epoch_wait_for_it_and_none_is_lost() {
    let now = Instant::now();
    let epochs = epochs();
    let mut inbox = encrypted(now);
    inbox.set_epoch(&keys(&epochs.ben[0], true), now);
    let mut ann = Sender::new(&epochs.ann[0]);
    let last = ann.next();
    ann.sealing
        .set_epoch(Suite::Aes128Gcm, &epochs.ann[1], false);
    assert_eq!(push(&mut inbox, ann.next(), now), NOTHING);
    assert_eq!(push(&mut inbox, ann.next(), now), NOTHING);
    // One of the epoch before was slower.
    assert_eq!(push(&mut inbox, last, now), [1]);
    let later = now + Duration::from_millis(499);
    let output = inbox.set_epoch(&keys(&epochs.ben[1], false), later);
    assert_eq!(payloads(&output), [2, 3]);
    assert_eq!(inbox.stats().decrypt_failures, 0);
}

#[test]
fn frames_do_not_wait_longer_than_half_a_second_nor_more_than_64_of_them() {
    let now = Instant::now();
    let epochs = epochs();
    let mut inbox = encrypted(now);
    inbox.set_epoch(&keys(&epochs.ben[0], true), now);
    let mut ann = Sender::new(&epochs.ann[1]);
    for _ in 0..100 {
        assert_eq!(push(&mut inbox, ann.next(), now), NOTHING);
    }
    assert_eq!(inbox.stats().decrypt_failures, 36);
    let output = inbox.set_epoch(
        &keys(&epochs.ben[1], false),
        now + Duration::from_millis(501),
    );
    assert_eq!(payloads(&output), NOTHING);
    assert_eq!(inbox.stats().decrypt_failures, 100);
}

#[test]
fn frames_of_an_epoch_that_does_not_come_tell_that_a_step_was_missed() {
    let begin = Instant::now();
    let epochs = epochs();
    let mut inbox = encrypted(begin);
    inbox.set_epoch(&keys(&epochs.ben[0], true), begin);
    // Ann is an epoch ahead.
    let mut ann = Sender::new(&epochs.ann[1]);
    let mut told = Vec::new();
    for tick in 0..200_u32 {
        let since = Duration::from_millis(33) * tick;
        assert_eq!(push(&mut inbox, ann.next(), begin + since), NOTHING);
        if inbox.take_behind() {
            told.push(since);
        }
    }
    // Half a second of waiting, two of being behind; once a minute.
    assert_eq!(told.len(), 1, "{told:?}");
    assert!((2500..2700).contains(&told[0].as_millis()), "{told:?}");
}

#[test]
fn one_sender_with_an_epoch_that_is_made_up_is_not_believed_while_another_is_heard() {
    let begin = Instant::now();
    let epochs = epochs();
    let mut inbox = encrypted(begin);
    inbox.set_epoch(&keys(&epochs.ben[0], true), begin);
    let (mut ahead, mut ann) = (Sender::new(&epochs.ann[1]), Sender::new(&epochs.ann[0]));
    for tick in 0..100_u32 {
        let now = begin + Duration::from_millis(33) * tick;
        let mut frame = ahead.next();
        // Other times than the honest ones: it is another frame.
        frame.1.timestamp_us += 1_000_000_000;
        push(&mut inbox, frame, now);
        assert_eq!(push(&mut inbox, ann.next(), now).len(), 1);
        assert!(!inbox.take_behind());
    }
}

#[test]
fn frames_from_before_one_s_own_entry_are_no_failures() {
    let now = Instant::now();
    let epochs = epochs();
    let mut inbox = encrypted(now);
    let mut ann = Sender::new(&epochs.ann[0]);
    // The newest group comes before the keys do.
    for _ in 0..70 {
        assert_eq!(push(&mut inbox, ann.next(), now), NOTHING);
    }
    ann.sealing
        .set_epoch(Suite::Aes128Gcm, &epochs.ann[1], false);
    assert_eq!(push(&mut inbox, ann.next(), now), NOTHING);
    let output = inbox.set_epoch(&keys(&epochs.ben[1], true), now);
    assert_eq!(payloads(&output), [71]);
    let stats = inbox.stats();
    assert_eq!((stats.before_joining, stats.decrypt_failures), (70, 0));
}

#[test]
fn a_frame_waits_until_it_is_said_whose_its_stream_is() {
    let now = Instant::now();
    let epochs = epochs();
    let mut inbox = Inbox::default();
    inbox.encrypt(now);
    inbox.set_epoch(&keys(&epochs.ben[0], true), now);
    assert_eq!(
        push(&mut inbox, Sender::new(&epochs.ann[0]).next(), now),
        NOTHING
    );
    assert_eq!(payloads(&inbox.set_owner(STREAM, ANN, now)), [1]);
}

#[test]
fn a_frame_that_another_member_sealed_for_the_stream_is_reattributed() {
    let now = Instant::now();
    let epochs = epochs();
    let mut inbox = encrypted(now);
    inbox.set_epoch(&keys(&epochs.ann[0], true), now);
    assert_eq!(
        push(&mut inbox, Sender::new(&epochs.ben[0]).next(), now),
        NOTHING
    );
    let stats = inbox.stats();
    assert_eq!((stats.reattributed, stats.decrypt_failures), (1, 1));
}

#[test]
fn frames_of_a_member_who_can_not_be_trusted_are_not_opened() {
    let now = Instant::now();
    let epochs = epochs();
    let mut inbox = encrypted(now);
    let mut distrusted = keys(&epochs.ben[0], true);
    distrusted.leaves.remove(&0);
    inbox.set_epoch(&distrusted, now);
    assert_eq!(
        push(&mut inbox, Sender::new(&epochs.ann[0]).next(), now),
        NOTHING
    );
    assert_eq!(inbox.stats().decrypt_failures, 1);
}

#[test]
fn what_was_changed_cut_or_sent_again_is_counted_and_asks_for_a_key_frame() {
    let now = Instant::now();
    let epochs = epochs();
    let mut inbox = encrypted(now);
    inbox.set_epoch(&keys(&epochs.ben[0], true), now);
    let mut ann = Sender::new(&epochs.ann[0]);
    let (stream, header, sealed) = ann.next();
    let mut spoiled = Vec::new();
    for place in 0..sealed.len() {
        let mut forged = sealed.to_vec();
        forged[place] ^= 0x10;
        spoiled.push((header, forged.into()));
        spoiled.push((header, sealed.slice(..place)));
    }
    let mut moved = header;
    moved.timestamp_us += 1;
    spoiled.push((moved, sealed.clone()));
    let mut renamed = header;
    renamed.frame_type = FrameType::VideoDelta;
    spoiled.push((renamed, sealed.clone()));
    let mut discardable = header;
    discardable.flags.discardable = true;
    spoiled.push((discardable, sealed.clone()));
    let total = spoiled.len() as u64;
    for (header, sealed) in spoiled {
        assert_eq!(push(&mut inbox, (stream, header, sealed), now), NOTHING);
        // One that says that it is of the next epoch waits for it.
        inbox.expire_sealed(now + Duration::from_millis(501));
    }
    let stats = inbox.stats();
    assert_eq!(
        stats.decrypt_failures + stats.before_joining,
        total,
        "{stats:?}"
    );
    assert!(stats.decrypt_failures > total - 4, "{stats:?}");
    assert_eq!(stats.key_frame_requests, 1, "one a second");
    // None of it stands in the way of the real one, which comes once.
    assert_eq!(push(&mut inbox, (stream, header, sealed.clone()), now), [1]);
    assert_eq!(
        push(&mut inbox, (stream, header, sealed.clone()), now),
        NOTHING
    );
    assert_eq!(inbox.stats().duplicates, 1);
    // When it is not remembered as a copy any more, it is known as a replay.
    inbox.dedup = Deduplicator::new(1, 1);
    assert_eq!(push(&mut inbox, (stream, header, sealed), now), NOTHING);
    assert_eq!(inbox.stats().decrypt_failures, stats.decrypt_failures + 1);
}

#[test]
fn after_an_unpublished_stream_its_number_seals_with_other_counters() {
    let epochs = epochs();
    let sealing = Sealing::default();
    sealing.decide(true);
    sealing.set_epoch(Suite::Aes128Gcm, &epochs.ann[0], true);
    let seal = |stream: u8| Seal {
        stream_id: StreamId::from_bytes([stream; 16]),
        frame_type: FrameType::Audio,
        extension: Extension::video(Encoding::MIN, 0, 0, 0),
        timestamp_us: 1,
        discardable: false,
    };
    let number = StreamNumber::try_from(1).unwrap();
    let plain = Bytes::from_static(&[0; 64]);
    let first = sealing.seal(number, &seal(1), &plain).unwrap();
    // Another epoch, and back by a void commit.
    sealing.set_epoch(Suite::Aes128Gcm, &epochs.ann[1], false);
    sealing.set_epoch(Suite::Aes128Gcm, &epochs.ann[0], false);
    let second = sealing.seal(number, &seal(2), &plain).unwrap();
    let tail = |sealed: &Bytes| sealed[sealed.len() - 80..sealed.len() - 16].to_vec();
    assert_ne!(tail(&first), tail(&second), "no counter was used twice");
}
