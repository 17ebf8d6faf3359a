//! What sessions bring: datagrams, streams, and wishes for key frames.

use std::{
    collections::{BTreeMap, HashMap},
    time::Instant,
};

use bytes::Bytes;
use dt_frame::{
    DATAGRAM_BYTES_MAX, DatagramHeader, FRAME_HEADER_BYTES, FrameHeader, FrameType, StreamHeader,
};
use dt_ids::{Encoding, ParticipantId, StreamId, StreamNumber};

use crate::{
    DropReason, Forwarder, GroupKey, SessionKey,
    encoding::{EncodingState, Feeder, LiveId, Overtaken},
    inbound::{Inbound, Peer, Upstream},
    outbox::Turn,
    reset_code,
    source::Source,
    voices::Verdict,
};

/// Bytes that a transport puts around a datagram: of sound a third as much again.
const AROUND_BYTES: usize = 40;

/// Where a datagram came from, after all that only its way can tell.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Way {
    pub(crate) stream: StreamId,
    pub(crate) owner: ParticipantId,
    /// Over a link; and whether that is to bring it now.
    pub(crate) link: Option<bool>,
}

/// A sender's stream is to be read no further.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StopGroup {
    /// For STOP_SENDING.
    pub code: u32,
    /// Why.
    pub reason: DropReason,
}

impl Forwarder {
    /// A media datagram (first byte 2) came.
    ///
    /// # Errors
    /// Why it was dropped and counted.
    pub fn datagram(
        &mut self,
        session: SessionKey,
        datagram: Bytes,
        now: Instant,
    ) -> Result<(), DropReason> {
        let result = self.forward_datagram(session, datagram, now);
        if let Err(reason) = result {
            self.outbox.drop(reason);
        }
        result
    }

    /// A session opened a stream and sent its header.
    ///
    /// # Errors
    /// When it may not; the stream is unknown to the forwarder then.
    pub fn group_opened(
        &mut self,
        session: SessionKey,
        group: GroupKey,
        header: StreamHeader,
    ) -> Result<(), StopGroup> {
        let result = self.open_group(session, group, header);
        result.inspect_err(|stop| self.outbox.drop(stop.reason))
    }

    /// A whole frame came on a stream that was opened.
    ///
    /// # Errors
    /// When the stream may not go on; it is unknown to the forwarder then.
    pub fn group_frame(
        &mut self,
        session: SessionKey,
        group: GroupKey,
        header: &FrameHeader,
        payload: Bytes,
        now: Instant,
    ) -> Result<(), StopGroup> {
        let result = self.forward_frame(session, group, header, payload, now);
        if let Err(stop) = result {
            self.outbox.drop(stop.reason);
            self.group_reset(session, group);
        }
        result
    }

    /// A stream has ended; all of it arrived.
    pub fn group_finished(&mut self, session: SessionKey, group: GroupKey, now: Instant) {
        if let Some((live, encoding)) =
            take_group(&mut self.sessions, &mut self.sources, session, group)
        {
            let (live, feeder, others) = live;
            let turn = &mut Turn {
                config: &self.config,
                outbox: &mut self.outbox,
                now,
            };
            encoding.finished(live, feeder, others, turn);
        }
    }

    /// A stream broke off: the sender reset it, or it was stopped.
    pub fn group_reset(&mut self, session: SessionKey, group: GroupKey) {
        if let Some((live, encoding)) =
            take_group(&mut self.sessions, &mut self.sources, session, group)
        {
            let (live, feeder, _) = live;
            encoding.abandon(live, feeder, &mut self.outbox);
        }
    }

    /// A receiver needs a key frame.
    ///
    /// # Errors
    /// When the stream is not routed to it; that is counted.
    pub fn keyframe_request(
        &mut self,
        session: SessionKey,
        stream_id: StreamId,
        encoding: Encoding,
        now: Instant,
    ) -> Result<(), DropReason> {
        let routed =
            |source: &&mut Source| source.spec.has(encoding) && source.flows.contains_key(&session);
        self.want_keyframe(stream_id, routed, encoding, now)
    }

    /// Asks for a key frame, if the one who wants it may.
    pub(crate) fn want_keyframe(
        &mut self,
        stream_id: StreamId,
        may: impl FnOnce(&&mut Source) -> bool,
        encoding: Encoding,
        now: Instant,
    ) -> Result<(), DropReason> {
        let Some(source) = self.sources.get_mut(&stream_id).filter(may) else {
            self.outbox.drop(DropReason::NotRouted);
            return Err(DropReason::NotRouted);
        };
        source.encodings[usize::from(encoding.get())]
            .requests
            .want();
        let sender = self.participants.get(&source.owner).and_then(|p| p.session);
        let turn = &mut Turn {
            config: &self.config,
            outbox: &mut self.outbox,
            now,
        };
        source.ask(sender, turn);
        Ok(())
    }

    fn forward_datagram(
        &mut self,
        session: SessionKey,
        datagram: Bytes,
        now: Instant,
    ) -> Result<(), DropReason> {
        let inbound = self
            .sessions
            .get_mut(&session)
            .ok_or(DropReason::UnknownSession)?;
        let header = inbound.admit(&datagram, now)?;
        let Peer::Participant(owner) = inbound.peer else {
            return Err(DropReason::UnknownSession);
        };
        let entry = self
            .participants
            .get(&owner)
            .ok_or(DropReason::UnknownSession)?;
        if header.user_id != entry.user_id {
            return Err(DropReason::ForeignUser);
        }
        let stream = StreamNumber::try_from(header.stream)
            .ok()
            .and_then(|number| entry.streams.get(&number).copied())
            .ok_or(DropReason::UnregisteredStream)?;
        let way = Way {
            stream,
            owner,
            link: None,
        };
        self.spread(way, &header, datagram, now)
    }

    /// Gives a datagram of a known source to its receivers.
    pub(crate) fn spread(
        &mut self,
        way: Way,
        header: &DatagramHeader,
        datagram: Bytes,
        now: Instant,
    ) -> Result<(), DropReason> {
        let bytes = datagram.len();
        let source = self
            .sources
            .get_mut(&way.stream)
            .ok_or(DropReason::UnregisteredStream)?;
        if !source.spec.has(header.extension.encoding) {
            return Err(DropReason::UnregisteredEncoding);
        }
        if header.frame_type.kind() != source.spec.kind {
            return Err(DropReason::WrongKind);
        }
        source.meter.received(bytes);
        let encoding = header.extension.encoding.get();
        let state = &mut source.encodings[usize::from(encoding)];
        if way.link.is_none() {
            if !state.arrivals.add(header.sequence) {
                return Err(DropReason::Repeated);
            }
            source.meter.sequence(encoding, header.sequence);
        }
        self.outbox.counters.datagrams_in += 1;
        self.outbox.counters.bytes_in += bytes as u64;
        if source.spec.muted {
            return Err(DropReason::Muted);
        }
        state.heard = true;
        let turn = &mut Turn {
            config: &self.config,
            outbox: &mut self.outbox,
            now,
        };
        let fragment = header.extension.fragment;
        // Another way may bring it, too.
        let first = state.recent.add(header.timestamp_us, fragment, turn.now);
        let current = way.link.unwrap_or(!source.feeds.is_linked());
        source.came(current, header.frame_type != FrameType::VideoDelta, turn);
        if !first {
            return Err(DropReason::Repeated);
        }
        if header.flags.start {
            source.meter.frame(header.timestamp_us, now);
        }
        if header.frame_type == FrameType::Audio {
            let level = header.extension.audio_level();
            if header.flags.start {
                self.speakers.hear(way.owner, level, now);
            }
            let stream = source.spec.stream_id;
            match self.voices.hear(stream, level, Some(&datagram), now) {
                Verdict::Withhold => {
                    turn.outbox.counters.silent += 1;
                    return Ok(());
                }
                Verdict::Forward => {}
                Verdict::Begin(onset) => {
                    for datagram in onset {
                        source.sound(datagram, turn);
                    }
                }
            }
            source.encodings[usize::from(encoding)]
                .rates
                .add(bytes + AROUND_BYTES, false, now);
            source.repeat(turn);
            source.sound(datagram, turn);
        } else {
            source.picture(header, datagram, turn);
        }
        Ok(())
    }

    fn open_group(
        &mut self,
        session: SessionKey,
        group: GroupKey,
        header: StreamHeader,
    ) -> Result<(), StopGroup> {
        let invalid = |reason| StopGroup {
            code: reset_code::INVALID_FORMAT,
            reason,
        };
        let inbound = self.sessions.get_mut(&session).ok_or(StopGroup {
            code: reset_code::AUTHENTICATION_FAILED,
            reason: DropReason::UnknownSession,
        })?;
        if inbound.groups.len() >= self.config.session_groups_max {
            return Err(StopGroup {
                code: reset_code::QUOTA_EXCEEDED,
                reason: DropReason::TooManyGroups,
            });
        }
        let own = |source: &&Source| {
            source.feeds.registered && inbound.peer == Peer::Participant(source.owner)
        };
        let source = self
            .sources
            .get(&header.stream_id)
            .filter(own)
            .ok_or(invalid(DropReason::UnregisteredStream))?;
        source.may_open(&header).map_err(invalid)?;
        inbound.groups.insert(group, Upstream::new(header, None));
        Ok(())
    }

    fn forward_frame(
        &mut self,
        session: SessionKey,
        group: GroupKey,
        header: &FrameHeader,
        payload: Bytes,
        now: Instant,
    ) -> Result<(), StopGroup> {
        let stop = |code, reason| StopGroup { code, reason };
        let inbound = self.sessions.get_mut(&session).ok_or(stop(
            reset_code::AUTHENTICATION_FAILED,
            DropReason::UnknownSession,
        ))?;
        let bytes = FRAME_HEADER_BYTES + payload.len();
        if !inbound.bucket.take(bytes, now) {
            return Err(stop(reset_code::QUOTA_EXCEEDED, DropReason::Quota));
        }
        // Unknown: it was given up while this frame was on its way.
        let upstream = inbound
            .groups
            .get_mut(&group)
            .ok_or(stop(reset_code::GRACEFUL, DropReason::Stale))?;
        let unregistered = stop(reset_code::INVALID_FORMAT, DropReason::UnregisteredStream);
        let source = self
            .sources
            .get_mut(&upstream.header.stream_id)
            .ok_or(unregistered)?;
        // The stream's registration or route may have changed since it was opened.
        let current = match (inbound.peer, upstream.route) {
            (Peer::Participant(owner), None) => {
                let own = source.feeds.registered && source.owner == owner;
                own.then_some(!source.feeds.is_linked())
            }
            (Peer::Handler(_), Some(route)) => {
                source.feeds.of(session, route).map(|(_, current)| current)
            }
            _ => None,
        };
        let current = current.ok_or(unregistered)?;
        if !source.spec.has(upstream.header.encoding) || source.spec.kind != upstream.header.kind()
        {
            return Err(unregistered);
        }
        source.meter.received(bytes);
        source.meter.frame(header.timestamp_us, now);
        self.outbox.counters.frames_in += 1;
        self.outbox.counters.bytes_in += bytes as u64;
        if source.spec.muted {
            self.outbox.drop(DropReason::Muted);
            return Ok(());
        }
        if upstream
            .last_timestamp
            .is_some_and(|last| header.timestamp_us <= last)
        {
            self.outbox.drop(DropReason::Stale);
            return Ok(());
        }
        upstream.last_timestamp = Some(header.timestamp_us);
        let turn = &mut Turn {
            config: &self.config,
            outbox: &mut self.outbox,
            now,
        };
        let number = usize::from(upstream.header.encoding.get());
        if header.frame_type == FrameType::Audio {
            source.came(current, true, turn);
            // Each frame can begin a group: they are told apart by themselves.
            let recent = &mut source.encodings[number].recent;
            if !recent.add(header.timestamp_us, 0, now) {
                turn.outbox.drop(DropReason::Repeated);
                return Ok(());
            }
            let level = header.extension.audio_level();
            self.speakers.hear(source.owner, level, now);
            let stream = source.spec.stream_id;
            if self.voices.hear(stream, level, None, now) == Verdict::Withhold {
                turn.outbox.counters.silent += 1;
                return Ok(());
            }
        }
        let owner = self.participants.get(&source.owner);
        let sender = owner.and_then(|owner| owner.session);
        let feeder = Feeder { session, group };
        let taken = source.take_frame(feeder, sender, upstream, header, payload, turn);
        // A group of before says nothing of what comes.
        let begins = taken.is_ok() && header.frame_type == FrameType::VideoKey;
        source.came(current, begins, turn);
        taken.map_err(|Overtaken| stop(reset_code::GRACEFUL, DropReason::Stale))
    }
}

impl Inbound {
    /// Takes a datagram on the session's account and reads its header.
    pub(crate) fn admit(
        &mut self,
        datagram: &Bytes,
        now: Instant,
    ) -> Result<DatagramHeader, DropReason> {
        if !self.bucket.take(datagram.len(), now) {
            return Err(DropReason::Quota);
        }
        if datagram.len() > DATAGRAM_BYTES_MAX {
            return Err(DropReason::Malformed);
        }
        let (header, _) =
            DatagramHeader::split(datagram.clone()).map_err(|_| DropReason::Malformed)?;
        if header.flags.start != (header.extension.fragment == 0) {
            return Err(DropReason::Malformed);
        }
        Ok(header)
    }
}

impl Source {
    /// Whether a stream with this header may bring it.
    pub(crate) fn may_open(&self, header: &StreamHeader) -> Result<(), DropReason> {
        if !self.spec.has(header.encoding) {
            return Err(DropReason::UnregisteredEncoding);
        }
        let other_codec = self.spec.codec.is_some_and(|codec| codec != header.codec);
        if header.kind() != self.spec.kind || other_codec {
            return Err(DropReason::WrongKind);
        }
        Ok(())
    }
}

/// Forgets a sender's stream; gives the group that it carried, by which feeder, and
/// whether there are others.
fn take_group<'a>(
    sessions: &mut HashMap<SessionKey, Inbound>,
    sources: &'a mut BTreeMap<StreamId, Source>,
    session: SessionKey,
    group: GroupKey,
) -> Option<((LiveId, Feeder, bool), &'a mut EncodingState)> {
    let upstream = sessions.get_mut(&session)?.groups.remove(&group)?;
    let source = sources.get_mut(&upstream.header.stream_id)?;
    let encoding = usize::from(upstream.header.encoding.get());
    let feeder = Feeder { session, group };
    let live = (upstream.live?, feeder, source.feeds.are_several());
    Some((live, source.encodings.get_mut(encoding)?))
}
