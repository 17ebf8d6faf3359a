//! What must be true of every view, said apart from how it is planned.

use std::{
    collections::{BTreeMap, BTreeSet},
    hash::{DefaultHasher, Hash as _, Hasher as _},
};

use dt_ids::{Slot, StreamId, UserId};
use dt_wire::v1::StreamType;

use super::super::super::Meeting;
use crate::{
    Time,
    layout::{Layout, Shape},
};

/// A stream as everybody sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Item {
    user: UserId,
    kind: StreamType,
    muted: bool,
    codec: dt_frame::FourCc,
    speaks: bool,
    promoted: bool,
}

#[derive(Debug, Clone)]
pub(super) struct Viewer {
    layout: Option<Layout>,
    videos_max: usize,
    knows: BTreeSet<StreamId>,
    pub(super) generation: u32,
    assigned: BTreeMap<Slot, StreamId>,
}

impl Viewer {
    pub(super) fn slots(&self) -> BTreeMap<u32, String> {
        let slots = self.assigned.iter();
        slots.map(|(slot, s)| (slot.get(), s.to_string())).collect()
    }
}

/// Everything that views follow from, and the views.
#[derive(Debug, Clone)]
pub(super) struct Scene {
    items: BTreeMap<StreamId, Item>,
    spotlight: Vec<UserId>,
    floor: Option<UserId>,
    pub(super) viewers: BTreeMap<UserId, Viewer>,
}

impl Scene {
    pub(super) fn of(meeting: &Meeting) -> Self {
        let speakers = &meeting.speakers;
        let items = meeting.streams.iter().map(|s| {
            let item = Item {
                user: s.owner,
                kind: s.kind,
                muted: s.muted,
                codec: s.encoded,
                speaks: speakers.rank(s.owner).is_some(),
                promoted: speakers.promoted_rank(s.owner).is_some(),
            };
            (s.id, item)
        });
        let items: BTreeMap<StreamId, Item> = items.collect();
        let viewers = meeting.roster.iter().map(|seat| {
            let known = items.iter().filter(|(_, i)| seat.codecs.knows(i.codec));
            let viewer = Viewer {
                layout: seat.subscriber.layout().cloned(),
                videos_max: seat.video_streams_max,
                knows: known.map(|(id, _)| *id).collect(),
                generation: seat.subscriber.generation(),
                assigned: seat.subscriber.assigned().clone(),
            };
            (seat.user, viewer)
        });
        Self {
            viewers: viewers.collect(),
            spotlight: meeting.spotlight.clone(),
            floor: speakers.floor(),
            items,
        }
    }

    pub(super) fn digest(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        for (user, viewer) in &self.viewers {
            (user, viewer.generation, &viewer.assigned).hash(&mut hasher);
        }
        hasher.finish()
    }

    /// Nothing that pictures follow from differs.
    fn same_pictures(&self, other: &Self) -> bool {
        let of = |scene: &Self| {
            let items = scene.items.clone().into_iter();
            let items = items.filter(|(_, i)| i.kind != StreamType::Audio);
            let items = items.map(|(id, i)| (id, Item { speaks: false, ..i }));
            items.collect::<Vec<_>>()
        };
        of(self) == of(other) && self.spotlight == other.spotlight && self.floor == other.floor
    }

    /// Nor streams, spotlight: only who speaks may.
    fn same_but_speech(&self, other: &Self) -> bool {
        let of = |scene: &Self| {
            let items = scene.items.clone().into_iter();
            let quiet = |i| Item {
                speaks: false,
                promoted: false,
                ..i
            };
            items.map(|(id, i)| (id, quiet(i))).collect::<Vec<_>>()
        };
        of(self) == of(other) && self.spotlight == other.spotlight
    }
}

/// Since when each one speaks, as this test hears it.
#[derive(Debug, Default)]
pub(super) struct Speech {
    since: BTreeMap<UserId, Time>,
}

impl Speech {
    pub(super) fn follow(&mut self, scene: &Scene, now: Time) {
        let speaks: BTreeSet<UserId> = scene
            .items
            .values()
            .filter(|i| i.speaks)
            .map(|i| i.user)
            .collect();
        self.since.retain(|user, _| speaks.contains(user));
        for user in speaks {
            self.since.entry(user).or_insert(now);
        }
    }
}

pub(super) fn check(
    before: &Scene,
    after: &Scene,
    me: UserId,
    asked: bool,
    speech: &Speech,
    now: Time,
) {
    let viewer = &after.viewers[&me];
    let Some(layout) = &viewer.layout else {
        assert!(
            viewer.assigned.is_empty(),
            "who asked for nothing gets nothing"
        );
        return;
    };
    let sight = Sight::new(after, me, layout);
    sight.check_tiles();
    sight.check_voices();
    let was = before.viewers.get(&me).filter(|_| !asked);
    if let Some((was, old)) = was.and_then(|was| Some((was, was.layout.as_ref()?))) {
        assert!(
            viewer.generation >= was.generation,
            "generations never go back"
        );
        let changed = viewer.assigned != was.assigned;
        assert!(viewer.generation - was.generation <= 64);
        assert!(!changed || viewer.generation > was.generation);
        let old = Sight::new(before, me, old);
        sight.check_change(&old, before, after);
        if sight.large != old.large && before.same_but_speech(after) {
            sight.check_speaker(speech, now);
        }
    }
}

/// What one viewer may see and sees.
struct Sight<'a> {
    scene: &'a Scene,
    me: UserId,
    layout: &'a Layout,
    tiles: usize,
    /// Pictures that may be shown.
    eligible: BTreeMap<StreamId, &'a Item>,
    shown: BTreeMap<StreamId, Slot>,
    large: Option<StreamId>,
    /// Voices that may be heard, and those that are.
    voices: BTreeMap<StreamId, &'a Item>,
    heard: BTreeMap<StreamId, Slot>,
}

impl<'a> Sight<'a> {
    fn new(scene: &'a Scene, me: UserId, layout: &'a Layout) -> Self {
        let viewer = &scene.viewers[&me];
        let is_tile = |slot: Slot| layout.tiles.place(slot).is_some();
        let placed = |tiles: bool| {
            let slots = viewer.assigned.iter();
            slots
                .filter(|(slot, _)| is_tile(**slot) == tiles)
                .map(|(slot, stream)| (*stream, *slot))
                .collect::<BTreeMap<_, _>>()
        };
        let known = scene
            .items
            .iter()
            .filter(|(id, _)| viewer.knows.contains(id));
        let known: Vec<_> = known.map(|(id, item)| (*id, item)).collect();
        let eligible = known.iter().filter(|(_, i)| {
            i.kind != StreamType::Audio
                && (layout.include_self || i.user != me)
                && !layout.excluded.contains(&i.user)
        });
        let voices = known
            .iter()
            .filter(|(_, i)| i.kind == StreamType::Audio && i.user != me);
        let large = layout.large().filter(|_| viewer.videos_max > 0);
        Self {
            scene,
            me,
            layout,
            tiles: layout.tiles.len().min(viewer.videos_max),
            eligible: eligible.copied().collect(),
            shown: placed(true),
            large: large.and_then(|slot| viewer.assigned.get(&slot).copied()),
            voices: voices.copied().collect(),
            heard: placed(false),
        }
    }

    /// Screens, then who speaks, then others, then who has no picture.
    fn class(&self, item: &Item) -> u8 {
        match item {
            i if self.layout.prefer_video && i.muted => 3,
            i if i.kind == StreamType::VideoScreen => 0,
            i if i.promoted => 1,
            _ => 2,
        }
    }

    /// Those who come before everybody, in their order.
    fn first_people(&self) -> Vec<UserId> {
        let mut pinned: Vec<_> = self.layout.pinned.iter().map(|(u, p)| (*p, *u)).collect();
        pinned.sort_unstable();
        let mut people: Vec<UserId> = pinned.into_iter().map(|(_, user)| user).collect();
        for user in &self.scene.spotlight {
            if !people.contains(user) {
                people.push(*user);
            }
        }
        people
    }

    fn check_tiles(&self) {
        for stream in self.shown.keys() {
            assert!(
                self.eligible.contains_key(stream),
                "only what may be shown is"
            );
        }
        let count = self.eligible.len().min(self.tiles);
        assert_eq!(
            self.shown.len(),
            count,
            "no tile is empty while somebody waits"
        );
        let mut tiles = self.tiles;
        let mut eligible = self.eligible.clone();
        if self.layout.shape == Shape::Speaker && tiles > 0 {
            self.check_large();
            if let Some(large) = self.large {
                eligible.remove(&large);
            }
            tiles -= 1;
        }
        let mut exempt = BTreeSet::new();
        let mut room = tiles;
        for user in self.first_people() {
            let theirs = eligible.iter().filter(|(_, i)| i.user == user);
            let theirs: Vec<_> = theirs.collect();
            if theirs.is_empty() {
                continue;
            }
            let shown = theirs.iter().filter(|(id, _)| self.shown.contains_key(id));
            // With one picture of theirs, the one that needs it most.
            let one = shown.max_by_key(|(_, item)| self.class(item));
            if room > 0 {
                room -= 1;
                let (id, _) = one.expect("who is pinned or in the spotlight is seen");
                exempt.insert(**id);
            }
        }
        let (shown, hidden): (Vec<_>, Vec<_>) = eligible
            .iter()
            .partition(|(id, _)| self.shown.contains_key(id));
        let best = hidden.iter().map(|(_, i)| self.class(i)).min();
        for (id, item) in shown {
            let fits = best.is_none_or(|best| self.class(item) <= best);
            assert!(
                fits || exempt.contains(id),
                "nobody is seen before who counts more"
            );
        }
    }

    fn check_large(&self) {
        let Some(large) = self.large.map(|id| self.eligible[&id]) else {
            assert!(self.eligible.is_empty(), "the large tile is not empty");
            return;
        };
        let has = |user: UserId| self.eligible.values().any(|i| i.user == user);
        let pinned = |user: &UserId| self.layout.pinned.contains_key(user);
        let first = self.first_people();
        if let Some(user) = first.iter().find(|u| pinned(u) && has(**u)) {
            assert_eq!(large.user, *user, "who is pinned is large");
            return;
        }
        let others = || self.eligible.values().filter(|i| i.user != self.me);
        if others().next().is_none() {
            return;
        }
        assert_ne!(large.user, self.me, "oneself comes last");
        let lit = first
            .iter()
            .find(|u| !pinned(u) && has(**u) && **u != self.me);
        if let Some(user) = lit {
            assert_eq!(large.user, *user, "the spotlight's first is large");
        } else if others().any(|i| self.class(i) == 0) {
            assert_eq!(self.class(large), 0, "a screen is large");
        } else if others().any(|i| Some(i.user) == self.scene.floor && self.class(i) < 3) {
            assert_eq!(
                Some(large.user),
                self.scene.floor,
                "who has the floor is large"
            );
        } else if others().any(|i| self.class(i) < 3) {
            assert!(self.class(large) < 3, "a picture is larger than none");
        }
    }

    /// Who is large because of what they say has said it for long enough.
    fn check_speaker(&self, speech: &Speech, now: Time) {
        let large = self.large.map(|id| self.eligible[&id].user);
        let since = large.and_then(|user| speech.since.get(&user));
        let long = since.is_some_and(|since| now.ms_since(*since) >= 1000);
        assert!(long, "a cough flips no large tile");
    }

    fn check_change(&self, old: &Self, before: &Scene, after: &Scene) {
        // Who stays visible stays in place, but for the large tile.
        for (id, slot) in &self.shown {
            let through = self.large == Some(*id) || old.large == Some(*id);
            let stays = old.shown.get(id).is_none_or(|was| was == slot);
            assert!(
                stays || (through && self.large != old.large),
                "a tile keeps its place"
            );
        }
        for (id, slot) in &self.heard {
            let stays = old.heard.get(id).is_none_or(|was| was == slot);
            assert!(stays, "a voice keeps its slot");
        }
        if before.same_pictures(after) {
            assert_eq!(self.shown, old.shown, "a view changes for a reason");
        }
        let came = self.shown.keys().filter(|id| !old.shown.contains_key(id));
        let went = old.shown.keys().filter(|id| !self.shown.contains_key(id));
        let (came, went): (Vec<_>, Vec<_>) = (came.collect(), went.collect());
        let slots = self.layout.tiles.len();
        let at = |shown: &BTreeMap<StreamId, Slot>, place| {
            let slot = self.layout.tiles.at(place);
            shown.iter().find(|(_, s)| **s == slot).map(|(id, _)| *id)
        };
        let changed = (0..slots).filter(|p| at(&self.shown, *p) != at(&old.shown, *p));
        let moved = if self.large == old.large { 0 } else { 2 };
        assert!(
            changed.count() <= came.len() + went.len() + moved,
            "few slots change"
        );
        self.check_displaced(old, &came, &went);
    }

    /// Nobody gives way to somebody who counts no more.
    fn check_displaced(&self, old: &Self, came: &[&StreamId], went: &[&StreamId]) {
        let first = self.first_people();
        let lot = |item: &Item| first.iter().position(|u| *u == item.user);
        let went = went.iter().filter_map(|id| self.eligible.get(id));
        for gone in went {
            for new in came.iter().map(|id| self.eligible[id]) {
                let favoured = lot(new).is_some();
                let fits = favoured || self.class(new) < self.class(gone);
                // The large tile may have gone to whom the strip had no room for.
                assert!(
                    fits || self.large != old.large,
                    "an equal takes nobody's tile"
                );
            }
        }
    }

    fn check_voices(&self) {
        for stream in self.heard.keys() {
            assert!(
                self.voices.contains_key(stream),
                "only what may be heard is"
            );
        }
        let slots = self.layout.audio.len();
        let count = self.voices.len().min(slots);
        assert_eq!(
            self.heard.len(),
            count,
            "nobody loses sound that there is room for"
        );
        let rank = |i: &Item| (i.muted, !i.speaks);
        let worst = self.heard.keys().map(|id| rank(self.voices[id])).max();
        let unheard = self
            .voices
            .iter()
            .filter(|(id, _)| !self.heard.contains_key(id));
        for (_, item) in unheard {
            assert!(
                worst.is_some_and(|w| w <= rank(item)) || slots == 0,
                "who speaks is heard"
            );
        }
    }
}
