//! One fact a test, for what random schedules can't name.

use std::sync::Arc;

use bytes::Bytes;
use dt_ids::{MeetingId, ParticipantId, UserId};
use dt_wire::v1::{E2eeEntry, EntryWay, Mls, MlsKind, server_message::Body};

use super::{
    Encryption, EncryptionLimits, Out, Position, SframeSuite,
    model::{Ledger, Message, State},
};
use crate::{error::EncryptionError, time::Time};

/// A group whose members answer as the test wants.
struct Hall {
    encryption: Encryption,
    ledger: Ledger,
    /// The state in force, as every member has it.
    state: Option<State>,
    proposals: Vec<Bytes>,
    now: Time,
}

fn participant(user: u64) -> ParticipantId {
    let mut bytes = [0; 16];
    bytes[8..].copy_from_slice(&user.to_be_bytes());
    ParticipantId::from_bytes(bytes)
}

impl Hall {
    /// With so many members, 1 first.
    fn new(members: u64) -> Self {
        let ledger = Ledger::default();
        let encryption = Encryption::new(
            MeetingId::from_bytes([1; 16]),
            SframeSuite::Aes128Gcm,
            EncryptionLimits::default(),
            Arc::new(ledger.clone()),
        );
        let mut hall = Self {
            encryption,
            ledger,
            state: None,
            proposals: Vec::new(),
            now: Time(1_000_000),
        };
        for user in 1..=members {
            let entry = hall.come(user);
            hall.go(user, &entry).unwrap();
            hall.said();
            for other in 1..=user {
                hall.answer(other, MlsKind::MlsApplied);
            }
            hall.said();
        }
        hall
    }

    fn come(&mut self, user: u64) -> E2eeEntry {
        self.encryption
            .enter(UserId(user), participant(user), self.now)
    }

    /// Goes the way that was shown.
    fn go(&mut self, user: u64, entry: &E2eeEntry) -> Result<(), EncryptionError> {
        let position = entry.position.map(Position::from).unwrap();
        let (kind, step) = match entry.way() {
            EntryWay::Found => {
                let (group_info, state) = self.ledger.found(&entry.group_id, participant(user));
                self.state = Some(state);
                let step = Mls {
                    group_info,
                    ..Mls::default()
                };
                (MlsKind::MlsFounded, step)
            }
            EntryWay::Commit => {
                let Some(Message::Info(info)) = self.ledger.read(&entry.group_info) else {
                    panic!("a group info");
                };
                let (data, group_info, after) = self.ledger.enter(&info, participant(user), false);
                self.state = Some(after);
                let step = Mls {
                    data,
                    group_info,
                    ..Mls::default()
                };
                (MlsKind::MlsCommit, step)
            }
            _ => {
                let package = Message::KeyPackage(participant(user), self.ledger.fresh());
                let step = Mls {
                    data: self.ledger.write(package),
                    ..Mls::default()
                };
                (MlsKind::MlsKeyPackage, step)
            }
        };
        self.send(user, kind, position, step)
    }

    fn send(
        &mut self,
        user: u64,
        kind: MlsKind,
        position: Position,
        step: Mls,
    ) -> Result<(), EncryptionError> {
        let step = Mls {
            kind: kind.into(),
            position: Some(position.into()),
            ..step
        };
        self.encryption.handle(UserId(user), step, self.now)
    }

    fn position(&self) -> Position {
        self.encryption.view().expect("a group").position
    }

    /// An answer to the last commit.
    fn answer(&mut self, user: u64, kind: MlsKind) {
        let mut position = self.position();
        if kind == MlsKind::MlsFailed {
            position.epoch -= 1;
        }
        self.send(user, kind, position, Mls::default()).unwrap();
    }

    fn commit(&mut self, user: u64) -> Result<(), EncryptionError> {
        let state = self.state.clone().unwrap();
        let mut leaves = state.leaves.iter();
        let leaf = leaves.find(|(_, (who, _))| *who == participant(user));
        let leaf = *leaf.expect("a member").0;
        let commit = self.ledger.commit(&state, leaf, &self.proposals, false);
        let (data, group_info, welcome) = commit;
        let step = Mls {
            data,
            group_info: group_info.clone(),
            welcome,
            ..Mls::default()
        };
        self.send(user, MlsKind::MlsCommit, self.position(), step)?;
        let Some(Message::Info(after)) = self.ledger.read(&group_info) else {
            panic!("a group info");
        };
        self.state = Some(after);
        self.proposals.clear();
        Ok(())
    }

    fn pass(&mut self, ms: u64) {
        let until = self.now.plus_ms(ms);
        while let Some(at) = self.encryption.next_timeout().filter(|at| *at <= until) {
            self.now = self.now.max(at);
            self.encryption.drive(self.now);
        }
        self.now = until;
    }

    /// What was said since, to whom.
    fn said(&mut self) -> Vec<(Vec<u64>, MlsKind)> {
        self.encryption.drive(self.now);
        let mut said = Vec::new();
        for out in self.encryption.take_out() {
            let Out::Tell(users, Body::Mls(step)) = out else {
                continue;
            };
            if step.kind() == MlsKind::MlsProposal {
                self.proposals.push(step.data.clone());
            }
            said.push((users.iter().map(|user| user.0).collect(), step.kind()));
        }
        said
    }

    fn asked(&mut self) -> Vec<u64> {
        let said = self.said().into_iter();
        said.filter(|(_, kind)| *kind == MlsKind::MlsCommitWanted)
            .flat_map(|(users, _)| users)
            .collect()
    }
}

#[test]
fn the_keys_are_renewed_every_hour() {
    let mut hall = Hall::new(2);
    hall.pass(60 * 60 * 1000 - 1);
    assert!(hall.asked().is_empty());
    hall.pass(1);
    assert_eq!(hall.asked(), [1, 2]);
    hall.commit(1).unwrap();
    hall.answer(1, MlsKind::MlsApplied);
    hall.answer(2, MlsKind::MlsApplied);
    hall.pass(60 * 60 * 1000 - 1);
    assert!(hall.asked().is_empty());
}

#[test]
fn joins_wait_150_ms_for_each_other_and_removals_for_nothing() {
    let mut hall = Hall::new(3);
    let first = hall.come(4);
    let second = hall.come(5);
    assert_eq!(
        (first.way(), second.way()),
        (EntryWay::Commit, EntryWay::BeAdded)
    );
    hall.go(5, &second).unwrap();
    hall.pass(149);
    assert!(hall.said().is_empty());
    hall.encryption.leave(UserId(2));
    let said = hall.said();
    let proposals = said.iter().filter(|(_, k)| *k == MlsKind::MlsProposal);
    assert_eq!(proposals.count(), 2, "the removal, and the join with it");
}

#[test]
fn a_group_in_which_nobody_commits_is_given_up_and_founded_anew() {
    let mut hall = Hall::new(2);
    let group = hall.position().group;
    let entry = hall.come(3);
    hall.encryption.leave(UserId(2));
    hall.encryption.drive(hall.now);
    let _ = hall.go(3, &entry);
    let limits = EncryptionLimits::default();
    hall.pass(u64::from(limits.sweeps_max) * limits.patience_ms - 1);
    assert!(hall.encryption.view().is_some());
    hall.pass(1);
    let told = hall.encryption.take_out().into_iter();
    let ways: Vec<_> = told
        .filter_map(|out| match out {
            Out::Tell(users, Body::E2eeEntry(entry)) => {
                Some((users, entry.way(), entry.position.unwrap().group))
            }
            _ => None,
        })
        .collect();
    assert_eq!(
        ways.last(),
        Some(&(vec![UserId(1), UserId(3)], EntryWay::Found, group + 1))
    );
}

#[test]
fn who_alone_calls_two_commits_of_an_epoch_bad_is_the_one_that_goes() {
    let mut hall = Hall::new(2);
    let epoch = hall.position().epoch;
    let (state, proposals) = (hall.state.clone(), hall.proposals.clone());
    hall.commit(1).unwrap();
    hall.answer(2, MlsKind::MlsFailed);
    let said = hall.said();
    assert!(said.contains(&(vec![1, 2], MlsKind::MlsRolledBack)));
    assert_eq!(hall.position().epoch, epoch);
    (hall.state, hall.proposals) = (state, proposals);
    assert_eq!(
        hall.commit(1),
        Err(EncryptionError::Overtaken),
        "its commit was void: it is barred"
    );
    // The other one does not commit; then all may again.
    hall.encryption.leave(UserId(9));
    hall.now = hall.now.plus_ms(20_000);
    hall.send(1, MlsKind::MlsRotate, hall.position(), Mls::default())
        .unwrap();
    assert_eq!(hall.asked(), [2]);
    hall.pass(3000);
    assert_eq!(hall.asked(), [1, 2]);
    hall.commit(1).unwrap();
    hall.answer(2, MlsKind::MlsFailed);
    let out = {
        hall.encryption.drive(hall.now);
        hall.encryption.take_out()
    };
    assert_eq!(hall.position().epoch, epoch + 1, "the commit stands");
    assert!(
        out.iter().any(
            |out| matches!(out, Out::Tell(users, Body::E2eeEntry(_)) if *users == [UserId(2)])
        ),
        "and the accuser is shown a new way in"
    );
}

#[test]
fn while_a_commit_is_on_trial_no_other_is_taken() {
    let mut hall = Hall::new(3);
    hall.commit(1).unwrap();
    hall.encryption.leave(UserId(3));
    assert!(hall.asked().is_empty(), "nothing is proposed meanwhile");
    assert_eq!(hall.commit(1), Err(EncryptionError::Overtaken));
    hall.answer(2, MlsKind::MlsApplied);
    assert_eq!(hall.asked(), [1, 2]);
}

#[test]
fn a_member_that_says_nothing_to_a_commit_is_shown_a_new_way_in() {
    let mut hall = Hall::new(3);
    hall.commit(1).unwrap();
    hall.answer(1, MlsKind::MlsApplied);
    hall.answer(2, MlsKind::MlsApplied);
    hall.pass(15_000);
    let out = hall.encryption.take_out();
    assert!(out.iter().any(
        |out| matches!(out, Out::Tell(users, Body::E2eeEntry(e)) if *users == [UserId(3)] && e.way() == EntryWay::BeAdded)
    ));
}

#[test]
fn what_is_beyond_64_proposals_waits_for_the_next_commit() {
    let mut hall = Hall::new(1);
    let entries: Vec<_> = (2..=100).map(|user| (user, hall.come(user))).collect();
    for (user, entry) in &entries[1..] {
        hall.go(*user, entry).unwrap();
    }
    hall.pass(150);
    hall.said();
    assert_eq!(hall.proposals.len(), 64);
    assert_eq!(hall.encryption.view().unwrap().open, 64);
    hall.commit(1).unwrap();
    hall.answer(3, MlsKind::MlsApplied);
    hall.said();
    assert_eq!(hall.proposals.len(), 98 - 64);
}
