//! One meeting: a handle in front of one task that drives the core.

mod commands;
mod outbox;
mod task;

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use dt_ids::{HandlerId, MeetingCode, MeetingId, ParticipantId, StreamId};
use dt_meeting_core::{
    Join, JoinError, KeeperFactory, Meeting, Resume, SessionId, Settings, SettingsError,
};
use dt_store::Lease;
use dt_wire::{
    internal::{Generation, handler_event},
    v1::client_message,
};
use tokio::sync::{mpsc, oneshot, watch};

pub(crate) use outbox::{Outbox, Outgoing, outbox};

use crate::{
    Inner,
    handler::Link,
    lease::{Keeper, Live},
};

/// What happens to a meeting.
pub(crate) enum Command {
    Join {
        session: SessionId,
        outbox: Outbox,
        request_id: u64,
        how: Way,
        reply: oneshot::Sender<Result<(), JoinError>>,
    },
    Request {
        session: SessionId,
        request_id: u64,
        body: client_message::Body,
    },
    /// A sign of life that is no request.
    Alive(SessionId),
    Lost(SessionId),
    /// A media handler has applied a registration.
    Registered(HandlerId, ParticipantId, Generation),
    RegistrationFailed(HandlerId, ParticipantId),
    /// A media handler says which generation of a stream's route is in force.
    Applied(HandlerId, Option<StreamId>, Generation),
    /// A media handler can't make a stream anew for these.
    NotMadeAnew(HandlerId, StreamId, Vec<ParticipantId>),
    /// A media handler tells something.
    Handler(HandlerId, handler_event::Event),
    /// A media handler tells nothing any more.
    HandlerGone(HandlerId),
    /// There is a new link to a media handler.
    HandlerBack(Arc<Link>),
    /// It is about to be joined; its settings and its handlers may have changed.
    Assigned(Settings, Keepers, Vec<Arc<Link>>, oneshot::Sender<()>),
    Settings(
        Settings,
        Keepers,
        oneshot::Sender<Result<(), SettingsError>>,
    ),
    /// The lease was lost and claimed again.
    Lease(u64),
    Fenced,
    End(oneshot::Sender<()>),
}

/// What keeps MLS groups, where the settings say that they are encrypted.
pub(crate) type Keepers = Option<Arc<dyn KeeperFactory>>;

/// How somebody comes in.
pub(crate) enum Way {
    Join(Join),
    Resume(Resume),
}

/// The way to a meeting's task.
#[derive(Clone)]
pub(crate) struct Handle {
    meeting: MeetingId,
    /// It was given what keeps groups.
    encrypted: Arc<AtomicBool>,
    inbox: mpsc::Sender<Command>,
}

impl Handle {
    pub(crate) fn meeting(&self) -> MeetingId {
        self.meeting
    }

    pub(crate) fn is_encrypted(&self) -> bool {
        self.encrypted.load(Ordering::Relaxed)
    }

    pub(crate) fn set_encrypted(&self) {
        self.encrypted.store(true, Ordering::Relaxed);
    }

    /// Waits while the meeting is busy; false when it is over.
    pub(crate) async fn send(&self, command: Command) -> bool {
        self.inbox.send(command).await.is_ok()
    }

    /// False when the meeting is busy or over.
    pub(crate) fn try_send(&self, command: Command) -> bool {
        self.inbox.try_send(command).is_ok()
    }
}

/// Starts a meeting's tasks and puts it where it is found.
pub(crate) fn start(
    inner: &Arc<Inner>,
    core: Meeting,
    meeting: MeetingId,
    links: Vec<Arc<Link>>,
    lease: Lease,
    code: Option<MeetingCode>,
) {
    let (sender, inbox) = mpsc::channel(inner.config.inbox_messages_max);
    let handle = Handle {
        meeting,
        encrypted: Arc::new(AtomicBool::new(core.is_encrypted())),
        inbox: sender,
    };
    let (live, watcher) = watch::channel(Live::Running(0));
    let keeper = Keeper {
        meeting,
        controller: inner.config.controller_id,
        state: Arc::clone(&inner.state),
        lease,
        lease_ms: inner.config.lease_ms,
        handle: handle.clone(),
    };
    // From here on it hears of handlers that go; of those that did before, its
    // task finds out.
    inner.meetings.insert(handle.clone(), code);
    inner.tasks.spawn(keeper.run(watcher));
    let task = task::Task::new(Arc::clone(inner), handle, core, links, live);
    inner.tasks.spawn(task.run(inbox));
    tracing::info!(meeting_id = %meeting, "meeting started");
}
