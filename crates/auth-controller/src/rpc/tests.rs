//! Tokens for meetings, as the global controller asks for them.

use std::collections::HashSet;

use dt_rpc::AuthController as _;
use dt_token::Verifier;
use dt_wire::v1;

use super::*;
use crate::fixture::{Fixture, meeting_token};

#[tokio::test]
async fn join_tokens_come_many_at_once_and_each_is_its_own() {
    let fixture = Fixture::new().await;
    let request = IssueMeetingToken {
        count: 100,
        ..meeting_token(TokenKind::Join, v1::Role::Guest)
    };
    let meeting = request.meeting_id.clone();
    let answer = fixture
        .controller
        .issue_meeting_token(request)
        .await
        .unwrap();
    let now = UnixTime(u64::try_from(fixture.now().unix_timestamp()).unwrap());
    assert!((299..=301).contains(&(answer.expires_at - now.0)));
    let verifier = Verifier::new("darktower", fixture.controller.keys.clone());
    let mut ids = HashSet::new();
    for token in &answer.tokens {
        let claims: JoinClaims = verifier.verify(token, now).await.unwrap();
        assert_eq!(
            (claims.meeting_id.to_string(), claims.role),
            (meeting.clone(), Role::Guest)
        );
        ids.insert(claims.id);
    }
    assert_eq!(ids.len(), 100);
}

#[tokio::test]
async fn calls_that_make_no_sense_are_invalid() {
    let fixture = Fixture::new().await;
    let join = meeting_token(TokenKind::Join, v1::Role::Guest);
    for request in [
        IssueMeetingToken {
            meeting_id: "x".to_owned(),
            ..join.clone()
        },
        IssueMeetingToken {
            account_id: "x".to_owned(),
            ..join.clone()
        },
        IssueMeetingToken {
            count: 101,
            ..join.clone()
        },
        IssueMeetingToken {
            lifetime_s: 3601,
            ..join.clone()
        },
        IssueMeetingToken {
            kind: 77,
            ..join.clone()
        },
        meeting_token(TokenKind::Unspecified, v1::Role::Guest),
        meeting_token(TokenKind::Join, v1::Role::Unspecified),
        meeting_token(TokenKind::Host, v1::Role::Host),
        IssueMeetingToken {
            lifetime_s: u32::MAX,
            ..meeting_token(TokenKind::Host, v1::Role::Host)
        },
    ] {
        let refused = fixture.controller.issue_meeting_token(request).await;
        assert!(matches!(refused, Err(RpcError::Invalid(_))), "{refused:?}");
    }
}
