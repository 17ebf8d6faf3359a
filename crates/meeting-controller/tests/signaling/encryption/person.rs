//! A client with the real MLS, as good as it wants to be.

use std::time::Duration;

use bytes::Bytes;
use dt_e2ee::{
    Candidate, Claims, Commit, DeviceKey, GroupSetup, LeafKey, Member, Suite, binding_bytes,
    credential,
};
use dt_token::Role;
use dt_wire::v1::{
    E2eeEntry, E2eeOffer, EntryWay, ErrorCode, GroupPosition, JoinRequest, JoinResponse, Mls,
    MlsKind, client_message::Body as Request, server_message::Body,
};
use tokio::time::{Instant, timeout};

use crate::bench::{Bench, Client};

/// Far above anything that should happen; the clock is virtual.
const PATIENCE: Duration = Duration::from_secs(30);

/// What somebody does when it is asked to commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Commits {
    Well,
    Never,
    /// With a membership tag that only members can check.
    Broken,
}

pub(crate) struct Person {
    pub(crate) client: Client,
    pub(crate) welcome: JoinResponse,
    pub(crate) member: Option<Member>,
    pub(crate) commits: Commits,
    meeting: String,
    device: DeviceKey,
    group: u32,
    setup: GroupSetup,
    entering: Option<Member>,
    candidate: Option<Candidate>,
    wanted: Option<(Instant, GroupPosition)>,
    /// What happened to it, by kind.
    pub(crate) heard: Vec<MlsKind>,
    pub(crate) ways: Vec<EntryWay>,
    pub(crate) errors: Vec<ErrorCode>,
    pub(crate) closed: bool,
}

pub(crate) fn offer() -> Option<E2eeOffer> {
    Some(E2eeOffer {
        version: 1,
        position: None,
    })
}

pub(crate) fn credential_of(
    meeting: &str,
    participant: &str,
    device: &DeviceKey,
    leaf: &LeafKey,
) -> Vec<u8> {
    let claims = Claims {
        meeting_id: meeting.to_owned(),
        participant_id: participant.to_owned(),
        name: "Somebody".to_owned(),
    };
    let signature = device.sign(&binding_bytes(&claims, leaf.public()));
    credential(&claims, &device.public(), &signature, "")
}

impl Person {
    /// Joins, and goes the way in that it is shown.
    pub(crate) async fn join(bench: &Bench, name: &str, role: Role) -> Self {
        let mut person = Self::arrive(bench, name, role).await;
        person.go_in().await;
        person
    }

    pub(crate) async fn go_in(&mut self) {
        self.enter(self.welcome.e2ee.clone().unwrap()).await;
    }

    /// Joins, and stands before the group still.
    pub(crate) async fn arrive(bench: &Bench, name: &str, role: Role) -> Self {
        let request = JoinRequest {
            e2ee: offer(),
            ..bench.join_request(name, role)
        };
        let mut client = bench.connect().await;
        let welcome = client.join(request).await;
        Self {
            client,
            welcome,
            member: None,
            commits: Commits::Well,
            meeting: bench.meeting.to_string(),
            device: DeviceKey::generate().unwrap(),
            group: 0,
            setup: GroupSetup {
                group_id: Vec::new(),
                external_sender: Vec::new(),
            },
            entering: None,
            candidate: None,
            wanted: None,
            heard: Vec::new(),
            ways: Vec::new(),
            errors: Vec::new(),
            closed: false,
        }
    }

    /// A new session with the seat's token, and the group in memory or not.
    pub(crate) async fn resume(&mut self, bench: &Bench, with_group: bool) {
        let position = with_group.then(|| self.position());
        if !with_group {
            self.member = None;
        }
        let request = JoinRequest {
            meeting_id: self.meeting.clone(),
            resume_token: self.welcome.resume_token.clone(),
            e2ee: Some(E2eeOffer {
                version: 1,
                position,
            }),
            ..JoinRequest::default()
        };
        self.client = bench.connect().await;
        self.closed = false;
        self.welcome = self.client.join(request).await;
        self.enter(self.welcome.e2ee.clone().unwrap()).await;
    }

    pub(crate) fn id(&self) -> String {
        self.welcome.participant_id.clone()
    }

    pub(crate) fn position(&self) -> GroupPosition {
        GroupPosition {
            group: self.group,
            epoch: self.member.as_ref().map_or(0, Member::epoch),
        }
    }

    pub(crate) fn key(&self) -> Option<Vec<u8>> {
        let keys = self.member.as_ref()?.keys(Suite::Aes128Gcm).ok()?;
        Some(keys.base_key.to_vec())
    }

    pub(crate) fn leaves(&self) -> usize {
        self.member.as_ref().map_or(0, |m| m.members().len())
    }

    fn leaf(&self) -> (LeafKey, Vec<u8>) {
        let leaf = LeafKey::generate().unwrap();
        let credential = credential_of(&self.meeting, &self.id(), &self.device, &leaf);
        (leaf, credential)
    }

    pub(crate) async fn send(&mut self, kind: MlsKind, position: GroupPosition, more: Mls) -> u64 {
        let step = Mls {
            kind: kind.into(),
            position: Some(position),
            ..more
        };
        self.client.send(Request::Mls(step)).await
    }

    async fn enter(&mut self, entry: E2eeEntry) {
        let position = entry.position.unwrap();
        self.ways.push(entry.way());
        if entry.way() == EntryWay::CatchUp {
            for step in entry.missed {
                self.step(step).await;
            }
            return;
        }
        self.group = position.group;
        self.setup = GroupSetup {
            group_id: entry.group_id.to_vec(),
            external_sender: entry.external_sender.to_vec(),
        };
        (self.member, self.entering, self.candidate) = (None, None, None);
        let (leaf, credential) = self.leaf();
        match entry.way() {
            EntryWay::Found => {
                let (member, info) = Member::found(leaf, credential, &self.setup).unwrap();
                self.member = Some(member);
                let more = Mls {
                    group_info: info.into(),
                    ..Mls::default()
                };
                self.send(MlsKind::MlsFounded, position, more).await;
            }
            EntryWay::Commit => {
                let entered = Member::enter(leaf, credential, &self.setup, &entry.group_info);
                let (member, commit) = entered.unwrap();
                self.entering = Some(member);
                self.send(MlsKind::MlsCommit, position, wire(commit)).await;
            }
            EntryWay::BeAdded => {
                let candidate = Candidate::new(leaf, credential).unwrap();
                let more = Mls {
                    data: Bytes::copy_from_slice(candidate.key_package()),
                    ..Mls::default()
                };
                self.candidate = Some(candidate);
                self.send(MlsKind::MlsKeyPackage, position, more).await;
            }
            other => panic!("no way in: {other:?}"),
        }
    }

    pub(crate) fn commit(&mut self) -> Mls {
        wire(self.member.as_mut().unwrap().commit().unwrap())
    }

    async fn step(&mut self, step: Mls) {
        let at = step.position.unwrap();
        self.heard.push(step.kind());
        match step.kind() {
            MlsKind::MlsProposal => {
                let member = self.member.as_mut().unwrap();
                member.handle_proposal(&step.data).unwrap();
            }
            MlsKind::MlsCommit => {
                if let Some(entering) = self.entering.take() {
                    self.member = Some(entering);
                }
                let member = self.member.as_mut().unwrap();
                if member.handle_commit(&step.data).is_ok() {
                    let position = self.position();
                    self.send(MlsKind::MlsApplied, position, Mls::default())
                        .await;
                } else if self.commits != Commits::Broken {
                    self.send(MlsKind::MlsFailed, at, Mls::default()).await;
                }
            }
            MlsKind::MlsWelcome => {
                let candidate = self.candidate.take().unwrap();
                self.member = Some(candidate.join(&step.data, &self.setup).unwrap());
                self.send(MlsKind::MlsApplied, at, Mls::default()).await;
            }
            MlsKind::MlsRolledBack => {
                let member = self.member.as_mut().unwrap();
                if member.epoch() > at.epoch {
                    member.roll_back().unwrap();
                }
            }
            MlsKind::MlsCommitWanted => {
                let wait = Duration::from_millis(400 * u64::from(step.rank));
                self.wanted = Some((Instant::now() + wait, at));
            }
            other => panic!("not for clients: {other:?}"),
        }
    }

    async fn take(&mut self, body: Body) {
        match body {
            Body::Mls(step) => self.step(step).await,
            Body::E2eeEntry(entry) => self.enter(entry).await,
            Body::Error(error) => self.errors.push(ErrorCode::try_from(error.code).unwrap()),
            _ => {}
        }
    }

    /// Does what there is to do for a moment.
    async fn live(&mut self) {
        if self.closed {
            return;
        }
        while let Ok(message) = timeout(Duration::from_millis(1), self.client.message()).await {
            match message {
                Some((_, body)) => self.take(body).await,
                None => {
                    self.closed = true;
                    return;
                }
            }
        }
        let due = self.wanted.filter(|(at, _)| *at <= Instant::now());
        if let Some((_, position)) = due {
            self.wanted = None;
            if position == self.position() && self.commits != Commits::Never {
                let mut commit = self.commit();
                if self.commits == Commits::Broken {
                    commit.data = break_tag(&commit.data);
                }
                self.send(MlsKind::MlsCommit, position, commit).await;
            }
        }
    }
}

pub(crate) fn wire(commit: Commit) -> Mls {
    Mls {
        data: commit.commit.into(),
        group_info: commit.group_info.into(),
        welcome: commit.welcome.unwrap_or_default().into(),
        ..Mls::default()
    }
}

/// The membership tag ends a commit of a member.
fn break_tag(commit: &[u8]) -> Bytes {
    let mut broken = commit.to_vec();
    *broken.last_mut().unwrap() ^= 1;
    broken.into()
}

/// All live until something holds.
pub(crate) async fn until<'a>(
    what: &str,
    people: &mut [&'a mut Person],
    holds: impl Fn(&[&'a mut Person]) -> bool,
) {
    let deadline = Instant::now() + PATIENCE;
    while !holds(people) {
        assert!(Instant::now() < deadline, "never: {what}");
        for person in &mut *people {
            person.live().await;
        }
    }
}

/// All live until they stand in one epoch of a group of so many, with one key.
pub(crate) async fn together(leaves: usize, people: &mut [&mut Person]) {
    until("one group", people, |people| {
        let key = people[0].key();
        key.is_some()
            && people
                .iter()
                .all(|p| p.key() == key && p.leaves() == leaves)
    })
    .await;
}

/// All live for so long.
pub(crate) async fn pass(time: Duration, people: &mut [&mut Person]) {
    let end = Instant::now() + time;
    until("time passes", people, |_| Instant::now() >= end).await;
}
