//! Under which name the client reached this server.
//!
//! Links and endpoints in answers are filled with it, so that whoever came by
//! an address is sent on to the same address.

use axum::extract::FromRequestParts;
use http::{HeaderMap, Uri, header, request::Parts, uri::Authority};

use super::ApiError;

/// Whether the connection of a request is encrypted; put on requests by
/// [`serve`](super::serve).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// Plain HTTP.
    Http,
    /// HTTP over TLS.
    Https,
}

/// Scheme, host and port by which the client came, as in `https://host:port`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// Whether it is `https`.
    pub scheme: Scheme,
    /// Host and port, as the client wrote them.
    pub authority: Authority,
}

impl Origin {
    /// The host alone; `localhost` as `127.0.0.1`, because WebTransport clients
    /// differ in the address family that they try first and don't try another.
    #[must_use]
    pub fn dialled_host(&self) -> &str {
        match self.authority.host() {
            host if host.eq_ignore_ascii_case("localhost") => "127.0.0.1",
            host => host,
        }
    }

    fn of(scheme: Scheme, uri: &Uri, headers: &HeaderMap) -> Option<Self> {
        // HTTP/2 has it in the URI, HTTP/1.1 in the Host header.
        let authority = match uri.authority() {
            Some(authority) => authority.clone(),
            None => headers.get(header::HOST)?.to_str().ok()?.parse().ok()?,
        };
        // Credentials before an @ have no place in a link that we hand out.
        (!authority.as_str().contains('@') && !authority.host().is_empty())
            .then_some(Self { scheme, authority })
    }
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let scheme = match self.scheme {
            Scheme::Http => "http",
            Scheme::Https => "https",
        };
        write!(f, "{scheme}://{}", self.authority)
    }
}

impl<S: Sync> FromRequestParts<S> for Origin {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let scheme = parts.extensions.get().copied().unwrap_or(Scheme::Http);
        Self::of(scheme, &parts.uri, &parts.headers).ok_or_else(|| {
            ApiError::invalid_request("the request's Host header is missing or wrong")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(host: &str) -> Option<Origin> {
        let headers = HeaderMap::from_iter([(header::HOST, host.parse().unwrap())]);
        Origin::of(Scheme::Http, &"/m/x".parse().unwrap(), &headers)
    }

    #[test]
    fn the_client_is_sent_on_to_the_host_by_which_it_came() {
        let origin = origin("meet.example:8080").unwrap();
        assert_eq!(origin.to_string(), "http://meet.example:8080");
        assert_eq!(origin.dialled_host(), "meet.example");
    }

    #[test]
    fn localhost_is_dialled_by_its_address() {
        assert_eq!(
            origin("localhost:8080").unwrap().dialled_host(),
            "127.0.0.1"
        );
        assert_eq!(origin("[::1]:8080").unwrap().dialled_host(), "[::1]");
    }

    #[test]
    fn a_host_that_is_none_is_refused() {
        assert_eq!(origin("user@host"), None);
        assert_eq!(origin("a b"), None);
    }
}
