//! Ways into a group: founding, entering by an external commit, being added.

mod room;

use dt_e2ee::{Candidate, ControllerKey, Error, Keeper, Member, Refused, Suite, read_key_package};
use room::{Room, claims_of, person, setup_of};

#[test]
fn a_founder_is_alone_in_epoch_0_with_keys_of_its_own() {
    let room = Room::founded_by("ada");
    room.assert_agreed();
    let keys = room.keys("ada");
    assert_eq!((keys.epoch, keys.leaf), (0, 0));
    assert_eq!(keys.base_key.len(), 16);
    let long = room.members["ada"].keys(Suite::Aes256Gcm).expect("keys");
    assert_eq!(long.base_key.len(), 32);
    assert_ne!(long.base_key[..16], keys.base_key[..]);
}

#[test]
fn who_enters_by_an_external_commit_has_the_keys_of_all() {
    let mut room = Room::founded_by("ada");
    let first = room.keys("ada");
    let applied = room.enter("bob").expect("entered");
    assert_eq!(applied.committer, None);
    assert_eq!((applied.added, applied.removed), (vec![1], vec![]));
    room.assert_agreed();
    assert_ne!(room.keys("ada").base_key, first.base_key);
    room.enter("cem").expect("entered");
    room.assert_agreed();
    assert_eq!(room.keeper.epoch(), 2);
}

#[test]
fn who_enters_has_no_keys_until_the_commit_is_confirmed() {
    let room = Room::founded_by("ada");
    let (mut bob, commit) = room.prepare_entry("bob");
    assert!(matches!(
        bob.keys(Suite::Aes128Gcm),
        Err(Error::Unconfirmed)
    ));
    assert!(matches!(bob.commit(), Err(Error::Unconfirmed)));
    let (_, other) = room.prepare_entry("cem");
    assert!(matches!(
        bob.handle_commit(&other.commit),
        Err(Error::Unconfirmed)
    ));
    let change = bob.handle_commit(&commit.commit).expect("confirmed");
    assert!(change.own);
    assert_eq!(change.added, [1]);
    assert!(bob.keys(Suite::Aes128Gcm).is_ok());
}

#[test]
fn of_two_who_enter_at_once_one_wins_and_the_other_tries_again() {
    let mut room = Room::founded_by("ada");
    let (bob, bobs) = room.prepare_entry("bob");
    let (_, cems) = room.prepare_entry("cem");
    room.keeper
        .apply(&bobs.commit, &bobs.group_info)
        .expect("passes");
    room.members.insert("bob".to_owned(), bob);
    room.deliver(&bobs.commit);
    assert_eq!(
        room.keeper.apply(&cems.commit, &cems.group_info),
        Err(Refused::Stale)
    );
    room.enter("cem").expect("entered");
    room.assert_agreed();
}

#[test]
fn whom_the_controller_proposes_is_added_with_a_welcome() {
    let mut room = Room::of(&["ada", "bob"]);
    let cem = room.propose_add("cem");
    let dee = room.propose_add("dee");
    assert_eq!(room.keeper.open_proposals(), 2);
    let applied = room.commit("bob", vec![("cem", cem), ("dee", dee)]);
    assert_eq!(applied.committer, Some(1));
    assert_eq!(applied.added, [2, 3]);
    assert_eq!(room.keeper.open_proposals(), 0);
    room.assert_agreed();
}

#[test]
fn nobody_enters_past_an_open_proposal() {
    let mut room = Room::of(&["ada", "bob"]);
    room.propose_remove("bob");
    assert_eq!(room.enter("cem"), Err(Refused::Incomplete));
    room.commit("ada", Vec::new());
    room.enter("cem").expect("entered");
    room.assert_agreed();
}

#[test]
fn a_return_after_a_reload_swaps_the_leaf_in_one_commit() {
    let mut room = Room::of(&["ada", "bob", "cem"]);
    room.propose_remove("bob");
    let (leaf, identity) = person("bob");
    let again = Candidate::new(leaf, identity).expect("a candidate");
    let proposal = room
        .keeper
        .propose_add(&room.controller, again.key_package())
        .expect("proposed");
    room.tell(&proposal);
    let commit = room.member("cem").commit().expect("a commit");
    let applied = room
        .keeper
        .apply(&commit.commit, &commit.group_info)
        .expect("passes");
    assert_eq!(applied.removed, [1]);
    assert_eq!(applied.added, [1], "the leftmost free leaf");
    let changes = room.deliver(&commit.commit);
    assert!(changes.iter().all(|change| change.removed == [1]));
    let welcome = commit.welcome.expect("a welcome");
    let again = again.join(&welcome, &room.setup).expect("joined");
    room.members.insert("bob".to_owned(), again);
    room.assert_agreed();
}

#[test]
fn a_group_of_another_meeting_or_controller_is_not_entered() {
    let room = Room::founded_by("ada");
    let other = ControllerKey::generate().expect("a key");
    for setup in [setup_of(&other, 1), setup_of(&room.controller, 2)] {
        let (leaf, identity) = person("bob");
        let entered = Member::enter(leaf, identity, &setup, room.keeper.group_info());
        assert!(matches!(entered, Err(Error::WrongGroup(_))));
        assert!(Keeper::found(&setup, room.keeper.group_info()).is_err());
    }
}

#[test]
fn a_welcome_into_another_group_is_not_taken() {
    let mut room = Room::founded_by("ada");
    let bob = room.propose_add("bob");
    let commit = room.member("ada").commit().expect("a commit");
    let welcome = commit.welcome.expect("a welcome");
    let other = setup_of(&room.controller, 2);
    assert!(matches!(
        bob.join(&welcome, &other),
        Err(Error::WrongGroup(_))
    ));
}

#[test]
fn a_welcome_for_somebody_else_opens_nothing() {
    let mut room = Room::founded_by("ada");
    let _bob = room.propose_add("bob");
    let commit = room.member("ada").commit().expect("a commit");
    let (leaf, identity) = person("mal");
    let mal = Candidate::new(leaf, identity).expect("a candidate");
    let welcome = commit.welcome.expect("a welcome");
    assert!(mal.join(&welcome, &room.setup).is_err());
}

#[test]
fn the_controller_sees_whose_key_package_it_is() {
    let (leaf, identity) = person("bob");
    let candidate = Candidate::new(leaf, identity).expect("a candidate");
    let view = read_key_package(candidate.key_package()).expect("read");
    let read = dt_e2ee::read_credential(&view.identity, &view.signature_key).expect("good");
    assert_eq!(read.participant_id, claims_of("bob").participant_id);
}

#[test]
fn a_successor_of_the_controller_goes_on_from_the_last_group_info() {
    let mut room = Room::of(&["ada", "bob", "cem"]);
    let seed = *room.controller.seed();
    room.keeper = Keeper::resume(&room.setup, room.keeper.group_info()).expect("resumed");
    room.controller = ControllerKey::from_seed(seed);
    room.remove("cem", "bob");
    room.add("ada", "dee");
    room.enter("eve").expect("entered");
    room.assert_agreed();
}

#[test]
fn only_a_group_of_one_in_epoch_0_counts_as_founded() {
    let room = Room::of(&["ada", "bob"]);
    assert!(Keeper::found(&room.setup, room.keeper.group_info()).is_err());
}
