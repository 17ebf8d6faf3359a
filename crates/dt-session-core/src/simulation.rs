//! The machine against a seeded world: servers that answer, refuse, hang and
//! vanish. A failing seed is in the panic message.

use std::time::{Duration, Instant};

use bytes::Bytes;
use dt_wire::{CloseCode, v1::ErrorCode};
use rand::{RngExt, SeedableRng, rngs::StdRng};

use crate::{
    Attempt, Closed, Config, Credential, Effect, End, Machine, Phase, Refusal, ResumeToken,
};

fn token(number: u64) -> ResumeToken {
    ResumeToken(Bytes::copy_from_slice(&number.to_be_bytes()))
}

fn effects(machine: &mut Machine) -> Vec<Effect> {
    std::iter::from_fn(|| machine.poll_effect()).collect()
}

/// A machine that is seated, and the moment.
fn joined() -> (Machine, Instant) {
    let now = Instant::now();
    let mut machine = Machine::new(Config::default(), None, 1);
    machine.handle_start(now);
    assert_eq!(
        effects(&mut machine),
        [Effect::Connect(Attempt(1)), Effect::PhaseChanged]
    );
    machine.handle_open(Attempt(1), now);
    assert_eq!(
        effects(&mut machine),
        [Effect::Join(Attempt(1), Credential::JoinToken)]
    );
    machine.handle_joined(Attempt(1), token(1), now);
    assert!(matches!(
        effects(&mut machine)[..],
        [Effect::Probe(Attempt(1), _), Effect::PhaseChanged]
    ));
    assert_eq!(machine.phase(), Phase::Joined);
    (machine, now)
}

/// Lets time pass until something else than probes and heartbeats is wanted.
fn run(machine: &mut Machine) -> (Instant, Vec<Effect>) {
    loop {
        let now = machine.poll_timeout().expect("something is planned");
        machine.handle_timeout(now);
        let mut all = effects(machine);
        all.retain(|e| !matches!(e, Effect::Probe(..) | Effect::Heartbeat(_)));
        if !all.is_empty() {
            return (now, all);
        }
    }
}

#[test]
fn a_silent_session_is_dead_after_two_and_a_half_seconds_and_the_seat_is_taken_back() {
    let (mut machine, begin) = joined();
    let (dead, all) = run(&mut machine);
    assert_eq!(dead - begin, Duration::from_millis(2500));
    assert_eq!(
        all,
        [
            Effect::Close(Attempt(1), CloseCode::Graceful),
            Effect::PhaseChanged
        ]
    );
    assert_eq!(machine.phase(), Phase::Reconnecting(dead));
    let (again, all) = run(&mut machine);
    assert!(again - dead <= Duration::from_millis(100));
    assert_eq!(all, [Effect::Connect(Attempt(2))]);
    machine.handle_open(Attempt(2), again);
    assert_eq!(
        effects(&mut machine),
        [Effect::Join(Attempt(2), Credential::Resume(token(1)))]
    );
    machine.handle_joined(Attempt(2), token(2), again);
    assert_eq!(machine.phase(), Phase::Joined);
    assert_eq!(machine.resume_token(), Some(&token(2)));
}

#[test]
fn a_heartbeat_goes_every_fifteen_seconds_while_echoes_keep_the_session_alive() {
    let (mut machine, begin) = joined();
    let mut beats = Vec::new();
    while beats.len() < 4 {
        let now = machine.poll_timeout().unwrap();
        machine.handle_timeout(now);
        for effect in effects(&mut machine) {
            match effect {
                Effect::Heartbeat(_) => beats.push((now - begin).as_secs()),
                Effect::Probe(attempt, packet) => machine.handle_echo(attempt, &packet, now),
                other => panic!("{other:?}"),
            }
        }
        // The first probe of the join was never echoed; anything heard is life.
        machine.handle_message(Attempt(1), now);
    }
    assert_eq!(beats, [15, 30, 45, 60]);
}

#[test]
fn what_the_server_says_for_good_is_not_tried_again() {
    for (code, end) in [
        (5, End::Replaced),
        (6, End::Removed),
        (7, End::MeetingEnded),
        (2, End::Unauthorized),
        (1, End::Protocol),
    ] {
        let (mut machine, now) = joined();
        machine.handle_closed(Attempt(1), Closed::ByPeer(code), now);
        assert_eq!(machine.phase(), Phase::Ended(end));
        assert_eq!(machine.poll_timeout(), None);
    }
    for code in [0, 3, 4, 8, 99] {
        let (mut machine, now) = joined();
        machine.handle_closed(Attempt(1), Closed::ByPeer(code), now);
        assert_eq!(machine.phase(), Phase::Reconnecting(now));
    }
}

#[test]
fn a_refused_join_ends_or_waits_as_long_as_the_server_asks() {
    let refuse = |code, retry_after| {
        let now = Instant::now();
        let mut machine = Machine::new(Config::default(), None, 1);
        machine.handle_start(now);
        machine.handle_open(Attempt(1), now);
        machine.handle_refused(Attempt(1), Refusal { code, retry_after }, now);
        (machine, now)
    };
    for (code, end) in [
        (ErrorCode::CapacityExceeded, End::Full),
        (ErrorCode::NotFound, End::NotFound),
        (ErrorCode::Unauthorized, End::Unauthorized),
        (ErrorCode::Forbidden, End::Forbidden),
        (ErrorCode::InvalidRequest, End::Protocol),
    ] {
        assert_eq!(refuse(code, None).0.phase(), Phase::Ended(end));
    }
    let asked = Duration::from_secs(3);
    let (machine, now) = refuse(ErrorCode::RateLimited, Some(asked));
    assert_eq!(machine.poll_timeout(), Some(now + asked));
}

#[test]
fn a_server_that_is_never_there_is_given_up_and_so_is_a_seat_that_is_not_kept_any_more() {
    let config = Config::default();
    for lost in [false, true] {
        let (mut machine, begin) = joined();
        if lost {
            machine.handle_closed(Attempt(1), Closed::Lost, begin);
        } else {
            machine = Machine::new(config, None, 1);
            machine.handle_start(begin);
        }
        let mut now = begin;
        while let Some(next) = machine.poll_timeout() {
            now = next;
            machine.handle_timeout(now);
            for effect in effects(&mut machine) {
                if let Effect::Connect(attempt) = effect {
                    machine.handle_open_failed(attempt, now);
                }
            }
        }
        let (end, most) = if lost {
            (End::Lost, config.seat_kept)
        } else {
            (End::Unreachable, config.first_join_max)
        };
        assert_eq!(machine.phase(), Phase::Ended(end));
        assert!(now - begin <= most && now - begin >= most - config.backoff_max);
    }
}

#[test]
fn leaving_closes_the_session_and_ends_whatever_the_state() {
    let (mut machine, now) = joined();
    machine.handle_leave();
    assert_eq!(
        effects(&mut machine),
        [
            Effect::Close(Attempt(1), CloseCode::Graceful),
            Effect::PhaseChanged
        ]
    );
    machine.handle_closed(Attempt(1), Closed::Lost, now);
    assert_eq!(machine.phase(), Phase::Ended(End::Left));
    let mut idle = Machine::new(Config::default(), None, 1);
    idle.handle_leave();
    idle.handle_start(now);
    assert_eq!(idle.phase(), Phase::Ended(End::Left));
}

/// One random thing that may happen to an open attempt.
fn happen(
    machine: &mut Machine,
    rng: &mut StdRng,
    attempt: Attempt,
    now: Instant,
    tokens: &mut u64,
) {
    match rng.random_range(0..10) {
        0 => machine.handle_open_failed(attempt, now),
        1..=4 => machine.handle_open(attempt, now),
        5 | 6 => {
            *tokens += 1;
            machine.handle_joined(attempt, token(*tokens), now);
        }
        7 => machine.handle_closed(attempt, Closed::Lost, now),
        8 => machine.handle_closed(attempt, Closed::ByPeer(rng.random_range(0..10)), now),
        _ => {
            let code = ErrorCode::try_from(rng.random_range(0..11)).unwrap_or_default();
            let retry_after = Some(Duration::from_millis(rng.random_range(0..2000)));
            machine.handle_refused(attempt, Refusal { code, retry_after }, now);
        }
    }
}

#[test]
fn in_any_world_there_is_one_session_at_a_time_and_time_always_goes_on() {
    for seed in 0..3000 {
        let mut rng = StdRng::seed_from_u64(seed);
        let begin = Instant::now();
        let mut now = begin;
        let mut machine = Machine::new(Config::default(), None, seed);
        let (mut tokens, mut newest) = (0, 0);
        machine.handle_start(now);
        for _ in 0..200 {
            for effect in effects(&mut machine) {
                match effect {
                    Effect::Connect(attempt) => {
                        assert_eq!(attempt.0, newest + 1, "seed {seed}");
                        newest = attempt.0;
                    }
                    Effect::Join(attempt, credential) => {
                        assert_eq!(attempt.0, newest, "seed {seed}");
                        let held = machine.resume_token().cloned();
                        let expected = held.map_or(Credential::JoinToken, Credential::Resume);
                        assert_eq!(credential, expected, "seed {seed}");
                    }
                    Effect::Heartbeat(attempt) | Effect::Probe(attempt, _) => {
                        assert_eq!(attempt.0, newest, "seed {seed}");
                    }
                    Effect::Close(..) | Effect::PhaseChanged => {}
                }
            }
            if matches!(machine.phase(), Phase::Ended(_)) {
                assert_eq!(machine.poll_timeout(), None, "seed {seed}");
                break;
            }
            let timeout = machine.poll_timeout();
            let timeout = timeout.unwrap_or_else(|| panic!("stuck with seed {seed}"));
            if rng.random::<bool>() {
                now = now.max(timeout);
                machine.handle_timeout(now);
            } else {
                // Now and then about a session that is long gone.
                let attempt = Attempt(newest - u64::from(newest > 1 && rng.random_ratio(1, 5)));
                happen(&mut machine, &mut rng, attempt, now, &mut tokens);
            }
        }
    }
}
