//! A member of the group: following proposals and commits, making commits when
//! wanted, going back from one that was void.

use std::time::{Duration, Instant};

use dt_e2ee::{Change, Commit, EpochKeys, Error, Member, MemberView, Suite};
use dt_wire::v1::{Mls, MlsKind};

use super::{About, Effect, Group, State, message};

/// A member of this rank commits so much later for each rank (WIRE: e2ee.proto).
const RANK_DELAY: Duration = Duration::from_millis(400);
/// Ranks that a controller may name.
const RANK_MAX: u32 = 15;
/// Between two commits of ours for the same epoch, when the first was overtaken
/// by a proposal.
const COMMIT_AGAIN: Duration = Duration::from_millis(100);
/// Commits of ours for one epoch each time that one is wanted.
const COMMITS_MAX: u8 = 4;
/// How long the controller may take to say what becomes of a commit that can't
/// be processed here.
const VERDICT_MAX: Duration = Duration::from_secs(2);
/// Times that an epoch may be gone back to. More would outlast the memory of
/// counters, and no honest course needs them: its committers are barred one by
/// one, and three are named.
const ROLL_BACKS_MAX: u8 = 3;
/// How long a commit may be declared void; then the secrets before it go.
const SETTLED_AFTER: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub(super) struct Inside {
    pub(super) group: u32,
    pub(super) suite: Suite,
    pub(super) authenticator: Vec<u8>,
    member: Member,
    /// The epoch in which this client came in: there is none before.
    first: u64,
    /// When to commit, unless a commit comes first.
    commit_at: Option<Instant>,
    /// A commit of ours waits for its answer.
    committing: bool,
    /// Commits of ours that would end this epoch, since one was wanted.
    commits: u8,
    /// Authenticators of epochs that were void, of those that followed `void_of`.
    void: Vec<Vec<u8>>,
    void_of: u64,
    /// The commit that ends this epoch can't be processed; the verdict is due.
    failed_until: Option<Instant>,
    settle_at: Option<Instant>,
}

impl Inside {
    pub(super) fn new(member: Member, group: u32, suite: Suite) -> Result<Self, Error> {
        let mut inside = Self::unconfirmed(member, group, suite);
        inside.authenticator = inside.keys()?.authenticator;
        Ok(inside)
    }

    /// One whose external commit is not confirmed yet.
    pub(super) fn unconfirmed(member: Member, group: u32, suite: Suite) -> Self {
        Self {
            group,
            suite,
            authenticator: Vec::new(),
            first: member.epoch(),
            member,
            commit_at: None,
            committing: false,
            commits: 0,
            void: Vec::new(),
            void_of: 0,
            failed_until: None,
            settle_at: None,
        }
    }

    pub(super) fn confirm(&mut self, commit: &[u8]) -> Result<(), Error> {
        self.member.handle_commit(commit)?;
        self.authenticator = self.keys()?.authenticator;
        Ok(())
    }

    pub(super) fn epoch(&self) -> u64 {
        self.member.epoch()
    }

    pub(super) fn keys(&self) -> Result<EpochKeys, Error> {
        self.member.keys(self.suite)
    }

    pub(super) fn members(&self) -> Vec<MemberView> {
        self.member.members()
    }

    pub(super) fn failed(&self) -> bool {
        self.failed_until.is_some()
    }

    pub(super) fn due(&self) -> Option<Instant> {
        let due = [self.commit_at, self.failed_until, self.settle_at];
        due.into_iter().flatten().min()
    }

    /// The session is gone, and with it what was wanted and asked on it.
    pub(super) fn lost(&mut self) {
        self.commit_at = None;
        self.committing = false;
    }

    pub(super) fn commit_answered(&mut self, epoch: u64, accepted: bool, now: Instant) {
        self.committing = false;
        // One that was overtaken by a proposal has to be made again; if it was
        // overtaken by a commit, that one comes first.
        if !accepted && epoch == self.epoch() && self.commits < COMMITS_MAX {
            self.commit_at = Some(now + COMMIT_AGAIN);
        }
    }

    /// Our commit to what is open, if it is time for one.
    fn commit(&mut self, now: Instant) -> Option<Commit> {
        if self.commit_at.is_none_or(|at| at > now) {
            return None;
        }
        self.commit_at = None;
        if self.committing || self.failed() || self.commits >= COMMITS_MAX {
            return None;
        }
        self.commits += 1;
        match self.member.commit() {
            Ok(commit) => {
                self.committing = true;
                Some(commit)
            }
            Err(error) => {
                // Another member does it.
                tracing::debug!(%error, "no commit");
                None
            }
        }
    }

    /// Follows a commit.
    fn follow(&mut self, commit: &[u8], now: Instant) -> Result<Change, Error> {
        let before = self.epoch();
        let change = self.member.handle_commit(commit)?;
        if change.removed_self {
            return Ok(change);
        }
        let authenticator = self.keys()?.authenticator;
        if self.void_of == before && self.void.contains(&authenticator) {
            // Void is void: the counters of its keys may be forgotten.
            self.member.roll_back()?;
            return Err(Error::Rule("a void commit came again"));
        }
        self.authenticator = authenticator;
        self.failed_until = None;
        self.commit_at = None;
        self.committing = false;
        self.commits = 0;
        self.settle_at = Some(now + SETTLED_AFTER);
        Ok(change)
    }

    /// The commit that ended `epoch` is void. `Ok(false)`: it was not followed.
    fn go_back(&mut self, epoch: u64) -> Result<bool, Error> {
        self.failed_until = None;
        if self.epoch() == epoch {
            return Ok(false);
        }
        if self.void_of != epoch {
            self.void_of = epoch;
            self.void.clear();
        }
        if self.void.len() >= usize::from(ROLL_BACKS_MAX) {
            return Err(Error::Rule("gone back too often"));
        }
        self.member.roll_back()?;
        let authenticator = self.keys()?.authenticator;
        self.void
            .push(std::mem::replace(&mut self.authenticator, authenticator));
        self.settle_at = None;
        self.commit_at = None;
        self.committing = false;
        Ok(true)
    }
}

impl Group {
    pub(super) fn handle_inside(&mut self, mls: &Mls, epoch: u64, now: Instant) {
        let State::Inside(inside) = &mut self.state else {
            return;
        };
        let at = inside.epoch();
        match mls.kind() {
            MlsKind::MlsRolledBack if epoch <= at => self.roll_back(epoch, now),
            MlsKind::MlsProposal if epoch == at => {
                // Who can't read a proposal can't read the commit to it either;
                // that one tells.
                if let Err(error) = inside.member.handle_proposal(&mls.data) {
                    tracing::debug!(%error, "a proposal can't be processed");
                }
            }
            MlsKind::MlsCommit if epoch == at => self.follow(&mls.data, now),
            MlsKind::MlsCommitWanted if epoch == at => {
                inside.commits = 0;
                inside.commit_at = Some(now + RANK_DELAY * mls.rank.min(RANK_MAX));
                self.handle_inside_due(now);
            }
            // Something was missed, and the session delivers all: it is lost.
            MlsKind::MlsProposal
            | MlsKind::MlsCommit
            | MlsKind::MlsCommitWanted
            | MlsKind::MlsRolledBack
                if epoch > at =>
            {
                self.leave(now);
            }
            // What is overtaken, and what is not for a member.
            _ => {}
        }
    }

    fn follow(&mut self, commit: &[u8], now: Instant) {
        let State::Inside(inside) = &mut self.state else {
            return;
        };
        let (group, before) = (inside.group, inside.epoch());
        match inside.follow(commit, now) {
            Ok(change) if change.removed_self => self.leave(now),
            Ok(change) => {
                let epoch = inside.epoch();
                self.show_leaves(now);
                self.give_keys(false, now);
                if !change.added.is_empty() {
                    self.effects.push_back(Effect::BeginAnew);
                }
                self.send(About::Notice, message(MlsKind::MlsApplied, group, epoch));
            }
            Err(error) => {
                tracing::debug!(%error, "a commit can't be processed");
                inside.failed_until = Some(now + VERDICT_MAX);
                self.send(About::Notice, message(MlsKind::MlsFailed, group, before));
            }
        }
    }

    fn roll_back(&mut self, epoch: u64, now: Instant) {
        let State::Inside(inside) = &mut self.state else {
            return;
        };
        // Who came in by the commit that is void was never in.
        let gone = inside.epoch() > epoch && inside.first > epoch;
        if gone || inside.epoch() > epoch + 1 {
            self.leave(now);
            return;
        }
        match inside.go_back(epoch) {
            Ok(true) => {
                self.show_leaves(now);
                self.give_keys(false, now);
            }
            Ok(false) => {}
            Err(error) => {
                tracing::debug!(%error, "no way back from a void commit");
                self.leave(now);
            }
        }
    }

    pub(super) fn handle_inside_due(&mut self, now: Instant) {
        let State::Inside(inside) = &mut self.state else {
            return;
        };
        if inside.failed_until.is_some_and(|until| until <= now) {
            self.leave(now);
            return;
        }
        if inside.settle_at.is_some_and(|at| at <= now) {
            inside.settle_at = None;
            inside.member.settle();
        }
        let (group, epoch) = (inside.group, inside.epoch());
        if let Some(commit) = inside.commit(now) {
            let mls = Mls {
                data: commit.commit.into(),
                group_info: commit.group_info.into(),
                welcome: commit.welcome.unwrap_or_default().into(),
                ..message(MlsKind::MlsCommit, group, epoch)
            };
            self.send(About::Commit(epoch), mls);
        }
    }
}
