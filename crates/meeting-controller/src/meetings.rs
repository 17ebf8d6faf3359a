//! The meetings that run here, by id and by code.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::{
        Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use dt_ids::{MeetingCode, MeetingId};
use dt_meeting_core::SessionId;
use tokio::sync::{Mutex as AsyncMutex, MutexGuard as AsyncGuard};

use crate::{lock, meeting::Handle};

/// Ended meetings that are remembered to say so; the oldest is forgotten first.
/// (The state store remembers them all.)
const ENDED_MAX: usize = 4096;
/// Assignments of different meetings seldom wait for each other.
const ASSIGNMENT_LOCKS: usize = 64;

/// Where a client that names a meeting finds it.
pub(crate) enum Found {
    Running(Handle),
    Ended,
    /// Not here.
    Unknown,
}

pub(crate) struct Meetings {
    table: Mutex<Table>,
    assigning: Vec<AsyncMutex<()>>,
    participants: AtomicUsize,
    last_session: AtomicU64,
}

#[derive(Default)]
struct Table {
    running: HashMap<MeetingId, Handle>,
    by_code: HashMap<MeetingCode, MeetingId>,
    ended: HashSet<MeetingId>,
    ended_order: VecDeque<MeetingId>,
}

impl Default for Meetings {
    fn default() -> Self {
        Self {
            table: Mutex::default(),
            assigning: (0..ASSIGNMENT_LOCKS)
                .map(|_| AsyncMutex::default())
                .collect(),
            participants: AtomicUsize::new(0),
            last_session: AtomicU64::new(0),
        }
    }
}

impl Meetings {
    pub(crate) fn next_session(&self) -> SessionId {
        SessionId(self.last_session.fetch_add(1, Ordering::Relaxed) + 1)
    }

    pub(crate) fn len(&self) -> usize {
        lock(&self.table).running.len()
    }

    /// People in all meetings.
    pub(crate) fn participants(&self) -> usize {
        self.participants.load(Ordering::Relaxed)
    }

    /// One meeting had `before` people and has `after`.
    pub(crate) fn count(&self, before: usize, after: usize) {
        self.participants.fetch_add(after, Ordering::Relaxed);
        self.participants.fetch_sub(before, Ordering::Relaxed);
    }

    /// Held while a meeting is being assigned, so that it is started once.
    pub(crate) async fn assigning(&self, meeting: MeetingId) -> AsyncGuard<'_, ()> {
        let bytes = meeting.into_bytes();
        let shard = usize::from(bytes[15]) % self.assigning.len();
        self.assigning[shard].lock().await
    }

    pub(crate) fn get(&self, meeting: MeetingId) -> Option<Handle> {
        lock(&self.table).running.get(&meeting).cloned()
    }

    pub(crate) fn all(&self) -> Vec<Handle> {
        lock(&self.table).running.values().cloned().collect()
    }

    pub(crate) fn find(&self, meeting: MeetingId) -> Found {
        let table = lock(&self.table);
        match table.running.get(&meeting) {
            Some(handle) => Found::Running(handle.clone()),
            None if table.ended.contains(&meeting) => Found::Ended,
            None => Found::Unknown,
        }
    }

    /// The meeting with this code, if it runs here or did until it was ended.
    pub(crate) fn by_code(&self, code: &MeetingCode) -> Option<MeetingId> {
        lock(&self.table).by_code.get(code).copied()
    }

    pub(crate) fn insert(&self, handle: Handle, code: Option<MeetingCode>) {
        let mut table = lock(&self.table);
        if let Some(code) = code {
            table.by_code.insert(code, handle.meeting());
        }
        table.running.insert(handle.meeting(), handle);
    }

    /// The meeting's task stops. A code is kept while it can say "ended".
    pub(crate) fn remove(&self, meeting: MeetingId, ended: bool) {
        let mut table = lock(&self.table);
        table.running.remove(&meeting);
        if !ended {
            table.by_code.retain(|_, id| *id != meeting);
            return;
        }
        if table.ended.insert(meeting) {
            table.ended_order.push_back(meeting);
        }
        if table.ended_order.len() > ENDED_MAX
            && let Some(oldest) = table.ended_order.pop_front()
        {
            table.ended.remove(&oldest);
            table.by_code.retain(|_, id| *id != oldest);
        }
    }
}
