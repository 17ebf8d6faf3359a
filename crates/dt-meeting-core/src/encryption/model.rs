//! MLS as the rules see it, without any cryptography: a message is its number in
//! a ledger that a test's clients and keepers share.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use dt_ids::ParticipantId;

use super::keeper::{Applied, GroupKeeper, KeeperFactory, Leaf, Refused};

/// What a group is in one epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct State {
    pub(crate) id: Bytes,
    pub(crate) epoch: u64,
    /// Who has it has the epoch's keys.
    pub(crate) secret: u64,
    pub(crate) leaves: BTreeMap<Leaf, (ParticipantId, u64)>,
}

#[derive(Debug, Clone)]
pub(crate) enum Message {
    Info(State),
    KeyPackage(ParticipantId, u64),
    Add(Bytes, u64, ParticipantId, u64),
    Remove(Bytes, u64, Leaf),
    Commit {
        /// Of the epoch that it ends.
        epoch: u64,
        committer: Option<Leaf>,
        covers: Vec<Bytes>,
        /// Nobody but its maker can process it.
        broken: bool,
        after: State,
    },
    Welcome(Vec<u64>, State),
}

/// All messages of a test.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ledger(Arc<Mutex<Vec<Message>>>);

impl Ledger {
    pub(crate) fn write(&self, message: Message) -> Bytes {
        let mut messages = self.0.lock().expect("nobody panicked");
        messages.push(message);
        (messages.len() as u64).to_be_bytes().to_vec().into()
    }

    pub(crate) fn read(&self, bytes: &[u8]) -> Option<Message> {
        let number = u64::from_be_bytes(bytes.try_into().ok()?);
        let messages = self.0.lock().expect("nobody panicked");
        messages
            .get(usize::try_from(number).ok()?.checked_sub(1)?)
            .cloned()
    }

    /// All proposals that were made in this epoch: a member that goes back to it
    /// has them still.
    pub(crate) fn open_in(&self, state: &State) -> Vec<Bytes> {
        let messages = self.0.lock().expect("nobody panicked");
        let numbered = (1u64..).zip(messages.iter());
        let of_epoch = numbered.filter(|(_, message)| match message {
            Message::Add(id, epoch, ..) | Message::Remove(id, epoch, _) => {
                *id == state.id && *epoch == state.epoch
            }
            _ => false,
        });
        of_epoch
            .map(|(number, _)| number.to_be_bytes().to_vec().into())
            .collect()
    }

    /// A secret that nobody had before.
    pub(crate) fn fresh(&self) -> u64 {
        self.0.lock().expect("nobody panicked").len() as u64
    }

    /// A commit to these proposals, with its group info and welcome.
    pub(crate) fn commit(
        &self,
        state: &State,
        leaf: Leaf,
        covers: &[Bytes],
        broken: bool,
    ) -> (Bytes, Bytes, Bytes) {
        let mut after = state.clone();
        after.epoch += 1;
        after.secret = self.fresh() | 1 << 40;
        let mut adds = Vec::new();
        for proposal in covers {
            match self.read(proposal) {
                Some(Message::Remove(.., leaf)) => drop(after.leaves.remove(&leaf)),
                Some(Message::Add(.., who, key)) => adds.push((who, key)),
                other => panic!("no proposal: {other:?}"),
            }
        }
        for add in &adds {
            after.leaves.insert(free_leaf(&after), *add);
        }
        let (epoch, covers) = (state.epoch, covers.to_vec());
        let commit = Message::Commit {
            epoch,
            committer: Some(leaf),
            covers,
            broken,
            after: after.clone(),
        };
        let info = self.write(Message::Info(after.clone()));
        let keys: Vec<u64> = adds.into_iter().map(|(_, key)| key).collect();
        let welcome = if keys.is_empty() {
            Bytes::new()
        } else {
            self.write(Message::Welcome(keys, after))
        };
        (self.write(commit), info, welcome)
    }

    /// An external commit, with its group info and the state that it begins.
    pub(crate) fn enter(
        &self,
        info: &State,
        who: ParticipantId,
        broken: bool,
    ) -> (Bytes, Bytes, State) {
        let mut after = info.clone();
        after.epoch += 1;
        after.secret = self.fresh() | 1 << 41;
        let key = self.fresh();
        after.leaves.insert(free_leaf(&after), (who, key));
        let commit = Message::Commit {
            epoch: info.epoch,
            committer: None,
            covers: Vec::new(),
            broken,
            after: after.clone(),
        };
        let info = self.write(Message::Info(after.clone()));
        (self.write(commit), info, after)
    }

    pub(crate) fn found(&self, id: &Bytes, who: ParticipantId) -> (Bytes, State) {
        let state = State {
            id: id.clone(),
            epoch: 0,
            secret: self.fresh() | 1 << 42,
            leaves: BTreeMap::from([(0, (who, self.fresh()))]),
        };
        (self.write(Message::Info(state.clone())), state)
    }
}

fn free_leaf(state: &State) -> Leaf {
    let mut free = 0..;
    free.find(|leaf| !state.leaves.contains_key(leaf))
        .unwrap_or_default()
}

impl KeeperFactory for Ledger {
    fn external_sender(&self) -> Bytes {
        Bytes::from_static(b"controller")
    }

    fn first_group(&self) -> u32 {
        1
    }

    fn found(&self, group_id: &[u8], group_info: &[u8]) -> Result<Box<dyn GroupKeeper>, Refused> {
        match self.read(group_info) {
            Some(Message::Info(state)) if state.id == group_id && state.epoch == 0 => {
                Ok(Box::new(Keeper {
                    ledger: self.clone(),
                    info: Bytes::copy_from_slice(group_info),
                    state,
                    open: Vec::new(),
                    before: None,
                }))
            }
            _ => Err(Refused::Invalid("no new group".into())),
        }
    }

    fn owner(&self, key_package: &[u8]) -> Result<ParticipantId, Refused> {
        match self.read(key_package) {
            Some(Message::KeyPackage(who, _)) => Ok(who),
            _ => Err(Refused::Invalid("no key package".into())),
        }
    }
}

#[derive(Debug)]
struct Keeper {
    ledger: Ledger,
    state: State,
    info: Bytes,
    open: Vec<Bytes>,
    before: Option<(State, Bytes, Vec<Bytes>)>,
}

impl Keeper {
    fn keep(&mut self, proposal: Message) -> Bytes {
        let bytes = self.ledger.write(proposal);
        self.open.push(bytes.clone());
        bytes
    }
}

impl GroupKeeper for Keeper {
    fn propose_add(&mut self, key_package: &[u8]) -> Result<Bytes, Refused> {
        match self.ledger.read(key_package) {
            Some(Message::KeyPackage(who, key)) => Ok(self.keep(Message::Add(
                self.state.id.clone(),
                self.state.epoch,
                who,
                key,
            ))),
            _ => Err(Refused::Invalid("no key package".into())),
        }
    }

    fn propose_remove(&mut self, leaf: Leaf) -> Result<Bytes, Refused> {
        if !self.state.leaves.contains_key(&leaf) {
            return Err(Refused::Invalid("no such leaf".into()));
        }
        Ok(self.keep(Message::Remove(
            self.state.id.clone(),
            self.state.epoch,
            leaf,
        )))
    }

    fn apply(&mut self, commit: &[u8], group_info: &[u8]) -> Result<Applied, Refused> {
        let Some(Message::Commit {
            epoch,
            committer,
            covers,
            after,
            ..
        }) = self.ledger.read(commit)
        else {
            return Err(Refused::Invalid("no commit".into()));
        };
        if epoch != self.state.epoch || after.id != self.state.id {
            return Err(Refused::Stale);
        }
        if covers != self.open {
            return Err(Refused::Incomplete);
        }
        match self.ledger.read(group_info) {
            Some(Message::Info(info)) if info == after => {}
            _ => return Err(Refused::Invalid("another group info".into())),
        }
        let changed = |one: &State, other: &State| -> Vec<(Leaf, ParticipantId)> {
            let of_one = one.leaves.iter();
            of_one
                .filter(|(leaf, entry)| other.leaves.get(leaf) != Some(entry))
                .map(|(leaf, (who, _))| (*leaf, *who))
                .collect()
        };
        let added = changed(&after, &self.state);
        let removed = changed(&self.state, &after);
        let state = std::mem::replace(&mut self.state, after);
        let info = std::mem::replace(&mut self.info, Bytes::copy_from_slice(group_info));
        self.before = Some((state, info, std::mem::take(&mut self.open)));
        Ok(Applied {
            committer,
            added,
            removed: removed.into_iter().map(|(leaf, _)| leaf).collect(),
        })
    }

    fn roll_back(&mut self) -> bool {
        let Some((state, info, open)) = self.before.take() else {
            return false;
        };
        (self.state, self.info, self.open) = (state, info, open);
        true
    }

    fn members(&self) -> Vec<(Leaf, ParticipantId)> {
        let leaves = self.state.leaves.iter();
        leaves.map(|(leaf, (who, _))| (*leaf, *who)).collect()
    }

    fn epoch(&self) -> u64 {
        self.state.epoch
    }

    fn group_info(&self) -> Bytes {
        self.info.clone()
    }
}
