//! The controller's side of one group: its public state, what is proposed, and
//! which commit may pass.
//!
//! Driven by the meeting controller with what members send. It learns no key, so
//! one thing it can't see: whether a commit's tags and encrypted secrets are
//! good. Members can, refuse such a commit, and [`Keeper::roll_back`] undoes it.

use openmls::group::{GroupId, PublicGroup};
use openmls::messages::group_info::VerifiableGroupInfo;
use openmls::prelude::{
    ExternalProposal, KeyPackage, LeafNodeIndex, MlsMessageBodyIn, OpenMlsSignaturePublicKey,
    ProcessedMessageContent, Proposal, ProposalStore, ProtocolVersion, RatchetTreeIn, Sender,
    SenderExtensionIndex, Verifiable as _,
};
use openmls_rust_crypto::RustCrypto;
use openmls_traits::{OpenMlsProvider as _, types::SignatureScheme};

use crate::error::Refused;
use crate::group::{
    EPOCH_LEAVES_MAX, GroupSetup, MemberView, OPEN_PROPOSALS_MAX, SUITE, changes, check_commit,
    check_leaf, check_leaves, check_lifetime, protocol, read_group_info, read_handshake,
    read_message,
};
use crate::key::ControllerKey;
use crate::provider::{Provider, Snapshot};

/// The only external sender is the first.
const CONTROLLER_INDEX: u32 = 0;
/// The end of a GroupInfo: the signer's leaf, then an Ed25519 signature with its
/// length in two bytes.
const SIGNATURE_BYTES: usize = 64;
const SIGNATURE_LENGTH: [u8; 2] = [0x40, 0x40];

/// What a commit that passed did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// The committer's leaf; None: it entered by this commit.
    pub committer: Option<u32>,
    /// Leaves that came.
    pub added: Vec<u32>,
    /// Leaves that went; one that changed hands is in both lists.
    pub removed: Vec<u32>,
}

/// One group's public state.
pub struct Keeper {
    provider: Provider,
    group: PublicGroup,
    setup: GroupSetup,
    group_info: Vec<u8>,
    /// What is proposed: the same as openmls keeps, without asking its memory.
    open: Vec<Proposal>,
    before: Option<Before>,
}

struct Before {
    memory: Snapshot,
    group_info: Vec<u8>,
    open: Vec<Proposal>,
}

impl std::fmt::Debug for Keeper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keeper")
            .field("epoch", &self.epoch())
            .field("open_proposals", &self.open_proposals())
            .finish_non_exhaustive()
    }
}

/// Who is in a key package: the leaf is 0 and means nothing. For the controller,
/// which has to know whether somebody sends their own.
pub fn read_key_package(key_package: &[u8]) -> Result<MemberView, Refused> {
    let package = checked_key_package(&RustCrypto::default(), key_package)?;
    let leaf = package.leaf_node();
    Ok(MemberView {
        leaf: 0,
        signature_key: leaf.signature_key().as_slice().to_vec(),
        identity: leaf.credential().serialized_content().to_vec(),
    })
}

impl Keeper {
    /// Takes on a group that was just founded: one member, epoch 0.
    pub fn found(setup: &GroupSetup, group_info: &[u8]) -> Result<Self, Refused> {
        let keeper = Self::resume(setup, group_info)?;
        if keeper.epoch() != 0 || keeper.members().len() != 1 {
            return Err(Refused::invalid("not a new group of one"));
        }
        Ok(keeper)
    }

    /// Takes on a group at any epoch, as a successor does with the last
    /// GroupInfo of its predecessor. Open proposals are not in it.
    pub fn resume(setup: &GroupSetup, group_info: &[u8]) -> Result<Self, Refused> {
        let provider = Provider::default();
        let read = read_group_info(group_info)?;
        setup.check(read.group_context())?;
        let tree = ratchet_tree(&read)?;
        let (group, _) = PublicGroup::from_external(
            provider.crypto(),
            provider.storage(),
            tree,
            read,
            ProposalStore::new(),
        )
        .map_err(|error| Refused::because("the group info", error))?;
        check_leaves(group.treesync())?;
        Ok(Self {
            provider,
            group,
            setup: setup.clone(),
            group_info: group_info.to_vec(),
            open: Vec::new(),
            before: None,
        })
    }

    /// Proposes that the owner of a key package be added, and gives the message
    /// for all members.
    pub fn propose_add(
        &mut self,
        key: &ControllerKey,
        key_package: &[u8],
    ) -> Result<Vec<u8>, Refused> {
        let package = checked_key_package(self.provider.crypto(), key_package)?;
        let (mut adding, mut leaving) = (0, 0);
        for open in &self.open {
            match open {
                Proposal::Add(add) => {
                    if shares_a_key(add.key_package(), &package) {
                        return Err(Refused::invalid("a key is proposed already"));
                    }
                    adding += 1;
                }
                _ => leaving += 1,
            }
        }
        let present = self.group.members().count();
        if present + adding + 1 > EPOCH_LEAVES_MAX + leaving {
            return Err(Refused::Full);
        }
        let leaf = package.leaf_node();
        for (_, other) in self.group.treesync().full_leaves() {
            if other.signature_key() == leaf.signature_key()
                || other.encryption_key() == leaf.encryption_key()
            {
                return Err(Refused::invalid("a key is in the group already"));
            }
        }
        let proposal = ExternalProposal::new_add::<Provider>(
            package,
            self.group.group_id().clone(),
            self.group.group_context().epoch(),
            key,
            SenderExtensionIndex::new(CONTROLLER_INDEX),
        )
        .map_err(|error| Refused::because("the proposal", error))?;
        self.keep_proposal(proposal)
    }

    /// Proposes that a leaf be removed, and gives the message for all members.
    pub fn propose_remove(&mut self, key: &ControllerKey, leaf: u32) -> Result<Vec<u8>, Refused> {
        if self.group.leaf(LeafNodeIndex::new(leaf)).is_none() {
            return Err(Refused::invalid("no such leaf"));
        }
        let doubled = self
            .open
            .iter()
            .any(|open| matches!(open, Proposal::Remove(remove) if remove.removed().u32() == leaf));
        if doubled {
            return Err(Refused::invalid("proposed already"));
        }
        let proposal = ExternalProposal::new_remove::<Provider>(
            LeafNodeIndex::new(leaf),
            self.group.group_id().clone(),
            self.group.group_context().epoch(),
            key,
            SenderExtensionIndex::new(CONTROLLER_INDEX),
        )
        .map_err(|error| Refused::because("the proposal", error))?;
        self.keep_proposal(proposal)
    }

    /// Judges a commit with the GroupInfo of the epoch that it begins, and takes
    /// it. The state before is kept for [`roll_back`](Self::roll_back).
    pub fn apply(&mut self, commit: &[u8], group_info: &[u8]) -> Result<Applied, Refused> {
        let message = read_handshake(commit, self.group.group_id(), self.epoch())?;
        let read = read_group_info(group_info)?;
        let processed = self
            .group
            .process_message(self.provider.crypto(), protocol(message))
            .map_err(|error| Refused::because("the commit", error))?;
        let sender = processed.sender().clone();
        let ProcessedMessageContent::StagedCommitMessage(staged) = processed.into_content() else {
            return Err(Refused::invalid("not a commit"));
        };
        let open = self.open_proposals();
        if sender == Sender::NewMemberCommit && open > 0 {
            return Err(Refused::Incomplete);
        }
        let checked = check_commit(&sender, &staged, &self.group)?;
        if checked.referenced != open {
            return Err(Refused::Incomplete);
        }
        if read.group_context() != staged.group_context() {
            return Err(Refused::invalid("the group info is of another epoch"));
        }

        let members = self.members();
        let before = Before {
            memory: self.provider.snapshot(),
            group_info: std::mem::replace(&mut self.group_info, group_info.to_vec()),
            open: std::mem::take(&mut self.open),
        };
        let merged = self
            .group
            .merge_commit(self.provider.storage(), *staged)
            .map_err(|error| Refused::because("the commit", error));
        let (added, removed) = changes(&members, &self.members());
        let committer = checked.committer.or_else(|| added.first().copied());
        let judged = merged.and_then(|()| {
            check_leaves(self.group.treesync())?;
            let signer = committer.ok_or(Refused::invalid("nobody entered"))?;
            self.check_group_info(read, group_info, signer)
        });
        if let Err(refused) = judged {
            self.go_back(before);
            return Err(refused);
        }
        self.before = Some(before);
        Ok(Applied {
            committer: checked.committer,
            added,
            removed,
        })
    }

    /// Goes back to before the last commit, with the proposals that were open
    /// then. False: there is nothing to go back to.
    pub fn roll_back(&mut self) -> bool {
        match self.before.take() {
            Some(before) => self.go_back(before),
            None => false,
        }
    }

    /// All leaves by index.
    #[must_use]
    pub fn members(&self) -> Vec<MemberView> {
        self.group.members().map(MemberView::from).collect()
    }

    /// The epoch.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.group.group_context().epoch().as_u64()
    }

    /// The GroupInfo of the epoch.
    #[must_use]
    pub fn group_info(&self) -> &[u8] {
        &self.group_info
    }

    /// Proposals that the next commit has to cover.
    #[must_use]
    pub fn open_proposals(&self) -> usize {
        self.open.len()
    }

    /// Checks our own proposal as members will, and keeps it.
    fn keep_proposal(
        &mut self,
        proposal: openmls::prelude::MlsMessageOut,
    ) -> Result<Vec<u8>, Refused> {
        if self.open_proposals() >= OPEN_PROPOSALS_MAX {
            return Err(Refused::Full);
        }
        let bytes = proposal
            .to_bytes()
            .map_err(|error| Refused::because("the proposal", error))?;
        let message = read_handshake(&bytes, self.group.group_id(), self.epoch())?;
        let processed = self
            .group
            .process_message(self.provider.crypto(), protocol(message))
            .map_err(|error| Refused::because("the proposal", error))?;
        let ProcessedMessageContent::ProposalMessage(queued) = processed.into_content() else {
            return Err(Refused::invalid("not a proposal"));
        };
        let open = queued.proposal().clone();
        self.group
            .add_proposal(self.provider.storage(), *queued)
            .map_err(|error| Refused::because("the proposal", error))?;
        self.open.push(open);
        Ok(bytes)
    }

    /// That a group info tells the truth about the present state, and that the
    /// committer signed it: whoever enters relies on it alone.
    fn check_group_info(
        &self,
        read: VerifiableGroupInfo,
        bytes: &[u8],
        signer: u32,
    ) -> Result<(), Refused> {
        self.setup.check(read.group_context())?;
        if read.group_context() != self.group.group_context() {
            return Err(Refused::invalid("the group info is of another epoch"));
        }
        if ratchet_tree(&read)? != RatchetTreeIn::from(self.group.export_ratchet_tree()) {
            return Err(Refused::invalid("the group info has another tree"));
        }
        let tail = GroupInfoTail::read(bytes)?;
        if tail.signer != signer {
            return Err(Refused::invalid("the group info has another signer"));
        }
        // The tag stands right before the signer; it can't be asked for.
        let tag = openmls::prelude::tls_codec::Serialize::tls_serialize_detached(
            self.group.confirmation_tag(),
        )
        .map_err(|error| Refused::because("the confirmation tag", error))?;
        if !tail.before.ends_with(&tag) {
            return Err(Refused::invalid("the group info has another tag"));
        }
        let leaf = self
            .group
            .leaf(LeafNodeIndex::new(signer))
            .ok_or(Refused::invalid("the signer has no leaf"))?;
        let key = OpenMlsSignaturePublicKey::new(
            leaf.signature_key().as_slice().to_vec().into(),
            SignatureScheme::ED25519,
        )
        .map_err(|error| Refused::because("the signer's key", error))?;
        read.verify(self.provider.crypto(), &key)
            .map_err(|error| Refused::because("the group info's signature", error))?;
        Ok(())
    }

    fn go_back(&mut self, before: Before) -> bool {
        self.provider.restore(before.memory);
        let id: GroupId = self.setup.id();
        // What was stored by the same build can be read by it.
        let Ok(Some(group)) = PublicGroup::load(self.provider.storage(), &id) else {
            return false;
        };
        self.group = group;
        self.group_info = before.group_info;
        self.open = before.open;
        true
    }
}

/// The last fields of a GroupInfo, which openmls keeps to itself.
struct GroupInfoTail<'a> {
    before: &'a [u8],
    signer: u32,
}

impl<'a> GroupInfoTail<'a> {
    fn read(bytes: &'a [u8]) -> Result<Self, Refused> {
        let short = || Refused::invalid("the group info is too short");
        let (rest, _) = bytes
            .split_last_chunk::<SIGNATURE_BYTES>()
            .ok_or_else(short)?;
        let (rest, length) = rest.split_last_chunk::<2>().ok_or_else(short)?;
        if *length != SIGNATURE_LENGTH {
            return Err(Refused::invalid("the group info's signature"));
        }
        let (before, signer) = rest.split_last_chunk::<4>().ok_or_else(short)?;
        Ok(Self {
            before,
            signer: u32::from_be_bytes(*signer),
        })
    }
}

fn ratchet_tree(group_info: &VerifiableGroupInfo) -> Result<RatchetTreeIn, Refused> {
    let extensions = group_info.extensions();
    if extensions.external_pub().is_none() {
        return Err(Refused::invalid("nobody could enter by the group info"));
    }
    let tree = extensions
        .ratchet_tree()
        .ok_or(Refused::invalid("the group info has no tree"))?;
    match extensions.iter().count() {
        2 => Ok(tree.ratchet_tree().clone()),
        _ => Err(Refused::invalid("the group info has other extensions")),
    }
}

fn checked_key_package(crypto: &RustCrypto, bytes: &[u8]) -> Result<KeyPackage, Refused> {
    let MlsMessageBodyIn::KeyPackage(read) = read_message(bytes)? else {
        return Err(Refused::invalid("not a key package"));
    };
    let package = read
        .validate(crypto, ProtocolVersion::Mls10)
        .map_err(|error| Refused::because("the key package", error))?;
    if package.ciphersuite() != SUITE {
        return Err(Refused::invalid("the key package is of another suite"));
    }
    check_lifetime(package.life_time())?;
    check_leaf(package.leaf_node())?;
    Ok(package)
}

fn shares_a_key(one: &KeyPackage, other: &KeyPackage) -> bool {
    let (a, b) = (one.leaf_node(), other.leaf_node());
    a.signature_key() == b.signature_key()
        || a.encryption_key() == b.encryption_key()
        || one.hpke_init_key() == other.hpke_init_key()
}
