//! One group: its keeper, whose leaf is whose, what is proposed, and the epoch
//! that it stands in.

use std::collections::BTreeMap;

use bytes::Bytes;
use dt_ids::{MeetingId, ParticipantId, UserId};
use dt_wire::v1::{Mls, MlsKind};

use super::{
    Position,
    election::Election,
    keeper::{Applied, GroupKeeper, Leaf, Refused},
    limits::EncryptionLimits,
    log::Log,
    trial::Trial,
};
use crate::time::Time;

/// A proposal that the next commit must cover.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Open {
    Add(UserId, ParticipantId),
    Remove(Leaf),
}

#[derive(Debug)]
pub(super) struct Group {
    pub(super) number: u32,
    pub(super) keeper: Box<dyn GroupKeeper>,
    /// Who came by each leaf; some have left the meeting since.
    pub(super) leaves: BTreeMap<Leaf, UserId>,
    pub(super) open: Vec<Open>,
    pub(super) log: Log,
    pub(super) election: Election,
    /// The commit that began this epoch, while it is not proved.
    pub(super) trial: Option<Trial>,
    pub(super) epoch_since: Time,
    pub(super) rotate_at: Time,
    pub(super) rotation_wanted: bool,
}

/// MLS group id: the meeting's UUID and the number of the group.
pub(super) fn id(meeting: MeetingId, number: u32) -> Bytes {
    [&meeting.into_bytes()[..], &number.to_be_bytes()]
        .concat()
        .into()
}

impl Group {
    pub(super) fn new(
        number: u32,
        keeper: Box<dyn GroupKeeper>,
        founder: (Leaf, UserId),
        limits: &EncryptionLimits,
        now: Time,
    ) -> Self {
        let mut election = Election::default();
        election.committer = Some(founder.1);
        Self {
            number,
            keeper,
            leaves: BTreeMap::from([founder]),
            open: Vec::new(),
            log: Log::default(),
            election,
            trial: None,
            epoch_since: now,
            rotate_at: now.plus_ms(limits.rotation_ms),
            rotation_wanted: false,
        }
    }

    pub(super) fn position(&self) -> Position {
        Position {
            group: self.number,
            epoch: self.keeper.epoch(),
        }
    }

    pub(super) fn is_leaving(&self, leaf: Leaf) -> bool {
        self.open.contains(&Open::Remove(leaf))
    }

    pub(super) fn is_adding(&self, user: UserId) -> bool {
        self.open
            .iter()
            .any(|open| matches!(open, Open::Add(other, _) if *other == user))
    }

    /// Leaves that this user came by and its client does not follow.
    pub(super) fn old_leaves(&self, user: UserId, followed: Option<Leaf>) -> Vec<Leaf> {
        let of_user =
            |(leaf, owner): &(&Leaf, &UserId)| **owner == user && Some(**leaf) != followed;
        self.leaves
            .iter()
            .filter(of_user)
            .map(|(leaf, _)| *leaf)
            .collect()
    }

    /// Keeps a proposal in the log; the message for members.
    pub(super) fn proposed(&mut self, open: Open, data: Bytes, limits: &EncryptionLimits) -> Mls {
        let position = self.position();
        self.open.push(open);
        let message = message(MlsKind::MlsProposal, position, data);
        self.log.push(position.epoch, message.clone(), limits);
        message
    }

    /// Lets the keeper judge a commit of this member, or of somebody who enters.
    /// It must do what is proposed and nothing else.
    pub(super) fn judge(
        &mut self,
        from: Result<Leaf, ParticipantId>,
        commit: &[u8],
        group_info: &[u8],
    ) -> Result<Applied, Refused> {
        let applied = self.keeper.apply(commit, group_info)?;
        if self.is_as_proposed(from, &applied) {
            return Ok(applied);
        }
        self.keeper.roll_back();
        Err(Refused::Invalid(
            "the commit does something that nobody proposed".to_owned(),
        ))
    }

    fn is_as_proposed(&self, from: Result<Leaf, ParticipantId>, applied: &Applied) -> bool {
        let added: Vec<ParticipantId> = applied.added.iter().map(|(_, who)| *who).collect();
        match from {
            Err(participant) => {
                applied.committer.is_none()
                    && added == [participant]
                    && applied.removed.is_empty()
                    && self.open.is_empty()
            }
            Ok(leaf) => {
                let wanted_out = |leaf: &Leaf| self.is_leaving(*leaf);
                let wanted_in = |who: &ParticipantId| {
                    let mut open = self.open.iter();
                    open.any(|open| matches!(open, Open::Add(_, other) if other == who))
                };
                applied.committer == Some(leaf)
                    && applied.removed.iter().all(wanted_out)
                    && added.iter().all(wanted_in)
                    && applied.removed.len() + added.len() == self.open.len()
            }
        }
    }

    /// A judged commit is in force: the message for members.
    pub(super) fn advance(
        &mut self,
        applied: &Applied,
        data: Bytes,
        trial: Trial,
        limits: &EncryptionLimits,
        now: Time,
    ) -> Mls {
        let ended = Position {
            group: self.number,
            epoch: self.keeper.epoch() - 1,
        };
        for leaf in &applied.removed {
            self.leaves.remove(leaf);
        }
        for (leaf, who) in &applied.added {
            let mut open = self.open.iter();
            let user = open.find_map(|open| match open {
                Open::Add(user, other) if other == who => Some(*user),
                _ => None,
            });
            self.leaves.insert(*leaf, user.unwrap_or(trial.committer));
        }
        self.open.clear();
        self.trial = Some(trial);
        self.epoch_since = now;
        self.rotate_at = now.plus_ms(limits.rotation_ms);
        self.rotation_wanted = false;
        let message = message(MlsKind::MlsCommit, ended, data);
        self.log.push(ended.epoch, message.clone(), limits);
        message
    }

    /// Back to before the commit that began this epoch; `None` when that can't
    /// be.
    pub(super) fn go_back(&mut self) -> Option<Trial> {
        let trial = self.trial.take()?;
        if !self.keeper.roll_back() {
            return None;
        }
        self.log.void(self.keeper.epoch());
        self.leaves.clone_from(&trial.leaves);
        self.open.clone_from(&trial.open);
        self.rotation_wanted = trial.rotation_wanted;
        Some(trial)
    }
}

pub(super) fn message(kind: MlsKind, position: Position, data: Bytes) -> Mls {
    Mls {
        kind: kind.into(),
        position: Some(position.into()),
        data,
        ..Mls::default()
    }
}
