//! What a controller that is not to be trusted may try with the group, and what
//! this client does: whom it trusts, what it raises, what it leaves. Each attack
//! is made through the hall, which else keeps the rules.

mod order;
mod people;

use std::time::Duration;

use dt_ids::ParticipantId;

use super::hall::{Client, Hall};

const SECOND: Duration = Duration::from_secs(1);

/// A meeting of so many, all in one group.
fn meeting(seed: u64, people: u8) -> Hall {
    let mut hall = Hall::new(seed, 30);
    gather(&mut hall, people);
    hall
}

fn gather(hall: &mut Hall, people: u8) {
    for number in 1..=people {
        hall.join(number);
        hall.run(SECOND);
    }
    hall.assert_agreed();
}

/// Whose frames a client opens in the newest epoch, each once a leaf.
fn heard_by(hall: &mut Hall, number: u8) -> Vec<ParticipantId> {
    let keys = &hall.client(Hall::id(number)).keys;
    let mut heard: Vec<_> = keys.last().unwrap().leaves.values().copied().collect();
    heard.sort_unstable();
    heard
}

fn ids(numbers: &[u8]) -> Vec<ParticipantId> {
    numbers.iter().map(|number| Hall::id(*number)).collect()
}

/// Times that a client came into a group, the first included.
fn entries(client: &Client) -> usize {
    client.keys.iter().filter(|keys| keys.fresh).count()
}
