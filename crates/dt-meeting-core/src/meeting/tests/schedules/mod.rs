//! Layouts under random schedules: up to twenty people who come, go, publish,
//! mute, share, speak and look in every way, with a host who puts some into the
//! spotlight. After each step `rules` are checked for every viewer.
//!
//! A failing seed is printed; see the simulation of the whole meeting.

mod rules;

use super::{
    super::simulation::{run_all, seeds},
    *,
};
use dt_wire::v1::{SetSpotlight, SpeakerLayout, UnsubscribeLayout};

use self::rules::{Scene, Speech};

const SCHEDULES: u64 = 2000;
const STEPS_MAX: usize = 60;
const PEOPLE_MAX: usize = 20;

struct Schedule {
    room: Room,
    rng: StdRng,
    people: Vec<Person>,
    last: u64,
    /// Who speaks now, loudest first, and since when each.
    loud: Vec<Person>,
    speech: Speech,
    trace: Vec<u64>,
}

/// What a step did to one viewer's wishes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Asked {
    Nothing,
    /// Another layout.
    Layout(Person),
}

impl Schedule {
    fn new(seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut room = Room::new(PEOPLE_MAX);
        let host = room.enter(1, 0, Role::Host, Codecs::default());
        let mut schedule = Self {
            room,
            people: vec![host],
            last: 1,
            loud: Vec::new(),
            speech: Speech::default(),
            trace: Vec::new(),
            rng: StdRng::seed_from_u64(rng.random()),
        };
        let count = schedule.rng.random_range(1..PEOPLE_MAX);
        for _ in 0..count {
            schedule.come();
        }
        schedule
    }

    fn chance(&mut self, percent: u32) -> bool {
        self.rng.random_ratio(percent, 100)
    }

    fn somebody(&mut self) -> Person {
        self.people[self.rng.random_range(0..self.people.len())]
    }

    fn user(&self, who: Person) -> u64 {
        let user = self.room.meeting.roster.by_session(SessionId(who.0));
        user.expect("everybody is connected").0
    }

    /// One step; everything is checked behind it.
    fn act(&mut self) {
        let before = Scene::of(&self.room.meeting);
        let asked = match self.rng.random_range(0..100) {
            0..=9 => self.come(),
            10..=17 => self.go(),
            18..=33 => self.publish(),
            34..=41 => self.unpublish(),
            42..=51 => self.toggle(),
            52..=66 => self.speak(),
            67..=74 => self.pass(),
            75..=80 => self.spotlight(),
            _ => self.look(),
        };
        for told in self.room.told.values_mut() {
            // The last word on what is seen is all that is looked at.
            told.retain(|(_, body)| matches!(body, Body::StreamAssignments(_)));
            told.drain(..told.len().saturating_sub(1));
        }
        let after = Scene::of(&self.room.meeting);
        self.trace.push(after.digest());
        self.speech.follow(&after, self.room.now);
        for who in &self.people {
            let asked = asked == Asked::Layout(*who);
            let user = dt_ids::UserId(self.user(*who));
            rules::check(&before, &after, user, asked, &self.speech, self.room.now);
            if after.viewers[&user].generation > 0 {
                let told = self.room.seen(*who);
                assert_eq!(
                    told,
                    after.viewers[&user].slots(),
                    "it is told what it sees"
                );
            }
        }
    }

    fn come(&mut self) -> Asked {
        if self.people.len() >= PEOPLE_MAX {
            return Asked::Nothing;
        }
        self.last += 1;
        let videos = self.rng.random_range(0..=12);
        let names: &[&str] = match self.rng.random_range(0..12) {
            0 => &["AV1"],
            1..=3 => &["AV1", "VP8"],
            _ => &["VP8"],
        };
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let codecs = Codecs::parse(&names, &[]);
        let who = self.room.enter(self.last, videos, Role::Guest, codecs);
        self.people.push(who);
        if self.chance(80) {
            self.room.publish(who, StreamType::Audio);
        }
        if self.chance(80) {
            self.room.camera(who);
        }
        if self.chance(80) {
            let layout = self.layout();
            self.room.subscribe(who, layout);
        }
        Asked::Layout(who)
    }

    fn go(&mut self) -> Asked {
        let place = self.rng.random_range(0..self.people.len());
        // The host stays, for the spotlight.
        if place > 0 {
            let who = self.people.swap_remove(place);
            self.loud.retain(|l| l.0 != who.0);
            self.room.leave(who);
            self.room.told.remove(&SessionId(who.0));
        }
        Asked::Nothing
    }

    fn publish(&mut self) -> Asked {
        let who = self.somebody();
        let kind = match self.rng.random_range(0..5) {
            0 => StreamType::Audio,
            1 | 2 => StreamType::VideoCamera,
            _ => StreamType::VideoScreen,
        };
        if self.streams(who).len() < 4 {
            self.room.publish(who, kind);
        }
        Asked::Nothing
    }

    fn streams(&self, who: Person) -> Vec<StreamId> {
        let seat = self.room.meeting.roster.get(dt_ids::UserId(self.user(who)));
        seat.expect("a seat").streams.clone()
    }

    fn any_stream(&mut self, who: Person) -> Option<String> {
        let streams = self.streams(who);
        let place = self.rng.random_range(0..streams.len().max(1));
        streams.get(place).map(ToString::to_string)
    }

    fn unpublish(&mut self) -> Asked {
        let who = self.somebody();
        if let Some(stream_id) = self.any_stream(who) {
            let request = Request::UnpublishStream(UnpublishStream { stream_id });
            self.room.ask(who, request);
        }
        Asked::Nothing
    }

    fn toggle(&mut self) -> Asked {
        let (who, muted) = (self.somebody(), self.rng.random());
        if let Some(stream) = self.any_stream(who) {
            self.room.mute(who, &stream, muted);
        }
        Asked::Nothing
    }

    /// Somebody begins or stops to speak, or becomes louder than others.
    fn speak(&mut self) -> Asked {
        let who = self.somebody();
        let spoke = self.loud.iter().position(|l| l.0 == who.0);
        if let Some(place) = spoke {
            self.loud.remove(place);
        }
        if spoke.is_none() || self.chance(50) {
            let place = self.rng.random_range(0..=self.loud.len());
            self.loud.insert(place, who);
        }
        let loud = self.loud.clone();
        self.room.speak(&loud);
        Asked::Nothing
    }

    fn pass(&mut self) -> Asked {
        let ms = self.rng.random_range(0..3000);
        self.room.pass(ms);
        Asked::Nothing
    }

    fn spotlight(&mut self) -> Asked {
        let count = self.rng.random_range(0..4);
        let ids = (0..count).map(|_| {
            let who = self.somebody();
            let user = dt_ids::UserId(self.user(who));
            self.room
                .meeting
                .roster
                .get(user)
                .expect("a seat")
                .participant
                .to_string()
        });
        let participant_ids = ids.collect();
        let host = self.people[0];
        let answer = self.room.ask(
            host,
            Request::SetSpotlight(SetSpotlight { participant_ids }),
        );
        assert!(matches!(answer, Body::Ack(_)), "{answer:?}");
        Asked::Nothing
    }

    /// A viewer wants to see something else.
    fn look(&mut self) -> Asked {
        let who = self.somebody();
        let layout = Some(self.layout());
        let request = match self.rng.random_range(0..10) {
            0 => Request::UnsubscribeLayout(UnsubscribeLayout {}),
            1..=4 => Request::SubscribeLayout(SubscribeLayout { layout }),
            _ => Request::UpdateLayout(UpdateLayout { layout }),
        };
        // Refused where there is one already, or none.
        self.room.ask(who, request);
        Asked::Layout(who)
    }

    fn layout(&mut self) -> v1::Layout {
        let (rows, columns) = (self.rng.random_range(1..=3), self.rng.random_range(1..=3));
        let kind = if self.chance(50) {
            Kind::Grid(GridLayout { rows, columns })
        } else {
            let strip = rows * columns - 1;
            Kind::Speaker(SpeakerLayout { strip })
        };
        let mut users = |most: usize| -> Vec<u64> {
            let count = self.rng.random_range(0..=most);
            (0..count)
                .map(|_| {
                    let who = self.somebody();
                    self.user(who)
                })
                .collect()
        };
        let (pinned_user_ids, excluded_user_ids) = (users(2), users(1));
        let sounds = self.rng.random_range(0..=8);
        v1::Layout {
            kind: Some(kind),
            video_slots: (1..=rows * columns).collect(),
            audio_slots: (101..101 + sounds).collect(),
            pinned_user_ids,
            excluded_user_ids,
            prefer_video_over_audio: self.chance(40),
            include_self: self.chance(30),
            mix_audio: false,
        }
    }
}

fn run(seed: u64) -> Vec<u64> {
    let mut schedule = Schedule::new(seed);
    let steps = schedule.rng.random_range(10..=STEPS_MAX);
    for _ in 0..steps {
        schedule.act();
    }
    schedule.trace
}

#[test]
fn whatever_happens_every_view_changes_for_a_reason_and_no_more_than_needed() {
    run_all(seeds(SCHEDULES), run);
}

#[test]
fn the_same_schedule_shows_the_same_views() {
    for seed in 0..20 {
        assert_eq!(run(seed), run(seed));
    }
}
