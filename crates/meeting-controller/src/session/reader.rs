//! Reads a session's control stream: the first message lets the client in, the
//! others go to its meeting.

use std::time::Duration;

use bytes::Bytes;
use dt_transport::RecvStream;
use dt_wire::{
    CloseCode, DecodeError,
    framing::{self, Decoder, Framed},
    v1::{ClientMessage, ErrorCode, ErrorMessage, ServerMessage, client_message, server_message},
};
use prost::Message as _;
use tokio::time::{Instant, timeout_at};

use super::{Context, health::Reports, join, rate::Bucket};
use crate::meeting::{Command, Outbox, Outgoing};

const READ_BYTES_MAX: usize = 64 * 1024;
/// RTT packets come once a second; more than this many a minute are dropped.
const RTT_PER_MINUTE: u32 = 600;
/// How often the meeting is told that a client lives which says nothing else.
const ALIVE_EVERY: Duration = Duration::from_secs(5);

pub(super) struct Reader<'a> {
    context: &'a Context,
    outbox: Outbox,
    messages: Bucket,
    rtt: Bucket,
    reports: Reports,
    alive_at: Instant,
}

/// Whether to read on.
type Go = Result<(), CloseCode>;

impl<'a> Reader<'a> {
    pub(super) fn new(context: &'a Context, outbox: Outbox) -> Self {
        let now = Instant::now();
        Self {
            context,
            outbox,
            messages: Bucket::new(context.inner.config.messages_per_minute, now),
            rtt: Bucket::new(RTT_PER_MINUTE, now),
            reports: Reports::new(now),
            alive_at: now,
        }
    }

    /// Until the stream ends or breaks; gives the code to close with.
    pub(super) async fn run<R: RecvStream>(&mut self, mut recv: R) -> CloseCode {
        let mut decoder = Decoder::default();
        let deadline_ms = self.context.inner.config.first_message_ms_max;
        let deadline = Instant::now() + Duration::from_millis(deadline_ms);
        loop {
            let read = recv.read_chunk(READ_BYTES_MAX);
            let chunk = if self.context.joined.get().is_none() {
                match timeout_at(deadline, read).await {
                    Ok(chunk) => chunk,
                    Err(_) => {
                        self.error(
                            0,
                            ErrorCode::InvalidRequest,
                            "the first message came too late",
                        );
                        return CloseCode::ProtocolError;
                    }
                }
            } else {
                read.await
            };
            let code = match chunk {
                Ok(Some(chunk)) => match self.take(&mut decoder, &chunk).await {
                    Ok(()) => continue,
                    Err(code) => code,
                },
                // Cut off in the middle of a message.
                Ok(None) if decoder.pending_bytes() > 0 => CloseCode::ProtocolError,
                Ok(None) | Err(_) => CloseCode::Graceful,
            };
            recv.stop(code.code());
            return code;
        }
    }

    async fn take(&mut self, decoder: &mut Decoder, chunk: &[u8]) -> Go {
        decoder.push(chunk);
        loop {
            match decoder.next() {
                Ok(Some(Framed::Message(bytes))) => self.message(bytes).await?,
                Ok(Some(Framed::Rtt(packet))) => self.echo(&packet),
                Ok(None) => return Ok(()),
                Err(error) => {
                    self.error(0, ErrorCode::InvalidRequest, error);
                    return Err(CloseCode::ProtocolError);
                }
            }
        }
    }

    async fn message(&mut self, bytes: Bytes) -> Go {
        let (envelope, body) = match ClientMessage::read(&bytes) {
            Ok(message) => message,
            Err(DecodeError::Empty) => return self.unknown(&bytes),
            Err(error) => {
                self.error(0, ErrorCode::InvalidRequest, error);
                return Err(CloseCode::ProtocolError);
            }
        };
        let request_id = envelope.request_id;
        if !self.allowed(request_id) {
            return Ok(());
        }
        if let Some(meeting) = self.context.joined.get() {
            if let client_message::Body::HealthReport(report) = &body {
                self.reports.count(report, Instant::now());
            }
            let session = self.context.id;
            // The meeting takes a report as a sign of life.
            if !meeting
                .send(Command::Request {
                    session,
                    request_id,
                    body,
                })
                .await
            {
                return Err(CloseCode::Graceful);
            }
            return Ok(());
        }
        let client_message::Body::JoinRequest(request) = body else {
            self.error(
                request_id,
                ErrorCode::InvalidRequest,
                "the first message must be JoinRequest",
            );
            return Err(CloseCode::ProtocolError);
        };
        match join::join(self.context, &self.outbox, request_id, request).await {
            Ok(meeting) => {
                let _ = self.context.joined.set(meeting);
                Ok(())
            }
            Err(refused) => {
                let code = refused.close_code();
                self.put(request_id, refused.into());
                Err(code)
            }
        }
    }

    /// A body of a later version of the protocol, or none: refused, and no harm
    /// done to a session that has joined.
    fn unknown(&mut self, bytes: &[u8]) -> Go {
        let request_id = ClientMessage::decode(bytes).map_or(0, |m| m.request_id);
        if self.allowed(request_id) {
            self.error(request_id, ErrorCode::InvalidRequest, DecodeError::Empty);
        }
        match self.context.joined.get() {
            Some(_) => Ok(()),
            None => Err(CloseCode::ProtocolError),
        }
    }

    /// Whether the message is within the limit; if not, the client is told.
    fn allowed(&mut self, request_id: u64) -> bool {
        let Err(retry_after_ms) = self.messages.take(Instant::now()) else {
            return true;
        };
        metrics::counter!("dt_signaling_rate_limited_total").increment(1);
        let error = ErrorMessage {
            retry_after_ms: Some(retry_after_ms),
            ..ErrorMessage::with(ErrorCode::RateLimited, "too many messages: slow down")
        };
        self.put(request_id, error);
        false
    }

    fn echo(&mut self, packet: &[u8]) {
        let now = Instant::now();
        if self.rtt.take(now).is_err() {
            return;
        }
        self.outbox
            .put(Outgoing::Frame(framing::encode_bytes(packet)));
        if let Some(meeting) = self.context.joined.get()
            && now.duration_since(self.alive_at) >= ALIVE_EVERY
        {
            self.alive_at = now;
            // A busy meeting is told the next time.
            meeting.try_send(Command::Alive(self.context.id));
        }
    }

    fn error(&self, request_id: u64, code: ErrorCode, message: impl ToString) {
        self.put(request_id, ErrorMessage::with(code, message.to_string()));
    }

    fn put(&self, request_id: u64, error: ErrorMessage) {
        let message = ServerMessage::new(request_id, server_message::Body::Error(error));
        self.outbox.put(Outgoing::Frame(framing::encode(&message)));
    }
}
