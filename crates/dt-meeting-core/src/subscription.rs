//! What one participant receives: its layout, the streams it subscribed by
//! name, and the assignments that follow from both.

use std::collections::{BTreeMap, BTreeSet};

use dt_ids::{Slot, StreamId, UserId};
use dt_wire::v1::StreamType;

use crate::{
    error::{LayoutError, SubscribeError},
    layout::Layout,
    planning::{Stage, View},
};

/// The receiving side of a seat. It outlives sessions, so that media goes on
/// while a client comes back; what an earlier session asked for is *inherited*
/// and gives way to what the new one asks for.
#[derive(Debug, Default)]
pub(crate) struct Subscriber {
    layout: Option<Wanted<Layout>>,
    /// Streams subscribed by name.
    overrides: BTreeMap<StreamId, Wanted<Slot>>,
    assigned: BTreeMap<Slot, StreamId>,
    /// Who last had each slot of the layout.
    tenants: BTreeMap<Slot, (UserId, StreamType)>,
    generation: u32,
}

#[derive(Debug)]
struct Wanted<T> {
    what: T,
    inherited: bool,
}

impl<T> Wanted<T> {
    const fn now(what: T) -> Self {
        Self {
            what,
            inherited: false,
        }
    }
}

/// What a new plan changed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Change {
    /// Streams received before and not any more.
    pub(crate) lost: Vec<StreamId>,
}

impl Subscriber {
    pub(crate) fn generation(&self) -> u32 {
        self.generation
    }

    pub(crate) fn assigned(&self) -> &BTreeMap<Slot, StreamId> {
        &self.assigned
    }

    pub(crate) fn receives(&self, stream: StreamId) -> bool {
        self.assigned.values().any(|s| *s == stream)
    }

    pub(crate) fn wants_anything(&self) -> bool {
        self.layout.is_some() || !self.overrides.is_empty()
    }

    /// Another session took the seat: it has asked for nothing yet.
    pub(crate) fn inherit(&mut self) {
        if let Some(layout) = &mut self.layout {
            layout.inherited = true;
        }
        for wanted in self.overrides.values_mut() {
            wanted.inherited = true;
        }
    }

    pub(crate) fn subscribe_layout(&mut self, layout: Layout) -> Result<(), LayoutError> {
        if self.layout.as_ref().is_some_and(|l| !l.inherited) {
            return Err(LayoutError::Exists);
        }
        self.set_layout(layout)?;
        self.overrides.retain(|_, o| !o.inherited);
        Ok(())
    }

    pub(crate) fn update_layout(&mut self, layout: Layout) -> Result<(), LayoutError> {
        if self.layout.is_none() {
            return Err(LayoutError::None);
        }
        self.set_layout(layout)
    }

    fn set_layout(&mut self, layout: Layout) -> Result<(), LayoutError> {
        let slots: BTreeSet<Slot> = layout.slots().collect();
        let mut own = self.overrides.values().filter(|o| !o.inherited);
        if let Some(taken) = own.find(|o| slots.contains(&o.what)) {
            return Err(LayoutError::SlotTaken(taken.what));
        }
        self.overrides.retain(|_, o| !slots.contains(&o.what));
        self.tenants.retain(|slot, _| slots.contains(slot));
        self.layout = Some(Wanted::now(layout));
        Ok(())
    }

    pub(crate) fn unsubscribe_layout(&mut self) -> Result<(), LayoutError> {
        self.layout = match self.layout.take() {
            Some(_) => None,
            None => return Err(LayoutError::None),
        };
        self.tenants.clear();
        Ok(())
    }

    /// Subscribes one stream by name; asking again moves it to another slot.
    pub(crate) fn subscribe_stream(
        &mut self,
        stream: StreamId,
        slot: Slot,
        max: usize,
    ) -> Result<(), SubscribeError> {
        let layout_has = |l: &Wanted<Layout>| l.what.slots().any(|s| s == slot);
        let by_layout = self.layout.as_ref().filter(|l| layout_has(l));
        let by_stream = self
            .overrides
            .iter()
            .find(|(other, o)| **other != stream && o.what == slot);
        if by_layout.is_some_and(|l| !l.inherited) || by_stream.is_some_and(|(_, o)| !o.inherited) {
            return Err(SubscribeError::SlotTaken(slot));
        }
        let others = self
            .overrides
            .iter()
            .filter(|(s, o)| **s != stream && !o.inherited);
        if others.count() >= max {
            return Err(SubscribeError::TooMany(max));
        }
        if by_layout.is_some() {
            self.layout = None;
            self.tenants.clear();
        }
        let crowded = self.overrides.len() >= max;
        self.overrides
            .retain(|_, o| !o.inherited || (o.what != slot && !crowded));
        self.overrides.insert(stream, Wanted::now(slot));
        Ok(())
    }

    pub(crate) fn unsubscribe_stream(&mut self, stream: StreamId) -> Result<(), SubscribeError> {
        match self.overrides.remove(&stream) {
            Some(_) => Ok(()),
            None => Err(SubscribeError::NotSubscribed),
        }
    }

    /// How many of the streams subscribed by name these are, `except` apart.
    pub(crate) fn subscribed_of(
        &self,
        counts: impl Fn(StreamId) -> bool,
        except: StreamId,
    ) -> usize {
        let others = self.overrides.keys().filter(|s| **s != except);
        others.filter(|s| counts(**s)).count()
    }

    /// Brings the assignments up to date with all published streams. `None` when
    /// nothing changes; else the generation is one higher.
    pub(crate) fn plan(&mut self, me: UserId, stage: &Stage, videos_max: usize) -> Option<Change> {
        if !self.wants_anything() && self.assigned.is_empty() {
            return None;
        }
        let next = self.assignments(me, stage, videos_max);
        if next == self.assigned {
            return None;
        }
        let received: BTreeSet<StreamId> = next.values().copied().collect();
        let lost = self
            .assigned
            .values()
            .filter(|s| !received.contains(s))
            .copied()
            .collect();
        self.assigned = next;
        self.generation = self.generation.wrapping_add(1);
        Some(Change { lost })
    }

    fn assignments(
        &mut self,
        me: UserId,
        stage: &Stage,
        videos_max: usize,
    ) -> BTreeMap<Slot, StreamId> {
        // A stream that is gone does not come back: its id may be used anew.
        self.overrides
            .retain(|stream, _| stage.get(*stream).is_some());
        let mut next: BTreeMap<Slot, StreamId> = self
            .overrides
            .iter()
            .map(|(stream, o)| (o.what, *stream))
            .collect();
        let Some(Wanted { what: layout, .. }) = &self.layout else {
            return next;
        };
        let videos = next.values().filter(|s| stage.is_video(**s)).count();
        let by_name = self.overrides.keys().copied();
        let view = View::new(stage, me, &self.assigned, by_name, &self.tenants);
        let mut placed = view.videos(layout, videos_max.saturating_sub(videos));
        placed.extend(view.audio(layout));
        for (slot, stream) in placed {
            if let Some(candidate) = stage.get(stream) {
                self.tenants.insert(slot, (candidate.user, candidate.kind));
            }
            next.insert(slot, stream);
        }
        next
    }

    #[cfg(test)]
    pub(crate) fn check(&self) {
        let mut slots: Vec<Slot> = self.layout.iter().flat_map(|l| l.what.slots()).collect();
        slots.extend(self.overrides.values().map(|o| o.what));
        let distinct: BTreeSet<Slot> = slots.iter().copied().collect();
        assert_eq!(distinct.len(), slots.len(), "slots are distinct");
        assert!(
            self.assigned.keys().all(|s| distinct.contains(s)),
            "only own slots are used"
        );
        assert!(
            self.tenants.keys().all(|s| distinct.contains(s)),
            "tenants are bounded"
        );
        let streams: BTreeSet<StreamId> = self.assigned.values().copied().collect();
        assert_eq!(streams.len(), self.assigned.len(), "a stream has one slot");
    }
}
