//! One media session, from its opening to its end.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use bytes::Bytes;
use dt_forward_core::{GroupKey, SessionKey, reset_code};
use dt_frame::{DATAGRAM_BYTES_MAX, DATAGRAM_TAG};
use dt_ids::ParticipantId;
use dt_token::connection;
use dt_transport::{RecvStream, SendStream, Session, SessionError};
use dt_wire::{
    CloseCode,
    framing::{self, Framed, RTT_BYTES_MAX, RTT_TAG},
    v1::{
        ErrorCode, MediaClientMessage, MediaServerMessage, MediaWelcome, RequestKeyframe,
        media_client_message, media_server_message,
    },
};
use tokio::{sync::mpsc, task::JoinSet, time::timeout};

use crate::{
    Inner,
    control::{self, ControlError, ControlReader},
    meeting::Meeting,
    now,
    port::{NewStream, Port, PortEnds},
    rate::PerMinute,
    streams::{self, GroupEnd},
};

/// First byte of a keep-alive.
const PING_TAG: u8 = b'p';
/// Time for an error to reach a client before its session is closed.
const LAST_WORDS: Duration = Duration::from_millis(500);
/// Datagrams and streams before the control stream that are dropped in silence;
/// with more the session is closed.
const EARLY_MAX: u32 = 10_000;

/// Why a session ends; the code and the words that its client gets.
#[derive(Debug, Clone, Copy)]
struct End {
    code: CloseCode,
    reason: &'static str,
}

const fn end(code: CloseCode, reason: &'static str) -> End {
    End { code, reason }
}

/// What the client has proved.
struct Admitted {
    participant: ParticipantId,
    meeting: Arc<Meeting>,
    request_id: u64,
}

/// An entrance refused: for the control stream, and for the close.
struct Refusal {
    request_id: u64,
    code: ErrorCode,
    end: End,
}

/// Runs a session to its end.
pub(crate) async fn serve<S: Session>(inner: Arc<Inner>, session: S) {
    let _open = Open::over(session.info().carrier);
    let Some((mut send, recv)) = wait_for_control(&inner, &session).await else {
        return;
    };
    send.set_priority(i32::MAX);
    let mut reader = ControlReader::new(recv);
    let hello = tokio::select! {
        hello = timeout(inner.config.hello_max, admit(&inner, &mut reader)) => hello,
        end = refuse_early(&session) => return session.close(end.code.code(), end.reason),
    };
    // What has arrived until now came before the welcome, too.
    tokio::select! {
        biased;
        end = refuse_early(&session) => return session.close(end.code.code(), end.reason),
        () = std::future::ready(()) => {}
    }
    let admitted = match hello {
        Ok(Ok(admitted)) => admitted,
        Ok(Err(refusal)) => return refuse(&session, send, refusal).await,
        Err(_) => {
            let end = end(CloseCode::AuthenticationFailed, "no MediaHello in time");
            return session.close(end.code.code(), end.reason);
        }
    };
    let Some(_place) = Place::take(&inner) else {
        let refusal = Refusal {
            request_id: admitted.request_id,
            code: ErrorCode::CapacityExceeded,
            end: end(CloseCode::QuotaExceeded, "this handler is full"),
        };
        return refuse(&session, send, refusal).await;
    };
    let end = run(&inner, &session, send, reader, admitted).await;
    // After a close by the peer or by the meeting this changes nothing.
    session.close(end.code.code(), end.reason);
}

/// One of the sessions that are open, by what carries them.
struct Open(metrics::Gauge);

impl Open {
    fn over(carrier: dt_transport::Carrier) -> Self {
        let open = metrics::gauge!("dt_sessions", "role" => "media", "carrier" => carrier.name());
        open.increment(1.0);
        Self(open)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}

/// One of the sessions that a handler has room for.
struct Place<'a>(&'a Inner);

impl<'a> Place<'a> {
    fn take(inner: &'a Inner) -> Option<Self> {
        let more = |count: usize| (count < inner.config.sessions_max).then_some(count + 1);
        let taken = inner
            .sessions
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        taken.is_ok().then_some(Self(inner))
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.sessions.fetch_sub(1, Ordering::Relaxed);
        self.0.left.notify_waiters();
    }
}

/// A session is warm until its client opens the control stream.
async fn wait_for_control<S: Session>(inner: &Inner, session: &S) -> Option<(S::Send, S::Recv)> {
    let _warm = inner.warm.enter(Arc::new(session.clone()));
    let end = tokio::select! {
        opened = timeout(inner.config.warm_max, session.accept_bi()) => match opened {
            Ok(Ok(control)) => return Some(control),
            Ok(Err(_)) => return None,
            Err(_) => end(CloseCode::Graceful, "no control stream was opened"),
        },
        end = refuse_early(session) => end,
    };
    session.close(end.code.code(), end.reason);
    None
}

/// Drops what comes before the client is let in; returns only when there is too
/// much of it or the session ends.
async fn refuse_early<S: Session>(session: &S) -> End {
    for _ in 0..EARLY_MAX {
        tokio::select! {
            datagram = session.recv_datagram() => match datagram {
                Ok(datagram) if datagram.first() != Some(&DATAGRAM_TAG) => {}
                Ok(_) => early(),
                Err(_) => return end(CloseCode::Graceful, ""),
            },
            stream = session.accept_uni() => match stream {
                Ok(mut stream) => {
                    stream.stop(reset_code::AUTHENTICATION_FAILED);
                    early();
                }
                Err(_) => return end(CloseCode::Graceful, ""),
            },
        }
    }
    end(CloseCode::ProtocolError, "media before MediaHello")
}

fn early() {
    metrics::counter!("media_dropped_total", "reason" => "before_welcome").increment(1);
}

/// Reads and checks the `MediaHello`.
async fn admit<R: RecvStream>(
    inner: &Inner,
    reader: &mut ControlReader<R>,
) -> Result<Admitted, Refusal> {
    let refusal = |request_id, code, end| Refusal {
        request_id,
        code,
        end,
    };
    let protocol = |words| {
        refusal(
            0,
            ErrorCode::InvalidRequest,
            end(CloseCode::ProtocolError, words),
        )
    };
    let message = match reader.next().await {
        Ok(Framed::Message(message)) => message,
        Ok(Framed::Rtt(_)) => return Err(protocol("the first message must be MediaHello")),
        Err(_) => return Err(protocol("the control stream can't be read")),
    };
    let (envelope, body) = MediaClientMessage::read(&message)
        .map_err(|_| protocol("the first message must be MediaHello"))?;
    let media_client_message::Body::Hello(hello) = body else {
        return Err(protocol("the first message must be MediaHello"));
    };
    let request_id = envelope.request_id;
    let unauthorized = |words| {
        metrics::counter!("media_refused_total").increment(1);
        refusal(
            request_id,
            ErrorCode::Unauthorized,
            end(CloseCode::AuthenticationFailed, words),
        )
    };
    let unix = std::time::SystemTime::now().into();
    let key = &inner.key;
    let claims = connection::verify(key, &hello.connection_token, inner.config.handler_id, unix)
        .map_err(|_| unauthorized("the connection token is not valid"))?;
    crate::lock(&inner.used_tokens)
        .insert(claims.id, claims.expires_at, unix)
        .map_err(|_| unauthorized("the connection token was used before"))?;
    let meeting = inner
        .meeting(claims.meeting)
        .ok_or_else(|| unauthorized("the participant is not registered"))?;
    Ok(Admitted {
        participant: claims.participant,
        meeting,
        request_id,
    })
}

/// Says why, and closes.
async fn refuse<S: Session>(session: &S, mut send: S::Send, refusal: Refusal) {
    let End { code, reason } = refusal.end;
    let words = control::error(refusal.request_id, refusal.code, reason);
    let said = async {
        send.write(words).await.ok()?;
        send.finish().ok()
    };
    if let Ok(Some(())) = timeout(LAST_WORDS, said).await {
        // The client closes when it has read them.
        let _ = timeout(LAST_WORDS, session.closed()).await;
    }
    session.close(code.code(), reason);
}

/// Welcomes a client and serves it until the session ends.
async fn run<S: Session>(
    inner: &Arc<Inner>,
    session: &S,
    mut send: S::Send,
    reader: ControlReader<S::Recv>,
    admitted: Admitted,
) -> End {
    let Admitted {
        participant,
        meeting,
        request_id,
    } = admitted;
    let welcome = media_server_message::Body::Welcome(MediaWelcome {
        handler_id: inner.config.handler_id.to_string(),
        max_datagram_bytes: u32::try_from(session.max_datagram_bytes().min(DATAGRAM_BYTES_MAX))
            .expect("at most 1100"),
    });
    let welcome = framing::encode(&MediaServerMessage::new(request_id, welcome));
    if !matches!(timeout(LAST_WORDS, send.write(welcome)).await, Ok(Ok(()))) {
        return end(
            CloseCode::ProtocolError,
            "the control stream can't be written",
        );
    }
    let key = inner.session_keys.next();
    let (port, control, ends) = Port::new(Arc::new(session.clone()));
    if meeting.session_up(participant, key, port).is_none() {
        return end(
            CloseCode::AuthenticationFailed,
            "the participant is not registered",
        );
    }
    tracing::info!(meeting_id = %meeting.id(), participant_id = %participant, "media session up");
    let _up = Up {
        meeting: &meeting,
        key,
        participant,
    };
    let PortEnds {
        control: outgoing,
        streams,
    } = ends;
    let client = Client {
        inner: Arc::clone(inner),
        session: session.clone(),
        meeting: Arc::clone(&meeting),
        key,
    };
    let mut tasks = JoinSet::new();
    tasks.spawn(client.clone().datagrams());
    tasks.spawn(client.clone().read_streams());
    tasks.spawn(client.clone().write_streams(streams));
    tasks.spawn(client.clone().refuse_streams_both_ways());
    tasks.spawn(client.control(reader, control));
    tasks.spawn(async {
        control::write(send, outgoing).await;
        end(CloseCode::Graceful, "the control stream can't be written")
    });
    // The first one to end takes the others with it.
    let end = tokio::select! {
        _ = session.closed() => end(CloseCode::Graceful, ""),
        first = tasks.join_next() => match first {
            Some(Ok(end)) => end,
            _ => end(CloseCode::InternalError, "internal error"),
        },
    };
    tasks.shutdown().await;
    end
}

/// Takes a session out of its meeting however it ends, also when the future
/// that serves it is dropped.
struct Up<'a> {
    meeting: &'a Meeting,
    key: SessionKey,
    participant: ParticipantId,
}

impl Drop for Up<'_> {
    fn drop(&mut self) {
        self.meeting.session_down(self.key, self.participant);
        tracing::info!(
            meeting_id = %self.meeting.id(),
            participant_id = %self.participant,
            "media session down"
        );
    }
}

/// What each task of a session holds.
struct Client<S> {
    inner: Arc<Inner>,
    session: S,
    meeting: Arc<Meeting>,
    key: SessionKey,
}

impl<S: Clone> Clone for Client<S> {
    fn clone(&self) -> Self {
        Self {
            inner: Arc::clone(&self.inner),
            session: self.session.clone(),
            meeting: Arc::clone(&self.meeting),
            key: self.key,
        }
    }
}

const fn gone(_: &SessionError) -> End {
    end(CloseCode::Graceful, "")
}

impl<S: Session> Client<S> {
    async fn datagrams(self) -> End {
        let mut echoes = PerMinute::new(self.inner.config.rtt_datagrams_per_minute);
        loop {
            let datagram = match self.session.recv_datagram().await {
                Ok(datagram) => datagram,
                Err(error) => return gone(&error),
            };
            match datagram.first() {
                Some(&DATAGRAM_TAG) => self.meeting.datagram(self.key, datagram),
                Some(&RTT_TAG) if datagram.len() <= RTT_BYTES_MAX && echoes.take(now()).is_ok() => {
                    // As any datagram it may be lost.
                    let _ = self.session.send_datagram(datagram);
                }
                Some(&PING_TAG) => {}
                _ => {
                    metrics::counter!("media_dropped_total", "reason" => "unknown_datagram")
                        .increment(1);
                }
            }
        }
    }

    /// Reads all streams of the client, a bounded number at once.
    async fn read_streams(self) -> End {
        let mut groups = JoinSet::new();
        let mut violations = 0;
        let mut opened = 0;
        loop {
            tokio::select! {
                stream = self.session.accept_uni() => match stream {
                    Ok(stream) if groups.len() < self.inner.config.forward.session_groups_max => {
                        let group = GroupKey(opened);
                        opened += 1;
                        self.read_stream(&mut groups, stream, group);
                    }
                    Ok(mut stream) => {
                        stream.stop(reset_code::QUOTA_EXCEEDED);
                        metrics::counter!("media_dropped_total", "reason" => "too_many_streams")
                            .increment(1);
                    }
                    Err(error) => return gone(&error),
                },
                Some(ended) = groups.join_next() => {
                    if matches!(ended, Ok(GroupEnd::Malformed)) {
                        violations += 1;
                    }
                    if violations > self.inner.config.violations_max {
                        return end(CloseCode::ProtocolError, "too many streams that are not media");
                    }
                }
            }
        }
    }

    fn read_stream(&self, groups: &mut JoinSet<GroupEnd>, stream: S::Recv, group: GroupKey) {
        let stop = self
            .meeting
            .with(|s| s.port(self.key).map(|port| port.group_opened(group)));
        // Without a port the session is being closed.
        if let Some(stop) = stop {
            groups.spawn(streams::read_group(
                stream,
                Arc::clone(&self.meeting),
                self.key,
                group,
                stop,
                self.inner.config.frame_bytes_max,
            ));
        }
    }

    /// Writes all streams to the client; the forwarder bounds their number.
    async fn write_streams(self, mut new: mpsc::Receiver<NewStream>) -> End {
        let mut writers = JoinSet::new();
        loop {
            tokio::select! {
                stream = new.recv() => match stream {
                    Some(stream) => {
                        let meeting = Arc::clone(&self.meeting);
                        let session = self.session.clone();
                        writers.spawn(streams::write_group(session, self.key, stream, meeting));
                    }
                    // The port was taken away: the session is being closed.
                    None => return end(CloseCode::Graceful, ""),
                },
                Some(_) = writers.join_next() => {}
            }
        }
    }

    /// There is one stream both ways in a session, the control stream.
    async fn refuse_streams_both_ways(self) -> End {
        for _ in 0..self.inner.config.violations_max {
            match self.session.accept_bi().await {
                Ok((mut send, mut recv)) => {
                    send.reset(reset_code::INVALID_FORMAT);
                    recv.stop(reset_code::INVALID_FORMAT);
                }
                Err(error) => return gone(&error),
            }
        }
        end(CloseCode::ProtocolError, "too many control streams")
    }

    async fn control(
        self,
        mut reader: ControlReader<S::Recv>,
        answers: mpsc::Sender<Bytes>,
    ) -> End {
        let mut rate = PerMinute::new(self.inner.config.control_per_minute);
        loop {
            let framed = match reader.next().await {
                Ok(framed) => framed,
                Err(ControlError::Framing(_)) => {
                    let words = "a control message is too long";
                    return end(CloseCode::ProtocolError, words);
                }
                Err(ControlError::Ended) => return end(CloseCode::Graceful, "bye"),
                Err(ControlError::Stream(_)) => {
                    return end(CloseCode::ProtocolError, "the control stream was reset");
                }
            };
            let answer = match (rate.take(now()), framed) {
                (Ok(()), Framed::Rtt(packet)) => Some(framing::encode_bytes(&packet)),
                (Ok(()), Framed::Message(message)) => self.message(&message),
                (Err(_), Framed::Rtt(_)) => None,
                (Err(wait), Framed::Message(message)) => {
                    let id = MediaClientMessage::read(&message).map_or(0, |(m, _)| m.request_id);
                    Some(control::rate_limited(id, wait))
                }
            };
            // Waits while the client does not read: then its messages wait too.
            if let Some(answer) = answer
                && answers.send(answer).await.is_err()
            {
                return end(CloseCode::Graceful, "");
            }
        }
    }

    /// Carries out a control message; the answer, if there is one.
    fn message(&self, message: &[u8]) -> Option<Bytes> {
        let (envelope, body) = match MediaClientMessage::read(message) {
            Ok(read) => read,
            Err(error) => {
                let words = error.to_string();
                return Some(control::error(0, ErrorCode::InvalidRequest, &words));
            }
        };
        let id = envelope.request_id;
        match body {
            media_client_message::Body::Hello(_) => Some(control::error(
                id,
                ErrorCode::InvalidRequest,
                "MediaHello is sent once",
            )),
            media_client_message::Body::RequestKeyframe(request) => self.keyframe(id, &request),
            media_client_message::Body::ReceiverReport(report) => {
                self.meeting.receiver_report(self.key, &report);
                None
            }
        }
    }

    /// A key frame is an answer by itself; only what can't be is said.
    fn keyframe(&self, id: u64, request: &RequestKeyframe) -> Option<Bytes> {
        let invalid = |words: String| control::error(id, ErrorCode::InvalidRequest, &words);
        let stream_id = match request.stream_id.parse() {
            Ok(stream_id) => stream_id,
            Err(error) => return Some(invalid(format!("{error}"))),
        };
        let encoding = match request.encoding.try_into() {
            Ok(encoding) => encoding,
            Err(error) => return Some(invalid(format!("{error}"))),
        };
        match self.meeting.keyframe_request(self.key, stream_id, encoding) {
            Ok(()) => None,
            Err(_) => Some(control::error(
                id,
                ErrorCode::NotFound,
                "this stream is not sent to you",
            )),
        }
    }
}
