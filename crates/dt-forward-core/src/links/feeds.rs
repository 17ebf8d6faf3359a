//! Who brings a source: its sender's session here, a link, and while that changes
//! both, or two links.
//!
//! The one before is listened to until the one that is to bring it from now on
//! has begun, and a moment longer for what is still under way.

use std::time::{Duration, Instant};

use dt_frame::{MediaKind, RouteId};

use super::Inlet;
use crate::{SessionKey, Wanted};

/// How long the feeder before is listened to while the new one brings nothing.
const BEFORE_MAX: Duration = Duration::from_secs(10);
/// And when the new one has begun.
const OVERLAP: Duration = Duration::from_millis(500);
/// A picture that has not come for so long does not arrive.
const SILENT_AFTER: Duration = Duration::from_millis(1500);

/// A link that brings a source.
#[derive(Debug)]
pub(crate) struct Feed {
    pub(crate) inlet: Inlet,
    /// While the link is up.
    pub(crate) link: Option<SessionKey>,
    /// What was asked for over it.
    told: Vec<Wanted>,
}

impl Feed {
    fn is(&self, session: SessionKey, route: RouteId) -> bool {
        self.link == Some(session) && self.inlet.route == route
    }
}

/// All that bring a source.
#[derive(Debug, Default)]
pub(crate) struct Feeds {
    /// Its sender is registered here with it.
    pub(crate) registered: bool,
    /// What is to bring it from now on; `None`: its sender.
    current: Option<Feed>,
    before: Option<(Feed, Instant)>,
    /// The current one has not begun yet since it was set.
    owed: bool,
    /// Somebody is to get it from here.
    routed: bool,
    arriving: bool,
    /// That was told.
    told: bool,
    came_at: Option<Instant>,
    /// The sender brings it again: what is wanted of it was told others.
    owes_demand: bool,
}

impl Feeds {
    /// A link is to bring it.
    pub(crate) const fn is_linked(&self) -> bool {
        self.current.is_some()
    }

    /// Sets who brings it from now on. Gives a link that is not listened to any
    /// more.
    pub(crate) fn set(
        &mut self,
        inlet: Option<Inlet>,
        link: Option<SessionKey>,
        now: Instant,
    ) -> Option<Feed> {
        let place = |inlet: &Inlet| (inlet.handler, inlet.route);
        match (&mut self.current, inlet) {
            (None, None) => return None,
            (Some(feed), Some(inlet)) if place(&feed.inlet) == place(&inlet) => {
                feed.inlet = inlet;
                return None;
            }
            _ => {}
        }
        self.owed = true;
        self.owes_demand = inlet.is_none();
        let next = inlet.map(|inlet| Feed {
            inlet,
            link,
            told: Vec::new(),
        });
        let former = std::mem::replace(&mut self.current, next)?;
        let displaced = self.before.replace((former, now + BEFORE_MAX));
        displaced.map(|(feed, _)| feed)
    }

    /// The link that a route comes over, and whether it is the current one.
    pub(crate) fn of(&self, session: SessionKey, route: RouteId) -> Option<(&Inlet, bool)> {
        let is = |feed: &&Feed| feed.is(session, route);
        if let Some(feed) = self.current.as_ref().filter(is) {
            return Some((&feed.inlet, true));
        }
        let before = self.before.as_ref().map(|(feed, _)| feed);
        before.filter(is).map(|feed| (&feed.inlet, false))
    }

    /// Whom to ask for key frames, if not the sender.
    pub(crate) fn asks(&self) -> Option<(SessionKey, RouteId)> {
        let feed = self.current.as_ref()?;
        Some((feed.link?, feed.inlet.route))
    }

    /// Whether a link brings it, or may, beside this session.
    pub(crate) fn any_beside(&self, session: SessionKey) -> bool {
        let up = |feed: &Feed| feed.link.is_some_and(|link| link != session);
        self.current.as_ref().is_some_and(up) || self.before.as_ref().is_some_and(|(f, _)| up(f))
    }

    /// Whether more than one may bring it now.
    pub(crate) const fn are_several(&self) -> bool {
        self.before.is_some() || self.registered && self.current.is_some()
    }

    /// All of its links.
    pub(crate) fn inlets(&self) -> impl Iterator<Item = &Inlet> {
        let before = self.before.iter().map(|(feed, _)| feed);
        self.current
            .iter()
            .chain(before)
            .map(|feed: &Feed| &feed.inlet)
    }

    fn each(&mut self) -> impl Iterator<Item = &mut Feed> {
        let before = self.before.iter_mut().map(|(feed, _)| feed);
        self.current.iter_mut().chain(before)
    }

    pub(crate) fn link_up(&mut self, handler: dt_ids::HandlerId, session: SessionKey) {
        for feed in self.each().filter(|feed| feed.inlet.handler == handler) {
            feed.link = Some(session);
            feed.told.clear();
        }
    }

    /// `true` when it brought this.
    pub(crate) fn link_down(&mut self, session: SessionKey) -> bool {
        let mut any = false;
        for feed in self.each().filter(|feed| feed.link == Some(session)) {
            feed.link = None;
            any = true;
        }
        any
    }

    /// Something came. `current`: from who is to bring it; `begins`: it needs
    /// nothing before it. `true` when it is to be told that it arrives.
    pub(crate) fn came(&mut self, current: bool, begins: bool, now: Instant) -> bool {
        self.came_at = Some(now);
        if !begins {
            return false;
        }
        let took_over = current && std::mem::take(&mut self.owed);
        if took_over && let Some((_, until)) = &mut self.before {
            *until = (*until).min(now + OVERLAP);
        }
        self.arriving = true;
        self.routed && (!std::mem::replace(&mut self.told, true) || took_over)
    }

    /// Whether somebody is to get it from here. `true` when it is to be told that
    /// it arrives.
    pub(crate) fn set_routed(&mut self, routed: bool) -> bool {
        self.routed = routed;
        let tell = routed && self.arriving && !self.told;
        self.told = routed && self.arriving;
        tell
    }

    /// `true` when it is to be told that it does not arrive any more. Sound may be
    /// silent: it stays until nobody is left to bring it.
    pub(crate) fn ceased(&mut self, kind: MediaKind, anybody: bool, now: Instant) -> bool {
        let silent = |at| now.saturating_duration_since(at) >= SILENT_AFTER;
        let over = !anybody || kind == MediaKind::Video && self.came_at.is_none_or(silent);
        if over {
            self.arriving = false;
        }
        over && std::mem::take(&mut self.told)
    }

    pub(crate) const fn is_arriving(&self) -> bool {
        self.told
    }

    /// The feeder before, when it is not listened to any more.
    pub(crate) fn retired(&mut self, now: Instant) -> Option<Feed> {
        self.before
            .take_if(|(feed, until)| *until <= now || feed.link.is_none())
            .map(|(feed, _)| feed)
    }

    /// Whether the controller is to be told what is wanted: where the sender brings
    /// it, when that changed or the sender did not bring it before.
    pub(crate) fn owes_demand(&mut self, changed: bool) -> bool {
        self.current.is_none() && (std::mem::take(&mut self.owes_demand) | changed)
    }

    /// Whom this is to be told, that was not told yet.
    pub(crate) fn untold(&mut self, said: &[Wanted]) -> Vec<(SessionKey, RouteId)> {
        let mut list = Vec::new();
        for feed in self.each() {
            if let Some(link) = feed.link
                && feed.told != said
            {
                feed.told = said.to_vec();
                list.push((link, feed.inlet.route));
            }
        }
        list
    }
}
