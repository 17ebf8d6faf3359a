//! Who is behind a leaf, and what can't be pretended.

mod room;

use dt_e2ee::{
    CredentialError, LeafKey, MemberView, binding_bytes, credential, judge, meeting_code,
    pair_code, read_credential,
};
use proptest::prelude::*;
use room::{MEETING, Room, claims_of, device_of, identity_of, person};

#[test]
fn a_credential_says_what_the_device_signed() {
    let (leaf, identity) = person("ada");
    let read = read_credential(&identity, leaf.public()).expect("good");
    assert_eq!(read.name, "ada");
    assert_eq!(read.participant_id, "participant-ada");
    assert_eq!(read.device_key, device_of("ada").public());
    assert_eq!(read.statement, "");
}

#[test]
fn a_key_package_that_the_controller_swaps_is_seen_through() {
    // The controller puts its own leaf key behind Ada's credential.
    let (_, adas) = person("ada");
    let own = LeafKey::generate().expect("a key");
    assert_eq!(
        read_credential(&adas, own.public()),
        Err(CredentialError::ForgedBinding)
    );
}

#[test]
fn another_name_or_participant_needs_another_signature() {
    let leaf = LeafKey::generate().expect("a key");
    let device = device_of("ada");
    let signature = device.sign(&binding_bytes(&claims_of("ada"), leaf.public()));
    let mut renamed = claims_of("ada");
    renamed.name = "bob".to_owned();
    let mut reseated = claims_of("ada");
    reseated.participant_id = "participant-bob".to_owned();
    let mut moved = claims_of("ada");
    moved.meeting_id.pop();
    // The border between two fields can't be moved either.
    let mut shifted = claims_of("ada");
    shifted.name = "da".to_owned();
    shifted.participant_id.push('a');
    for claims in [renamed, reseated, moved, shifted] {
        let forged = credential(&claims, &device.public(), &signature, "");
        assert_eq!(
            read_credential(&forged, leaf.public()),
            Err(CredentialError::ForgedBinding)
        );
    }
}

#[test]
fn a_device_key_of_small_order_signs_nothing() {
    // With the neutral element as key, a signature of R = neutral and s = 0 is
    // good for every message in a lax check.
    let mut neutral = [0; 32];
    neutral[0] = 1;
    let mut signature = [0; 64];
    signature[0] = 1;
    let leaf = LeafKey::generate().expect("a key");
    let forged = credential(&claims_of("ada"), &neutral, &signature, "");
    assert_eq!(
        read_credential(&forged, leaf.public()),
        Err(CredentialError::ForgedBinding)
    );
}

#[test]
fn a_name_is_1_to_64_characters() {
    let leaf = LeafKey::generate().expect("a key");
    let device = device_of("ada");
    for (name, good) in [
        (String::new(), false),
        ("ü".repeat(64), true),
        ("ü".repeat(65), false),
    ] {
        let mut claims = claims_of("ada");
        claims.name = name;
        let signature = device.sign(&binding_bytes(&claims, leaf.public()));
        let identity = credential(&claims, &device.public(), &signature, "");
        assert_eq!(read_credential(&identity, leaf.public()).is_ok(), good);
    }
}

#[test]
fn of_two_leaves_that_claim_one_participant_neither_is_believed() {
    let mut room = Room::of(&["ada", "bob"]);
    let (leaf, identity) = person("bob");
    let mut members = room.member("ada").members();
    members.push(MemberView {
        leaf: 9,
        signature_key: leaf.public().to_vec(),
        identity,
    });
    let judged = judge(MEETING, &members);
    assert!(judged[0].1.is_ok());
    assert_eq!(judged[1], (1, Err(CredentialError::Doubled)));
    assert_eq!(judged[2], (9, Err(CredentialError::Doubled)));
}

#[test]
fn a_credential_of_another_meeting_is_not_believed() {
    let mut room = Room::of(&["ada"]);
    let members = room.member("ada").members();
    let judged = judge("another", &members);
    assert_eq!(judged, [(0, Err(CredentialError::OtherMeeting))]);
}

#[test]
fn a_forged_double_does_not_discredit_the_true_one() {
    let mut room = Room::of(&["ada"]);
    let mut members = room.member("ada").members();
    let own = LeafKey::generate().expect("a key");
    members.push(MemberView {
        leaf: 1,
        signature_key: own.public().to_vec(),
        identity: members[0].identity.clone(),
    });
    let judged = judge(MEETING, &members);
    assert!(judged[0].1.is_ok());
    assert_eq!(judged[1].1, Err(CredentialError::ForgedBinding));
}

#[test]
fn all_in_an_epoch_read_the_same_code_and_the_next_epoch_has_another() {
    let mut room = Room::of(&["ada", "bob", "cem"]);
    let code = meeting_code(&room.keys("ada").authenticator);
    assert_eq!(code, meeting_code(&room.keys("cem").authenticator));
    assert_eq!(code.len(), 35);
    let groups: Vec<&str> = code.split(' ').collect();
    assert_eq!(groups.len(), 6);
    assert!(
        groups
            .iter()
            .all(|group| group.len() == 5 && group.bytes().all(|digit| digit.is_ascii_digit()))
    );
    room.commit("bob", Vec::new());
    assert_ne!(code, meeting_code(&room.keys("ada").authenticator));
}

#[test]
fn two_people_read_one_code_whoever_looks() {
    let (ada, bob) = (device_of("ada").public(), device_of("bob").public());
    assert_eq!(pair_code(&ada, &bob), pair_code(&bob, &ada));
    assert_ne!(pair_code(&ada, &bob), pair_code(&ada, &ada));
    assert_eq!(pair_code(&ada, &bob).split(' ').count(), 9);
}

proptest! {
    #[test]
    fn no_changed_byte_of_a_credential_keeps_it_good(at in 0_usize..1000, flip in 1_u8..=255) {
        let leaf = LeafKey::generate().expect("a key");
        let mut identity = identity_of("ada", leaf.public());
        let good = read_credential(&identity, leaf.public()).expect("good");
        let at = at % identity.len();
        identity[at] ^= flip;
        // Where the change leaves a good credential, it says the same: protobuf
        // has more than one way to write one thing.
        if let Ok(read) = read_credential(&identity, leaf.public()) {
            prop_assert_eq!(read, good);
        }
    }

    #[test]
    fn no_bytes_make_reading_a_credential_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(read_credential(&bytes, &[0; 32]).is_err());
    }
}
