//! Frames of an encrypted meeting: each is opened before it is looked at any
//! further, and waits for its epoch a while.

use std::time::{Duration, Instant};

use dt_frame::FrameType;
use dt_ids::{ParticipantId, StreamId};

use super::{Inbox, Output, id_of};
use crate::{
    ReceivedFrame,
    encryption::{Failure, Keys, Opening, Seal, Verdict},
    frame::now_us,
};

/// How long a sealed frame waits for its epoch.
const SEALED_MAX: Duration = Duration::from_millis(500);
/// Sealed frames of one stream that wait; the oldest are dropped above it.
const SEALED_FRAMES_MAX: usize = 64;
/// Streams whose frames wait; frames of further ones are dropped.
const SEALED_STREAMS_MAX: usize = 256;
/// A frame that is whole and was not opened yet.
#[derive(Debug)]
pub(super) struct Sealed {
    pub(super) since: Instant,
    pub(super) frame: ReceivedFrame,
    pub(super) extension: dt_frame::Extension,
    pub(super) discardable: bool,
    /// It waits for an epoch to begin.
    pub(super) newer_epoch: bool,
}

impl Inbox {
    pub(super) fn open(&mut self, sealed: Sealed, now: Instant, output: &mut Output) {
        let Some(opening) = &mut self.opening else {
            return;
        };
        let seal = Seal {
            stream_id: sealed.frame.stream_id,
            frame_type: sealed.frame.frame_type,
            extension: sealed.extension,
            timestamp_us: sealed.frame.timestamp_us,
            discardable: sealed.discardable,
        };
        match opening.open(&seal, &sealed.frame.payload, now) {
            Verdict::Opened(payload) => {
                let frame = ReceivedFrame {
                    payload,
                    received_us: now_us(),
                    ..sealed.frame
                };
                self.deliver(frame, &sealed.extension, now, output);
            }
            Verdict::Early => self.hold(sealed),
            Verdict::NewerEpoch => self.hold(Sealed {
                newer_epoch: true,
                ..sealed
            }),
            Verdict::BeforeUs => {
                self.stats.before_joining += 1;
                self.dedup.retract(id_of(&sealed.frame));
            }
            Verdict::Failed(failure) => {
                self.stats.decrypt_failures += 1;
                self.stats.reattributed += u64::from(failure == Failure::Reattributed);
                // The real one may still come, over another path.
                self.dedup.retract(id_of(&sealed.frame));
                if sealed.frame.frame_type != FrameType::Audio {
                    let key = (sealed.frame.stream_id, sealed.frame.encoding);
                    self.ask_for_key_frame(key, now, output);
                }
            }
        }
    }

    /// Keeps a frame until its epoch begins.
    fn hold(&mut self, sealed: Sealed) {
        let stream = sealed.frame.stream_id;
        if !self.sealed.contains_key(&stream) && self.sealed.len() >= SEALED_STREAMS_MAX {
            self.give_up(1);
            return;
        }
        let waiting = self.sealed.entry(stream).or_default();
        waiting.push_back(sealed);
        if waiting.len() > SEALED_FRAMES_MAX {
            if let Some(oldest) = waiting.pop_front() {
                self.dedup.retract(id_of(&oldest.frame));
            }
            self.give_up(1);
        }
    }

    /// Frames that waited in vain. Before this client came in they were not for
    /// it.
    fn give_up(&mut self, frames: usize) {
        match &self.opening {
            Some(opening) if opening.has_keys() => self.stats.decrypt_failures += frames as u64,
            _ => self.stats.before_joining += frames as u64,
        }
    }

    pub(super) fn expire_sealed(&mut self, now: Instant) {
        let mut expired = 0;
        let mut newer = false;
        let dedup = &mut self.dedup;
        self.sealed.retain(|_, waiting| {
            waiting.retain(|sealed| {
                let keep = now.saturating_duration_since(sealed.since) <= SEALED_MAX;
                if !keep {
                    expired += 1;
                    newer |= sealed.newer_epoch;
                    dedup.retract(id_of(&sealed.frame));
                }
                keep
            });
            !waiting.is_empty()
        });
        self.give_up(expired);
        if let Some(opening) = self.opening.as_mut().filter(|_| newer) {
            self.behind |= opening.in_vain(now);
        }
    }

    /// Whether it was found since the last time that a step of the group was
    /// missed.
    pub(crate) fn take_behind(&mut self) -> bool {
        std::mem::take(&mut self.behind)
    }

    /// From here on nothing passes that was not opened. Whose the streams are is
    /// told next.
    pub(crate) fn encrypt(&mut self, now: Instant) {
        self.opening
            .get_or_insert_with(|| Opening::new(now))
            .forget_owners();
    }

    /// An epoch begins: what waited for it is opened.
    pub(crate) fn set_epoch(&mut self, keys: &Keys, now: Instant) -> Output {
        self.expire_sealed(now);
        if let Some(opening) = &mut self.opening {
            opening.set_epoch(keys, now);
        }
        self.behind = false;
        self.try_sealed(now)
    }

    /// These can't be trusted any more.
    pub(crate) fn distrust(&mut self, members: &[(u32, ParticipantId)]) {
        if let Some(opening) = &mut self.opening {
            opening.distrust(members);
        }
    }

    /// Says whose a stream is.
    pub(crate) fn set_owner(
        &mut self,
        stream: StreamId,
        owner: ParticipantId,
        now: Instant,
    ) -> Output {
        let Some(opening) = &mut self.opening else {
            return Output::default();
        };
        opening.set_owner(stream, owner);
        self.expire_sealed(now);
        self.try_sealed(now)
    }

    fn try_sealed(&mut self, now: Instant) -> Output {
        let mut output = Output::default();
        for sealed in std::mem::take(&mut self.sealed).into_values().flatten() {
            self.open(sealed, now, &mut output);
        }
        output
    }
}
