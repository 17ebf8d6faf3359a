//! The ways into the group: founding it, an external commit, being added, and
//! going on with the one in memory.

use std::time::Instant;

use dt_e2ee::{Candidate, Claims, GroupSetup, LeafKey, Member, Suite, binding_bytes, credential};
use dt_wire::v1::{E2eeEntry, EntryWay, GroupPosition, Mls, MlsKind};

use super::{About, Group, State, inside::Inside, message};

impl Group {
    pub(super) fn enter(&mut self, entry: &E2eeEntry, now: Instant) -> Result<(), Trouble> {
        let position = entry.position.ok_or(Trouble::Entry("no position"))?;
        self.heard = (position.group, position.epoch);
        let suite = Suite::from_u32(entry.sframe_suite).ok_or(Trouble::Entry("unknown suite"))?;
        let setup = self.setup(entry, position)?;
        if entry.way() == EntryWay::CatchUp {
            return self.catch_up(entry, position, now);
        }
        self.drop_group();
        let group = position.group;
        match entry.way() {
            EntryWay::Found => {
                let (leaf, credential) = self.identify()?;
                let (member, group_info) = Member::found(leaf, credential, &setup)?;
                let inside = Inside::new(member, group, suite)?;
                self.state = State::Founding(Box::new(inside));
                let founded = Mls {
                    group_info: group_info.into(),
                    ..message(MlsKind::MlsFounded, group, 0)
                };
                self.send(About::Founding, founded);
            }
            EntryWay::Commit => {
                let (leaf, credential) = self.identify()?;
                let (member, commit) = Member::enter(leaf, credential, &setup, &entry.group_info)?;
                let message = Mls {
                    data: commit.commit.clone().into(),
                    group_info: commit.group_info.into(),
                    ..message(MlsKind::MlsCommit, group, position.epoch)
                };
                self.state = State::Entering {
                    inside: Box::new(Inside::unconfirmed(member, group, suite)),
                    commit: commit.commit,
                };
                self.send(About::Entering, message);
            }
            EntryWay::BeAdded => {
                let (leaf, credential) = self.identify()?;
                let candidate = Candidate::new(leaf, credential)?;
                let message = Mls {
                    data: candidate.key_package().to_vec().into(),
                    ..message(MlsKind::MlsKeyPackage, group, position.epoch)
                };
                self.state = State::Waiting {
                    candidate: Box::new(candidate),
                    setup,
                    group,
                    suite,
                };
                self.send(About::KeyPackage, message);
            }
            EntryWay::CatchUp | EntryWay::Unspecified => {
                return Err(Trouble::Entry("no way is named"));
            }
        }
        Ok(())
    }

    /// The group of this meeting with the number that the controller names.
    fn setup(&self, entry: &E2eeEntry, position: GroupPosition) -> Result<GroupSetup, Trouble> {
        let mut group_id = self.settings.meeting_id.into_bytes().to_vec();
        group_id.extend_from_slice(&position.group.to_be_bytes());
        if entry.group_id != group_id {
            return Err(Trouble::Entry("the group is of another meeting"));
        }
        Ok(GroupSetup {
            group_id,
            external_sender: entry.external_sender.to_vec(),
        })
    }

    /// A leaf key that was never used, and what our device says of it.
    fn identify(&mut self) -> Result<(LeafKey, Vec<u8>), Trouble> {
        let seat = self.seat.ok_or(Trouble::Entry("there is no seat"))?;
        let leaf = match self.leaf_key.take() {
            Some(leaf) => leaf,
            None => LeafKey::generate()?,
        };
        let claims = Claims {
            meeting_id: self.settings.meeting_id.to_string(),
            participant_id: seat.to_string(),
            name: self.settings.name.clone(),
        };
        let device = &self.settings.device;
        let signature = device.sign(&binding_bytes(&claims, leaf.public()));
        let statement = &self.settings.statement;
        let credential = credential(&claims, &device.public(), &signature, statement);
        Ok((leaf, credential))
    }

    /// The group in memory goes on after what it missed.
    fn catch_up(
        &mut self,
        entry: &E2eeEntry,
        position: GroupPosition,
        now: Instant,
    ) -> Result<(), Trouble> {
        let State::Inside(inside) = &mut self.state else {
            return Err(Trouble::Entry("nothing to catch up with"));
        };
        if inside.group != position.group {
            return Err(Trouble::Entry("another group goes on"));
        }
        self.ask_at = None;
        inside.lost();
        self.catching_up = true;
        for missed in &entry.missed {
            self.handle_message(missed, now);
        }
        self.catching_up = false;
        match &self.state {
            State::Inside(inside) if inside.epoch() == position.epoch && !inside.failed() => {
                let applied = message(MlsKind::MlsApplied, position.group, position.epoch);
                self.send(About::Notice, applied);
                Ok(())
            }
            _ => Err(Trouble::Entry("what was missed does not lead there")),
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble {
    #[error("the way in makes no sense: {0}")]
    Entry(&'static str),
    #[error(transparent)]
    Mls(#[from] dt_e2ee::Error),
}
