//! One client's side of one group.

use dt_e2ee::Suite;
use js_sys::Uint8Array;
use wasm_bindgen::prelude::*;

use crate::{setup, thrown};

/// A leaf's signature key; given away to whatever is made with it.
#[wasm_bindgen]
#[derive(Debug)]
pub struct LeafKey(dt_e2ee::LeafKey);

#[wasm_bindgen]
impl LeafKey {
    /// A fresh one.
    pub fn generate() -> Result<LeafKey, JsError> {
        dt_e2ee::LeafKey::generate().map(Self).map_err(thrown)
    }

    /// Its public half, 32 bytes.
    #[wasm_bindgen(getter, js_name = publicKey)]
    #[must_use]
    pub fn public_key(&self) -> Vec<u8> {
        self.0.public().to_vec()
    }
}

/// What a commit, or the founding of a group, consists of; all MLSMessage.
#[wasm_bindgen(getter_with_clone)]
#[derive(Debug)]
pub struct Commit {
    /// Empty when the group was founded.
    #[wasm_bindgen(readonly)]
    pub commit: Vec<u8>,
    /// GroupInfo of the epoch that it begins.
    #[wasm_bindgen(readonly, js_name = groupInfo)]
    pub group_info: Vec<u8>,
    /// For those it adds.
    #[wasm_bindgen(readonly)]
    pub welcome: Option<Vec<u8>>,
}

impl From<dt_e2ee::Commit> for Commit {
    fn from(commit: dt_e2ee::Commit) -> Self {
        Self {
            commit: commit.commit,
            group_info: commit.group_info,
            welcome: commit.welcome,
        }
    }
}

/// The keys of an epoch. Wiped when freed.
#[wasm_bindgen]
#[derive(Debug)]
pub struct EpochKeys(dt_e2ee::EpochKeys);

#[wasm_bindgen]
impl EpochKeys {
    /// The MLS epoch.
    #[wasm_bindgen(getter)]
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.0.epoch
    }

    /// Our leaf in it.
    #[wasm_bindgen(getter)]
    #[must_use]
    pub fn leaf(&self) -> u32 {
        self.0.leaf
    }

    /// Base key of SFrame, copied straight to the host: no second copy stays in
    /// the module's memory.
    #[wasm_bindgen(getter, js_name = baseKey)]
    #[must_use]
    pub fn base_key(&self) -> Uint8Array {
        Uint8Array::from(self.0.base_key.as_slice())
    }

    /// What the meeting code is made of.
    #[wasm_bindgen(getter)]
    #[must_use]
    pub fn authenticator(&self) -> Vec<u8> {
        self.0.authenticator.clone()
    }
}

/// What a commit did.
#[wasm_bindgen(getter_with_clone)]
#[derive(Debug)]
pub struct Change {
    /// The epoch it began.
    #[wasm_bindgen(readonly)]
    pub epoch: u64,
    /// Leaves that came.
    #[wasm_bindgen(readonly)]
    pub added: Vec<u32>,
    /// Leaves that went.
    #[wasm_bindgen(readonly)]
    pub removed: Vec<u32>,
    /// It was ours.
    #[wasm_bindgen(readonly)]
    pub own: bool,
    /// It removed us.
    #[wasm_bindgen(readonly, js_name = removedSelf)]
    pub removed_self: bool,
}

/// One leaf of the group, its credential unchecked.
#[wasm_bindgen(getter_with_clone)]
#[derive(Debug)]
pub struct MemberView {
    /// Its index.
    #[wasm_bindgen(readonly)]
    pub leaf: u32,
    /// Its MLS signature key.
    #[wasm_bindgen(readonly, js_name = signatureKey)]
    pub signature_key: Vec<u8>,
    /// An encoded MemberCredential.
    #[wasm_bindgen(readonly)]
    pub identity: Vec<u8>,
}

/// A key package that waits for its Welcome.
#[wasm_bindgen]
#[derive(Debug)]
pub struct Candidate(dt_e2ee::Candidate);

#[wasm_bindgen]
impl Candidate {
    /// Makes a key package.
    #[wasm_bindgen(constructor)]
    pub fn new(leaf: LeafKey, credential: Vec<u8>) -> Result<Candidate, JsError> {
        dt_e2ee::Candidate::new(leaf.0, credential)
            .map(Self)
            .map_err(thrown)
    }

    /// The key package.
    #[wasm_bindgen(getter, js_name = keyPackage)]
    #[must_use]
    pub fn key_package(&self) -> Vec<u8> {
        self.0.key_package().to_vec()
    }

    /// Takes the Welcome. The candidate is used up either way.
    pub fn join(
        self,
        welcome: &[u8],
        group_id: Vec<u8>,
        external_sender: Vec<u8>,
    ) -> Result<Member, JsError> {
        let member = self
            .0
            .join(welcome, &setup(group_id, external_sender))
            .map_err(thrown)?;
        Ok(Member {
            member,
            opening: None,
        })
    }
}

/// One member's group.
#[wasm_bindgen]
#[derive(Debug)]
pub struct Member {
    member: dt_e2ee::Member,
    /// What has to be sent first.
    opening: Option<Commit>,
}

#[wasm_bindgen]
impl Member {
    /// Founds a group; [`take_opening`](Self::take_opening) has its GroupInfo.
    pub fn found(
        leaf: LeafKey,
        credential: Vec<u8>,
        group_id: Vec<u8>,
        external_sender: Vec<u8>,
    ) -> Result<Member, JsError> {
        let setup = setup(group_id, external_sender);
        let (member, group_info) =
            dt_e2ee::Member::found(leaf.0, credential, &setup).map_err(thrown)?;
        Ok(Self {
            member,
            opening: Some(Commit {
                commit: Vec::new(),
                group_info,
                welcome: None,
            }),
        })
    }

    /// Enters by an external commit, which [`take_opening`](Self::take_opening)
    /// has. Counts once that was given back to `handleCommit`.
    pub fn enter(
        leaf: LeafKey,
        credential: Vec<u8>,
        group_id: Vec<u8>,
        external_sender: Vec<u8>,
        group_info: &[u8],
    ) -> Result<Member, JsError> {
        let setup = setup(group_id, external_sender);
        let (member, commit) =
            dt_e2ee::Member::enter(leaf.0, credential, &setup, group_info).map_err(thrown)?;
        Ok(Self {
            member,
            opening: Some(commit.into()),
        })
    }

    /// What has to be sent for the group to know of this member; once.
    #[wasm_bindgen(js_name = takeOpening)]
    pub fn take_opening(&mut self) -> Option<Commit> {
        self.opening.take()
    }

    /// Takes a proposal of the controller.
    #[wasm_bindgen(js_name = handleProposal)]
    pub fn handle_proposal(&mut self, data: &[u8]) -> Result<(), JsError> {
        self.member.handle_proposal(data).map_err(thrown)
    }

    /// Commits to every open proposal, with fresh keys.
    pub fn commit(&mut self) -> Result<Commit, JsError> {
        self.member.commit().map(Commit::from).map_err(thrown)
    }

    /// Takes a commit that is in force.
    #[wasm_bindgen(js_name = handleCommit)]
    pub fn handle_commit(&mut self, data: &[u8]) -> Result<Change, JsError> {
        let change = self.member.handle_commit(data).map_err(thrown)?;
        Ok(Change {
            epoch: change.epoch,
            added: change.added,
            removed: change.removed,
            own: change.own,
            removed_self: change.removed_self,
        })
    }

    /// Goes back to before the last commit.
    #[wasm_bindgen(js_name = rollBack)]
    pub fn roll_back(&mut self) -> Result<(), JsError> {
        self.member.roll_back().map_err(thrown)
    }

    /// The last commit can't be void any more: the state before it is wiped.
    pub fn settle(&mut self) {
        self.member.settle();
    }

    /// The keys of the present epoch for an SFrame suite, 4 or 5.
    pub fn keys(&self, suite: u32) -> Result<EpochKeys, JsError> {
        let suite = Suite::from_u32(suite).ok_or_else(|| JsError::new("unknown SFrame suite"))?;
        self.member.keys(suite).map(EpochKeys).map_err(thrown)
    }

    /// All leaves.
    #[must_use]
    pub fn members(&self) -> Vec<MemberView> {
        self.member
            .members()
            .into_iter()
            .map(|member| MemberView {
                leaf: member.leaf,
                signature_key: member.signature_key,
                identity: member.identity,
            })
            .collect()
    }

    /// The epoch.
    #[wasm_bindgen(getter)]
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.member.epoch()
    }

    /// Our leaf.
    #[wasm_bindgen(getter, js_name = ownLeaf)]
    #[must_use]
    pub fn own_leaf(&self) -> u32 {
        self.member.own_leaf()
    }

    /// Proposals that the next commit has to cover.
    #[wasm_bindgen(getter, js_name = openProposals)]
    #[must_use]
    pub fn open_proposals(&self) -> usize {
        self.member.open_proposals()
    }
}
