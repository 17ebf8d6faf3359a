//! One encoding of a source on the stream carrier: the groups that are
//! forwarded now, and the newest one kept for receivers to come.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use dt_frame::{FrameHeader, FrameType, MediaKind, StreamHeader};

use crate::{
    Config, Detail, FrameBytes, GroupKey, OutGroup, Output, SessionKey,
    arrivals::Arrivals,
    flow::{Flows, Lists},
    inbound::Upstream,
    keyframe::Requests,
    outbox::{Outbox, Sent, Turn},
    rates::Rates,
    reset_code,
};

/// A group older than the newest one by its timestamp is stale, unless the
/// newest has been silent for so long: then the sender's clock was set back.
const SILENT_AFTER: Duration = Duration::from_secs(1);

/// A stream that a sender opened, and its session.
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
    feeder: GroupKey,
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
    /// Oldest first; the last one is the newest. `encoding_groups_max` at most.
    live: Vec<Live>,
    next_live: u64,
}

#[derive(Debug)]
struct Live {
    id: LiveId,
    header: StreamHeader,
    /// The sender's stream that brings it; `None` when that has ended.
    feeder: Option<GroupKey>,
    /// Streams to receivers. One that was reset is taken out, so that its
    /// receiver waits for the next key frame.
    outs: HashMap<SessionKey, OutGroup>,
    /// All frames so far, while they are few and young enough.
    kept: Option<Kept>,
    started_us: u64,
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
    fn abandon(self, sender: Option<SessionKey>, outbox: &mut Outbox) {
        for (session, out) in sorted(&self.outs) {
            outbox.reset(session, out, reset_code::GRACEFUL);
        }
        if let (Some(session), Some(group)) = (sender, self.feeder) {
            let code = reset_code::GRACEFUL;
            outbox.push(Output::StopGroup {
                session,
                group,
                code,
            });
        }
    }

    fn finish(&mut self, outbox: &mut Outbox) {
        self.feeder = None;
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

    /// Ends all that is forwarded now.
    pub(crate) fn end(&mut self, sender: Option<SessionKey>, outbox: &mut Outbox) {
        for live in std::mem::take(&mut self.live) {
            live.abandon(sender, outbox);
        }
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
        let (Feeder { session, group }, now) = (feeder, *now);
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
            if live.feeder == Some(group) {
                live.finish(outbox);
            }
        }
        self.live.retain(|live| live.feeder.is_some());
        while self.live.len() >= config.encoding_groups_max.max(1) {
            self.live.remove(0).abandon(Some(session), outbox);
        }
        let number = self.next_live;
        let id = LiveId {
            feeder: group,
            number,
        };
        self.next_live += 1;
        self.live.push(Live {
            id,
            header,
            feeder: Some(group),
            outs: HashMap::new(),
            kept: None,
            started_us: timestamp_us,
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
            if !newest {
                continue;
            }
            if !starts {
                if outbox.may_ask(session, now) {
                    self.requests.want();
                }
                continue;
            }
            let Some(out) = outbox.open(session, live.header, now) else {
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
        done
    }

    /// The sender's stream has ended.
    pub(crate) fn finished(&mut self, id: LiveId, outbox: &mut Outbox) {
        let Some(place) = self.live.iter().position(|live| live.id == id) else {
            return;
        };
        self.live[place].finish(outbox);
        if self.live[place].kept.is_none() {
            self.live.remove(place);
        }
    }

    /// The sender gave the group up, or it may not go on.
    pub(crate) fn abandon(&mut self, id: LiveId, outbox: &mut Outbox) {
        if let Some(place) = self.live.iter().position(|live| live.id == id) {
            self.live.remove(place).abandon(None, outbox);
        }
    }

    /// Gives up what is overdue.
    pub(crate) fn tick(&mut self, sender: Option<SessionKey>, turn: &mut Turn<'_>) {
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
            self.live.remove(place).abandon(sender, outbox);
        }
        for live in &mut self.live {
            if live
                .kept
                .as_ref()
                .is_some_and(|kept| !kept.is_fresh(config, now))
            {
                live.kept = None;
            }
        }
        self.live
            .retain(|live| live.feeder.is_some() || live.kept.is_some());
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
        let Some(out) = outbox.open(session, live.header, now) else {
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
        if live.feeder.is_none() || detail == Detail::Keys {
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
