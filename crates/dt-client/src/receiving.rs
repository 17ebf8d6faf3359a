//! Where all media sessions bring what they receive, and where it goes.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use bytes::Bytes;
use dt_frame::{DATAGRAM_TAG, FrameHeader, StreamHeader};
use dt_ids::{Encoding, HandlerId, ParticipantId, StreamId};
use dt_wire::v1::StreamAssignments;
use tokio::sync::{Notify, mpsc};

use crate::{
    Participant, ReceiveStats, ReceivedFrame,
    encryption::Keys,
    health::Health,
    inbox::{Inbox, Output},
};

/// A key frame that is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct KeyFrameRequest {
    pub(crate) stream_id: StreamId,
    pub(crate) encoding: Encoding,
    /// The handler that brought what can't be decoded, where that is known: it is
    /// the one that can ask the sender.
    pub(crate) of: Option<HandlerId>,
}

/// Shared by the driver and the media sessions of one seat.
#[derive(Debug)]
pub(crate) struct Receiving {
    inbox: Mutex<Inbox>,
    frames: mpsc::Sender<ReceivedFrame>,
    /// Requests of key frames, to the driver.
    key_frames: mpsc::Sender<KeyFrameRequest>,
    /// A step of the encryption's group was missed.
    behind: Notify,
    /// What is noted for the next health report.
    pub(crate) health: Health,
}

impl Receiving {
    pub(crate) fn new(
        frames: mpsc::Sender<ReceivedFrame>,
        key_frames: mpsc::Sender<KeyFrameRequest>,
    ) -> Arc<Self> {
        Arc::new(Self {
            inbox: Mutex::default(),
            frames,
            key_frames,
            behind: Notify::new(),
            health: Health::default(),
        })
    }

    fn inbox(&self) -> MutexGuard<'_, Inbox> {
        // The inbox is whole between any two of its calls.
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn stats(&self) -> ReceiveStats {
        self.inbox().stats()
    }

    pub(crate) fn forget_stream(&self, stream_id: StreamId) {
        self.inbox().forget_stream(stream_id);
    }

    pub(crate) fn renew_assignments(&self) {
        self.inbox().renew_assignments();
    }

    /// The meeting is encrypted: nothing passes any more that was not opened.
    pub(crate) fn encrypt(&self) {
        self.inbox().encrypt(now());
    }

    /// An epoch begins.
    pub(crate) fn set_epoch(&self, keys: &Keys) {
        let mut inbox = self.inbox();
        let output = inbox.set_epoch(keys, now());
        self.pass_on_before_others(&mut inbox, output);
    }

    /// These can't be trusted any more.
    pub(crate) fn distrust(&self, members: &[(u32, ParticipantId)]) {
        self.inbox().distrust(members);
    }

    /// Says whose a stream is.
    pub(crate) fn set_owner(&self, stream_id: StreamId, owner: ParticipantId) {
        let mut inbox = self.inbox();
        let output = inbox.set_owner(stream_id, owner, now());
        self.pass_on_before_others(&mut inbox, output);
    }

    /// The same for all that somebody publishes.
    pub(crate) fn set_owners(&self, participant: &Participant) {
        for stream in &participant.streams {
            self.set_owner(stream.id, participant.id);
        }
    }

    /// What had waited goes out before anything that comes now; those who bring
    /// it wait for the inbox.
    fn pass_on_before_others(&self, inbox: &mut Inbox, output: Output) {
        self.ask(&output, None);
        for frame in output.frames {
            if self.frames.try_send(frame).is_err() {
                inbox.count_overflowed();
            }
        }
    }

    pub(crate) fn assign(&self, message: &StreamAssignments) {
        let output = self.inbox().assign(message, now());
        self.pass_on(output, None);
    }

    /// Takes a datagram of a media session. Never waits: an application that is
    /// too slow loses frames.
    pub(crate) fn datagram(&self, from: HandlerId, datagram: Bytes) {
        if datagram.first() != Some(&DATAGRAM_TAG) {
            self.inbox().count_rejected();
            return;
        }
        let output = self.with(|inbox| inbox.datagram(datagram, now()));
        self.pass_on(output, Some(from));
    }

    fn pass_on(&self, output: Output, from: Option<HandlerId>) {
        self.ask(&output, from);
        for frame in output.frames {
            if self.frames.try_send(frame).is_err() {
                self.inbox().count_overflowed();
            }
        }
    }

    /// Takes a frame of the stream carrier; waits for the application.
    pub(crate) async fn stream_frame(
        &self,
        from: HandlerId,
        stream: &StreamHeader,
        header: &FrameHeader,
        payload: Bytes,
    ) {
        let output = self.with(|inbox| inbox.stream_frame(stream, header, payload, now()));
        self.ask(&output, Some(from));
        for frame in output.frames {
            if self.frames.send(frame).await.is_err() {
                self.inbox().count_overflowed();
            }
        }
    }

    /// The server has ended a group, and not given it up.
    pub(crate) fn group_ended(&self, stream: &StreamHeader) {
        self.inbox().group_ended(stream);
    }

    pub(crate) fn reject(&self) {
        self.inbox().count_rejected();
    }

    fn with(&self, bring: impl FnOnce(&mut Inbox) -> Output) -> Output {
        let mut inbox = self.inbox();
        let output = bring(&mut inbox);
        if inbox.take_behind() {
            self.behind.notify_one();
        }
        drop(inbox);
        self.health.received(&output.frames);
        output
    }

    /// Waits until what comes can't be opened any more because a step of the
    /// group was missed.
    pub(crate) async fn behind(&self) {
        self.behind.notified().await;
    }

    fn ask(&self, output: &Output, of: Option<HandlerId>) {
        for (stream_id, encoding) in output.key_frames.iter().copied() {
            let request = KeyFrameRequest {
                stream_id,
                encoding,
                of,
            };
            // When so many wait already, the next loss will ask again.
            let _ = self.key_frames.try_send(request);
        }
    }
}

fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
