//! The encryption of a meeting under random schedules: members that are slow,
//! lie, forge, crash between a commit and its sending, lose their sessions, are
//! cut off for a while, reload, leave and are removed.
//!
//! Every message takes its time on its own way and keeps its order there. After
//! every step the state is checked (`check`); at the end nothing more happens, all
//! behave, and within a bound everybody must stand in the same epoch with the
//! same secret. Seeds as in the simulation of the whole meeting.

mod member;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use dt_ids::{HandlerId, MeetingId, ParticipantId};
use dt_wire::v1::{
    EndMeeting, Leave, MlsKind, RemoveParticipant, Role, ServerMessage,
    client_message::Body as Request, server_message::Body,
};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use std::sync::Arc;

use self::member::{Member, Vices};
use super::{run_all, seeds};
use crate::{
    Codecs, Config, Credential, Effect, Join, Limits, Meeting, Offer, Resume, SessionId, Settings,
    SframeSuite, Time,
    encryption::{Position, View, model::Ledger},
    resume_hash,
};

const SCHEDULES: u64 = 3000;
const PEOPLE: usize = 6;
const STEPS_MAX: usize = 40;
/// When all behave and nothing happens: for everybody to stand in one epoch.
const CONVERGENCE_MS: u64 = 60_000;
/// How long somebody without a seat may stay in a group that works, where
/// everybody behaves, and where somebody does not.
const REMOVAL_MS: u64 = 4000;
const REMOVAL_AMONG_VICES_MS: u64 = 120_000;

struct World {
    rng: StdRng,
    now: Time,
    meeting: Meeting,
    handler: HandlerId,
    ledger: Ledger,
    members: Vec<Member>,
    /// On their way, in order: to the server and from it.
    up: Vec<VecDeque<(Time, SessionId, Request)>>,
    down: Vec<VecDeque<(Time, SessionId, ServerMessage)>>,
    last_session: u64,
    tokens: u64,
    /// The commit in force of each epoch.
    in_force: BTreeMap<Position, Bytes>,
    last: Option<Position>,
    /// Since when somebody is in a working group without a seat, or a proposal open.
    overdue: BTreeMap<Option<ParticipantId>, Time>,
    vicious: bool,
    trace: Vec<u64>,
}

fn vices(rng: &mut StdRng) -> Vices {
    let some = |rng: &mut StdRng| [5, 30, 100][rng.random_range(0..3)];
    match rng.random_range(0..5) {
        0 => Vices {
            forges: some(rng),
            ..Vices::default()
        },
        1 => Vices {
            lies: some(rng),
            ..Vices::default()
        },
        2 => Vices {
            lazy: some(rng),
            ..Vices::default()
        },
        3 => Vices {
            crashes: some(rng),
            ..Vices::default()
        },
        _ => Vices {
            forges: 10,
            lies: 10,
            lazy: 10,
            crashes: 10,
        },
    }
}

impl World {
    fn new(seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let handler = HandlerId::from_bytes(rng.random());
        let (ledger, now) = (Ledger::default(), Time(1_700_000_000_000));
        let config = Config {
            meeting: MeetingId::from_bytes(rng.random()),
            lease: 1,
            handlers: vec![handler],
            route_ids: None,
            settings: Settings {
                display_name: "simulated".into(),
                participants_max: 100,
                encryption: Some(SframeSuite::Aes128Gcm),
                hide_audio_levels: false,
            },
            keepers: Some(Arc::new(ledger.clone())),
            limits: Limits::default(),
        };
        let vicious = rng.random_ratio(1, 2);
        let members: Vec<Member> = (0..PEOPLE)
            .map(|_| {
                let bad = vicious && rng.random_ratio(1, 3);
                let vices = if bad {
                    vices(&mut rng)
                } else {
                    Vices::default()
                };
                let slow = vicious && rng.random_ratio(1, 6);
                let latency_ms = if slow { 700 } else { rng.random_range(1..120) };
                Member::new(vices, latency_ms)
            })
            .collect();
        Self {
            meeting: Meeting::new(config, now),
            rng,
            now,
            handler,
            ledger,
            up: members.iter().map(|_| VecDeque::new()).collect(),
            down: members.iter().map(|_| VecDeque::new()).collect(),
            members,
            last_session: 0,
            tokens: 0,
            in_force: BTreeMap::new(),
            last: None,
            overdue: BTreeMap::new(),
            vicious,
            trace: Vec::new(),
        }
    }

    fn chance(&mut self, percent: u32) -> bool {
        self.rng.random_ratio(percent, 100)
    }

    fn view(&self) -> Option<View> {
        self.meeting.encryption.as_ref().and_then(|e| e.view())
    }

    fn new_session(&mut self) -> SessionId {
        self.last_session += 1;
        SessionId(self.last_session)
    }

    // -- the server's side ---------------------------------------------------

    fn apply(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Send { sessions, message } => {
                    for session in sessions {
                        self.deliver(session, message.clone());
                    }
                }
                Effect::SendWithMediaAccess {
                    session, message, ..
                } => self.deliver(session, message),
                Effect::Close { session, .. } => {
                    let of = |m: &&mut Member| m.session == Some(session);
                    if let Some(member) = self.members.iter_mut().find(of) {
                        member.session = None;
                    }
                }
                Effect::Register { command, .. } => {
                    let participant = command.participant_id.parse().expect("a UUID");
                    let generation = command.generation.expect("a generation");
                    let more = self.meeting.handle_registered(
                        self.handler,
                        participant,
                        generation,
                        self.now,
                    );
                    self.apply(more);
                }
                _ => {}
            }
        }
    }

    fn deliver(&mut self, session: SessionId, message: ServerMessage) {
        if let Some(Body::Mls(step)) = &message.body {
            let at = step.position.map(Position::from).expect("a position");
            match step.kind() {
                MlsKind::MlsCommit => {
                    let other = self.in_force.insert(at, step.data.clone());
                    assert!(
                        other.is_none_or(|other| other == step.data),
                        "one commit an epoch: {at:?}"
                    );
                }
                MlsKind::MlsRolledBack => drop(self.in_force.remove(&at)),
                MlsKind::MlsCommitWanted => {
                    let user = self.meeting.roster.by_session(session);
                    let seat = user.and_then(|user| self.meeting.roster.get(user));
                    let who = seat.expect("only connected ones are asked").participant;
                    let leaves = self.view().expect("a group").leaves;
                    assert!(leaves.iter().any(|(_, other)| *other == who), "a member");
                }
                _ => {}
            }
        }
        self.trace.push(self.now.0 ^ session.0);
        let Some(number) = self.members.iter().position(|m| m.session == Some(session)) else {
            return;
        };
        let at = self.now.plus_ms(self.members[number].latency_ms);
        self.down[number].push_back((at, session, message));
    }

    fn request(&mut self, session: SessionId, request: Request) {
        let id = match request {
            Request::Mls(_) => 1,
            _ => 0,
        };
        let effects = self.meeting.handle_request(session, id, request, self.now);
        self.apply(effects);
    }

    fn lose(&mut self, number: usize) {
        if let Some(session) = self.members[number].session.take() {
            self.up[number].clear();
            self.down[number].clear();
            let effects = self.meeting.handle_session_lost(session, self.now);
            self.apply(effects);
        }
    }

    // -- what people do ------------------------------------------------------

    fn come(&mut self, number: usize, reload: bool) {
        self.lose(number);
        let session = self.new_session();
        if reload {
            self.members[number].forget();
        }
        let member = &mut self.members[number];
        member.session = Some(session);
        let position = member.position();
        if let Some(token) = member.resume_token.take() {
            let resume = Resume {
                hash: resume_hash(&token),
                kept_streams: vec![],
                max_video_streams: None,
                codecs: None,
                e2ee: Some(Offer { position }),
            };
            let resumed = self
                .meeting
                .handle_resume(session, 1, &resume, self.now, &mut self.rng);
            if let Ok(effects) = resumed {
                return self.apply(effects);
            }
        }
        self.members[number].forget();
        self.tokens += 1;
        let join = Join {
            role: if number == 0 { Role::Host } else { Role::Guest },
            credential: Credential::of(&self.tokens.to_string()),
            name: format!("person {number}"),
            max_video_streams: 0,
            codecs: Codecs::default(),
            e2ee: Some(Offer::default()),
        };
        let joined = self
            .meeting
            .handle_join(session, 1, join, self.now, &mut self.rng);
        self.apply(joined.expect("there is room"));
    }

    fn act(&mut self) {
        let number = self.rng.random_range(0..PEOPLE);
        let Some(session) = self.members[number].session else {
            let reload = self.chance(50);
            return self.come(number, reload);
        };
        match self.rng.random_range(0..100) {
            0..=9 => self.request(session, Request::Leave(Leave {})),
            10..=19 => self.kick(),
            20..=34 => self.lose(number),
            35..=44 => self.come(number, true),
            45..=59 => self.come(number, false),
            60..=69 => {
                let ms = self.rng.random_range(0..20_000);
                self.members[number].frozen_until = self.now.plus_ms(ms);
            }
            70..=75 => self.rotate(number),
            76..=78 => {
                self.members[number].strand();
                self.send(number);
            }
            79..=84 => self.nonsense(number),
            // A burst of people.
            _ => {
                for number in 0..PEOPLE {
                    if self.members[number].session.is_none() {
                        self.come(number, false);
                    }
                }
            }
        }
    }

    fn rotate(&mut self, number: usize) {
        let step = dt_wire::v1::Mls {
            kind: MlsKind::MlsRotate.into(),
            position: self.view().map(|view| view.position.into()),
            ..Default::default()
        };
        self.members[number].outgoing.push(Request::Mls(step));
        self.send(number);
    }

    /// Any message at any time, with anybody's bytes. (That it is stranded a
    /// client says only when it is: it can't expect an answer to what was before.)
    fn nonsense(&mut self, number: usize) {
        let bytes = |world: &mut Self| {
            let number = world.rng.random_range(0..=world.ledger.fresh() + 1);
            Bytes::copy_from_slice(&number.to_be_bytes())
        };
        let kind = self.rng.random_range(0..10);
        let step = dt_wire::v1::Mls {
            kind,
            position: self.view().map(|view| view.position.into()),
            data: bytes(self),
            group_info: bytes(self),
            welcome: bytes(self),
            rank: 0,
        };
        self.vicious = true;
        self.members[number].outgoing.push(Request::Mls(step));
        self.send(number);
    }

    fn kick(&mut self) {
        let Some(host) = self.members[0].session else {
            return;
        };
        let number = self.rng.random_range(1..PEOPLE);
        if let Some(me) = self.members[number].me {
            let participant_id = me.to_string();
            self.request(
                host,
                Request::RemoveParticipant(RemoveParticipant { participant_id }),
            );
        }
    }

    // -- time ----------------------------------------------------------------

    fn next_event(&self) -> Option<Time> {
        let thawed = |number: usize, at: Time| at.max(self.members[number].frozen_until);
        let up = self.up.iter().enumerate();
        let up = up.filter_map(|(n, queue)| Some(thawed(n, queue.front()?.0)));
        let down = self.down.iter().enumerate();
        let down = down.filter_map(|(n, queue)| Some(thawed(n, queue.front()?.0)));
        let alarms = self.members.iter().enumerate();
        let alarms =
            alarms.filter_map(|(n, m)| Some(thawed(n, m.alarms.iter().map(|(at, _)| *at).min()?)));
        let timer = self.meeting.next_timeout();
        up.chain(down).chain(alarms).chain(timer).min()
    }

    fn pass(&mut self, ms: u64) {
        let until = self.now.plus_ms(ms);
        for _ in 0..200_000 {
            let Some(next) = self.next_event().filter(|at| *at <= until) else {
                self.now = until;
                return;
            };
            self.now = self.now.max(next);
            self.heartbeats();
            for number in 0..PEOPLE {
                if self.members[number].frozen_until <= self.now {
                    self.run_network(number);
                }
            }
            if self.meeting.next_timeout().is_some_and(|at| at <= self.now) {
                let effects = self.meeting.handle_timeout(self.now);
                self.apply(effects);
                assert!(
                    self.meeting.next_timeout().is_none_or(|at| at > self.now),
                    "timers move on"
                );
            }
            self.check();
        }
        panic!("it never comes to rest");
    }

    fn heartbeats(&mut self) {
        for member in &self.members {
            if let (Some(session), true) = (member.session, member.frozen_until <= self.now) {
                self.meeting.handle_alive(session, self.now);
            }
        }
    }

    fn run_network(&mut self, number: usize) {
        while let Some((_, session, _)) =
            self.down[number].front().filter(|(at, ..)| *at <= self.now)
        {
            let current = self.members[number].session == Some(*session);
            let Some((_, _, message)) = self.down[number].pop_front() else {
                return;
            };
            if current {
                self.members[number].receive(message, &self.ledger, self.now, &mut self.rng);
                self.send(number);
            }
        }
        let due = |(at, _): &(Time, Position)| *at <= self.now;
        let alarms = &mut self.members[number].alarms;
        let now: Vec<_> = alarms.iter().filter(|a| due(a)).map(|(_, p)| *p).collect();
        alarms.retain(|alarm| !due(alarm));
        for wanted in now {
            self.members[number].alarm(wanted, &self.ledger, &mut self.rng);
            if std::mem::take(&mut self.members[number].crashed) {
                self.members[number].forget();
                self.lose(number);
            }
            self.send(number);
        }
        while self.up[number]
            .front()
            .is_some_and(|(at, ..)| *at <= self.now)
        {
            if let Some((_, session, request)) = self.up[number].pop_front() {
                self.request(session, request);
                self.check();
            }
        }
    }

    fn send(&mut self, number: usize) {
        let member = &mut self.members[number];
        let at = self.now.plus_ms(member.latency_ms);
        let requests = std::mem::take(&mut member.outgoing);
        if let Some(session) = member.session {
            self.up[number].extend(requests.into_iter().map(|r| (at, session, r)));
        }
    }

    // -- what must be true ---------------------------------------------------

    fn check(&mut self) {
        let Some(view) = self.view() else {
            self.overdue.clear();
            return;
        };
        let (messages, bytes) = view.log;
        assert!(messages <= 64 && bytes <= 1024 * 1024, "the log is bounded");
        assert!(view.open <= 64, "what is proposed is bounded");
        if let Some(last) = self.last {
            let back_one =
                last.group == view.position.group && last.epoch == view.position.epoch + 1;
            assert!(
                view.position >= last || back_one,
                "{last:?} to {:?}",
                view.position
            );
        }
        self.last = Some(view.position);
        let who: Vec<_> = view.leaves.iter().map(|(_, who)| *who).collect();
        let distinct: BTreeSet<_> = who.iter().collect();
        assert_eq!(distinct.len(), who.len(), "one leaf a participant");
        for user in &view.asked {
            let seat = self.meeting.roster.get(*user);
            assert!(seat.is_none_or(|s| who.contains(&s.participant) || view.open == 0));
        }
        self.check_removals(&view, &who);
    }

    /// Nobody without a seat stays, and nothing stays proposed.
    fn check_removals(&mut self, view: &View, who: &[ParticipantId]) {
        if !view.alive {
            self.overdue.clear();
            return;
        }
        let roster = &self.meeting.roster;
        let mut late: BTreeSet<Option<ParticipantId>> = who
            .iter()
            .filter(|who| roster.by_participant(**who).is_none())
            .map(|who| Some(*who))
            .collect();
        if view.open > 0 {
            late.insert(None);
        }
        self.overdue.retain(|what, _| late.contains(what));
        // Those who are cut off can't commit: that is a vice as good as any.
        let frozen = self
            .members
            .iter()
            .any(|m| m.frozen_until.plus_ms(500) > self.now);
        if frozen {
            self.overdue.clear();
            return;
        }
        let bound = if self.vicious {
            REMOVAL_AMONG_VICES_MS
        } else {
            REMOVAL_MS
        };
        for what in late {
            let since = *self.overdue.entry(what).or_insert(self.now);
            assert!(
                self.now.ms_since(since) <= bound,
                "{what:?} stays {} ms",
                self.now.ms_since(since)
            );
        }
    }

    /// Nothing happens any more, and all behave.
    fn converge(&mut self) {
        for number in 0..PEOPLE {
            let member = &mut self.members[number];
            member.vices = Vices::default();
            member.frozen_until = member.frozen_until.min(self.now);
            member.latency_ms = member.latency_ms.min(100);
        }
        self.pass(CONVERGENCE_MS);
        let connected: Vec<&Member> = self
            .members
            .iter()
            .filter(|m| m.session.is_some())
            .collect();
        let Some(view) = self.view() else {
            assert!(connected.is_empty(), "somebody founds a group");
            return;
        };
        if connected.is_empty() {
            return;
        }
        assert_eq!(
            (view.open, view.on_trial),
            (0, false),
            "nothing is left to do"
        );
        let mut secrets = BTreeSet::new();
        for member in &connected {
            assert_eq!(member.position(), Some(view.position), "{member:?}");
            secrets.extend(member.group.as_ref().map(|group| group.state.secret));
        }
        assert_eq!(secrets.len(), 1, "everybody has the same keys");
        let inside: BTreeSet<_> = view.leaves.iter().map(|(_, who)| Some(*who)).collect();
        let here: BTreeSet<_> = connected.iter().map(|member| member.me).collect();
        assert_eq!(inside, here, "exactly those who are here are in the group");
    }
}

/// One whole schedule; gives what identifies its course.
fn run(seed: u64) -> Vec<u64> {
    let mut world = World::new(seed);
    let steps = world.rng.random_range(5..=STEPS_MAX);
    for _ in 0..steps {
        world.act();
        world.check();
        let ms = match world.rng.random_range(0..10) {
            0..=5 => world.rng.random_range(0..300),
            6..=8 => world.rng.random_range(300..5000),
            _ => world.rng.random_range(5000..40_000),
        };
        world.pass(ms);
    }
    world.converge();
    if world.chance(10)
        && let Some(host) = world.members[0].session
    {
        world.request(host, Request::EndMeeting(EndMeeting {}));
        assert!(world.view().is_none());
    }
    world.trace
}

#[test]
fn whatever_members_do_the_group_stays_one_and_everybody_reaches_it() {
    run_all(seeds(SCHEDULES), run);
}

#[test]
fn the_same_seed_takes_the_same_course_when_encrypted() {
    for seed in 0..20 {
        assert_eq!(run(seed), run(seed));
    }
}
