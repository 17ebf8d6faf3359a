//! One encoding of a source on the stream carrier: the groups that are
//! forwarded now, and the newest one kept for receivers to come.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use dt_frame::{FrameHeader, FrameType, LinkPrefix, MediaKind, StreamHeader};

use crate::{
    Config, Detail, FrameBytes, GroupKey, OutGroup, Output, SessionKey,
    arrivals::Arrivals,
    flow::{Flows, Lists},
    inbound::Upstream,
    keyframe::Requests,
    links::{Outlets, Recent},
    outbox::{Outbox, Sent, Turn},
    rates::Rates,
    reset_code,
};

/// A group older than the newest one by its timestamp is stale, unless the
/// newest has been silent for so long: then the sender's clock was set back.
const SILENT_AFTER: Duration = Duration::from_secs(1);

/// So long a group that has ended waits for another stream to bring the rest of it.
const AWAIT_MAX: Duration = Duration::from_millis(500);
/// Streams that bring the same group at most: those of a sender and of a link, and
/// of the link before.
const FEEDERS_MAX: usize = 4;

/// A stream that a sender or a link opened, and its session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Feeder {
    pub(crate) session: SessionKey,
    pub(crate) group: GroupKey,
}

/// What a frame is to its receivers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    /// Its encoding.
    pub(crate) number: u8,
    /// It needs no frame before it.
    pub(crate) starts: bool,
    /// It can be left out.
    pub(crate) upper: bool,
}

/// What became of a frame.
#[derive(Debug, Default)]
pub(crate) struct Forwarded {
    pub(crate) copies: u64,
    /// Receivers that began this encoding, and the one that they had.
    pub(crate) switched: Vec<(SessionKey, Option<u8>)>,
}

/// A group that would begin is older than one that has begun.
#[derive(Debug)]
pub(crate) struct Overtaken;

/// A group while it is forwarded. It names the sender's stream too, so that one
/// of a source that was since replaced is not taken for one of its successor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LiveId {
    feeder: Feeder,
    number: u64,
}

/// One simulcast layer of a source.
#[derive(Debug, Default)]
pub(crate) struct EncodingState {
    pub(crate) requests: Requests,
    /// Something came of it over the sender's present session.
    pub(crate) heard: bool,
    pub(crate) rates: Rates,
    /// On the datagram carrier: what came, who receives it, and its newest key
    /// frame.
    pub(crate) arrivals: Arrivals,
    pub(crate) lists: Lists,
    pub(crate) key_timestamp: Option<u64>,
    /// Which datagrams and sounds came; more than one may bring them.
    pub(crate) recent: Recent,
    /// The newest frame on the stream carrier.
    newest_us: Option<u64>,
    /// Oldest first; the last one is the newest. `encoding_groups_max` at most.
    live: Vec<Live>,
    next_live: u64,
}

#[derive(Debug)]
struct Live {
    id: LiveId,
    header: StreamHeader,
    /// Streams that bring it: what one has brought the others bring, too, or are
    /// about to. None when it is whole.
    feeders: Vec<Feeder>,
    /// When one of them ended, and was not given up.
    ended_at: Option<Instant>,
    /// It has been brought to its end.
    whole: bool,
    /// Streams to receivers. One that was reset is taken out, so that its
    /// receiver waits for the next key frame.
    outs: HashMap<SessionKey, OutGroup>,
    /// All frames so far, while they are few and young enough.
    kept: Option<Kept>,
    started_us: u64,
    /// What has gone out.
    last_us: Option<u64>,
    last_at: Instant,
    superseded_at: Option<Instant>,
}

#[derive(Debug)]
struct Kept {
    /// And whether they can be left out.
    frames: Vec<(FrameBytes, bool)>,
    bytes: usize,
    since: Instant,
}

impl Kept {
    fn is_fresh(&self, config: &Config, now: Instant) -> bool {
        now.saturating_duration_since(self.since) <= config.kept_age_max
    }
}

impl Live {
    /// It has ended, but another one may be about to bring the rest of it.
    const fn awaits(&self) -> bool {
        self.feeders.is_empty() && !self.whole
    }

    /// `gone`: a session that has ended, which is told nothing.
    fn abandon(self, gone: Option<SessionKey>, outbox: &mut Outbox) {
        for (session, out) in sorted(&self.outs) {
            outbox.reset(session, out, reset_code::GRACEFUL);
        }
        let there = |feeder: &Feeder| Some(feeder.session) != gone;
        for Feeder { session, group } in self.feeders.into_iter().filter(there) {
            let code = reset_code::GRACEFUL;
            outbox.push(Output::StopGroup {
                session,
                group,
                code,
            });
        }
    }

    fn finish(&mut self, outbox: &mut Outbox) {
        self.feeders.clear();
        self.whole = true;
        for (session, out) in sorted(&self.outs) {
            outbox.finish(session, out);
        }
    }
}

/// In the order of the receivers, so that the same inputs give the same outputs.
fn sorted(outs: &HashMap<SessionKey, OutGroup>) -> Vec<(SessionKey, OutGroup)> {
    let mut list: Vec<_> = outs.iter().map(|(s, o)| (*s, *o)).collect();
    list.sort_unstable();
    list
}

impl EncodingState {
    fn contains(&self, id: LiveId) -> bool {
        self.live.iter().any(|live| live.id == id)
    }

    /// The group that a frame belongs to; it begins with the frame when there is
    /// none and the frame can begin one. `None` when it needs a key frame first.
    ///
    /// # Errors
    /// When a group that would begin is older than one that has begun.
    pub(crate) fn place(
        &mut self,
        feeder: Feeder,
        upstream: &mut Upstream,
        frame: &FrameHeader,
        turn: &mut Turn<'_>,
    ) -> Result<Option<LiveId>, Overtaken> {
        self.heard = true;
        let mut live = upstream.live.filter(|live| self.contains(*live));
        if frame.frame_type == FrameType::VideoKey {
            self.requests.satisfied();
            // One long stream for everything: its key frames begin groups.
            if upstream.begins_group(frame.extension.group) {
                live = None;
            }
        }
        if live.is_some() || frame.frame_type == FrameType::VideoDelta {
            return Ok(live);
        }
        self.begin(feeder, upstream.header, frame.timestamp_us, turn)
            .map(Some)
    }

    /// Whether a frame of a group is the next one: not if another stream brought
    /// it, too.
    pub(crate) fn is_next(&mut self, id: LiveId, timestamp_us: u64) -> bool {
        let Some(live) = self.live.iter_mut().find(|live| live.id == id) else {
            return false;
        };
        // One that is whole brings no more.
        if live.feeders.is_empty() || live.last_us.is_some_and(|last| timestamp_us <= last) {
            return false;
        }
        live.last_us = Some(timestamp_us);
        self.newest_us = self.newest_us.max(live.last_us);
        true
    }

    /// Whether a frame without a group is one that came another way.
    pub(crate) fn is_overtaken(&self, timestamp_us: u64) -> bool {
        self.newest_us.is_some_and(|newest| timestamp_us <= newest)
    }

    /// A session brings nothing any more; what others bring, too, goes on.
    pub(crate) fn leave(&mut self, session: SessionKey, outbox: &mut Outbox) {
        for mut live in std::mem::take(&mut self.live) {
            let before = live.feeders.len();
            live.feeders.retain(|feeder| feeder.session != session);
            if live.feeders.is_empty() && before > 0 {
                live.abandon(None, outbox);
            } else {
                self.live.push(live);
            }
        }
    }

    /// Ends all that is forwarded now.
    pub(crate) fn end(&mut self, gone: Option<SessionKey>, outbox: &mut Outbox) {
        for live in std::mem::take(&mut self.live) {
            live.abandon(gone, outbox);
        }
        self.newest_us = None;
        self.recent = Recent::default();
        self.requests.reset();
        self.heard = false;
        self.rates.forget();
        self.arrivals = Arrivals::default();
        self.key_timestamp = None;
    }

    fn begin(
        &mut self,
        feeder: Feeder,
        header: StreamHeader,
        timestamp_us: u64,
        turn: &mut Turn<'_>,
    ) -> Result<LiveId, Overtaken> {
        let Turn {
            config,
            outbox,
            now,
        } = turn;
        let now = *now;
        let same = |live: &&mut Live| {
            live.started_us == timestamp_us
                && live.feeders.len() < FEEDERS_MAX
                && !live.whole
                && live.feeders.iter().all(|f| f.session != feeder.session)
        };
        if let Some(live) = self.live.iter_mut().find(same) {
            live.feeders.push(feeder);
            return Ok(live.id);
        }
        let stale = self.live.last().is_some_and(|newest| {
            timestamp_us <= newest.started_us
                && now.saturating_duration_since(newest.last_at) < SILENT_AFTER
        });
        if stale {
            return Err(Overtaken);
        }
        for live in &mut self.live {
            live.kept = None;
            live.superseded_at.get_or_insert(now);
            if live.feeders.contains(&feeder) || live.awaits() {
                live.finish(outbox);
            }
        }
        self.live.retain(|live| !live.feeders.is_empty());
        while self.live.len() >= config.encoding_groups_max.max(1) {
            self.live.remove(0).abandon(None, outbox);
        }
        let number = self.next_live;
        let id = LiveId { feeder, number };
        self.next_live += 1;
        self.live.push(Live {
            id,
            header,
            feeders: vec![feeder],
            ended_at: None,
            whole: false,
            outs: HashMap::new(),
            kept: None,
            started_us: timestamp_us,
            last_us: None,
            last_at: now,
            superseded_at: None,
        });
        Ok(id)
    }

    /// A frame of a living group goes to its receivers. Those who wait for this
    /// encoding begin with it, if they can.
    pub(crate) fn forward(
        &mut self,
        id: LiveId,
        frame: &FrameBytes,
        place: Place,
        flows: &mut Flows,
        outlets: &Outlets,
        turn: &mut Turn<'_>,
    ) -> Forwarded {
        let Turn {
            config,
            outbox,
            now,
        } = turn;
        let now = *now;
        let mut done = Forwarded::default();
        let Some(live) = self.live.iter_mut().find(|live| live.id == id) else {
            return done;
        };
        let Place {
            number,
            starts,
            upper,
        } = place;
        live.last_at = now;
        let newest = live.superseded_at.is_none();
        let video = live.header.kind() == MediaKind::Video;
        live.keep(frame, starts && video, upper, config, now);
        for (session, flow) in flows {
            let session = *session;
            let on = flow.on == Some(number);
            if on {
                if !flow.takes(starts, upper) {
                    outbox.counters.frames_left_out += 1;
                    continue;
                }
                let open = live.outs.get(&session).copied();
                let sent = open.map_or(Sent::Gone, |out| outbox.frame(session, out, frame, now));
                if sent != Sent::Gone {
                    done.copies += u64::from(sent == Sent::Queued);
                    continue;
                }
                live.outs.remove(&session);
            } else if !flow.waits_for(number) {
                continue;
            }
            // Who goes on with another encoding misses nothing of this one.
            outbox.counters.frames_without_key += u64::from(on && !(newest && starts));
            if !newest {
                continue;
            }
            if !starts {
                if outbox.may_ask(session, now) {
                    self.requests.want();
                }
                continue;
            }
            let Some(out) = outbox.open(session, live.header, None, now) else {
                continue;
            };
            done.copies += u64::from(outbox.frame(session, out, frame, now) == Sent::Queued);
            if !on {
                done.switched.push((session, flow.on));
                flow.on = Some(number);
            }
            if flow.detail() == Detail::Keys && video {
                outbox.finish(session, out);
            } else {
                live.outs.insert(session, out);
            }
        }
        let beyond = outlets.iter().filter(|(_, outlet)| outlet.takes(number));
        for (session, outlet) in beyond {
            let session = *session;
            let open = live.outs.get(&session).copied();
            let sent = open.map_or(Sent::Gone, |out| outbox.frame(session, out, frame, now));
            done.copies += u64::from(sent == Sent::Queued);
            if sent != Sent::Gone {
                continue;
            }
            live.outs.remove(&session);
            if newest && !starts && outbox.may_ask(session, now) {
                self.requests.want();
            }
            if newest
                && starts
                && let Some(out) = outbox.open(session, live.header, Some(outlet.prefix), now)
            {
                done.copies += u64::from(outbox.frame(session, out, frame, now) == Sent::Queued);
                live.outs.insert(session, out);
            }
        }
        done
    }

    /// A stream that brought it has ended. It may have ended early, because others
    /// bring it now: it is over with the last one, and if another may be about to
    /// bring it, a while later.
    pub(crate) fn finished(
        &mut self,
        id: LiveId,
        feeder: Feeder,
        others: bool,
        turn: &mut Turn<'_>,
    ) {
        let Some(place) = self.live.iter().position(|live| live.id == id) else {
            return;
        };
        let live = &mut self.live[place];
        live.ended_at.get_or_insert(turn.now);
        live.feeders.retain(|other| *other != feeder);
        if !live.feeders.is_empty() || others {
            return;
        }
        live.finish(turn.outbox);
        if self.live[place].kept.is_none() {
            self.live.remove(place);
        }
    }

    /// A stream that brought it was given up, or may not go on.
    pub(crate) fn abandon(&mut self, id: LiveId, feeder: Feeder, outbox: &mut Outbox) {
        if let Some(place) = self.live.iter().position(|live| live.id == id) {
            let live = &mut self.live[place];
            live.feeders.retain(|other| *other != feeder);
            if live.feeders.is_empty() && live.ended_at.is_some() {
                live.finish(outbox);
            } else if live.feeders.is_empty() {
                self.live.remove(place).abandon(None, outbox);
            }
        }
    }

    /// Gives up what is overdue.
    pub(crate) fn tick(&mut self, turn: &mut Turn<'_>) {
        let Turn {
            config,
            outbox,
            now,
        } = turn;
        let now = *now;
        let late = |live: &Live| {
            live.superseded_at
                .is_some_and(|at| now.saturating_duration_since(at) > config.queue.late_max)
        };
        while let Some(place) = self.live.iter().position(late) {
            self.live.remove(place).abandon(None, outbox);
        }
        for live in &mut self.live {
            let long = |at| now.saturating_duration_since(at) >= AWAIT_MAX;
            if live.awaits() && live.ended_at.is_some_and(long) {
                live.finish(outbox);
            }
            if live
                .kept
                .as_ref()
                .is_some_and(|kept| !kept.is_fresh(config, now))
            {
                live.kept = None;
            }
        }
        self.live.retain(|live| !live.whole || live.kept.is_some());
    }

    /// When the newest group began, by the sender's clock.
    pub(crate) fn started_us(&self) -> Option<u64> {
        self.live.last().map(|live| live.started_us)
    }

    /// Lets a receiver begin with the kept group, if that is whole, fresh and not
    /// larger than this.
    pub(crate) fn start_receiver(
        &mut self,
        session: SessionKey,
        prefix: Option<LinkPrefix>,
        detail: Detail,
        bytes_max: usize,
        turn: &mut Turn<'_>,
    ) -> bool {
        let Turn {
            config,
            outbox,
            now,
        } = turn;
        let now = *now;
        let Some(live) = self.live.last_mut() else {
            return false;
        };
        let fresh = |kept: &&Kept| kept.is_fresh(config, now) && kept.bytes <= bytes_max;
        let Some(kept) = live.kept.as_ref().filter(fresh) else {
            return false;
        };
        let Some(out) = outbox.open(session, live.header, prefix, now) else {
            return false;
        };
        let frames = match detail {
            Detail::Keys => 1,
            Detail::Base | Detail::Full => kept.frames.len(),
        };
        for (frame, upper) in kept.frames.iter().take(frames) {
            if !upper || detail == Detail::Full {
                outbox.frame(session, out, frame, now);
            }
        }
        if live.whole || detail == Detail::Keys {
            outbox.finish(session, out);
        } else {
            live.outs.insert(session, out);
        }
        true
    }

    /// A receiver gets no more of what is forwarded now; what it was given
    /// arrives.
    pub(crate) fn finish_receiver(&mut self, session: SessionKey, outbox: &mut Outbox) {
        for live in &mut self.live {
            if let Some(out) = live.outs.remove(&session) {
                outbox.finish(session, out);
            }
        }
    }

    /// A receiver gets no more, not even what waits for it.
    pub(crate) fn stop_receiver(&mut self, session: SessionKey, outbox: &mut Outbox) {
        for live in &mut self.live {
            if let Some(out) = live.outs.remove(&session) {
                outbox.reset(session, out, reset_code::GRACEFUL);
            }
        }
    }

    /// Frames that wait in the kept group, and their bytes.
    #[cfg(test)]
    pub(crate) fn kept(&self) -> (usize, usize) {
        let kept = self.live.iter().filter_map(|live| live.kept.as_ref());
        kept.fold((0, 0), |(n, b), kept| {
            (n + kept.frames.len(), b + kept.bytes)
        })
    }
}

impl Live {
    /// Keeps the group from its newest key frame on for receivers to come.
    fn keep(&mut self, frame: &FrameBytes, key: bool, upper: bool, config: &Config, now: Instant) {
        if self.superseded_at.is_some() {
            return;
        }
        if key {
            self.kept = Some(Kept {
                frames: Vec::new(),
                bytes: 0,
                since: now,
            });
        }
        let Some(kept) = &mut self.kept else {
            return;
        };
        kept.bytes += frame.len();
        if kept.bytes > config.kept_bytes_max || !kept.is_fresh(config, now) {
            self.kept = None;
            return;
        }
        kept.frames.push((frame.clone(), upper));
    }
}
