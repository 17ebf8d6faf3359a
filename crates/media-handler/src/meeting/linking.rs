//! A meeting's part in links to other handlers.

use bytes::Bytes;
use dt_forward_core::SessionKey;
use dt_frame::RouteId;
use dt_ids::{HandlerId, MeetingId, StreamId};
use dt_wire::internal::{HandlerEvent, StreamFlow, handler_event};

use super::{Meeting, State, event};
pub(super) use crate::cascade::{demand, keyframe};
use crate::{cascade::Attachment, now};

impl Meeting {
    pub(crate) fn link_datagram(&self, session: SessionKey, datagram: Bytes) {
        // What was dropped is counted by the forwarder.
        let _ = self.with(|s| s.forwarder.link_datagram(session, datagram, now()));
    }
}

impl State {
    /// A link can be used from now on.
    pub(crate) fn attach(&mut self, handler: HandlerId, attachment: Attachment) {
        let Attachment { key, port } = attachment;
        if self.links.contains_key(&key) {
            return;
        }
        self.links.insert(key, port);
        self.forwarder.link_up(handler, key, now());
    }

    /// It can't any more.
    pub(crate) fn detach(&mut self, key: SessionKey) {
        self.links.remove(&key);
        self.forwarder.session_down(key, now());
    }

    /// A route is known from now on, or not any more.
    pub(super) fn link_route(&mut self, place: (HandlerId, RouteId), incoming: bool, known: bool) {
        let Some(inner) = self.cascade.upgrade() else {
            return;
        };
        let meeting = (self.id, &self.me);
        let peers = &inner.cascade.peers;
        let has = |key| self.links.contains_key(&key);
        let learnt = peers.route(meeting, place, incoming, known, has);
        let (handler, route) = place;
        if let Some(attachment) = learnt.attachment {
            self.attach(handler, attachment);
        }
        if let Some(key) = learnt.key.filter(|_| !learnt.wanted.is_empty()) {
            // It was said before the route was known here.
            let _ = self
                .forwarder
                .link_demand(key, route, &learnt.wanted, now());
        }
    }

    pub(super) fn tell_link(&mut self, session: SessionKey, message: Bytes) {
        if let Some(port) = self.links.get(&session)
            && !port.send_control(message)
        {
            // Nothing may be missed: it begins anew.
            port.close(0, "the control stream is not read");
        }
    }
}

pub(super) fn flow_event(meeting: MeetingId, stream_id: StreamId, arriving: bool) -> HandlerEvent {
    event(
        meeting,
        handler_event::Event::Flow(StreamFlow {
            stream_id: stream_id.to_string(),
            arriving,
        }),
    )
}
