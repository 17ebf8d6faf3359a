//! The meeting's encryption between its people: who is let in, what is passed
//! on, and the settings, which say whether there is any.

use std::sync::Arc;

use dt_ids::UserId;
use dt_wire::{
    CloseCode,
    v1::{
        Ack, ErrorCode, ErrorMessage, LeaveReason, MeetingInfo, MeetingUpdated, Mls, ServerMessage,
        server_message::Body,
    },
};

use super::Meeting;
use crate::{
    config::{Config, Settings},
    effects::Effect,
    encryption::{Encryption, KeeperFactory, Out},
    error::{EncryptionError, SettingsError},
    time::Time,
};

pub(super) fn encryption_of(config: &Config) -> Option<Encryption> {
    let suite = config.settings.encryption?;
    let keepers = config.keepers.clone();
    let keepers = keepers.expect("an encrypted meeting is started with keepers");
    let limits = config.limits.encryption.clone();
    Some(Encryption::new(config.meeting, suite, limits, keepers))
}

impl Meeting {
    /// Its owner changed the settings: everybody is told. `keepers` are needed
    /// where encryption is switched on.
    ///
    /// # Errors
    /// See [`SettingsError`]; nothing has changed then.
    pub fn handle_settings(
        &mut self,
        settings: Settings,
        keepers: Option<Arc<dyn KeeperFactory>>,
        now: Time,
    ) -> Result<Vec<Effect>, SettingsError> {
        let before = self.info();
        if settings.encryption != self.config.settings.encryption {
            if self.begun {
                return Err(SettingsError::Begun);
            }
            let keepers = keepers.or_else(|| self.config.keepers.clone());
            if settings.encryption.is_some() && keepers.is_none() {
                return Err(SettingsError::NoKeepers);
            }
            self.config.keepers = keepers;
            self.config.settings.encryption = settings.encryption;
            self.encryption = encryption_of(&self.config);
        }
        self.config.settings = settings;
        let meeting = self.info();
        if meeting != before {
            let meeting = Some(meeting);
            self.push_all(None, Body::MeetingUpdated(MeetingUpdated { meeting }), now);
        }
        Ok(self.settle(now))
    }

    /// Whether it is end-to-end encrypted.
    #[must_use]
    pub fn is_encrypted(&self) -> bool {
        self.encryption.is_some()
    }

    /// What those inside are told of the meeting.
    pub(super) fn info(&self) -> MeetingInfo {
        let settings = &self.config.settings;
        MeetingInfo {
            meeting_id: self.config.meeting.to_string(),
            display_name: settings.display_name.clone(),
            max_participants: u32::try_from(settings.participants_max).unwrap_or(u32::MAX),
            enable_e2e_encryption: settings.encryption.is_some(),
            hide_audio_levels: settings.hide_audio_levels,
            sframe_suite: settings.encryption.map_or(0, |suite| suite.number()),
            spotlight_user_ids: self.spotlight.iter().map(|user| user.0).collect(),
        }
    }

    /// A step of the encryption. What wins is pushed to its sender before the
    /// answer, what follows a refusal after it.
    pub(super) fn encrypt(&mut self, user: UserId, request_id: u64, step: Mls, now: Time) {
        let done = match &mut self.encryption {
            Some(encryption) => encryption.handle(user, step, now),
            None => Err(EncryptionError::NotEncrypted),
        };
        match done {
            Ok(()) => {
                self.pass_on_encryption(now);
                self.answer(user, request_id, Ok(Body::Ack(Ack {})), now);
            }
            Err(error) => {
                self.reject(user, request_id, error.rejection(), now);
                self.pass_on_encryption(now);
            }
        }
    }

    /// What follows for the encryption from whatever happened.
    pub(super) fn drive_encryption(&mut self, now: Time) {
        loop {
            let Some(encryption) = &mut self.encryption else {
                return;
            };
            encryption.drive(now);
            // Each round takes at least one seat away.
            if !self.pass_on_encryption(now) {
                return;
            }
        }
    }

    /// True when somebody lost its seat by it.
    fn pass_on_encryption(&mut self, now: Time) -> bool {
        let mut expelled = Vec::new();
        let out = self.encryption.as_mut().map(Encryption::take_out);
        for out in out.into_iter().flatten() {
            match out {
                Out::Tell(users, body) => self.push_to(&users, body, now),
                Out::Expel(user) => expelled.push(user),
            }
        }
        let anybody = !expelled.is_empty();
        for user in expelled {
            self.expel(user, now);
        }
        anybody
    }

    /// Its client can't keep up with the group: nobody would understand it.
    fn expel(&mut self, user: UserId, now: Time) {
        let Some(seat) = self.remove(user, LeaveReason::ConnectionLost, now) else {
            return;
        };
        if let Some(line) = seat.line() {
            let error = ErrorMessage::with(
                ErrorCode::InvalidRequest,
                "your client can't follow the meeting's encryption: join again",
            );
            let last = ServerMessage::new(0, Body::Error(error));
            self.farewell(line.session, Some(last), CloseCode::ProtocolError);
        }
    }
}
