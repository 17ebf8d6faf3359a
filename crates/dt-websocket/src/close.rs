//! Close codes of sessions as close codes of WebSockets, and back.

use dt_transport::SessionError;
use dt_wire::CloseCode;

/// What an application's code is added to (RFC 6455 section 7.4.2: 4000 to 4999
/// are free for applications).
const BASE: u16 = 4000;
const CODES: u16 = 1000;
/// Bytes of a reason at most: a control frame's 125 without the code.
const REASON_BYTES_MAX: usize = 123;

/// Codes of RFC 6455 section 7.4.1.
pub(crate) const NORMAL: u16 = 1000;
pub(crate) const GOING_AWAY: u16 = 1001;
pub(crate) const PROTOCOL: u16 = 1002;
pub(crate) const UNSUPPORTED: u16 = 1003;
pub(crate) const NO_STATUS: u16 = 1005;
const INVALID_DATA: u16 = 1007;
const POLICY: u16 = 1008;
pub(crate) const TOO_BIG: u16 = 1009;
const INTERNAL: u16 = 1011;
const RESTART: u16 = 1012;

/// The WebSocket's code for a session's.
pub(crate) fn to_wire(code: u32) -> u16 {
    // Ours are below ten; whatever is too large is still told from the others.
    BASE + u16::try_from(code).unwrap_or(CODES).min(CODES - 1)
}

/// How a session ended whose peer closed the WebSocket.
pub(crate) fn from_wire(code: u16, reason: String) -> SessionError {
    let code = match code {
        BASE.. if code < BASE + CODES => u32::from(code - BASE),
        // A page that goes away, or a program without a code.
        NORMAL | GOING_AWAY | NO_STATUS => CloseCode::Graceful.code(),
        PROTOCOL | UNSUPPORTED | INVALID_DATA | TOO_BIG => CloseCode::ProtocolError.code(),
        POLICY => CloseCode::QuotaExceeded.code(),
        INTERNAL => CloseCode::InternalError.code(),
        RESTART => CloseCode::ShuttingDown.code(),
        other => return SessionError::Lost(format!("the WebSocket was closed with {other}")),
    };
    SessionError::ClosedByPeer { code, reason }
}

/// The longest beginning that fits, cut between characters.
pub(crate) fn shortened(reason: &str) -> &str {
    let mut end = reason.len().min(REASON_BYTES_MAX);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    &reason[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_of_sessions_survive_the_way_over_a_websocket() {
        for code in 0..1000 {
            let closed = SessionError::ClosedByPeer {
                code,
                reason: "why".into(),
            };
            assert_eq!(from_wire(to_wire(code), "why".into()), closed);
        }
        assert_eq!(to_wire(u32::MAX), 4999);
    }

    #[test]
    fn a_page_that_goes_away_says_good_bye_and_an_unknown_code_is_a_loss() {
        let graceful = SessionError::ClosedByPeer {
            code: 0,
            reason: String::new(),
        };
        for code in [1000, 1001, 1005] {
            assert_eq!(from_wire(code, String::new()), graceful);
        }
        for code in [1006, 1015, 3000, 5000, 0] {
            assert!(matches!(
                from_wire(code, String::new()),
                SessionError::Lost(_)
            ));
        }
    }

    #[test]
    fn a_reason_is_cut_between_characters() {
        let long = "é".repeat(100);
        assert_eq!(shortened(&long).len(), 122);
        assert_eq!(shortened("short"), "short");
    }
}
