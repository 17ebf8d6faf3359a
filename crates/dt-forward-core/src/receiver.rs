//! A session as a receiver: what it shows, what its path carries, and what it is
//! given because of both. Down at once; up only when there has been room for a
//! while, and longer after each time that this went wrong.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use dt_frame::SlotLabel;
use dt_ids::StreamId;

use crate::{
    Class, Detail, PathSample,
    allocation::{self, Ask, Share},
    bandwidth::{Estimator, PathView, Wish},
    rates::Rates,
    repeats::Need,
};

/// Tiles of a report at most; more are not looked at.
pub(crate) const TILES_MAX: usize = 512;
/// There must be room for a better picture for so long.
const UP_AFTER: Duration = Duration::from_millis(400);
/// And for no longer than this, however often it went wrong.
const UP_AFTER_MAX: Duration = Duration::from_secs(20);
/// A step down so soon after one up means that the one up was wrong.
const UP_WAS_WRONG: Duration = Duration::from_secs(10);
/// Steps down within so long have one reason.
const UNDONE_WITHIN: Duration = Duration::from_secs(1);
/// A path that carries so much more than what went wrong has changed.
const WIDER: f64 = 1.5;
/// Of what a path carries, sound that is sent three times may take so much.
const SOUND_SHARE: f64 = 0.3;
/// After so long without a step down all is forgiven.
const FORGIVEN_AFTER: Duration = Duration::from_secs(30);
/// A picture is not thought of as smaller.
const FLOOR_BPS: f64 = 50_000.0;
const LIMIT_STEP: f64 = 1.2;
/// Room that is left free when going up.
const UP_HEADROOM: f64 = 1.1;
/// Of the estimate, so much is for media; the rest is the transport's.
const MEDIA_SHARE: f64 = 0.95;
/// While a device can't decode all it gets, it is given a step less each time.
const RELIEF_AFTER: Duration = Duration::from_secs(2);
const BURDEN_AFTER: Duration = Duration::from_secs(10);
const RELIEF_MAX: u32 = 6;
/// How often what a path carries is shared out; less often where nothing has
/// shown a limit.
const LOOK_EVERY: Duration = Duration::from_millis(100);
const LOOK_AT_EASE_EVERY: Duration = Duration::from_millis(300);

/// A tile that a receiver shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tile {
    /// Its number, as in the low 24 bits of a label.
    pub slot: u32,
    /// In pixels.
    pub width: u32,
    /// In pixels.
    pub height: u32,
    /// Bits per second at most; 0: no limit.
    pub max_bitrate_bps: u32,
}

/// What a receiver says that it shows: the whole truth.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReceiverReport {
    /// Video slots that are seen; others get nothing.
    pub tiles: Vec<Tile>,
    /// Bits per second of everything; 0: as much as the path carries.
    pub max_bitrate_bps: u32,
    /// It can't decode all it gets in time.
    pub overloaded: bool,
}

/// How a receiver is to get a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subscription {
    /// What its datagrams are labelled with; the slot is in it.
    pub label: SlotLabel,
    /// Who gets bandwidth first.
    pub class: Class,
    /// Bits per second that it asked for at most; 0: no limit.
    pub max_bitrate_bps: u32,
}

impl From<SlotLabel> for Subscription {
    fn from(label: SlotLabel) -> Self {
        Self {
            label,
            class: Class::default(),
            max_bitrate_bps: 0,
        }
    }
}

/// A step up or down of one slot.
#[derive(Debug, Clone, Copy)]
struct Grant {
    share: Share,
    /// Since when there is room for more.
    room_since: Option<Instant>,
    raised_at: Option<Instant>,
}

/// A video slot to fill.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) stream: StreamId,
    pub(crate) ask: Ask,
}

/// What one slot is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Given {
    pub(crate) stream: StreamId,
    pub(crate) share: Share,
    /// Bits per second of that encoding which it can take at most; 0: all.
    pub(crate) limit_bps: u32,
}

#[derive(Debug)]
pub(crate) struct Receiver {
    pub(crate) subscriptions: BTreeMap<StreamId, Subscription>,
    tiles: Option<BTreeMap<u32, Tile>>,
    max_bitrate_bps: u32,
    estimator: Estimator,
    grants: BTreeMap<StreamId, Grant>,
    up_after: Duration,
    /// What was sent in all when a step up went wrong last.
    wrong_bps: f64,
    lowered_at: Option<Instant>,
    /// What was lowered last for a path that was thought to be narrow, and how long
    /// had to be waited before that.
    lowered_from: Option<Duration>,
    /// It was not: what is lower than there is room for goes up at once.
    at_once: bool,
    overloaded: bool,
    /// Steps of relief for a device that can't decode all.
    relief: u32,
    relief_at: Instant,
    wish: Wish,
    allocated_at: Option<Instant>,
    /// What was shared out then, and what was left of it.
    budget_bps: f64,
    slack_bps: f64,
    /// How often sound goes to it again.
    pub(crate) repeats: Need,
    /// What its sound takes once.
    sound_bps: f64,
    /// It wants pictures, too.
    looks: bool,
    /// Sound that was made here, and is of no source.
    pub(crate) made_here: Rates,
}

impl Receiver {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            subscriptions: BTreeMap::new(),
            tiles: None,
            max_bitrate_bps: 0,
            estimator: Estimator::new(now),
            grants: BTreeMap::new(),
            up_after: UP_AFTER,
            lowered_at: None,
            lowered_from: None,
            wrong_bps: 0.0,
            at_once: false,
            overloaded: false,
            relief: 0,
            relief_at: now,
            wish: Wish::default(),
            allocated_at: None,
            budget_bps: f64::INFINITY,
            slack_bps: f64::INFINITY,
            repeats: Need::default(),
            sound_bps: 0.0,
            looks: false,
            made_here: Rates::default(),
        }
    }

    pub(crate) fn report(&mut self, report: &ReceiverReport, now: Instant) {
        let tiles = report.tiles.iter().take(TILES_MAX);
        self.tiles = Some(tiles.map(|tile| (tile.slot, *tile)).collect());
        self.max_bitrate_bps = report.max_bitrate_bps;
        if report.overloaded && !self.overloaded {
            self.relief = (self.relief + 1).min(RELIEF_MAX);
            self.relief_at = now;
        }
        self.overloaded = report.overloaded;
    }

    /// Its path has these figures now. Gives the padding to send.
    pub(crate) fn path(&mut self, sample: &PathSample, now: Instant) -> usize {
        let padding = self.estimator.sample(sample, self.wish, now);
        if self.estimator.was_taken_back() {
            self.up_after = self.lowered_from.take().unwrap_or(self.up_after);
            self.at_once = true;
            self.allocated_at = None;
        }
        let (loss, lost) = (self.estimator.loss(), self.estimator.lost_packets());
        let most = self.estimator.budget_bps().unwrap_or(f64::INFINITY) * SOUND_SHARE;
        let beside_pictures = !self.looks || 3.0 * self.sound_bps <= most;
        let room = beside_pictures && !self.estimator.is_queued();
        self.repeats.look(loss, lost, room, now);
        padding
    }

    /// What is thought of its path.
    pub(crate) fn path_view(&self) -> PathView {
        PathView {
            up_after: self.up_after,
            offered_bps: self.wish.offered_bps,
            next_bps: self.wish.next_bps,
            ..self.estimator.view()
        }
    }

    /// Frames for it had to be given up because they waited for too long.
    pub(crate) fn late(&mut self, now: Instant) {
        self.estimator.late(self.wish, now);
    }

    /// Whether it is time to share out again.
    pub(crate) fn is_due(&self, now: Instant) -> bool {
        let every = match self.estimator.budget_bps() {
            Some(_) => LOOK_EVERY,
            None => LOOK_AT_EASE_EVERY,
        };
        self.allocated_at
            .is_none_or(|at| now.saturating_duration_since(at) >= every)
    }

    /// Its path carries less than was shared out.
    pub(crate) fn is_squeezed(&self) -> bool {
        let budget = self.estimator.budget_bps();
        budget.is_some_and(|bps| bps * MEDIA_SHARE < self.budget_bps * 0.98)
    }

    /// What was not shared out.
    pub(crate) const fn slack_bps(&self) -> f64 {
        self.slack_bps
    }

    /// What of a stream it makes use of; `None` when nobody looks.
    pub(crate) fn tile(&self, stream: StreamId) -> Option<Tile> {
        let subscription = self.subscriptions.get(&stream)?;
        let slot = subscription.label.to_bits() & 0x00ff_ffff;
        let whole = Tile {
            slot,
            width: u32::MAX,
            height: u32::MAX,
            max_bitrate_bps: 0,
        };
        let mut tile = match &self.tiles {
            None => whole,
            Some(tiles) => *tiles.get(&slot)?,
        };
        // Half of the pixels a step.
        for _ in 0..self.relief {
            tile.width = tile.width.min(4096) / 10 * 7;
            tile.height = tile.height.min(4096) / 10 * 7;
        }
        let limits = [tile.max_bitrate_bps, subscription.max_bitrate_bps];
        let limits = limits.into_iter().filter(|bps| *bps > 0);
        tile.max_bitrate_bps = limits.min().unwrap_or(0);
        Some(tile)
    }

    /// The encoding that a slot was given.
    pub(crate) fn granted(&self, stream: StreamId) -> Option<u8> {
        self.grants.get(&stream).map(|grant| grant.share.encoding)
    }

    /// No more detail than this.
    pub(crate) const fn detail_max(&self) -> Detail {
        if self.relief > 0 {
            Detail::Base
        } else {
            Detail::Full
        }
    }

    /// Shares out what the path carries beside its sound.
    pub(crate) fn give(&mut self, asks: &[Request], audio_bps: f64, now: Instant) -> Vec<Given> {
        self.age(now);
        self.sound_bps = audio_bps / f64::from(1 + self.repeats.times());
        self.looks = !asks.is_empty();
        let limit = match (self.estimator.budget_bps(), self.max_bitrate_bps) {
            (estimate, 0) => estimate.map(|bps| bps * MEDIA_SHARE),
            (estimate, most) => {
                let most = f64::from(most);
                Some(estimate.map_or(most, |bps| (bps * MEDIA_SHARE).min(most)))
            }
        };
        let budget = limit.map_or(f64::INFINITY, |bps| (bps - audio_bps).max(0.0));
        self.allocated_at = Some(now);
        let at_once = std::mem::take(&mut self.at_once);
        self.budget_bps = limit.unwrap_or(f64::INFINITY);
        let plain: Vec<Ask> = asks.iter().map(|request| request.ask.clone()).collect();
        let most = allocation::share(&plain, budget);
        self.slack_bps = (budget - most.total_bps).max(0.0);
        let roomy = allocation::share(&plain, budget / UP_HEADROOM);
        let mut grants = std::mem::take(&mut self.grants);
        let mut given = Vec::with_capacity(asks.len());
        let (mut granted_bps, mut limited) = (0.0, false);
        for (place, request) in asks.iter().enumerate() {
            let best = request.ask.best();
            let before = grants.remove(&request.stream);
            let mut grant = before.unwrap_or(Grant {
                share: most.slots[place].min(best),
                room_since: None,
                raised_at: None,
            });
            // A tile that became smaller is no failure.
            grant.share = grant.share.min(best);
            let shares = (most.slots[place], roomy.slots[place]);
            let total_bps = audio_bps + roomy.total_bps;
            self.step(&mut grant, shares, total_bps, at_once, now);
            granted_bps += request.ask.cost(grant.share);
            // Its sender makes the smallest one smaller, if nobody wants more.
            let published = request.ask.published_bps;
            let scarce = grant.share.encoding == 0 && published > budget;
            limited |= scarce;
            let limit_bps = if scarce { in_steps(budget) } else { 0 };
            given.push(Given {
                stream: request.stream,
                share: grant.share,
                limit_bps,
            });
            self.grants.insert(request.stream, grant);
        }
        // A smallest picture that is made smaller grows a quarter at a time.
        // What fits without room to spare is not taken: more is looked for.
        let next = roomy
            .next_step_bps
            .or_else(|| limited.then(|| roomy.total_bps.max(FLOOR_BPS) / 4.0));
        self.wish = Wish {
            offered_bps: audio_bps + granted_bps,
            next_bps: next.map(|step| {
                (audio_bps + (roomy.total_bps + step) * UP_HEADROOM * 1.02) / MEDIA_SHARE
            }),
        };
        given
    }

    /// What there is room for, and what with some to spare, which is so much in all.
    fn step(
        &mut self,
        grant: &mut Grant,
        (most, roomy): (Share, Share),
        total_bps: f64,
        at_once: bool,
        now: Instant,
    ) {
        if most < grant.share {
            let late = |at| now.saturating_duration_since(at) > UNDONE_WITHIN;
            if self.lowered_at.is_none_or(late) {
                self.lowered_from = Some(self.up_after);
            }
            let soon = grant
                .raised_at
                .is_some_and(|at| now.saturating_duration_since(at) < UP_WAS_WRONG);
            if soon && most.encoding < grant.share.encoding {
                self.up_after = (self.up_after * 2).min(UP_AFTER_MAX);
                self.wrong_bps = self.wish.offered_bps;
            }
            self.lowered_at = Some(now);
            *grant = Grant {
                share: most,
                room_since: None,
                raised_at: grant.raised_at.filter(|_| !soon),
            };
        } else if roomy > grant.share {
            // A path that carries far more than what was wrong is another one, and far
            // less than that was not wrong.
            let wider = self.budget_bps > WIDER * self.wrong_bps;
            let other = wider || WIDER * total_bps < self.wrong_bps;
            let up_after = if other { UP_AFTER } else { self.up_after };
            let since = *grant.room_since.get_or_insert(now);
            if at_once
                || self.estimator.budget_bps().is_none()
                || now.saturating_duration_since(since) >= up_after
            {
                let rises = roomy.encoding > grant.share.encoding;
                *grant = Grant {
                    share: roomy,
                    room_since: None,
                    raised_at: if rises { Some(now) } else { grant.raised_at },
                };
            }
        } else {
            grant.room_since = None;
        }
    }

    /// What time alone changes.
    fn age(&mut self, now: Instant) {
        let long_ago = |at: Instant| now.saturating_duration_since(at) > FORGIVEN_AFTER;
        if self.lowered_at.is_some_and(long_ago) {
            self.up_after = UP_AFTER;
            self.lowered_at = None;
        }
        let since = now.saturating_duration_since(self.relief_at);
        if self.overloaded && since >= RELIEF_AFTER {
            self.relief = (self.relief + 1).min(RELIEF_MAX);
            self.relief_at = now;
        } else if !self.overloaded && self.relief > 0 && since >= BURDEN_AFTER {
            self.relief -= 1;
            self.relief_at = now;
        }
    }
}

/// A limit for a sender, in steps, so that not each change of an estimate is
/// another one.
fn in_steps(bps: f64) -> u32 {
    let steps = (bps.max(FLOOR_BPS) / FLOOR_BPS).log(LIMIT_STEP).floor();
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // saturating
    let limit = (FLOOR_BPS * LIMIT_STEP.powf(steps)) as u32;
    limit
}
