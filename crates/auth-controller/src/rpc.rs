//! The calls of other roles.

use async_trait::async_trait;
use dt_ids::{AccountId, MeetingId};
use dt_rpc::{RpcError, RpcResult};
use dt_store::DatabaseError;
use dt_token::{ClaimSet, HostClaims, JoinClaims, Role, TokenId, UnixTime};
use dt_wire::internal::{
    GetJwks, GetJwksResponse, IssueMeetingToken, IssueMeetingTokenResponse, TokenKind,
};
use time::OffsetDateTime;

use crate::{AuthController, KeyRingError, audit::Note};

/// Tokens in one call.
const COUNT_MAX: u32 = 100;

/// A request that has been understood.
struct Wanted {
    kind: TokenKind,
    meeting_id: MeetingId,
    account: Option<AccountId>,
    role: Role,
    lifetime_s: u64,
    count: u32,
}

impl AuthController {
    fn understand(&self, request: &IssueMeetingToken) -> Result<Wanted, String> {
        let meeting_id = request
            .meeting_id
            .parse::<MeetingId>()
            .map_err(|e| e.to_string())?;
        let account = match request.account_id.as_str() {
            "" => None,
            id => Some(id.parse::<AccountId>().map_err(|e| e.to_string())?),
        };
        let count = request.count.max(1);
        if count > COUNT_MAX {
            return Err(format!("at most {COUNT_MAX} tokens at once"));
        }
        let lifetime_s = u64::from(request.lifetime_s);
        let (role, lifetime_s, lifetime_max_s) = match request.kind() {
            TokenKind::Unspecified => return Err("no kind of token".to_owned()),
            TokenKind::Join => {
                let role = Role::try_from(request.role())
                    .map_err(|_| "a join token needs a role".to_owned())?;
                let lifetime_s = if lifetime_s == 0 {
                    self.config.join_token_s
                } else {
                    lifetime_s
                };
                (role, lifetime_s, JoinClaims::LIFETIME_MAX_S)
            }
            // It lives as its meeting does, which only the caller knows.
            TokenKind::Host if lifetime_s == 0 => {
                return Err("a host token needs a lifetime".to_owned());
            }
            TokenKind::Host => (Role::Host, lifetime_s, HostClaims::LIFETIME_MAX_S),
        };
        if lifetime_s > lifetime_max_s {
            return Err(format!("such a token lives {lifetime_max_s} s at most"));
        }
        Ok(Wanted {
            kind: request.kind(),
            meeting_id,
            account,
            role,
            lifetime_s,
            count,
        })
    }

    async fn note_meeting_tokens(
        &self,
        wanted: &Wanted,
        now: OffsetDateTime,
    ) -> Result<(), DatabaseError> {
        if wanted.kind == TokenKind::Join && wanted.role != Role::Host && wanted.account.is_none() {
            return Ok(());
        }
        let action = match wanted.kind {
            TokenKind::Host => "meeting.host_token.issued",
            TokenKind::Join | TokenKind::Unspecified => "meeting.join_token.issued",
        };
        let actor = wanted
            .account
            .map_or_else(|| "anonymous".to_owned(), |id| id.to_string());
        Note::new(now, action, actor)
            .with("meeting", wanted.meeting_id.to_string())
            .with("host", wanted.role == Role::Host)
            .with("count", wanted.count)
            .write(&*self.database)
            .await
    }
}

#[async_trait]
impl dt_rpc::AuthController for AuthController {
    async fn issue_meeting_token(
        &self,
        request: IssueMeetingToken,
    ) -> RpcResult<IssueMeetingTokenResponse> {
        let wanted = self.understand(&request).map_err(RpcError::Invalid)?;
        let at = (self.config.clock)();
        let now = unix(at);
        let expires_at = UnixTime(now.as_secs().saturating_add(wanted.lifetime_s));
        let keys = self.keys.current().await.map_err(key_error)?;
        let end = at + time::Duration::seconds_f64(wanted.lifetime_s as f64);
        self.keys.cover(&keys, end).await.map_err(key_error)?;
        self.note_meeting_tokens(&wanted, at)
            .await
            .map_err(database_error)?;
        let (meeting_id, account) = (wanted.meeting_id, wanted.account);
        let token = || {
            let id = TokenId::random();
            match wanted.kind {
                TokenKind::Host => keys.signer().sign(
                    &HostClaims {
                        id,
                        meeting_id,
                        account,
                        expires_at,
                    },
                    now,
                ),
                TokenKind::Join | TokenKind::Unspecified => {
                    let role = wanted.role;
                    let claims = JoinClaims {
                        id,
                        meeting_id,
                        role,
                        account,
                        expires_at,
                    };
                    keys.signer().sign(&claims, now)
                }
            }
        };
        Ok(IssueMeetingTokenResponse {
            tokens: (0..wanted.count).map(|_| token()).collect(),
            expires_at: expires_at.as_secs(),
        })
    }

    async fn get_jwks(&self, _: GetJwks) -> RpcResult<GetJwksResponse> {
        let keys = self.keys.current().await.map_err(key_error)?;
        Ok(GetJwksResponse {
            jwks_json: keys.jwks((self.config.clock)()).to_json(),
        })
    }
}

/// Whole seconds, as tokens count.
pub(crate) fn unix(at: OffsetDateTime) -> UnixTime {
    UnixTime(u64::try_from(at.unix_timestamp()).unwrap_or(0))
}

fn key_error(error: KeyRingError) -> RpcError {
    match error {
        KeyRingError::Database(error) => database_error(error),
        KeyRingError::Sealed(error) => RpcError::Internal(error.to_string()),
        KeyRingError::Revoked => RpcError::Unavailable(error.to_string()),
    }
}

fn database_error(error: DatabaseError) -> RpcError {
    match error {
        DatabaseError::Unavailable(_) => RpcError::Unavailable(error.to_string()),
        error => RpcError::Internal(error.to_string()),
    }
}

#[cfg(test)]
mod tests;
