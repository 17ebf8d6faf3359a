//! Commits: who wins, what is refused, and how all go back from one.

mod room;

use dt_e2ee::{Error, Refused, Suite};
use room::Room;

#[test]
fn a_rotation_gives_new_keys_and_changes_nobody() {
    let mut room = Room::of(&["ada", "bob", "cem"]);
    let before = room.keys("cem");
    let applied = room.commit("bob", Vec::new());
    assert_eq!(applied.committer, Some(1));
    assert!(applied.added.is_empty() && applied.removed.is_empty());
    room.assert_agreed();
    assert_ne!(room.keys("cem").base_key, before.base_key);
    assert_ne!(room.keys("cem").authenticator, before.authenticator);
}

#[test]
fn of_two_racing_commits_the_first_wins_and_both_committers_follow_it() {
    let mut room = Room::of(&["ada", "bob", "cem"]);
    let adas = room.member("ada").commit().expect("a commit");
    let bobs = room.member("bob").commit().expect("a commit");
    room.keeper
        .apply(&bobs.commit, &bobs.group_info)
        .expect("passes");
    assert_eq!(
        room.keeper.apply(&adas.commit, &adas.group_info),
        Err(Refused::Stale)
    );
    let changes = room.deliver(&bobs.commit);
    let own: Vec<bool> = changes.iter().map(|change| change.own).collect();
    assert_eq!(own, [false, true, false]);
    room.assert_agreed();
    let late = room.member("cem").handle_commit(&adas.commit);
    assert!(matches!(late, Err(Error::Stale)));
    room.assert_agreed();
}

#[test]
fn a_commit_of_before_a_proposal_is_incomplete_and_the_next_try_covers_it() {
    let mut room = Room::of(&["ada", "bob", "cem"]);
    let early = room.member("ada").commit().expect("a commit");
    room.propose_remove("cem");
    assert_eq!(
        room.keeper.apply(&early.commit, &early.group_info),
        Err(Refused::Incomplete)
    );
    let applied = room.commit("ada", Vec::new());
    assert_eq!(applied.removed, [2]);
    room.assert_agreed();
}

#[test]
fn nobody_commits_their_own_removal() {
    let mut room = Room::of(&["ada", "bob"]);
    room.propose_remove("bob");
    assert!(room.member("bob").commit().is_err());
    room.commit("ada", Vec::new());
    room.assert_agreed();
}

#[test]
fn the_removed_member_is_told_and_has_no_more_keys() {
    let mut room = Room::of(&["ada", "bob", "cem"]);
    room.remove("ada", "cem");
    room.assert_agreed();
    let cem = room.gone.get_mut("cem").expect("removed");
    assert!(matches!(cem.keys(Suite::Aes128Gcm), Err(Error::Removed)));
    assert!(matches!(cem.commit(), Err(Error::Removed)));
}

#[test]
fn a_removed_member_that_refuses_to_go_cannot_derive_the_next_keys() {
    let mut room = Room::of(&["ada", "bob", "cem"]);
    // Cem takes nothing of its removal and tries all that it still can do.
    let mut cem = room.members.remove("cem").expect("a member");
    let mut tried = vec![cem.keys(Suite::Aes128Gcm).expect("keys")];
    let leaf = cem.own_leaf();
    let proposal = room
        .keeper
        .propose_remove(&room.controller, leaf)
        .expect("proposed");
    room.tell(&proposal);
    let commit = room.member("ada").commit().expect("a commit");
    room.keeper
        .apply(&commit.commit, &commit.group_info)
        .expect("passes");
    room.deliver(&commit.commit);

    // Without the proposal the commit can't be processed; with it, it is evicted.
    assert!(cem.handle_commit(&commit.commit).is_err());
    tried.push(cem.keys(Suite::Aes128Gcm).expect("the old keys"));
    let own = cem.commit().expect("a commit of its own");
    assert_eq!(
        room.keeper.apply(&own.commit, &own.group_info),
        Err(Refused::Stale)
    );
    cem.handle_commit(&own.commit).expect("in its own world");
    tried.push(cem.keys(Suite::Aes128Gcm).expect("keys of nobody"));
    cem.roll_back().expect("back");
    cem.handle_proposal(&proposal).expect("taken");
    assert!(
        cem.handle_commit(&commit.commit)
            .expect("told")
            .removed_self
    );
    assert!(cem.keys(Suite::Aes128Gcm).is_err());

    let present = room.keys("ada");
    room.commit("bob", Vec::new());
    let next = room.keys("ada");
    for keys in tried {
        assert_ne!(keys.base_key, present.base_key);
        assert_ne!(keys.base_key, next.base_key);
    }
}

#[test]
fn who_comes_later_cannot_derive_the_keys_of_before() {
    let mut room = Room::of(&["ada", "bob"]);
    let before = room.keys("ada");
    room.enter("cem").expect("entered");
    assert_ne!(room.keys("cem").base_key, before.base_key);
    assert!(matches!(
        room.member("cem").roll_back(),
        Err(Error::NothingBefore)
    ));
}

#[test]
fn all_go_back_from_a_void_commit_and_another_takes_its_place() {
    let mut room = Room::of(&["ada", "bob", "cem"]);
    room.propose_remove("cem");
    let dee = room.propose_add("dee");
    let keys = room.keys("bob");
    let void = room.member("ada").commit().expect("a commit");
    room.keeper
        .apply(&void.commit, &void.group_info)
        .expect("passes");
    for member in room.members.values_mut() {
        member.handle_commit(&void.commit).expect("taken");
    }
    assert!(room.keeper.roll_back());
    for member in room.members.values_mut() {
        member.roll_back().expect("back");
    }
    room.assert_agreed();
    assert_eq!(room.keys("bob"), keys);
    assert_eq!(room.keeper.open_proposals(), 2);
    assert_eq!(room.member("ada").open_proposals(), 2);

    let applied = room.commit("bob", vec![("dee", dee)]);
    assert_eq!(applied.removed, [2]);
    room.assert_agreed();
    assert!(!room.members.contains_key("cem"));
}

#[test]
fn an_entry_that_is_void_leaves_the_others_as_they_were() {
    let mut room = Room::of(&["ada", "bob"]);
    let keys = room.keys("ada");
    room.enter("cem").expect("entered");
    assert!(room.keeper.roll_back());
    room.members.remove("cem");
    for member in room.members.values_mut() {
        member.roll_back().expect("back");
    }
    room.assert_agreed();
    assert_eq!(room.keys("ada"), keys);
    room.enter("cem").expect("entered anew");
    room.assert_agreed();
}

#[test]
fn one_goes_back_once_and_not_after_settling() {
    let mut room = Room::of(&["ada", "bob"]);
    room.commit("ada", Vec::new());
    room.commit("bob", Vec::new());
    let ada = room.member("ada");
    ada.roll_back().expect("back");
    assert!(matches!(ada.roll_back(), Err(Error::NothingBefore)));
    let bob = room.member("bob");
    bob.settle();
    assert!(matches!(bob.roll_back(), Err(Error::NothingBefore)));
    assert!(room.keeper.roll_back());
    assert!(!room.keeper.roll_back());
}

#[test]
fn a_commit_of_ours_that_was_overtaken_is_dropped_even_after_going_back() {
    let mut room = Room::of(&["ada", "bob"]);
    let adas = room.member("ada").commit().expect("a commit");
    let bobs = room.member("bob").commit().expect("a commit");
    for member in room.members.values_mut() {
        member.handle_commit(&bobs.commit).expect("taken");
    }
    for member in room.members.values_mut() {
        member.roll_back().expect("back");
    }
    // Ada's own bytes are a stranger's now: its secrets are gone.
    assert!(room.member("ada").handle_commit(&adas.commit).is_err());
    room.commit("ada", Vec::new());
    room.assert_agreed();
}

#[test]
fn a_proposal_told_twice_counts_once() {
    let mut room = Room::of(&["ada", "bob", "cem"]);
    let leaf = room.leaf("cem");
    let proposal = room
        .keeper
        .propose_remove(&room.controller, leaf)
        .expect("proposed");
    room.tell(&proposal);
    room.tell(&proposal);
    assert_eq!(room.member("ada").open_proposals(), 1);
    let again = room.keeper.propose_remove(&room.controller, leaf);
    assert!(matches!(again, Err(Refused::Invalid(_))));
    room.commit("bob", Vec::new());
    room.assert_agreed();
}

#[test]
fn a_member_that_missed_steps_catches_up_by_replaying_them() {
    let mut room = Room::of(&["ada", "bob", "cem"]);
    let mut cem = room.members.remove("cem").expect("a member");
    let mut missed = Vec::new();
    for _ in 0..5 {
        let commit = room.member("ada").commit().expect("a commit");
        room.keeper
            .apply(&commit.commit, &commit.group_info)
            .expect("passes");
        room.deliver(&commit.commit);
        missed.push(commit.commit);
    }
    assert!(matches!(cem.handle_commit(&missed[1]), Err(Error::Ahead)));
    for commit in &missed {
        cem.handle_commit(commit).expect("taken");
    }
    room.members.insert("cem".to_owned(), cem);
    room.assert_agreed();
}
