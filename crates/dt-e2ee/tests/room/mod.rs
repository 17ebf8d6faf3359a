//! A meeting's group with its keeper and its members in one place, for tests:
//! what the keeper lets pass reaches everybody at once and in order.

#![allow(dead_code)] // Each test file uses what it needs.

use std::collections::BTreeMap;

use dt_e2ee::{
    Applied, Candidate, Change, Claims, Commit, ControllerKey, DeviceKey, EpochKeys, Error,
    GroupSetup, Keeper, LeafKey, Member, Refused, Suite, binding_bytes, credential,
};

pub(crate) const MEETING: &str = "7b0f7c1e-6d55-4c0e-9b0a-0d6f4c1f6a01";

/// A fresh leaf key with a credential that a device of this name signed.
pub(crate) fn person(name: &str) -> (LeafKey, Vec<u8>) {
    let leaf = LeafKey::generate().expect("a key");
    let identity = identity_of(name, leaf.public());
    (leaf, identity)
}

/// A credential for a leaf key. The device key depends on the name alone.
pub(crate) fn identity_of(name: &str, leaf_public: &[u8]) -> Vec<u8> {
    let device = device_of(name);
    let claims = claims_of(name);
    let signature = device.sign(&binding_bytes(&claims, leaf_public));
    credential(&claims, &device.public(), &signature, "")
}

pub(crate) fn claims_of(name: &str) -> Claims {
    Claims {
        meeting_id: MEETING.to_owned(),
        participant_id: format!("participant-{name}"),
        name: name.to_owned(),
    }
}

pub(crate) fn device_of(name: &str) -> DeviceKey {
    let mut seed = [7; 32];
    for (at, byte) in name.bytes().take(32).enumerate() {
        seed[at] = byte;
    }
    DeviceKey::from_seed(seed)
}

pub(crate) fn setup_of(controller: &ControllerKey, number: u32) -> GroupSetup {
    let mut group_id = vec![0xd7; 16];
    group_id.extend_from_slice(&number.to_be_bytes());
    GroupSetup {
        group_id,
        external_sender: controller.public(),
    }
}

pub(crate) struct Room {
    pub(crate) controller: ControllerKey,
    pub(crate) setup: GroupSetup,
    pub(crate) keeper: Keeper,
    pub(crate) members: BTreeMap<String, Member>,
    /// Those who were removed, with the state in which they were told.
    pub(crate) gone: BTreeMap<String, Member>,
}

impl Room {
    pub(crate) fn founded_by(name: &str) -> Self {
        let controller = ControllerKey::generate().expect("a key");
        let setup = setup_of(&controller, 1);
        let (leaf, identity) = person(name);
        let (member, group_info) = Member::found(leaf, identity, &setup).expect("founded");
        let keeper = Keeper::found(&setup, &group_info).expect("kept");
        Self {
            controller,
            setup,
            keeper,
            members: BTreeMap::from([(name.to_owned(), member)]),
            gone: BTreeMap::new(),
        }
    }

    /// Founded by the first, entered by the others.
    pub(crate) fn of(names: &[&str]) -> Self {
        let mut room = Self::founded_by(names[0]);
        for name in &names[1..] {
            room.enter(name).expect("entered");
        }
        room
    }

    pub(crate) fn member(&mut self, name: &str) -> &mut Member {
        self.members.get_mut(name).expect("a member")
    }

    pub(crate) fn leaf(&mut self, name: &str) -> u32 {
        self.member(name).own_leaf()
    }

    pub(crate) fn prepare_entry(&self, name: &str) -> (Member, Commit) {
        let (leaf, identity) = person(name);
        Member::enter(leaf, identity, &self.setup, self.keeper.group_info()).expect("entered")
    }

    pub(crate) fn enter(&mut self, name: &str) -> Result<Applied, Refused> {
        let (member, commit) = self.prepare_entry(name);
        let applied = self.keeper.apply(&commit.commit, &commit.group_info)?;
        self.members.insert(name.to_owned(), member);
        self.deliver(&commit.commit);
        Ok(applied)
    }

    pub(crate) fn propose_add(&mut self, name: &str) -> Candidate {
        let (leaf, identity) = person(name);
        let candidate = Candidate::new(leaf, identity).expect("a candidate");
        let proposal = self
            .keeper
            .propose_add(&self.controller, candidate.key_package())
            .expect("proposed");
        self.tell(&proposal);
        candidate
    }

    pub(crate) fn propose_remove(&mut self, name: &str) {
        let leaf = self.leaf(name);
        let proposal = self
            .keeper
            .propose_remove(&self.controller, leaf)
            .expect("proposed");
        self.tell(&proposal);
    }

    pub(crate) fn tell(&mut self, proposal: &[u8]) {
        for member in self.members.values_mut() {
            member.handle_proposal(proposal).expect("taken");
        }
    }

    /// Lets somebody commit to what is proposed and takes in the candidates.
    pub(crate) fn commit(&mut self, name: &str, candidates: Vec<(&str, Candidate)>) -> Applied {
        let commit = self.member(name).commit().expect("a commit");
        let applied = self
            .keeper
            .apply(&commit.commit, &commit.group_info)
            .expect("passes");
        self.deliver(&commit.commit);
        assert_eq!(commit.welcome.is_some(), !candidates.is_empty());
        for (name, candidate) in candidates {
            let welcome = commit.welcome.as_deref().expect("a welcome");
            let member = candidate.join(welcome, &self.setup).expect("joined");
            self.members.insert(name.to_owned(), member);
        }
        applied
    }

    pub(crate) fn add(&mut self, committer: &str, name: &str) -> Applied {
        let candidate = self.propose_add(name);
        self.commit(committer, vec![(name, candidate)])
    }

    pub(crate) fn remove(&mut self, committer: &str, name: &str) -> Applied {
        self.propose_remove(name);
        self.commit(committer, Vec::new())
    }

    /// Everybody takes a commit; who was removed by it goes.
    pub(crate) fn deliver(&mut self, commit: &[u8]) -> Vec<Change> {
        let (mut changes, mut gone) = (Vec::new(), Vec::new());
        for (name, member) in &mut self.members {
            let change = member.handle_commit(commit).expect("taken");
            if change.removed_self {
                gone.push(name.clone());
            }
            changes.push(change);
        }
        for name in gone {
            let member = self.members.remove(&name).expect("a member");
            self.gone.insert(name, member);
        }
        changes
    }

    pub(crate) fn keys(&self, name: &str) -> EpochKeys {
        self.members[name].keys(Suite::Aes128Gcm).expect("has keys")
    }

    pub(crate) fn keys_of_all(&self) -> Vec<Result<EpochKeys, Error>> {
        self.members
            .values()
            .map(|member| member.keys(Suite::Aes128Gcm))
            .collect()
    }

    /// Fails unless all stand in the keeper's epoch, with the same keys and the
    /// same members, each under its own leaf.
    pub(crate) fn assert_agreed(&self) {
        let views = self.keeper.members();
        assert_eq!(views.len(), self.members.len());
        let mut keys: Option<EpochKeys> = None;
        for (name, member) in &self.members {
            assert_eq!(member.epoch(), self.keeper.epoch(), "{name}");
            assert_eq!(member.members(), views, "{name}");
            let theirs = member.keys(Suite::Aes256Gcm).expect("has keys");
            let leaf = views.iter().find(|view| view.leaf == theirs.leaf);
            let identity = &leaf.expect("has a leaf").identity;
            let leaf_key = &leaf.expect("has a leaf").signature_key;
            let identity = dt_e2ee::read_credential(identity, leaf_key).expect("a good one");
            assert_eq!(&identity.name, name);
            if let Some(keys) = &keys {
                assert_eq!(keys.base_key, theirs.base_key, "{name}");
                assert_eq!(keys.authenticator, theirs.authenticator, "{name}");
            }
            keys = Some(theirs);
        }
    }
}
