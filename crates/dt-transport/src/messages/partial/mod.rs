//! The machines of a stream whose messages travel in datagrams: a [`Sender`]
//! on one side, a [`Receiver`] on the other.
//!
//! Sans-IO: inputs are `handle_*` with the time as an argument, outputs are
//! `poll_*`; the same inputs give the same outputs. Whoever drives them
//! (`messages::driver`) gives them datagrams and the time of `poll_timeout`, and
//! sends what they return. Unreliable streams run on the same machines, without
//! acknowledgements.
//!
//! Every fragment of every message has a number, its *chunk*, that it keeps when
//! it is sent again. Loss is found as in RFC 8985 (RACK-TLP): a chunk is lost
//! when another that was sent later has arrived for longer than packets overtake
//! each other, and probed for when nothing was heard of it for a round trip and
//! the delay of acknowledgements.

mod received;
mod receiver;
mod rtt;
mod sender;
#[cfg(test)]
mod simulation;

use std::time::Duration;

pub(super) use receiver::{Receiver, ReceiverLimits, ReceiverStats};
pub(super) use sender::{Outgoing, Sender, SenderStats};

/// An acknowledgement waits for others at most so long; less where a quarter of
/// the round trip is less.
const ACK_DELAY_MAX: Duration = Duration::from_millis(10);
/// And at least so long: timers are no finer.
const ACK_DELAY_MIN: Duration = Duration::from_millis(1);
