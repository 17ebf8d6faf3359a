//! What the API gives to someone who may join: tokens, and where the servers are.

use std::fmt;

use base64::{Engine, prelude::BASE64_STANDARD};
use dt_ids::{HandlerId, MeetingId};
use serde::{Deserialize, Deserializer, de::Error};
use url::Url;

use crate::{Accounts, Network};

/// A token. `Debug` does not show it, and nothing here logs it.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Holds a token.
    #[must_use]
    pub fn new(token: impl Into<String>) -> Self {
        Self(token.into())
    }

    /// The token itself, to be sent and not to be shown.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// A server, and how to know it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Endpoint {
    /// For WebTransport.
    #[serde(deserialize_with = "url")]
    pub url: Url,
    /// For a WebSocket, where the server offers one.
    #[serde(default, deserialize_with = "optional_url")]
    pub websocket_url: Option<Url>,
    /// SHA-256 of the certificates that it may show; empty where they are
    /// publicly trusted.
    #[serde(default, deserialize_with = "hashes")]
    pub certificate_hashes: Vec<[u8; 32]>,
}

/// A media handler.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct HandlerEndpoint {
    /// Which one.
    pub handler_id: HandlerId,
    /// Where it is.
    #[serde(flatten)]
    pub endpoint: Endpoint,
}

/// All that a join needs; the answer of create, get and guest token. Unknown
/// fields are left alone.
#[derive(Debug, Clone, Deserialize)]
pub struct MeetingAccess {
    /// The meeting.
    pub meeting_id: MeetingId,
    /// Its short key, as links show it.
    pub meeting_code: String,
    /// Its link.
    pub meeting_url: String,
    /// What it is called, perhaps nothing.
    #[serde(default)]
    pub display_name: Option<String>,
    /// Lets one participant join, within minutes.
    pub join_token: Secret,
    /// Further ones, where several were asked for.
    #[serde(default)]
    pub join_tokens: Vec<Secret>,
    /// Whoever created the meeting renews its tokens with this.
    #[serde(default)]
    pub host_token: Option<Secret>,
    /// Participants at most.
    #[serde(default)]
    pub max_participants: u32,
    /// Participants now.
    #[serde(default)]
    pub participant_count: u32,
    /// Where signaling goes.
    pub meeting_controller: Endpoint,
    /// Where media goes; sessions are opened ahead of the join.
    #[serde(default)]
    pub media_handlers: Vec<HandlerEndpoint>,
    /// How the meeting is set up.
    #[serde(default)]
    pub settings: Settings,
    /// Says which accounts are behind the devices of others; the API that gave
    /// this sets it. Without it nobody's account is shown.
    #[serde(skip)]
    pub accounts: Option<Accounts>,
    /// How servers are reached from here; the API that gave this sets it.
    #[serde(skip)]
    pub network: Network,
}

/// How a meeting is set up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// Media is sealed for the participants' eyes only.
    pub enable_e2e_encryption: bool,
}

fn url<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Url, D::Error> {
    let text = String::deserialize(deserializer)?;
    Url::parse(&text).map_err(D::Error::custom)
}

fn optional_url<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Url>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    let url = text.filter(|text| !text.is_empty());
    url.map(|text| Url::parse(&text).map_err(D::Error::custom))
        .transpose()
}

/// A hash as JSON has it: base64 of 32 bytes.
fn hashes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<[u8; 32]>, D::Error> {
    Vec::<String>::deserialize(deserializer)?
        .into_iter()
        .map(|text| {
            let bytes = BASE64_STANDARD.decode(text).map_err(D::Error::custom)?;
            bytes
                .try_into()
                .map_err(|_| D::Error::custom("a certificate hash has 32 bytes"))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWER: &str = r#"{
        "meeting_id": "550e8400-e29b-41d4-a716-446655440000",
        "meeting_code": "abcde-fghjk-mnpqr",
        "meeting_url": "http://127.0.0.1:8080/m/abcde-fghjk-mnpqr",
        "display_name": "",
        "join_token": "secret-join", "host_token": "secret-host",
        "expires_at": "2026-01-01T00:00:00Z",
        "max_participants": 100, "participant_count": 2,
        "meeting_controller_url": "https://127.0.0.1:8443/mc",
        "meeting_controller": {
            "url": "https://127.0.0.1:8443/mc", "websocket_url": null,
            "certificate_hashes": ["AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="]
        },
        "media_handlers": [{
            "handler_id": "6ba7b810-9dad-11d1-80b4-00c04fd430c8",
            "url": "https://127.0.0.1:8443/mh/0",
            "websocket_url": "ws://127.0.0.1:8080/media/0",
            "certificate_hashes": []
        }],
        "settings": {"enable_e2e_encryption": false, "something_new": 1}
    }"#;

    #[test]
    fn an_answer_is_read_and_its_tokens_are_not_shown() {
        let access: MeetingAccess = serde_json::from_str(ANSWER).unwrap();
        assert_eq!(access.meeting_controller.certificate_hashes, [[0; 32]]);
        assert_eq!(access.meeting_controller.websocket_url, None);
        let handler = &access.media_handlers[0].endpoint;
        assert_eq!(handler.url.path(), "/mh/0");
        let websocket = handler.websocket_url.as_ref().map(Url::as_str);
        assert_eq!(websocket, Some("ws://127.0.0.1:8080/media/0"));
        assert_eq!(access.join_token.reveal(), "secret-join");
        assert!(!format!("{access:?}").contains("secret"));
    }

    #[test]
    fn a_hash_of_another_length_is_refused() {
        let bad = ANSWER.replace("AAAAAAAA", "AAAA");
        assert!(serde_json::from_str::<MeetingAccess>(&bad).is_err());
    }
}
