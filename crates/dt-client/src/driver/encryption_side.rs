//! The driver's view of the encryption: its task, what goes to it and what
//! comes from it, and whether the meeting is encrypted at all.

use std::{collections::HashSet, sync::Arc};

use dt_ids::ParticipantId;
use dt_wire::v1::{E2eeEntry, E2eeOffer, ErrorCode, JoinResponse, Mls, client_message::Body};
use tokio::{
    sync::{broadcast, mpsc, watch},
    task::JoinSet,
};

use super::{Driver, Pending};
use crate::{
    Dial, Event, JoinError, Roster,
    encryption::{
        Accounts, Encryption, EncryptionMode, Group, Input, Output, Request, Sealing, Settings,
        Task, offer,
    },
    receiving::Receiving,
};

/// Messages that wait for the group; a controller that sends more is given up.
const INPUTS_MAX: usize = 1024;
/// What the group wants sent; it waits above it.
const OUTPUTS_MAX: usize = 64;

pub(super) struct EncryptionSide {
    mode: EncryptionMode,
    /// The API said that the meeting is encrypted.
    announced: bool,
    /// The controller said so, and can't take it back.
    decided: Option<bool>,
    pub(super) sealing: Arc<Sealing>,
    /// Nothing where encryption is not wanted.
    inputs: Option<mpsc::Sender<Input>>,
    outputs: mpsc::Receiver<Output>,
    shown: watch::Sender<Arc<Encryption>>,
    /// Not started yet.
    task: Option<Task>,
    running: JoinSet<()>,
}

impl EncryptionSide {
    /// `settings` say who this client is.
    pub(super) fn new(
        mode: EncryptionMode,
        announced: bool,
        settings: Settings,
        accounts: Option<Accounts>,
        receiving: &Arc<Receiving>,
        shown: watch::Sender<Arc<Encryption>>,
        events: broadcast::Sender<Event>,
    ) -> Result<Self, JoinError> {
        let sealing = Arc::new(Sealing::default());
        let (outputs_in, outputs) = mpsc::channel(OUTPUTS_MAX);
        let mut side = Self {
            mode,
            announced,
            decided: None,
            sealing: Arc::clone(&sealing),
            inputs: None,
            outputs,
            shown: shown.clone(),
            task: None,
            running: JoinSet::new(),
        };
        if mode != EncryptionMode::Never {
            let (inputs, inputs_out) = mpsc::channel(INPUTS_MAX);
            side.inputs = Some(inputs);
            side.task = Some(Task {
                group: Group::new(settings)
                    .map_err(|error| JoinError::Encryption(error.to_string()))?,
                inputs: inputs_out,
                outputs: outputs_in,
                sealing,
                receiving: Arc::clone(receiving),
                shown,
                events,
                accounts,
                checks: JoinSet::new(),
            });
        }
        Ok(side)
    }

    pub(super) fn start(&mut self) {
        if let Some(task) = self.task.take() {
            self.running.spawn(task.run());
        }
    }

    /// What this client can do, for a join request.
    pub(super) fn offer(&self) -> Option<E2eeOffer> {
        self.inputs.as_ref()?;
        Some(offer(self.shown.borrow().position))
    }

    /// Whether the meeting is encrypted, by the answer to a join.
    fn decide(&mut self, encrypted: bool) -> Result<(), JoinError> {
        let wanted = self.mode == EncryptionMode::Required || self.announced;
        match encrypted {
            false if wanted || self.decided == Some(true) => Err(JoinError::NotEncrypted),
            true if self.inputs.is_none() => Err(JoinError::Encrypted),
            // What was sent in the clear stays so; there is no such meeting.
            true if self.decided == Some(false) => Err(JoinError::Encrypted),
            _ => {
                self.decided = Some(encrypted);
                Ok(())
            }
        }
    }

    /// The next thing that the group wants; waits for ever where there is none.
    pub(super) async fn next(&mut self) -> Output {
        match self.outputs.recv().await {
            Some(output) => output,
            None => std::future::pending().await,
        }
    }

    /// `false` when the group can't take more.
    fn tell(&self, input: Input) -> bool {
        match &self.inputs {
            Some(inputs) if self.decided == Some(true) => inputs.try_send(input).is_ok(),
            _ => true,
        }
    }

    /// Ends the task and waits for it.
    pub(super) async fn end(&mut self) {
        self.inputs = None;
        self.outputs.close();
        while self.running.join_next().await.is_some() {}
    }
}

impl<D: Dial> Driver<D> {
    /// Takes from the answer to a join whether the meeting is encrypted. Nothing
    /// is sent or given to the application before.
    pub(super) fn decide_encryption(&mut self, response: &JoinResponse) -> Result<(), JoinError> {
        let encrypted = response.e2ee.is_some();
        self.encryption.decide(encrypted)?;
        self.encryption.sealing.decide(encrypted);
        if encrypted {
            self.receiving.encrypt();
            self.encryption
                .shown
                .send_modify(|shown| Arc::make_mut(shown).encrypted = true);
        }
        Ok(())
    }

    /// Shows the group its way in.
    pub(super) fn enter_group(&mut self, seat: ParticipantId, entry: &E2eeEntry) {
        let input = Input::Seat {
            seat,
            roster: ids(&self.roster.borrow()),
            entry: Box::new(entry.clone()),
        };
        self.tell_group(input);
    }

    pub(super) fn tell_group(&mut self, input: Input) {
        if !self.encryption.tell(input) {
            self.lose_session();
        }
    }

    pub(super) fn show_roster_to_group(&mut self) {
        let roster = ids(&self.roster.borrow());
        self.tell_group(Input::Roster(roster));
    }

    pub(super) fn group_answered(&mut self, request: Request, answer: Result<(), ErrorCode>) {
        self.tell_group(Input::Answer(request, answer));
    }

    pub(super) fn handle_group(&mut self, output: Output) {
        match output {
            Output::Send(request, mls) => self.send_mls(request, *mls),
            Output::BeginAnew => {
                for publisher in &self.publishers {
                    publisher.want_all_key_frames();
                }
            }
        }
    }

    fn send_mls(&mut self, request: Request, mls: Mls) {
        // Without a session the group is told a new way in by the next.
        if self.machine.phase() == dt_session_core::Phase::Joined {
            self.request(Body::Mls(mls), Pending::Mls(request));
        }
    }
}

fn ids(roster: &Roster) -> HashSet<ParticipantId> {
    roster.participants().map(|one| one.id).collect()
}
