//! Which encodings of a stream somebody wants, for the controller to let the
//! sender make those and no others.

use std::time::{Duration, Instant};

use dt_ids::Encoding;

use crate::{Wanted, flow::Flows, links::Outlets, types::ENCODINGS_MAX};

/// What is the case is said again so often: an event that was lost is made up for.
const AGAIN_AFTER: Duration = Duration::from_secs(5);

/// What was said of one stream.
#[derive(Debug, Default)]
pub(crate) struct Demand {
    said: Option<Vec<Wanted>>,
    said_at: Option<Instant>,
    /// When each encoding was wanted last.
    wanted_at: [Option<Instant>; ENCODINGS_MAX],
    /// Something of what it follows from has changed.
    dirty: bool,
    /// Something is asked for that nobody wants any more.
    lingers: bool,
}

impl Demand {
    pub(crate) const fn changed(&mut self) {
        self.dirty = true;
    }

    /// What was said last.
    pub(crate) fn said(&self) -> Option<&[Wanted]> {
        self.said.as_deref()
    }

    /// Bits per second that the sender was told to keep an encoding to; 0: none.
    pub(crate) fn limit_bps(&self, number: u8) -> u32 {
        let said = self.said.iter().flatten();
        let of = |wanted: &&Wanted| wanted.encoding.get() == number;
        said.into_iter().find(of).map_or(0, |w| w.max_bitrate_bps)
    }

    /// What is to be said now, if it is not what was said.
    pub(crate) fn say(
        &mut self,
        flows: &Flows,
        outlets: &Outlets,
        encodings: u8,
        linger: Duration,
        now: Instant,
    ) -> Option<Vec<Wanted>> {
        let long_ago = |at| now.saturating_duration_since(at) >= AGAIN_AFTER;
        let again = self.said_at.is_some_and(long_ago);
        if !self.dirty && !self.lingers && !again {
            return None;
        }
        self.dirty = false;
        self.lingers = false;
        let mut list = Vec::new();
        for number in 0..encodings.min(16) {
            let uses = flows.values().filter(|flow| flow.uses(number));
            // Without a limit is above all limits.
            let beyond = outlets.values().filter_map(|o| o.limit_bps(number));
            let limits = uses.map(|flow| flow.limit_bps()).chain(beyond);
            let limits = limits.map(|bps| bps.checked_sub(1).unwrap_or(u32::MAX));
            let at = &mut self.wanted_at[usize::from(number)];
            let limit = match limits.max() {
                Some(limit) => {
                    *at = Some(now);
                    limit.checked_add(1).unwrap_or(0)
                }
                None if at.is_some_and(|at| now.saturating_duration_since(at) < linger) => {
                    self.lingers = true;
                    let of = |wanted: &&Wanted| wanted.encoding.get() == number;
                    let before = self.said.iter().flatten().find(of);
                    before.map_or(0, |wanted| wanted.max_bitrate_bps)
                }
                None => continue,
            };
            if let Ok(encoding) = Encoding::try_from(u32::from(number)) {
                list.push(Wanted {
                    encoding,
                    max_bitrate_bps: limit,
                });
            }
        }
        if (self.said.as_ref() == Some(&list) && !again)
            || (self.said.is_none() && list.is_empty() && flows.is_empty())
        {
            return None;
        }
        self.said = Some(list.clone());
        self.said_at = Some(now);
        Some(list)
    }
}

#[cfg(test)]
mod tests {
    use dt_frame::SlotLabel;
    use dt_ids::Slot;

    use super::*;
    use crate::{
        Detail, SessionKey,
        flow::{Flow, Pick},
    };

    const LINGER: Duration = Duration::from_secs(2);

    fn flow(encoding: u8, limit_bps: u32) -> Flow {
        let mut flow = Flow::new(SlotLabel::new(1, Slot::MAX));
        flow.pick = Some(Pick {
            encoding,
            instead: None,
            detail: Detail::Full,
            meanwhile: Detail::Full,
            limit_bps,
        });
        flow
    }

    fn say(demand: &mut Demand, flows: &Flows, now: Instant) -> Option<Vec<(u8, u32)>> {
        demand.changed();
        let said = demand.say(flows, &Outlets::new(), 3, LINGER, now)?;
        let plain = said.iter().map(|w| (w.encoding.get(), w.max_bitrate_bps));
        Some(plain.collect())
    }

    #[test]
    fn it_is_said_on_change_and_what_is_not_wanted_lingers() {
        let start = Instant::now();
        let mut demand = Demand::default();
        let mut flows = Flows::new();
        assert_eq!(say(&mut demand, &flows, start), None);
        flows.insert(SessionKey(1), flow(2, 0));
        flows.insert(SessionKey(2), flow(0, 0));
        assert_eq!(say(&mut demand, &flows, start), Some(vec![(0, 0), (2, 0)]));
        assert_eq!(say(&mut demand, &flows, start), None);
        flows.insert(SessionKey(1), flow(1, 0));
        let all = vec![(0, 0), (1, 0), (2, 0)];
        assert_eq!(say(&mut demand, &flows, start), Some(all));
        let later = start + LINGER;
        assert_eq!(
            demand
                .say(&flows, &Outlets::new(), 3, LINGER, later)
                .map(|l| l.len()),
            Some(2)
        );
        flows.clear();
        assert_eq!(say(&mut demand, &flows, later), None);
        assert_eq!(say(&mut demand, &flows, later + LINGER), Some(vec![]));
    }

    #[test]
    fn it_is_said_again_now_and_then() {
        let start = Instant::now();
        let mut demand = Demand::default();
        let mut flows = Flows::new();
        flows.insert(SessionKey(1), flow(2, 0));
        let said = say(&mut demand, &flows, start);
        assert_eq!(said, Some(vec![(2, 0)]));
        let mut times = 0;
        for ms in (50..=20_000).step_by(50) {
            let now = start + Duration::from_millis(ms);
            let again = demand.say(&flows, &Outlets::new(), 3, LINGER, now);
            assert!(again.is_none() || ms % 5000 == 0);
            times += u32::from(again.is_some());
        }
        assert_eq!(times, 4);
    }

    #[test]
    fn the_limit_is_that_of_the_receiver_that_can_take_most() {
        let start = Instant::now();
        let mut demand = Demand::default();
        let mut flows = Flows::new();
        flows.insert(SessionKey(1), flow(0, 100_000));
        flows.insert(SessionKey(2), flow(0, 200_000));
        assert_eq!(say(&mut demand, &flows, start), Some(vec![(0, 200_000)]));
        assert_eq!(demand.limit_bps(0), 200_000);
        flows.insert(SessionKey(3), flow(0, 0));
        assert_eq!(say(&mut demand, &flows, start), Some(vec![(0, 0)]));
    }
}
