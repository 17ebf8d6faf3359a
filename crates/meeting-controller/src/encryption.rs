//! Keepers of MLS groups for the rules of meetings, and the key with which a
//! meeting's controllers sign for its groups.
//!
//! The key is in the state store, sealed under the master key, so that whoever
//! takes the meeting over is the same external sender; without the master key it
//! opens nothing, and it never opens media.
//!
//! A keeper works in the meeting's task: with 500 members a commit takes it some
//! milliseconds, which at the pace of commits (a handful a second at most) is
//! less than handing the group to another thread and back would complicate.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use dt_e2ee::{ControllerKey, GroupSetup, MemberView, read_credential, read_key_package};
use dt_ids::{MeetingId, ParticipantId};
use dt_meeting_core::{Applied, GroupKeeper, KeeperFactory, Leaf, Refused, Settings};
use dt_rpc::{RpcError, RpcResult};
use dt_service::master_key::MasterKey;
use dt_store::{FencedError, Lease, StateError, StateStore, keys};
use dt_wire::v1::MemberCredential;
use prost::Message as _;
use zeroize::Zeroizing;

use crate::{
    Inner,
    meeting::{Handle, Keepers},
};

/// Longer than a meeting lives.
const KEPT: Duration = Duration::from_secs(401 * 24 * 3600);
/// Numbers of groups for each controller that runs a meeting.
const GROUPS_PER_BEGIN: u32 = 1 << 16;

impl Inner {
    /// What an encrypted meeting needs that begins under this lease.
    pub(crate) async fn keepers(
        &self,
        lease: &Lease,
        meeting: MeetingId,
        settings: &Settings,
    ) -> RpcResult<Keepers> {
        if settings.encryption.is_none() {
            return Ok(None);
        }
        let Some(master_key) = &self.config.master_key else {
            return Err(RpcError::Invalid(
                "this server has no master key: it can't run encrypted meetings".into(),
            ));
        };
        let key = signer(&*self.state, master_key, meeting).await?;
        let begins = begin(&*self.state, lease, meeting).await?;
        Ok(Some(Arc::new(Factory {
            meeting,
            public: key.public().into(),
            key: Arc::new(key),
            first_group: begins.saturating_mul(GROUPS_PER_BEGIN).saturating_add(1),
        })))
    }

    /// The same for a meeting that runs here already and is not encrypted yet.
    pub(crate) async fn keepers_for(
        &self,
        running: &Handle,
        settings: &Settings,
    ) -> RpcResult<Keepers> {
        if settings.encryption.is_none() || running.is_encrypted() {
            return Ok(None);
        }
        let meeting = running.meeting();
        let name = keys::meeting_lease(meeting);
        let owner = self.config.controller_id.to_string();
        match self.state.holder(&name).await.map_err(unavailable)? {
            Some(holder) if holder.owner == owner => {
                let generation = holder.generation;
                let lease = Lease {
                    name,
                    owner,
                    generation,
                };
                let keepers = self.keepers(&lease, meeting, settings).await?;
                running.set_encrypted();
                Ok(keepers)
            }
            _ => Ok(None),
        }
    }
}

fn label(meeting: MeetingId) -> String {
    format!("meeting/{meeting}/signer 1")
}

fn unavailable(error: StateError) -> RpcError {
    RpcError::Unavailable(error.to_string())
}

/// The meeting's signing key: the one that is stored, or a new one.
async fn signer(
    state: &dyn StateStore,
    master_key: &MasterKey,
    meeting: MeetingId,
) -> RpcResult<ControllerKey> {
    let name = keys::meeting_signer(meeting);
    let stored = state.get(&name).await.map_err(unavailable)?;
    let sealed = match stored {
        Some(sealed) => sealed,
        None => {
            let key =
                ControllerKey::generate().map_err(|error| RpcError::Internal(error.to_string()))?;
            let sealed = Bytes::from(master_key.seal(&key.seed()[..], &label(meeting)));
            let first = state
                .put_if_absent(&name, sealed.clone(), Some(KEPT))
                .await
                .map_err(unavailable)?;
            if first {
                return Ok(key);
            }
            // Another controller was quicker; its key counts.
            let theirs = state.get(&name).await.map_err(unavailable)?;
            theirs.ok_or_else(|| RpcError::Unavailable("the signing key is gone".into()))?
        }
    };
    let seed = master_key
        .open(&sealed, &label(meeting))
        .map_err(|error| RpcError::Internal(error.to_string()))?;
    let seed = <[u8; 32]>::try_from(seed.as_slice()).map(Zeroizing::new);
    let seed = seed.map_err(|_| RpcError::Internal("the signing key is no key".into()))?;
    Ok(ControllerKey::from_seed(*seed))
}

/// How often the meeting was begun before.
async fn begin(state: &dyn StateStore, lease: &Lease, meeting: MeetingId) -> RpcResult<u32> {
    let name = keys::meeting_begins(meeting);
    let stored = state.get(&name).await.map_err(unavailable)?;
    let before = stored
        .and_then(|bytes| <[u8; 4]>::try_from(&bytes[..]).ok())
        .map_or(0, u32::from_be_bytes);
    let now = Bytes::copy_from_slice(&before.saturating_add(1).to_be_bytes());
    match state.put_fenced(lease, &name, now, Some(KEPT)).await {
        Ok(()) => Ok(before),
        Err(FencedError::Stale) => Err(RpcError::Fenced(
            "another controller runs the meeting".into(),
        )),
        Err(FencedError::Store(error)) => Err(unavailable(error)),
    }
}

/// Makes the keepers of one meeting.
struct Factory {
    meeting: MeetingId,
    key: Arc<ControllerKey>,
    public: Bytes,
    first_group: u32,
}

impl std::fmt::Debug for Factory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Factory")
            .field("meeting", &self.meeting)
            .finish_non_exhaustive()
    }
}

impl KeeperFactory for Factory {
    fn external_sender(&self) -> Bytes {
        self.public.clone()
    }

    fn first_group(&self) -> u32 {
        self.first_group
    }

    fn found(&self, group_id: &[u8], group_info: &[u8]) -> Result<Box<dyn GroupKeeper>, Refused> {
        let setup = GroupSetup {
            group_id: group_id.to_vec(),
            external_sender: self.public.to_vec(),
        };
        let group = dt_e2ee::Keeper::found(&setup, group_info).map_err(refused)?;
        let keeper = Keeper {
            meeting: self.meeting,
            key: Arc::clone(&self.key),
            group,
        };
        for view in keeper.group.members() {
            owner(&view, self.meeting)?;
        }
        Ok(Box::new(keeper))
    }

    fn owner(&self, key_package: &[u8]) -> Result<ParticipantId, Refused> {
        let view = read_key_package(key_package).map_err(refused)?;
        owner(&view, self.meeting)
    }
}

#[derive(Debug)]
struct Keeper {
    meeting: MeetingId,
    key: Arc<ControllerKey>,
    group: dt_e2ee::Keeper,
}

impl GroupKeeper for Keeper {
    fn propose_add(&mut self, key_package: &[u8]) -> Result<Bytes, Refused> {
        let proposal = self.group.propose_add(&self.key, key_package);
        proposal.map(Bytes::from).map_err(refused)
    }

    fn propose_remove(&mut self, leaf: Leaf) -> Result<Bytes, Refused> {
        let proposal = self.group.propose_remove(&self.key, leaf);
        proposal.map(Bytes::from).map_err(refused)
    }

    fn apply(&mut self, commit: &[u8], group_info: &[u8]) -> Result<Applied, Refused> {
        let applied = self.group.apply(commit, group_info).map_err(refused)?;
        let members = self.group.members();
        let came = members
            .iter()
            .filter(|view| applied.added.contains(&view.leaf));
        let added: Result<_, Refused> = came
            .map(|view| Ok((view.leaf, owner(view, self.meeting)?)))
            .collect();
        match added {
            Ok(added) => Ok(Applied {
                committer: applied.committer,
                added,
                removed: applied.removed,
            }),
            Err(refused) => {
                self.group.roll_back();
                Err(refused)
            }
        }
    }

    fn roll_back(&mut self) -> bool {
        self.group.roll_back()
    }

    fn members(&self) -> Vec<(Leaf, ParticipantId)> {
        // Whoever is inside was checked when it came.
        let named = |view: &MemberView| {
            let credential = MemberCredential::decode(&view.identity[..]).ok()?;
            Some((view.leaf, credential.participant_id.parse().ok()?))
        };
        self.group.members().iter().filter_map(named).collect()
    }

    fn epoch(&self) -> u64 {
        self.group.epoch()
    }

    fn group_info(&self) -> Bytes {
        Bytes::copy_from_slice(self.group.group_info())
    }
}

/// Whom a leaf's credential names, if its device signed it for this meeting.
fn owner(view: &MemberView, meeting: MeetingId) -> Result<ParticipantId, Refused> {
    let wrong = |why: String| Refused::Invalid(why);
    let identity = read_credential(&view.identity, &view.signature_key)
        .map_err(|error| wrong(error.to_string()))?;
    if identity.meeting_id.parse() != Ok(meeting) {
        return Err(wrong("the credential is for another meeting".to_owned()));
    }
    identity
        .participant_id
        .parse()
        .map_err(|_| wrong("the credential names nobody".to_owned()))
}

fn refused(refused: dt_e2ee::Refused) -> Refused {
    match refused {
        dt_e2ee::Refused::Stale => Refused::Stale,
        dt_e2ee::Refused::Incomplete => Refused::Incomplete,
        other => Refused::Invalid(other.to_string()),
    }
}
