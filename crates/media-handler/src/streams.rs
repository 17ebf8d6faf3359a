//! The tasks of unidirectional streams: one reads a sender's group, one writes
//! a group to a receiver.

use std::sync::Arc;

use bytes::Bytes;
use dt_forward_core::{FrameBytes, GroupKey, SessionKey, StopGroup, reset_code};
use dt_frame::{GroupItem, GroupParser};
use dt_transport::{RecvStream, SendStream, Session, StreamError};
use tokio::sync::oneshot;

use crate::{
    lane::{Direct, Shared},
    meeting::Meeting,
    now,
    port::NewStream,
};

/// Bytes taken from a sender's stream at once.
pub(crate) const READ_BYTES: usize = 64 << 10;

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
        lane,
    } = new;
    let shared = Shared::new();
    let direct: Arc<dyn Direct> = Arc::clone(&shared) as _;
    // Here while it is written to, in the lane's reach while nothing waits.
    let mut stream = None;
    let writing = async {
        let opened = stream.insert(session.open_uni().await?);
        opened.set_priority(priority);
        let before = prefix.map(|prefix| Bytes::copy_from_slice(&prefix.write()));
        let mut chunks: Vec<Bytes> = before.into_iter().collect();
        chunks.push(Bytes::copy_from_slice(&header.write()));
        let mut batch: Vec<FrameBytes> = Vec::new();
        loop {
            let end = lane.next(Some(&direct), &mut batch).await;
            if stream.is_none() {
                stream = shared.take();
            }
            let Some(open) = &mut stream else {
                return Err(StreamError::Closed);
            };
            if end.is_some() {
                return open.finish();
            }
            let count = batch.len();
            for frame in batch.drain(..) {
                chunks.push(frame.header);
                chunks.push(frame.payload);
            }
            open.write_chunks(&mut chunks).await?;
            chunks.clear();
            shared.put(stream.take());
            meeting.written(key, out, count);
        }
    };
    let result: Result<(), StreamError> = tokio::select! {
        biased;
        code = lane.reset() => {
            if let Some(mut stream) = stream.or_else(|| shared.take()) {
                stream.reset(code);
            }
            return;
        }
        result = writing => result,
    };
    meeting.stream_ended(key, out, result.is_ok());
}
