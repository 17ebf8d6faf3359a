//! What of a stream's bytes is let through to the HTTP/3 library.
//!
//! It keeps a frame that is not data in memory until it is whole, however long
//! the peer says it is, gives the peer room for more meanwhile, and takes an
//! empty data frame for the end of a body. So frames pass through here first:
//! data as it comes, other known frames whole and only up to a length, unknown
//! and empty ones not at all. No sockets and no tasks; [`super::guard`] drives it.

use std::sync::Arc;

use bytes::{Buf as _, Bytes, BytesMut};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A frame that is not data, its payload. Twice what a request's header may have
/// decoded: what is a little too large is still answered with 431.
pub(super) const FRAME_BYTES_MAX: u32 = 32 << 10;
/// Frames that are not whole yet, of all streams of a connection together.
pub(super) const HELD_BYTES_MAX: usize = 128 << 10;

/// Two numbers of at most 8 bytes.
const FRAME_HEADER_BYTES_MAX: usize = 16;
const DATA: u64 = 0x0;
/// The frames that RFC 9114 (section 7.2) names, those it forbids included:
/// HEADERS to MAX_PUSH_ID.
const KNOWN: [u64; 10] = [0x1, 0x2, 0x3, 0x4, 0x5, 0x6, 0x7, 0x8, 0x9, 0xd];
/// The type of the one-way stream that carries frames.
const CONTROL_STREAM: u64 = 0x0;

/// A peer wants more kept for it than it may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a frame is too large, or too many are incomplete")]
pub(super) struct Excessive;

/// The bytes of one stream on their way in.
#[derive(Debug)]
pub(super) struct Frames {
    state: State,
    /// Not looked at yet.
    input: Bytes,
    /// The beginning of what is not whole yet.
    held: BytesMut,
    /// Room for `held`.
    room: Arc<Semaphore>,
}

#[derive(Debug)]
enum State {
    /// A one-way stream begins with its type.
    StreamType,
    /// A frame's type and length.
    FrameHeader,
    /// The payload of a data frame.
    Data { left: u64 },
    /// The payload of a frame that passes as a whole.
    Whole {
        left: usize,
        _room: OwnedSemaphorePermit,
    },
    /// The payload of a frame that does not pass.
    Skipped { left: u64 },
    /// A stream without frames.
    Raw,
}

impl Frames {
    /// Of a stream that carries a request.
    pub(super) fn of_request(room: Arc<Semaphore>) -> Self {
        Self::new(State::FrameHeader, room)
    }

    /// Of a one-way stream, whatever it carries.
    pub(super) fn of_one_way(room: Arc<Semaphore>) -> Self {
        Self::new(State::StreamType, room)
    }

    fn new(state: State, room: Arc<Semaphore>) -> Self {
        Self {
            state,
            input: Bytes::new(),
            held: BytesMut::new(),
            room,
        }
    }

    /// Takes what the stream brought, once [`next`](Self::next) has nothing more.
    pub(super) fn handle_bytes(&mut self, bytes: Bytes) {
        debug_assert!(self.input.is_empty(), "what came before was taken");
        self.input = bytes;
    }

    /// The next piece that passes, never empty.
    pub(super) fn next(&mut self) -> Result<Option<Bytes>, Excessive> {
        while !self.input.is_empty() {
            if let Some(passed) = self.step()? {
                return Ok(Some(passed));
            }
        }
        Ok(None)
    }

    /// What is left when the stream has ended: a frame that was cut off, which
    /// the library has to see in order to refuse it.
    pub(super) fn end(&mut self) -> Option<Bytes> {
        self.state = State::Raw;
        let cut_off = self.held.split().freeze();
        (!cut_off.is_empty()).then_some(cut_off)
    }

    fn step(&mut self) -> Result<Option<Bytes>, Excessive> {
        match &mut self.state {
            State::Raw => Ok(Some(self.input.split_off(0))),
            State::StreamType => {
                let Some((kind, _)) = self.gather(1) else {
                    return Ok(None);
                };
                self.state = match kind {
                    CONTROL_STREAM => State::FrameHeader,
                    _ => State::Raw,
                };
                Ok(Some(self.held.split().freeze()))
            }
            State::FrameHeader => {
                let Some((kind, length)) = self.gather(2) else {
                    return Ok(None);
                };
                self.begin(kind, length)
            }
            State::Data { left } => {
                let now = at_most(self.input.len(), *left);
                *left -= now as u64;
                if *left == 0 {
                    self.state = State::FrameHeader;
                }
                Ok(Some(self.input.split_to(now)))
            }
            State::Whole { left, .. } => {
                let now = self.input.len().min(*left);
                *left -= now;
                let is_whole = *left == 0;
                self.held.extend_from_slice(&self.input.split_to(now));
                Ok(is_whole.then(|| self.whole()))
            }
            State::Skipped { left } => {
                let now = at_most(self.input.len(), *left);
                *left -= now as u64;
                if *left == 0 {
                    self.state = State::FrameHeader;
                }
                self.input.advance(now);
                Ok(None)
            }
        }
    }

    /// A frame whose header is held.
    fn begin(&mut self, kind: u64, length: u64) -> Result<Option<Bytes>, Excessive> {
        if kind == DATA && length > 0 {
            self.state = State::Data { left: length };
            return Ok(Some(self.held.split().freeze()));
        }
        if !KNOWN.contains(&kind) {
            self.held.clear();
            if length > 0 {
                self.state = State::Skipped { left: length };
            }
            return Ok(None);
        }
        let length = u32::try_from(length).map_err(|_| Excessive)?;
        if length > FRAME_BYTES_MAX {
            return Err(Excessive);
        }
        if length == 0 {
            return Ok(Some(self.whole()));
        }
        let room = Arc::clone(&self.room)
            .try_acquire_many_owned(length)
            .map_err(|_| Excessive)?;
        self.state = State::Whole {
            left: length as usize,
            _room: room,
        };
        Ok(None)
    }

    fn whole(&mut self) -> Bytes {
        self.state = State::FrameHeader;
        self.held.split().freeze()
    }

    /// Moves input to `held` until it has so many numbers (one or two); the
    /// second is 0 if only one was asked for.
    fn gather(&mut self, numbers: usize) -> Option<(u64, u64)> {
        while self.held.len() < FRAME_HEADER_BYTES_MAX && self.input.has_remaining() {
            self.held.extend_from_slice(&[self.input.get_u8()]);
            let (first, rest) = match number(&self.held) {
                Some(read) => read,
                None => continue,
            };
            if numbers == 1 {
                return Some((first, 0));
            }
            if let Some((second, _)) = number(rest) {
                return Some((first, second));
            }
        }
        None
    }
}

/// How many of `available` bytes belong to the `left` ones.
fn at_most(available: usize, left: u64) -> usize {
    usize::try_from(left).map_or(available, |left| available.min(left))
}

/// A variable-length number (RFC 9000, section 16) and what follows it, once it
/// is all there.
fn number(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (&first, _) = bytes.split_first()?;
    let length = 1_usize << (first >> 6);
    let (own, rest) = bytes.split_at_checked(length)?;
    let value = own[1..]
        .iter()
        .fold(u64::from(first & 0x3f), |value, &byte| {
            value << 8 | u64::from(byte)
        });
    Some((value, rest))
}

#[cfg(test)]
#[path = "frames_tests.rs"]
mod tests;
