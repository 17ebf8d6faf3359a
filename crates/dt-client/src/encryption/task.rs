//! Drives the [group](super::group) of one seat, off the media path: operations
//! of MLS take milliseconds, so they run on the blocking pool, one at a time and
//! in order, and the keys go straight to where frames are sealed and opened.

use std::{
    collections::HashSet,
    sync::Arc,
    time::{Duration, Instant},
};

use dt_ids::ParticipantId;
use dt_wire::v1::{E2eeEntry, ErrorCode, Mls};
use tokio::{
    sync::{broadcast, mpsc, watch},
    task::JoinSet,
    time::sleep_until,
};

use super::{
    Accounts, Check, Encryption, Ruling,
    group::{Effect, Group, Request},
    sealing::Sealing,
};
use crate::{Event, receiving::Receiving};

/// With nothing due the clock is looked at again after so long.
const IDLE: Duration = Duration::from_secs(60);

/// Statements that are checked at once; what is above it is checked later.
const CHECKS_MAX: usize = 256;

/// What the driver tells.
#[derive(Debug)]
pub(crate) enum Input {
    /// The seat was given, or taken back.
    Seat {
        seat: ParticipantId,
        roster: HashSet<ParticipantId>,
        entry: Box<E2eeEntry>,
    },
    Roster(HashSet<ParticipantId>),
    Entry(Box<E2eeEntry>),
    Message(Box<Mls>),
    Answer(Request, Result<(), ErrorCode>),
    /// The session was lost.
    Lost,
    /// Of this task itself: others seal with keys of a step that was missed.
    Behind,
    /// Of this task itself: a statement was checked.
    Ruled(Box<Check>, Ruling),
}

/// What the driver is to do.
#[derive(Debug)]
pub(crate) enum Output {
    Send(Request, Box<Mls>),
    /// Videos begin anew: somebody has no picture yet.
    BeginAnew,
}

pub(crate) struct Task {
    pub(crate) group: Group,
    pub(crate) inputs: mpsc::Receiver<Input>,
    pub(crate) outputs: mpsc::Sender<Output>,
    pub(crate) sealing: Arc<Sealing>,
    pub(crate) receiving: Arc<Receiving>,
    pub(crate) shown: watch::Sender<Arc<Encryption>>,
    pub(crate) events: broadcast::Sender<Event>,
    /// Without it statements stay unchecked.
    pub(crate) accounts: Option<Accounts>,
    pub(crate) checks: JoinSet<(Box<Check>, Ruling)>,
}

fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

impl Task {
    /// Runs until the driver is gone.
    pub(crate) async fn run(mut self) {
        loop {
            let due = self.group.poll_timeout().unwrap_or_else(|| now() + IDLE);
            let input = tokio::select! {
                input = self.inputs.recv() => match input {
                    Some(input) => Some(input),
                    None => return,
                },
                Some(ruled) = self.checks.join_next() => match ruled {
                    Ok((check, ruling)) => Some(Input::Ruled(check, ruling)),
                    Err(_) => continue,
                },
                () = self.receiving.behind() => Some(Input::Behind),
                () = sleep_until(due.into()) => None,
            };
            let now = now();
            let mut group = self.group;
            let worked = tokio::task::spawn_blocking(move || {
                handle(&mut group, input, now);
                group
            });
            // It fails when the runtime ends, or by a bug of ours that was told.
            let Ok(group) = worked.await else { return };
            self.group = group;
            if !self.carry_out(now).await {
                return;
            }
        }
    }

    /// `false` when the driver is gone.
    async fn carry_out(&mut self, now: Instant) -> bool {
        let mut changed = false;
        while let Some(effect) = self.group.poll_effect() {
            let output = match effect {
                Effect::Send(request, mls) => Output::Send(request, Box::new(mls)),
                Effect::BeginAnew => Output::BeginAnew,
                Effect::Keys(keys) => {
                    self.sealing.set_epoch(keys.suite, &keys.epoch, keys.fresh);
                    self.receiving.set_epoch(&keys);
                    continue;
                }
                Effect::Distrust(members) => {
                    self.receiving.distrust(&members);
                    continue;
                }
                Effect::Check(check) => {
                    self.check(check);
                    continue;
                }
                Effect::NoKeys => {
                    self.sealing.forget_keys();
                    continue;
                }
                Effect::Alarm(alarm) => {
                    // Nobody needs to listen.
                    let _ = self.events.send(Event::EncryptionAlarm(alarm));
                    continue;
                }
                Effect::Changed => {
                    changed = true;
                    continue;
                }
            };
            if self.outputs.send(output).await.is_err() {
                return false;
            }
        }
        if changed {
            let shown = Arc::new(self.group.shown(now));
            let is_other = self.shown.send_if_modified(|old| {
                let is_other = *old != shown;
                *old = shown;
                is_other
            });
            if is_other {
                let _ = self.events.send(Event::EncryptionChanged);
            }
        }
        true
    }

    fn check(&mut self, check: Check) {
        let Some(accounts) = self.accounts.clone() else {
            return;
        };
        let too_many = self.checks.len() >= CHECKS_MAX;
        self.checks.spawn(async move {
            let ruling = if too_many {
                Ruling::Unknown
            } else {
                accounts.check(&check).await
            };
            (Box::new(check), ruling)
        });
    }
}

fn handle(group: &mut Group, input: Option<Input>, now: Instant) {
    match input {
        Some(Input::Seat {
            seat,
            roster,
            entry,
        }) => group.handle_seat(seat, roster, &entry, now),
        Some(Input::Roster(roster)) => group.handle_roster(roster, now),
        Some(Input::Entry(entry)) => group.handle_entry(&entry, now),
        Some(Input::Message(mls)) => group.handle_message(&mls, now),
        Some(Input::Answer(request, answer)) => group.handle_answer(request, answer, now),
        Some(Input::Lost) => group.handle_lost(),
        Some(Input::Behind) => group.handle_behind(now),
        Some(Input::Ruled(check, ruling)) => group.handle_ruling(&check, ruling, now),
        None => group.handle_timeout(now),
    }
}
