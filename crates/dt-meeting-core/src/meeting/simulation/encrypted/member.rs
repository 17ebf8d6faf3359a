//! A client of the group: what it knows of it, and what it does of its own.

use bytes::Bytes;
use dt_ids::ParticipantId;
use dt_wire::v1::{
    E2eeEntry, EntryWay, ErrorCode, GroupPosition, JoinResponse, Mls, MlsKind, ServerMessage,
    client_message::Body as Request, server_message::Body,
};
use rand::{RngExt as _, rngs::StdRng};

use crate::{
    SessionId, Time,
    encryption::{
        Position,
        model::{Ledger, Message, State},
    },
};

/// How a client differs from a good one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Vices {
    /// Of its commits so many in a hundred can't be processed.
    pub(super) forges: u32,
    /// Of the good commits so many in a hundred it calls bad.
    pub(super) lies: u32,
    /// So often in a hundred it does not commit when asked.
    pub(super) lazy: u32,
    /// So often in a hundred it crashes between making a commit and sending it.
    pub(super) crashes: u32,
}

/// A group in a client's memory.
#[derive(Debug, Clone)]
pub(super) struct Mine {
    pub(super) number: u32,
    pub(super) state: State,
    before: Option<State>,
    proposals: Vec<Bytes>,
    pending: Option<Bytes>,
}

#[derive(Debug)]
pub(super) struct Member {
    pub(super) session: Option<SessionId>,
    pub(super) me: Option<ParticipantId>,
    pub(super) resume_token: Option<Bytes>,
    pub(super) group: Option<Mine>,
    entering: Option<(u32, Bytes, State)>,
    key: Option<u64>,
    pub(super) vices: Vices,
    /// One way over its network.
    pub(super) latency_ms: u64,
    /// It hears and says nothing until then.
    pub(super) frozen_until: Time,
    /// Commits that it will make, and for which moment.
    pub(super) alarms: Vec<(Time, Position)>,
    /// What it will send now.
    pub(super) outgoing: Vec<Request>,
    pub(super) crashed: bool,
}

impl Member {
    pub(super) fn new(vices: Vices, latency_ms: u64) -> Self {
        Self {
            session: None,
            me: None,
            resume_token: None,
            group: None,
            entering: None,
            key: None,
            vices,
            latency_ms,
            frozen_until: Time(0),
            alarms: Vec::new(),
            outgoing: Vec::new(),
            crashed: false,
        }
    }

    /// Its page is loaded anew: only the resume token is left.
    pub(super) fn forget(&mut self) {
        self.group = None;
        self.entering = None;
        self.key = None;
        self.alarms.clear();
    }

    pub(super) fn position(&self) -> Option<Position> {
        let group = self.group.as_ref()?;
        Some(Position {
            group: group.number,
            epoch: group.state.epoch,
        })
    }

    fn send(&mut self, kind: MlsKind, position: Option<Position>, more: Mls) {
        self.outgoing.push(Request::Mls(Mls {
            kind: kind.into(),
            position: position.map(GroupPosition::from),
            ..more
        }));
    }

    pub(super) fn receive(
        &mut self,
        message: ServerMessage,
        ledger: &Ledger,
        now: Time,
        rng: &mut StdRng,
    ) {
        match message.body.expect("a message has a body") {
            Body::JoinResponse(JoinResponse {
                participant_id,
                resume_token,
                e2ee,
                ..
            }) => {
                self.me = Some(participant_id.parse().expect("a UUID"));
                self.resume_token = Some(resume_token);
                self.enter(e2ee.expect("a way in"), ledger, now, rng);
            }
            Body::E2eeEntry(entry) => self.enter(entry, ledger, now, rng),
            Body::Mls(step) => self.step(step, ledger, now, rng),
            Body::Error(error) => {
                let lost = matches!(
                    error.code(),
                    ErrorCode::Conflict | ErrorCode::InvalidRequest
                );
                if lost && let Some(group) = &mut self.group {
                    group.pending = None;
                }
            }
            _ => {}
        }
    }

    fn enter(&mut self, entry: E2eeEntry, ledger: &Ledger, now: Time, rng: &mut StdRng) {
        let position = Position::from(entry.position.expect("where it stands"));
        let me = self.me.expect("it has joined");
        self.alarms.clear();
        if entry.way() == EntryWay::CatchUp {
            for step in entry.missed {
                self.step(step, ledger, now, rng);
            }
            if self.position().is_none_or(|here| here < position) {
                self.strand();
            }
            return;
        }
        self.group = None;
        (self.entering, self.key) = (None, None);
        match entry.way() {
            EntryWay::Found => {
                let (group_info, state) = ledger.found(&entry.group_id, me);
                self.group = Some(Mine::new(position.group, state));
                let more = Mls {
                    group_info,
                    ..Mls::default()
                };
                self.send(MlsKind::MlsFounded, Some(position), more);
            }
            EntryWay::Commit => {
                let Some(Message::Info(info)) = ledger.read(&entry.group_info) else {
                    panic!("a group info is needed");
                };
                let broken = rng.random_ratio(self.vices.forges, 100);
                let (data, group_info, after) = ledger.enter(&info, me, broken);
                self.entering = Some((position.group, data.clone(), after));
                let more = Mls {
                    data,
                    group_info,
                    ..Mls::default()
                };
                self.send(MlsKind::MlsCommit, Some(position), more);
            }
            EntryWay::BeAdded => {
                let key = ledger.fresh();
                self.key = Some(key);
                let more = Mls {
                    data: ledger.write(Message::KeyPackage(me, key)),
                    ..Mls::default()
                };
                self.send(MlsKind::MlsKeyPackage, Some(position), more);
            }
            other => panic!("no way in: {other:?}"),
        }
    }

    pub(super) fn strand(&mut self) {
        self.forget();
        self.send(MlsKind::MlsStranded, None, Mls::default());
    }

    fn step(&mut self, step: Mls, ledger: &Ledger, now: Time, rng: &mut StdRng) {
        let at = step.position.map(Position::from).expect("a position");
        match step.kind() {
            MlsKind::MlsProposal => {
                if self.position() == Some(at)
                    && let Some(group) = &mut self.group
                    && !group.proposals.contains(&step.data)
                {
                    group.proposals.push(step.data);
                }
            }
            MlsKind::MlsCommit => self.commit_in_force(at, step.data, ledger, rng),
            MlsKind::MlsWelcome => {
                let Some(Message::Welcome(keys, state)) = ledger.read(&step.data) else {
                    panic!("no welcome");
                };
                match self.key.take() {
                    Some(key) if keys.contains(&key) => {
                        self.group = Some(Mine::new(at.group, state));
                        self.send(MlsKind::MlsApplied, Some(at), Mls::default());
                    }
                    _ => self.strand(),
                }
            }
            MlsKind::MlsRolledBack => {
                if let Some(group) = &mut self.group
                    && group.number == at.group
                {
                    group.pending = None;
                    if group.state.epoch == at.epoch + 1 {
                        match group.before.take() {
                            Some(before) => {
                                group.proposals = ledger.open_in(&before);
                                group.state = before;
                            }
                            // It came in by that commit: its new way in follows.
                            None => self.group = None,
                        }
                    }
                }
            }
            MlsKind::MlsCommitWanted => {
                if !rng.random_ratio(self.vices.lazy, 100) {
                    self.alarms
                        .push((now.plus_ms(u64::from(step.rank) * 400), at));
                }
            }
            other => panic!("not for clients: {other:?}"),
        }
    }

    fn commit_in_force(&mut self, at: Position, data: Bytes, ledger: &Ledger, rng: &mut StdRng) {
        let next = Position {
            epoch: at.epoch + 1,
            ..at
        };
        if let Some((number, pending, state)) = self.entering.clone()
            && pending == data
        {
            self.entering = None;
            self.group = Some(Mine::new(number, state));
            return self.send(MlsKind::MlsApplied, Some(next), Mls::default());
        }
        let here = self.position();
        let Some(group) = &mut self.group else {
            return;
        };
        if here != Some(at) {
            if here < Some(at) {
                self.strand();
            }
            return;
        }
        let Some(Message::Commit {
            covers,
            broken,
            after,
            ..
        }) = ledger.read(&data)
        else {
            panic!("no commit");
        };
        let own = group.pending.take().is_some_and(|pending| pending == data);
        let knows = covers.iter().all(|p| group.proposals.contains(p));
        if !own && (broken || !knows || rng.random_ratio(self.vices.lies, 100)) {
            return self.send(MlsKind::MlsFailed, Some(at), Mls::default());
        }
        let mine = after.leaves.values().any(|(who, _)| Some(*who) == self.me);
        group.before = Some(std::mem::replace(&mut group.state, after));
        group.proposals.clear();
        if mine {
            self.send(MlsKind::MlsApplied, Some(next), Mls::default());
        } else {
            self.strand();
        }
    }

    /// A commit that was wanted for this moment, if it still is.
    pub(super) fn alarm(&mut self, wanted: Position, ledger: &Ledger, rng: &mut StdRng) {
        let broken = rng.random_ratio(self.vices.forges, 100);
        if self.position() != Some(wanted) {
            return;
        }
        let (Some(group), me) = (&mut self.group, self.me) else {
            return;
        };
        let mut leaves = group.state.leaves.iter();
        let Some((leaf, _)) = leaves.find(|(_, (who, _))| Some(*who) == me) else {
            return;
        };
        let (data, group_info, welcome) =
            ledger.commit(&group.state, *leaf, &group.proposals, broken);
        group.pending = Some(data.clone());
        if rng.random_ratio(self.vices.crashes, 100) {
            self.crashed = true;
            return;
        }
        let more = Mls {
            data,
            group_info,
            welcome,
            ..Mls::default()
        };
        self.send(MlsKind::MlsCommit, Some(wanted), more);
    }
}

impl Mine {
    fn new(number: u32, state: State) -> Self {
        Self {
            number,
            state,
            before: None,
            proposals: Vec::new(),
            pending: None,
        }
    }
}
