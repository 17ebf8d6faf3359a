//! The codes with which a media session is closed.

/// Nothing is wrong.
pub const GRACEFUL: u32 = 0;
/// The peer broke the protocol.
pub const PROTOCOL: u32 = 1;
/// No or no good connection token.
pub const AUTHENTICATION: u32 = 2;
/// A limit was reached.
pub const QUOTA: u32 = 3;
/// A newer session of the same participant came.
pub const REPLACED: u32 = 5;
/// A host removed the participant.
pub const REMOVED: u32 = 6;
/// The meeting is over.
pub const ENDED: u32 = 7;
/// The server shuts down.
pub const SHUTDOWN: u32 = 8;
