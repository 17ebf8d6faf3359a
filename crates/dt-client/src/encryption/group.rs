//! This client's side of the meeting's group, sans-IO.
//!
//! Driven by the [task](super::task): inputs are what the controller says, in
//! its order, and the clock; outputs are [`Effect`]s, to be done in order after
//! every call. The controller orders commits and is not trusted with anything
//! else: whatever it says, no key is used that a member didn't make, no counter
//! starts again under the same key, and what is wrong with the members is shown.
//! The ways in are in
//! [`entering`], what messages to a member mean in [`inside`].
//!
//! Everything is bounded: one group, one way into it at a time, one commit of
//! our own under way.

#[cfg(test)]
mod attacks;
mod entering;
#[cfg(test)]
mod hall;
mod inside;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;

use std::{
    collections::{HashMap, HashSet, VecDeque},
    time::{Duration, Instant},
};

use dt_e2ee::{Candidate, EpochKeys, GroupSetup, LeafKey, Suite, meeting_code};
use dt_ids::{MeetingId, ParticipantId};
use dt_wire::v1::{E2eeEntry, E2eeOffer, ErrorCode, GroupPosition, Mls, MlsKind};

use super::{Alarm, Check, DeviceKey, Encryption, KnownDevices, Ruling, members::Members};
use inside::Inside;

/// How long a way into the group may take before another one is asked for.
const ENTRY_MAX: Duration = Duration::from_secs(10);
/// The first wait before another way in is asked for; it doubles each time.
const ASK_AGAIN_FIRST: Duration = Duration::from_millis(500);
const ASK_AGAIN_MAX: Duration = Duration::from_secs(10);

/// Who this client is.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) meeting_id: MeetingId,
    pub(crate) name: String,
    pub(crate) device: DeviceKey,
    /// A JWS of the auth controller, or nothing.
    pub(crate) statement: String,
    /// The devices of those who were met before.
    pub(crate) known_devices: Option<KnownDevices>,
}

/// What an answer of the controller is to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Request {
    /// Counts the ways in; answers about an older one tell nothing.
    way: u64,
    about: About,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum About {
    Founding,
    Entering,
    KeyPackage,
    /// A commit that ends this epoch.
    Commit(u64),
    Notice,
}

/// Keys that hold from now on.
#[derive(Debug)]
pub(crate) struct Keys {
    pub(crate) suite: Suite,
    pub(crate) epoch: EpochKeys,
    /// Whose frames each leaf may seal.
    pub(crate) leaves: HashMap<u32, ParticipantId>,
    /// This client has just come in: nothing of what it held before counts.
    pub(crate) fresh: bool,
}

/// What the driver is to do.
#[derive(Debug)]
pub(crate) enum Effect {
    /// Send this and report the answer under this name.
    Send(Request, Mls),
    /// Seal and open with these from now on; older ones open for a while.
    Keys(Box<Keys>),
    /// These can't be trusted any more; what they sealed is not opened.
    Distrust(Vec<(u32, ParticipantId)>),
    /// Check this and report with [`Group::handle_ruling`].
    Check(Check),
    /// There are no keys to seal with any more.
    NoKeys,
    /// Somebody came in who has no picture yet.
    BeginAnew,
    /// An alarm that was not there before.
    Alarm(Alarm),
    /// [`Group::shown`] is another one.
    Changed,
}

#[derive(Debug)]
enum State {
    /// No way in is known.
    Outside,
    /// The group is founded here; the controller may know another.
    Founding(Box<Inside>),
    /// Our external commit is under way.
    Entering {
        inside: Box<Inside>,
        commit: Vec<u8>,
    },
    /// Somebody will add us.
    Waiting {
        candidate: Box<Candidate>,
        setup: GroupSetup,
        group: u32,
        suite: Suite,
    },
    Inside(Box<Inside>),
}

/// One seat's part in its meeting's groups, one after the other. Give it what
/// the controller says, do what [`poll_effect`](Self::poll_effect) gives until it
/// gives nothing, and call [`handle_timeout`](Self::handle_timeout) at
/// [`poll_timeout`](Self::poll_timeout).
#[derive(Debug)]
pub(crate) struct Group {
    settings: Settings,
    seat: Option<ParticipantId>,
    /// Made ahead, so that a join does not wait for it.
    leaf_key: Option<LeafKey>,
    state: State,
    members: Members,
    way: u64,
    /// When another way in is to be asked for.
    ask_at: Option<Instant>,
    /// Ways asked for in a row without getting in.
    asked: u32,
    /// There is a session to send on.
    connected: bool,
    /// Commits that were missed are being followed; who follows says so once.
    catching_up: bool,
    /// Where the group stood when last heard of.
    heard: (u32, u64),
    raised: Vec<Alarm>,
    looked_at: Option<Instant>,
    effects: VecDeque<Effect>,
}

impl Group {
    /// A machine without a group. Makes the first leaf key.
    pub(crate) fn new(settings: Settings) -> Result<Self, dt_e2ee::Error> {
        Ok(Self {
            members: Members::new(
                settings.meeting_id,
                settings.device.public(),
                settings.known_devices.clone(),
            ),
            settings,
            seat: None,
            leaf_key: Some(LeafKey::generate()?),
            state: State::Outside,
            way: 0,
            ask_at: None,
            asked: 0,
            connected: false,
            catching_up: false,
            heard: (0, 0),
            raised: Vec::new(),
            looked_at: None,
            effects: VecDeque::new(),
        })
    }

    /// The next thing to do, oldest first.
    pub(crate) fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// When [`handle_timeout`](Self::handle_timeout) is wanted at the latest.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let inside = match &self.state {
            State::Inside(inside) => inside.due(),
            _ => None,
        };
        let ask_at = self.ask_at.filter(|_| self.connected);
        let members = self.members.due(self.looked_at);
        let due = [ask_at, inside, members, self.members.check_due()];
        due.into_iter().flatten().min()
    }

    /// What a returning client tells of the group that it still has.
    #[cfg(test)]
    pub(crate) fn offer(&self) -> E2eeOffer {
        offer(self.position())
    }

    #[cfg(test)]
    fn stands(&self) -> &'static str {
        match self.state {
            State::Outside => "outside",
            State::Founding(_) => "founding",
            State::Entering { .. } => "entering",
            State::Waiting { .. } => "waiting",
            State::Inside(_) => "inside",
        }
    }

    /// Where this client stands, if it stands anywhere.
    pub(crate) fn position(&self) -> Option<(u32, u64)> {
        match &self.state {
            State::Inside(inside) if !inside.failed() => Some((inside.group, inside.epoch())),
            _ => None,
        }
    }

    /// For the application.
    pub(crate) fn shown(&self, now: Instant) -> Encryption {
        let inside = match &self.state {
            State::Inside(inside) => Some(inside),
            _ => None,
        };
        Encryption {
            encrypted: true,
            position: self.position(),
            meeting_code: inside.map(|inside| meeting_code(&inside.authenticator)),
            members: self.members.key_holders(),
            alarms: self.members.alarms(now),
        }
    }

    /// The seat was given, or taken back: who else has one, and the way in.
    pub(crate) fn handle_seat(
        &mut self,
        seat: ParticipantId,
        roster: HashSet<ParticipantId>,
        entry: &E2eeEntry,
        now: Instant,
    ) {
        self.connected = true;
        self.seat = Some(seat);
        self.members.set_own_seat(seat);
        self.members.set_roster(roster, now);
        self.asked = 0;
        self.handle_entry(entry, now);
    }

    /// Others came or went.
    pub(crate) fn handle_roster(&mut self, roster: HashSet<ParticipantId>, now: Instant) {
        self.members.set_roster(roster, now);
        self.look_for_alarms(now);
    }

    /// A statement was checked.
    pub(crate) fn handle_ruling(&mut self, check: &Check, ruling: Ruling, now: Instant) {
        let distrusted = self.members.set_ruling(check, ruling, now);
        if !distrusted.is_empty() {
            self.effects.push_back(Effect::Distrust(distrusted));
        }
        self.effects.push_back(Effect::Changed);
        self.look_for_alarms(now);
    }

    /// The session is gone. A group in memory is kept; a way into one is not.
    pub(crate) fn handle_lost(&mut self) {
        self.connected = false;
        self.way += 1;
        match &mut self.state {
            State::Inside(inside) => inside.lost(),
            _ => self.state = State::Outside,
        }
    }

    /// The controller shows a way into the group.
    pub(crate) fn handle_entry(&mut self, entry: &E2eeEntry, now: Instant) {
        self.way += 1;
        self.ask_at = Some(now + ENTRY_MAX);
        let way = self.enter(entry, now);
        if let Err(trouble) = way {
            tracing::debug!(%trouble, "no way into the group");
            self.leave(now);
        }
        self.look_for_alarms(now);
        self.effects.push_back(Effect::Changed);
    }

    /// A message of the group.
    pub(crate) fn handle_message(&mut self, mls: &Mls, now: Instant) {
        let Some(position) = mls.position else { return };
        match (&self.state, mls.kind()) {
            (State::Entering { commit, inside }, MlsKind::MlsCommit)
                if *commit == mls.data && inside.group == position.group =>
            {
                self.entered(&mls.data, now);
            }
            (State::Waiting { group, .. }, MlsKind::MlsWelcome) if *group == position.group => {
                self.welcomed(&mls.data, now);
            }
            (State::Inside(inside), _) if inside.group == position.group => {
                self.handle_inside(mls, position.epoch, now);
            }
            // Of a group that this client is not in.
            _ => {}
        }
    }

    /// Our external commit is in force.
    fn entered(&mut self, commit: &[u8], now: Instant) {
        let State::Entering { mut inside, .. } = std::mem::replace(&mut self.state, State::Outside)
        else {
            return;
        };
        match inside.confirm(commit) {
            Ok(()) => self.come_in(inside, now),
            Err(error) => {
                tracing::debug!(%error, "our own commit is of no use");
                self.leave(now);
            }
        }
    }

    fn welcomed(&mut self, welcome: &[u8], now: Instant) {
        let State::Waiting {
            candidate,
            setup,
            group,
            suite,
        } = std::mem::replace(&mut self.state, State::Outside)
        else {
            return;
        };
        let joined = candidate.join(welcome, &setup);
        match joined.and_then(|member| Inside::new(member, group, suite)) {
            Ok(inside) => self.come_in(Box::new(inside), now),
            Err(error) => {
                tracing::debug!(%error, "the welcome is of no use");
                self.leave(now);
            }
        }
    }

    /// The controller's answer to a request.
    pub(crate) fn handle_answer(
        &mut self,
        request: Request,
        answer: Result<(), ErrorCode>,
        now: Instant,
    ) {
        if request.way != self.way {
            return;
        }
        match (request.about, answer) {
            (About::Founding, Ok(())) => {
                let state = std::mem::replace(&mut self.state, State::Outside);
                match state {
                    State::Founding(inside) => self.come_in(inside, now),
                    other => self.state = other,
                }
            }
            // Another was faster: a fresh way in follows, or is asked for.
            (About::Founding | About::Entering | About::KeyPackage, Err(_)) => {
                if !matches!(self.state, State::Inside(_)) {
                    self.state = State::Outside;
                    self.ask_later(now);
                }
            }
            (About::Commit(epoch), answer) => {
                if let State::Inside(inside) = &mut self.state {
                    inside.commit_answered(epoch, answer.is_ok(), now);
                }
            }
            (About::Entering | About::KeyPackage | About::Notice, _) => {}
        }
    }

    /// This client is a member from now on.
    fn come_in(&mut self, inside: Box<Inside>, now: Instant) {
        self.ask_at = None;
        self.asked = 0;
        let (group, epoch, founded) = (inside.group, inside.epoch(), inside.epoch() == 0);
        self.state = State::Inside(inside);
        self.show_leaves(now);
        self.give_keys(true, now);
        self.effects.push_back(Effect::BeginAnew);
        if !founded {
            self.send(About::Notice, message(MlsKind::MlsApplied, group, epoch));
        }
        // The next entry does not wait for a key either.
        self.leaf_key = LeafKey::generate().ok();
    }

    /// Others seal with keys of a step that never came: another way in is asked for.
    pub(crate) fn handle_behind(&mut self, now: Instant) {
        if matches!(self.state, State::Inside(_)) {
            self.ask_at = Some(now);
            self.handle_timeout(now);
        }
    }

    /// The clock went on.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        if self.connected && self.ask_at.is_some_and(|at| at <= now) {
            self.way += 1;
            self.drop_group();
            self.ask_at = Some(now + ENTRY_MAX + self.pause());
            self.asked = self.asked.saturating_add(1);
            let (group, epoch) = self.heard;
            self.send(About::Notice, message(MlsKind::MlsStranded, group, epoch));
        }
        self.handle_inside_due(now);
        self.ask_for_checks(now);
        self.look_for_alarms(now);
    }

    /// The group in memory is of no use any more.
    fn leave(&mut self, now: Instant) {
        self.drop_group();
        self.ask_later(now);
    }

    fn drop_group(&mut self) {
        if let State::Inside(inside) = &self.state {
            self.heard = (inside.group, inside.epoch());
            self.effects.push_back(Effect::NoKeys);
            self.effects.push_back(Effect::Changed);
        }
        self.state = State::Outside;
        self.members.clear();
    }

    /// The controller mostly shows another way by itself. It is asked less and less
    /// often: one that shows only ways that lead nowhere is not asked in a loop.
    fn ask_later(&mut self, now: Instant) {
        self.ask_at = Some(now + self.pause());
    }

    fn pause(&self) -> Duration {
        let times = 1_u32.checked_shl(self.asked).unwrap_or(u32::MAX);
        ASK_AGAIN_FIRST.saturating_mul(times).min(ASK_AGAIN_MAX)
    }

    fn send(&mut self, about: About, mls: Mls) {
        if self.catching_up {
            return;
        }
        let way = self.way;
        self.effects
            .push_back(Effect::Send(Request { way, about }, mls));
    }

    fn show_leaves(&mut self, now: Instant) {
        if let State::Inside(inside) = &self.state {
            self.members.set_leaves(inside.members(), now);
        }
        self.ask_for_checks(now);
    }

    fn ask_for_checks(&mut self, now: Instant) {
        let checks = self.members.take_checks(now);
        self.effects.extend(checks.into_iter().map(Effect::Check));
    }

    /// Hands out the keys of the epoch that this client stands in.
    fn give_keys(&mut self, fresh: bool, now: Instant) {
        let State::Inside(inside) = &self.state else {
            return;
        };
        match inside.keys() {
            Ok(epoch) => {
                self.effects.push_back(Effect::Keys(Box::new(Keys {
                    suite: inside.suite,
                    epoch,
                    leaves: self.members.trusted(),
                    fresh,
                })));
                self.effects.push_back(Effect::Changed);
                self.look_for_alarms(now);
            }
            Err(error) => {
                tracing::debug!(%error, "no keys of an epoch");
                self.leave(now);
            }
        }
    }

    fn look_for_alarms(&mut self, now: Instant) {
        self.looked_at = Some(now);
        let alarms = self.members.alarms(now);
        if alarms == self.raised {
            return;
        }
        for alarm in &alarms {
            if !self.raised.contains(alarm) {
                self.effects.push_back(Effect::Alarm(alarm.clone()));
            }
        }
        self.raised = alarms;
        self.effects.push_back(Effect::Changed);
    }
}

/// What a join request says of encryption.
pub(crate) fn offer(position: Option<(u32, u64)>) -> E2eeOffer {
    E2eeOffer {
        version: 1,
        position: position.map(|(group, epoch)| GroupPosition { group, epoch }),
    }
}

/// The wish for fresh keys for everybody, by somebody who stands there.
pub(crate) fn rotate(position: Option<(u32, u64)>) -> Option<Mls> {
    let (group, epoch) = position?;
    Some(message(MlsKind::MlsRotate, group, epoch))
}

fn message(kind: MlsKind, group: u32, epoch: u64) -> Mls {
    Mls {
        kind: kind.into(),
        position: Some(GroupPosition { group, epoch }),
        ..Mls::default()
    }
}
