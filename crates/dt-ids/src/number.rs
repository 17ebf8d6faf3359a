//! Ids that are small numbers, cheap to route on.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A number is outside its range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{kind} {value} is out of range ({min} to {max})")]
pub struct InvalidNumber {
    kind: &'static str,
    value: u64,
    min: u64,
    max: u64,
}

/// A participant's number in its meeting: the sender in datagram headers.
/// Unique in the meeting and never given twice; 0 is not used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UserId(pub u64);

impl fmt::Display for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

macro_rules! ranged {
    ($(#[$doc:meta])* $name:ident, $int:ty, $kind:literal, $min:literal..=$max:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name($int);

        impl $name {
            /// The smallest one.
            pub const MIN: Self = Self($min);
            /// The largest one.
            pub const MAX: Self = Self($max);

            /// The number itself.
            #[must_use]
            pub const fn get(self) -> $int {
                self.0
            }
        }

        impl TryFrom<u32> for $name {
            type Error = InvalidNumber;

            fn try_from(value: u32) -> Result<Self, InvalidNumber> {
                if !($min..=$max).contains(&value) {
                    return Err(InvalidNumber {
                        kind: $kind,
                        value: u64::from(value),
                        min: $min,
                        max: $max,
                    });
                }
                #[allow(clippy::cast_possible_truncation, clippy::unnecessary_cast)]
                Ok(Self(value as $int))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

ranged!(
    /// A sender's own number for one of its streams (WIRE 2.4, bytes 10–13
    /// upstream).
    StreamNumber,
    u8,
    "stream number",
    1..=255
);
ranged!(
    /// A subscriber's own number for one of its tiles or for the audio of one
    /// person (WIRE 2.4, low 24 bits of bytes 10–13 downstream).
    Slot,
    u32,
    "slot",
    1..=0x00ff_ffff
);
ranged!(
    /// A simulcast layer of a stream; 0 is the smallest.
    Encoding,
    u8,
    "encoding",
    0..=15
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_outside_their_range_are_refused() {
        assert!(StreamNumber::try_from(0).is_err());
        assert!(StreamNumber::try_from(256).is_err());
        assert_eq!(StreamNumber::try_from(255).map(StreamNumber::get), Ok(255));
        assert!(Slot::try_from(0x0100_0000).is_err());
        assert!(Encoding::try_from(16).is_err());
        assert_eq!(
            Slot::try_from(0).unwrap_err().to_string(),
            "slot 0 is out of range (1 to 16777215)"
        );
    }
}
