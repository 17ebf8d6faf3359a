//! Reads one stream of a link: its prefix says which meeting it is for.

use std::sync::Arc;

use bytes::Bytes;
use dt_forward_core::{GroupKey, SessionKey, StopGroup, reset_code};
use dt_frame::{GroupItem, LinkItem, LinkParser, LinkPrefix};
use dt_ids::HandlerId;
use dt_transport::RecvStream;
use tokio::{sync::oneshot, time::timeout};

use super::link::dropped;
use crate::{
    Inner,
    meeting::Meeting,
    now,
    streams::{GroupEnd, READ_BYTES},
};

/// Reads it to its end.
pub(super) async fn read_group<R: RecvStream>(
    inner: Arc<Inner>,
    peer: HandlerId,
    key: SessionKey,
    group: GroupKey,
    mut stream: R,
) -> GroupEnd {
    let mut parser = LinkParser::new(inner.config.frame_bytes_max);
    let begun = timeout(inner.config.hello_max, begin(&mut stream, &mut parser)).await;
    let (prefix, rest) = match begun {
        Ok(Ok(begun)) => begun,
        Ok(Err(end)) => return end,
        Err(_) => {
            stream.stop(reset_code::INVALID_FORMAT);
            return GroupEnd::Malformed;
        }
    };
    let meeting = inner.cascade.peers.inlets(peer).meeting(prefix.route);
    let Some(meeting) = meeting else {
        dropped("unknown_route");
        // It may have been given up here just now: no fault of the other one.
        stream.stop(reset_code::GRACEFUL);
        return GroupEnd::Stopped;
    };
    let stop = meeting.with(|s| s.port(key).map(|port| port.group_opened(group)));
    let Some(stop) = stop else {
        stream.stop(reset_code::GRACEFUL);
        return GroupEnd::Stopped;
    };
    let reading = Reading {
        meeting,
        key,
        group,
        prefix,
    };
    let end = reading.run(&mut stream, &mut parser, rest, stop).await;
    let whole = end == GroupEnd::Finished;
    reading.meeting.group_ended(key, group, whole);
    end
}

/// Its prefix, and what came behind that.
async fn begin<R: RecvStream>(
    stream: &mut R,
    parser: &mut LinkParser,
) -> Result<(LinkPrefix, Bytes), GroupEnd> {
    loop {
        let mut chunk = match stream.read_chunk(READ_BYTES).await {
            Ok(Some(chunk)) => chunk,
            Ok(None) => return Err(GroupEnd::Malformed),
            Err(_) => return Err(GroupEnd::Broken),
        };
        match parser.next(&mut chunk) {
            Ok(Some(LinkItem::Prefix(prefix))) => return Ok((prefix, chunk)),
            Ok(None) => {}
            Ok(Some(LinkItem::Group(_))) | Err(_) => {
                dropped("malformed_stream");
                stream.stop(reset_code::INVALID_FORMAT);
                return Err(GroupEnd::Malformed);
            }
        }
    }
}

struct Reading {
    meeting: Arc<Meeting>,
    key: SessionKey,
    group: GroupKey,
    prefix: LinkPrefix,
}

impl Reading {
    async fn run<R: RecvStream>(
        &self,
        stream: &mut R,
        parser: &mut LinkParser,
        mut chunk: Bytes,
        mut stop: oneshot::Receiver<u32>,
    ) -> GroupEnd {
        loop {
            if let Err((code, end)) = self.take(parser, &mut chunk) {
                stream.stop(code);
                return end;
            }
            let next = tokio::select! {
                biased;
                // The port is gone with the link when no code comes.
                code = &mut stop => {
                    stream.stop(code.unwrap_or(reset_code::GRACEFUL));
                    return GroupEnd::Stopped;
                }
                next = stream.read_chunk(READ_BYTES) => next,
            };
            match next {
                Ok(Some(next)) => chunk = next,
                Ok(None) if parser.may_end() => return GroupEnd::Finished,
                Ok(None) => return GroupEnd::Malformed,
                Err(_) => return GroupEnd::Broken,
            }
        }
    }

    /// Gives all frames of a chunk to the forwarder.
    fn take(&self, parser: &mut LinkParser, chunk: &mut Bytes) -> Result<(), (u32, GroupEnd)> {
        loop {
            let item = match parser.next(chunk) {
                Ok(Some(LinkItem::Group(item))) => item,
                Ok(None) => return Ok(()),
                Ok(Some(LinkItem::Prefix(_))) | Err(_) => {
                    dropped("malformed_stream");
                    return Err((reset_code::INVALID_FORMAT, GroupEnd::Malformed));
                }
            };
            let (key, group) = (self.key, self.group);
            let taken = self.meeting.with(|s| match item {
                GroupItem::Header(header) => {
                    s.forwarder
                        .link_group_opened(key, group, self.prefix, header)
                }
                GroupItem::Frame(header, payload) => {
                    s.forwarder.group_frame(key, group, &header, payload, now())
                }
            });
            taken.map_err(|StopGroup { code, .. }| (code, GroupEnd::Stopped))?;
        }
    }
}
