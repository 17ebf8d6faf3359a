//! The machine against a seeded world. A failing seed is in the panic message.

use std::time::{Duration, Instant};

use rand::{RngExt, SeedableRng, rngs::StdRng};

use crate::{Attempt, Closed, Config, Effect, Phase, Reconnect};

fn effects(machine: &mut Reconnect) -> Vec<Effect> {
    std::iter::from_fn(|| machine.poll_effect()).collect()
}

fn connected() -> (Reconnect, Instant) {
    let now = Instant::now();
    let mut machine = Reconnect::new(Config::default(), 1);
    machine.handle_start(now);
    machine.handle_open(Attempt(1), now);
    assert_eq!(machine.phase(), Phase::Authenticating);
    assert!(machine.handle_authenticated(Attempt(1), now));
    effects(&mut machine);
    (machine, now)
}

#[test]
fn it_goes_from_connecting_over_authenticating_to_connected_and_says_so() {
    let now = Instant::now();
    let mut machine = Reconnect::new(Config::default(), 1);
    assert_eq!(machine.phase(), Phase::Idle);
    machine.handle_start(now);
    let begun = [Effect::Connect(Attempt(1)), Effect::PhaseChanged];
    assert_eq!(effects(&mut machine), begun);
    assert_eq!(machine.phase(), Phase::Connecting);
    machine.handle_open(Attempt(1), now);
    let open = [Effect::Authenticate(Attempt(1)), Effect::PhaseChanged];
    assert_eq!(effects(&mut machine), open);
    assert!(machine.handle_authenticated(Attempt(1), now));
    let there = [Effect::Probe(Attempt(1), 0), Effect::PhaseChanged];
    assert_eq!(effects(&mut machine), there);
    assert_eq!(machine.phase(), Phase::Connected);
    machine.handle_close();
    let over = [Effect::Close(Attempt(1)), Effect::PhaseChanged];
    assert_eq!(effects(&mut machine), over);
    assert_eq!(machine.phase(), Phase::Closed(Closed::Wanted));
    assert_eq!(machine.poll_timeout(), None);
}

#[test]
fn a_silent_session_is_lost_and_the_next_attempt_follows_within_the_spread() {
    let (mut machine, begin) = connected();
    let mut now = begin;
    while machine.phase() == Phase::Connected {
        now = machine.poll_timeout().unwrap();
        machine.handle_timeout(now);
    }
    assert_eq!(now - begin, Duration::from_millis(2500));
    assert_eq!(machine.phase(), Phase::Reconnecting { since: now });
    assert!(effects(&mut machine).contains(&Effect::Close(Attempt(1))));
    let again = machine.poll_timeout().unwrap();
    assert!(again - now <= Duration::from_millis(100));
    machine.handle_timeout(again);
    assert_eq!(effects(&mut machine), [Effect::Connect(Attempt(2))]);
}

#[test]
fn an_attempt_that_hangs_is_cut_off_in_either_half() {
    for open in [false, true] {
        let begin = Instant::now();
        let mut machine = Reconnect::new(Config::default(), 1);
        machine.handle_start(begin);
        if open {
            machine.handle_open(Attempt(1), begin);
        }
        effects(&mut machine);
        let due = machine.poll_timeout().unwrap();
        assert_eq!(due - begin, Duration::from_secs(5));
        machine.handle_timeout(due);
        assert_eq!(effects(&mut machine)[0], Effect::Close(Attempt(1)));
        machine.handle_open(Attempt(1), due);
        let late = effects(&mut machine);
        assert_eq!(late, [Effect::Close(Attempt(1))], "too late is closed");
        assert!(!machine.handle_authenticated(Attempt(1), due));
    }
}

#[test]
fn whoever_is_never_reached_is_given_up_and_so_is_a_session_lost_for_too_long() {
    let config = Config::default();
    for lost in [false, true] {
        let (mut machine, begin) = connected();
        if lost {
            machine.handle_lost(Attempt(1), None, begin);
        } else {
            machine = Reconnect::new(config, 1);
            machine.handle_start(begin);
        }
        let mut now = begin;
        while let Some(next) = machine.poll_timeout() {
            assert!(next - now <= config.attempt_timeout.max(config.backoff_max));
            now = next;
            machine.handle_timeout(now);
            for effect in effects(&mut machine) {
                if let Effect::Connect(attempt) = effect {
                    machine.handle_open_failed(attempt, now);
                }
            }
        }
        let (why, most) = if lost {
            (Closed::Lost, config.lost_max)
        } else {
            (Closed::Unreachable, config.first_max)
        };
        assert_eq!(machine.phase(), Phase::Closed(why));
        assert!(now - begin <= most && now - begin >= most - config.backoff_max);
    }
}

#[test]
fn a_peer_that_asks_for_patience_is_given_it() {
    let now = Instant::now();
    let mut machine = Reconnect::new(Config::default(), 1);
    machine.handle_start(now);
    machine.handle_open(Attempt(1), now);
    let asked = Duration::from_secs(3);
    machine.handle_refused(Attempt(1), Some(asked), now);
    assert_eq!(machine.poll_timeout(), Some(now + asked));
}

#[test]
fn in_any_world_there_is_one_session_at_a_time_and_time_always_goes_on() {
    for seed in 0..3000 {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut now = Instant::now();
        let mut machine = Reconnect::new(Config::default(), seed);
        let mut newest = 0;
        let mut probes = Vec::new();
        machine.handle_start(now);
        for _ in 0..200 {
            for effect in effects(&mut machine) {
                match effect {
                    Effect::Connect(attempt) => {
                        assert_eq!(attempt.0, newest + 1, "seed {seed}");
                        newest = attempt.0;
                        probes.clear();
                    }
                    Effect::Authenticate(attempt) => assert_eq!(attempt.0, newest, "seed {seed}"),
                    Effect::Probe(attempt, number) => {
                        assert_eq!(attempt.0, newest, "seed {seed}");
                        assert!(!probes.contains(&number), "seed {seed}");
                        probes.push(number);
                    }
                    Effect::Close(_) | Effect::PhaseChanged => {}
                }
            }
            if matches!(machine.phase(), Phase::Closed(_)) {
                assert_eq!(machine.poll_timeout(), None, "seed {seed}");
                break;
            }
            let due = machine.poll_timeout();
            let due = due.unwrap_or_else(|| panic!("stuck with seed {seed}"));
            if rng.random::<bool>() {
                now = now.max(due);
                machine.handle_timeout(now);
                continue;
            }
            // Now and then about a session that is long gone.
            let attempt = Attempt(newest - u64::from(newest > 1 && rng.random_ratio(1, 5)));
            let patience = Some(Duration::from_millis(rng.random_range(0..2000)));
            match rng.random_range(0..10) {
                0 => machine.handle_open_failed(attempt, now),
                1..=4 => machine.handle_open(attempt, now),
                5 | 6 => {
                    machine.handle_authenticated(attempt, now);
                }
                7 => machine.handle_lost(attempt, None, now),
                8 => machine.handle_refused(attempt, patience, now),
                _ => {
                    for number in &probes {
                        machine.handle_echo(attempt, *number, now);
                    }
                }
            }
        }
    }
}
