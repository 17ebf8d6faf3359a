//! Which meeting a request names, and what its caller may do with it.

use dt_ids::{AccountId, MeetingCode, MeetingId};
use dt_service::http::{ApiError, Caller};
use dt_store::{MeetingKey, MeetingRecord, keys};
use dt_token::{AccessClaims, Component, Operation, Role};
use time::OffsetDateTime;

use crate::{GlobalController, error::Failure};

/// What a caller is to a meeting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Standing {
    /// Somebody with the link.
    Guest,
    /// Somebody who has signed in and may come in by that.
    Participant,
    /// Whoever made it, or acts for the operator: may change and end it.
    Host,
}

impl Standing {
    pub(crate) const fn role(self) -> Role {
        match self {
            Self::Guest => Role::Guest,
            Self::Participant => Role::Participant,
            Self::Host => Role::Host,
        }
    }
}

impl GlobalController {
    /// The meeting named in a path, ended ones included.
    pub(crate) async fn find(&self, name: &str) -> Result<MeetingRecord, Failure> {
        let key = key(name)?;
        let meeting = self.deps.database.meeting(key).await?;
        let mut meeting =
            meeting.ok_or_else(|| ApiError::meeting_not_found("there is no such meeting"))?;
        // Ended from inside by its host: its controller said so in the state
        // store, and from now on the database knows as well.
        let ended = keys::meeting_ended(meeting.id);
        if meeting.ended_at.is_none() && self.deps.state.get(&ended).await?.is_some() {
            let now = OffsetDateTime::now_utc();
            self.deps.database.end_meeting(meeting.id, now).await?;
            meeting.ended_at = Some(now);
        }
        Ok(meeting)
    }

    /// The meeting named in a path, if people may still join it.
    pub(crate) async fn find_open(&self, name: &str) -> Result<MeetingRecord, Failure> {
        let meeting = self.find(name).await?;
        let over =
            |message, reason| ApiError::meeting_not_found(message).with_detail("reason", reason);
        if meeting.ended_at.is_some() {
            return Err(over("the meeting has ended", "ended").into());
        }
        if meeting.expires_at <= OffsetDateTime::now_utc() {
            return Err(over("the meeting's link has expired", "expired").into());
        }
        Ok(meeting)
    }
}

fn key(name: &str) -> Result<MeetingKey, ApiError> {
    if let Ok(id) = name.parse::<MeetingId>() {
        return Ok(MeetingKey::Id(id));
    }
    name.parse::<MeetingCode>()
        .map(MeetingKey::Code)
        .map_err(|_| {
            ApiError::meeting_not_found("this is neither a meeting's id nor a meeting's code")
        })
}

/// What the caller is to the meeting.
///
/// A host token counts for its own meeting alone: with that of another one a
/// caller is a guest like any other.
pub(crate) fn standing(caller: &Caller, meeting: &MeetingRecord) -> Result<Standing, ApiError> {
    Ok(match caller.accepted()? {
        Caller::Host(claims) if claims.meeting_id == meeting.id => Standing::Host,
        Caller::Access(claims) => standing_of_account(claims, meeting),
        _ => Standing::Guest,
    })
}

fn standing_of_account(claims: &AccessClaims, meeting: &MeetingRecord) -> Standing {
    let may = |operation| claims.scopes().allows(operation, Component::Gc);
    match claims {
        AccessClaims::Service(_) if may(Operation::Write) || may(Operation::Admin) => {
            Standing::Host
        }
        AccessClaims::Service(_) if may(Operation::Read) => Standing::Participant,
        AccessClaims::Service(_) => Standing::Guest,
        AccessClaims::User(user) => {
            let same_tenant =
                meeting.organisation.is_none() || user.organisation == meeting.organisation;
            let made_it = meeting.created_by == Some(user.account) && may(Operation::Write);
            match (made_it || same_tenant && may(Operation::Admin), same_tenant) {
                (true, _) => Standing::Host,
                (false, true) if may(Operation::Read) => Standing::Participant,
                _ => Standing::Guest,
            }
        }
    }
}

/// Refuses everybody but a host.
pub(crate) fn require_host(caller: &Caller, meeting: &MeetingRecord) -> Result<(), ApiError> {
    match standing(caller, meeting)? {
        Standing::Host => Ok(()),
        _ if *caller == Caller::Anonymous => Err(ApiError::unauthorized(
            "the meeting's host token or an access token of its maker is needed",
        )),
        _ => Err(ApiError::forbidden(
            "only a host of the meeting may do this",
        )),
    }
}

/// The account to which a join token is bound.
pub(crate) fn account(caller: &Caller) -> Option<AccountId> {
    match caller {
        Caller::Access(claims) => claims.account(),
        Caller::Host(claims) => claims.account,
        Caller::Anonymous | Caller::Refused(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use dt_ids::OrganisationId;
    use dt_store::MeetingSettings;
    use dt_token::{ScopeSet, TokenId, UnixTime, UserClaims};

    use super::*;

    fn meeting(
        created_by: Option<AccountId>,
        organisation: Option<OrganisationId>,
    ) -> MeetingRecord {
        let now = OffsetDateTime::now_utc();
        MeetingRecord {
            id: MeetingId::random(),
            code: MeetingCode::random(),
            display_name: String::new(),
            organisation,
            created_by,
            created_at: now,
            expires_at: now,
            ended_at: None,
            max_participants: 2,
            settings: MeetingSettings::default(),
        }
    }

    fn user(account: AccountId, organisation: Option<OrganisationId>, scopes: &str) -> Caller {
        Caller::Access(AccessClaims::User(UserClaims {
            id: TokenId::random(),
            account,
            organisation,
            scopes: scopes.parse::<ScopeSet>().unwrap(),
            expires_at: UnixTime(0),
        }))
    }

    #[test]
    fn only_its_maker_and_an_administrator_of_its_tenant_are_hosts() {
        let (maker, other) = (AccountId::random(), AccountId::random());
        let (ours, theirs) = (
            Some(OrganisationId::random()),
            Some(OrganisationId::random()),
        );
        let meeting = meeting(Some(maker), ours);
        let check = |caller: Caller| standing(&caller, &meeting).unwrap();
        assert_eq!(check(user(maker, ours, "user.write.gc")), Standing::Host);
        assert_eq!(
            check(user(maker, ours, "user.read.gc")),
            Standing::Participant
        );
        assert_eq!(
            check(user(other, ours, "user.read.gc user.write.gc")),
            Standing::Participant
        );
        assert_eq!(check(user(other, ours, "user.admin.gc")), Standing::Host);
        assert_eq!(check(user(other, theirs, "user.admin.gc")), Standing::Guest);
        assert_eq!(check(user(other, theirs, "user.read.gc")), Standing::Guest);
        assert_eq!(check(Caller::Anonymous), Standing::Guest);
    }

    #[test]
    fn a_scope_for_another_service_counts_for_nothing_here() {
        let maker = AccountId::random();
        let meeting = meeting(Some(maker), None);
        let caller = user(maker, None, "user.write.ac user.admin.mc");
        assert_eq!(standing(&caller, &meeting).unwrap(), Standing::Guest);
        assert_eq!(require_host(&caller, &meeting).unwrap_err().status(), 403);
        assert_eq!(
            require_host(&Caller::Anonymous, &meeting)
                .unwrap_err()
                .status(),
            401
        );
    }
}
