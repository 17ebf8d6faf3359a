//! The conventions of every HTTP interface: one error form, callers, rate
//! limits, bounded bodies, security headers, request ids, and the server itself.

mod caller;
mod client;
mod conventions;
mod error;
mod extract;
mod http3;
mod limit;
mod origin;
mod server;
mod trace;

pub use caller::{Authenticator, Caller};
pub use client::{InvalidNetwork, Network, TrustedProxies, limit_key};
pub use conventions::{BODY_BYTES_MAX, api, web};
pub use error::{ApiError, Code, ErrorBody, ErrorDetail, InErrorForm};
pub use extract::{Json, JsonOrDefault, Path, Query};
pub use http3::{announce_http3, serve_http3};
pub use limit::{Quota, RateLimit};
pub use origin::{Origin, Scheme};
pub use server::{CONNECTIONS_MAX, serve};
pub use trace::Trace;
