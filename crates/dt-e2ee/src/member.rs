//! A client's side of one group: founding, entering, being added, committing,
//! following commits and going back from one that was void.
//!
//! Driven by the client's session with what the controller sends, in its order.
//! A call that fails leaves the group where it stood.

use openmls::group::{MlsGroup, MlsGroupBuilder, ProcessedWelcome};
use openmls::prelude::{
    KeyPackage, LeafNodeParameters, MlsMessageBodyIn, MlsMessageOut, ProcessedMessageContent,
};
use openmls_traits::OpenMlsProvider as _;
use tls_codec::Serialize as _;
use zeroize::Zeroizing;

use crate::error::Error;
use crate::group::{
    self, GroupSetup, MemberView, OPEN_PROPOSALS_MAX, SUITE, capabilities, changes, check_commit,
    check_leaves, check_proposal, credential_with_key, join_config, lifetime, protocol,
    read_handshake, read_message,
};
use crate::key::LeafKey;
use crate::kid::{LEAF_MAX, Suite};
use crate::provider::{Provider, Snapshot};

/// Label of the base key of an epoch (RFC 9605 section 5.2).
const BASE_KEY_LABEL: &str = "SFrame 1.0 Base Key";

/// What a commit of ours consists of; all bytes are MLSMessage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    /// For everybody.
    pub commit: Vec<u8>,
    /// GroupInfo of the epoch that it begins, for the controller.
    pub group_info: Vec<u8>,
    /// For those it adds.
    pub welcome: Option<Vec<u8>>,
}

/// The keys of an epoch.
#[derive(Clone, PartialEq, Eq)]
pub struct EpochKeys {
    /// The MLS epoch.
    pub epoch: u64,
    /// Our leaf in it.
    pub leaf: u32,
    /// Base key of SFrame.
    pub base_key: Zeroizing<Vec<u8>>,
    /// What the meeting code is made of.
    pub authenticator: Vec<u8>,
}

impl std::fmt::Debug for EpochKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EpochKeys")
            .field("epoch", &self.epoch)
            .field("leaf", &self.leaf)
            .finish_non_exhaustive()
    }
}

/// What a commit did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The epoch it began.
    pub epoch: u64,
    /// Leaves that came.
    pub added: Vec<u32>,
    /// Leaves that went; one that changed hands is in both lists.
    pub removed: Vec<u32>,
    /// It was ours.
    pub own: bool,
    /// It removed us: there are no more keys.
    pub removed_self: bool,
}

/// A key package that waits for its Welcome, with the secrets to open it.
pub struct Candidate {
    provider: Provider,
    leaf: LeafKey,
    key_package: Vec<u8>,
}

/// One member's group.
pub struct Member {
    pub(crate) provider: Provider,
    pub(crate) leaf: LeafKey,
    pub(crate) group: MlsGroup,
    setup: GroupSetup,
    /// The commit that we made and nobody confirmed.
    pub(crate) pending: Option<Vec<u8>>,
    /// The external commit that brought us in, until it is confirmed.
    entering: Option<Vec<u8>>,
    /// The memory before the last commit.
    pub(crate) before: Option<Snapshot>,
}

impl Candidate {
    /// Makes a key package.
    pub fn new(leaf: LeafKey, credential: Vec<u8>) -> Result<Self, Error> {
        let provider = Provider::default();
        let bundle = KeyPackage::builder()
            .leaf_node_capabilities(capabilities())
            .key_package_lifetime(lifetime())
            .build(
                SUITE,
                &provider,
                &leaf,
                credential_with_key(credential, leaf.public()),
            )
            .map_err(Error::mls("making a key package"))?;
        let key_package = MlsMessageOut::from(bundle.into_key_package())
            .to_bytes()
            .map_err(Error::mls("writing a key package"))?;
        Ok(Self {
            provider,
            leaf,
            key_package,
        })
    }

    /// The key package, an MLSMessage.
    #[must_use]
    pub fn key_package(&self) -> &[u8] {
        &self.key_package
    }

    /// Takes the Welcome of whoever added us.
    pub fn join(self, welcome: &[u8], setup: &GroupSetup) -> Result<Member, Error> {
        let MlsMessageBodyIn::Welcome(welcome) = read_message(welcome)? else {
            return Err(Error::Malformed("not a Welcome"));
        };
        let opened = ProcessedWelcome::new_from_welcome(&self.provider, &join_config(), welcome)
            .map_err(Error::mls("opening the Welcome"))?;
        setup.check(opened.unverified_group_info().group_context())?;
        let group = opened
            .into_staged_welcome(&self.provider, None)
            .map_err(Error::mls("checking the Welcome"))?
            .into_group(&self.provider)
            .map_err(Error::mls("joining by the Welcome"))?;
        let member = Member {
            provider: self.provider,
            leaf: self.leaf,
            group,
            setup: setup.clone(),
            pending: None,
            entering: None,
            before: None,
        };
        member.check_joined()?;
        Ok(member)
    }
}

impl std::fmt::Debug for Candidate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Candidate").finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Member {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Member")
            .field("epoch", &self.epoch())
            .field("leaf", &self.own_leaf())
            .finish_non_exhaustive()
    }
}

impl Member {
    /// Founds a group and gives its first GroupInfo.
    pub fn found(
        leaf: LeafKey,
        credential: Vec<u8>,
        setup: &GroupSetup,
    ) -> Result<(Self, Vec<u8>), Error> {
        let provider = Provider::default();
        let group = founder(setup)?
            .build(
                &provider,
                &leaf,
                credential_with_key(credential, leaf.public()),
            )
            .map_err(Error::mls("founding the group"))?;
        let group_info = group
            .export_group_info(provider.crypto(), &leaf, true)
            .map_err(Error::mls("describing the group"))?
            .to_bytes()
            .map_err(Error::mls("writing the GroupInfo"))?;
        let member = Self {
            provider,
            leaf,
            group,
            setup: setup.clone(),
            pending: None,
            entering: None,
            before: None,
        };
        Ok((member, group_info))
    }

    /// Enters by an external commit. The member has no keys until
    /// [`handle_commit`](Self::handle_commit) was given this commit back by the
    /// controller; if another was faster, it is of no use: drop it.
    pub fn enter(
        leaf: LeafKey,
        credential: Vec<u8>,
        setup: &GroupSetup,
        group_info: &[u8],
    ) -> Result<(Self, Commit), Error> {
        let provider = Provider::default();
        let group_info = group::read_group_info(group_info)?;
        setup.check(group_info.group_context())?;
        let (group, bundle) = MlsGroup::external_commit_builder()
            .with_config(join_config())
            .build_group(
                &provider,
                group_info,
                credential_with_key(credential, leaf.public()),
            )
            .map_err(Error::mls("reading the group"))?
            .leaf_node_parameters(
                LeafNodeParameters::builder()
                    .with_capabilities(capabilities())
                    .build(),
            )
            .load_psks(provider.storage())
            .map_err(Error::mls("preparing the external commit"))?
            .create_group_info(true)
            .use_ratchet_tree_extension(true)
            .build(provider.rand(), provider.crypto(), &leaf, |_| true)
            .map_err(Error::mls("making the external commit"))?
            .finalize(&provider)
            .map_err(Error::mls("finishing the external commit"))?;
        let commit = into_commit(bundle)?;
        let member = Self {
            provider,
            leaf,
            group,
            setup: setup.clone(),
            pending: None,
            entering: Some(commit.commit.clone()),
            before: None,
        };
        member.check_joined()?;
        Ok((member, commit))
    }

    /// Takes a proposal of the controller; nobody else's is taken. One that is
    /// known already changes nothing.
    pub fn handle_proposal(&mut self, data: &[u8]) -> Result<(), Error> {
        self.check_present()?;
        let message = read_handshake(data, self.group.group_id(), self.epoch())?;
        let processed = self
            .group
            .process_message(&self.provider, protocol(message))
            .map_err(Error::mls("processing a proposal"))?;
        let ProcessedMessageContent::ProposalMessage(proposal) = processed.into_content() else {
            return Err(Error::Rule("not a proposal of the controller"));
        };
        check_proposal(&proposal)?;
        let known = |open: &openmls::group::QueuedProposal| {
            open.proposal_reference_ref() == proposal.proposal_reference_ref()
        };
        if self.group.pending_proposals().any(known) {
            return Ok(());
        }
        if self.group.pending_proposals().count() >= OPEN_PROPOSALS_MAX {
            return Err(Error::Rule("too many open proposals"));
        }
        self.group
            .store_pending_proposal(self.provider.storage(), *proposal)
            .map_err(Error::mls("keeping a proposal"))
    }

    /// Commits to every open proposal, with fresh keys of our own. The commit is
    /// in force once [`handle_commit`](Self::handle_commit) was given it back;
    /// making another or taking another's voids it.
    pub fn commit(&mut self) -> Result<Commit, Error> {
        self.check_present()?;
        self.drop_pending()?;
        let bundle = self
            .group
            .commit_builder()
            .force_self_update(true)
            .load_psks(self.provider.storage())
            .map_err(Error::mls("preparing a commit"))?
            .create_group_info(true)
            .use_ratchet_tree_extension(true)
            .build(
                self.provider.rand(),
                self.provider.crypto(),
                &self.leaf,
                |_| true,
            )
            .map_err(Error::mls("making a commit"))?
            .stage_commit(&self.provider)
            .map_err(Error::mls("keeping a commit"))?;
        let commit = into_commit(bundle)?;
        self.pending = Some(commit.commit.clone());
        Ok(commit)
    }

    /// Takes the commit that the controller put in force: ours by its bytes, or
    /// another's. The state before is kept until the next one, or
    /// [`settle`](Self::settle).
    pub fn handle_commit(&mut self, data: &[u8]) -> Result<Change, Error> {
        if let Some(entering) = &self.entering {
            if entering != data {
                return Err(Error::Unconfirmed);
            }
            self.entering = None;
            return Ok(Change {
                epoch: self.epoch(),
                added: vec![self.own_leaf()],
                removed: Vec::new(),
                own: true,
                removed_self: false,
            });
        }
        self.check_present()?;
        let own = self.pending.as_deref() == Some(data);
        let members = self.members();
        if own {
            let before = self.provider.snapshot();
            if let Err(error) = self.group.merge_pending_commit(&self.provider) {
                self.reload(before)?;
                return Err(Error::mls("taking our commit")(error));
            }
            self.before = Some(before);
        } else {
            self.take_commit(data)?;
        }
        self.pending = None;
        let (added, removed) = changes(&members, &self.members());
        Ok(Change {
            epoch: self.epoch(),
            added,
            removed,
            own,
            removed_self: !self.group.is_active(),
        })
    }

    /// Goes back to before the last commit that was handled. Once: the state
    /// before that one is gone.
    pub fn roll_back(&mut self) -> Result<(), Error> {
        let before = self.before.take().ok_or(Error::NothingBefore)?;
        self.reload(before)
    }

    /// Forgets the state before the last commit: with it go the secrets with
    /// which the epoch before could be read again. To be called when the commit
    /// can't be void any more.
    pub fn settle(&mut self) {
        self.before = None;
    }

    /// The keys of the present epoch.
    pub fn keys(&self, suite: Suite) -> Result<EpochKeys, Error> {
        self.check_present()?;
        let base_key = self
            .group
            .export_secret(
                self.provider.crypto(),
                BASE_KEY_LABEL,
                &[],
                suite.key_bytes(),
            )
            .map_err(Error::mls("deriving the base key"))?;
        Ok(EpochKeys {
            epoch: self.epoch(),
            leaf: self.own_leaf(),
            base_key: Zeroizing::new(base_key),
            authenticator: self.group.epoch_authenticator().as_slice().to_vec(),
        })
    }

    /// All leaves, our own among them, by index.
    #[must_use]
    pub fn members(&self) -> Vec<MemberView> {
        self.group.members().map(MemberView::from).collect()
    }

    /// The epoch. While an external commit is not confirmed: the one it begins.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.group.epoch().as_u64()
    }

    /// Our leaf.
    #[must_use]
    pub fn own_leaf(&self) -> u32 {
        self.group.own_leaf_index().u32()
    }

    /// Proposals that the next commit has to cover.
    #[must_use]
    pub fn open_proposals(&self) -> usize {
        self.group.pending_proposals().count()
    }

    fn take_commit(&mut self, data: &[u8]) -> Result<(), Error> {
        let message = read_handshake(data, self.group.group_id(), self.epoch())?;
        let processed = self
            .group
            .process_message(&self.provider, protocol(message))
            .map_err(Error::mls("processing a commit"))?;
        let sender = processed.sender().clone();
        let ProcessedMessageContent::StagedCommitMessage(staged) = processed.into_content() else {
            return Err(Error::Malformed("not a commit"));
        };
        check_commit(&sender, &staged, self.group.public_group())?;
        let before = self.provider.snapshot();
        if let Err(error) = self.group.merge_staged_commit(&self.provider, *staged) {
            self.reload(before)?;
            return Err(Error::mls("taking a commit")(error));
        }
        self.before = Some(before);
        Ok(())
    }

    /// Puts memory and group back to a moment; no commit of ours is pending then.
    fn reload(&mut self, before: Snapshot) -> Result<(), Error> {
        self.provider.restore(before);
        self.group = MlsGroup::load(self.provider.storage(), &self.setup.id())
            .map_err(Error::mls("going back"))?
            .ok_or(Error::NothingBefore)?;
        self.drop_pending()
    }

    fn drop_pending(&mut self) -> Result<(), Error> {
        self.pending = None;
        self.group
            .clear_pending_commit(self.provider.storage())
            .map_err(Error::mls("dropping our commit"))
    }

    fn check_present(&self) -> Result<(), Error> {
        if self.entering.is_some() {
            return Err(Error::Unconfirmed);
        }
        match self.group.is_active() {
            true => Ok(()),
            false => Err(Error::Removed),
        }
    }

    /// What openmls leaves to us when a group is joined.
    fn check_joined(&self) -> Result<(), Error> {
        self.setup
            .check(self.group.public_group().group_context())?;
        check_leaves(self.group.treesync())?;
        if self.own_leaf() > LEAF_MAX {
            return Err(Error::Rule("our leaf is beyond what a key id can name"));
        }
        Ok(())
    }
}

fn founder(setup: &GroupSetup) -> Result<MlsGroupBuilder, Error> {
    Ok(MlsGroup::builder()
        .with_group_id(setup.id())
        .ciphersuite(SUITE)
        .with_capabilities(capabilities())
        .lifetime(lifetime())
        .with_group_context_extensions(setup.extensions()?)
        .with_wire_format_policy(openmls::prelude::PURE_PLAINTEXT_WIRE_FORMAT_POLICY)
        .use_ratchet_tree_extension(true)
        .max_past_epochs(0))
}

fn into_commit(bundle: openmls::group::CommitMessageBundle) -> Result<Commit, Error> {
    let write = |message: MlsMessageOut| {
        message
            .tls_serialize_detached()
            .map_err(|_| Error::Malformed("a message of ours can't be written"))
    };
    let (commit, welcome, group_info) = bundle.into_messages();
    Ok(Commit {
        commit: write(commit)?,
        group_info: write(group_info.ok_or(Error::Malformed("no GroupInfo was made"))?)?,
        welcome: welcome.map(write).transpose()?,
    })
}
