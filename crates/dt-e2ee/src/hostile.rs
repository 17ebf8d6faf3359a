//! What a member with the keys may try against the others: messages that only a
//! holder of keys can make, made here with openmls under our own rules' nose.

use ed25519_dalek::SigningKey;
use openmls::group::{CommitBuilder, Initial, MlsGroup};
use openmls::prelude::{
    Ciphersuite, ExternalProposal, KeyPackage, LeafNodeIndex, LeafNodeParameters, Lifetime,
    MlsGroupJoinConfig, MlsMessageBodyIn, MlsMessageOut, PURE_CIPHERTEXT_WIRE_FORMAT_POLICY,
    SenderExtensionIndex,
};
use openmls_traits::OpenMlsProvider as _;
use openmls_traits::signatures::Signer as _;
use tls_codec::Serialize as _;

use crate::group::{credential_with_key, join_config, read_message};
use crate::provider::Provider;
use crate::{Commit, Error, GroupSetup, Keeper, LeafKey, Member, Refused, Suite, read_key_package};

#[path = "../tests/room/mod.rs"]
mod room;

use room::{Room, identity_of, person, setup_of};

/// Length of a tag with its length byte, at the end of a message.
const TAG_BYTES: usize = 33;

fn bytes(message: MlsMessageOut) -> Vec<u8> {
    message.tls_serialize_detached().expect("written")
}

fn commit_of(bundle: openmls::group::CommitMessageBundle) -> Commit {
    let (commit, welcome, group_info) = bundle.into_messages();
    Commit {
        commit: bytes(commit),
        group_info: bytes(group_info.expect("a group info")),
        welcome: welcome.map(bytes),
    }
}

/// A GroupInfo that is changed and signed again by the one who signs it.
fn signed_again(group_info: &[u8], leaf: &LeafKey, change: impl FnOnce(&mut [u8])) -> Vec<u8> {
    fn prefixed(bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        tls_codec::VLByteSlice(bytes)
            .tls_serialize(&mut out)
            .expect("written");
        out
    }
    let (head, rest) = group_info.split_at(4);
    let mut signed = rest[..rest.len() - 66].to_vec();
    change(&mut signed);
    let mut content = prefixed(b"MLS 1.0 GroupInfoTBS");
    content.extend(prefixed(&signed));
    let signature = leaf.sign(&content).expect("signed");
    [head, &signed, &prefixed(&signature)].concat()
}

/// A commit whose confirmation tag is wrong, with a GroupInfo that agrees: the
/// tag stands `from_end` bytes before the end of the commit.
fn with_broken_tag(commit: &Commit, leaf: &LeafKey, from_end: usize) -> Commit {
    let mut broken = commit.clone();
    let at = broken.commit.len() - from_end;
    broken.commit[at] ^= 1;
    broken.group_info = signed_again(&commit.group_info, leaf, |signed| {
        // The tag stands before the signer's leaf.
        let at = signed.len() - 4 - 1;
        signed[at] ^= 1;
    });
    broken
}

/// Both the keeper and a member refuse it, and it is a rule of ours that does.
fn refused_by_all(room: &mut Room, commit: &Commit) {
    let epoch = room.keeper.epoch();
    let kept = room.keeper.apply(&commit.commit, &commit.group_info);
    assert!(matches!(kept, Err(Refused::Invalid(_))), "{kept:?}");
    let taken = room.member("cem").handle_commit(&commit.commit);
    assert!(
        matches!(taken, Err(Error::Rule(_) | Error::Malformed(_))),
        "{taken:?}"
    );
    assert_eq!(room.keeper.epoch(), epoch);
    assert_eq!(room.member("cem").epoch(), epoch);
}

/// The commit of a member who breaks the rules as `change` says.
fn commit_by(
    mal: &mut Member,
    change: impl for<'a> FnOnce(CommitBuilder<'a, Initial>) -> CommitBuilder<'a, Initial>,
) -> Commit {
    let bundle = change(mal.group.commit_builder())
        .load_psks(mal.provider.storage())
        .expect("loaded")
        .use_ratchet_tree_extension(true)
        .build(
            mal.provider.rand(),
            mal.provider.crypto(),
            &mal.leaf,
            |_| true,
        )
        .expect("built")
        .stage_commit(&mal.provider)
        .expect("staged");
    commit_of(bundle)
}

#[test]
fn a_member_removes_nobody_of_its_own_accord() {
    let mut room = Room::of(&["ada", "bob", "cem"]);
    let mal = room.member("ada");
    let commit = commit_by(mal, |builder| {
        builder.propose_removals([LeafNodeIndex::new(1)])
    });
    refused_by_all(&mut room, &commit);
}

#[test]
fn a_member_adds_nobody_of_its_own_accord() {
    let mut room = Room::of(&["ada", "bob", "cem"]);
    let (leaf, identity) = person("ghost");
    let ghost = crate::Candidate::new(leaf, identity).expect("a candidate");
    let MlsMessageBodyIn::KeyPackage(package) = read_message(ghost.key_package()).expect("read")
    else {
        panic!("a key package");
    };
    let mal = room.member("ada");
    let package = package.into_unchecked_for_tests(mal.provider.crypto());
    let commit = commit_by(mal, |builder| {
        builder.force_self_update(true).propose_adds([package])
    });
    refused_by_all(&mut room, &commit);
}

trait Checked {
    fn into_unchecked_for_tests(self, crypto: &openmls_rust_crypto::RustCrypto) -> KeyPackage;
}

impl Checked for openmls::prelude::KeyPackageIn {
    fn into_unchecked_for_tests(self, crypto: &openmls_rust_crypto::RustCrypto) -> KeyPackage {
        self.validate(crypto, openmls::prelude::ProtocolVersion::Mls10)
            .expect("valid")
    }
}

#[test]
fn a_commit_without_fresh_keys_is_refused() {
    let mut room = Room::of(&["ada", "bob", "cem"]);
    room.propose_add("dee");
    let mal = room.member("ada");
    let commit = commit_by(mal, |builder| builder);
    refused_by_all(&mut room, &commit);
}

#[test]
fn a_member_stays_who_it_was() {
    let mut room = Room::of(&["ada", "bob", "cem"]);
    let mal = room.member("ada");
    let credential = identity_of("bob", mal.leaf.public());
    let renamed = credential_with_key(credential, mal.leaf.public());
    let commit = commit_by(mal, |builder| {
        builder.force_self_update(true).leaf_node_parameters(
            LeafNodeParameters::builder()
                .with_credential_with_key(renamed)
                .build(),
        )
    });
    refused_by_all(&mut room, &commit);
}

#[test]
fn a_member_proposes_nothing() {
    let mut room = Room::of(&["ada", "bob", "cem"]);
    let mal = room.member("ada");
    let (update, _) = mal
        .group
        .propose_self_update(&mal.provider, &mal.leaf, LeafNodeParameters::default())
        .expect("proposed");
    let update = bytes(update);
    let (removal, _) = mal
        .group
        .propose_remove_member(&mal.provider, &mal.leaf, LeafNodeIndex::new(1))
        .expect("proposed");
    for proposal in [update, bytes(removal)] {
        let taken = room.member("cem").handle_proposal(&proposal);
        assert!(matches!(taken, Err(Error::Rule(_))), "{taken:?}");
    }
    assert_eq!(room.member("cem").open_proposals(), 0);
}

#[test]
fn a_handshake_that_the_controller_cannot_read_is_refused() {
    let mut room = Room::of(&["ada", "bob", "cem"]);
    let mal = room.member("ada");
    let hidden = MlsGroupJoinConfig::builder()
        .wire_format_policy(PURE_CIPHERTEXT_WIRE_FORMAT_POLICY)
        .use_ratchet_tree_extension(true)
        .build();
    mal.group
        .set_configuration(mal.provider.storage(), &hidden)
        .expect("set");
    let commit = mal.commit().expect("a commit");
    refused_by_all(&mut room, &commit);
}

#[test]
fn the_controller_cannot_change_the_group_itself() {
    let mut room = Room::of(&["ada", "bob", "cem"]);
    let other = crate::ControllerKey::generate().expect("a key");
    let proposal = ExternalProposal::new_group_context_extensions::<Provider>(
        setup_of(&other, 1).extensions().expect("extensions"),
        room.setup.id(),
        room.keeper.epoch().into(),
        &room.controller,
        SenderExtensionIndex::new(0),
    )
    .expect("made");
    let taken = room.member("cem").handle_proposal(&bytes(proposal));
    assert!(matches!(taken, Err(Error::Rule(_))), "{taken:?}");
}

fn key_package(suite: Ciphersuite, lifetime: Lifetime) -> KeyPackage {
    let (leaf, identity) = person("dee");
    KeyPackage::builder()
        .key_package_lifetime(lifetime)
        .build(
            suite,
            &Provider::default(),
            &leaf,
            credential_with_key(identity, leaf.public()),
        )
        .expect("made")
        .into_key_package()
}

#[test]
fn a_key_package_that_lives_too_long_or_no_more_is_refused_by_all() {
    let mut room = Room::of(&["ada", "bob", "cem"]);
    let now = crate::group::lifetime();
    let long = Lifetime::init(now.not_before(), now.not_after() + 100 * 24 * 3600);
    let over = Lifetime::init(now.not_before(), now.not_before() + 3600);
    for lifetime in [long, over] {
        let package = key_package(crate::group::SUITE, lifetime);
        let proposal = ExternalProposal::new_add::<Provider>(
            package.clone(),
            room.setup.id(),
            room.keeper.epoch().into(),
            &room.controller,
            SenderExtensionIndex::new(0),
        )
        .expect("made");
        assert!(
            room.member("cem")
                .handle_proposal(&bytes(proposal))
                .is_err()
        );
        let package = bytes(MlsMessageOut::from(package));
        assert!(read_key_package(&package).is_err());
        let proposed = room.keeper.propose_add(&room.controller, &package);
        assert!(matches!(proposed, Err(Refused::Invalid(_))));
    }
}

#[test]
fn a_key_package_of_another_suite_is_refused() {
    let package = key_package(
        Ciphersuite::MLS_128_DHKEMX25519_CHACHA20POLY1305_SHA256_Ed25519,
        crate::group::lifetime(),
    );
    let package = bytes(MlsMessageOut::from(package));
    assert!(read_key_package(&package).is_err());
}

#[test]
fn a_group_of_another_suite_is_neither_kept_nor_entered() {
    let controller = crate::ControllerKey::generate().expect("a key");
    let setup = setup_of(&controller, 1);
    let (leaf, identity) = person("ada");
    let provider = Provider::default();
    let group = MlsGroup::builder()
        .with_group_id(setup.id())
        .ciphersuite(Ciphersuite::MLS_128_DHKEMX25519_CHACHA20POLY1305_SHA256_Ed25519)
        .with_group_context_extensions(setup.extensions().expect("extensions"))
        .use_ratchet_tree_extension(true)
        .build(
            &provider,
            &leaf,
            credential_with_key(identity, leaf.public()),
        )
        .expect("founded");
    let group_info = group
        .export_group_info(provider.crypto(), &leaf, true)
        .expect("described");
    let group_info = bytes(group_info);
    let kept = Keeper::found(&setup, &group_info);
    assert!(matches!(kept, Err(Refused::Invalid(_))));
    let (leaf, identity) = person("bob");
    let entered = Member::enter(leaf, identity, &setup, &group_info);
    assert!(matches!(entered, Err(Error::WrongGroup(_))));
}

#[test]
fn nobody_takes_another_leaf_s_place_by_entering_with_its_key() {
    let mut room = Room::of(&["ada", "bob", "cem"]);
    let bob = room.member("bob");
    let same = LeafKey::of(SigningKey::from_bytes(&bob.leaf.seed()));
    let identity = identity_of("bob", same.public());
    let setup: GroupSetup = room.setup.clone();
    // openmls removes the old leaf by value then.
    let (_, entry) = Member::enter(same, identity, &setup, room.keeper.group_info()).expect("made");
    refused_by_all(&mut room, &entry);
}

#[test]
fn a_broken_tag_of_who_enters_passes_the_keeper_and_no_member_and_is_undone() {
    let mut room = Room::of(&["ada", "bob", "cem"]);
    let keys = room.keys("ada");
    let (mal, entry) = room.prepare_entry("mal");
    let broken = with_broken_tag(&entry, &mal.leaf, 1);
    room.keeper
        .apply(&broken.commit, &broken.group_info)
        .expect("the keeper can't tell");
    for member in room.members.values_mut() {
        let taken = member.handle_commit(&broken.commit);
        assert!(matches!(taken, Err(Error::Mls { .. })), "{taken:?}");
    }
    assert!(room.keeper.roll_back());
    room.assert_agreed();
    assert_eq!(room.keys("ada"), keys);
    room.enter("dee").expect("the next enters");
    room.assert_agreed();
}

#[test]
fn a_broken_tag_of_a_member_is_undone_by_all_who_took_it() {
    let mut room = Room::of(&["ada", "bob", "cem"]);
    let dee = room.propose_add("dee");
    let keys = room.keys("ada");
    let commit = room.member("ada").commit().expect("a commit");
    // Before the end stands the membership tag, before that the confirmation tag.
    let confirmation = with_broken_tag(&commit, &room.member("ada").leaf, TAG_BYTES + 1);
    let mut membership = commit.clone();
    let last = membership.commit.len() - 1;
    membership.commit[last] ^= 1;
    for broken in [confirmation, membership] {
        room.keeper
            .apply(&broken.commit, &broken.group_info)
            .expect("the keeper can't tell");
        // Its committer takes it for its own.
        let ada = room.member("ada");
        ada.commit().expect("a commit");
        ada.pending = Some(broken.commit.clone());
        ada.handle_commit(&broken.commit).expect("its own");
        for name in ["bob", "cem"] {
            assert!(room.member(name).handle_commit(&broken.commit).is_err());
        }
        room.member("ada").roll_back().expect("back");
        assert!(room.keeper.roll_back());
        room.assert_agreed();
        assert_eq!(room.keys("ada"), keys);
    }
    room.commit("bob", vec![("dee", dee)]);
    room.assert_agreed();
}

#[test]
fn a_committer_lies_in_its_group_info_about_nothing_but_the_entrance_key() {
    let mut room = Room::of(&["ada", "bob", "cem"]);
    let commit = room.member("ada").commit().expect("a commit");
    let MlsMessageBodyIn::GroupInfo(read) = read_message(&commit.group_info).expect("read") else {
        panic!("a group info");
    };
    let entrance = read.extensions().external_pub().expect("there");
    let entrance = entrance.external_pub().as_slice();
    let entrance_at = commit
        .group_info
        .windows(entrance.len())
        .position(|window| window == entrance)
        .expect("there");
    let signed_bytes = commit.group_info.len() - 4 - 66;
    for at in (0..signed_bytes).step_by(3) {
        let lie = signed_again(&commit.group_info, &room.member("ada").leaf, |signed| {
            signed[at] ^= 1;
        });
        let in_entrance = (entrance_at..entrance_at + entrance.len()).contains(&(at + 4));
        let applied = room.keeper.apply(&commit.commit, &lie);
        assert_eq!(applied.is_ok(), in_entrance, "byte {at}: {applied:?}");
        if in_entrance {
            assert!(room.keeper.roll_back());
        }
    }
    // Signed by another member: refused too.
    let bobs = signed_again(&commit.group_info, &room.member("bob").leaf, |_| {});
    assert!(room.keeper.apply(&commit.commit, &bobs).is_err());
    let old = room.keeper.group_info().to_vec();
    assert!(room.keeper.apply(&commit.commit, &old).is_err());
    room.keeper
        .apply(&commit.commit, &commit.group_info)
        .expect("the truth passes");
}

#[test]
fn going_back_leaves_no_secret_of_the_void_epoch() {
    let mut room = Room::of(&["ada", "bob"]);
    let commit = room.member("ada").commit().expect("a commit");
    room.member("bob")
        .handle_commit(&commit.commit)
        .expect("taken");
    let void = room.member("bob").keys(Suite::Aes128Gcm).expect("keys");
    room.member("bob").roll_back().expect("back");
    let bob = room.member("bob");
    assert!(bob.before.is_none() && bob.pending.is_none());
    let now = bob.keys(Suite::Aes128Gcm).expect("keys");
    assert_ne!(now.base_key, void.base_key);
    assert_eq!(
        join_config().wire_format_policy(),
        bob.group.configuration().wire_format_policy()
    );
}
