//! The two halves of the streams of a WebSocket session.

use std::{collections::VecDeque, sync::Arc};

use bytes::Bytes;
use dt_frame::{GroupItem, GroupParser, PAYLOAD_BYTES_MAX};
use dt_transport::{RecvStream, SendStream, SessionError, StreamError};
use dt_wire::framing::{Decoder, Framed};
use tokio::sync::Notify;

use crate::{
    Kind,
    message::{self, Layer},
    outbox::{GroupId, Room},
    pipe::Pipe,
    session::Shared,
};

/// What a writer gets that writes no media where media belongs: what a peer
/// would reset a QUIC stream with (WIRE section 2).
const INVALID_FORMAT: u32 = 1;

/// Sending half of a stream.
#[derive(Debug)]
pub struct WebSocketSendStream {
    shared: Arc<Shared>,
    half: Half,
    over: bool,
}

#[derive(Debug)]
enum Half {
    Control {
        decoder: Box<Decoder>,
        /// Messages that were cut out of what was written and not queued yet.
        cut: VecDeque<Bytes>,
    },
    Group {
        id: GroupId,
        room: Arc<Notify>,
        parser: Box<GroupParser>,
        cut: VecDeque<(Bytes, Option<Layer>)>,
    },
}

impl WebSocketSendStream {
    pub(crate) fn control(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            half: Half::Control {
                decoder: Box::default(),
                cut: VecDeque::new(),
            },
            over: false,
        }
    }

    pub(crate) fn group(shared: Arc<Shared>, id: GroupId, room: Arc<Notify>) -> Self {
        Self {
            shared,
            half: Half::Group {
                id,
                room,
                parser: Box::new(GroupParser::new(PAYLOAD_BYTES_MAX)),
                cut: VecDeque::new(),
            },
            over: false,
        }
    }

    /// Cuts what is written into messages.
    fn cut(&mut self, mut chunk: Bytes) -> Result<(), StreamError> {
        let invalid = StreamError::Reset(INVALID_FORMAT);
        match &mut self.half {
            Half::Control { decoder, cut } => {
                decoder.push(&chunk);
                while let Some(framed) = decoder.next().map_err(|_| invalid.clone())? {
                    let (Framed::Message(bytes) | Framed::Rtt(bytes)) = framed;
                    cut.push_back(match self.shared.kind {
                        Kind::Signaling => bytes,
                        Kind::Media => message::on_channel(message::CONTROL, &[&bytes]),
                    });
                }
            }
            Half::Group { parser, cut, .. } => {
                while let Some(item) = parser.next(&mut chunk).map_err(|_| invalid.clone())? {
                    cut.push_back(match item {
                        GroupItem::Header(header) => {
                            let layer = Layer {
                                stream_id: header.stream_id,
                                encoding: header.encoding,
                            };
                            let bytes = message::on_channel(message::STREAM, &[&header.write()]);
                            (bytes, Some(layer))
                        }
                        GroupItem::Frame(header, payload) => {
                            let parts = [&header.write()[..], &payload];
                            (message::on_channel(message::FRAME, &parts), None)
                        }
                    });
                }
            }
        }
        Ok(())
    }

    /// Queues what was cut, waiting for room.
    async fn flush(&mut self) -> Result<(), StreamError> {
        let shared = &self.shared;
        match &mut self.half {
            Half::Control { cut, .. } => {
                while let Some(message) = cut.front() {
                    if shared.outbox().put_control(message) {
                        cut.pop_front();
                        shared.wake_writer();
                    } else {
                        shared.control_room.notified().await;
                    }
                }
            }
            Half::Group { id, room, cut, .. } => {
                while !cut.is_empty() {
                    let free = shared.outbox().room(*id);
                    match free {
                        Room::Free => {
                            if let Some((message, layer)) = cut.pop_front() {
                                shared.outbox().put_group(*id, message, layer);
                                shared.wake_writer();
                            }
                        }
                        Room::Taken => room.notified().await,
                        Room::GivenUp => return Err(StreamError::Reset(0)),
                    }
                }
            }
        }
        Ok(())
    }
}

impl SendStream for WebSocketSendStream {
    async fn write_chunks(&mut self, chunks: &mut [Bytes]) -> Result<(), StreamError> {
        if self.over {
            return Err(StreamError::Closed);
        }
        for chunk in chunks {
            self.cut(std::mem::take(chunk))?;
        }
        let shared = Arc::clone(&self.shared);
        tokio::select! {
            biased;
            error = shared.over() => Err(error.into()),
            flushed = self.flush() => flushed,
        }
    }

    fn set_priority(&mut self, priority: i32) {
        // The control stream goes before all others anyway.
        if let Half::Group { id, .. } = &self.half {
            self.shared.outbox().set_priority(*id, priority);
        }
    }

    fn finish(&mut self) -> Result<(), StreamError> {
        if std::mem::replace(&mut self.over, true) {
            return Err(StreamError::Closed);
        }
        if let Half::Group { id, .. } = &self.half {
            self.shared.outbox().finish_group(*id);
        }
        Ok(())
    }

    fn reset(&mut self, _code: u32) {
        if std::mem::replace(&mut self.over, true) {
            return;
        }
        if let Half::Group { id, .. } = &self.half {
            self.shared.outbox().reset_group(*id);
        }
    }
}

impl Drop for WebSocketSendStream {
    fn drop(&mut self) {
        self.reset(0);
    }
}

/// Receiving half of a stream.
#[derive(Debug)]
pub struct WebSocketRecvStream {
    pipe: Arc<Pipe>,
    /// Pipes of a session that this side closes end with it.
    shared: Arc<Shared>,
}

impl WebSocketRecvStream {
    pub(crate) fn new(shared: Arc<Shared>, pipe: Arc<Pipe>) -> Self {
        Self { pipe, shared }
    }
}

impl RecvStream for WebSocketRecvStream {
    async fn read_chunk(&mut self, max_bytes: usize) -> Result<Option<Bytes>, StreamError> {
        tokio::select! {
            biased;
            () = self.shared.closed_here() => Err(SessionError::ClosedLocally.into()),
            read = self.pipe.read(max_bytes) => read,
        }
    }

    fn stop(&mut self, _code: u32) {
        self.pipe.stop();
    }
}

impl Drop for WebSocketRecvStream {
    fn drop(&mut self) {
        self.pipe.stop();
    }
}
