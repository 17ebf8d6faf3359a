//! The id that follows a request through all roles (W3C Trace Context).

use axum::extract::FromRequestParts;
use http::{HeaderMap, request::Parts};
use rand::RngExt as _;

/// What identifies one piece of work everywhere it goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trace {
    trace_id: u128,
    span_id: u64,
}

impl Trace {
    /// A new one.
    #[must_use]
    pub fn random() -> Self {
        let mut rng = rand::rng();
        // Zero means "none" in the format.
        Self {
            trace_id: rng.random::<u128>() | 1,
            span_id: rng.random::<u64>() | 1,
        }
    }

    /// The client's trace with a span of our own, or a new one.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Self {
        let fresh = Self::random();
        headers
            .get("traceparent")
            .and_then(|value| value.to_str().ok())
            .and_then(Self::parse_trace_id)
            .map_or(fresh, |trace_id| Self { trace_id, ..fresh })
    }

    /// 32 hexadecimal digits.
    #[must_use]
    pub fn trace_id(&self) -> String {
        format!("{:032x}", self.trace_id)
    }

    /// The header's value for what is called next.
    #[must_use]
    pub fn traceparent(&self) -> String {
        format!("00-{:032x}-{:016x}-01", self.trace_id, self.span_id)
    }

    fn parse_trace_id(text: &str) -> Option<u128> {
        let lower_hex = |part: &str| part.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        let parts: Vec<_> = text.splitn(5, '-').collect();
        let [version, trace_id, parent, flags, ..] = parts[..] else {
            return None;
        };
        let well_formed = version.len() == 2
            && version != "ff"
            && trace_id.len() == 32
            && parent.len() == 16
            && flags.len() == 2
            && (version != "00" || parts.len() == 4)
            && [version, trace_id, parent, flags]
                .into_iter()
                .all(lower_hex);
        if !well_formed {
            return None;
        }
        u128::from_str_radix(trace_id, 16)
            .ok()
            .filter(|id| *id != 0)
    }
}

impl<S: Sync> FromRequestParts<S> for Trace {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        Ok(parts
            .extensions
            .get()
            .copied()
            .unwrap_or_else(|| Self::of(&parts.headers)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_client_s_trace_is_continued() {
        let headers = HeaderMap::from_iter([(
            http::HeaderName::from_static("traceparent"),
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
                .parse()
                .unwrap(),
        )]);
        let trace = Trace::of(&headers);
        assert_eq!(trace.trace_id(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert!(!trace.traceparent().contains("00f067aa0ba902b7"));
    }

    #[test]
    fn a_malformed_trace_is_replaced() {
        for text in [
            "",
            "00-0-0-0",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x",
        ] {
            assert_eq!(Trace::parse_trace_id(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_header_is_read_or_replaced(text in ".{0,80}") {
            let _ = Trace::parse_trace_id(&text);
        }

        #[test]
        fn what_we_send_on_is_well_formed(_n in 0..8) {
            prop_assert!(Trace::parse_trace_id(&Trace::random().traceparent()).is_some());
        }
    }
}
