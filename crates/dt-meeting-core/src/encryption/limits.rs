//! Times and sizes of a meeting's encryption.

/// The defaults are the specified ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncryptionLimits {
    /// How long the first key package waits for others, so that a burst of joins
    /// is one commit.
    pub batch_ms: u64,
    /// When each standby commits, a multiple of it: told to clients by rank.
    pub standby_ms: u64,
    /// How long those who were asked may take before others are.
    pub patience_ms: u64,
    /// Rounds through all members without a commit before the group is given up
    /// and founded anew: whoever does not commit can't hold the meeting.
    pub sweeps_max: u32,
    /// How long a commit that somebody could not process waits for one who could.
    pub doubt_ms: u64,
    /// How long a commit waits for any answer at all before the next may come.
    pub confirmation_ms: u64,
    /// How long somebody who may enter by an external commit counts as entering.
    pub entering_ms: u64,
    /// From a participant's disconnection to its leaf's removal.
    pub removal_ms: u64,
    /// From the last fresh keys to the next.
    pub rotation_ms: u64,
    /// Shortest time between two rotations that members ask for.
    pub rotation_interval_ms: u64,
    /// How long a member may owe the answer to a commit before it counts as one
    /// that does not follow the group, and is shown a new way in.
    pub answer_ms: u64,
    /// Failed ways into the group before somebody is removed from the meeting.
    pub failed_entries_max: u32,
    /// How often somebody may say in [`strandings_ms`](Self::strandings_ms) that
    /// its group is of no use, each costing everybody an epoch, or send a commit
    /// that is not good. Once more and it is removed from the meeting.
    pub strandings_max: u32,
    /// See [`strandings_max`](Self::strandings_max).
    pub strandings_ms: u64,
    /// Open proposals; what is beyond waits for the next commit.
    pub open_proposals_max: usize,
    /// Of a key package. A longer one is refused, like all below.
    pub key_package_bytes_max: usize,
    /// Of a commit.
    pub commit_bytes_max: usize,
    /// Of a GroupInfo.
    pub group_info_bytes_max: usize,
    /// Of a Welcome, which holds a GroupInfo.
    pub welcome_bytes_max: usize,
    /// Messages kept for those who come back with their group in memory; the
    /// oldest are forgotten first.
    pub log_messages_max: usize,
    /// Their bytes.
    pub log_bytes_max: usize,
    /// Bytes of them in one answer, which has a roster beside them; whoever
    /// missed more enters anew.
    pub missed_bytes_max: usize,
}

impl Default for EncryptionLimits {
    fn default() -> Self {
        Self {
            batch_ms: 150,
            standby_ms: 400,
            patience_ms: 3000,
            sweeps_max: 3,
            doubt_ms: 300,
            confirmation_ms: 1000,
            entering_ms: 3000,
            removal_ms: 10_000,
            rotation_ms: 60 * 60 * 1000,
            rotation_interval_ms: 10_000,
            answer_ms: 15_000,
            failed_entries_max: 3,
            strandings_max: 8,
            strandings_ms: 60_000,
            open_proposals_max: 64,
            key_package_bytes_max: 8 * 1024,
            commit_bytes_max: 256 * 1024,
            group_info_bytes_max: 512 * 1024,
            welcome_bytes_max: 640 * 1024,
            log_messages_max: 64,
            log_bytes_max: 1024 * 1024,
            missed_bytes_max: 512 * 1024,
        }
    }
}
