//! Which routes lead over which links, and what follows when that or a link
//! changes.

use std::{
    collections::{BTreeMap, HashMap},
    time::Instant,
};

use dt_frame::{MediaKind, RouteId};
use dt_ids::{HandlerId, StreamId};

use super::{Inlet, Links, Outlet, Outlets, Wants, feeds::Feed, few_enough, outlets};
use crate::{
    DropReason, Forwarder, Output, SessionKey,
    forwarder::RouteError,
    inbound::{Inbound, Peer},
    outbox::Turn,
    reset_code,
    source::Source,
};

/// The links of a meeting, and the routes over them. As many routes as the
/// configuration lets the meeting have, and outlets of each.
#[derive(Debug, Default)]
pub(crate) struct Table {
    up: BTreeMap<HandlerId, SessionKey>,
    inlets: HashMap<(HandlerId, RouteId), StreamId>,
    outlets: HashMap<(HandlerId, RouteId), (StreamId, Wants)>,
    /// What has become known of them and is not told yet.
    news: Vec<Output>,
}

impl Table {
    pub(super) fn inlet(&self, handler: HandlerId, route: RouteId) -> Option<StreamId> {
        self.inlets.get(&(handler, route)).copied()
    }

    /// The source that a handler gets by this route.
    pub(super) fn outlet(
        &mut self,
        handler: HandlerId,
        route: RouteId,
    ) -> Option<(StreamId, &mut Wants)> {
        let (stream, wants) = self.outlets.get_mut(&(handler, route))?;
        Some((*stream, wants))
    }

    /// Those of a route whose link is up.
    pub(crate) fn outlets(&self, wanted: &[Outlet], kind: MediaKind) -> Outlets {
        let place = |outlet: &Outlet| {
            let session = *self.up.get(&outlet.handler)?;
            let (_, wants) = self.outlets.get(&(outlet.handler, outlet.route))?;
            let outlet = outlets::Outlet::new(outlet.prefix(), *wants, kind);
            Some((session, outlet))
        };
        wanted.iter().filter_map(place).collect()
    }

    pub(crate) fn forget(&mut self, source: &Source) {
        for inlet in source.feeds.inlets() {
            self.forget_inlet(inlet, source.spec.stream_id);
        }
    }

    fn forget_inlet(&mut self, inlet: &Inlet, stream: StreamId) {
        let place = (inlet.handler, inlet.route);
        // Another stream may have the number by now.
        if self.inlets.get(&place) == Some(&stream) {
            self.inlets.remove(&place);
            self.tell(place, true, false);
        }
    }

    fn tell(&mut self, place: (HandlerId, RouteId), incoming: bool, known: bool) {
        let (handler, route) = place;
        self.news.push(Output::LinkRoute {
            handler,
            route,
            incoming,
            known,
        });
    }

    /// `wants`: until its receiver says it itself.
    fn put_outlet(&mut self, place: (HandlerId, RouteId), stream: StreamId, wants: Wants) {
        let before = self.outlets.get(&place).map(|(stream, _)| *stream);
        if before != Some(stream) {
            self.outlets.insert(place, (stream, wants));
            // Also when another stream had it: what is wanted is asked for anew.
            self.tell(place, false, true);
        }
    }

    fn take_outlet(&mut self, place: (HandlerId, RouteId)) {
        if self.outlets.remove(&place).is_some() {
            self.tell(place, false, false);
        }
    }

    /// What has changed, for the handler.
    pub(crate) fn news(&mut self) -> impl Iterator<Item = Output> + '_ {
        self.news.drain(..)
    }

    pub(crate) fn forget_outlets(&mut self, outlets: &[Outlet]) {
        for outlet in outlets {
            self.take_outlet((outlet.handler, outlet.route));
        }
    }
}

impl Forwarder {
    /// The link to a handler is up; it is another kind of session, and ends by
    /// [`session_down`](Self::session_down). An older one to it is forgotten.
    pub fn link_up(&mut self, handler: HandlerId, session: SessionKey, now: Instant) {
        if let Some(older) = self.links.up.insert(handler, session) {
            self.session_down(older, now);
            self.links.up.insert(handler, session);
        }
        let inbound = Inbound::new(Peer::Handler(handler), self.config.link_ingest, now);
        self.sessions.insert(session, inbound);
        self.outbox.session_up(session, self.config.link_queue);
        for source in self.sources.values_mut() {
            source.feeds.link_up(handler, session);
        }
        self.retarget_link(handler, now);
    }

    /// Streams that are routed here and arrive, for a controller that begins to
    /// listen.
    pub fn arriving(&self) -> impl Iterator<Item = StreamId> {
        let arriving = |(_, source): &(&StreamId, &Source)| source.feeds.is_arriving();
        self.sources
            .iter()
            .filter(arriving)
            .map(|(stream, _)| *stream)
    }

    /// Whether nobody is registered and nothing comes or goes over a link.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.participants.is_empty() && self.links.inlets.is_empty()
    }

    pub(crate) fn check_links(
        &mut self,
        source: StreamId,
        links: &Links,
    ) -> Result<(), RouteError> {
        if links.outlets.len() > self.config.outlets_max {
            return Err(RouteError::TooManyDestinations);
        }
        let from = links.inlet.as_ref();
        let here = self.config.handler;
        let back = |outlet: &Outlet| {
            let to = outlet.handler;
            let came = from.is_some_and(|inlet| to == inlet.handler || to == inlet.origin);
            came || to == outlet.origin || Some(to) == here || !few_enough(outlet.hops)
        };
        let far = |inlet: &Inlet| !few_enough(inlet.hops) || Some(inlet.handler) == here;
        if links.outlets.iter().any(back) || from.is_some_and(far) {
            self.outbox.drop(DropReason::Returning);
            return Err(RouteError::Loop);
        }
        let foreign = |inlet: &Inlet| {
            let known = self.sources.get(&source);
            inlet.spec.stream_id != source
                || known.is_some_and(|s| s.feeds.registered && s.owner != inlet.participant)
        };
        if from.is_some_and(foreign) {
            return Err(RouteError::StreamTaken(source));
        }
        Ok(())
    }

    /// Sets the link that brings a source, or that none does.
    pub(crate) fn set_inlet(&mut self, stream: StreamId, inlet: Option<Inlet>, now: Instant) {
        if let Some(inlet) = inlet {
            let moved = |source: &&mut Source| source.owner != inlet.participant;
            if self.sources.get_mut(&stream).filter(moved).is_some() {
                self.remove_source(stream);
            }
            self.put_source(inlet.participant, inlet.spec, now);
            let place = (inlet.handler, inlet.route);
            if self.links.inlets.insert(place, stream).is_none() {
                self.links.tell(place, true, true);
            }
        }
        let Some(source) = self.sources.get_mut(&stream) else {
            return;
        };
        let link = inlet.and_then(|inlet| self.links.up.get(&inlet.handler).copied());
        if let Some(displaced) = source.feeds.set(inlet, link, now) {
            self.drop_feed(stream, &displaced);
        }
        let gone = |source: &Source| !source.feeds.registered && inlet.is_none();
        if self.sources.get(&stream).is_some_and(gone) {
            let (owner, kind) = match self.sources.get(&stream) {
                Some(source) => (source.owner, source.spec.kind),
                None => return,
            };
            self.remove_source(stream);
            if kind == MediaKind::Audio {
                self.speakers.forget(owner);
            }
        }
    }

    /// Makes the table of outlets of a source what it is to be; what is wanted of
    /// those that stay, stays.
    pub(crate) fn list_outlets(&mut self, stream: StreamId, outlets: &[Outlet]) {
        let places =
            |list: &[Outlet]| -> Vec<_> { list.iter().map(|o| (o.handler, o.route)).collect() };
        let before = self.routes.get(&stream);
        let before = before.map_or_else(Vec::new, |route| places(&route.outlets));
        let wanted = places(outlets);
        for place in &wanted {
            // The same receiver by another number wants what it wanted.
            let former = before.iter().find(|(handler, _)| *handler == place.0);
            let former = former.and_then(|place| self.links.outlets.get(place));
            let wants = former.map_or_else(Wants::default, |(_, wants)| *wants);
            self.links.put_outlet(*place, stream, wants);
        }
        for place in before.iter().filter(|place| !wanted.contains(place)) {
            self.links.take_outlet(*place);
        }
    }

    /// A link has ended: its session is taken out already.
    pub(crate) fn forget_link(&mut self, handler: HandlerId, session: SessionKey, now: Instant) {
        if self.links.up.get(&handler) == Some(&session) {
            self.links.up.remove(&handler);
        }
        // Its handler says anew what it wants.
        for ((to, _), (_, wants)) in &mut self.links.outlets {
            if *to == handler {
                *wants = Wants::default();
            }
        }
        for source in self.sources.values_mut() {
            if source.feeds.link_down(session) {
                let sends = self.participants.get(&source.owner);
                let here = source.feeds.registered && sends.is_some_and(|p| p.session.is_some());
                let others = here || source.feeds.any_beside(session);
                source.feeder_down(session, others, &mut self.outbox);
            }
        }
        self.retarget_link(handler, now);
    }

    /// Feeders that have given way to others are not listened to any more.
    pub(crate) fn retire_feeders(&mut self, now: Instant) {
        let mut retired = Vec::new();
        for (stream, source) in &mut self.sources {
            if let Some(feed) = source.feeds.retired(now) {
                retired.push((*stream, feed));
            }
        }
        for (stream, feed) in retired {
            self.drop_feed(stream, &feed);
        }
    }

    fn drop_feed(&mut self, stream: StreamId, feed: &Feed) {
        self.links.forget_inlet(&feed.inlet, stream);
        let Some(session) = feed.link else {
            return;
        };
        let route = feed.inlet.route;
        self.outbox.push(Output::LinkDemand {
            session,
            route,
            encodings: Vec::new(),
        });
        let groups = self.sessions.get(&session).map(|link| &link.groups);
        let mut of: Vec<_> = groups
            .into_iter()
            .flatten()
            .filter(|(_, group)| group.route == Some(route) && group.header.stream_id == stream)
            .map(|(group, _)| *group)
            .collect();
        of.sort_unstable();
        for group in of {
            self.group_reset(session, group);
            self.outbox.push(Output::StopGroup {
                session,
                group,
                code: reset_code::GRACEFUL,
            });
        }
    }

    /// Says at once over links what is wanted of a source: it is waited for.
    pub(crate) fn say_beyond(&mut self, stream: StreamId, now: Instant) {
        let Some(source) = self.sources.get_mut(&stream) else {
            return;
        };
        if source.feeds.is_linked() {
            let turn = &mut Turn {
                config: &self.config,
                outbox: &mut self.outbox,
                now,
            };
            source.say_demand(turn);
        }
    }

    fn retarget_link(&mut self, handler: HandlerId, now: Instant) {
        let leads = |outlets: &[Outlet]| outlets.iter().any(|o| o.handler == handler);
        let mut touched: Vec<_> = self
            .routes
            .iter()
            .filter(|(_, route)| leads(&route.outlets))
            .map(|(stream, _)| *stream)
            .collect();
        let from = |source: &Source| source.feeds.inlets().any(|i| i.handler == handler);
        let fed = self.sources.iter().filter(|(_, source)| from(source));
        touched.extend(fed.map(|(stream, _)| *stream));
        touched.sort_unstable();
        touched.dedup();
        for stream in touched {
            self.retarget(stream, now);
        }
    }
}
