//! The Rust client SDK of Dark Tower: join a meeting, publish and receive media.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use dt_client::{Api, JoinOptions, Joined, Meeting, MeetingLink};
//!
//! let link: MeetingLink = "http://127.0.0.1:8080/m/abcde-fghjk-mnpqr".parse()?;
//! let access = Api::new(&link.api_url())?.guest_access(link.key()).await?;
//! let Joined { meeting, mut frames, .. } =
//!     Meeting::join(access, JoinOptions::named("Robot")).await?;
//! while let Some(frame) = frames.recv().await {
//!     println!("{} bytes of {:?}", frame.payload.len(), frame.kind);
//! }
//! meeting.leave().await;
//! # Ok(())
//! # }
//! ```
//!
//! [`Api`] talks HTTP to the global controller. [`Meeting`] holds a seat: one
//! task drives the signaling session by the machine of `dt-session-core`, one
//! task a media handler carries frames, and both come back by themselves after a
//! loss. Media is given and taken as encoded frames; capturing, encoding,
//! decoding and playing are not done here.
//!
//! Meetings are end-to-end encrypted where they are set up so, without a step of
//! the application: frames are sealed on their way out and opened on their way
//! in. [`Meeting::encryption`] says who holds the keys, and how far it is proved
//! who they are. Whoever signed in shows it by a statement about their device:
//!
//! ```no_run
//! # async fn example(token: dt_client::Secret) -> Result<(), Box<dyn std::error::Error>> {
//! # use dt_client::{Api, DeviceKey, JoinOptions, Meeting};
//! let api = Api::new("http://127.0.0.1:8080/api/v1")?;
//! let device = DeviceKey::generate()?; // Once; its seed is the application's to keep.
//! let says = api.device_statement(&token, &device).await?;
//! let options = JoinOptions::named("Ada").signed_in(device, says.statement);
//! let joined = Meeting::join(api.guest_access("abcde-fghjk-mnpqr").await?, options).await?;
//! # Ok(())
//! # }
//! ```

mod access;
mod api;
mod assignments;
pub mod check;
pub mod clip;
mod dial;
mod driver;
mod encryption;
mod frame;
mod health;
mod inbox;
mod lane;
mod layout;
mod link;
mod media;
mod meeting;
mod paths;
mod publisher;
mod receiving;
mod roster;
mod signaling;

pub use access::{Endpoint, HandlerEndpoint, MeetingAccess, Secret, Settings};
pub use api::{Api, ApiError, DeviceStatement, NewMeeting, NewSettings};
pub use assignments::MIXED_STREAM;
pub use dial::{
    Dial, DialError, Network, RacingDial, RacingSession, SessionKind, Transport, WebTransportDial,
};
pub use dt_e2ee::CredentialError;
pub use dt_frame::{AudioLevel, Continuity, FourCc, FrameType, MediaKind};
pub use dt_session_core::{End, Phase};
pub use dt_token::{InvalidJwks, TokenError};
pub use encryption::{
    Account, Accounts, Alarm, BadStatement, DeviceKey, Encryption, EncryptionMode, KeyError,
    KeyHolder, KnownDevices, Mistrust, Standing,
};
pub use frame::{MediaFrame, ReceiveStats, ReceivedFrame, now_us};
pub use health::Carriers;
pub use layout::{Layout, Tiles, Transcoding, Wanted};
pub use link::{InvalidLink, MeetingLink};
pub use meeting::{
    CommonCodecs, Event, Handler, JoinError, JoinOptions, Joined, Meeting, RequestError,
};
pub use publisher::{Directive, EncodingOrder, Layer, Publication, Publisher, Sent};
pub use roster::{Participant, Roster, Stream};

/// Over which way the frames of a stream go.
pub use dt_wire::v1::Carrier;
/// What a stream shows or sounds.
pub use dt_wire::v1::StreamType;
