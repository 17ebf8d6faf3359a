//! Who is in the meeting: seats by number, by session, by id and by resume
//! token. Numbers are given once and never again.

use std::collections::{BTreeMap, HashMap, VecDeque};

use dt_ids::{ParticipantId, UserId};
use sha2::{Digest as _, Sha256};

use crate::{effects::SessionId, seat::Seat, time::Time};

/// SHA-256 of the join token somebody came with. It is kept so that the token
/// of a removed participant opens no new seat; the token itself is not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Credential([u8; 32]);

impl Credential {
    /// Of this join token.
    #[must_use]
    pub fn of(join_token: &str) -> Self {
        Self(Sha256::digest(join_token.as_bytes()).into())
    }
}

/// What is kept of a resume token.
#[must_use]
pub fn resume_hash(token: &[u8]) -> [u8; 32] {
    Sha256::digest(token).into()
}

#[derive(Debug, Default)]
pub(crate) struct Roster {
    seats: BTreeMap<UserId, Seat>,
    by_session: HashMap<SessionId, UserId>,
    by_participant: HashMap<ParticipantId, UserId>,
    by_resume_hash: HashMap<[u8; 32], UserId>,
    /// The number given last.
    last_user: u64,
    barred: VecDeque<(Credential, Time)>,
}

impl Roster {
    /// The number of the next newcomer. Not used for anybody else, whether a
    /// seat comes of it or not.
    pub(crate) fn next_user(&mut self) -> UserId {
        self.last_user += 1;
        UserId(self.last_user)
    }

    pub(crate) fn insert(&mut self, seat: Seat) {
        let user = seat.user;
        if let Some(line) = seat.line() {
            self.by_session.insert(line.session, user);
        }
        self.by_participant.insert(seat.participant, user);
        self.by_resume_hash.insert(seat.resume_hash, user);
        self.seats.insert(user, seat);
    }

    pub(crate) fn remove(&mut self, user: UserId) -> Option<Seat> {
        let seat = self.seats.remove(&user)?;
        if let Some(line) = seat.line() {
            self.by_session.remove(&line.session);
        }
        self.by_participant.remove(&seat.participant);
        self.by_resume_hash.remove(&seat.resume_hash);
        Some(seat)
    }

    /// The session no longer belongs to a seat.
    pub(crate) fn forget_session(&mut self, session: SessionId) {
        self.by_session.remove(&session);
    }

    /// The session belongs to this seat, and this token takes it back from now on.
    pub(crate) fn take_back(&mut self, user: UserId, session: SessionId, hash: [u8; 32]) {
        if let Some(seat) = self.seats.get_mut(&user) {
            self.by_resume_hash.remove(&seat.resume_hash);
            seat.resume_hash = hash;
            self.by_resume_hash.insert(hash, user);
            self.by_session.insert(session, user);
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.seats.len()
    }

    pub(crate) fn connected(&self) -> usize {
        self.by_session.len()
    }

    pub(crate) fn get(&self, user: UserId) -> Option<&Seat> {
        self.seats.get(&user)
    }

    pub(crate) fn get_mut(&mut self, user: UserId) -> Option<&mut Seat> {
        self.seats.get_mut(&user)
    }

    pub(crate) fn by_session(&self, session: SessionId) -> Option<UserId> {
        self.by_session.get(&session).copied()
    }

    pub(crate) fn by_participant(&self, participant: ParticipantId) -> Option<UserId> {
        self.by_participant.get(&participant).copied()
    }

    pub(crate) fn by_resume_hash(&self, hash: &[u8; 32]) -> Option<UserId> {
        self.by_resume_hash.get(hash).copied()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Seat> {
        self.seats.values()
    }

    pub(crate) fn users(&self) -> Vec<UserId> {
        self.seats.keys().copied().collect()
    }

    /// Remembers the credential until `until`; the oldest gives way above `max`.
    pub(crate) fn bar(&mut self, credential: Credential, until: Time, max: usize) {
        self.barred.push_back((credential, until));
        while self.barred.len() > max {
            self.barred.pop_front();
        }
    }

    pub(crate) fn is_barred(&mut self, credential: Credential, now: Time) -> bool {
        while self.barred.front().is_some_and(|(_, until)| *until <= now) {
            self.barred.pop_front();
        }
        self.barred.iter().any(|(barred, _)| *barred == credential)
    }

    #[cfg(test)]
    pub(crate) fn check_indexes(&self) {
        assert_eq!(self.by_participant.len(), self.seats.len());
        assert_eq!(self.by_resume_hash.len(), self.seats.len());
        let connected = self.seats.values().filter(|s| s.connected()).count();
        assert_eq!(self.by_session.len(), connected);
        for (user, seat) in &self.seats {
            assert_eq!(*user, seat.user);
            assert!(user.0 <= self.last_user);
            assert_eq!(self.by_participant.get(&seat.participant), Some(user));
            assert_eq!(self.by_resume_hash.get(&seat.resume_hash), Some(user));
            if let Some(line) = seat.line() {
                assert_eq!(self.by_session.get(&line.session), Some(user));
            }
        }
    }
}
