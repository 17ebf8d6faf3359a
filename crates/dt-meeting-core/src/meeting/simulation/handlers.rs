//! What media handlers do of their own accord, and what they say.

use dt_ids::{HandlerId, ParticipantId, StreamId, UserId};
use dt_wire::{
    internal::{HandlerLoad, StreamFlow},
    v1::{ServerMessage, server_message::Body},
};
use rand::RngExt as _;

use super::{World, handler::Word};
use crate::SessionId;

impl World {
    pub(super) fn at(&self, id: HandlerId) -> usize {
        let at = self.handlers.iter().position(|handler| handler.id == id);
        at.expect("only handlers of this meeting are told something")
    }

    pub(super) fn any_handler(&mut self) -> usize {
        self.rng.random_range(0..self.handlers.len())
    }

    /// Goes, comes back, fills up, drains, or is preferred.
    pub(super) fn change_handler(&mut self) -> Option<UserId> {
        let at = self.any_handler();
        let id = self.handlers[at].id;
        let effects = if self.handlers[at].gone {
            let anew = self.chance(50);
            self.handlers[at].come_back(anew);
            self.meeting.handle_handler_back(id, self.now)
        } else {
            match self.rng.random_range(0..6) {
                0 | 1 => {
                    self.handlers[at].go();
                    self.meeting.handle_handler_gone(id, self.now)
                }
                2 => {
                    let mut ids: Vec<HandlerId> = self.handlers.iter().map(|h| h.id).collect();
                    ids.rotate_left(at);
                    ids.truncate(2);
                    self.meeting.handle_handlers(&ids, self.now)
                }
                _ => {
                    let load = HandlerLoad {
                        load_permille: self.rng.random_range(0..1100),
                        draining: self.chance(15),
                    };
                    self.meeting.handle_load(id, &load, self.now)
                }
            }
        };
        self.apply(effects);
        None
    }

    /// A handler has too much to do for one of those who want a stream made anew.
    pub(super) fn overload(&mut self) -> Option<UserId> {
        let at = self.any_handler();
        let handler = &self.handlers[at];
        if handler.gone {
            return None;
        }
        let mut wanted: Vec<(StreamId, ParticipantId)> = Vec::new();
        for (stream, route) in &handler.routes {
            let anew = route.destinations.iter().filter(|d| d.options.is_some());
            wanted.extend(anew.map(|d| (*stream, d.participant_id.parse().expect("a UUID"))));
        }
        // What it says may be about something that is over.
        wanted.push((
            self.any_stream().parse().expect("a UUID"),
            ParticipantId::from_bytes(self.rng.random()),
        ));
        let (stream, who) = wanted[self.rng.random_range(0..wanted.len())];
        let id = self.handlers[at].id;
        let effects = self
            .meeting
            .handle_not_made_anew(id, stream, &[who], self.now);
        self.apply(effects);
        let user = self.meeting.roster.by_participant(who);
        if let Some(seat) = user.and_then(|user| self.meeting.roster.get(user))
            && seat.place.home() == id
        {
            let anew =
                seat.subscriber.mixes(stream) || seat.subscriber.transcodes(stream).is_some();
            assert!(!anew, "it is not asked for again of its own accord");
        }
        None
    }

    /// What is due of what handlers say, in the order it was drawn.
    pub(super) fn hear_handlers(&mut self) {
        for at in 0..self.handlers.len() {
            let id = self.handlers[at].id;
            for word in self.handlers[at].take_due(self.now) {
                let before = self.snapshot();
                let (meeting, now) = (&mut self.meeting, self.now);
                let effects = match word {
                    Word::Registered(participant, generation) => {
                        meeting.handle_registered(id, participant, generation, now)
                    }
                    Word::Applied(stream, generation) => {
                        meeting.handle_applied(id, Some(stream), generation, now)
                    }
                    Word::Flow(stream, arriving) => {
                        let flow = StreamFlow {
                            stream_id: stream.to_string(),
                            arriving,
                        };
                        meeting.handle_flow(id, &flow, now)
                    }
                };
                self.apply(effects);
                self.check(&before, None);
            }
        }
    }

    /// Tokens are given for handlers that let the participant in, home first.
    pub(super) fn check_access(
        &mut self,
        session: SessionId,
        message: &ServerMessage,
        participant: ParticipantId,
        handlers: &[HandlerId],
    ) {
        let user = self.meeting.roster.by_participant(participant);
        let Some(seat) = user.and_then(|user| self.meeting.roster.get(user)) else {
            return;
        };
        let first = handlers.first().expect("at least one");
        let handler = &self.handlers[self.at(*first)];
        let welcome = matches!(message.body, Some(Body::JoinResponse(_)));
        // Other answers may have waited behind the welcome while it went.
        assert!(
            handler.is_registered(participant) || (handler.was_gone && !welcome) || handler.gone,
            "a token is given only after the registration is confirmed"
        );
        if matches!(message.body, Some(Body::JoinResponse(_))) {
            assert!(handlers.len() <= 3);
            self.ways.welcome(session, handlers);
        } else {
            assert_eq!(handlers.len(), 1);
            if matches!(message.body, Some(Body::HandlerAssigned(_))) {
                self.ways.assigned(session, *first);
                assert!(seat.place.contains(*first));
            }
        }
    }
}
