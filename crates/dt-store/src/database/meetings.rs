//! Records of meetings: what was agreed about one, never what goes on in it.

use dt_ids::{AccountId, MeetingCode, MeetingId, OrganisationId};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

/// Most meetings in one page.
pub const MEETINGS_PAGE_MAX: u32 = 100;

/// What names a meeting at the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MeetingKey {
    /// Its id.
    Id(MeetingId),
    /// The code in its link.
    Code(MeetingCode),
}

/// A meeting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MeetingRecord {
    /// Its id.
    pub id: MeetingId,
    /// The code in its link.
    pub code: MeetingCode,
    /// What people call it; may be empty.
    pub display_name: String,
    /// The tenant it belongs to.
    pub organisation: Option<OrganisationId>,
    /// The account that made it; none for a guest.
    pub created_by: Option<AccountId>,
    /// When it was made.
    pub created_at: OffsetDateTime,
    /// From then on nobody joins it.
    pub expires_at: OffsetDateTime,
    /// When the host or an operator ended it.
    pub ended_at: Option<OffsetDateTime>,
    /// Seats.
    pub max_participants: u32,
    /// What the host chose.
    pub settings: MeetingSettings,
}

/// What a host may choose. A setting that a stored record lacks is off, so that
/// adding one needs no migration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct MeetingSettings {
    /// Media is encrypted between participants.
    pub enable_e2e_encryption: bool,
    /// Guests are refused.
    pub require_auth: bool,
    /// The meeting is recorded.
    pub recording_enabled: bool,
    /// Audio levels don't stand in media headers.
    pub hide_audio_levels: bool,
    /// How frames are sealed where media is encrypted between participants.
    pub sframe_cipher: SframeCipher,
}

/// Ciphers of end-to-end encrypted media.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum SframeCipher {
    /// AES-GCM with 128-bit keys.
    #[default]
    #[serde(rename = "aes-128-gcm")]
    Aes128Gcm,
    /// AES-GCM with 256-bit keys.
    #[serde(rename = "aes-256-gcm")]
    Aes256Gcm,
}

impl SframeCipher {
    /// Number of the SFrame cipher suite with full tags (RFC 9605 section 4.5).
    #[must_use]
    pub const fn suite(self) -> u32 {
        match self {
            Self::Aes128Gcm => 4,
            Self::Aes256Gcm => 5,
        }
    }
}

/// What to change of a meeting; `None` leaves a field as it is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MeetingChange {
    /// What people call it.
    pub display_name: Option<String>,
    /// Seats.
    pub max_participants: Option<u32>,
    /// From then on nobody joins it.
    pub expires_at: Option<OffsetDateTime>,
    /// What the host chose.
    pub settings: SettingsChange,
}

/// What to change of the settings; `None` leaves one as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SettingsChange {
    /// See [`MeetingSettings::enable_e2e_encryption`].
    pub enable_e2e_encryption: Option<bool>,
    /// See [`MeetingSettings::require_auth`].
    pub require_auth: Option<bool>,
    /// See [`MeetingSettings::recording_enabled`].
    pub recording_enabled: Option<bool>,
    /// See [`MeetingSettings::hide_audio_levels`].
    pub hide_audio_levels: Option<bool>,
    /// See [`MeetingSettings::sframe_cipher`].
    pub sframe_cipher: Option<SframeCipher>,
}

impl MeetingChange {
    /// The meeting with the change made.
    #[must_use]
    pub fn applied_to(&self, mut meeting: MeetingRecord) -> MeetingRecord {
        if let Some(name) = &self.display_name {
            meeting.display_name.clone_from(name);
        }
        meeting.max_participants = self.max_participants.unwrap_or(meeting.max_participants);
        meeting.expires_at = self.expires_at.unwrap_or(meeting.expires_at);
        let (now, new) = (&mut meeting.settings, self.settings);
        now.enable_e2e_encryption = new
            .enable_e2e_encryption
            .unwrap_or(now.enable_e2e_encryption);
        now.require_auth = new.require_auth.unwrap_or(now.require_auth);
        now.recording_enabled = new.recording_enabled.unwrap_or(now.recording_enabled);
        now.hide_audio_levels = new.hide_audio_levels.unwrap_or(now.hide_audio_levels);
        now.sframe_cipher = new.sframe_cipher.unwrap_or(now.sframe_cipher);
        meeting
    }
}

/// Which meetings to list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MeetingFilter {
    /// Only those of this account.
    pub created_by: Option<AccountId>,
    /// Only those of this tenant.
    pub organisation: Option<OrganisationId>,
    /// `Some(t)`: only those that have not ended and don't expire until after `t`.
    pub active_at: Option<OffsetDateTime>,
    /// At most this many, [`MEETINGS_PAGE_MAX`] at most.
    pub limit: u32,
    /// Leave out this many first.
    pub offset: u32,
}

impl Default for MeetingFilter {
    fn default() -> Self {
        Self {
            created_by: None,
            organisation: None,
            active_at: None,
            limit: MEETINGS_PAGE_MAX,
            offset: 0,
        }
    }
}

/// A part of a list of meetings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MeetingPage {
    /// The meetings.
    pub meetings: Vec<MeetingRecord>,
    /// How many pass the filter in all.
    pub total: u64,
}
