//! What links bring: datagrams and streams of routes, and what is wanted beyond.

use std::time::Instant;

use bytes::Bytes;
use dt_frame::{LinkPrefix, RouteId, StreamHeader};
use dt_ids::{Encoding, HandlerId};

use super::few_enough;
use crate::{
    DropReason, Forwarder, GroupKey, SessionKey, StopGroup, Wanted,
    inbound::{Peer, Upstream},
    media::Way,
    outbox::Turn,
    reset_code,
    source::Source,
};

impl Forwarder {
    /// A media datagram came over a link.
    ///
    /// # Errors
    /// Why it was dropped and counted.
    pub fn link_datagram(
        &mut self,
        session: SessionKey,
        datagram: Bytes,
        now: Instant,
    ) -> Result<(), DropReason> {
        let result = self.forward_link_datagram(session, datagram, now);
        result.inspect_err(|reason| self.outbox.drop(*reason))
    }

    /// A link opened a stream and sent its prefix and header. Its frames and its
    /// end are told as those of a sender's.
    ///
    /// # Errors
    /// When it may not; the stream is unknown to the forwarder then.
    pub fn link_group_opened(
        &mut self,
        session: SessionKey,
        group: GroupKey,
        prefix: LinkPrefix,
        header: StreamHeader,
    ) -> Result<(), StopGroup> {
        let result = self.open_link_group(session, group, prefix, header);
        result.inspect_err(|stop| self.outbox.drop(stop.reason))
    }

    /// The handler at the other end says what is wanted of a route there; replaces
    /// what it said before.
    ///
    /// # Errors
    /// When nothing goes there by this route.
    pub fn link_demand(
        &mut self,
        session: SessionKey,
        route: RouteId,
        wanted: &[Wanted],
        now: Instant,
    ) -> Result<(), DropReason> {
        let handler = self.peer(session)?;
        let (stream, wants) = self
            .links
            .outlet(handler, route)
            .ok_or(DropReason::UnknownRoute)?;
        *wants = wanted.into();
        let wants = *wants;
        if let Some(source) = self.sources.get_mut(&stream) {
            let turn = &mut Turn {
                config: &self.config,
                outbox: &mut self.outbox,
                now,
            };
            source.want(session, wants, turn);
            // A handler in the middle waits for nothing either.
            source.say_demand(turn);
            let owner = self.participants.get(&source.owner);
            source.ask(owner.and_then(|owner| owner.session), turn);
        }
        Ok(())
    }

    /// Somebody beyond needs a key frame.
    ///
    /// # Errors
    /// When nothing goes there by this route; that is counted.
    pub fn link_keyframe(
        &mut self,
        session: SessionKey,
        route: RouteId,
        encoding: Encoding,
        now: Instant,
    ) -> Result<(), DropReason> {
        let handler = self.peer(session)?;
        let Some((stream, _)) = self.links.outlet(handler, route) else {
            self.outbox.drop(DropReason::NotRouted);
            return Err(DropReason::NotRouted);
        };
        let has_it = |source: &&mut Source| source.spec.has(encoding);
        self.want_keyframe(stream, has_it, encoding, now)
    }

    fn peer(&self, session: SessionKey) -> Result<HandlerId, DropReason> {
        match self.sessions.get(&session).map(|inbound| inbound.peer) {
            Some(Peer::Handler(handler)) => Ok(handler),
            _ => Err(DropReason::UnknownSession),
        }
    }

    fn forward_link_datagram(
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
        let Peer::Handler(handler) = inbound.peer else {
            return Err(DropReason::UnknownSession);
        };
        let route = RouteId(header.stream);
        let stream = self
            .links
            .inlet(handler, route)
            .ok_or(DropReason::UnknownRoute)?;
        let feeds = self.sources.get(&stream).map(|source| &source.feeds);
        let (inlet, current) = feeds
            .and_then(|feeds| feeds.of(session, route))
            .ok_or(DropReason::UnknownRoute)?;
        if Some(inlet.origin) == self.config.handler {
            return Err(DropReason::Returning);
        }
        if header.user_id != inlet.user_id {
            return Err(DropReason::ForeignUser);
        }
        let way = Way {
            stream,
            owner: inlet.participant,
            link: Some(current),
        };
        self.spread(way, &header, datagram, now)
    }

    fn open_link_group(
        &mut self,
        session: SessionKey,
        group: GroupKey,
        prefix: LinkPrefix,
        header: StreamHeader,
    ) -> Result<(), StopGroup> {
        let stop = |code, reason| StopGroup { code, reason };
        let invalid = |reason| stop(reset_code::INVALID_FORMAT, reason);
        let handler = self
            .peer(session)
            .map_err(|reason| stop(reset_code::AUTHENTICATION_FAILED, reason))?;
        if !few_enough(prefix.hops) {
            return Err(invalid(DropReason::TooManyHops));
        }
        // It may have been given up here just now.
        let unknown = stop(reset_code::GRACEFUL, DropReason::UnknownRoute);
        let route = prefix.route;
        let stream = self.links.inlet(handler, route).ok_or(unknown)?;
        let source = self.sources.get(&stream).ok_or(unknown)?;
        let (inlet, _) = source.feeds.of(session, route).ok_or(unknown)?;
        if Some(inlet.origin) == self.config.handler {
            return Err(invalid(DropReason::Returning));
        }
        if header.stream_id != stream {
            return Err(invalid(DropReason::UnregisteredStream));
        }
        source.may_open(&header).map_err(invalid)?;
        let most = self.config.link_groups_max;
        let inbound = self.sessions.get_mut(&session).ok_or(unknown)?;
        if inbound.groups.len() >= most {
            return Err(stop(reset_code::QUOTA_EXCEEDED, DropReason::TooManyGroups));
        }
        let upstream = Upstream::new(header, Some(route));
        inbound.groups.insert(group, upstream);
        Ok(())
    }
}
