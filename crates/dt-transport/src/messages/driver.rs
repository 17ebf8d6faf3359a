//! The tasks of a connection: one reads datagrams, one sends them when it is
//! time, two take the peer's streams in, one keeps the figures.

use std::{sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use tokio::{sync::mpsc, task::JoinSet, time::Instant};

use super::{
    Snapshot,
    endpoint::{Halves, IncomingStream, Shared},
    metrics::lock,
    wire::{HEADER_BYTES, Header, parse_header},
};
use crate::{RecvStream, SendStream, Session, SessionError};

/// Code with which a stream of the peer is refused: more than may be open.
const CODE_TOO_MANY: u32 = 1;
/// And: not understood, or not allowed.
const CODE_NOT_UNDERSTOOD: u32 = 2;
/// Timers that fire later than this are given as much again.
const LATE_MAX: Duration = Duration::from_millis(3);
/// How old what is known of the path may be.
const PATH_AGE_MAX: Duration = Duration::from_millis(5);

/// Reads datagrams until the session's end.
pub(super) async fn read_datagrams<S: Session>(
    shared: Arc<Shared<S>>,
    others: mpsc::Sender<Bytes>,
) {
    let error = loop {
        let datagram = tokio::select! {
            () = shared.stop.cancelled() => return,
            result = shared.session.recv_datagram() => result,
        };
        match datagram {
            Ok(datagram) if datagram.first() == Some(&shared.config.tag) => {
                let now = Instant::now().into_std();
                if lock(&shared.streams).handle_datagram(now, &datagram) {
                    shared.wake.notify_one();
                }
            }
            Ok(datagram) => {
                if others.try_send(datagram).is_err() {
                    shared.count(|counts| counts.others_dropped += 1);
                }
            }
            Err(error) => break error,
        }
    };
    lock(&shared.streams).end(error);
}

/// Sends datagrams when there are any, and when their time has come.
pub(super) async fn send_datagrams<S: Session>(shared: Arc<Shared<S>>) {
    let mut path_at: Option<Instant> = None;
    loop {
        let now = Instant::now();
        let fresh = path_at.is_some_and(|at| now < at + PATH_AGE_MAX);
        let path = (!fresh).then(|| {
            path_at = Some(now);
            (
                shared.session.path_stats(),
                shared.session.max_datagram_bytes(),
            )
        });
        let next = {
            let mut streams = lock(&shared.streams);
            if let Some((path, datagram_bytes_max)) = path {
                streams.handle_path(path, datagram_bytes_max);
            }
            streams.pump(now.into_std(), shared.config.tag, |datagram| {
                shared.session.send_datagram(datagram)
            })
        };
        let sleep = async {
            match next {
                Some(at) => tokio::time::sleep_until(Instant::from_std(at)).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = shared.stop.cancelled() => return,
            () = shared.wake.notified() => {}
            () = sleep => {
                // Where the machine was too busy to keep the time, the answers
                // that make the timers needless wait to be read.
                let late = next.is_some_and(|at| Instant::now().into_std() > at + LATE_MAX);
                if late {
                    tokio::time::sleep(LATE_MAX).await;
                }
            }
        }
    }
}

/// Tells the figures at every interval.
pub(super) async fn watch<S: Session>(
    shared: Arc<Shared<S>>,
    news: tokio::sync::watch::Sender<Snapshot>,
) {
    let mut last = Instant::now();
    let interval = shared.config.metrics_interval.max(Duration::from_millis(1));
    loop {
        tokio::select! {
            () = shared.stop.cancelled() => return,
            () = tokio::time::sleep(interval) => {}
        }
        let now = Instant::now();
        let snapshot = shared.snapshot();
        shared.meters.tick(&snapshot, now - last);
        last = now;
        news.send_replace(shared.snapshot());
    }
}

/// A stream of the peer: the half to read, and the other where there is one.
type Arrived<S> = (<S as Session>::Recv, Option<<S as Session>::Send>);

/// Takes in the streams that the peer opens, of both kinds.
pub(super) async fn take_streams<S: Session>(
    shared: Arc<Shared<S>>,
    both_ways: bool,
    accepted: mpsc::Sender<Result<IncomingStream<S>, SessionError>>,
) {
    // Who waits in line counts against the queue's bound as well.
    let mut greeting = JoinSet::new();
    let most = shared.config.accept_queue_streams_max.max(1);
    loop {
        while greeting.try_join_next().is_some() {}
        let next = async {
            if both_ways {
                let (send, recv) = shared.session.accept_bi().await?;
                Ok::<Arrived<S>, SessionError>((recv, Some(send)))
            } else {
                Ok((shared.session.accept_uni().await?, None))
            }
        };
        tokio::select! {
            () = shared.stop.cancelled() => return,
            _ = greeting.join_next(), if greeting.len() >= most => {}
            arrived = next, if greeting.len() < most => match arrived {
                Ok(arrived) => {
                    let (shared, accepted) = (Arc::clone(&shared), accepted.clone());
                    greeting.spawn(async move { greet(shared, arrived, accepted).await });
                }
                Err(error) => {
                    // Those that had come before the end are still of use.
                    while greeting.join_next().await.is_some() {}
                    let _ = accepted.send(Err(error)).await;
                    return;
                }
            },
        }
    }
}

/// Reads what a stream says of itself, and gives it to whoever accepts.
async fn greet<S: Session>(
    shared: Arc<Shared<S>>,
    (mut recv, send): Arrived<S>,
    accepted: mpsc::Sender<Result<IncomingStream<S>, SessionError>>,
) {
    let read = tokio::time::timeout(shared.config.header_timeout, read_header(&mut recv));
    let header = read.await.ok().flatten();
    let header = header.filter(|header| header.config.check(&shared.config).is_ok());
    let Some(header) = header else {
        return refuse(&shared, (recv, send), CODE_NOT_UNDERSTOOD);
    };
    let Ok(permit) = Arc::clone(&shared.permits).try_acquire_owned() else {
        return refuse(&shared, (recv, send), CODE_TOO_MANY);
    };
    let Some(handle) = shared.handle() else {
        return;
    };
    let (config, halves, permit) = (header.config, (send, Some(recv)), Arc::new(permit));
    let halves = handle.attach(header.id, false, &config, halves, Some(permit));
    let Some(Halves {
        sender,
        receiver: Some(receiver),
    }) = halves
    else {
        // A second stream of the same name: dropped, and so stopped.
        return shared.count(|counts| counts.refused_streams += 1);
    };
    let stream = IncomingStream {
        config,
        receiver,
        sender,
    };
    // Fails when nobody accepts any more.
    let _ = accepted.send(Ok(stream)).await;
}

fn refuse<S: Session>(shared: &Shared<S>, (mut recv, send): Arrived<S>, code: u32) {
    shared.count(|counts| counts.refused_streams += 1);
    recv.stop(code);
    if let Some(mut send) = send {
        send.reset(code);
    }
}

async fn read_header(recv: &mut impl RecvStream) -> Option<Header> {
    let mut bytes = BytesMut::with_capacity(HEADER_BYTES);
    while bytes.len() < HEADER_BYTES {
        let chunk = recv.read_chunk(HEADER_BYTES - bytes.len()).await.ok()??;
        bytes.extend_from_slice(&chunk);
    }
    parse_header(&bytes).ok()
}
