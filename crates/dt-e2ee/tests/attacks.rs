//! What the network, the controller and strangers may try with messages that
//! they can see, and what comes of it.

mod room;

use dt_e2ee::{
    Candidate, Commit, ControllerKey, CredentialError, Error, Keeper, LeafKey, Member, Refused,
    judge, read_key_package,
};
use proptest::prelude::*;
use room::{MEETING, Room, identity_of, person};

#[test]
fn a_ghost_that_the_controller_adds_is_seen_by_all() {
    let mut room = Room::of(&["ada", "bob"]);
    // The controller holds these keys itself; nobody of this name is in the
    // meeting.
    room.add("ada", "ghost");
    for name in ["ada", "bob"] {
        let members = room.member(name).members();
        let claimed: Vec<_> = judge(MEETING, &members)
            .into_iter()
            .filter_map(|(_, identity)| Some(identity.ok()?.participant_id))
            .collect();
        let roster = ["participant-ada", "participant-bob"];
        let ghosts: Vec<_> = claimed
            .iter()
            .filter(|claimed| !roster.contains(&claimed.as_str()))
            .collect();
        assert_eq!(ghosts, ["participant-ghost"]);
    }
}

#[test]
fn a_ghost_without_a_device_of_the_person_passes_for_nobody() {
    let mut room = Room::of(&["ada", "bob"]);
    // The controller adds a leaf of its own with Bob's credential.
    let bobs = room.member("ada").members()[1].identity.clone();
    let ghost = Candidate::new(LeafKey::generate().expect("a key"), bobs).expect("a candidate");
    let proposal = room
        .keeper
        .propose_add(&room.controller, ghost.key_package())
        .expect("the controller does as it likes");
    room.tell(&proposal);
    let commit = room.member("ada").commit().expect("a commit");
    room.deliver(&commit.commit);
    let judged = judge(MEETING, &room.member("bob").members());
    assert!(judged[0].1.is_ok() && judged[1].1.is_ok());
    assert_eq!(judged[2].1, Err(CredentialError::ForgedBinding));
}

#[test]
fn a_controller_that_withholds_a_removal_leaves_the_leaf_in_sight() {
    let mut room = Room::of(&["ada", "bob", "cem"]);
    room.commit("ada", Vec::new());
    assert_eq!(room.member("bob").members().len(), 3);
}

#[test]
fn commits_out_of_order_or_of_an_old_epoch_are_not_taken() {
    let mut room = Room::of(&["ada", "bob", "cem"]);
    let mut cem = room.members.remove("cem").expect("a member");
    let steps: Vec<Commit> = (0..3)
        .map(|_| {
            let commit = room.member("ada").commit().expect("a commit");
            room.keeper
                .apply(&commit.commit, &commit.group_info)
                .expect("passes");
            room.deliver(&commit.commit);
            commit
        })
        .collect();
    assert!(matches!(
        cem.handle_commit(&steps[2].commit),
        Err(Error::Ahead)
    ));
    cem.handle_commit(&steps[0].commit).expect("taken");
    for replayed in [&steps[0], &steps[2]] {
        assert!(cem.handle_commit(&replayed.commit).is_err());
    }
    for commit in &steps {
        assert_eq!(
            room.keeper.apply(&commit.commit, &commit.group_info),
            Err(Refused::Stale)
        );
    }
}

#[test]
fn two_worlds_that_a_controller_makes_have_two_meeting_codes() {
    let mut room = Room::of(&["ada", "bob"]);
    let adas = room.member("ada").commit().expect("a commit");
    let bobs = room.member("bob").commit().expect("a commit");
    room.member("ada").handle_commit(&adas.commit).expect("own");
    room.member("bob").handle_commit(&bobs.commit).expect("own");
    assert_ne!(
        dt_e2ee::meeting_code(&room.keys("ada").authenticator),
        dt_e2ee::meeting_code(&room.keys("bob").authenticator)
    );
    let next = room.member("ada").commit().expect("a commit");
    assert!(room.member("bob").handle_commit(&next.commit).is_err());
}

#[test]
fn only_the_controller_of_the_group_proposes() {
    let mut room = Room::of(&["ada", "bob", "cem"]);
    let stranger = ControllerKey::generate().expect("a key");
    let mut other = Keeper::resume(&room.setup, room.keeper.group_info()).expect("resumed");
    // Signed with another key: not even by its maker taken.
    assert!(matches!(
        other.propose_remove(&stranger, 1),
        Err(Refused::Invalid(_))
    ));
    assert_eq!(other.open_proposals(), 0);
    // Of another epoch: stale for everybody.
    let proposal = other.propose_remove(&room.controller, 1).expect("proposed");
    room.commit("ada", Vec::new());
    assert!(matches!(
        room.member("ada").handle_proposal(&proposal),
        Err(Error::Stale)
    ));
}

#[test]
fn messages_of_one_kind_do_not_pass_for_another() {
    let mut room = Room::of(&["ada", "bob"]);
    let candidate = room.propose_add("cem");
    let commit = room.member("ada").commit().expect("a commit");
    let welcome = commit.welcome.clone().expect("a welcome");
    let bob = room.member("bob");
    for bytes in [&commit.group_info, &welcome, candidate.key_package()] as [&[u8]; 3] {
        assert!(bob.handle_commit(bytes).is_err());
        assert!(bob.handle_proposal(bytes).is_err());
    }
    assert!(bob.handle_proposal(&commit.commit).is_err());
    assert!(read_key_package(&welcome).is_err());
    assert!(room.keeper.apply(&welcome, &commit.group_info).is_err());
    assert!(room.keeper.apply(&commit.commit, &welcome).is_err());
    assert!(Keeper::found(&room.setup, &commit.commit).is_err());
    assert!(candidate.join(&commit.group_info, &room.setup).is_err());
}

#[test]
fn a_key_is_in_a_group_once() {
    let mut room = Room::of(&["ada"]);
    let leaf = LeafKey::generate().expect("a key");
    let identity = identity_of("bob", leaf.public());
    let bob = Candidate::new(leaf, identity).expect("a candidate");
    let package = bob.key_package().to_vec();
    let proposal = room
        .keeper
        .propose_add(&room.controller, &package)
        .expect("proposed");
    assert!(matches!(
        room.keeper.propose_add(&room.controller, &package),
        Err(Refused::Invalid(_))
    ));
    room.tell(&proposal);
    room.commit("ada", vec![("bob", bob)]);
    assert!(matches!(
        room.keeper.propose_add(&room.controller, &package),
        Err(Refused::Invalid(_))
    ));
    room.assert_agreed();
}

/// Changes or cuts a message, in a way that a seed names.
fn spoilt(message: &[u8], at: usize, flip: u8, cut: bool) -> Vec<u8> {
    let at = at % message.len();
    let mut spoilt = message.to_vec();
    match cut {
        true => spoilt.truncate(at),
        false => spoilt[at] ^= flip,
    }
    spoilt
}

/// Messages of one step, made once: making them costs more than trying them.
struct Step {
    room: Room,
    proposal: Vec<u8>,
    commit: Commit,
    entry: Commit,
}

fn step() -> Step {
    let mut room = Room::of(&["ada", "bob", "cem"]);
    let (_, entry) = room.prepare_entry("dee");
    let (leaf, identity) = person("eve");
    let eve = Candidate::new(leaf, identity).expect("a candidate");
    let proposal = room
        .keeper
        .propose_add(&room.controller, eve.key_package())
        .expect("proposed");
    room.member("ada")
        .handle_proposal(&proposal)
        .expect("taken");
    let commit = room.member("ada").commit().expect("a commit");
    Step {
        room,
        proposal,
        commit,
        entry,
    }
}

#[test]
fn no_spoilt_message_is_taken_or_changes_a_state() {
    let mut step = step();
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
        cases: 400,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    let spoils = (0_usize..5000, 1_u8..=255, any::<bool>(), 0_u8..5);
    let step = std::cell::RefCell::new(&mut step);
    let taken = runner.run(&spoils, |(at, flip, cut, what)| {
        let step = &mut **step.borrow_mut();
        let room = &mut step.room;
        let epoch = room.keeper.epoch();
        let bob = room.members.get_mut("bob").expect("a member");
        match what {
            0 => {
                let proposal = spoilt(&step.proposal, at, flip, cut);
                prop_assert!(bob.handle_proposal(&proposal).is_err());
            }
            1 => {
                bob.handle_proposal(&step.proposal).expect("taken");
                let commit = spoilt(&step.commit.commit, at, flip, cut);
                prop_assert!(bob.handle_commit(&commit).is_err());
            }
            2 => {
                let entry = spoilt(&step.entry.commit, at, flip, cut);
                prop_assert!(bob.handle_commit(&entry).is_err());
            }
            3 => {
                let group_info = spoilt(&step.commit.group_info, at, flip, cut);
                let applied = room.keeper.apply(&step.commit.commit, &group_info);
                prop_assert!(applied.is_err());
            }
            _ => {
                let (leaf, identity) = person("fay");
                let group_info = spoilt(room.keeper.group_info(), at, flip, cut);
                let entered = Member::enter(leaf, identity, &room.setup, &group_info);
                prop_assert!(entered.is_err());
            }
        }
        prop_assert_eq!(room.keeper.epoch(), epoch);
        prop_assert_eq!(room.members["bob"].epoch(), epoch);
        Ok(())
    });
    if let Err(error) = taken {
        panic!("{error}");
    }
    // And after all this the true ones are good.
    let Step { room, commit, .. } = &mut *step.borrow_mut();
    room.keeper
        .apply(&commit.commit, &commit.group_info)
        .expect("passes");
    room.member("bob")
        .handle_commit(&commit.commit)
        .expect("taken");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_bytes_make_a_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let mut room = Room::founded_by("ada");
        prop_assert!(room.member("ada").handle_commit(&bytes).is_err());
        prop_assert!(room.member("ada").handle_proposal(&bytes).is_err());
        prop_assert!(room.keeper.apply(&bytes, &bytes).is_err());
        prop_assert!(Keeper::resume(&room.setup, &bytes).is_err());
        prop_assert!(read_key_package(&bytes).is_err());
    }
}
