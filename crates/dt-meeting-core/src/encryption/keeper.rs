//! What the rules need to know of MLS, and no more: a keeper of one group's
//! public state, given in by whoever drives the meeting.
//!
//! Deliberately absent: MLS. All messages are bytes, a leaf is its index, and a
//! leaf's credential is the participant that it names.

use bytes::Bytes;
use dt_ids::ParticipantId;

/// The index of a member's leaf in the group's tree.
pub type Leaf = u32;

/// What a commit that passed did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// The committer's leaf; `None`: it entered by this commit.
    pub committer: Option<Leaf>,
    /// Leaves that came, with whom their credentials name.
    pub added: Vec<(Leaf, ParticipantId)>,
    /// Leaves that went.
    pub removed: Vec<Leaf>,
}

/// Why a keeper did not take a message. Its state is unchanged then.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Made for another epoch than the present one.
    #[error("made for another epoch")]
    Stale,
    /// Leaves an open proposal out.
    #[error("does not cover every open proposal")]
    Incomplete,
    /// Breaks the rules of the group; the text is for the log.
    #[error("{0}")]
    Invalid(String),
}

/// Makes keepers for one meeting, which share its signing key.
pub trait KeeperFactory: std::fmt::Debug + Send + Sync {
    /// Ed25519 public key of the controller as the groups' external sender.
    fn external_sender(&self) -> Bytes;

    /// The number of the first group: above those of every predecessor, so that
    /// no number is used twice in a meeting.
    fn first_group(&self) -> u32;

    /// Takes on a group that somebody has just founded, in epoch 0.
    ///
    /// # Errors
    /// When it is no such group.
    fn found(&self, group_id: &[u8], group_info: &[u8]) -> Result<Box<dyn GroupKeeper>, Refused>;

    /// Whom a key package's credential names.
    ///
    /// # Errors
    /// When the key package, its credential or the device's signature is not good.
    fn owner(&self, key_package: &[u8]) -> Result<ParticipantId, Refused>;
}

/// One group's public state and its open proposals.
///
/// It can't see whether a commit's secrets and tags are good: members can, and
/// then it is rolled back, once for each commit.
pub trait GroupKeeper: std::fmt::Debug + Send {
    /// Proposes that a key package's owner be added; the message for members.
    ///
    /// # Errors
    /// When the group can't take it.
    fn propose_add(&mut self, key_package: &[u8]) -> Result<Bytes, Refused>;

    /// Proposes that a leaf be removed; the message for members.
    ///
    /// # Errors
    /// When there is no such leaf.
    fn propose_remove(&mut self, leaf: Leaf) -> Result<Bytes, Refused>;

    /// Takes a commit to all open proposals, with the GroupInfo of the epoch
    /// that it begins.
    ///
    /// # Errors
    /// See [`Refused`].
    fn apply(&mut self, commit: &[u8], group_info: &[u8]) -> Result<Applied, Refused>;

    /// Goes back to before the last commit, its proposals open again; false when
    /// there is nothing to go back to.
    fn roll_back(&mut self) -> bool;

    /// All leaves and whom their credentials name.
    fn members(&self) -> Vec<(Leaf, ParticipantId)>;

    /// The epoch.
    fn epoch(&self) -> u64;

    /// The GroupInfo of the epoch.
    fn group_info(&self) -> Bytes;
}
