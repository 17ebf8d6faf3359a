//! A controller for tests: the delivery rules around a real [`Keeper`], on a
//! virtual clock, with a session in order to each client and seeded delays.
//!
//! It is a model of what clients may expect of a controller, and of how a
//! faulty one may treat them; the real one has tests of its own.

mod hostile;
mod rules;

pub(super) use hostile::Ghost;

use std::{
    collections::{BTreeMap, BTreeSet, HashSet, VecDeque},
    time::{Duration, Instant},
};

use dt_e2ee::{ControllerKey, GroupSetup, Keeper, Refused, read_credential, read_key_package};
use dt_ids::{MeetingId, ParticipantId};
use dt_wire::v1::{E2eeEntry, EntryWay, ErrorCode, GroupPosition, Mls, MlsKind};
use rand::{RngExt as _, SeedableRng, rngs::StdRng};

use super::{
    Alarm, Check, DeviceKey, Effect, Group, Keys, KnownDevices, Request, Settings, message, offer,
};

pub(super) const MEETING: MeetingId = MeetingId::from_bytes([2; 16]);
/// Joins and leaves within this time share a commit.
const BATCH: Duration = Duration::from_millis(100);
/// Members may take so long to say what became of a commit.
const VERDICT: Duration = Duration::from_millis(300);
/// A disconnected member is removed after so long.
pub(super) const GRACE: Duration = Duration::from_secs(10);
/// Those who are named may take so long.
const WANTED: Duration = Duration::from_millis(1500);
const LOG_MAX: usize = 64;

/// What travels to a client.
#[derive(Debug)]
enum Down {
    Seat(HashSet<ParticipantId>, E2eeEntry),
    Roster(HashSet<ParticipantId>),
    Entry(E2eeEntry),
    Mls(Mls),
    Answer(Request, Result<(), ErrorCode>),
}

/// One client with its session.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) id: ParticipantId,
    pub(super) group: Group,
    /// Connected, as the controller sees it.
    pub(super) connected: bool,
    seated: bool,
    lost_at: Option<Instant>,
    down: VecDeque<(Instant, Down)>,
    up: VecDeque<(Instant, Request, Mls)>,
    pub(super) keys: Vec<Keys>,
    pub(super) has_keys: bool,
    pub(super) begun_anew: u32,
    pub(super) alarms: Vec<Alarm>,
    /// Statements that it wants checked.
    pub(super) checks: Vec<Check>,
}

/// What members said of the newest commit.
#[derive(Debug)]
struct Trial {
    since: Instant,
    epoch: u64,
    committer: ParticipantId,
    applied: BTreeSet<ParticipantId>,
    failed: BTreeSet<ParticipantId>,
    /// What it covered.
    proposed: BTreeMap<ParticipantId, Vec<u8>>,
    leaving: BTreeSet<u32>,
}

/// How the controller spoils a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Spoil {
    /// For everybody: it turns out void.
    ForAll,
    /// For one: that one is stranded.
    ForOne(ParticipantId),
}

pub(super) struct Hall {
    pub(super) now: Instant,
    pub(super) random: StdRng,
    key: ControllerKey,
    keeper: Option<Keeper>,
    pub(super) number: u32,
    pub(super) clients: BTreeMap<ParticipantId, Client>,
    key_packages: BTreeMap<ParticipantId, Vec<u8>>,
    /// Those of open proposals.
    proposed: BTreeMap<ParticipantId, Vec<u8>>,
    /// Leaves whose removal is to be proposed.
    to_remove: BTreeSet<u32>,
    /// Those of open proposals.
    leaving: BTreeSet<u32>,
    batch_at: Option<Instant>,
    trial: Option<Trial>,
    barred: HashSet<ParticipantId>,
    /// When others are named, should none of those who are wanted commit.
    wanted_until: Option<Instant>,
    /// Proposals and commits with the epoch in which they came.
    log: VecDeque<Mls>,
    /// Epochs whose end was void once: who stood behind one may stand nowhere.
    voided: BTreeSet<u64>,
    /// Leaf keys of the controller's own.
    ghosts: HashSet<Vec<u8>>,
    /// Whose key package was kept back, and its own put in its place.
    swapped: Option<ParticipantId>,
    pub(super) swaps: bool,
    last_welcome: Option<Mls>,
    /// What the auth controller says of the device of each number.
    pub(super) statements: BTreeMap<u8, String>,
    /// What all who join know.
    pub(super) known_devices: Option<KnownDevices>,
    /// What to do to the next commit.
    pub(super) spoil: Option<Spoil>,
    pub(super) commits: u32,
    pub(super) rolled_back: u32,
    pub(super) stranded: u32,
    latency_ms_max: u64,
}

impl Hall {
    pub(super) fn new(seed: u64, latency_ms_max: u64) -> Self {
        Self {
            now: Instant::now(),
            random: StdRng::seed_from_u64(seed),
            key: ControllerKey::from_seed([3; 32]),
            keeper: None,
            number: 0,
            clients: BTreeMap::new(),
            key_packages: BTreeMap::new(),
            proposed: BTreeMap::new(),
            to_remove: BTreeSet::new(),
            leaving: BTreeSet::new(),
            batch_at: None,
            trial: None,
            barred: HashSet::new(),
            wanted_until: None,
            log: VecDeque::new(),
            voided: BTreeSet::new(),
            ghosts: HashSet::new(),
            swapped: None,
            swaps: false,
            last_welcome: None,
            statements: BTreeMap::new(),
            known_devices: None,
            spoil: None,
            commits: 0,
            rolled_back: 0,
            stranded: 0,
            latency_ms_max,
        }
    }

    pub(super) fn id(number: u8) -> ParticipantId {
        ParticipantId::from_bytes([number; 16])
    }

    pub(super) fn epoch(&self) -> u64 {
        self.keeper.as_ref().map_or(0, Keeper::epoch)
    }

    pub(super) fn client(&mut self, id: ParticipantId) -> &mut Client {
        self.clients.get_mut(&id).unwrap()
    }

    /// Who is in the group, by the credentials of the public state.
    pub(super) fn in_group(&self) -> BTreeMap<ParticipantId, u32> {
        let members = self.keeper.iter().flat_map(Keeper::members);
        members
            .filter_map(|view| {
                // Of its own ghosts the controller keeps no account.
                let who = read_credential(&view.identity, &view.signature_key).ok()?;
                let id = who.participant_id.parse().unwrap();
                let is_ghost =
                    !self.clients.contains_key(&id) || self.ghosts.contains(&view.signature_key);
                (!is_ghost).then_some((id, view.leaf))
            })
            .collect()
    }

    fn setup(&self) -> GroupSetup {
        let mut group_id = MEETING.into_bytes().to_vec();
        group_id.extend_from_slice(&self.number.to_be_bytes());
        GroupSetup {
            group_id,
            external_sender: self.key.public(),
        }
    }

    /// A new client asks for a seat.
    pub(super) fn join(&mut self, number: u8) -> ParticipantId {
        let id = Self::id(number);
        let settings = Settings {
            meeting_id: MEETING,
            name: format!("Number {number}"),
            device: DeviceKey::from_seed([number; 32]),
            statement: self.statements.get(&number).cloned().unwrap_or_default(),
            known_devices: self.known_devices.clone(),
        };
        let client = Client {
            id,
            group: Group::new(settings).unwrap(),
            connected: true,
            seated: true,
            lost_at: None,
            down: VecDeque::new(),
            up: VecDeque::new(),
            keys: Vec::new(),
            has_keys: false,
            begun_anew: 0,
            alarms: Vec::new(),
            checks: Vec::new(),
        };
        self.clients.insert(id, client);
        self.seat(id);
        id
    }

    /// The session is lost; both sides know at once, what was under way is gone.
    pub(super) fn lose(&mut self, id: ParticipantId) {
        let now = self.now;
        let client = self.client(id);
        client.connected = false;
        client.lost_at = Some(now);
        client.down.clear();
        client.up.clear();
        client.group.handle_lost();
        self.key_packages.remove(&id);
        self.carry_out(id);
    }

    /// A client that was lost returns, with its group in memory.
    pub(super) fn resume(&mut self, id: ParticipantId) {
        let client = self.client(id);
        client.connected = true;
        client.lost_at = None;
        self.seat(id);
    }

    /// A participant leaves or is removed: its seat is gone.
    pub(super) fn remove(&mut self, id: ParticipantId) {
        if let Some(client) = self.clients.get_mut(&id) {
            client.connected = false;
            client.seated = false;
            client.down.clear();
            client.up.clear();
        }
        self.key_packages.remove(&id);
        self.tell_rosters();
        self.want_removed(id);
    }

    fn want_removed(&mut self, id: ParticipantId) {
        if let Some(leaf) = self.in_group().get(&id) {
            self.to_remove.insert(*leaf);
            self.batch_at.get_or_insert(self.now + BATCH);
        }
    }

    fn roster(&self, but: ParticipantId) -> HashSet<ParticipantId> {
        let seated = self.clients.values().filter(|c| c.seated && c.id != but);
        seated.map(|client| client.id).collect()
    }

    fn tell_rosters(&mut self) {
        for id in self.connected() {
            let roster = self.roster(id);
            self.down(id, Down::Roster(roster));
        }
    }

    fn connected(&self) -> Vec<ParticipantId> {
        let connected = self.clients.values().filter(|client| client.connected);
        connected.map(|client| client.id).collect()
    }

    fn down(&mut self, id: ParticipantId, down: Down) {
        let delay = Duration::from_millis(self.random.random_range(0..=self.latency_ms_max));
        let now = self.now;
        let client = self.client(id);
        let last = client.down.back().map_or(now, |(at, _)| *at);
        client.down.push_back(((now + delay).max(last), down));
    }

    fn seat(&mut self, id: ParticipantId) {
        self.tell_rosters();
        let entry = self.entry(id);
        let roster = self.roster(id);
        self.down(id, Down::Seat(roster, entry));
    }

    /// The way in of one client.
    fn entry(&mut self, id: ParticipantId) -> E2eeEntry {
        let position = self.clients[&id].group.position();
        assert_eq!(self.clients[&id].group.offer(), offer(position));
        let members = self.in_group();
        // Who asks for another way in has dropped the group.
        let alive = members.iter().any(|(member, leaf)| {
            *member != id
                && self.clients[member].connected
                && !self.leaving.contains(leaf)
                && !self.to_remove.contains(leaf)
        });
        let known = position.filter(|(group, epoch)| {
            *group == self.number
                && members
                    .get(&id)
                    .is_some_and(|leaf| !self.leaving.contains(leaf))
                && self.logged_since(*epoch)
        });
        let (way, missed) = match known {
            Some((_, epoch)) => {
                self.to_remove.remove(&members[&id]);
                (EntryWay::CatchUp, self.missed(epoch))
            }
            None if !alive => {
                if self.keeper.is_some() || self.number == 0 {
                    self.number += 1;
                    self.keeper = None;
                    self.log.clear();
                    self.voided.clear();
                    self.to_remove.clear();
                    self.leaving.clear();
                    self.key_packages.clear();
                    self.proposed.clear();
                    self.trial = None;
                }
                (EntryWay::Found, Vec::new())
            }
            None if self.is_quiet() && !members.contains_key(&id) => (EntryWay::Commit, Vec::new()),
            None => (EntryWay::BeAdded, Vec::new()),
        };
        let keeper = self.keeper.as_ref();
        E2eeEntry {
            way: way.into(),
            position: Some(GroupPosition {
                group: self.number,
                epoch: self.epoch(),
            }),
            group_id: self.setup().group_id.into(),
            external_sender: self.key.public().into(),
            sframe_suite: 4,
            group_info: keeper
                .map_or(Vec::new(), |k| k.group_info().to_vec())
                .into(),
            missed,
        }
    }

    /// Nothing is proposed, and the epoch can't turn out void.
    fn is_quiet(&self) -> bool {
        let open = self.keeper.as_ref().map_or(0, Keeper::open_proposals);
        self.trial.is_none()
            && open == 0
            && self.key_packages.is_empty()
            && self.to_remove.is_empty()
    }

    fn logged_since(&self, epoch: u64) -> bool {
        let at = |mls: &Mls| mls.position.unwrap_or_default().epoch;
        let sure = epoch == 0 || !self.voided.contains(&(epoch - 1));
        let here = epoch == self.epoch();
        let logged = here
            || self
                .log
                .iter()
                .any(|mls| at(mls) == epoch && mls.kind() == MlsKind::MlsCommit);
        sure && logged
    }

    fn missed(&self, epoch: u64) -> Vec<Mls> {
        let missed = self.log.iter();
        missed
            .filter(|mls| mls.position.unwrap_or_default().epoch >= epoch)
            .cloned()
            .collect()
    }

    fn log(&mut self, mls: Mls) {
        self.log.push_back(mls);
        if self.log.len() > LOG_MAX {
            self.log.pop_front();
        }
    }

    /// Does what a client wants done.
    pub(super) fn carry_out(&mut self, id: ParticipantId) {
        let delay = Duration::from_millis(self.random.random_range(0..=self.latency_ms_max));
        let now = self.now;
        let client = self.client(id);
        while let Some(effect) = client.group.poll_effect() {
            match effect {
                Effect::Send(request, mls) if client.connected => {
                    let last = client.up.back().map_or(now, |(at, ..)| *at);
                    client.up.push_back(((now + delay).max(last), request, mls));
                }
                Effect::Send(..) | Effect::Changed => {}
                Effect::Keys(keys) => {
                    client.has_keys = true;
                    client.keys.push(*keys);
                }
                Effect::Distrust(members) => {
                    if let Some(keys) = client.keys.last_mut() {
                        keys.leaves
                            .retain(|leaf, id| !members.contains(&(*leaf, *id)));
                    }
                }
                Effect::Check(check) => client.checks.push(check),
                Effect::NoKeys => client.has_keys = false,
                Effect::BeginAnew => client.begun_anew += 1,
                Effect::Alarm(alarm) => client.alarms.push(alarm),
            }
        }
    }

    /// Lets so much time pass.
    pub(super) fn run(&mut self, time: Duration) {
        let until = self.now + time;
        loop {
            let next = self.next_at().filter(|at| *at <= until);
            let Some(next) = next else { break };
            self.now = self.now.max(next);
            self.step();
        }
        self.now = until;
    }

    fn next_at(&self) -> Option<Instant> {
        let clients = self.clients.values().filter(|client| client.seated);
        let at = clients.flat_map(|client| {
            [
                client.down.front().map(|(at, _)| *at),
                client.up.front().map(|(at, ..)| *at),
                client.group.poll_timeout(),
                client.lost_at.map(|at| at + GRACE),
            ]
        });
        let trial = self.trial.as_ref().map(|trial| trial.since + VERDICT);
        let batch_at = self.batch_at.filter(|_| self.trial.is_none());
        at.chain([batch_at, trial, self.wanted_until])
            .flatten()
            .min()
    }

    fn step(&mut self) {
        let now = self.now;
        let ids: Vec<_> = self.clients.keys().copied().collect();
        for id in ids {
            if !self.clients[&id].seated {
                continue;
            }
            let client = self.client(id);
            while client.down.front().is_some_and(|(at, _)| *at <= now) {
                let Some((_, down)) = client.down.pop_front() else {
                    break;
                };
                let group = &mut client.group;
                match down {
                    Down::Seat(roster, entry) => group.handle_seat(id, roster, &entry, now),
                    Down::Roster(roster) => group.handle_roster(roster, now),
                    Down::Entry(entry) => group.handle_entry(&entry, now),
                    Down::Mls(mls) => group.handle_message(&mls, now),
                    Down::Answer(request, answer) => group.handle_answer(request, answer, now),
                }
            }
            if client.group.poll_timeout().is_some_and(|at| at <= now) {
                client.group.handle_timeout(now);
            }
            self.carry_out(id);
            while self.clients[&id]
                .up
                .front()
                .is_some_and(|(at, ..)| *at <= now)
            {
                let Some((_, request, mls)) = self.client(id).up.pop_front() else {
                    break;
                };
                self.receive(id, request, &mls);
            }
            if self.clients[&id]
                .lost_at
                .is_some_and(|at| at + GRACE <= now)
            {
                self.client(id).lost_at = None;
                self.want_removed(id);
            }
        }
        if self
            .trial
            .as_ref()
            .is_some_and(|trial| trial.since + VERDICT <= now)
        {
            self.judge();
        }
        if self.trial.is_none() && self.batch_at.is_some_and(|at| at <= now) {
            self.propose();
        }
        if self.wanted_until.is_some_and(|at| at <= now) {
            self.wanted_until = None;
            if self.keeper.as_ref().is_some_and(|k| k.open_proposals() > 0) {
                self.want_commit();
            }
        }
    }

    /// Says this to one client, as a controller may that goes wrong.
    pub(super) fn say(&mut self, id: ParticipantId, mls: Mls) {
        self.down(id, Down::Mls(mls));
    }

    /// All who are connected hold the same keys, and nobody else is in.
    pub(super) fn assert_agreed(&self) {
        let members: Vec<_> = self.in_group().into_keys().collect();
        for id in self.connected().iter().filter(|id| !members.contains(id)) {
            println!("outside: {}", self.clients[id].group.stands());
        }
        assert_eq!(members, self.connected(), "who is in the group");
        let mut shared = None;
        for client in self.clients.values().filter(|client| client.connected) {
            let shown = client.group.shown(self.now);
            assert_eq!(shown.position, Some((self.number, self.epoch())));
            assert!(client.has_keys);
            assert_eq!(shown.alarms, []);
            let mut who: Vec<_> = shown.members.iter().map(|m| m.participant_id).collect();
            who.sort_unstable();
            assert_eq!(who, members);
            let keys = client.keys.last().unwrap();
            let common = (keys.epoch.base_key.clone(), shown.meeting_code);
            assert_eq!(shared.get_or_insert_with(|| common.clone()), &common);
        }
    }

    /// Whether a client that is gone had the keys that hold now.
    pub(super) fn knows_present_keys(&self, id: ParticipantId) -> bool {
        let present = self
            .clients
            .values()
            .find(|client| client.connected)
            .and_then(|client| client.keys.last());
        let Some(present) = present else { return false };
        let mut known = self.clients[&id].keys.iter();
        known.any(|keys| keys.epoch.base_key == present.epoch.base_key)
    }
}
