//! What a controller may do that is not to be trusted: it withholds, repeats and
//! relabels what members send, and puts leaves of its own into the group.

use dt_e2ee::{Candidate, Claims, LeafKey, binding_bytes, credential};

use super::*;
use crate::encryption::{
    accounts::{Accounts, tests::ruling},
    group::Group,
};

/// Who a leaf of the controller's own claims to be.
pub(in super::super) struct Ghost {
    /// Seed of the device key.
    pub(in super::super) device: u8,
    pub(in super::super) participant: ParticipantId,
    pub(in super::super) name: &'static str,
    pub(in super::super) statement: String,
}

/// What a controller does that is not to be trusted.
impl Hall {
    pub(in super::super) fn last_commit(&self) -> Mls {
        let mut commits = self.log.iter().rev();
        let commit = commits.find(|mls| mls.kind() == MlsKind::MlsCommit);
        commit.unwrap().clone()
    }

    /// Takes somebody off the rosters and leaves it in the group.
    pub(in super::super) fn unseat_without_removal(&mut self, id: ParticipantId) {
        let client = self.client(id);
        client.seated = false;
        client.connected = false;
        self.tell_rosters();
    }

    /// Never shows somebody on a roster.
    pub(in super::super) fn hide(&mut self, id: ParticipantId) {
        for client in self.clients.values_mut() {
            for (_, down) in &mut client.down {
                if let Down::Roster(roster) | Down::Seat(roster, _) = down {
                    roster.remove(&id);
                }
            }
        }
    }

    /// Lets somebody in who says that it is another.
    pub(in super::super) fn join_as(&mut self, number: u8, claimed: ParticipantId) {
        let id = self.join(number);
        let mut down = std::mem::take(&mut self.client(id).down).into_iter();
        let Some((roster, entry)) = down.find_map(|(_, down)| match down {
            Down::Seat(roster, entry) => Some((roster, entry)),
            _ => None,
        }) else {
            panic!("a seat was given")
        };
        let now = self.now;
        let group = &mut self.client(id).group;
        group.handle_seat(claimed, roster, &entry, now);
        self.carry_out(id);
    }

    /// Keeps a key package back and puts one of its own behind the credential.
    pub(super) fn swap_key_package(&mut self, victim: ParticipantId, credential: Vec<u8>) {
        self.swapped = Some(victim);
        self.sneak_in_as(LeafKey::generate().unwrap(), credential);
    }

    /// Puts a leaf into the group whose keys the controller has.
    pub(in super::super) fn sneak_in(&mut self, ghost: Ghost) {
        let leaf = LeafKey::generate().unwrap();
        let claims = Claims {
            meeting_id: MEETING.to_string(),
            participant_id: ghost.participant.to_string(),
            name: ghost.name.into(),
        };
        let device = DeviceKey::from_seed([ghost.device; 32]);
        let signature = device.sign(&binding_bytes(&claims, leaf.public()));
        let credential = credential(&claims, &device.public(), &signature, &ghost.statement);
        self.sneak_in_as(leaf, credential);
    }

    pub(in super::super) fn sneak_in_as(&mut self, leaf: LeafKey, credential: Vec<u8>) {
        self.ghosts.insert(leaf.public().to_vec());
        let ghost = Candidate::new(leaf, credential).unwrap();
        let epoch = self.epoch();
        let keeper = self.keeper.as_mut().unwrap();
        let data = keeper.propose_add(&self.key, ghost.key_package()).unwrap();
        let proposal = Mls {
            position: Some(GroupPosition {
                group: self.number,
                epoch,
            }),
            data: data.into(),
            ..message(MlsKind::MlsProposal, self.number, epoch)
        };
        self.log(proposal.clone());
        for id in self.in_group().into_keys() {
            self.say(id, proposal.clone());
        }
        self.want_commit();
    }

    /// Withholds what is on its way to one client.
    pub(in super::super) fn withhold(&mut self, id: ParticipantId) -> usize {
        let commits =
            self.client(id).down.iter().filter(
                |(_, down)| matches!(down, Down::Mls(mls) if mls.kind() == MlsKind::MlsCommit),
            );
        let commits = commits.count();
        self.client(id).down.clear();
        commits
    }

    pub(in super::super) fn last_welcome(&self) -> Mls {
        self.last_welcome.clone().unwrap()
    }

    /// Commits so far, oldest first.
    pub(in super::super) fn commits_logged(&self) -> Vec<Mls> {
        let log = self.log.iter();
        log.filter(|mls| mls.kind() == MlsKind::MlsCommit)
            .cloned()
            .collect()
    }

    /// Shows one client this way in, on top of what it has.
    pub(in super::super) fn show_way(&mut self, id: ParticipantId, entry: E2eeEntry) {
        self.down(id, Down::Entry(entry));
    }

    /// The way in that an honest controller would show to somebody new.
    pub(in super::super) fn way_by_commit(&mut self) -> E2eeEntry {
        let keeper = self.keeper.as_ref().unwrap();
        E2eeEntry {
            way: EntryWay::Commit.into(),
            position: Some(GroupPosition {
                group: self.number,
                epoch: keeper.epoch(),
            }),
            group_id: self.setup().group_id.into(),
            external_sender: self.key.public().into(),
            sframe_suite: 4,
            group_info: keeper.group_info().to_vec().into(),
            missed: Vec::new(),
        }
    }

    /// Everybody is told to commit at once.
    pub(in super::super) fn let_all_commit(&mut self) {
        let wanted = message(MlsKind::MlsCommitWanted, self.number, self.epoch());
        for id in self.connected() {
            self.say(id, wanted.clone());
        }
    }

    /// Whether a commit of this client is on its way to the controller.
    pub(in super::super) fn has_commit_under_way(&self, id: ParticipantId) -> bool {
        let mut up = self.clients[&id].up.iter();
        up.any(|(_, _, mls)| mls.kind() == MlsKind::MlsCommit)
    }

    /// Every client gets the rulings that it waits for.
    pub(in super::super) fn rule(&mut self, accounts: &Accounts) {
        for id in self.connected() {
            let now = self.now;
            for check in std::mem::take(&mut self.client(id).checks) {
                let ruling = ruling(accounts, &check);
                let group: &mut Group = &mut self.client(id).group;
                group.handle_ruling(&check, ruling, now);
            }
            self.carry_out(id);
        }
    }
}
