//! Names in the state store that more than one service uses, and what stands
//! under them.
//!
//! A service's private names are its own affair, under its own first word.
//! First words taken here: `meeting`, `registry`, `lease`, `limit`.

use bytes::Bytes;
use dt_ids::{ControllerId, HandlerId, MeetingId};
use serde::{Deserialize, Serialize};

/// What begins the key of every registered meeting controller, for `list`.
pub const REGISTRY_CONTROLLERS: &str = "registry/controller/";
/// What begins the key of every registered media handler, for `list`.
pub const REGISTRY_HANDLERS: &str = "registry/handler/";

/// [`MeetingLive`] of a running meeting: its controller writes it fenced, the
/// global controller reads it.
#[must_use]
pub fn meeting_live(meeting: MeetingId) -> String {
    format!("meeting/{meeting}/live")
}

/// [`MeetingAssignment`] of a meeting: the global controller writes it.
#[must_use]
pub fn meeting_assignment(meeting: MeetingId) -> String {
    format!("meeting/{meeting}/assignment")
}

/// The seats of a meeting, as its controller keeps them for a successor.
#[must_use]
pub fn meeting_seats(meeting: MeetingId) -> String {
    format!("meeting/{meeting}/seats")
}

/// Stands (empty) once a meeting was ended by its host or over the API: its
/// controller writes it; no controller takes the meeting again.
#[must_use]
pub fn meeting_ended(meeting: MeetingId) -> String {
    format!("meeting/{meeting}/ended")
}

/// The sealed key with which a meeting's controllers sign for its encryption, so
/// that a successor has the same.
#[must_use]
pub fn meeting_signer(meeting: MeetingId) -> String {
    format!("meeting/{meeting}/signer")
}

/// How often a controller began to run the encrypted meeting, a big-endian u32:
/// each begins with numbers of groups that nobody used before.
#[must_use]
pub fn meeting_begins(meeting: MeetingId) -> String {
    format!("meeting/{meeting}/begins")
}

/// Name of the lease that makes a controller *the* controller of a meeting; the
/// owner is the controller's id.
#[must_use]
pub fn meeting_lease(meeting: MeetingId) -> String {
    format!("lease/meeting/{meeting}")
}

/// What the registry knows of a meeting controller.
#[must_use]
pub fn registry_controller(controller: ControllerId) -> String {
    format!("{REGISTRY_CONTROLLERS}{controller}")
}

/// What the registry knows of a media handler.
#[must_use]
pub fn registry_handler(handler: HandlerId) -> String {
    format!("{REGISTRY_HANDLERS}{handler}")
}

/// The counter of a rate limit: `bucket` says which limit, `subject` whose (an
/// account id, a client id or an address).
#[must_use]
pub fn rate_limit(bucket: &str, subject: &str) -> String {
    format!("limit/{bucket}/{subject}")
}

/// The live numbers of a meeting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct MeetingLive {
    /// Who runs it.
    pub controller: ControllerId,
    /// How many are in it, disconnected ones whose seat is kept included.
    pub participant_count: u32,
}

/// Who was picked for a meeting.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MeetingAssignment {
    /// Its controller.
    pub controller: ControllerId,
    /// Its media handlers, first choice first.
    pub handlers: Vec<HandlerId>,
}

macro_rules! stored_as_json {
    ($($name:ident),+) => { $(
        impl $name {
            /// As it is stored.
            #[must_use]
            pub fn to_bytes(&self) -> Bytes {
                serde_json::to_vec(self).expect("ids and numbers are always JSON").into()
            }

            /// What is stored; `None` if it is something else, as after a change
            /// of version.
            #[must_use]
            pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
                serde_json::from_slice(bytes).ok()
            }
        }
    )+ };
}

stored_as_json!(MeetingLive, MeetingAssignment);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_stored_reads_back() {
        let live = MeetingLive {
            controller: ControllerId::random(),
            participant_count: 3,
        };
        assert_eq!(MeetingLive::from_bytes(&live.to_bytes()), Some(live));
        assert_eq!(MeetingLive::from_bytes(b"{}"), None);
    }

    #[test]
    fn a_registry_key_begins_with_its_prefix() {
        assert!(registry_handler(HandlerId::random()).starts_with(REGISTRY_HANDLERS));
        assert!(registry_controller(ControllerId::random()).starts_with(REGISTRY_CONTROLLERS));
    }
}
