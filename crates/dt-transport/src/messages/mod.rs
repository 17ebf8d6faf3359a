//! Streams of whole messages over any [`Session`](crate::Session), each reliable,
//! unreliable or partially reliable, ordered or not, with a priority and a limit
//! of size.
//!
//! Reliable streams are QUIC streams. The others send datagrams; messages that do
//! not fit into one are cut into fragments. Partially reliable ones acknowledge,
//! send again what is lost while it is of use, and hand out each message once.
//!
//! ```
//! use std::time::Duration;
//! use dt_transport::{memory, messages::{Messages, Ordering, Reliability, StreamConfig}};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // A link of 40 ms round trip that loses a datagram in ten.
//! let (client, server) = memory::pair(memory::Config {
//!     latency: Duration::from_millis(20),
//!     loss: 0.1,
//!     ..memory::Config::default()
//! });
//! let (client, server) = (Messages::new(client), Messages::new(server));
//!
//! // Sent again until 500 ms have passed; what comes out is in order.
//! let deadline = Reliability::Deadline(Duration::from_millis(500));
//! let sender = client
//!     .open(StreamConfig::new(deadline, Ordering::Ordered))
//!     .await?;
//! for number in 0..100u8 {
//!     sender.send(vec![number].into()).await?;
//! }
//!
//! let mut stream = server.accept().await?;
//! let finishing = tokio::spawn(sender.finish());
//! let mut arrived = 0;
//! while let Some(message) = stream.receiver.recv().await? {
//!     assert_eq!(message.len(), 1);
//!     arrived += 1;
//! }
//! finishing.await??;
//! assert!(arrived > 95);
//! println!("{:?}", client.snapshot().connection);
//! # Ok(())
//! # }
//! ```
//!
//! # On the wire
//!
//! Numbers are in network byte order; a *varint* is that of RFC 9000 section 16.
//! A stream is opened on a QUIC stream, one-way or both ways, with this header:
//!
//! | bytes | what |
//! |---|---|
//! | 0 | `M` |
//! | 1 | version, 1 |
//! | 2 | 0 reliable, 1 unreliable, 2 partial by deadline, 3 partial by retransmissions |
//! | 3 | bit 0: ordered; others zero |
//! | 4–7 | stream id, counted by whoever opens |
//! | 8–11 | priority, signed |
//! | 12–15 | bytes of a message at most |
//! | 16–19 | deadline in ms (2), retransmissions of a datagram at most (3), else 0 |
//!
//! On a reliable stream messages follow, each behind its length (varint), and the
//! way back has messages from its first byte. On the others the QUIC stream stays
//! open: its reset gives the stream up, and at the end each sender writes the
//! number of its chunks (8 bytes) and finishes.
//!
//! Messages of the others are cut into *chunks* of a datagram each, counted
//! through all messages of a direction; sent again, a chunk keeps its number. All
//! datagrams begin with
//!
//! | bytes | what |
//! |---|---|
//! | 0 | the tag, [`DEFAULT_TAG`] unless configured |
//! | 1 | bits 0–1: kind; bit 2: from who opened the stream; bits 3–5: which fields follow; bits 6–7: how often it was sent before, modulo 4 |
//! | varint | stream id |
//!
//! and go on, by kind, with
//!
//! | kind | fields |
//! |---|---|
//! | 0 data | chunk (varint); with bit 3: fragment index and count (varints); with bit 4: how far below the chunk the floor is (varint), the first chunk that may still come; with bit 5: age of the message in ms (varint); the bytes |
//! | 1 acknowledgement | first chunk still waited for; distance of the newest chunk from it, times two, plus one if below; µs since it came, by 256; duplicates so far; then gap and length of each range above, at most 64; all varints. Bits 6–7: the attempt of the newest |
//! | 2 forward | floor (varint) |
//! | 3 stop | code (varint): the receiver is gone |
//!
//! An acknowledgement is sent a quarter of the round trip after what it answers,
//! 10 ms at most, and the last of a row once more. A refused stream is stopped
//! with code 1 (too many) or 2 (not understood).
//!
//! Deadlines are kept by the sender's clock, which counts from `send` and takes
//! half of the shortest round trip for the way there. A message that comes late
//! nevertheless is handed out and counted
//! ([`Totals::messages_late`]).

mod config;
mod driver;
mod endpoint;
mod error;
mod metrics;
mod partial;
mod receiver;
mod reliable;
mod sender;
mod streams;
pub mod wire;

pub use config::{Config, ConfigError, DEFAULT_TAG, Ordering, Reliability, StreamConfig};
pub use endpoint::{IncomingStream, Messages};
pub use error::{AcceptError, OpenError, RecvError, SendError};
pub use metrics::{ConnectionMetrics, Rates, Snapshot, StreamMetrics, Totals};
pub use receiver::MessageReceiver;
pub use sender::MessageSender;

#[cfg(test)]
mod tests;
