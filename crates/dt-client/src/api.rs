//! The HTTP API, as far as a client that joins meetings needs it.

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use dt_token::{Jwks, JwksFetchError, JwksSource};
use dt_transport::webtransport::Trust;
use reqwest::{Client, RequestBuilder, StatusCode, header::RETRY_AFTER};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use url::Url;

use crate::{Accounts, DeviceKey, MeetingAccess, Network, Secret, encryption::thumbprint};

const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes of an answer at most; a hundred join tokens fit many times.
const ANSWER_BYTES_MAX: usize = 1 << 20;
/// Where public keys stand, at the root of the server.
const JWKS_PATH: &str = "/.well-known/jwks.json";

/// The API could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// The API's URL is not one.
    #[error("not an API URL: {0}")]
    BadUrl(String),
    /// TLS could not be set up.
    #[error("cannot set up TLS")]
    Tls(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Nobody answered, or the connection broke.
    #[error("cannot reach the API")]
    Unreachable(#[source] reqwest::Error),
    /// The API answered with an error.
    #[error("{message} ({code}, status {status})")]
    Refused {
        /// HTTP status.
        status: StatusCode,
        /// One of the codes of the API, `MEETING_NOT_FOUND` for example.
        code: String,
        /// For a person.
        message: String,
        /// With status 429 or 503.
        retry_after: Option<Duration>,
    },
    /// The answer is not what this client understands.
    #[error("the API's answer was not understood: {0}")]
    BadAnswer(String),
}

/// A meeting to be made.
#[derive(Debug, Clone, Default, Serialize)]
pub struct NewMeeting {
    /// What to call it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    /// Participants at most; the server's default when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_participants: Option<u32>,
    /// How it is set up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub settings: Option<NewSettings>,
}

/// Settings of a meeting to be made.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct NewSettings {
    /// Whether media is sealed; the server's default when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enable_e2e_encryption: Option<bool>,
}

/// What the auth controller says of a device: whose it is.
#[derive(Clone, Deserialize)]
pub struct DeviceStatement {
    /// A JWS, for [`JoinOptions::signed_in`](crate::JoinOptions::signed_in).
    pub statement: String,
    #[serde(rename = "expires_in")]
    expires_in_s: u64,
}

impl DeviceStatement {
    /// It says nothing after so long; ask for another one before.
    #[must_use]
    pub fn expires_in(&self) -> Duration {
        Duration::from_secs(self.expires_in_s)
    }
}

/// It holds a person's name.
impl fmt::Debug for DeviceStatement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DeviceStatement(…)")
    }
}

/// A client of one API.
#[derive(Clone)]
pub struct Api {
    base: Url,
    http: Client,
    accounts: Accounts,
    network: Network,
}

impl fmt::Debug for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Api").field(&self.base.as_str()).finish()
    }
}

impl Api {
    /// An API at a URL that ends in `/api/v1`, over plain HTTP or over TLS with
    /// the system's roots.
    ///
    /// # Errors
    /// When the URL is none, or TLS cannot be set up.
    pub fn new(url: &str) -> Result<Self, ApiError> {
        // Reading the system's roots takes a while; plain HTTP needs none.
        let trust = if url.starts_with("http://") {
            Trust::CertificateHashes(Vec::new())
        } else {
            Trust::SystemRoots
        };
        Self::trusting(url, &trust)
    }

    /// An API whose server is known in another way.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn trusting(url: &str, trust: &Trust) -> Result<Self, ApiError> {
        let bad = || ApiError::BadUrl(url.to_owned());
        let base = Url::parse(&format!("{}/", url.trim_end_matches('/'))).map_err(|_| bad())?;
        if !matches!(base.scheme(), "http" | "https") || base.host().is_none() {
            return Err(bad());
        }
        let tls = trust
            .client_config(&[b"h2", b"http/1.1"])
            .map_err(|error| ApiError::Tls(error.into()))?;
        let http = Client::builder()
            .tls_backend_preconfigured(tls)
            .timeout(REQUEST_TIMEOUT)
            .build()
            .map_err(|error| ApiError::Tls(error.into()))?;
        let keys = PublishedKeys {
            url: base.join(JWKS_PATH).map_err(|_| bad())?,
            http: http.clone(),
        };
        Ok(Self {
            base,
            http,
            accounts: Accounts::with_source(Arc::new(keys)),
            network: Network::trusting(trust.clone()),
        })
    }

    /// The accounts of this API's auth controller. Whoever gets access here joins
    /// with them.
    #[must_use]
    pub fn accounts(&self) -> Accounts {
        self.accounts.clone()
    }

    /// Has a device vouched for by the auth controller, which takes the access
    /// token of a person who signed in. Others in a meeting see then that the
    /// device is that person's.
    ///
    /// # Errors
    /// See [`ApiError`].
    pub async fn device_statement(
        &self,
        access_token: &Secret,
        device: &DeviceKey,
    ) -> Result<DeviceStatement, ApiError> {
        let url = self.at(&["auth", "device-statement"])?;
        let request = self.http.post(url).bearer_auth(access_token.reveal());
        let body = serde_json::json!({ "thumbprint": thumbprint(&device.public()) });
        read(request.json(&body)).await
    }

    /// Makes a meeting; the answer holds a host token and a join token.
    ///
    /// # Errors
    /// See [`ApiError`].
    pub async fn create_meeting(&self, meeting: &NewMeeting) -> Result<MeetingAccess, ApiError> {
        let request = self.http.post(self.at(&["meetings"])?).json(meeting);
        self.access(request).await
    }

    /// Lets a guest in.
    ///
    /// # Errors
    /// See [`ApiError`].
    pub async fn guest_access(&self, meeting: &str) -> Result<MeetingAccess, ApiError> {
        let url = self.at(&["meetings", meeting, "guest-token"])?;
        self.access(self.http.post(url).json(&serde_json::json!({})))
            .await
    }

    /// Lets up to 100 guests in at once, which takes a host or service token;
    /// see [`MeetingAccess::join_tokens`].
    ///
    /// # Errors
    /// See [`ApiError`].
    pub async fn guests_access(
        &self,
        meeting: &str,
        token: &Secret,
        count: u32,
    ) -> Result<MeetingAccess, ApiError> {
        let url = self.at(&["meetings", meeting, "guest-token"])?;
        let request = self.http.post(url).bearer_auth(token.reveal());
        self.access(request.json(&serde_json::json!({ "count": count })))
            .await
    }

    /// Renews a host's join token.
    ///
    /// # Errors
    /// See [`ApiError`].
    pub async fn host_access(
        &self,
        meeting: &str,
        host_token: &Secret,
    ) -> Result<MeetingAccess, ApiError> {
        let url = self.at(&["meetings", meeting])?;
        self.access(self.http.get(url).bearer_auth(host_token.reveal()))
            .await
    }

    /// Ends a meeting for everybody, which takes its host token.
    ///
    /// # Errors
    /// See [`ApiError`].
    pub async fn end_meeting(&self, meeting: &str, host_token: &Secret) -> Result<(), ApiError> {
        let url = self.at(&["meetings", meeting])?;
        let request = self.http.delete(url).bearer_auth(host_token.reveal());
        exchange(request).await.map(|_| ())
    }

    fn at(&self, path: &[&str]) -> Result<Url, ApiError> {
        let mut url = self.base.clone();
        url.path_segments_mut()
            .map_err(|()| ApiError::BadUrl(self.base.to_string()))?
            .pop_if_empty()
            .extend(path);
        Ok(url)
    }

    async fn access(&self, request: RequestBuilder) -> Result<MeetingAccess, ApiError> {
        let access = read(request).await?;
        Ok(MeetingAccess {
            accounts: Some(self.accounts()),
            network: self.network.clone(),
            ..access
        })
    }
}

async fn read<T: DeserializeOwned>(request: RequestBuilder) -> Result<T, ApiError> {
    let body = exchange(request).await?;
    serde_json::from_slice(&body).map_err(|error| ApiError::BadAnswer(error.to_string()))
}

/// The keys as the auth controller shows them to everybody.
struct PublishedKeys {
    url: Url,
    http: Client,
}

#[async_trait]
impl JwksSource for PublishedKeys {
    async fn fetch(&self) -> Result<Jwks, JwksFetchError> {
        let failed = |error: &dyn fmt::Display| JwksFetchError(error.to_string());
        let body = exchange(self.http.get(self.url.clone())).await;
        let body = body.map_err(|error| failed(&error))?;
        let text = std::str::from_utf8(&body).map_err(|error| failed(&error))?;
        Jwks::parse(text).map_err(|error| failed(&error))
    }
}

/// The body of a good answer.
async fn exchange(request: RequestBuilder) -> Result<Vec<u8>, ApiError> {
    let mut answer = request.send().await.map_err(ApiError::Unreachable)?;
    let status = answer.status();
    let retry_after = answer
        .headers()
        .get(RETRY_AFTER)
        .and_then(|value| value.to_str().ok()?.parse().ok())
        .map(Duration::from_secs);
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(ApiError::Unreachable)? {
        if body.len() + chunk.len() > ANSWER_BYTES_MAX {
            return Err(ApiError::BadAnswer("it is too long".into()));
        }
        body.extend_from_slice(&chunk);
    }
    if status.is_success() {
        return Ok(body);
    }
    let error = serde_json::from_slice::<ErrorBody>(&body).map(|body| body.error);
    let (code, message) = match error {
        Ok(error) => (error.code, error.message),
        Err(_) => ("UNKNOWN".into(), "the API refused the request".into()),
    };
    Err(ApiError::Refused {
        status,
        code,
        message,
        retry_after,
    })
}

#[derive(Deserialize)]
struct ErrorBody {
    error: ErrorFields,
}

#[derive(Deserialize)]
struct ErrorFields {
    code: String,
    message: String,
}
