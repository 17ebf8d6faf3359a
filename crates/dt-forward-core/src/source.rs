//! One stream of a sender and who receives it.

use std::{collections::HashSet, sync::Arc, time::Instant};

use bytes::Bytes;
use dt_frame::{FrameHeader, FrameType, MediaKind};
use dt_ids::ParticipantId;

use crate::{
    DropReason, FrameBytes, Output, SessionKey, StreamSpec, Target,
    encoding::{EncodingState, Feeder, Overtaken},
    inbound::Upstream,
    outbox::{Outbox, Turn},
    telemetry::Meter,
};

#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) owner: ParticipantId,
    pub(crate) spec: StreamSpec,
    pub(crate) meter: Meter,
    /// As many as the specification says.
    pub(crate) encodings: Vec<EncodingState>,
    /// Sessions that receive it now.
    pub(crate) targets: Arc<[Target]>,
}

impl Source {
    pub(crate) fn new(owner: ParticipantId, spec: StreamSpec, now: Instant) -> Self {
        Self {
            owner,
            spec,
            meter: Meter::new(now),
            encodings: (0..spec.encodings)
                .map(|_| EncodingState::default())
                .collect(),
            targets: Arc::from([]),
        }
    }

    /// Replaces the receivers: those who are new begin with the kept group, those
    /// who are gone get nothing more.
    pub(crate) fn retarget(&mut self, targets: Vec<Target>, turn: &mut Turn<'_>) {
        let before = std::mem::replace(&mut self.targets, Arc::from(targets));
        let sessions = |list: &[Target]| list.iter().map(|t| t.session).collect::<HashSet<_>>();
        let (old, new) = (sessions(&before), sessions(&self.targets));
        for target in before.iter().filter(|t| !new.contains(&t.session)) {
            for encoding in &mut self.encodings {
                encoding.stop_receiver(target.session, turn.outbox);
            }
        }
        for target in self.targets.iter().filter(|t| !old.contains(&t.session)) {
            for encoding in &mut self.encodings {
                encoding.start_receiver(target.session, self.spec.kind, turn);
            }
        }
    }

    /// Ends all that is forwarded now: the stream is gone, muted, or comes over
    /// another session from now on.
    pub(crate) fn end(&mut self, sender: Option<SessionKey>, outbox: &mut Outbox) {
        for encoding in &mut self.encodings {
            encoding.end(sender, outbox);
        }
    }

    /// Asks the sender for the key frames that are due.
    pub(crate) fn ask(&mut self, sender: Option<SessionKey>, turn: &mut Turn<'_>) {
        let Some(session) = sender else {
            return;
        };
        if self.spec.kind == MediaKind::Audio || self.spec.muted {
            return;
        }
        for (number, encoding) in (0u32..).zip(&mut self.encodings) {
            if encoding
                .requests
                .due(turn.config.keyframe_interval, turn.now)
            {
                turn.outbox.counters.keyframe_requests += 1;
                turn.outbox.push(Output::RequestKeyframe {
                    session,
                    stream_id: self.spec.stream_id,
                    encoding: dt_ids::Encoding::try_from(number)
                        .expect("a stream has at most 16 encodings"),
                });
            }
        }
    }

    /// Takes a frame of one of the sender's streams and gives it to all
    /// receivers. The caller has checked that the stream may bring it.
    ///
    /// # Errors
    /// When its group is older than one that has begun.
    pub(crate) fn take_frame(
        &mut self,
        feeder: Feeder,
        upstream: &mut Upstream,
        header: &FrameHeader,
        payload: Bytes,
        turn: &mut Turn<'_>,
    ) -> Result<(), Overtaken> {
        let encoding = &mut self.encodings[usize::from(upstream.header.encoding.get())];
        let live = encoding.place(feeder, upstream, header, turn)?;
        upstream.live = live;
        if let Some(live) = live {
            let frame = FrameBytes {
                header: Bytes::copy_from_slice(&header.write()),
                payload,
            };
            let starts = header.frame_type != FrameType::VideoDelta;
            let copies = encoding.forward(live, &frame, starts, &self.targets, turn);
            self.meter.bytes_sent += copies * frame.len() as u64;
        } else {
            turn.outbox.drop(DropReason::WithoutKeyFrame);
            encoding.requests.want();
        }
        self.ask(Some(feeder.session), turn);
        Ok(())
    }
}
