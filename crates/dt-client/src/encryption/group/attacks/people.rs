//! Leaves, devices and statements that are not those of the person they show.

use dt_e2ee::{CredentialError, LeafKey};

use super::{
    super::{
        Alarm, KnownDevices, Ruling,
        hall::{Client, Ghost, Hall, MEETING},
    },
    SECOND, entries, gather, heard_by, ids, meeting,
};
use crate::{
    Account,
    encryption::{
        BadStatement, DeviceKey, KeyHolder, Mistrust, Standing,
        accounts::tests::{account, accounts, statement},
    },
};

fn device(number: u8) -> [u8; 32] {
    DeviceKey::from_seed([number; 32]).public()
}

/// A meeting in which each has an account, and all have been checked.
fn signed_in(seed: u64, people: u8) -> Hall {
    let mut hall = Hall::new(seed, 30);
    for number in 1..=9 {
        let says = statement(number, &device(number));
        hall.statements.insert(number, says);
    }
    gather(&mut hall, people);
    hall.rule(&accounts());
    hall
}

/// How a client shows all who claim to be so.
fn shown(hall: &Hall, to: u8, who: u8) -> Vec<KeyHolder> {
    let shown = hall.clients[&Hall::id(to)].group.shown(hall.now);
    let members = shown.members.into_iter();
    members
        .filter(|member| member.participant_id == Hall::id(who))
        .collect()
}

fn standing(hall: &Hall, to: u8, who: u8) -> Standing {
    let [member] = &shown(hall, to, who)[..] else {
        panic!("one of them")
    };
    member.standing.clone()
}

fn mistrusts(client: &Client) -> Vec<Mistrust> {
    let alarms = client.alarms.iter();
    alarms
        .filter_map(|alarm| match alarm {
            Alarm::NotTrustworthy { reason, .. } => Some(reason.clone()),
            _ => None,
        })
        .collect()
}

#[test]
fn a_key_package_that_the_controller_swaps_is_not_trusted_and_its_owner_comes_in_by_another_way() {
    let mut hall = meeting(101, 3);
    // Somebody leaves, so the newcomer is to be added.
    hall.remove(Hall::id(3));
    hall.swaps = true;
    hall.join(4);
    hall.run(SECOND / 4);
    assert!(!hall.swaps, "a key package came");
    hall.run(3 * SECOND);
    let forged = Mistrust::from(CredentialError::ForgedBinding);
    for number in [1, 2, 4] {
        assert_eq!(
            mistrusts(hall.client(Hall::id(number))),
            std::slice::from_ref(&forged)
        );
        assert_eq!(heard_by(&mut hall, number), ids(&[1, 2, 4]), "each once");
    }
    // The welcome was for keys that the newcomer has not: it is in by others.
    assert_eq!(entries(hall.client(Hall::id(4))), 1);
    assert!(hall.stranded > 0);
}

#[test]
fn a_stolen_statement_behind_another_device_raises_an_alarm_and_is_not_heard() {
    let mut hall = signed_in(102, 3);
    hall.sneak_in(Ghost {
        device: 66,
        participant: Hall::id(7),
        name: "Number 3",
        statement: statement(3, &device(3)),
    });
    hall.run(SECOND / 2);
    hall.rule(&accounts());
    let bad = Mistrust::from(BadStatement::OtherDevice);
    for number in 1..=3 {
        assert_eq!(
            mistrusts(hall.client(Hall::id(number))),
            std::slice::from_ref(&bad)
        );
        assert_eq!(heard_by(&mut hall, number), ids(&[1, 2, 3]));
        assert_eq!(
            standing(&hall, number, 7),
            Standing::NotTrustworthy(bad.clone())
        );
    }
    // It stays so in the epochs that follow.
    hall.want_commit();
    hall.run(SECOND);
    assert_eq!(heard_by(&mut hall, 1), ids(&[1, 2, 3]));
}

#[test]
fn who_is_swapped_for_another_person_is_never_shown_as_that_account() {
    let mut hall = signed_in(103, 2);
    let verified = |number| {
        Standing::Verified(Account {
            subject: account(number),
            name: format!("Account {number}"),
        })
    };
    assert_eq!(standing(&hall, 1, 2), verified(2));
    // The controller is in Bob's seat by a device of its own, without a statement
    // and with one of an account of its own.
    for (participant, statement) in [(7, String::new()), (8, statement(66, &device(66)))] {
        hall.sneak_in(Ghost {
            device: 66,
            participant: Hall::id(participant),
            name: "Number 2",
            statement,
        });
        hall.run(SECOND / 2);
        hall.rule(&accounts());
    }
    assert_eq!(standing(&hall, 1, 7), Standing::Guest);
    assert_eq!(standing(&hall, 1, 8), verified(66));
    // Read to each other, the codes differ too.
    assert_ne!(
        shown(&hall, 1, 7)[0].pair_code,
        shown(&hall, 1, 2)[0].pair_code
    );
}

#[test]
fn a_leaf_in_another_s_name_takes_it_from_both() {
    let mut hall = meeting(104, 3);
    hall.sneak_in(Ghost {
        device: 66,
        participant: Hall::id(2),
        name: "Number 2",
        statement: String::new(),
    });
    hall.run(SECOND);
    let doubled = Mistrust::from(CredentialError::Doubled);
    let alarms = mistrusts(hall.client(Hall::id(1)));
    assert_eq!(alarms, [doubled.clone(), doubled]);
    assert_eq!(heard_by(&mut hall, 1), ids(&[1, 3]));
}

#[test]
fn a_credential_whose_name_was_changed_is_not_trusted() {
    let mut hall = meeting(105, 2);
    let leaf = LeafKey::generate().unwrap();
    let claims = |name: &str| dt_e2ee::Claims {
        meeting_id: MEETING.to_string(),
        participant_id: Hall::id(7).to_string(),
        name: name.into(),
    };
    let key = DeviceKey::from_seed([9; 32]);
    let signature = key.sign(&dt_e2ee::binding_bytes(&claims("Mallory"), leaf.public()));
    let changed = dt_e2ee::credential(&claims("Ada"), &key.public(), &signature, "");
    hall.sneak_in_as(leaf, changed);
    hall.run(SECOND);
    let alarms = mistrusts(hall.client(Hall::id(1)));
    assert_eq!(alarms, [CredentialError::ForgedBinding.into()]);
    assert_eq!(heard_by(&mut hall, 1), ids(&[1, 2]));
}

#[test]
fn a_ghost_of_the_controller_s_raises_an_alarm_with_everybody_after_two_seconds() {
    let mut hall = meeting(106, 3);
    hall.sneak_in(Ghost {
        device: 66,
        participant: Hall::id(7),
        name: "Nobody",
        statement: String::new(),
    });
    hall.run(SECOND);
    assert_eq!(hall.client(Hall::id(1)).alarms, []);
    hall.run(2 * SECOND);
    for number in 1..=3 {
        let ghost = Alarm::NotOnRoster {
            participant_id: Hall::id(7),
            name: "Nobody".into(),
        };
        assert_eq!(hall.client(Hall::id(number)).alarms, [ghost]);
    }
}

#[test]
fn each_statement_is_checked_once_and_again_only_when_it_could_not_be() {
    let mut hall = signed_in(116, 3);
    hall.want_commit();
    hall.run(60 * SECOND);
    for number in 1..=3 {
        assert_eq!(hall.client(Hall::id(number)).checks, []);
    }
    // Nobody answers: it is asked for again, less and less often.
    let newcomer = hall.join(4);
    hall.run(SECOND);
    let mut asked = Vec::new();
    for second in 0..1200 {
        let now = hall.now;
        let client = hall.client(newcomer);
        for check in std::mem::take(&mut client.checks) {
            client.group.handle_ruling(&check, Ruling::Unknown, now);
            asked.push((second, check));
        }
        hall.run(SECOND);
    }
    let about = |number| device(number);
    let first: Vec<_> = asked
        .iter()
        .filter(|(_, c)| c.device_key == about(1))
        .collect();
    assert!((4..=9).contains(&first.len()), "{}", first.len());
    for who in 1..=3 {
        assert_eq!(standing(&hall, 4, who), Standing::Unchecked);
    }
    assert_eq!(
        heard_by(&mut hall, 4),
        ids(&[1, 2, 3, 4]),
        "and heard all the while"
    );
    assert_eq!(hall.client(newcomer).alarms, []);
    hall.run(300 * SECOND);
    hall.rule(&accounts());
    assert!(matches!(standing(&hall, 4, 1), Standing::Verified(_)));
}

#[test]
fn a_known_person_with_another_device_is_flagged_until_somebody_is_sure() {
    let mut hall = Hall::new(117, 30);
    let known = KnownDevices::default();
    known.remember(account(2), &device(77));
    hall.known_devices = Some(known.clone());
    for number in 1..=3 {
        hall.statements
            .insert(number, statement(number, &device(number)));
    }
    for number in 1..=3 {
        hall.join(number);
        hall.run(SECOND);
    }
    hall.rule(&accounts());
    let changed = Alarm::ChangedDevice {
        participant_id: Hall::id(2),
        name: "Account 2".into(),
    };
    for number in [1, 3] {
        assert_eq!(
            hall.client(Hall::id(number)).alarms,
            std::slice::from_ref(&changed)
        );
        assert!(shown(&hall, number, 2)[0].changed_device);
    }
    assert_eq!(
        hall.client(Hall::id(2)).alarms,
        [],
        "oneself is nothing new"
    );
    // Who is met for the first time is remembered.
    assert!(
        known
            .list()
            .iter()
            .any(|(subject, _)| *subject == account(3))
    );
    // It is a sign and no verdict: the person is heard.
    assert_eq!(heard_by(&mut hall, 1), ids(&[1, 2, 3]));
    known.remember(account(2), &device(2));
    hall.want_commit();
    hall.run(SECOND);
    assert!(!shown(&hall, 1, 2)[0].changed_device);
    hall.assert_agreed();
}
