//! The wire: protobuf types generated from `proto/`, their envelopes, and the
//! length-prefixed framing of control streams (WIRE sections 1 and 2).
//!
//! No sockets and no clock. Messages are bounded before they are allocated:
//! [`framing::Decoder`] refuses a length above its limit when it reads the prefix.

mod close;
mod envelope;
pub mod framing;

pub use close::CloseCode;
pub use envelope::{DecodeError, PROTOCOL_VERSION};

/// The generated packages, nested as their names are, so that they find each other.
#[allow(missing_docs, unreachable_pub, clippy::all)]
mod darktower {
    pub mod v1 {
        include!(concat!(env!("OUT_DIR"), "/darktower.v1.rs"));
    }
    pub mod internal {
        pub mod v1 {
            include!(concat!(env!("OUT_DIR"), "/darktower.internal.v1.rs"));
        }
    }
}

/// Messages between the roles, from `proto/darktower/internal/v1`.
pub use darktower::internal::v1 as internal;
/// Messages between clients and servers, from `proto/darktower/v1`.
pub use darktower::v1;
