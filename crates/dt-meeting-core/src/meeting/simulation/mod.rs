//! The meeting under random schedules, with a virtual clock.
//!
//! Every schedule is a seed: people join, leave, crash, come back, publish,
//! mute, choose layouts, remove each other and end the meeting, while media
//! handlers confirm late or never, fill up, drain, go and come back, and timers
//! fire late. After every step the
//! whole state is checked, and what every client was told is compared with what
//! is true. A failing seed is printed; `DT_SIMULATION_SEED=<seed>` runs it alone,
//! `DT_SIMULATION_SCHEDULES=<n>` sets how many are run.

mod actions;
mod client;
mod encrypted;
mod handler;
mod handlers;
mod invariants;
mod requests;
mod ways;
mod wishes;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use dt_ids::{HandlerId, MeetingId, ParticipantId, UserId};
use dt_wire::v1::{ServerMessage, server_message::Body};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng, seq::IndexedRandom as _};

use self::{client::Client, handler::Handler, ways::Ways, wishes::Wishes};
use crate::{
    Config, Credential, Effect, Limits, Meeting, SessionId, Settings, Time, routing::Numbers,
};

const SCHEDULES: u64 = 5000;
const STEPS_MAX: usize = 80;
const PEOPLE: usize = 7;

pub(super) struct World {
    rng: StdRng,
    now: Time,
    meeting: Meeting,
    handlers: Vec<Handler>,
    route_ids: Arc<Numbers>,
    wishes: Wishes,
    ways: Ways,
    clients: Vec<Client>,
    last_session: u64,
    /// Sessions that must not get anything any more.
    closed: BTreeSet<SessionId>,
    /// Who had each number.
    numbers: BTreeMap<UserId, ParticipantId>,
    live: usize,
    ended: bool,
    trace: Vec<u64>,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        // Most meetings have two.
        let count = *[1, 2, 2, 2, 3, 4].choose(&mut rng).expect("some");
        let ids: Vec<HandlerId> = (0..count)
            .map(|_| HandlerId::from_bytes(rng.random()))
            .collect();
        let route_ids = Arc::new(Numbers::default());
        let limits = Limits {
            streams_per_participant: rng.random_range(1..=4),
            video_streams_default: rng.random_range(1..=6),
            held_messages_max: rng.random_range(5..=200),
            // So that few people need several.
            handler_participants: rng.random_range(1..=4),
            ..Limits::default()
        };
        let now = Time(1_700_000_000_000);
        let config = Config {
            meeting: MeetingId::from_bytes(rng.random()),
            lease: rng.random_range(1..1000),
            handlers: ids.clone(),
            route_ids: Some(Arc::clone(&route_ids) as _),
            settings: Settings {
                display_name: "simulated".into(),
                participants_max: rng.random_range(2..=PEOPLE),
                encryption: None,
                hide_audio_levels: false,
            },
            keepers: None,
            limits,
        };
        let handlers = ids
            .into_iter()
            .map(|id| Handler::new(id, rng.random_ratio(1, 10)))
            .collect();
        let clients = (0..PEOPLE).map(|n| Client::new(n, &mut rng)).collect();
        Self {
            meeting: Meeting::new(config, now),
            handlers,
            route_ids,
            ways: Ways::default(),
            rng,
            now,
            wishes: Wishes::default(),
            clients,
            last_session: 0,
            closed: BTreeSet::new(),
            numbers: BTreeMap::new(),
            live: 0,
            ended: false,
            trace: Vec::new(),
        }
    }

    fn chance(&mut self, percent: u32) -> bool {
        self.rng.random_ratio(percent, 100)
    }

    fn new_session(&mut self) -> SessionId {
        self.last_session += 1;
        SessionId(self.last_session)
    }

    /// Lets time pass; timers fire at their time or a little later.
    fn pass(&mut self) {
        let ms = match self.rng.random_range(0..20) {
            0..=9 => self.rng.random_range(0..50),
            10..=15 => self.rng.random_range(50..2000),
            16..=18 => self.rng.random_range(2000..20_000),
            _ => self.rng.random_range(20_000..400_000),
        };
        let until = self.now.plus_ms(ms);
        // Bounded: every timer that fires changes the state or moves on.
        for _ in 0..10_000 {
            let timer = self.meeting.next_timeout();
            let words = self.handlers.iter().filter_map(Handler::next_word).min();
            // Clients that live say so; those that crashed don't.
            let Some(next) = timer.into_iter().chain(words).min().filter(|t| *t <= until) else {
                self.now = until;
                return;
            };
            self.now = self.now.max(next);
            if self.chance(20) {
                self.now = self.now.plus_ms(self.rng.random_range(0..100)).min(until);
            }
            self.heartbeats();
            self.hear_handlers();
            let before = self.snapshot();
            let effects = self.meeting.handle_timeout(self.now);
            self.apply(effects);
            self.check_timers();
            self.check(&before, None);
        }
        panic!("timers never settle");
    }

    fn heartbeats(&mut self) {
        let alive: Vec<SessionId> = self
            .clients
            .iter()
            .filter(|c| c.alive)
            .filter_map(|c| c.session)
            .collect();
        for session in alive {
            self.meeting.handle_alive(session, self.now);
        }
    }

    fn apply(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Send { sessions, message } => {
                    let distinct: BTreeSet<_> = sessions.iter().collect();
                    assert_eq!(
                        distinct.len(),
                        sessions.len(),
                        "a message goes once to each"
                    );
                    assert!(!sessions.is_empty());
                    for session in sessions {
                        self.deliver(session, message.clone());
                    }
                }
                Effect::SendWithMediaAccess {
                    session,
                    message,
                    participant,
                    handlers,
                } => {
                    self.check_access(session, &message, participant, &handlers);
                    self.deliver(session, message);
                }
                Effect::Close { session, .. } => {
                    assert!(self.closed.insert(session), "a session is closed once");
                    for client in &mut self.clients {
                        client.closed(session);
                    }
                }
                Effect::Register { handler, command } => {
                    let at = self.at(handler);
                    let (now, rng) = (self.now, &mut self.rng);
                    self.handlers[at].register(command, now, rng);
                }
                Effect::Unregister { handler, command } => {
                    let at = self.at(handler);
                    self.handlers[at].unregister(&command);
                }
                Effect::Route { handler, command } => {
                    let at = self.at(handler);
                    let (now, rng) = (self.now, &mut self.rng);
                    if let Some(stream) = self.handlers[at].route(command, now, rng) {
                        self.wishes.begin(stream, self.now);
                    }
                }
                Effect::Live { participants } => self.live = participants,
                Effect::Quality { .. } => {}
                Effect::Ended => self.ended = true,
                Effect::Idle => assert_eq!(self.meeting.status().seats, 0),
                Effect::Fenced => panic!("nobody else has a lease here"),
            }
        }
    }

    fn deliver(&mut self, session: SessionId, message: ServerMessage) {
        assert!(
            !self.closed.contains(&session),
            "a closed session gets nothing: {message:?}"
        );
        self.trace.push(self.now.0 ^ session.0);
        self.ways.deliver(session, &message);
        if let Some(Body::JoinResponse(response)) = &message.body {
            self.numbers
                .entry(UserId(response.user_id))
                .or_insert_with(|| {
                    response
                        .participant_id
                        .parse()
                        .expect("a participant id is a UUID")
                });
        }
        if let Some(client) = self.clients.iter_mut().find(|c| c.session == Some(session)) {
            client.receive(message);
        }
    }

    fn credential(&self, client: usize) -> Credential {
        Credential::of(&format!("token {client} {}", self.clients[client].tokens))
    }
}

/// One whole schedule; gives what identifies its course.
fn run(seed: u64) -> Vec<u64> {
    let mut world = World::new(seed);
    let steps = world.rng.random_range(10..=STEPS_MAX);
    for _ in 0..steps {
        world.pass();
        world.act();
    }
    world.trace
}

pub(super) fn seeds(schedules: u64) -> std::ops::Range<u64> {
    let number = |name| {
        std::env::var(name)
            .ok()
            .and_then(|text| text.parse::<u64>().ok())
    };
    match number("DT_SIMULATION_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("DT_SIMULATION_SCHEDULES").unwrap_or(schedules),
    }
}

pub(super) fn run_all(seeds: std::ops::Range<u64>, run: impl Fn(u64) -> Vec<u64> + Sync) {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let next = std::sync::atomic::AtomicU64::new(seeds.start);
    let run = std::panic::AssertUnwindSafe(run);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    if seed >= seeds.end {
                        return;
                    }
                    let run = &run;
                    let failed = std::panic::catch_unwind(move || run(seed)).is_err();
                    assert!(!failed, "run it alone with DT_SIMULATION_SEED={seed}");
                }
            });
        }
    });
}

#[test]
fn whatever_happens_in_a_meeting_its_invariants_hold() {
    run_all(seeds(SCHEDULES), run);
}

#[test]
fn the_same_seed_takes_the_same_course() {
    for seed in 0..20 {
        assert_eq!(run(seed), run(seed));
    }
}
