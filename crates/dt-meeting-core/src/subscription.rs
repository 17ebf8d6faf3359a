//! What one participant receives: its layout, the streams it subscribed by
//! name, and the assignments that follow from both.

use std::collections::{BTreeMap, BTreeSet};

use dt_frame::FourCc;
use dt_ids::{Slot, StreamId, UserId};
use dt_wire::v1::StreamType;

use crate::{
    codecs::Codecs,
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
    overrides: BTreeMap<StreamId, Wanted<ByName>>,
    assigned: BTreeMap<Slot, StreamId>,
    /// Voices that are mixed for it into one, and the slot of that.
    mixed: BTreeSet<StreamId>,
    mix_slot: Option<Slot>,
    /// What each assigned stream was encoded with when it was told.
    encoded: BTreeMap<Slot, FourCc>,
    /// Who last had each slot of the layout.
    tenants: BTreeMap<Slot, (UserId, StreamType)>,
    generation: u32,
}

#[derive(Debug)]
struct Wanted<T> {
    what: T,
    inherited: bool,
}

/// How a stream subscribed by name is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ByName {
    pub(crate) slot: Slot,
    /// Bits per second; 0: no limit.
    pub(crate) max_bitrate: u32,
    /// Bits per second that the server is to encode it with anew.
    pub(crate) transcode: Option<u32>,
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

    /// All streams that go to it, mixed ones too, with the slot they are heard on.
    pub(crate) fn received(&self) -> impl Iterator<Item = (Slot, StreamId)> {
        let assigned = self.assigned.iter().map(|(slot, stream)| (*slot, *stream));
        let mixed = self.mixed.iter();
        assigned.chain(mixed.filter_map(|stream| Some((self.mix_slot?, *stream))))
    }

    /// Where its mix goes, if it has one.
    pub(crate) const fn mix_slot(&self) -> Option<Slot> {
        self.mix_slot
    }

    /// Whether a voice is in its mix.
    pub(crate) fn mixes(&self, stream: StreamId) -> bool {
        self.mixed.contains(&stream)
    }

    /// Bits per second that a stream is encoded with anew for it.
    pub(crate) fn transcodes(&self, stream: StreamId) -> Option<u32> {
        self.overrides.get(&stream)?.what.transcode
    }

    /// What of it was to be made anew comes as it is from now on: the whole mix, if
    /// the stream is part of it, or the stream alone. Whether anything was.
    pub(crate) fn take_as_it_is(&mut self, stream: StreamId) -> bool {
        let mixed = self.mixed.contains(&stream);
        if mixed && let Some(layout) = &mut self.layout {
            layout.what.without_mix();
        }
        let by_name = self.overrides.get_mut(&stream);
        let encoded = by_name.and_then(|wanted| wanted.what.transcode.take());
        mixed || encoded.is_some()
    }

    pub(crate) fn receives(&self, stream: StreamId) -> bool {
        self.assigned.values().any(|s| *s == stream)
    }

    /// Bits per second that it asked for at most of a stream; 0: no limit.
    pub(crate) fn max_bitrate(&self, stream: StreamId) -> u32 {
        let by_name = self.overrides.get(&stream);
        by_name.map_or(0, |wanted| wanted.what.max_bitrate)
    }

    /// Whether its owner looks at this slot, or this person, before others.
    pub(crate) fn favours(&self, slot: Slot, user: UserId) -> bool {
        let layout = self.layout.as_ref().map(|wanted| &wanted.what);
        layout.is_some_and(|l| l.large() == Some(slot) || l.pinned.contains_key(&user))
    }

    #[cfg(test)]
    pub(crate) fn layout(&self) -> Option<&Layout> {
        self.layout.as_ref().map(|wanted| &wanted.what)
    }

    /// Whether whoever begins to speak is heard here.
    pub(crate) fn hears(&self) -> bool {
        let layout = self.layout.as_ref();
        layout.is_some_and(|wanted| wanted.what.audio.len() > 0)
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
        if let Some(taken) = own.find(|o| slots.contains(&o.what.slot)) {
            return Err(LayoutError::SlotTaken(taken.what.slot));
        }
        self.overrides.retain(|_, o| !slots.contains(&o.what.slot));
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
        wanted: ByName,
        max: usize,
    ) -> Result<(), SubscribeError> {
        let slot = wanted.slot;
        let layout_has = |l: &Wanted<Layout>| l.what.slots().any(|s| s == slot);
        let by_layout = self.layout.as_ref().filter(|l| layout_has(l));
        let by_stream = self
            .overrides
            .iter()
            .find(|(other, o)| **other != stream && o.what.slot == slot);
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
            .retain(|_, o| !o.inherited || (o.what.slot != slot && !crowded));
        self.overrides.insert(stream, Wanted::now(wanted));
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

    /// Brings the assignments up to date with all published streams, for somebody
    /// who decodes so much. `None` when nothing changes; else the generation is one
    /// higher.
    pub(crate) fn plan(
        &mut self,
        me: (UserId, &Codecs),
        stage: &Stage,
        videos_max: usize,
    ) -> Option<Change> {
        if !self.wants_anything() && self.assigned.is_empty() && self.mix_slot.is_none() {
            return None;
        }
        let next = self.assignments(me, stage, videos_max);
        let codec = |(slot, stream): (&Slot, &StreamId)| Some((*slot, stage.get(*stream)?.codec));
        let encoded = next.iter().filter_map(codec).collect();
        let layout = self.layout.as_ref().map(|wanted| &wanted.what);
        let mix_slot = layout.and_then(Layout::mix_slot);
        let voices = stage
            .voices_for(me)
            .filter(|voice| mix_slot.is_some() && !self.overrides.contains_key(voice));
        let mixed: BTreeSet<StreamId> = voices.collect();
        if next == self.assigned
            && encoded == self.encoded
            && (&mixed, mix_slot) == (&self.mixed, self.mix_slot)
        {
            return None;
        }
        self.encoded = encoded;
        let before: BTreeSet<StreamId> = self.received().map(|(_, stream)| stream).collect();
        self.assigned = next;
        self.mixed = mixed;
        self.mix_slot = mix_slot;
        let received: BTreeSet<StreamId> = self.received().map(|(_, stream)| stream).collect();
        let lost = before.difference(&received).copied().collect();
        self.generation = self.generation.wrapping_add(1);
        Some(Change { lost })
    }

    fn assignments(
        &mut self,
        me: (UserId, &Codecs),
        stage: &Stage,
        videos_max: usize,
    ) -> BTreeMap<Slot, StreamId> {
        // A stream that is gone does not come back: its id may be used anew.
        self.overrides
            .retain(|stream, _| stage.get(*stream).is_some());
        let mut next: BTreeMap<Slot, StreamId> = self
            .overrides
            .iter()
            .map(|(stream, o)| (o.what.slot, *stream))
            .collect();
        let Some(Wanted { what: layout, .. }) = &self.layout else {
            return next;
        };
        let videos = next.values().filter(|s| stage.is_video(**s)).count();
        let by_name = self.overrides.keys().copied();
        let view = View::new(stage, me, &self.assigned, by_name, &self.tenants);
        let mut placed = view.videos(layout, videos_max.saturating_sub(videos));
        if layout.mix_slot().is_none() {
            placed.extend(view.audio(layout));
        }
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
        slots.extend(self.overrides.values().map(|o| o.what.slot));
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
