//! End-to-end encryption of a meeting: who holds the keys (MLS, RFC 9420) and
//! how a frame is sealed with them (SFrame, RFC 9605).
//!
//! Three parties use it, each one part:
//!
//! * A client in the meeting has a [`Member`]: it founds the group, enters it by
//!   an external commit, or is added as a [`Candidate`]; it takes the
//!   controller's proposals, commits, and gives the [`EpochKeys`] of each epoch.
//! * The meeting controller has a [`Keeper`]: the group's public state, with
//!   which it proposes and judges commits and never learns a key.
//! * Whoever carries media has a [`Sealer`] and an [`Opener`] (feature
//!   `native`; a browser does the same with WebCrypto, held to the same
//!   vectors in `proto/vectors`).
//!
//! [`identity`] says who is behind a leaf, [`codes`] what people read to each
//! other to be sure of it.
//!
//! The group has one shape, and everything else is refused:
//! `MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519`, handshakes as PublicMessage,
//! one external sender, proposals of it alone.
//!
//! Deliberately absent: sockets, tasks, storage (no key outlives its object), a
//! clock for frames (`now_ms` is passed in; MLS reads the host's clock for
//! lifetimes of key packages), and the order of messages, which is the
//! controller's.

// The tests inside share a helper with those outside.
#[cfg(test)]
extern crate self as dt_e2ee;

pub mod codes;
mod error;
#[cfg(feature = "native")]
mod frames;
mod group;
#[cfg(test)]
mod hostile;
pub mod identity;
mod keeper;
mod key;
mod kid;
mod member;
mod provider;

pub use codes::{meeting_code, pair_code};
pub use error::{Error, Refused};
#[cfg(feature = "native")]
pub use frames::{OpenError, Opened, Opener, SealError, Sealer};
pub use group::{EPOCH_LEAVES_MAX, GroupSetup, MESSAGE_BYTES_MAX, MemberView, OPEN_PROPOSALS_MAX};
pub use identity::{
    Claims, CredentialError, DeviceKey, Identity, binding_bytes, credential, judge, read_credential,
};
pub use keeper::{Applied, Keeper, read_key_package};
pub use key::{ControllerKey, LeafKey};
pub use kid::{FrameAad, Kid, Suite, frame_aad};
pub use member::{Candidate, Change, Commit, EpochKeys, Member};
