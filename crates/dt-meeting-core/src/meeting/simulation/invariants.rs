//! What must be true after every step.

use std::collections::{BTreeMap, BTreeSet};

use dt_frame::FourCc;
use dt_ids::{Slot, StreamId, UserId};
use dt_wire::{internal::DestinationClass, v1::StreamType};

use super::{World, ways::made_anew};
use crate::{seat::Seat, streams::Published};

/// The assignments of everybody before a step, with their generation.
pub(super) type Snapshot = BTreeMap<UserId, (u32, BTreeMap<StreamId, Slot>)>;

impl World {
    pub(super) fn snapshot(&self) -> Snapshot {
        let slots = |seat: &Seat| {
            let assigned = seat.subscriber.assigned().iter();
            let slots = assigned.map(|(slot, stream)| (*stream, *slot)).collect();
            (seat.subscriber.generation(), slots)
        };
        self.meeting
            .roster
            .iter()
            .map(|seat| (seat.user, slots(seat)))
            .collect()
    }

    /// `asked` is the one who asked for something in this step: a layout of its
    /// own making may move its tiles.
    pub(super) fn check(&mut self, before: &Snapshot, asked: Option<UserId>) {
        self.check_ways();
        let meeting = &self.meeting;
        meeting.roster.check_indexes();
        assert_eq!(self.live, meeting.status().seats);
        assert!(meeting.streams.len() <= self.streams_max());
        meeting
            .speakers
            .check_bounds(|user| meeting.roster.get(user).is_some());
        assert_eq!(self.ended, meeting.status().over);
        for seat in meeting.roster.iter() {
            self.check_seat(seat);
            let Some((generation, slots)) = before.get(&seat.user) else {
                continue;
            };
            assert!(seat.subscriber.generation() >= *generation);
            if asked != Some(seat.user) {
                check_places(seat, slots);
            }
        }
        self.check_spotlight();
        self.check_directives();
        self.check_handlers();
        for client in &self.clients {
            self.check_client(client);
        }
    }

    fn check_spotlight(&self) {
        let spotlight = &self.meeting.spotlight;
        assert!(spotlight.len() <= crate::SPOTLIGHT_MAX);
        let distinct: BTreeSet<_> = spotlight.iter().collect();
        assert_eq!(distinct.len(), spotlight.len());
        let here = |user: &UserId| self.meeting.roster.get(*user).is_some();
        assert!(spotlight.iter().all(here), "who leaves drops out of it");
    }

    fn streams_max(&self) -> usize {
        self.meeting.roster.len() * self.meeting.config.limits.streams_per_participant
    }

    fn check_seat(&self, seat: &Seat) {
        if let Some(who) = self.numbers.get(&seat.user) {
            assert_eq!(*who, seat.participant, "a number is never given twice");
        }
        let limits = &self.meeting.config.limits;
        assert!(seat.streams.len() <= limits.streams_per_participant);
        seat.subscriber.check();
        let mut videos = 0;
        for stream in seat.subscriber.assigned().values() {
            let stream = self
                .meeting
                .streams
                .get(*stream)
                .expect("assigned streams are published");
            let owner = self
                .meeting
                .roster
                .get(stream.owner)
                .expect("by people in the meeting");
            assert!(owner.streams.contains(&stream.id));
            videos += usize::from(!stream.is_audio());
        }
        assert!(
            videos <= seat.video_streams_max,
            "no more videos than are decoded"
        );
        self.check_mix(seat);
        if let Some(line) = seat.line() {
            assert!(
                line.held() <= limits.held_messages_max,
                "what waits is bounded"
            );
            assert!(!self.closed.contains(&line.session));
        }
    }

    /// A mix is all others, but for those who are asked for by name.
    fn check_mix(&self, seat: &Seat) {
        let subscriber = &seat.subscriber;
        let voices = self.meeting.streams.iter();
        let others: BTreeSet<StreamId> = voices
            .filter(|s| s.is_audio() && s.owner != seat.user && seat.codecs.knows(s.encoded))
            .map(|s| s.id)
            .collect();
        let mixed = others.iter().filter(|s| subscriber.mixes(**s)).count();
        let Some(slot) = subscriber.mix_slot() else {
            assert_eq!(mixed, 0, "no mix without a slot");
            return;
        };
        assert!(!subscriber.assigned().contains_key(&slot));
        for stream in &others {
            let alone = subscriber.receives(*stream);
            assert!(alone != subscriber.mixes(*stream), "once, and not twice");
        }
        assert_eq!(
            subscriber.received().count(),
            subscriber.assigned().len() + mixed
        );
    }

    /// Directives, derived anew from assignments.
    fn check_directives(&self) {
        let meeting = &self.meeting;
        let mut wanted = BTreeSet::new();
        for seat in meeting.roster.iter().filter(|seat| seat.receives()) {
            let there = |h| self.handlers.iter().any(|x| x.id == h && !x.gone);
            for (_, stream) in seat.subscriber.received() {
                let of = meeting.streams.get(stream).expect("it is published");
                let owner = meeting.roster.get(of.owner).expect("by somebody");
                let sound = of.is_audio();
                let (mut ends, mut begins) =
                    (seat.place.receives_from(sound), owner.place.sends_to(sound));
                let anew = made_anew(seat, stream).is_some();
                let end = |h| there(h) && (!anew || h == seat.place.home());
                if !of.muted && ends.any(end) && begins.any(there) {
                    wanted.insert(stream);
                }
            }
        }
        for seat in meeting.roster.iter() {
            for told in meeting.directive(seat.user).encodings {
                let id: StreamId = told.stream_id.parse().expect("a UUID");
                let stream = meeting.streams.get(id).expect("one's own stream");
                if stream.is_audio() {
                    let others = meeting.roster.iter().filter(|s| s.user != seat.user);
                    let heard = others
                        .filter(|s| s.receives())
                        .any(|s| s.subscriber.hears());
                    let wanted = wanted.contains(&id) || (heard && !stream.muted);
                    assert_eq!(told.active, wanted, "whoever may be heard is sent");
                } else if wanted.contains(&id) {
                    let assumed_ms = meeting.config.limits.demand_ms;
                    self.wishes.check(id, &told, self.now, assumed_ms);
                } else {
                    assert!(!told.active, "what nobody watches is not sent");
                }
                self.check_codec(seat, stream, &told.codec);
            }
        }
    }

    /// What a stream matters to a receiver.
    pub(super) fn class(&self, seat: &Seat, slot: Slot, stream: StreamId) -> DestinationClass {
        let meeting = &self.meeting;
        let stream = meeting.streams.get(stream).expect("it is published");
        let favoured = meeting.spotlight.contains(&stream.owner)
            || meeting.speakers.floor() == Some(stream.owner)
            || seat.subscriber.favours(slot, stream.owner);
        match stream.kind {
            StreamType::VideoScreen => DestinationClass::Screen,
            StreamType::VideoCamera if favoured => DestinationClass::Speaker,
            _ => DestinationClass::Other,
        }
    }

    /// A stream is encoded with what its sender knows, as published while that
    /// suits everybody, and with what suits most who came first.
    fn check_codec(&self, seat: &Seat, stream: &Published, told: &str) {
        let codec = if told.is_empty() {
            stream.published
        } else {
            told.parse().expect("a FourCC")
        };
        assert_eq!(codec, stream.encoded);
        assert_eq!(codec.kind(), stream.published.kind());
        assert!(codec == stream.published || seat.codecs.knows(codec));
        let everybody = || self.meeting.roster.iter().map(|seat| &seat.codecs);
        if everybody().all(|codecs| codecs.knows(stream.published)) {
            assert_eq!(codec, stream.published, "what suits everybody stays");
        }
        let suits = FourCc::ALL.into_iter().find(|c| {
            let encodes = *c == stream.published || seat.codecs.knows(*c);
            encodes && c.kind() == codec.kind() && everybody().all(|codecs| codecs.knows(*c))
        });
        if suits.is_some() {
            assert!(
                everybody().all(|codecs| codecs.knows(codec)),
                "all decode it"
            );
        }
    }

    /// What handlers were told is what is true.
    fn check_handlers(&self) {
        for handler in self.handlers.iter().filter(|handler| !handler.gone) {
            if self.ended && handler.was_gone {
                // What it knew of a meeting that ended meanwhile is its own to forget.
                continue;
            }
            let here = self.meeting.roster.iter();
            let here = here.filter(|seat| seat.place.contains(handler.id));
            let seats: BTreeSet<_> = here.map(|s| s.participant.to_string()).collect();
            let registered: BTreeSet<_> = handler.registered.keys().cloned().collect();
            assert_eq!(registered, seats, "exactly who is there is registered");
            if self.ended {
                continue;
            }
            for seat in self.meeting.roster.iter() {
                let Some(told) = handler.registered.get(&seat.participant.to_string()) else {
                    continue;
                };
                let mut streams = self.meeting.describe(seat).streams;
                for metadata in streams.iter_mut().filter_map(|s| s.metadata.as_mut()) {
                    // It may change on the way.
                    metadata.codec.clear();
                }
                assert_eq!(told.streams, streams);
                assert_eq!(told.user_id, seat.user.0);
            }
        }
    }

    /// A client that has heard everything knows what is true.
    fn check_client(&self, client: &super::Client) {
        let (true, Some(session)) = (client.alive, client.session) else {
            return;
        };
        let user = self
            .meeting
            .roster
            .by_session(session)
            .expect("its session has a seat");
        let seat = self
            .meeting
            .roster
            .get(user)
            .expect("a session's seat is there");
        let waits = seat
            .line()
            .is_some_and(|line| line.waiting_since().is_some());
        if waits {
            return;
        }
        let view = client
            .view
            .as_ref()
            .expect("who waits for nothing was welcomed");
        assert_eq!(view.me, self.meeting.describe(seat));
        let others: BTreeMap<_, _> = self
            .meeting
            .roster
            .iter()
            .filter(|other| other.user != user)
            .map(|other| (other.participant.to_string(), self.meeting.describe(other)))
            .collect();
        assert_eq!(view.others, others, "everybody sees the same roster");
        assert_eq!(view.assignments, self.meeting.assignments(user));
        assert_eq!(view.meeting, self.meeting.info());
        assert_eq!(view.directive, self.meeting.directive(user));
        let told = self.meeting.speakers_message(self.meeting.speakers.told());
        assert_eq!(view.speakers, told.participant_ids);
        assert!(
            client.pending.is_empty(),
            "every request is answered: {:?}",
            client.pending
        );
    }

    /// After timers have run nothing is overdue.
    pub(super) fn check_timers(&self) {
        let limits = &self.meeting.config.limits;
        for seat in self.meeting.roster.iter() {
            match &seat.connection {
                crate::seat::Connection::Connected(line) => {
                    assert!(self.now.ms_since(line.heard_at) < limits.silence_ms);
                    let waiting = line.waiting_since();
                    assert!(waiting.is_none_or(|t| self.now.ms_since(t) < limits.registration_ms));
                }
                crate::seat::Connection::Disconnected { since } => {
                    assert!(self.now.ms_since(*since) < limits.seat_kept_ms);
                }
            }
        }
        assert!(
            self.meeting.next_timeout().is_none_or(|at| at > self.now),
            "timers move on"
        );
    }
}

/// Streams that stay assigned keep their slot; only into and out of a large tile
/// they move.
fn check_places(seat: &Seat, before: &BTreeMap<StreamId, Slot>) {
    let large = seat.subscriber.layout().and_then(|layout| layout.large());
    for (slot, stream) in seat.subscriber.assigned() {
        if let Some(was) = before.get(stream) {
            let through_large = large.is_some() && (large == Some(*slot) || large == Some(*was));
            assert!(slot == was || through_large, "a tile keeps its place");
        }
    }
}
