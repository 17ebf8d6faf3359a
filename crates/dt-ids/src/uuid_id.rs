//! Ids that are UUIDs.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A text that should have been a UUID is not one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a valid {kind} id (a UUID is expected)")]
pub struct InvalidId {
    kind: &'static str,
}

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident, $kind:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl $name {
            /// A new random id (UUID version 4).
            #[must_use]
            pub fn random() -> Self {
                Self(Uuid::new_v4())
            }

            /// The id with these 16 bytes, as they stand in media headers.
            #[must_use]
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(Uuid::from_bytes(bytes))
            }

            /// The 16 bytes that stand in media headers.
            #[must_use]
            pub const fn into_bytes(self) -> [u8; 16] {
                self.0.into_bytes()
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                Uuid::try_parse(text)
                    .map(Self)
                    .map_err(|_| InvalidId { kind: $kind })
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

uuid_id!(
    /// A meeting.
    MeetingId,
    "meeting"
);
uuid_id!(
    /// A seat in a meeting: one person on one device. Kept over a reconnection.
    ParticipantId,
    "participant"
);
uuid_id!(
    /// A media stream: one microphone, camera or screen of one participant.
    StreamId,
    "stream"
);
uuid_id!(
    /// A running media handler; new at every start.
    HandlerId,
    "handler"
);
uuid_id!(
    /// A running meeting controller; new at every start.
    ControllerId,
    "controller"
);
uuid_id!(
    /// An account of a person.
    AccountId,
    "account"
);
uuid_id!(
    /// A tenant.
    OrganisationId,
    "organisation"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_survives_text_and_bytes() {
        let id = MeetingId::random();
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(MeetingId::from_bytes(id.into_bytes()), id);
    }

    #[test]
    fn what_is_no_uuid_is_refused_with_its_kind() {
        let error = "abc".parse::<StreamId>().unwrap_err();
        assert_eq!(
            error.to_string(),
            "not a valid stream id (a UUID is expected)"
        );
    }
}
