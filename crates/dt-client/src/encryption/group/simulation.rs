//! Random meetings on a virtual clock: whatever people, delays, races and a
//! controller that spoils commits do, everybody who is there ends up with the
//! same keys, and nobody who has left has them.
//!
//! `SEED=n` replays one course.

use std::time::Duration;

use dt_ids::ParticipantId;
use rand::RngExt as _;

use super::hall::{GRACE, Hall, Spoil};

const COURSES: u64 = 60;
const STEPS: u32 = 40;
const PEOPLE_MAX: usize = 8;

struct Course {
    hall: Hall,
    next: u8,
    here: Vec<ParticipantId>,
    lost: Vec<ParticipantId>,
    gone: Vec<ParticipantId>,
}

impl Course {
    fn new(seed: u64) -> Self {
        Self {
            hall: Hall::new(seed, [5, 50, 300][seed as usize % 3]),
            next: 1,
            here: Vec::new(),
            lost: Vec::new(),
            gone: Vec::new(),
        }
    }

    fn pick(&mut self, of: usize) -> usize {
        self.hall.random.random_range(0..of)
    }

    fn step(&mut self) {
        match self.pick(10) {
            0..=2 if self.here.len() < PEOPLE_MAX => {
                self.here.push(self.hall.join(self.next));
                self.next += 1;
            }
            3 | 4 if self.here.len() > 1 => {
                let place = self.pick(self.here.len());
                let id = self.here.remove(place);
                self.hall.remove(id);
                self.gone.push(id);
            }
            5 | 6 if !self.here.is_empty() => {
                let place = self.pick(self.here.len());
                let id = self.here.remove(place);
                self.hall.lose(id);
                self.lost.push(id);
            }
            7 if !self.lost.is_empty() => self.return_one(),
            8 => self.hall.want_commit(),
            9 if !self.here.is_empty() => {
                let place = self.pick(self.here.len());
                let one = self.here[place];
                let all = self.pick(2) == 0;
                self.hall.spoil = Some(if all {
                    Spoil::ForAll
                } else {
                    Spoil::ForOne(one)
                });
            }
            _ => {}
        }
        // Often things happen at once, sometimes everything settles between.
        let pause = [0, 1, 30, 150, 500, 4000][self.pick(6)];
        self.hall.run(Duration::from_millis(pause));
    }

    fn return_one(&mut self) {
        let place = self.pick(self.lost.len());
        let id = self.lost.remove(place);
        self.hall.resume(id);
        self.here.push(id);
    }

    fn finish(&mut self) {
        self.hall.spoil = None;
        while !self.lost.is_empty() {
            self.return_one();
        }
        self.hall.run(GRACE * 3);
    }

    fn assert_safe(&self) {
        let hall = &self.hall;
        for client in hall.clients.values() {
            let mut void = Vec::new();
            for pair in client.keys.windows(2) {
                let [before, after] = pair else { continue };
                if !after.fresh && after.epoch.epoch < before.epoch.epoch {
                    void.push(&before.epoch.base_key);
                }
                assert!(!void.contains(&&after.epoch.base_key), "void is void");
            }
        }
        for id in &self.gone {
            assert!(!hall.knows_present_keys(*id), "{id} has left");
        }
    }
}

#[test]
fn whatever_happens_all_who_are_there_agree_and_nobody_else_knows() {
    let seeds = match std::env::var("SEED") {
        Ok(seed) => {
            let seed = seed.parse().unwrap();
            seed..seed + 1
        }
        Err(_) => 0..COURSES,
    };
    let (mut commits, mut rolled_back, mut stranded) = (0, 0, 0);
    for seed in seeds {
        println!("seed {seed}");
        let mut course = Course::new(seed);
        course.here.push(course.hall.join(1));
        course.next = 2;
        for _ in 0..STEPS {
            course.step();
        }
        course.finish();
        course.hall.assert_agreed();
        course.assert_safe();
        commits += course.hall.commits;
        rolled_back += course.hall.rolled_back;
        stranded += course.hall.stranded;
    }
    println!("{commits} commits, {rolled_back} rolled back, {stranded} stranded");
}

#[test]
fn the_same_seed_takes_the_same_way_through_the_epochs() {
    let run = || {
        let mut course = Course::new(7);
        course.here.push(course.hall.join(1));
        course.next = 2;
        for _ in 0..STEPS {
            course.step();
        }
        (course.hall.epoch(), course.hall.commits, course.hall.number)
    };
    assert_eq!(run(), run());
}
