//! The short code of a meeting, as it stands in its link.

use std::{fmt, str::FromStr};

use rand::RngExt as _;

/// Lower-case base 32 without the letters that are misread (i, l, o, u), as
/// Crockford chose them.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
/// 15 digits of 5 bits hold the 72 bits of a code and 3 zero bits.
const DIGITS: usize = 15;
const BITS: u32 = 72;

/// A text is not a meeting code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a meeting code (15 letters and digits, like abcde-fghjk-mnpqr)")]
pub struct InvalidMeetingCode;

/// 72 random bits that name a meeting in links: too many to guess, short enough
/// to read out. Written `abcde-fghjk-mnpqr`; hyphens and case don't matter when
/// it is read.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MeetingCode(u128);

impl MeetingCode {
    /// A new code from the system's random source.
    #[must_use]
    pub fn random() -> Self {
        Self(rand::rng().random::<u128>() >> (128 - BITS))
    }
}

impl FromStr for MeetingCode {
    type Err = InvalidMeetingCode;

    fn from_str(text: &str) -> Result<Self, InvalidMeetingCode> {
        let mut value = 0u128;
        let mut digits = 0;
        for byte in text.bytes().filter(|b| *b != b'-') {
            // What people write for digits that look alike.
            let byte = match byte.to_ascii_lowercase() {
                b'o' => b'0',
                b'i' | b'l' => b'1',
                other => other,
            };
            let digit = ALPHABET
                .iter()
                .position(|a| *a == byte)
                .ok_or(InvalidMeetingCode)?;
            digits += 1;
            if digits > DIGITS {
                return Err(InvalidMeetingCode);
            }
            value = value << 5 | digit as u128;
        }
        if digits != DIGITS || value & 0b111 != 0 {
            return Err(InvalidMeetingCode);
        }
        Ok(Self(value >> 3))
    }
}

impl fmt::Display for MeetingCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let padded = self.0 << 3;
        for place in 0..DIGITS {
            if place == 5 || place == 10 {
                f.write_str("-")?;
            }
            let digit = (padded >> (5 * (DIGITS - 1 - place))) & 0b1_1111;
            write!(f, "{}", char::from(ALPHABET[digit as usize]))?;
        }
        Ok(())
    }
}

impl fmt::Debug for MeetingCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A code admits people to a meeting; logs name the meeting by its id.
        f.write_str("MeetingCode(…)")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_code_reads_back_with_any_case_and_without_hyphens() {
        let code = MeetingCode::random();
        let text = code.to_string();
        assert_eq!(text.len(), 17);
        assert_eq!(text.parse(), Ok(code));
        assert_eq!(text.replace('-', "").to_uppercase().parse(), Ok(code));
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in ".{0,40}") {
            if let Ok(code) = text.parse::<MeetingCode>() {
                prop_assert_eq!(code.to_string().parse(), Ok(code));
            }
        }
    }
}
