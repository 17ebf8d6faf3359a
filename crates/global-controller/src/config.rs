//! What an operator may set.

use dt_service::http::{Quota, TrustedProxies};
use serde::{Deserialize, Deserializer, de::Error as _};
use url::Url;

/// Settings of the global controller.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where people reach the web app, for links in answers; unset: by the name
    /// under which each request came.
    #[serde(deserialize_with = "url")]
    pub public_url: Option<Url>,
    /// Only who has signed in may create meetings.
    pub accounts: bool,
    /// Where this instance stands; servers of the same region are preferred.
    pub region: Option<String>,
    /// Days after which a meeting's link stops working, 1 to 400.
    pub meeting_days: u16,
    /// Seats of a meeting unless its maker says otherwise.
    pub max_participants_default: u32,
    /// Most seats that a meeting may have.
    pub max_participants_limit: u32,
    /// Meetings are end-to-end encrypted unless their maker says otherwise.
    pub e2e_encryption_default: bool,
    /// Media handlers named for each meeting at most. Its controller uses as many
    /// as its size needs, two to begin with.
    pub handlers_per_meeting: usize,
    /// Requests in general.
    pub requests: Quota,
    /// Requests for guest tokens, which have their own bucket so that an office
    /// behind one address can meet.
    pub guest_tokens: Quota,
    /// Proxies whose word about the client's address counts.
    pub trusted_proxies: TrustedProxies,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            public_url: None,
            accounts: false,
            region: None,
            meeting_days: 30,
            max_participants_default: 100,
            max_participants_limit: 1000,
            e2e_encryption_default: true,
            handlers_per_meeting: 8,
            requests: Quota::default(),
            guest_tokens: Quota {
                per_minute: 600,
                service_per_minute: 6000,
            },
            trusted_proxies: TrustedProxies::default(),
        }
    }
}

fn url<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Url>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let url: Url = text
        .parse()
        .map_err(|_| D::Error::custom("public_url is not a URL"))?;
    match url.scheme() {
        "http" | "https" => Ok(Some(url)),
        _ => Err(D::Error::custom(
            "public_url must begin with https:// or http://",
        )),
    }
}
