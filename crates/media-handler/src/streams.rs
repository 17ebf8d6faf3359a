//! The tasks of unidirectional streams: one reads a sender's group, one writes
//! a group to a receiver.

use std::sync::Arc;

use bytes::Bytes;
use dt_forward_core::{FrameBytes, GroupKey, SessionKey, StopGroup, reset_code};
use dt_frame::{GroupItem, GroupParser};
use dt_transport::{RecvStream, SendStream, Session, StreamError};
use tokio::sync::oneshot;

use crate::{meeting::Meeting, now, port::NewStream};

/// Bytes taken from a sender's stream at once.
pub(crate) const READ_BYTES: usize = 64 << 10;
/// Frames that go into one write.
const WRITE_FRAMES: usize = 32;

/// How the reading of a sender's stream ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum GroupEnd {
    /// At its end, with all frames whole.
    Finished,
    /// The sender reset it, or the session ended.
    Broken,
    /// The forwarder wants no more of it.
    Stopped,
    /// It is not what a media stream must be.
    Malformed,
}

/// Reads one stream of a sender to its end.
pub(crate) async fn read_group<R: RecvStream>(
    mut stream: R,
    meeting: Arc<Meeting>,
    session: SessionKey,
    group: GroupKey,
    mut stop: oneshot::Receiver<u32>,
    frame_bytes_max: usize,
) -> GroupEnd {
    let mut parser = GroupParser::new(frame_bytes_max);
    let end = loop {
        let chunk = tokio::select! {
            biased;
            // The port is gone with the session when no code comes.
            code = &mut stop => {
                stream.stop(code.unwrap_or(reset_code::GRACEFUL));
                break GroupEnd::Stopped;
            }
            chunk = stream.read_chunk(READ_BYTES) => chunk,
        };
        match chunk {
            Ok(Some(mut chunk)) => match take(&mut parser, &mut chunk, &meeting, session, group) {
                Ok(()) => {}
                Err((code, end)) => {
                    stream.stop(code);
                    break end;
                }
            },
            Ok(None) if parser.may_end() => break GroupEnd::Finished,
            Ok(None) => break GroupEnd::Malformed,
            Err(_) => break GroupEnd::Broken,
        }
    };
    meeting.group_ended(session, group, end == GroupEnd::Finished);
    end
}

/// Gives all frames of a chunk to the forwarder.
fn take(
    parser: &mut GroupParser,
    chunk: &mut Bytes,
    meeting: &Meeting,
    session: SessionKey,
    group: GroupKey,
) -> Result<(), (u32, GroupEnd)> {
    loop {
        let item = match parser.next(chunk) {
            Ok(Some(item)) => item,
            Ok(None) => return Ok(()),
            Err(_) => {
                metrics::counter!("media_dropped_total", "reason" => "malformed_stream")
                    .increment(1);
                return Err((reset_code::INVALID_FORMAT, GroupEnd::Malformed));
            }
        };
        let taken = meeting.with(|s| match item {
            GroupItem::Header(header) => s.forwarder.group_opened(session, group, header),
            GroupItem::Frame(header, payload) => {
                s.forwarder
                    .group_frame(session, group, &header, payload, now())
            }
        });
        taken.map_err(|StopGroup { code, .. }| (code, GroupEnd::Stopped))?;
    }
}

/// Writes one stream to a receiver, until it is finished or given up.
pub(crate) async fn write_group<S: Session>(
    session: S,
    key: SessionKey,
    new: NewStream,
    meeting: Arc<Meeting>,
) {
    let NewStream {
        out,
        header,
        prefix,
        priority,
        mut frames,
        mut reset,
    } = new;
    let mut stream = None;
    let writing = async {
        let opened = session.open_uni().await?;
        let stream = stream.insert(opened);
        stream.set_priority(priority);
        let before = prefix.map(|prefix| Bytes::copy_from_slice(&prefix.write()));
        let mut chunks: Vec<Bytes> = before.into_iter().collect();
        chunks.push(Bytes::copy_from_slice(&header.write()));
        let mut batch: Vec<FrameBytes> = Vec::new();
        loop {
            let count = frames.recv_many(&mut batch, WRITE_FRAMES).await;
            if count == 0 {
                return stream.finish();
            }
            for frame in batch.drain(..) {
                chunks.push(frame.header);
                chunks.push(frame.payload);
            }
            stream.write_chunks(&mut chunks).await?;
            chunks.clear();
            meeting.written(key, out, count);
        }
    };
    let result: Result<(), StreamError> = tokio::select! {
        biased;
        // Without a code only the port went, with its session.
        Ok(code) = &mut reset => {
            if let Some(mut stream) = stream {
                stream.reset(code);
            }
            return;
        }
        result = writing => result,
    };
    meeting.stream_ended(key, out, result.is_ok());
}
