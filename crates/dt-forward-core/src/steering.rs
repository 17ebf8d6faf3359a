//! What receivers show and what their paths carry, and what follows from it for
//! the sources that they are routed.

use std::time::Instant;

use dt_frame::MediaKind;
use dt_ids::StreamId;

use crate::{
    Detail, Forwarder, Output, PathSample, PathView, ReceiverReport, SessionKey, Wanted,
    allocation::{self, Ask, Cost},
    flow::Pick,
    inbound::Peer,
    outbox::Turn,
    receiver::{Given, Receiver, Request},
    source::Source,
};

impl Forwarder {
    /// A receiver says what it shows; replaces what it said before.
    pub fn receiver_report(&mut self, session: SessionKey, report: &ReceiverReport, now: Instant) {
        if let Some(receiver) = self.receivers.get_mut(&session) {
            receiver.report(report, now);
            self.allocate(session, now);
        }
    }

    /// The path to a session has these figures now. To be called every
    /// [`TICK`](Self::TICK) for each session that receives anything.
    pub fn path(&mut self, session: SessionKey, sample: &PathSample, now: Instant) {
        let Some(receiver) = self.receivers.get_mut(&session) else {
            return;
        };
        let bytes = receiver.path(sample, now);
        if bytes > 0 {
            self.outbox.push(Output::Padding { session, bytes });
        }
        if receiver.is_squeezed() {
            self.allocate(session, now);
        }
    }

    /// A session was given so many bytes of sound that was made here. They are paid
    /// for before pictures, as all sound is.
    pub fn made_here(&mut self, session: SessionKey, bytes: usize, now: Instant) {
        if let Some(receiver) = self.receivers.get_mut(&session) {
            receiver.made_here.add(bytes, false, now);
        }
    }

    /// What is thought of the path to a session, for who looks into it.
    #[must_use]
    pub fn path_view(&self, session: SessionKey) -> Option<PathView> {
        self.receivers.get(&session).map(Receiver::path_view)
    }

    /// Whether anything is routed to a session.
    #[must_use]
    pub fn receives(&self, session: SessionKey) -> bool {
        let receiver = self.receivers.get(&session);
        receiver.is_some_and(|receiver| !receiver.subscriptions.is_empty())
    }

    /// What was said last of each stream's demand, for a controller that begins
    /// to listen.
    pub fn demands(&self) -> impl Iterator<Item = (StreamId, &[Wanted])> {
        self.sources
            .iter()
            .filter(|(_, source)| !source.feeds.is_linked())
            .filter_map(|(id, source)| Some((*id, source.demand.said()?)))
    }

    /// Looks after the receivers whose turn it is.
    pub(crate) fn allocate_due(&mut self, now: Instant) {
        for session in self.outbox.take_late() {
            if let Some(receiver) = self.receivers.get_mut(&session) {
                receiver.late(now);
            }
        }
        let due: Vec<_> = self
            .receivers
            .iter()
            .filter(|(_, receiver)| receiver.is_due(now))
            .map(|(session, _)| *session)
            .collect();
        for session in due {
            self.allocate(session, now);
        }
    }

    /// Shares out again what a receiver's path carries.
    pub(crate) fn allocate(&mut self, session: SessionKey, now: Instant) {
        let Some(receiver) = self.receivers.get_mut(&session) else {
            return;
        };
        let mut audio_bps = receiver.made_here.measured_bps(now);
        let mut requests = Vec::new();
        let mut hidden = Vec::new();
        for stream in receiver.subscriptions.keys() {
            let Some(source) = self.sources.get_mut(stream) else {
                continue;
            };
            if source.spec.kind == MediaKind::Audio {
                let times = receiver.repeats.times();
                source.repeat_to(session, times);
                let copies = f64::from(1 + times);
                let rates = source.encodings.first().map(|e| &e.rates);
                audio_bps += copies * rates.map_or(0.0, |rates| rates.measured_bps(now));
                continue;
            }
            let Some(tile) = receiver.tile(*stream) else {
                hidden.push(*stream);
                continue;
            };
            let limit = (tile.max_bitrate_bps > 0).then(|| f64::from(tile.max_bitrate_bps));
            let size = (tile.width, tile.height);
            let layers = source.spec.layers();
            let useful = allocation::useful(layers, size, receiver.granted(*stream), limit);
            let class = receiver.subscriptions.get(stream).map(|how| how.class);
            let smallest = layers.first().copied().unwrap_or_default();
            requests.push(Request {
                stream: *stream,
                ask: Ask {
                    class: class.unwrap_or_default(),
                    useful,
                    costs: (0..=useful).map(|n| source.cost(n, now)).collect(),
                    detail: receiver.detail_max(),
                    published_bps: if source.spec.muted {
                        0.0
                    } else {
                        Cost::expected(&smallest).full_bps
                    },
                },
            });
        }
        let given = receiver.give(&requests, audio_bps, now);
        let slack_bps = receiver.slack_bps();
        let turn = &mut Turn {
            config: &self.config,
            outbox: &mut self.outbox,
            now,
        };
        for stream in hidden {
            if let Some(source) = self.sources.get_mut(&stream) {
                source.steer(session, None, turn);
            }
        }
        for given in given {
            if let Some(source) = self.sources.get_mut(&given.stream) {
                let pick = pick(source, session, &given, slack_bps, now);
                source.steer(session, Some(pick), turn);
                let sender = self.participants.get(&source.owner);
                source.ask(sender.and_then(|p| p.session), turn);
            }
        }
    }

    /// Tells senders how their datagrams arrive.
    pub(crate) fn report_to_senders(&mut self, now: Instant) {
        for session in self.receivers.keys() {
            let Some(inbound) = self.sessions.get_mut(session) else {
                continue;
            };
            if !inbound.reports.is_due(now) {
                continue;
            }
            let Peer::Participant(participant) = inbound.peer else {
                continue;
            };
            let Some(entry) = self.participants.get(&participant) else {
                continue;
            };
            let (mut expected, mut came) = (0u64, 0u64);
            for stream in entry.streams.values() {
                let Some(source) = self.sources.get_mut(stream) else {
                    continue;
                };
                let sound = source.spec.kind == MediaKind::Audio;
                let repeated = sound && inbound.reports.repeats();
                for encoding in &mut source.encodings {
                    let (all, some) = encoding.arrivals.take(repeated);
                    expected = expected.saturating_add(all);
                    came = came.saturating_add(some);
                }
            }
            if let Some(report) = inbound.reports.make(expected, came, now) {
                let session = *session;
                self.outbox.push(Output::SenderReport { session, report });
            }
        }
    }
}

/// What one slot gets: what it was given, and until that begins something that
/// costs no more.
fn pick(source: &Source, session: SessionKey, given: &Given, slack_bps: f64, now: Instant) -> Pick {
    let share = given.share;
    let on = source.flows.get(&session).and_then(|flow| flow.on);
    let room = source.cost(share.encoding, now).of(share.detail) + slack_bps;
    // Nearer to what it is to have than what it has, and not beyond it.
    let nearer = |instead: &u8| match on.filter(|on| source.is_sent(*on, now)) {
        None => *instead < share.encoding || source.cost(*instead, now).full_bps <= room,
        Some(on) if on > share.encoding => (share.encoding..on).contains(instead),
        Some(on) => (on + 1..=share.encoding).contains(instead),
    };
    let meanwhile = match on {
        Some(on) if on > share.encoding => {
            let cost = source.cost(on, now);
            let fits = |detail: &Detail| cost.of(*detail) <= room;
            let details = [Detail::Full, Detail::Base];
            details.into_iter().find(fits).unwrap_or(Detail::Keys)
        }
        _ => Detail::Full,
    };
    Pick {
        encoding: share.encoding,
        instead: source.instead_of(share.encoding, now).filter(nearer),
        detail: share.detail,
        meanwhile,
        limit_bps: given.limit_bps,
    }
}
