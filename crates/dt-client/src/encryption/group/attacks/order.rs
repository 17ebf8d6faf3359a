//! Messages that are withheld, repeated, put in another order or come too late.

use std::time::Duration;

use dt_wire::v1::{E2eeEntry, EntryWay, GroupPosition, Mls, MlsKind};

use super::{
    super::{
        Effect,
        hall::{Client, Hall},
        message,
    },
    SECOND, entries, heard_by, ids, meeting,
};

/// No key that a client had was taken again once another one followed.
fn assert_no_key_came_back(client: &Client) {
    let keys = &client.keys;
    for (place, old) in keys.iter().enumerate() {
        let mut later = keys[place + 1..]
            .iter()
            .skip_while(|keys| keys.epoch.base_key == old.epoch.base_key);
        assert!(later.all(|keys| keys.epoch.base_key != old.epoch.base_key));
    }
}

#[test]
fn who_misses_a_commit_leaves_at_the_next_and_comes_in_anew() {
    let mut hall = meeting(107, 4);
    let victim = Hall::id(4);
    // A commit of another one is kept from the victim.
    let mut withheld = 0;
    hall.want_commit();
    for _ in 0..1500 {
        hall.run(Duration::from_millis(1));
        withheld += hall.withhold(victim);
    }
    assert_eq!(withheld, 1);
    let stands = hall.clients[&victim].group.position().unwrap().1;
    assert!(stands < hall.epoch());
    assert!(
        hall.client(victim).has_keys,
        "nothing is known to be wrong yet"
    );
    let came_in = entries(hall.client(victim));
    hall.want_commit();
    hall.run(5 * SECOND);
    assert_eq!(entries(hall.client(victim)), came_in + 1);
    assert!(hall.stranded > 0);
    hall.assert_agreed();
    assert_no_key_came_back(hall.client(victim));
}

#[test]
fn who_misses_a_commit_and_gets_frames_of_it_asks_for_another_way_in() {
    let mut hall = meeting(117, 4);
    let victim = Hall::id(4);
    hall.want_commit();
    for _ in 0..1500 {
        hall.run(Duration::from_millis(1));
        hall.withhold(victim);
    }
    let came_in = entries(hall.client(victim));
    let now = hall.now;
    hall.client(victim).group.handle_behind(now);
    hall.carry_out(victim);
    assert!(!hall.client(victim).has_keys);
    hall.run(5 * SECOND);
    assert_eq!(entries(hall.client(victim)), came_in + 1);
    hall.assert_agreed();
}

#[test]
fn two_commits_in_the_wrong_order_strand_who_hears_them_so() {
    let mut hall = meeting(108, 3);
    // Two commits are made, and the victim hears of nothing.
    let victim = Hall::id(3);
    for _ in 0..2 {
        hall.want_commit();
        for _ in 0..1500 {
            hall.run(Duration::from_millis(1));
            hall.withhold(victim);
        }
    }
    let commits = hall.commits_logged();
    let [.., first, second] = &commits[..] else {
        panic!("two commits")
    };
    let (first, second) = (first.clone(), second.clone());
    let before = hall.clients[&victim].group.position().unwrap();
    assert_eq!(first.position.unwrap().epoch, before.1);
    hall.say(victim, second);
    hall.say(victim, first);
    hall.run(Duration::from_millis(60));
    let client = hall.client(victim);
    assert!(
        !client.has_keys,
        "it seals nothing with keys that may be old"
    );
    assert_eq!(client.group.position(), None);
    assert_eq!(
        client.keys.last().unwrap().epoch.epoch,
        before.1,
        "neither was followed"
    );
    hall.run(15 * SECOND);
    hall.assert_agreed();
    assert_eq!(entries(hall.client(victim)), 2);
    assert_no_key_came_back(hall.client(victim));
}

#[test]
fn an_old_commit_that_is_shown_as_a_new_one_is_not_followed() {
    let mut hall = meeting(109, 3);
    hall.want_commit();
    hall.run(3 * SECOND);
    let old = hall.last_commit();
    hall.want_commit();
    hall.run(3 * SECOND);
    let victim = Hall::id(1);
    let (group, epoch) = hall.client(victim).group.position().unwrap();
    let keys = hall.client(victim).keys.len();
    // As it was: overtaken, and nobody's concern.
    hall.say(victim, old.clone());
    hall.run(SECOND / 2);
    assert_eq!(hall.client(victim).keys.len(), keys);
    assert_eq!(hall.client(victim).group.position(), Some((group, epoch)));
    // Relabelled: it can't be processed. Nobody else says so, and it comes in anew.
    let relabelled = Mls {
        position: Some(GroupPosition { group, epoch }),
        ..old
    };
    hall.say(victim, relabelled);
    hall.run(10 * SECOND);
    hall.assert_agreed();
    assert_eq!(entries(hall.client(victim)), 2);
    assert_no_key_came_back(hall.client(victim));
}

#[test]
fn nobody_goes_back_further_than_one_commit_nor_after_it_settled() {
    for (commits, wait) in [(2, Duration::from_millis(1500)), (1, 3 * SECOND)] {
        let mut hall = meeting(110, 3);
        let victim = Hall::id(1);
        let (group, epoch) = hall.client(victim).group.position().unwrap();
        for _ in 0..commits {
            hall.want_commit();
            hall.run(wait);
        }
        hall.say(victim, message(MlsKind::MlsRolledBack, group, epoch));
        hall.run(Duration::from_millis(60));
        assert!(!hall.client(victim).has_keys, "it left the group");
        hall.run(5 * SECOND);
        hall.assert_agreed();
        assert_eq!(entries(hall.client(victim)), 2);
        assert_no_key_came_back(hall.client(victim));
    }
}

#[test]
fn who_returns_and_is_shown_an_older_group_takes_no_key_again() {
    let mut hall = meeting(111, 3);
    let victim = Hall::id(2);
    let old = hall.way_by_commit();
    for _ in 0..2 {
        hall.want_commit();
        hall.run(3 * SECOND);
    }
    hall.show_way(
        victim,
        E2eeEntry {
            way: EntryWay::CatchUp.into(),
            missed: hall.commits_logged(),
            ..old
        },
    );
    hall.run(Duration::from_millis(60));
    assert!(!hall.client(victim).has_keys);
    hall.run(5 * SECOND);
    hall.assert_agreed();
    assert_eq!(entries(hall.client(victim)), 2);
    assert_no_key_came_back(hall.client(victim));
}

#[test]
fn a_newcomer_whom_an_old_group_info_is_shown_is_alone_with_its_keys() {
    let mut hall = meeting(112, 2);
    let old = hall.way_by_commit();
    hall.want_commit();
    hall.run(3 * SECOND);
    // The old state is shown to the newcomer, and its commit confirmed to it.
    let newcomer = hall.join(3);
    hall.withhold(newcomer);
    let roster = ids(&[1, 2]).into_iter().collect();
    let now = hall.now;
    let group = &mut hall.client(newcomer).group;
    group.handle_seat(newcomer, roster, &old, now);
    let mut confirmed = None;
    while let Some(effect) = group.poll_effect() {
        if let Effect::Send(_, mls) = effect {
            confirmed = Some(mls);
        }
    }
    let confirmed = confirmed.unwrap();
    group.handle_message(&confirmed, now);
    hall.carry_out(newcomer);
    // The others don't follow it, relabelled or not.
    let epochs: Vec<_> = [1, 2].map(|n| hall.clients[&Hall::id(n)].keys.len()).into();
    for number in [1, 2] {
        hall.say(Hall::id(number), confirmed.clone());
    }
    hall.run(SECOND / 4);
    let after: Vec<_> = [1, 2].map(|n| hall.clients[&Hall::id(n)].keys.len()).into();
    assert_eq!(epochs, after);
    let position = hall.clients[&Hall::id(1)].group.position();
    assert_eq!(position, Some((hall.number, hall.epoch())));
    assert_eq!(hall.stranded, 0, "nor does it trouble them");
    let code = |hall: &Hall, id| hall.clients[&id].group.shown(hall.now).meeting_code;
    assert_ne!(
        code(&hall, newcomer),
        code(&hall, Hall::id(1)),
        "the codes tell"
    );
    let theirs = hall.clients[&Hall::id(1)].keys.iter();
    let own = &hall.clients[&newcomer].keys.last().unwrap().epoch.base_key;
    assert_eq!(theirs.filter(|keys| keys.epoch.base_key == *own).count(), 0);
    // It can't follow the next commit of the others, and comes in as others do.
    hall.want_commit();
    hall.run(5 * SECOND);
    let next = hall.last_commit();
    hall.say(newcomer, next);
    hall.run(15 * SECOND);
    hall.assert_agreed();
}

#[test]
fn an_old_welcome_brings_nobody_in() {
    let mut hall = meeting(113, 3);
    hall.remove(Hall::id(3));
    hall.join(4);
    hall.run(3 * SECOND);
    hall.assert_agreed();
    let old = hall.last_welcome();
    let stranded = hall.stranded;
    hall.remove(Hall::id(2));
    let newcomer = hall.join(5);
    hall.run(Duration::from_millis(60));
    hall.say(newcomer, old.clone());
    hall.run(SECOND / 4);
    assert_eq!(hall.client(newcomer).keys.len(), 0, "no key of it is taken");
    hall.run(15 * SECOND);
    hall.assert_agreed();
    assert!(hall.stranded > stranded, "it asked for another way");
    // Nor does it move who is in.
    let keys = hall.client(Hall::id(4)).keys.len();
    hall.say(Hall::id(4), old);
    hall.run(SECOND);
    assert_eq!(hall.client(Hall::id(4)).keys.len(), keys);
    hall.assert_agreed();
}

#[test]
fn of_commits_that_race_one_counts_and_their_makers_follow_it() {
    let mut hall = meeting(114, 5);
    let (epoch, commits) = (hall.epoch(), hall.commits);
    hall.let_all_commit();
    let mut racing = 0;
    for _ in 0..30 {
        hall.run(Duration::from_millis(1));
        let under_way = (1..=5).filter(|n| hall.has_commit_under_way(Hall::id(*n)));
        racing = racing.max(under_way.count());
    }
    assert!(racing >= 2, "two at once at least, and there were {racing}");
    hall.run(5 * SECOND);
    hall.assert_agreed();
    assert_eq!((hall.epoch(), hall.commits), (epoch + 1, commits + 1));
    assert_eq!((hall.rolled_back, hall.stranded), (0, 0));
    for number in 1..=5 {
        let client = hall.client(Hall::id(number));
        assert_eq!(entries(client), 1, "nobody had to come in anew");
        assert_eq!(client.keys.last().unwrap().epoch.epoch, epoch + 1);
    }
}

#[test]
fn when_one_crashes_between_its_commit_and_sending_it_a_standby_commits_and_media_goes_on() {
    let mut hall = meeting(115, 4);
    let epoch = hall.epoch();
    hall.remove(Hall::id(4));
    let mut crashed = None;
    for _ in 0..2000 {
        hall.run(Duration::from_millis(1) / 2);
        crashed = (1..=3).find(|n| hall.has_commit_under_way(Hall::id(*n)));
        if crashed.is_some() {
            break;
        }
    }
    let crashed = crashed.expect("somebody commits");
    // What it had made goes with it.
    hall.lose(Hall::id(crashed));
    assert_eq!(hall.epoch(), epoch);
    let rest: Vec<u8> = (1..=3).filter(|n| *n != crashed).collect();
    hall.run(SECOND);
    assert_eq!(hall.epoch(), epoch + 1, "a standby has committed");
    assert!(!hall.knows_present_keys(Hall::id(4)));
    for number in &rest {
        let client = hall.client(Hall::id(*number));
        assert!(client.has_keys);
        assert_eq!(entries(client), 1, "it never was without keys");
        assert_eq!(client.keys.last().unwrap().epoch.epoch, epoch + 1);
        assert_eq!(heard_by(&mut hall, *number), ids(&[1, 2, 3]));
    }
    // It returns with a commit that nobody has seen, and follows the other.
    hall.resume(Hall::id(crashed));
    hall.run(3 * SECOND);
    hall.assert_agreed();
    assert_eq!(entries(hall.client(Hall::id(crashed))), 1);
}
