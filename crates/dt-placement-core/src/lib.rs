//! Choosing where a meeting runs: which meeting controller leads it and which
//! media handlers carry its media.
//!
//! Rendezvous hashing (highest random weight): every candidate gets a score from
//! the meeting's id and its own, and the best scores win. The same meeting finds
//! the same servers from every global controller without shared state, and a
//! server that goes moves only the meetings that it had.
//!
//! A pure function of its inputs, driven by the global controller. Deliberately
//! absent: how candidates are found, and when a silent one counts as gone.

use dt_ids::MeetingId;
use sha2::{Digest, Sha256};

/// A server that could be chosen.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate<Id> {
    /// What it is called by.
    pub id: Id,
    /// Where it stands, as its operator named the place.
    pub region: String,
    /// Whether it says of itself that it is well.
    pub healthy: bool,
    /// Share of its capacity in use, 0 to 1.
    pub load: f64,
}

/// Share of its capacity from which on a server is crowded: it is chosen only
/// when all others are crowded too. The rest is kept for the growth of the
/// meetings that it has.
pub const CROWDED_LOAD: f64 = 0.8;

/// The candidates that may be tried, best first: healthy ones with room, those
/// of `region` before others, uncrowded before crowded, then by rendezvous
/// score. Empty when none is left.
#[must_use]
pub fn rank<'a, Id: AsRef<[u8]>>(
    meeting: MeetingId,
    region: Option<&str>,
    candidates: &'a [Candidate<Id>],
) -> Vec<&'a Candidate<Id>> {
    let mut ranked: Vec<_> = candidates
        .iter()
        .filter(|candidate| candidate.healthy && candidate.load < 1.0)
        .map(|candidate| {
            let near = region.is_none_or(|region| region == candidate.region);
            let crowded = candidate.load >= CROWDED_LOAD;
            let score = score(meeting, candidate.id.as_ref());
            ((crowded, !near, std::cmp::Reverse(score)), candidate)
        })
        .collect();
    ranked.sort_by_key(|(key, _)| *key);
    ranked.into_iter().map(|(_, candidate)| candidate).collect()
}

fn score(meeting: MeetingId, candidate: &[u8]) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(meeting.into_bytes());
    hash.update(candidate);
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    fn server(id: &str) -> Candidate<String> {
        Candidate {
            id: id.to_owned(),
            region: "here".to_owned(),
            healthy: true,
            load: 0.1,
        }
    }

    fn servers(count: usize) -> Vec<Candidate<String>> {
        (0..count).map(|n| server(&format!("server {n}"))).collect()
    }

    fn first(meeting: MeetingId, candidates: &[Candidate<String>]) -> String {
        rank(meeting, None, candidates)[0].id.clone()
    }

    fn meeting(number: u64) -> MeetingId {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&number.to_be_bytes());
        MeetingId::from_bytes(bytes)
    }

    #[test]
    fn unhealthy_and_full_servers_are_never_chosen() {
        let mut candidates = servers(3);
        candidates[0].healthy = false;
        candidates[1].load = 1.0;
        for number in 0..100 {
            let ranked = rank(meeting(number), None, &candidates);
            assert_eq!(ranked.len(), 1);
            assert_eq!(ranked[0].id, "server 2");
        }
    }

    #[test]
    fn a_near_server_goes_before_a_far_one_unless_it_is_crowded() {
        let mut candidates = servers(2);
        candidates[0].region = "far".to_owned();
        assert_eq!(
            rank(meeting(1), Some("here"), &candidates)[0].id,
            "server 1"
        );
        candidates[1].load = CROWDED_LOAD;
        assert_eq!(
            rank(meeting(1), Some("here"), &candidates)[0].id,
            "server 0"
        );
    }

    #[test]
    fn meetings_spread_evenly() {
        let candidates = servers(5);
        let mut counts = HashMap::new();
        for number in 0..5000 {
            *counts
                .entry(first(meeting(number), &candidates))
                .or_insert(0) += 1;
        }
        assert_eq!(counts.len(), 5);
        for (id, count) in counts {
            assert!((850..1150).contains(&count), "{id} got {count} of 5000");
        }
    }

    proptest! {
        #[test]
        fn a_server_that_goes_moves_only_its_own_meetings(
            count in 2usize..9,
            gone in 0usize..9,
            numbers in prop::collection::vec(any::<u64>(), 1..60),
        ) {
            let all = servers(count);
            let gone = gone % count;
            let mut rest = all.clone();
            rest.remove(gone);
            for number in numbers {
                let before = first(meeting(number), &all);
                if before != all[gone].id {
                    prop_assert_eq!(first(meeting(number), &rest), before);
                }
            }
        }

        #[test]
        fn the_order_in_which_servers_are_listed_does_not_matter(
            number in any::<u64>(),
            rotation in 0usize..7,
        ) {
            let candidates = servers(7);
            let mut rotated = candidates.clone();
            rotated.rotate_left(rotation);
            prop_assert_eq!(
                rank(meeting(number), None, &candidates),
                rank(meeting(number), None, &rotated)
            );
        }
    }
}
