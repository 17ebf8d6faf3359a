//! What encryption costs: sealing and opening a frame, and each step of a group
//! at several sizes. `cargo run --release -p dt-e2ee --example e2ee_figures`
//!
//! Members enter one after another by external commits, as people come to a
//! meeting; medians of a few runs at each size.

use std::time::{Duration, Instant};

use dt_e2ee::{
    Candidate, Claims, ControllerKey, DeviceKey, EpochKeys, GroupSetup, Keeper, LeafKey, Member,
    Opener, Sealer, Suite, binding_bytes, credential, frame_aad,
};

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

const FRAME_BYTES: usize = 1200;
const FRAMES: usize = 20_000;
const SIZES: [usize; 4] = [2, 10, 100, 500];
const RUNS: usize = 7;
/// About as long as a statement of the auth controller is.
const STATEMENT_BYTES: usize = 420;

fn main() -> Outcome<()> {
    println!("SFrame, 1.2 KB, median          seal µs   open µs");
    for (name, suite) in [
        ("AES_128_GCM_SHA256_128", Suite::Aes128Gcm),
        ("AES_256_GCM_SHA512_128", Suite::Aes256Gcm),
    ] {
        let (seal, open) = frame(suite)?;
        println!("{name:<30} {:>8.2}  {:>8.2}", micros(seal), micros(open));
    }
    println!();
    print!("MLS, median ms          ");
    for size in SIZES {
        print!("{size:>9}");
    }
    println!(" members");
    let columns = SIZES.map(group);
    let columns: Vec<Vec<(&str, f64)>> = columns.into_iter().collect::<Outcome<_>>()?;
    for row in 0..columns[0].len() {
        print!("{:<24}", columns[0][row].0);
        for column in &columns {
            print!("{:>9.2}", column[row].1);
        }
        println!();
    }
    Ok(())
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

fn frame(suite: Suite) -> Outcome<(Duration, Duration)> {
    let keys = EpochKeys {
        epoch: 1,
        leaf: 1,
        base_key: vec![7; suite.key_bytes()].into(),
        authenticator: Vec::new(),
    };
    let (mut sealer, mut opener) = (Sealer::new(suite), Opener::new(suite));
    sealer.set_epoch(&keys);
    opener.add_epoch(&keys, 0);
    let plain = vec![3; FRAME_BYTES];
    let (mut sealed, mut opened) = (Vec::new(), Vec::new());
    let (mut seals, mut opens) = (Vec::new(), Vec::new());
    for at in 0..FRAMES {
        let aad = frame_aad(2, &[1; 16], 0, at as u64, false);
        let start = Instant::now();
        sealer.seal(1, 0, &aad, &plain, &mut sealed)?;
        let between = Instant::now();
        opener.open(&aad, &sealed, &mut opened, 0)?;
        opens.push(between.elapsed());
        seals.push(between - start);
    }
    Ok((median(seals), median(opens)))
}

fn person(name: &str) -> Outcome<(LeafKey, Vec<u8>)> {
    let (leaf, device) = (LeafKey::generate()?, DeviceKey::generate()?);
    let claims = Claims {
        meeting_id: "0190a4b2-6d2f-7c11-8a3e-5f6071829304".to_owned(),
        participant_id: "0190a4b2-7000-7abc-8def-0123456789ab".to_owned(),
        name: name.to_owned(),
    };
    let signature = device.sign(&binding_bytes(&claims, leaf.public()));
    let statement = "s".repeat(STATEMENT_BYTES);
    let identity = credential(&claims, &device.public(), &signature, &statement);
    Ok((leaf, identity))
}

/// A row's name and what it took at one size.
struct Row(&'static str, Vec<Duration>);

impl Row {
    fn time<T>(&mut self, step: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let done = step();
        self.1.push(start.elapsed());
        done
    }
}

/// The keeper, one who commits and one who follows; the others are leaves.
struct Group {
    controller: ControllerKey,
    setup: GroupSetup,
    keeper: Keeper,
    committer: Member,
    follower: Member,
}

impl Group {
    fn of(size: usize) -> Outcome<Self> {
        let controller = ControllerKey::generate()?;
        let setup = GroupSetup {
            group_id: vec![1; 20],
            external_sender: controller.public(),
        };
        let (leaf, identity) = person("first")?;
        let (mut committer, group_info) = Member::found(leaf, identity, &setup)?;
        let mut keeper = Keeper::found(&setup, &group_info)?;
        let (leaf, identity) = person("second")?;
        let (mut follower, commit) = Member::enter(leaf, identity, &setup, &group_info)?;
        keeper.apply(&commit.commit, &commit.group_info)?;
        committer.handle_commit(&commit.commit)?;
        follower.handle_commit(&commit.commit)?;
        for _ in 2..size {
            let (leaf, identity) = person("another")?;
            let (_, commit) = Member::enter(leaf, identity, &setup, keeper.group_info())?;
            keeper.apply(&commit.commit, &commit.group_info)?;
            committer.handle_commit(&commit.commit)?;
            follower.handle_commit(&commit.commit)?;
        }
        Ok(Self {
            controller,
            setup,
            keeper,
            committer,
            follower,
        })
    }
}

fn group(size: usize) -> Outcome<Vec<(&'static str, f64)>> {
    let mut group = Group::of(size)?;
    let mut add = Row("add: commit", Vec::new());
    let mut remove = Row("remove: commit", Vec::new());
    let mut process = Row("process a commit", Vec::new());
    let mut back = Row("roll back", Vec::new());
    let mut keep = Row("judge a commit (keeper)", Vec::new());
    let mut join = Row("join by a Welcome", Vec::new());
    let mut enter = Row("enter by ext. commit", Vec::new());
    for _ in 0..RUNS {
        let Group {
            controller,
            setup,
            keeper,
            committer,
            follower,
        } = &mut group;
        let (leaf, identity) = person("added")?;
        let candidate = Candidate::new(leaf, identity)?;
        let proposal = keeper.propose_add(controller, candidate.key_package())?;
        committer.handle_proposal(&proposal)?;
        follower.handle_proposal(&proposal)?;
        let commit = add.time(|| committer.commit())?;
        let applied = keep.time(|| keeper.apply(&commit.commit, &commit.group_info))?;
        committer.handle_commit(&commit.commit)?;
        process.time(|| follower.handle_commit(&commit.commit))?;
        back.time(|| follower.roll_back())?;
        follower.handle_commit(&commit.commit)?;
        let welcome = commit.welcome.ok_or("no welcome")?;
        join.time(|| candidate.join(&welcome, setup))?;

        let proposal = keeper.propose_remove(controller, applied.added[0])?;
        committer.handle_proposal(&proposal)?;
        follower.handle_proposal(&proposal)?;
        let commit = remove.time(|| committer.commit())?;
        keep.time(|| keeper.apply(&commit.commit, &commit.group_info))?;
        committer.handle_commit(&commit.commit)?;
        process.time(|| follower.handle_commit(&commit.commit))?;

        let (leaf, identity) = person("entering")?;
        enter.time(|| Member::enter(leaf, identity, setup, keeper.group_info()))?;
    }
    Ok([add, remove, process, back, keep, join, enter]
        .map(|Row(name, times)| (name, micros(median(times)) / 1000.0))
        .into())
}
