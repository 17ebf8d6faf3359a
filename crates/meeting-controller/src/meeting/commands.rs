//! Commands on their way to one media handler: for each participant and each
//! stream the latest one, sent in the order in which they first were wanted.
//!
//! Bounded by the seats and streams of the meeting, however slow the handler is.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex},
    time::Duration,
};

use dt_ids::ParticipantId;
use dt_rpc::RpcError;
use dt_wire::internal::{RegisterParticipant, RouteMediaCommand, UnregisterParticipant};
use tokio::{
    sync::Notify,
    time::{sleep, timeout},
};

use super::{Command, Handle};
use crate::{Inner, handler::Link, lock};

const RETRY_MS_MIN: u64 = 50;
const RETRY_MS_MAX: u64 = 2000;
/// A call that takes longer counts as failed, so that it holds up no other.
const CALL_MAX: Duration = Duration::from_secs(3);
/// After the meeting stopped: how often a failing command is tried.
const LAST_TRIES: u32 = 3;

/// One command; the newest of a key replaces those before it.
#[derive(Debug, Clone)]
pub(super) enum ToHandler {
    Register(RegisterParticipant),
    Unregister(UnregisterParticipant),
    Route(Box<RouteMediaCommand>),
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Key {
    Participant(String),
    Stream(String),
}

impl ToHandler {
    fn key(&self) -> Key {
        match self {
            Self::Register(c) => Key::Participant(c.participant_id.clone()),
            Self::Unregister(c) => Key::Participant(c.participant_id.clone()),
            Self::Route(c) => Key::Stream(c.source_stream_id.clone()),
        }
    }
}

#[derive(Default)]
struct Pending {
    order: VecDeque<Key>,
    latest: HashMap<Key, ToHandler>,
    closed: bool,
}

impl Pending {
    fn push(&mut self, command: ToHandler) {
        let key = command.key();
        if self.latest.insert(key.clone(), command).is_none() {
            self.order.push_back(key);
        }
    }

    fn pop(&mut self) -> Option<ToHandler> {
        let key = self.order.pop_front()?;
        self.latest.remove(&key)
    }

    /// Back to the front, unless a newer one came.
    fn put_back(&mut self, command: ToHandler) {
        let key = command.key();
        if !self.latest.contains_key(&key) {
            self.order.push_front(key.clone());
            self.latest.insert(key, command);
        }
    }
}

/// The meeting task's end. Dropped, what is left is sent and the worker stops.
pub(super) struct Queue {
    shared: Arc<Shared>,
    pub(super) link: Arc<Link>,
}

#[derive(Default)]
struct Shared {
    pending: Mutex<Pending>,
    wake: Notify,
}

impl Queue {
    pub(super) fn push(&self, command: ToHandler) {
        lock(&self.shared.pending).push(command);
        self.shared.wake.notify_one();
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        lock(&self.shared.pending).closed = true;
        self.shared.wake.notify_one();
    }
}

pub(super) fn start(inner: &Arc<Inner>, link: Arc<Link>, meeting: Handle) -> Queue {
    let shared = Arc::new(Shared::default());
    let worker = Worker {
        shared: Arc::clone(&shared),
        link: Arc::clone(&link),
        meeting,
    };
    inner.tasks.spawn(worker.run());
    Queue { shared, link }
}

struct Worker {
    shared: Arc<Shared>,
    link: Arc<Link>,
    meeting: Handle,
}

impl Worker {
    async fn run(self) {
        let mut failures = 0;
        loop {
            let (command, closed) = {
                let mut pending = lock(&self.shared.pending);
                (pending.pop(), pending.closed)
            };
            let Some(command) = command else {
                if closed {
                    return;
                }
                self.shared.wake.notified().await;
                continue;
            };
            let done = timeout(CALL_MAX, self.carry_out(&command)).await;
            if done.unwrap_or(false) {
                failures = 0;
                continue;
            }
            if closed && failures >= LAST_TRIES {
                return;
            }
            lock(&self.shared.pending).put_back(command);
            let wait_ms = (RETRY_MS_MIN << failures.min(10)).min(RETRY_MS_MAX);
            failures += 1;
            sleep(Duration::from_millis(wait_ms)).await;
        }
    }

    /// False when it should be tried again.
    async fn carry_out(&self, command: &ToHandler) -> bool {
        let (id, handler) = (self.link.id, &self.link.handler);
        let failed = match command {
            ToHandler::Register(c) => match handler.register_participant(c.clone()).await {
                Ok(_) => {
                    if let (Some(participant), Some(generation)) =
                        (participant(&c.participant_id), c.generation)
                    {
                        let done = Command::Registered(id, participant, generation);
                        self.meeting.send(done).await;
                    }
                    return true;
                }
                Err(error) => error,
            },
            ToHandler::Unregister(c) => match handler.unregister_participant(c.clone()).await {
                Ok(_) => return true,
                Err(error) => error,
            },
            ToHandler::Route(c) => match handler.route_media((**c).clone()).await {
                Ok(answer) => {
                    let stream = c.source_stream_id.parse().ok();
                    if let Some(applied) = answer.applied {
                        let done = Command::Applied(id, stream, applied);
                        self.meeting.send(done).await;
                    }
                    let people = answer.not_made_anew_ids.iter();
                    let people: Vec<_> = people.filter_map(|id| participant(id)).collect();
                    if let (Some(stream), false) = (stream, people.is_empty()) {
                        let refused = Command::NotMadeAnew(id, stream, people);
                        self.meeting.send(refused).await;
                    }
                    return true;
                }
                Err(error) => error,
            },
        };
        self.failed(command, failed).await
    }

    async fn failed(&self, command: &ToHandler, error: RpcError) -> bool {
        tracing::warn!(
            meeting_id = %self.meeting.meeting(), handler_id = %self.link.id, %error,
            "a media handler did not carry out a command"
        );
        match error {
            RpcError::Unavailable(_) | RpcError::Internal(_) => return false,
            RpcError::Fenced(_) => {
                self.meeting.send(Command::Fenced).await;
            }
            RpcError::Invalid(_) | RpcError::NotFound(_) | RpcError::Capacity(_) => {
                if let ToHandler::Register(c) = command
                    && let Some(participant) = participant(&c.participant_id)
                {
                    let failed = Command::RegistrationFailed(self.link.id, participant);
                    self.meeting.send(failed).await;
                }
            }
        }
        true
    }
}

fn participant(id: &str) -> Option<ParticipantId> {
    id.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(stream: &str, counter: u64) -> ToHandler {
        ToHandler::Route(Box::new(RouteMediaCommand {
            source_stream_id: stream.to_owned(),
            generation: Some(dt_wire::internal::Generation { lease: 1, counter }),
            ..RouteMediaCommand::default()
        }))
    }

    fn counter(command: Option<ToHandler>) -> Option<u64> {
        match command? {
            ToHandler::Route(c) => c.generation.map(|g| g.counter),
            _ => None,
        }
    }

    #[test]
    fn the_newest_command_of_a_stream_takes_the_place_of_the_one_that_waits() {
        let mut pending = Pending::default();
        pending.push(route("a", 1));
        pending.push(route("b", 2));
        pending.push(route("a", 3));
        assert_eq!(counter(pending.pop()), Some(3));
        assert_eq!(counter(pending.pop()), Some(2));
        assert!(pending.pop().is_none());
    }

    #[test]
    fn a_command_that_failed_does_not_replace_a_newer_one() {
        let mut pending = Pending::default();
        pending.push(route("a", 1));
        let failed = pending.pop().unwrap();
        pending.push(route("a", 2));
        pending.put_back(failed);
        assert_eq!(counter(pending.pop()), Some(2));
        assert!(pending.pop().is_none());
    }
}
