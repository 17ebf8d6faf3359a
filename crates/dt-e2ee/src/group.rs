//! The one shape that a group of ours has, and the rules that a commit keeps
//! beside those of MLS. Members and the controller check the same here, so that
//! neither has to trust the other.

use std::collections::HashSet;

use openmls::group::PublicGroup;
use openmls::messages::group_info::VerifiableGroupInfo;
use openmls::prelude::{
    BasicCredential, Capabilities, Ciphersuite, Credential, CredentialType, CredentialWithKey,
    Extension, ExtensionType, Extensions, ExternalSender, GroupContext, GroupId, LeafNode,
    Lifetime, Member as MlsMember, MlsGroupJoinConfig, MlsMessageBodyIn, MlsMessageIn,
    PURE_PLAINTEXT_WIRE_FORMAT_POLICY, Proposal, ProposalOrRefType, ProtocolMessage,
    ProtocolVersion, PublicMessageIn, QueuedProposal, Sender, SignaturePublicKey, StagedCommit,
};
use openmls::treesync::{LeafNodeSource, TreeSync};
use tls_codec::DeserializeBytes as _;

use crate::error::Error;
use crate::kid::LEAF_MAX;

/// The one suite, number 1.
pub(crate) const SUITE: Ciphersuite = Ciphersuite::MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519;
/// What the controller calls itself.
const CONTROLLER: &[u8] = b"dark-tower-controller";
/// No message of a group may be longer; a group info of 500 members with
/// statements is about half of it.
pub const MESSAGE_BYTES_MAX: usize = 1 << 20;
/// Open proposals above this are refused: each costs every member work.
pub const OPEN_PROPOSALS_MAX: usize = 1024;
/// Leaves of a group: as many as a key id can name.
pub const EPOCH_LEAVES_MAX: usize = LEAF_MAX as usize + 1;

/// How far a clock may be behind and still take our leaves for valid.
const CLOCK_SKEW_SECONDS: u64 = 2 * 24 * 3600;
/// How long a leaf that never committed stays valid: longer than a meeting.
const LEAF_SECONDS: u64 = 28 * 24 * 3600;

/// What the controller says of a group before anybody is in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupSetup {
    /// 20 bytes: the meeting's UUID and the number of the group, big-endian.
    pub group_id: Vec<u8>,
    /// Ed25519 public key of the controller, the only external sender.
    pub external_sender: Vec<u8>,
}

/// One leaf of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberView {
    /// Its index.
    pub leaf: u32,
    /// Its MLS signature key: with `identity` what [`read_credential`] checks.
    ///
    /// [`read_credential`]: crate::read_credential
    pub signature_key: Vec<u8>,
    /// An encoded MemberCredential, unchecked.
    pub identity: Vec<u8>,
}

impl From<MlsMember> for MemberView {
    fn from(member: MlsMember) -> Self {
        Self {
            leaf: member.index.u32(),
            signature_key: member.signature_key,
            identity: member.credential.serialized_content().to_vec(),
        }
    }
}

impl GroupSetup {
    pub(crate) fn id(&self) -> GroupId {
        GroupId::from_slice(&self.group_id)
    }

    /// The extensions of the group's context: the external sender, nothing else.
    pub(crate) fn extensions(&self) -> Result<Extensions<GroupContext>, Error> {
        let sender = ExternalSender::new(
            SignaturePublicKey::from(self.external_sender.clone()),
            BasicCredential::new(CONTROLLER.to_vec()).into(),
        );
        Extensions::single(Extension::ExternalSenders(vec![sender]))
            .map_err(Error::mls("naming the external sender"))
    }

    /// That a group's context is what this setup says.
    pub(crate) fn check(&self, context: &GroupContext) -> Result<(), Error> {
        if context.group_id().as_slice() != self.group_id {
            return Err(Error::WrongGroup("another group id"));
        }
        if context.ciphersuite() != SUITE || context.protocol_version() != ProtocolVersion::Mls10 {
            return Err(Error::WrongGroup("another suite or version"));
        }
        if context.extensions() != &self.extensions()? {
            return Err(Error::WrongGroup("other extensions"));
        }
        Ok(())
    }
}

/// What our leaves can do: exactly what the group needs.
pub(crate) fn capabilities() -> Capabilities {
    Capabilities::new(
        Some(&[ProtocolVersion::Mls10]),
        Some(&[SUITE]),
        Some(&[] as &[ExtensionType]),
        Some(&[]),
        Some(&[CredentialType::Basic]),
    )
}

/// The lifetime of a leaf made now.
pub(crate) fn lifetime() -> Lifetime {
    let now = Lifetime::new(LEAF_SECONDS);
    Lifetime::init(
        now.not_before().saturating_sub(CLOCK_SKEW_SECONDS),
        now.not_after(),
    )
}

/// The credential of a leaf with its signature key.
pub(crate) fn credential_with_key(credential: Vec<u8>, public: &[u8]) -> CredentialWithKey {
    CredentialWithKey {
        credential: BasicCredential::new(credential).into(),
        signature_key: public.to_vec().into(),
    }
}

/// How a group is joined: handshakes in the clear, so that the controller can
/// keep the public state; no secret of an epoch outlives it.
pub(crate) fn join_config() -> MlsGroupJoinConfig {
    MlsGroupJoinConfig::builder()
        .wire_format_policy(PURE_PLAINTEXT_WIRE_FORMAT_POLICY)
        .use_ratchet_tree_extension(true)
        .max_past_epochs(0)
        .build()
}

/// Reads a whole MLSMessage.
pub(crate) fn read_message(data: &[u8]) -> Result<MlsMessageBodyIn, Error> {
    if data.len() > MESSAGE_BYTES_MAX {
        return Err(Error::Malformed("too long"));
    }
    MlsMessageIn::tls_deserialize_exact_bytes(data)
        .map(MlsMessageIn::extract)
        .map_err(|_| Error::Malformed("not an MLS message"))
}

/// Reads a GroupInfo.
pub(crate) fn read_group_info(data: &[u8]) -> Result<VerifiableGroupInfo, Error> {
    match read_message(data)? {
        MlsMessageBodyIn::GroupInfo(group_info) => Ok(group_info),
        _ => Err(Error::Malformed("not a GroupInfo")),
    }
}

/// Reads a handshake of this group and epoch.
pub(crate) fn read_handshake(
    data: &[u8],
    group: &GroupId,
    epoch: u64,
) -> Result<PublicMessageIn, Error> {
    let MlsMessageBodyIn::PublicMessage(message) = read_message(data)? else {
        return Err(Error::Malformed("not a PublicMessage"));
    };
    if message.group_id() != group {
        return Err(Error::WrongGroup("another group id"));
    }
    match message.epoch().as_u64() {
        other if other < epoch => Err(Error::Stale),
        other if other > epoch => Err(Error::Ahead),
        _ => Ok(message),
    }
}

/// As what openmls processes.
pub(crate) fn protocol(message: PublicMessageIn) -> ProtocolMessage {
    ProtocolMessage::PublicMessage(Box::new(message))
}

/// That a leaf is one of ours: a basic credential that does not live too long.
pub(crate) fn check_leaf(leaf: &LeafNode) -> Result<(), Error> {
    check_credential(leaf.credential())?;
    if let LeafNodeSource::KeyPackage(lifetime) = leaf.leaf_node_source() {
        check_lifetime(lifetime)?;
    }
    Ok(())
}

/// openmls leaves the length of a lifetime to the application.
pub(crate) fn check_lifetime(lifetime: &Lifetime) -> Result<(), Error> {
    match lifetime.has_acceptable_range() {
        true => Ok(()),
        false => Err(Error::Rule("a lifetime is too long")),
    }
}

fn check_credential(credential: &Credential) -> Result<(), Error> {
    match credential.credential_type() {
        CredentialType::Basic => Ok(()),
        _ => Err(Error::Rule("not a basic credential")),
    }
}

/// That every leaf of a group that is entered is one of ours.
pub(crate) fn check_leaves(tree: &TreeSync) -> Result<(), Error> {
    for (index, leaf) in tree.full_leaves() {
        if index.u32() > LEAF_MAX {
            return Err(Error::Rule("a leaf is beyond what a key id can name"));
        }
        check_leaf(leaf)?;
    }
    Ok(())
}

/// That a proposal is one of those there may be: the controller adds and
/// removes, nobody else proposes.
pub(crate) fn check_proposal(proposal: &QueuedProposal) -> Result<(), Error> {
    let Sender::External(_) = proposal.sender() else {
        return Err(Error::Rule("only the controller proposes"));
    };
    match proposal.proposal() {
        Proposal::Add(add) => {
            let package = add.key_package();
            check_lifetime(package.life_time())?;
            check_leaf(package.leaf_node())
        }
        Proposal::Remove(_) => Ok(()),
        _ => Err(Error::Rule("only additions and removals are proposed")),
    }
}

/// How a commit came about.
#[derive(Debug)]
pub(crate) struct Checked {
    /// The committer's leaf before, None for who enters by it.
    pub(crate) committer: Option<u32>,
    /// Proposals that it takes by reference.
    pub(crate) referenced: usize,
}

/// That a commit keeps our rules: it brings fresh keys, takes proposals of the
/// controller by reference only (but for what entering needs), and its sender
/// stays who they were.
pub(crate) fn check_commit(
    sender: &Sender,
    staged: &StagedCommit,
    group: &PublicGroup,
) -> Result<Checked, Error> {
    let mut referenced = 0;
    for proposal in staged.queued_proposals() {
        match proposal.proposal_or_ref_type() {
            ProposalOrRefType::Reference => {
                check_proposal(proposal)?;
                referenced += 1;
            }
            ProposalOrRefType::Proposal => match (sender, proposal.proposal()) {
                (Sender::NewMemberCommit, Proposal::ExternalInit(_)) => {}
                _ => return Err(Error::Rule("a proposal stands in the commit itself")),
            },
        }
    }
    let Some(new_leaf) = staged.update_path_leaf_node() else {
        return Err(Error::Rule("the commit brings no fresh keys"));
    };
    check_leaf(new_leaf)?;
    let committer = match sender {
        Sender::Member(index) => {
            let old_leaf = group
                .leaf(*index)
                .ok_or(Error::Rule("the committer has no leaf"))?;
            let same = old_leaf.credential() == new_leaf.credential()
                && old_leaf.signature_key() == new_leaf.signature_key();
            if !same {
                return Err(Error::Rule("the committer changes its identity"));
            }
            Some(index.u32())
        }
        Sender::NewMemberCommit if referenced == 0 => None,
        Sender::NewMemberCommit => {
            return Err(Error::Rule("who enters can't take proposals of the group"));
        }
        _ => return Err(Error::Rule("only members commit")),
    };
    Ok(Checked {
        committer,
        referenced,
    })
}

/// Which leaves came and went between two states. A leaf that changed hands is
/// in both lists.
pub(crate) fn changes(before: &[MemberView], after: &[MemberView]) -> (Vec<u32>, Vec<u32>) {
    fn keys(members: &[MemberView]) -> HashSet<(u32, &[u8])> {
        members
            .iter()
            .map(|member| (member.leaf, &*member.signature_key))
            .collect()
    }
    fn only(mine: &[MemberView], others: &HashSet<(u32, &[u8])>) -> Vec<u32> {
        mine.iter()
            .filter(|member| !others.contains(&(member.leaf, &*member.signature_key)))
            .map(|member| member.leaf)
            .collect()
    }
    (only(after, &keys(before)), only(before, &keys(after)))
}
