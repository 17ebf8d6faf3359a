//! Messages of groups as the controller judges them: any bytes, and good key
//! packages and group infos that were changed on their way.
#![no_main]

use std::sync::LazyLock;

use dt_e2ee::{Candidate, ControllerKey, GroupSetup, Keeper, LeafKey, Member, read_key_package};
use libfuzzer_sys::fuzz_target;

struct Good {
    setup: GroupSetup,
    key_package: Vec<u8>,
    group_info: Vec<u8>,
}

static GOOD: LazyLock<Good> = LazyLock::new(|| {
    let setup = GroupSetup {
        group_id: vec![1; 20],
        external_sender: ControllerKey::from_seed([2; 32]).public(),
    };
    let leaf = || LeafKey::generate().expect("a key");
    // A credential that says little: the controller's copy does not read names.
    let candidate = Candidate::new(leaf(), b"credential".to_vec()).expect("a candidate");
    let founded = Member::found(leaf(), b"credential".to_vec(), &setup).expect("a group");
    Good {
        key_package: candidate.key_package().to_vec(),
        group_info: founded.1,
        setup,
    }
});

fn changed(good: &[u8], changes: &[u8]) -> Vec<u8> {
    let mut bytes = good.to_vec();
    for change in changes.chunks_exact(3) {
        let place = usize::from(u16::from_be_bytes([change[0], change[1]])) % bytes.len();
        bytes[place] ^= change[2];
    }
    bytes
}

fuzz_target!(|input: &[u8]| {
    let Some((&what, bytes)) = input.split_first() else {
        return;
    };
    match what % 4 {
        0 => {
            let _ = read_key_package(bytes);
        }
        1 => {
            let _ = Keeper::found(&GOOD.setup, bytes);
        }
        2 => {
            let package = changed(&GOOD.key_package, bytes);
            let is_good = package == GOOD.key_package;
            assert_eq!(read_key_package(&package).is_ok(), is_good);
        }
        _ => {
            let info = changed(&GOOD.group_info, bytes);
            let is_good = info == GOOD.group_info;
            assert_eq!(Keeper::found(&GOOD.setup, &info).is_ok(), is_good);
        }
    }
});
