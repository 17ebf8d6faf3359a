//! What time alone brings about.

use dt_wire::{CloseCode, v1::LeaveReason};

use super::{Meeting, Phase};
use crate::{
    effects::Effect,
    seat::{Connection, Seat},
    time::Time,
};

/// What is due at a seat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Due {
    /// The client has been silent for too long.
    Silence,
    /// The handler has not confirmed what an answer waits for.
    Registration,
    /// Nobody came back.
    Seat,
}

impl Meeting {
    /// When [`handle_timeout`](Self::handle_timeout) must be called at the
    /// latest, if nothing happens before. Changes with every other input.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Time> {
        let limits = &self.config.limits;
        let seats = self
            .roster
            .iter()
            .flat_map(|seat| self.due(seat))
            .map(|(at, _)| at);
        let empty = match self.phase {
            Phase::Empty { since } => Some(since.plus_ms(limits.empty_kept_ms)),
            Phase::Running | Phase::Idle | Phase::Over => None,
        };
        let speakers = self
            .speakers
            .next_timeout(limits.speakers_interval_ms, limits.promotion_ms);
        let encryption = self.encryption.as_ref().and_then(|e| e.next_timeout());
        let demand = self.streams.next_timeout();
        let others = empty.into_iter().chain(speakers).chain(encryption);
        let moves = self.next_move();
        seats.chain(others).chain(demand).chain(moves).min()
    }

    /// Does what is due at `now`. Calling it early does no harm.
    pub fn handle_timeout(&mut self, now: Time) -> Vec<Effect> {
        let due: Vec<_> = self
            .roster
            .iter()
            .flat_map(|seat| self.due(seat).map(|(at, due)| (seat.user, at, due)))
            .filter(|(_, at, _)| *at <= now)
            .collect();
        for (user, _, due) in due {
            match due {
                Due::Silence => {
                    let session = self
                        .roster
                        .get(user)
                        .and_then(Seat::line)
                        .map(|l| l.session);
                    self.lose(user, now);
                    if let Some(session) = session {
                        self.farewell(session, None, CloseCode::Graceful);
                    }
                }
                Due::Registration => self.fail(user, now),
                Due::Seat => {
                    self.remove(user, LeaveReason::ConnectionLost, now);
                }
            }
        }
        if let Phase::Empty { since } = self.phase
            && now >= since.plus_ms(self.config.limits.empty_kept_ms)
        {
            self.phase = Phase::Idle;
            self.out.push(Effect::Idle);
        }
        self.directives_stale.extend(self.streams.expire(now));
        self.settle(now)
    }

    fn due(&self, seat: &Seat) -> impl Iterator<Item = (Time, Due)> + use<> {
        let limits = &self.config.limits;
        let (silence, registration, kept) = match &seat.connection {
            Connection::Connected(line) => (
                Some(line.heard_at.plus_ms(limits.silence_ms)),
                line.waiting_since()
                    .map(|at| at.plus_ms(limits.registration_ms)),
                None,
            ),
            Connection::Disconnected { since } => {
                (None, None, Some(since.plus_ms(limits.seat_kept_ms)))
            }
        };
        [
            silence.map(|at| (at, Due::Silence)),
            registration.map(|at| (at, Due::Registration)),
            kept.map(|at| (at, Due::Seat)),
        ]
        .into_iter()
        .flatten()
    }
}
