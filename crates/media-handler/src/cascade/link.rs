//! One connection to another handler, from its opening to its end.

use std::{sync::Arc, time::Duration};

use dt_forward_core::{GroupKey, SessionKey, reset_code};
use dt_frame::{DATAGRAM_TAG, RouteId};
use dt_ids::HandlerId;
use dt_transport::{RecvStream, SendStream, Session};
use dt_wire::{CloseCode, framing::Framed};
use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{sleep, timeout},
};

use super::{
    messages::{self, Hello, Message},
    peers::{Inlets, Outgoing, Up},
    reading,
};
use crate::{
    Inner,
    control::{self, ControlReader},
    fan_out::Receiver,
    now,
    port::Carrier,
    rate::PerMinute,
    streams,
};

/// Messages that wait for the other end to read; with more the link is closed, for
/// nothing that is said on it may be missed, and begins anew.
const CONTROL_MAX: usize = 4096;
/// Time for the words of an entrance to be written.
const WORDS_MAX: Duration = Duration::from_millis(500);
/// Messages of the other end in a minute; more wait.
const MESSAGES_PER_MINUTE: u32 = 60_000;

/// What each task of a link holds.
struct Link<S> {
    inner: Arc<Inner>,
    session: S,
    peer: HandlerId,
    key: SessionKey,
}

impl<S: Clone> Clone for Link<S> {
    fn clone(&self) -> Self {
        Self {
            inner: Arc::clone(&self.inner),
            session: self.session.clone(),
            ..*self
        }
    }
}

/// Says hello over a connection that this side has opened, and runs the link.
/// `true` when it was up.
pub(super) async fn dialled<S: Session>(inner: &Arc<Inner>, session: S, peer: HandlerId) -> bool {
    let here = inner.config.handler_id;
    let token = inner.cascade.pass.show().await;
    let hello = Hello {
        from: here,
        to: peer,
        token,
    };
    let said = async {
        let (mut send, recv) = session.open_bi().await.ok()?;
        send.set_priority(i32::MAX);
        send.write(hello.write()).await.ok()?;
        let mut reader = ControlReader::new(recv);
        match reader.next().await.ok()? {
            Framed::Message(message) => {
                let by = messages::welcomed(&message).ok()?;
                (by == peer).then_some((send, reader))
            }
            Framed::Rtt(_) => None,
        }
    };
    let Ok(Some((send, reader))) = timeout(inner.config.hello_max, said).await else {
        session.close(CloseCode::ProtocolError.code(), "no welcome");
        return false;
    };
    if !inner.cascade.peers.answered(peer) {
        session.close(CloseCode::Replaced.code(), "the other one's link is up");
        return true;
    }
    run(inner, session, peer, send, reader, true).await;
    true
}

/// Lets another handler in over a connection that it has opened, and runs the link.
pub(super) async fn accepted<S: Session>(inner: &Arc<Inner>, session: S) {
    let entrance = async {
        let (send, recv) = session.accept_bi().await.ok()?;
        let mut reader = ControlReader::new(recv);
        let Framed::Message(message) = reader.next().await.ok()? else {
            return None;
        };
        let hello = Hello::read(&message).ok()?;
        let known = hello.to == inner.config.handler_id && hello.from != hello.to;
        let admitted = known && inner.cascade.pass.admits(&hello.token).await;
        Some((send, reader, admitted.then_some(hello.from)))
    };
    let entered = timeout(inner.config.hello_max, entrance).await;
    let Ok(Some((mut send, reader, from))) = entered else {
        refused("no_hello");
        return session.close(CloseCode::ProtocolError.code(), "no hello of a link");
    };
    let Some(peer) = from else {
        refused("not_admitted");
        let words = "this handler is not let in";
        return session.close(CloseCode::AuthenticationFailed.code(), words);
    };
    if !inner.cascade.peers.takes(peer, now()) {
        let words = "the link of the lower handler id stays";
        return session.close(CloseCode::Replaced.code(), words);
    }
    send.set_priority(i32::MAX);
    let welcome = messages::welcome(inner.config.handler_id);
    if !matches!(timeout(WORDS_MAX, send.write(welcome)).await, Ok(Ok(()))) {
        return session.close(CloseCode::ProtocolError.code(), "no welcome can be said");
    }
    run(inner, session, peer, send, reader, false).await;
}

fn refused(reason: &'static str) {
    metrics::counter!("media_links_refused_total", "reason" => reason).increment(1);
}

/// Runs a link that is up to its end.
async fn run<S: Session>(
    inner: &Arc<Inner>,
    session: S,
    peer: HandlerId,
    send: S::Send,
    reader: ControlReader<S::Recv>,
    own: bool,
) {
    let key = inner.session_keys.next();
    let carrier: Arc<dyn Carrier> = Arc::new(session.clone());
    let (control, outgoing) = mpsc::channel(CONTROL_MAX);
    let (writers, streams) = mpsc::unbounded_channel();
    let up = Up {
        key,
        receiver: Receiver::new(Arc::clone(&carrier)),
        carrier,
        control,
        writers,
        own,
        since: now(),
    };
    let inlets = inner.cascade.peers.inlets(peer);
    tracing::info!(handler_id = %peer, "link up");
    let _down = Down { inner, peer, key };
    for (meeting, attachment) in inner.cascade.peers.link_up(peer, up) {
        meeting.with(|s| {
            // A newer link may have come up on another thread: the meeting has it, or
            // is about to, and must not take this one for the newest.
            if inner.cascade.peers.is_up(peer, key) {
                s.attach(peer, attachment);
            }
        });
    }
    let link = Link {
        inner: Arc::clone(inner),
        session: session.clone(),
        peer,
        key,
    };
    let mut tasks = JoinSet::new();
    tasks.spawn(link.clone().datagrams(inlets));
    tasks.spawn(link.clone().read_streams());
    tasks.spawn(link.clone().write_streams(streams));
    tasks.spawn(link.clone().refuse_streams_both_ways());
    tasks.spawn(link.control(reader));
    tasks.spawn(async {
        control::write(send, outgoing).await;
        "the control stream can't be written"
    });
    // The first one to end takes the others with it.
    let words = tokio::select! {
        _ = session.closed() => "",
        first = tasks.join_next() => match first {
            Some(Ok(words)) => words,
            _ => "internal error",
        },
    };
    tasks.shutdown().await;
    session.close(CloseCode::Graceful.code(), words);
}

/// Takes a link out of all meetings however it ends, also when the future that
/// runs it is dropped.
struct Down<'a> {
    inner: &'a Inner,
    peer: HandlerId,
    key: SessionKey,
}

impl Drop for Down<'_> {
    fn drop(&mut self) {
        for meeting in self.inner.cascade.peers.link_down(self.peer, self.key) {
            meeting.with(|s| s.detach(self.key));
        }
        tracing::info!(handler_id = %self.peer, "link down");
    }
}

/// Why a link ends.
type Words = &'static str;

impl<S: Session> Link<S> {
    async fn datagrams(self, inlets: Inlets) -> Words {
        loop {
            let Ok(datagram) = self.session.recv_datagram().await else {
                return "";
            };
            let route = datagram.get(10..14).and_then(|bytes| bytes.try_into().ok());
            let (Some(route), Some(&DATAGRAM_TAG)) = (route, datagram.first()) else {
                dropped("unknown_datagram");
                continue;
            };
            match inlets.meeting(RouteId(u32::from_be_bytes(route))) {
                Some(meeting) => meeting.link_datagram(self.key, datagram),
                None => dropped("unknown_route"),
            }
        }
    }

    /// Reads all streams of the other end, a bounded number at once.
    async fn read_streams(self) -> Words {
        let most = self.inner.config.forward.link_groups_max;
        let mut groups = JoinSet::new();
        let (mut opened, mut violations) = (0, 0);
        loop {
            tokio::select! {
                stream = self.session.accept_uni() => match stream {
                    Ok(stream) if groups.len() < most => {
                        let group = GroupKey(opened);
                        opened += 1;
                        let (inner, peer) = (Arc::clone(&self.inner), self.peer);
                        groups.spawn(reading::read_group(inner, peer, self.key, group, stream));
                    }
                    Ok(mut stream) => {
                        stream.stop(reset_code::QUOTA_EXCEEDED);
                        dropped("too_many_streams");
                    }
                    Err(_) => return "",
                },
                Some(ended) = groups.join_next() => {
                    violations += u32::from(matches!(ended, Ok(streams::GroupEnd::Malformed)));
                    if violations > self.inner.config.violations_max {
                        return "too many streams that are not media";
                    }
                }
            }
        }
    }

    /// Writes the streams of all meetings; their forwarders bound their number.
    async fn write_streams(self, mut meetings: mpsc::UnboundedReceiver<Outgoing>) -> Words {
        let mut writers = JoinSet::new();
        loop {
            tokio::select! {
                next = meetings.recv() => match next {
                    Some(next) => {
                        writers.spawn(self.clone().write_meeting(next));
                    }
                    // A newer link has taken its place.
                    None => return "",
                },
                Some(_) = writers.join_next() => {}
            }
        }
    }

    async fn write_meeting(self, (meeting, mut new): Outgoing) {
        let mut writers = JoinSet::new();
        loop {
            tokio::select! {
                stream = new.recv() => {
                    let (Some(stream), Some(meeting)) = (stream, meeting.upgrade()) else {
                        return;
                    };
                    let session = self.session.clone();
                    writers.spawn(streams::write_group(session, self.key, stream, meeting));
                }
                Some(_) = writers.join_next() => {}
            }
        }
    }

    async fn refuse_streams_both_ways(self) -> Words {
        for _ in 0..self.inner.config.violations_max {
            match self.session.accept_bi().await {
                Ok((mut send, mut recv)) => {
                    send.reset(reset_code::INVALID_FORMAT);
                    recv.stop(reset_code::INVALID_FORMAT);
                }
                Err(_) => return "",
            }
        }
        "too many control streams"
    }

    async fn control(self, mut reader: ControlReader<S::Recv>) -> Words {
        let mut rate = PerMinute::new(MESSAGES_PER_MINUTE);
        loop {
            let message = match reader.next().await {
                Ok(Framed::Message(message)) => message,
                Ok(Framed::Rtt(_)) => continue,
                Err(_) => return "the control stream can't be read",
            };
            if let Err(wait) = rate.take(now()) {
                sleep(wait).await;
            }
            match Message::read(&message) {
                Ok(message) => self.message(message),
                // Nothing may be missed, so nothing can be skipped.
                Err(_) => return "a message that is none of a link",
            }
        }
    }

    fn message(&self, message: Message) {
        let peers = &self.inner.cascade.peers;
        match message {
            Message::Demand(route, wanted) => {
                if let Some(meeting) = peers.demand(self.peer, route, &wanted) {
                    // Of a route that went meanwhile nothing is wanted.
                    let _ =
                        meeting.with(|s| s.forwarder.link_demand(self.key, route, &wanted, now()));
                }
            }
            Message::Keyframe(route, encoding) => match peers.outlet(self.peer, route) {
                Some(meeting) => {
                    // What it is not good for is counted.
                    let _ = meeting
                        .with(|s| s.forwarder.link_keyframe(self.key, route, encoding, now()));
                }
                None => dropped("not_routed"),
            },
        }
    }
}

pub(super) fn dropped(reason: &'static str) {
    metrics::counter!("media_dropped_total", "reason" => reason).increment(1);
}
