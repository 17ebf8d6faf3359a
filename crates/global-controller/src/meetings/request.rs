//! What clients send, and what of it is accepted.

use dt_ids::AccountId;
use dt_service::http::ApiError;
use dt_store::{MeetingSettings, SettingsChange};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::Config;

/// Longest name of a meeting, in characters.
const NAME_CHARS_MAX: usize = 128;
/// Fewest seats.
const PARTICIPANTS_MIN: u32 = 2;
/// Join tokens in one answer.
pub(crate) const TOKENS_MAX: u32 = 100;
/// Meetings in one answer unless the client says otherwise.
const PAGE_DEFAULT: u32 = 50;

/// A new meeting. Everything may be left out, the body too.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct CreateMeeting {
    /// What people call it.
    #[schema(max_length = 128, example = "Team standup")]
    pub(crate) display_name: Option<String>,
    /// Seats, 100 unless said otherwise.
    #[schema(minimum = 2, maximum = 1000)]
    pub(crate) max_participants: Option<u32>,
    /// What the host chooses.
    pub(crate) settings: Settings,
}

/// What to change of a meeting; what is left out stays.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct ChangeMeeting {
    /// What people call it.
    #[schema(max_length = 128)]
    pub(crate) display_name: Option<String>,
    /// Seats.
    #[schema(minimum = 2, maximum = 1000)]
    pub(crate) max_participants: Option<u32>,
    /// What the host chooses.
    pub(crate) settings: Settings,
}

/// Settings to set; what is left out stays, or is off in a new meeting.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
#[schema(as = SettingsChange)]
pub(crate) struct Settings {
    /// Encrypt media from end to end, so that no server can read it. Chosen when
    /// the meeting is made; it can't be changed later.
    pub(crate) enable_e2e_encryption: Option<bool>,
    /// How it is encrypted, `aes-128-gcm` unless said otherwise. Chosen when the
    /// meeting is made.
    pub(crate) sframe_cipher: Option<SframeCipher>,
    /// Refuse guests.
    pub(crate) require_auth: Option<bool>,
    /// Record the meeting; not available in this version.
    pub(crate) recording_enabled: Option<bool>,
    /// Keep audio levels out of media headers.
    pub(crate) hide_audio_levels: Option<bool>,
}

/// A cipher of end-to-end encrypted media (SFrame, RFC 9605).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) enum SframeCipher {
    /// AES-GCM with 128-bit keys.
    #[serde(rename = "aes-128-gcm")]
    Aes128Gcm,
    /// AES-GCM with 256-bit keys.
    #[serde(rename = "aes-256-gcm")]
    Aes256Gcm,
}

impl From<SframeCipher> for dt_store::SframeCipher {
    fn from(cipher: SframeCipher) -> Self {
        match cipher {
            SframeCipher::Aes128Gcm => Self::Aes128Gcm,
            SframeCipher::Aes256Gcm => Self::Aes256Gcm,
        }
    }
}

impl From<dt_store::SframeCipher> for SframeCipher {
    fn from(cipher: dt_store::SframeCipher) -> Self {
        match cipher {
            dt_store::SframeCipher::Aes128Gcm => Self::Aes128Gcm,
            dt_store::SframeCipher::Aes256Gcm => Self::Aes256Gcm,
        }
    }
}

/// How many tokens.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct GuestToken {
    /// 1 unless said otherwise; more than one only for a host or a program.
    #[schema(minimum = 1, maximum = 100)]
    pub(crate) count: Option<u32>,
}

/// Which meetings to list.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListMeetings {
    /// Only those that this account made.
    #[param(value_type = Option<String>, format = Uuid)]
    pub(crate) user_id: Option<AccountId>,
    /// `true`: only those that people may still join.
    pub(crate) active: Option<bool>,
    /// At most this many, 1 to 100; 50 unless said otherwise.
    #[param(minimum = 1, maximum = 100)]
    pub(crate) limit: Option<u32>,
    /// Leave out this many first.
    pub(crate) offset: Option<u32>,
}

impl ListMeetings {
    pub(crate) fn limit(&self) -> Result<u32, ApiError> {
        let max = dt_store::MEETINGS_PAGE_MAX;
        match self.limit.unwrap_or(PAGE_DEFAULT) {
            limit if (1..=max).contains(&limit) => Ok(limit),
            _ => Err(ApiError::invalid_field(
                "limit",
                format!("limit must be 1 to {max}"),
            )),
        }
    }
}

impl GuestToken {
    pub(crate) fn count(&self) -> Result<u32, ApiError> {
        match self.count.unwrap_or(1) {
            count if (1..=TOKENS_MAX).contains(&count) => Ok(count),
            _ => {
                let message = format!("count must be 1 to {TOKENS_MAX}");
                Err(ApiError::invalid_field("count", message))
            }
        }
    }
}

impl Settings {
    /// The change that these settings are, if this version can do them.
    /// `encrypted`: unless they say otherwise.
    pub(crate) fn accepted(self, encrypted: bool) -> Result<SettingsChange, ApiError> {
        if self.recording_enabled == Some(true) {
            if self.enable_e2e_encryption.unwrap_or(encrypted) {
                return Err(ApiError::forbidden(
                    "the server can't record what it can't read: only a meeting that was made \
                     without end-to-end encryption can be recorded",
                )
                .with_detail("field", "settings.recording_enabled"));
            }
            return Err(ApiError::invalid_field(
                "settings.recording_enabled",
                "recording is not available yet",
            ));
        }
        Ok(SettingsChange {
            enable_e2e_encryption: self.enable_e2e_encryption,
            require_auth: self.require_auth,
            recording_enabled: self.recording_enabled,
            hide_audio_levels: self.hide_audio_levels,
            sframe_cipher: self.sframe_cipher.map(Into::into),
        })
    }

    /// The change of a meeting that exists: what keys depend on stays as it was
    /// made, or a server could switch the encryption off under people's hands.
    pub(crate) fn accepted_for(self, now: &MeetingSettings) -> Result<SettingsChange, ApiError> {
        let fixed = "is chosen when a meeting is made: make a new meeting";
        let change = self.accepted(now.enable_e2e_encryption)?;
        if change
            .enable_e2e_encryption
            .is_some_and(|wanted| wanted != now.enable_e2e_encryption)
        {
            let message = format!("end-to-end encryption {fixed}");
            return Err(ApiError::invalid_field(
                "settings.enable_e2e_encryption",
                message,
            ));
        }
        if change
            .sframe_cipher
            .is_some_and(|wanted| wanted != now.sframe_cipher)
        {
            let message = format!("the cipher {fixed}");
            return Err(ApiError::invalid_field("settings.sframe_cipher", message));
        }
        Ok(change)
    }
}

/// The name without blanks around it.
pub(crate) fn display_name(name: &str) -> Result<String, ApiError> {
    let name = name.trim();
    let wrong = |message: String| Err(ApiError::invalid_field("display_name", message));
    if name.chars().count() > NAME_CHARS_MAX {
        return wrong(format!(
            "display_name must have at most {NAME_CHARS_MAX} characters"
        ));
    }
    if name.chars().any(char::is_control) {
        return wrong("display_name must not have control characters or line breaks".to_owned());
    }
    Ok(name.to_owned())
}

/// The number of seats, if a meeting may have so many.
pub(crate) fn max_participants(seats: u32, config: &Config) -> Result<u32, ApiError> {
    let max = config.max_participants_limit;
    if (PARTICIPANTS_MIN..=max).contains(&seats) {
        return Ok(seats);
    }
    let message = format!("max_participants must be {PARTICIPANTS_MIN} to {max}");
    Err(ApiError::invalid_field("max_participants", message))
}
