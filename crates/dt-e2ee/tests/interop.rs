//! Our members, our keeper and members by mls-rs, a second implementation of
//! MLS, in one group: whoever founds, commits, enters, comes or goes, all agree.
//!
//! Random courses by seed; a failing one prints its seed and its step.

mod room;

use std::time::Duration;

use dt_e2ee::{
    Candidate, Commit, ControllerKey, GroupSetup, Keeper, Member, Suite, read_credential,
};
use mls_rs::client_builder::{BaseConfig, WithCryptoProvider, WithIdentityProvider, WithMlsRules};
use mls_rs::extension::{MlsExtension as _, built_in::ExternalSendersExt};
use mls_rs::identity::{
    SigningIdentity,
    basic::{BasicCredential, BasicIdentityProvider},
};
use mls_rs::mls_rules::{CommitOptions, DefaultMlsRules, EncryptionOptions};
use mls_rs::{
    CipherSuite, CipherSuiteProvider as _, Client, CryptoProvider as _, ExtensionList, Group,
    MlsMessage, client_builder::PaddingMode,
};
use mls_rs_crypto_rustcrypto::RustCryptoProvider;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use room::{identity_of, person, setup_of};

const SEEDS: u64 = 8;
const STEPS: usize = 250;
const MEMBERS_MAX: usize = 9;
const SUITE_1: CipherSuite = CipherSuite::CURVE25519_AES128;

type Config = WithMlsRules<
    DefaultMlsRules,
    WithCryptoProvider<RustCryptoProvider, WithIdentityProvider<BasicIdentityProvider, BaseConfig>>,
>;

/// A client of the other implementation, held to the shape of our groups.
fn their_client(name: &str) -> Client<Config> {
    let crypto = RustCryptoProvider::new();
    let suite = crypto.cipher_suite_provider(SUITE_1).expect("suite 1");
    let (secret, public) = suite.signature_key_generate().expect("a key");
    let credential = BasicCredential::new(identity_of(name, &public));
    let rules = DefaultMlsRules::new()
        .with_commit_options(
            CommitOptions::new()
                .with_path_required(true)
                .with_ratchet_tree_extension(true)
                .with_single_welcome_message(true)
                .with_allow_external_commit(true),
        )
        .with_encryption_options(EncryptionOptions::new(false, PaddingMode::None));
    Client::builder()
        .identity_provider(BasicIdentityProvider)
        .crypto_provider(crypto)
        .mls_rules(rules)
        .key_package_lifetime(Duration::from_secs(24 * 3600))
        .signing_identity(
            SigningIdentity::new(credential.into_credential(), public),
            secret,
            SUITE_1,
        )
        .build()
}

enum Peer {
    Ours(Box<Member>),
    Theirs(Box<Group<Config>>),
}

enum Coming {
    Ours(Box<Candidate>),
    Theirs(Box<Client<Config>>),
}

fn read(bytes: &[u8]) -> MlsMessage {
    MlsMessage::from_bytes(bytes).expect("they read it")
}

fn written(message: &MlsMessage) -> Vec<u8> {
    message.to_bytes().expect("they write it")
}

impl Peer {
    fn leaf(&self) -> u32 {
        match self {
            Self::Ours(member) => member.own_leaf(),
            Self::Theirs(group) => group.current_member_index(),
        }
    }

    fn handle_proposal(&mut self, proposal: &[u8]) {
        match self {
            Self::Ours(member) => member.handle_proposal(proposal).expect("taken"),
            Self::Theirs(group) => {
                group
                    .process_incoming_message(read(proposal))
                    .expect("taken");
            }
        }
    }

    fn commit(&mut self) -> Commit {
        match self {
            Self::Ours(member) => member.commit().expect("a commit"),
            Self::Theirs(group) => {
                let output = group.commit_builder().build().expect("a commit");
                let group_info = output.external_commit_group_info.as_ref();
                Commit {
                    commit: written(&output.commit_message),
                    group_info: written(group_info.expect("a group info")),
                    welcome: output.welcome_messages.first().map(written),
                }
            }
        }
    }

    fn handle_commit(&mut self, commit: &[u8], own: bool) {
        match self {
            Self::Ours(member) => {
                let change = member.handle_commit(commit).expect("taken");
                assert_eq!(change.own, own);
            }
            Self::Theirs(group) if own => {
                group.apply_pending_commit().expect("taken");
            }
            Self::Theirs(group) => {
                group.clear_pending_commit();
                group.process_incoming_message(read(commit)).expect("taken");
            }
        }
    }

    /// Epoch, base keys of both suites, authenticator.
    fn keys(&self) -> (u64, Vec<u8>, Vec<u8>, Vec<u8>) {
        match self {
            Self::Ours(member) => {
                let short = member.keys(Suite::Aes128Gcm).expect("keys");
                let long = member.keys(Suite::Aes256Gcm).expect("keys");
                (
                    short.epoch,
                    short.base_key.to_vec(),
                    long.base_key.to_vec(),
                    short.authenticator,
                )
            }
            Self::Theirs(group) => {
                let export = |length| {
                    group
                        .export_secret(b"SFrame 1.0 Base Key", b"", length)
                        .expect("exported")
                        .as_bytes()
                        .to_vec()
                };
                let authenticator = group.epoch_authenticator().expect("there");
                (
                    group.current_epoch(),
                    export(16),
                    export(32),
                    authenticator.as_bytes().to_vec(),
                )
            }
        }
    }

    /// Leaves with their signature keys.
    fn roster(&self) -> Vec<(u32, Vec<u8>)> {
        match self {
            Self::Ours(member) => member
                .members()
                .into_iter()
                .map(|view| (view.leaf, view.signature_key))
                .collect(),
            Self::Theirs(group) => group
                .roster()
                .members_iter()
                .map(|member| {
                    let key = member.signing_identity.signature_key.as_bytes().to_vec();
                    (member.index, key)
                })
                .collect(),
        }
    }
}

/// One course of a group.
struct Course {
    random: StdRng,
    controller: ControllerKey,
    setup: GroupSetup,
    keeper: Keeper,
    peers: Vec<Peer>,
    named: usize,
}

impl Course {
    fn new(seed: u64) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let controller = ControllerKey::generate().expect("a key");
        let setup = setup_of(&controller, 1);
        let (founder, group_info) = if random.random() {
            let (leaf, identity) = person("founder");
            let (member, group_info) = Member::found(leaf, identity, &setup).expect("founded");
            (Peer::Ours(Box::new(member)), group_info)
        } else {
            let mut extensions = ExtensionList::new();
            let sender = SigningIdentity::new(
                BasicCredential::new(b"dark-tower-controller".to_vec()).into_credential(),
                controller.public().into(),
            );
            extensions.set(
                ExternalSendersExt::new(vec![sender])
                    .into_extension()
                    .expect("an extension"),
            );
            let group = their_client("founder")
                .create_group_with_id(
                    setup.group_id.clone(),
                    extensions,
                    ExtensionList::new(),
                    None,
                )
                .expect("founded");
            let group_info = group
                .group_info_message_allowing_ext_commit(true)
                .expect("described");
            (Peer::Theirs(Box::new(group)), written(&group_info))
        };
        let keeper = Keeper::found(&setup, &group_info).expect("kept");
        Self {
            random,
            controller,
            setup,
            keeper,
            peers: vec![founder],
            named: 0,
        }
    }

    fn step(&mut self) {
        match self.random.random_range(0..10) {
            0..=1 => self.commit(0, 0),
            2..=3 if self.peers.len() < MEMBERS_MAX => self.enter(),
            2..=4 if self.peers.len() < MEMBERS_MAX => {
                let adding = self.random.random_range(1..=2);
                self.commit(adding, 0);
            }
            5..=6 if self.peers.len() < MEMBERS_MAX => self.commit(1, 1),
            _ => {
                let removing = self.random.random_range(1..=2);
                self.commit(0, removing);
            }
        }
        self.assert_agreed();
    }

    fn name(&mut self) -> String {
        self.named += 1;
        format!("person-{}", self.named)
    }

    fn enter(&mut self) {
        let name = self.name();
        let group_info = self.keeper.group_info();
        let (peer, commit) = if self.random.random() {
            let (leaf, identity) = person(&name);
            let (member, commit) =
                Member::enter(leaf, identity, &self.setup, group_info).expect("entered");
            (Peer::Ours(Box::new(member)), commit)
        } else {
            let (group, commit) = their_client(&name)
                .commit_external(read(group_info))
                .expect("entered");
            let described = group
                .group_info_message_allowing_ext_commit(true)
                .expect("described");
            let commit = Commit {
                commit: written(&commit),
                group_info: written(&described),
                welcome: None,
            };
            (Peer::Theirs(Box::new(group)), commit)
        };
        let applied = self
            .keeper
            .apply(&commit.commit, &commit.group_info)
            .expect("passes");
        assert_eq!(applied.committer, None);
        assert_eq!(applied.added, [peer.leaf()]);
        for peer in &mut self.peers {
            peer.handle_commit(&commit.commit, false);
        }
        self.peers.push(peer);
        if let Some(Peer::Ours(member)) = self.peers.last_mut() {
            member.handle_commit(&commit.commit).expect("confirmed");
        }
    }

    fn commit(&mut self, adding: usize, removing: usize) {
        let committer = self.random.random_range(0..self.peers.len());
        let mut gone = Vec::new();
        for _ in 0..removing {
            let others: Vec<usize> = (0..self.peers.len())
                .filter(|at| *at != committer && !gone.contains(at))
                .collect();
            let Some(at) = others.choose(&mut self.random) else {
                break;
            };
            let proposal = self
                .keeper
                .propose_remove(&self.controller, self.peers[*at].leaf())
                .expect("proposed");
            self.tell(&proposal);
            gone.push(*at);
        }
        let mut coming = Vec::new();
        for _ in 0..adding {
            let name = self.name();
            let (candidate, package) = if self.random.random() {
                let (leaf, identity) = person(&name);
                let candidate = Candidate::new(leaf, identity).expect("a candidate");
                let package = candidate.key_package().to_vec();
                (Coming::Ours(Box::new(candidate)), package)
            } else {
                let client = their_client(&name);
                let package = client
                    .generate_key_package_message(ExtensionList::new(), ExtensionList::new(), None)
                    .expect("a key package");
                (Coming::Theirs(Box::new(client)), written(&package))
            };
            let proposal = self
                .keeper
                .propose_add(&self.controller, &package)
                .expect("proposed");
            self.tell(&proposal);
            coming.push(candidate);
        }

        // A second member tries too, and is too late.
        let rival = self.random.random_range(0..self.peers.len());
        if rival != committer && !gone.contains(&rival) && self.random.random() {
            self.peers[rival].commit();
        }
        let commit = self.peers[committer].commit();
        let applied = self
            .keeper
            .apply(&commit.commit, &commit.group_info)
            .expect("passes");
        assert_eq!(applied.committer, Some(self.peers[committer].leaf()));
        assert_eq!(applied.added.len(), coming.len());
        assert_eq!(applied.removed.len(), gone.len());
        for (at, peer) in self.peers.iter_mut().enumerate() {
            if !gone.contains(&at) {
                peer.handle_commit(&commit.commit, at == committer);
            }
        }
        gone.sort_unstable();
        for at in gone.into_iter().rev() {
            self.peers.remove(at);
        }
        for coming in coming {
            let welcome = commit.welcome.as_deref().expect("a welcome");
            self.peers.push(match coming {
                Coming::Ours(candidate) => {
                    let member = candidate.join(welcome, &self.setup).expect("joined");
                    Peer::Ours(Box::new(member))
                }
                Coming::Theirs(client) => {
                    let (group, _) = client
                        .join_group(None, &read(welcome), None)
                        .expect("joined");
                    Peer::Theirs(Box::new(group))
                }
            });
        }
    }

    fn tell(&mut self, proposal: &[u8]) {
        for peer in &mut self.peers {
            peer.handle_proposal(proposal);
        }
    }

    fn assert_agreed(&self) {
        let kept: Vec<(u32, Vec<u8>)> = self
            .keeper
            .members()
            .into_iter()
            .map(|view| {
                let identity = read_credential(&view.identity, &view.signature_key);
                assert!(identity.is_ok());
                (view.leaf, view.signature_key)
            })
            .collect();
        assert_eq!(kept.len(), self.peers.len());
        let keys = self.peers[0].keys();
        assert_eq!(keys.0, self.keeper.epoch());
        for peer in &self.peers {
            assert_eq!(peer.keys(), keys);
            assert_eq!(peer.roster(), kept);
        }
    }
}

/// Tells where it was when a test fails.
struct Told(u64, usize);

impl Drop for Told {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("seed {}, step {}", self.0, self.1);
        }
    }
}

fn run(seeds: impl IntoIterator<Item = u64>) {
    for seed in seeds {
        let mut told = Told(seed, 0);
        let mut course = Course::new(seed);
        for step in 0..STEPS {
            told.1 = step;
            course.step();
        }
    }
}

// Two halves, so that two cores share the work.

#[test]
fn two_implementations_agree_after_each_of_thousands_of_random_operations() {
    run((0..SEEDS).step_by(2));
}

#[test]
fn two_implementations_agree_in_the_other_half_of_the_courses_too() {
    run((1..SEEDS).step_by(2));
}
