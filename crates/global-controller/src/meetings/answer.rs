//! What clients get.

use dt_ids::MeetingId;
use dt_rpc::RpcError;
use dt_service::http::{Origin, Scheme};
use dt_store::{MeetingRecord, MeetingSettings, keys, keys::MeetingLive};
use dt_token::Role;
use dt_wire::internal::{IssueMeetingToken, TokenKind};
use serde::Serialize;
use time::OffsetDateTime;
use utoipa::ToSchema;

use super::request::SframeCipher;
use crate::{GlobalController, error::Failure, placement::Place, registry::Address};

/// What a meeting is and how it stands.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Meeting {
    /// Its id.
    #[schema(value_type = String, format = Uuid)]
    meeting_id: MeetingId,
    /// The code in its link.
    #[schema(example = "abcde-fghjk-mnpqr")]
    meeting_code: String,
    /// Its link.
    meeting_url: String,
    /// What people call it; may be empty.
    display_name: String,
    /// Seats.
    max_participants: u32,
    /// How many are in it now.
    participant_count: u32,
    /// When it was made.
    #[serde(with = "time::serde::rfc3339")]
    created_at: OffsetDateTime,
    /// From then on its link does not work.
    #[serde(with = "time::serde::rfc3339")]
    meeting_expires_at: OffsetDateTime,
    /// When it was ended.
    #[serde(
        with = "time::serde::rfc3339::option",
        skip_serializing_if = "Option::is_none"
    )]
    ended_at: Option<OffsetDateTime>,
    /// What the host chose.
    settings: Settings,
}

/// What the host of a meeting chose.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = MeetingSettings)]
pub(crate) struct Settings {
    /// Media is encrypted from end to end.
    enable_e2e_encryption: bool,
    /// How, where it is.
    sframe_cipher: SframeCipher,
    /// Guests are refused.
    require_auth: bool,
    /// The meeting is recorded.
    recording_enabled: bool,
    /// Audio levels don't stand in media headers.
    hide_audio_levels: bool,
}

impl From<MeetingSettings> for Settings {
    fn from(settings: MeetingSettings) -> Self {
        let MeetingSettings {
            enable_e2e_encryption,
            require_auth,
            recording_enabled,
            hide_audio_levels,
            sframe_cipher,
        } = settings;
        Self {
            enable_e2e_encryption,
            require_auth,
            recording_enabled,
            hide_audio_levels,
            sframe_cipher: sframe_cipher.into(),
        }
    }
}

/// All that a client needs to join a meeting.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct MeetingAccess {
    /// The meeting.
    #[serde(flatten)]
    meeting: Meeting,
    /// Opens a signaling session.
    join_token: String,
    /// All join tokens, if more than one was asked for; the first is
    /// `join_token`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    join_tokens: Vec<String>,
    /// When the join tokens end.
    #[serde(with = "time::serde::rfc3339")]
    expires_at: OffsetDateTime,
    /// Given once, to the meeting's maker: renews host join tokens, changes and
    /// ends the meeting.
    #[serde(skip_serializing_if = "Option::is_none")]
    host_token: Option<String>,
    /// `meeting_controller.url` again, where older programs look for it.
    meeting_controller_url: String,
    /// Where the meeting controller stands.
    meeting_controller_region: String,
    /// Where to open the signaling session.
    meeting_controller: ServerAddress,
    /// Where to open media sessions, first choice first.
    media_handlers: Vec<HandlerAddress>,
}

/// Where to dial a server.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ServerAddress {
    /// For WebTransport.
    url: String,
    /// For a WebSocket where WebTransport does not get through, or null where that
    /// is not offered: `wss://`, or `ws://` for who came by plain HTTP.
    #[schema(example = "wss://meet.example/ws")]
    websocket_url: Option<String>,
    /// Base64 of the SHA-256 of certificates to accept besides what the system
    /// trusts.
    certificate_hashes: Vec<String>,
}

/// Where to dial a media handler.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct HandlerAddress {
    /// Its id.
    handler_id: String,
    /// Where to dial it.
    #[serde(flatten)]
    address: ServerAddress,
}

/// A part of a list of meetings.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct MeetingList {
    /// The meetings, newest first.
    pub(crate) meetings: Vec<Meeting>,
    /// How many there are in all.
    pub(crate) total: u64,
}

impl ServerAddress {
    fn reached_by(address: &Address, origin: &Origin) -> Self {
        let fill = |url: &str| url.replacen("://*", &format!("://{}", origin.dialled_host()), 1);
        Self {
            url: fill(&address.url),
            websocket_url: address.websocket_url.as_deref().map(|url| match url {
                path if path.starts_with('/') => websocket_url(origin, path),
                url => fill(url),
            }),
            certificate_hashes: address.certificate_hashes.clone(),
        }
    }
}

/// A path on the origin by which the client came, as the URL of a WebSocket.
fn websocket_url(origin: &Origin, path: &str) -> String {
    let scheme = match origin.scheme {
        Scheme::Http => "ws",
        Scheme::Https => "wss",
    };
    format!("{scheme}://{}{path}", origin.authority)
}

/// Tokens to hand out with an answer.
pub(crate) struct Tokens {
    pub(crate) join: Vec<String>,
    pub(crate) expires_at: OffsetDateTime,
}

impl GlobalController {
    /// The meeting as it stands now.
    pub(crate) async fn describe(
        &self,
        meeting: &MeetingRecord,
        origin: &Origin,
    ) -> Result<Meeting, Failure> {
        let live = self.deps.state.get(&keys::meeting_live(meeting.id)).await?;
        let live = live.and_then(|bytes| MeetingLive::from_bytes(&bytes));
        let base = match &self.config.public_url {
            Some(url) => url.as_str().trim_end_matches('/').to_owned(),
            None => origin.to_string(),
        };
        Ok(Meeting {
            meeting_id: meeting.id,
            meeting_code: meeting.code.to_string(),
            meeting_url: format!("{base}/m/{}", meeting.code),
            display_name: meeting.display_name.clone(),
            max_participants: meeting.max_participants,
            participant_count: live.map_or(0, |live| live.participant_count),
            created_at: meeting.created_at,
            meeting_expires_at: meeting.expires_at,
            ended_at: meeting.ended_at,
            settings: meeting.settings.into(),
        })
    }

    /// All that somebody with these tokens needs to join.
    pub(crate) async fn access(
        &self,
        meeting: &MeetingRecord,
        place: &Place,
        origin: &Origin,
        tokens: Tokens,
    ) -> Result<MeetingAccess, Failure> {
        let join_token = tokens.join.first().cloned().ok_or_else(no_token)?;
        let controller = ServerAddress::reached_by(&place.controller.address, origin);
        let handlers = place.handlers.iter().map(|handler| HandlerAddress {
            handler_id: handler.id.to_string(),
            address: ServerAddress::reached_by(&handler.address, origin),
        });
        Ok(MeetingAccess {
            meeting: self.describe(meeting, origin).await?,
            join_token,
            join_tokens: if tokens.join.len() > 1 {
                tokens.join
            } else {
                Vec::new()
            },
            expires_at: tokens.expires_at,
            host_token: None,
            meeting_controller_url: controller.url.clone(),
            meeting_controller_region: place.controller.region.clone(),
            meeting_controller: controller,
            media_handlers: handlers.collect(),
        })
    }

    /// `count` tokens that let somebody with this role join.
    pub(crate) async fn join_tokens(
        &self,
        meeting: MeetingId,
        account: Option<dt_ids::AccountId>,
        role: Role,
        count: u32,
    ) -> Result<Tokens, Failure> {
        let request = IssueMeetingToken {
            kind: TokenKind::Join.into(),
            meeting_id: meeting.to_string(),
            account_id: account
                .map(|account| account.to_string())
                .unwrap_or_default(),
            role: dt_wire::v1::Role::from(role).into(),
            lifetime_s: 0,
            count,
        };
        let issued = self.deps.auth.issue_meeting_token(request).await?;
        let expires_at = i64::try_from(issued.expires_at)
            .ok()
            .and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok())
            .ok_or_else(no_token)?;
        Ok(Tokens {
            join: issued.tokens,
            expires_at,
        })
    }

    /// The token with which a meeting's maker governs it.
    pub(crate) async fn host_token(&self, meeting: &MeetingRecord) -> Result<String, Failure> {
        let lives_s = (meeting.expires_at - OffsetDateTime::now_utc()).whole_seconds();
        let request = IssueMeetingToken {
            kind: TokenKind::Host.into(),
            meeting_id: meeting.id.to_string(),
            account_id: meeting
                .created_by
                .map(|account| account.to_string())
                .unwrap_or_default(),
            role: dt_wire::v1::Role::Host.into(),
            lifetime_s: u32::try_from(lives_s).unwrap_or(u32::MAX),
            count: 1,
        };
        let issued = self.deps.auth.issue_meeting_token(request).await?;
        issued.tokens.into_iter().next().ok_or_else(no_token)
    }
}

impl MeetingAccess {
    pub(crate) fn with_host_token(self, token: String) -> Self {
        Self {
            host_token: Some(token),
            ..self
        }
    }

    /// With the list of tokens also where it has only one: what a program that
    /// asked by number expects.
    pub(crate) fn with_token_list(mut self) -> Self {
        if self.join_tokens.is_empty() {
            self.join_tokens.push(self.join_token.clone());
        }
        self
    }
}

fn no_token() -> Failure {
    RpcError::Internal("the auth controller issued no usable token".to_owned()).into()
}
